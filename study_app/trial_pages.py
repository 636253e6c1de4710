"""The trials one by one and their pictures.

The browser learns of a trial only its index, its exposure and the addresses of its pictures, which say where each is shown.
Which of them is the real one stays here until the answer is stored, and is then told in practice trials only.
"""

from datetime import UTC, datetime
from typing import Any, Literal

from flask import Blueprint, abort, current_app, redirect, render_template, request, url_for
from flask_babel import gettext as _
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import Connection
from sqlalchemy.orm import Session as DatabaseSession
from werkzeug.wrappers import Response as BaseResponse

from protocol.design import StudyDesign
from study_app.answers import MEASURED, Answer, OutOfTurnError, record_response
from study_app.db import reading, reading_by_core, writing_by_core
from study_app.delivery import Delivery
from study_app.road import TRIALS, next_step
from study_app.stopping import is_over
from study_app.store import StoreError
from study_app.studies import design_of
from study_app.tables import PREVIEW, Session
from study_app.turns import (
    TRIALS_AHEAD,
    Standing,
    TrialAtHand,
    Turn,
    find_pictures,
    find_turn,
    find_unanswered,
    turn_around,
)
from study_app.visits import ADDRESS, address_of, engine, message, own_public_id_or_refuse, own_session, study_or_404

bp = Blueprint("trial_pages", __name__, url_prefix=ADDRESS)

# Where a picture is shown, by the layout of a trial; of one picture the address must not say what it is.
PLACES = {"side_by_side": ("left", "right"), "sequential": ("first", "second"), "single": ("picture",)}
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
        if session.participant.origin != PREVIEW and is_over(study.closed_at, design, datetime.now(UTC)):
            return message(_("This study is closed"), _("What you answered is stored. Thank you for taking part."))
        return render_template("survey.html", design=design, session=session, places=PLACES[design.layout])


@bp.get("/next")
def next_trial(name: str) -> dict[str, Any]:
    public_id = own_public_id_or_refuse(name)
    with reading_by_core(engine()) as connection:
        index = find_unanswered(connection, name, public_id)
        turn = find_turn(connection, name, public_id, (index or 0) - 1, (index or 0) + TRIALS_AHEAD) or abort(403)
        if index == 0 and _step_before(connection, turn.standing):
            return {"done": True}
    return _whats_next(turn, index)


@bp.post("/answer")
def answer(name: str) -> dict[str, Any] | tuple[dict[str, Any], int]:
    try:
        body = AnswerBody.model_validate_json(request.get_data())
    except ValidationError as error:
        wrong = error.errors()[0]
        return {"error": f"{'.'.join(map(str, wrong['loc'])) or 'answer'}: {wrong['msg']}"}, 400
    index = body.trial_index
    given = Answer(
        trial_index=index,
        response=body.response,
        rt_ms=body.rt,
        elapsed_ms=max(body.elapsed_ms, body.rt),
        measured={column: getattr(body, column) for column in MEASURED},
    )
    public_id = own_public_id_or_refuse(name)
    # Found before the turn to write has come: others wait for that, and for as little as can be.
    with reading_by_core(engine()) as connection:
        turn = find_turn(connection, name, public_id, index - 1, index + TRIALS_AHEAD) or abort(403)
        design = turn.standing.design
        if body.response not in design.sides:
            return {"error": f"response: {body.response} is no answer here; {' or '.join(design.sides)} is"}, 400
        if index == 0 and _step_before(connection, turn.standing):
            # Over it may be by this very answer, sent twice at once: as found now, it is answered.
            turn = turn_around(connection, turn.standing, index)
            if turn.trials[0].chosen_side is None:
                return {"error": "a step before the trials is not done; reload the page"}, 409
    try:
        with writing_by_core(engine()) as connection:
            turn = record_response(connection, turn, given)
            trial = turn.trials[index]
            following = turn.trials.get(index + 1)
            next_index = index + 1 if following is not None else None
            if following is not None and following.chosen_side is not None:  # the answer came long ago
                next_index = find_unanswered(connection, name, public_id)
                if next_index is not None:
                    turn = turn_around(connection, turn.standing, next_index)
    except OutOfTurnError:
        return {"error": f"trial {index} is not the next one; reload the page"}, 409
    # Only here, after the commit, is the answer acknowledged.
    return {
        "stored": True,
        "trial_index": index,
        "feedback": _feedback(trial, design),
        "next": _whats_next(turn, next_index),
    }


def _step_before(connection: Connection, standing: Standing) -> str | None:
    """What a session has to do before its trials, be it over; None once they may begin."""
    with DatabaseSession(connection) as db:
        step = next_step(db, db.get_one(Session, standing.session_id), standing.design)
    return step if step != TRIALS else None


def _feedback(trial: TrialAtHand, design: StudyDesign) -> dict[str, Any] | None:
    if trial.kind != "practice" or not design.trials.feedback:
        return None
    return {"correct": trial.chosen_side == trial.real_side, "real": trial.real_side}


def _whats_next(turn: Turn, index: int | None) -> dict[str, Any]:
    """The next trial and the progress, without anything that tells real from fake, or main from catch and repeat.

    ``rest``: a new block begins with the trial.
    """
    design = turn.standing.design
    standing = turn.standing
    if index is None or standing.outcome is not None or standing.is_over:
        return {"done": True}
    ahead = [turn.trials[i] for i in range(index, index + TRIALS_AHEAD) if i in turn.trials]
    before = turn.trials.get(index - 1)
    described = [
        {
            "trial_index": trial.trial_index,
            "practice": trial.kind == "practice",
            "exposure_ms": trial.exposure_ms,
            "pictures": _picture_addresses(turn.standing, trial.trial_index),
        }
        for trial in ahead
    ]
    return {
        "done": False,
        "progress": {"answered": index, "total": design.n_trials, "practice": design.trials.practice},
        "rest": before is not None and ahead[0].block not in (0, before.block),
        "trial": described[0],
        "upcoming": described[1:],
    }


def _picture_addresses(standing: Standing, index: int) -> dict[str, str]:
    """Where the pictures of a trial are shown, and their addresses. Written out: ``url_for`` takes longer than the rest."""
    beginning = f"{request.root_path.rstrip('/')}/study/{standing.design.name}/picture/{standing.public_id}/{index}"
    return {place: f"{beginning}/{place}" for place in PLACES[standing.design.layout]}


@bp.get("/picture/<public_id>/<int(max=1000000):index>/<any(left, right, first, second, picture):place>")
def picture(name: str, public_id: str, index: int, place: str) -> BaseResponse:
    """A picture is to be had by its own session alone, once its trial is at hand, until the session or the study is over."""
    if own_public_id_or_refuse(name) != public_id:
        abort(403)
    with reading_by_core(engine()) as connection:
        found = find_pictures(connection, name, public_id, index)
        if found is None or place not in PLACES[found.standing.design.layout]:
            abort(404)
        standing = found.standing
        # Nobody studies the first pictures before the trials begin.
        begun = found.is_begun if index >= TRIALS_AHEAD else not _step_before(connection, standing)
    if not begun or standing.outcome is not None or standing.is_over:
        abort(404)
    is_real = found.real_side == ("real" if place == "picture" else place)
    wanted, partner = (found.real, found.fake) if is_real else (found.fake, found.real)
    delivery = current_app.extensions["pictures"]
    assert isinstance(delivery, Delivery)
    try:
        return delivery.respond(wanted, partner)
    except StoreError as error:
        current_app.logger.error("%s", error)
        abort(503)
