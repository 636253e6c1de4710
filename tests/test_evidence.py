"""The simulations behind the methods page: each runs when small, its numbers are sane, and it writes between its own marks."""

import importlib
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy.special import expit

from analysis.intervals import participants_only, wilson
from analysis.planning.simulated_counts import count
from study_app.staircase import next_exposure_ms

ROOT = Path(__file__).resolve().parent.parent
MARKS = ("coverage", "thresholds", "mixed model")
PAGE = "# Methods\n" + "".join(f"\n<!-- {mark} -->\nas it was\n<!-- end of {mark} -->\n\nMore.\n" for mark in MARKS)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Opens a script of benchmarks/ by name."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    for name in ("coverage", "thresholds", "mixed_model"):  # a well-known library is called coverage, too
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module


@pytest.mark.parametrize("mark", MARKS)
def test_tables_replace_exactly_what_stands_between_their_marks(script, tmp_path: Path, mark: str) -> None:
    page = tmp_path / "methods.md"
    page.write_text(PAGE)
    for tables in ("| old |", "| a | b |\n| --- | --- |\n| 1 | 2 |"):
        script("page_marks").put_into(page, mark, tables, "How.")
    before, after = (f"<!-- {mark} -->\n", f"\n<!-- end of {mark} -->")
    assert page.read_text() == PAGE.replace(
        f"{before}as it was{after}", f"{before}How.\n\n| a | b |\n| --- | --- |\n| 1 | 2 |{after}"
    )


@pytest.mark.parametrize("lacking", ["<!-- thresholds -->", "<!-- end of thresholds -->"])
def test_a_page_without_a_mark_stays_as_it_is(script, tmp_path: Path, lacking: str) -> None:
    page = tmp_path / "methods.md"
    page.write_text(PAGE.replace(lacking, ""))
    with pytest.raises(ValueError, match="methods.md lacks <!-- thresholds --> or <!-- end of thresholds --> after it"):
        script("page_marks").put_into(page, "thresholds", "| a |", "How.")
    assert page.read_text() == PAGE.replace(lacking, "")


def test_the_methods_page_has_each_mark_once() -> None:
    text = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    marks = [f"<!-- {start}{mark} -->" for mark in MARKS for start in ("", "end of ")]
    assert [text.count(mark) for mark in marks] == [1] * len(marks)
    places = [text.index(mark) for mark in marks]
    assert places == sorted(places)


def test_headline_holds_the_truth_as_often_as_promised_and_wilson_does_not(script) -> None:
    coverage = script("coverage")
    designs = [(10, 50, 0.2, (0.5, 1.0), "all"), (20, 20, 0.35, (1.0, 0.5), "all"), (50, 20, 0.5, (0.5, 1.0), "half")]
    cells = [coverage.cover(*design, 1000) for design in designs]
    assert all(0.92 <= cell.headline <= 0.98 for cell in cells)  # a standard error is .007
    assert all(cell.wilson < 0.8 for cell in cells)
    assert coverage.mean(cell.these_pictures for cell in cells) < 0.85


def test_intervals_of_many_studies_are_those_of_one(script) -> None:
    coverage, rng = script("coverage"), np.random.default_rng(3)
    p = expit(rng.normal(-1, 1, (8, 1, 4)) + np.array([0, 0.5, -100, 100]))  # of the last two, nobody and everybody
    fooled = (rng.random((8, 6, 4)) < p).astype(np.float32)
    counts = count(fooled, np.tile(np.arange(6), (8, 1)), 6)
    these, naive = coverage.these_pictures(counts), coverage.wilson(counts)
    for study in range(4):
        answers = fooled[:, :, study].ravel()
        one = participants_only(answers, np.repeat(np.arange(8), 6))
        assert (these[0][study], these[1][study]) == pytest.approx((one.low, one.high))
        one = wilson(int(answers.sum()), answers.size)
        assert (naive[0][study], naive[1][study]) == pytest.approx((one.low, one.high), abs=1e-12)


def test_bootstrap_is_wide_where_only_the_trials_vary(script) -> None:
    _, width, _, drawn_width = script("coverage").resample(20, 20, 0.5, (0.0, 0.0), 6)
    # Owen 2007: it counts the variance of the trials three times.
    assert 0.5 * np.sqrt(3) < drawn_width / (2 * 1.96 * 0.5 / 20) < 1.5 * np.sqrt(3)
    assert drawn_width > 1.3 * width


