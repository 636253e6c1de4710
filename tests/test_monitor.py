"""``realism study monitor``: what it counts, what it says may be looked at, and what it says may not."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner
from sqlalchemy import select

import realism
from analysis.sequence import confidence_sequence, latest
from study_app import monitor_cli
from study_app.cli import study as study_group
from study_app.db import reading, writing
from study_app.monitor import watch_study
from study_app.sessions import new_session_id
from study_app.stopping import ABANDONED_AFTER
from study_app.studies import find_study
from study_app.tables import Condition, Pair, Participant, Response, Session, Trial

START = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)


def take_part(workshop, fooled, *, condition="cgan", outcome="completed", origin="human", started_at=None, rt_ms=900):
    """Somebody who was fooled, or not, by as many pairs of the condition as there are in ``fooled``."""
    now, public_id = datetime.now(UTC), new_session_id()
    with writing(workshop.engine) as db:
        study = find_study(db, "spots")
        of_condition = (
            select(Pair.id).join(Condition).where(Condition.study_id == study.id, Condition.name == condition)
        )
        pairs = list(db.scalars(of_condition.order_by(Pair.id)))
        participant = Participant(
            study_id=study.id, public_id=public_id[:16], origin=origin, consent_sha256="", consented_at=START
        )
        session = Session(study_id=study.id, participant=participant, public_id=public_id, seed=1, outcome=outcome)
        session.started_at, session.completed_at = started_at or now, now if outcome else None
        for index, (pair, is_fooled) in enumerate(zip(pairs, fooled, strict=False)):
            trial = Trial(session=session, trial_index=index, kind="main", pair_id=pair, real_side="left")
            times = {"presented_at": START, "answered_at": START}
            trial.response = Response(chosen_side="right" if is_fooled else "left", rt_ms=rt_ms, **times)
            db.add(trial)


def monitor(workshop, *options, name="spots"):
    arguments = ["study", "monitor", name, *options, "--database", workshop.config.database]
    return CliRunner().invoke(realism.cli, arguments, catch_exceptions=False)


def seen(workshop, *options):
    return json.loads(monitor(workshop, "--json", *options).output)


def test_counts_and_intervals_are_those_of_the_complete_that_count(workshop):
    workshop.create_study(analysis={"min_median_rt_ms": 300})
    for share in (1, 2, 3):
        take_part(workshop, [True] * share + [False] * (4 - share))
    take_part(workshop, [True] * 4, rt_ms=100)  # the plan leaves this one out
    take_part(workshop, [True] * 4, outcome="failed_checks")
    take_part(workshop, [True] * 2, outcome=None)
    take_part(workshop, [True] * 2, outcome=None, started_at=datetime.now(UTC) - ABANDONED_AFTER - timedelta(minutes=1))
    for origin in ("simulated", "preview"):
        take_part(workshop, [True] * 4, origin=origin)
    with reading(workshop.engine) as db:
        cgan, wgan = watch_study(db, "spots").conditions
    assert (cgan.complete, cgan.at_work, cgan.excluded, cgan.answers, cgan.fool_rate) == (4, 1, 1, 12, 0.5)
    assert cgan.sequence == latest([0.25, 0.5, 0.75])
    assert cgan.headline.low < 0.5 < cgan.headline.high
    assert (wgan.complete, wgan.at_work, wgan.answers, wgan.fool_rate, wgan.headline) == (0, 0, 0, None, None)
    assert (wgan.sequence.low, wgan.sequence.high) == (0, 1)


def test_json_says_what_is_safe_what_is_not_and_how_far_the_stated_precision_is(sqlite_workshop):
    sqlite_workshop.create_study(stopping={"half_width": 0.2})
    for _ in range(30):
        take_part(sqlite_workshop, [True, False])
    found = seen(sqlite_workshop)
    assert (found["study"], found["state"], found["origin"], found["half_width"]) == ("spots", "open", "human", 0.2)
    cgan, wgan = found["conditions"]
    assert cgan["sequence"]["reached"] is True
    assert cgan["sequence"]["half_width"] == pytest.approx((cgan["sequence"]["high"] - cgan["sequence"]["low"]) / 2)
    assert cgan["headline"]["method"] == "two_way_logit_t"
    assert wgan["sequence"]["reached"] is False
    assert "exactly these pictures" in found["covers"]
    assert "5 %" in found["covers"]
    assert "fixed beforehand" in found["headline_holds"]


def test_table_says_what_it_covers_and_marks_simulated_participants_who_count_only_when_asked_for(sqlite_workshop):
    sqlite_workshop.create_study()
    for fooled in ([True, False, False, False], [True, True, False, False]):
        take_part(sqlite_workshop, fooled)
    take_part(sqlite_workshop, [True] * 4, origin="simulated")
    shown = monitor(sqlite_workshop).output
    said = ("Which spots are real?", "cgan", "37.5 %", "of 8", "2 complete", "safe to look at", "only at the end")
    assert [one for one in said if one not in shown] == []
    assert "exactly these pictures" in " ".join(shown.split())
    assert "SIMULATED" not in shown
    simulated = monitor(sqlite_workshop, "--origin", "simulated").output
    assert "SIMULATED" in simulated
    assert "100.0 %" in simulated


def test_unknown_study_is_named(sqlite_workshop):
    from study_app.studies import StudyError

    with pytest.raises(StudyError, match="there is no study 'roses'"):
        monitor(sqlite_workshop, name="roses")


def test_watching_looks_again_until_it_is_interrupted(sqlite_workshop, monkeypatch):
    """And the sequence takes participants in the order in which they finished."""
    sqlite_workshop.create_study()
    shares = iter((4, 1, 0))
    waited = []

    def wait(seconds):
        waited.append(seconds)
        if len(waited) == 4:
            raise KeyboardInterrupt
        share = next(shares)
        take_part(sqlite_workshop, [True] * share + [False] * (4 - share))

    monkeypatch.setattr(monitor_cli.time, "sleep", wait)
    done = monitor(sqlite_workshop, "--json", "--watch", "7")
    assert done.exit_code == 0
    looks = [json.loads(line)["conditions"][0] for line in done.output.splitlines()]
    assert [look["complete"] for look in looks] == [0, 1, 2, 3]
    low, high = confidence_sequence([1, 0.25, 0])
    assert [(look["sequence"]["low"], look["sequence"]["high"]) for look in looks] == [
        (0, 1),
        *zip(low, high, strict=True),
    ]
    assert waited == [7, 7, 7, 7]


def test_looking_again_after_a_time_that_is_none_is_refused():
    for seconds in ("nan", "inf", "1e18"):
        done = CliRunner().invoke(study_group, ["monitor", "flowers", "--watch", seconds])
        assert done.exit_code == 2
        assert "--watch" in done.output
