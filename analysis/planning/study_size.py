"""Candidates for a study's size and what is asked of it in; the one to choose, and why, in sentences, out."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt

from scipy.special import expit, stdtrit

from analysis.planning.pilot import Pilot
from analysis.planning.power import Candidate
from analysis.planning.simulated_counts import Assumptions, PlanError, mean_logit, normal_nodes

# Fewer pictures say little about others, however many people look at them (docs/methods.md).
MIN_PAIRS = 100
_SPACE = "\u202f"  # narrow and unbreakable, between a number and its unit


@dataclass(frozen=True)
class Goal:
    """Half of the interval's width at most, and the power for the difference at least (None: not asked for)."""

    half_width: float = 0.05
    power: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.half_width < 0.5:
            raise PlanError(f"the half-width is {self.half_width:g}; give a fraction between 0 and .5, such as 0.05")
        if self.power is not None and not 0 < self.power < 1:
            raise PlanError(f"the power is {self.power:g}; give a fraction between 0 and 1, such as 0.8")

    def is_reached_by(self, one: Candidate) -> bool:
        return one.half_width <= self.half_width and (self.power is None or (one.power_difference or 0) >= self.power)


@dataclass(frozen=True)
class Cost:
    """Of one participant, in money."""

    each: float
    currency: str = "EUR"

    def __post_init__(self) -> None:
        if not 0 <= self.each < inf:
            raise PlanError(f"the cost is {self.each:g}; give an amount of money, such as 2.50")

    def of(self, n_participants: int) -> str:
        return f"{self.each * n_participants:,.2f}".replace(",", _SPACE) + _SPACE + self.currency


@dataclass(frozen=True)
class StudySize:
    """All that was found. ``if_alike`` and ``if_different``: the choice were spreads as small, or as large, as a pilot allows."""

    assumed: Assumptions
    goal: Goal
    found: tuple[Candidate, ...]
    experiments: int
    seed: int
    cost: Cost | None = None
    pilot: Pilot | None = None
    if_alike: Candidate | None = None
    if_different: Candidate | None = None

    @property
    def recommended(self) -> Candidate | None:
        return recommend(self.found, self.goal)


def recommend(found: Sequence[Candidate], goal: Goal) -> Candidate | None:
    """The fewest participants that reach the goal, then the fewest pairs; with MIN_PAIRS or more wherever that is possible."""
    reaching = [one for one in found if goal.is_reached_by(one)]
    reaching = [one for one in reaching if one.n_pairs >= MIN_PAIRS] or reaching
    return min(reaching, key=lambda one: (one.n_participants, one.n_pairs), default=None)


def nearest(found: Sequence[Candidate], goal: Goal) -> Candidate:
    """The best where nothing reaches the goal: the narrowest interval, or, where that is narrow enough, the most power."""
    if min(one.half_width for one in found) > goal.half_width:
        return min(found, key=lambda one: (one.half_width, one.n_participants))
    return max(found, key=lambda one: (one.power_difference or 0.0, -one.half_width))


def least_half_width(assumed: Assumptions, n_pairs: int) -> float:
    """What is left of the half-width with countless people, since so many pictures stand for all: t · sd / √K."""
    middle = mean_logit(assumed.fool_rate, assumed.participant_sd, assumed.pair_sd)
    nodes, weights = normal_nodes()
    of_pictures = weights @ expit(middle + assumed.participant_sd * nodes[:, None] + assumed.pair_sd * nodes)
    sd = sqrt(float(weights @ (of_pictures - assumed.fool_rate) ** 2))
    return min(0.5, float(stdtrit(n_pairs - 1, (1 + assumed.level) / 2)) * sd / sqrt(n_pairs))


def advice(size: StudySize) -> tuple[str, ...]:
    """What to do, in two or three sentences."""
    one = size.recommended
    if one is not None:
        cost = f", at a cost of {size.cost.of(one.n_participants)}" if size.cost else ""
        return f"{_ask(one).capitalize()}: {_width(size, one)}{cost}.", f"{_answers(size, one)}; {_power(size, one)}."
    best = nearest(size.found, size.goal)
    first = f"No size here reaches what was asked for; the nearest is to {_ask(best)}: {_width(size, best)}."
    return first, _way_on(size, best), f"With it, {_power(size, best)}."


