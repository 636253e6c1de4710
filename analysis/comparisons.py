"""A response table in; the difference of fool rates between every two conditions out, with interval and test."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import hypot, sqrt

import numpy as np
import pandas as pd
from scipy import stats

from analysis.fool_rate import counted_trials
from analysis.intervals import clustered_variance, two_way

# A variance this small against that of unrelated trials is rounding, not information.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Comparison:
    """Fool rate of ``a`` minus that of ``b``, as fractions; None: the trials cannot say."""

    a: str
    b: str
    difference: float
    low: float
    high: float
    p_value: float | None
    p_adjusted: float | None


def compare_conditions(
    table: pd.DataFrame, conditions: Sequence[str] | None = None, level: float = 0.95
) -> list[Comparison]:
    """Every two of the conditions (those with counted trials, by name, when not given), Holm-adjusted as one family.

    A participant who saw both conditions, and a photo shown in both, make their errors go together; the variance is
    clustered on both over the two conditions at once, so it keeps that covariance (a pair's id is its photo's).
    """
    trials = counted_trials(table)
    present = set(trials["condition"])
    names = [name for name in (conditions or sorted(present)) if name in present]
    by_name = {name: trials[trials["condition"] == name] for name in names}
    found = [_compare(a, b, by_name[a], by_name[b], level) for a, b in combinations(names, 2)]
    adjusted = holm([p for *_, p in found if p is not None])
    return [
        Comparison(a, b, difference, low, high, p, None if p is None else adjusted.pop(0))
        for a, b, difference, low, high, p in found
    ]


def _compare(
    a: str, b: str, trials_a: pd.DataFrame, trials_b: pd.DataFrame, level: float
) -> tuple[str, str, float, float, float, float | None]:
    rate_a, rate_b = float(trials_a["fooled"].mean()), float(trials_b["fooled"].mean())
    difference = rate_a - rate_b
    # Between participants, or on different photos, the smaller group limits what is known; crossed, they are equal.
    n_units = min(len(set(trials[unit])) for trials in (trials_a, trials_b) for unit in ("participant", "pair"))
    if n_units < 2:
        return a, b, difference, -1.0, 1.0, None
    error = _standard_error(trials_a, trials_b)
    if error == 0 or rate_a in (0.0, 1.0) or rate_b in (0.0, 1.0):
        low, high = _recovered_interval(trials_a, trials_b, level)
        return a, b, difference, low, high, _exact_p(rate_a, rate_b, n_units)
    half = float(stats.t.ppf((1 + level) / 2, n_units - 1)) * error
    p = float(2 * stats.t.sf(abs(difference) / error, n_units - 1))
    return a, b, difference, max(-1.0, difference - half), min(1.0, difference + half), p


def _standard_error(trials_a: pd.DataFrame, trials_b: pd.DataFrame) -> float:
    """Of the difference; 0 where the trials show no variance, as in crossed conditions that were answered alike."""
    # Influence of a trial on the difference: its error over its condition's trials, negative in the second.
    influence = np.concatenate(
        [
            sign * (trials["fooled"] - trials["fooled"].mean()) / len(trials)
            for sign, trials in ((1, trials_a), (-1, trials_b))
        ]
    )
    both = pd.concat([trials_a[["participant", "pair"]], trials_b[["participant", "pair"]]], ignore_index=True)
    variance = clustered_variance(influence, both["participant"], both["pair"]).variance
    return sqrt(variance) if variance > _ROUNDING * float(influence @ influence) else 0.0


def _recovered_interval(trials_a: pd.DataFrame, trials_b: pd.DataFrame, level: float) -> tuple[float, float]:
    """From the two headline intervals, where the trials show no variance (Newcombe 1998b; Zou & Donner 2008)."""
    rate_a, rate_b = float(trials_a["fooled"].mean()), float(trials_b["fooled"].mean())
    of_a, of_b = (two_way(t["fooled"], t["participant"], t["pair"], level) for t in (trials_a, trials_b))
    low = rate_a - rate_b - hypot(rate_a - of_a.low, of_b.high - rate_b)
    high = rate_a - rate_b + hypot(of_a.high - rate_a, rate_b - of_b.low)
    return low, high


def _exact_p(rate_a: float, rate_b: float, n_units: int) -> float:
    """Fisher's exact test with each condition counted as ``n_units`` trials, as its exact interval is."""
    fooled_a, fooled_b = round(rate_a * n_units), round(rate_b * n_units)
    return float(stats.fisher_exact([[fooled_a, n_units - fooled_a], [fooled_b, n_units - fooled_b]]).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Step-down adjusted p-values, in the order given (Holm 1979)."""
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(p_values))
    factors = np.arange(len(p_values), 0, -1)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(factors * np.asarray(p_values, dtype=float)[order]))
    return [float(p) for p in adjusted]
