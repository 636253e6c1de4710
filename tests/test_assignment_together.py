"""A hundred people who begin at the same moment, on SQLite and on PostgreSQL: all get trials, and pairs stay evenly used."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from pictures import copy_pictures
from sqlalchemy import select

from study_app.db import reading, writing
from study_app.sessions import new_session_id, start_session
from study_app.studies import find_study
from study_app.tables import Condition, Pair, Session, Trial

PEOPLE = 100


def begin_together(workshop, name):
    """(session, kind, condition, pair) of every trial, after all have begun at once."""
    with reading(workshop.engine) as db:
        study_id = find_study(db, name).id
    together = Barrier(PEOPLE)

    def begin(_):
        together.wait(timeout=60)
        with writing(workshop.engine) as db:
            start_session(db, study_id, "human", new_session_id())

    with ThreadPoolExecutor(PEOPLE) as pool:
        list(pool.map(begin, range(PEOPLE)))
    columns = (Trial.session_id, Trial.kind, Condition.name, Trial.pair_id)
    with reading(workshop.engine) as db:
        rows = select(*columns).join(Pair, Trial.pair_id == Pair.id).join(Condition, Pair.condition_id == Condition.id)
        return db.execute(rows.join(Session, Trial.session_id == Session.id).where(Session.study_id == study_id)).all()


@pytest.mark.parametrize("assignment", ["within", "between"])
def test_hundred_who_begin_at_once_leave_the_pairs_evenly_used(workshop, assignment):
    copy_pictures(workshop.folder / "easy", "easy", strength=0)
    trials = {"practice": 2, "main": 8, "catch": 2, "repeat": 2, "blocks": 2}
    name = workshop.create_study(trials=trials, catch={"pairset": "easy"}, assignment={"conditions": assignment})
    rows = begin_together(workshop, name)

    trials.pop("blocks")
    each = Counter((session, kind) for session, kind, _, _ in rows)
    sessions = {session for session, *_ in rows}
    assert len(sessions) == PEOPLE
    assert each == {(session, kind): n for session in sessions for kind, n in trials.items()}

    main = [(session, condition, pair) for session, kind, condition, pair in rows if kind == "main"]
    uses = Counter(pair for _, _, pair in main)
    assert len(uses) == 48
    assert max(uses.values()) - min(uses.values()) <= 2

    people = Counter(condition for _, condition in {(session, condition) for session, condition, _ in main})
    per_condition = PEOPLE if assignment == "within" else PEOPLE // 2
    assert people == {"cgan": per_condition, "wgan": per_condition}
