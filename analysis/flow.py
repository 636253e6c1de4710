"""All trials and those that count in; how many people and trials there were at every stage, and what is amiss, out."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pandas as pd

from analysis.exclusions import Exclusion
from analysis.fool_rate import is_wrong
from analysis.reading.source import Source
from protocol.responses import KINDS


@dataclass(frozen=True)
class Flow:
    """How many people and trials there were, and how many are left to count. Trials are main trials.

    ``refusals`` is None and ``outcomes`` (sessions by how they ended) empty where the source does not say.
    ``rows_unusable``: rows of the source that are no trial, or are damaged; they are in none of the other numbers.
    """

    participants: int
    sessions: int
    sessions_finished: int
    sessions_excluded: int
    participants_counted: int
    trials_shown: int
    trials_unanswered: int
    trials_excluded: int
    trials_counted: int
    refusals: int | None
    outcomes: dict[str, int]
    rows_unusable: int = 0


@dataclass(frozen=True)
class KindCount:
    """Trials of one kind before exclusions; ``correct`` is a fraction of those answered, None without any."""

    kind: str
    shown: int
    answered: int
    correct: float | None


def count_flow(
    source: Source, table: pd.DataFrame, counted: pd.DataFrame, summary: pd.DataFrame, exclusions: Iterable[Exclusion]
) -> Flow:
    """``summary`` is the table's ``exclusions.session_summary``; ``counted`` the trials that are left."""
    answered, shown = int(summary["answered"].sum()), int(summary["shown"].sum())
    ended = table.groupby("session", observed=True)["outcome"].first() if "outcome" in table else pd.Series(dtype=str)
    outcomes = ended.dropna().astype(str).value_counts().sort_index()
    return Flow(
        participants=table["participant"].nunique(),
        sessions=len(summary),
        sessions_finished=int(summary["finished"].sum()),
        sessions_excluded=len({exclusion.session for exclusion in exclusions}),
        participants_counted=counted["participant"].nunique(),
        trials_shown=shown,
        trials_unanswered=shown - answered,
        trials_excluded=answered - len(counted),
        trials_counted=len(counted),
        refusals=source.refusals,
        outcomes={str(outcome): int(n) for outcome, n in outcomes.items() if n},
        rows_unusable=sum(one.n for one in source.unusable),
    )


def count_kinds(table: pd.DataFrame) -> Iterator[KindCount]:
    """Kinds that were shown, in the order of ``KINDS``."""
    for kind in KINDS:
        shown = table[table["kind"] == kind]
        answered = shown[shown["chosen_side"].notna()]
        if len(shown):
            yield KindCount(
                kind, len(shown), len(answered), float(1 - is_wrong(answered).mean()) if len(answered) else None
            )


def find_warnings(source: Source, table: pd.DataFrame, order: Iterable[str], found: Iterable[str]) -> Iterator[str]:
    """What a reader must know before the numbers; ``order``: conditions there should be, ``found``: those with a rate."""
    n_others = len(source.table) - len(table)
    if n_others:
        others = source.table.drop(table.index)
        yield (
            f"{n_others} {others['origin'].iloc[0]} trials of {others['session'].nunique()} sessions were left "
            "out; a report is on people or on simulated participants, never on both."
        )
    for one in source.unusable:
        yield f"{one.n} row{'s' * (one.n != 1)} could not be used: {one.reason}{_lines(one.n, one.lines)}."
    yield from source.notes
    if not list(found):
        yield _why_nothing_is_left(table)
    else:
        for name in order:
            if name not in found:
                yield f"Condition {name} has no answered main trial left, so it has no fool rate."


def _lines(n: int, lines: tuple[int, ...]) -> str:
    if not lines:
        return ""
    listed = ", ".join(str(line) for line in lines)
    return f" (line{'s' * (len(lines) != 1)} {listed}{' …' if n > len(lines) else ''})"


def _why_nothing_is_left(table: pd.DataFrame) -> str:
    main = table[table["kind"] == "main"]
    if table.empty:
        return "There is no fool rate: the response table holds no trial."
    if main.empty:
        return f"There is no fool rate: none of the {len(table)} trials is a main trial."
    if main["chosen_side"].isna().all():
        return f"There is no fool rate: none of the {len(main)} main trials was answered."
    if "against" in main and main["against"].notna().all():
        return "There is no fool rate: every main trial set two conditions against each other."
    return "There is no fool rate: the plan excludes every session that answered a main trial."
