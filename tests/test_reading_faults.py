"""Damaged and ambiguous tables: nothing is lost in silence, and every refusal names the place."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from test_responses import row, written

from analysis.reading.column_names import split_columns
from analysis.reading.table import read_table
from protocol.responses import ResponsesError

OPEN_QUOTE = r"line {} has a quote \(\"\) that does not close there, and the lines after it would be lost"


def twelve(folder: Path, **changes: Any) -> Path:
    """Three people's four trials each, on lines 2 to 13."""
    people = (("s1", "p1"), ("s2", "p2"), ("s3", "p3"))
    return written(
        folder,
        *(row(session=s, participant=p, trial_index=i) | changes for s, p in people for i in range(4)),
    )


def edited(path: Path, *edits: tuple[int, str, str]) -> Path:
    """The file with a text replaced, once, on some of its lines."""
    lines = path.read_text().split("\n")
    for number, old, new in edits:
        assert old in lines[number - 1]
        lines[number - 1] = lines[number - 1].replace(old, new, 1)
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize(
    "edits",
    [
        [(6, "p2", '"p2')],  # closes nowhere
        [(6, "2026", '"2026')],  # nowhere, in a row that is whole but for its last cell
        [(6, "p2", '"p2'), (7, "p2", '"p2')],  # a whole row again, by the quote of the same column
        [(6, "p2", '"p2'), (9, "p2", 'p2"')],
        [(6, "s2", '"s2'), (7, "right", '"right')],  # of another column
        [(6, "flowers", '"flowers')],
    ],
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_a_quote_that_swallows_lines_is_refused_with_its_line(
    tmp_path: Path, edits: list[tuple[int, str, str]], line_end: str
) -> None:
    path = edited(twelve(tmp_path), *edits)
    path.write_bytes(path.read_bytes().replace(b"\n", line_end.encode()))
    with pytest.raises(ResponsesError, match=OPEN_QUOTE.format(6)):
        read_table(path)


def test_a_quote_that_swallows_more_than_is_read_at_once_is_refused_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = edited(twelve(tmp_path), (6, "p2", '"p2'))
    monkeypatch.setattr("analysis.reading.table_file._BYTES_AT_ONCE", 512)
    with pytest.raises(ResponsesError, match=OPEN_QUOTE.format(6)):
        read_table(path)


def test_a_quote_in_the_header_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResponsesError, match=OPEN_QUOTE.format(1)):
        read_table(edited(twelve(tmp_path), (1, "study", '"study')))


def test_comments_of_several_lines_and_quotes_within_words_swallow_nothing(tmp_path: Path) -> None:
    path = twelve(tmp_path)
    comments = ["Nice, really,\n\nthanks, bye", 'a 5" screen\nat home'] * 6
    pd.read_csv(path, dtype=str).assign(comment=comments).to_csv(path, index=False)
    edited(path, (2, "p1", 'p"1'))
    found = read_table(path)
    assert found.table["comment"].tolist() == comments
    assert (found.table["participant"].iloc[0], found.unusable) == ('p"1', ())


def test_lines_of_several_lengths_are_told_with_the_shortest_and_the_longest(tmp_path: Path) -> None:
    found = read_table(edited(twelve(tmp_path), (3, "flowers,", ""), (5, "flowers", "flowers,x,y")))
    assert [(one.reason, one.n, one.lines) for one in found.unusable] == [
        ("found 15 to 18 cells, expected 16", 2, (3, 5))
    ]


def test_empty_lines_before_the_header_are_passed_over(tmp_path: Path) -> None:
    path = twelve(tmp_path)
    path.write_text("\n\n" + path.read_text().replace("cgan,0123456789ab,3,main", "cgan,0123456789ab,3,test", 1))
    found = read_table(path)
    assert (len(found.table), found.unusable[0].lines) == (11, (7,))


