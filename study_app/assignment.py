"""Which pairs a participant sees, in which order and on which sides: a design, the pairs and a seed in, trials out."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from protocol import InputError
from protocol.design import StudyDesign
from protocol.sections import Trials

# The condition that catch pairs bear.
CATCH = "catch"
# Trials from a pair to its repeat. Two other pairs between them are four pictures, about what visual working memory
# holds (Luck & Vogel 1997): sooner, the answer is remembered and not given anew.
REPEAT_DISTANCE = 3


class AssignmentError(InputError):
    """A design that its pair sets cannot fill."""


@dataclass(frozen=True)
class AvailablePair:
    """A pair that may be drawn; ``uses``: trials that have shown it to participants of the same origin so far."""

    pair_id: int
    condition: str
    photo_sha256: str
    uses: int = 0


@dataclass(frozen=True)
class DrawnTrial:
    """``real_side`` is one of the design's ``sides``. ``repeat_of``: place, in all trials, of the one shown again."""

    kind: str
    pair_id: int
    real_side: str
    block: int = 0
    repeat_of: int | None = None


@dataclass(frozen=True)
class _Need:
    """``n`` trials of a kind, each of which may show any of these pairs."""

    kind: str
    n: int
    pairs: Sequence[AvailablePair]


@dataclass(frozen=True)
class _Slot:
    """A trial before its pair and side are known."""

    kind: str
    block: int = 0
    repeat_of: int | None = None


def draw_trials(design: StudyDesign, pairs: Sequence[AvailablePair], seed: int) -> list[DrawnTrial]:
    """All trials of one session, practice first; the same arguments always give the same trials.

    No photo comes twice, whatever its condition, but in a repeat. Main and catch trials show the pairs that have been
    used least. In each condition, and each block of it, half of the main trials have the real picture on one side (one
    more or less where their number is odd); so do practice, catch trials and repeats, each as a whole. A repeat of two
    pictures draws its side anew, so that always taking one side does not look consistent; one of a single picture shows
    that picture again. Conditions seen within participants come in groups that hold each condition once.

    Raises:
        AssignmentError: if there are too few photos for the trials.
    """
    rng = np.random.default_rng(seed)
    by_condition: dict[str, list[AvailablePair]] = {}
    for pair in sorted(pairs, key=attrgetter("pair_id")):
        by_condition.setdefault(pair.condition, []).append(pair)
    conditions = _conditions_to_show(design, by_condition, rng)

    slots = _order(design.trials, rng)
    main = [i for i, slot in enumerate(slots) if slot.kind == "main"]
    repeated = {slot.repeat_of for slot in slots if slot.repeat_of is not None}
    condition_of = _conditions_in_turn(main, repeated, conditions, rng)
    side_of = _main_sides({i: (condition_of[i], slots[i].block) for i in main}, repeated, design.sides, rng)

    numbers = Counter(slot.kind for slot in slots)
    per_condition = numbers["main"] // len(conditions)
    shown = {condition: by_condition.get(condition, []) for condition in conditions}
    needs = [_Need("main", per_condition, shown[condition]) for condition in conditions]
    needs.append(_Need("catch", numbers["catch"], by_condition.get(CATCH, [])))
    needs.append(_Need("practice", numbers["practice"], [pair for one in shown.values() for pair in one]))
    *drawn, catch, practice = (iter(found) for found in _draw_pairs(needs, rng))
    main_of = dict(zip(conditions, drawn, strict=True))
    sides = {kind: iter(_balanced_sides(n, design.sides, rng)) for kind, n in numbers.items() if kind != "main"}

    trials: list[DrawnTrial] = []
    for i, slot in enumerate(slots):
        if slot.repeat_of is not None:
            original = trials[slot.repeat_of]
            side = original.real_side if design.task == "yes_no" else next(sides["repeat"])
            trials.append(DrawnTrial("repeat", original.pair_id, side, slot.block, slot.repeat_of))
        elif slot.kind == "main":
            trials.append(DrawnTrial("main", next(main_of[condition_of[i]]).pair_id, side_of[i], slot.block))
        else:
            pair = next(catch if slot.kind == "catch" else practice)
            trials.append(DrawnTrial(slot.kind, pair.pair_id, next(sides[slot.kind]), slot.block))
    return trials


