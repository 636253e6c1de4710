"""Whether a study takes another participant: its design and the sessions so far in, the reason against it out."""

from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session as DatabaseSession

from protocol.design import StudyDesign
from study_app.tables import PREVIEW, Participant, Session, Step, Study

# A session that began longer ago and is not complete is taken for abandoned: it no longer holds a place, nor its pairs.
ABANDONED_AFTER = timedelta(hours=2)

Reason = Literal["closed", "ended", "full"]


def counts_or_may(now: datetime) -> ColumnElement[bool]:
    """The sessions that are complete and valid, or still may become so."""
    return or_(
        Session.outcome == "completed",
        and_(Session.outcome.is_(None), Session.started_at > now - ABANDONED_AFTER),
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
    return None


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
        .where(Session.study_id == study.id, Participant.origin == "human", counts_or_may(now), *which)
    )
    return found or 0
