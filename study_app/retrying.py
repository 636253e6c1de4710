"""Lost transactions: a view whose transaction the database gave up in, the view run again out; or a page that says when to come back.

A transaction is lost when the database gives it up in favour of another (serialization failure, deadlock, lock timeout), or when
the connection goes: PostgreSQL was restarted, an idle one was cut, the network failed. Nobody then knows whether a commit that
was under way was done. Running the view again is right in either case, because every view is idempotent: an answer, a step or a
beginning that is stored already is found and told again, never stored twice. (A refusal is counted and has no id, on purpose:
it alone may be counted twice.)
"""

import logging
import random
import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

from flask import Flask, Response, g, jsonify, make_response, render_template, request
from flask.globals import request_ctx
from flask_babel import gettext as _
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from study_app.metrics import metrics
from study_app.visits import wants_json
from study_app.writers import DatabaseError

Result = TypeVar("Result")

# Seconds before the second, third and fourth try, give or take half: enough for a PostgreSQL that is started again.
PAUSES_S = (0.05, 0.5, 1.5)
DEADLINE_S = 8.0  # none is begun later: the browser tries again by itself, and the thread is needed for others
COME_BACK_S = 5
# PostgreSQL, appendix A. Given up in favour of another: serialization failure, deadlock, lock timeout. Just then not there:
# connections (class 08), shut down or starting, too many connections.
GIVEN_UP = ("40001", "40P01", "55P03")
NOT_THERE = ("08", "57P01", "57P02", "57P03", "53300")
# Not to be mended by trying at once: resources such as the disk (class 53), statement timeout, read-only standby, files.
UNABLE = ("53", "57014", "25006", "58")
SQLITE_UNABLE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PROTOCOL,
}

log = logging.getLogger(__name__)


def retry_lost_transactions(app: Flask) -> None:
    """Run a view again when its transaction was lost; say when to come back if that does not help."""
    dispatch = app.dispatch_request

    def dispatch_until_kept() -> object:
        kept = vars(g._get_current_object())
        before = dict(kept)

        def forget() -> None:
            """What the view left behind: it begins again with the cookie that the browser sent."""
            kept.clear()
            kept.update(before)
            request_ctx._after_request_functions.clear()
            cookies = app.session_interface
            opened = cookies.open_session(app, request)  # an empty one, of who comes for the first time, is one too
            request_ctx._session = cookies.make_null_session(app) if opened is None else opened

        return until_kept(dispatch, forget)

    app.dispatch_request = dispatch_until_kept  # type: ignore[method-assign, assignment]
    for kind in (DBAPIError, DatabaseError, PoolTimeoutError):
        app.register_error_handler(kind, _come_back)


def until_kept(run: Callable[[], Result], forget: Callable[[], object] = lambda: None) -> Result:
    """What ``run`` gives once its transaction is not lost: four tries within 8 seconds, with ``forget`` before each but the first.

    ``run`` must be idempotent: the transaction may have been committed, and only the word of it lost.
    """
    started = time.monotonic()
    for pause_s in PAUSES_S:
        try:
            return run()
        except DBAPIError as error:
            pause_s *= random.uniform(0.5, 1.5)  # so that two who were in each other's way are not so again
            if not is_lost(error) or time.monotonic() + pause_s - started > DEADLINE_S:
                raise
            log.warning("a transaction was lost (%s); it is run again", name_of(error))
            if counted := metrics():
                counted.retried(name_of(error))
        time.sleep(pause_s)
        forget()
    return run()


def is_lost(error: DBAPIError) -> bool:
    """Whether the transaction may succeed when it is run again."""
    if isinstance(error.orig, sqlite3.Error):  # one that read before it wrote, and what it read has changed
        return getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY_SNAPSHOT
    code = getattr(error.orig, "sqlstate", None)
    # Without a code nothing came back from the server: it refused the connection, or went.
    if code is None:
        return error.connection_invalidated or isinstance(error, OperationalError)
    return error.connection_invalidated or code.startswith(GIVEN_UP + NOT_THERE)


def is_away(error: Exception) -> bool:
    """Whether the database cannot serve now, but may in a while: it is not reached, busy, or full."""
    if not isinstance(error, DBAPIError):
        return isinstance(error, DatabaseError | PoolTimeoutError)
    if isinstance(error.orig, sqlite3.Error):
        return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in SQLITE_UNABLE
    return is_lost(error) or (getattr(error.orig, "sqlstate", None) or "").startswith(UNABLE)


def name_of(error: Exception) -> str:
    """What happened, without the values that stood in the statement."""
    if not isinstance(error, DBAPIError):
        return type(error).__name__
    found = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "sqlite_errorname", None)
    return type(error.orig).__name__ + (f" {found}" if found else "")


def _come_back(error: Exception) -> Response:
    if not is_away(error):
        raise error
    log.error("the database cannot be used (%s); 'realism db check' says more", name_of(error))
    if counted := metrics():
        counted.failed(name_of(error))
    if wants_json():
        reply = jsonify({"error": "the database cannot be reached or is busy; nothing was lost, please try again"})
    else:
        title = _("Something went wrong on our side")
        told = _("Answers that you gave are stored. Please reload the page in a minute.")
        reply = make_response(render_template("message.html", title=title, text=told))
    reply.status_code = 503
    reply.headers["Retry-After"] = str(COME_BACK_S)
    return reply
