"""A response table in; how often people were fooled, per condition, pair, participant and tag, out. Here stands what "fooled" means."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.components import VarianceComponents, shrink, variance_components
from analysis.detection import Detection, YesNo, detect, yes_no
from analysis.half import HalfTest, against_half
from analysis.intervals import Interval
from analysis.margins import Margins, margins_of, trial_weights
from protocol.responses import SIDES

# With fewer people or pictures than this the t interval leans on its assumptions.
FEW_UNITS = 10
EQUIVALENCE_MARGIN = 0.05
_FIRST_SIDES = tuple(first for first, _ in SIDES)


@dataclass(frozen=True)
class FoolRate:
    """How often one condition's fakes were taken for real. Rates are fractions; None: the trials cannot say.

    Attributes:
        interval: for new people and new pictures (``intervals.two_way``): the one to report.
        participants_interval: for new people and exactly these pictures (``intervals.participants_only``).
        naive: Wilson's, as if every trial were independent; for comparison with papers that report it.
        bootstrap: the two-way bootstrap's, a check on ``interval``; None where none was drawn.
        design_effect: variance behind ``interval`` over that of independent trials, r(1 - r)/n.
        components: how much of the spread is people, and how much pictures.
        half: the test against 50 %, and of being as good as 50 %.
        side_bias: share of answers "left" ("first"; "real" for one picture) minus .5, so in [-.5, .5].
        median_rt_ms: over the trials counted, milliseconds.
        yes_no: errors on fakes and on photographs; None where two pictures were shown.
    """

    condition: str
    fool_rate: float
    interval: Interval
    participants_interval: Interval
    naive: Interval
    design_effect: float | None
    n_trials: int
    n_participants: int
    n_pairs: int
    components: VarianceComponents | None
    half: HalfTest
    detection: Detection
    side_bias: float
    median_rt_ms: float | None
    yes_no: YesNo | None
    warnings: tuple[str, ...]
    bootstrap: Interval | None = None

    @property
    def dprime(self) -> float:
        return self.detection.dprime


@dataclass(frozen=True)
class PairRate:
    """One pair in one condition: the share of its ``n`` answers that were fooled, and that share ``shrunk`` to the mean.

    Pairs with few answers scatter by chance; ``shrunk`` is the best guess of what more answers would show.
    """

    condition: str
    pair: str
    fool_rate: float
    n: int
    shrunk: float


@dataclass(frozen=True)
class ParticipantRate:
    """One participant in one condition, as ``PairRate``."""

    condition: str
    participant: str
    fool_rate: float
    n: int
    shrunk: float


@dataclass(frozen=True)
class TagRate:
    """The fool rate of those pairs of a condition that carry a tag."""

    tag: str
    rate: FoolRate


def counted_trials(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that enter a fool rate, and two new boolean columns: ``fooled``, and ``chose_first`` (left; "real").

    They are the main trials with an answer that set a fake against its photograph. A person is fooled when the side
    they took for real is not the side where the real picture was.
    """
    counts = (table["kind"] == "main") & table["chosen_side"].notna()
    if "against" in table:  # two conditions were compared with each other
        counts &= table["against"].isna() | (table["against"] == "")
    counted = table[counts]
    return counted.assign(fooled=is_wrong(counted), chose_first=chose_first_side(counted).to_numpy(dtype=bool))


