"""The schema: what the migrations make is what the tables say, on both databases; and a database that is behind is told."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import pairwise

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import JSON, MetaData, inspect, text
from sqlalchemy.exc import IntegrityError

from study_app.db import MIGRATIONS, DatabaseError, known_revisions, open_engine, open_migrated, schema_revisions
from study_app.schema import altering, migrate, upgrade
from study_app.tables import Table

EXPECTED = {"studies", "conditions", "images", "pairs", "participants", "sessions", "trials", "responses"} | {
    *("refusals", "invitations", "steps", "rate_limits", "pair_uses"),
}


def test_upgrade_makes_exactly_the_tables(database_url):
    upgrade(database_url)
    engine = open_migrated(database_url)
    assert set(inspect(engine).get_table_names()) == EXPECTED | {"alembic_version"}
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Table.metadata) == []
    engine.dispose()


def test_upgrade_goes_back_down_and_up_again(database_url):
    upgrade(database_url)
    engine = open_engine(database_url)
    with altering(engine) as connection:
        migrate(connection, known_revisions()[-1], "base")
    assert set(inspect(engine).get_table_names()) <= {"alembic_version"}
    assert upgrade(database_url)[0] is None
    engine.dispose()


OLD_ROWS = """
    INSERT INTO studies VALUES (1, 'spots', '{}', 'd', 'p', '2026-01-01 10:00:00', NULL);
    INSERT INTO conditions VALUES (1, 1, 0, 'cgan', '{}', 'm');
    INSERT INTO images VALUES (1, 'r'), (2, 'f');
    INSERT INTO pairs VALUES (1, 1, 'pair', 'photo', 1, 2);
    INSERT INTO participants VALUES (1, 1, 'ann', 'human', 'c', '2026-01-01 10:00:00');
    INSERT INTO sessions VALUES (1, 1, 1, 'done', 7, '2026-01-01 10:00:00', '2026-01-01 10:05:00', 'ABC');
    INSERT INTO sessions VALUES (2, 1, 1, 'begun', 8, '2026-01-01 11:00:00', NULL, NULL);
    INSERT INTO trials VALUES (1, 1, 0, 'main', 1, 'left', 1000);
    INSERT INTO responses VALUES (1, 1, 'right', 900, 1000.1, 0, '2026-01-01 10:01:00', '2026-01-01 10:01:01')
