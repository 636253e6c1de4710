"""A table in a file, CSV or Parquet, or a data frame in; its columns piece by piece, and the line of each row, out."""

import csv
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from protocol.responses import ResponsesError

_ROWS_AT_ONCE = 2**18
_BYTES_AT_ONCE = 2**24
_DELIMITERS = ",;\t"


@dataclass(frozen=True)
class TableFile:
    """What is known of a file before its rows are read; a CSV has a ``delimiter``, text in all its columns, and no ``n_rows``."""

    path: Path
    schema: pa.Schema
    delimiter: str | None = None
    n_rows: int = 0


def open_table(path: Path) -> TableFile:
    """Read the file's columns.

    Raises:
        ResponsesError: if there is no such file, it is no table, or two columns have one name.
    """
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            with parquet.ParquetFile(path) as table:
                file = TableFile(path, table.schema_arrow, n_rows=table.metadata.num_rows)
        else:
            with path.open(newline="", encoding="utf-8-sig") as text:
                header = next((line for line in text if line.strip("\r\n")), "")
                delimiter = max(_DELIMITERS, key=header.count)  # semicolons and tabs come from spreadsheets
                text.seek(0)
                names = next(filter(None, csv.reader(text, delimiter=delimiter)), [])  # empty lines come before some
            if not names:
                raise ValueError("it is empty")
            if _holds_lines(delimiter.join(names), delimiter, header.count(delimiter) + 1):
                raise _open_quote(path, 1)
            file = TableFile(path, pa.schema([(name, pa.string()) for name in names]), delimiter)
    except FileNotFoundError as error:
        raise ResponsesError(
            f"{path} does not exist; give a response table (CSV or Parquet) or an export folder"
        ) from error
    except (ValueError, OSError, csv.Error, pa.ArrowException) as error:
        raise no_table(path, error) from error
    twice = sorted({name for name in file.schema.names if file.schema.names.count(name) > 1})
    if twice:
        raise ResponsesError(f"{path}: two columns are called {twice[0]!r}; rename one")
    return file


def no_table(path: Path, error: Exception) -> ResponsesError:
    return ResponsesError(f"{path} is not a response table ({error}); give CSV or Parquet in UTF-8")


def read_batches(file: TableFile, on_ragged: Callable[[int], None]) -> Iterator[pa.RecordBatch]:
    """The rows in pieces. Lines of a CSV with too few or too many cells are left out, and their cells are told.

    Raises:
        ResponsesError: if the file turns out to be no table, or a quote in it never closes.
    """
    try:
        if file.delimiter is None:
            # Dictionaries where the file has them; nothing is read before its time.
            words = [field.name for field in file.schema if pa.types.is_string(field.type)]
            with parquet.ParquetFile(file.path, read_dictionary=words, pre_buffer=False) as table:
                yield from table.iter_batches(_ROWS_AT_ONCE)
        else:
            yield from _read_csv(file, on_ragged)
    except ResponsesError:
        raise
    except (ValueError, OSError, pa.ArrowException) as error:
        if file.delimiter is not None and (line := _line_of_open_quote(file)) is not None:
            raise _open_quote(file.path, line) from error
        raise no_table(file.path, error) from error


def _read_csv(file: TableFile, on_ragged: Callable[[int], None]) -> Iterator[pa.RecordBatch]:
    assert file.delimiter is not None
    delimiter, n_columns = file.delimiter, len(file.schema.names)
    swallowing = False

    def leave_out(row: arrow_csv.InvalidRow) -> str:
        nonlocal swallowing
        swallowing |= _holds_lines(row.text, delimiter, n_columns)
        on_ragged(row.actual_columns)
        return "skip"

    batches = arrow_csv.open_csv(
        file.path,
        arrow_csv.ReadOptions(block_size=_BYTES_AT_ONCE),
        arrow_csv.ParseOptions(delimiter=file.delimiter, newlines_in_values=True, invalid_row_handler=leave_out),
        # Only an empty cell is nothing: a participant may be called NA.
        arrow_csv.ConvertOptions(
            column_types=file.schema, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=True
        ),
    )
    for batch in batches:
        swallowing |= any(_holds_lines(row, delimiter, n_columns) for row in _rows_with_breaks(batch, delimiter))
        if swallowing:
            break
        yield batch
    if swallowing:
        raise _open_quote(file.path, _line_of_open_quote(file))


