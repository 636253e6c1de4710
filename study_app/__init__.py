"""The survey, the database under it, and the commands that run studies."""

from pathlib import Path

from flask import Flask, redirect, render_template, send_from_directory, url_for
from flask_babel import Babel
from flask_babel import gettext as _
from flask_babel import lazy_gettext as later
from sqlalchemy import Engine
from werkzeug.exceptions import HTTPException, RequestTimeout
from werkzeug.wrappers import Response as BaseResponse

from protocol.place import Place
from protocol.texts import LANGUAGES, RIGHT_TO_LEFT
from study_app import ending, entrance, health, openapi, step_pages, trial_pages
from study_app.config import Serving
from study_app.delivery import Delivery
from study_app.limits import limit
from study_app.request_log import Survey, log_requests, request_id
from study_app.retrying import COME_BACK_S, retry_lost_transactions
from study_app.security import REPORT_POLICY, protect
from study_app.visits import spoken

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

LAPTOP = Serving()


def create_app(
    engine: Engine, store: Place, secret: str, report: Path | None = None, serving: Serving = LAPTOP
) -> Flask:
    """The survey over a migrated database and a store of pictures; ``report``: a folder to show under /report/."""
    app = Survey(__name__)
    app.config["SECRET_KEY"] = secret
    app.extensions["engine"] = engine
    app.extensions["store"] = store
    app.extensions["pictures"] = Delivery(store, serving)
    log_requests(app, serving)  # first: it counts also what the others refuse, and sees each reply as it is sent
    protect(app, serving)
    limit(app, serving)
    retry_lost_transactions(app)
    Babel(app, locale_selector=spoken)
    app.context_processor(lambda: {"languages": LANGUAGES, "spoken": spoken(), "right_to_left": RIGHT_TO_LEFT})
    for pages in (entrance, step_pages, trial_pages, ending, health, openapi):
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

    @app.errorhandler(TimeoutError)
    def stalled(_error: TimeoutError) -> tuple[str, int, dict[str, str]]:
        """The visitor's connection broke off while they sent; nobody reads this."""
        return problem(RequestTimeout())

    @app.errorhandler(HTTPException)
    def problem(error: HTTPException) -> tuple[str, int, dict[str, str]]:
        code = error.code or 500
        title, text = PROBLEMS.get(code, OUR_FAULT)
        more = _("If you write to us about this, please add: %(reference)s", reference=request_id())
        page = render_template("message.html", title=title, text=text, more=more if code >= 500 else None)
        return page, code, {"Retry-After": str(COME_BACK_S)} if code == 503 else {}

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
