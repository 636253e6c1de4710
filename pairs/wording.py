"""How each cue is judged and put in words; differences and settings of all pairs in, one sentence on them out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from pairs.answers import Floats

Cause = Literal["road", "content"]
Words = tuple[str, ...]

SETTINGS, METADATA, ALIGNMENT = "encoder settings", "metadata", "alignment"
ALL_ROAD, ALL = "all road cues", "all cues"
NAMED_METADATA = 20
NAMED_IDS = 5


@dataclass(frozen=True)
class NumberCue:
    """How a cue that is a number is judged and put in words; it is ``per`` of its unit that counts as 1."""

    cause: Cause
    tolerance: float  # a smaller difference is a tie
    more: str
    less: str
    unit: str
    remedy: str
    value: str  # how one picture's is written
    per: float = 1.0


_SAME_ENCODER = (
    "Make the pair set again, so that one encoder writes both sides; PNG without compression makes all files equal."
)
SAME_ROAD = "Give the real pictures at the size at which the generator saw them, or larger fakes, so that both sides are resized alike."
NUMBER_CUES: Final = {
    "file size": NumberCue(
        "road", 0, "is the larger file", "is the smaller file", "bytes", _SAME_ENCODER, "{:,.0f} bytes"
    ),
    "compression ratio": NumberCue(
        "road",
        0.0005,
        "compresses worse",
        "compresses better",
        "% of the raw size",
        _SAME_ENCODER,
        "{:.1%} of the raw size",
        0.01,
    ),
    "mean luminance": NumberCue(
        "road",
        0.25,
        "is brighter",
        "is darker",
        "of 255",
        "Look for a wrong range, gamma or rounding of the fakes; a generator that shifts brightness can be accepted by name.",
        "{:.1f} of 255",
    ),
    "clipping": NumberCue(
        "road",
        0.002,
        "has more black or white pixels",
        "has fewer black or white pixels",
        "% of the pixels",
        "Look for a wrong range of the fakes, or for reals that were brightened.",
        "{:.2%} of the pixels",
        0.01,
    ),
    "noise level": NumberCue("content", 0.05, "is noisier", "is less noisy", "of 255", SAME_ROAD, "{:.2f} of 255"),
    "sharpness": NumberCue("content", 0.02, "is sharper", "is less sharp", "octaves", SAME_ROAD, "{:.2f} octaves"),
    "border": NumberCue(
        "road",
        1.0,
        "has the odder border",
        "has the plainer border",
        "octaves",
        "Crop both sides, so that no padded or repeated line is left.",
        "{:.2f} octaves",
    ),
    "jpeg grid": NumberCue(
        "road",
        0.01,
        "shows more of a JPEG grid",
        "shows less of a JPEG grid",
        "% of the coefficients",
        "Save the generator's pictures without loss, and reduce the photos in size if they come from JPEG files.",
        "{:.1%} of the coefficients",
        0.01,
    ),
    "upsampling spectrum": NumberCue(
        "content",
        0.1,
        "has higher peaks of upsampling",
        "has lower peaks of upsampling",
        "octaves",
        SAME_ROAD,
        "{:.2f} octaves",
    ),
}
OF_CONTENT: Final = frozenset(name for name, cue in NUMBER_CUES.items() if cue.cause == "content") | {ALL}
REMEDIES: Final = {
    **{name: cue.remedy for name, cue in NUMBER_CUES.items()},
    SETTINGS: _SAME_ENCODER,
    METADATA: "Make the pair set again, which leaves all metadata behind.",
    ALL_ROAD: "Mend the cues that fail alone; if none does, their combination tells the sides apart.",
    ALL: "Mend the cues that fail alone.",
}


def number_sentence(difference: Floats, name: str) -> str:
    cue, n = NUMBER_CUES[name], len(difference)
    more, less = difference[difference > 0], difference[difference < 0]
    claim, mine = (cue.more, more) if len(more) >= len(less) else (cue.less, less)
    if not len(mine):
        return f"Real and fake are alike in all {n} pairs."
    by = np.abs(mine).mean() / cue.per
    amount = f"{by:,.0f}" if by >= 100 else f"{by:.2g}"
    return f"The fake {claim} in {len(mine)} of {n} pairs, by {amount} {cue.unit} on average."


def settings_sentence(real: Words, fake: Words) -> str:
    sides = []
    for side, settings in (("real", real), ("fake", fake)):
        kinds = Counter(settings)
        word, n = kinds.most_common(1)[0]
        sides.append(
            f"{side} {n} of {len(settings)} '{word}'"
            + (f" and {len(kinds) - 1} others" if kinds[word] < len(settings) else "")
        )
    return f"Encoder settings: {'; '.join(sides)}."


def metadata_sentence(ids: Words, real: Sequence[Words], fake: Sequence[Words]) -> str:
    sides = []
    for side, files in (("real", real), ("fake", fake)):
        counts = Counter(name for names in files for name in set(names))
        held = ", ".join(f"{name} in {n}" for name, n in counts.most_common(NAMED_METADATA))
        sides.append(f"{side} files hold {held or 'none'}")
    having = [identity for identity, *both in zip(ids, real, fake, strict=True) if any(both)]
    return f"Of {len(ids)} each, {' and '.join(sides)}{f' ({first(having)})' if having else ''}."


def first(ids: Sequence[str]) -> str:
    return ", ".join(ids[:NAMED_IDS]) + (f" and {len(ids) - NAMED_IDS} more" if len(ids) > NAMED_IDS else "")