def _rows_with_breaks(batch: pa.RecordBatch, delimiter: str) -> Iterator[str]:
    """The text of each row in which one cell holds line breaks and delimiters for a whole line."""
    for column in batch.columns:
        text = column.buffers()[2]
        data = b"" if text is None else text.to_pybytes()
        if b"\n" not in data and b"\r" not in data:  # nearly always, and quickly told
            continue
        n_delimiters = pc.count_substring(column, delimiter)
        is_wide = pc.and_(
            pc.match_substring_regex(column, "[\r\n]"), pc.greater_equal(n_delimiters, batch.num_columns - 1)
        )
        for row in np.flatnonzero(is_wide.fill_null(False).to_numpy(zero_copy_only=False)):
            yield delimiter.join(cells[int(row)].as_py() or "" for cells in batch.columns)


def _holds_lines(row: str, delimiter: str, n_columns: int) -> bool:
    """Whether the text of one row is that of several: two lines of it have all the delimiters of a row.

    So it is where a quote opens a cell by mistake, and the next quote, or the end of the file, closes it. A comment of
    several lines has no such lines.
    """
    return sum(line.count(delimiter) >= n_columns - 1 for line in re.split(r"\r\n|\r|\n", row)) > 1


def _line_of_open_quote(file: TableFile) -> int | None:
    """The line of the first row that holds several; None if there is none."""
    assert file.delimiter is not None
    line = 1
    with file.path.open(newline="", encoding="utf-8-sig", errors="replace") as text:
        records = csv.reader(text, delimiter=file.delimiter)
        try:
            for record in records:
                if _holds_lines(file.delimiter.join(record), file.delimiter, len(file.schema.names)):
                    return line
                line = records.line_num + 1
        except csv.Error:  # a cell of more than 128 KiB
            return line
    return None


def _open_quote(path: Path, line: int | None) -> ResponsesError:
    where = "a line" if line is None else f"line {line}"
    return ResponsesError(
        f'{path}: {where} has a quote (") that does not close there, and the lines after it would be lost as part of one '
        "cell; take the quote away, or close it"
    )


def line_numbers(file: TableFile, rows: set[int], n_ragged: int) -> tuple[dict[int, int], tuple[int, ...]]:
    """The line on which each of the rows begins, and the first ``n_ragged`` lines that were left out.

    The header is line 1; rows of a Parquet file, or of no file, are counted as those of a CSV.
    """
    if file.delimiter is None:
        return {row: row + 2 for row in rows}, ()
    found: dict[int, int] = {}
    ragged: list[int] = []
    row = 0
    # Python's reader gives up on a cell of more than 128 KiB; the lines after it are not told.
    with suppress(csv.Error), file.path.open(newline="", encoding="utf-8-sig") as text:
        records = csv.reader(text, delimiter=file.delimiter)
        next(filter(None, records))
        line = records.line_num + 1
        for record in records:
            if len(record) == len(file.schema.names):
                if row in rows:
                    found[row] = line
                row += 1
            elif record:  # an empty line is no row
                ragged.append(line)
            if len(found) == len(rows) and len(ragged) >= n_ragged:
                break
            line = records.line_num + 1
    return found, tuple(ragged[:n_ragged])


def open_frame(frame: pd.DataFrame, where: str) -> tuple[TableFile, pa.RecordBatch]:
    """A data frame as if it had been read; cells of one column that are of several types become text."""

    def column(values: pd.Series) -> pa.Array:
        try:
            array = pa.Array.from_pandas(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            return pa.array([None if pd.isna(value) else str(value) for value in values], pa.string())
        return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array

    names = [str(name) for name in frame.columns]
    batch = pa.RecordBatch.from_arrays([column(frame.iloc[:, number]) for number in range(len(names))], names)
    return TableFile(Path(where), batch.schema, n_rows=batch.num_rows), batch
