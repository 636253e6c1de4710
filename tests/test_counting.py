"""The database counts what the analysis counts: the same trials, the same exclusions, the same numbers."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import select, update

from analysis.exclusions import find_exclusions, keep_counted
from analysis.fool_rate import counted_trials
from analysis.margins import margins_of
from analysis.reading.source import read_source
from study_app.counting import count_margins, counted_sessions, session_means
from study_app.db import reading, writing
from study_app.export import export_study
from study_app.sessions import new_session_id
from study_app.studies import design_of, find_study
from study_app.tables import Condition, Pair, Participant, Response, Session, Step, Trial

PLATES = {"plates": 6, "min_correct": 5}
CATCH = {"pairset": "wgan", "max_missed": 1}
START = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
CRITERIA = {
    "none": {},
    "exclude_unfinished": {"exclude_unfinished": True},
    "min_median_rt_ms": {"min_median_rt_ms": 700},
    "max_one_side": {"max_one_side": 0.7},
    "max_catch_missed": {"max_catch_missed": 0},
    "exclude_colour_vision": {"exclude_colour_vision": True},
    "max_focus_lost": {"max_focus_lost": 0.25},
    "max_late": {"max_late": 0.25},
    "all": {
        "exclude_unfinished": True,
        "min_median_rt_ms": 600,
        "max_one_side": 0.8,
        "max_catch_missed": 1,
        "exclude_colour_vision": True,
        "max_focus_lost": 0.5,
        "max_late": 0.5,
    },
}


def sitting(rng, study, pairs, minute, origin="human"):
    """Everything of somebody who is one-sided, quick, distracted and slow at drawing, each to a degree of their own."""
    ended = rng.random() < 0.8
    outcome = str(rng.choice(["completed", "completed", "completed", "failed_checks"])) if ended else None
    public_id = new_session_id()
    participant = Participant(
        study_id=study.id, public_id=public_id[:16], origin=origin, consent_sha256="", consented_at=START
    )
    session = Session(
        study_id=study.id,
        participant=participant,
        public_id=public_id,
        seed=1,
        started_at=START,
        completed_at=START + timedelta(minutes=int(minute)) if ended else None,
        outcome=outcome,
    )
    left, away, late, rt_ms = rng.beta(2, 2), rng.beta(1, 4), rng.beta(1, 4), rng.integers(400, 1200)
    knows = rng.random() < 0.8  # not every browser tells
    for index in range(11):
        kind = "practice" if index == 0 else "catch" if index in (4, 8) else "main"
        trial = Trial(
            session=session,
            trial_index=index,
            kind=kind,
            pair_id=int(rng.choice(pairs[kind == "catch"])),  # now and then one that they have seen
            real_side=str(rng.choice(["left", "right"])),
        )
        if ended or index < 7:
            trial.response = Response(
                chosen_side="left" if rng.random() < left else "right",
                rt_ms=int(rt_ms + rng.integers(-200, 200)),
                focus_lost=bool(rng.random() < away) if knows else None,
                late_frames=int(rng.random() < late) if knows else None,
                presented_at=START,
                answered_at=START,
            )
        yield trial


def fill(workshop, n=30, **design):
    """A study with the sessions of many people, who finish in another order than they began, and of some others."""
    trials = {"practice": 1, "main": 8, "catch": 2}
    name = workshop.create_study(trials=trials, catch=CATCH, colour_vision=PLATES, **design)
    rng = np.random.default_rng(6)
    with writing(workshop.engine) as db:
        study = find_study(db, name)
        found = select(Pair.id).join(Condition).where(Condition.study_id == study.id).order_by(Pair.id)
        pairs = [list(db.scalars(found.where(Condition.role == role)))[:30] for role in ("condition", "catch")]
        people = [("human", minute) for minute in rng.permutation(n)]
        others = [(origin, minute) for origin in ("simulated", "preview") for minute in range(6)]
        for origin, minute in people + others:
            db.add_all(sitting(rng, study, pairs, minute, origin))
        db.flush()
        for session in db.scalars(select(Session)):
            passed = {"correct": 5, "passed": bool(rng.random() < 0.8)}
            db.add(Step(session_id=session.id, name="colour_vision", data=passed, done_at=START))
    return name


def with_plan(design, plan):
    return design.model_copy(update={"analysis": design.analysis.model_copy(update=plan)})


def exported(workshop, name, folder):
    export_study(workshop.engine, workshop.config.store, name, folder, images=False)
    sessions = pd.read_csv(folder / "sessions.csv", dtype=str)
    return read_source(folder).table, sessions


def analysed(table, sessions, design, origin, *, completed):
    """The margins of every condition by the analysis of the exported answers."""
    table = table[(table["origin"] == origin) & ((table["outcome"] == "completed") | (not completed))]
    found = find_exclusions(table, design.analysis, design.trials.main, design.catch.max_missed, sessions)
    trials = counted_trials(keep_counted(table, found))
    return {str(name): margins_of(rows) for name, rows in trials.groupby("condition", observed=True)}


def in_numbers(margins):
    """A condition's margins, whatever the order of participants and pairs."""
    return (
        {
            who: both
            for who, *both in zip(margins.participants, margins.participant_n, margins.participant_fooled, strict=True)
        },
        {pair: both for pair, *both in zip(margins.pairs, margins.pair_n, margins.pair_fooled, strict=True)},
        (margins.n_cells, margins.cell_nn, margins.cell_nk, margins.cell_kk),
    )


