"""Engines and transactions: what each connection asks for, and writers of one SQLite file in a queue."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from study_app import db, writers
from study_app.db import (
    known_revisions,
    open_engine,
    open_migrated,
    reading,
    reading_by_core,
    schema_revisions,
    snapshot,
    writing,
    writing_by_core,
)
from study_app.tables import Image
from study_app.writers import DatabaseBusyError, DatabaseError, WritersQueue

ROOT = Path(__file__).resolve().parent.parent
# Another program that holds the queue; without ours, whose import takes longer than the test.
HOLDER = """
import fcntl, os, sys, time
fcntl.flock(os.open(sys.argv[1], os.O_RDONLY | os.O_CREAT), fcntl.LOCK_EX)
print("mine", flush=True)
time.sleep(60)
"""
COUNTER = """
import sys, threading
from sqlalchemy import text
import study_app.serve
from study_app.db import open_migrated, writing, writing_by_core
engine = open_migrated(sys.argv[1], threads=4)
print("began", flush=True)
def count(write):
    for _ in range(10):
        with write(engine) as db:
            n = db.execute(text("SELECT n FROM counts")).scalar_one()
            db.execute(text("UPDATE counts SET n = :n"), {"n": n + 1})
threads = [threading.Thread(target=count, args=(write,)) for write in (writing, writing_by_core) * 2]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print("alembic" in sys.modules)
"""


def python(program: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


@pytest.fixture
def holder(tmp_path):
    """Another process whose turn it is."""
    process = python(HOLDER, tmp_path / "q")
    assert process.stdout.readline() == "mine\n"
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def counts(migrated_sqlite, tmp_path):
    """The URL of an SQLite database with one number beside our tables."""
    url = f"sqlite:///{shutil.copy(migrated_sqlite, tmp_path)}"
    engine = open_engine(url)
    with writing(engine) as db:
        db.execute(text("CREATE TABLE counts (n INTEGER)"))
        db.execute(text("INSERT INTO counts VALUES (0)"))
    engine.dispose()
    return url


def test_writers_of_two_processes_lose_nothing_and_load_no_alembic(counts):
    process = python(COUNTER, counts)
    assert process.stdout.readline() == "began\n"
    engine = open_migrated(counts, threads=4)
    threads = [threading.Thread(target=count, args=(engine, write)) for write in (writing, writing_by_core) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert process.communicate(timeout=60)[0] == "False\n"
    assert process.returncode == 0
    with reading(engine) as db:
        assert db.scalar(text("SELECT n FROM counts")) == 80
    assert schema_revisions(engine) == (known_revisions()[-1],) * 2


def count(engine, write):
    for _ in range(10):
        with write(engine) as db:
            n = db.execute(text("SELECT n FROM counts")).scalar_one()
            db.execute(text("UPDATE counts SET n = :n"), {"n": n + 1})


def test_killed_writer_frees_the_queue(holder, tmp_path):
    got = []

    def take():
        with WritersQueue(tmp_path / "q").turn():
            got.append("mine now")

    thread = threading.Thread(target=take)
    thread.start()
    thread.join(0.2)
    assert got == []
    holder.send_signal(signal.SIGKILL)
    thread.join(10)
    assert got == ["mine now"]


def test_who_waits_too_long_is_told_and_the_queue_goes_on(holder, tmp_path, monkeypatch):
    monkeypatch.setattr(writers, "TURN_WAIT_S", 0.1)
    queue = WritersQueue(tmp_path / "q")
    open_before = os.listdir("/proc/self/fd")
    for _ in range(3):
        with pytest.raises(DatabaseBusyError, match="others have been writing for 0.1 seconds"), queue.turn():
            raise AssertionError("it is another's turn")
    assert os.listdir("/proc/self/fd") == open_before
    holder.kill()
    holder.wait()
    with queue.turn():
        pass


def test_threads_of_one_process_wait_too_and_no_longer_than_allowed(monkeypatch):
    monkeypatch.setattr(writers, "TURN_WAIT_S", 0.1)
    queue, failed = WritersQueue(None), []

    def take():
        try:
            with queue.turn():
                pass
        except DatabaseBusyError:
            failed.append(True)

    with queue.turn():
        thread = threading.Thread(target=take)
        thread.start()
        thread.join(10)
    assert failed == [True]


def test_second_writing_transaction_of_a_thread_is_a_mistake_that_is_told(counts):
    engine = open_engine(counts)
    for inner in (writing, writing_by_core):
        with writing(engine) as outer:
            outer.execute(text("UPDATE counts SET n = 5"))
            with pytest.raises(RuntimeError, match="this thread is writing already"), inner(engine):
                raise AssertionError("a second one was let in")
    with reading(engine) as db:
        assert db.scalar(text("SELECT n FROM counts")) == 5


def change_and_fail(engine, write):
    with write(engine) as db:
        db.execute(text("UPDATE counts SET n = 7"))
        db.execute(text("UPDATE elsewhere SET n = 1"))


def test_turn_is_given_back_when_the_transaction_fails(counts):
    engine = open_engine(counts)
    for write in (writing, writing_by_core) * 2:
        with pytest.raises(OperationalError, match="no such table"):
            change_and_fail(engine, write)
    with reading(engine) as db:
        assert db.scalar(text("SELECT n FROM counts")) == 0


def test_writer_that_finds_the_file_locked_by_another_program_is_told_and_may_come_again(counts, monkeypatch):
    monkeypatch.setattr(db, "OTHERS_WAIT_MS", 50)
    engine, other = open_engine(counts), open_engine(counts).raw_connection()
    other.driver_connection.execute("BEGIN IMMEDIATE")
    for write in (writing, writing_by_core) * 2:
        with pytest.raises(OperationalError, match="database is locked"), write(engine) as connection:
            connection.execute(text("UPDATE counts SET n = 7"))
    other.driver_connection.execute("ROLLBACK")
    with writing(engine) as connection:
        connection.execute(text("UPDATE counts SET n = 8"))


def test_folder_that_takes_no_queue_is_told(tmp_path):
    queue = WritersQueue(tmp_path / "none" / "q")
    with pytest.raises(DatabaseError, match="at which writers queue, cannot be opened .*its folder"), queue.turn():
        pass


def test_connections_to_postgresql_end_in_time_where_participants_wait(postgresql_server):
    with reading_by_core(open_engine(postgresql_server, threads=2)) as connection:
        shown = {name: connection.scalar(text(f"SHOW {name}")) for name in db.IN_TIME}
        assert connection.scalar(text("SHOW application_name")) == "realism"
        assert connection.scalar(text("SHOW synchronous_commit")) == "on"
        parameters = connection.connection.dbapi_connection.info.get_parameters()
    assert shown == {
        "statement_timeout": "15s",
        "lock_timeout": "5s",
        "idle_in_transaction_session_timeout": "30s",
    }
    assert {"connect_timeout": "5", "keepalives_idle": "10", "tcp_user_timeout": "10000"}.items() <= parameters.items()


def test_commands_take_their_time_and_the_url_has_the_last_word(postgresql_server):
    with reading_by_core(open_engine(postgresql_server)) as connection:
        assert connection.scalar(text("SHOW statement_timeout")) == "0"
    url = f"{postgresql_server}&connect_timeout=9&options=-c%20statement_timeout%3D7s"
    with reading_by_core(open_engine(url, threads=1)) as connection:
        assert connection.scalar(text("SHOW statement_timeout")) == "7s"
        assert connection.scalar(text("SHOW lock_timeout")) == "5s"
        assert connection.connection.dbapi_connection.info.get_parameters()["connect_timeout"] == "9"


def test_each_thread_has_a_connection_that_reads_and_one_that_writes_and_no_more(database_url, monkeypatch):
    monkeypatch.setattr(db, "POOL_WAIT_S", 0.1)
    engine = open_engine(database_url, threads=1)
    with reading_by_core(engine) as one, writing_by_core(engine) as other:
        assert [one.scalar(text("SELECT 1")), other.scalar(text("SELECT 1"))] == [1, 1]
        with pytest.raises(PoolTimeoutError, match="timed out"), reading_by_core(engine):
            pass
    engine.dispose()


def test_snapshot_stays_as_it_was_and_is_not_cut_short(workshop):
    engine = open_engine(workshop.config.database, threads=2)
    with snapshot(engine) as seen:
        assert seen.scalars(select(Image.id)).all() == []
        with writing(workshop.engine) as db:
            db.add(Image(sha256="0" * 64))
        assert seen.scalars(select(Image.id)).all() == []
        if engine.dialect.name == "postgresql":
            assert seen.scalar(text("SHOW statement_timeout")) == "0"
    with snapshot(engine) as seen:
        assert len(seen.scalars(select(Image.id)).all()) == 1
    engine.dispose()


def test_turns_come_quickly_and_cost_little(tmp_path):
    """Loosely, since the machine may be busy: a thousand turns nobody else wants take well under a second."""
    queue, started = WritersQueue(tmp_path / "q"), time.thread_time()
    for _ in range(1000):
        with queue.turn():
            pass
    assert time.thread_time() - started < 0.3
