"""The road that a participant goes: a session and what it has done so far in, the step that comes next out."""

from sqlalchemy import select
from sqlalchemy.orm import Session as DatabaseSession

from protocol.design import StudyDesign
from study_app.sessions import done_steps
from study_app.tables import Response, Session, Trial

TRIALS = "trials"
DONE = "done"


def steps_before(design: StudyDesign) -> list[str]:
    """The steps between consent and the first trial that this study has, in order."""
    steps = []
    if any(question.when == "before" for question in design.questions.values()):
        steps.append("questions")
    if design.screen.check:
        steps.append("screen")
    if design.colour_vision is not None:
        steps.append("colour_vision")
    return [*steps, "instructions"]


def steps_after(design: StudyDesign) -> list[str]:
    """The steps between the last trial and the completion that this study has, in order."""
    steps = []
    if any(question.when == "after" for question in design.questions.values()):
        steps.append("questions_after")
    if design.debriefing.text is not None or design.debriefing.show_score:
        steps.append("debriefing")
    return steps


def next_step(db: DatabaseSession, session: Session, design: StudyDesign) -> str:
    """The first step that is not done, ``trials``, or ``done``. Who has begun the trials goes on with them."""
    if session.outcome is not None and session.completed_at is None:  # sent away beforehand
        return DONE
    done = done_steps(db, session)
    if session.completed_at is not None:
        return next((step for step in steps_after(design) if step not in done), DONE)
    first = next((step for step in steps_before(design) if step not in done), TRIALS)
    return TRIALS if first != TRIALS and _has_begun(db, session) else first


def _has_begun(db: DatabaseSession, session: Session) -> bool:
    answered = select(Response.id).join(Trial).where(Trial.session_id == session.id).limit(1)
    return db.scalar(answered) is not None
