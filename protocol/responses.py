"""The response table: one row per trial shown; written by the survey's export, read by the analysis."""

import csv
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from protocol import InputError

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
# What a table from elsewhere may have; the survey never shows two fakes together.
DIRECT_COLUMNS = {
    "against": "the condition whose picture was on the other side, where two were shown against each other; such trials only rank",
}
ORIGINS = ("human", "simulated")
KINDS = ("practice", "main", "catch", "repeat")
SIDES = (("left", "right"), ("first", "second"), ("real", "fake"))
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


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
    """Text that a spreadsheet would run as a formula gets a quote before it, which ``unprotected`` takes away; numbers stay."""
    # Text that already has quotes before a formula gets one more, so that every text comes back as it was.
    return f"'{value}" if isinstance(value, str) and value.lstrip("'").startswith(_FORMULA) else value


def unprotected(text: str) -> str:
    """The text that ``spreadsheet_safe`` was given."""
    return text[1:] if text.startswith("'") and text.lstrip("'").startswith(_FORMULA) else text
