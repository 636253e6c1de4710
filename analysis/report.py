"""An export folder or a response table in; report.json, report.html, tables and figures out."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from analysis.figures.draw import PHONE_IN, draw_figures
from analysis.figures.style import mark_simulated, save_png, save_svg, styled
from analysis.findings import Findings, Options, analyse
from analysis.reading.amt import PRACTICE
from analysis.reading.source import Source, read_source
from analysis.writing.gallery import gallery, thumbnails
from analysis.writing.page import render_page
from analysis.writing.report_json import FORMAT, as_json
from analysis.writing.tables import write_tables
from protocol.whole_folder import whole_folder

_ENTRIES = frozenset({"report.json", "report.html", "tables", "figures"})


def write_report(
    source: Path,
    out: Path,
    options: Options | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    strict: bool = False,
    practice: int = PRACTICE,
    figures: bool = True,
    tell: Callable[[str], None] = lambda step: None,
) -> dict[str, Any]:
    """Report an export folder or a response table into the folder ``out``; the content of its report.json.

    Written aside and moved into place when complete. The same source gives the same bytes. ``columns``, ``strict`` and
    ``practice`` as ``source.read_source``; ``figures``: draw them (most of the time); ``tell`` hears of every step.

    Raises:
        FolderError: if ``out`` is something else than a report.
        ReportError: if the source cannot be reported.
        PlanError: as ``findings.analyse``.
        InputError: if a file of the source is not what its name promises.
    """
    tell("answers")
    read = read_source(source, columns, strict, practice)
    findings = analyse(read, options, tell)
    with whole_folder(out, "report", _ENTRIES, _is_report, replace=True) as folder:
        report = as_json(findings)
        (folder / "report.json").write_text(_json(report), encoding="utf-8")
        tell("tables")
        write_tables(folder / "tables", findings)
        (folder / "figures").mkdir()
        tell("figures")
        drawn = _write_figures(folder / "figures", findings, read) if figures else {}
        tell("page")
        page = render_page(findings, drawn, gallery(findings.pairs, read.pairsets))
        (folder / "report.html").write_text(page, encoding="utf-8")
    return report


def _json(report: dict[str, Any]) -> str:
    return json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _is_report(folder: Path) -> bool:
    try:
        report = json.loads((folder / "report.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(report, dict) and report.get("format") == FORMAT


def _write_figures(folder: Path, findings: Findings, source: Source) -> dict[str, bytes]:
    """Those of the page, by name, as SVG, with NAME-narrow for a phone; the wide ones are also written, and as PNG."""
    pictures = thumbnails(source.pairsets)
    wide = draw_figures(findings, pictures, is_marked=False)
    svg = {name: save_svg(figure) for name, figure in wide.items()}
    for name, figure in wide.items():
        # The files travel alone and carry the SIMULATED mark themselves; in the page the page carries it.
        if findings.is_simulated:
            with styled():
                mark_simulated(figure)
        (folder / f"{name}.svg").write_bytes(save_svg(figure) if findings.is_simulated else svg[name])
        (folder / f"{name}.png").write_bytes(save_png(figure))
    narrow = draw_figures(findings, pictures, width_in=PHONE_IN, is_marked=False)
    return {**svg, **{f"{name}-narrow": save_svg(figure) for name, figure in narrow.items()}}
