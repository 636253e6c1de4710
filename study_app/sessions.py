"""A participant's sitting: consent in, all trials drawn at once; answers in, one committed row each."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session as DatabaseSession
from sqlalchemy.orm import joinedload

from protocol.design import StudyDesign
from protocol.pairset import sha256_hex
from study_app.assignment import AvailablePair, draw_trials
from study_app.staircase import set_exposure
from study_app.stopping import counts_or_may, why_not_open
from study_app.studies import design_of
from study_app.tables import PREVIEW, Condition, Pair, Participant, Refusal, Response, Session, Step, Study, Trial

# Letters and digits that nobody mistakes for one another when a code is copied by hand.
CODE_ALPHABET = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"


class StudyClosedError(Exception):
    """The study takes no more participants; ``reason`` as ``stopping.why_not_open`` gives it."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"study {name!r} takes no more participants: it is {reason}")
        self.reason = reason


class TookPartError(Exception):
    """Somebody recruited under this id has begun already."""


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


@dataclass(frozen=True)
class Arrival:
    """How somebody came: under which id they were recruited, and what else the recruiting service sent along."""

    recruitment_id: str | None = None
    details: Mapping[str, str] = field(default_factory=dict)


def new_session_id() -> str:
    """An id that cannot be guessed: it is part of the addresses of the session's pictures."""
    return secrets.token_hex(16)


def consent_sha256(design: StudyDesign, language: str) -> str:
    """The hash of the very text that was agreed to."""
    return sha256_hex(design.told(design.consent, language).encode())


def start_session(
    db: DatabaseSession,
    study_id: int,
    origin: str,
    public_id: str,
    *,
    language: str | None = None,
    arrival: Arrival | None = None,
) -> Session:
    """A participant who consented, a session, and all its trials; the session of that id, if it was begun before.

    Call it in a transaction of its own. ``language`` is the study's first unless given.

    Raises:
        StudyClosedError: if the study takes no more participants; a preview goes on.
        TookPartError: if the arrival's recruitment_id has begun before.
    """
    arrival = arrival or Arrival()
    # The lock makes simultaneous starts see each other's trials, so that the pairs stay evenly used.
    study = db.execute(select(Study).where(Study.id == study_id).with_for_update()).scalar_one()
    begun = find_session(db, public_id)
    if begun is not None:
        return begun
    design = design_of(study)
    now = datetime.now(UTC)
    if arrival.recruitment_id is not None and took_part(db, study, arrival.recruitment_id):
        raise TookPartError(arrival.recruitment_id)
    reason = None if origin == PREVIEW else why_not_open(db, study, design, now)
    if reason is not None:
        raise StudyClosedError(study.name, reason)
    language = language or design.languages[0]
    participant = Participant(
        study_id=study.id,
        public_id=secrets.token_hex(8),
        origin=origin,
        consent_sha256=consent_sha256(design, language),
        consented_at=now,
        recruitment_id=arrival.recruitment_id,
        recruitment=dict(arrival.details) or None,
    )
    session = Session(
        study=study,
        participant=participant,
        public_id=public_id,
        seed=secrets.randbits(63),
        language=language,
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
                block=drawn.block,
                repeat_of=drawn.repeat_of,
            )
        )
    db.flush()
    return session


def took_part(db: DatabaseSession, study: Study, recruitment_id: str) -> bool:
    return (
        db.scalar(
            select(Participant.id).where(Participant.study_id == study.id, Participant.recruitment_id == recruitment_id)
        )
        is not None
    )


def record_refusal(db: DatabaseSession, study: Study, language: str) -> None:
    """Somebody declined: counted, with the text declined, and nothing else."""
    db.add(
        Refusal(
            study_id=study.id,
            consent_sha256=consent_sha256(design_of(study), language),
            refused_at=datetime.now(UTC),
        )
    )


def available_pairs(db: DatabaseSession, study: Study, origin: str, now: datetime) -> list[AvailablePair]:
    """The study's pairs with how often main or catch trials have shown each, in sessions that count or still may."""
    uses = (
        select(Trial.pair_id, func.count().label("n"))
        .join(Session, Trial.session_id == Session.id)
        .join(Participant, Session.participant_id == Participant.id)
        .where(
            Session.study_id == study.id,
            Participant.origin == origin,
            Trial.kind.in_(("main", "catch")),
            counts_or_may(now),
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
    """The session, with its study and participant."""
    both = joinedload(Session.study), joinedload(Session.participant)
    return db.scalar(select(Session).options(*both).where(Session.public_id == public_id))


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
    presented_at = now - timedelta(milliseconds=answer.elapsed_ms)
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


def end_session(session: Session, design: StudyDesign, outcome: str) -> None:
    """How the session ended, and its code: the one that the recruiting service expects, else a code of its own."""
    session.outcome = outcome
    expected = getattr(design.recruitment, outcome, None)
    if expected is not None:
        session.completion_code = expected
    elif outcome == "completed" or (outcome == "failed_checks" and session.completed_at is not None):
        session.completion_code = "".join(secrets.choice(CODE_ALPHABET) for _ in range(10))


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


def record_step(db: DatabaseSession, session: Session, name: str, data: dict[str, Any]) -> bool:
    """Keep what was given at a step of the road, unless it was done before: the first counts. Whether it was kept."""
    db.execute(select(Session.id).where(Session.id == session.id).with_for_update())
    if name in done_steps(db, session):
        return False
    db.add(Step(session_id=session.id, name=name, data=data, done_at=datetime.now(UTC)))
    db.flush()
    return True


def done_steps(db: DatabaseSession, session: Session) -> dict[str, dict[str, Any]]:
    """What was given at the steps done so far, by name."""
    return dict(db.execute(select(Step.name, Step.data).where(Step.session_id == session.id)).all())


def side_taken_for_real(clicked: str, design: StudyDesign) -> str:
    """Who is asked for the fake and clicks left takes the right one for real; of one picture people say what it is."""
    if design.question == "real" or design.task == "yes_no":
        return clicked
    first, second = design.sides
    return second if clicked == first else first
