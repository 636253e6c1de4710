"""How the server is: alive, ready to serve, and what it has counted; for those who run it, not for participants."""

import hmac
import time
from ipaddress import ip_address
from pathlib import Path

from flask import Blueprint, Response, abort, current_app, request
from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError

from protocol import InputError
from protocol.place import Place, is_remote
from study_app.db import reading, schema_revisions
from study_app.metrics import metrics
from study_app.store import check_store
from study_app.tables import Study

bp = Blueprint("health", __name__)
# Each of several balancers asks every few seconds; a far store need not be asked as often.
STORE_ASKED_EVERY_S = 10.0
TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"


@bp.get("/health")
def alive() -> dict[str, str]:
    """The process answers. It asks nothing of others: restarting it would not mend them."""
    return {"status": "ok"}


@bp.get("/ready")
def ready() -> tuple[dict[str, str], int]:
    """The database is reached and at this release's schema, and the pictures can be had."""
    reason = _why_no_database(current_app.extensions["engine"]) or _why_no_pictures(current_app.extensions["store"])
    return ({"status": "not ready", "reason": reason}, 503) if reason else ({"status": "ready"}, 200)


def _why_no_database(engine: Engine) -> str:
    try:
        found, newest = schema_revisions(engine)
    except (SQLAlchemyError, InputError) as error:
        current_app.logger.warning("the database cannot be used: %s", type(error).__name__)
        return "the database cannot be used"
    return "" if found == newest else f"the database is at schema {found}, this release needs {newest}"


def _why_no_pictures(store: Place) -> str:
    if not is_remote(store.address):
        if Path(store.address).is_dir():
            return ""
        with reading(current_app.extensions["engine"]) as db:  # the first study makes the folder
            return "the store of pictures is not there" if db.scalar(select(Study.id).limit(1)) else ""
    asked: tuple[float, str] = current_app.extensions.get("store_asked", (0.0, ""))
    if time.monotonic() - asked[0] > STORE_ASKED_EVERY_S or not asked[0]:
        try:
            check_store(store)
            reason = ""
        except InputError as error:
            current_app.logger.warning("%s", error)
            reason = "the store of pictures cannot be reached"
        current_app.extensions["store_asked"] = asked = time.monotonic(), reason
    return asked[1]


@bp.get("/metrics")
def counters() -> Response:
    if not _may_read_metrics():
        abort(404)
    counted = metrics()
    assert counted is not None
    return Response(counted.text(), content_type=TEXT_FORMAT)


def _may_read_metrics() -> bool:
    """By the token, or from this machine itself. Behind a proxy that was not told of, everybody seems to be there."""
    token = current_app.config.get("METRICS_TOKEN", "")
    given = request.headers.get("Authorization", "")
    if token and hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
        return True
    proxied = any(name in request.headers for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP"))
    believed = "werkzeug.proxy_fix.orig" in request.environ
    return (believed or not proxied) and _is_loopback(request.remote_addr or "")


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False
