"""Rate limits: a request in; nothing out, or a reply of 429 that says when to come back.

What costs much or can be guessed is counted by client address and minute in the database that all servers share. What is
called often and costs little is held back by each process for itself, by session. docs/security.md has the numbers.

This machine's own address is not counted: it is the researcher's, or that of a proxy that REALISM_PROXIES does not tell of,
behind which all participants would share one allowance.
"""

import hmac
import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from threading import Lock

from flask import Flask, jsonify, request
from flask import session as cookie
from flask.wrappers import Response
from flask_babel import gettext as _
from sqlalchemy import Engine, delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from study_app.config import Serving
from study_app.db import DatabaseError, writing_by_core
from study_app.tables import RateLimit
from study_app.visits import message, wants_json

MINUTE_S = 60
DAY_S = 24 * 3600
# Posts (and plates, which are drawn for whoever asks) by endpoint: how many a minute one address may send, to all servers
# together. A university's thousands may share one address, and a laboratory of a hundred begins in the same second.
PER_MINUTE = {"entrance.start": 600, "entrance.declined": 300, "step_pages.take": 6000, "step_pages.plate": 2400}
# Everything else, in each process: so many at once, and so many a second in the long run. A participant without any
# thinking time comes to some twenty a second; a page that went mad to hundreds.
SESSION_BURST, SESSION_PER_S = 5000, 50
ADDRESS_BURST, ADDRESS_PER_S = 10_000, 200
BUCKETS = 20_000  # remembered; the one that rested longest is forgotten first, and then full again
WATCHED = frozenset({"health.alive", "health.ready"})  # monitors ask from anywhere, and often


class Buckets:
    """Token buckets by key, as many as there is room for."""

    def __init__(self, most: int = BUCKETS, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock, self._lock = most, clock, Lock()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, key: str, burst: int, per_s: int) -> float:
        """Takes one token; 0, or the seconds until there is one again."""
        now = self._clock()
        with self._lock:
            left, since = self._left.pop(key, (burst, now))
            left = min(burst, left + (now - since) * per_s)
            taken = left >= 1
            self._left[key] = (left - 1 if taken else left, now)
            if len(self._left) > self._most:
                self._left.popitem(last=False)
        return 0.0 if taken else (1 - left) / per_s

    def __len__(self) -> int:
        return len(self._left)


class SharedCounts:
    """How often an address did something in this minute, counted in the database by all servers together."""

    def __init__(self, engine: Engine, secret: str) -> None:
        self._engine, self._secret, self._swept = engine, secret.encode(), 0

    def key(self, address: str, what: str, now: float) -> str:
        """A keyed hash, another one each day: no address is stored, nor can one be tried without the secret."""
        told = f"rate limit\n{int(now // DAY_S)}\n{what}\n{address}".encode()
        return hmac.digest(self._secret, told, "sha256")[:16].hex()

    def add(self, address: str, what: str, now: float) -> int:
        """Counts once more; how often it now was."""
        minute = int(now // MINUTE_S)
        insert = postgresql.insert if self._engine.dialect.name == "postgresql" else sqlite.insert
        counted = (
            insert(RateLimit)
            .values(minute=minute, key=self.key(address, what, now), n=1)
            .on_conflict_do_update(index_elements=["minute", "key"], set_={"n": RateLimit.n + 1})
            .returning(RateLimit.n)
        )
        with writing_by_core(self._engine) as db:
            n = db.scalar(counted) or 0
        if self._swept != minute:
            self._swept = minute
            with writing_by_core(self._engine) as db:
                db.execute(delete(RateLimit).where(RateLimit.minute < minute - 1))
        return n


@lru_cache(maxsize=4096)
def counted_address(address: str | None) -> str | None:
    """Under which address a client is counted: of IPv6 the network of one household (/64); None: not at all."""
    try:
        ip = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:  # a Unix socket, or a proxy that says "unknown"
        return "unknown" if address else None
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if ip.is_loopback:
        return None
    return str(ip) if ip.version == 4 else str(ipaddress.ip_network((ip, 64), strict=False))


def limit(app: Flask, serving: Serving) -> None:
    """Hold back who asks too often, unless ``serving.limits`` is off. The engine and the secret must be set already."""
    if not serving.limits:
        return
    buckets = Buckets()
    shared = SharedCounts(app.extensions["engine"], app.config["SECRET_KEY"])

    def hold_back() -> Response | None:
        endpoint = request.endpoint or ""
        address = counted_address(request.remote_addr)
        most = PER_MINUTE.get(endpoint) if request.method == "POST" or endpoint == "step_pages.plate" else None
        if most is None:
            wait_s = 0.0 if endpoint in WATCHED else _wait_in_process(buckets, endpoint, address)
            return too_many(wait_s) if wait_s else None
        if address is None:
            return None
        now = time.time()
        try:
            return too_many(MINUTE_S - now % MINUTE_S) if shared.add(address, endpoint, now) > most else None
        except (SQLAlchemyError, DatabaseError):
            return None  # the page itself needs the database, tries again, and says what is wrong

    app.before_request(hold_back)


def _wait_in_process(buckets: Buckets, endpoint: str, address: str | None) -> float:
    if endpoint != "static":  # which is the same for all, and must not be kept apart by cookie
        own = cookie.get("sessions", {}).get((request.view_args or {}).get("name"))
        if own is not None:
            return buckets.wait_s(own, SESSION_BURST, SESSION_PER_S)
    return 0.0 if address is None else buckets.wait_s(address, ADDRESS_BURST, ADDRESS_PER_S)


def too_many(wait_s: float) -> Response:
    """429 with the seconds to wait; JSON for whoever reads that."""
    seconds = max(1, math.ceil(wait_s))
    if wants_json():
        response = jsonify(error=f"too many requests; try again in {seconds} s")
    else:
        text = _("Answers that you gave are stored. Please reload the page in a minute.")
        response = Response(message(_("That was too much"), text), mimetype="text/html")
    response.status_code = 429
    response.headers["Retry-After"] = str(seconds)
    response.headers["Cache-Control"] = "no-store"
    return response
