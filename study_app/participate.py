"""What participants meet: consent, the trials one by one, their pictures, and the completion code.

The browser learns of a trial only its index, its exposure and two addresses that say "left" and "right". Which of them is
the real one stays here until the answer is stored, and is then told in practice trials only.
"""

from typing import Any

from flask import Blueprint, Response, abort, current_app, redirect, render_template, request, url_for
from flask import session as cookie
from itsdangerous import BadSignature, URLSafeTimedSerializer
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session as DatabaseSession
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response as BaseResponse

from study_app.db import reading, writing
from study_app.sessions import (
    Answer,
    OutOfTurnError,
    StudyClosedError,
    find_session,
    new_session_id,
    next_trials,
    record_response,
    start_session,
)
from study_app.store import ServedPictures, StoreError
from study_app.studies import design_of
from study_app.tables import Pair, Session, Study, Trial
from study_app.tables import Response as StoredResponse

bp = Blueprint("participate", __name__, url_prefix="/study/<name>")

SIDES = ("left", "right")
# Pictures of the next trial are fetched while this one is answered; later ones are not to be had yet.
TRIALS_AHEAD = 2
HOUR_MS = 3_600_000
DAY_S = 24 * 3600
TICKET = "ticket"  # the form field of the consent form that says which session it begins


class AnswerBody(BaseModel):
    """The answer as the browser posts it; ``trial_index``, ``response`` and ``rt`` (ms) are named as in jsPsych."""

    model_config = ConfigDict(extra="forbid", strict=True)

    trial_index: int = Field(ge=0, le=1_000_000)
    response: str = Field(pattern="^(left|right)$")
    rt: int = Field(ge=0, le=24 * HOUR_MS)
    elapsed_ms: float = Field(ge=0, le=72 * HOUR_MS)
    exposure_measured_ms: float | None = Field(default=None, ge=0, le=24 * HOUR_MS)
    late_frames: int | None = Field(default=None, ge=0, le=1_000_000)


def simulation_tokens(secret: str) -> URLSafeTimedSerializer:
    """Signs the name of the study in which a consent counts as simulated; only who holds the server's key can."""
    return URLSafeTimedSerializer(secret, salt="simulated participant")


def _tickets() -> URLSafeTimedSerializer:
    """Signs the id of the session that a consent form will begin: the same form sent twice begins one."""
    return URLSafeTimedSerializer(current_app.config["SECRET_KEY"], salt="consent form")


def _engine() -> Engine:
    engine = current_app.extensions["engine"]
    assert isinstance(engine, Engine)
    return engine


def _pictures() -> ServedPictures:
    pictures = current_app.extensions["pictures"]
    assert isinstance(pictures, ServedPictures)
    return pictures


def _study_or_404(db: DatabaseSession, name: str) -> Study:
    study = db.scalar(select(Study).where(Study.name == name))
    if study is None:
        abort(404)
    return study


def _own_session(db: DatabaseSession, name: str) -> Session | None:
    """The session, with its study, that this browser's cookie names for the study of that name."""
    public_id = cookie.get("sessions", {}).get(name)
    session = find_session(db, public_id) if public_id else None
    return session if session is not None and session.study.name == name else None


def _own_session_or_refuse(db: DatabaseSession, name: str) -> Session:
    session = _own_session(db, name)
    if session is None:
        _study_or_404(db, name)
        abort(403)
    return session


@bp.get("/")
def welcome(name: str) -> BaseResponse | str:
    with reading(_engine()) as db:
        study = _study_or_404(db, name)
        session = _own_session(db, name)
        if session is not None:
            return redirect(url_for(".done" if session.completed_at else ".survey", name=name))
        if study.closed_at is not None:
            return render_template(
                "message.html",
                title="This study is closed",
                text="It takes no more participants. Thank you for your interest.",
            )
        return render_template(
            "welcome.html", design=design_of(study), ticket=_tickets().dumps(new_session_id()), field=TICKET
        )


@bp.post("/start")
def start(name: str) -> BaseResponse | str:
    with reading(_engine()) as db:
        study = _study_or_404(db, name)
        session = _own_session(db, name)
    if session is None:
        try:
            public_id = _tickets().loads(request.form.get(TICKET, ""), max_age=DAY_S)
            with writing(_engine()) as db:
                session = start_session(db, study.id, _origin(name), public_id)
        except (BadSignature, StudyClosedError):  # a form that is too old, or of a study since closed: begin anew
            return redirect(url_for(".welcome", name=name), code=303)
        cookie.permanent = True
        cookie["sessions"] = {**cookie.get("sessions", {}), name: session.public_id}
    return redirect(url_for(".survey", name=name), code=303)


def _origin(name: str) -> str:
    token = request.form.get("simulated")
    if token is None:
        return "human"
    try:
        signed_for = simulation_tokens(current_app.config["SECRET_KEY"]).loads(token, max_age=DAY_S)
    except BadSignature:
        abort(403)
    if signed_for != name:
        abort(403)
    return "simulated"


