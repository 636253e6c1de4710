"""Tables of a report: CSV that says whose answers it is on, and LaTeX that no text can break."""

import csv
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from observers import simulate_table

from analysis.exclusions import Exclusion
from analysis.findings import Findings, Options, analyse
from analysis.plan import AppliedPlan
from analysis.reading.source import Source
from analysis.writing.latex import Table, as_latex, escape, text
from analysis.writing.tables import write_tables
from protocol.design import Analysis

HOSTILE = r"50% & $x_1^2$ \input{/etc/passwd} #~<a>|{[*]}" + '"\n'


@pytest.fixture(scope="module")
def findings() -> Findings:
    """Simulated answers to two conditions; somebody hurried, and the plan, given beside the answers, leaves them out."""
    table = simulate_table(np.random.default_rng(4), {"cgan": -0.4, HOSTILE: -1.4}, n_participants=12)
    table.loc[table["session"] == "s004", "rt_ms"] = 90.0
    plan = AppliedPlan(Analysis(min_median_rt_ms=200), (), None, None)
    return analyse(Source(table, "0" * 64, None, {}), Options(replicates=0, plan=plan))


@pytest.fixture(scope="module")
def written(findings: Findings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables") / "tables"
    write_tables(folder, findings)
    return folder


def read_latex(latex: str) -> list[list[str]]:
    """The cells of a table, the headings first; refuses what LaTeX would not set as it stands, or booktabs would not like."""
    lines = latex.splitlines()
    if lines[0] == r"% needs \usepackage{booktabs,longtable}":
        columns = re.fullmatch(r"\\begin\{longtable\}\{((?:[lr]|p\{0.35\\linewidth\})+)\}", lines[1])
        caption, label = lines[2], lines[3].removesuffix(r" \\")
        head = [r"\toprule", lines[5], r"\midrule"]
        assert lines[4:14] == [*head, r"\endfirsthead", *head, r"\endhead", r"\bottomrule", r"\endfoot"]
        assert lines[-1] == r"\end{longtable}"
        rows = [lines[5], *lines[14:-1]]
        assert len(rows) > 1 + 40
    else:
        assert lines[0] == r"% needs \usepackage{booktabs}"
        assert lines[1:3] == [r"\begin{table}", r"\centering\small"]
        columns = re.fullmatch(r"\\begin\{tabular\}\{((?:[lr]|p\{0.35\\linewidth\})+)\}", lines[5])
        caption, label = lines[3:5]
        assert (lines[6], lines[8]) == (r"\toprule", r"\midrule")
        assert lines[-3:] == [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
        rows = [lines[7], *lines[9:-3]]
        assert len(rows) <= 1 + 40  # what fits on a page
    assert columns
    assert re.fullmatch(r"\\caption\{.*\}", caption)
    assert re.fullmatch(r"\\label\{tab:realism-[a-z-]+\}", label)
    n_columns = len(re.findall(r"[lr]|p\{0.35\\linewidth\}", columns[1]))
    cells = []
    for row in rows:
        assert row.endswith(r" \\")
        assert not row.startswith(("[", "*"))  # arguments of the row before
        cells.append(re.split(r" (?<!\\)& ", row.removesuffix(r" \\")))
        assert len(cells[-1]) == n_columns
    for found in [caption.removeprefix(r"\caption{").removesuffix("}"), *(cell for row in cells for cell in row)]:
        known = (
            r"\\[&%$#_{}]|\\,|\$(?:-|'|\^2|\\pm|\\to|\\kappa|\\chi|\\leq)\$|\\(?:text[a-z]+|char34)\{\}|\{\[\}|\{\*\}"
        )
        assert not re.search(r"[\\$&%#_{}~^<>\[*\x00-\x1f]", re.sub(known, "", found)), found
    return cells


def test_every_table_is_written_both_ways_and_can_be_read(findings: Findings, written: Path) -> None:
    assert {path.stem for path in written.glob("*.csv")} == {path.stem for path in written.glob("*.tex")}
    assert {path.stem for path in written.iterdir()} == {
        *("conditions", "comparisons", "pairs", "participants", "exclusions", "flow", "sensitivity"),
        *("variance_components", "data_quality"),
    }
    for path in written.glob("*.tex"):
        cells = read_latex(path.read_text(encoding="utf-8"))
        table = pd.read_csv(path.with_suffix(".csv"))
        assert len(cells) - 1 == min(400, len(table)) > 0
        assert table.columns[-1] == "origin"
        assert table["origin"].unique().tolist() == ["simulated"]


def test_text_is_escaped_letter_by_letter() -> None:
    assert escape("a_b & 5% {x} #1 $2") == r"a\_b \& 5\% \{x\} \#1 \$2"
    assert escape(r"\input~^") == r"\textbackslash{}input\textasciitilde{}\textasciicircum{}"
    assert escape('<a>|"b"') == r"\textless{}a\textgreater{}\textbar{}\char34{}b\char34{}"
    assert escape("[1] *\n−0.5–2\u202f%") == r"{[}1] {*} $-$0.5--2\,\%"


def test_headline_table_has_the_numbers_as_people_read_them(findings: Findings, written: Path) -> None:
    headings, *rows = read_latex((written / "conditions.tex").read_text(encoding="utf-8"))
    rate = findings.conditions[1]
    assert rate.condition == "cgan"
    row = dict(zip(headings, rows[1], strict=True))
    assert row["Condition"] == "cgan"
    assert row["Fool rate"] == rf"{100 * rate.fool_rate:.1f}\,\%"
    assert row[r"95\,\% interval"] == rf"{100 * rate.interval.low:.1f}--{100 * rate.interval.high:.1f}\,\%"
    assert (row["Participants"], row["Pairs"], row["Trials"]) == ("11", "20", "220")


def test_caption_says_what_the_interval_means_and_whose_answers(written: Path) -> None:
    latex = (written / "conditions.tex").read_text(encoding="utf-8")
    assert r"\caption{SIMULATED answers: no person took part. Fool rates by condition. Intervals (95\,\%)" in latex
    assert "are for new people and new pictures." in latex
    table = Table("x", "A caption.", ("a",), ({"a": "b"},), (text("a", "A"),))
    assert r"\caption{A caption.}" in as_latex(table)


@pytest.mark.parametrize(("n", "environment"), [(40, "tabular"), (41, "longtable"), (400, "longtable")])
def test_table_longer_than_a_page_goes_over_several(n: int, environment: str) -> None:
    table = Table("units", "Units.", ("a",), tuple({"a": f"u{i}"} for i in range(n)), (text("a", "A"),))
    latex = as_latex(table)
    assert rf"\begin{{{environment}}}" in latex
    assert len(read_latex(latex)) == 1 + n
    assert "The first" not in latex


def test_very_long_table_ends_and_says_so() -> None:
    table = Table("units", "Units.", ("a",), tuple({"a": f"u{i}"} for i in range(500)), (text("a", "A"),))
    latex = as_latex(table)
    assert len(read_latex(latex)) == 1 + 400
    assert "The first 400 of 500 rows; units.csv has them all." in latex


def test_long_text_is_broken_into_lines() -> None:
    table = Table("x", "A caption.", ("a",), ({"a": "many words " * 9},), (text("a", "A"), text("a", "B")))
    assert r"\begin{tabular}{p{0.35\linewidth}p{0.35\linewidth}}" in as_latex(table)
    assert r"\begin{tabular}{l}" in as_latex(replace(table, rows=({"a": "x" * 32},), latex=(text("a", "A"),)))


def test_one_picture_at_a_time_has_both_errors_in_latex(tmp_path: Path) -> None:
    answers = simulate_table(np.random.default_rng(2), {"cgan": -0.4}, n_participants=12)
    for side in ("real_side", "chosen_side"):
        answers[side] = answers[side].astype(object).map({"left": "real", "right": "fake"})
    found = analyse(Source(answers, "0" * 64, None, {}), Options(replicates=0))
    write_tables(tmp_path / "tables", found)
    latex = (tmp_path / "tables" / "conditions.tex").read_text(encoding="utf-8")
    headings, cells = read_latex(latex)
    row, (rate,) = dict(zip(headings, cells, strict=True)), found.conditions
    assert rate.yes_no is not None
    for heading, error in (("Errors on fakes", rate.yes_no.on_fakes), ("Errors on photographs", rate.yes_no.on_reals)):
        assert error is not None
        bounds = rf"{100 * error.low:.1f}--{100 * error.high:.1f}\,\%"
        assert row[heading] == rf"{100 * error.rate:.1f}\,\% ({bounds})"
    assert row["c"].replace("$-$", "-") == f"{rate.detection.criterion:.2f}"
    assert "mean of both errors, on fakes and on photographs" in latex


def test_flow_and_sensitivity_tell_the_criteria(written: Path) -> None:
    flow = pd.read_csv(written / "flow.csv").set_index("stage")["n"]
    assert flow["sessions excluded"] == flow["sessions with a median response time below 200 ms"] == 1
    assert flow["participants counted"] == 11
    sensitivity = pd.read_csv(written / "sensitivity.csv")
    (of_plan,) = sensitivity[sensitivity["is_plan"]]["criteria"].unique()
    assert of_plan == "the plan: a median response time below 200 ms"
    plan = sensitivity[sensitivity["is_plan"] & (sensitivity["condition"] == "cgan")].iloc[0]
    conditions = pd.read_csv(written / "conditions.csv").set_index("condition")
    assert plan["fool_rate"] == pytest.approx(conditions.loc["cgan", "fool_rate"])
    assert plan["low"] == pytest.approx(conditions.loc["cgan", "low"])


def test_text_in_csv_cannot_become_a_formula(findings: Findings, tmp_path: Path) -> None:
    write_tables(tmp_path / "tables", replace(findings, exclusions=(Exclusion("=1+1", "max_missed", -1.0),)))
    (row,) = csv.DictReader((tmp_path / "tables" / "exclusions.csv").open())
    assert (row["session"], row["value"]) == ("'=1+1", "-1.0")


def test_with_nothing_left_the_tables_of_the_format_are_there(findings: Findings, tmp_path: Path) -> None:
    nothing = replace(findings, conditions=(), comparisons=(), pairs=(), participants=(), exclusions=(), sensitivity=())
    write_tables(tmp_path / "tables", nothing)
    header = (tmp_path / "tables" / "conditions.csv").read_text().splitlines()
    assert header == [
        "condition,fool_rate,low,high,method,n_trials,n_participants,n_pairs,naive_low,naive_high,design_effect,dprime,side_bias,"
        "median_rt_ms,origin"
    ]
    assert not (tmp_path / "tables" / "conditions.tex").exists()
    assert not (tmp_path / "tables" / "participants.csv").exists()
