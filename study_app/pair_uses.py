"""How often each pair has been shown: a study in, its pairs with their uses out, as cheaply after a million answers.

Only main and catch trials count, of sessions that are complete and valid, or still may become so. Of the former the uses
are added up, once for each session (``PairUses``, ``Session.counted``); of the latter there are few, and they are counted.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, bindparam, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from study_app.assignment import AvailablePair
from study_app.stopping import ABANDONED_AFTER, counts_or_may
from study_app.tables import Condition, Pair, PairUses, Participant, Session, Trial

INSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
SESSIONS_AT_ONCE = 500

# Made once: making these takes longer than the database takes to answer them.
_STUDYS = Session.study_id == bindparam("study")
_COMPLETE = select(Session.id).where(_STUDYS, Session.outcome == "completed", Session.counted.is_(False))


def _shown(*columns: Any) -> Any:
    """A statement about the trials that count."""
    return (
        select(*columns)
        .join_from(Trial, Session, Trial.session_id == Session.id)
        .join(Participant, Session.participant_id == Participant.id)
        .where(Trial.kind.in_(("main", "catch")))
    )


_AT_WORK = (
    _shown(Trial.pair_id, func.count())
    .where(_STUDYS, Session.counted.is_(False), counts_or_may(bindparam("since")))
    .where(Participant.origin == bindparam("origin"))
    .group_by(Trial.pair_id)
)
_PAIRS = (
    select(Pair.id, Condition.name, Pair.photo_sha256, func.coalesce(PairUses.uses, 0))
    .join(Condition, Pair.condition_id == Condition.id)
    .outerjoin(PairUses, and_(PairUses.pair_id == Pair.id, PairUses.origin == bindparam("origin")))
    .where(Condition.study_id == bindparam("study"))
)


def available_pairs(connection: Connection, study_id: int, origin: str, now: datetime) -> list[AvailablePair]:
    """The study's pairs, with how often each was shown to participants of that origin.

    Call it in a transaction that holds the study's lock: what is added up is stored.
    """
    while sessions := connection.scalars(_COMPLETE.limit(SESSIONS_AT_ONCE), {"study": study_id}).all():
        _add_up(connection, sessions)  # those since the last start: few
    whose = {"study": study_id, "origin": origin}
    at_work = dict(connection.execute(_AT_WORK, {**whose, "since": now - ABANDONED_AFTER}).all())
    return [
        AvailablePair(pair_id, condition, photo, added_up + at_work.get(pair_id, 0))
        for pair_id, condition, photo, added_up in connection.execute(_PAIRS, whose)
    ]


def _add_up(connection: Connection, sessions: Sequence[int]) -> None:
    shown = _shown(Trial.pair_id, Participant.origin, func.count()).where(Trial.session_id.in_(sessions))
    more = INSERT[connection.dialect.name](PairUses).from_select(
        ["pair_id", "origin", "uses"], shown.group_by(Trial.pair_id, Participant.origin)
    )
    kept = {"uses": PairUses.uses + more.excluded.uses}
    connection.execute(more.on_conflict_do_update(index_elements=["pair_id", "origin"], set_=kept))
    connection.execute(update(Session).where(Session.id.in_(sessions)).values(counted=True))
