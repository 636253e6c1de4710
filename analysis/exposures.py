"""Counted trials in; how long their pictures were there, and where the staircases of an adaptive study settled, out."""

from dataclasses import dataclass
from math import sqrt

import pandas as pd
from scipy.special import stdtrit


@dataclass(frozen=True)
class Timing:
    """Exposure as the browser measured it, milliseconds; ``late`` and ``focus_lost`` are fractions of trials.

    ``off_ms`` is the median of |measured − planned|; None where nothing was planned. ``focus_lost`` is None where the
    table does not say.
    """

    planned_ms: tuple[float, ...]
    median_ms: float
    p05_ms: float
    p95_ms: float
    off_ms: float | None
    late: float
    focus_lost: float | None


@dataclass(frozen=True)
class Settled:
    """Where one condition's staircases settled, milliseconds.

    ``modal_ms`` is the exposure shown most often in a block (the mean where several are), averaged over the blocks of
    each participant and then over participants; ``low`` and ``high`` are its t interval for new people, None with one
    of them. ``late_ms`` is the same for the mean exposure over the second half of each block.
    """

    condition: str
    modal_ms: float
    low: float | None
    high: float | None
    late_ms: float
    n_participants: int


def measure_timing(trials: pd.DataFrame) -> Timing | None:
    """None where nothing was measured."""
    measured = trials["exposure_measured_ms"].dropna()
    if measured.empty:
        return None
    off = (trials["exposure_measured_ms"] - trials["exposure_ms"]).abs().median()
    lost = trials["focus_lost"].dropna() if "focus_lost" in trials else pd.Series(dtype=object)
    return Timing(
        planned_ms=tuple(float(planned) for planned in sorted(trials["exposure_ms"].dropna().unique())),
        median_ms=float(measured.median()),
        p05_ms=float(measured.quantile(0.05)),
        p95_ms=float(measured.quantile(0.95)),
        off_ms=None if pd.isna(off) else float(off),
        late=float((trials["late_frames"] > 0).mean()),
        focus_lost=None if lost.empty else float((lost.astype(str).str.lower() == "true").mean()),
    )


def settled_exposures(trials: pd.DataFrame, level: float = 0.95) -> list[Settled]:
    """One per condition of an adaptive study, by name. Without a column ``block`` a session is one block."""
    if "block" not in trials:
        trials = trials.assign(block=0)
    found = []
    for condition, shown in trials.sort_values("trial_index").groupby("condition"):
        exposures = shown.groupby(["participant", "session", "block"])["exposure_ms"]
        modal = exposures.agg(lambda block: block.mode().mean()).groupby("participant").mean()
        late = exposures.agg(lambda block: block.iloc[len(block) // 2 :].mean()).groupby("participant").mean()
        n, mean = len(modal), float(modal.mean())
        half = stdtrit(n - 1, (1 + level) / 2) * float(modal.std()) / sqrt(n) if n > 1 else None
        low, high = (None, None) if half is None else (mean - half, mean + half)
        found.append(Settled(str(condition), mean, low, high, float(late.mean()), n))
    return found
