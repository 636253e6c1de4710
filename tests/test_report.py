"""The report: its files, its numbers against an independent count, and a page that stands alone."""

import base64
import csv
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from observers import simulate_table
from PIL import Image

from analysis.comparisons import Comparison
from analysis.findings import Findings, Options, analyse
from analysis.reading.source import ReportError, Source
from analysis.report import write_report
from analysis.writing.page import render_page
from pairs.writing import About, Picture, pair_id, write_pairset
from protocol import InputError
from protocol.design import StudyDesign, canonical_sha256, parse_design
from protocol.pairset import sha256_hex
from protocol.whole_folder import FolderError

CONTRACT = {"format", "level", "origin", "inputs", "conditions", "comparisons", "pairs", "exclusions"}
CONDITION = {
    *("fool_rate", "low", "high", "method", "n_trials", "n_participants", "n_pairs"),
    *("naive_low", "naive_high", "design_effect", "dprime", "side_bias", "median_rt_ms"),
}
QUICK = Options(replicates=0)
FIGURES = (*("fool_rates", "differences", "pairs", "heat_map", "trial_number", "response_times", "side_bias", "flow"),)
N_PAIRS = 14
PHOTOS = [sha256_hex(f"photo {i}".encode()) for i in range(N_PAIRS)]


def design(**analysis: object) -> StudyDesign:
    raw = {
        "title": "Do <b>flowers</b> pass?",
        "trials": {"main": 2 * N_PAIRS},
        "conditions": {"wgan": "wgan", "cgan": "cgan"},  # not in the alphabet's order
        "analysis": analysis,
    }
    return parse_design(raw, "the test")


def two_conditions(seed: int = 3, **options: object) -> pd.DataFrame:
    pairs = [pair_id(photo) for photo in PHOTOS]
    table = simulate_table(np.random.default_rng(seed), {"cgan": -0.3, "wgan": -1.2}, pairs=pairs, **options)
    return table.astype({name: object for name, dtype in table.dtypes.items() if dtype == "category"})  # to be changed


