"""How long the next picture of an adaptive study stays: the exposure just answered and the answer in, milliseconds out."""

from sqlalchemy import select
from sqlalchemy.orm import Session as DatabaseSession

from protocol.sections import Staircase
from study_app.tables import Pair, Response, Trial


def next_exposure_ms(staircase: Staircase, exposure_ms: int, *, correct: bool) -> int:
    """Down after a correct answer, up after a wrong one (weighted up-down, Kaernbach 1991).

    With 10 ms down and 30 ms up it settles where three answers in four are correct.
    """
    stepped = exposure_ms - staircase.down_ms if correct else exposure_ms + staircase.up_ms
    return min(max(stepped, staircase.min_ms), staircase.max_ms)


def set_exposure(db: DatabaseSession, staircase: Staircase, trial: Trial) -> None:
    """Give the trial that comes next its exposure; call it in the transaction that stores the answer before it.

    Each block and condition has a staircase of its own, which begins at ``start_ms`` and which only main trials move.
    Other trials are shown for as long as the main trial before them.
    """
    if trial.kind == "practice":
        return
    before = (
        select(Trial.exposure_ms, Trial.real_side, Response.chosen_side)
        .join(Response)
        .join(Pair, Trial.pair_id == Pair.id)
        .where(
            Trial.session_id == trial.session_id,
            Trial.kind == "main",
            Trial.block == trial.block,
            Trial.trial_index < trial.trial_index,
        )
        .order_by(Trial.trial_index.desc())
        .limit(1)
    )
    if trial.kind == "main":
        before = before.where(
            Pair.condition_id == select(Pair.condition_id).where(Pair.id == trial.pair_id).scalar_subquery()
        )
    last = db.execute(before).one_or_none()
    if last is None:
        trial.exposure_ms = staircase.start_ms
    elif trial.kind == "main":
        trial.exposure_ms = next_exposure_ms(staircase, last.exposure_ms, correct=last.chosen_side == last.real_side)
    else:
        trial.exposure_ms = last.exposure_ms
