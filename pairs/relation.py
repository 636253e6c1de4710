"""The two pictures of a pair in; whether one is the other shifted, and whether an observer could judge the pair at all, out."""

from dataclasses import dataclass

import numpy as np
from scipy import fft

from pairs.cues import Pixels, Plane, luminance_of, middle

ALIGNMENT_WINDOW = 129  # pixels: one more than the length of its transform
SAME_CONTENT = 0.5  # correlation of the edges above which two pictures show one photo
SAME_PLACE = 0.98  # correlation above which nothing better is looked for: one step aside it is far lower
GRAY_DIFFERENCE = 8  # of 255: channels that nowhere differ by more are a gray photograph, JPEG noise included
SEEN_DIFFERENCE, SEEN_SHARE = 4, 0.001  # of 255, and of the pixels: less cannot be seen


@dataclass(frozen=True)
class Relation:
    """How real and fake of a pair stand to each other.

    The fake's content lies ``dx`` pixels right and ``dy`` pixels below the real one's; ``same_content`` is the
    correlation of their edges there, at most 0.5 for unrelated pictures, which are not comparable.
    """

    dx: int
    dy: int
    same_content: float
    is_monochrome: bool
    is_nearly_identical: bool

    @property
    def is_comparable(self) -> bool:
        return self.same_content >= SAME_CONTENT

    @property
    def is_shifted(self) -> bool:
        return self.is_comparable and (self.dx, self.dy) != (0, 0)


def relate(real: Pixels, fake: Pixels) -> Relation:
    """Alignment and flags of one pair: two pictures of one shape, of at least 16x16 pixels."""
    dx, dy, same_content = _alignment(real, fake)
    return Relation(dx, dy, same_content, _is_monochrome(real), _is_nearly_identical(real, fake))


def _alignment(real: Pixels, fake: Pixels) -> tuple[int, int, float]:
    """Shift (dx, dy) of the fake and the correlation of the edges there: phase correlation (Kuglin & Hines 1975), checked."""
    a, b = (_edges(luminance_of(middle(pixels, ALIGNMENT_WINDOW))) for pixels in (real, fake))  # (h, w)
    unmoved = _correlation_at(a, b, 0, 0)
    if unmoved >= SAME_PLACE:
        return 0, 0, unmoved
    cross = np.conj(fft.rfft2(a)) * fft.rfft2(b)
    surface = fft.irfft2(cross / (np.abs(cross) + 1e-3), s=a.shape)
    dy, dx = (
        int(place) - length * (int(place) > length // 2)
        for place, length in zip(np.unravel_index(surface.argmax(), a.shape), a.shape, strict=True)
    )
    at_peak = _correlation_at(a, b, dx, dy)
    return (dx, dy, at_peak) if at_peak > unmoved else (0, 0, unmoved)


def _edges(luminance: Plane) -> Plane:
    """Diagonal steps, both sides cut to a multiple of 8, whose transforms are fast."""
    height, width = ((length - 1) // 8 * 8 for length in luminance.shape)
    return luminance[1 : height + 1, 1 : width + 1] - luminance[:height, :width]


def _correlation_at(a: Plane, b: Plane, dx: int, dy: int) -> float:
    """Correlation of ``a`` with ``b`` moved back by (dx, dy), where they overlap; 0 if one is flat or little overlaps.

    Five standard errors are taken off (Fisher 1921), as few pixels, and smooth ones, correlate by chance.
    """
    height, width = a.shape
    if abs(dx) > width * 3 // 8 or abs(dy) > height * 3 // 8:
        return 0.0
    a = a[max(0, -dy) : height - max(0, dy), max(0, -dx) : width - max(0, dx)]
    b = b[max(0, dy) : height + min(0, dy), max(0, dx) : width + min(0, dx)]
    power = float(np.vdot(a, a)) * float(np.vdot(b, b))
    if power == 0:
        return 0.0
    correlation = min(float(np.vdot(a, b)) / power**0.5, 0.9999)
    return float(np.tanh(np.arctanh(max(correlation, 0)) - 5 / a.size**0.5))


def _is_monochrome(pixels: Pixels) -> bool:
    # Nearly every picture is settled by a few of its pixels.
    return not _has_colour(pixels[::8, ::8]) and not _has_colour(pixels)


def _has_colour(pixels: Pixels) -> bool:
    return int(np.ptp(pixels, axis=2).max()) > GRAY_DIFFERENCE


def _is_nearly_identical(real: Pixels, fake: Pixels) -> bool:
    differs = np.maximum(real, fake) - np.minimum(real, fake) > SEEN_DIFFERENCE
    few = SEEN_SHARE * real.size / 3
    if np.count_nonzero(differs) >= 3 * few:  # so many channel values are of that many pixels: nearly every pair
        return False
    return bool(np.count_nonzero(differs[..., 0] | differs[..., 1] | differs[..., 2]) < few)
