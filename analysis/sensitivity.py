"""A response table and the plan in; every condition's fool rate under other choices of exclusion criteria out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.exclusions import criteria_of, fails, in_words, session_codes
from analysis.fool_rate import by_condition, counted_trials
from analysis.intervals import cell_codes, codes
from analysis.margins import Margins, margins_of
from analysis.plan import AppliedPlan
from protocol.responses import SIDES

# Limits such as the field often sets, tried where the plan has none; they are conventions, and nothing more.
CONVENTIONAL = {
    "exclude_unfinished": 1.0,
    "min_median_rt_ms": 300.0,
    "max_one_side": 0.9,
    "max_focus_lost": 0.2,
    "max_late": 0.2,
}
# What counting needs; a whole table of a million rows is not copied for it.
_COLUMNS = ("session", "participant", "condition", "pair", "kind", "real_side", "chosen_side", "against")


@dataclass(frozen=True)
class SensitivityRow:
    """Fool rate and headline interval (low, high) of each condition under some criteria; None where nothing is left.

    ``is_plan``: the criteria that the report goes by. ``is_post_hoc``: they were not fixed beforehand, not all of them.
    """

    label: str
    criteria: tuple[str, ...]
    is_plan: bool
    is_post_hoc: bool
    sessions_excluded: int
    rates: dict[str, tuple[float, float, float] | None]


def sensitivity(
    table: pd.DataFrame, summary: pd.DataFrame, applied: AppliedPlan, max_missed: int | None = None
) -> tuple[SensitivityRow, ...]:
    """No exclusion; each criterion of the plan alone; the plan without it; the plan; the plan as it was frozen.

    Then the plan with one further criterion of ``CONVENTIONAL``, where that leaves out somebody more. A row that must
    repeat another is not there: a single criterion is the plan, and the plan without one of two is the other alone.
    ``summary`` is the table's ``exclusions.session_summary``; ``max_missed`` as for ``exclusions.find_exclusions``.
    """
    counts = _counts(table, summary.index)
    used = criteria_of(applied.plan, max_missed)
    fixed = criteria_of(applied.frozen, max_missed) if applied.frozen else {}

    def row(label: str, limits: Mapping[str, float], *, is_plan: bool = False) -> SensitivityRow:
        gone = _gone(summary, limits)
        is_post_hoc = limits != fixed if is_plan else not limits.items() <= fixed.items()
        rates = {name: _rate(one.without(gone), applied.plan.level) for name, one in counts.items()}
        return SensitivityRow(label, tuple(limits), is_plan, is_post_hoc, int(gone.sum()), rates)

    def rows() -> Iterator[SensitivityRow]:
        words = {name: in_words(name, limit) for name, limit in used.items()}
        yield row("no exclusion", {}, is_plan=not used)
        for name in used if len(used) > 1 else ():
            yield row(f"only: {words[name]}", {name: used[name]})
        for name in used if len(used) > 2 else ():
            yield row(f"the plan without: {words[name]}", {other: used[other] for other in used if other != name})
        if used:
            yield row(f"the plan: {', '.join(words.values())}" if len(used) == 1 else "the plan", used, is_plan=True)
        if applied.frozen and fixed != used:
            yield row("the plan as it was frozen", fixed)
        for name, limit in CONVENTIONAL.items():
            if name not in used and (_gone(summary, {name: limit}) & ~_gone(summary, used)).any():
                yield row(f"not in the plan: {in_words(name, limit)}", {**used, name: limit})

    return tuple(rows())


def _gone(summary: pd.DataFrame, limits: Mapping[str, float]) -> NDArray[np.bool_]:
    """Whether each session fails any of the criteria."""
    gone = np.zeros(len(summary), dtype=bool)
    for criterion, limit in limits.items():
        gone |= fails(summary, criterion, limit)
    return gone


def _rate(margins: Margins | None, level: float) -> tuple[float, float, float] | None:
    if margins is None:
        return None
    interval = margins.headline(level)
    return margins.rate, interval.low, interval.high


@dataclass(frozen=True)
class _Counts:
    """One condition's n trials, as codes and counted, so that they are counted again in no time when sessions leave.

    ``by_participant`` (6, J) holds trials, fooled trials, cells, and the cells' sums of n², n·fooled and fooled²;
    ``by_pair`` (2, K) trials and fooled trials.
    """

    trials: pd.DataFrame
    fooled: NDArray[np.bool_]
    session: NDArray[np.intp]
    people: NDArray[np.intp]
    pictures: NDArray[np.intp]
    by_participant: NDArray[np.float64]
    by_pair: NDArray[np.float64]
    is_one_picture: bool

    def without(self, gone: NDArray[np.bool_]) -> Margins | None:
        """The margins of the sessions that are not ``gone``; None without any trial."""
        out = gone[self.session]  # (n,)
        if self.is_one_picture:  # what a trial weighs depends on which trials stay
            return None if out.all() else margins_of(self.trials[~out])
        n_people, n_pictures = self.by_participant.shape[1], self.by_pair.shape[1]
        lost = np.bincount(self.people[out], minlength=n_people)
        if ((lost > 0) & (lost < self.by_participant[0])).any():  # who sat twice, and stays with one sitting
            return margins_of(self.trials[~out])
        stays = (self.by_participant[0] > 0) & (lost == 0)
        if not stays.any():
            return None
        kept = self.by_participant[:, stays]
        n_cells, *cell_sums = kept[2:].sum(axis=1)
        by_pair = self.by_pair - _by_code(self.pictures, self.fooled, n_pictures, out)
        by_pair = by_pair[:, by_pair[0] > 0]
        # Nobody reads the labels of these units: their codes do.
        people, pictures = (np.arange(units.shape[1]).astype(object) for units in (kept, by_pair))
        return Margins(people, kept[0], kept[1], pictures, by_pair[0], by_pair[1], int(n_cells), *cell_sums)


def _counts(table: pd.DataFrame, names: pd.Index) -> dict[str, _Counts]:
    counted = counted_trials(table[[column for column in _COLUMNS if column in table]])
    return {condition: _count(trials, names) for condition, trials in by_condition(counted)}


def _count(trials: pd.DataFrame, names: pd.Index) -> _Counts:
    fooled = trials["fooled"].to_numpy(dtype=bool)
    people, n_people = codes(trials["participant"], fooled.size, "participant")
    pictures, n_pictures = codes(trials["pair"], fooled.size, "pair")
    n, k = _by_code(people, fooled, n_people)
    cells = cell_codes(people, pictures, n_pictures)
    sums = [n, n, k, k]  # every trial is its own cell
    if cells is not None:
        cell_n, cell_k = _by_code(cells, fooled, int(cells.max()) + 1)
        owner = np.empty(cell_n.size, dtype=np.intp)
        owner[cells] = people
        weights = (np.ones_like(cell_n), cell_n * cell_n, cell_n * cell_k, cell_k * cell_k)
        sums = [np.bincount(owner, weights=weight, minlength=n_people) for weight in weights]
    return _Counts(
        trials=trials,
        fooled=fooled,
        session=session_codes(trials["session"], names),
        people=people,
        pictures=pictures,
        by_participant=np.array([n, k, *sums], dtype=float),
        by_pair=_by_code(pictures, fooled, n_pictures),
        is_one_picture=bool(trials["real_side"].isin(SIDES[2]).all()),
    )


def _by_code(
    units: NDArray[np.intp], fooled: NDArray[np.bool_], n_units: int, rows: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """Trials and fooled trials of each unit, (2, n_units), over those ``rows`` only."""
    if rows is not None:
        units, fooled = units[rows], fooled[rows]
    both = (np.bincount(units, minlength=n_units), np.bincount(units[fooled], minlength=n_units))
    return np.array(both, dtype=float)