def test_simulated_staircases_step_as_those_of_the_survey(script) -> None:
    thresholds = script("thresholds")
    # Thresholds from far below the shortest exposure to far above the longest.
    design = thresholds.Design("wide", n_participants=10, trials=120, blocks=2, spread=1.2)
    trials, own = thresholds.simulate(design, 2)
    assert (own.shape, len(trials)) == ((2, 10), 2 * 10 * 2 * 120)
    steps = set()
    for _, run in trials.groupby(["condition", "participant", "session", "block"]):
        shown, fooled = run["exposure_ms"].astype(int).tolist(), run["fooled"].tolist()
        assert (len(shown), shown[0]) == (120, thresholds.RULE.start_ms)
        for (now, then), was_fooled in zip(pairwise(shown), fooled, strict=False):
            assert then == next_exposure_ms(thresholds.RULE, now, correct=not was_fooled)
            steps.add(then - now)
    assert steps >= {-10, 0, 30}
    assert trials.groupby("participant")["trial_index"].apply(list).map(lambda told: told == list(range(240))).all()


@pytest.mark.parametrize("is_weibull", [False, True])
def test_observers_are_half_way_up_at_their_threshold(script, is_weibull: bool) -> None:
    thresholds = script("thresholds")
    design = thresholds.Design("any", slope=3, lapse=0.1, is_weibull=is_weibull)
    right = thresholds.p_correct(design, np.array([1e-6, 1, 2, 1e6]))
    # At twice the threshold: 8/9 of the way by the logistic, 1 - 2^-8 by the Weibull function.
    assert right == pytest.approx([0.5, 0.7, 0.5 + 0.4 * (1 - 2**-8 if is_weibull else 8 / 9), 0.9])


def test_bias_and_coverage_are_as_counted_by_hand(script) -> None:
    thresholds = script("thresholds")
    design = thresholds.Design("any", threshold_ms=300)
    own = np.log([[200.0, 800.0], [400, 400], [1, 1]])  # geometric means of 400, 400 and 1
    ends = np.array([[250, 500, 550], [310, 320, 330], [np.nan, np.nan, np.nan]])
    found = thresholds.judge(design, own, ends)
    assert (found.bias, found.coverage) == pytest.approx((0.0, 0.5))  # 500/400 and 320/400: 1.25 * .8 = 1
    assert found.without == pytest.approx(1 / 3)
    no_interval = thresholds.judge(design, own, np.array([[np.nan, ms, np.nan] for ms in (440, 440, 1.1)]))
    assert (no_interval.bias, no_interval.without) == pytest.approx((0.1, 0))
    assert np.isnan(no_interval.coverage)
    assert thresholds.judge(design, own, np.full((3, 3), np.nan)).without == 1


def test_threshold_is_found_where_the_modal_exposure_and_one_curve_are_off(script) -> None:
    thresholds = script("thresholds")
    estimated, known, modal, one_curve = thresholds.measure(thresholds.Design("small", 10, 120), 10)
    assert abs(known.bias) < 0.03  # a standard error is .01
    assert abs(estimated.bias) < 0.06
    assert min(estimated.coverage, known.coverage) >= 0.8  # P = .01 at a true coverage of .95
    assert modal.bias > 0.05
    assert one_curve.without > 0.5 or one_curve.bias < -0.1


@pytest.mark.parametrize(
    ("name", "mark", "asked", "n_rows"),
    [
        ("coverage", "coverage", ["-n", "4"], 9 + 5 + 1 + 4 + 4),
        ("thresholds", "thresholds", ["-n", "2"], 2),
        ("mixed_model", "mixed model", ["-n", "1", "--designs", "0", "--candidates", "short", "headline"], 2 + 3),
    ],
)
def test_each_script_writes_its_tables_into_the_page(
    script, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, mark: str, asked: list[str], n_rows: int
) -> None:
    module, page = script(name), tmp_path / "methods.md"
    page.write_text(PAGE)
    monkeypatch.setattr(module, "METHODS", page)
    monkeypatch.setattr(sys, "argv", [name, *asked, "--write"])
    if name == "coverage":
        for setting, small in (("SIZES", (10, 20)), ("RATES", (0.3,)), ("PEEKS", 20)):
            monkeypatch.setattr(module, setting, small)
        monkeypatch.setattr(module, "BOOTSTRAPPED", module.BOOTSTRAPPED[:1])
        with pytest.raises(SystemExit, match="[01]"):  # so few studies show nothing
            module.main()
    else:
        if name == "thresholds":
            monkeypatch.setattr(
                module, "DESIGNS", (module.Design("a", 4, 60), module.Design("b", 4, 60, is_weibull=True))
            )
        module.main()
    written = page.read_text().split(f"<!-- {mark} -->")[1].split(f"<!-- end of {mark} -->")[0]
    of_tables = [line for line in written.splitlines() if line.startswith("|")]
    ruled = [at for at, line in enumerate(of_tables) if line.startswith("| --- ")]
    assert len(of_tables) == n_rows + 2 * len(ruled)
    assert all(of_tables[at].count("|") == of_tables[at - 1].count("|") == of_tables[at + 1].count("|") for at in ruled)
    assert "nan" not in written
    assert page.read_text().count("as it was") == len(MARKS) - 1