def test_database_counts_what_the_analysis_of_the_export_counts_whatever_the_plan_excludes(workshop, tmp_path):
    name = fill(workshop)
    table, sessions = exported(workshop, name, tmp_path / "export")
    counted = {}
    with reading(workshop.engine) as db:
        study = find_study(db, name)
        for criterion, plan in CRITERIA.items():
            design = with_plan(design_of(study), plan)
            others = [("human", True), ("simulated", False)] if criterion in ("none", "all") else []
            for origin, completed in [("human", False), *others]:
                expected = analysed(table, sessions, design, origin, completed=completed)
                found = count_margins(db, counted_sessions(db, study, design, origin, completed=completed))
                where = f"{criterion}, {origin}, completed only: {completed}"
                assert found.keys() == expected.keys(), where
                for condition, margins in found.items():
                    assert in_numbers(margins) == in_numbers(expected[condition]), where
                counted[criterion, origin, completed] = sum(margins.n for margins in found.values())
    everybody = counted["none", "human", False]
    assert all(0 < counted[one, "human", False] < everybody for one in CRITERIA if one != "none")  # each one bites


def test_pictures_one_at_a_time_weigh_in_the_database_as_in_the_analysis(workshop, tmp_path):
    name = fill(workshop)
    words = {"left": "real", "right": "fake"}
    with writing(workshop.engine) as db:
        for column in (Trial.real_side, Response.chosen_side):
            for side, word in words.items():
                db.execute(update(column.class_).where(column == side).values({column.key: word}))
        some = select(Trial.id).where(Trial.real_side == "fake", Trial.trial_index % 3 == 0)
        db.execute(update(Trial).where(Trial.id.in_(some)).values(real_side="real"))  # more photographs than fakes
    table, sessions = exported(workshop, name, tmp_path / "export")
    with reading(workshop.engine) as db:
        study = find_study(db, name)
        design = design_of(study)
        found = count_margins(db, counted_sessions(db, study, design))
    for condition, margins in analysed(table, sessions, design, "human", completed=False).items():
        assert found[condition].rate == pytest.approx(margins.rate, abs=1e-12)
        assert found[condition].headline().low == pytest.approx(margins.headline().low, abs=1e-12)
        trials = counted_trials(table[(table["condition"] == condition) & (table["origin"] == "human")])
        assert margins.rate != pytest.approx(trials["fooled"].mean(), abs=1e-6)  # the weights do something


def test_participants_come_in_the_order_in_which_they_finished(workshop):
    name = fill(workshop, n=12)
    with reading(workshop.engine) as db:
        study = find_study(db, name)
        design = design_of(study)
        ended = select(Session).where(Session.outcome == "completed").order_by(Session.completed_at)
        people = {one.id: one.participant.public_id for one in db.scalars(ended) if one.participant.origin == "human"}
        sessions = counted_sessions(db, study, design, completed=True)
        margins = count_margins(db, sessions)
        means = session_means(db, design, list(people))
    assert 2 < len(sessions) < len(people)
    assert sessions == [session for session in people if session in sessions]
    assert {session for session, found in means.items() if found} == set(sessions)
    for condition in ("cgan", "wgan"):
        own = [session for session in sessions if condition in means[session]]
        assert list(margins[condition].participants) == [people[session] for session in own]
        expected = margins[condition].participant_fooled / margins[condition].participant_n
        assert [means[session][condition] for session in own] == pytest.approx(expected)


def test_without_answers_there_are_no_counts_and_no_means(sqlite_workshop):
    name = sqlite_workshop.create_study()
    with reading(sqlite_workshop.engine) as db:
        study = find_study(db, name)
        sessions = counted_sessions(db, study, design_of(study))
        assert (sessions, count_margins(db, sessions), session_means(db, design_of(study), sessions)) == ([], {}, {})
