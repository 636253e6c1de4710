"""Checking a database: a sound one is found sound, and each thing that must hold is found where it does not."""

import json
import shutil
from unittest.mock import ANY

import pytest
from commands import call
from conftest import Workshop
from sqlalchemy import select, text
from visitors import PROLIFIC, SHORT, agree, answer_all, make

from study_app.checking import check
from study_app.db import open_engine, reading, writing
from study_app.tables import Image


@pytest.fixture
def answered(workshop):
    take_part(workshop)
    return workshop


def take_part(workshop):
    """A study with one participant who is done, one at the second trial, and one at the beginning."""
    make(workshop, "link")
    done, begun, fresh = (workshop.client() for _ in range(3))
    for client in (done, begun, fresh):
        agree(client)
    answer_all(done)
    begun.post("/study/spots/step/instructions")
    body = {"trial_index": 0, "response": "left", "rt": 700, "elapsed_ms": 700}
    assert begun.post("/study/spots/answer", json=body).json["stored"] is True


def wrong(workshop, store=None):
    """What is wrong: how many, and the first of them."""
    return {found.what: (found.count, found.first) for found in check(workshop.engine, store) if not found.ok}


def change(workshop, *statements):
    with writing(workshop.engine) as db:
        if workshop.engine.dialect.name == "sqlite":
            db.execute(text("PRAGMA ignore_check_constraints = ON"))
        for statement in statements:
            db.execute(text(statement))


def test_sound_database_is_found_sound(answered):
    found = check(answered.engine, answered.config.store)
    assert [one for one in found if not one.ok] == []
    assert len(found) == 18
    if answered.engine.dialect.name == "postgresql":
        assert any("server's checksums, which are o" in one.note for one in found)


# Each: what is done to the database, and what is found.
FAULTS = {
    "an answer was lost": (
        ["DELETE FROM responses WHERE trial_id = (SELECT id FROM trials WHERE session_id = 1 AND trial_index = 0)"],
        {
            "no answer comes before the one before it (sessions)": (1, ("1",)),
            "a session is complete when every trial is answered, and only then": (1, ("1",)),
        },
    ),
    "a trial is missing": (
        ["DELETE FROM trials WHERE session_id = 3 AND trial_index = 0"],
        {
            "every session has the trials of its design": (1, ("3",)),
            "trials are numbered 0 to n - 1 (sessions)": (1, ("3",)),
        },
    ),
    "the trials are all gone": (
        ["DELETE FROM trials WHERE session_id = 3"],
        {"every session has the trials of its design": (1, ("3",))},
    ),
    "a session is complete that is not": (
        ["UPDATE sessions SET completed_at = started_at, completion_code = 'X' WHERE id = 2"],
        {
            "a session is complete when every trial is answered, and only then": (1, ("2",)),
            "a session that is complete has an outcome": (1, ("2",)),
        },
    ),
    "a code was not given": (
        ["UPDATE sessions SET completion_code = NULL WHERE id = 1"],
        {"who is owed a code has one (sessions)": (1, ("1",))},
    ),
    "uses of a pair were added up twice": (
        [
            "UPDATE sessions SET counted = true WHERE id = 1",
            "INSERT INTO pair_uses (pair_id, origin, uses) SELECT pair_id, 'human', count(*) FROM trials "
            "WHERE session_id = 1 AND kind IN ('main', 'catch') GROUP BY pair_id",
            "UPDATE pair_uses SET uses = 2 * uses WHERE pair_id = (SELECT max(pair_id) FROM pair_uses)",
        ],
        {"uses of pairs are as the counted sessions showed them (pairs)": (1, ANY)},
    ),
    "a participant came twice": (
        ["UPDATE sessions SET participant_id = 1 WHERE id = 2"],
        {"every participant has a session": (1, ("2",)), "every participant has one session": (1, ("1",))},
    ),
    "a session is of another study": (
        [
            "INSERT INTO studies SELECT 7, 'other', design, design_sha256, plan_sha256, created_at, closed_at FROM studies",
            "UPDATE sessions SET study_id = 7 WHERE id = 3",
        ],
        {
            "sessions are of their participants' studies": (1, ("3",)),
            "trials show pairs of their own studies": (2, ("5", "6")),
        },
    ),
    "the design was changed": (
        ["UPDATE studies SET design = REPLACE(design, 'Which spots', 'What spots')"],
        {"designs and plans are as they were frozen": (1, ("spots: design",))},
    ),
    "the plan was changed": (
        ["UPDATE studies SET plan_sha256 = 'x'"],
        {"designs and plans are as they were frozen": (1, ("spots: plan",))},
    ),
    "a manifest was changed": (
        ["UPDATE conditions SET manifest = '{}' WHERE id = 2"],
        {"manifests of pair sets are as they were frozen (conditions)": (1, ("2",))},
    ),
}


def test_each_thing_that_is_not_as_it_must_be_is_found(sqlite_workshop, tmp_path):
    take_part(sqlite_workshop)
    sqlite_workshop.engine.dispose()  # the last connection's end leaves one file
    for number, (fault, (statements, expected)) in enumerate(FAULTS.items()):
        file = shutil.copy(sqlite_workshop.engine.url.database, tmp_path / f"{number}.sqlite")
        broken = Workshop(sqlite_workshop.config, open_engine(f"sqlite:///{file}"), tmp_path)
        change(broken, *statements)
        assert wrong(broken) == expected, fault
        broken.engine.dispose()


