"""Simulated participants through a served survey, and the export of what they did, on both databases."""

import csv
import json
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from commands import call
from conftest import SECRET
from pictures import copy_pictures
from test_participate import begin

from analysis.reading.table import read_table
from protocol.design import canonical_sha256, parse_design
from protocol.pairset import read_pairset
from protocol.responses import COLUMNS, FURTHER_COLUMNS
from protocol.whole_folder import FolderError
from study_app.db import writing
from study_app.export import export_study
from study_app.observers import (
    Observers,
    SimulationError,
    choose_side,
    draw_truth,
    marginal_rate,
    read_truth,
    solve_intercept,
)
from study_app.sessions import (
    Arrival,
    end_session,
    new_session_id,
    record_refusal,
    record_step,
    start_session,
)
from study_app.simulate import simulate, study_pairs
from study_app.studies import design_of, find_study

ALWAYS_RIGHT = Observers(pair_sd=0, participant_sd=0, lapse=0)


def run(workshop, url, rates, n=6, observers=ALWAYS_RIGHT, name="spots"):
    pairs = study_pairs(workshop.engine, name)
    rng = np.random.default_rng(3)
    truth = draw_truth(pairs, rates, observers, rng)
    return simulate(workshop.engine, name, url, SECRET, truth, observers, n, rng)


def export(workshop, folder, **options):
    """Export the study; a reader of its tables, every cell as text."""
    export_study(workshop.engine, workshop.config.store, "spots", folder, images=False, **options)
    return lambda name: pd.read_csv(folder / name, keep_default_na=False, dtype=str)


@pytest.mark.parametrize("question", ["real", "fake"])
def test_simulated_study_exports_one_row_per_trial(live, question, tmp_path):
    live.create_study(question=question)
    simulated_rows_are_right(live, live.url, tmp_path / "out")


@pytest.mark.parametrize("workshop", ["postgresql"], indirect=True)
def test_simulated_study_in_postgresql_exports_one_row_per_trial(workshop, serve, tmp_path):
    workshop.create_study()
    simulated_rows_are_right(workshop, serve(workshop), tmp_path / "out")


def simulated_rows_are_right(workshop, url, out):
    run(workshop, url, {"cgan": 1 - 1e-9, "wgan": 1e-9}, n=3)
    rows = export_study(workshop.engine, workshop.config.store, "spots", out)
    table = read_table(out / "responses.csv").table
    assert len(table) == rows == 3 * 10
    assert list(table.columns) == [*COLUMNS, *FURTHER_COLUMNS]
    assert set(table["origin"]) == {"simulated"}
    assert Counter(table["kind"]) == {"practice": 6, "main": 24}
    # Always fooled by the one, never by the other, whichever of the two was asked for.
    fooled = (table["chosen_side"] != table["real_side"]).groupby(table["condition"]).mean()
    assert fooled.to_dict() == {"cgan": 1.0, "wgan": 0.0}
    assert table["rt_ms"].gt(0).all()
    assert table["exposure_ms"].isna().all()


def test_export_folder_holds_what_a_report_needs(sqlite_workshop, tmp_path):
    sqlite_workshop.create_study()
    client = sqlite_workshop.client()
    begin(client)
    client.post("/study/spots/answer", json={"trial_index": 0, "response": "left", "rt": 900, "elapsed_ms": 900.0})
    export_study(sqlite_workshop.engine, sqlite_workshop.config.store, "spots", tmp_path / "out")

    table = pd.read_csv(tmp_path / "out" / "responses.csv", keep_default_na=False, dtype=str)
    assert (table["chosen_side"] != "").sum() == 1  # nine trials were drawn and never answered
    assert table["origin"].eq("human").all()
    assert table["answered_at"][0].endswith("Z")
    assert len(table["answered_at"][0]) == len("2026-01-31T09:30:00.125Z")
    with (tmp_path / "out" / "codebook.csv").open() as file:
        explained = {(row["file"], row["column"]) for row in csv.DictReader(file) if row["meaning"]}
    for name in ("responses.csv", "sessions.csv"):
        columns = pd.read_csv(tmp_path / "out" / name).columns
        assert {(name, column) for column in columns} == {one for one in explained if one[0] == name}
    design = json.loads((tmp_path / "out" / "design.json").read_text())
    assert parse_design(design, "design.json").name == "spots"
    for condition in ("cgan", "wgan"):
        exported = read_pairset(tmp_path / "out" / "pairsets" / condition)
        assert exported == read_pairset(sqlite_workshop.folder / condition)


