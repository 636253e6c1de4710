"""Colour spaces: sRGB pictures to luminance and chroma (CIE L*a*b*, white D65), and back."""

from typing import Literal

import torch
from torch import Tensor

# What a generator gives: a whole picture, as published, or only its colours, on the photograph's own luminance.
ColourSpace = Literal["rgb", "lab"]
CHANNELS: dict[ColourSpace, int] = {"rgb": 3, "lab": 2}

# The sRGB gamut reaches a* in [-86.2, 98.3] and b* in [-107.9, 94.5].
AB_SCALE = 110.0

# Linear sRGB to XYZ (IEC 61966-2-1), and the white point D65 at 2 degrees: the numbers scikit-image uses.
XYZ_FROM_RGB = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
WHITE = (0.95047, 1.0, 1.08883)


def split_luminance(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """Luminance (N, 1, H, W) and ab (N, 2, H, W), both in [-1, 1], from sRGB (N, 3, H, W) in [0, 1].

    Luminance is L*/50 - 1 and ab is (a*, b*)/110.
    """
    f = _f(torch.einsum("cd,ndhw->nchw", _matrix(rgb), _linear(rgb)) / _white(rgb))  # (N, 3, H, W)
    fx, fy, fz = f.unbind(dim=1)  # (N, H, W) each
    ab = torch.stack((500 * (fx - fy), 200 * (fy - fz)), dim=1) / AB_SCALE  # (N, 2, H, W)
    return _luminance(fy).unsqueeze(1), ab  # (N, 1, H, W), (N, 2, H, W)


def luminance_of(rgb: Tensor) -> Tensor:
    """The luminance (N, 1, H, W) of ``split_luminance`` alone, at half its cost."""
    y = (_linear(rgb) * _matrix(rgb)[1].view(1, 3, 1, 1)).sum(dim=1, keepdim=True)  # (N, 1, H, W)
    return _luminance(_f(y))  # the white point's Y is 1


def _linear(rgb: Tensor) -> Tensor:
    return torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055).clamp(min=0) ** 2.4, rgb / 12.92)


def _f(xyz: Tensor) -> Tensor:
    """The CIE's cube root with a straight piece near black (CIE 15:2004, eq. 8.6)."""
    return torch.where(xyz > 0.008856, xyz.clamp(min=0.008856) ** (1 / 3), 7.787 * xyz + 16 / 116)


def _luminance(fy: Tensor) -> Tensor:
    return (116 * fy - 16) / 50 - 1


def merge_luminance(luminance: Tensor, ab: Tensor) -> Tensor:
    """sRGB (N, 3, H, W), clamped to [0, 1], from luminance (N, 1, H, W) and ab (N, 2, H, W) in [-1, 1]."""
    linear = _linear_rgb(luminance, ab).clamp(0, 1)
    return torch.where(linear > 0.0031308, 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055, 12.92 * linear)


def fit_chroma(luminance: Tensor, ab: Tensor, halvings: int = 12) -> Tensor:
    """ab (N, 2, H, W) with each pixel's chroma reduced, at its hue, until sRGB can show it at its luminance (N, 1, H, W).

    Clamping a colour that sRGB lacks changes its luminance; this does not. Gray always fits, so bisection finds the edge.
    """
    low, high = torch.zeros_like(luminance), torch.ones_like(luminance)
    for _ in range(halvings):
        middle = (low + high) / 2
        fits = _is_in_gamut(luminance, ab * middle)
        low, high = torch.where(fits, middle, low), torch.where(fits, high, middle)
    return torch.where(_is_in_gamut(luminance, ab), ab, ab * low)


def keep_luminance(rgb: Tensor, luminance: Tensor) -> Tensor:
    """The colours of sRGB (N, 3, H, W) in [0, 1] on the luminance (N, 1, H, W) in [-1, 1]."""
    _, ab = split_luminance(rgb)
    return merge_luminance(luminance, fit_chroma(luminance, ab))


def to_network(rgb: Tensor, space: ColourSpace) -> tuple[Tensor, Tensor]:
    """Luminance (N, 1, H, W) and colour (N, C, H, W), both in [-1, 1], of sRGB (N, 3, H, W) in [0, 1]."""
    return split_luminance(rgb) if space == "lab" else (luminance_of(rgb), rgb * 2 - 1)


def from_network(luminance: Tensor, colour: Tensor, space: ColourSpace) -> Tensor:
    """sRGB (N, 3, H, W) in [0, 1] of a generator's colour (N, C, H, W) for luminance (N, 1, H, W), both in [-1, 1]."""
    if space == "lab":
        return merge_luminance(luminance, fit_chroma(luminance, colour))
    return (colour + 1) / 2


def _is_in_gamut(luminance: Tensor, ab: Tensor) -> Tensor:
    linear = _linear_rgb(luminance, ab)
    # The slack is for rounding, 7e-6 there and back. Near black more would show: 1e-3 moved L* by 0.8, two steps of 8 bits.
    return ((linear > -1e-5) & (linear < 1 + 1e-5)).all(dim=1, keepdim=True)  # (N, 1, H, W)


def _linear_rgb(luminance: Tensor, ab: Tensor) -> Tensor:
    a, b = (ab * AB_SCALE).split(1, dim=1)  # (N, 1, H, W) each
    fy = ((luminance + 1) * 50 + 16) / 116
    f = torch.cat((fy + a / 500, fy, fy - b / 200), dim=1)  # (N, 3, H, W)
    xyz = torch.where(f > 0.2068966, f**3, (f - 16 / 116) / 7.787) * _white(luminance)
    return torch.einsum("cd,ndhw->nchw", torch.linalg.inv(_matrix(luminance)), xyz)


def _matrix(like: Tensor) -> Tensor:
    return torch.tensor(XYZ_FROM_RGB, dtype=like.dtype, device=like.device)


def _white(like: Tensor) -> Tensor:
    return torch.tensor(WHITE, dtype=like.dtype, device=like.device).view(1, 3, 1, 1)
