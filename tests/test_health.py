"""Alive, ready, and what was counted: for those who run the server, and nobody else."""

import shutil

import pytest
from sqlalchemy import text
from visitors import agree, answer_all

from protocol.place import Place
from study_app import LAPTOP, create_app
from study_app.config import Serving
from study_app.db import open_engine
from study_app.metrics import note_end

SECRET = "k" * 32


def app_of(workshop, serving=LAPTOP, store=None, engine=None):
    return create_app(engine or workshop.engine, store or workshop.config.store, SECRET, serving=serving)


def ready(app):
    reply = app.test_client().get("/ready")
    return reply.status_code, reply.json.get("reason")


def test_ready_where_database_and_pictures_are_there(workshop):
    assert ready(app_of(workshop)) == (200, None)  # the first study makes the store
    workshop.create_study()
    assert ready(app_of(workshop)) == (200, None)
    shutil.rmtree(workshop.config.store.address)
    assert ready(app_of(workshop)) == (503, "the store of pictures is not there")


def test_not_ready_at_another_schema(workshop):
    with workshop.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    status, reason = ready(app_of(workshop))
    assert status == 503
    assert reason.startswith("the database is at schema 0001, this release needs ")


@pytest.mark.parametrize("url", ["sqlite:////nowhere/x.sqlite", "postgresql://nobody:hush@127.0.0.1:1/x"])
def test_not_ready_without_a_database_and_alive_all_the_same(sqlite_workshop, url):
    app = app_of(sqlite_workshop, engine=open_engine(url, threads=1))
    assert ready(app) == (503, "the database cannot be used")
    assert app.test_client().get("/health").json == {"status": "ok"}


def test_not_ready_without_its_far_store_which_is_not_asked_each_time(sqlite_workshop, monkeypatch):
    app = app_of(sqlite_workshop, store=Place("nowhere://x"))
    assert ready(app) == (503, "the store of pictures cannot be reached")
    monkeypatch.setattr("study_app.health.check_store", lambda store: None)
    assert ready(app)[0] == 503
    monkeypatch.setattr("study_app.health.STORE_ASKED_EVERY_S", 0.0)
    assert ready(app) == (200, None)


def metrics_of(app, address="127.0.0.1", **headers):
    reply = app.test_client().get("/metrics", environ_base={"REMOTE_ADDR": address}, headers=headers)
    return reply.text if reply.status_code == 200 else reply.status_code


def value(app, line):
    found = [float(one.split()[-1]) for one in metrics_of(app).splitlines() if one.startswith(f"{line} ")]
    return found[0] if found else 0


def test_counters_are_for_this_machine_and_for_who_has_the_token(sqlite_workshop):
    app = app_of(sqlite_workshop)
    assert "realism_requests_total" in metrics_of(app)
    assert "realism_requests_total" in metrics_of(app, "::1")
    assert metrics_of(app, "203.0.113.9") == 404
    assert metrics_of(app, "") == 404
    # An nginx on this machine of which REALISM_PROXIES does not tell.
    assert metrics_of(app, **{"X-Forwarded-For": "203.0.113.9"}) == 404
    assert metrics_of(app, "203.0.113.9", Authorization="Bearer ") == 404
    app.config["METRICS_TOKEN"] = "s3cret"
    assert metrics_of(app, "203.0.113.9", Authorization="Bearer wrong") == 404
    assert metrics_of(app, "203.0.113.9", Authorization="Bearer é") == 404
    assert "realism_requests_total" in metrics_of(app, "203.0.113.9", Authorization="Bearer s3cret")


def test_behind_a_proxy_that_is_believed_the_visitor_counts(sqlite_workshop):
    app = app_of(sqlite_workshop, Serving(proxies=1))
    assert metrics_of(app, **{"X-Forwarded-For": "203.0.113.9"}) == 404
    assert metrics_of(app, **{"X-Forwarded-For": "127.0.0.1, 203.0.113.9"}) == 404
    assert "realism_requests_total" in metrics_of(app)


def test_requests_are_counted_by_endpoint_and_nobody_is_named(sqlite_workshop):
    name = sqlite_workshop.create_study(trials={"practice": 0, "main": 4})
    app = app_of(sqlite_workshop)
    client = app.test_client()
    agree(client)
    answer_all(client)
    client.get("/nowhere/at/all")
    client.open("/health", method="MADEUP")
    answered = 'realism_requests_total{endpoint="trial_pages.answer",method="POST",status="200"}'
    assert value(app, answered) == value(app, "realism_answers_stored_total") == 4
    assert value(app, 'realism_request_seconds_count{endpoint="trial_pages.answer"}') == 4
    assert value(app, 'realism_requests_total{endpoint="-",method="-",status="404"}') == 1
    said = metrics_of(app)
    assert "MADEUP" not in said
    assert "nowhere" not in said
    assert name not in said


def test_sessions_that_begin_are_counted_and_forms_that_are_refused_are_not(sqlite_workshop):
    sqlite_workshop.create_study()
    app = app_of(sqlite_workshop)
    agree(app.test_client())
    assert value(app, "realism_sessions_started_total") == 1
    assert app.test_client().post("/study/spots/start", data={"ticket": "of nobody"}).status_code == 303
    assert value(app, "realism_sessions_started_total") == 1


def test_session_that_ends_is_counted_once_and_only_if_the_request_went_well(sqlite_workshop):
    app = app_of(sqlite_workshop)

    @app.get("/ends/<int:status>")
    def ends(status):
        for _ in range(3):  # a view may be run again
            note_end("completed")
        return "", status

    client = app.test_client()
    for status in (200, 303, 409, 503):
        client.get(f"/ends/{status}")
    assert value(app, 'realism_sessions_ended_total{outcome="completed"}') == 2
    note_end("completed")  # nobody asks: a command ended it
