"""Answers to trials: what the browser sends in, one committed row each, and what follows from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session as DatabaseSession

from protocol.design import StudyDesign
from study_app.sessions import end_session
from study_app.staircase import set_exposure
from study_app.tables import Response, Session, Trial
from study_app.turns import Standing, TrialAtHand, Turn, turn_around

# Columns of ``tables.Response`` that the browser measures, each as far as it can.
MEASURED = (
    "exposure_measured_ms",
    "exposure_second_measured_ms",
    "late_frames",
    "frame_interval_ms",
    "picture_width_px",
    "focus_lost",
    "presentations",
    "input_method",
)
_KEEP_FIRST = {
    "sqlite": sqlite.insert(Response)
    .on_conflict_do_nothing(index_elements=["trial_id"])
    .returning(Response.chosen_side),
    "postgresql": postgresql.insert(Response)
    .on_conflict_do_nothing(index_elements=["trial_id"])
    .returning(Response.chosen_side),
}


class OutOfTurnError(Exception):
    """An answer to a trial that does not exist, or that comes after one still unanswered."""


@dataclass(frozen=True)
class Answer:
    """What the browser sends. Times in milliseconds; ``elapsed_ms`` runs from onset to the moment of sending.

    ``measured`` holds some of MEASURED.
    """

    trial_index: int
    response: str
    rt_ms: int
    elapsed_ms: float
    measured: Mapping[str, Any] = field(default_factory=dict)


def record_response(connection: Connection, turn: Turn, answer: Answer) -> Turn:
    """Store the answer to a trial, unless it has one: the first counts. The turn as it stands then.

    ``turn`` must hold the trial, the one before it and the one after it, as found just before. What follows from
    the answer is stored in the same transaction: the next exposure of a staircase, the end of a session that fails the
    qualification, and with the last answer the session's outcome and code.

    No lock is needed: a trial is next if the one before it is answered, which stays true, and of two answers that arrive
    together the table keeps one.

    Raises:
        OutOfTurnError: if the session has no such trial, is over, or an earlier trial is unanswered.
    """
    standing, design = turn.standing, turn.standing.design
    trial = turn.trials.get(answer.trial_index)
    if trial is None:
        raise OutOfTurnError(f"there is no trial {answer.trial_index}")
    if trial.chosen_side is not None:
        return turn
    if standing.outcome is not None:
        raise OutOfTurnError(f"the session has ended: {standing.outcome}")
    before = turn.trials.get(trial.trial_index - 1)
    if before is not None and before.chosen_side is None:
        raise OutOfTurnError(f"trial {trial.trial_index} was answered before trial {before.trial_index}")
    now = datetime.now(UTC)
    # Onset by the server's clock, reckoned back: the browser's clock may be wrong, and sending may have been delayed.
    # Not before the session: after a reload only the device's date knows how long ago onset was.
    presented_at = max(now - timedelta(milliseconds=answer.elapsed_ms), standing.started_at)
    row = {
        "trial_id": trial.trial_id,
        "chosen_side": side_taken_for_real(answer.response, design),
        "rt_ms": answer.rt_ms,
        "presented_at": presented_at,
        "answered_at": presented_at + timedelta(milliseconds=answer.rt_ms),
        **dict.fromkeys(MEASURED),
        **answer.measured,
    }
    stored = connection.scalar(_KEEP_FIRST[connection.dialect.name], row)
    if stored is None:  # another request was quicker
        return turn_around(connection, standing, trial.trial_index)
    following = turn.trials.get(trial.trial_index + 1)
    if _leads_on(trial, following, design):
        trials = {**turn.trials, trial.trial_index: replace(trial, chosen_side=stored)}
        return Turn(standing, trials)
    with DatabaseSession(connection, join_transaction_mode="rollback_only") as db:
        _end_or_adapt(db, standing, trial, following)
        db.flush()
    return turn_around(connection, standing, trial.trial_index)


def _leads_on(trial: TrialAtHand, following: TrialAtHand | None, design: StudyDesign) -> bool:
    """Whether the next trial simply comes."""
    return following is not None and design.staircase is None and not _ends_practice(trial, following)


def _ends_practice(trial: TrialAtHand, following: TrialAtHand) -> bool:
    return trial.kind == "practice" and following.kind != "practice"


def _end_or_adapt(db: DatabaseSession, standing: Standing, trial: TrialAtHand, following: TrialAtHand | None) -> None:
    design = standing.design
    session = db.get_one(Session, standing.session_id)
    if following is None:
        session.completed_at = max(datetime.now(UTC), session.started_at)  # the clock may have been set
        end_session(session, design, "failed_checks" if _missed_too_many(db, session, design) else "completed")
    elif _ends_practice(trial, following) and not _is_qualified(db, session, design):
        end_session(session, design, "screened_out")
    elif design.staircase is not None:
        set_exposure(db, design.staircase, db.get_one(Trial, following.trial_id))


def count_correct(db: DatabaseSession, session: Session, kind: str) -> tuple[int, int]:
    """How many trials of a kind were answered correctly, of how many answered."""
    answers = db.execute(
        select(Trial.real_side, Response.chosen_side)
        .join(Response)
        .where(Trial.session_id == session.id, Trial.kind == kind)
    ).all()
    return sum(real == chosen for real, chosen in answers), len(answers)


def _missed_too_many(db: DatabaseSession, session: Session, design: StudyDesign) -> bool:
    if design.catch is None or design.catch.max_missed is None:
        return False
    correct, answered = count_correct(db, session, "catch")
    return answered - correct > design.catch.max_missed


def _is_qualified(db: DatabaseSession, session: Session, design: StudyDesign) -> bool:
    if design.qualification is None:
        return True
    correct, answered = count_correct(db, session, "practice")
    return correct >= design.qualification.min_correct * answered


def side_taken_for_real(clicked: str, design: StudyDesign) -> str:
    """Who is asked for the fake and clicks left takes the right one for real; of one picture people say what it is."""
    if design.question == "real" or design.task == "yes_no":
        return clicked
    first, second = design.sides
    return second if clicked == first else first
