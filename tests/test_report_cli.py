"""The command realism report: tables under other names, rows set aside, plans given and changed, and what it says of it."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from commands import call
from observers import simulate_table

SMALL = ("--no-figures", "--replicates", "0")


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    """Answers under a laboratory's own names; line 3 has a side that is none."""
    table = simulate_table(np.random.default_rng(3), {"cgan": -0.4}, n_participants=12, n_practice=0)
    with (tmp_path / "answers.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["worker", "stimulus", "model", "truth", "said", "ms"])
        columns = ["participant", "pair", "condition", "real_side", "chosen_side", "rt_ms"]
        for number, row in enumerate(table[columns].itertuples(index=False)):
            writer.writerow([*row[:4], "middle" if number == 1 else row[4], row[5]])
    return tmp_path / "answers.csv"


NAMES = ("participant=worker", "pair=stimulus", "condition=model", "real_side=truth", "chosen_side=said", "rt_ms=ms")


@pytest.fixture
def report(answers: Path) -> Callable[..., tuple[int, str, str]]:
    """Runs the command on the answers; exit code, and what it said."""

    def run(*options: str, names: tuple[str, ...] = NAMES) -> tuple[int, str, str]:
        columns = [word for name in names for word in ("--column", name)]
        done = call("report", answers, "--out", "report", *SMALL, *columns, *options, cwd=answers.parent)
        return done.returncode, done.stdout, " ".join(done.stderr.split())

    return run


def test_a_table_under_other_names_is_reported_and_its_bad_row_is_told(report, answers: Path) -> None:
    code, said, warned = report()
    assert code == 0
    assert "cgan: " in said
    assert "1 row set aside" in warned
    found = json.loads((answers.parent / "report" / "report.json").read_text())
    assert found["conditions"]["cgan"]["n_trials"] == 12 * 20 - 1
    (unusable,) = found["unusable"]
    assert (unusable["n"], unusable["lines"]) == (1, [3])
    assert "middle" in unusable["reason"]


def test_strict_stops_at_the_bad_row_and_writes_nothing(report, answers: Path) -> None:
    code, _, warned = report("--strict")
    assert code == 2
    assert "line 3" in warned
    assert not (answers.parent / "report").exists()


def test_a_column_that_nothing_stands_for_is_asked_for(report) -> None:
    code, _, warned = report(names=NAMES[1:])
    assert code == 2
    assert "participant" in warned
    assert "--column" in warned


def test_a_file_that_is_not_there_is_not_taken_for_a_study(tmp_path: Path) -> None:
    done = call("report", tmp_path / "answer.csv", "--out", "report", cwd=tmp_path)
    assert done.returncode == 2
    assert "answer.csv is no file and no export folder" in done.stderr


def test_a_mapping_without_an_equals_sign_is_refused(report) -> None:
    code, _, warned = report(names=("participant",))
    assert code == 2
    assert "write OURS=THEIRS" in warned


def test_a_plan_can_come_with_answers_and_its_changes_are_told(report, answers: Path) -> None:
    plan = answers.parent / "plan.toml"
    plan.write_text("[analysis]\nlevel = 0.9\nmin_median_rt_ms = 300\n")
    code, said, _ = report("--plan", str(plan), "--post-hoc", "max_one_side=0.6", "--post-hoc", "level=0.8", "--json")
    assert code == 0
    found = json.loads(said)
    assert (found["level"], found["plan_is_frozen"]) == (0.8, False)
    changed = {change["key"]: (change["frozen"], change["here"]) for change in found["post_hoc"]}
    assert changed == {"level": ("0.9", "0.8"), "max_one_side": ("not fixed", "0.6")}


def test_a_change_of_no_setting_is_refused_with_the_nearest(report) -> None:
    code, _, warned = report("--post-hoc", "max_one_sid=0.6")
    assert code == 2
    assert "max_one_side" in warned
