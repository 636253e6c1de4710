"""When a study takes nobody any more: by hand, by time, by number; told before consent, and what counts towards it."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner
from conftest import SECRET
from sqlalchemy import func, select
from visitors import SHORT, agree, answer_all, fields_of, title_of

import realism
from protocol.design import DesignError, parse_design
from study_app import stopping
from study_app.db import reading, writing
from study_app.entrance import preview_tokens, simulation_tokens
from study_app.sessions import end_session, find_session, new_session_id, record_step, start_session
from study_app.stopping import ABANDONED_AFTER, full_quota, why_not_open
from study_app.studies import close_study, design_of, find_study
from study_app.tables import Participant, Response, Session, Trial

HAND = {"hand": {"kind": "single", "label": "Which hand?", "options": ["left", "right"]}}


def begin(workshop, origin="human"):
    with writing(workshop.engine) as db:
        return start_session(db, find_study(db, "spots").id, origin, new_session_id()).public_id


def end(workshop, public_id, outcome):
    with writing(workshop.engine) as db:
        session = find_session(db, public_id)
        end_session(session, design_of(session.study), outcome)


def finish(workshop, public_id, rt_ms=900):
    """Every answer right, and the session complete."""
    now = datetime.now(UTC)
    with writing(workshop.engine) as db:
        session = find_session(db, public_id)
        for trial in db.scalars(select(Trial).where(Trial.session_id == session.id)):
            db.add(
                Response(trial_id=trial.id, chosen_side=trial.real_side, rt_ms=rt_ms, presented_at=now, answered_at=now)
            )
        session.completed_at = now
        end_session(session, design_of(session.study), "completed")


def reason(workshop, now=None):
    with reading(workshop.engine) as db:
        study = find_study(db, "spots")
        return why_not_open(db, study, design_of(study), now or datetime.now(UTC))


def state(workshop):
    where = ["--database", workshop.config.database, "--instance", str(workshop.config.instance)]
    done = CliRunner().invoke(realism.cli, ["study", "show", "spots", "--json", *where], catch_exceptions=False)
    return json.loads(done.output)["state"]


def close(workshop):
    close_study(workshop.engine, "spots")


def pass_time(workshop):
    """As if the study's last moment had been in 2020."""
    with writing(workshop.engine) as db:
        study = find_study(db, "spots")
        study.design = {**study.design, "stopping": {**study.design["stopping"], "until": "2020-01-01T00:00:00Z"}}
        study.design_sha256 = "another"


@pytest.mark.parametrize(
    ("stopping", "stop", "title", "named"),
    [
        ({}, close, "This study is closed", "closed"),
        ({"until": "2999-01-01T00:00:00Z"}, pass_time, "This study has ended", "ended"),
        ({"participants": 1}, begin, "This study is full", "full"),
    ],
)
def test_study_that_takes_nobody_says_so_before_consent_and_when_consent_comes_too_late(
    sqlite_workshop, stopping, stop, title, named
):
    sqlite_workshop.create_study(trials=SHORT, stopping=stopping)
    late = sqlite_workshop.client()
    action, ticket = fields_of(late.get("/study/spots/").text)
    assert state(sqlite_workshop) == "open"
    stop(sqlite_workshop)
    page = sqlite_workshop.client().get("/study/spots/").text
    assert title_of(page) == title
    assert "consent" not in page
    with reading(sqlite_workshop.engine) as db:
        before = db.scalar(select(func.count(Session.id)))
    assert title_of(late.post(action, data={"ticket": ticket}, follow_redirects=True).text) == title
    with reading(sqlite_workshop.engine) as db:
        assert db.scalar(select(func.count(Session.id))) == before
    assert state(sqlite_workshop) == named


def test_who_has_begun_may_finish_a_study_that_is_closed(sqlite_workshop):
    sqlite_workshop.create_study(trials=SHORT)
    client = sqlite_workshop.client()
    agree(client)
    close(sqlite_workshop)
    answer_all(client)
    assert 'id="code"' in client.get("/study/spots/", follow_redirects=True).text


def test_participants_are_those_complete_and_valid_or_under_way(workshop):
    workshop.create_study(trials=SHORT, stopping={"participants": 2})
    completed, turned_away = begin(workshop), begin(workshop)
    assert reason(workshop) == "full"
    end(workshop, completed, "completed")
    assert reason(workshop) == "full"
    for outcome in ("screened_out", "failed_checks", "full"):
        end(workshop, turned_away, outcome)
        assert reason(workshop) is None
    begin(workshop)
    assert reason(workshop) == "full"
    later = datetime.now(UTC) + ABANDONED_AFTER + timedelta(minutes=1)
    assert reason(workshop, later) is None  # the second has left without a word; the completed one stays


def test_simulated_and_preview_sessions_take_no_place(workshop):
    workshop.create_study(trials=SHORT, stopping={"participants": 1})
    for origin in ("simulated", "preview", "simulated", "preview"):
        begin(workshop, origin)
    assert reason(workshop) is None
    begin(workshop)
    assert reason(workshop) == "full"