def export(folder: Path, table: pd.DataFrame, study: StudyDesign, *, images: bool = True) -> Path:
    folder.mkdir()
    table.to_csv(folder / "responses.csv", index=False)
    (folder / "design.json").write_text(json.dumps(study.model_dump(mode="json")))
    for condition, shade in (("cgan", 90), ("wgan", 160)):
        pictures = (
            Picture(
                photo,
                Image.new("RGB", (128, 128), (10 * i, 200, 90)),
                (Image.new("RGB", (128, 128), (10 * i, shade, 90)),),
            )
            for i, photo in enumerate(PHOTOS)
        )
        pairset = folder / "pairsets" / condition
        write_pairset(pairset, pictures, About(condition, {"name": condition}, {"name": "test"}))
        if not images:
            for image in (pairset / "images").iterdir():
                image.unlink()
            (pairset / "images").rmdir()
    return folder


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of a study on people, one of whom hurried."""
    table = two_conditions(origin="human")
    table.loc[table["session"] == "s004", "rt_ms"] = 90.0
    return export(tmp_path_factory.mktemp("study") / "export", table, design(min_median_rt_ms=200))


@pytest.fixture(scope="module")
def reported(exported: Path) -> Path:
    out = exported.parent / "report"
    write_report(exported, out)
    return out


@pytest.fixture
def report_of(tmp_path: Path) -> Callable[..., tuple[dict, str]]:
    """Writes a table as CSV and reports it without figures: report.json and the page."""

    def report(table: pd.DataFrame, origin: str | None = None, *, figures: bool = False) -> tuple[dict, str]:
        table.to_csv(tmp_path / "answers.csv", index=False)
        options = Options(origin=origin, replicates=0)
        found = write_report(tmp_path / "answers.csv", tmp_path / "report", options, figures=figures)
        return found, (tmp_path / "report" / "report.html").read_text(encoding="utf-8")

    return report


def read_json(report: Path) -> dict:
    return json.loads((report / "report.json").read_text(encoding="utf-8"))


def test_the_report_has_the_files_and_keys_of_its_format(reported: Path) -> None:
    files = {path.relative_to(reported).as_posix() for path in reported.rglob("*") if path.is_file()}
    names = (
        "conditions",
        "comparisons",
        "pairs",
        "exclusions",
        "participants",
        "flow",
        "sensitivity",
        "variance_components",
    )
    tables = {f"tables/{name}.{ending}" for name in (*names, "data_quality") for ending in ("csv", "tex")}
    drawn = {f"figures/{name}.{ending}" for name in FIGURES for ending in ("svg", "png")}
    assert files == {"report.json", "report.html", *tables, *drawn}
    report = read_json(reported)
    assert report.keys() >= CONTRACT
    assert (report["format"], report["level"], report["origin"]) == ("realism-report/1", 0.95, "human")
    assert list(report["conditions"]) == ["wgan", "cgan"]  # as the design has them
    assert all(condition.keys() >= CONDITION for condition in report["conditions"].values())
    assert report["comparisons"][0].keys() >= {"a", "b", "difference", "low", "high", "p_value", "p_adjusted"}
    assert report["pairs"][0].keys() >= {"condition", "pair", "fool_rate", "n"}
    assert report["exclusions"] == [{"session": "s004", "criterion": "min_median_rt_ms", "value": 90.0}]


def test_numbers_equal_an_independent_count(exported: Path, reported: Path) -> None:
    with (exported / "responses.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "main" and row["session"] != "s004"]
    report = read_json(reported)
    for name, condition in report["conditions"].items():
        mine = [row for row in rows if row["condition"] == name]
        wrong = [row["chosen_side"] != row["real_side"] for row in mine]
        assert condition["n_trials"] == len(mine) == 19 * N_PAIRS
        assert (condition["n_participants"], condition["n_pairs"]) == (19, N_PAIRS)
        assert condition["fool_rate"] == pytest.approx(sum(wrong) / len(wrong))
        assert (
            condition["low"]
            < condition["naive_low"]
            < condition["fool_rate"]
            < condition["naive_high"]
            < condition["high"]
        )
        left = sum(row["chosen_side"] == "left" for row in mine) / len(mine)
        assert condition["side_bias"] == pytest.approx(left - 0.5)
        assert condition["median_rt_ms"] == pytest.approx(float(np.median([float(row["rt_ms"]) for row in mine])))
    for pair in report["pairs"]:
        mine = [row for row in rows if (row["condition"], row["pair"]) == (pair["condition"], pair["pair"])]
        assert pair["n"] == len(mine)
        assert pair["fool_rate"] == pytest.approx(
            sum(row["chosen_side"] != row["real_side"] for row in mine) / len(mine)
        )
    (comparison,) = report["comparisons"]
    rates = {name: condition["fool_rate"] for name, condition in report["conditions"].items()}
    assert comparison["difference"] == pytest.approx(rates[comparison["a"]] - rates[comparison["b"]])


def test_flow_adds_up(reported: Path) -> None:
    flow = read_json(reported)["flow"]
    assert (flow["sessions"], flow["sessions_finished"], flow["sessions_excluded"]) == (20, 20, 1)
    assert flow["participants_counted"] == 19
    assert flow["trials_counted"] == flow["trials_shown"] - flow["trials_unanswered"] - flow["trials_excluded"]


def test_hashes_of_everything_that_went_in_are_told(exported: Path, reported: Path) -> None:
    inputs, study = read_json(reported)["inputs"], design(min_median_rt_ms=200)
    assert inputs["responses_sha256"] == sha256_hex((exported / "responses.csv").read_bytes())
    assert inputs["design_sha256"] == canonical_sha256(study)
    assert inputs["plan_sha256"] == canonical_sha256(study.analysis)
    manifest = (exported / "pairsets" / "cgan" / "manifest.json").read_bytes()
    assert inputs["pairset_manifests_sha256"]["cgan"] == sha256_hex(manifest)
    page = (reported / "report.html").read_text(encoding="utf-8")
    assert all(inputs[name] in page for name in ("responses_sha256", "design_sha256", "plan_sha256"))


def test_tables_hold_what_the_json_holds(reported: Path) -> None:
    report = read_json(reported)
    conditions = pd.read_csv(reported / "tables" / "conditions.csv").set_index("condition")
    for name, condition in report["conditions"].items():
        assert conditions.loc[name, "low"] == pytest.approx(condition["low"])
    assert len(pd.read_csv(reported / "tables" / "pairs.csv")) == len(report["pairs"]) == 2 * N_PAIRS
    assert pd.read_csv(reported / "tables" / "exclusions.csv")["session"].tolist() == ["s004"]
    assert pd.read_csv(reported / "tables" / "comparisons.csv")["origin"].tolist() == ["human"]


def test_the_page_stands_alone(reported: Path) -> None:
    page = (reported / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:", page)
    assert not re.search(r"<(script|link|iframe|object|form|base)\b|@import|javascript:|\son\w+=", page)
    references = re.findall(r"(?:src|srcset|href)=\"([^\"]*)\"", page)
    assert references
    assert all(reference.startswith("data:image/") for reference in references)
    assert "url(" not in page
    assert len(page) < 3_000_000


def test_every_picture_and_figure_is_told_in_words(reported: Path) -> None:
    page = (reported / "report.html").read_text(encoding="utf-8")
    pictures = re.findall(r"<img [^>]*>", page)
    figures = [picture for picture in pictures if 'class="plot' in picture]
    assert (len(figures), len(pictures)) == (len(FIGURES), len(FIGURES) + 2 * 2 * 12)
    alternatives = [re.search(r'alt="([^"]+)"', picture) for picture in pictures]
    assert all(alternatives)
    assert len({found[1] for found in alternatives if found}) >= len(FIGURES) + N_PAIRS  # not one for all


def test_the_page_tells_the_finding_in_words(reported: Path) -> None:
    page, condition = (reported / "report.html").read_text(encoding="utf-8"), read_json(reported)["conditions"]["cgan"]
    shown = [f"{100 * condition[name]:.1f}" for name in ("fool_rate", "low", "high")]
    assert f"<b>{shown[0]}\u202f%</b> <span>{shown[1]}\u202f% to {shown[2]}\u202f%</span>" in page
    assert f"People took the fake for the real photograph on {shown[0]}\u202f% of trials" in page
    assert f"(95\u202f% interval {shown[1]}–{shown[2]}\u202f%)" in page


@pytest.fixture(scope="module")
def found() -> Findings:
    source = Source(table=two_conditions(origin="human"), responses_sha256="0" * 64, design=None, pairsets={})
    return analyse(source, QUICK)


def test_paper_gets_the_wide_figures(reported: Path) -> None:
    page = (reported / "report.html").read_text(encoding="utf-8")
    assert set(re.findall(r"<source media=\"([^\"]*)\"", page)) == {"screen and (max-width: 640px)"}
    # The rules for a phone do not reach paper either.
    assert set(re.findall(r"@media ([^{]*?) {", page)) == {"screen and (max-width: 640px)", "print"}


def test_many_conditions_are_spread_over_tables_that_fit_on_paper(found: Findings) -> None:
    names = [f"c{k}" for k in range(5)]
    page = render_page(
        replace(found, conditions=tuple(replace(found.conditions[0], condition=name) for name in names)), {}, []
    )
    tables = re.findall(r"<table class=\"measures\".*?</table>", page, flags=re.DOTALL)
    heads = [re.findall(r"<th scope=\"col\" style=[^>]*>(\w+)</th>", table) for table in tables]
    assert heads == [["c0", "c1", "c2"], ["c3", "c4"]]
    rows = [re.search(r"<tr class=\"main\">.*?</tr>", table, flags=re.DOTALL) for table in tables]
    assert [row[0].count("<td>") for row in rows if row] == [3, 2]


def test_mcnemar_is_told_only_where_it_overstates(found: Findings) -> None:
    one = Comparison("cgan", "wgan", 0.1, 0.0, 0.2, 0.04, 0.04, mcnemar_chi2=9.0, mcnemar_p=0.0027)
    page = render_page(replace(found, comparisons=(one,)), {}, [])
    n = 20 * N_PAIRS  # everybody answered every pair once in each condition
    assert f"χ² = 9.0, from {n} pictures that the same person judged once in either; the p of the clustered" in page
    assert "is that of a χ² of 4.2." in page
    cautious = render_page(replace(found, comparisons=(replace(one, mcnemar_p=0.05),)), {}, [])
    assert "McNemar’s test" not in cautious
    again = found.trials["participant"].eq(found.trials["participant"].iloc[0])
    twice = replace(found, trials=pd.concat([found.trials, found.trials[again]]), comparisons=(one,))
    assert f"from {n - N_PAIRS} pictures" in render_page(twice, {}, [])


def test_rates_that_a_staircase_holds_are_not_compared_on_the_page(found: Findings) -> None:
    assert 'id="comparisons"' in render_page(found, {}, [])
    assert 'id="comparisons"' not in render_page(replace(found, held_at=0.25), {}, [])


def test_a_sensitivity_table_of_one_row_is_left_out_with_a_word(found: Findings) -> None:
    said = "No criterion leaves anybody out here"
    (first, *_) = found.sensitivity
    alone = render_page(replace(found, sensitivity=(first,)), {}, [])
    both = render_page(replace(found, sensitivity=(first, first)), {}, [])
    assert (said in alone, 'class="sensitivity' in alone) == (True, False)
    assert (said in both, 'class="sensitivity' in both) == (False, True)


def test_a_criterion_has_the_key_that_sets_it(found: Findings) -> None:
    plan = found.plan.model_copy(update={"max_catch_missed": 1})
    page = render_page(replace(found, applied=replace(found.applied, plan=plan)), {}, [])
    assert "<small>max_catch_missed</small>" in page
    assert "<small>catch.max_missed</small>" in render_page(replace(found, max_missed=1), {}, [])


def test_one_picture_studies_speak_of_the_mean_error(found: Findings) -> None:
    page = render_page(replace(found, is_one_picture=True), {}, [])
    assert "Mean error (on fakes and on photographs)" in page
    assert "Side bias" not in page
    assert "Mean error" not in render_page(found, {}, [])


def test_every_table_has_a_name(reported: Path) -> None:
    tables = re.findall(r"<table[^>]*>", (reported / "report.html").read_text(encoding="utf-8"))
    assert len(tables) > 5
    assert [table for table in tables if not re.search(r"aria-label|role=\"presentation\"", table)] == []


def test_text_from_outside_cannot_become_markup(reported: Path, report_of: Callable) -> None:
    assert "Do &lt;b&gt;flowers&lt;/b&gt; pass?" in (reported / "report.html").read_text(encoding="utf-8")
    hostile = two_conditions().replace({"cgan": "<img src=x onerror=alert(1)>", "wgan": '"><script>$x_{y}$'})
    report, page = report_of(hostile)
    assert "<img src=x" not in page
    assert "<script" not in page
    assert "<img src=x onerror=alert(1)>" in report["conditions"]


def test_text_in_tables_cannot_become_a_formula(report_of: Callable, tmp_path: Path) -> None:
    report, _ = report_of(two_conditions().replace({"cgan": "=1+1", "wgan": "@sum"}))
    names = [row["condition"] for row in csv.DictReader((tmp_path / "report" / "tables" / "conditions.csv").open())]
    assert names == ["'=1+1", "'@sum"]
    (row,) = csv.DictReader((tmp_path / "report" / "tables" / "comparisons.csv").open())
    assert float(row["difference"]) == report["comparisons"][0]["difference"]


def test_simulated_answers_are_said_to_be_simulated_everywhere(report_of: Callable, tmp_path: Path) -> None:
    report, page = report_of(two_conditions(origin="simulated"))
    assert report["origin"] == "simulated"
    assert "<title>SIMULATED: " in page
    assert '<div class="simulated-banner" role="note">SIMULATED' in page
    assert ".simulated-banner { position: fixed;" in page[page.index("@media print {\n  /* A fixed") :]
    assert "Simulated participants took the fake" in page
    assert "People took the fake" not in page
    assert pd.read_csv(tmp_path / "report" / "tables" / "pairs.csv")["origin"].unique().tolist() == ["simulated"]


def test_simulated_figures_are_marked_too(reported: Path, report_of: Callable, tmp_path: Path) -> None:
    table = two_conditions(origin="simulated", n_participants=6)
    _, page = report_of(table[table["condition"] == "cgan"], figures=True)
    files = sorted((tmp_path / "report" / "figures").glob("*.svg"))
    assert len(files) == len(FIGURES) - 1  # no differences
    for file in files:
        assert "SIMULATED" in file.read_text()
        assert "SIMULATED" not in (reported / "figures" / file.name).read_text()
    # In the page the page carries the mark.
    figures = re.findall(r"data:image/svg\+xml;base64,([^\"]*)", page)
    assert len(figures) == 2 * len(files)  # wide, and for a phone
    assert all(b"SIMULATED" not in base64.b64decode(figure) for figure in figures)
    assert '<div class="simulated-mark" aria-hidden="true">SIMULATED</div>' in page


def test_answers_of_people_are_never_called_simulated(reported: Path) -> None:
    assert "simulated" not in (reported / "report.html").read_text(encoding="utf-8").lower()


def test_people_count_and_simulated_rows_are_left_out(report_of: Callable) -> None:
    table = two_conditions(origin="human")
    table.loc[table["session"] >= "s015", "origin"] = "simulated"
    report, page = report_of(table)
    assert (report["origin"], report["conditions"]["cgan"]["n_participants"]) == ("human", 15)
    n_left_out = 5 * (2 * N_PAIRS + 2)
    assert report["warnings"][0].startswith(f"{n_left_out} simulated trials of 5 sessions were left out")
    assert report["warnings"][0] in page
    simulated, _ = report_of(table, origin="simulated")
    assert (simulated["origin"], simulated["conditions"]["cgan"]["n_participants"]) == ("simulated", 5)


@pytest.mark.parametrize("kind", ["main", "practice"], ids=["unanswered", "practised-only"])
def test_a_person_without_an_answered_main_trial_does_not_displace_simulated_answers(
    report_of: Callable, kind: str
) -> None:
    table = two_conditions()
    one = table["session"] == "s019"
    table.loc[one, "origin"] = "human"
    table.loc[one & (table["kind"] == "main"), "chosen_side"] = None
    report, page = report_of(table[~one | (table["kind"] == kind)])
    assert (report["origin"], report["conditions"]["cgan"]["n_participants"]) == ("simulated", 19)
    n_left_out = {"main": 2 * N_PAIRS, "practice": 2}[kind]
    assert report["warnings"][0].startswith(f"{n_left_out} human trials of 1 session")
    assert report["warnings"][0] in page
    nobody, _ = report_of(table.assign(chosen_side=None))
    assert (nobody["origin"], nobody["conditions"]) == ("human", {})


def test_one_answer_of_a_person_makes_a_report_on_people(report_of: Callable) -> None:
    table = two_conditions()
    one = table["session"] == "s019"
    table.loc[one, "origin"] = "human"
    table.loc[table.index[one & (table["kind"] == "main")][1:], "chosen_side"] = None
    report, _ = report_of(table)
    assert (report["origin"], report["flow"]["trials_counted"]) == ("human", 1)


def test_conditions_answered_alike_are_reported(report_of: Callable) -> None:
    table = two_conditions()
    wgan = table[(table["condition"] == "cgan") & (table["kind"] == "main")].assign(condition="wgan")
    alike = pd.concat([table[table["condition"] == "cgan"], wgan.assign(trial_index=wgan["trial_index"] + 100)])
    report, page = report_of(alike)
    (found,) = report["comparisons"]
    assert (found["difference"], found["p_value"], found["p_adjusted"]) == (0, 1, 1)
    assert found["low"] == pytest.approx(-found["high"])
    assert found["high"] > 0.05  # not the rounding of a variance of 0
    assert not re.search(r">\s*[^<]*\b(nan|inf)\b", page)


def test_an_origin_that_is_not_there_is_refused(report_of: Callable) -> None:
    with pytest.raises(ReportError, match="no row has the origin human; found 600 simulated"):
        report_of(two_conditions(), origin="human")
    with pytest.raises(ReportError, match="origin is 'robot'; give human or simulated"):
        report_of(two_conditions(), origin="robot")


def test_a_table_without_a_design_gets_the_default_plan_and_the_report_says_so(report_of: Callable) -> None:
    report, page = report_of(two_conditions())
    assert report["inputs"]["design_sha256"] is None
    assert "No study design came with the answers" in page
    assert "<b>No plan was frozen.</b>" in page
    assert "The plan has no exclusion criterion" in page


def test_pictures_go_from_most_to_least_deceptive(reported: Path) -> None:
    page, report = (reported / "report.html").read_text(encoding="utf-8"), read_json(reported)
    shown = re.findall(r"alt=\"fake of pair (\w+)\"", page)
    expected = []
    for name in report["conditions"]:
        ranked = [pair["pair"] for pair in report["pairs"] if pair["condition"] == name]
        expected += ranked[:6] + ranked[-6:]
    assert shown == expected
    assert page.count("2 pairs between, not shown") == 2
    rates = [pair["fool_rate"] for pair in report["pairs"] if pair["condition"] == "cgan"]
    assert rates == sorted(rates, reverse=True)


def test_an_export_without_pictures_is_reported_and_says_so(tmp_path: Path) -> None:
    source = export(tmp_path / "export", two_conditions(), design(), images=False)
    write_report(source, tmp_path / "report", QUICK, figures=False)
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "The pair set came without its pictures" in page
    assert "fake of pair" not in page


def test_a_picture_that_is_not_the_one_shown_is_left_blank(tmp_path: Path) -> None:
    source = export(tmp_path / "export", two_conditions(), design())
    for fake in (source / "pairsets" / "cgan" / "images").glob("*-fake.png"):
        Image.new("RGB", (128, 128), "red").save(fake)
    write_report(source, tmp_path / "report", QUICK, figures=False)
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "Of 12 pairs a picture is absent, or is not the one in the manifest" in page


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda table: table.iloc[:0], "the response table holds no trial"),
        (lambda table: table[table["kind"] == "practice"], "none of the 40 trials is a main trial"),
        (lambda table: table.assign(chosen_side=None), "none of the 560 main trials was answered"),
    ],
    ids=["no-trial", "no-main-trial", "no-answer"],
)
def test_with_nothing_to_count_the_report_says_why(report_of: Callable, change: Callable, reason: str) -> None:
    report, page = report_of(change(two_conditions()))
    assert (report["conditions"], report["pairs"], report["comparisons"]) == ({}, [], [])
    assert f"There is no fool rate: {reason}." in report["warnings"]
    assert reason in page


def test_a_plan_that_excludes_everyone_is_told(tmp_path: Path) -> None:
    source = export(tmp_path / "export", two_conditions(), design(min_median_rt_ms=60_000), images=False)
    report = write_report(source, tmp_path / "report", QUICK, figures=False)
    assert "There is no fool rate: the plan excludes every session that answered a main trial." in report["warnings"]
    assert report["flow"]["sessions_excluded"] == 20


def test_a_condition_without_an_answer_is_told(tmp_path: Path) -> None:
    table = two_conditions()
    table.loc[(table["condition"] == "cgan") & (table["kind"] == "main"), "chosen_side"] = None
    report = write_report(
        export(tmp_path / "export", table, design(), images=False), tmp_path / "report", QUICK, figures=False
    )
    assert list(report["conditions"]) == ["wgan"]
    assert "Condition cgan has no answered main trial left, so it has no fool rate." in report["warnings"]


@pytest.mark.parametrize("only", [{"participant": "p000"}, {"pair": pair_id(PHOTOS[0])}, {"condition": "cgan"}])
def test_one_of_anything_is_reported(report_of: Callable, only: dict[str, str]) -> None:
    (column, value) = next(iter(only.items()))
    table = two_conditions()
    report, page = report_of(table[table[column] == value])
    assert report["conditions"]["cgan"]["n_trials"] > 0
    assert not re.search(r">\s*(nan|None)\b", page)


@pytest.mark.parametrize("answer", ["real_side", "other"])
def test_all_right_and_all_wrong_are_reported(report_of: Callable, answer: str) -> None:
    table = two_conditions()
    table["other"] = table["real_side"].map({"left": "right", "right": "left"})
    report, page = report_of(table.assign(chosen_side=table[answer]).drop(columns="other"))
    assert report["conditions"]["cgan"]["fool_rate"] == (0.0 if answer == "real_side" else 1.0)
    assert report["conditions"]["cgan"]["design_effect"] is None
    assert "every answer was" in page


def test_the_same_source_gives_the_same_bytes(exported: Path, tmp_path: Path) -> None:
    for name in ("once", "again"):
        write_report(exported, tmp_path / name, figures=False)
    written = [path for path in (tmp_path / "once").rglob("*") if path.is_file()]
    assert len(written) == 2 + 2 * 9
    for path in written:
        assert (tmp_path / "again" / path.relative_to(tmp_path / "once")).read_bytes() == path.read_bytes(), path


def test_a_report_is_replaced_and_another_folder_is_not(exported: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    out.mkdir()  # empty: taken
    first = write_report(exported, out, QUICK, figures=False)
    (out / "report.html").write_text("old")
    assert write_report(exported, out, QUICK, figures=False) == first
    assert (out / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [path.name for path in tmp_path.iterdir()] == ["report"]  # nothing is left aside
    (out / "thesis.txt").write_text("irreplaceable")
    with pytest.raises(FolderError, match=r"is not empty and no report \(it holds thesis.txt\)"):
        write_report(exported, out, QUICK, figures=False)
    assert (out / "thesis.txt").read_text() == "irreplaceable"
    with pytest.raises(FolderError, match=r"thesis.txt is a file; give a folder"):
        write_report(exported, out / "thesis.txt", QUICK, figures=False)


def test_a_folder_that_only_looks_like_a_report_is_not_replaced(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text('{"format": "another/1"}')
    with pytest.raises(FolderError, match="what it holds only looks like one"):
        write_report(exported, tmp_path, QUICK, figures=False)


def test_a_source_that_cannot_be_reported_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    with pytest.raises(ReportError, match=r"export is not an export folder: it has no responses\.csv"):
        write_report(tmp_path / "export", tmp_path / "report", QUICK, figures=False)
    two_conditions().assign(study=["a", "b"] * 300).to_csv(tmp_path / "export" / "responses.csv", index=False)
    with pytest.raises(ReportError, match=r"holds 2 studies \(a, b\)"):
        write_report(tmp_path / "export", tmp_path / "report", QUICK, figures=False)
    assert not (tmp_path / "report").exists()


def test_a_damaged_export_is_told(tmp_path: Path) -> None:
    source = export(tmp_path / "export", two_conditions(), design(), images=False)
    (source / "design.json").write_text('{"title": "x"}')
    with pytest.raises(ReportError, match=r"design\.json: name: Field required; export the study again"):
        write_report(source, tmp_path / "report", QUICK, figures=False)
    (source / "design.json").write_text("{")
    with pytest.raises(ReportError, match=r"design\.json is not JSON"):
        write_report(source, tmp_path / "report", QUICK, figures=False)
    (source / "design.json").unlink()
    (source / "design.json").mkdir()
    with pytest.raises(ReportError, match=r"design\.json cannot be read \(Is a directory\); export the study again"):
        write_report(source, tmp_path / "report", QUICK, figures=False)
    (source / "design.json").rmdir()
    (source / "study.json").write_text("[]")
    with pytest.raises(ReportError, match=r"study\.json holds no JSON object; export the study again"):
        write_report(source, tmp_path / "report", QUICK, figures=False)
    (source / "study.json").write_text("{}")
    with pytest.raises(
        ReportError, match=r"study\.json does not say how many refused \(refusals is None\); export the study again"
    ):
        write_report(source, tmp_path / "report", QUICK, figures=False)
    (source / "study.json").unlink()
    (source / "pairsets" / "cgan" / "manifest.json").write_text("{}")
    with pytest.raises(InputError, match=r"manifest\.json: format is None"):
        write_report(source, tmp_path / "report", QUICK, figures=False)


def test_the_order_of_rows_does_not_change_the_report(tmp_path: Path) -> None:
    table = two_conditions()
    reports = []
    for name, rows in (("a", table), ("b", table.sample(frac=1, random_state=1))):
        rows.to_csv(tmp_path / f"{name}.csv", index=False)
        reports.append(write_report(tmp_path / f"{name}.csv", tmp_path / name, QUICK, figures=False))
    first, second = reports
    assert second["pairs"] == first["pairs"]
    for name, condition in first["conditions"].items():
        numbers = {key: value for key, value in condition.items() if key != "method"}
        assert {key: second["conditions"][name][key] for key in numbers} == pytest.approx(numbers)
