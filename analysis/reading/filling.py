"""The columns of a table from elsewhere in; what it lacks is filled, and sessions that people share are told apart."""

import numpy as np
import pandas as pd

from analysis.reading.cells import Coded, Measured
from analysis.reading.column_names import SIDE_COLUMNS
from analysis.reading.unusable import TIMES, TRUTH
from protocol.responses import COLUMNS, SIDES

# What stands in every row where a table from elsewhere lacks the column.
_CONSTANTS = {"origin": "human", "condition": "all", "kind": "main"}


def part_sessions(columns: dict[str, Coded | Measured]) -> list[str]:
    """Give everyone a session of their own where one id is of several people, as a session's number is; told as a remark."""
    session, participant = columns.get("session"), columns["participant"]
    if session is None or session is participant:
        return []
    assert isinstance(session, Coded)
    assert isinstance(participant, Coded)
    # Somebody of each session: it is shared if anybody else is there too.
    somebody = np.full(len(session.labels) + 1, -1)
    told = (session.codes >= 0) & (participant.codes >= 0)
    somebody[session.codes[told]] = participant.codes[told]
    shared = np.unique(session.codes[told & (somebody[session.codes] != participant.codes)])
    if not shared.size:
        return []
    rows = np.flatnonzero(told & np.isin(session.codes, shared))
    cells, first = pd.factorize(pd.MultiIndex.from_arrays([session.codes[rows], participant.codes[rows]]))
    labels = {label: number for number, label in enumerate(session.labels)}
    own = [
        labels.setdefault(f"{session.labels[number]} of {participant.labels[person]}", len(labels))
        for number, person in first
    ]
    codes = session.codes.astype(np.int64)
    codes[rows] = np.array(own)[cells]
    columns["session"] = Coded(codes, list(labels), session.n_trimmed)
    example = session.labels[shared[0]]
    n = sum(number == shared[0] for number, _ in first)
    return [
        f"Sessions with one id and several participants were told apart, one for each of them: {shared.size} "
        f"({example!r:.80} was of {n} participants)."
    ]


def fill_absent(columns: dict[str, Coded | Measured], n: int, study: str) -> list[str]:
    """Add what a table from elsewhere may lack; what was added, as a remark."""
    absent = [column for column in COLUMNS if column not in columns and column not in SIDE_COLUMNS]
    everywhere = np.zeros(n, np.int8)
    told = []
    for column, value in {"study": study, **_CONSTANTS}.items():
        if column in absent:
            columns[column] = Coded(everywhere, [value])
            told.append(f"{column} ({value!r} everywhere)")
    if "session" in absent:
        columns["session"] = columns["participant"]
        told.append("session (one for each participant)")
    if "trial_index" in absent:
        sessions = columns["session"]
        assert isinstance(sessions, Coded)
        order = pd.Series(sessions.codes).groupby(sessions.codes).cumcount()
        columns["trial_index"] = Measured(order.to_numpy(dtype=float), np.empty(0, np.int64))
        told.append("trial_index (the order of the rows)")
    for column in absent:
        if column not in columns:
            unit = "datetime64[ms]" if column in TIMES else "float64"
            columns[column] = Measured(np.full(n, np.nan).astype(unit), np.empty(0, np.int64))
            told.append(f"{column} (empty)")
    return [f"Columns that the table lacks were filled: {', '.join(told)}."] if told else []


def make_sides(columns: dict[str, Coded | Measured]) -> None:
    """Sides that agree with ``fooled`` and are balanced within each condition and outcome, so that they tell nothing."""
    given, condition = columns["fooled"], columns["condition"]
    assert isinstance(given, Coded)
    assert isinstance(condition, Coded)
    words = [label.lower() for label in given.labels]
    columns["fooled"] = Coded(given.codes, words)  # is looked at for words that are neither, then goes
    fooled = np.array([TRUTH.get(word, -1) for word in words] + [-1])[given.codes]
    turn = pd.Series(fooled).groupby([condition.codes, fooled]).cumcount().to_numpy() % 2
    columns["real_side"] = Coded(turn, list(SIDES[0]))
    columns["chosen_side"] = Coded(np.where(fooled < 0, -1, turn ^ fooled), list(SIDES[0]))