"""


def test_upgrade_keeps_every_row_and_so_does_the_way_back(database_url):
    engine = open_engine(database_url)

    def rows(table, columns="*"):
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(f"SELECT {columns} FROM {table} ORDER BY id"))]

    tables = ("studies", "conditions", "images", "pairs", "participants", "sessions", "trials", "responses")
    with altering(engine) as connection:
        migrate(connection, None, "0001")
        for statement in OLD_ROWS.split(";"):
            connection.execute(text(statement))
    before = {table: rows(table) for table in tables}
    engine.dispose()
    upgrade(database_url)
    assert rows("sessions", "public_id, completion_code, language, outcome") == [
        ("done", "ABC", "en", "completed"),
        ("begun", None, "en", None),
    ]
    assert rows("trials", "real_side, exposure_ms, block, repeat_of") == [("left", 1000, 0, None)]
    assert rows("responses", "chosen_side, rt_ms, exposure_measured_ms, focus_lost") == [("right", 900, 1000.1, None)]
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    with altering(engine) as connection:
        migrate(connection, known_revisions()[-1], "0001")
    assert {table: rows(table) for table in tables} == before
    engine.dispose()


WORDS = {"origin": "human", "role": "condition", "kind": "main", "real_side": "left", "chosen_side": "left"} | {
    "outcome": "completed",
}


def add_rows(connection, number):
    """A row in every table that the schema has now, with something in every column; those it refers to are of this number."""
    schema = MetaData()
    schema.reflect(connection)
    for table in schema.sorted_tables:
        if table.name != "alembic_version":
            connection.execute(table.insert(), {one.name: something(one, number) for one in table.columns})


def something(column, number):
    if column.foreign_keys or column.name in ("id", "pair_id"):
        return number
    if isinstance(column.type, JSON):
        return {"n": [number]}
    kind = column.type.python_type
    if kind is str:
        return WORDS.get(column.name, f"{number} {column.name}"[: min(16, column.type.length or 16)])
    return {int: number, float: number / 3, bool: True, datetime: datetime(2026, 1, number)}[kind]


def rows_by_column(engine):
    """What stands in each column of each table, in the order of the rows."""
    found = {}
    with engine.connect() as connection:
        for name in set(inspect(connection).get_table_names()) - {"alembic_version"}:
            rows = connection.execute(text(f"SELECT * FROM {name} ORDER BY 1")).mappings().all()
            found[name] = {column: [row[column] for row in rows] for column in rows[0]} if rows else {}
    return found


def assert_kept(before, after):
    """Every row of the tables that both have, in the columns that both have."""
    shared = [(table, column) for table in before for column in before[table] if column in after.get(table, {})]
    assert {table for table, _ in shared} >= {"studies", "sessions", "trials", "responses"}
    for table, column in shared:
        assert after[table][column] == before[table][column], f"{table}.{column}"


def test_rows_of_every_revision_are_kept_all_the_way_up_and_down(database_url):
    engine, known, before = open_engine(database_url), known_revisions(), {}
    for number, revision in enumerate(known, 1):
        with altering(engine) as connection:
            migrate(connection, known[number - 2] if number > 1 else None, revision)
        if before:
            assert_kept(before, rows_by_column(engine))
        with altering(engine) as connection:
            add_rows(connection, number)
        before = rows_by_column(engine)
    assert before["responses"]["id"] == list(range(1, len(known) + 1))
    for newer, older in pairwise(reversed(known)):
        with altering(engine) as connection:
            migrate(connection, newer, older)
        after = rows_by_column(engine)
        assert_kept(before, after)
        before = after
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
    engine.dispose()


def test_what_an_older_schema_cannot_hold_is_not_taken_down(database_url):
    """All or nothing: a preview is no participant that the first schema knew."""
    engine, newest = open_engine(database_url), known_revisions()[-1]
    with altering(engine) as connection:
        migrate(connection, None, newest)
        add_rows(connection, 1)
        connection.execute(text("UPDATE participants SET origin = 'preview'"))
    before = rows_by_column(engine)
    with pytest.raises(IntegrityError, match="ck_participants_origin"), altering(engine) as connection:
        migrate(connection, newest, "0001")
    assert schema_revisions(engine) == (newest, newest)
    assert rows_by_column(engine) == before
    engine.dispose()


def test_database_that_is_not_migrated_is_told(database_url):
    engine = open_engine(database_url)
    with engine.connect() as connection:  # an empty database, which SQLite must be given a file for
        connection.execute(text("CREATE TABLE elsewhere (id INTEGER)"))
        connection.commit()
    with pytest.raises(DatabaseError, match="is at schema none, this release needs .*; run 'realism db upgrade'"):
        open_migrated(database_url)
    engine.dispose()


def test_database_of_a_newer_release_is_told_and_left_alone(database_url):
    upgrade(database_url)
    engine = open_engine(database_url)
    with engine.connect() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        connection.commit()
    for use in (open_migrated, upgrade):
        with pytest.raises(
            DatabaseError, match="at schema 9999, which this release does not know; install the newer one"
        ):
            use(database_url)
    engine.dispose()


def test_database_of_another_program_is_told_and_left_alone(database_url):
    engine = open_engine(database_url)
    with engine.connect() as connection:
        connection.execute(text("CREATE TABLE studies (mine INTEGER)"))
        connection.commit()
    with pytest.raises(DatabaseError, match="cannot be upgraded .*already exists.*another program's"):
        upgrade(database_url)
    assert set(inspect(engine).get_table_names()) <= {"studies", "alembic_version"}
    engine.dispose()


def test_database_that_does_not_exist_is_told_and_not_made(tmp_path):
    with pytest.raises(DatabaseError, match="does not exist; make it with 'realism db upgrade'"):
        open_migrated(f"sqlite:///{tmp_path / 'none.sqlite'}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "the database URL cannot be read; give sqlite:///FILE"),
        ("postgresqll://u:secret@h/x", "names 'postgresqll', which is not supported"),
        ("mysql://u:secret@h/x", "names 'mysql', which is not supported"),
        ("postgresql://nobody:secret@127.0.0.1:1/none", r"nobody:\*\*\*@127.0.0.1:1/none cannot be opened .*refused"),
    ],
)
def test_unusable_databases_are_told_without_the_password(url, message):
    with pytest.raises(DatabaseError, match=message) as caught:
        open_migrated(url)
    assert "secret" not in str(caught.value)


def test_file_that_is_no_database_is_told(tmp_path):
    (tmp_path / "text.sqlite").write_text("not a database" * 100)
    with pytest.raises(DatabaseError, match="cannot be opened .*not a database"):
        open_migrated(f"sqlite:///{tmp_path / 'text.sqlite'}")


def test_sqlite_is_durable_and_checks_references(tmp_path):
    upgrade(f"sqlite:///{tmp_path / 'a.sqlite'}")
    with open_migrated(f"sqlite:///{tmp_path / 'a.sqlite'}").connect() as connection:
        pragma = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert pragma == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_there_is_one_line_of_revisions_which_the_names_of_their_files_tell():
    scripts = ScriptDirectory(str(MIGRATIONS))
    assert len(scripts.get_heads()) == 1
    assert tuple(script.revision for script in scripts.walk_revisions())[::-1] == known_revisions()


def test_two_upgrades_at_once_wait_for_each_other(database_url):
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(upgrade, [database_url] * 2))
    newest = known_revisions()[-1]
    assert sorted(found, key=str) == sorted([(None, newest), (newest, newest)], key=str)


def test_database_in_memory_is_refused():
    with pytest.raises(DatabaseError, match="in memory, and gone with this command; give sqlite:///FILE"):
        upgrade("sqlite://")