QUESTIONS = {
    "glasses": {
        "kind": "single",
        "label": {"en": "Glasses?", "de": "Brille?"},
        "options": ["yes", "no"],
        "required": True,
    },
    "devices": {"kind": "multiple", "label": "Devices?", "options": {"tv": "Television", "phone": "Telephone"}},
    "age": {"kind": "number", "label": "Age?", "min": 18, "max": 99, "required": True},
    "why": {"kind": "text", "label": "Why?", "max_length": 4, "when": "after"},
    "sure": {"kind": "likert", "label": "Sure?", "points": 5, "when": "after", "required": True},
}


def test_simulated_participants_walk_every_step_and_leave_what_they_gave(live, tmp_path):
    copy_pictures(tmp_path / "obvious", "obvious", strength=0)
    live.create_study(
        questions=QUESTIONS,
        screen={"min_width_px": 1500, "gamut": "p3", "calibration": True},
        colour_vision={"plates": 3, "min_correct": 3, "exclude": True},
        instructions={"text": "Look.", "max_attempts": 1},
        debriefing={"text": "Thank you.", "show_score": True},
        trials={"practice": 2, "main": 8, "catch": 2, "repeat": 2},
        catch={"pairset": str(tmp_path / "obvious"), "max_missed": 0},
    )
    outcomes = run(live, live.url, {"cgan": 0.4, "wgan": 0.4}, n=3, observers=Observers(lapse=0))
    assert outcomes == {"completed": 3}
    read = export(live, tmp_path / "out")
    sessions = read("sessions.csv")
    assert set(sessions["question.glasses"]) <= {"yes", "no"}
    assert sessions["question.age"].astype(int).between(18, 99).all()
    assert all(set(json.loads(given)) <= {"tv", "phone"} for given in sessions["question.devices"])
    assert sessions["question.sure"].astype(int).between(1, 5).all()
    assert sessions["question.why"].tolist() == ["simu"] * 3
    assert sessions["screen.gamut"].tolist() == ["p3"] * 3
    assert sessions["colour_vision.correct"].tolist() == ["3"] * 3
    assert sessions["colour_vision.passed"].tolist() == ["true"] * 3
    assert sessions["instructions.attempts"].tolist() == ["1"] * 3
    assert sessions["conditions"].tolist() == ["cgan wgan"] * 3
    codebook = read("codebook.csv").set_index("column")["meaning"]
    assert codebook["question.glasses"] == "Glasses?"
    assert not codebook.str.startswith("as found at the step").any()  # every column has a meaning of its own
    responses = read("responses.csv")
    assert Counter(responses["kind"]) == {"practice": 6, "main": 24, "catch": 6, "repeat": 6}
    repeats = responses[responses["kind"] == "repeat"]
    original = responses.set_index(["session", "trial_index"])["pair"]
    assert [
        original[session, first] for session, first in zip(repeats["session"], repeats["repeat_of"], strict=True)
    ] == (repeats["pair"].tolist())


@pytest.mark.parametrize(
    ("differing", "sides"),
    [
        ({"presentation": "sequential"}, {"first", "second"}),
        ({"protocol": "hype_infinity", "qualification": {"min_correct": 0.5}}, {"real", "fake"}),
        ({"protocol": "hype_time", "trials": {"practice": 2, "main": 12}, "exposure": {}}, {"real", "fake"}),
    ],
    ids=["sequential", "hype_infinity", "hype_time"],
)
def test_every_presentation_can_be_simulated(live, tmp_path, differing, sides):
    live.create_study(**differing)
    observers = Observers(pair_sd=0, participant_sd=0, lapse=0, threshold_ms=1)  # who sees everything at once
    outcomes = run(live, live.url, {"cgan": 1e-9, "wgan": 1e-9}, n=2, observers=observers)
    assert outcomes == {"completed": 2}
    table = read_responses_of(live, tmp_path)
    assert set(table["real_side"]) == sides
    assert (table["chosen_side"] == table["real_side"]).all()
    main = table[table["kind"] == "main"]
    if differing.get("protocol") == "hype_time":  # nobody is ever wrong: down all the way, in each block and condition
        assert set(main["exposure_ms"]) == {500.0, 490.0}


