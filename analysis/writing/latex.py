"""A table in, LaTeX with booktabs' rules out, that prints whatever text the cells hold."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from analysis.writing.wording import number

Row = Mapping[str, Any]
# A LaTeX column: its heading, what stands in a row, and whether it is text (on the left).
Column = tuple[str, Callable[[Row], str], bool]
_MOST_IN_FLOAT = 40  # rows that fit on a page; a table of more is set over several
_MOST_ROWS = 400  # in LaTeX; nobody reads more on paper
_MOST_LETTERS = 32  # of a column of text that is as wide as its longest cell
_LATEX = str.maketrans(
    {
        **{character: f"\\{character}" for character in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': r"\char34{}",  # in every encoding of fonts; with babel's German, a bare one is a command
        # After the end of a row these would be read as its arguments.
        "[": "{[}",
        "*": "{*}",
        "\u202f": r"\,",
        "–": "--",
        "−": "$-$",
        "±": r"$\pm$",
        "′": "$'$",
        "²": "$^2$",
        "→": r"$\to$",
        "≤": r"$\leq$",
        "κ": r"$\kappa$",
        "χ": r"$\chi$",
        **dict.fromkeys(map(chr, (*range(32), 127)), " "),
    }
)


@dataclass(frozen=True)
class Table:
    """One table: ``columns`` and ``rows`` as they stand in the CSV, ``latex`` columns and ``caption`` for people."""

    name: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    latex: tuple[Column, ...]


def escape(text: str) -> str:
    """Text as LaTeX prints it, whatever it holds."""
    return text.translate(_LATEX)


def as_latex(table: Table, *, is_simulated: bool = False) -> str:
    """A table for \\input, with booktabs' rules; over several pages (longtable) where it is long, which ends after some rows."""
    caption = table.caption
    if len(table.rows) > _MOST_ROWS:
        caption += f" The first {_MOST_ROWS} of {len(table.rows)} rows; {table.name}.csv has them all."
    if is_simulated:
        caption = f"SIMULATED answers: no person took part. {caption}"
    rows = [[cell(row) for _, cell, _ in table.latex] for row in islice(table.rows, _MOST_ROWS)]
    is_long = len(rows) > _MOST_IN_FLOAT
    captioned = [rf"\caption{{{escape(caption)}}}", rf"\label{{tab:realism-{table.name.replace('_', '-')}}}"]
    columns = f"{{{_latex_columns(table, rows)}}}"
    head = [r"\toprule", _latex_row(heading for heading, _, _ in table.latex), r"\midrule"]
    body = [_latex_row(row) for row in rows]
    lines = (
        [
            rf"\begin{{longtable}}{columns}", captioned[0], captioned[1] + r" \\", *head, r"\endfirsthead", *head,
            r"\endhead", r"\bottomrule", r"\endfoot", *body, r"\end{longtable}",
        ]
        if is_long
        else [
            r"\begin{table}", r"\centering\small", *captioned, rf"\begin{{tabular}}{columns}", *head, *body,
            r"\bottomrule", r"\end{tabular}", r"\end{table}",
        ]
    )  # fmt: skip
    return "\n".join([r"% needs \usepackage{booktabs" + ",longtable" * is_long + "}", *lines]) + "\n"


def _latex_columns(table: Table, rows: list[list[str]]) -> str:
    """Text on the left, broken into lines where it is long; numbers on the right."""
    longest = (max((len(row[place]) for row in rows), default=0) for place in range(len(table.latex)))
    return "".join(
        "r" if not is_text else "l" if letters <= _MOST_LETTERS else r"p{0.35\linewidth}"
        for (_, _, is_text), letters in zip(table.latex, longest, strict=True)
    )


def _latex_row(cells: Iterable[str]) -> str:
    return " & ".join(escape(cell) for cell in cells) + r" \\"


# Columns: their heading, and what stands in a row


def text(key: str, heading: str) -> Column:
    return heading, lambda row: str(row[key]), True


def count(key: str, heading: str) -> Column:
    return heading, lambda row: "–" if row[key] is None else number(row[key], 0), False


def shown(heading: str, cell: Callable[[Row], str]) -> Column:
    return heading, cell, False
