"""What is believed of people and pictures in; how wide the interval gets with so many of either, and what is found, out.

Everything is simulated. The intervals and tests are those of the report, computed for many simulated experiments at once.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, stdtrit

from analysis.margins import NEAR_THE_END, SKEWED_UNITS
from analysis.planning.simulated_counts import Assumptions, Counts, Floats, PlanError, assign, draw

N_PARTICIPANTS = (20, 40, 60, 80, 120, 160, 240)
N_PAIRS = (20, 50, 100, 150, 200)
_CHUNK = 2**20  # answers simulated at once: as much as a processor keeps near
_ROUNDING = 1e-12

Progress = Callable[[Sequence[Any]], Iterable[Any]]


@dataclass(frozen=True)
class Candidate:
    """So many participants (over all conditions) and pairs (each in every condition), and what to expect. Rates are fractions.

    Attributes:
        trials: one participant's trials of one condition.
        answers_per_pair: in one condition, on average.
        half_width: half of the headline interval's mean width.
        coverage: how often the interval holds the true rate; a check of the method, near the level.
        power_half: how often the interval leaves out 50 %.
        power_difference: how often the clustered test finds the difference; None with one condition.
    """

    n_participants: int
    n_pairs: int
    trials: int
    answers_per_pair: float
    half_width: float
    coverage: float
    power_half: float
    power_difference: float | None


def candidates(
    assumed: Assumptions,
    n_participants: Sequence[int] = N_PARTICIPANTS,
    n_pairs: Sequence[int] = N_PAIRS,
    experiments: int = 1000,
    seed: int = 1,
    progress: Progress = iter,
) -> tuple[Candidate, ...]:
    """Every number of participants with every number of pairs, ascending. The same arguments give the same numbers.

    Raises:
        PlanError: if one of them is too small for the trials or the conditions.
    """
    if experiments < 1:
        raise PlanError(f"{experiments} experiments show nothing; simulate 100 or more")
    people_apart = 1 if assumed.is_within else assumed.n_conditions
    for n, least, what in (
        (min(n_participants, default=0), 2 * people_apart, "participants"),
        (min(n_pairs, default=0), max(2, assumed.n_conditions if assumed.is_within else 1), "pairs"),
    ):
        if n < least:
            conditions = f"{assumed.n_conditions} condition{'s' * (assumed.n_conditions > 1)}"
            raise PlanError(f"{n} {what} are too few for {conditions}; give {least} or more")
    grid = [(pairs, people) for pairs in sorted(set(n_pairs)) for people in sorted(set(n_participants))]
    return tuple(
        expect(assumed, people, pairs, experiments, np.random.default_rng([seed, people, pairs]))
        for pairs, people in progress(grid)
    )


def expect(
    assumed: Assumptions, n_participants: int, n_pairs: int, experiments: int, rng: np.random.Generator
) -> Candidate:
    """Simulate so many experiments of one size."""
    n_people = n_participants if assumed.is_within else n_participants // assumed.n_conditions
    trials = assumed.trials_of_condition(n_pairs)
    shown = assign(rng, len(assumed.rates), n_people, n_pairs, trials, assumed.is_within)
    size = max(1, _CHUNK // shown[0].size)
    halves, covered, off_half, differing = [], [], [], []
    for start in range(0, experiments, size):
        counts = draw(rng, assumed, shown, n_pairs, min(size, experiments - start))
        low, high = intervals(counts[0], assumed.level)
        halves.append((high - low) / 2)
        covered.append((low <= assumed.fool_rate) & (assumed.fool_rate <= high))
        off_half.append((low > 0.5) | (high < 0.5))
        if len(counts) > 1:
            differing.append(differ(counts[0], counts[1], assumed.is_within, assumed.level))
    return Candidate(
        n_participants=n_participants,
        n_pairs=n_pairs,
        trials=trials,
        answers_per_pair=n_people * trials / n_pairs,
        half_width=float(np.concatenate(halves).mean()),
        coverage=float(np.concatenate(covered).mean()),
        power_half=float(np.concatenate(off_half).mean()),
        power_difference=float(np.concatenate(differing).mean()) if differing else None,
    )


def intervals(counts: Counts, level: float) -> tuple[Floats, Floats]:
    """``intervals.two_way`` of every experiment: the lower ends (E,) and the upper ends (E,)."""
    rate, n_units = counts.rate, counts.n_units
    people, pairs, by_cell = _errors(counts)
    variance = _joined(_squares(people), _squares(pairs), by_cell)
    if n_units <= SKEWED_UNITS:
        variance = np.where(
            np.abs(rate - 0.5) > 0.5 - NEAR_THE_END, _with_jackknife(counts, variance, by_cell), variance
        )
    with np.errstate(divide="ignore", invalid="ignore"):  # rates of 0 and 1 are answered below
        half = stdtrit(n_units - 1, (1 + level) / 2) * np.sqrt(variance) / (rate * (1 - rate))
        low, high = expit(logit(rate) - half), expit(logit(rate) + half)
    # Clopper & Pearson 1934 for none, and for all, of n_units.
    exact = 1 - ((1 - level) / 2) ** (1 / n_units)
    low = np.where(rate == 0, 0.0, np.where(rate == 1, 1 - exact, low))
    high = np.where(rate == 0, exact, np.where(rate == 1, 1.0, high))
    return low, high


def _with_jackknife(counts: Counts, variance: Floats, by_cell: Floats) -> Floats:
    """``margins.Margins.clusters`` where the rate is near an end, (E,)."""
    total, half = counts.of_people.sum(axis=0), 0.5 / counts.n
    left_out = np.zeros_like(total)
    shown = counts.pair_n[:, 0] > 0
    for fooled, n in ((counts.of_people, counts.trials), (counts.of_pairs[shown], counts.pair_n[shown])):
        logits = logit(np.clip((total - fooled) / (counts.n - n), half, 1 - half))
        left_out += _squares(logits - logits.mean(axis=0)) * (len(fooled) - 1) / len(fooled)
    return np.maximum(variance, left_out * (counts.rate * (1 - counts.rate)) ** 2 - by_cell)


def differ(a: Counts, b: Counts, is_within: bool, level: float) -> NDArray[np.bool_]:
    """Whether the test of ``comparisons`` finds the difference, per experiment (E,); never where a rate is 0 or 1."""
    (people_a, pairs_a, cell_a), (people_b, pairs_b, cell_b) = _errors(a), _errors(b)
    if is_within:
        by_people, spread_p = _clustered(people_a - people_b, np.full(len(people_a), 3))
    else:
        seen_in = np.repeat([1, 2], [len(people_a), len(people_b)])
        by_people, spread_p = _clustered(np.concatenate([people_a, people_b]), seen_in)
    by_pairs, spread_i = _clustered(pairs_a - pairs_b, ((a.pair_n > 0) + 2 * (b.pair_n > 0))[:, 0])
    variance = np.maximum(_joined(by_people, by_pairs, cell_a + cell_b), np.minimum(by_people, by_pairs))
    with np.errstate(divide="ignore", invalid="ignore"):  # no variance is answered below
        df = np.fmax(min(a.n_units, b.n_units) - 1, variance**2 / (spread_p + spread_i))
    is_testable = (a.rate > 0) & (a.rate < 1) & (b.rate > 0) & (b.rate < 1) & (variance > 0)
    return is_testable & (np.abs(a.rate - b.rate) > stdtrit(df, (1 + level) / 2) * np.sqrt(variance))


def _errors(counts: Counts) -> tuple[Floats, Floats, Floats]:
    """What each participant (J, E) and each pair (K, E) adds to the error of the rate, and V_x (E,).

    Scaled so that squares come out times m / (m - 1) for m units.
    """
    rate, n, n_people, n_pairs = counts.rate, counts.n, len(counts.of_people), counts.n_pairs
    people = (counts.of_people - counts.trials * rate) / n * sqrt(n_people / (n_people - 1))
    pairs = (counts.of_pairs - counts.pair_n * rate) / n * sqrt(n_pairs / (n_pairs - 1))
    return people, pairs, rate * (1 - rate) / (n - 1)


def _squares(errors: Floats) -> Floats:
    return np.einsum("ue,ue->e", errors, errors)


def _joined(by_participant: Floats, by_pair: Floats, by_cell: Floats) -> Floats:
    """``intervals.joined_variance`` of every experiment, (E,)."""
    joined = by_participant + by_pair - by_cell
    joined = np.where(joined <= _ROUNDING * by_cell, np.maximum(by_participant, by_pair), joined)
    return np.where(joined <= _ROUNDING * by_cell, by_cell, joined)


def _clustered(errors: Floats, seen_in: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """Sum of the units' squared errors, and its square over its degrees of freedom, as in ``comparisons``.

    ``seen_in`` says of each unit whether it is of the first condition (1), the second (2), both (3) or neither (0).
    """
    groups = [errors[seen_in == which] for which in (1, 2, 3) if (seen_in == which).any()]
    sums = [_squares(group) for group in groups]
    spread = [total**2 / max(len(group) - 1, 1) for total, group in zip(sums, groups, strict=True)]
    return np.sum(sums, axis=0), np.sum(spread, axis=0)
