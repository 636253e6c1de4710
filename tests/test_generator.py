import pytest
import torch
from torch import nn

from models.color import CHANNELS
from models.generator import Generator, bottleneck_size, check_size, colour


def layers(network: nn.Module) -> list[nn.Module]:
    return [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]


def test_published_generator_has_its_sixteen_layers():
    found = [
        (type(m).__name__, m.out_channels, m.kernel_size[0], m.stride[0]) for m in layers(Generator(depth=7, width=64))
    ]
    down = [("Conv2d", 64, 4, 1)] + [("Conv2d", n, 4, 2) for n in (64, 128, 256, 512, 512, 512, 512)]
    up = [("ConvTranspose2d", n, 4, 2) for n in (512, 512, 512, 256, 128, 64, 64)]
    assert found == [*down, *up, ("Conv2d", 3, 1, 1)]
    assert len(found) == 16


def test_published_decoder_takes_its_own_path_and_the_skip():
    found = [m.in_channels for m in layers(Generator(depth=7, width=64))]
    assert found == [1, 64, 64, 128, 256, 512, 512, 512, 512, 1024, 1024, 1024, 512, 256, 128, 128]


@pytest.mark.parametrize("space", ["rgb", "lab"])
def test_generator_gives_the_colours_of_its_space(space):
    network = Generator(2, 2, CHANNELS[space])
    assert colour(network, torch.zeros(1, 1, 8, 8)).shape == (1, {"rgb": 3, "lab": 2}[space], 8, 8)


def test_every_layer_but_the_last_has_batch_norm_and_relu():
    network = Generator(depth=3, width=2)
    assert sum(isinstance(m, nn.BatchNorm2d) for m in network.modules()) == len(layers(network)) - 1
    assert sum(isinstance(m, nn.ReLU) for m in network.modules()) == len(layers(network)) - 1


@pytest.mark.parametrize(("depth", "height", "width"), [(7, 128, 128), (2, 8, 12), (1, 2, 2), (4, 48, 32)])
def test_colour_picture_is_as_large_as_the_gray_one(depth, height, width):
    network = Generator(depth, 2)
    pictures = colour(network, torch.zeros(3, 1, height, width))
    assert pictures.shape == (3, 3, height, width)
    assert pictures.abs().max() <= 1


def test_smallest_map_of_the_published_generator_is_two_pixels_wide():
    seen = []
    network = Generator(depth=7, width=1).eval()
    network.encoder[-1].register_forward_hook(lambda module, given, result: seen.append(result.shape))
    network(torch.zeros(1, 1, 256, 256))
    assert seen == [(1, 8, 2, 2)]
    assert bottleneck_size(256, 7) == 2


def test_skips_carry_detail_past_the_bottleneck():
    network = Generator(depth=2, width=4).eval()
    for layer in network.decoder:
        nn.init.zeros_(layer[0].weight)
    picture = network(torch.rand(1, 1, 8, 8))
    assert (picture.std(dim=(2, 3)) > 0).all()


def test_colouring_uses_gathered_statistics_and_leaves_the_mode():
    network = Generator(depth=1, width=2).train()
    gray = torch.rand(4, 1, 4, 4)
    together, alone = colour(network, gray), colour(network, gray[:1])
    torch.testing.assert_close(together[:1], alone)
    assert network.training


@pytest.mark.parametrize(
    ("image_size", "depth", "nearest"), [(100, 7, 128), (64, 7, 128), (250, 7, 256), (1, 2, 4), (12, 3, 16)]
)
def test_size_that_cannot_be_halved_so_often_is_refused_by_name(image_size, depth, nearest):
    with pytest.raises(ValueError, match=rf"image_size {image_size} does not fit .* depth {depth}.*take {nearest}"):
        check_size(image_size, depth)


def test_sizes_that_fit_are_accepted():
    for image_size, depth in ((256, 7), (384, 7), (32, 5), (6, 1)):
        check_size(image_size, depth)


def test_generator_without_layers_is_refused():
    with pytest.raises(ValueError, match="depth 0"):
        Generator(depth=0)
