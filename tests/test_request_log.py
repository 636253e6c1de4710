"""What is logged: enough to find a failure again, and nothing about anybody."""

import io
import json
import logging
import os
import re

import pytest
from visitors import agree

from study_app import create_app
from study_app.config import Serving
from study_app.request_log import Lines, Sentences, handler_of, open_log, without_telltales

FIELDS = ["time", "level", "request_id", "method", "endpoint", "status", "ms", "bytes"]


@pytest.fixture
def logged(sqlite_workshop, tmp_path):
    """An application that writes a log, and what stands in it."""

    def make(**serving):
        app = create_app(sqlite_workshop.engine, sqlite_workshop.config.store, "k" * 32, serving=Serving(**serving))
        app.extensions["request_log"] = open_log(str(tmp_path / "log"))
        return app, lambda: [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]

    return make


def test_a_line_tells_of_the_request_and_not_of_the_person(sqlite_workshop, logged, tmp_path):
    sqlite_workshop.create_study()
    app, lines = logged()
    client = app.test_client()
    agree(client, "?lang=en")
    client.get("/study/spots/next", headers={"User-Agent": "Fox/1.0"}, environ_base={"REMOTE_ADDR": "203.0.113.9"})
    client.get("/secret/place?name=anna")
    found = lines()
    assert [list(line) for line in found] == [FIELDS] * len(found)
    assert found[-2]["endpoint"] == "/study/<name>/next"
    assert found[-2]["status"] == 200
    assert found[-2]["bytes"] > 10
    assert (found[-1]["endpoint"], found[-1]["status"], found[-1]["method"]) == ("-", 404, "-")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found[0]["time"])
    text = (tmp_path / "log").read_text()
    for private in ("spots", "203.0.113.9", "Fox", "anna", "secret", "realism="):
        assert private not in text


def test_each_request_has_its_id_which_a_trusted_proxy_may_give(logged):
    app, lines = logged()
    given = "0123456789abcdef0123"
    own = app.test_client().get("/", headers={"X-Request-ID": given}).headers["X-Request-ID"]
    assert re.fullmatch("[0-9a-f]{16}", own)
    trusting, _ = logged(proxies=1)
    client = trusting.test_client()
    assert client.get("/", headers={"X-Request-ID": given}).headers["X-Request-ID"] == given
    for odd in ("short", "x" * 65, 'a"b<script>12345'):
        assert client.get("/", headers={"X-Request-ID": odd}).headers["X-Request-ID"] != odd
    assert [line["request_id"] for line in lines()][:2] == [own, given]


def test_unexpected_error_is_told_with_its_request_and_without_values(logged, caplog):
    app, lines = logged()

    @app.get("/study/<name>/breaks")
    def breaks(name):
        raise RuntimeError("cannot open /study/spots/picture/abc123/4/left")

    reply = app.test_client().get("/study/anna/breaks")
    number = reply.headers["X-Request-ID"]
    assert reply.status_code == 500
    assert number in reply.text  # so that a participant can tell it
    assert (lines()[-1]["request_id"], lines()[-1]["level"]) == (number, "error")
    (record,) = caplog.records
    told = json.loads(Lines().format(record))
    assert f"unexpected error in request {number} to /study/<name>/breaks" in told["message"]
    assert "in breaks" in told["error"]
    assert "RuntimeError: cannot open /study/…" in told["error"]
    for text in (told["error"], Sentences().format(record)):
        assert "abc123" not in text
        assert "anna" not in text


def test_values_in_the_texts_of_others_errors_are_left_out():
    texts = {
        "Error handling request /study/spots/?PROLIFIC_PID=5f3a": "Error handling request /study/…",
        "x\n[SQL: INSERT]\n[parameters: {'recruitment_id': '5f3a'}]\n(more)": "x\n[SQL: INSERT]\n[parameters: …]",
        "duplicate key\nDETAIL: Key (recruitment_id)=(5f3a) already exists.\n[SQL: x": "duplicate key\nDETAIL: …\n[SQL",
        "x\nDETAIL:  Failing row contains (1, I am\n5f3a of Berlin).": "x\nDETAIL: …",
    }
    for text, expected in texts.items():
        assert without_telltales(text).startswith(expected)
        assert "5f3a" not in without_telltales(text)


def test_log_is_json_in_a_file_and_sentences_for_people(tmp_path):
    record = logging.LogRecord("gunicorn.error", logging.ERROR, "", 0, "Worker (pid:%s) was sent SIGKILL!", (7,), None)
    handler = handler_of(str(tmp_path / "log"))
    handler.handle(record)
    handler.close()
    line = json.loads((tmp_path / "log").read_text())
    assert (line["level"], line["message"]) == ("error", "Worker (pid:7) was sent SIGKILL!")
    buffer = io.StringIO()
    handler = handler_of("")
    handler.setStream(buffer)
    handler.handle(record)
    assert buffer.getvalue() == "Error: Worker (pid:7) was sent SIGKILL!\n"
    assert open_log("") is None


def test_lines_of_several_processes_stay_whole(tmp_path):
    """Each is written in one go, to the end of the file."""
    logs = [open_log(str(tmp_path / "log")) for _ in range(2)]
    for n in range(20):
        os.write(logs[n % 2], b"%d\n" % n)
    for log in logs:
        os.close(log)
    assert (tmp_path / "log").read_text().split() == [str(n) for n in range(20)]
