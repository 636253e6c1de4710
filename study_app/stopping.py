"""Whether a study takes another participant: its design and the sessions so far in, the reason against it out."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import BindParameter, ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session as DatabaseSession

from analysis.sequence import latest
from protocol.design import StudyDesign
from study_app.counting import session_means
from study_app.tables import PREVIEW, Participant, Session, Step, Study

# A session that began longer ago and is not complete is taken for abandoned: it no longer holds a place, nor its pairs.
ABANDONED_AFTER = timedelta(hours=2)

Reason = Literal["closed", "ended", "full"]


def counts_or_may(since: datetime | BindParameter[datetime]) -> ColumnElement[bool]:
    """The sessions that are complete and valid, or, begun after ``since``, still may become so."""
    return or_(
        Session.outcome == "completed",
        and_(Session.outcome.is_(None), Session.started_at > since),
    )


def why_not_open(db: DatabaseSession, study: Study, design: StudyDesign, now: datetime) -> Reason | None:
    """Why nobody can begin: closed by hand, its time is over, or enough people have taken part or are at it."""
    if study.closed_at is not None:
        return "closed"
    stopping = design.stopping
    if stopping.until is not None and now >= datetime.fromisoformat(stopping.until):
        return "ended"
    if stopping.participants is not None and _people(db, study, now) >= stopping.participants:
        return "full"
    if stopping.half_width is not None and _is_precise(db, study, design, stopping.half_width):
        return "full"
    return None


def is_over(closed_at: datetime | None, design: StudyDesign, now: datetime) -> bool:
    """Whether those who were at work when the study closed, or when its time was over, have had their time to finish."""
    until = design.stopping.until
    ends = [closed_at, None if until is None else datetime.fromisoformat(until)]
    return any(now >= end + ABANDONED_AFTER for end in ends if end is not None)


@dataclass(frozen=True)
class _Precision:
    """What was last found of a study: its complete sessions, their shares of fooled answers, and whether these suffice."""

    sessions: list[int]
    means: dict[int, dict[str, float]]
    suffices: bool


# By the study's id and birth, since another database may have a study of the same id. Answers never change once a session
# is complete, so only those of new ones are counted.
_precision: dict[tuple[int, datetime], _Precision] = {}


def _is_precise(db: DatabaseSession, study: Study, design: StudyDesign, half_width: float) -> bool:
    """Whether the confidence sequence of every condition is at most this wide on either side. People's answers only."""
    complete = (
        select(Session.id)
        .join(Participant, Session.participant_id == Participant.id)
        .where(Session.study_id == study.id, Participant.origin == "human", Session.outcome == "completed")
        .order_by(Session.completed_at, Session.id)
    )
    sessions = list(db.scalars(complete))
    last = _precision.get((study.id, study.created_at), _Precision([], {}, suffices=False))
    if last.sessions == sessions:
        return last.suffices
    means = last.means | session_means(db, design, [session for session in sessions if session not in last.means])
    suffices = all(
        latest([means[s][condition] for s in sessions if condition in means[s]], design.analysis.level).half_width
        <= half_width
        for condition in design.conditions
    )
    _precision[study.id, study.created_at] = _Precision(sessions, means, suffices)
    return suffices


def full_quota(
    db: DatabaseSession, session: Session, design: StudyDesign, answers: dict[str, object], now: datetime
) -> bool:
    """Whether these answers belong to a group of which enough others have taken part or are at it.

    Call it in the transaction that stores the answers: of two who answer at once, the later one sees the earlier.
    """
    if not design.stopping.quotas or session.participant.origin == PREVIEW:
        return False
    db.execute(select(Study.id).where(Study.id == session.study_id).with_for_update())
    for quota in design.stopping.quotas:
        if answers.get(quota.question) != quota.answer:
            continue
        same = Step.data[quota.question].as_string() == quota.answer
        others = select(Step.session_id).where(Step.name == "questions", same, Step.session_id != session.id)
        if _people(db, session.study, now, Session.id.in_(others)) >= quota.participants:
            return True
    return False


def _people(db: DatabaseSession, study: Study, now: datetime, *which: ColumnElement[bool]) -> int:
    found = db.scalar(
        select(func.count(Session.id))
        .join(Participant, Session.participant_id == Participant.id)
        .where(
            Session.study_id == study.id, Participant.origin == "human", counts_or_may(now - ABANDONED_AFTER), *which
        )
    )
    return found or 0
