import pytest
import torch
from torch import nn

from models.discriminator import Discriminator, layer_count, score_both


def convolutions(network: nn.Module) -> list[nn.Conv2d]:
    return [m for m in network.modules() if isinstance(m, nn.Conv2d)]


@pytest.mark.parametrize(("image_size", "expected"), [(4, 2), (16, 4), (64, 6), (96, 6), (128, 7), (256, 7), (384, 7)])
def test_layers_follow_the_picture_size_up_to_seven(image_size, expected):
    assert layer_count(image_size) == expected
    network = Discriminator(image_size, width=1)
    assert len(convolutions(network)) == expected
    picture = torch.zeros(2, 3, image_size, image_size)
    assert network(picture[:, :1], picture).shape == (2,)


def test_seven_layers_have_kernel_four_stride_two_and_take_gray_and_colour():
    found = convolutions(Discriminator(256, width=64))
    assert [c.out_channels for c in found] == [64, 128, 256, 512, 512, 512, 1]
    assert found[0].in_channels == 4
    assert {(c.kernel_size, c.stride, c.padding) for c in found} == {((4, 4), (2, 2), (1, 1))}


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_last_layer_is_bare(norm):
    layers = list(Discriminator(32, width=2, norm=norm).layers)
    assert isinstance(layers[-1], nn.Conv2d)
    assert sum(isinstance(m, nn.BatchNorm2d) for m in layers) == (4 if norm == "batch" else 0)
    assert all(m.negative_slope == 0.2 for m in layers if isinstance(m, nn.LeakyReLU))


def test_score_is_the_mean_over_the_last_map():
    network = Discriminator(256, width=1)
    gray, colour = torch.rand(2, 1, 256, 256), torch.rand(2, 3, 256, 256)
    last_map = network.layers(torch.cat((gray, colour), dim=1))
    assert last_map.shape == (2, 1, 2, 2)
    torch.testing.assert_close(network(gray, colour), last_map.mean(dim=(1, 2, 3)))


def test_score_depends_on_gray_and_on_colour():
    network = Discriminator(16, width=4)
    gray, colour = torch.rand(1, 1, 16, 16, requires_grad=True), torch.rand(1, 3, 16, 16, requires_grad=True)
    network(gray, colour).sum().backward()
    assert gray.grad.abs().sum() > 0
    assert colour.grad.abs().sum() > 0


def test_batch_norm_sees_real_and_fake_together():
    gray, real = torch.rand(4, 1, 16, 16), torch.rand(4, 3, 16, 16)
    for norm, is_shared in (("batch", True), ("none", False)):
        critic = Discriminator(16, width=4, norm=norm)
        beside_dark, _ = score_both(critic, gray, real, real - 1)
        beside_itself, itself = score_both(critic, gray, real, real)
        assert torch.allclose(beside_dark, beside_itself, atol=1e-4) != is_shared
        torch.testing.assert_close(beside_itself, itself)


def test_picture_too_small_for_a_discriminator_is_refused():
    with pytest.raises(ValueError, match="image_size 3 is too small"):
        layer_count(3)
