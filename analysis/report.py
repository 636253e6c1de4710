"""An export folder or a response table in; report.json, report.html, tables and figures out."""

import csv
import json
import os
import shutil
import tempfile
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
from analysis.source import ReportError, read_source

_ENTRIES = {"report.json", "report.html", "tables", "figures"}
_NARROW_IN = 3.7  # inches; a phone's width at the size of the page's text


def write_report(source: Path, out: Path, origin: str | None = None) -> dict[str, Any]:
    """Report an export folder or a response table into the folder ``out``; the content of its report.json.

    Written aside and moved into place when complete. The same source gives the same bytes. ``origin`` (human or
    simulated) chooses whose answers; without it people's, if there is any.

    Raises:
        ReportError: if ``out`` is something else than a report, or the source cannot be reported.
        InputError: if a file of the source is not what its name promises.
    """
    out = out.resolve()
    _refuse_to_replace(out)
    read = read_source(source)
    findings = analyse(read, origin)
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        report = as_json(findings)
        (aside / "report.json").write_text(_json(report), encoding="utf-8")
        _write_tables(aside / "tables", findings)
        figures = _write_figures(aside / "figures", findings)
        rows = gallery(findings.pairs, read.pairsets)
        (aside / "report.html").write_text(render_page(findings, figures, rows), encoding="utf-8")
        aside.chmod(0o755)
        _move_into_place(aside, out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return report


def _json(report: dict[str, Any]) -> str:
    return json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _refuse_to_replace(out: Path) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise ReportError(f"{out} is a file; give a folder as --out")
    found = {entry.name for entry in out.iterdir()}
    if found and not (found <= _ENTRIES and _is_report(out / "report.json")):
        raise ReportError(
            f"{out} is not empty and not a report (it holds {min(found - _ENTRIES, default='no report.json')}); "
            "give another folder as --out"
        )


def _is_report(path: Path) -> bool:
    try:
        report = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(report, dict) and report.get("format") == FORMAT


def _move_into_place(aside: Path, out: Path) -> None:
    old = out.with_name(f".{out.name}-replaced-{os.getpid()}")
    if out.exists():
        out.rename(old)
    aside.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def _write_figures(folder: Path, findings: Findings) -> dict[str, bytes]:
    """The figures by name, none where there is nothing to draw; those for a phone go into the page only."""
    folder.mkdir()
    if not findings.conditions:
        return {}
    rates, pairs, simulated = findings.conditions, findings.pairs, findings.is_simulated
    figures = {
        "fool_rates": forest(rates, is_simulated=simulated),
        "pairs": pair_spread(rates, pairs, is_simulated=simulated),
    }
    for name, svg in figures.items():
        (folder / f"{name}.svg").write_bytes(svg)
    return figures | {
        "fool_rates-narrow": forest(rates, is_simulated=simulated, width_in=_NARROW_IN),
        "pairs-narrow": pair_spread(rates, pairs, is_simulated=simulated, width_in=_NARROW_IN),
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
            writer.writerow([*(_spreadsheet_safe(row[column]) for column in columns), origin])


def _spreadsheet_safe(value: Any) -> Any:
    """Text that a spreadsheet would run as a formula gets a quote before it; numbers stay."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
