"""An export folder or a response table in; report.json, report.html, tables and figures out."""

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from analysis.comparisons import Comparison
from analysis.exclusions import Exclusion
from analysis.figures import forest, pair_spread
from analysis.findings import CONDITION_COLUMNS, FORMAT, Findings, analyse, as_json, condition_row
from analysis.fool_rate import PairRate
from analysis.gallery import gallery
from analysis.page import render_page
from analysis.source import read_source
from protocol.responses import spreadsheet_safe
from protocol.whole_folder import whole_folder

_ENTRIES = frozenset({"report.json", "report.html", "tables", "figures"})
_NARROW_IN = 3.7  # inches; a phone's width at the size of the page's text


def write_report(source: Path, out: Path, origin: str | None = None) -> dict[str, Any]:
    """Report an export folder or a response table into the folder ``out``; the content of its report.json.

    Written aside and moved into place when complete. The same source gives the same bytes. ``origin`` (human or
    simulated) chooses whose answers; without it people's, if any counts.

    Raises:
        FolderError: if ``out`` is something else than a report.
        ReportError: if the source cannot be reported.
        InputError: if a file of the source is not what its name promises.
    """
    read = read_source(source)
    findings = analyse(read, origin)
    with whole_folder(out, "report", _ENTRIES, _is_report, replace=True) as folder:
        report = as_json(findings)
        (folder / "report.json").write_text(_json(report), encoding="utf-8")
        _write_tables(folder / "tables", findings)
        figures = _write_figures(folder / "figures", findings)
        rows = gallery(findings.pairs, read.pairsets)
        (folder / "report.html").write_text(render_page(findings, figures, rows), encoding="utf-8")
    return report


def _json(report: dict[str, Any]) -> str:
    return json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _is_report(folder: Path) -> bool:
    try:
        report = json.loads((folder / "report.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(report, dict) and report.get("format") == FORMAT


def _write_figures(folder: Path, findings: Findings) -> dict[str, bytes]:
    """The figures by name, none where there is nothing to draw; those for a phone go into the page only."""
    folder.mkdir()
    if not findings.conditions:
        return {}
    rates, pairs = findings.conditions, findings.pairs
    # The files travel alone and carry the SIMULATED mark themselves; in the page the page carries it.
    (folder / "fool_rates.svg").write_bytes(forest(rates, is_simulated=findings.is_simulated))
    (folder / "pairs.svg").write_bytes(pair_spread(rates, pairs, is_simulated=findings.is_simulated))
    return {
        "fool_rates": forest(rates),
        "pairs": pair_spread(rates, pairs),
        "fool_rates-narrow": forest(rates, width_in=_NARROW_IN),
        "pairs-narrow": pair_spread(rates, pairs, width_in=_NARROW_IN),
    }


def _write_tables(folder: Path, findings: Findings) -> None:
    """The tables of report.json as CSV; each row says whose answers it is on."""
    folder.mkdir()
    conditions = [{"condition": rate.condition, **condition_row(rate)} for rate in findings.conditions]
    _write_table(folder / "conditions.csv", ("condition", *CONDITION_COLUMNS), conditions, findings.origin)
    for name, record, rows in (
        ("comparisons", Comparison, findings.comparisons),
        ("pairs", PairRate, findings.pairs),
        ("exclusions", Exclusion, findings.exclusions),
    ):
        columns = [field.name for field in fields(record)]
        _write_table(folder / f"{name}.csv", columns, (asdict(row) for row in rows), findings.origin)


def _write_table(path: Path, columns: Sequence[str], rows: Iterable[dict[str, Any]], origin: str) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*columns, "origin"])
        for row in rows:
            writer.writerow([*(spreadsheet_safe(row[column]) for column in columns), origin])
