"""Answers from anywhere in, CSV or Parquet under any column names; a typed response table and what was set aside out."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from analysis.reading.amt import PRACTICE, is_amt, melt_amt
from analysis.reading.cells import Coded, Measured, Quantities, Words, is_number
from analysis.reading.column_names import SIDE_COLUMNS, choose_columns
from analysis.reading.filling import fill_absent, make_sides, part_sessions
from analysis.reading.table_file import TableFile, line_numbers, open_frame, open_table, read_batches
from analysis.reading.unusable import (
    N_LINES,
    NUMBERS,
    TIMES,
    Problem,
    Unusable,
    find_unusable,
    sessions_out_of_order,
    vocabularies,
)
from protocol.responses import COLUMNS, ResponsesError

_FURTHER_NUMBERS = (
    *("block", "repeat_of", "exposure_second_measured_ms", "frame_interval_ms", "picture_width_px", "presentations"),
)


@dataclass(frozen=True)
class ResponseTable:
    """The rows that can be used, those that cannot by reason, and remarks on what was taken for granted.

    ``table`` has a row per trial, all of COLUMNS first: text as Categorical with sorted categories (real_side and
    chosen_side share theirs), numbers as float64, times as datetime64[ms, UTC]; absent values are NaN and NaT.
    ``sides_known`` is False where the table said only whether people were fooled: nothing by side can be told then.
    """

    table: pd.DataFrame
    unusable: tuple[Unusable, ...] = ()
    notes: tuple[str, ...] = ()
    sides_known: bool = True


@dataclass(frozen=True)
class _Origin:
    """Where rows come from: ``records`` (n,) are the file's records behind the rows, where several rows share one."""

    file: TableFile
    records: np.ndarray | None = None
    ragged: Counter[int] = field(default_factory=Counter)


def read_table(
    path: Path, columns: Mapping[str, str] | None = None, strict: bool = False, practice: int = PRACTICE
) -> ResponseTable:
    """Read a response table, or (known by its columns) the result CSV of AMT_Real_vs_Fake.

    ``columns`` maps our names of columns to the file's; ``practice``: see ``melt_amt``.

    Raises:
        ResponsesError: if the file is no table, lacks a column that nothing can stand for, or has no usable row; if
            ``strict``, at the first row that cannot be used.
    """
    file = open_table(path)
    if not columns and is_amt(file.schema.names):
        return _read_amt(file, strict, practice)
    names = choose_columns(file.path, file.schema.names, columns or {})
    ragged: Counter[int] = Counter()
    batches = read_batches(file, lambda n_cells: ragged.update([n_cells]))
    return _finish(_gather(file, batches, names), _Origin(file, None, ragged), strict, path.stem)


def _read_amt(file: TableFile, strict: bool, practice: int) -> ResponseTable:
    ragged: Counter[int] = Counter()
    batches = read_batches(file, lambda n_cells: ragged.update([n_cells]))
    wide = pa.Table.from_batches(batches, file.schema).to_pandas()
    long, records, notes = melt_amt(wide, practice, str(file.path))
    melted, batch = open_frame(long, str(file.path))
    columns = _gather(melted, [batch], {name: name for name in long.columns})
    return _finish(columns, _Origin(file, records, ragged), strict, file.path.stem, notes)


def check_responses(frame: pd.DataFrame, where: str) -> pd.DataFrame:
    """A table made by hand, typed as ``read_table`` does; ``where`` names it in errors.

    Raises:
        ResponsesError: at the first row that cannot be used, counted as lines of a CSV.
    """
    file, batch = open_frame(frame, where)
    return _finish(
        _gather(file, [batch], choose_columns(file.path, file.schema.names, {})), _Origin(file), True, where
    ).table


def _gather(
    file: TableFile, batches: Iterable[pa.RecordBatch], names: Mapping[str, str]
) -> dict[str, Coded | Measured]:
    """The columns by our names."""
    side_labels: dict[str, int] = {}
    is_protected = file.delimiter is not None
    cells: dict[str, Words | Quantities] = {}
    for ours, theirs in names.items():
        is_quantity = ours in (*NUMBERS, *TIMES, *_FURTHER_NUMBERS)
        is_quantity |= ours not in (*COLUMNS, "fooled") and is_number(file.schema.field(theirs).type)
        if is_quantity:
            cells[ours] = Quantities(ours in TIMES, file.n_rows)
        else:
            cells[ours] = Words(side_labels if ours in SIDE_COLUMNS else {}, is_protected, file.n_rows)
    n = 0
    for batch in batches:
        for ours, theirs in names.items():
            try:
                cells[ours].add(batch.column(theirs), n)
            except pa.ArrowException as error:
                raise ResponsesError(
                    f"{file.path}: column {theirs} cannot be read ({error}); keep it as text or numbers"
                ) from error
        n += batch.num_rows
    return {ours: column.done() for ours, column in cells.items()}


