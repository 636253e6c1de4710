"""What is believed of people and pictures in; the fooled answers of simulated experiments, counted, out.

Participants and pairs differ logit-normally, and everyone sees the pairs shown least so far, as in the survey.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import brentq
from scipy.special import expit

from protocol import InputError

_MAX_SD = 5.0  # logits; beyond, every answer follows from who or what it is on

Floats = NDArray[np.float64]


class PlanError(InputError):
    """A plan for a study that cannot be, or that asks for what cannot be reached in principle."""


@dataclass(frozen=True)
class Assumptions:
    """What is believed beforehand. Rates are fractions, spreads are standard deviations in logits.

    Attributes:
        fool_rate: over all people and pictures.
        trials: main trials of one participant, over all conditions that they see.
        shared: the part of either variance that a person, or a photo, has in common over conditions.
        is_within: everyone sees every condition; else everyone sees one.
        difference: between the fool rates of two conditions, to be found.
    """

    fool_rate: float = 0.4
    participant_sd: float = 0.5
    pair_sd: float = 0.6
    trials: int = 40
    n_conditions: int = 1
    is_within: bool = False
    shared: float = 0.5
    difference: float = 0.05
    level: float = 0.95

    def __post_init__(self) -> None:
        for what, value, low, high, advice in (
            ("the fool rate", self.fool_rate, 0.005, 0.995, "a fraction from .005 to .995, such as 0.4"),
            ("the participants' spread", self.participant_sd, 0, _MAX_SD, "logits from 0 to 5, such as 0.5"),
            ("the pairs' spread", self.pair_sd, 0, _MAX_SD, "logits from 0 to 5, such as 0.6"),
            ("the shared part", self.shared, 0, 1, "a fraction from 0 to 1, such as 0.5"),
            ("the difference to find", self.difference, 0.001, 0.9, "a fraction from .001 to .9, such as 0.05"),
            ("the level", self.level, 0.5, 0.9999, "a fraction such as 0.95"),
            ("the number of trials", self.trials, 1, 2000, "a whole number from 1 to 2000, such as 40"),
            ("the number of conditions", self.n_conditions, 1, 50, "a whole number from 1 to 50"),
        ):
            if not low <= value <= high:  # NaN is outside, too
                raise PlanError(f"{what} is {value:g}; give {advice}")
        if self.is_within and self.trials < self.n_conditions:
            raise PlanError(f"{self.trials} trials cannot show {self.n_conditions} conditions; give more trials")

    @property
    def rates(self) -> tuple[float, ...]:
        """The fool rate of one condition, or of two to compare: the second is higher, or lower where it would reach 1."""
        if self.n_conditions == 1:
            return (self.fool_rate,)
        other = self.fool_rate + self.difference
        if other > 0.995:
            other = self.fool_rate - self.difference
        if other < 0.005:
            raise PlanError(
                f"no fool rate differs from {self.fool_rate:g} by {self.difference:g}; give a smaller difference"
            )
        return self.fool_rate, other

    def trials_of_condition(self, n_pairs: int) -> int:
        """How many trials of one condition a participant sees; no photo comes twice."""
        seen = min(self.trials, n_pairs)
        return seen // self.n_conditions if self.is_within else seen


def mean_logit(rate: float, participant_sd: float, pair_sd: float) -> float:
    """The logit of the middle person and picture where the fool rate over all is ``rate``."""
    nodes, weights = normal_nodes()
    spread = float(np.hypot(participant_sd, pair_sd))
    return float(brentq(lambda middle: weights @ expit(middle + spread * nodes) - rate, -60, 60))


@cache
def normal_nodes() -> tuple[Floats, Floats]:
    """Where to look at a standard normal variable, and the weights of a mean over it (Gauss-Hermite)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(61)
    return nodes, weights / weights.sum()


