"""The pages between consent and trials, and between trials and completion: one step of the road each.

A form that cannot be stored comes back with what was given and what is wrong; any other is stored once, and leads on to
the step that comes next. So does a step that is not next: none can be skipped or done again.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from flask import Blueprint, Response, abort, redirect, render_template, request, url_for
from sqlalchemy import select
from sqlalchemy.orm import Session as DatabaseSession
from werkzeug.wrappers import Response as BaseResponse

from protocol.design import StudyDesign
from protocol.sections import Question
from study_app import screen_check
from study_app.answers import count_correct
from study_app.colour_screening import judged, read_plates, session_plates
from study_app.comprehension import count_wrong, options_in_order, right_option, wrong_answers
from study_app.db import reading, writing
from study_app.plates import render_plate
from study_app.questions import check_answers
from study_app.road import next_step
from study_app.sessions import end_session, record_step
from study_app.stopping import full_quota
from study_app.studies import design_of
from study_app.tables import Session
from study_app.visits import (
    ADDRESS,
    address_of,
    engine,
    own_public_id,
    own_session,
    own_session_or_refuse,
    study_or_404,
)

bp = Blueprint("step_pages", __name__, url_prefix=ADDRESS)

STEP = "/step/<any(questions, screen, colour_vision, instructions, questions_after, debriefing):step>"
BYTES_BESIDE_ANSWERS = 64 * 1024
BYTES_PER_CHARACTER = 9  # of a form: three, each sent as %XX


class Visit(NamedTuple):
    """Somebody at a step of the road."""

    db: DatabaseSession
    session: Session
    design: StudyDesign
    step: str

    def page(self, template: str, **more: Any) -> str:
        # Named, or a browser would take the #fragment of a followed link along to the next page.
        here = url_for("step_pages.show", name=self.design.name, step=self.step)
        return render_template(template, design=self.design, session=self.session, here=here, **more)


@bp.get(STEP)
def show(name: str, step: str) -> BaseResponse | str:
    with reading(engine()) as db:
        return _at_step(db, name, step, lambda visit: PAGES[step](visit))


@bp.post(STEP)
def take(name: str, step: str) -> BaseResponse | str | tuple[str, int]:
    with writing(engine()) as db:
        # Before anything is read: another tab may be doing this step, or what follows it.
        db.execute(select(Session.id).where(Session.public_id == own_public_id(name)).with_for_update())
        return _at_step(db, name, step, _taken)


def _at_step(db: DatabaseSession, name: str, step: str, then: Callable[[Visit], Any]) -> Any:
    session = own_session(db, name)
    if session is None:
        study_or_404(db, name)
        return redirect(url_for("entrance.welcome", name=name, cookies="missing"), code=303)
    design = design_of(session.study)
    if next_step(db, session, design) != step:
        return redirect(address_of(db, session, design), code=303)
    return then(Visit(db, session, design, step))


def _taken(visit: Visit) -> BaseResponse | tuple[str, int]:
    again = FORMS[visit.step](visit)
    if again is not None:
        return again, 422
    return redirect(address_of(visit.db, visit.session, visit.design), code=303)


@bp.get("/plate/<public_id>/<int:index>")
def plate(name: str, public_id: str, index: int) -> BaseResponse:
    with reading(engine()) as db:
        session = own_session_or_refuse(db, name)
        if session.public_id != public_id:
            abort(403)
        section = design_of(session.study).colour_vision
        if section is None or index >= section.plates:
            abort(404)
        plates = session_plates(session.seed, section)
    return Response(render_plate(plates[index]), mimetype="image/png")


# Questions.


def _questions(visit: Visit) -> dict[str, Question]:
    when = "after" if visit.step == "questions_after" else "before"
    return {name: question for name, question in visit.design.questions.items() if question.when == when}


def _show_questions(visit: Visit, **more: Any) -> str:
    return visit.page("step_questions.html", questions=_questions(visit), **{"given": {}, "problems": {}, **more})


def _take_questions(visit: Visit) -> str | None:
    questions = _questions(visit)
    longest = sum(question.max_length for question in questions.values() if question.kind == "text")
    request.max_content_length = BYTES_BESIDE_ANSWERS + BYTES_PER_CHARACTER * longest
    given = request.form.to_dict(flat=False)
    values, problems = check_answers(questions, given)
    if problems:
        return _show_questions(visit, given=given, problems=problems)
    db, session, design, step = visit
    is_first = record_step(db, session, step, values)
    if is_first and step == "questions" and full_quota(db, session, design, dict(values), datetime.now(UTC)):
        end_session(session, design, "full")
    return None


# The screen.


def _show_screen(visit: Visit, **more: Any) -> str:
    return visit.page("step_screen.html", limits=screen_check, **more)


def _take_screen(visit: Visit) -> str | None:
    """The page comes back, and measures again, if the screen does not do."""
    db, session, design, step = visit
    gives_up = "give_up" in request.form
    try:
        measured = screen_check.read_measured(request.form.get("measured", ""))
    except screen_check.ScreenError:
        kept, is_enough = {}, False
    else:
        kept, is_enough = measured.model_dump(exclude_none=True), not screen_check.lacks(measured, design.screen)
    if gives_up:
        if record_step(db, session, step, {**kept, "gave_up": True}):
            end_session(session, design, "screened_out")
        return None
    if not is_enough:
        return _show_screen(visit, is_refused=True)
    if design.screen.calibration and "calibrated" in request.form:
        kept |= screen_check.read_px_per_mm(request.form.get("px_per_mm", ""))
    record_step(db, session, step, kept)
    return None


# Colour vision.


def _show_plates(visit: Visit, **more: Any) -> str:
    return visit.page("step_colour_vision.html", **{"answers": {}, "nothing": {}, "missing": [], **more})


def _take_plates(visit: Visit) -> str | None:
    db, session, design, step = visit
    section = design.colour_vision
    assert section is not None
    answers, missing = read_plates(request.form.to_dict(flat=False), section.plates)
    if missing:
        return _show_plates(visit, answers=answers, nothing=request.form, missing=missing)
    data = judged(session_plates(session.seed, section), answers, section)
    if record_step(db, session, step, data) and section.exclude and not data["passed"]:
        end_session(session, design, "screened_out")
    return None


# Instructions.


def _show_instructions(visit: Visit, **more: Any) -> str:
    return visit.page(
        "step_instructions.html",
        options=options_in_order(visit.design, visit.session.seed),
        wrong=wrong_answers(visit.db, visit.session),
        **more,
    )


def _take_instructions(visit: Visit) -> str | None:
    db, session, design, step = visit
    if not design.instructions.comprehension:
        record_step(db, session, step, {})
        return None
    choice = request.form.get("choice")
    if choice == right_option(design):
        record_step(db, session, step, {"attempts": wrong_answers(db, session) + 1})
    elif choice in options_in_order(design, session.seed):
        wrong = count_wrong(db, session, request.form.get("attempt", ""))
        if wrong >= (design.instructions.max_attempts or wrong + 1):
            end_session(session, design, "failed_checks")
    else:
        return _show_instructions(visit, is_missing=True)
    return None


# Debriefing.


def _show_debriefing(visit: Visit) -> str:
    return visit.page("step_debriefing.html", score=count_correct(visit.db, visit.session, "main"))


def _take_debriefing(visit: Visit) -> None:
    record_step(visit.db, visit.session, visit.step, {})


PAGES: dict[str, Callable[[Visit], str]] = {
    "questions": _show_questions,
    "screen": _show_screen,
    "colour_vision": _show_plates,
    "instructions": _show_instructions,
    "questions_after": _show_questions,
    "debriefing": _show_debriefing,
}
# What a form gives is stored, or the page is returned that says why it cannot be.
FORMS: dict[str, Callable[[Visit], str | None]] = {
    "questions": _take_questions,
    "screen": _take_screen,
    "colour_vision": _take_plates,
    "instructions": _take_instructions,
    "questions_after": _take_questions,
    "debriefing": _take_debriefing,
}
