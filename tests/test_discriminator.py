import pytest
import torch
from torch import nn

from models.color import CHANNELS
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


@pytest.mark.parametrize(("norm", "kind"), [("none", None), ("batch", nn.BatchNorm2d), ("layer", nn.GroupNorm)])
def test_every_layer_but_the_bare_last_is_normalised_as_asked(norm, kind):
    layers = list(Discriminator(32, width=2, norm=norm).layers)
    assert isinstance(layers[-1], nn.Conv2d)
    norms = [type(m) for m in layers if isinstance(m, nn.BatchNorm2d | nn.GroupNorm)]
    assert norms == ([kind] * 4 if kind else [])
    assert all(m.num_groups == 1 for m in layers if isinstance(m, nn.GroupNorm))
    assert [m.negative_slope for m in layers if isinstance(m, nn.LeakyReLU)] == [0.2] * 4


@pytest.mark.parametrize("space", ["rgb", "lab"])
def test_critic_takes_luminance_and_the_colours_of_its_space(space):
    network = Discriminator(16, width=2, colour_channels=CHANNELS[space])
    assert convolutions(network)[0].in_channels == 1 + {"rgb": 3, "lab": 2}[space]
    assert network(torch.zeros(2, 1, 16, 16), torch.zeros(2, CHANNELS[space], 16, 16)).shape == (2,)


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


@pytest.mark.parametrize(("norm", "is_alone"), [("none", True), ("layer", True), ("batch", False)])
def test_only_batch_norm_ties_a_pictures_score_to_its_batch(norm, is_alone):
    critic = Discriminator(16, width=4, norm=norm)
    gray, colour = torch.rand(3, 1, 16, 16), torch.rand(3, 3, 16, 16)
    alone, in_company = critic(gray[:2], colour[:2]), critic(gray, torch.cat((colour[:2], colour[2:] * 9)))[:2]
    assert torch.allclose(alone, in_company, atol=1e-5) == is_alone


def test_batch_norm_on_the_last_layer_would_hide_what_two_batches_differ_in():
    critic = Discriminator(16, width=4, norm="batch")
    gray, real, fake = torch.rand(4, 1, 16, 16), torch.rand(4, 3, 16, 16), torch.rand(4, 3, 16, 16) - 1
    critic.layers.append(nn.BatchNorm2d(1))
    in_two = critic(gray, real).mean() - critic(gray, fake).mean()
    real_scores, fake_scores = score_both(critic, gray, real, fake)
    assert abs(in_two) < 1e-5
    assert abs(real_scores.mean() - fake_scores.mean()) > 1e-3


def test_picture_too_small_for_a_discriminator_is_refused():
    with pytest.raises(ValueError, match="image_size 3 is too small"):
        layer_count(3)
