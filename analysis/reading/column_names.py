"""The columns of a file and what was said of them in; the file's name of each of our columns out."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from protocol.responses import COLUMNS, DIRECT_COLUMNS, FURTHER_COLUMNS, ResponsesError

SIDE_COLUMNS = ("real_side", "chosen_side")


def split_columns(given: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The file's name by ours, from pairs of both.

    Raises:
        ResponsesError: if one of ours is given twice.
    """
    columns: dict[str, str] = {}
    for ours, theirs in given:
        if ours in columns:
            raise ResponsesError(f"column {ours} is given twice, as {columns[ours]!r} and as {theirs!r}; keep one")
        columns[ours] = theirs
    return columns


def choose_columns(where: Path, found: Sequence[str], columns: Mapping[str, str]) -> dict[str, str]:
    """The file's name by ours; what is mapped takes the place of a column that has our name already.

    ``where`` is the file and ``found`` its columns. One of them may be both session and participant, and no other two.

    Raises:
        ResponsesError: if a column is unknown, missing, or given for two.
    """
    known = [*COLUMNS, *FURTHER_COLUMNS, *DIRECT_COLUMNS, "fooled"]
    for ours, theirs in columns.items():
        if ours not in known:
            raise ResponsesError(f"there is no column {ours!r} to read {theirs!r} as{_nearest(ours, known)}")
        if theirs not in found:
            raise ResponsesError(
                f"{where}: column {theirs!r}, to be read as {ours}, is missing{_nearest(theirs, found)}"
            )
    _refuse_shared(where, columns)
    given_for = {theirs: ours for ours, theirs in columns.items()}
    if given_for.get("participant") == "session":
        del given_for["participant"]  # it stays what it is too
    names = {name: name for name in found if name not in given_for} | dict(columns)
    others = [name for name in found if name not in known]  # a column of ours is not another one misspelt
    needed = ("participant", "pair", *(() if "fooled" in names else SIDE_COLUMNS))
    for column in needed:
        if column in names:
            continue
        asked = f"say which column it is with '--column {column}=NAME'"
        if column in given_for:
            raise ResponsesError(
                f"{where}: column {column} is missing, as it was given for {given_for[column]}; {asked}"
            )
        fooled = ", or give a column fooled (0 or 1)" if column in SIDE_COLUMNS else ""
        raise ResponsesError(f"{where}: column {column} is missing{_nearest(column, found, others)}; {asked}{fooled}")
    return names


def _refuse_shared(where: Path, columns: Mapping[str, str]) -> None:
    for theirs in dict.fromkeys(columns.values()):
        ours = sorted(name for name in columns if columns[name] == theirs)
        if len(ours) > 1 and ours != ["participant", "session"]:
            raise ResponsesError(f"{where}: column {theirs!r} is given for {' and '.join(ours)}; give each its own")


def _nearest(word: str, found: Sequence[str], likely: Sequence[str] | None = None) -> str:
    """What was found, and the name in ``likely`` (all of these by default) that is nearest to the word, if any is near."""
    by_lower = {name.lower(): name for name in (found if likely is None else likely)}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    shown = [*found[:30], *["…"] * (len(found) > 30)]
    return f" (found {', '.join(shown) or 'no column'})" + (f"; did you mean {by_lower[close[0]]!r}?" if close else "")