def assign(
    rng: np.random.Generator, n_conditions: int, n_people: int, n_pairs: int, trials: int, is_within: bool
) -> list[NDArray[np.intp]]:
    """The pairs that each participant sees, (people, trials) for each condition: those shown least so far, ties by chance.

    As ``study_app.assignment`` does it: within participants, no photo comes twice, whatever its condition.
    """
    shown = [np.empty((n_people, trials), dtype=np.intp) for _ in range(n_conditions)]
    uses = np.zeros((n_conditions, n_pairs))
    for person in range(n_people):
        seen = np.zeros((n_conditions, n_pairs), dtype=bool)
        for condition in rng.permutation(n_conditions):
            cost = uses[condition] + rng.random(n_pairs)
            cost[seen[condition]] = np.inf
            least = np.argpartition(cost, trials - 1)[:trials]
            shown[condition][person] = least
            uses[condition, least] += 1
            seen[slice(None) if is_within else condition, least] = True
    return shown


@dataclass(frozen=True)
class Counts:
    """Fooled answers of E experiments on one condition, by participant (J, E) and by pair (K, E); everyone answers equally often.

    ``pair_n`` (K, 1): how many answers each pair has. No one sees a pair twice.
    """

    of_people: Floats
    of_pairs: Floats
    pair_n: Floats
    trials: int

    @property
    def n(self) -> int:
        return self.trials * len(self.of_people)

    @property
    def n_pairs(self) -> int:
        return int(np.count_nonzero(self.pair_n))

    @property
    def n_units(self) -> int:
        return min(len(self.of_people), self.n_pairs)

    @property
    def rate(self) -> Floats:
        """(E,)"""
        return self.of_people.sum(axis=0) / self.n


def draw(
    rng: np.random.Generator, assumed: Assumptions, shown: Sequence[NDArray[np.intp]], n_pairs: int, experiments: int
) -> list[Counts]:
    """Answers of so many experiments, counted, for each condition; the same photos (and within, people) in both."""
    n_conditions = len(shown)
    shared_people = assumed.shared if assumed.is_within else 0.0
    people = _effects(rng, assumed.participant_sd, shared_people, (n_conditions, len(shown[0]), experiments))
    pairs = _effects(rng, assumed.pair_sd, assumed.shared, (n_conditions, n_pairs, experiments))
    return [
        count(answers(rng, rate, assumed, seen, people[i], pairs[i]), seen, n_pairs)
        for i, (rate, seen) in enumerate(zip(assumed.rates, shown, strict=True))
    ]


def _effects(rng: np.random.Generator, sd: float, shared: float, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """Normal effects in logits, (conditions, units, experiments), which correlate by ``shared`` over conditions."""
    own = rng.standard_normal(shape, dtype=np.float32)
    if shape[0] > 1:
        own = sqrt(shared) * rng.standard_normal(shape[1:], dtype=np.float32) + sqrt(1 - shared) * own
    return (sd * own).astype(np.float32)


def answers(
    rng: np.random.Generator,
    rate: float,
    assumed: Assumptions,
    seen: NDArray[np.intp],
    people: NDArray[np.float32],
    pairs: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Whether each answer was fooled, 1 or 0, (people, trials, experiments)."""
    middle = mean_logit(rate, assumed.participant_sd, assumed.pair_sd)
    # U < expit(m + u + v) is U · (1 + e^-(m + u) · e^-v) < 1: exponentials per unit and not per answer.
    odds_of_people = np.exp(-np.float32(middle) - people)[:, None, :]  # (J, 1, E)
    against = odds_of_people * np.exp(-pairs)[seen]  # (J, trials, E)
    against += 1
    against *= rng.random(against.shape, dtype=np.float32)
    return (against < 1).astype(np.float32)


def count(fooled: NDArray[np.float32], seen: NDArray[np.intp], n_pairs: int) -> Counts:
    """Answers (people, trials, experiments) by participant and by pair."""
    n_people, trials, experiments = fooled.shape
    pair_of = sparse.csr_array(
        (np.ones(seen.size, dtype=np.float32), (seen.ravel(), np.arange(seen.size))), shape=(n_pairs, seen.size)
    )
    return Counts(
        of_people=fooled.sum(axis=1).astype(float),
        of_pairs=(pair_of @ fooled.reshape(n_people * trials, experiments)).astype(float),
        pair_n=np.bincount(seen.ravel(), minlength=n_pairs).astype(float)[:, None],
        trials=trials,
    )
