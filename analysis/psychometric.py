"""Counted trials of several exposures in; the exposure at which three answers in four are right, per condition, out.

Participant j, shown a picture for t milliseconds, is right with probability

    P = 1/2 + (1/2 - lapse) * F,    F = 1 / (1 + (threshold_j / t) ** slope),

with a threshold of their own, log-normal between people, and a slope and a lapse rate that a condition's participants
share. The form is that of Wichmann & Hill (2001); F is logistic in log t, so that the threshold is its middle and
doubling every exposure doubles the threshold and nothing else. Thresholds are integrated out on a grid (marginal
maximum likelihood): a curve through everybody's pooled answers would be flat and far off, because a staircase takes
each participant to where that participant is right three times in four.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import exp, log, sqrt

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logsumexp, stdtrit

# lapse ~ Beta(1, 10), as psignifit 4 has it (Schütt, Harmeling, Macke & Wichmann 2016), cut at .1: a lapse rate must not
# take up what the slope should explain (Wichmann & Hill 2001; Prins 2012).
MAX_LAPSE, _LAPSE_PRIOR = 0.1, 10
# log slope ~ N(log 4, 1): a factor of seven either way, for tables with next to nothing to say about it.
_SLOPE, _SLOPE_SD, _SLOPE_BOUNDS = 4.0, 1.0, (0.5, 20.0)
_SPREAD_BOUNDS = (0.05, 1.5)  # of log thresholds between people
_STEP, _BESIDE, _FAR_STEP, _FAR = 0.02, 0.3, 0.15, 3.0  # of the grid, in log exposure: fine where pictures were shown
_NUDGE = 1e-4  # for derivatives of the gradient
_MOST_LEVELS = 250  # exposures; more are rounded to one percent
_N_POINTS, _N_CURVE = 10, 61
_ROUNDING = 0.02  # in log exposure: a point this far beyond what was shown is drawn at its end

_Array = NDArray[np.float64]


@dataclass(frozen=True)
class Threshold:
    """The exposure at which a typical new participant is right three times in four, lapses aside; milliseconds.

    Attributes:
        threshold_ms: geometric mean over people; None where most people's threshold lies outside what they were shown.
        low, high: for new people and these pictures; None with one participant, or without a threshold.
        slope: the exponent of F; P rises by (1/2 - lapse) slope / 4 per unit of log exposure at the threshold.
        lapse: share of wrong answers however long the exposure, in [0, .1] unless it was given.
        n_outside: participants whose threshold lies outside what they were shown; the others' spread places it.
        curve: (exposure_ms, P) of the typical participant over the exposures shown.
        points: (exposure_ms, n, correct), tenths of the trials by exposure relative to the participant's own threshold,
            times ``threshold_ms``, those that this moves beyond the exposures shown left out; without a threshold the
            exposures themselves.
    """

    condition: str
    threshold_ms: float | None
    low: float | None
    high: float | None
    slope: float
    lapse: float
    n_participants: int
    n_outside: int
    curve: tuple[tuple[float, float], ...]
    points: tuple[tuple[float, int, int], ...]


@dataclass(frozen=True)
class FittedThreshold:
    """``pulls``: by how much each participant moves the mean log threshold, sum 0; empty with one, or without a threshold."""

    threshold: Threshold
    pulls: dict[str, float]


@dataclass(frozen=True)
class Staircase:
    """One participant's answers of one block, in the order of the trials."""

    condition: str
    participant: str
    block: str
    exposures_ms: tuple[float, ...]
    correct: tuple[bool, ...]


@dataclass(frozen=True)
class _Counts:
    """Answers of one condition: ``right`` and ``wrong`` (participants, exposures) at the log exposures ``x``, ascending."""

    x: _Array
    right: _Array
    wrong: _Array


def thresholds(trials: pd.DataFrame, level: float = 0.95, lapse: float | None = None) -> tuple[Threshold, ...]:
    """As ``fit_thresholds``, without the pulls."""
    return tuple(fitted.threshold for fitted in fit_thresholds(trials, level, lapse))


def fit_thresholds(
    trials: pd.DataFrame, level: float = 0.95, lapse: float | None = None
) -> tuple[FittedThreshold, ...]:
    """One per condition that was shown for at least two different exposures, by name; trials without one are left out.

    ``lapse``: the share of wrong answers however long the exposure, where it is known (from catch trials, say).

    Raises:
        ValueError: if the lapse rate is outside [0, .5) or the level outside (0, 1).
    """
    if lapse is not None and not 0 <= lapse < 0.5:
        raise ValueError(f"lapse is {lapse}; give a share of wrong answers of at least 0 and below 0.5")
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; give a fraction between 0 and 1, such as 0.95")
    timed = trials[trials["exposure_ms"] > 0]
    conditions = timed.groupby("condition", observed=True)
    return tuple(
        _fitted(str(condition), shown, level, lapse)
        for condition, shown in conditions
        if shown["exposure_ms"].nunique() > 1
    )


