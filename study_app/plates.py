"""Pseudo-isochromatic plates: a seed in, plates out, each a PNG of dots in which people with normal colour vision read a number.

They screen for colour-vision deficiency and diagnose nothing: screens are not calibrated, mild deficiencies may pass, and one
mistake is no finding.
"""

import io
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from PIL import Image

Axis = Literal["control", "protan", "deutan", "tritan"]

TRITAN_FROM = 6  # plates; a shorter screening asks about red and green alone

# Linear sRGB to L, M and S cones (Viénot, Brettel & Mollon 1999, from the fundamentals of Smith & Pokorny 1975).
LMS_FROM_RGB = np.array([[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]])
# The cone type that each dichromat lacks (Brettel, Viénot & Mollon 1997). Two colours that differ in no other are one to them.
MISSING_CONE: dict[Axis, int] = {"protan": 0, "deutan": 1, "tritan": 2}
# The share by which the missing cone's response to the figure is above, and to the ground below, that to the base colour.
CONE_CONTRAST: dict[Axis, float] = {"protan": 0.09, "deutan": 0.09, "tritan": 0.5}
BASE_RGB = np.array([0.36, 0.33, 0.26])  # linear; a warm gray from which all three contrasts stay within sRGB
CONTROL_CONTRAST = 0.5

SURROUND = 128  # sRGB gray, as the pages of the survey
LIGHTNESS = np.geomspace(0.62, 1.6, 15)  # factors on a dot's light, drawn alike for figure and ground
COVERAGES = 8  # steps of a dot's soft edge

# Lengths from here on are shares of the picture's side.
DISC_RADIUS = 0.485
GAP = 0.003
DOT_RADII = np.repeat([0.020, 0.017, 0.014, 0.0115, 0.0095, 0.008], [25, 60, 120, 220, 300, 300])
STROKE = 0.09
DIGIT_SIZES = {1: (0.32, 0.54), 2: (0.24, 0.49)}  # width and height of the strokes' centre lines, by number of digits
DIGIT_SPACING = 0.4


@dataclass(frozen=True)
class Plate:
    """``digit``: the number, of one or two digits, that is read; ``axis``: the deficiency that hides it, if any."""

    digit: str
    axis: Axis
    seed: int


@dataclass(frozen=True)
class Dots:
    """Centres (N, 2) as x and y from the upper left, radii (N,), and per dot: of the figure or not, step of LIGHTNESS."""

    centres: np.ndarray
    radii: np.ndarray
    is_figure: np.ndarray
    lightness: np.ndarray


def draw_plates(n: int, seed: int) -> list[Plate]:
    """``n`` plates with different numbers: a control that everyone can read, then protan and deutan in turn.

    From ``TRITAN_FROM`` plates on, one of them, not the first, is tritan.

    Raises:
        ValueError: if ``n`` is not 1 to 99, the numbers that there are.
    """
    if not 1 <= n <= 99:
        raise ValueError(f"{n} plates: a screening has 1 to 99")
    rng = np.random.default_rng(seed)
    first = rng.integers(2)
    axes: list[Axis] = [("protan", "deutan")[(first + i) % 2] for i in range(n - 1)]
    if n >= TRITAN_FROM:
        axes.insert(int(rng.integers(n - 1)), "tritan")
        axes.pop()
    numbers = rng.choice(np.arange(1, 100), n, replace=False)
    seeds = rng.integers(2**31, size=n)
    plates = zip(numbers, ["control", *axes], seeds, strict=True)
    return [Plate(str(number), axis, int(plate_seed)) for number, axis, plate_seed in plates]


def is_read(plate: Plate, answer: str) -> bool:
    """Whether ``answer`` is the plate's number, in the digits of any script, spaces and direction marks aside."""
    written = [char for char in answer if unicodedata.category(char)[0] not in "ZC"]
    return [unicodedata.decimal(char, None) for char in written] == [int(char) for char in plate.digit]


@lru_cache(maxsize=64)  # a page that is loaded again, or asked for by two at once
def render_plate(plate: Plate, size_px: int = 400) -> bytes:
    """The plate as a square palette PNG; the same dots at every size."""
    dots = lay_dots(plate)
    pixels = np.zeros((size_px, size_px), np.uint8)
    shades = (dots.is_figure * len(LIGHTNESS) + dots.lightness) * COVERAGES
    for (x, y), radius, shade in zip(dots.centres * size_px, dots.radii * size_px, shades, strict=True):
        left, top = int(x - radius - 1), int(y - radius - 1)
        window = pixels[top : int(y + radius + 2), left : int(x + radius + 2)]
        rows, columns = np.ogrid[: window.shape[0], : window.shape[1]]
        distance = np.hypot(columns + left + 0.5 - x, rows + top + 0.5 - y)
        coverage = np.rint(np.clip(radius - distance + 0.5, 0, 1) * COVERAGES).astype(int)
        np.copyto(window, (shade + coverage).astype(np.uint8), where=coverage > 0)
    picture = Image.fromarray(pixels)
    picture.putpalette(_palette(plate.axis).tobytes())
    png = io.BytesIO()
    picture.save(png, "PNG")
    return png.getvalue()


def lay_dots(plate: Plate) -> Dots:
    """The plate's dots. Neither their places and sizes nor their lightness depend on the number."""
    rng = np.random.default_rng(plate.seed)
    centres, radii = _pack(rng)
    lightness = rng.integers(len(LIGHTNESS), size=len(radii))
    return Dots(centres, radii, _distance_to_number(centres, plate.digit) < STROKE / 2, lightness)


