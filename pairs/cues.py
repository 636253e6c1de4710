"""One picture's bytes and pixels in; out come the cues, which are no content, that could tell it from another picture.

A cue is a number (file size, mean luminance, the trace of a JPEG grid …), or a word that is equal or not (encoder
settings, metadata). No cue says by itself which picture is fake; ``giveaways`` finds that out.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from pairs.file_cues import read_file

Pixels = NDArray[np.uint8]  # (H, W, 3), sRGB
Plane = NDArray[np.float32]  # (H, W)

NUMBERS = (
    "file size",
    "compression ratio",
    "mean luminance",
    "clipping",
    "noise level",
    "sharpness",
    "border",
    "jpeg grid",
    "upsampling spectrum",
)
LUMA_COLUMN = len(NUMBERS)  # mean luma stands beside them, as the other measure of mean luminance
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # as JPEG and grayscale conversions weigh them (ITU-R BT.601)
WINDOW = 192  # pixels: of larger pictures the middle is looked at; their border and mean are those of all
LINES_OF_LIGHT = 64  # rows and columns, about, of which mean luminance and clipping are taken
LINES = 32  # rows, and columns, whose spectra are averaged
GRID_TILES = 128  # of 16x16 pixels: of more every second strip will do


@dataclass(frozen=True)
class Cues:
    """``numbers`` (10,) has a value for each of ``NUMBERS`` and the mean luma; all are NaN where only the file was read."""

    numbers: NDArray[np.float64]
    settings: str
    metadata: tuple[str, ...]


def measure(data: bytes, pixels: Pixels) -> Cues:
    """All cues of one picture of at least 16x16 pixels: its file's bytes and what they decode to.

    A file that is cut short gives the cues of what is there; whether it decodes is the caller's to know.
    """
    file = read_file(data)
    window = middle(pixels, WINDOW)
    light, luminance = _sampled_light(pixels), luminance_of(window)
    rows, columns = _spectrum(luminance), _spectrum(luminance.T)
    numbers = (
        len(data),
        file.payload / pixels.size,
        _mean_luminance(light),
        _clipping(light),
        _noise_level(luminance),
        (_sharpness(rows) + _sharpness(columns)) / 2,
        _border(pixels),
        max(_grid(luminance, (3, 4, 6), 0.5), _grid(_half_chroma(window, luminance), (1, 2, 3), 0.4)),
        max(_comb(rows), _comb(columns)),
        float((_sampled(pixels) @ LUMA).mean()),
    )
    return Cues(np.array(numbers, np.float64), file.settings, file.metadata)


def measure_file(data: bytes) -> Cues:
    """What the file alone tells: settings and metadata."""
    file = read_file(data)
    return Cues(np.full(len(NUMBERS) + 1, np.nan), file.settings, file.metadata)


def luminance_of(pixels: Pixels) -> Plane:
    """Luma (H, W) in [0, 255], not rounded."""
    height, width = pixels.shape[:2]
    return (pixels.reshape(-1, 3).astype(np.float32) @ LUMA).reshape(height, width)


def middle(pixels: Pixels, side: int) -> Pixels:
    top, left = (max(0, (length - side) // 2) for length in pixels.shape[:2])
    return pixels[top : top + side, left : left + side]


def _sampled(pixels: Pixels) -> Pixels:
    """Evenly spaced pixels (n, 3), a few thousand."""
    # Odd strides, so that every phase of a pattern that repeats in 2, 4 or 8 pixels is among the pixels.
    down, right = (length // LINES_OF_LIGHT | 1 for length in pixels.shape[:2])
    return pixels[::down, ::right].reshape(-1, 3)


def _sampled_light(pixels: Pixels) -> Plane:
    """Their linear luminance (n,) in [0, 1]: a generator that keeps lightness keeps it, whereas luma moves with colour."""
    linear = _linear_values()[_sampled(pixels)]
    return np.asarray(linear @ np.array([0.2126, 0.7152, 0.0722], np.float32))  # BT.709, as sRGB has it


@cache
def _linear_values() -> Plane:
    """The linear light in [0, 1] of the 256 values of sRGB (IEC 61966-2-1)."""
    value = np.arange(256) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _mean_luminance(light: Plane) -> float:
    """Mean CIE lightness, in [0, 255]: of each pixel, as the mean light itself would fall with every blur."""
    lightness = np.where(light > 216 / 24389, 116 * np.cbrt(light) - 16, light * (24389 / 27))
    return 2.55 * float(lightness.mean())


def _clipping(light: Plane) -> float:
    """Share of pixels that are black or white within 2 of 255: single channels are clipped by colour alone."""
    black, white = _linear_values()[2:4].mean(), _linear_values()[252:254].mean()
    return (np.count_nonzero(light < black) + np.count_nonzero(light > white)) / light.size


def _noise_level(luminance: Plane) -> float:
    """Standard deviation, of 255: from the median diagonal Haar detail (Donoho & Johnstone 1994), of every fourth block."""
    height, width = (length // 4 * 4 for length in luminance.shape)
    part = luminance[:height, :width]
    detail = (part[::4, ::4] - part[1::4, ::4] - part[::4, 1::4] + part[1::4, 1::4]) / 2
    return float(np.median(np.abs(detail))) / 0.6745


def _spectrum(luminance: Plane) -> Plane:
    """Mean power spectra (2, n // 2 + 1) along the rows: of the steps from pixel to pixel, and of their sizes.

    Steps, as a photograph's are nearly white, so that nothing leaks from the low frequencies; n is a multiple of 8.
    """
    # An odd stride, so that every phase of a pattern that repeats in 2, 4 or 8 pixels is among the rows.
    lines = luminance[:: len(luminance) // LINES | 1]
    steps = np.diff(lines, axis=1)
    n = steps.shape[1] // 8 * 8
    steps = steps[:, :n]
    both = fft.rfft(np.stack((steps, np.abs(steps))), axis=2)  # (2, lines, n // 2 + 1)
    return (both.real**2 + both.imag**2).mean(axis=1) / n + 0.1  # the floor is about the power of rounding


def _sharpness(spectrum: Plane) -> float:
    """Power of the steps above a quarter of the sampling frequency against that below, in octaves."""
    quarter = spectrum.shape[1] // 2
    return float(np.log2(spectrum[0, quarter:].mean() / spectrum[0, 1:quarter].mean()))


def _comb(spectrum: Plane) -> float:
    """The highest peak at a half or a quarter of the sampling frequency over its neighbours, in octaves.

    Transposed convolutions leave peaks in the spectrum (Odena et al. 2016; Zhang, Karaman & Chang 2019); interpolation
    leaves steps whose size alternates (Gallagher 2005).
    """
    half = spectrum.shape[1] - 1
    sides = np.array([-4, -3, -2, -1, 1, 2, 3, 4])
    peaks = []
    for place in (half, half // 2):
        near = place + sides
        near = near[(near > 0) & (near <= half)]
        peaks += list(np.log2(spectrum[:, place] / spectrum[:, near].mean(axis=1)))
    return float(max(peaks))


def _border(pixels: Pixels) -> float:
    """How far the step from the outermost line to the next is from the steps that follow, in octaves; the worst side."""
    turned = pixels.transpose(1, 0, 2)
    worst = 0.0
    for lines in (pixels[:5, ::2], pixels[:-6:-1, ::2], turned[:5, ::2], turned[:-6:-1, ::2]):
        steps = np.abs(np.diff(lines.astype(np.int16), axis=0)).mean(axis=(1, 2))  # (4,)
        worst = max(worst, abs(float(np.log2((steps[0] + 0.25) / (steps[1:].mean() + 0.25)))))
    return worst


def _half_chroma(window: Pixels, luminance: Plane) -> Plane:
    """JPEG's Cr at half the size, as most JPEG files keep it."""
    height, width = (length // 2 * 2 for length in luminance.shape)
    red = (window[..., 0] - luminance)[:height, :width]
    return (red[::2, ::2] + red[1::2, ::2] + red[::2, 1::2] + red[1::2, 1::2]) * np.float32(0.713 / 4)


def _grid(plane: Plane, frequencies: tuple[int, ...], zero: float) -> float:
    """By how much one of the 64 places of an 8x8 grid has more cosine coefficients near zero than any other; a share.

    JPEG rounds coefficients to multiples, most to zero, and only blocks cut as it cut them show that (Nikoukhah et al.
    2021, ZERO). Against the second best place, as repeats of 2 or 4 pixels favour several alike. What chance does is
    taken off, so that a picture without a grid has 0.
    """
    n_rows, n_columns = (length // 16 for length in plane.shape)
    if not n_rows or not n_columns:
        return 0.0
    basis, k = _shifted_cosines(frequencies), len(frequencies)
    strips = plane[: n_rows * 16, : n_columns * 16].reshape(n_rows, 16, n_columns * 16)
    if n_rows * n_columns > GRID_TILES:
        strips = strips[::2]
        n_rows = len(strips)
    down = basis @ strips
    coefficients = down.reshape(-1, 16) @ basis.T  # (rows * 8 k * columns, 8 k)
    near_zero = (np.abs(coefficients) < zero).view(np.uint8).reshape(n_rows, -1).sum(axis=0, dtype=np.uint8)
    counts = near_zero.reshape(8, k, n_columns, 8, k).sum(axis=(1, 2, 4))  # (8, 8)
    second, first = np.sort(counts, axis=None)[-2:].astype(float)
    n = n_rows * n_columns * k * k
    return float(max(0.0, (first - second) / n - 0.5 * n**-0.5))


@cache
def _shifted_cosines(frequencies: tuple[int, ...]) -> Plane:
    """The cosines of an 8-point transform at each of 8 places in 16 pixels: (8 * frequencies, 16)."""
    basis = np.zeros((8, len(frequencies), 16), np.float32)
    cosines = np.cos(np.pi * np.outer(frequencies, 2 * np.arange(8) + 1) / 16) / 2
    for place in range(8):
        basis[place, :, place : place + 8] = cosines
    return basis.reshape(-1, 16)
