"""The trials one by one and their pictures.

The browser learns of a trial only its index, its exposure and the addresses of its pictures, which say where each is shown.
Which of them is the real one stays here until the answer is stored, and is then told in practice trials only.
"""

from typing import Any, Literal

from flask import Blueprint, Response, abort, current_app, redirect, render_template, request, url_for
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session as DatabaseSession
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response as BaseResponse

from protocol.design import StudyDesign
from study_app.answers import Answer, OutOfTurnError, next_trials, record_response
from study_app.db import reading, writing
from study_app.road import TRIALS, next_step, steps_before
from study_app.store import ServedPictures, StoreError
from study_app.studies import design_of
from study_app.tables import Pair, Session, Trial
from study_app.tables import Response as StoredResponse
from study_app.visits import ADDRESS, address_of, engine, own_session, own_session_or_refuse, study_or_404

bp = Blueprint("trial_pages", __name__, url_prefix=ADDRESS)

# Where a picture is shown, by the layout of a trial; of one picture the address must not say what it is.
PLACES = {"side_by_side": ("left", "right"), "sequential": ("first", "second"), "single": ("picture",)}
# Pictures of the next trial are fetched while this one is answered; later ones are not to be had yet.
TRIALS_AHEAD = 2
HOUR_MS = 3_600_000


class AnswerBody(BaseModel):
    """The answer as the browser posts it; ``trial_index``, ``response`` and ``rt`` (ms) are named as in jsPsych."""

    model_config = ConfigDict(extra="forbid", strict=True)

    trial_index: int = Field(ge=0, le=1_000_000)
    response: Literal["left", "right", "first", "second", "real", "fake"]
    rt: int = Field(ge=0, le=24 * HOUR_MS)
    elapsed_ms: float = Field(ge=0, le=72 * HOUR_MS)
    exposure_measured_ms: float | None = Field(default=None, ge=0, le=24 * HOUR_MS)
    exposure_second_measured_ms: float | None = Field(default=None, ge=0, le=24 * HOUR_MS)
    late_frames: int | None = Field(default=None, ge=0, le=1_000_000)
    frame_interval_ms: float | None = Field(default=None, gt=0, le=1000)
    picture_width_px: float | None = Field(default=None, gt=0, le=100_000)
    focus_lost: bool | None = None
    presentations: int | None = Field(default=None, ge=1, le=10_000)
    input_method: Literal["mouse", "touch", "pen", "keyboard"] | None = None


def _pictures() -> ServedPictures:
    pictures = current_app.extensions["pictures"]
    assert isinstance(pictures, ServedPictures)
    return pictures


@bp.get("/survey")
def survey(name: str) -> BaseResponse | str:
    with reading(engine()) as db:
        study = study_or_404(db, name)
        session = own_session(db, name)
        if session is None:
            return redirect(url_for("entrance.welcome", name=name, cookies="missing"))
        design = design_of(study)
        if next_step(db, session, design) != TRIALS:
            return redirect(address_of(db, session, design))
        return render_template("survey.html", design=design, session=session, places=PLACES[design.layout])


@bp.get("/next")
def next_trial(name: str) -> dict[str, Any]:
    with reading(engine()) as db:
        session = own_session_or_refuse(db, name)
        design = design_of(session.study)
        if next_step(db, session, design) != TRIALS:
            return {"done": True}
        return _whats_next(db, session, design)


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
        measured=body.model_dump(exclude={"trial_index", "response", "rt", "elapsed_ms"}),
    )
    try:
        with writing(engine()) as db:
            session = own_session_or_refuse(db, name)
            design = design_of(session.study)
            if body.response not in design.sides:
                return {"error": f"response: {body.response} is no answer here; {' or '.join(design.sides)} is"}, 400
            if next_step(db, session, design) in steps_before(design):
                return {"error": "a step before the trials is not done; reload the page"}, 409
            trial, response = record_response(db, session, given, design)
            result = {"stored": True, "trial_index": trial.trial_index, "feedback": _feedback(trial, response, design)}
            result["next"] = _whats_next(db, session, design)
    except OutOfTurnError:
        return {"error": f"trial {body.trial_index} is not the next one; reload the page"}, 409
    return result  # only here, after the commit, is the answer acknowledged


def _feedback(trial: Trial, response: StoredResponse, design: StudyDesign) -> dict[str, Any] | None:
    if trial.kind != "practice" or not design.trials.feedback:
        return None
    return {"correct": response.chosen_side == trial.real_side, "real": trial.real_side}


def _whats_next(db: DatabaseSession, session: Session, design: StudyDesign) -> dict[str, Any]:
    """The next trial and the progress, without anything that tells real from fake, or main from catch and repeat.

    ``rest``: a new block begins with the trial.
    """
    trials = [] if session.outcome is not None else next_trials(db, session, TRIALS_AHEAD)
    if not trials:
        return {"done": True}
    described = [
        {
            "trial_index": trial.trial_index,
            "practice": trial.kind == "practice",
            "exposure_ms": trial.exposure_ms,
            "pictures": {place: _picture_url(session, trial, place) for place in PLACES[design.layout]},
        }
        for trial in trials
    ]
    answered = trials[0].trial_index
    return {
        "done": False,
        "progress": {"answered": answered, "total": design.n_trials, "practice": design.trials.practice},
        "rest": _begins_block(db, trials[0]),
        "trial": described[0],
        "upcoming": described[1:],
    }


def _begins_block(db: DatabaseSession, trial: Trial) -> bool:
    if trial.block == 0:
        return False
    before = select(Trial.block).where(Trial.session_id == trial.session_id, Trial.trial_index == trial.trial_index - 1)
    return db.scalar(before) != trial.block


def _picture_url(session: Session, trial: Trial, place: str) -> str:
    return url_for(
        ".picture", name=session.study.name, public_id=session.public_id, index=trial.trial_index, place=place
    )


@bp.get("/picture/<public_id>/<int(max=1000000):index>/<any(left, right, first, second, picture):place>")
def picture(name: str, public_id: str, index: int, place: str) -> BaseResponse:
    with reading(engine()) as db:
        session = own_session_or_refuse(db, name)
        if session.public_id != public_id:
            abort(403)
        design = design_of(session.study)
        trial = db.scalar(
            select(Trial)
            .options(
                joinedload(Trial.pair).joinedload(Pair.real_image), joinedload(Trial.pair).joinedload(Pair.fake_image)
            )
            .where(Trial.session_id == session.id, Trial.trial_index == index)
        )
        ahead = next_trials(db, session, TRIALS_AHEAD)
        if ahead and ahead[0].trial_index == 0 and next_step(db, session, design) in steps_before(design):
            abort(404)  # nobody studies the first pictures before the trials begin
        if trial is None or place not in PLACES[design.layout] or (ahead and index > ahead[-1].trial_index):
            abort(404)
        real, fake = trial.pair.real_image.sha256, trial.pair.fake_image.sha256
    is_real = trial.real_side == ("real" if place == "picture" else place)
    wanted, partner = (real, fake) if is_real else (fake, real)
    try:
        data = _pictures().get(wanted, partner)
    except StoreError as error:
        current_app.logger.error("%s", error)
        abort(503)
    # No validators: an ETag or a date of change would follow the file, and the file is real or fake.
    response = Response(data, mimetype="image/png")
    response.headers["Cache-Control"] = "private, max-age=86400, immutable"
    return response
