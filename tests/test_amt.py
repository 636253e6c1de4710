"""Result files of AMT_Real_vs_Fake: the same rates as its process_csv.py, counted by hand, and what differs from it."""

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.fool_rate import counted_trials
from analysis.reading.table import read_table
from protocol.responses import ResponsesError

# (real side, left picture, right picture, what was taken for the fake) of each trial of three assignments, two by one
# worker. The rules of process_csv.py with one practice trial, applied by hand (the script itself, run on this file, prints
# 40.00, 66.67 and 0.00 %): the first trial of each is dropped; an answer is right where the side that was not selected is
# gt_side; the algorithm is the folder of the picture that is not in the commonest folder, here gt.
#   ours       a1: fooled, right   b1: right           a2: right, fooled    2 of 5
#   theirs/x   a1: fooled          b1: fooled, right                        2 of 3
#   vigilance                                          a2: right            0 of 1
ASSIGNMENTS = [
    (
        *("a1", "ann"),
        ("left", "gt/9.jpg", "ours/9.jpg", "left"),
        ("left", "gt/1.jpg", "ours/1.png", "left"),
        ("right", "theirs/x/2.png", "gt/2.jpg", "right"),
        ("right", "ours/3.png", "gt/3.jpg", "left"),
    ),
    (
        *("b1", "ben"),
        ("right", "ours/8.png", "gt/8.jpg", "right"),
        ("left", "gt/1.jpg", "theirs/x/1.png", "left"),
        ("left", "gt/2.jpg", "ours/2.png", "right"),
        ("right", "theirs/x/3.png", "gt/3.jpg", "left"),
    ),
    (
        *("a2", "ann"),
        ("left", "gt/7.jpg", "ours/7.png", "right"),
        ("right", "ours/4.png", "gt/4.jpg", "left"),
        ("right", "ours/5.png", "gt/5.jpg", "right"),
        ("left", "gt/6.jpg", "vigilance/6.png", "right"),
    ),
]


def result_file(folder: Path, assignments: list[Any], drop: tuple[str, ...] = (), **more: str) -> Path:
    rows = []
    for assignment, worker, *trials in assignments:
        row = {"HITId": "h", "AssignmentId": assignment, "WorkerId": worker, **more}
        for number, (real_side, left, right, selection) in enumerate(trials):
            row |= {f"Input.gt_side{number}": real_side, f"Input.images_left{number}": left}
            row |= {f"Input.images_right{number}": right, f"Answer.selection{number}": selection}
        rows.append(row)
    path = folder / "results0.csv"
    pd.DataFrame(rows).drop(columns=list(drop)).to_csv(path, index=False)
    return path


def fooled_by_condition(table: pd.DataFrame) -> dict[str, list[bool]]:
    groups = counted_trials(table).groupby("condition", observed=True)["fooled"]
    return {str(name): sorted(fooled) for name, fooled in groups}


def test_rates_are_those_of_process_csv(tmp_path: Path) -> None:
    found = read_table(result_file(tmp_path, ASSIGNMENTS), practice=1)
    assert fooled_by_condition(found.table) == {
        "ours": [False, False, False, True, True],
        "theirs/x": [False, True, True],
    }
    assert found.unusable == ()


def test_practice_and_vigilance_trials_have_their_kinds_and_workers_and_photos_their_ids(tmp_path: Path) -> None:
    table = read_table(result_file(tmp_path, ASSIGNMENTS), practice=1).table
    assert table["kind"].tolist() == ["practice", "main", "main", "main"] * 2 + ["practice", "main", "main", "catch"]
    assert table["session"].tolist() == ["a1"] * 4 + ["b1"] * 4 + ["a2"] * 4
    assert set(table.loc[table["session"] == "a2", "participant"]) == {"ann"}
    assert table["pair"].tolist() == [*"9123", *"8123", *"7456"]
    assert table["trial_index"].tolist() == [0, 1, 2, 3] * 3
    catch = table[table["kind"] == "catch"].iloc[0]
    assert (catch["chosen_side"], catch["real_side"], catch["condition"]) == ("left", "left", "vigilance")


def test_ten_practice_trials_are_assumed_and_told(tmp_path: Path) -> None:
    trials = [("left", f"gt/{i}.jpg", f"ours/{i}.jpg", "right") for i in range(12)]
    found = read_table(result_file(tmp_path, [("a1", "ann", *trials)]))
    assert found.table["kind"].value_counts().to_dict() == {"practice": 10, "main": 2}
    assert "the first 10 of an assignment's 12 trials were taken for practice" in found.notes[0]


def test_an_answer_that_was_not_given_is_none(tmp_path: Path) -> None:
    trial = ("right", "ours/1.jpg", "gt/1.jpg")
    found = read_table(result_file(tmp_path, [("a1", "ann", (*trial, "left"), (*trial, "unset"))]), practice=0)
    assert fooled_by_condition(found.table) == {"ours": [False]}
    assert "Trials sent in without an answer, which process_csv.py counts as 'left': 1." in found.notes


def test_unpaired_pictures_are_named_by_the_fake(tmp_path: Path) -> None:
    trials = [("left", "gt/1.jpg", "ours/2.jpg", "left"), ("right", "ours/3.jpg", "gt/3.jpg", "left")]
    found = read_table(result_file(tmp_path, [("a1", "ann", *trials)]), practice=0)
    assert found.table["pair"].tolist() == ["2", "3"]
    assert any("a pair is named by its fake" in note for note in found.notes)


def test_a_file_without_workers_counts_assignments(tmp_path: Path) -> None:
    found = read_table(result_file(tmp_path, ASSIGNMENTS, drop=("WorkerId", "AssignmentId")), practice=1)
    assert found.table["participant"].nunique() == 3
    assert any("no WorkerId" in note for note in found.notes)


def test_what_cannot_be_used_is_told_with_the_line_of_its_assignment(tmp_path: Path) -> None:
    trial = ("left", "gt/1.jpg", "ours/1.jpg")
    assignments = [("a1", "ann", (*trial, "right")), ("b1", "ben", (*trial, "both")), ("b1", "ben", (*trial, "left"))]
    found = read_table(result_file(tmp_path, assignments), practice=0)
    assert [(one.reason, one.lines) for one in found.unusable] == [
        ("column chosen_side: found 'both', expected a side in the same words as real_side, or nothing", (3,)),
    ]
    assert len(found.table) == 2


@pytest.mark.parametrize("column", ["Answer.selection2", "Input.gt_side0", "Input.gt_side3", "Input.images_left3"])
def test_a_trial_with_a_column_missing_is_refused(tmp_path: Path, column: str) -> None:
    path = result_file(tmp_path, ASSIGNMENTS, drop=(column,))
    with pytest.raises(ResponsesError, match=rf"column {re.escape(column)} is missing; give the CSV as it came"):
        read_table(path)


def test_a_gap_between_trials_is_refused(tmp_path: Path) -> None:
    gap = ("Input.gt_side1", "Input.images_left1", "Input.images_right1", "Answer.selection1")
    path = result_file(tmp_path, ASSIGNMENTS, drop=gap)
    with pytest.raises(ResponsesError, match=r"column Input\.gt_side1 is missing"):
        read_table(path)


def test_blanks_around_an_answer_do_not_turn_it_round(tmp_path: Path) -> None:
    trial = ("left", "gt/1.jpg", "ours/1.jpg")
    found = read_table(result_file(tmp_path, [("a1", "ann", (*trial, "left "), (*trial, " right"))]), practice=0)
    assert found.table["chosen_side"].tolist() == ["right", "left"]
    assert "Blanks around the text of cells were left out: 2." in found.notes
