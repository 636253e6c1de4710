"""A running study in; how far each condition is, and what may be said of its fool rate already, out."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session as DatabaseSession

from analysis.sequence import Watched, latest
from study_app.counting import count_margins, counted_sessions
from study_app.stopping import ABANDONED_AFTER, counts_or_may, why_not_open
from study_app.studies import design_of, find_study
from study_app.tables import Condition, Pair, Participant, Session, Study, Trial

if TYPE_CHECKING:
    from analysis.intervals import Interval


@dataclass(frozen=True)
class ConditionWatch:
    """One condition so far. Sessions are those with main trials in it: ``complete`` and valid, ``at_work``, and those of the
    complete that the plan leaves out. The rest is on the complete that count; None: there is no answer yet.
    """

    condition: str
    complete: int
    at_work: int
    excluded: int
    answers: int
    fool_rate: float | None
    sequence: Watched
    headline: "Interval | None"


@dataclass(frozen=True)
class StudyWatch:
    """``half_width``: where the study stops by itself; None without that rule. ``state`` is open, or why it is not."""

    study: str
    title: str
    state: str
    origin: str
    level: float
    half_width: float | None
    conditions: tuple[ConditionWatch, ...]

    def is_reached(self, one: ConditionWatch) -> bool | None:
        """Whether the condition is as precise as the study wants it; None where it does not say."""
        return None if self.half_width is None else one.sequence.half_width <= self.half_width


def watch_study(db: DatabaseSession, name: str, origin: str = "human") -> StudyWatch:
    """Count in the database, and say what may be looked at.

    Raises:
        StudyError: if there is no such study.
    """
    study, now = find_study(db, name), datetime.now(UTC)
    design = design_of(study)
    level = design.analysis.level
    counted_ids = counted_sessions(db, study, design, origin, completed=True)
    margins = count_margins(db, counted_ids)
    sessions = _count_sessions(db, study, origin, now, frozenset(counted_ids))

    def watch(condition: str) -> ConditionWatch:
        counted = margins.get(condition)
        return ConditionWatch(
            condition,
            *sessions.get(condition, (0, 0, 0)),
            answers=counted.n if counted else 0,
            fool_rate=counted.rate if counted else None,
            sequence=latest(counted.participant_fooled / counted.participant_n if counted else (), level),
            headline=counted.headline(level) if counted else None,
        )

    return StudyWatch(
        study=study.name,
        title=design.told(design.title, "en"),
        state=why_not_open(db, study, design, now) or "open",
        origin=origin,
        level=level,
        half_width=design.stopping.half_width,
        conditions=tuple(watch(condition) for condition in design.conditions),
    )


def _count_sessions(
    db: DatabaseSession, study: Study, origin: str, now: datetime, counted: frozenset[int]
) -> dict[str, tuple[int, int, int]]:
    """For each condition: sessions complete and valid, at work, and complete but not among the ``counted``."""
    seen = (
        select(Condition.name, Session.id, Session.outcome)
        .select_from(Session)
        .join(Participant, Session.participant_id == Participant.id)
        .join(Trial, Trial.session_id == Session.id)
        .join(Pair, Trial.pair_id == Pair.id)
        .join(Condition, Pair.condition_id == Condition.id)
        .where(
            Session.study_id == study.id,
            Participant.origin == origin,
            Trial.kind == "main",
            counts_or_may(now - ABANDONED_AFTER),
        )
        .distinct()
    )
    found: dict[str, tuple[int, int, int]] = {}
    for condition, session, outcome in db.execute(seen):
        complete, at_work, excluded = found.get(condition, (0, 0, 0))
        is_complete = outcome == "completed"
        is_excluded = is_complete and session not in counted
        found[condition] = complete + is_complete, at_work + (not is_complete), excluded + is_excluded
    return found
