"""The survey, the database under it, and the commands that run studies."""

from datetime import timedelta
from pathlib import Path

from flask import Flask, redirect, render_template, request, send_from_directory, url_for
from flask.wrappers import Response
from flask_babel import Babel
from flask_babel import gettext as _
from flask_babel import lazy_gettext as later
from sqlalchemy import Engine
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as BaseResponse

from protocol.place import Place
from protocol.texts import LANGUAGES, RIGHT_TO_LEFT
from study_app import ending, entrance, step_pages, trial_pages
from study_app.store import ServedPictures
from study_app.visits import spoken

SURVEY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
# A report is one self-contained page: its style and pictures stand in it, and it has no script.
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'"
)
# What a participant who meets an error reads: a title and what to do.
PROBLEMS = {
    403: (
        later("This page belongs to another browser"),
        later("Go back to the browser in which you began, or open the link that you were given."),
    ),
    404: (later("There is no such page"), later("Check the address, or open the link that you were given once more.")),
    405: (later("This page cannot be opened directly"), later("Open the link that you were given.")),
    413: (later("That was too much"), later("The answer was too long to be stored. Please reload the page.")),
}
OUR_FAULT = (
    later("Something went wrong on our side"),
    later("Answers that you gave are stored. Please reload the page in a minute."),
)


def create_app(engine: Engine, store: Place, secret: str, report: Path | None = None) -> Flask:
    """The survey over a migrated database and a store of pictures; ``report``: a folder to show under /report/."""
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY=secret,
        SESSION_COOKIE_NAME="realism",
        SESSION_COOKIE_SAMESITE="Lax",
        PERMANENT_SESSION_LIFETIME=timedelta(days=30),
        SESSION_REFRESH_EACH_REQUEST=False,  # a late reply would bring back what the cookie held before
        MAX_CONTENT_LENGTH=64 * 1024,
    )
    app.extensions["engine"] = engine
    app.extensions["pictures"] = ServedPictures(store)
    Babel(app, locale_selector=spoken)
    app.context_processor(lambda: {"languages": LANGUAGES, "spoken": spoken(), "right_to_left": RIGHT_TO_LEFT})
    for pages in (entrance, step_pages, trial_pages, ending):
        app.register_blueprint(pages.bp)
    if report is not None:
        _show_report(app, report)

    @app.get("/")
    def home() -> str:
        return render_template(
            "message.html",
            title=_("Perceptual-realism studies"),
            text=_("This server asks people which pictures are real. To take part, open the link that you were given."),
        )

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.errorhandler(HTTPException)
    def problem(error: HTTPException) -> tuple[str, int]:
        code = error.code or 500
        title, text = PROBLEMS.get(code, OUR_FAULT)
        return render_template("message.html", title=title, text=text), code

    @app.after_request
    def guard(response: Response) -> Response:
        response.headers.setdefault("Content-Security-Policy", SURVEY_POLICY)
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        response.headers.setdefault("Referrer-Policy", "no-referrer")
        if request.path.startswith("/study/"):  # pages differ by cookie, and must not come back from a cache
            response.headers.setdefault("Cache-Control", "no-store")
        return response

    return app


def _show_report(app: Flask, folder: Path) -> None:
    @app.get("/report/")
    def report() -> BaseResponse:
        return redirect(url_for("report_file", file="report.html"))

    @app.get("/report/<path:file>")
    def report_file(file: str) -> BaseResponse:
        response = send_from_directory(folder, file)
        response.headers["Content-Security-Policy"] = REPORT_POLICY
        return response
