"""Which pairs a participant sees, in which order and on which sides: a design, the pairs and a seed in, trials out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from protocol import InputError
from protocol.design import StudyDesign


class AssignmentError(InputError):
    """A design that its pair sets cannot fill."""


@dataclass(frozen=True)
class AvailablePair:
    """A pair that may be drawn; ``uses``: main trials that have shown it to participants of the same origin so far."""

    pair_id: int
    condition: str
    photo_sha256: str
    uses: int = 0


@dataclass(frozen=True)
class DrawnTrial:
    kind: str
    pair_id: int
    real_side: str


def draw_trials(design: StudyDesign, pairs: Sequence[AvailablePair], seed: int) -> list[DrawnTrial]:
    """All trials of one session, practice first; the same arguments always give the same trials.

    No photo comes twice, whatever its condition. Pairs used least come first. In each condition the real picture is on
    the left in half of the main trials (one more or less where their number is odd), and so for practice as a whole.
    Conditions seen within participants come in blocks that hold each condition once.

    Raises:
        AssignmentError: if there are too few photos for the trials.
    """
    rng = np.random.default_rng(seed)
    pairs = sorted(pairs, key=lambda pair: (pair.condition, pair.photo_sha256))
    conditions = _conditions_to_show(design, pairs, rng)
    pairs = [pair for pair in pairs if pair.condition in conditions]

    per_condition = design.trials.main // len(conditions)
    main = _take([c for c in conditions for _ in range(per_condition)], pairs, rng)
    shown = {pair.photo_sha256 for pair in main}
    rest = [pair for pair in pairs if pair.photo_sha256 not in shown]
    practice = _take_any(design.trials.practice, rest, rng)

    trials = [
        DrawnTrial("practice", pair.pair_id, side)
        for pair, side in zip(practice, _balanced_sides(len(practice), rng), strict=True)
    ]
    columns = []
    for condition in conditions:
        chosen = [pair for pair in main if pair.condition == condition]
        rng.shuffle(chosen)
        sides = _balanced_sides(per_condition, rng)
        columns.append([DrawnTrial("main", pair.pair_id, side) for pair, side in zip(chosen, sides, strict=True)])
    for block in zip(*columns, strict=True):
        trials.extend(block[i] for i in rng.permutation(len(block)))
    return trials


def _conditions_to_show(design: StudyDesign, pairs: Sequence[AvailablePair], rng: np.random.Generator) -> list[str]:
    """Every condition, or, between participants, the one shown least so far."""
    if design.assignment.conditions == "within":
        return list(design.conditions)
    uses = Counter(dict.fromkeys(design.conditions, 0))
    for pair in pairs:
        uses[pair.condition] += pair.uses
    fewest = min(uses.values())
    return [str(rng.choice(sorted(condition for condition, n in uses.items() if n == fewest)))]


def _take(slots: list[str], pairs: Sequence[AvailablePair], rng: np.random.Generator) -> list[AvailablePair]:
    """A pair of the wanted condition for each slot, no photo twice, with the fewest uses in total; ties fall by ``rng``."""
    from scipy.optimize import linear_sum_assignment

    photos = {photo: column for column, photo in enumerate(sorted({pair.photo_sha256 for pair in pairs}))}
    if len(photos) < len(slots):
        raise AssignmentError(_too_few(len(slots), len(photos)))
    cost = {condition: np.full(len(photos), np.inf) for condition in slots}
    found: dict[tuple[str, int], AvailablePair] = {}
    for pair in pairs:
        if pair.condition in cost:
            column = photos[pair.photo_sha256]
            cost[pair.condition][column] = pair.uses
            found[pair.condition, column] = pair
    # The random part decides between equals only: all of it together is less than one use.
    matrix = np.stack([cost[condition] for condition in slots]) + rng.random((len(slots), len(photos))) / (
        len(slots) + 1
    )
    try:
        rows, columns = linear_sum_assignment(matrix)
    except ValueError as error:
        raise AssignmentError(_too_few(len(slots), len(photos))) from error
    return [found[slots[row], column] for row, column in zip(rows, columns, strict=True)]


def _take_any(n: int, pairs: Sequence[AvailablePair], rng: np.random.Generator) -> list[AvailablePair]:
    """``n`` pairs of any condition at random, no photo twice."""
    taken: dict[str, AvailablePair] = {}
    for i in rng.permutation(len(pairs)):
        if len(taken) == n:
            break
        taken.setdefault(pairs[i].photo_sha256, pairs[i])
    if len(taken) < n:
        raise AssignmentError(_too_few(n, len(taken), "practice"))
    return list(taken.values())


def _too_few(wanted: int, found: int, kind: str = "main") -> str:
    left = " left" if kind == "practice" else ""
    return (
        f"{wanted} {kind} trials need {wanted} different photos, found {found}{left} that fit; "
        "ask for fewer trials, or make larger pair sets"
    )


def _balanced_sides(n: int, rng: np.random.Generator) -> list[str]:
    sides = ["left", "right"] * (n // 2) + ([str(rng.choice(["left", "right"]))] if n % 2 else [])
    rng.shuffle(sides)
    return sides
