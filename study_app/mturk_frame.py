"""MTurk shows a study in a frame of its own page: who may frame it and be posted to, and a cookie that is kept there."""

from flask import Flask, g, request
from flask.sessions import SecureCookieSessionInterface
from flask.wrappers import Response

from study_app.tables import Study

MTURK = "https://*.mturk.com"


def note_frame(study: Study, origin: str) -> None:
    """Remember for this request whether the study is shown in MTurk's frame; simulated and preview visitors see it bare."""
    source = study.design.get("recruitment", {}).get("source")
    g.framed = source == "mturk" and origin == "human"


class SurveyCookies(SecureCookieSessionInterface):
    """In a frame browsers keep only a cookie that is partitioned by the page around it (CHIPS), and send it by https alone.

    There the cookie belongs to the one study: beside one of the whole server, browsers send the longer path's first.
    """

    def get_cookie_samesite(self, app: Flask) -> str | None:
        return "None" if g.get("framed") else super().get_cookie_samesite(app)

    def get_cookie_secure(self, app: Flask) -> bool:
        return bool(g.get("framed")) or super().get_cookie_secure(app)

    def get_cookie_partitioned(self, app: Flask) -> bool:
        return bool(g.get("framed")) or super().get_cookie_partitioned(app)

    def get_cookie_path(self, app: Flask) -> str:
        if g.get("framed"):
            return f"/study/{(request.view_args or {})['name']}/"
        return super().get_cookie_path(app)


def allow_frame(response: Response) -> Response:
    """Widen the policy of a framed study's pages: MTurk may show them, and is posted to in the end."""
    if g.get("framed"):
        response.content_security_policy.frame_ancestors = MTURK
        response.content_security_policy.form_action = f"'self' {MTURK}"
    return response
