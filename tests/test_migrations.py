"""The schema: what the migrations make is what the tables say, on both databases; and a database that is behind is told."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from study_app.db import MIGRATIONS, DatabaseError, open_engine, open_migrated, references_unchecked, upgrade
from study_app.tables import Table

EXPECTED = {"studies", "conditions", "images", "pairs", "participants", "sessions", "trials", "responses"} | {
    *("refusals", "invitations", "steps"),
}


def test_upgrade_makes_exactly_the_tables(database_url):
    upgrade(database_url)
    engine = open_migrated(database_url)
    assert set(inspect(engine).get_table_names()) == EXPECTED | {"alembic_version"}
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Table.metadata) == []
    engine.dispose()


def test_upgrade_goes_back_down_and_up_again(database_url):
    from alembic import command

    upgrade(database_url)
    engine = open_engine(database_url)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        connection.commit()
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
    from alembic import command

    engine = open_engine(database_url)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))

    def migrate(verb, revision):
        with engine.execution_options(writes=True).connect() as connection, references_unchecked(connection):
            config.attributes["connection"] = connection
            getattr(command, verb)(config, revision)
            connection.commit()

    def rows(table, columns="*"):
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(f"SELECT {columns} FROM {table} ORDER BY id"))]

    tables = ("studies", "conditions", "images", "pairs", "participants", "sessions", "trials", "responses")
    migrate("upgrade", "0001")
    with engine.begin() as connection:
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
    migrate("downgrade", "0001")
    assert {table: rows(table) for table in tables} == before
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


def test_there_is_one_line_of_revisions():
    assert len(ScriptDirectory(str(MIGRATIONS)).get_heads()) == 1
