"""The response table: what is written is read back, and what is wrong is set aside, or refused, with its line."""

import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.reading.table import check_responses, read_table
from analysis.reading.unusable import Unusable
from protocol.responses import COLUMNS, ResponsesError, format_time, write_table


def row(**changes: Any) -> dict[str, Any]:
    """One main trial with an answer."""
    trial = {
        **{"study": "flowers", "session": "s1", "participant": "p1", "origin": "human", "condition": "cgan"},
        **{"pair": "0123456789ab", "trial_index": 0, "kind": "main", "real_side": "left", "chosen_side": "right"},
        **{"rt_ms": 812.5, "exposure_ms": 1000, "exposure_measured_ms": 1000.4, "late_frames": 0},
        **{"presented_at": "2026-01-31T09:30:00.125Z", "answered_at": "2026-01-31T09:30:02.000Z"},
    }
    return {**trial, **changes}


def written(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "responses.csv"
    assert write_table(path, rows, COLUMNS) == len(rows)
    return path


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = written(tmp_path, row(), row(trial_index=1, chosen_side=None, rt_ms=None, exposure_ms=None, answered_at=""))
    table = read_table(path).table
    assert list(table.columns) == list(COLUMNS)
    assert table["rt_ms"].tolist()[0] == 812.5
    assert table["chosen_side"].isna().tolist() == [False, True]
    assert table["exposure_ms"].isna().tolist() == [False, True]
    assert table["pair"].tolist() == ["0123456789ab"] * 2


def test_ids_that_look_like_numbers_or_nothing_stay_text(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, row(session="007", participant="NA", condition="1e5", pair="00"))).table
    assert table.loc[0, ["session", "participant", "condition", "pair"]].tolist() == ["007", "NA", "1e5", "00"]


def test_other_columns_are_kept_after_the_known_ones(tmp_path: Path) -> None:
    path = written(tmp_path, row())
    pd.read_csv(path, dtype=str).assign(browser="x")[["browser", *reversed(COLUMNS)]].to_csv(path, index=False)
    assert list(read_table(path).table.columns) == [*COLUMNS, "browser"]


def test_a_table_saved_by_a_spreadsheet_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, row())
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    table = read_table(path).table
    assert table.loc[0, ["study", "answered_at"]].tolist() == ["flowers", pd.Timestamp("2026-01-31T09:30:02Z")]


def test_a_table_without_rows_is_read(tmp_path: Path) -> None:
    assert read_table(written(tmp_path)).table.empty


BAD_CELLS = [
    ({"origin": "robot"}, "column origin: found 'robot', expected human or simulated"),
    ({"kind": "test"}, "column kind: found 'test', expected practice, main, catch, repeat"),
    ({"real_side": "up"}, "column real_side: found 'up', expected left or right, first or second, real or fake"),
    (
        {"chosen_side": "second"},
        "column chosen_side: found 'second', expected a side in the same words as real_side, or nothing",
    ),
    ({"participant": None}, "column participant: found nothing, expected a value"),
    ({"pair": ""}, "column pair: found nothing, expected a value"),
    ({"rt_ms": "fast"}, "column rt_ms: found 'fast', expected a number, or nothing"),
    ({"rt_ms": "NaN"}, "column rt_ms: found 'NaN', expected a number, or nothing"),
    ({"rt_ms": -1}, "column rt_ms: found -1, expected a number that is not negative"),
    ({"rt_ms": "inf"}, "column rt_ms: found inf, expected a number that is not negative"),
    ({"trial_index": None}, "column trial_index: found nothing, expected a whole number"),
    ({"trial_index": 1.5}, "column trial_index: found 1.5, expected a whole number"),
    ({"trial_index": "two"}, "column trial_index: found 'two', expected a number, or nothing"),
    ({"late_frames": 0.5}, "column late_frames: found 0.5, expected a whole number"),
    ({"trial_index": 0}, "column trial_index: found 0, expected each trial of a session once; the first one counts"),
    (
        {"presented_at": "this morning"},
        "column presented_at: found 'this morning', expected a time such as 2026-01-31T09:30:00.125Z, or nothing",
    ),
    (
        {"answered_at": "2026-01-31T09:29:59.000Z"},
        "column answered_at: found 2026-01-31T09:29:59.000Z, expected a time that is not before presented_at",
    ),
]


@pytest.mark.parametrize(
    ("changes", "reason"), BAD_CELLS, ids=["-".join(map(str, (*c, *c.values()))) for c, _ in BAD_CELLS]
)
def test_a_row_with_a_wrong_cell_is_set_aside_or_refused_with_its_line(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    path = written(tmp_path, row(), row(**{"trial_index": 1, **changes}), row(trial_index=2))
    found = read_table(path)
    assert found.unusable == (Unusable(reason, 1, (3,)),)
    assert found.table["trial_index"].tolist() == [0, 2]
    with pytest.raises(ResponsesError, match=re.escape(f"{path}: line 3, {reason}")):
        read_table(path, strict=True)


def test_how_many_lines_are_wrong_is_told(tmp_path: Path) -> None:
    path = written(tmp_path, row(), *(row(trial_index=i, origin="robot") for i in (1, 2, 3)))
    with pytest.raises(ResponsesError, match=r"line 3, column origin.*\(3 such lines\)$"):
        read_table(path, strict=True)


def test_a_file_that_is_absent_or_no_table_is_told(tmp_path: Path) -> None:
    with pytest.raises(ResponsesError, match="does not exist; give a response table"):
        read_table(tmp_path / "absent.csv")
    picture = tmp_path / "picture.csv"
    picture.write_bytes(b"\x89PNG\r\n\xff\xfe\x00")
    with pytest.raises(ResponsesError, match="is not a response table"):
        read_table(picture)
    empty = tmp_path / "empty.csv"
    empty.touch()
    with pytest.raises(ResponsesError, match="is not a response table"):
        read_table(empty)


def test_an_unknown_column_is_refused_when_writing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="shoe_size"):
        write_table(tmp_path / "responses.csv", [row(shoe_size=43)], COLUMNS)


def test_checking_leaves_the_given_table_as_it_was() -> None:
    given = pd.DataFrame([row()], columns=list(COLUMNS))
    before = given.copy()
    check_responses(given, "here")
    pd.testing.assert_frame_equal(given, before)


def test_times_are_utc_to_the_millisecond() -> None:
    noon = datetime(2026, 1, 31, 12, 0, 0, 125_900, tzinfo=timezone(timedelta(hours=2)))
    assert format_time(noon) == "2026-01-31T10:00:00.125Z"
    assert format_time(datetime(2026, 1, 31, tzinfo=UTC)) == "2026-01-31T00:00:00.000Z"
    assert format_time(None) == ""