def read_responses_of(workshop, tmp_path):
    export(workshop, tmp_path / "out")
    return read_table(tmp_path / "out" / "responses.csv").table


def test_session_that_was_sent_away_says_why(live, tmp_path):
    live.create_study(qualification={"min_correct": 1.0})
    outcomes = run(live, live.url, {"cgan": 1 - 1e-9, "wgan": 1 - 1e-9}, n=2)
    assert outcomes == {"screened_out": 2}
    read = export(live, tmp_path / "out")
    assert read("sessions.csv")["outcome"].tolist() == ["screened_out"] * 2
    assert set(read("responses.csv")["outcome"]) == {"screened_out"}
    assert read("sessions.csv")["completed_at"].tolist() == ["", ""]


@pytest.fixture
def people(sqlite_workshop):
    """A study with a person recruited elsewhere, who gave something at a step, a preview and two refusals."""
    sqlite_workshop.create_study(recruitment={"source": "prolific", "completed": "C0DE"})
    with writing(sqlite_workshop.engine) as db:
        study = find_study(db, "spots")
        arrival = Arrival("5f3c0ffee", {"STUDY_ID": "@study"})
        session = start_session(db, study.id, "human", new_session_id(), arrival=arrival)
        record_step(db, session, "questions", {"why": "=HYPERLINK(0)", "ages": ["-1", "+1"], "n": -3})
        end_session(session, design_of(study), "completed")
        start_session(db, study.id, "preview", new_session_id())
        for _ in range(2):
            record_refusal(db, study, "en")
    return sqlite_workshop


def test_text_that_participants_type_cannot_become_a_formula(people, tmp_path):
    row = export(people, tmp_path / "out")("sessions.csv").iloc[0]
    assert row["question.why"] == "'=HYPERLINK(0)"
    assert row["question.n"] == "-3"  # a number stays one
    assert json.loads(row["question.ages"]) == ["-1", "+1"]


def test_previews_never_leave(people, tmp_path):
    read = export(people, tmp_path / "out", recruitment_ids=True)
    for name in ("responses.csv", "sessions.csv"):
        assert set(read(name)["origin"]) == {"human"}
    assert len(read("recruitment.csv")) == len(read("sessions.csv")) == 1


def test_who_is_who_leaves_only_when_asked_for(people, tmp_path):
    export(people, tmp_path / "out")
    for file in (tmp_path / "out").rglob("*"):
        assert file.is_dir() or not any(secret in file.read_text() for secret in ("5f3c0ffee", "@study"))
    (row,) = export(people, tmp_path / "asked", recruitment_ids=True)("recruitment.csv").to_dict("records")
    assert (row["recruitment_id"], row["completion_code"]) == ("5f3c0ffee", "C0DE")
    assert row["recruitment.STUDY_ID"] == "'@study"
    assert row["session"] == pd.read_csv(tmp_path / "asked" / "sessions.csv")["session"][0]


def test_refusals_are_counted_and_nothing_else(people, tmp_path):
    export(people, tmp_path / "out")
    about = json.loads((tmp_path / "out" / "study.json").read_text())
    assert about["refusals"] == 2
    assert about["plan_sha256"] == canonical_sha256(parse_design_of(tmp_path / "out").analysis)


def parse_design_of(folder):
    return parse_design(json.loads((folder / "design.json").read_text()), "design.json")