def _pack(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Centres (N, 2) and radii (N,) of dots that fill the disc, large ones first, each where a random point has room."""
    x, y = rng.uniform(-DISC_RADIUS, DISC_RADIUS, (2, 16_000))
    room = DISC_RADIUS - np.sqrt(x**2 + y**2)  # the radius that fits about each point
    placed = []
    for radius in DOT_RADII + GAP / 2:
        fitting = np.flatnonzero(room >= radius)
        if not fitting.size:
            continue
        at_x, at_y = x[fitting[0]], y[fitting[0]]  # the points are in random order
        placed.append((at_x + 0.5, at_y + 0.5, radius - GAP / 2))
        room = np.minimum(room, np.sqrt((x - at_x) ** 2 + (y - at_y) ** 2) - radius)
        is_free = room >= DOT_RADII[-1]
        x, y, room = x[is_free], y[is_free], room[is_free]
    dots = np.array(placed)
    return dots[:, :2], dots[:, 2]


def _palette(axis: Axis) -> np.ndarray:
    """sRGB bytes (1 + 2 * steps of LIGHTNESS * COVERAGES, 3): the surround, then ground and figure, edges before middles.

    Light mixes linearly, so that the soft edges too lie on the line of confusion.
    """
    surround = _linear(np.full(3, SURROUND / 255))
    colours = np.multiply.outer(_ground_and_figure(axis), LIGHTNESS).transpose(0, 2, 1)[:, :, None]  # (2, steps, 1, 3)
    coverage = np.arange(1, COVERAGES + 1)[:, None] / COVERAGES
    mixed = surround + coverage * (colours - surround)  # (2, steps, coverages, 3)
    return np.rint(255 * _encoded(np.vstack([surround, mixed.reshape(-1, 3)]))).astype(np.uint8)


def _ground_and_figure(axis: Axis) -> np.ndarray:
    """Linear RGB (2, 3) at the middle lightness."""
    if axis == "control":
        return BASE_RGB * [[1 - CONTROL_CONTRAST], [1 + CONTROL_CONTRAST]]
    cone = MISSING_CONE[axis]
    change = CONE_CONTRAST[axis] * (LMS_FROM_RGB @ BASE_RGB)[cone]
    return BASE_RGB + np.outer([-change, change], np.linalg.inv(LMS_FROM_RGB)[:, cone])


def _linear(srgb: np.ndarray) -> np.ndarray:
    """Linear RGB from sRGB above 0.04, both in [0, 1] (IEC 61966-2-1)."""
    return ((srgb + 0.055) / 1.055) ** 2.4


def _encoded(linear: np.ndarray) -> np.ndarray:
    """sRGB from linear RGB, both in [0, 1] (IEC 61966-2-1)."""
    return np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)


def _distance_to_number(points: np.ndarray, number: str) -> np.ndarray:
    """How far each of the points (N, 2) is from the middle of the strokes of the centred ``number``."""
    size = np.array(DIGIT_SIZES[len(number)])
    distances = []
    for place, digit in enumerate(number):
        corner = 0.5 - size / 2 + [(place - (len(number) - 1) / 2) * DIGIT_SPACING, 0]
        distances += [_distance_to_line(points, corner + stroke * size) for stroke in _strokes(digit)]
    return np.min(distances, axis=0)


def _distance_to_line(points: np.ndarray, line: np.ndarray) -> np.ndarray:
    """The distance of each of the points (N, 2) to the line through the corners (M, 2)."""
    start, along = line[:-1], np.diff(line, axis=0)
    from_start = points[:, None] - start  # (N, M - 1, 2)
    share = np.clip((from_start * along).sum(2) / np.maximum((along**2).sum(1), 1e-12), 0, 1)
    return np.linalg.norm(from_start - share[..., None] * along, axis=2).min(1)


def _strokes(digit: str) -> list[np.ndarray]:
    """The digit's lines, each of corners (M, 2) in a box of side 1 with y downwards; no font, so alike everywhere."""
    if digit == "9":
        return [1 - stroke for stroke in _strokes("6")]
    strokes: dict[str, list[list[np.ndarray]]] = {
        "0": [[_arc(0.5, 0.5, 0.5, 0.5, 0, 360)]],
        "1": [[_line((0.15, 0.2), (0.6, 0), (0.6, 1))]],
        "2": [[_arc(0.5, 0.29, 0.46, 0.29, 190, 385), _line((0.04, 1), (1, 1))]],
        "3": [[_arc(0.46, 0.25, 0.46, 0.25, 200, 450), _arc(0.46, 0.75, 0.5, 0.25, 270, 520)]],
        "4": [[_line((0.5, 0), (0, 0.68), (1, 0.68))], [_line((0.8, 0.36), (0.8, 1))]],
        "5": [[_line((0.92, 0), (0.14, 0), (0.08, 0.46)), _arc(0.45, 0.67, 0.53, 0.33, 230, 510)]],
        "6": [[_arc(0.5, 0.69, 0.5, 0.31, 0, 360)], [_arc(0.78, 0.69, 0.78, 0.69, 180, 270)]],
        "7": [[_line((0, 0), (1, 0), (0.35, 1))]],
        "8": [[_arc(0.5, 0.24, 0.43, 0.24, 0, 360)], [_arc(0.5, 0.74, 0.5, 0.26, 0, 360)]],
    }
    return [np.vstack(pieces) for pieces in strokes[digit]]


def _line(*corners: tuple[float, float]) -> np.ndarray:
    return np.array(corners)


def _arc(x: float, y: float, width: float, height: float, start: float, stop: float) -> np.ndarray:
    """Corners (16, 2) on an ellipse about (x, y) with these half axes, from and to degrees clockwise from the right."""
    turn = np.radians(np.linspace(start, stop, 16))
    return np.column_stack([x + width * np.cos(turn), y + height * np.sin(turn)])
