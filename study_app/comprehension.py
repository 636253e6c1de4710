"""The question after the instructions: a design and a session's seed in, its options in order out; wrong answers, counted."""

from datetime import UTC, datetime

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session as DatabaseSession

from protocol.design import StudyDesign
from study_app.tables import Session, Step

# What one might be asked to do, by the study's task; the first two of "2afc" are the words of design.question.
OPTIONS = {"2afc": ("real", "fake", "nicer"), "yes_no": ("kind", "liking", "content")}
SEED_OF_ORDER = 2  # beside the session's seed: other random numbers than the trials'
# The Step that counts wrong answers. It is no step of the road, so it ends nothing.
COUNT = "comprehension"


def options_in_order(design: StudyDesign, session_seed: int) -> list[str]:
    options = OPTIONS[design.task]
    return [options[i] for i in np.random.default_rng([session_seed, SEED_OF_ORDER]).permutation(len(options))]


def right_option(design: StudyDesign) -> str:
    return design.question if design.task == "2afc" else "kind"


def wrong_answers(db: DatabaseSession, session: Session) -> int:
    """How many wrong answers were given so far."""
    return _count(db, session)[1]


def count_wrong(db: DatabaseSession, session: Session, attempt: str) -> int:
    """Count a wrong answer, and return how many there are; ``attempt`` is the number of wrong ones before, as its form has it.

    The same form sent twice is one answer.
    """
    db.execute(select(Session.id).where(Session.id == session.id).with_for_update())
    step, n = _count(db, session)
    if attempt != str(n):
        return n
    if step is None:
        step = Step(session_id=session.id, name=COUNT)
        db.add(step)
    step.data, step.done_at = {"wrong": n + 1}, datetime.now(UTC)
    db.flush()
    return n + 1


def _count(db: DatabaseSession, session: Session) -> tuple[Step | None, int]:
    step = db.scalar(select(Step).where(Step.session_id == session.id, Step.name == COUNT))
    return step, 0 if step is None else step.data["wrong"]
