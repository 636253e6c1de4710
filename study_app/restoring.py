"""Restoring: a backup and an empty database in, the same rows in this release's schema out; all of it or nothing."""

import hashlib
import json
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
from PIL import UnidentifiedImageError
from psycopg import sql
from sqlalchemy import Connection, Engine, column, func, insert, inspect, select, table
from sqlalchemy.exc import DBAPIError

from protocol.place import Place
from study_app.backup import PASSING, Backup, BackupError, Bar, Member, damaged, quiet, read_backup
from study_app.db import (
    DatabaseError,
    known_revisions,
    open_engine,
    reason_of,
    refuse_unknown,
    revision_of,
    schema_revisions,
    shown_url,
    sqlite_file,
)
from study_app.rows import CHUNK, kinds_of, read_table
from study_app.schema import altering, make_folder, migrate
from study_app.store import put_image


def restore(url: str, store: Place, file: Path, *, bar: Bar = quiet) -> Backup:
    """Load a backup into a database that holds nothing, made if need be; its pictures, if it has any, go into ``store``.

    The archive is verified first. The rows are loaded into the schema that they were in, read back and compared with the
    archive, and brought to this release's schema, in one transaction: whatever goes wrong, the database is as it was.

    Raises:
        BackupError: if the archive is damaged, or a newer release's, or the rows do not come back as they were.
        DatabaseError: if the database holds something, or cannot be used.
    """
    backup = read_backup(file, bar)
    if backup.schema not in known_revisions():
        raise BackupError(
            f"backup {file} is at schema {backup.schema}, which this release does not know; install the newer one that wrote it"
        )
    engine = open_engine(url)
    with _nothing_left_behind(engine):
        try:
            before, newest = schema_revisions(engine)
            refuse_unknown(engine, before)
            with zipfile.ZipFile(file) as archive:
                with engine.connect() as connection:
                    _refuse_unless_empty(engine, connection)
                _restore_pictures(archive, store, bar)
                with altering(engine) as connection:
                    _restore_tables(engine, connection, archive, backup, bar)
                    migrate(connection, backup.schema, newest)
        except (DBAPIError, psycopg.Error) as error:
            reason = reason_of(error) if isinstance(error, DBAPIError) else str(error).splitlines()[0]
            raise DatabaseError(
                f"backup {file} cannot be loaded into database {shown_url(engine)} ({reason}); the database is as it was"
            ) from error
        except (ValueError, TypeError, LookupError, OverflowError, RecursionError, UnidentifiedImageError) as error:
            raise BackupError(damaged(file, str(error) or type(error).__name__)) from error
        finally:
            engine.dispose()
    return backup


@contextmanager
def _nothing_left_behind(engine: Engine) -> Iterator[None]:
    """Removes a file that was made for a database that did not come about."""
    file = sqlite_file(engine.url)
    existed = file is None or file.exists()
    make_folder(engine)
    try:
        yield
    except BaseException:
        if file is not None and not existed:
            for ending in ("", "-wal", "-shm", "-queue"):
                with suppress(FileNotFoundError):
                    file.with_name(file.name + ending).unlink()
        raise


def _refuse_unless_empty(engine: Engine, connection: Connection) -> None:
    held = {
        name: n
        for name in inspect(connection).get_table_names()
        if name not in PASSING | {"alembic_version"} and (n := connection.scalar(_count(name)))
    }
    if held:
        found = ", ".join(f"{n} {name}" for name, n in sorted(held.items()))
        raise DatabaseError(
            f"database {shown_url(engine)} is not empty ({found}); a backup is restored into an empty one: give another with --database"
        )


def _count(name: str) -> Any:
    return select(func.count()).select_from(table(name))


def _restore_pictures(archive: zipfile.ZipFile, store: Place, bar: Bar) -> None:
    names = [name for name in archive.namelist() if name.startswith("pictures/")]
    for name in bar("Restoring pictures")(names):
        put_image(store, archive.read(name))  # named by content: one too many does no harm


