"""Where a session stands: the cookie's session id and a place among its trials in, what a request about them needs out.

These are the requests of which a whole study consists. Each is answered from one statement, by Core.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, and_, bindparam, func, select

from protocol.design import StudyDesign
from study_app.stopping import is_over
from study_app.studies import design_at_hand
from study_app.tables import PREVIEW, Image, Pair, Participant, Response, Session, Study, Trial

# Pictures of the next trial are fetched while this one is answered; later ones are not to be had yet.
TRIALS_AHEAD = 2

_SESSION = (
    Session.id.label("session_id"),
    Session.public_id,
    Session.outcome,
    Session.started_at,
    Participant.origin,
    Study.id.label("study_id"),
    Study.design_sha256,
    Study.closed_at,
)
_OWN = and_(Session.public_id == bindparam("public_id"), Study.name == bindparam("study"))
_TURN = (
    select(
        *_SESSION,
        Trial.id.label("trial_id"),
        Trial.trial_index,
        Trial.kind,
        Trial.real_side,
        Trial.exposure_ms,
        Trial.block,
        Response.chosen_side,
    )
    .join_from(Session, Study, Session.study_id == Study.id)
    .join(Participant, Session.participant_id == Participant.id)
    .outerjoin(
        Trial,
        and_(Trial.session_id == Session.id, Trial.trial_index.between(bindparam("first"), bindparam("last"))),
    )
    .outerjoin(Response, Response.trial_id == Trial.id)
    .where(_OWN)
)
_UNANSWERED = (
    select(func.min(Trial.trial_index))
    .join_from(Session, Study, Session.study_id == Study.id)
    .join(Trial, Trial.session_id == Session.id)
    .outerjoin(Response, Response.trial_id == Trial.id)
    .where(_OWN, Response.id.is_(None))
)
_real, _fake = Image.__table__.alias("real_image"), Image.__table__.alias("fake_image")
_before = Trial.__table__.alias("before")
_PICTURES = (
    select(
        *_SESSION,
        Trial.real_side,
        _real.c.sha256.label("real"),
        _fake.c.sha256.label("fake"),
        Response.id.label("answer_before"),
    )
    .join_from(Session, Study, Session.study_id == Study.id)
    .join(Participant, Session.participant_id == Participant.id)
    .join(Trial, and_(Trial.session_id == Session.id, Trial.trial_index == bindparam("index")))
    .join(Pair, Trial.pair_id == Pair.id)
    .join(_real, Pair.real_image_id == _real.c.id)
    .join(_fake, Pair.fake_image_id == _fake.c.id)
    .outerjoin(
        _before,
        and_(_before.c.session_id == Session.id, _before.c.trial_index == bindparam("index") - TRIALS_AHEAD),
    )
    .outerjoin(Response, Response.trial_id == _before.c.id)
    .where(_OWN)
)


@dataclass(frozen=True)
class Standing:
    """A session and its study, as far as the trials need them; ``is_over``: the study is, and has been for a while."""

    session_id: int
    public_id: str
    outcome: str | None
    started_at: datetime
    is_over: bool
    design: StudyDesign


@dataclass(frozen=True)
class TrialAtHand:
    """A trial; ``chosen_side`` is None as long as it has no answer."""

    trial_id: int
    trial_index: int
    kind: str
    real_side: str
    exposure_ms: int | None
    block: int
    chosen_side: str | None


@dataclass(frozen=True)
class Turn:
    """A session and some of its trials, by their index."""

    standing: Standing
    trials: dict[int, TrialAtHand]


@dataclass(frozen=True)
class PicturesAtHand:
    """The two pictures of a trial, by hash; ``is_begun``: the trials before, but for those fetched ahead, are answered."""

    standing: Standing
    real_side: str
    real: str
    fake: str
    is_begun: bool


def find_turn(connection: Connection, study: str, public_id: str, first: int, last: int) -> Turn | None:
    """The session of that id in that study, with its trials from ``first`` to ``last``; None if there is none."""
    rows: Sequence[Any] = connection.execute(
        _TURN, {"study": study, "public_id": public_id, "first": first, "last": last}
    ).all()
    if not rows:
        return None
    trials = {row.trial_index: TrialAtHand(*row[-7:]) for row in rows if row.trial_id is not None}
    return Turn(_standing(connection, rows[0]), trials)


def turn_around(connection: Connection, standing: Standing, index: int) -> Turn:
    """The turn of that session with the trials around one: the one before it, and those that may be had after it."""
    found = find_turn(connection, standing.design.name, standing.public_id, index - 1, index + TRIALS_AHEAD)
    assert found is not None  # sessions are never deleted
    return found


def find_unanswered(connection: Connection, study: str, public_id: str) -> int | None:
    """The index of the session's first trial without an answer; None if there is none."""
    return connection.scalar(_UNANSWERED, {"study": study, "public_id": public_id})


def find_pictures(connection: Connection, study: str, public_id: str, index: int) -> PicturesAtHand | None:
    """The pictures of that trial of the session of that id in that study; None if there are none."""
    row: Any = connection.execute(_PICTURES, {"study": study, "public_id": public_id, "index": index}).one_or_none()
    if row is None:
        return None
    return PicturesAtHand(_standing(connection, row), row.real_side, row.real, row.fake, row.answer_before is not None)


def _standing(connection: Connection, row: Any) -> Standing:
    def stored() -> Any:
        return connection.scalar(select(Study.design).where(Study.id == row.study_id))

    design = design_at_hand(connection.engine, row.study_id, row.design_sha256, stored)
    over = row.origin != PREVIEW and is_over(row.closed_at, design, datetime.now(UTC))
    return Standing(row.session_id, row.public_id, row.outcome, row.started_at, over, design)
