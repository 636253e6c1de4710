"""Checking: a database, and its pictures if wanted, in; what is as it must be and what is not out. Nothing is changed.

Every question is one set query, so that a million answers take seconds, and all are asked of one moment: participants may be
at work meanwhile.
"""

import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import PIL.Image
from sqlalchemy import ColumnElement, Connection, Engine, and_, case, false, func, literal, or_, select, union_all
from sqlalchemy.exc import DBAPIError

from pairs.progress import Progress
from protocol.pairset import sha256_hex
from protocol.place import Place
from protocol.responses import KINDS
from study_app.db import reason_of, revision_of, snapshot
from study_app.store import AT_ONCE, StoreError, get_image, get_served
from study_app.tables import (
    OUTCOMES,
    Condition,
    Image,
    Pair,
    PairUses,
    Participant,
    Response,
    Session,
    Study,
    Table,
    Trial,
)

SHOWN = 5  # ids told of each finding
MOST = 1000  # ids looked up; a count of so many means so many or more


@dataclass(frozen=True)
class Finding:
    """What was asked; ``count`` is how many are not as they must be, ``first`` the first of them, ``note`` what else to know."""

    what: str
    count: int
    first: tuple[str, ...] = ()
    note: str = ""

    @property
    def ok(self) -> bool:
        return self.count == 0


def check(
    engine: Engine, store: Place | None = None, bar: Callable[[str], Progress] = lambda _: lambda items: items
) -> list[Finding]:
    """Everything that must hold of a migrated database; with ``store``, of the pictures of its open studies, too."""
    with snapshot(engine) as connection:
        found = [Finding("the schema is this release's", 0, note=revision_of(connection) or "")]
        try:
            for ask in bar("Checking")(
                [*_BY_DATABASE[engine.dialect.name], _designs, _manifests, _sessions, _rest, _codes]
            ):
                found += ask(connection)
        except DBAPIError as error:  # damage may be such that not even the questions can be asked
            return [*found, Finding("the database can be read", 1, (reason_of(error),))]
        pictures = _shown(connection) if store is not None else []
    if store is not None:
        found.append(_check_pictures(store, pictures, bar("Pictures")))
    return found


def _finding(what: str, rows: list[Any], note: str = "") -> Finding:
    return Finding(what, len(rows), tuple(str(row) for row in rows[:SHOWN]), note)


# The file, or the server


def _sqlite_is_whole(connection: Connection) -> list[Finding]:
    said = connection.exec_driver_sql("PRAGMA integrity_check(100)").scalars().all()
    return [_finding("the file is whole (integrity_check)", [one for one in said if one != "ok"])]


def _sqlite_refers(connection: Connection) -> list[Finding]:
    rows = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchmany(MOST)
    return [_finding("every reference leads to a row", [f"{table} {row}" for table, row, *_ in rows])]


def _postgresql_keeps(connection: Connection) -> list[Finding]:
    """What an administrator may have turned off for speed."""
    needed = ("fsync", "full_page_writes", "synchronous_commit")
    shown = {name: connection.exec_driver_sql(f"SHOW {name}").scalar() for name in (*needed, "data_checksums")}
    off = [f"{name} = off" for name in needed if shown[name] == "off"]
    note = f"whether pages are whole rests on the server's checksums, which are {shown['data_checksums']}"
    return [_finding("the server keeps what it acknowledged", off, note=note)]


def _postgresql_refers(connection: Connection) -> list[Finding]:
    orphans = []
    for table in Table.metadata.sorted_tables:
        own = next(iter(table.primary_key))
        for key in table.foreign_keys:
            other = key.column.table.alias("other")
            lost = (
                select(own)
                .outerjoin(other, key.parent == other.c[key.column.name])
                .where(key.parent.is_not(None), other.c[key.column.name].is_(None))
                .order_by(own)
                .limit(MOST)
            )
            orphans += [f"{table.name} {row}" for row in connection.scalars(lost)]
    return [_finding("every reference leads to a row", orphans)]


_BY_DATABASE = {
    "sqlite": [_sqlite_is_whole, _sqlite_refers],
    "postgresql": [_postgresql_keeps, _postgresql_refers],
}


# What was frozen


def _designs(connection: Connection) -> list[Finding]:
    """By the text that is stored: a later release may know more settings."""
    changed = []
    for name, design, of_design, of_plan in connection.execute(
        select(Study.name, Study.design, Study.design_sha256, Study.plan_sha256).order_by(Study.id)
    ):
        if _hash(design) != of_design:
            changed.append(f"{name}: design")
        if _hash(design.get("analysis")) != of_plan:
            changed.append(f"{name}: plan")
    return [_finding("designs and plans are as they were frozen", changed)]


