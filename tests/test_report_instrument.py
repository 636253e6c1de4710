"""What a report says of the instrument: protocol and deviations, kinds of trials, who was lost, adaptive exposures."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from test_report import N_PAIRS, QUICK, design, export, report_of, two_conditions

from analysis.findings import Options
from analysis.report import write_report
from protocol.design import canonical_sha256, parse_design

__all__ = ["report_of"]  # a fixture


@pytest.fixture(scope="module")
def instrument(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, str]:
    """The report on a bilingual study with catch trials, repeats and people who were lost on the way."""
    table = two_conditions(origin="human", n_participants=6)
    table["outcome"] = "completed"
    table["repeat_of"] = None
    practice = table.index[table["kind"] == "practice"]
    for catch, repeat in zip(practice[::2], practice[1::2], strict=True):  # in each session
        first = table.loc[catch + 2]
        table.loc[catch, ["kind", "condition", "chosen_side"]] = ["catch", "catch", table.loc[catch, "real_side"]]
        again = ["repeat", "cgan", first["real_side"], first["chosen_side"], first["trial_index"]]
        table.loc[repeat, ["kind", "condition", "real_side", "chosen_side", "repeat_of"]] = again
    opposite = {"left": "right", "right": "left"}
    table.loc[practice[0], "chosen_side"] = opposite[table.loc[practice[0], "real_side"]]
    table.loc[table["session"] == "s000", "outcome"] = "failed_checks"
    table.loc[practice[1], "chosen_side"] = opposite[table.loc[practice[1], "chosen_side"]]
    study = parse_design(
        {
            "name": "flowers",
            "title": {"de": "Welche Blume?", "en": "Which flower?"},
            "languages": ["de", "en"],
            "consent": {"de": "Ja.", "en": "Yes."},
            "trials": {"main": 2 * N_PAIRS, "practice": 0, "catch": 1, "repeat": 1},
            "assignment": {"conditions": "within"},
            "conditions": {"wgan": "wgan", "cgan": "cgan"},
            "catch": {"pairset": "obvious", "max_missed": 0},
        },
        "the test",
    )
    folder = tmp_path_factory.mktemp("instrument")
    source = export(folder / "export", table, study, images=False)
    (source / "study.json").write_text('{"refusals": 3}')
    return write_report(source, folder / "report", QUICK, figures=False), (folder / "report" / "report.html").read_text(
        encoding="utf-8"
    )


def test_protocol_and_every_deviation_from_it_are_told(instrument: tuple[dict, str]) -> None:
    report, page = instrument
    protocol = report["protocol"]
    assert (protocol["name"], protocol["source"][:24]) == ("zhang2016", "Zhang, Isola & Efros 2016"[:24])
    found = {deviation["key"]: (deviation["published"], deviation["here"]) for deviation in protocol["deviations"]}
    assert found == {
        "trials.practice": ("10", "0"),
        "trials.main": ("40", "28"),
        "trials.catch": ("4", "1"),
        "trials.repeat": ("0", "1"),
        "assignment.conditions": ("between", "within"),
        "picture size": ("256 × 256 px", "128 × 128 px"),
    }
    assert "The study follows <b>zhang2016</b>: Zhang, Isola &amp; Efros 2016" in page
    for key, (published, here) in found.items():
        row = f'<th scope="row">{key}</th><td class="text">{published}</td><td class="text">{here}</td>'
        assert row in page


def test_study_that_keeps_to_its_protocol_is_said_to(tmp_path: Path) -> None:
    study = parse_design(
        {
            "title": "Flowers",
            "protocol": "ding2018",
            "trials": {"practice": 10, "main": 40},
            "conditions": {"cgan": "cgan"},
        },
        "the test",
    )
    source = export(tmp_path / "export", two_conditions(), study, images=False)
    report = write_report(source, tmp_path / "report", QUICK, figures=False)
    assert report["protocol"]["deviations"] == []
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "It departs from it in no setting that the source states." in page
    assert "There</th>" not in page


def test_without_a_design_no_protocol_is_claimed(report_of: Callable) -> None:
    report, page = report_of(two_conditions())
    assert report["protocol"] is None
    assert 'id="protocol"' not in page


def test_catch_trials_and_repeats_are_counted_apart(instrument: tuple[dict, str]) -> None:
    report, page = instrument
    kinds = {kind["kind"]: kind for kind in report["kinds"]}
    assert {kind: count["shown"] for kind, count in kinds.items()} == {"main": 168, "catch": 6, "repeat": 6}
    assert kinds["catch"]["correct"] == pytest.approx(5 / 6)
    # Of the sessions that count: the one that missed its catch trial is left out, and with it the repeat it answered otherwise.
    assert (report["consistency"], report["catch"]["missed"], report["catch"]["n"]) == (1.0, 0, 5)
    assert "A repeated pair got the same answer again in 100\u202f% (" in page
    assert "0 of 5, 0.0\u202f%" in page  # catch trials missed
    assert "0.0\u202f% of trials went without attention" in page
    assert list(report["conditions"]) == ["wgan", "cgan"]
    assert all(condition["n_trials"] == 5 * N_PAIRS for condition in report["conditions"].values())


def test_who_missed_catch_trials_does_not_count(instrument: tuple[dict, str]) -> None:
    report, page = instrument
    assert report["exclusions"] == [{"session": "s000", "criterion": "max_missed", "value": 1.0}]
    assert '<th scope="row">More than 0 catch trials missed<small>catch.max_missed</small></th><td>1</td>' in page
    with_everyone, without = report["sensitivity"]
    assert (with_everyone["label"], without["is_plan"]) == ("no exclusion", True)
    assert '<tr class="main"><th scope="row">the plan: more than 0 catch trials missed' in page


def test_who_was_lost_on_the_way_is_told(instrument: tuple[dict, str]) -> None:
    report, page = instrument
    assert report["flow"]["refusals"] == 3
    assert report["flow"]["outcomes"] == {"completed": 5, "failed_checks": 1}
    assert "3 declined to take part, 1 failed the checks." in page


def test_title_is_in_the_report_s_language(instrument: tuple[dict, str]) -> None:
    report, page = instrument
    assert report["title"] == "Which flower?"
    assert "<h1>Which flower?</h1>" in page


def test_adaptive_study_is_reported_by_its_exposures(tmp_path: Path) -> None:
    table = two_conditions(n_participants=4)
    sides = {"left": "real", "right": "fake"}
    table[["real_side", "chosen_side"]] = table[["real_side", "chosen_side"]].replace(sides)
    table["exposure_ms"] = np.where(table["condition"] == "cgan", 300, 620) + 10 * (table["trial_index"] % 2)
    study = parse_design(
        {"title": "How brief?", "protocol": "hype_time", "conditions": {"wgan": "wgan", "cgan": "cgan"}}, "the test"
    )
    source = export(tmp_path / "export", table, study, images=False)
    report = write_report(source, tmp_path / "report", QUICK, figures=False)
    settled = {found["condition"]: found for found in report["settled"]}
    assert settled.keys() == {"cgan", "wgan"}
    assert settled["cgan"]["low"] <= settled["cgan"]["modal_ms"] <= settled["cgan"]["high"] < settled["wgan"]["low"]
    assert 300 <= settled["cgan"]["late_ms"] <= 310
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    modal = f"{settled['cgan']['modal_ms']:.0f}\u202fms"
    assert f"holds this rate near 25\u202f%. Compare the exposure instead: modal {modal}." in page
    assert "This is the one to report" not in page
    assert "Modal exposure" in page
    assert "Exposure planned 300\u202fms to 630\u202fms" in page
    assert "the exposure of each trial followed" not in page  # a staircase's figure, and there are no figures
    assert "which the staircase holds near 25%. For" in page
    assert f"For cgan, the modal exposure was {settled['cgan']['modal_ms']:.0f} ms" in page
    assert f"<b>{modal}</b>" in page  # and not the rate that the staircase holds
    assert "points higher for" not in page
    assert "Errors on photographs" in page
    (threshold,) = [one for one in report["thresholds"] if one["condition"] == "cgan"]
    assert threshold["n_participants"] == 4
    assert 'id="exposure"' in page
    assert (tmp_path / "report" / "tables" / "thresholds.tex").exists()
    (compared,) = report["exposure_comparisons"]
    assert (compared["a"], compared["b"], compared["n_both"]) == ("wgan", "cgan", 4)
    assert compared["difference_low"] < settled["wgan"]["modal_ms"] - settled["cgan"]["modal_ms"]
    assert '<th scope="row">wgan, cgan</th>' in page
    assert (tmp_path / "report" / "tables" / "exposure_comparisons.csv").read_text().startswith("a,b,n_both,")


def test_without_a_frozen_plan_nothing_is_said_to_be_fixed(report_of: Callable) -> None:
    _, page = report_of(two_conditions())
    assert "<b>No plan was frozen.</b> No study design came with the answers" in page
    assert "fixed beforehand" not in page


def test_what_was_changed_after_the_plan_froze_is_called_post_hoc(tmp_path: Path) -> None:
    study = design(min_median_rt_ms=200)
    table = two_conditions(n_participants=6)
    table.loc[table["session"] == "s002", "rt_ms"] = 250.0
    source = export(tmp_path / "export", table, study, images=False)
    raw = json.loads((source / "design.json").read_text())
    (source / "study.json").write_text(json.dumps({"refusals": 0, "plan_sha256": canonical_sha256(study.analysis)}))
    assert canonical_sha256(parse_design(raw, "the export").analysis) == canonical_sha256(study.analysis)
    kept = write_report(source, tmp_path / "report", QUICK, figures=False)
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert (kept["plan_is_frozen"], kept["post_hoc"]) == (True, [])
    assert "the plan was fixed before results were seen." in page
    assert "Post hoc" not in page
    assert "No plan was frozen" not in page

    changed = Options(replicates=0, post_hoc={"min_median_rt_ms": "300"})
    report = write_report(source, tmp_path / "report", changed, figures=False)
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert report["post_hoc"] == [{"key": "min_median_rt_ms", "frozen": "200", "here": "300"}]
    assert "<b>Post hoc.</b>" in page
    row = '<th scope="row">min_median_rt_ms</th><td class="text">200</td><td class="text"><b>300</b></td>'
    assert row in page
    assert "a median response time below 300 ms <em>post hoc</em>" in page  # in the sensitivity table
    assert "fixed beforehand</th>" not in page
    assert report["exclusions"][0]["session"] == "s002"


def test_mcnemar_s_test_is_explained_where_conditions_are_compared(report_of: Callable) -> None:
    report, page = report_of(two_conditions())
    chi2 = report["comparisons"][0]["mcnemar_chi2"]
    start = page.index('id="comparisons"')
    section = page[start : page.index("</section>", start)]
    assert "Why not McNemar’s test?" in section
    assert f"χ² = {chi2:.1f}" in section
    between, page = report_of(two_conditions().assign(pair=lambda table: table["pair"] + table["condition"]))
    assert between["comparisons"][0]["mcnemar_chi2"] is None  # no picture was seen in both
    assert "McNemar" not in page


def test_conditions_shown_against_each_other_are_ranked(report_of: Callable) -> None:
    table = two_conditions()
    table["against"] = np.where(table["condition"] == "cgan", "wgan", None)
    report, page = report_of(table)
    assert [one["condition"] for one in report["ranking"]] == ["cgan", "wgan"]  # at real_side stood cgan
    assert list(report["conditions"]) == ["wgan"]
    assert 'id="ranking"' in page
    assert "Bradley–Terry" in page


def test_long_lists_end_on_the_page_and_point_to_their_table(report_of: Callable, tmp_path: Path) -> None:
    table = two_conditions(n_participants=60)
    study = design(max_one_side=0.6)
    table["chosen_side"] = "left"
    source = export(tmp_path / "export", table, study, images=False)
    report = write_report(source, tmp_path / "long", QUICK, figures=False)
    page = (tmp_path / "long" / "report.html").read_text(encoding="utf-8")
    assert len(report["exclusions"]) == 60
    assert "Every exclusion (60)" in page
    assert page.count('<td class="text">max_one_side</td>') == 50
    assert "… and 10 more in tables/exclusions.csv." in page
