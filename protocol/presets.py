"""Protocols from the literature: what each publication fixes, and how a study that is run here departs from it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from protocol.design import StudyDesign

# How a value is told that has no word of its own.
UNLIMITED = "unlimited"


@dataclass(frozen=True)
class Preset:
    """Values of a study.toml: ``published`` stand in the source, ``ours`` fill in what it leaves open.

    ``picture_px`` is the size of the pictures in the source, width and height; a study takes that of its pair sets.
    """

    source: str
    published: Mapping[str, Any]
    ours: Mapping[str, Any] = field(default_factory=dict)
    picture_px: int | None = None

    def values(self) -> dict[str, Any]:
        """Both together, section by section."""
        merged = {key: dict(value) if isinstance(value, Mapping) else value for key, value in self.ours.items()}
        for key, value in self.published.items():
            merged[key] = {**merged.get(key, {}), **value} if isinstance(value, Mapping) else value
        return merged


_ZHANG: dict[str, Any] = {
    "task": "2afc",
    "presentation": "side_by_side",
    "question": "fake",
    "trials": {"practice": 10, "feedback": True, "main": 40},
    "exposure": {"duration_ms": 1000, "mask_ms": 0},
    "assignment": {"conditions": "between"},
}

PRESETS: dict[str, Preset] = {
    "zhang2016": Preset(
        "Zhang, Isola & Efros 2016, Colorful image colorization, ECCV, sec. 3.1",
        {**_ZHANG, "trials": {**_ZHANG["trials"], "catch": 4}},  # one trial in ten
        picture_px=256,
    ),
    "pix2pix2017": Preset(
        "Isola, Zhu, Zhou & Efros 2017, Image-to-image translation with conditional adversarial networks, CVPR, sec. 3.2",
        _ZHANG,
        picture_px=256,
    ),
    "cyclegan2017": Preset(
        "Zhu, Park, Isola & Efros 2017, Unpaired image-to-image translation using cycle-consistent adversarial networks, "
        "ICCV, sec. 5.1.1",
        {**_ZHANG, "question": "real"},
        picture_px=256,
    ),
    "ding2018": Preset(
        "Ding 2018: pairs side by side, until the answer",
        {"task": "2afc", "presentation": "side_by_side", "exposure": {"duration_ms": UNLIMITED}},
        {"question": "fake", "trials": {"practice": 10, "main": 40}},
    ),
    "hype_infinity": Preset(
        "Zhou et al. 2019, HYPE: A benchmark for human eye perceptual evaluation of generative models, NeurIPS, sec. 3.2",
        {
            "task": "yes_no",
            "trials": {"practice": 100, "feedback": True, "main": 100},
            "exposure": {"duration_ms": UNLIMITED},
            "qualification": {"min_correct": 0.65},
            "assignment": {"conditions": "between"},
        },
        {"question": "real"},
    ),
    "hype_time": Preset(
        "Zhou et al. 2019, HYPE: A benchmark for human eye perceptual evaluation of generative models, NeurIPS, sec. 3.1; "
        "steps in the order of Kaernbach 1991, Simple adaptive testing with the weighted up-down method",
        {
            "task": "yes_no",
            "trials": {"main": 150, "blocks": 3},
            "exposure": {"duration_ms": "adaptive", "mask_ms": 120, "masks": 4},
            "staircase": {"start_ms": 500, "min_ms": 100, "max_ms": 1000, "down_ms": 10, "up_ms": 30},
            "assignment": {"conditions": "between"},
        },
        {"question": "real", "trials": {"practice": 10}},
    ),
}
DEFAULT_PRESET = "zhang2016"


@dataclass(frozen=True)
class Deviation:
    """One value in which a study departs from its protocol; ``key`` as in study.toml, values as people read them."""

    key: str
    published: str
    here: str


def deviations(design: "StudyDesign", picture_px: tuple[int, int] | None = None) -> tuple[Deviation, ...]:
    """How a study departs from its protocol; ``picture_px``: width and height of its pictures, where they are known."""
    preset = PRESETS[design.protocol]
    here = design.model_dump(mode="json")
    found = list(_differences(preset.published, here))
    if preset.picture_px and picture_px and set(picture_px) != {preset.picture_px}:
        published = f"{preset.picture_px} × {preset.picture_px} px"
        found.append(Deviation("picture size", published, f"{picture_px[0]} × {picture_px[1]} px"))
    for kind in ("catch", "repeat"):  # none where the source names none
        n = getattr(design.trials, kind)
        if n and kind not in preset.published.get("trials", {}):
            found.append(Deviation(f"trials.{kind}", "0", str(n)))
    return tuple(found)


def leaves(values: Mapping[str, Any], where: str = "") -> Iterator[tuple[str, Any]]:
    """Every single setting with its key, as in ``exposure.duration_ms``."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{where}{key}.")
        else:
            yield f"{where}{key}", value


def _differences(published: Mapping[str, Any], here: Mapping[str, Any]) -> Iterator[Deviation]:
    settings = dict(leaves(here))  # without those of a section that is left out
    for key, value in leaves(published):
        if settings.get(key) != value:
            yield Deviation(key, _told(value), _told(settings.get(key)))


def _told(value: Any) -> str:
    return "none" if value is None else "yes" if value is True else "no" if value is False else str(value)
