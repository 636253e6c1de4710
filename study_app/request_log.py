"""What the server says of its work: requests and errors in, one line of JSON each out, without anything about a person.

An endpoint is told by its route: an address holds names, tokens and ids. There is no IP address, no browser and no cookie.
"""

import json
import logging
import os
import random
import re
import sys
import time
import traceback
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from flask import Flask, g, has_request_context, request
from flask import session as cookie
from flask.wrappers import Response

from study_app.config import Serving
from study_app.metrics import Metrics

REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{8,64}")
# Texts of others' errors that name what was sent: our addresses, SQL's parameters, PostgreSQL's offending values.
TELLTALES = (
    (re.compile(r"/study/(?!<)[^\s'\"]*"), "/study/…"),
    (re.compile(r"\[parameters: .*", re.DOTALL), "[parameters: …]"),
    (re.compile(r"^DETAIL: .*?(?=^(?:HINT|CONTEXT|\[SQL)|\Z)", re.MULTILINE | re.DOTALL), "DETAIL: …\n"),
)
_Raised = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class Survey(Flask):
    """Flask, whose record of an unexpected error says which request and which route, and not which address."""

    def log_exception(self, exc_info: Any) -> None:
        self.logger.error("unexpected error in request %s to %s", request_id(), _route(), exc_info=exc_info)


def log_requests(app: Flask, serving: Serving) -> None:
    """Give each request an id, which is sent back, count it, and write its line if the server keeps a log."""
    app.extensions["metrics"] = counted = Metrics()

    @app.before_request
    def begin() -> None:
        g.began = time.perf_counter()
        given = request.headers.get("X-Request-ID", "") if serving.proxies else ""
        g.request_id = given if REQUEST_ID.fullmatch(given) else _new_id()

    @app.after_request
    def end(response: Response) -> Response:
        if response.mimetype != "image/png":  # on a picture it would be all that differs from the one beside it
            response.headers["X-Request-ID"] = request_id()
        seconds = time.perf_counter() - g.get("began", time.perf_counter())
        method = (
            request.method if request.url_rule is not None else "-"
        )  # a made-up one would make a counter of its own
        counted.observe(request.endpoint or "-", method, response.status_code, seconds)
        if response.status_code < 400:
            _count_what_it_came_to(counted, response.status_code)
        log = app.extensions.get("request_log")
        if log is not None:
            _write(log, response, seconds)
        return response


def _count_what_it_came_to(counted: Metrics, status: int) -> None:
    if request.endpoint == "trial_pages.answer":
        counted.happened("answer_stored")
    elif request.endpoint == "entrance.start" and status == 303 and cookie.modified:  # else it leads back to the form
        counted.happened("session_started")
    if "ended" in g:
        counted.happened("session_ended", g.ended)


def request_id() -> str:
    """The id of the request at work; one is made if it has none yet."""
    if "request_id" not in g:
        g.request_id = _new_id()
    found = g.request_id
    assert isinstance(found, str)
    return found


def _new_id() -> str:
    return f"{random.getrandbits(64):016x}"  # no secret: only to find a line again


def _route() -> str:
    return str(request.url_rule) if request.url_rule is not None else "-"


def _write(log: int, response: Response, seconds: float) -> None:
    line = {
        "time": _now(),
        "level": "error" if response.status_code >= 500 else "info",
        "request_id": request_id(),
        "method": request.method if request.url_rule is not None else "-",
        "endpoint": _route(),
        "status": response.status_code,
        "ms": round(seconds * 1000, 1),
        "bytes": response.content_length,
    }
    with suppress(OSError):  # a full disk: what was asked for is done, and not undone for want of a line
        os.write(log, (json.dumps(line) + "\n").encode())  # in one go: several processes write


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Lines(logging.Formatter):
    """One line of JSON for each record, with the way to an error, and without the values that lay on it."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"time": _now(), "level": record.levelname.lower(), "logger": record.name}
        if has_request_context():
            line["request_id"] = request_id()
        line["message"] = without_telltales(record.getMessage())
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)

    def formatException(self, ei: _Raised) -> str:  # noqa: N802  # logging's name
        return _told(ei)


class Sentences(logging.Formatter):
    """The same for people: a sentence, then the way to the error."""

    def format(self, record: logging.LogRecord) -> str:
        told = f"{record.levelname.capitalize()}: {without_telltales(record.getMessage())}"
        return f"{told}\n{_told(record.exc_info)}" if record.exc_info else told


def without_telltales(text: str) -> str:
    for pattern, instead in TELLTALES:
        text = pattern.sub(instead, text)
    return text


def _told(error: Any) -> str:
    return without_telltales("".join(traceback.format_exception(*error))).rstrip()


def open_log(log: str) -> int | None:
    """Where lines of requests go: a file to append to, the standard output for "-", or nowhere.

    Raises:
        OSError: if the file cannot be written.
    """
    if log == "-":
        return sys.stdout.fileno()
    return os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640) if log else None


def handler_of(log: str) -> logging.Handler:
    """What writes everything else: JSON into the log if there is one, else sentences to the standard error."""
    stream: TextIO = sys.stdout if log == "-" else sys.stderr
    handler = (
        logging.FileHandler(Path(log), encoding="utf-8") if log not in ("", "-") else logging.StreamHandler(stream)
    )
    handler.setFormatter(Lines() if log else Sentences())
    return handler