def staircases(trials: pd.DataFrame, n_participants: int = 12) -> tuple[Staircase, ...]:
    """The blocks of each condition's first ``n_participants``. Without a column ``block`` a session is one block."""
    timed = trials[trials["exposure_ms"] > 0]
    if "block" not in timed:
        timed = timed.assign(block=0)
    found = []
    for condition, shown in timed.groupby("condition", observed=True):
        some = shown[shown["participant"].isin(shown["participant"].unique()[:n_participants])]
        blocks = some.sort_values("trial_index", kind="stable").groupby(
            ["participant", "session", "block"], observed=True, dropna=False
        )
        for (participant, _, block), run in blocks:
            exposures, fooled = run["exposure_ms"].tolist(), run["fooled"].tolist()
            correct = tuple(not wrong for wrong in fooled)
            found.append(Staircase(str(condition), str(participant), str(block), tuple(exposures), correct))
    return tuple(found)


def _count(shown: pd.DataFrame) -> _Counts:
    people, participants = pd.factorize(shown["participant"])
    at = np.log(shown["exposure_ms"].to_numpy(dtype=float))
    if shown["exposure_ms"].nunique() > _MOST_LEVELS:
        at = at.round(2)
    levels, x = pd.factorize(at, sort=True)
    cells, shape = people * len(x) + levels, (len(participants), len(x))
    fooled = shown["fooled"].to_numpy(dtype=bool)
    right, wrong = (np.bincount(cells[which], minlength=shape[0] * shape[1]) for which in (~fooled, fooled))
    return _Counts(np.asarray(x), right.reshape(shape).astype(float), wrong.reshape(shape).astype(float))


def _fitted(condition: str, shown: pd.DataFrame, level: float, lapse: float | None) -> FittedThreshold:
    counts = _count(shown)
    found = _fit(counts, lapse)
    threshold = _threshold(condition, counts, found, level)
    pulls = [] if threshold.low is None else found.pulls.tolist()
    people = shown["participant"].unique()  # in the order of the counts
    return FittedThreshold(threshold, {str(who): pull for who, pull in zip(people, pulls, strict=False)})


def _threshold(condition: str, counts: _Counts, found: "_Fit", level: float) -> Threshold:
    typical, _, log_slope, lapse = found.values.tolist()
    outside = _outside(counts, found.own)
    n_participants = len(outside)
    is_known = 2 * outside.sum() <= n_participants
    low = high = None
    if is_known and found.variance is not None:
        half = stdtrit(n_participants - 1, (1 + level) / 2) * sqrt(found.variance)
        low, high = exp(typical - half), exp(typical + half)
    shown_ms = np.geomspace(exp(counts.x[0]), exp(counts.x[-1]), _N_CURVE)
    rate = 1 - _wrong(exp(log_slope) * (np.log(shown_ms) - typical), lapse)
    return Threshold(
        condition=condition,
        threshold_ms=exp(typical) if is_known else None,
        low=low,
        high=high,
        slope=exp(log_slope),
        lapse=lapse,
        n_participants=n_participants,
        n_outside=int(outside.sum()),
        curve=tuple(zip(shown_ms.tolist(), rate.tolist(), strict=True)) if is_known else (),
        points=tuple(_points(counts, typical - found.own if is_known else np.zeros(n_participants))),
    )


def _outside(counts: _Counts, own: _Array) -> NDArray[np.bool_]:
    """Whether each participant's threshold lies outside the exposures that this participant was shown."""
    shown = (counts.right + counts.wrong) > 0
    first, last = shown.argmax(axis=1), shown.shape[1] - 1 - shown[:, ::-1].argmax(axis=1)
    return (own < counts.x[first]) | (own > counts.x[last])


def _points(counts: _Counts, shift: _Array) -> Iterator[tuple[float, int, int]]:
    """Exposures moved by each participant's ``shift`` (participants,), in tenths of the trials, as they are drawn."""
    moved = (counts.x + shift[:, None]).ravel()
    order = moved.argsort(kind="stable")
    order = order[(moved[order] > counts.x[0] - _ROUNDING) & (moved[order] < counts.x[-1] + _ROUNDING)]
    right = counts.right.ravel()[order]
    n = right + counts.wrong.ravel()[order]
    if not n.any():
        return
    tenth = np.minimum((n.cumsum() - n / 2) / n.sum() * _N_POINTS, _N_POINTS - 1).astype(int)
    for k in np.unique(tenth[n > 0]):
        here = tenth == k
        middle = np.average(moved[order][here].clip(counts.x[0], counts.x[-1]), weights=n[here])
        yield exp(middle), int(n[here].sum()), int(right[here].sum())