def test_blanks_around_words_are_left_out_and_counted(tmp_path: Path) -> None:
    edits = [(2, "p1", "p1 "), (3, "p1", " p1"), (7, "right", "right  "), (8, ",p2,", ",  ,")]
    found = read_table(edited(twelve(tmp_path), *edits))
    assert found.table["participant"].value_counts().to_dict() == {"p1": 4, "p2": 3, "p3": 4}
    assert set(found.table["chosen_side"]) == {"right"}
    assert found.notes == ("Blanks around the text of cells were left out (participant: 3, chosen_side: 1).",)
    assert [(one.reason, one.lines) for one in found.unusable] == [
        ("column participant: found nothing, expected a value", (8,))
    ]


def test_a_session_number_that_several_people_share_is_told_apart(tmp_path: Path) -> None:
    path = twelve(tmp_path, session="1")
    text = path.read_text() + path.read_text().split("\n")[1].replace(",1,p1,", ",2,p1,") + "\n"
    path.write_text(text)
    found = read_table(path)
    assert (len(found.table), found.unusable) == (13, ())
    sessions = found.table.groupby("session", observed=True)["participant"].agg(["first", "nunique", "size"])
    assert sessions.reset_index().to_numpy().tolist() == [
        *(["1 of p1", "p1", 1, 4], ["1 of p2", "p2", 1, 4], ["1 of p3", "p3", 1, 4], ["2", "p1", 1, 1]),
    ]
    assert found.notes == (
        "Sessions with one id and several participants were told apart, one for each of them: 1 ('1' was of 3 participants).",
    )


def test_a_shared_session_without_trial_numbers_gives_everyone_their_own_order(tmp_path: Path) -> None:
    path = twelve(tmp_path, session="1")
    pd.read_csv(path).drop(columns="trial_index").to_csv(path, index=False)
    assert read_table(path).table["trial_index"].tolist() == [0, 1, 2, 3] * 3


def test_a_row_without_participant_makes_no_session_shared(tmp_path: Path) -> None:
    found = read_table(edited(twelve(tmp_path), (3, "p1", "")))
    assert (found.table["session"].nunique(), found.notes, found.unusable[0].lines) == (3, (), (3,))


def test_trial_numbers_too_large_to_tell_apart_are_set_aside_as_they_stand(tmp_path: Path) -> None:
    path = edited(twelve(tmp_path), (4, "ab,2,", f"ab,{2**53},"), (5, "ab,3,", f"ab,{2**53 + 1},"))
    (unusable,) = read_table(edited(path, (6, "ab,0,", f"ab,{2**53 - 1},"))).unusable
    assert (unusable.n, unusable.lines) == (2, (4, 5))
    assert unusable.reason.startswith(
        "column trial_index: found 9007199254740992, expected a number that is not so large"
    )


def test_a_column_is_given_once_and_for_one_thing(tmp_path: Path) -> None:
    assert split_columns([("pair", "a"), ("session", "b")]) == {"pair": "a", "session": "b"}
    with pytest.raises(ResponsesError, match="column pair is given twice, as 'stimulus' and as 'worker'; keep one"):
        split_columns([("pair", "stimulus"), ("pair", "worker")])
    with pytest.raises(ResponsesError, match="column 'kind' is given for condition and pair; give each its own"):
        read_table(twelve(tmp_path), {"pair": "kind", "condition": "kind"})


def test_a_column_used_for_another_is_missed_by_its_own_name(tmp_path: Path) -> None:
    path = twelve(tmp_path)
    with pytest.raises(
        ResponsesError,
        match=r"column participant is missing, as it was given for pair; say which column it is with "
        r"'--column participant=NAME'$",
    ):
        read_table(path, {"pair": "participant"})
    table = read_table(path, {"session": "participant"}).table
    assert table["session"].tolist() == table["participant"].tolist() == ["p1"] * 4 + ["p2"] * 4 + ["p3"] * 4


def test_a_missing_side_is_asked_for_and_fooled_offered(tmp_path: Path) -> None:
    path = twelve(tmp_path)
    pd.read_csv(path).drop(columns="real_side").to_csv(path, index=False)
    with pytest.raises(
        ResponsesError,
        match=r"column real_side is missing \(found study, .*, answered_at\); say which column it is with "
        r"'--column real_side=NAME', or give a column fooled \(0 or 1\)$",
    ):
        read_table(path)