def _hash(frozen: Any) -> str:
    """As ``protocol.design.canonical_sha256``."""
    spelled = json.dumps(frozen, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(spelled.encode()).hexdigest()


def _manifests(connection: Connection) -> list[Finding]:
    rows = connection.execute(
        select(Condition.id, Condition.manifest, Condition.manifest_sha256).order_by(Condition.id)
    )
    changed = [row.id for row in rows if sha256_hex(row.manifest.encode()) != row.manifest_sha256]
    return [_finding("manifests of pair sets are as they were frozen (conditions)", changed)]


# Sessions, trials and answers

_PER_SESSION = (
    select(
        Trial.session_id,
        func.count(Trial.id).label("trials"),
        func.min(Trial.trial_index).label("first"),
        func.max(Trial.trial_index).label("last"),
        func.count(Response.id).label("answers"),
        func.max(case((Response.id.is_not(None), Trial.trial_index))).label("last_answered"),
    )
    .outerjoin(Response, Response.trial_id == Trial.id)
    .group_by(Trial.session_id)
    .subquery()
)


def _sessions(connection: Connection) -> list[Finding]:
    """All that a session's trials and answers must be, in one pass over them."""
    lengths = {
        study: sum(design["trials"][kind] for kind in KINDS)
        for study, design in connection.execute(select(Study.id, Study.design))
    }
    per, trials = _PER_SESSION.c, func.coalesce(_PER_SESSION.c.trials, 0)
    answers, last = func.coalesce(per.answers, 0), func.coalesce(per.last_answered, -1)
    rules = {
        "every session has the trials of its design": trials != case(lengths, value=Session.study_id, else_=0),
        "trials are numbered 0 to n - 1 (sessions)": or_(per.first != 0, per.last != trials - 1),
        "no answer comes before the one before it (sessions)": answers != last + 1,
        "a session is complete when every trial is answered, and only then": Session.completed_at.is_not(None)
        != func.coalesce(per.answers == per.trials, false()),
        "a session that is complete has an outcome": or_(
            and_(Session.completed_at.is_not(None), Session.outcome.is_(None)),
            and_(Session.completed_at.is_(None), func.coalesce(Session.outcome, "") == "completed"),
        ),
    }
    rows = connection.execute(
        select(Session.id, *[case((rule, 1), else_=0) for rule in rules.values()])
        .outerjoin(_PER_SESSION, per.session_id == Session.id)
        .where(or_(*rules.values()))
        .order_by(Session.id)
    ).all()
    return [_finding(what, [row[0] for row in rows if row[i]]) for i, what in enumerate(rules, 1)]


# What ``pair_uses`` added up, and each of those trials taken away again.
_USES = union_all(
    select(PairUses.pair_id, PairUses.origin, PairUses.uses),
    select(Trial.pair_id, Participant.origin, literal(-1))
    .join_from(Trial, Session, Trial.session_id == Session.id)
    .join(Participant, Session.participant_id == Participant.id)
    .where(Session.counted, Trial.kind.in_(("main", "catch"))),
).subquery()


def _rest(connection: Connection) -> list[Finding]:
    wrong = {
        "a trial has one answer at most (trials)": select(Response.trial_id)
        .group_by(Response.trial_id)
        .having(func.count() > 1),
        "every participant has a session": select(Participant.id)
        .outerjoin(Session, Session.participant_id == Participant.id)
        .where(Session.id.is_(None)),
        "every participant has one session": select(Session.participant_id)
        .group_by(Session.participant_id)
        .having(func.count() > 1),
        "sessions are of their participants' studies": select(Session.id)
        .join(Participant, Session.participant_id == Participant.id)
        .where(Session.study_id != Participant.study_id),
        "uses of pairs are as the counted sessions showed them (pairs)": select(_USES.c.pair_id)
        .group_by(_USES.c.pair_id, _USES.c.origin)
        .having(func.sum(_USES.c.uses) != 0),
        "trials show pairs of their own studies": select(Trial.id)
        .join(Session, Trial.session_id == Session.id)
        .join(Pair, Trial.pair_id == Pair.id)
        .join(Condition, Pair.condition_id == Condition.id)
        .where(Condition.study_id != Session.study_id),
    }
    return [_finding(what, list(connection.scalars(ids.limit(MOST)))) for what, ids in wrong.items()]


def _codes(connection: Connection) -> list[Finding]:
    """As ``sessions.end_session`` gives them."""
    lacking: list[int] = []
    for study, design in connection.execute(select(Study.id, Study.design)):
        recruitment = design.get("recruitment") or {}
        expected = [outcome for outcome in OUTCOMES if recruitment.get(outcome) is not None]
        due: ColumnElement[bool] = Session.outcome.in_(expected)
        if recruitment.get("source") != "prolific":  # Prolific knows only its own
            due = or_(due, Session.completed_at.is_not(None))
        lacks = select(Session.id).where(Session.study_id == study, due, Session.completion_code.is_(None))
        lacking += connection.scalars(lacks.order_by(Session.id).limit(MOST))
    return [_finding("who is owed a code has one (sessions)", lacking)]


# Pictures


def _shown(connection: Connection) -> list[str]:
    """The pictures of the studies that are open."""
    now = datetime.now(UTC)
    opened = [
        study
        for study, design in connection.execute(select(Study.id, Study.design).where(Study.closed_at.is_(None)))
        if (until := (design.get("stopping") or {}).get("until")) is None or now < datetime.fromisoformat(until)
    ]
    shown = (
        select(Image.sha256)
        .distinct()
        .join(Pair, or_(Pair.real_image_id == Image.id, Pair.fake_image_id == Image.id))
        .join(Condition, Pair.condition_id == Condition.id)
        .where(Condition.study_id.in_(opened))
    )
    return list(connection.scalars(shown.order_by(Image.sha256)))


def _check_pictures(store: Place, hashes: list[str], progress: Progress) -> Finding:
    def problem(sha256: str) -> str | None:
        try:
            with (
                PIL.Image.open(BytesIO(get_image(store, sha256))) as file,
                PIL.Image.open(BytesIO(get_served(store, [sha256])[0])) as served,
            ):
                return (
                    None
                    if file.convert("RGB").tobytes() == served.convert("RGB").tobytes()
                    else f"{sha256[:12]} is served otherwise"
                )
        except (StoreError, OSError) as error:
            return str(error)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = zip(pool.map(problem, hashes), progress(hashes), strict=True)
        problems = [one for one, _ in found if one]
    return _finding(f"pictures of open studies are in the store and verify ({len(hashes)})", problems)
