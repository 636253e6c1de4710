"""Where participants come in: the study and its consent form, the beginning, and the refusal."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Flask, abort, current_app, g, redirect, render_template, request, url_for
from flask.blueprints import BlueprintSetupState
from flask_babel import gettext as _
from itsdangerous import BadSignature, URLSafeTimedSerializer
from sqlalchemy.orm import Session as DatabaseSession
from werkzeug.wrappers import Response as BaseResponse

from protocol.design import StudyDesign
from study_app.db import reading, writing
from study_app.ending import how_to_return
from study_app.mturk_frame import SurveyCookies, note_frame
from study_app.recruitment import SIMULATED, ArrivalError, arrival_of, known_arguments, only_looks
from study_app.sessions import (
    Arrival,
    StudyClosedError,
    TookPartError,
    record_refusal,
    start_session,
    took_part,
)
from study_app.stopping import Reason, why_not_open
from study_app.studies import design_of
from study_app.tables import PREVIEW, Participant, Session, Study
from study_app.visits import (
    ADDRESS,
    address_of,
    browsers_sessions,
    engine,
    keeps_cookies,
    message,
    offered_session,
    own_session,
    remember,
    spoken,
    study_or_404,
)

bp = Blueprint("entrance", __name__, url_prefix=ADDRESS)


@bp.record_once
def _keep_cookies_in_frames(state: BlueprintSetupState) -> None:
    assert isinstance(state.app, Flask)
    state.app.session_interface = SurveyCookies()


DAY_S = 24 * 3600
PREVIEW_DAYS = 30
TICKET = "ticket"  # the form field of the consent form that says which session it begins


def simulation_tokens(secret: str) -> URLSafeTimedSerializer:
    """Signs the name of the study in which a consent counts as simulated; only who holds the server's key can."""
    return _signing(secret, "simulated participant")


def preview_tokens(secret: str) -> URLSafeTimedSerializer:
    """Signs the name of the study that a link previews; only who holds the server's key can."""
    return _signing(secret, "preview")


def _tickets() -> URLSafeTimedSerializer:
    """Signs what a consent form will begin, its session's id above all: the same form sent twice begins one."""
    return _signing(current_app.config["SECRET_KEY"], "consent form")


def _signing(secret: str, salt: str) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(secret, salt=salt, signer_kwargs={"digest_method": hashlib.sha256})


@bp.get("/")
def welcome(name: str) -> BaseResponse | str | tuple[str, int]:
    with reading(engine()) as db:
        study = study_or_404(db, name)
        design = design_of(study)
        arguments = known_arguments(design, request.args)
        ticket = None
        if not only_looks(design, arguments):
            admitted = _admit(db, study, design, arguments)
            if not isinstance(admitted, Arrival):
                return admitted
            session = offered_session(name, _origin(arguments), admitted.recruitment_id)
            ticket = _tickets().dumps({"session": session, "study": name, "arguments": arguments})
    return render_template("welcome.html", design=design, arguments=arguments, ticket=ticket, field=TICKET)


@bp.post("/start")
def start(name: str) -> BaseResponse | str | tuple[str, int]:
    with reading(engine()) as db:
        study = study_or_404(db, name)
        design = design_of(study)
        came_by = known_arguments(design, request.args)
        try:
            ticket = _tickets().loads(request.form.get(TICKET, ""), max_age=DAY_S)
        except BadSignature:  # too old a form: begin anew
            return _back(name, came_by)
        if ticket["study"] != name:
            abort(403)
        arguments = ticket["arguments"]
        if SIMULATED in request.form:
            arguments = {SIMULATED: request.form[SIMULATED]}
        admitted = _admit(db, study, design, arguments)
        if not isinstance(admitted, Arrival):
            return admitted
        if not keeps_cookies():
            return _back(name, {**came_by, "cookies": "missing"})
    try:
        with writing(engine()) as db:
            session = start_session(
                db, study.id, _origin(arguments), ticket["session"], language=spoken(), arrival=admitted
            )
    except (StudyClosedError, TookPartError):  # by somebody else at this very moment; the page says so
        return _back(name, came_by)
    remember(name, session.public_id)
    with reading(engine()) as db:
        return redirect(address_of(db, session, design), code=303)


def _back(name: str, arguments: Mapping[str, Any]) -> BaseResponse:
    """To the beginning, by the link that somebody came by."""
    return redirect(url_for(".welcome", name=name, **arguments), code=303)


