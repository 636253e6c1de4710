"""A study in the database in, the counts behind its fool rates out; the database counts, and no trial leaves it.

What counts is what the report counts: answered main trials of the sessions that the plan does not exclude, of people or of
simulated participants, never of previews.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Double, bindparam, case, cast, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.orm import Session as DatabaseSession

from protocol.design import StudyDesign
from protocol.responses import SIDES
from study_app.tables import Condition, Pair, Participant, Response, Session, Step, Study, Trial

if TYPE_CHECKING:
    from analysis.margins import Margins

_FOOLED = case((Response.chosen_side != Trial.real_side, 1), else_=0)
_N_AND_FOOLED = (func.count(Response.id).label("n"), func.sum(_FOOLED).label("fooled"))


def counted_sessions(
    db: DatabaseSession, study: Study, design: StudyDesign, origin: str = "human", *, completed: bool = False
) -> list[int]:
    """The ids of the sessions that the plan does not exclude, as ``analysis.exclusions`` finds them.

    ``completed``: only of those that are complete and valid, in the order in which they ended.
    """
    sessions = (
        select(Session.id)
        .join(Participant, Session.participant_id == Participant.id)
        .where(Session.study_id == study.id, Participant.origin == origin)
        .order_by(Session.completed_at, Session.id)
    )
    if completed:
        sessions = sessions.where(Session.outcome == "completed")
    return _sound(db, design, list(db.scalars(sessions)))


def count_margins(db: DatabaseSession, sessions: Sequence[int]) -> dict[str, "Margins"]:
    """The counts of every condition that these sessions answered, in the study's order.

    Participants come in the order in which they finished.
    """
    from analysis.margins import Margins  # here: the survey server imports this module, and has no use for scipy

    which = _among(Session.id, sessions)
    counts = _weighted(db, which)
    people = _by_condition(db.execute(_per_participant(which, counts)))
    pictures = _by_condition(db.execute(_per_pair(which, counts)))
    return {
        condition: Margins(
            *_columns(people[condition]),
            *_columns(pictures[condition]),
            int(n_cells),
            float(nn),
            float(nk),
            float(kk),
        )
        for condition, n_cells, nn, nk, kk in db.execute(_cell_sums(which, counts))
    }


def session_means(db: DatabaseSession, design: StudyDesign, sessions: Sequence[int]) -> dict[int, dict[str, float]]:
    """Each session's share of fooled answers in each condition that it has answers of; none for those the plan excludes."""
    found: dict[int, dict[str, float]] = {session: {} for session in sessions}
    rows = _answers(_among(Session.id, _sound(db, design, sessions)))
    rows = rows.add_columns(Session.id, Condition.name, *_N_AND_FOOLED).group_by(Session.id, Condition.name)
    for session, condition, n, fooled in db.execute(rows):
        found[session][condition] = int(fooled) / n
    return found


def _sound(db: DatabaseSession, design: StudyDesign, sessions: Sequence[int]) -> list[int]:
    """Those of the sessions that no criterion of the plan excludes."""
    failed: set[int] = {session for failing in _failing(sessions, design) for session in db.scalars(failing)}
    return [session for session in sessions if session not in failed]


def _among(column: ColumnElement[int] | InstrumentedAttribute[int], sessions: Sequence[int]) -> ColumnElement[bool]:
    # Spelled out in the statement: databases take a limited number of parameters, and ids are numbers of ours.
    return column.in_(bindparam(None, list(sessions), expanding=True, literal_execute=True))


def _answers(which: ColumnElement[bool]) -> Any:
    """Session, participant, trial, answer, pair and condition of the main trials answered in these sessions."""
    return (
        select()
        .select_from(Session)
        .join(Participant, Session.participant_id == Participant.id)
        .join(Trial, Trial.session_id == Session.id)
        .join(Response, Response.trial_id == Trial.id)
        .join(Pair, Trial.pair_id == Pair.id)
        .join(Condition, Pair.condition_id == Condition.id)
        .where(which, Trial.kind == "main")
    )


def _weighted(db: DatabaseSession, which: ColumnElement[bool]) -> tuple[Any, Any]:
    """How trials, and fooled ones, are summed: weighing as ``analysis.margins.kind_weights`` where one picture was shown."""
    from analysis.margins import kind_weights

    kinds = _answers(which).add_columns(Condition.id, Trial.real_side, func.count(Response.id))
    shown: dict[int, dict[str, int]] = {}
    for condition, side, n in db.execute(kinds.group_by(Condition.id, Trial.real_side)):
        shown.setdefault(condition, {})[side] = n
    weights = []
    for condition, of in shown.items():
        of_fake, of_real = kind_weights(of.get("fake", 0), of.get("real", 0))
        if of_fake != of_real:
            weights += [((Condition.id == condition) & (Trial.real_side == "fake"), of_fake)]
            weights += [((Condition.id == condition) & (Trial.real_side == "real"), of_real)]
    if not weights:
        return _N_AND_FOOLED
    weight = cast(case(*weights, else_=1.0), Double)
    return func.sum(weight).label("n"), func.sum(weight * _FOOLED).label("fooled")


def _per_participant(which: ColumnElement[bool], counts: tuple[Any, Any]) -> Any:
    return (
        _answers(which)
        .add_columns(Condition.name, Participant.public_id, *counts)
        .group_by(Condition.position, Condition.name, Participant.id, Participant.public_id)
        .order_by(Condition.position, func.max(Session.completed_at), Participant.id)
    )