def _conditions_to_show(
    design: StudyDesign, by_condition: Mapping[str, Sequence[AvailablePair]], rng: np.random.Generator
) -> list[str]:
    """Every condition, or, between participants, the one shown least so far."""
    if design.assignment.conditions == "within":
        return list(design.conditions)
    uses = {name: sum(pair.uses for pair in by_condition.get(name, [])) for name in design.conditions}
    fewest = min(uses.values())
    return [str(rng.choice(sorted(name for name, n in uses.items() if n == fewest)))]


def _order(trials: Trials, rng: np.random.Generator) -> list[_Slot]:
    """The kinds of all trials in order, and which main trial each repeat shows again.

    Every block has its share of catch trials, at random places, but none first and no two side by side; and its share of
    repeats, each REPEAT_DISTANCE or more after its original. Only where the first block with a repeat ends after two
    main trials is that one, at times, two trials after its original.
    """
    slots = [_Slot("practice")] * trials.practice
    n_main = trials.main // trials.blocks
    catches = rng.permutation(_shares(trials.catch, trials.blocks)).tolist()
    once: list[int] = []  # places of main trials without a repeat, ascending
    for block, (n_catch, n_repeat) in enumerate(zip(catches, _shares(trials.repeat, trials.blocks), strict=True)):
        n = n_main + n_repeat
        # Each catch trial follows one of another kind.
        followed = set(rng.choice(n, n_catch, replace=False).tolist())
        main_left, repeats_left = n_main, n_repeat
        for step in range(n):
            far = bisect_right(once, len(slots) - REPEAT_DISTANCE)
            if repeats_left and (not main_left or (far and rng.random() < repeats_left / (n - step))):
                slots.append(_Slot("repeat", block, once.pop(int(rng.integers(far)) if far else 0)))
                repeats_left -= 1
            else:
                once.append(len(slots))
                slots.append(_Slot("main", block))
                main_left -= 1
            if step in followed:
                slots.append(_Slot("catch", block))
    return slots