def _way_on(size: StudySize, best: Candidate) -> str:
    """Why the goal is missed, and what would reach it."""
    limit = least_half_width(size.assumed, best.n_pairs)
    if best.half_width <= size.goal.half_width:
        return "The interval is narrow enough, but the difference needs more people, more pairs, or more trials each."
    if limit >= size.goal.half_width:
        return (
            f"More people would not help: with {best.n_pairs} pairs even countless people leave {points(limit)} points to "
            "either side, because so few pictures stand for all; make more pairs."
        )
    return f"More people would help: with {best.n_pairs} pairs, countless people would leave {points(limit)} points."


def pilot_advice(size: StudySize) -> tuple[str, ...]:
    """What the pilot tells, how roughly, and how the advice moves with it; nothing without a pilot."""
    pilot = size.pilot
    if pilot is None:
        return ()
    whose = "simulated participants" if pilot.is_simulated else "participants"
    seen = (
        f"The pilot ({pilot.n_participants} {whose}, {pilot.n_pairs} pairs, {pilot.n_trials} answers) tells the spreads "
        f"roughly: {_spread(pilot.participants)} logits among people, {_spread(pilot.pairs)} among pictures "
        f"(80{_SPACE}% intervals, themselves rough)."
    )
    return (
        seen,
        f"Were people and pictures as alike as that allows, {_enough(size.if_alike)}; "
        f"were they as different, {_enough(size.if_different)}.",
    )


def _spread(found: tuple[float, float, float]) -> str:
    estimate, low, high = found
    return f"{estimate:.2f} ({low:.2f} to {high:.2f})"


def _enough(one: Candidate | None) -> str:
    if one is None:
        return "no size here would be enough"
    return f"{one.n_participants} participants and {one.n_pairs} pairs would be enough"


def _ask(one: Candidate) -> str:
    return f"ask {one.n_participants} people and show {one.n_pairs} pairs"


def _width(size: StudySize, one: Candidate) -> str:
    return (
        f"the {percent(size.assumed.level)} interval of a fool rate near {percent(size.assumed.fool_rate)} is then expected "
        f"to reach {points(one.half_width)} points to either side (asked for: {points(size.goal.half_width)})"
    )


def _answers(size: StudySize, one: Candidate) -> str:
    answers = f"a pair gets {about(one.answers_per_pair)} answers"
    if size.assumed.n_conditions == 1:
        return f"Everyone sees {one.trials} pairs, and {answers}"
    if size.assumed.is_within:
        return f"In each condition everyone sees {one.trials} pairs, and {answers}"
    return f"Everyone sees {one.trials} pairs of one condition, and {answers} in each"


def _power(size: StudySize, one: Candidate) -> str:
    tell = f"the rate is told from 50{_SPACE}% in {share(one.power_half)} of such studies"
    if one.power_difference is None:
        return tell
    asked = "" if size.goal.power is None else f" (asked for: {percent(size.goal.power)})"
    difference = f"a difference of {points(size.assumed.difference)} points between two conditions"
    return f"{tell}, and {difference} is found in {share(one.power_difference)}{asked}"


def points(fraction: float) -> str:
    """A fraction in percentage points."""
    return f"{100 * fraction:.1f}"


def about(n: float) -> str:
    """A mean number of answers."""
    return f"{n:.0f}" if n >= 10 or n == int(n) else f"{n:.1f}"


def share(fraction: float) -> str:
    """A share of simulated studies, as roughly as they tell it: whole percent."""
    if fraction > 0.99:
        return f"> 99{_SPACE}%"
    return f"< 1{_SPACE}%" if fraction < 0.01 else f"{100 * fraction:.0f}{_SPACE}%"


def percent(fraction: float) -> str:
    return f"{100 * fraction:.3g}{_SPACE}%"