def _restore_tables(engine: Engine, connection: Connection, archive: zipfile.ZipFile, backup: Backup, bar: Bar) -> None:
    _refuse_unless_empty(engine, connection)  # once more, where nobody comes between
    before = revision_of(connection)
    if before != backup.schema:
        migrate(connection, before, backup.schema)
    there = set(inspect(connection).get_table_names()) - PASSING - {"alembic_version"}
    if there != set(backup.tables):
        wrong = ", ".join(sorted(there ^ set(backup.tables)))
        raise BackupError(
            f"the backup's tables are not those of its schema {backup.schema} ({wrong}); take another one"
        )
    for name, member in backup.tables.items():  # those that are referred to come first
        kinds = kinds_of(connection, name)
        if set(kinds) != set(member.columns):
            raise BackupError(f"the columns of table {name} are not those of schema {backup.schema}; take another one")
        with archive.open(f"tables/{name}.jsonl") as lines:
            load = _copy if connection.dialect.name == "postgresql" else _insert
            load(connection, name, kinds, member, _rows(lines, member, bar(f"Restoring {name}")))
    for name, member in backup.tables.items():
        _compare(connection, name, member, bar)
    _finish(connection, backup)


def _rows(lines: Any, member: Member, progress: Callable[..., Any]) -> Iterator[list[list[Any]]]:
    for _ in progress(range(-(-member.rows // CHUNK))):
        yield [json.loads(line) for _, line in zip(range(CHUNK), lines, strict=False)]


def _copy(
    connection: Connection, name: str, kinds: dict[str, str], member: Member, chunks: Iterator[list[list[Any]]]
) -> None:
    driver: Any = connection.connection.driver_connection
    columns = sql.SQL(", ").join(map(sql.Identifier, member.columns))
    command = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(name), columns)
    with driver.cursor() as cursor, cursor.copy(command) as copy:
        for chunk in chunks:
            for row in chunk:
                copy.write_row(row)


def _insert(
    connection: Connection, name: str, kinds: dict[str, str], member: Member, chunks: Iterator[list[list[Any]]]
) -> None:
    moments = [i for i, one in enumerate(member.columns) if kinds[one] == "moment"]
    # The statement is SQLAlchemy's, which quotes names; the rows go to the driver as they are.
    statement = str(insert(table(name, *map(column, member.columns))).compile(dialect=connection.dialect))
    for chunk in chunks:
        for i in moments:
            for row in chunk:
                if row[i] is not None:
                    row[i] = f"{row[i][:10]} {row[i][11:26]}"  # as SQLAlchemy keeps it in SQLite
        connection.exec_driver_sql(statement, [tuple(row) for row in chunk])


def _compare(connection: Connection, name: str, member: Member, bar: Bar) -> None:
    found, rows = hashlib.sha256(), 0
    for lines, n in read_table(connection, name, member.columns, bar(f"Comparing {name}")):
        found.update(lines)
        rows += n
    if (rows, found.hexdigest()) != (member.rows, member.sha256):
        raise BackupError(
            f"table {name} did not come back as it was written ({rows} rows of {member.rows}); nothing was changed, "
            "please report this"
        )


def _finish(connection: Connection, backup: Backup) -> None:
    """What rows that bring their ids along leave to be done."""
    if connection.dialect.name == "sqlite":
        orphans = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchmany(1)
        if orphans:
            raise BackupError(
                f"a row of table {orphans[0][0]} in the backup refers to one that is not there; take another one"
            )
        return
    for name in backup.tables:
        key = inspect(connection).get_pk_constraint(name)["constrained_columns"]
        if key == ["id"]:
            last = select(func.max(column("id"))).select_from(table(name)).scalar_subquery()
            connection.execute(
                select(func.setval(func.pg_get_serial_sequence(name, "id"), func.coalesce(last, 1), last.is_not(None)))
            )
