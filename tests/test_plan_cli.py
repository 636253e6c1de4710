"""``realism study plan``: from assumptions, a design or a pilot to a table, advice and a folder that people look at."""

import csv
import json
import re

import numpy as np
import pytest
from commands import call
from observers import simulate_table
from pictures import write_pictures

QUICK = ("--participants", "20,60", "--pairs", "30,100", "--experiments", "40")


@pytest.fixture
def plan(tmp_path):
    """Runs ``realism study plan`` and gives exit code, output and errors."""

    def run(*arguments):
        done = call("study", "plan", *arguments, cwd=tmp_path)
        return done.returncode, done.stdout, done.stderr

    return run


def read_json(done):
    code, out, err = done
    assert (code, err) == (0, "") or code == 1
    return json.loads(out)


def write_design(folder, more=""):
    for name in ("cgan", "wgan"):
        write_pictures(folder / name, name)
    path = folder / "study.toml"
    path.write_text(
        f'title = "Spots"\nprotocol = "zhang2016"\n[trials]\npractice = 2\nmain = 12\n{more}\n'
        '[conditions]\ncgan = "cgan"\nwgan = "wgan"\n'
    )
    return path


def test_terminal_shows_widths_and_what_to_do(plan):
    code, out, err = plan(*QUICK, "--cost", "2.50")
    assert (code, err) == (0, "")
    assert "±5.0" in out
    assert re.search(r"^\s*100 .* ✓", out, re.MULTILINE)
    assert "Ask 60 people and show 100 pairs" in out
    assert "at a cost of 150.00\u202fEUR" in out
    assert "Power for a difference" not in out


def test_nothing_that_reaches_the_goal_is_exit_code_1_and_says_so(plan):
    code, out, _ = plan(*QUICK, "--half-width", "0.01")
    assert code == 1
    assert "No size here reaches what was asked for; the nearest is to ask 60 people and show 100 pairs" in out
    assert "More people would not help" in out


def test_difference_that_is_asked_for_means_two_conditions_and_a_power(plan):
    found = read_json(plan(*QUICK, "--detect", "0.2", "--within", "--json"))
    assert found["assumptions"]["n_conditions"] == 2
    assert found["assumptions"]["is_within"] is True
    assert found["goal"] == {"half_width": 0.05, "power": 0.8}
    assert found["recommended"]["power_difference"] >= 0.8
    assert "Power for a difference of 20.0 points" in plan(*QUICK, "--detect", "0.2", "--within")[1]


def test_json_is_the_same_for_the_same_seed_only(plan):
    one, same, other = (plan(*QUICK, "--json", "--seed", seed)[1] for seed in (3, 3, 4))
    assert one == same != other
    found = json.loads(one)
    assert found["format"] == "realism-plan/1"
    assert [(row["n_pairs"], row["n_participants"]) for row in found["candidates"]] == [
        (30, 20),
        (30, 60),
        (100, 20),
        (100, 60),
    ]
    assert found["cost"] is None
    assert found["nearest"] is None


def test_design_gives_trials_conditions_level_and_margin_and_options_win(plan, tmp_path):
    more = '[analysis]\nlevel = 0.9\nequivalence_margin = 0.08\n[assignment]\nconditions = "within"'
    design = write_design(tmp_path, more)
    found = read_json(plan(design, *QUICK, "--json"))
    expected = {"trials": 12, "n_conditions": 2, "is_within": True, "level": 0.9}
    assert {key: found["assumptions"][key] for key in expected} == expected
    assert found["goal"] == {"half_width": 0.08, "power": None}
    assert {row["trials"] for row in found["candidates"]} == {6}
    found = read_json(plan(design, *QUICK, "--json", "--trials", 20, "--between", "--half-width", "0.2"))
    assert {row["trials"] for row in found["candidates"]} == {20}
    assert found["goal"]["half_width"] == 0.2


