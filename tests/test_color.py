import numpy as np
import pytest
import torch
from skimage.color import rgb2lab

from models.color import AB_SCALE, fit_chroma, keep_luminance, merge_luminance, split_luminance


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
