"""The last page: thanks, the completion code and the way back, or kind words for who was sent away beforehand."""

from flask import Blueprint, redirect, render_template, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response as BaseResponse

from protocol.design import StudyDesign
from study_app.db import reading
from study_app.recruitment import way_on
from study_app.road import DONE, next_step
from study_app.sessions import Arrival
from study_app.studies import design_of
from study_app.visits import ADDRESS, address_of, engine, own_session, study_or_404

bp = Blueprint("ending", __name__, url_prefix=ADDRESS)

LEAVES_AFTER_S = 10


@bp.get("/done")
def done(name: str) -> BaseResponse | str:
    with reading(engine()) as db:
        study = study_or_404(db, name)
        session = own_session(db, name)
        if session is None:
            return redirect(url_for("entrance.welcome", name=name))
        design = design_of(study)
        if next_step(db, session, design) != DONE:
            return redirect(address_of(db, session, design))
        person = session.participant
    arrival = Arrival(person.recruitment_id, person.recruitment or {})
    assert session.outcome is not None
    way = way_on(design, session.outcome, session.completion_code, arrival)
    return render_template(
        "done.html",
        design=design,
        session=session,
        way=way,
        seconds=LEAVES_AFTER_S,
        hint=None if way or session.completion_code else how_to_return(design),
    )


def how_to_return(design: StudyDesign) -> str | None:
    """What somebody does at the service that sent them and who cannot complete the study."""
    if design.recruitment.source == "prolific":
        return _("On Prolific, please return the study.")
    if design.recruitment.source == "mturk":
        return _("On Mechanical Turk, please return the task.")
    return None
