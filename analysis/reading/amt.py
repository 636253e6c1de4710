"""The result CSV of AMT_Real_vs_Fake (github.com/phillipi/AMT_Real_vs_Fake) in, an assignment a row; a trial a row out.

What its ``process_csv.py`` counts is counted here too: the first trials of an assignment are practice, and an answer
names the picture that was taken for the *fake*, so it is right when it is not ``gt_side``, the real one's side. What
differs changes no rate of an algorithm whose trials were all answered: an answer never given (``unset``) is none instead
of "left"; vigilance trials are catch trials instead of an algorithm; the real picture's folder is the one on ``gt_side``
instead of the commonest; and two assignments of one worker are one participant.
"""

import re
from collections.abc import Collection

import numpy as np
import pandas as pd

from protocol.responses import ResponsesError

PRACTICE = 10  # trials; as process_csv.py without --N_practice
_VIGILANCE = "vigilance"  # the folder of pictures that are obviously fake, as in mk_expt.py
_OTHER = {"left": "right", "right": "left"}
_TRIAL_COLUMNS = ("Input.gt_side", "Input.images_left", "Input.images_right", "Answer.selection")
_TRIAL_COLUMN = re.compile(rf"({'|'.join(map(re.escape, _TRIAL_COLUMNS))})([0-9]{{1,4}})")


def is_amt(names: Collection[str]) -> bool:
    """Any column of a trial tells: a file that lacks others is one that was damaged."""
    return any(_TRIAL_COLUMN.fullmatch(name) for name in names)


def melt_amt(wide: pd.DataFrame, practice: int, where: str) -> tuple[pd.DataFrame, np.ndarray, tuple[str, ...]]:
    """Trials as rows of a response table, the row of ``wide`` behind each (n,), and remarks.

    The first ``practice`` trials of each assignment are practice trials; the file does not say how many there were.

    Raises:
        ResponsesError: if a trial, from the first to the last that has a column, lacks one of its four.
    """
    found = [int(match[2]) for name in wide.columns if (match := _TRIAL_COLUMN.fullmatch(name))]
    trials = range(max(found) + 1)
    texts = {}
    for column in (f"{name}{trial}" for trial in trials for name in _TRIAL_COLUMNS):
        if column not in wide:
            raise ResponsesError(f"{where}: column {column} is missing; give the CSV as it came from Mechanical Turk")
        texts[column] = wide[column].str.strip()
    n_trimmed = sum(int((text != wide[column])[text.notna()].sum()) for column, text in texts.items())
    wide = wide.assign(**texts)
    records = np.arange(len(wide))
    notes = [
        f"Result file of AMT_Real_vs_Fake: the first {practice} of an assignment's {len(trials)} trials were taken for "
        "practice; say so if there were more or fewer."
    ]
    if n_trimmed:
        notes.append(f"Blanks around the text of cells were left out: {n_trimmed}.")
    numbers = pd.Series([f"row {record + 1}" for record in records], index=wide.index)
    session = wide.get("AssignmentId", numbers)
    if "WorkerId" not in wide:
        notes.append("The file has no WorkerId: each assignment was taken for a participant.")
    participant = wide.get("WorkerId", session)
    parts = [_trial(wide, trial, trial < practice).assign(session=session, participant=participant) for trial in trials]
    long = pd.concat(parts, ignore_index=True).assign(origin="human")
    n_unset = int((long.pop("selection") == "unset").sum())
    if n_unset:
        notes.append(f"Trials sent in without an answer, which process_csv.py counts as 'left': {n_unset}.")
    if not long.pop("is_paired").all():
        notes.append("Reals and fakes are of different photographs: a pair is named by its fake.")
    order = np.argsort(np.tile(records, len(trials)), kind="stable")
    return long.iloc[order].reset_index(drop=True), np.repeat(records, len(trials)), tuple(notes)


def _trial(wide: pd.DataFrame, trial: int, is_practice: bool) -> pd.DataFrame:
    """One trial of every assignment."""
    real_side, left, right, selection = (wide[f"{name}{trial}"] for name in _TRIAL_COLUMNS)
    real, fake = left.where(real_side == "left", right), right.where(real_side == "left", left)
    folder, photo = _folder_and_photo(fake)
    is_vigilance = folder.str.rsplit("/").str[-1] == _VIGILANCE
    return pd.DataFrame(
        {
            "condition": folder,
            "pair": photo,
            "trial_index": trial,
            "kind": "practice" if is_practice else np.where(is_vigilance, "catch", "main"),
            "real_side": real_side,
            # Text that is no side stays, to be set aside with its line.
            "chosen_side": selection.mask(selection == "unset").replace(_OTHER),
            "selection": selection,
            "is_paired": _folder_and_photo(real)[1] == photo,
        }
    )


def _folder_and_photo(path: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Folder, and file name without its ending: the algorithm, and the photograph's number."""
    parts = path.str.extract(r"^(?:(.*)/)?([^/]*?)(?:\.[^./]*)?$")
    return parts[0], parts[1]
