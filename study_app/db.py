"""The database: a URL in, transactions out. SQLite in WAL mode by default, PostgreSQL where one is named."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.orm import Session as DatabaseSession

from protocol import InputError

GIVE_URL = "give sqlite:///FILE or postgresql://USER@HOST/NAME"
MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"


class DatabaseError(InputError):
    """A database that cannot be reached, or is not at this release's schema."""


def open_engine(url: str) -> Engine:
    """An engine for ``url``; nothing is connected yet.

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
    if backend == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    engine = create_engine(parsed, pool_pre_ping=backend == "postgresql")
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver opens no transaction of its own; _begin_sqlite does
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes its lock at once: two that read first and then both want to write would fail as "locked".
    immediate = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


@contextmanager
def reading(engine: Engine) -> Iterator[DatabaseSession]:
    """A transaction that only reads."""
    with DatabaseSession(engine, expire_on_commit=False) as db:
        yield db


@contextmanager
def writing(engine: Engine) -> Iterator[DatabaseSession]:
    """A transaction that writes: committed when the block ends, rolled back when it raises."""
    with DatabaseSession(engine.execution_options(writes=True), expire_on_commit=False) as db, db.begin():
        yield db


def open_migrated(url: str) -> Engine:
    """An engine for a database whose schema is the one of this release.

    Raises:
        DatabaseError: if it does not exist, cannot be reached, or has another schema.
    """
    engine = open_engine(url)
    shown = engine.url.render_as_string(hide_password=True)
    if engine.dialect.name == "sqlite" and engine.url.database not in (None, "", ":memory:"):
        path = Path(str(engine.url.database))
        if not path.exists():  # connecting would make an empty file
            raise DatabaseError(f"database {shown} does not exist; make it with 'realism db upgrade'")
    current, newest = schema_revisions(engine)
    if current is not None and current not in _known_revisions():
        raise DatabaseError(_from_the_future(shown, current))
    if current != newest:
        raise DatabaseError(
            f"database {shown} is at schema {current or 'none'}, this release needs {newest}; run 'realism db upgrade'"
        )
    return engine


def _known_revisions() -> set[str]:
    from alembic.script import ScriptDirectory

    return {script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()}


def _from_the_future(shown: str, revision: str) -> str:
    return f"database {shown} is at schema {revision}, which this release does not know; install the newer one that made it"


def schema_revisions(engine: Engine) -> tuple[str | None, str]:
    """The database's revision (None: no schema) and this release's."""
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    newest = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    assert newest is not None
    with _connected(engine) as connection:
        return MigrationContext.configure(connection).get_current_revision(), newest


def upgrade(url: str) -> tuple[str | None, str]:
    """Bring a database, made if need be, to this release's schema; the revisions before and after."""
    from alembic import command
    from alembic.config import Config

    engine = open_engine(url)
    if engine.dialect.name == "sqlite" and engine.url.database:
        Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
    before, newest = schema_revisions(engine)
    shown = engine.url.render_as_string(hide_password=True)
    if before is not None and before not in _known_revisions():
        raise DatabaseError(_from_the_future(shown, before))
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with _connected(engine.execution_options(writes=True)) as connection:
        config.attributes["connection"] = connection
        try:
            with references_unchecked(connection):
                command.upgrade(config, "head")
                connection.commit()
        except DBAPIError as error:
            reason = str(error.orig).strip().splitlines()[0]
            raise DatabaseError(
                f"database {shown} cannot be upgraded ({reason}); is it another program's? Nothing was changed"
            ) from error
    engine.dispose()
    return before, newest


@contextmanager
def references_unchecked(connection: Connection) -> Iterator[None]:
    """SQLite changes a table by making it anew, and would take the rows that refer to it for orphans meanwhile."""
    if connection.dialect.name != "sqlite":
        yield
        return
    driver = connection.connection.dbapi_connection
    assert driver is not None
    driver.execute("PRAGMA foreign_keys=OFF")
    try:
        yield
    finally:
        driver.execute("PRAGMA foreign_keys=ON")


@contextmanager
def _connected(engine: Engine) -> Iterator[Connection]:
    shown = engine.url.render_as_string(hide_password=True)
    try:
        connection = engine.connect()
    except DBAPIError as error:
        reason = str(error.orig).strip().splitlines()[0]
        raise DatabaseError(
            f"database {shown} cannot be opened ({reason}); check --database or REALISM_DATABASE_URL, and that it runs"
        ) from error
    with connection:
        yield connection
