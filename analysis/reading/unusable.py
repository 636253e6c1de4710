"""The columns of a response table in, as codes and numbers; the rows that cannot be used out, by reason."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.reading.cells import Coded, Measured
from protocol.responses import KINDS, ORIGINS, SIDES

WHOLE_NUMBERS = ("trial_index", "late_frames")
NUMBERS = (*WHOLE_NUMBERS, "rt_ms", "exposure_ms", "exposure_measured_ms")
TIMES = ("presented_at", "answered_at")
# Those first that no table is read without: others may have been filled from them, and are not to blame.
REQUIRED = ("participant", "pair", "real_side", "study", "session", "origin", "condition", "kind")
# What a column ``fooled`` may hold, besides nothing; with a point where pandas had a column with gaps.
TRUTH = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}
N_LINES = 5  # of the lines with one problem, so many are told
_MOST = 2**53  # whole numbers from here on fall together as float64
_A_TIME = "a time such as 2026-01-31T09:30:00.125Z, or nothing"


@dataclass(frozen=True)
class Unusable:
    """Rows set aside for one reason: what is wrong, how many there are, and the first of their lines in the file.

    The header is line 1. A row with several faults stands under the first one only.
    """

    reason: str
    n: int
    lines: tuple[int, ...]


Columns = Mapping[str, Coded | Measured]


@dataclass(frozen=True)
class Problem:
    """``n`` rows with one fault, the first of them ``rows``; ``found`` is the cell of the first."""

    column: str
    found: str
    expected: str
    n: int
    rows: tuple[int, ...]

    def __str__(self) -> str:
        return f"column {self.column}: found {self.found}, expected {self.expected}"


def find_unusable(columns: Columns, n: int) -> tuple[np.ndarray, list[Problem]]:
    """Which of the n rows can be used, (n,) bool, and why the others cannot, by the first row of each reason."""
    set_aside = np.zeros(n, bool)
    problems = []
    for column, expected, bad in _rules(columns, set_aside):
        rows = np.flatnonzero(bad & ~set_aside)
        if rows.size:
            first = tuple(int(row) for row in rows[:N_LINES])
            problems.append(Problem(column, _cell(columns[column], first[0]), expected, rows.size, first))
            set_aside[rows] = True
    return ~set_aside, sorted(problems, key=lambda problem: problem.rows)


def _rules(columns: Columns, set_aside: np.ndarray) -> Iterator[tuple[str, str, np.ndarray]]:
    """Every column, what is expected of it, and the rows (n,) that are otherwise. ``set_aside`` grows meanwhile."""
    if "fooled" in columns:
        yield "fooled", "0, 1, false or true, or nothing", _is_other(_coded(columns, "fooled"), TRUTH, or_nothing=True)
    for column in REQUIRED:
        yield column, "a value", _coded(columns, column).codes < 0
    yield "origin", " or ".join(ORIGINS), _is_other(_coded(columns, "origin"), ORIGINS)
    yield "kind", ", ".join(KINDS), _is_other(_coded(columns, "kind"), KINDS)

    # Sides: words of one vocabulary
    real, chosen = (_vocabulary(_coded(columns, column)) for column in ("real_side", "chosen_side"))
    yield "real_side", "left or right, first or second, real or fake", real < 0
    answered = _coded(columns, "chosen_side").codes >= 0
    yield "chosen_side", "a side in the same words as real_side, or nothing", answered & (chosen != real)

    # Numbers and times
    for column in (*NUMBERS, *TIMES):
        misread = np.zeros(set_aside.size, bool)
        misread[_measured(columns, column).misread] = True
        yield column, _A_TIME if column in TIMES else "a number, or nothing", misread
    for column in NUMBERS:
        values = _measured(columns, column).values
        yield column, "a number that is not negative", (values < 0) | np.isinf(values)
        if column in WHOLE_NUMBERS:
            yield column, "a whole number", np.isfinite(values) & (values != np.floor(values))
            yield column, "a number that is not so large (below 2^53), such as 0, 1, 2", values >= _MOST
    yield "trial_index", "a whole number", np.isnan(_measured(columns, "trial_index").values)
    began, ended = (_measured(columns, column).values for column in TIMES)
    yield "answered_at", "a time that is not before presented_at", ended < began

    yield "trial_index", "each trial of a session once; the first one counts", _is_repeated(columns, ~set_aside)


def _coded(columns: Columns, name: str) -> Coded:
    column = columns[name]
    assert isinstance(column, Coded)
    return column


def _measured(columns: Columns, name: str) -> Measured:
    column = columns[name]
    assert isinstance(column, Measured)
    return column


def _cell(column: Coded | Measured, row: int) -> str:
    if isinstance(column, Coded):
        return f"{column.labels[column.codes[row]]!r:.80}" if column.codes[row] >= 0 else "nothing"
    if column.misread.size and row == column.misread[0]:
        return f"{column.example!r:.80}"
    value = column.values[row]
    if isinstance(value, np.datetime64):
        return f"{value}Z"
    return "nothing" if np.isnan(value) else repr(float(value)).removesuffix(".0")


def _is_other(column: Coded, allowed: Collection[str], *, or_nothing: bool = False) -> np.ndarray:
    # The last place is that of code -1, an empty cell.
    return np.array([label not in allowed for label in column.labels] + [not or_nothing])[column.codes]


def _vocabulary(sides: Coded) -> np.ndarray:
    """Which of ``SIDES`` each row's word belongs to, (n,); -1 for none."""
    vocabulary = {side: number for number, words in enumerate(SIDES) for side in words}
    return np.array([vocabulary.get(label, -1) for label in sides.labels] + [-1], dtype=np.int8)[sides.codes]