def _finish(
    columns: dict[str, Coded | Measured], origin: _Origin, strict: bool, study: str, notes: tuple[str, ...] = ()
) -> ResponseTable:
    """Fill what is absent, set aside what cannot be used, and make the table of the rest. Empties ``columns``."""
    participants = columns["participant"]
    assert isinstance(participants, Coded)
    n = participants.codes.size
    remarks = [*notes, *_trimmed(columns), *part_sessions(columns), *fill_absent(columns, n, study)]
    sides_known = all(column in columns for column in SIDE_COLUMNS)
    if sides_known:
        columns.pop("fooled", None)
    else:
        make_sides(columns)
        remarks.append(
            "The table says whether people were fooled, not which sides they saw and chose: nothing is known of side bias."
        )
    usable, problems = find_unusable(columns, n)
    unusable = _located(problems, origin)
    if unusable and (strict or not usable.any()):
        first = unusable[0]
        line = f"line {first.lines[0]}, " if first.lines else ""
        others = f" ({first.n} such lines)" if first.n > 1 else ""
        raise ResponsesError(
            f"{origin.file.path}: {line}{first.reason}{others}" + "; no row can be used" * (not usable.any())
        )
    remarks += _remarks(columns, usable)
    return ResponseTable(_as_frame(columns, usable), unusable, tuple(remarks), sides_known)


def _located(problems: list[Problem], origin: _Origin) -> tuple[Unusable, ...]:
    """The problems with their lines, and the lines with too few or too many cells; the first line first."""
    n_ragged = origin.ragged.total()
    if not problems and not n_ragged:
        return ()

    def record(row: int) -> int:
        return row if origin.records is None else int(origin.records[row])

    rows = {record(row) for problem in problems for row in problem.rows}
    lines, ragged = line_numbers(origin.file, rows, min(n_ragged, N_LINES))
    unusable = []
    for problem in problems:
        first = sorted({lines[record(row)] for row in problem.rows if record(row) in lines})
        unusable.append(Unusable(str(problem), problem.n, tuple(first)))
    if n_ragged:
        fewest, most, expected = min(origin.ragged), max(origin.ragged), len(origin.file.schema.names)
        found = f"{fewest} to {most}" if most > fewest else f"{most}"
        unusable.append(Unusable(f"found {found} cells, expected {expected}", n_ragged, ragged))
    return tuple(sorted(unusable, key=lambda one: one.lines))


def _trimmed(columns: Mapping[str, Coded | Measured]) -> list[str]:
    """What was done to blanks, as a remark."""
    trimmed = {
        name: column.n_trimmed for name, column in columns.items() if isinstance(column, Coded) and column.n_trimmed
    }
    if not trimmed:
        return []
    return [
        f"Blanks around the text of cells were left out ({', '.join(f'{name}: {n}' for name, n in trimmed.items())})."
    ]


def _remarks(columns: dict[str, Coded | Measured], usable: np.ndarray) -> list[str]:
    """What is odd about the table and no reason to set rows aside."""
    remarks = []
    late = sessions_out_of_order(columns, usable)
    if late:
        remarks.append(
            f"In {late} session{'s' * (late > 1)} a trial was presented before one with a lower trial_index."
        )
    found = vocabularies(columns, usable)
    if len(found) > 1:
        remarks.append(f"Sides are of several kinds in one table: {'; '.join(f'{a} and {b}' for a, b in found)}.")
    for name, column in columns.items():
        if name in _FURTHER_NUMBERS and isinstance(column, Measured) and column.misread.size:
            remarks.append(
                f"Column {name}: cells that are no number were taken for empty ({column.misread.size}, {column.example!r:.80} first)."
            )
    return remarks


def _as_frame(columns: dict[str, Coded | Measured], usable: np.ndarray) -> pd.DataFrame:
    """The usable rows. Columns leave ``columns`` one by one, so that a large table is not held twice."""
    rows = slice(None) if usable.all() else usable
    columns.pop("fooled", None)
    sides = {label for column in SIDE_COLUMNS for label in _labels_used(columns[column], rows)}
    series: dict[str, pd.Series] = {}
    for name in (*COLUMNS, *(column for column in [*columns] if column not in COLUMNS)):
        column = columns.pop(name)
        if isinstance(column, Coded):
            labels = sorted(sides if name in SIDE_COLUMNS else _labels_used(column, rows))
            place = {label: number for number, label in enumerate(labels)}
            # The last place is that of code -1, an empty cell.
            codes = np.array([place.get(label, -1) for label in column.labels] + [-1])
            codes = codes.astype(np.min_scalar_type(-len(labels) - 1))[column.codes[rows]]
            series[name] = pd.Series(pd.Categorical.from_codes(codes, pd.Index(labels, dtype=str)))
        elif name in TIMES:
            series[name] = pd.Series(column.values[rows]).dt.tz_localize("UTC")
        else:
            series[name] = pd.Series(column.values[rows])
    return pd.DataFrame(series, copy=False)


def _labels_used(column: Coded | Measured, rows: slice | np.ndarray) -> list[str]:
    assert isinstance(column, Coded)
    used = np.zeros(len(column.labels) + 1, bool)
    used[column.codes[rows]] = True
    return [label for label, is_used in zip(column.labels, used, strict=False) if is_used]
