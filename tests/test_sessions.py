"""Sessions and answers, on SQLite and on PostgreSQL, from the schema that the migrations make."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from protocol.design import parse_design
from study_app.answers import Answer, OutOfTurnError, record_response, side_taken_for_real
from study_app.db import reading, reading_by_core, writing, writing_by_core
from study_app.sessions import (
    Arrival,
    StudyClosedError,
    TookPartError,
    done_steps,
    find_session,
    new_session_id,
    record_step,
    start_session,
)
from study_app.studies import close_study, find_study, study_progress
from study_app.tables import Participant, Response, Session, Trial
from study_app.turns import find_turn, find_unanswered


@pytest.fixture
def study_id(workshop):
    name = workshop.create_study(question="real")
    with reading(workshop.engine) as db:
        return find_study(db, name).id


def begin(workshop, study_id, origin="human"):
    with writing(workshop.engine) as db:
        return start_session(db, study_id, origin, new_session_id()).public_id


def respond(workshop, public_id, index, side="left", rt_ms=500, elapsed_ms=500):
    with writing_by_core(workshop.engine) as connection:
        turn = find_turn(connection, "spots", public_id, index - 1, index + 1)
        answer = Answer(trial_index=index, response=side, rt_ms=rt_ms, elapsed_ms=elapsed_ms)
        return record_response(connection, turn, answer).trials[index].chosen_side


def count(workshop, table):
    with reading(workshop.engine) as db:
        return db.scalar(select(func.count()).select_from(table))


def test_consent_stores_participant_session_and_all_trials_at_once(workshop, study_id):
    begin(workshop, study_id)
    assert [count(workshop, table) for table in (Participant, Session, Trial, Response)] == [1, 1, 10, 0]


def test_consent_form_sent_many_times_begins_one_session(workshop, study_id):
    public_id = new_session_id()

    def begin_again(_):
        with writing(workshop.engine) as db:
            return start_session(db, study_id, "human", public_id).id

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(begin_again, range(8)))) == 1
    assert [count(workshop, table) for table in (Participant, Session, Trial)] == [1, 1, 10]


def test_second_click_keeps_first_response(workshop, study_id):
    session = begin(workshop, study_id)
    assert respond(workshop, session, 0, "left") == "left"
    assert respond(workshop, session, 0, "right") == "left"
    assert count(workshop, Response) == 1


def test_many_clicks_at_once_keep_one_response(workshop, study_id):
    session = begin(workshop, study_id)
    with ThreadPoolExecutor(8) as pool:
        sides = list(pool.map(lambda i: respond(workshop, session, 0, "left" if i % 2 else "right"), range(16)))
    assert len(set(sides)) == 1
    assert count(workshop, Response) == 1


def test_answer_to_a_later_trial_is_refused(workshop, study_id):
    session = begin(workshop, study_id)
    with pytest.raises(OutOfTurnError, match="trial 3 was answered before trial 2"):
        respond(workshop, session, 3)
    with pytest.raises(OutOfTurnError, match="there is no trial 99"):
        respond(workshop, session, 99)
    assert count(workshop, Response) == 0


def test_code_comes_with_the_last_answer_and_not_before(workshop, study_id):
    session = begin(workshop, study_id)
    for index in range(10):
        with reading(workshop.engine) as db:
            row = find_session(db, session)
            assert (row.completed_at, row.completion_code) == (None, None)
        respond(workshop, session, index)
    with reading(workshop.engine) as db:
        row = find_session(db, session)
        assert row.completed_at is not None
        assert len(row.completion_code) == 10
    with reading_by_core(workshop.engine) as connection:
        assert find_unanswered(connection, "spots", session) is None


@pytest.mark.parametrize(
    ("differing", "clicked", "stored"),
    [
        ({"question": "fake"}, "left", "right"),
        ({"question": "real"}, "left", "left"),
        ({"question": "fake", "presentation": "sequential"}, "second", "first"),
        ({"question": "fake", "task": "yes_no"}, "real", "real"),  # of one picture people say what it is
    ],
)
def test_answer_is_stored_as_the_side_taken_for_real(differing, clicked, stored):
    design = parse_design({"title": "t", "conditions": {"cgan": "x"}, **differing}, "study.toml")
    assert side_taken_for_real(clicked, design) == stored


def test_times_are_reckoned_back_from_the_server_clock(workshop, study_id):
    session, now = begin(workshop, study_id), datetime.now(UTC)
    with writing(workshop.engine) as db:
        find_session(db, session).started_at = now - timedelta(hours=1)
    for index, elapsed_ms in enumerate((60_000, 10 * 3_600_000)):  # the second by a clock that was set
        respond(workshop, session, index, rt_ms=800, elapsed_ms=elapsed_ms)
    with reading(workshop.engine) as db:
        responses = db.scalars(select(Response).order_by(Response.id)).all()
        started = find_session(db, session).started_at
    for response in responses:
        assert (response.answered_at - response.presented_at).total_seconds() == pytest.approx(0.8)
        assert response.answered_at.utcoffset().total_seconds() == 0
    assert -60 <= (responses[0].presented_at - now).total_seconds() < -40
    assert responses[1].presented_at == started  # no answer is from before the session


def test_closed_study_takes_nobody_but_lets_those_at_work_finish(workshop, study_id):
    session = begin(workshop, study_id)
    assert close_study(workshop.engine, "spots")
    assert not close_study(workshop.engine, "spots")
    with pytest.raises(StudyClosedError, match="'spots' takes no more participants: it is closed"):
        begin(workshop, study_id)
    for index in range(10):
        respond(workshop, session, index)
    with reading(workshop.engine) as db:
        assert find_session(db, session).completion_code


def test_simultaneous_starts_use_the_pairs_evenly(workshop, study_id):
    with ThreadPoolExecutor(8) as pool:
        sessions = list(pool.map(lambda _: begin(workshop, study_id), range(24)))
    assert len(set(sessions)) == 24
    with reading(workshop.engine) as db:
        uses = db.execute(select(Trial.pair_id, func.count()).where(Trial.kind == "main").group_by(Trial.pair_id)).all()
    counts = [n for _, n in uses]
    assert len(counts) == 48
    assert sum(counts) == 24 * 8
    assert max(counts) - min(counts) <= 2


def test_simulated_sessions_do_not_count_as_uses_for_people(workshop, study_id):
    def main_pairs(session):
        with reading(workshop.engine) as db:
            trials = db.scalars(select(Trial).join(Session).where(Session.public_id == session, Trial.kind == "main"))
            return {trial.pair_id for trial in trials}

    simulated = [begin(workshop, study_id, "simulated") for _ in range(6)]
    assert len(set.union(*map(main_pairs, simulated))) > 40
    first, second = begin(workshop, study_id), begin(workshop, study_id)
    assert not main_pairs(first) & main_pairs(second)
    with reading(workshop.engine) as db:
        progress = study_progress(db, find_study(db, "spots"))
    assert progress.started == {"simulated": 6, "human": 2}
    assert progress.completed == {"simulated": 0, "human": 0}


def answer_all(workshop, public_id, side=lambda trial: trial.real_side, indices=None):
    """Answer trials in turn; ``side`` gives the side taken for real, and None of them asks for the fake."""
    with reading(workshop.engine) as db:
        trials = db.scalars(
            select(Trial).join(Session).where(Session.public_id == public_id).order_by(Trial.trial_index)
        ).all()
    for trial in trials if indices is None else trials[:indices]:
        respond(workshop, public_id, trial.trial_index, side(trial))
    with reading(workshop.engine) as db:
        return find_session(db, public_id)


def wrong(trial):
    return "left" if trial.real_side == "right" else "right"


def find_id(workshop, name):
    with reading(workshop.engine) as db:
        return find_study(db, name).id


def test_who_fails_the_qualification_is_sent_away_before_the_main_trials(workshop):
    name = workshop.create_study(question="real", qualification={"min_correct": 0.65})
    failed, passed = begin(workshop, find_id(workshop, name)), begin(workshop, find_id(workshop, name))
    row = answer_all(workshop, failed, wrong, 2)
    assert (row.outcome, row.completed_at, row.completion_code) == ("screened_out", None, None)
    with pytest.raises(OutOfTurnError, match="the session has ended: screened_out"):
        respond(workshop, failed, 2)
    assert respond(workshop, failed, 0, "left") in ("left", "right")  # sent again, it is acknowledged again
    assert answer_all(workshop, passed).outcome == "completed"


def test_who_misses_too_many_catch_trials_is_complete_and_fails_the_checks(workshop):
    name = workshop.create_study(
        question="real",
        catch={"pairset": "wgan", "max_missed": 1},
        conditions={"cgan": "cgan"},
        trials={"practice": 2, "main": 8, "catch": 2},
        recruitment={"source": "prolific", "completed": "GOOD", "failed_checks": "MISSED"},
    )

    def misses(n):
        left = [n]

        def side(trial):
            if trial.kind != "catch" or not left[0]:
                return trial.real_side
            left[0] -= 1
            return wrong(trial)

        return side

    found = {}
    for n in (1, 2):
        row = answer_all(workshop, begin(workshop, find_id(workshop, name)), misses(n))
        assert row.completed_at is not None
        found[n] = (row.outcome, row.completion_code)
    assert found == {1: ("completed", "GOOD"), 2: ("failed_checks", "MISSED")}


def test_only_valid_and_running_sessions_use_pairs_up(workshop):
    """Of the sessions before, those that failed the checks leave their pairs to others."""
    name = workshop.create_study(
        question="real",
        catch={"pairset": "wgan", "max_missed": 0},
        conditions={"cgan": "cgan"},
        trials={"practice": 0, "main": 8, "catch": 1},
    )

    def main_pairs(public_id):
        with reading(workshop.engine) as db:
            trials = db.scalars(select(Trial).join(Session).where(Session.public_id == public_id, Trial.kind == "main"))
            return {trial.pair_id for trial in trials}

    used = set()
    for _ in range(2):
        session = begin(workshop, find_id(workshop, name))
        assert answer_all(workshop, session).outcome == "completed"
        assert not used & main_pairs(session)
        used |= main_pairs(session)
    failed = begin(workshop, find_id(workshop, name))
    assert answer_all(workshop, failed, wrong).outcome == "failed_checks"
    assert main_pairs(begin(workshop, find_id(workshop, name))) & main_pairs(failed)
    # 24 pairs: the two valid sessions hold 16; who came after the failed one got the 8 others, as that one had.
    assert not main_pairs(failed) & used


def test_one_recruitment_id_takes_part_once_however_many_come_at_once(workshop, study_id):
    def arrive(_):
        try:
            with writing(workshop.engine) as db:
                arrival = Arrival("5f3a", {"STUDY_ID": "s"})
                start_session(db, study_id, "human", new_session_id(), arrival=arrival)
        except TookPartError:
            return "told"
        return "begun"

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(arrive, range(8))) == ["begun"] + ["told"] * 7
    with reading(workshop.engine) as db:
        assert db.scalars(select(Participant.recruitment)).all() == [{"STUDY_ID": "s"}]


def test_step_given_twice_keeps_the_first(workshop, study_id):
    session = begin(workshop, study_id)
    for value in (1, 2):
        with writing(workshop.engine) as db:
            assert record_step(db, find_session(db, session), "questions", {"age": value}) is (value == 1)
    with reading(workshop.engine) as db:
        assert done_steps(db, find_session(db, session)) == {"questions": {"age": 1}}