def _admit(
    db: DatabaseSession, study: Study, design: StudyDesign, arguments: Mapping[str, str]
) -> Arrival | BaseResponse | str | tuple[str, int]:
    """The arrival of somebody who may begin; else the page to go to, or one that says why not."""
    origin = _origin(arguments)
    note_frame(study, origin)
    g.preview = origin == PREVIEW
    begun = browsers_sessions(db, study.name)
    if origin == PREVIEW:
        return _admit_preview(study.name, arguments[PREVIEW], begun)
    if origin == "simulated":
        _check_simulated(study.name, arguments[SIMULATED])
    begun = [session for session in begun if session.participant.origin == origin]
    try:
        arrival = arrival_of(db, study, design, arguments) if origin == "human" else Arrival()
    except ArrivalError:
        return _go_on(db, begun[0], design) if begun else _come_by_your_link(design)
    own = next((one for one in begun if one.participant.recruitment_id == arrival.recruitment_id), None)
    if own is not None:
        _renew(own, arrival)
        return _go_on(db, own, design)
    if arrival.recruitment_id is not None and took_part(db, study, arrival.recruitment_id):
        return message(
            _("You have begun this study already"),
            _("Everybody takes part once. If you have not finished, please go on in the browser in which you began."),
        )
    reason = why_not_open(db, study, design, datetime.now(UTC))
    return arrival if reason is None else _not_open(reason, design)


def _origin(arguments: Mapping[str, str]) -> str:
    return next((origin for origin in (PREVIEW, SIMULATED) if origin in arguments), "human")


def _admit_preview(name: str, token: str, begun: list[Session]) -> Arrival | tuple[str, int] | str:
    """Each opening of the link begins a new preview; a session that counts stays this browser's own."""
    try:
        signed_for = preview_tokens(current_app.config["SECRET_KEY"]).loads(token, max_age=PREVIEW_DAYS * DAY_S)
    except BadSignature:
        signed_for = None
    if signed_for != name:
        return message(_("This preview link is not valid"), _("It may be too old. Please ask for a new one.")), 403
    if any(session.participant.origin != PREVIEW for session in begun):
        return message(
            _("You take part in this study in this browser"),
            _("To preview it without touching your answers, open the link in a private window."),
        )
    return Arrival()


def _check_simulated(name: str, token: str) -> None:
    try:
        signed_for = simulation_tokens(current_app.config["SECRET_KEY"]).loads(token, max_age=DAY_S)
    except BadSignature:
        abort(403)
    if signed_for != name:
        abort(403)


def _go_on(db: DatabaseSession, session: Session, design: StudyDesign) -> BaseResponse:
    """Where the browser's own session, be it once put aside, goes on."""
    remember(design.name, session.public_id)
    return redirect(address_of(db, session, design), code=303)


def _renew(session: Session, arrival: Arrival) -> None:
    """Who comes back may come under a new assignment, and that is the one to be handed in."""
    details = dict(arrival.details) or None
    if details != session.participant.recruitment:
        with writing(engine()) as db:
            db.get_one(Participant, session.participant_id).recruitment = details


def _come_by_your_link(design: StudyDesign) -> tuple[str, int]:
    if request.args.get("cookies") == "missing":
        text = _(
            "Your browser did not keep the cookie by which this study knows you again. Please allow cookies for this "
            "page, then open the link that you were given once more."
        )
    elif design.recruitment.source == "invitation":
        text = _("This study is by invitation. Please open the personal link that you were sent, exactly as it is.")
    else:
        text = _("Please start this study from its page at the service where you found it, so that you are credited.")
    return message(_("Please come by your own link"), text), 400


def _not_open(reason: Reason, design: StudyDesign) -> str:
    title, text = {
        "closed": (_("This study is closed"), _("It takes no more participants. Thank you for your interest.")),
        "ended": (_("This study has ended"), _("Its time is over. Thank you for your interest.")),
        "full": (_("This study is full"), _("Enough people take part already. Thank you for your interest.")),
    }[reason]
    return message(title, text, more=how_to_return(design))


@bp.route("/declined", methods=["GET", "POST"])
def declined(name: str) -> BaseResponse | str:
    with reading(engine()) as db:
        study = study_or_404(db, name)
        design = design_of(study)
    arguments = known_arguments(design, request.args)
    if request.method == "GET":
        return _back(name, arguments)
    with writing(engine()) as db:
        if any(session.participant.origin == "human" for session in browsers_sessions(db, name)):
            return message(
                _("You have begun this study already"),
                _("You may stop at any time by closing the page. What you answered so far is stored."),
            )
        if _origin(arguments) == "human" and _is_ours(request.form.get(TICKET, ""), name):
            record_refusal(db, study, spoken())
    return message(
        _("You chose not to take part"),
        _("That is fine. Nothing about you was stored. You may close this page."),
        more=how_to_return(design),
    )


def _is_ours(ticket: str, name: str) -> bool:
    """Whether the form is one of this study's consent page, so that what is posted by others is not counted."""
    try:
        return bool(_tickets().loads(ticket, max_age=DAY_S)["study"] == name)
    except BadSignature:
        return False


@bp.get("/on")
def go_on(name: str) -> BaseResponse:
    """Wherever the participant has to go next."""
    with reading(engine()) as db:
        study = study_or_404(db, name)
        session = own_session(db, name)
        if session is None:
            return _back(name, {"cookies": "missing"})
        return redirect(address_of(db, session, design_of(study)))
