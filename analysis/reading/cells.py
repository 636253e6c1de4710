"""Cells of a column in, piece by piece as Arrow arrays; codes of text, numbers and times of all rows out."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from protocol.responses import unprotected


@dataclass(frozen=True)
class Coded:
    """Text of n rows: ``codes`` (n,) point into ``labels``; -1 where the cell is empty.

    ``n_trimmed`` cells of the file had blanks around their text.
    """

    codes: np.ndarray
    labels: list[str]
    n_trimmed: int = 0


@dataclass(frozen=True)
class Measured:
    """Numbers or times of n rows: float64 or datetime64[ms] (n,), NaN or NaT where the cell is empty or misread.

    ``misread`` holds the rows, ascending, whose text is no number or time; ``example`` is the first of these texts.
    """

    values: np.ndarray
    misread: np.ndarray
    example: str | None = None


class _Rows:
    """An array filled from its start. Where the number of rows is known nothing is ever copied or held twice."""

    def __init__(self, dtype: str, n_expected: int) -> None:
        self._values = np.empty(n_expected, dtype)
        self._n = 0

    def add(self, piece: np.ndarray) -> None:
        old, n = self._values, self._n + piece.size
        dtype = np.promote_types(old.dtype, piece.dtype)
        if n > old.size or dtype != old.dtype:
            self._values = np.empty(old.size if n <= old.size else max(n, 2 * old.size), dtype)
            self._values[: self._n] = old[: self._n]
        self._values[self._n : n] = piece
        self._n = n

    def done(self) -> np.ndarray:
        return self._values[: self._n]


class Words:
    """Text on its way to codes. ``labels`` may be shared by columns; ``is_protected``: see ``responses.unprotected``."""

    def __init__(self, labels: dict[str, int], is_protected: bool, n_expected: int) -> None:
        self._labels = labels
        self._is_protected = is_protected
        self._codes = _Rows("int8", n_expected)
        self._n_trimmed = 0

    def add(self, array: pa.Array, first_row: int) -> None:
        array = array if pa.types.is_dictionary(array.type) else _as_text(array).dictionary_encode()
        words = _as_text(array.dictionary).to_pylist()
        codes = np.array([*map(self._code, words), -1], dtype=np.int64)
        # The number of labels bounds the codes, and most columns have few: a byte or two per cell.
        codes = codes.astype(np.min_scalar_type(-len(self._labels) - 1))
        indices = array.indices.fill_null(len(words)).to_numpy(zero_copy_only=False)
        self._codes.add(codes[indices])
        trimmed = [number for number, word in enumerate(words) if word and word != word.strip()]
        if trimmed:
            self._n_trimmed += int(np.isin(indices, trimmed).sum())

    def _code(self, word: str | None) -> int:
        # "P3" and "P3 " are one person. A tab behind a protecting quote belongs to the text.
        word = word and word.strip()
        if not word:
            return -1
        return self._labels.setdefault(unprotected(word) if self._is_protected else word, len(self._labels))

    def done(self) -> Coded:
        return Coded(self._codes.done(), list(self._labels), self._n_trimmed)


def _as_text(array: pa.Array) -> pa.Array:
    if pa.types.is_nested(array.type):
        return pa.array([None if cell is None else str(cell) for cell in array.to_pylist()], pa.string())
    return array if pa.types.is_string(array.type) else array.cast(pa.string())


class Quantities:
    """Numbers, or times, on their way to one array."""

    def __init__(self, is_time: bool, n_expected: int) -> None:
        self._parse = as_times if is_time else as_numbers
        self._is_native = _is_time if is_time else is_number
        self._values = _Rows("datetime64[ms]" if is_time else "float64", n_expected)
        self._misread = [np.empty(0, np.int64)]
        self._example: str | None = None

    def add(self, array: pa.Array, first_row: int) -> None:
        array = array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
        if self._is_native(array.type):
            self._values.add(self._parse(array))
            return
        text = _as_text(array)
        values = self._parse(text)
        self._values.add(values)
        is_filled = pc.not_equal(text, "").fill_null(False).to_numpy(zero_copy_only=False)
        rows = np.flatnonzero(is_filled & np.isnan(values))
        self._misread.append(rows + first_row)
        if self._example is None and rows.size:
            self._example = text[int(rows[0])].as_py()

    def done(self) -> Measured:
        return Measured(self._values.done(), np.concatenate(self._misread), self._example)


def is_number(kind: pa.DataType) -> bool:
    return any(is_one(kind) for is_one in (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal))


def _is_time(kind: pa.DataType) -> bool:
    return pa.types.is_timestamp(kind) or pa.types.is_date(kind)


def as_numbers(array: pa.Array) -> np.ndarray:
    """float64 (n,); NaN for nothing and for text that is no number."""
    try:
        return array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        return pd.to_numeric(array.to_pandas(), errors="coerce").to_numpy(dtype=float, na_value=np.nan)


def as_times(array: pa.Array) -> np.ndarray:
    """datetime64[ms] in UTC (n,); NaT for nothing and for text that is no time. A time without a zone is taken for UTC."""
    try:
        return array.cast(pa.timestamp("ms", "UTC"), safe=False).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:  # text of several spellings
        times = pd.to_datetime(array.to_pandas(), format="ISO8601", utc=True, errors="coerce")
        return times.dt.tz_localize(None).to_numpy(dtype="datetime64[ms]")
