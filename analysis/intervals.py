"""Zeros and ones in, an interval for their rate out: the two-way headline interval, and the classic ones for one proportion."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv, expit, logit, ndtri, stdtrit

# A variance this small against that of the cells is rounding, not information.
_ROUNDING = 1e-12
# Up to so many cells, a table of one byte each says at once whether any is repeated.
_MAX_CELLS = 1 << 28


@dataclass(frozen=True)
class Interval:
    """An interval for a rate, as fractions; ``method`` is how it was computed, ``level`` its nominal coverage."""

    low: float
    high: float
    method: str
    level: float


@dataclass(frozen=True)
class ClusteredVariance:
    """The variance of a mean over participants and pairs; NaN with a single participant or a single pair."""

    variance: float
    n_participants: int
    n_pairs: int

    @property
    def n_units(self) -> int:
        """The smaller of the two samples, people or pictures: what generalisation rests on."""
        return min(self.n_participants, self.n_pairs)


def wilson(k: int, n: int, level: float = 0.95) -> Interval:
    """Score interval for k of n independent trials (Wilson 1927; Newcombe 1998, method 3).

    Raises:
        ValueError: if n is 0, k is outside [0, n] or the level is outside (0, 1).
    """
    _check(k, n, level)
    z2 = ndtri((1 + level) / 2) ** 2
    middle = (k + z2 / 2) / (n + z2)
    half = sqrt(z2 * (k * (n - k) / n + z2 / 4)) / (n + z2)
    # At the ends the bound is exactly 0 or 1, which rounding would miss.
    low = 0.0 if k == 0 else float(middle - half)
    high = 1.0 if k == n else float(middle + half)
    return Interval(low, high, "wilson", level)


def clopper_pearson(k: int, n: int, level: float = 0.95) -> Interval:
    """Exact interval for k of n independent trials (Clopper & Pearson 1934).

    Raises:
        ValueError: as ``wilson``.
    """
    _check(k, n, level)
    tail = (1 - level) / 2
    low = 0.0 if k == 0 else float(betaincinv(k, n - k + 1, tail))
    high = 1.0 if k == n else float(betaincinv(k + 1, n - k, 1 - tail))
    return Interval(low, high, "clopper_pearson", level)


def two_way(fooled: ArrayLike, participant: ArrayLike, pair: ArrayLike, level: float = 0.95) -> Interval:
    """The headline interval: where the rate lies for new people and new pictures.

    Cluster-robust over participants and pairs at once (Cameron, Gelbach & Miller 2011), on the logit scale, with
    Student's t at min(J, K) - 1 degrees of freedom for J participants and K pairs. One entry per trial.
    What is done near 0 and 1 stands at ``margins.Margins.clusters``.

    Raises:
        ValueError: if there is no trial, the lengths differ, or a participant or a pair is missing.
    """
    from analysis.margins import count_margins  # which is built on this module

    zeros_and_ones = np.asarray(fooled, dtype=bool)
    if zeros_and_ones.size == 0:
        raise ValueError("an interval needs at least one trial")
    return count_margins(zeros_and_ones, participant, pair).headline(level)


def logit_t(rate: float, clusters: ClusteredVariance, level: float = 0.95) -> Interval:
    """``two_way`` from a rate and its clustered variance.

    A rate of 0 or 1 has no variance to show: it gets the exact interval of min(J, K) trials ("clopper_pearson").
    With one participant or one pair nothing can be said about others: the interval is 0 to 1 ("undetermined").
    """
    n_units = clusters.n_units
    if rate in (0.0, 1.0):
        return clopper_pearson(int(rate) * n_units, n_units, level)
    if n_units < 2:
        return Interval(0.0, 1.0, "undetermined", level)
    t = stdtrit(n_units - 1, (1 + level) / 2)
    half = t * sqrt(clusters.variance) / (rate * (1 - rate))  # the delta method: dlogit(r)/dr = 1 / (r (1 - r))
    return Interval(float(expit(logit(rate) - half)), float(expit(logit(rate) + half)), "two_way_logit_t", level)


def participants_only(fooled: ArrayLike, participant: ArrayLike, level: float = 0.95) -> Interval:
    """Where the rate lies for new people and exactly these pictures: cluster-robust over participants, logit scale, t at J - 1.

    A rate of 0 or 1 gets the exact interval of J trials; one participant says nothing about others ("undetermined").

    Raises:
        ValueError: as ``two_way``.
    """
    zeros_and_ones = np.asarray(fooled, dtype=float)
    if zeros_and_ones.size == 0:
        raise ValueError("an interval needs at least one trial")
    rate = float(zeros_and_ones.mean())
    people, _ = codes(participant, zeros_and_ones.size, "participant")
    errors = (zeros_and_ones - rate) / zeros_and_ones.size
    variance, n = between(errors, people)
    return one_way_logit_t(rate, variance, float(errors @ errors), n, level)


def one_way_logit_t(
    rate: float, variance: float, by_trial: float, n_participants: int, level: float = 0.95
) -> Interval:
    """``participants_only`` from a rate and its variance between participants.

    Where people answered alike, so that it is 0, the variance of unrelated trials stands in for it.
    """
    if variance <= _ROUNDING * by_trial:
        variance = by_trial
    interval = logit_t(rate, ClusteredVariance(variance, n_participants, n_participants), level)
    method = {"two_way_logit_t": "participants_logit_t"}.get(interval.method, interval.method)
    return Interval(interval.low, interval.high, method, level)


def clustered_variance(influence: ArrayLike, participant: ArrayLike, pair: ArrayLike) -> ClusteredVariance:
    """V = V_p + V_i - V_x for a statistic whose error is the sum of ``influence``, one value per trial.

    V_p sums the influence within participants, V_i within pairs, V_x within cells (participant and pair); each is
    the sum of squares times m / (m - 1) for its m clusters (Cameron, Gelbach & Miller 2011).

    Raises:
        ValueError: if the lengths differ, or a participant or a pair is missing.
    """
    values = np.asarray(influence, dtype=float)
    people, _ = codes(participant, values.size, "participant")
    pictures, n_columns = codes(pair, values.size, "pair")
    by_participant, n_participants = between(values, people)
    by_pair, n_pairs = between(values, pictures)
    cells = cell_codes(people, pictures, n_columns)
    if cells is not None:
        by_cell = between(values, cells)[0]
    else:  # every trial is its own cell
        by_cell = float(values @ values) * values.size / max(values.size - 1, 1)
    return joined_variance(by_participant, by_pair, by_cell, n_participants, n_pairs)


def joined_variance(
    by_participant: float, by_pair: float, by_cell: float, n_participants: int, n_pairs: int
) -> ClusteredVariance:
    """V_p + V_i - V_x; where that is not positive, max(V_p, V_i).

    Where that is zero too (errors that cancel within every participant and every pair), V_x stands in.
    """
    if min(n_participants, n_pairs) < 2:
        return ClusteredVariance(float("nan"), n_participants, n_pairs)
    nothing = _ROUNDING * by_cell
    variance = by_participant + by_pair - by_cell
    if variance <= nothing:
        variance = max(by_participant, by_pair)
    if variance <= nothing:
        variance = by_cell
    return ClusteredVariance(variance, n_participants, n_pairs)


def between(values: NDArray[np.float64], clusters: NDArray[np.intp]) -> tuple[float, int]:
    """Sum over clusters of (sum within)², times m / (m - 1); and m, the number of clusters. NaN for one cluster."""
    sums = np.bincount(clusters, weights=values)
    m = int(np.count_nonzero(np.bincount(clusters)))
    return (float(sums @ sums) * m / (m - 1) if m > 1 else float("nan")), m


def codes(labels: ArrayLike, size: int, what: str) -> tuple[NDArray[np.intp], int]:
    """Labels as integers from 0, and a number above the largest; free for a pandas Categorical and for small integers.

    Raises:
        ValueError: if there are not ``size`` labels, or one is missing; ``what`` names them.
    """
    if len(labels) != size:  # type: ignore[arg-type]
        raise ValueError(f"there are {size} trials and {len(labels)} {what} labels; give one per trial")  # type: ignore[arg-type]
    if hasattr(labels, "cat"):
        found, n = np.asarray(labels.cat.codes, dtype=np.intp), len(labels.cat.categories)
    else:
        array = np.asarray(labels)
        if array.dtype.kind in "iu" and size and array.min() >= 0 and array.max() < 4 * size:
            return array.astype(np.intp, copy=False), int(array.max()) + 1
        import pandas as pd  # only here: the survey server takes intervals from counts, and never loads it

        factorized, categories = pd.factorize(array)
        found, n = np.asarray(factorized, dtype=np.intp), len(categories)
    if size and found.min() < 0:
        raise ValueError(f"trial {int((found < 0).argmax())} has no {what}; give every trial one")
    return found, n


def cell_codes(people: NDArray[np.intp], pictures: NDArray[np.intp], n_pictures: int) -> NDArray[np.intp] | None:
    """The cells (participant and pair) of trials as integers from 0; None where no cell is repeated."""
    if not people.size:
        return None
    cells = people * n_pictures + pictures
    n_cells = (int(people.max()) + 1) * n_pictures
    if n_cells <= _MAX_CELLS:
        is_taken = np.zeros(n_cells, dtype=bool)
        is_taken[cells] = True
        if np.count_nonzero(is_taken) == cells.size:
            return None
    distinct, found = np.unique(cells, return_inverse=True)
    return found if distinct.size < cells.size else None


def _check(k: int, n: int, level: float) -> None:
    if n < 1 or not 0 <= k <= n:
        raise ValueError(f"{k} of {n} is not a proportion; give 0 <= k <= n with n of at least 1")
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; give a fraction between 0 and 1, such as 0.95")