def vocabularies(columns: Columns, usable: np.ndarray) -> list[tuple[str, str]]:
    """The pairs of words that sides are told in."""
    return [SIDES[number] for number in np.unique(_vocabulary(_coded(columns, "real_side"))[usable])]


def _places(columns: Columns, usable: np.ndarray) -> np.ndarray:
    """One number per usable row, equal for the same trial of a session and rising with the trials of each session."""
    study, session = _coded(columns, "study"), _coded(columns, "session")
    trials = _measured(columns, "trial_index").values[usable]
    if trials.max(initial=0) >= 2**31:  # numbers that are no positions, such as times: their ranks will do
        trials = np.unique(trials, return_inverse=True)[1]
    places = study.codes[usable].astype(np.int64)
    places *= len(session.labels)
    places += session.codes[usable]
    places *= int(trials.max(initial=0)) + 1
    places += trials.astype(np.int64)
    return places


def _is_repeated(columns: Columns, usable: np.ndarray) -> np.ndarray:
    places = _places(columns, usable)
    repeated = np.zeros(usable.size, bool)
    if not (places[1:] > places[:-1]).all():  # a table in the order of its sessions, as nearly all are, is done here
        repeated[usable] = pd.Series(places).duplicated().to_numpy()
    return repeated


def sessions_out_of_order(columns: Columns, usable: np.ndarray) -> int:
    """Sessions of people in which a later trial was presented before an earlier one; simulated ones answer in no time."""
    origin = _coded(columns, "origin")
    is_human = np.array([label == "human" for label in origin.labels] + [False])[origin.codes]
    told = usable & is_human & ~np.isnat(_measured(columns, "presented_at").values)
    presented = _measured(columns, "presented_at").values[told]
    sessions = _coded(columns, "session").codes[told]
    places = _places(columns, told)
    if not (places[1:] > places[:-1]).all():
        order = np.argsort(places, kind="stable")
        presented, sessions = presented[order], sessions[order]
    is_back = (presented[1:] < presented[:-1]) & (sessions[1:] == sessions[:-1])
    return np.unique(sessions[1:][is_back]).size
