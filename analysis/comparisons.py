"""A response table in; how fool rates differ between every two conditions out: in points and in odds, with interval and test."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import exp, hypot, inf, log, sqrt

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import brentq
from scipy.special import logit, stdtr, stdtrit

from analysis.fool_rate import counted_trials
from analysis.holm import holm
from analysis.intervals import Interval, codes, joined_variance, logit_t
from analysis.margins import Margins, trial_weights

# A variance this small against that of unrelated trials is rounding, not information.
_ROUNDING = 1e-12
# Odds beyond what a float can hold say nothing.
_LARGEST_LOG = log(sys.float_info.max)
# An interval at a level nearer to 1 than this owes its ends to rounding.
_SMALLEST_P = 1e-12


@dataclass(frozen=True)
class Comparison:
    """Fool rate of ``a`` minus that of ``b``, as fractions; None: the trials cannot say.

    Attributes:
        p_value: of the difference; ``p_adjusted`` by Holm over all comparisons made together.
        odds_ratio: odds of being fooled by ``a`` over those by ``b``.
        mcnemar_chi2: McNemar's 1947 test over the pictures that the same people saw in both conditions, each once. It takes
            every answer for an independent one, so it is shown only to be recognised, never to be reported: where people
            and pictures differ in how much a condition fools them, it finds differences that are not there.
    """

    a: str
    b: str
    difference: float
    low: float
    high: float
    p_value: float | None
    p_adjusted: float | None
    odds_ratio: float | None = None
    odds_low: float | None = None
    odds_high: float | None = None
    mcnemar_chi2: float | None = None
    mcnemar_p: float | None = None


@dataclass(frozen=True)
class _Counts:
    """Trials (``n``) and how many of them fooled (``k``) of one condition, per unit; the units are those of all conditions.

    Trials weigh as ``margins.trial_weights`` says.
    """

    n: NDArray[np.float64]
    k: NDArray[np.float64]


@dataclass(frozen=True)
class _Counted:
    """One condition: its own margins, and counts by participant, by pair, and by those cells that another condition shares.

    ``shared_answers`` are those of the shared cells, without weights.
    """

    margins: Margins
    by_participant: _Counts
    by_pair: _Counts
    shared_cells: _Counts
    shared_answers: _Counts

    @property
    def rate(self) -> float:
        return self.margins.rate

    @property
    def n_participants(self) -> int:
        return len(self.margins.participant_n)

    @property
    def n_pairs(self) -> int:
        return len(self.margins.pair_n)

    def errors(self, counts: _Counts, n_units: int) -> NDArray[np.float64]:
        """What each unit adds to the error of the rate, so that squares come out times m / (m - 1) for m units."""
        return (counts.k - self.rate * counts.n) / self.margins.n * sqrt(n_units / max(n_units - 1, 1))

    def participant_errors(self) -> NDArray[np.float64]:
        return self.errors(self.by_participant, self.n_participants)

    def pair_errors(self) -> NDArray[np.float64]:
        return self.errors(self.by_pair, self.n_pairs)

    def cell_errors(self) -> NDArray[np.float64]:
        return self.errors(self.shared_cells, self.margins.n_cells)

    def cell_squares(self) -> float:
        """V_x of this condition alone, over all of its cells."""
        own = self.margins
        squares = own.cell_kk - 2 * own.rate * own.cell_nk + own.rate**2 * own.cell_nn
        return squares / own.n**2 * own.n_cells / max(own.n_cells - 1, 1)


def compare_conditions(
    table: pd.DataFrame, conditions: Sequence[str] | None = None, level: float = 0.95
) -> list[Comparison]:
    """Every two of the conditions (those with counted trials, by name, when not given), Holm-adjusted as one family.

    A participant who saw both conditions, and a photo shown in both, make their errors go together; the variance is
    clustered on both over the two conditions at once, so it keeps that covariance (a pair's id is its photo's).
    """
    counted = _count(counted_trials(table))
    names = [name for name in (conditions or sorted(counted)) if name in counted]
    found = [_compare(a, b, counted[a], counted[b], level) for a, b in combinations(names, 2)]
    adjusted = iter(holm([one.p_value for one in found if one.p_value is not None]))
    return [one if one.p_value is None else replace(one, p_adjusted=next(adjusted)) for one in found]


def _count(trials: pd.DataFrame) -> dict[str, _Counted]:
    """The conditions that have a trial; labels are read once, for all of them."""
    fooled = trials["fooled"].to_numpy(dtype=bool)
    condition, names = pd.factorize(trials["condition"])
    people, n_people = codes(trials["participant"], fooled.size, "participant")
    pictures, n_pictures = codes(trials["pair"], fooled.size, "pair")
    cells, n_cells = codes(people * n_pictures + pictures, fooled.size, "cell")
    is_seen = np.zeros((len(names), n_cells), dtype=bool)
    is_seen[condition, cells] = True
    is_shared = is_seen.sum(axis=0) > 1
    counted = {}
    for place, name in enumerate(names):
        rows = np.flatnonzero(condition == place)
        weights = trial_weights(trials.filter(["real_side"]).iloc[rows])
        of_cell = _tabulate(cells[rows], n_cells, fooled[rows], weights)
        answers = of_cell if weights is None else _tabulate(cells[rows], n_cells, fooled[rows])
        by_participant = _tabulate(people[rows], n_people, fooled[rows], weights)
        by_pair = _tabulate(pictures[rows], n_pictures, fooled[rows], weights)
        counted[str(name)] = _Counted(
            margins=_margins(by_participant, by_pair, of_cell),
            by_participant=by_participant,
            by_pair=by_pair,
            shared_cells=_Counts(of_cell.n[is_shared], of_cell.k[is_shared]),
            shared_answers=_Counts(answers.n[is_shared], answers.k[is_shared]),
        )
    return counted


def _tabulate(
    units: NDArray[np.intp], n_units: int, fooled: NDArray[np.bool_], weights: NDArray[np.float64] | None = None
) -> _Counts:
    n = np.bincount(units, weights, n_units)
    k = np.bincount(units[fooled], None if weights is None else weights[fooled], n_units)
    return _Counts(n.astype(float), k.astype(float))


def _margins(by_participant: _Counts, by_pair: _Counts, of_cell: _Counts) -> Margins:
    """Of the units that the condition has; nobody reads their labels, so their numbers do."""

    def present(units: _Counts) -> tuple[NDArray[np.object_], NDArray[np.float64], NDArray[np.float64]]:
        found = np.flatnonzero(units.n)
        return found.astype(object), units.n[found], units.k[found]

    n_cells, n, k = int(np.count_nonzero(of_cell.n)), of_cell.n, of_cell.k
    return Margins(*present(by_participant), *present(by_pair), n_cells, float(n @ n), float(n @ k), float(k @ k))


def _compare(name_a: str, name_b: str, a: _Counted, b: _Counted, level: float) -> Comparison:
    has_odds = 0 < a.rate < 1 and 0 < b.rate < 1
    points, odds, p = (-1.0, 1.0), (-inf, inf), None
    if _n_units(a, b) > 1:
        error, df = _standard_error(a, b, (1.0, 1.0))
        if has_odds and error > 0:
            points = _t_interval(a.rate - b.rate, error, df, level)
            # The delta method: dlogit(r)/dr = 1 / (r (1 - r)).
            slopes = (1 / (a.rate * (1 - a.rate)), 1 / (b.rate * (1 - b.rate)))
            odds = _t_interval(float(logit(a.rate) - logit(b.rate)), *_standard_error(a, b, slopes), level)
            p = float(2 * stdtr(df, -abs(a.rate - b.rate) / error))
        else:
            points, odds, p = _from_each_interval(a, b, level)
    odds_low, odds_high = (exp(bound) if abs(bound) < _LARGEST_LOG else None for bound in odds)
    chi2, mcnemar_p = _mcnemar(a.shared_answers, b.shared_answers)
    return Comparison(
        a=name_a,
        b=name_b,
        difference=a.rate - b.rate,
        low=max(-1.0, points[0]),
        high=min(1.0, points[1]),
        p_value=p,
        p_adjusted=None,
        odds_ratio=a.rate * (1 - b.rate) / (b.rate * (1 - a.rate)) if has_odds else None,
        odds_low=odds_low,
        odds_high=odds_high,
        mcnemar_chi2=chi2,
        mcnemar_p=mcnemar_p,
    )


def _from_each_interval(
    a: _Counted, b: _Counted, level: float
) -> tuple[tuple[float, float], tuple[float, float], float]:
    """Intervals in points and in log odds, and p, where the trials show no variance; unbounded odds where a rate is 0 or 1."""
    clusters_a, clusters_b = a.margins.clusters(), b.margins.clusters()

    def headlines(level: float) -> tuple[Interval, Interval]:
        return logit_t(a.rate, clusters_a, level), logit_t(b.rate, clusters_b, level)

    def points(level: float) -> tuple[float, float]:
        of_a, of_b = headlines(level)
        return recovered_interval(a.rate, of_a, b.rate, of_b)

    p = _p_value(points)
    if a.rate in (0.0, 1.0) or b.rate in (0.0, 1.0):
        return points(level), (-inf, inf), p
    in_logits = [Interval(float(logit(of.low)), float(logit(of.high)), of.method, level) for of in headlines(level)]
    odds = recovered_interval(float(logit(a.rate)), in_logits[0], float(logit(b.rate)), in_logits[1])
    return points(level), odds, p


def _p_value(interval_at: Callable[[float], tuple[float, float]]) -> float:
    """The p for which the interval at level 1 - p ends at 0: below 1 - level exactly where 0 is outside; at least 1e-12."""

    def beyond_zero(log_p: float) -> float:
        low, high = interval_at(1 - exp(log_p))
        return max(low, -high)

    smallest, largest = log(_SMALLEST_P), log(1 - _SMALLEST_P)
    if beyond_zero(largest) <= 0:
        return 1.0
    return _SMALLEST_P if beyond_zero(smallest) > 0 else exp(brentq(beyond_zero, smallest, largest))


def _standard_error(a: _Counted, b: _Counted, slopes: tuple[float, float]) -> tuple[float, float]:
    """Of slope_a · rate_a - slope_b · rate_b, and its degrees of freedom; 0 where the trials show no variance.

    V = V_p + V_i - V_x, but never below the smaller of V_p and V_i: without that floor, noise in the three terms lets a
    5 % test reject up to 9 % of equal crossed conditions. Degrees of freedom after Satterthwaite (1946), from V_p and V_i,
    but at least the smallest number of units less one, which alone would reject 4 % between groups of people.
    """
    slope_a, slope_b = slopes
    by_participant, spread_p = _clustered(
        slope_a * a.participant_errors() - slope_b * b.participant_errors(), a.by_participant, b.by_participant
    )
    by_pair, spread_i = _clustered(slope_a * a.pair_errors() - slope_b * b.pair_errors(), a.by_pair, b.by_pair)
    unrelated = slope_a**2 * a.cell_squares() + slope_b**2 * b.cell_squares()
    by_cell = unrelated - 2 * slope_a * slope_b * float(a.cell_errors() @ b.cell_errors())
    if max(by_participant, by_pair, by_cell) <= _ROUNDING * unrelated:
        return 0.0, inf
    n_units = _n_units(a, b)
    joined = joined_variance(by_participant, by_pair, by_cell, n_units, n_units).variance
    variance = max(joined, min(by_participant, by_pair))
    spread = spread_p + spread_i
    return sqrt(variance), max(n_units - 1.0, variance**2 / spread if spread > 0 else 0.0)


def _clustered(errors: NDArray[np.float64], of_a: _Counts, of_b: _Counts) -> tuple[float, float]:
    """Sum of the units' squared errors, and its square over its degrees of freedom (Welch 1947).

    Units seen in both conditions, only in the first and only in the second are three samples of their own.
    """
    seen_in = (of_a.n > 0) + 2 * (of_b.n > 0)
    sums, sizes = np.bincount(seen_in, errors**2, 4)[1:], np.bincount(seen_in, minlength=4)[1:]
    return float(sums.sum()), float((sums**2 / np.maximum(sizes - 1, 1)).sum())


def _n_units(a: _Counted, b: _Counted) -> int:
    """Between participants, or on different photos, the smaller group limits what is known; crossed, they are equal."""
    return min(a.n_participants, a.n_pairs, b.n_participants, b.n_pairs)


def _t_interval(middle: float, error: float, df: float, level: float) -> tuple[float, float]:
    half = float(stdtrit(df, (1 + level) / 2)) * error
    return middle - half, middle + half


def recovered_interval(a: float, of_a: Interval, b: float, of_b: Interval) -> tuple[float, float]:
    """Of a - b, from the interval of each (Zou & Donner 2008); from Wilson's, it is the hybrid score interval (Newcombe 1998b)."""
    low = a - b - hypot(a - of_a.low, of_b.high - b)
    high = a - b + hypot(of_a.high - a, b - of_b.low)
    return low, high


def _mcnemar(a: _Counts, b: _Counts) -> tuple[float | None, float | None]:
    """χ² without continuity correction, and its p; None where no cell was answered once in each, and differently."""
    answered_once = (a.n == 1) & (b.n == 1)
    only_a = int(np.count_nonzero(answered_once & (a.k > b.k)))
    only_b = int(np.count_nonzero(answered_once & (a.k < b.k)))
    if only_a + only_b == 0:
        return None, None
    chi2 = (only_a - only_b) ** 2 / (only_a + only_b)
    return chi2, float(stats.chi2.sf(chi2, 1))
