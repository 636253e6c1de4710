"""A participant's sitting: consent in, all trials drawn at once; answers in, one committed row each."""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session as DatabaseSession
from sqlalchemy.orm import joinedload

from protocol.pairset import sha256_hex
from study_app.assignment import AvailablePair, draw_trials
from study_app.studies import design_of
from study_app.tables import Condition, Pair, Participant, Response, Session, Study, Trial

# A session that began longer ago and is not complete is taken for abandoned; its trials no longer count as uses.
ABANDONED_AFTER = timedelta(hours=2)
# Letters and digits that nobody mistakes for one another when a code is copied by hand.
CODE_ALPHABET = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"


class StudyClosedError(Exception):
    """The study takes no more participants."""


class OutOfTurnError(Exception):
    """An answer to a trial that does not exist, or that comes after one still unanswered."""


@dataclass(frozen=True)
class Answer:
    """What the browser sends. Times in milliseconds; ``elapsed_ms`` runs from onset to the moment of sending."""

    trial_index: int
    response: str
    rt_ms: int
    elapsed_ms: float
    exposure_measured_ms: float | None = None
    late_frames: int | None = None


def new_session_id() -> str:
    """An id that cannot be guessed: it is part of the addresses of the session's pictures."""
    return secrets.token_hex(16)


def start_session(db: DatabaseSession, study_id: int, origin: str, public_id: str) -> Session:
    """A participant who consented, a session, and all its trials; the session of that id, if it was begun before.

    Call it in a transaction of its own.

    Raises:
        StudyClosedError: if the study was closed.
    """
    # The lock makes simultaneous starts see each other's trials, so that the pairs stay evenly used.
    study = db.execute(select(Study).where(Study.id == study_id).with_for_update()).scalar_one()
    begun = find_session(db, public_id)
    if begun is not None:
        return begun
    if study.closed_at is not None:
        raise StudyClosedError(f"study {study.name!r} takes no more participants")
    design = design_of(study)
    now = datetime.now(UTC)
    participant = Participant(
        study_id=study.id,
        public_id=secrets.token_hex(8),
        origin=origin,
        consent_sha256=sha256_hex(design.consent.encode()),
        consented_at=now,
    )
    session = Session(
        study=study,
        participant=participant,
        public_id=public_id,
        seed=secrets.randbits(63),
        started_at=now,
    )
    db.add_all([participant, session])
    pairs = available_pairs(db, study, origin, now)
    for index, drawn in enumerate(draw_trials(design, pairs, session.seed)):
        db.add(
            Trial(
                session=session,
                trial_index=index,
                kind=drawn.kind,
                pair_id=drawn.pair_id,
                real_side=drawn.real_side,
                exposure_ms=design.exposure_ms,
            )
        )
    db.flush()
    return session


def available_pairs(db: DatabaseSession, study: Study, origin: str, now: datetime) -> list[AvailablePair]:
    """The study's pairs with how often main trials have shown each, in sessions that are complete or still may be."""
    uses = (
        select(Trial.pair_id, func.count().label("n"))
        .join(Session, Trial.session_id == Session.id)
        .join(Participant, Session.participant_id == Participant.id)
        .where(
            Session.study_id == study.id,
            Participant.origin == origin,
            Trial.kind == "main",
            or_(Session.completed_at.is_not(None), Session.started_at > now - ABANDONED_AFTER),
        )
        .group_by(Trial.pair_id)
        .subquery()
    )
    rows = db.execute(
        select(Pair.id, Condition.name, Pair.photo_sha256, func.coalesce(uses.c.n, 0))
        .join(Condition, Pair.condition_id == Condition.id)
        .outerjoin(uses, uses.c.pair_id == Pair.id)
        .where(Condition.study_id == study.id)
    )
    return [AvailablePair(*row) for row in rows]


def find_session(db: DatabaseSession, public_id: str) -> Session | None:
    """The session, with its study."""
    return db.scalar(select(Session).options(joinedload(Session.study)).where(Session.public_id == public_id))


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


def record_response(db: DatabaseSession, session: Session, answer: Answer, question: str) -> tuple[Trial, Response]:
    """Store the answer to a trial, unless it has one: the first counts. The trial, and the response that stands.

    With the last answer the session is complete and gets its code, in the same transaction.

    Raises:
        OutOfTurnError: if the session has no such trial, or an earlier one is unanswered.
    """
    # One answer of a session at a time: two that arrive together must not both find the trial unanswered.
    db.execute(select(Session.id).where(Session.id == session.id).with_for_update())
    trial = db.scalar(
        select(Trial)
        .options(joinedload(Trial.response))
        .where(Trial.session_id == session.id, Trial.trial_index == answer.trial_index)
    )
    if trial is None:
        raise OutOfTurnError(f"there is no trial {answer.trial_index}")
    if trial.response is not None:
        return trial, trial.response
    upcoming = next_trials(db, session, 2)
    if upcoming[0].id != trial.id:
        raise OutOfTurnError(f"trial {answer.trial_index} was answered before trial {upcoming[0].trial_index}")
    now = datetime.now(UTC)
    # Onset by the server's clock, reckoned back: the browser's clock may be wrong, and sending may have been delayed.
    presented_at = now - timedelta(milliseconds=answer.elapsed_ms)
    response = Response(
        trial_id=trial.id,
        chosen_side=side_taken_for_real(answer.response, question),
        rt_ms=answer.rt_ms,
        exposure_measured_ms=answer.exposure_measured_ms,
        late_frames=answer.late_frames,
        presented_at=presented_at,
        answered_at=presented_at + timedelta(milliseconds=answer.rt_ms),
    )
    db.add(response)
    if len(upcoming) == 1:
        session.completed_at = now
        session.completion_code = "".join(secrets.choice(CODE_ALPHABET) for _ in range(10))
    db.flush()
    return trial, response


def side_taken_for_real(clicked: str, question: str) -> str:
    """Who is asked for the fake and clicks left takes the right one for real."""
    if question == "real":
        return clicked
    return {"left": "right", "right": "left"}[clicked]
