import math

import numpy as np
import pytest
import torch
from pictures import colourful
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from train.metrics import (
    MetricError,
    ab_histogram,
    ab_histogram_distance,
    colourfulness,
    held_out_measures,
    psnr,
    ssim,
)


def tensors(pictures):
    return torch.stack([torch.from_numpy(np.array(p)).permute(2, 0, 1) for p in pictures]).float() / 255


def one_colour(red, green, blue, n=1, size=4):
    return torch.tensor([red, green, blue]).view(1, 3, 1, 1).expand(n, 3, size, size)


@pytest.fixture
def real():
    return tensors([colourful(seed) for seed in range(3)])


@pytest.fixture
def fake(real):
    noise = torch.randn(real.shape, generator=torch.Generator().manual_seed(0))
    return (real.mean(dim=1, keepdim=True) * 0.5 + real * 0.5 + noise * 0.02).clamp(0, 1)


def test_gray_has_no_colourfulness():
    assert colourfulness(torch.rand(2, 1, 4, 4).expand(2, 3, 4, 4)).tolist() == pytest.approx([0, 0], abs=1e-4)


def test_colourfulness_counted_by_hand():
    # Half red, half blue: rg is 255 and 0, yb is 127.5 and -255.
    picture = torch.tensor([[1.0, 0, 0], [0, 0, 1.0]]).T.reshape(1, 3, 1, 2)
    deviation, mean = (127.5**2 + 191.25**2) ** 0.5, (127.5**2 + 63.75**2) ** 0.5
    assert colourfulness(picture).item() == pytest.approx(deviation + 0.3 * mean, rel=1e-5)


def test_opposite_colours_do_not_cancel_to_none():
    # Half red, half green: rg is 255 and -255, yb is 127.5 throughout. Absolute values first would give no deviation.
    picture = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]).T.reshape(1, 3, 1, 2)
    assert colourfulness(picture).item() == pytest.approx(255 + 0.3 * 127.5, rel=1e-5)


def test_held_out_measures_of_an_inverted_picture():
    real = torch.full((1, 3, 2, 2), 0.5)
    measures = held_out_measures(real, -real)
    assert measures["held_out_l1"] == pytest.approx(1.0)
    assert measures["held_out_colourfulness"] == pytest.approx(0, abs=1e-4)


def test_psnr_counted_by_hand():
    # A tenth off everywhere is a mean square of 1/100; off in one channel of three, 1/300.
    real = one_colour(0.5, 0.5, 0.5, n=3)
    fake = torch.cat((one_colour(0.6, 0.4, 0.6), one_colour(0.5, 0.6, 0.5), one_colour(0.5, 0.5, 0.5)))
    assert psnr(real, fake).tolist() == pytest.approx([20, 10 * math.log10(300), math.inf], rel=1e-5)


def test_psnr_is_that_of_scikit_image(real, fake):
    expected = [peak_signal_noise_ratio(r, f, data_range=1) for r, f in zip(real.numpy(), fake.numpy(), strict=True)]
    assert psnr(real, fake).tolist() == pytest.approx(expected, rel=1e-5)


def test_ssim_is_that_of_scikit_image(real, fake):
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    pairs = zip(real.numpy(), fake.numpy(), strict=True)
    expected = [structural_similarity(r, f, channel_axis=0, **settings) for r, f in pairs]
    assert ssim(real, fake).tolist() == pytest.approx(expected, abs=1e-4)


def test_ssim_of_plain_pictures_counted_by_hand():
    # Without variance only the means are compared: (2 * .5 * .25 + c1) / (.5² + .25² + c1), with c1 = 1e-4.
    plain, darker = one_colour(0.5, 0.5, 0.5, size=11), one_colour(0.25, 0.25, 0.25, size=11)
    assert ssim(plain, plain).item() == pytest.approx(1, abs=1e-5)
    assert ssim(plain, darker).item() == pytest.approx(0.2501 / 0.3126, rel=1e-3)


def test_ssim_sees_colour(real):
    assert ssim(real, real.mean(dim=1, keepdim=True).expand_as(real)).max() < 0.999


def test_ssim_refuses_pictures_smaller_than_its_window():
    with pytest.raises(MetricError, match="pictures are 10x12; SSIM needs at least 11x11 pixels"):
        ssim(torch.rand(1, 3, 12, 10), torch.rand(1, 3, 12, 10))


@pytest.mark.parametrize("measure", [psnr, ssim])
def test_pictures_of_two_sizes_are_refused(measure):
    with pytest.raises(MetricError, match="give pairs of pictures of one size"):
        measure(torch.rand(2, 3, 12, 12), torch.rand(1, 3, 12, 12))


def test_gray_lies_in_the_middle_of_the_ab_grid():
    histogram = ab_histogram(one_colour(0.3, 0.3, 0.3))
    assert histogram.shape == (23, 23)
    assert histogram[11, 11] == histogram.sum() == 1


def test_red_lies_where_published_lab_values_put_it():
    # sRGB red is L* 53.2, a* 80.1, b* 67.2 (Lindbloom's calculator, D65): the points 80 and 70 of the grid.
    assert ab_histogram(one_colour(1.0, 0.0, 0.0))[11 + 8, 11 + 7] == 1


def test_ab_distance_counts_the_pixels_that_need_another_colour():
    red, blue, gray = one_colour(1.0, 0, 0), one_colour(0, 0, 1.0), one_colour(0.5, 0.5, 0.5)
    four = torch.cat((red, red, gray, blue))
    assert ab_histogram_distance(four, four.flip(0)) == 0
    assert ab_histogram_distance(four, torch.cat((red, gray, gray, gray))) == pytest.approx(0.5)
    assert ab_histogram_distance(red, torch.cat((blue, gray))) == 1


def test_ab_distance_ignores_luminance():
    assert ab_histogram_distance(one_colour(0.2, 0.2, 0.2), one_colour(0.9, 0.9, 0.9)) == 0


def test_ab_distance_grows_as_colour_goes(real):
    gray = real.mean(dim=1, keepdim=True)
    distances = [ab_histogram_distance(real, gray + (real - gray) * strength) for strength in (1, 0.7, 0.3, 0)]
    assert distances[0] == 0
    assert distances == sorted(distances)
    assert distances[-1] > 0.5