@bp.get("/declined")
def declined(name: str) -> str:
    with reading(_engine()) as db:
        _study_or_404(db, name)
    return render_template(
        "message.html",
        title="You chose not to take part",
        text="That is fine. Nothing about you was stored. You may close this page.",
    )


@bp.get("/survey")
def survey(name: str) -> BaseResponse | str:
    with reading(_engine()) as db:
        study = _study_or_404(db, name)
        session = _own_session(db, name)
        if session is None:
            return redirect(url_for(".welcome", name=name, cookies="missing"))
        if session.completed_at is not None:
            return redirect(url_for(".done", name=name))
        return render_template("survey.html", design=design_of(study))


@bp.get("/next")
def next_trial(name: str) -> dict[str, Any]:
    with reading(_engine()) as db:
        return _whats_next(db, _own_session_or_refuse(db, name))


@bp.post("/answer")
def answer(name: str) -> dict[str, Any] | tuple[dict[str, Any], int]:
    try:
        body = AnswerBody.model_validate_json(request.get_data())
    except ValidationError as error:
        first = error.errors()[0]
        return {"error": f"{'.'.join(map(str, first['loc'])) or 'answer'}: {first['msg']}"}, 400
    given = Answer(
        trial_index=body.trial_index,
        response=body.response,
        rt_ms=body.rt,
        elapsed_ms=max(body.elapsed_ms, body.rt),
        exposure_measured_ms=body.exposure_measured_ms,
        late_frames=body.late_frames,
    )
    try:
        with writing(_engine()) as db:
            session = _own_session_or_refuse(db, name)
            trial, response = record_response(db, session, given, design_of(session.study).question)
            result = {"stored": True, "trial_index": trial.trial_index, "feedback": _feedback(trial, response)}
            result["next"] = _whats_next(db, session)
    except OutOfTurnError:
        return {"error": f"trial {body.trial_index} is not the next one; reload the page"}, 409
    return result  # only here, after the commit, is the answer acknowledged


def _feedback(trial: Trial, response: StoredResponse) -> dict[str, Any] | None:
    if trial.kind != "practice":
        return None
    return {"correct": response.chosen_side == trial.real_side, "real": trial.real_side}


def _whats_next(db: DatabaseSession, session: Session) -> dict[str, Any]:
    """The next trial and the progress, without anything that tells real from fake."""
    trials = next_trials(db, session, TRIALS_AHEAD)
    design = design_of(session.study)
    total = design.trials.practice + design.trials.main
    described = [
        {
            "trial_index": trial.trial_index,
            "practice": trial.kind == "practice",
            "exposure_ms": trial.exposure_ms,
            **{side: _picture_url(session, trial, side) for side in SIDES},
        }
        for trial in trials
    ]
    answered = trials[0].trial_index if trials else total
    return {
        "done": not trials,
        "progress": {"answered": answered, "total": total, "practice": design.trials.practice},
        "trial": described[0] if described else None,
        "upcoming": described[1:],
    }


def _picture_url(session: Session, trial: Trial, side: str) -> str:
    return url_for(".picture", name=session.study.name, public_id=session.public_id, index=trial.trial_index, side=side)


@bp.get("/picture/<public_id>/<int:index>/<any(left, right):side>")
def picture(name: str, public_id: str, index: int, side: str) -> BaseResponse:
    with reading(_engine()) as db:
        session = _own_session_or_refuse(db, name)
        if session.public_id != public_id:
            abort(403)
        trial = db.scalar(
            select(Trial)
            .options(
                joinedload(Trial.pair).joinedload(Pair.real_image), joinedload(Trial.pair).joinedload(Pair.fake_image)
            )
            .where(Trial.session_id == session.id, Trial.trial_index == index)
        )
        ahead = next_trials(db, session, TRIALS_AHEAD)
        if trial is None or (ahead and index > ahead[-1].trial_index):
            abort(404)
        real, fake = trial.pair.real_image.sha256, trial.pair.fake_image.sha256
    wanted, partner = (real, fake) if side == trial.real_side else (fake, real)
    try:
        data = _pictures().get(wanted, partner)
    except StoreError as error:
        current_app.logger.error("%s", error)
        abort(503)
    # No validators: an ETag or a date of change would follow the file, and the file is real or fake.
    response = Response(data, mimetype="image/png")
    response.headers["Cache-Control"] = "private, max-age=86400, immutable"
    return response


@bp.get("/done")
def done(name: str) -> BaseResponse | str:
    with reading(_engine()) as db:
        study = _study_or_404(db, name)
        session = _own_session(db, name)
        if session is None:
            return redirect(url_for(".welcome", name=name))
        if session.completed_at is None:
            return redirect(url_for(".survey", name=name))
        return render_template("done.html", design=design_of(study), code=session.completion_code)


@bp.after_request
def _never_stored_by_caches(response: Response) -> Response:
    response.headers.setdefault("Cache-Control", "no-store")
    return response
