"""Counted trials in; how long their pictures were there, where staircases settled, and how conditions differ in it, out."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import exp, log, sqrt

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from analysis.holm import holm
from analysis.intervals import participants_only
from analysis.psychometric import FittedThreshold

# Fewer steps may look like a staircase by chance; and rows that were lost leave a few steps that follow no rule.
_FEWEST_STEPS, _SHARE_OF_STEPS = 20, 0.9
_NEAR_MS = 0.5
_BLOCK = ["participant", "session", "block"]


@dataclass(frozen=True)
class Timing:
    """Exposure as the browser measured it, milliseconds; ``late`` and ``focus_lost`` are fractions of trials.

    ``off_ms`` is the median of |measured − planned|; None where nothing was planned. ``focus_lost`` and
    ``picture_width_px``, the median over trials with its 5th and 95th percentile, are None where the table does not say.
    """

    planned_ms: tuple[float, ...]
    median_ms: float
    p05_ms: float
    p95_ms: float
    off_ms: float | None
    late: float
    focus_lost: float | None
    picture_width_px: float | None
    picture_width_p05_px: float | None
    picture_width_p95_px: float | None


@dataclass(frozen=True)
class Settled:
    """Where one condition's staircases settled, milliseconds.

    ``modal_ms`` is the exposure shown most often in a block (the mean where several are), averaged over the blocks of
    each participant and then over participants; ``low`` and ``high`` are its t interval for new people, None with one
    of them. ``late_ms`` is the same for the mean exposure over the second half of each block, and ``late_fool_rate``
    the fool rate there, its interval for new people; on the way to where it settles a staircase holds no rate.
    """

    condition: str
    modal_ms: float
    low: float | None
    high: float | None
    late_ms: float
    n_participants: int
    late_fool_rate: float | None = None
    late_low: float = 0.0
    late_high: float = 1.0

    def may_hold(self, held_at: float) -> bool:
        """Whether the staircases, which were to hold the fool rate there, may have arrived."""
        return self.late_low <= held_at <= self.late_high


@dataclass(frozen=True)
class ExposureComparison:
    """Exposure of ``a`` against that of ``b``, for new people and these pictures; None: the trials cannot say.

    ``difference_ms`` is of the modal exposures, ``ratio`` of the thresholds; each has its p, and p adjusted by Holm over all
    pairs of conditions. ``n_both``: participants who saw both.
    """

    a: str
    b: str
    n_both: int
    difference_ms: float | None
    difference_low: float | None
    difference_high: float | None
    difference_p: float | None
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    ratio_p: float | None
    difference_p_adjusted: float | None = None
    ratio_p_adjusted: float | None = None


def measure_timing(trials: pd.DataFrame) -> Timing | None:
    """None where nothing was measured."""
    measured = trials["exposure_measured_ms"].dropna()
    if measured.empty:
        return None
    off = (trials["exposure_measured_ms"] - trials["exposure_ms"]).abs().median()
    width_px, width_p05_px, width_p95_px = _picture_widths(trials)
    return Timing(
        planned_ms=tuple(float(planned) for planned in sorted(trials["exposure_ms"].dropna().unique())),
        median_ms=float(measured.median()),
        p05_ms=float(measured.quantile(0.05)),
        p95_ms=float(measured.quantile(0.95)),
        off_ms=None if pd.isna(off) else float(off),
        late=float((trials["late_frames"] > 0).mean()),
        focus_lost=_share_true(trials["focus_lost"]) if "focus_lost" in trials else None,
        picture_width_px=width_px,
        picture_width_p05_px=width_p05_px,
        picture_width_p95_px=width_p95_px,
    )


def _share_true(told: pd.Series) -> float | None:
    """None where nothing is told."""
    counts = told.value_counts()
    is_true = [str(value).lower() == "true" for value in counts.index]
    return float(counts[is_true].sum() / counts.sum()) if counts.sum() else None


def _picture_widths(trials: pd.DataFrame) -> tuple[float | None, float | None, float | None]:
    """Median, 5th and 95th percentile of the width of the pictures, CSS pixels."""
    if "picture_width_px" not in trials:
        return None, None, None
    widths = pd.to_numeric(trials["picture_width_px"], errors="coerce").dropna()
    if widths.empty:
        return None, None, None
    return float(widths.median()), float(widths.quantile(0.05)), float(widths.quantile(0.95))


def settled_exposures(trials: pd.DataFrame, level: float = 0.95) -> list[Settled]:
    """One per condition of an adaptive study, by name. Without a column ``block`` a session is one block."""
    timed = _in_order(trials)
    return [_settled(str(condition), shown, level) for condition, shown in timed.groupby("condition", observed=True)]


def _in_order(trials: pd.DataFrame) -> pd.DataFrame:
    timed = trials[trials["exposure_ms"].notna()].sort_values("trial_index", kind="stable")
    return timed if "block" in timed else timed.assign(block=0)


def _settled(condition: str, shown: pd.DataFrame, level: float) -> Settled:
    """From one condition's trials in order."""
    blocks = shown.groupby(_BLOCK, observed=True, dropna=False)["exposure_ms"]
    late = shown[blocks.cumcount() >= blocks.transform("size") // 2]
    modal = _by_participant(_modes(shown))
    n, mean = len(modal), float(modal.mean())
    half = float(stdtrit(n - 1, (1 + level) / 2) * modal.std() / sqrt(n)) if n > 1 else None
    low, high = (None, None) if half is None else (mean - half, mean + half)
    fooled = late["fooled"].to_numpy(dtype=bool)
    there = participants_only(fooled, late["participant"], level)
    late_ms, rate = float(_by_participant(late).mean()), float(fooled.mean())
    return Settled(condition, mean, low, high, late_ms, n, rate, there.low, there.high)


def _modes(shown: pd.DataFrame) -> pd.DataFrame:
    """The exposures shown most often in each block of one condition's trials."""
    times = shown.groupby([*_BLOCK, "exposure_ms"], observed=True, dropna=False).size().rename("times").reset_index()
    return times[times["times"] == times.groupby(_BLOCK, observed=True, dropna=False)["times"].transform("max")]


def _by_participant(rows: pd.DataFrame) -> pd.Series:
    """Mean exposure of each block, then of each participant's blocks."""
    blocks = rows.groupby(_BLOCK, observed=True, dropna=False)["exposure_ms"].mean()
    return blocks.groupby("participant", observed=True).mean()


def staircase_steps(trials: pd.DataFrame) -> tuple[float, float] | None:
    """``(down_ms, up_ms)`` of a weighted up-down staircase (Kaernbach 1991) that led the exposures; None where none did.

    Within a session, block and condition every right answer must be followed by ``down_ms`` less and every wrong one by
    ``up_ms`` more, or by as much as the shortest and longest exposure shown leave room for. Other rules hold another rate.
    """
    timed = _in_order(trials)
    run = timed.groupby(["session", "block", "condition"], observed=True, dropna=False)
    now, then = timed["exposure_ms"], run["exposure_ms"].shift(-1)
    is_step = then.notna()
    now, then, fooled = now[is_step], then[is_step], timed.loc[is_step, "fooled"].astype(bool)
    step = (then - now).round(2)
    downs, ups = -step[~fooled & (step < 0)], step[fooled & (step > 0)]
    if len(step) < _FEWEST_STEPS or downs.empty or ups.empty:
        return None
    down_ms, up_ms = float(downs.mode()[0]), float(ups.mode()[0])
    led = now + np.where(fooled, up_ms, -down_ms)
    led = led.clip(timed["exposure_ms"].min(), timed["exposure_ms"].max())
    return (down_ms, up_ms) if ((then - led).abs() <= _NEAR_MS).mean() >= _SHARE_OF_STEPS else None


def exposure_warnings(trials: pd.DataFrame, settled: Iterable[Settled], held_at: float | None) -> Iterator[str]:
    """Staircases that had not arrived at the fool rate ``held_at``; without staircases, exposures that were several."""
    if held_at is None:
        shown = trials["exposure_ms"].dropna()
        if (trials.groupby("condition", observed=True)["exposure_ms"].nunique() > 1).any():
            yield (
                f"Pictures were shown for {shown.nunique()} different times ({shown.min():,.0f} to {shown.max():,.0f} ms); "
                "the fool rate is over all of them, the thresholds are the finding."
            )
        return
    for one in settled:
        if one.late_fool_rate is not None and not one.may_hold(held_at):
            yield (
                f"{one.condition}: the staircases did not settle: in the second half of the blocks the fool rate is "
                f"{100 * one.late_fool_rate:.1f} %, where they hold {100 * held_at:.0f} %; take more trials per block, or another start."
            )


def compare_exposures(
    trials: pd.DataFrame,
    fitted: Iterable[FittedThreshold],
    order: Sequence[str],
    level: float = 0.95,
    *,
    adaptive: bool,
) -> tuple[ExposureComparison, ...]:
    """Every two conditions by modal exposure, where ``adaptive``, and by threshold; empty where neither is known of two."""
    modal = _modal_by_participant(trials) if adaptive else {}
    known = {one.threshold.condition: one for one in fitted if one.pulls}
    seen = {
        str(name): set(shown["participant"].astype(str)) for name, shown in trials.groupby("condition", observed=True)
    }
    pairs = [
        _compare(a, b, len(seen[a] & seen[b]), modal, known, level)
        for a, b in combinations([name for name in order if name in modal or name in known], 2)
    ]
    differences = _adjusted([one.difference_p for one in pairs])
    ratios = _adjusted([one.ratio_p for one in pairs])
    pairs = [
        replace(one, difference_p_adjusted=difference, ratio_p_adjusted=ratio)
        for one, difference, ratio in zip(pairs, differences, ratios, strict=True)
    ]
    return tuple(one for one in pairs if one.difference_ms is not None or one.ratio is not None)


def _adjusted(p_values: list[float | None]) -> list[float | None]:
    """By Holm, in the order given."""
    adjusted = iter(holm([p for p in p_values if p is not None]))
    return [None if p is None else next(adjusted) for p in p_values]


def _modal_by_participant(trials: pd.DataFrame) -> dict[str, pd.Series]:
    conditions = _in_order(trials).groupby("condition", observed=True)
    found = {str(name): _by_participant(_modes(shown)) for name, shown in conditions}
    return {name: modal.set_axis(modal.index.astype(str)) for name, modal in found.items()}


def _compare(
    a: str,
    b: str,
    n_both: int,
    modal: dict[str, pd.Series],
    known: dict[str, FittedThreshold],
    level: float,
) -> ExposureComparison:
    nothing = (None, None, None, None)
    difference: tuple[float | None, ...] = nothing
    ratio: tuple[float | None, ...] = nothing
    if a in modal and b in modal:
        means = modal[a].mean(), modal[b].mean()
        pulls = [(one - one.mean()) / len(one) for one in (modal[a], modal[b])]
        difference = _difference(float(means[0] - means[1]), pulls[0], pulls[1], level)
    if a in known and b in known:
        ms_a, ms_b = known[a].threshold.threshold_ms, known[b].threshold.threshold_ms
        assert ms_a is not None, "there are pulls only where there is a threshold"
        assert ms_b is not None
        *logs, p = _difference(log(ms_a / ms_b), pd.Series(known[a].pulls), pd.Series(known[b].pulls), level)
        ratio = (*(None if one is None else exp(one) for one in logs), p)
    return ExposureComparison(a, b, n_both, *difference, *ratio)


def _difference(
    middle: float, of_a: pd.Series, of_b: pd.Series, level: float
) -> tuple[float, float | None, float | None, float | None]:
    """Difference, its interval and p, from each participant's pull on the two means.

    Student's paired t where everybody saw both, Welch's (1947) where nobody did, and what lies between otherwise.
    """
    if min(len(of_a), len(of_b)) < 2:
        return middle, None, None, None
    scaled = [one * sqrt(len(one) / (len(one) - 1)) for one in (of_a, of_b)]
    pulls = scaled[0].sub(scaled[1], fill_value=0)
    seen_in = pulls.index.isin(of_a.index) + 2 * pulls.index.isin(of_b.index)
    sums, sizes = np.bincount(seen_in, pulls**2, 4)[1:], np.bincount(seen_in, minlength=4)[1:]
    variance = float(sums.sum())
    if variance <= 0:
        return middle, None, None, None
    df = variance**2 / float((sums**2 / np.maximum(sizes - 1, 1)).sum())
    half = float(stdtrit(df, (1 + level) / 2)) * sqrt(variance)
    return middle, middle - half, middle + half, float(2 * stdtr(df, -abs(middle) / sqrt(variance)))
