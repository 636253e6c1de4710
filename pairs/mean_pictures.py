"""Pairs one after another in; pictures of what none of them shows alone out: their mean, the mean difference, mean spectra."""

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fft

from pairs.cues import Pixels, Plane, luminance_of

EDGE = 256  # pixels, the longer side of a picture on the page
CORNER, ENLARGED = 16, 8  # pixels, and how large each is drawn

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]


class Means:
    """Sums over the pairs added, and no picture, so that memory does not grow with their number."""

    def __init__(self) -> None:
        self._n = 0
        self._pictures = self._spectra = np.zeros(1, np.float32)

    def add(self, real: Pixels, fake: Pixels) -> None:
        both = np.stack((real, fake))  # (2, H, W, 3)
        self._pictures = self._pictures + both
        self._spectra = self._spectra + np.stack([_spectrum(luminance_of(one)) for one in both])  # (2, h, w)
        self._n += 1

    @property
    def pictures(self) -> Floats:
        """Mean real and mean fake (2, H, W, 3) in [0, 255]."""
        return np.asarray(self._pictures / np.float32(self._n))

    @property
    def spectra(self) -> Floats:
        """Mean log10 power (2, h, w) of the middle of the luminance, at most 256 pixels a side; frequency 0 in the middle."""
        return np.asarray(self._spectra / np.float32(self._n))


def draw_means(means: Means) -> dict[str, Any]:
    """The pictures as data: URIs, and how far their differences are amplified."""
    (real, fake), (real_spectrum, fake_spectrum) = means.pictures, means.spectra
    difference, times = _around_grey(fake - real)
    excess, decades = _around_grey((fake_spectrum - real_spectrum) * 127.5)
    low, high = np.quantile(means.spectra, (0.01, 0.999))
    scale = 255 / max(high - low, 1e-6)
    return {
        "real": data_uri(_bytes(real)),
        "fake": data_uri(_bytes(fake)),
        "difference": data_uri(difference),
        "times": times,
        "corners": data_uri(_corners(difference)),
        "corner": min(CORNER, *real.shape[:2]),
        "real_spectrum": data_uri(_bytes((real_spectrum - low) * scale)),
        "fake_spectrum": data_uri(_bytes((fake_spectrum - low) * scale)),
        "spectrum_difference": data_uri(excess),
        "power": 10 ** (1 / decades),  # of the fakes against the reals, where white
        "has_few_pixels": max(real.shape[:2]) < EDGE,
    }


def _around_grey(difference: Floats) -> tuple[Bytes, float]:
    """Bytes with 0 as mid grey, and how many times it is amplified: as often as leaves 99 % of the values in range."""
    reach = float(np.quantile(np.abs(difference), 0.99))
    times = next((2.0**k for k in range(6, -1, -1) if reach * 2**k <= 127), 0.5)
    return _bytes(127.5 + difference * times), times


def _corners(picture: Bytes) -> Bytes:
    """The four corners, enlarged, each where it belongs."""
    side = min(CORNER, *picture.shape[:2])
    rows = [np.concatenate((half[:, :side], half[:, -side:]), 1) for half in (picture[:side], picture[-side:])]
    return np.concatenate(rows).repeat(ENLARGED, 0).repeat(ENLARGED, 1)


def _bytes(values: Floats) -> Bytes:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def data_uri(pixels: Bytes) -> str:
    """A lossless data: URI of at most 256 pixels."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((EDGE, EDGE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _spectrum(luminance: Plane) -> Plane:
    top, left = (max(0, (length - EDGE) // 2) for length in luminance.shape)
    window = luminance[top : top + EDGE, left : left + EDGE]
    height, width = window.shape
    # The edges fade out, or the step from one to the opposite would draw a bright cross.
    faded = (window - window.mean()) * np.outer(np.hanning(height), np.hanning(width)).astype(np.float32)
    return np.asarray(fft.fftshift(np.log10(np.abs(fft.fft2(faded)) ** 2 / faded.size + 1e-3)))