def test_pilot_gives_rate_and_spreads_and_moves_the_advice(plan, tmp_path):
    table = simulate_table(np.random.default_rng(1), {"cgan": -0.4}, n_participants=12, sd_participant=0.4, sd_pair=0.9)
    table.to_csv(tmp_path / "pilot.csv", index=False)
    code, out, _ = plan(*QUICK, "--pilot", tmp_path / "pilot.csv")
    assert code in (0, 1)
    assert "The pilot (12 simulated participants, 20 pairs, 240 answers) tells the spreads roughly" in out
    assert "were they as different, " in out
    found = read_json(plan(*QUICK, "--pilot", tmp_path / "pilot.csv", "--json"))
    main = table[table["kind"] == "main"]
    assert found["assumptions"]["fool_rate"] == pytest.approx((main["chosen_side"] != main["real_side"]).mean())
    low, high = found["pilot"]["pairs"][1:]
    assert low < found["assumptions"]["pair_sd"] < high
    given = read_json(plan(*QUICK, "--pilot", tmp_path / "pilot.csv", "--pair-sd", "0.2", "--json"))
    assert given["assumptions"]["pair_sd"] == 0.2


def test_folder_holds_page_numbers_table_and_pictures(plan, tmp_path):
    out = tmp_path / "plan"
    assert plan(*QUICK, "--conditions", 2, "--half-width", 0.1, "--cost", 3, "--out", out)[0] == 0
    assert {path.name for path in out.iterdir()} == {"plan.html", "plan.json", "plan.csv", "width.svg", "width.png"}
    page = (out / "plan.html").read_text()
    assert "<script" not in page
    assert set(re.findall(r'(?:src|srcset|href)="([^":,]+)', page)) == {"data"}
    assert "Power for a difference of 5.0 points" in page
    assert "Recommended" in page
    found = json.loads((out / "plan.json").read_text())
    rows = list(csv.DictReader((out / "plan.csv").open()))
    assert [float(row["half_width"]) for row in rows] == [one["half_width"] for one in found["candidates"]]
    assert rows[0]["cost"] == "60.0"
    assert (out / "width.png").read_bytes().startswith(b"\x89PNG")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert (
        plan(*QUICK, "--conditions", 2, "--half-width", 0.1, "--cost", 3, "--out", out)[0] == 0
    )  # an earlier plan gives way
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_foreign_folder_is_left_alone(plan, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    code, _, err = plan(*QUICK, "--out", tmp_path)
    assert code == 2
    assert "is not empty and no plan (it holds thesis.txt) and is left alone" in err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fool-rate", "40"], "the fool rate is 40; give a fraction from .005 to .995"),
        (["--participants", "20,many"], "'20,many' is no list of numbers; give some such as 20,40,80"),
        (["--pairs", "1,20"], "1 is out of range; give numbers from 2 to 10000"),
        (["--half-width", "5"], "the half-width is 5; give a fraction between 0 and .5"),
        (["--power", "80"], "the power is 80; give a fraction between 0 and 1"),
        (["--detect", "0.1", "--conditions", "1"], "a difference needs two conditions, found 1"),
        (["--conditions", "30"], "20 participants are too few for 30 conditions; give 60 or more"),
        (["--pilot", "nowhere.csv"], "nowhere.csv"),
        (["nowhere.toml"], "nowhere.toml cannot be read"),
        (["--cost", "nan"], "the cost is nan; give an amount of money"),
    ],
)
def test_wrong_use_is_one_clear_sentence(plan, arguments, message):
    code, out, err = plan("--participants", "20", "--pairs", "30", "--experiments", "10", *arguments)
    assert (code, out) == (2, "")
    assert message in err.strip().splitlines()[-1]
    assert "Traceback" not in err


def test_adaptive_study_is_not_planned_by_its_fool_rate(plan, tmp_path):
    design = write_design(tmp_path)
    design.write_text(
        design.read_text().replace("zhang2016", "hype_time").replace('[conditions]\ncgan = "cgan"', "[conditions]")
    )
    code, _, err = plan(design, *QUICK)
    assert code == 2
    assert "adapts its exposure, which holds the fool rate" in err
