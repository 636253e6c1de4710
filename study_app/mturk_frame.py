"""MTurk shows a study in a frame of its own page: who may frame it and be posted to, and a cookie that is kept there."""

import hashlib
import time
from copy import deepcopy
from functools import lru_cache
from typing import Any

from flask import Flask, Request, g, request
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from flask.wrappers import Response
from itsdangerous import BadSignature, URLSafeTimedSerializer

from study_app.tables import Study

MTURK = "https://*.mturk.com"


def note_frame(study: Study, origin: str) -> None:
    """Remember for this request whether the study is shown in MTurk's frame; simulated and preview visitors see it bare."""
    source = study.design.get("recruitment", {}).get("source")
    g.framed = source == "mturk" and origin == "human"


class SurveyCookies(SecureCookieSessionInterface):
    """In a frame browsers keep only a cookie that is partitioned by the page around it (CHIPS), and send it by https alone.

    There the cookie belongs to the one study, by its path and by what it is signed for: the cookie of the whole server may
    carry the prefix __Host-, which a path rules out, and no cookie of one study stands for it in another.
    """

    def get_signing_serializer(self, app: Flask) -> URLSafeTimedSerializer | None:
        return _signing(str(app.secret_key), _salt(_study_of(request) if g.get("framed") else ""))

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession:
        study = _study_of(request)
        named = [(_framed_name(app), _salt(study))] if study else []
        for name, salt in (*named, (super().get_cookie_name(app), _salt(""))):
            signed = request.cookies.get(name)
            if not signed:
                continue
            try:
                data, signed_at = _verified(str(app.secret_key), salt, signed)
            except BadSignature:
                continue  # another study's, or nobody's
            if time.time() - signed_at <= app.permanent_session_lifetime.total_seconds():
                return self.session_class(deepcopy(data))
        return self.session_class()

    def get_cookie_name(self, app: Flask) -> str:
        return _framed_name(app) if g.get("framed") else super().get_cookie_name(app)

    def get_cookie_samesite(self, app: Flask) -> str | None:
        return "None" if g.get("framed") else super().get_cookie_samesite(app)

    def get_cookie_secure(self, app: Flask) -> bool:
        return bool(g.get("framed")) or super().get_cookie_secure(app)

    def get_cookie_partitioned(self, app: Flask) -> bool:
        return bool(g.get("framed")) or super().get_cookie_partitioned(app)

    def get_cookie_path(self, app: Flask) -> str:
        return f"/study/{_study_of(request)}/" if g.get("framed") else super().get_cookie_path(app)


def _salt(study: str) -> str:
    return f"cookie of {study} in a frame" if study else "cookie"


@lru_cache(maxsize=64)
def _signing(secret: str, salt: str) -> URLSafeTimedSerializer:
    """What signs a cookie; making it anew for each request would take longer than signing."""
    return URLSafeTimedSerializer(
        secret,
        salt=salt,
        serializer=SurveyCookies.serializer,
        signer_kwargs={"key_derivation": SurveyCookies.key_derivation, "digest_method": hashlib.sha256},
    )


@lru_cache(maxsize=4096)
def _verified(secret: str, salt: str, signed: str) -> tuple[dict[str, Any], float]:
    """What a cookie holds, and when it was signed. Browsers send the same one with each answer: looking once is enough.

    Raises:
        BadSignature: if it was not signed so; that is not remembered.
    """
    data, signed_at = _signing(secret, salt).loads(signed, return_timestamp=True)
    return data, signed_at.timestamp()


def _study_of(request: Request) -> str:
    """The study of the address, before any route is known; empty elsewhere."""
    _, _, rest = request.path.partition("/study/")
    return rest.partition("/")[0] if request.path.startswith("/study/") else ""


def _framed_name(app: Flask) -> str:
    # Over plain http, as on one's own machine, browsers take no cookie of that prefix.
    return "__Secure-realism-frame" if app.config["SESSION_COOKIE_SECURE"] else "realism-frame"


def allow_frame(response: Response) -> Response:
    """Widen the policy of a framed study's pages: MTurk may show them, and is posted to in the end."""
    policy = response.headers.get("Content-Security-Policy")
    if policy and g.get("framed"):
        for ours, wider in (
            ("frame-ancestors 'none';", f"frame-ancestors {MTURK};"),
            ("form-action 'self';", f"form-action 'self' {MTURK};"),
        ):
            policy = policy.replace(ours, wider)
        response.headers["Content-Security-Policy"] = policy
    return response
