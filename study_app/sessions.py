"""A participant's sitting: consent in, all trials drawn at once; answers in, one committed row each."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session as DatabaseSession
from sqlalchemy.orm import joinedload

from protocol.design import StudyDesign
from protocol.pairset import sha256_hex
from study_app.assignment import draw_trials
from study_app.metrics import note_end
from study_app.pair_uses import available_pairs
from study_app.stopping import why_not_open
from study_app.studies import design_of
from study_app.tables import PREVIEW, Participant, Refusal, Session, Step, Study, Trial

_TRIALS = insert(Trial)
# Letters and digits that nobody mistakes for one another when a code is copied by hand.
CODE_ALPHABET = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"


class StudyClosedError(Exception):
    """The study takes no more participants; ``reason`` as ``stopping.why_not_open`` gives it."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"study {name!r} takes no more participants: it is {reason}")
        self.reason = reason


class TookPartError(Exception):
    """Somebody recruited under this id has begun already."""


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
    db.flush()
    pairs = available_pairs(db.connection(), study.id, origin, now)
    trials = [
        {"session_id": session.id, "trial_index": index, "exposure_ms": design.exposure_ms, **vars(drawn)}
        for index, drawn in enumerate(draw_trials(design, pairs, session.seed))
    ]
    db.connection().execute(_TRIALS, trials)
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


def find_session(db: DatabaseSession, public_id: str) -> Session | None:
    """The session, with its study and participant."""
    both = joinedload(Session.study), joinedload(Session.participant)
    return db.scalar(select(Session).options(*both).where(Session.public_id == public_id))


def end_session(session: Session, design: StudyDesign, outcome: str) -> None:
    """How the session ended, and its code: the one that the recruiting service expects, else a code of its own."""
    session.outcome = outcome
    note_end(outcome)
    expected = getattr(design.recruitment, outcome, None)
    if expected is not None:
        session.completion_code = expected
    elif session.completed_at is not None and design.recruitment.source != "prolific":  # Prolific knows only its own
        session.completion_code = "".join(secrets.choice(CODE_ALPHABET) for _ in range(10))


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
