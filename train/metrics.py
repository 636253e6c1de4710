"""What is measured on held-out photos, picture by picture and over a set: none of it stands for what people see."""

import torch
import torch.nn.functional as F
from torch import Tensor

from models.color import AB_SCALE, split_luminance
from protocol import InputError

SSIM_WINDOW, SSIM_SIGMA = 11, 1.5  # pixels
SSIM_K1, SSIM_K2 = 0.01, 0.03
AB_BIN = 10  # units of a* and b*: Zhang 2016's grid, whose points are the multiples of ten
AB_REACH = round(AB_SCALE / AB_BIN)  # bins on either side of gray
CHUNK = 64  # pictures at a time, for memory


class MetricError(InputError):
    """Pictures that cannot be measured."""


def colourfulness(rgb: Tensor) -> Tensor:
    """Colourfulness (N,) of sRGB pictures (N, 3, H, W) in [0, 1]: 0 is gray, 100 vivid (Hasler & Süsstrunk 2003, eq. 10)."""
    red, green, blue = (rgb * 255).flatten(2).unbind(dim=1)  # (N, H * W) each
    red_green, yellow_blue = red - green, (red + green) / 2 - blue
    deviation = torch.hypot(red_green.std(dim=1, correction=0), yellow_blue.std(dim=1, correction=0))
    mean = torch.hypot(red_green.mean(dim=1), yellow_blue.mean(dim=1))
    return deviation + 0.3 * mean  # (N,)


def psnr(real: Tensor, fake: Tensor) -> Tensor:
    """Peak signal-to-noise ratio (N,) in dB of sRGB (N, 3, H, W) in [0, 1], over pixels and channels; equal pictures: inf.

    Raises:
        MetricError: if real and fake differ in shape.
    """
    _check_same_shape(real, fake)
    return -10 * torch.log10((real - fake).square().flatten(1).mean(dim=1))  # (N,)


def ssim(real: Tensor, fake: Tensor) -> Tensor:
    """Structural similarity (N,), at most 1, of sRGB (N, 3, H, W) in [0, 1] (Wang et al. 2004).

    The mean over the three channels, for luma knows nothing of colour, and over the pixels whose whole window of
    11 x 11 lies in the picture.

    Raises:
        MetricError: if real and fake differ in shape, or a side is shorter than 11 pixels.
    """
    _check_same_shape(real, fake)
    height, width = real.shape[-2:]
    if min(height, width) < SSIM_WINDOW:
        raise MetricError(f"pictures are {width}x{height}; SSIM needs at least {SSIM_WINDOW}x{SSIM_WINDOW} pixels")
    mean_real, mean_fake = _local_mean(real), _local_mean(fake)  # (N, 3, H - 10, W - 10)
    variance_real = _local_mean(real**2) - mean_real**2
    variance_fake = _local_mean(fake**2) - mean_fake**2
    covariance = _local_mean(real * fake) - mean_real * mean_fake
    c1, c2 = SSIM_K1**2, SSIM_K2**2
    luminance = (2 * mean_real * mean_fake + c1) / (mean_real**2 + mean_fake**2 + c1)
    structure = (2 * covariance + c2) / (variance_real + variance_fake + c2)
    return (luminance * structure).flatten(1).mean(dim=1)  # (N,)


def _local_mean(pictures: Tensor) -> Tensor:
    """Gaussian means (N, C, H - 10, W - 10) of (N, C, H, W), where the whole window fits."""
    offset = torch.arange(SSIM_WINDOW, dtype=pictures.dtype, device=pictures.device) - SSIM_WINDOW // 2
    weights = torch.exp(-(offset**2) / (2 * SSIM_SIGMA**2))
    weights = weights / weights.sum()
    n, channels, height, width = pictures.shape
    planes = pictures.reshape(n * channels, 1, height, width)
    planes = F.conv2d(F.conv2d(planes, weights.view(1, 1, -1, 1)), weights.view(1, 1, 1, -1))
    return planes.view(n, channels, *planes.shape[-2:])


def ab_histogram(rgb: Tensor) -> Tensor:
    """The share of all pixels of sRGB (N, 3, H, W) in [0, 1] with each colour (23, 23), rows a* and columns b*.

    A bin is a point of the ab grid with its nearest neighbourhood, 10 units wide: -110, -100, ..., 110 (Zhang, Isola &
    Efros 2016, sec. 2.1). Luminance does not count.
    """
    side = 2 * AB_REACH + 1
    counts = torch.zeros(side * side, dtype=torch.double)
    for part in rgb.split(CHUNK):
        _, ab = split_luminance(part)  # (n, 2, H, W)
        a, b = (ab * (AB_SCALE / AB_BIN)).round().clamp(-AB_REACH, AB_REACH).long().add(AB_REACH).unbind(dim=1)
        counts += torch.bincount((a * side + b).flatten(), minlength=side * side).cpu()
    return (counts / counts.sum()).view(side, side)


def ab_histogram_distance(real: Tensor, fake: Tensor) -> float:
    """How differently two sets of sRGB pictures (N, 3, H, W) in [0, 1] are coloured as wholes: 0 is alike, 1 nothing shared.

    The total variation between their ``ab_histogram``s, which is 1 less the histogram intersection of Swain & Ballard
    (1991): the share of pixels that would need another colour for the sets to agree. It is 0 where every colour
    stands in the wrong place, and above 0 between two sets of real photos, the more so the fewer they are.
    """
    return float((ab_histogram(real) - ab_histogram(fake)).abs().sum() / 2)


def held_out_measures(real: Tensor, fake: Tensor) -> dict[str, float]:
    """L1 and mean colourfulness of real and fake (N, 3, H, W) in [-1, 1]."""
    return {
        "held_out_l1": (real - fake).abs().mean().item(),
        "held_out_colourfulness": colourfulness((fake + 1) / 2).mean().item(),
        "real_colourfulness": colourfulness((real + 1) / 2).mean().item(),
    }


def _check_same_shape(real: Tensor, fake: Tensor) -> None:
    if real.shape != fake.shape:
        raise MetricError(
            f"real is {tuple(real.shape)}, fake is {tuple(fake.shape)}; give pairs of pictures of one size"
        )
