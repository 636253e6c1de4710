"""Trials in; sensitivity and criterion of signal detection theory, and the errors of one-picture studies, out."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from analysis.intervals import clustered_variance, logit_t, two_way
from protocol.responses import SIDES


@dataclass(frozen=True)
class Detection:
    """How well real and fake are told apart, apart from a preference for a side (for the word "real", with one picture).

    Attributes:
        dprime: sensitivity in standard deviations; 0 where they cannot be told apart, negative where the fake is
            taken for real more often than the photograph.
        low, high: interval for new people and new pictures; None where the trials show no spread.
        criterion: c, in standard deviations; 0 without preference, negative towards left (first; "real").
        hit_rate: share of "left" where the real picture was left ("first" for first; "real" for a photograph).
        false_alarm_rate: share of the same answer where it was not. None: no such trial.
    """

    dprime: float
    low: float | None
    high: float | None
    criterion: float
    hit_rate: float | None
    false_alarm_rate: float | None


@dataclass(frozen=True)
class ErrorRate:
    """Share of wrong answers to one kind of picture, with its interval for new people and new pictures."""

    rate: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class YesNo:
    """Errors of a one-picture study; ``mean`` of the two rates is HYPE's score (Zhou et al. 2019). None: no such picture."""

    on_fakes: ErrorRate | None
    on_reals: ErrorRate | None
    mean: ErrorRate | None


def dprime_2afc(hit_rate: float, false_alarm_rate: float) -> tuple[float, float]:
    """d' = (z(H) - z(F)) / √2 and c = -(z(H) + z(F)) / 2 for two alternatives (Macmillan & Creelman 2005, ch. 7)."""
    zh, zf = float(ndtri(hit_rate)), float(ndtri(false_alarm_rate))
    return (zh - zf) / sqrt(2), -(zh + zf) / 2


def dprime_yes_no(hit_rate: float, false_alarm_rate: float) -> tuple[float, float]:
    """d' = z(H) - z(F) and c = -(z(H) + z(F)) / 2 for one picture (Macmillan & Creelman 2005, ch. 1 and 2)."""
    zh, zf = float(ndtri(hit_rate)), float(ndtri(false_alarm_rate))
    return zh - zf, -(zh + zf) / 2


def detect(trials: pd.DataFrame, level: float = 0.95) -> Detection:
    """Of counted trials (columns fooled, chose_first, real_side, participant, pair), at least one.

    Rates of 0 and 1 have no z: two alternatives then count half a trial (Macmillan & Kaplan 1985), and one picture always
    gets half a trial more of each answer (log-linear, Hautus 1995). The interval is clustered on participants and pairs.
    """
    one_picture = is_one_picture(trials)
    said_first = trials["chose_first"].to_numpy(dtype=bool)
    was_first = said_first ^ trials["fooled"].to_numpy(dtype=bool)
    hits, n_first = int((said_first & was_first).sum()), int(was_first.sum())
    false_alarms, n_second = int((said_first & ~was_first).sum()), int((~was_first).sum())
    rate = _log_linear if one_picture else _half_a_trial
    h, f = rate(hits, n_first), rate(false_alarms, n_second)
    if not one_picture and not (n_first and n_second):  # the real picture was always on one side
        h, f = (h, 1 - h) if n_first else (1 - f, f)
    dprime, criterion = (dprime_yes_no if one_picture else dprime_2afc)(h, f)
    half = None
    if 0 < hits < n_first and 0 < false_alarms < n_second:
        slope = np.where(was_first, 1 / (n_first * _density(h)), -1 / (n_second * _density(f)))
        raw = np.where(was_first, hits / n_first, false_alarms / n_second)
        influence = slope * (said_first - raw) / (1 if one_picture else sqrt(2))
        clusters = clustered_variance(influence, trials["participant"], trials["pair"])
        if clusters.n_units > 1:
            half = float(stdtrit(clusters.n_units - 1, (1 + level) / 2)) * sqrt(clusters.variance)
    return Detection(
        dprime,
        None if half is None else dprime - half,
        None if half is None else dprime + half,
        criterion,
        hits / n_first if n_first else None,
        false_alarms / n_second if n_second else None,
    )


def is_one_picture(trials: pd.DataFrame) -> bool:
    """Whether trials showed one picture, which was called real or fake."""
    return bool(len(trials)) and bool(trials["real_side"].isin(SIDES[2]).all())


def _density(rate: float) -> float:
    """Of the standard normal distribution at z(rate)."""
    return float(np.exp(-(ndtri(rate) ** 2) / 2) / sqrt(2 * np.pi))


def _half_a_trial(k: int, n: int) -> float:
    return float(np.clip(k / n, 1 / (2 * n), 1 - 1 / (2 * n))) if n else 0.5


def _log_linear(k: int, n: int) -> float:
    return (k + 0.5) / (n + 1)


def yes_no(trials: pd.DataFrame, level: float = 0.95) -> YesNo | None:
    """Errors on fakes, on photographs, and their mean; None where trials showed two pictures."""
    if not is_one_picture(trials):
        return None
    fooled = trials["fooled"].to_numpy(dtype=bool)
    was_real = (trials["real_side"] == "real").to_numpy(dtype=bool)
    on_fakes, on_reals = (_error_rate(trials, fooled, shown, level) for shown in (~was_real, was_real))
    return YesNo(on_fakes, on_reals, _mean_error(trials, fooled, was_real, on_fakes, on_reals, level))


def _error_rate(
    trials: pd.DataFrame, fooled: NDArray[np.bool_], shown: NDArray[np.bool_], level: float
) -> ErrorRate | None:
    if not shown.any():
        return None
    interval = two_way(fooled[shown], trials["participant"][shown], trials["pair"][shown], level)
    return ErrorRate(float(fooled[shown].mean()), interval.low, interval.high, int(shown.sum()))


def _mean_error(
    trials: pd.DataFrame,
    fooled: NDArray[np.bool_],
    was_real: NDArray[np.bool_],
    on_fakes: ErrorRate | None,
    on_reals: ErrorRate | None,
    level: float,
) -> ErrorRate | None:
    """The mean of both rates, each error of a kind counting half its share.

    Where one rate is 0 or 1 the trials do not show its spread: the interval is joined from both (Zou & Donner 2008).
    """
    if on_fakes is None or on_reals is None:
        return None
    rate, n = (on_fakes.rate + on_reals.rate) / 2, on_fakes.n + on_reals.n
    if {on_fakes.rate, on_reals.rate} & {0.0, 1.0}:
        below = np.hypot(on_fakes.rate - on_fakes.low, on_reals.rate - on_reals.low) / 2
        above = np.hypot(on_fakes.high - on_fakes.rate, on_reals.high - on_reals.rate) / 2
        return ErrorRate(rate, max(0.0, rate - float(below)), min(1.0, rate + float(above)), n)
    influence = (
        (fooled - np.where(was_real, on_reals.rate, on_fakes.rate)) / np.where(was_real, on_reals.n, on_fakes.n) / 2
    )
    interval = logit_t(rate, clustered_variance(influence, trials["participant"], trials["pair"]), level)
    return ErrorRate(rate, interval.low, interval.high, n)
