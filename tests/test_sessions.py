"""Sessions and answers, on SQLite and on PostgreSQL, from the schema that the migrations make."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select

from study_app.db import reading, writing
from study_app.sessions import (
    Answer,
    OutOfTurnError,
    StudyClosedError,
    find_session,
    new_session_id,
    next_trials,
    record_response,
    side_taken_for_real,
    start_session,
)
from study_app.studies import close_study, find_study, study_progress
from study_app.tables import Participant, Response, Session, Trial


@pytest.fixture
def study_id(workshop):
    name = workshop.create_study()
    with reading(workshop.engine) as db:
        return find_study(db, name).id


def begin(workshop, study_id, origin="human"):
    with writing(workshop.engine) as db:
        return start_session(db, study_id, origin, new_session_id()).public_id


def respond(workshop, public_id, index, side="left", question="real", rt_ms=500):
    with writing(workshop.engine) as db:
        answer = Answer(trial_index=index, response=side, rt_ms=rt_ms, elapsed_ms=rt_ms)
        return record_response(db, find_session(db, public_id), answer, question)[1].chosen_side


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
    with pytest.raises(OutOfTurnError, match="trial 3 was answered before trial 0"):
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
        assert next_trials(db, row, 2) == []


def test_answer_is_stored_as_the_side_taken_for_real(workshop, study_id):
    session = begin(workshop, study_id)
    assert respond(workshop, session, 0, "left", question="fake") == "right"
    assert respond(workshop, session, 1, "left", question="real") == "left"
    assert [side_taken_for_real(side, "fake") for side in ("left", "right")] == ["right", "left"]


def test_times_are_reckoned_back_from_the_server_clock(workshop, study_id):
    session = begin(workshop, study_id)
    with writing(workshop.engine) as db:
        answer = Answer(trial_index=0, response="left", rt_ms=800, elapsed_ms=60_000)
        record_response(db, find_session(db, session), answer, "real")
    with reading(workshop.engine) as db:
        response = db.scalars(select(Response)).one()
        started = find_session(db, session).started_at
    assert (response.answered_at - response.presented_at).total_seconds() == pytest.approx(0.8)
    assert -60 < (response.presented_at - started).total_seconds() < -40
    assert response.answered_at.utcoffset().total_seconds() == 0


def test_closed_study_takes_nobody_but_lets_those_at_work_finish(workshop, study_id):
    session = begin(workshop, study_id)
    assert close_study(workshop.engine, "spots")
    assert not close_study(workshop.engine, "spots")
    with pytest.raises(StudyClosedError, match="'spots' takes no more participants"):
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
