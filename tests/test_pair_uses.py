"""How often pairs were shown: what is added up once must equal what a count over all trials finds, whatever happened."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from study_app.db import reading, writing
from study_app.pair_uses import available_pairs
from study_app.sessions import end_session, new_session_id, start_session
from study_app.stopping import ABANDONED_AFTER, counts_or_may
from study_app.studies import design_of, find_study
from study_app.tables import Participant, Session, Trial


def counted_anew(db, study, origin, now):
    """Uses by pair, from all trials."""
    rows = db.execute(
        select(Trial.pair_id, func.count())
        .join(Session, Trial.session_id == Session.id)
        .join(Participant, Session.participant_id == Participant.id)
        .where(Session.study_id == study.id, Participant.origin == origin, Trial.kind.in_(("main", "catch")))
        .where(counts_or_may(now - ABANDONED_AFTER))
        .group_by(Trial.pair_id)
    )
    return dict(rows.all())


def test_uses_added_up_are_those_of_all_trials_whoever_ends_how_and_whenever(workshop):
    name = workshop.create_study(trials={"practice": 1, "main": 4})
    chance, now = random.Random(3), datetime.now(UTC)
    sessions = []
    for _ in range(14):
        with writing(workshop.engine) as db:
            study = find_study(db, name)
            origin = chance.choice(["human", "human", "simulated"])
            sessions.append(start_session(db, study.id, origin, new_session_id()).id)
        with writing(workshop.engine) as db:
            session = db.get_one(Session, chance.choice(sessions))
            fate = chance.choice(["completed", "completed", "failed_checks", "abandoned", None])
            if fate == "abandoned":
                session.started_at = now - timedelta(hours=3)
            elif fate is not None and session.outcome is None:
                session.completed_at = now
                end_session(session, design_of(session.study), fate)
        for origin in ("human", "simulated"):
            with writing(workshop.engine) as db:
                study = find_study(db, name)
                expected = counted_anew(db, study, origin, now)
                found = {
                    pair.pair_id: pair.uses
                    for pair in available_pairs(db.connection(), study.id, origin, now)
                    if pair.uses
                }
                assert found == expected
    with reading(workshop.engine) as db:
        by_outcome = db.execute(select(Session.counted, Session.outcome == "completed").distinct()).all()
    assert set(by_outcome) >= {(True, True)}
    assert (True, False) not in by_outcome


@pytest.mark.parametrize("n", [3, 5])
def test_each_session_is_added_up_once_however_many_there_are_at_once(sqlite_workshop, monkeypatch, n):
    monkeypatch.setattr("study_app.pair_uses.SESSIONS_AT_ONCE", 2)
    name, now = sqlite_workshop.create_study(trials={"practice": 1, "main": 4}), datetime.now(UTC)
    with writing(sqlite_workshop.engine) as db:
        study = find_study(db, name)
        for _ in range(n):
            session = start_session(db, study.id, "human", new_session_id())
            end_session(session, design_of(study), "completed")
    for _ in range(2):
        with writing(sqlite_workshop.engine) as db:
            uses = [pair.uses for pair in available_pairs(db.connection(), find_study(db, name).id, "human", now)]
        assert sum(uses) == 4 * n
