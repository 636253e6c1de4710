"""What keeps a visitor's browser on our side: the application and how it is served in; headers, cookie flags and refusals out.

Sources: OWASP ASVS 5.0, chapter V3; the OWASP cheat sheets on HTTP headers and on cross-site request forgery; RFC 6265bis
(cookie name prefixes). docs/security.md lists each requirement with where it is met.
"""

from collections.abc import Callable
from datetime import timedelta
from functools import cache

from flask import Flask, current_app, request
from flask.globals import request_ctx
from flask.wrappers import Request, Response
from flask_babel import gettext as _
from werkzeug.exceptions import SecurityError
from werkzeug.middleware.proxy_fix import ProxyFix

from study_app.config import Serving
from study_app.mturk_frame import allow_frame
from study_app.visits import message

YEAR_S = 365 * 24 * 3600
LOOPBACK = ("127.0.0.1", "localhost")
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# A report is one self-contained page: its style and pictures stand in it, and it has no script.
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; form-action 'none'; frame-ancestors 'none'; "
    "base-uri 'none'"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: browsers would then send "Origin: null" with our own forms, which could be anyone's.
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": (
        "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), microphone=(), "
        "midi=(), payment=(), usb=()"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",  # of no effect in MTurk's frame
    "Cross-Origin-Resource-Policy": "same-origin",  # no other site shows our pictures; a frame is no resource
}


def protect(app: Flask, serving: Serving) -> None:
    """Set the application's cookies, headers, trusted hosts and proxies, and refuse what other sites post.

    ``app.extensions["pictures"]`` may have an ``origin``: where pictures come from that the object store serves itself.
    """
    app.config.update(
        # A browser takes a cookie of that prefix from this very host alone, not from a neighbour under the same domain.
        SESSION_COOKIE_NAME="__Host-realism" if serving.https else "realism",
        SESSION_COOKIE_SECURE=serving.https,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        PERMANENT_SESSION_LIFETIME=timedelta(days=30),
        SESSION_REFRESH_EACH_REQUEST=False,  # a late reply would bring back what the cookie held before
        MAX_CONTENT_LENGTH=64 * 1024,
        # The server's own names are trusted too: by them its health is asked for.
        TRUSTED_HOSTS=[*serving.hosts, *LOOPBACK] if serving.hosts else None,
    )
    if serving.proxies:
        n = serving.proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=n, x_proto=n, x_host=n)  # type: ignore[method-assign]
    app.register_error_handler(SecurityError, _wrong_host)
    app.before_request(_refuse_no_host)
    app.before_request(_refuse_other_sites)
    app.after_request(_guard(serving))


def survey_policy(https: bool, pictures: str = "") -> str:
    """The policy of every page but a report. ``pictures``: another origin that serves them, if one does."""
    source = f"'self' {pictures}".strip()
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self'; img-src {source}; connect-src {source}; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'; object-src 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'" + ("; upgrade-insecure-requests" if https else "")
    )


def _guard(serving: Serving) -> Callable[[Response], Response]:
    headers = list(HEADERS.items())
    if serving.https:
        headers.append(("Strict-Transport-Security", f"max-age={2 * YEAR_S}; includeSubDomains"))

    @cache
    def policy() -> str:  # once the application stands; telling the store's origin may take a signature
        return survey_policy(serving.https, getattr(current_app.extensions.get("pictures"), "origin", ""))

    def guard(response: Response) -> Response:
        response.headers.setdefault("Content-Security-Policy", policy())
        allow_frame(response)
        response.headers.extend(headers)
        if request.path.startswith("/study/"):  # pages differ by cookie, and must not come back from a cache
            response.headers.setdefault("Cache-Control", "no-store")
        return response

    return guard


def _refuse_no_host() -> tuple[str, int, dict[str, str]] | None:
    """A host that is no host's name; there is then no address to find, nor one to build."""
    return _wrong_host() if request_ctx.url_adapter is None else None


def _wrong_host(_error: SecurityError | None = None) -> tuple[str, int, dict[str, str]]:
    """Somebody came by a name that is not ours. In plain words: a page would need the addresses of that host."""
    return "This server is not known by that name. Check the address.\n", 400, {"Content-Type": "text/plain"}


def _refuse_other_sites() -> tuple[str, int] | None:
    """What another site posts for a visitor, with their cookie, is not theirs (cross-site request forgery)."""
    if request.method in SAFE_METHODS or comes_from_us(request):
        return None
    return message(_("This page cannot be opened directly"), _("Open the link that you were given.")), 403


def comes_from_us(request: Request) -> bool:
    """Whether one of our own pages sent the request, or no browser did.

    Browsers say so in Sec-Fetch-Site, where the connection is secure; over plain http the origin has to be ours. Whoever
    sends neither is a program, which holds nobody else's cookie.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("Origin")
    # Not the scheme: where a proxy ends the encryption and REALISM_PROXIES does not tell of it, http is all we see.
    return origin is None or origin.partition("://")[2] == request.host