@pytest.mark.parametrize("query", ["simulated", "preview"])
def test_signed_links_take_no_place_either(sqlite_workshop, query):
    sqlite_workshop.create_study(trials=SHORT, stopping={"participants": 1})
    tokens = {"simulated": simulation_tokens, "preview": preview_tokens}[query](SECRET)
    client = sqlite_workshop.client()
    agree(client, f"?{query}={tokens.dumps('spots')}")
    answer_all(client)
    with reading(sqlite_workshop.engine) as db:
        assert db.execute(select(Participant.origin, Session.outcome).join(Session)).all() == [(query, "completed")]
    assert reason(sqlite_workshop) is None


def test_quota_is_full_when_enough_others_gave_the_same_answer(workshop):
    quotas = [{"question": "hand", "answer": "left", "participants": 2}]
    workshop.create_study(trials=SHORT, questions=HAND, stopping={"quotas": quotas})

    def tell(hand, origin="human"):
        public_id = begin(workshop, origin)
        with writing(workshop.engine) as db:
            session = find_session(db, public_id)
            record_step(db, session, "questions", {"hand": hand})
            now = datetime.now(UTC)
            return public_id, full_quota(db, session, design_of(session.study), {"hand": hand}, now)

    assert [tell("right")[1] for _ in range(3)] == [False] * 3  # nobody counts those
    assert [tell("left", origin)[1] for origin in ("simulated", "preview")] == [False, False]
    (first, full), (second, also_full) = tell("left"), tell("left")
    assert not full
    assert not also_full
    third, full = tell("left")
    assert full
    end(workshop, third, "full")
    assert not tell("left", "preview")[1]  # walks on, full or not
    end(workshop, second, "failed_checks")
    fourth, full = tell("left")
    assert not full  # the place of who failed is free
    assert tell("left")[1]
    assert len({first, second, third, fourth}) == 4


def test_study_with_a_place_and_time_left_is_open(sqlite_workshop):
    sqlite_workshop.create_study(
        trials=SHORT, stopping={"participants": 2, "until": datetime.now(UTC) + timedelta(days=1)}
    )
    begin(sqlite_workshop)
    assert "I agree" in sqlite_workshop.client().get("/study/spots/").text
    assert state(sqlite_workshop) == "open"


def test_study_takes_nobody_more_once_every_condition_is_precise_enough(workshop):
    # Nobody was fooled: after five such participants the upper bound is 2(40^(1/5) - 1)/(2 · 40^(1/5) - 1) = .686, after four .752.
    workshop.create_study(
        trials=SHORT,
        assignment={"conditions": "between"},
        stopping={"half_width": 0.35},
        analysis={"min_median_rt_ms": 300},
    )
    for origin in ("simulated", "preview") * 3:
        finish(workshop, begin(workshop, origin))
    people = [begin(workshop) for _ in range(10)]  # five in each condition, in turn
    for public_id in people[:-1]:
        finish(workshop, public_id)
        assert reason(workshop) is None
    for outcome in ("failed_checks", "screened_out"):
        end(workshop, begin(workshop), outcome)
    assert reason(workshop) is None
    finish(workshop, people[-1])
    assert reason(workshop) == "full"


def test_sessions_that_the_plan_leaves_out_bring_no_precision(sqlite_workshop):
    sqlite_workshop.create_study(trials=SHORT, stopping={"half_width": 0.35}, analysis={"min_median_rt_ms": 300})
    for _ in range(5):
        finish(sqlite_workshop, begin(sqlite_workshop), rt_ms=100)
    assert reason(sqlite_workshop) is None
    for _ in range(5):
        assert reason(sqlite_workshop) is None
        finish(sqlite_workshop, begin(sqlite_workshop))
    assert reason(sqlite_workshop) == "full"


def test_only_sessions_newly_complete_are_counted_for_the_precision(sqlite_workshop, monkeypatch):
    sqlite_workshop.create_study(trials=SHORT, stopping={"half_width": 0.35})
    counted = []
    count = stopping.session_means

    def watched(db, design, sessions):
        counted.append(len(sessions))
        return count(db, design, sessions)

    monkeypatch.setattr(stopping, "session_means", watched)
    for _ in range(3):
        finish(sqlite_workshop, begin(sqlite_workshop))
    for _ in range(2):
        assert reason(sqlite_workshop) is None
    finish(sqlite_workshop, begin(sqlite_workshop))
    assert reason(sqlite_workshop) is None
    assert counted == [1, 1, 1, 1]  # each session once, by whoever looks next


@pytest.mark.parametrize("half_width", [0, 0.001, 0.5, -0.1])
def test_precision_that_cannot_be_wanted_is_refused(half_width):
    raw = {"title": "t", "conditions": {"a": "a"}, "stopping": {"half_width": half_width}}
    with pytest.raises(DesignError, match=r"study.toml: stopping.half_width: .*0\.(005|5)"):
        parse_design(raw, "study.toml")
