"""The response table: one row per trial shown; written by the survey's export, read by the analysis."""

import csv
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protocol import InputError

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {
    "study": "name of the study",
    "session": "one participant's sitting, an opaque id",
    "participant": "the person, an opaque id",
    "origin": "human or simulated",
    "condition": "the generator whose pair was shown, as named in the study",
    "pair": "the pair's id; it comes from the photo, so it is the same in every condition",
    "trial_index": "position in the session, from 0",
    "kind": "practice, main, catch or repeat; only main enters a fool rate",
    "real_side": "where the real picture was: left or right (first or second when sequential; what was shown, for one picture)",
    "chosen_side": "the side taken for real, whatever the question's wording; empty where no answer came",
    "rt_ms": "response time from onset, milliseconds; empty where no answer came",
    "exposure_ms": "planned exposure, milliseconds; empty: until the answer",
    "exposure_measured_ms": "exposure as measured by the browser's frame clock, milliseconds",
    "late_frames": "frames that came late during the exposure",
    "presented_at": "onset of the pictures, UTC, RFC 3339",
    "answered_at": "the answer, UTC, RFC 3339",
}
# What the survey knows besides. A table from elsewhere need not have these.
FURTHER_COLUMNS = {
    "block": "part of the main trials, from 0; there is a rest between two parts, and a staircase begins anew",
    "repeat_of": "trial_index of the trial that this repeat shows again; empty for other kinds",
    "exposure_second_measured_ms": "measured exposure of the second picture, when sequential, milliseconds",
    "frame_interval_ms": "time between two frames of the participant's screen, milliseconds",
    "picture_width_px": "width of a picture as it was shown, CSS pixels",
    "focus_lost": "true where the page was hidden or lost the focus while the pictures were there",
    "presentations": "how often the trial was shown: more than once after a reload",
    "input_method": "mouse, touch, pen or keyboard",
    "language": "language of the session, a BCP 47 tag",
    "outcome": "how the session ended: completed, screened_out, failed_checks or full; empty where it has not",
}
ORIGINS = ("human", "simulated")
KINDS = ("practice", "main", "catch", "repeat")
SIDES = (("left", "right"), ("first", "second"), ("real", "fake"))
_INTEGERS = ("trial_index", "late_frames")
_NUMBERS = ("rt_ms", "exposure_ms", "exposure_measured_ms")
_REQUIRED = ("study", "session", "participant", "origin", "condition", "pair", "kind", "real_side")


class ResponsesError(InputError):
    """A response table that cannot be read or does not hold what its columns promise."""


def format_time(moment: datetime | None) -> str:
    """RFC 3339 in UTC with milliseconds: ``2026-01-31T09:30:00.125Z``; nothing for None."""
    if moment is None:
        return ""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def write_table(path: Path, rows: Iterable[dict[str, Any]], columns: Collection[str]) -> int:
    """Write rows (a value per column; None, or none at all, is an empty cell) as CSV; the number of rows."""
    # The csv module, not pandas: the survey server writes tables and never loads pandas.
    count = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(columns), extrasaction="raise", lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({column: spreadsheet_safe(value) for column, value in row.items()})
            count += 1
    return count


def spreadsheet_safe(value: Any) -> Any:
    """Text that a spreadsheet would run as a formula gets a quote before it; numbers stay."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def read_responses(path: Path) -> "pd.DataFrame":
    """A checked response table from CSV or Parquet; text columns as str, absent sides as NA, numbers as floats.

    Raises:
        ResponsesError: naming the file, the column and the first row (line of the CSV file) that is wrong.
    """
    import pandas as pd

    try:
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
        else:
            table = pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""], encoding="utf-8")
    except FileNotFoundError as error:
        raise ResponsesError(
            f"{path} does not exist; give a response table (CSV or Parquet) or an export folder"
        ) from error
    except ImportError as error:
        raise ResponsesError(
            f"{path}: reading Parquet needs pyarrow; run 'pip install pyarrow', or give a CSV"
        ) from error
    except (ValueError, OSError) as error:  # pandas' parser errors are ValueErrors
        raise ResponsesError(f"{path} is not a response table ({error}); give CSV or Parquet in UTF-8") from error
    return check_responses(table, str(path))


def check_responses(table: "pd.DataFrame", where: str) -> "pd.DataFrame":
    """The table with its columns typed; raises ResponsesError as ``read_responses`` does."""
    import pandas as pd

    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        raise ResponsesError(
            f"{where}: column {missing[0]} is missing; a response table has the columns {', '.join(COLUMNS)}"
        )
    table = table[[*COLUMNS, *(c for c in table.columns if c not in COLUMNS)]].copy()

    def refuse(bad: "pd.Series", column: str, expected: str) -> None:
        bad = bad.fillna(False).astype(bool)
        if bad.any():
            position = int(bad.to_numpy().argmax())
            raise ResponsesError(
                f"{where}: line {position + 2}, column {column}: found {table[column].iloc[position]!r}, expected {expected}"
                + (f" ({int(bad.sum())} such lines)" if bad.sum() > 1 else "")
            )

    for column in _REQUIRED:
        refuse(table[column].isna(), column, "a value")
        table[column] = table[column].astype(str)
    refuse(~table["origin"].isin(ORIGINS), "origin", "human or simulated")
    refuse(~table["kind"].isin(KINDS), "kind", ", ".join(KINDS))
    sides = {side: vocabulary for vocabulary in SIDES for side in vocabulary}
    refuse(~table["real_side"].isin(list(sides)), "real_side", "left or right, first or second, real or fake")
    same_words = table["chosen_side"].map(sides) == table["real_side"].map(sides)
    refuse(
        table["chosen_side"].notna() & ~same_words, "chosen_side", "a side in the same words as real_side, or nothing"
    )
    refuse(table["trial_index"].isna(), "trial_index", "a whole number")
    for column in (*_INTEGERS, *_NUMBERS):
        number = pd.to_numeric(table[column], errors="coerce")
        refuse(number.isna() & table[column].notna(), column, "a number, or nothing")
        refuse((number < 0) | (number == float("inf")), column, "a number that is not negative")
        refuse((number % 1 != 0) & number.notna() & (column in _INTEGERS), column, "a whole number")
        table[column] = number.astype(float)
    refuse(table.duplicated(["study", "session", "trial_index"]), "trial_index", "each trial of a session once")
    return table
