"""The check of the screen: what the browser measured in, what to store and what the study lacks out.

Kept is what matters for showing pictures, and no more: the sizes of window and screen, pixel ratio and zoom, refresh rate,
colour gamut and depth, the settings that change colours or motion, the kind of pointer, and the family of the browser
(one of four words, not its version or name string). With the calibration also how many CSS pixels a millimetre has.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from protocol.sections import Screen

GAMUTS = ("none", "srgb", "p3", "rec2020")  # each holds those before it

# ISO/IEC 7810 ID-1: bank cards, driving licences and many others.
CARD_MM = (85.60, 53.98)
# CSS pixels in a millimetre, from a television across the room to the densest phone.
LEAST_PX_PER_MM, MOST_PX_PER_MM = 2.0, 10.0

Pixels = Annotated[int, Field(ge=1, le=100_000)]
Scale = Annotated[float, Field(gt=0, le=100)]
Lack = Literal["width", "height", "gamut"]


class ScreenError(ValueError):
    """Measurements that no browser would send."""


class Measured(BaseModel):
    """Sizes are in CSS pixels. ``zoom`` is an estimate, of the browser's zoom; ``viewport_scale`` is that of two fingers."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)

    width_px: Pixels
    height_px: Pixels
    screen_width_px: Pixels
    screen_height_px: Pixels
    device_pixel_ratio: Scale
    viewport_scale: Scale | None = None
    zoom: Scale | None = None
    frame_interval_ms: Annotated[float, Field(gt=0, le=1000)] | None = None
    gamut: Literal["none", "srgb", "p3", "rec2020"]
    colour_bits: Annotated[int, Field(ge=1, le=128)]
    prefers_dark: bool
    forced_colours: bool
    reduced_motion: bool
    pointer: Literal["fine", "coarse", "none"]
    browser: Literal["chromium", "firefox", "safari", "other"]


def read_measured(sent: str) -> Measured:
    """The measurements in the JSON that the page sends.

    Raises:
        ScreenError: if they are incomplete or impossible.
    """
    try:
        return Measured.model_validate_json(sent)
    except ValidationError as error:
        first = error.errors()[0]
        raise ScreenError(f"{'.'.join(map(str, first['loc'])) or 'measured'}: {first['msg']}") from error


def lacks(measured: Measured, screen: Screen) -> list[Lack]:
    """What the study needs and this screen has not."""
    found: list[Lack] = []
    if measured.width_px < screen.min_width_px:
        found.append("width")
    if measured.height_px < screen.min_height_px:
        found.append("height")
    if screen.gamut != "any" and GAMUTS.index(measured.gamut) < GAMUTS.index(screen.gamut):
        found.append("gamut")
    return found


def read_px_per_mm(sent: str) -> dict[str, Any]:
    """The calibration as it is stored; nothing where it was skipped, or is no number that a screen has."""
    try:
        px_per_mm = float(sent)
    except ValueError:
        return {}
    return {"px_per_mm": round(px_per_mm, 3)} if LEAST_PX_PER_MM <= px_per_mm <= MOST_PX_PER_MM else {}
