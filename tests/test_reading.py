"""Reading answers from anywhere: what is unusable is counted with its lines, what is missing is filled and told."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_responses import row, written

from analysis.fool_rate import counted_trials
from analysis.reading.table import check_responses, read_table
from analysis.reading.unusable import Unusable
from protocol.responses import COLUMNS, ResponsesError, spreadsheet_safe, unprotected

NAMES = {"participant": "worker", "pair": "stimulus", "real_side": "truth", "chosen_side": "answer"}


def elsewhere(**columns: list[Any]) -> pd.DataFrame:
    """Four answers of two people as another laboratory might keep them."""
    table = {
        "worker": ["7", "7", "8", "8"],
        "stimulus": ["x", "y", "x", "y"],
        "truth": ["left", "right", "left", "right"],
        "answer": ["right", "right", "left", "left"],
    }
    return pd.DataFrame(table | columns)


@pytest.fixture(params=["csv", "parquet", "pq"])
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    def save(table: pd.DataFrame) -> Path:
        path = tmp_path / f"lab.{request.param}"
        table.to_csv(path, index=False) if request.param == "csv" else table.to_parquet(path)
        return path

    return save


def test_a_table_with_other_names_and_fewer_columns_is_read_and_what_was_filled_is_told(saved: Any) -> None:
    found = read_table(saved(elsewhere()), NAMES)
    table = found.table
    assert list(table.columns) == list(COLUMNS)
    assert table["participant"].tolist() == table["session"].tolist() == ["7", "7", "8", "8"]
    assert table["trial_index"].tolist() == [0, 1, 0, 1]
    assert {name: set(table[name]) for name in ("study", "origin", "condition", "kind")} == {
        **{"study": {"lab"}, "origin": {"human"}, "condition": {"all"}, "kind": {"main"}},
    }
    assert table[["rt_ms", "exposure_ms", "late_frames", "presented_at"]].isna().all(axis=None)
    assert counted_trials(table)["fooled"].tolist() == [True, False, False, True]
    assert (found.unusable, found.sides_known) == ((), True)
    (note,) = found.notes
    assert note.startswith(
        "Columns that the table lacks were filled: study ('lab' everywhere), origin ('human' everywh"
    )
    assert "session (one for each participant), trial_index (the order of the rows), rt_ms (empty)" in note


def test_numbers_and_texts_have_the_same_types_from_csv_and_parquet(tmp_path: Path) -> None:
    path = written(tmp_path, row(), row(trial_index=1, chosen_side=None, rt_ms=None, late_frames=None))
    from_csv = read_table(path).table
    from_csv.to_parquet(tmp_path / "again.parquet")
    pd.testing.assert_frame_equal(read_table(tmp_path / "again.parquet").table, from_csv)
    assert {str(from_csv[name].dtype) for name in ("trial_index", "rt_ms", "late_frames")} == {"float64"}
    assert {str(from_csv[name].dtype) for name in ("presented_at", "answered_at")} == {"datetime64[ms, UTC]"}
    assert {str(from_csv[name].dtype) for name in ("pair", "kind", "study")} == {"category"}
    assert from_csv["presented_at"][0] == pd.Timestamp("2026-01-31T09:30:00.125Z")
    assert (from_csv["chosen_side"] == from_csv["real_side"]).tolist() == [False, False]


def test_ids_that_are_numbers_in_parquet_become_text(tmp_path: Path) -> None:
    elsewhere(worker=[7, 7, 8, 8], stimulus=[1, 2, 1, 2]).to_parquet(tmp_path / "lab.parquet")
    table = read_table(tmp_path / "lab.parquet", NAMES).table
    assert table["participant"].tolist() == ["7", "7", "8", "8"]
    assert table["pair"].tolist() == ["1", "2", "1", "2"]


def test_a_column_that_nothing_can_stand_for_is_asked_for_with_the_nearest_name(saved: Any) -> None:
    path = saved(elsewhere().rename(columns={"stimulus": "Pairs"}))
    with pytest.raises(
        ResponsesError,
        match=r"column pair is missing \(found worker, Pairs, truth, answer\); did you mean 'Pairs'\?; "
        r"say which column it is with '--column pair=NAME'",
    ):
        read_table(path, {name: NAMES[name] for name in NAMES if name != "pair"})
    with pytest.raises(ResponsesError, match=r"column 'stimulos', to be read as pair, is missing .*Pairs"):
        read_table(path, NAMES | {"pair": "stimulos"})
    with pytest.raises(ResponsesError, match=r"no column 'piar' to read 'Pairs' as .*did you mean 'pair'\?"):
        read_table(path, {"piar": "Pairs"})


def test_one_column_may_stand_for_two_and_a_mapped_one_replaces_its_namesake(tmp_path: Path) -> None:
    elsewhere(pair=["a", "b", "c", "d"]).to_csv(tmp_path / "lab.csv", index=False)
    table = read_table(tmp_path / "lab.csv", NAMES | {"session": "worker"}).table
    assert table["pair"].tolist() == ["x", "y", "x", "y"]
    assert table["session"].tolist() == table["participant"].tolist() == ["7", "7", "8", "8"]
    assert list(table.columns) == list(COLUMNS)


@pytest.mark.parametrize("words", [[1, 0, 0, None], ["true", "False", "0", ""], [True, False, False, None]])
def test_whether_people_were_fooled_is_enough(saved: Any, words: list[Any]) -> None:
    found = read_table(
        saved(elsewhere(fooled=words).drop(columns=["truth", "answer"])), {"participant": "worker", "pair": "stimulus"}
    )
    assert counted_trials(found.table)["fooled"].tolist() == [True, False, False]
    assert found.table["chosen_side"].isna().tolist() == [False, False, False, True]
    assert not found.sides_known
    assert "nothing is known of side bias" in found.notes[1]
    assert "fooled" not in found.table


def test_made_up_sides_are_balanced_in_each_condition_and_outcome() -> None:
    rng = np.random.default_rng(5)
    n = 400
    frame = pd.DataFrame(
        {"participant": "p", "pair": "x", "condition": ["a", "b"] * 200, "fooled": rng.random(n) < 0.3}
    )
    table = check_responses(frame, "here")
    fooled = table["chosen_side"] != table["real_side"]
    assert fooled.tolist() == frame["fooled"].tolist()
    left = (table["real_side"] == "left").groupby([table["condition"], fooled], observed=True).agg(["sum", "size"])
    assert len(left) == 4
    assert (abs(2 * left["sum"] - left["size"]) <= 1).all()


def test_a_word_that_is_neither_fooled_nor_not_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "lab.csv"
    elsewhere(fooled=["1", "perhaps", "0", "1"]).drop(columns=["truth", "answer"]).to_csv(path, index=False)
    found = read_table(path, {"participant": "worker", "pair": "stimulus"})
    reason = "column fooled: found 'perhaps', expected 0, 1, false or true, or nothing"
    assert found.unusable == (Unusable(reason, 1, (3,)),)
    assert len(found.table) == 3


def test_rows_are_set_aside_by_reason_with_their_lines(tmp_path: Path) -> None:
    rows = [row(trial_index=index) for index in range(12)]
    for index in (2, 4, 5, 6, 7, 8, 9):
        rows[index]["origin"] = "robot"
    rows[3] |= {"rt_ms": "fast", "kind": "test"}  # told under one reason only
    found = read_table(written(tmp_path, *rows))
    assert found.unusable == (
        Unusable("column origin: found 'robot', expected human or simulated", 7, (4, 6, 7, 8, 9)),
        Unusable("column kind: found 'test', expected practice, main, catch, repeat", 1, (5,)),
    )
    assert found.table["trial_index"].tolist() == [0, 1, 10, 11]
    assert found.table["origin"].cat.categories.tolist() == ["human"]


def test_lines_are_those_of_the_file_where_cells_and_gaps_hold_line_breaks(tmp_path: Path) -> None:
    path = written(tmp_path, row(pair="two\nlines"), row(trial_index=1), row(trial_index=2, kind="test"))
    text = path.read_text().replace("\nflowers,s1,p1,human,cgan,0", "\n\nflowers,s1,p1,human,cgan,0", 1)
    path.write_text(text)
    (unusable,) = read_table(path).unusable
    assert text.splitlines()[unusable.lines[0] - 1].split(",")[7] == "test"
    assert unusable.lines == (6,)


def test_lines_with_too_few_cells_are_set_aside_and_later_lines_keep_their_numbers(tmp_path: Path) -> None:
    path = written(tmp_path, row(), row(trial_index=1), row(trial_index=2, origin="robot"))
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], "flowers,s1", *lines[2:]]) + "\n")
    found = read_table(path)
    assert [(one.reason, one.n, one.lines) for one in found.unusable] == [
        ("found 2 cells, expected 16", 1, (3,)),
        ("column origin: found 'robot', expected human or simulated", 1, (5,)),
    ]
    assert len(found.table) == 2


def test_of_a_trial_told_twice_the_first_usable_one_counts(tmp_path: Path) -> None:
    twice = (row(trial_index=1, kind="test"), row(trial_index=1, chosen_side="left"), row(trial_index=1))
    found = read_table(written(tmp_path, row(), *twice))
    assert found.table["chosen_side"].tolist() == ["right", "left"]
    assert [(one.n, one.lines) for one in found.unusable] == [(1, (3,)), (1, (5,))]
    assert "found 1, expected each trial of a session once; the first one counts" in found.unusable[1].reason


def test_the_same_trial_number_in_another_session_or_study_is_no_repetition(tmp_path: Path) -> None:
    found = read_table(written(tmp_path, row(), row(session="s2"), row(study="birds")))
    assert (len(found.table), found.unusable) == (3, ())


def test_trials_out_of_order_are_remarked_and_count(tmp_path: Path) -> None:
    def at(second: int, **changes: Any) -> dict[str, Any]:
        return row(presented_at=f"2026-01-31T09:30:{second:02d}.000Z", answered_at=None, **changes)

    early = at(1, trial_index=1)
    found = read_table(written(tmp_path, at(5), early, at(9, trial_index=2), at(7, session="s2"), at(1, session="s3")))
    assert (len(found.table), found.unusable) == (5, ())
    assert found.notes == ("In 1 session a trial was presented before one with a lower trial_index.",)
    shuffled = read_table(written(tmp_path, at(9, trial_index=2), at(1, session="s3"), at(5), at(7, trial_index=1)))
    assert shuffled.notes == ()


def test_times_of_several_spellings_are_one_moment(tmp_path: Path) -> None:
    spellings = ("2026-01-31T09:30:00.125Z", "2026-01-31T11:30:00.125456+02:00", "2026-01-31 09:30:00.125")
    rows = (row(trial_index=index, presented_at=text) for index, text in enumerate(spellings))
    found = read_table(written(tmp_path, *rows))
    assert found.unusable == ()
    assert found.table["presented_at"].nunique() == 1


def test_text_that_was_protected_from_spreadsheets_comes_back_as_it_was(tmp_path: Path) -> None:
    names = ["=1+1", "'=1+1", "''@x", "-5", "'quoted'", "it's", "'", "plain", "+", "\tx"]
    found = read_table(written(tmp_path, *(row(pair=name, trial_index=i) for i, name in enumerate(names))))
    assert found.table["pair"].tolist() == names
    assert all(spreadsheet_safe(name)[0] not in "=+-@\t\r" for name in names)
    assert [unprotected(spreadsheet_safe(name)) for name in names] == names


def test_further_columns_are_kept_and_a_wrong_number_there_costs_no_row(tmp_path: Path) -> None:
    path = written(tmp_path, row(), row(trial_index=1))
    pd.read_csv(path, dtype=str).assign(block=["1", "first"], browser=["x", None]).to_csv(path, index=False)
    found = read_table(path)
    assert found.table["block"].tolist() == [1, pytest.approx(np.nan, nan_ok=True)]
    assert found.table["browser"].tolist() == ["x", pytest.approx(np.nan, nan_ok=True)]
    assert found.notes == ("Column block: cells that are no number were taken for empty (1, 'first' first).",)


def test_spreadsheets_semicolons_and_tabs_are_understood(tmp_path: Path) -> None:
    for delimiter in (";", "\t"):
        elsewhere().to_csv(tmp_path / "lab.csv", index=False, sep=delimiter)
        assert len(read_table(tmp_path / "lab.csv", NAMES).table) == 4


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "lab.csv").write_text("pair,pair\n1,2\n")
    with pytest.raises(ResponsesError, match="two columns are called 'pair'; rename one"):
        read_table(tmp_path / "lab.csv")


def test_words_of_several_vocabularies_in_one_table_are_remarked(tmp_path: Path) -> None:
    found = read_table(written(tmp_path, row(), row(trial_index=1, real_side="fake", chosen_side="real")))
    assert found.notes == ("Sides are of several kinds in one table: left and right; real and fake.",)


def test_a_table_in_which_nothing_is_usable_is_refused_with_the_first_line(tmp_path: Path) -> None:
    path = written(tmp_path, row(origin="robot"), row(trial_index=1, origin="robot"))
    with pytest.raises(
        ResponsesError, match=r"line 2, column origin: found 'robot', .* \(2 such lines\); no row can be used"
    ):
        read_table(path)


def test_a_column_filled_from_another_is_not_to_blame(tmp_path: Path) -> None:
    elsewhere(worker=["7", None, "8", "8"]).to_csv(tmp_path / "lab.csv", index=False)
    (unusable,) = read_table(tmp_path / "lab.csv", NAMES).unusable
    assert unusable == Unusable("column participant: found nothing, expected a value", 1, (3,))


def test_parquet_of_any_type_is_read_or_told(tmp_path: Path) -> None:
    path = tmp_path / "lab.parquet"
    days = pd.to_datetime(["2026-01-31", None, "2026-02-01", "2026-02-02"])
    table = elsewhere(rt_ms=[1, None, 3, 4], presented_at=days, tags=[["a", "b"], None, [], ["c"]])
    table.astype({"answer": "category"}).to_parquet(path)
    found = read_table(path, NAMES).table
    assert found["rt_ms"].tolist() == [1, pytest.approx(np.nan, nan_ok=True), 3, 4]
    assert found["presented_at"].dt.day.tolist() == [31, pytest.approx(np.nan, nan_ok=True), 1, 2]
    assert found["tags"].tolist()[0] == "['a', 'b']"
    elsewhere(worker=[b"\xff", b"x", b"y", b"z"]).to_parquet(path)
    with pytest.raises(ResponsesError, match=r"lab\.parquet: column worker cannot be read \(Invalid UTF8"):
        read_table(path, NAMES)
    path.write_bytes(b"PAR1 is how they begin")
    with pytest.raises(ResponsesError, match=r"lab\.parquet is not a response table"):
        read_table(path, NAMES)


def test_many_small_pieces_give_the_table_of_one_large_piece(saved: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    n = 1000
    table = pd.DataFrame({"participant": [f"p{i // 50}" for i in range(n)], "pair": [f"x{i % 301}" for i in range(n)]})
    table = table.assign(real_side="left", chosen_side=["left", "right"] * (n // 2), rt_ms=[str(i) for i in range(n)])
    table.loc[700, "rt_ms"] = "slow"
    path = saved(table)
    whole = read_table(path)
    monkeypatch.setattr("analysis.reading.table_file._ROWS_AT_ONCE", 64)
    monkeypatch.setattr("analysis.reading.table_file._BYTES_AT_ONCE", 2048)
    pieces = read_table(path)
    pd.testing.assert_frame_equal(pieces.table, whole.table)
    assert pieces.unusable == whole.unusable
    assert [one.lines for one in whole.unusable] == [(702,)]
    assert whole.table["pair"].tolist() == table["pair"].drop(700).tolist()


def test_many_rows_of_one_participant_and_many_bad_rows_are_read_at_once(tmp_path: Path) -> None:
    n = 50_000
    frame = pd.DataFrame({"participant": "p", "pair": np.arange(n) % 7, "rt_ms": "512.5"})
    frame["real_side"] = np.where(np.arange(n) % 2, "left", "right")
    frame["chosen_side"] = "left"
    frame.loc[frame.index % 2 == 1, "rt_ms"] = "slow"
    frame.to_csv(tmp_path / "one.csv", index=False)
    found = read_table(tmp_path / "one.csv")
    assert [(one.n, one.lines) for one in found.unusable] == [(n // 2, (3, 5, 7, 9, 11))]
    assert len(found.table) == n // 2
    assert found.table["participant"].unique().tolist() == ["p"]
    assert found.table["trial_index"].iloc[-1] == n - 2
