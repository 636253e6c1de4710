"""Simulated participants through a served survey, and the export of what they did, on both databases."""

import csv
import json
import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from conftest import SECRET
from test_participate import start

from protocol.design import parse_design
from protocol.pairset import read_pairset
from protocol.responses import COLUMNS, read_responses
from protocol.whole_folder import FolderError
from study_app.export import export_study
from study_app.observers import Observers, SimulationError, draw_truth, marginal_rate, read_truth, solve_intercept
from study_app.simulate import simulate, study_pairs

ALWAYS_RIGHT = Observers(pair_sd=0, participant_sd=0, lapse=0)


def run(workshop, url, rates, n=6, observers=ALWAYS_RIGHT, name="spots"):
    pairs = study_pairs(workshop.engine, name)
    rng = np.random.default_rng(3)
    truth = draw_truth(pairs, rates, observers, rng)
    simulate(workshop.engine, name, url, SECRET, truth, observers, n, rng)
    return truth


@pytest.mark.parametrize("question", ["real", "fake"])
def test_simulated_study_exports_one_row_per_trial(workshop, serve, question, tmp_path):
    workshop.create_study(question=question)
    run(workshop, serve(workshop), {"cgan": 1 - 1e-9, "wgan": 1e-9})
    rows = export_study(workshop.engine, workshop.config.store, "spots", tmp_path / "out")
    table = read_responses(tmp_path / "out" / "responses.csv")
    assert len(table) == rows == 6 * 10
    assert list(table.columns) == list(COLUMNS)
    assert set(table["origin"]) == {"simulated"}
    assert Counter(table["kind"]) == {"practice": 12, "main": 48}
    # Always fooled by the one, never by the other, whichever of the two was asked for.
    fooled = (table["chosen_side"] != table["real_side"]).groupby(table["condition"]).mean()
    assert fooled.to_dict() == {"cgan": 1.0, "wgan": 0.0}
    assert table["rt_ms"].gt(0).all()
    assert table["exposure_ms"].isna().all()


def test_export_folder_holds_what_a_report_needs(sqlite_workshop, tmp_path):
    sqlite_workshop.create_study()
    client = sqlite_workshop.client()
    start(client)
    client.post("/study/spots/answer", json={"trial_index": 0, "response": "left", "rt": 900, "elapsed_ms": 900.0})
    export_study(sqlite_workshop.engine, sqlite_workshop.config.store, "spots", tmp_path / "out")

    table = pd.read_csv(tmp_path / "out" / "responses.csv", keep_default_na=False, dtype=str)
    assert (table["chosen_side"] != "").sum() == 1  # nine trials were drawn and never answered
    assert table["origin"].eq("human").all()
    assert table["answered_at"][0].endswith("Z")
    assert len(table["answered_at"][0]) == len("2026-01-31T09:30:00.125Z")
    with (tmp_path / "out" / "codebook.csv").open() as file:
        assert [row["column"] for row in csv.DictReader(file)] == list(COLUMNS)
    design = json.loads((tmp_path / "out" / "design.json").read_text())
    assert parse_design(design, "design.json").name == "spots"
    for condition in ("cgan", "wgan"):
        exported = read_pairset(tmp_path / "out" / "pairsets" / condition)
        assert exported == read_pairset(sqlite_workshop.folder / condition)


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


def test_later_simulated_participants_are_other_people(sqlite_workshop, serve, tmp_path):
    sqlite_workshop.create_study()
    url = serve(sqlite_workshop)
    for _ in range(2):
        options = ["spots", "-n", "2", "--seed", "1", "--url", url, "--database", sqlite_workshop.config.database]
        environment = {**os.environ, "REALISM_SECRET_KEY": SECRET}
        subprocess.run([sys.executable, "-m", "realism", "simulate", *options], check=True, env=environment)
    export_study(sqlite_workshop.engine, sqlite_workshop.config.store, "spots", tmp_path / "out")
    table = read_responses(tmp_path / "out" / "responses.csv")
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