def test_faults_are_found_on_both_databases_alike_and_so_are_those_that_they_keep_out_themselves(answered):
    change(answered, *FAULTS["an answer was lost"][0], *FAULTS["a code was not given"][0])
    assert wrong(answered) == FAULTS["an answer was lost"][1] | FAULTS["a code was not given"][1]
    # A reference to nothing: the second session's first trial, which has an answer.
    lose = "DELETE FROM trials WHERE session_id = 2 AND trial_index = 0"
    if answered.engine.dialect.name == "postgresql":
        change(answered, "ALTER TABLE responses DROP CONSTRAINT fk_responses_trial_id", lose)
    else:
        with answered.engine.connect() as connection:
            driver = connection.connection.dbapi_connection
            for statement in ("PRAGMA foreign_keys = OFF", lose, "PRAGMA foreign_keys = ON"):
                driver.execute(statement)
    count, (first,) = wrong(answered)["every reference leads to a row"]
    assert (count, first.startswith("responses ")) == (1, True)
    # A second answer, where nothing kept it out.
    if answered.engine.dialect.name == "postgresql":
        change(answered, "ALTER TABLE responses DROP CONSTRAINT uq_responses_trial_id")
    else:
        change(answered, "ALTER TABLE responses RENAME TO old", "CREATE TABLE responses AS SELECT * FROM old")
    columns = "chosen_side, rt_ms, presented_at, answered_at"
    again = (
        f"INSERT INTO responses (id, trial_id, {columns}) SELECT 99, trial_id, {columns} FROM responses WHERE id = 2"
    )
    change(answered, again)
    assert wrong(answered)["a trial has one answer at most (trials)"][0] == 1


def test_code_is_owed_by_the_recruiting_services_rules(sqlite_workshop):
    """Prolific gives codes of its own, for some outcomes; where it has none, none is owed."""
    client = make(sqlite_workshop, "prolific")
    agree(client, PROLIFIC)
    answer_all(client)
    assert wrong(sqlite_workshop) == {}
    change(sqlite_workshop, "UPDATE sessions SET completion_code = NULL")
    assert wrong(sqlite_workshop) == {"who is owed a code has one (sessions)": (1, ("1",))}
    change(sqlite_workshop, "UPDATE sessions SET outcome = 'failed_checks'")
    assert wrong(sqlite_workshop) == {}


def test_file_that_is_damaged_is_found(sqlite_workshop):
    sqlite_workshop.create_study(trials=SHORT)
    sqlite_workshop.engine.dispose()
    file = sqlite_workshop.engine.url.database
    with reading(sqlite_workshop.engine) as db:
        page = db.scalar(
            text(
                "SELECT rootpage FROM sqlite_schema WHERE name = 'uq_pairs_condition_id_pair' OR name = 'sqlite_autoindex_pairs_1'"
            )
        )
        size = db.scalar(text("PRAGMA page_size"))
    sqlite_workshop.engine.dispose()
    with open(file, "r+b") as stream:
        stream.seek(page * size - 200)
        stream.write(b"\xff" * 40)
    assert set(wrong(sqlite_workshop)) & {"the file is whole (integrity_check)", "the database can be read"}


def test_pictures_that_are_missing_changed_or_served_otherwise_are_found(sqlite_workshop):
    sqlite_workshop.create_study(trials=SHORT)
    store = sqlite_workshop.config.store
    with reading(sqlite_workshop.engine) as db:
        gone, other, changed = db.scalars(select(Image.sha256).order_by(Image.sha256)).all()[:3]
    folder = sqlite_workshop.config.instance / "store"
    for file in folder.glob(f"{gone[:2]}/{gone}*"):
        file.unlink()
    shutil.copy(folder / changed[:2] / f"{changed}.png", folder / other[:2] / f"{other}.png")
    for file in folder.glob(f"{changed[:2]}/{changed}*"):
        file.write_bytes(file.read_bytes()[:-1] + b"x")
    (found,) = [one for one in check(sqlite_workshop.engine, store) if not one.ok]
    assert found.what.startswith("pictures of open studies are in the store and verify (")
    assert found.count == 3
    assert [name for name in (gone, other, changed) if any(name[:12] in one for one in found.first)] == [
        gone,
        other,
        changed,
    ]
    change(sqlite_workshop, "UPDATE studies SET closed_at = created_at")
    assert wrong(sqlite_workshop, store) == {}  # nobody is shown them any more


def test_check_from_the_command_line(sqlite_workshop, tmp_path):
    where = ("--database", sqlite_workshop.config.database, "--instance", sqlite_workshop.config.instance)
    sqlite_workshop.create_study(trials=SHORT)
    sound = call("db", "check", "--pictures", *where, cwd=tmp_path)
    assert (sound.returncode, "WRONG" in sound.stdout) == (0, False)
    change(sqlite_workshop, "UPDATE studies SET plan_sha256 = 'x'")
    found = call("db", "check", *where, cwd=tmp_path)
    assert found.returncode == 1
    assert "WRONG  designs and plans are as they were frozen: 1, the first spots: plan" in found.stdout
    told = call("db", "check", "--json", *where, cwd=tmp_path)
    assert told.returncode == 1
    assert [one["first"] for one in json.loads(told.stdout) if not one["ok"]] == [["spots: plan"]]
    none = call("db", "check", "--database", "sqlite:///none.sqlite", cwd=tmp_path)
    assert none.returncode == 2
    assert "does not exist; make it with 'realism db upgrade'" in none.stderr
