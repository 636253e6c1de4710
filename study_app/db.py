"""The database: a URL in, transactions out. SQLite in WAL mode by default, PostgreSQL where one is named."""

import functools
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, column, create_engine, event, inspect, make_url, select, table
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.orm import Session as DatabaseSession

from study_app.writers import DatabaseError, WritersQueue

GIVE_URL = "give sqlite:///FILE or postgresql://USER@HOST/NAME"
MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"

# How long a request waits for a connection of the pool before it is told to come back.
POOL_WAIT_S = 5
# How long SQLite itself waits for somebody who writes without queueing, such as another program.
OTHERS_WAIT_MS = 15_000
# What every connection to PostgreSQL asks for, unless the URL says otherwise: a server that is gone is noticed in seconds,
# not in the hours of TCP's own patience, and an acknowledged answer is on the server's disk whatever its settings are.
POSTGRESQL = {
    "application_name": "realism",
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
# Read committed: who waited for a study's lock has to see what the one before did.
DURABLE = {"synchronous_commit": "on", "default_transaction_isolation": r"read\ committed"}
# Where participants wait for a page: nothing holds a connection, or others' rows, for longer (milliseconds). Commands that
# read a whole study take their time.
IN_TIME = {"statement_timeout": 15_000, "lock_timeout": 5_000, "idle_in_transaction_session_timeout": 30_000}


def open_engine(url: str, threads: int | None = None) -> Engine:
    """An engine for ``url``; nothing is connected yet.

    ``threads``: of a server, each of which has one connection that reads and one that writes at most; its statements end in
    time or fail. A command's, without it, take as long as they need.

    Raises:
        DatabaseError: if the URL is not one SQLAlchemy can use.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise DatabaseError(f"the database URL cannot be read; {GIVE_URL}") from error
    backend = parsed.get_backend_name()
    if backend not in ("sqlite", "postgresql"):
        raise DatabaseError(f"the database URL names {backend!r}, which is not supported; {GIVE_URL}")
    pool = {"pool_size": threads or 5, "max_overflow": threads or 5, "pool_timeout": POOL_WAIT_S}
    if backend == "postgresql":
        # No pre-ping, which would ask the server once more for each transaction: a lost one is run again (retrying.py).
        parsed = parsed.set(drivername="postgresql+psycopg")
        connect_args = _asked_of_postgresql(parsed, threads is not None)
        return _with_kin(create_engine(parsed, connect_args=connect_args, **pool), isolation_level="AUTOCOMMIT")
    file = sqlite_file(parsed)
    queue = WritersQueue(file.with_name(f"{file.name}-queue") if file else None)
    engine = create_engine(parsed, execution_options={"queue": queue}, **(pool if file else {}))
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return _with_kin(engine, begins=False)


def _with_kin(engine: Engine, **unbegun: Any) -> Engine:
    """The engine, which carries the same one for those who write, and for statements that each read by themselves: to
    make these anew each time takes longer than to begin a transaction."""
    kin = {"writer": engine.execution_options(writes=True), "reader": engine.execution_options(**unbegun)}
    engine.update_execution_options(**kin)
    return engine


def writer_of(engine: Engine) -> Engine:
    """The same engine, with transactions that write."""
    writer = engine.get_execution_options()["writer"]
    assert isinstance(writer, Engine)
    return writer


def sqlite_file(url: URL) -> Path | None:
    """The file of an SQLite database; None for one in memory, and for PostgreSQL."""
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
        return None
    return Path(str(url.database))


def _asked_of_postgresql(url: URL, in_time: bool) -> dict[str, Any]:
    """What the URL itself asks for stands; of the server's settings, its own come last and win."""
    settings = DURABLE | (IN_TIME if in_time else {})
    options = [f"-c {name}={value}" for name, value in settings.items()]
    given = url.query.get("options", ())
    options += [given] if isinstance(given, str) else given
    asked = {name: value for name, value in POSTGRESQL.items() if name not in url.query}
    return {**asked, "options": " ".join(options)}


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver opens no transaction of its own; _begin_sqlite does
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={OTHERS_WAIT_MS}"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes its lock at once: two that read first and then both want to write would fail as "locked".
    options = connection.get_execution_options()
    if not options.get("begins", True):
        return
    immediate = options.get("writes", False)
    statement = "BEGIN IMMEDIATE" if immediate else "BEGIN"
    driver = connection.connection.dbapi_connection
    assert driver is not None
    try:
        driver.execute(statement)  # not by SQLAlchemy, which takes ten times as long: every transaction begins here
    except sqlite3.Error as error:
        raise OperationalError(statement, None, error) from error


@contextmanager
def reading(engine: Engine) -> Iterator[DatabaseSession]:
    """A transaction that only reads."""
    with DatabaseSession(engine, expire_on_commit=False) as db:
        yield db


@contextmanager
def writing(engine: Engine) -> Iterator[DatabaseSession]:
    """A transaction that writes: committed when the block ends, rolled back when it raises.

    Raises:
        DatabaseBusyError: if others write for too long (SQLite).
    """
    with (
        DatabaseSession(writer_of(engine), expire_on_commit=False) as db,
        turn_to_write(engine),
        db.begin(),
    ):
        yield db


@contextmanager
def reading_by_core(engine: Engine) -> Iterator[Connection]:
    """Statements that only read, each by itself and by Core: for the requests that come most often."""
    with engine.get_execution_options()["reader"].connect() as connection:
        yield connection


@contextmanager
def writing_by_core(engine: Engine) -> Iterator[Connection]:
    """As ``writing``, without the ORM: for the requests that come most often."""
    with writer_of(engine).connect() as connection, turn_to_write(engine), connection.begin():
        yield connection


@contextmanager
def turn_to_write(engine: Engine) -> Iterator[None]:
    """Where writers queue, in SQLite, the turn; PostgreSQL lets them write side by side."""
    queue = engine.get_execution_options().get("queue")
    if queue is None:
        yield
        return
    with queue.turn():
        yield


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """A transaction that reads the database as it was at one moment, for as long as it takes."""
    with connected(engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            for setting in IN_TIME:
                connection.exec_driver_sql(f"SET LOCAL {setting} = 0")
        yield connection


@functools.cache
def known_revisions() -> tuple[str, ...]:
    """This release's schemas, oldest first, by the names of their files: Alembic would take a third of a second to say."""
    return tuple(sorted(path.name.split("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*_*.py")))


def schema_revisions(engine: Engine) -> tuple[str | None, str]:
    """The database's revision (None: no schema) and this release's.

    Raises:
        DatabaseError: if the database cannot be reached.
    """
    with connected(engine) as connection:
        return revision_of(connection), known_revisions()[-1]


def revision_of(connection: Connection) -> str | None:
    """The revision of the database's schema; None: it has none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.scalar(select(column("version_num")).select_from(table("alembic_version")))


def open_migrated(url: str, threads: int | None = None) -> Engine:
    """An engine, as ``open_engine``, for a database whose schema is the one of this release.

    Raises:
        DatabaseError: if it does not exist, cannot be reached, or has another schema.
    """
    engine = open_engine(url, threads)
    shown = shown_url(engine)
    file = sqlite_file(engine.url)
    if file is not None and not file.exists():  # connecting would make an empty file
        raise DatabaseError(f"database {shown} does not exist; make it with 'realism db upgrade'")
    current, newest = schema_revisions(engine)
    refuse_unknown(engine, current)
    if current != newest:
        raise DatabaseError(
            f"database {shown} is at schema {current or 'none'}, this release needs {newest}; run 'realism db upgrade'"
        )
    return engine


def refuse_unknown(engine: Engine, revision: str | None) -> None:
    """Raises DatabaseError if a newer release made the schema."""
    if revision is not None and revision not in known_revisions():
        raise DatabaseError(
            f"database {shown_url(engine)} is at schema {revision}, which this release does not know; "
            "install the newer one that made it"
        )


def shown_url(engine: Engine) -> str:
    """The engine's URL without its password, wherever in it that stands."""
    named = {name: "hidden" for name in engine.url.query if "password" in name}  # libpq's password and sslpassword
    return engine.url.update_query_dict(named).render_as_string(hide_password=True)


def reason_of(error: DBAPIError) -> str:
    """The first line of what the database said."""
    return (str(error.orig).strip().splitlines() or [type(error.orig).__name__])[0]


@contextmanager
def connected(engine: Engine) -> Iterator[Connection]:
    """A connection.

    Raises:
        DatabaseError: if there is none to be had.
    """
    try:
        connection = engine.connect()
    except DBAPIError as error:
        raise DatabaseError(
            f"database {shown_url(engine)} cannot be opened ({reason_of(error)}); "
            "check --database or REALISM_DATABASE_URL, and that it runs"
        ) from error
    with connection:
        yield connection
