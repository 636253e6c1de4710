"""Findings in, the tables of a report out: as CSV with every digit, and as LaTeX to paste."""

import csv
from pathlib import Path

from analysis.findings import Findings
from analysis.writing.data_tables import data_tables
from analysis.writing.latex import Table, as_latex
from analysis.writing.result_tables import result_tables
from protocol.responses import spreadsheet_safe

_ALWAYS = ("conditions", "comparisons", "pairs", "exclusions")  # as CSV, even without a row


def write_tables(folder: Path, findings: Findings) -> None:
    """NAME.csv and NAME.tex for every table that has a row; each row of a CSV says whose answers it is on."""
    folder.mkdir()
    for table in (*result_tables(findings), *data_tables(findings)):
        if table.rows or table.name in _ALWAYS:
            _write_csv(folder / f"{table.name}.csv", table, findings.origin)
        if table.rows:
            text = as_latex(table, is_simulated=findings.is_simulated)
            (folder / f"{table.name}.tex").write_text(text, encoding="utf-8")


def _write_csv(path: Path, table: Table, origin: str) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*table.columns, "origin"])
        for row in table.rows:
            writer.writerow([*(spreadsheet_safe(row[column]) for column in table.columns), origin])