def _per_pair(which: ColumnElement[bool], counts: tuple[Any, Any]) -> Any:
    return (
        _answers(which)
        .add_columns(Condition.name, Pair.pair, *counts)
        .group_by(Condition.position, Condition.name, Pair.id, Pair.pair)
        .order_by(Condition.position, Pair.id)
    )


def _cell_sums(which: ColumnElement[bool], counts: tuple[Any, Any]) -> Any:
    """Per condition: how many cells, participant and pair; and over them the sums of n², n·fooled and fooled²."""
    cell = (
        _answers(which)
        .add_columns(Condition.position, Condition.name, *counts)
        .group_by(Condition.position, Condition.name, Participant.id, Pair.id)
        .subquery()
    )
    n, fooled = cell.c.n, cell.c.fooled
    sums = func.sum(n * n), func.sum(n * fooled), func.sum(fooled * fooled)
    return select(cell.c.name, func.count(), *sums).group_by(cell.c.position, cell.c.name).order_by(cell.c.position)


def _by_condition(rows: Any) -> dict[str, list[tuple[str, float, float]]]:
    found: dict[str, list[tuple[str, float, float]]] = {}
    for condition, label, n, fooled in rows:
        found.setdefault(condition, []).append((label, float(n), float(fooled)))
    return found


def _columns(rows: list[tuple[str, float, float]]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    labels, n, fooled = zip(*rows, strict=True)
    return np.array(labels, dtype=object), np.array(n, dtype=float), np.array(fooled, dtype=float)


def _max_missed(design: StudyDesign) -> int | None:
    """How many catch trials a session may miss: as the plan says, else as the section [catch] does."""
    if design.analysis.max_catch_missed is not None:
        return design.analysis.max_catch_missed
    return design.catch.max_missed if design.catch else None


def _failing(sessions: Sequence[int], design: StudyDesign) -> Iterator[Any]:
    """The ids of the sessions that fail the plan: by counts, by the median response time, by the plates."""
    plan, n = design.analysis, _counts_of_sessions(sessions).subquery().c
    failed = []
    if plan.exclude_unfinished:
        failed += [n.answered < n.shown, n.answered < design.trials.main]
    if plan.max_one_side is not None:
        first = _share(n.first, n.answered)
        failed.append(case((first >= 0.5, first), else_=1 - first) > plan.max_one_side)
    if plan.max_focus_lost is not None:
        failed.append(_share(n.focus_lost, n.focus_known) > plan.max_focus_lost)
    if plan.max_late is not None:
        failed.append(_share(n.late, n.late_known) > plan.max_late)
    if (allowed := _max_missed(design)) is not None:
        failed.append(n.missed > allowed)
    if failed:
        yield select(n.session_id).where(or_(*failed))
    if plan.min_median_rt_ms is not None:
        yield _faster_than(sessions, plan.min_median_rt_ms)
    if plan.exclude_colour_vision:
        not_passed = Step.data["passed"].as_boolean().is_(False)
        yield select(Step.session_id).where(_among(Step.session_id, sessions), Step.name == "colour_vision", not_passed)


def _counts_of_sessions(sessions: Sequence[int]) -> Any:
    """Per session: main trials shown; answered, of these "first" (left, real), with the focus lost, with late frames, and of
    how many these are known; catch trials missed.
    """
    main, answered = Trial.kind == "main", Response.id.is_not(None)
    counts = {
        "shown": main,
        "answered": main & answered,
        "first": main & Response.chosen_side.in_([first for first, _ in SIDES]),
        "focus_lost": main & Response.focus_lost,
        "focus_known": main & Response.focus_lost.is_not(None),
        "late": main & (Response.late_frames > 0),
        "late_known": main & Response.late_frames.is_not(None),
        "missed": (Trial.kind == "catch") & (Response.chosen_side != Trial.real_side),
    }
    return (
        select(Trial.session_id, *(func.count(case((which, 1))).label(name) for name, which in counts.items()))
        .outerjoin(Response, Response.trial_id == Trial.id)
        .where(_among(Trial.session_id, sessions))
        .group_by(Trial.session_id)
    )


def _share(part: ColumnElement[int], whole: ColumnElement[int]) -> ColumnElement[Any]:
    """NULL, which fails no criterion, where there is nothing to share."""
    return cast(part, Double) / cast(func.nullif(whole, 0), Double)


def _faster_than(sessions: Sequence[int], median_rt_ms: float) -> Any:
    """Sessions whose median response time is below this; the median is the mean of the one or two in the middle."""
    ranked = (
        select(
            Trial.session_id,
            Response.rt_ms,
            func.row_number().over(partition_by=Trial.session_id, order_by=Response.rt_ms).label("rank"),
            func.count().over(partition_by=Trial.session_id).label("n"),
        )
        .join(Response, Response.trial_id == Trial.id)
        .where(_among(Trial.session_id, sessions), Trial.kind == "main")
        .subquery()
        .c
    )
    return (
        select(ranked.session_id)
        .where((2 * ranked.rank).between(ranked.n, ranked.n + 2))
        .group_by(ranked.session_id)
        .having(cast(func.avg(ranked.rt_ms), Double) < median_rt_ms)
    )
