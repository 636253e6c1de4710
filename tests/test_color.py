import numpy as np
import pytest
import torch
from skimage.color import rgb2lab

from models.color import (
    AB_SCALE,
    CHANNELS,
    fit_chroma,
    from_network,
    keep_luminance,
    luminance_of,
    merge_luminance,
    split_luminance,
    to_network,
)


def all_colours(step: int = 17) -> torch.Tensor:
    """Every colour of an 8-bit grid, as one picture (1, 3, H, W)."""
    levels = torch.arange(0, 256, step) / 255
    return torch.cartesian_prod(levels, levels, levels).T.reshape(1, 3, len(levels), -1)


def test_luminance_and_chroma_agree_with_scikit_image():
    rgb = all_colours()
    luminance, ab = split_luminance(rgb)
    expected = rgb2lab(rgb[0].permute(1, 2, 0).double().numpy())
    np.testing.assert_allclose((luminance[0, 0] + 1) * 50, expected[..., 0], atol=2e-3)
    np.testing.assert_allclose(ab[0].permute(1, 2, 0) * AB_SCALE, expected[..., 1:], atol=5e-3)


def test_shapes_and_ranges_are_as_stated():
    luminance, ab = split_luminance(all_colours())
    assert luminance.shape == (1, 1, 16, 256)
    assert ab.shape == (1, 2, 16, 256)
    assert luminance.min() == pytest.approx(-1, abs=1e-5)
    assert luminance.max() == pytest.approx(1, abs=1e-5)
    assert 0.9 < ab.abs().max() < 1


def test_splitting_and_merging_gives_every_colour_back():
    rgb = all_colours()
    torch.testing.assert_close(merge_luminance(*split_luminance(rgb)), rgb, atol=2e-4, rtol=0)


def test_merging_colours_that_srgb_lacks_stays_in_range():
    rgb = merge_luminance(torch.full((1, 1, 1, 2), 0.8), torch.tensor([1.0, -1.0, 1.0, -1.0]).view(1, 2, 1, 2))
    assert rgb.min() >= 0
    assert rgb.max() <= 1


def test_colour_that_fits_is_left_alone():
    luminance, ab = split_luminance(all_colours(51))
    torch.testing.assert_close(fit_chroma(luminance, ab), ab)


def test_colour_that_does_not_fit_keeps_its_luminance_and_hue():
    luminance = torch.tensor([-0.5, 0.0, 0.9]).view(1, 1, 1, 3)
    ab = torch.tensor([0.9, 0.9, 0.9, -0.9, -0.9, -0.9]).view(1, 2, 1, 3)
    fitted = fit_chroma(luminance, ab)
    shown, _ = split_luminance(merge_luminance(luminance, fitted))
    torch.testing.assert_close(shown, luminance, atol=0.01, rtol=0)
    torch.testing.assert_close(fitted[:, 0], -fitted[:, 1])
    assert (fitted.abs() > 0.05).all()
    clamped, _ = split_luminance(merge_luminance(luminance, ab))
    assert (clamped - luminance).abs().max() > 0.05  # what clamping alone would have done


def test_kept_luminance_is_that_of_the_photo_and_colours_those_of_the_other():
    photo = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    other = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    luminance, _ = split_luminance(photo)
    kept, ab = split_luminance(keep_luminance(other, luminance))
    torch.testing.assert_close(kept, luminance, atol=0.01, rtol=0)
    _, wanted = split_luminance(other)
    assert torch.nn.functional.cosine_similarity(ab, wanted).mean() > 0.97


@pytest.mark.parametrize("space", ["rgb", "lab"])
def test_what_a_network_is_given_comes_back_as_the_picture(space):
    rgb = all_colours()
    luminance, colour = to_network(rgb, space)
    assert luminance.shape == (1, 1, 16, 256)
    assert colour.shape == (1, CHANNELS[space], 16, 256)
    assert colour.abs().max() <= 1
    torch.testing.assert_close(from_network(luminance, colour, space), rgb, atol=4e-4, rtol=0)


def test_rgb_of_a_network_is_the_picture_from_black_to_white():
    rgb = torch.tensor([0.0, 0.5, 1.0]).view(1, 3, 1, 1)
    _, colour = to_network(rgb, "rgb")
    assert colour.flatten().tolist() == [-1, 0, 1]


def test_lab_of_a_network_keeps_luminance_to_the_rounding_of_eight_bits_whatever_the_colours():
    numbers = torch.rand(1, 3, 100, 100, generator=torch.Generator().manual_seed(0)) * 2 - 1
    luminance, ab = numbers.split((1, 2), dim=1)
    rgb = from_network(luminance, ab, "lab")
    assert (merge_luminance(luminance, ab) - rgb).abs().mean() > 0.05  # most of these colours do not exist
    written = (rgb * 255).round()
    # Luminance rises with every channel, so that of the picture written lies between these.
    low, high = (split_luminance(((written + d) / 255).clamp(0, 1))[0] for d in (-0.5, 0.5))
    outside = torch.maximum(low - luminance, luminance - high).clamp(min=0) * 50  # of L*
    assert outside.max() < 0.02


def test_colours_outside_the_gamut_come_out_vivid_not_gray():
    luminance = torch.zeros(1, 1, 1, 4)
    ab = torch.tensor([[0.9, -0.9, 0.5, -0.2], [0.9, 0.5, -0.9, -0.9]]).view(1, 2, 1, 4)
    _, shown = split_luminance(from_network(luminance, ab, "lab"))
    rgb = from_network(luminance, ab, "lab")
    at_edge = torch.minimum(rgb.amin(dim=1), 1 - rgb.amax(dim=1))
    assert at_edge.max() < 0.02  # as vivid as sRGB has it
    assert torch.nn.functional.cosine_similarity(shown, ab).min() > 0.999


def test_luminance_alone_is_that_of_the_split():
    levels = torch.linspace(0, 1, 12)
    rgb = torch.stack(torch.meshgrid(levels, levels, levels, indexing="ij")).reshape(1, 3, 12, 144)
    assert torch.allclose(luminance_of(rgb), split_luminance(rgb)[0], atol=1e-6)