def is_wrong(rows: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether the side taken for real is not the side of the real picture; for rows with an answer."""
    chosen, real = rows["chosen_side"], rows["real_side"]
    if isinstance(chosen.dtype, pd.CategoricalDtype) and isinstance(real.dtype, pd.CategoricalDtype):
        return np.asarray(chosen.cat.set_categories(real.cat.categories).cat.codes != real.cat.codes)
    return (chosen.astype(object) != real.astype(object)).to_numpy(dtype=bool)


def chose_first_side(table: pd.DataFrame) -> pd.Series:
    """Whether each answer was left (first; real, for one picture)."""
    return table["chosen_side"].isin(_FIRST_SIDES)


def by_condition(trials: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The trials of every condition that has any, by name."""
    for name, of_condition in trials.groupby("condition", observed=True):
        yield str(name), of_condition


def fool_rates(trials: pd.DataFrame, level: float = 0.95, margin: float = EQUIVALENCE_MARGIN) -> list[FoolRate]:
    """One FoolRate per condition with a counted trial, by name; of ``counted_trials``, or of a table of all trials."""
    counted = trials if "fooled" in trials else counted_trials(trials)
    return [fool_rate(name, found, margins_of(found), level, margin) for name, found in by_condition(counted)]


def fool_rate(
    condition: str, trials: pd.DataFrame, margins: Margins, level: float = 0.95, margin: float = EQUIVALENCE_MARGIN
) -> FoolRate:
    """Of one condition's counted trials, and their margins."""
    rate, n, clusters = margins.rate, margins.n, margins.clusters()
    known = 0 < rate < 1 and clusters.n_units > 1
    median_rt_ms = trials["rt_ms"].median()
    return FoolRate(
        condition=condition,
        fool_rate=rate,
        interval=margins.headline(level),
        participants_interval=margins.participants_only(level),
        naive=margins.naive(level),
        design_effect=clusters.variance / (rate * (1 - rate) / n) if known else None,
        n_trials=n,
        n_participants=clusters.n_participants,
        n_pairs=clusters.n_pairs,
        components=variance_components(margins),
        half=against_half(rate, clusters, margin),
        detection=detect(trials, level),
        side_bias=_side_bias(trials),
        median_rt_ms=None if pd.isna(median_rt_ms) else float(median_rt_ms),
        yes_no=yes_no(trials, level),
        warnings=tuple(_warnings(rate, clusters.n_participants, clusters.n_pairs)),
    )


def _side_bias(trials: pd.DataFrame) -> float:
    """Where photographs and fakes were not shown equally often, both count half: "real" is then said as often by right."""
    weights = trial_weights(trials)
    return float(np.average(trials["chose_first"], weights=weights)) - 0.5


def _warnings(rate: float, n_participants: int, n_pairs: int) -> Iterator[str]:
    for n, one, many in ((n_participants, "participant", "participants"), (n_pairs, "pair", "pairs")):
        if n == 1:
            yield f"one {one} only: nothing can be said about other {many}, so the interval is not informative"
        elif n < FEW_UNITS:
            yield f"only {n} {many}: with fewer than {FEW_UNITS} the interval is approximate; ask for more {many}"
    if rate in (0.0, 1.0):
        yield (
            f"every answer was {'right' if rate == 0 else 'wrong'}: the interval is the exact one for as many trials "
            f"as there are {'participants' if n_participants <= n_pairs else 'pairs'}"
        )


def pair_rates(condition: str, margins: Margins) -> list[PairRate]:
    """One PairRate per pair, those that fooled most first (then more answers, then by id)."""
    shrunk = _shrunk(margins, margins.pair_n, margins.pair_fooled, of_pairs=True)
    found = zip(margins.pairs, margins.pair_n, margins.pair_fooled, shrunk, strict=True)
    rates = [PairRate(condition, str(pair), float(k / n), round(n), float(best)) for pair, n, k, best in found]
    return sorted(rates, key=lambda one: (-one.fool_rate, -one.n, one.pair))


def participant_rates(condition: str, margins: Margins) -> list[ParticipantRate]:
    """One ParticipantRate per participant, most fooled first."""
    shrunk = _shrunk(margins, margins.participant_n, margins.participant_fooled, of_pairs=False)
    found = zip(margins.participants, margins.participant_n, margins.participant_fooled, shrunk, strict=True)
    rates = [ParticipantRate(condition, str(who), float(k / n), round(n), float(best)) for who, n, k, best in found]
    return sorted(rates, key=lambda one: (-one.fool_rate, -one.n, one.participant))


def _shrunk(
    margins: Margins, n: NDArray[np.float64], fooled: NDArray[np.float64], *, of_pairs: bool
) -> NDArray[np.float64]:
    found = variance_components(margins)
    if found is None:
        return fooled / n
    own, other = (found.pair, found.participant) if of_pairs else (found.participant, found.pair)
    return shrink(n, fooled, margins.rate, own, other + found.residual)


def tag_rates(
    trials: pd.DataFrame,
    tags: Mapping[str, Sequence[str]],
    level: float = 0.95,
    margin: float = EQUIVALENCE_MARGIN,
) -> list[TagRate]:
    """Fool rates of the counted trials whose pair has a tag, by tag, then condition; ``tags`` maps a tag to its pairs."""
    found = []
    for tag, pairs in sorted(tags.items()):
        tagged = trials[trials["pair"].isin(list(pairs))]
        found += [TagRate(tag, rate) for rate in fool_rates(tagged, level, margin)]
    return found
