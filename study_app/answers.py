"""Answers to trials: what the browser sends in, one committed row each, and what follows from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session as DatabaseSession
from sqlalchemy.orm import joinedload

from protocol.design import StudyDesign
from study_app.sessions import end_session
from study_app.staircase import set_exposure
from study_app.tables import Response, Session, Trial


class OutOfTurnError(Exception):
    """An answer to a trial that does not exist, or that comes after one still unanswered."""


@dataclass(frozen=True)
class Answer:
    """What the browser sends. Times in milliseconds; ``elapsed_ms`` runs from onset to the moment of sending.

    ``measured`` holds the other columns of ``tables.Response`` that the browser measures.
    """

    trial_index: int
    response: str
    rt_ms: int
    elapsed_ms: float
    measured: Mapping[str, Any] = field(default_factory=dict)


def next_trials(db: DatabaseSession, session: Session, n: int) -> list[Trial]:
    """The first ``n`` trials without an answer, in order."""
    return list(
        db.scalars(
            select(Trial)
            .outerjoin(Response)
            .where(Trial.session_id == session.id, Response.id.is_(None))
            .order_by(Trial.trial_index)
            .limit(n)
        )
    )


def record_response(
    db: DatabaseSession, session: Session, answer: Answer, design: StudyDesign
) -> tuple[Trial, Response]:
    """Store the answer to a trial, unless it has one: the first counts. The trial, and the response that stands.

    What follows from the answer is stored in the same transaction: the next exposure of a staircase, the end of a
    session that fails the qualification, and with the last answer the session's outcome and code.

    Raises:
        OutOfTurnError: if the session has no such trial, is over, or an earlier trial is unanswered.
    """
    # One answer of a session at a time: two that arrive together must not both find the trial unanswered.
    outcome = db.scalar(select(Session.outcome).where(Session.id == session.id).with_for_update())
    trial = db.scalar(
        select(Trial)
        .options(joinedload(Trial.response))
        .where(Trial.session_id == session.id, Trial.trial_index == answer.trial_index)
    )
    if trial is None:
        raise OutOfTurnError(f"there is no trial {answer.trial_index}")
    if trial.response is not None:
        return trial, trial.response
    if outcome is not None:
        raise OutOfTurnError(f"the session has ended: {outcome}")
    upcoming = next_trials(db, session, 2)
    if upcoming[0].id != trial.id:
        raise OutOfTurnError(f"trial {answer.trial_index} was answered before trial {upcoming[0].trial_index}")
    now = datetime.now(UTC)
    # Onset by the server's clock, reckoned back: the browser's clock may be wrong, and sending may have been delayed.
    # Not before the session: after a reload only the device's date knows how long ago onset was.
    presented_at = max(now - timedelta(milliseconds=answer.elapsed_ms), session.started_at)
    response = Response(
        trial_id=trial.id,
        chosen_side=side_taken_for_real(answer.response, design),
        rt_ms=answer.rt_ms,
        presented_at=presented_at,
        answered_at=presented_at + timedelta(milliseconds=answer.rt_ms),
        **answer.measured,
    )
    db.add(response)
    db.flush()
    following = upcoming[1] if len(upcoming) > 1 else None
    if following is None:
        session.completed_at = now
        end_session(session, design, "failed_checks" if _missed_too_many(db, session, design) else "completed")
    elif trial.kind == "practice" and following.kind != "practice" and not _is_qualified(db, session, design):
        end_session(session, design, "screened_out")
    elif design.staircase is not None:
        set_exposure(db, design.staircase, following)
    db.flush()
    return trial, response


def count_correct(db: DatabaseSession, session: Session, kind: str) -> tuple[int, int]:
    """How many trials of a kind were answered correctly, of how many answered."""
    answers = db.execute(
        select(Trial.real_side, Response.chosen_side)
        .join(Response)
        .where(Trial.session_id == session.id, Trial.kind == kind)
    ).all()
    return sum(real == chosen for real, chosen in answers), len(answers)


def _missed_too_many(db: DatabaseSession, session: Session, design: StudyDesign) -> bool:
    if design.catch is None or design.catch.max_missed is None:
        return False
    correct, answered = count_correct(db, session, "catch")
    return answered - correct > design.catch.max_missed


def _is_qualified(db: DatabaseSession, session: Session, design: StudyDesign) -> bool:
    if design.qualification is None:
        return True
    correct, answered = count_correct(db, session, "practice")
    return correct >= design.qualification.min_correct * answered


def side_taken_for_real(clicked: str, design: StudyDesign) -> str:
    """Who is asked for the fake and clicks left takes the right one for real; of one picture people say what it is."""
    if design.question == "real" or design.task == "yes_no":
        return clicked
    first, second = design.sides
    return second if clicked == first else first
