"""The schema: a database in, the same database at another revision out. Alembic is loaded here alone, and no server needs it."""

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.exc import DBAPIError

from study_app.db import (
    MIGRATIONS,
    DatabaseError,
    connected,
    known_revisions,
    open_engine,
    reason_of,
    refuse_unknown,
    revision_of,
    shown_url,
    sqlite_file,
    turn_to_write,
    writer_of,
)

ALTERING = 7_325_461  # PostgreSQL's lock by which one upgrade waits for another; any number will do


def upgrade(url: str) -> tuple[str | None, str]:
    """Bring a database, made if need be, to this release's schema; the revisions before and after.

    Raises:
        DatabaseError: if it cannot be reached or upgraded; it is as it was then.
    """
    engine = open_engine(url)
    make_folder(engine)
    try:
        with altering(engine) as connection:
            before, newest = revision_of(connection), known_revisions()[-1]
            refuse_unknown(engine, before)
            migrate(connection, before, newest)
    except DBAPIError as error:
        raise DatabaseError(
            f"database {shown_url(engine)} cannot be upgraded ({reason_of(error)}); is it another program's? "
            "Nothing was changed"
        ) from error
    finally:
        engine.dispose()
    return before, newest


def make_folder(engine: Engine) -> None:
    """Make the folder of a database that is a file.

    Raises:
        DatabaseError: if it is one in memory, which would be gone with this process.
    """
    file = sqlite_file(engine.url)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
    elif engine.dialect.name == "sqlite":
        raise DatabaseError("the database would be in memory, and gone with this command; give sqlite:///FILE")


@contextmanager
def altering(engine: Engine) -> Iterator[Connection]:
    """A transaction in which tables may change: committed when the block ends, rolled back when it raises."""
    with (
        turn_to_write(engine),
        connected(writer_of(engine)) as connection,
        references_unchecked(connection),
        connection.begin(),
    ):
        if connection.dialect.name == "postgresql":
            connection.execute(select(func.pg_advisory_xact_lock(ALTERING)))
        yield connection


def migrate(connection: Connection, before: str | None, after: str) -> None:
    """Change the schema from one revision to another, up or down (to "base": none), in the transaction that is open."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    known = ("base", *known_revisions())
    is_down = known.index(before or "base") > known.index(after)
    (command.downgrade if is_down else command.upgrade)(config, after)


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
