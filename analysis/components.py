"""Counts in; how much of the spread of answers is people and how much is pictures, and rates shrunken by it, out."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit

from analysis.margins import Margins

_MAX_SD = 5.0  # logits; beyond, answers of one unit are all alike and the spread is unbounded


@dataclass(frozen=True)
class VarianceComponents:
    """Variances of single answers on the probability scale; the standard deviations in logits are approximate."""

    participant: float
    pair: float
    residual: float
    participant_sd_logit: float
    pair_sd_logit: float


def variance_components(margins: Margins) -> VarianceComponents | None:
    """By moments, in one pass, whoever saw whatever: Gao & Owen 2017 (Electronic Journal of Statistics 11, 1235).

    Sums of squares within participants, within pairs and over all trials are set equal to what they are expected to be.
    Negative solutions count as 0. None where they cannot be told apart: one participant, one pair, or a single trial
    for each of either. A participant who saw a pair several times makes the residual a little too small.
    """
    n, n_participants, n_pairs = margins.n, len(margins.participant_n), len(margins.pair_n)
    of_people = float(margins.participant_n @ margins.participant_n) / n
    of_pairs = float(margins.pair_n @ margins.pair_n) / n
    shared = n + 1 - of_people - of_pairs
    if min(n_participants, n_pairs) < 2 or n <= max(n_participants, n_pairs) or shared <= 0:
        return None
    within_people = _within(margins.participant_n, margins.participant_fooled) / (n - n_participants)
    within_pairs = _within(margins.pair_n, margins.pair_fooled) / (n - n_pairs)
    total = margins.fooled * (1 - margins.rate)
    residual = (within_pairs * (n - of_people) + within_people * (n - of_pairs) - total) / shared
    residual = max(residual, 0.0)
    participant, pair = max(within_pairs - residual, 0.0), max(within_people - residual, 0.0)
    return VarianceComponents(participant, pair, residual, *_in_logits(margins.rate, participant, pair))


def _within(n: NDArray[np.float64], fooled: NDArray[np.float64]) -> float:
    """Sum of squares of answers around the mean of their participant (or pair)."""
    return float((fooled * (1 - fooled / n)).sum())


def _in_logits(rate: float, participant: float, pair: float) -> tuple[float, float]:
    """Standard deviations u, v of a logit-normal model whose rate, and whose spread over either, are the given ones.

    A spread of s logits shows as s · E[p (1 - p)] in the rates (the first term of the Hermite expansion).
    """
    if rate in (0.0, 1.0):
        return 0.0, 0.0
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    weights = weights / weights.sum()
    slope = rate * (1 - rate)
    u = v = 0.0
    for _ in range(50):
        u, v = min(sqrt(participant) / slope, _MAX_SD), min(sqrt(pair) / slope, _MAX_SD)
        spread = nodes * np.hypot(u, v)
        middle = brentq(lambda a, spread=spread: weights @ expit(a + spread) - rate, -60, 60)
        p = expit(middle + spread)
        slope = (slope + float(weights @ (p * (1 - p)))) / 2  # damped, so that wide spreads settle
    return u, v


def shrink(
    n: NDArray[np.float64], fooled: NDArray[np.float64], rate: float, between: float, within: float
) -> NDArray[np.float64]:
    """Rates pulled towards the mean as far as few answers and little spread demand (Robinson 1991, best linear prediction).

    ``between`` is the variance between these units, ``within`` that of one answer of a unit.
    """
    weight = between / (between + within / n) if between > 0 else np.zeros_like(n)
    return rate + weight * (fooled / n - rate)