def _shares(n: int, parts: int) -> list[int]:
    """As even as it goes; later parts have one more, as a repeat finds more to repeat there."""
    return [n // parts + (part >= parts - n % parts) for part in range(parts)]


def _conditions_in_turn(
    main: Sequence[int], repeated: set[int], conditions: Sequence[str], rng: np.random.Generator
) -> dict[int, str]:
    """A condition for each main trial: every ``len(conditions)`` trials hold each once, and repeats are shared evenly."""
    condition_of: dict[int, str] = {}
    repeats = Counter(dict.fromkeys(conditions, 0))
    for start in range(0, len(main), len(conditions)):
        group = rng.permutation(main[start : start + len(conditions)]).tolist()
        group.sort(key=lambda i: i not in repeated)
        # The trials that are repeated take the conditions repeated least so far.
        turn = sorted(rng.permutation(conditions).tolist(), key=repeats.__getitem__)
        condition_of.update(zip(group, turn, strict=True))
        repeats.update(turn[: len(repeated.intersection(group))])
    return condition_of


def _main_sides(
    parts: Mapping[int, tuple[str, int]], repeated: set[int], words: tuple[str, str], rng: np.random.Generator
) -> dict[int | None, str]:
    """A side for each main trial, by its place; balanced in each condition, each block of it, and the repeated ones.

    The trials are paired twice, once within blocks and conditions, once within the repeated ones. Both pairings together
    are rings of even length, so opposite sides along each ring are opposite sides in every pair.
    """

    def pairing(order: list[int | None]) -> dict[int | None, int | None]:
        order += [None] * (len(order) % 2)
        couples = list(zip(order[::2], order[1::2], strict=True))
        return dict(couples) | {second: first for first, second in couples}

    places = list(parts)
    by_part = pairing([*sorted(rng.permutation(places).tolist(), key=lambda i: parts[i])])
    by_repeat = pairing([*sorted(rng.permutation(places).tolist(), key=lambda i: i not in repeated)])
    side_of: dict[int | None, str] = {}
    for start in places:
        one, other = rng.permutation(words).tolist()
        place: int | None = start
        while place not in side_of:
            partner = by_part[place]
            side_of[place], side_of[partner] = one, other
            place = by_repeat[partner]
    return side_of


def _balanced_sides(n: int, words: tuple[str, str], rng: np.random.Generator) -> list[str]:
    sides = [*words] * (n // 2) + ([str(rng.choice(words))] if n % 2 else [])
    rng.shuffle(sides)
    return sides


@cache
def _solver() -> Callable[[NDArray[np.float64]], tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """scipy's ``linear_sum_assignment`` by itself: with all of scipy.optimize, the first to start would wait half a second
    longer, and each process of the server would hold 35 MB more."""
    scipy = find_spec("scipy")
    folders = scipy.submodule_search_locations if scipy is not None else None
    found = PathFinder.find_spec("_lsap", [f"{folder}/optimize" for folder in folders or ()])
    if found is None or found.loader is None:  # another scipy keeps it elsewhere
        from scipy.optimize import linear_sum_assignment

        return linear_sum_assignment
    module = module_from_spec(found)
    found.loader.exec_module(module)
    return module.linear_sum_assignment


def _draw_pairs(needs: Sequence[_Need], rng: np.random.Generator) -> list[list[AvailablePair]]:
    """The pairs of each need in random order: no photo twice, with the fewest uses in total; ties fall by chance.

    Raises:
        AssignmentError: if there are too few photos; the needs that come first are served first.
    """
    n = sum(need.n for need in needs)
    candidates = [_least_used(need, n, rng) for need in needs]
    photos = list(dict.fromkeys(photo for found in candidates for photo in found))
    column = {photo: i for i, photo in enumerate(photos)}
    # A row for each trial, a column for each photo; and n columns to go without one, at a price above all uses together.
    price = 1 + n * max((pair.uses for found in candidates for pair in found.values()), default=0)
    costs = np.full((len(needs), len(photos) + n), np.inf)
    for rank, (need, found) in enumerate(zip(needs, candidates, strict=True)):
        costs[rank, [column[photo] for photo in found]] = [_cost(need, pair) for pair in found.values()]
        costs[rank, len(photos) :] = price * (len(needs) - rank)
    need_of_row = np.repeat(np.arange(len(needs)), np.array([need.n for need in needs]))
    _, taken = _solver()(costs[need_of_row])  # (n,)
    drawn = [
        [found[photos[i]] for i in rng.permutation(taken[need_of_row == rank]) if i < len(photos)]
        for rank, found in enumerate(candidates)
    ]
    for kind in dict.fromkeys(need.kind for need in needs):
        wanted = sum(need.n for need in needs if need.kind == kind)
        served = sum(len(got) for need, got in zip(needs, drawn, strict=True) if need.kind == kind)
        if served < wanted:
            left = "" if kind == "main" else " left"
            raise AssignmentError(
                f"{wanted} {kind} trials need {wanted} different photos, found {served}{left} that fit; "
                "ask for fewer trials, or make larger pair sets"
            )
    return drawn


def _least_used(need: _Need, n: int, rng: np.random.Generator) -> dict[str, AvailablePair]:
    """The pairs of the ``n`` least used photos, by photo: whichever the other trials take, enough of ``n`` are left."""
    found: dict[str, AvailablePair] = {}
    if need.n:
        costs = np.array([_cost(need, pair) for pair in need.pairs])
        for i in np.lexsort((rng.random(len(costs)), costs)).tolist():
            if len(found) == n:
                break
            found.setdefault(need.pairs[i].photo_sha256, need.pairs[i])
    return found


def _cost(need: _Need, pair: AvailablePair) -> int:
    """Practice takes its pairs as they come, so that main trials have the choice of those used least."""
    return 0 if need.kind == "practice" else pair.uses
