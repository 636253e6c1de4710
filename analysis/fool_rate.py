"""A response table in; how often people were fooled, per condition and per pair, out. Here stands what "fooled" means."""

from dataclasses import dataclass
from math import sqrt
from typing import cast

import numpy as np
import pandas as pd
from scipy.special import ndtri

from analysis.intervals import Interval, clustered_variance, logit_t, wilson
from protocol.responses import SIDES

# With fewer people or pictures than this the t interval leans on its assumptions.
FEW_UNITS = 10
_FIRST_SIDES = tuple(first for first, _ in SIDES)


@dataclass(frozen=True)
class FoolRate:
    """How often one condition's fakes were taken for real. Rates are fractions; None: the trials cannot say.

    Attributes:
        interval: for new people and new pictures (``intervals.two_way``).
        naive: Wilson's, as if every trial were independent; for comparison with papers that report it.
        design_effect: variance behind ``interval`` over that of independent trials, r(1 - r)/n.
        dprime: sensitivity in standard deviations; 0 at a fool rate of .5, negative above it.
        side_bias: share of answers "left" ("first"; "real" for one picture) minus .5, so in [-.5, .5].
        median_rt_ms: over the trials counted, milliseconds.
    """

    condition: str
    fool_rate: float
    interval: Interval
    naive: Interval
    design_effect: float | None
    n_trials: int
    n_participants: int
    n_pairs: int
    dprime: float
    side_bias: float
    median_rt_ms: float | None
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class PairRate:
    """One pair in one condition: the share of its ``n`` answers that were fooled."""

    condition: str
    pair: str
    fool_rate: float
    n: int


def counted_trials(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that enter a fool rate, main trials with an answer, and a new boolean column ``fooled``.

    A person is fooled when the side they took for real is not the side where the real picture was.
    """
    counted = table[(table["kind"] == "main") & table["chosen_side"].notna()]
    fooled = counted["chosen_side"].astype(str) != counted["real_side"].astype(str)
    return counted.assign(fooled=fooled.to_numpy(dtype=bool))


def chose_first_side(table: pd.DataFrame) -> pd.Series:
    """Whether each answer was left (first; real, for one picture)."""
    return table["chosen_side"].isin(_FIRST_SIDES)


def fool_rates(table: pd.DataFrame, level: float = 0.95) -> list[FoolRate]:
    """One FoolRate per condition that has a counted trial, by name."""
    return [_fool_rate(str(name), trials, level) for name, trials in counted_trials(table).groupby("condition")]


def _fool_rate(condition: str, trials: pd.DataFrame, level: float) -> FoolRate:
    fooled = trials["fooled"].to_numpy(dtype=float)
    n = fooled.size
    rate = float(fooled.mean())
    clusters = clustered_variance((fooled - rate) / n, trials["participant"], trials["pair"])
    known = 0 < rate < 1 and clusters.n_units > 1
    median_rt_ms = trials["rt_ms"].median()
    return FoolRate(
        condition=condition,
        fool_rate=rate,
        interval=logit_t(rate, clusters, level),
        naive=wilson(int(fooled.sum()), n, level),
        design_effect=clusters.variance / (rate * (1 - rate) / n) if known else None,
        n_trials=n,
        n_participants=clusters.n_participants,
        n_pairs=clusters.n_pairs,
        dprime=_dprime(trials),
        side_bias=float(chose_first_side(trials).mean()) - 0.5,
        median_rt_ms=None if pd.isna(median_rt_ms) else float(median_rt_ms),
        warnings=tuple(_warnings(rate, clusters.n_participants, clusters.n_pairs)),
    )


def _warnings(rate: float, n_participants: int, n_pairs: int) -> list[str]:
    warnings = []
    for n, one, many in ((n_participants, "participant", "participants"), (n_pairs, "pair", "pairs")):
        if n == 1:
            warnings.append(
                f"one {one} only: nothing can be said about other {many}, so the interval is not informative"
            )
        elif n < FEW_UNITS:
            warnings.append(
                f"only {n} {many}: with fewer than {FEW_UNITS} the interval is approximate; ask for more {many}"
            )
    if rate in (0.0, 1.0):
        warnings.append(
            f"every answer was {'right' if rate == 0 else 'wrong'}: the interval is the exact one for as many trials "
            f"as there are {'participants' if n_participants <= n_pairs else 'pairs'}"
        )
    return warnings


def dprime_2afc(fooled: int, n: int) -> float:
    """d' = sqrt(2) z(proportion correct) for two alternatives and no side bias (Macmillan & Creelman 2005, ch. 7).

    No error counts as half an error, and nothing right as half a trial right (Macmillan & Kaplan 1985).
    """
    correct = np.clip(1 - fooled / n, 1 / (2 * n), 1 - 1 / (2 * n))
    return float(sqrt(2) * ndtri(correct))


def dprime_one_picture(hits: int, n_real: int, false_alarms: int, n_fake: int) -> float:
    """d' = z(H) - z(F) where "real" is said to real (hits) and to fake pictures (false alarms), log-linear correction.

    Half a trial is added to each count and one to each number, always (Hautus 1995).
    """
    return float(ndtri((hits + 0.5) / (n_real + 1)) - ndtri((false_alarms + 0.5) / (n_fake + 1)))


def _dprime(trials: pd.DataFrame) -> float:
    fooled = trials["fooled"]
    if not trials["real_side"].isin(SIDES[2]).all():
        return dprime_2afc(int(fooled.sum()), len(trials))
    shown_real = trials["real_side"] == "real"
    return dprime_one_picture(
        int((shown_real & ~fooled).sum()),
        int(shown_real.sum()),
        int((~shown_real & fooled).sum()),
        int((~shown_real).sum()),
    )


def pair_rates(table: pd.DataFrame) -> list[PairRate]:
    """One PairRate per condition and pair, those that fooled most first (then more answers, then by id)."""
    groups = counted_trials(table).groupby(["condition", "pair"])["fooled"].agg(["mean", "size"]).reset_index()
    groups = groups.sort_values(["condition", "mean", "size", "pair"], ascending=[True, False, False, True])
    return [
        PairRate(str(condition), str(pair), float(cast(float, rate)), int(cast(int, n)))
        for condition, pair, rate, n in groups.itertuples(index=False)
    ]
