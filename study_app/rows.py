"""The rows of a table as a backup spells them: a table of either database in, the very same lines out."""

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Connection,
    DateTime,
    String,
    Text,
    cast,
    collate,
    column,
    func,
    inspect,
    select,
    table,
)
from sqlalchemy.sql.elements import ColumnElement

from pairs.progress import Progress

CHUNK = 2000  # rows at hand at once


def kinds_of(connection: Connection, name: str) -> dict[str, str]:
    """The columns of a table, and how the archive spells each: json, moment, boolean, or plainly."""

    def kind(type_: object) -> str:
        if isinstance(type_, JSON):
            return "json"
        if isinstance(type_, DateTime):
            return "moment"
        return "boolean" if isinstance(type_, Boolean) else "plain"

    return {one["name"]: kind(one["type"]) for one in inspect(connection).get_columns(name)}


def read_table(
    connection: Connection, name: str, columns: Sequence[str], progress: Progress
) -> Iterator[tuple[bytes, int]]:
    """The lines of a table, some at a time, and how many they are; the same from every database."""
    kinds = kinds_of(connection, name)
    is_sqlite = connection.dialect.name == "sqlite"
    source = table(name)
    rows = (
        select(*[column(one) if is_sqlite else _as_text(one, kinds[one]) for one in columns])
        .select_from(source)
        .order_by(*_key(connection, name))
    )
    total = connection.scalar(select(func.count()).select_from(source)) or 0
    spelled = [(i, _SPELLED[kinds[one]]) for i, one in enumerate(columns) if is_sqlite and kinds[one] in _SPELLED]
    encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode
    with connection.execute(rows, execution_options={"yield_per": CHUNK}) as found:
        for _ in progress(range(-(-total // CHUNK))):
            chunk = [list(row) for row in found.fetchmany(CHUNK)]
            for i, spell in spelled:
                for row in chunk:
                    if row[i] is not None:
                        row[i] = spell(row[i])
            yield "".join(f"{encode(row)}\n" for row in chunk).encode(), len(chunk)


def _key(connection: Connection, name: str) -> list[ColumnElement[Any]]:
    """What the rows are ordered by; words by their bytes, which no language's order changes."""
    types = {one["name"]: one["type"] for one in inspect(connection).get_columns(name)}
    bytewise = "C" if connection.dialect.name == "postgresql" else "BINARY"
    return [
        collate(column(one), bytewise) if isinstance(types[one], String) else column(one)
        for one in inspect(connection).get_pk_constraint(name)["constrained_columns"]
    ]


def _as_text(name: str, kind: str) -> ColumnElement[Any]:
    """A column of PostgreSQL as the archive spells it."""
    if kind == "json":
        return cast(column(name), Text)
    if kind == "moment":
        return func.to_char(func.timezone("UTC", column(name)), 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    return column(name)


def _spell_moment(stored: str) -> str:
    """SQLite keeps a moment as text without a zone; ours are in UTC."""
    if len(stored) == 26:
        return f"{stored[:10]}T{stored[11:]}Z"
    moment = datetime.fromisoformat(stored)
    moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


_SPELLED: dict[str, Callable[[Any], Any]] = {"moment": _spell_moment, "boolean": bool}