@dataclass(frozen=True)
class _Fit:
    """``values``: mean and log spread of log thresholds, log slope, lapse; ``own``: each participant's log threshold; ``pulls`` on the mean."""

    values: _Array
    own: _Array
    pulls: _Array  # (participants,), sum 0
    variance: float | None  # of the mean log threshold, for new people; None with one participant


def _fit(counts: _Counts, lapse: float | None) -> _Fit:
    """Marginal maximum likelihood with the priors above; the variance is the sandwich over participants."""
    nodes, log_widths = _grid(counts.x)
    bounds = [
        (nodes[0] + _FAR, nodes[-1] - _FAR),
        (log(_SPREAD_BOUNDS[0]), log(_SPREAD_BOUNDS[1])),
        (log(_SLOPE_BOUNDS[0]), log(_SLOPE_BOUNDS[1])),
        (0.0, MAX_LAPSE) if lapse is None else (lapse, lapse),
    ]

    trials = (counts.right + counts.wrong).sum(axis=0)
    n = float(trials.sum())

    def loss(values: _Array) -> tuple[float, _Array]:
        """Per trial: the first step taken is as long as the gradient, and that of a sum would leap to the bounds."""
        likelihoods, scores, _ = _likelihoods(values, counts, nodes, log_widths)
        slope_z = (values[2] - log(_SLOPE)) / _SLOPE_SD
        prior = -(slope_z**2) / 2 + (_LAPSE_PRIOR - 1) * np.log1p(-values[3])
        by_prior = np.array([0, 0, -slope_z / _SLOPE_SD, -(_LAPSE_PRIOR - 1) / (1 - values[3])])
        return -float(likelihoods.sum() + prior) / n, -(scores.sum(axis=0) + by_prior) / n

    start = [np.average(counts.x, weights=trials), log(0.4), log(_SLOPE), 0.02 if lapse is None else lapse]
    options = {"ftol": 1e-12, "gtol": 1e-7}
    values = minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B", options=options).x
    _, scores, own = _likelihoods(values, counts, nodes, log_widths)
    if len(own) == 1:
        return _Fit(values, own, np.zeros(1), None)
    # A value that its bound holds has no error to speak of.
    free = [k for k, (low, high) in enumerate(bounds) if k == 0 or low + _NUDGE < values[k] < high - _NUDGE]
    nudges = _NUDGE * np.eye(4)[free]
    slopes = [(loss(values + nudge)[1] - loss(values - nudge)[1])[free] for nudge in nudges]
    curvature = np.array(slopes) * n / (2 * _NUDGE)
    inverse = np.linalg.pinv((curvature + curvature.T) / 2)
    pulls = (scores - scores.mean(axis=0))[:, free] @ inverse[0]
    return _Fit(values, own, pulls, float(pulls @ pulls) * len(own) / (len(own) - 1))


def _grid(x: _Array) -> tuple[_Array, _Array]:
    """Log thresholds (nodes,) that are integrated over, and the log of the width that each stands for."""
    fine = np.arange(x[0] - _BESIDE, x[-1] + _BESIDE + _STEP, _STEP)
    far = np.arange(_FAR_STEP, _FAR + _FAR_STEP, _FAR_STEP)
    nodes = np.concatenate([fine[0] - far[::-1], fine, fine[-1] + far])
    return nodes, np.log(np.gradient(nodes))


def _likelihoods(values: _Array, counts: _Counts, nodes: _Array, log_widths: _Array) -> tuple[_Array, _Array, _Array]:
    """Log likelihood (participants,), its derivatives by ``values`` (participants, 4), and log thresholds (participants,).

    A participant's threshold is the mean of its distribution given the answers.
    """
    mean, log_spread, log_slope, lapse = values
    u = exp(log_slope) * (counts.x[:, None] - nodes)  # (exposures, nodes)
    missed = expit(-u)
    wrong = _wrong(u, lapse)
    z = (nodes - mean) * exp(-log_spread)
    joint = counts.right @ np.log1p(-wrong) + counts.wrong @ np.log(wrong)  # (participants, nodes)
    joint += log_widths - z**2 / 2 - log_spread - log(2 * np.pi) / 2
    likelihoods = logsumexp(joint, axis=1)
    weights = np.exp(joint - likelihoods[:, None])

    def score(change: _Array) -> _Array:
        """From the change of P(wrong), (exposures, nodes)."""
        by_node = counts.wrong @ (change / wrong) - counts.right @ (change / (1 - wrong))
        return np.einsum("jg,jg->j", weights, by_node)

    by_slope = score(-(0.5 - lapse) * missed * (1 - missed) * u)
    by_lapse = score(1 - missed)
    scores = np.column_stack([weights @ z * exp(-log_spread), weights @ (z**2 - 1), by_slope, by_lapse])
    return likelihoods, scores, weights @ nodes


def _wrong(u: _Array, lapse: float) -> _Array:
    """1 - P at u = slope · (log t - log threshold); never 0 by rounding."""
    return lapse + (0.5 - lapse) * expit(-u)