def test_export_does_not_overwrite_unless_asked(sqlite_workshop, tmp_path):
    sqlite_workshop.create_study()
    arguments = (sqlite_workshop.engine, sqlite_workshop.config.store, "spots")
    export_study(*arguments, tmp_path / "out", images=False)
    assert not (tmp_path / "out" / "pairsets" / "cgan" / "images").exists()
    with pytest.raises(FolderError, match="already exists; choose another --out"):
        export_study(*arguments, tmp_path / "out")
    export_study(*arguments, tmp_path / "out", replace=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(FolderError, match="no export .it holds thesis.tex. and is left alone"):
        export_study(*arguments, tmp_path / "mine", replace=True)
    assert (tmp_path / "mine" / "thesis.tex").exists()


def test_simulation_without_a_survey_is_told(sqlite_workshop):
    sqlite_workshop.create_study()
    with pytest.raises(SimulationError, match=r"no survey answers at http://127.0.0.1:1/.*realism serve"):
        run(sqlite_workshop, "http://127.0.0.1:1", {"cgan": 0.4, "wgan": 0.4})


def test_later_simulated_participants_are_other_people(live, tmp_path):
    live.create_study()
    options = ["spots", "-n", 2, "--seed", 1, "--url", live.url, "--database", live.config.database]
    for _ in range(2):
        assert call("simulate", *options, cwd=tmp_path, REALISM_SECRET_KEY=SECRET).returncode == 0
    export_study(live.engine, live.config.store, "spots", tmp_path / "out")
    table = read_table(tmp_path / "out" / "responses.csv").table
    assert table.groupby("session")["rt_ms"].apply(tuple).nunique() == 4


def test_marginal_rate_is_the_mean_over_people_sides_and_lapses():
    observers = Observers(participant_sd=0.8, side_bias=0.5, lapse=0.1)
    intercept = solve_intercept(0.3, 0.8, observers)
    rng = np.random.default_rng(1)
    logit = intercept + 0.8 * rng.standard_normal(400_000) + 0.5 * rng.choice([-1, 1], 400_000)
    attentive = 1 / (1 + np.exp(-logit))
    assert 0.9 * attentive.mean() + 0.05 == pytest.approx(0.3, abs=0.002)
    assert float(marginal_rate(np.array(intercept), 0.8, observers)) == pytest.approx(0.3)


def test_rate_that_lapses_exclude_is_told():
    with pytest.raises(SimulationError, match=r"a fool rate of 0.02 cannot be: .* between 0.05 and 0.95"):
        solve_intercept(0.02, 0.5, Observers(lapse=0.1))


def test_true_rates_per_pair_are_read_and_written(tmp_path):
    pairs = {"cgan": ["a", "b"], "wgan": ["a"]}
    truth = draw_truth(pairs, {"cgan": 0.4, "wgan": 0.3}, Observers(), np.random.default_rng(1))
    truth.write_csv(tmp_path / "truth.csv")
    again = read_truth(tmp_path / "truth.csv", pairs, Observers())
    assert again.intercepts == pytest.approx(truth.intercepts, abs=1e-4)
    with pytest.raises(SimulationError, match="condition wgan, pair b has no fool rate"):
        read_truth(tmp_path / "truth.csv", {"wgan": ["a", "b"]}, Observers())
    (tmp_path / "bad.csv").write_text("condition,pair,fool_rate\ncgan,a,often\n")
    with pytest.raises(SimulationError, match="row 2 is wrong"):
        read_truth(tmp_path / "bad.csv", pairs, Observers())


@pytest.mark.parametrize(("exposure_ms", "expected"), [(300, 0.75), (None, 1.0), (1, 0.5)])
def test_observers_are_right_three_times_in_four_at_their_threshold(exposure_ms, expected):
    observers, rng = Observers(lapse=0, threshold_ms=300, slope=3), np.random.default_rng(1)
    said = [choose_side(-30, "fake", ("real", "fake"), exposure_ms, observers, rng) for _ in range(20_000)]
    assert said.count("fake") / len(said) == pytest.approx(expected, abs=0.01)


def test_bias_is_towards_the_first_word():
    observers, rng = Observers(lapse=0, side_bias=2.0), np.random.default_rng(1)
    for sides in (("left", "right"), ("real", "fake")):
        said = [choose_side(0, real, sides, None, observers, rng) for real in sides for _ in range(5000)]
        assert said.count(sides[0]) / len(said) == pytest.approx(1 / (1 + np.exp(-2)), abs=0.02)
