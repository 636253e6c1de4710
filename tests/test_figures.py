import io
from collections.abc import Callable
from dataclasses import replace
from math import sqrt

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from observers import simulate_table
from PIL import Image
from scipy import stats

from analysis.comparisons import Comparison
from analysis.exclusions import Exclusion
from analysis.exposures import Settled
from analysis.figures.draw import draw_figures
from analysis.figures.flow import draw_flow
from analysis.figures.heat_map import draw_heat_map
from analysis.figures.pairs import draw_pairs
from analysis.figures.rates import draw_differences, draw_fool_rates
from analysis.figures.style import INK, PALETTE, colors, save_png, save_svg, shorten
from analysis.figures.thresholds import draw_psychometric, draw_staircases
from analysis.figures.trials import draw_response_times, draw_side_bias, draw_trial_number
from analysis.findings import Findings, Options, analyse
from analysis.flow import Flow
from analysis.fool_rate import counted_trials
from analysis.plan import AppliedPlan
from analysis.psychometric import Threshold
from analysis.reading.source import Source
from protocol.design import Analysis
from protocol.responses import COLUMNS

_PLAN = Analysis(exclude_unfinished=True, min_median_rt_ms=300)


def find(table: pd.DataFrame, plan: Analysis = _PLAN) -> Findings:
    source = Source(table=table, responses_sha256="0" * 64, design=None, pairsets={})
    return analyse(source, Options(plan=AppliedPlan(plan, (), None, None), replicates=0))


def handmade(rows: list[tuple[str, str, str, bool]], **columns: object) -> pd.DataFrame:
    """Main trials of (participant, condition, pair, fooled); the real picture is on the left."""
    table = pd.DataFrame(rows, columns=["participant", "condition", "pair", "fooled"])
    given = {
        "study": "s", "session": table["participant"], "origin": "human", "kind": "main", "real_side": "left",
        "chosen_side": np.where(table["fooled"], "right", "left"), "trial_index": np.arange(len(table), dtype=float),
        "rt_ms": 1000.0, "exposure_ms": np.nan, "exposure_measured_ms": np.nan, "late_frames": 0.0,
        "presented_at": None, "answered_at": None,
    }  # fmt: skip
    return table.drop(columns="fooled").assign(**{**given, **columns})[list(COLUMNS)]


@pytest.fixture(scope="module")
def two() -> Findings:
    rng = np.random.default_rng(1)
    table = simulate_table(rng, {"cgan": -1.0, "wgan": 0.1}, n_participants=12, pairs=[f"p{i}" for i in range(14)])
    hurried = table["session"].astype(str) == "s003"
    return find(table.assign(rt_ms=table["rt_ms"].mask(hurried, 120.0)))


def adaptive(findings: Findings) -> Findings:
    """With thresholds and staircases by hand: one has a threshold, the other has none."""
    curve = ((50.0, 0.55), (100.0, 0.75), (200.0, 0.95))
    known = Threshold("cgan", 100.0, 80.0, 125.0, 4.0, 0.0, 11, 1, curve, ((50.0, 40, 22), (200.0, 40, 38)))
    unknown = Threshold("wgan", None, None, None, 4.0, 0.02, 11, 9, (), ((50.0, 40, 12), (200.0, 40, 22)))
    exposures = 200.0 - 10 * (findings.trials["trial_index"].to_numpy() % 7)
    return replace(
        findings,
        thresholds=(known, unknown),
        settled=(Settled("cgan", 170.0, 160.0, 180.0, 171.0, 11),),
        trials=findings.trials.assign(exposure_ms=exposures),
    )


def degenerate(name: str) -> Findings:
    rng = np.random.default_rng(2)
    if name == "one of each":
        return find(handmade([("p", "only", "a", True)]))
    if name == "rates of 0 and 1":
        names = {"nobody_was_ever_fooled_by_this_old_one": -60, "everybody_was_fooled_by_this_new_one": 60}
        return find(simulate_table(rng, names, n_participants=4, pairs=["a", "b", "c", "d", "e"]))
    names = {f"costs_$1_and_$2_in_the_{k:02d}th_variant_of_the_generator": 0.2 * k - 1 for k in range(4)}
    return find(simulate_table(rng, names, n_participants=3, pairs=["a", "b", "c"]))


def lines(axes: Axes, width: float) -> list[list[float]]:
    """The x values of the lines of this width, from top to bottom."""
    found: list[Line2D] = [line for line in axes.lines if line.get_linewidth() == width and len(line.get_xdata()) == 2]
    return [[float(x) for x in line.get_xdata()] for line in sorted(found, key=lambda line: line.get_ydata()[0])]


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in (*axes.texts, axes.title)]


def picture(color: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (60, 40), color).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def red() -> Callable[[str, str], bytes | None]:
    found = picture("red")
    return lambda condition, pair: found


@pytest.fixture(scope="module")
def drawn(two: Findings, red: Callable) -> dict[str, Figure]:
    return draw_figures(adaptive(two), red, is_marked=True)


def test_figures_come_in_the_order_of_the_page(drawn: dict[str, Figure]) -> None:
    assert list(drawn) == [
        "fool_rates", "differences", "pairs", "heat_map", "trial_number", "response_times", "side_bias", "flow",
        "psychometric", "staircases",
    ]  # fmt: skip


def test_figures_without_anything_to_draw_are_left_out(two: Findings) -> None:
    nothing = find(handmade([("p", "only", "a", True)], chosen_side=None))
    assert list(draw_figures(nothing, is_marked=False)) == ["flow"]
    assert draw_side_bias(replace(two, sides_known=False), 9.0) is None
    assert draw_psychometric(two, 9.0) is None


@pytest.mark.parametrize("name", ["usual, wide", "usual", "many long names", "one of each", "rates of 0 and 1"])
def test_no_text_leaves_its_figure(name: str, two: Findings, drawn: dict[str, Figure], red: Callable) -> None:
    if name == "usual, wide":
        figures = drawn
    else:
        findings = adaptive(two) if name == "usual" else degenerate(name)
        figures = draw_figures(findings, red, width_in=3.7, is_marked=False)
    for key, figure in figures.items():
        # In inches, of everything that is drawn; a hundredth for the rounding of letters to pixels.
        box = figure.get_tightbbox(FigureCanvasAgg(figure).get_renderer())
        width, height = figure.get_size_inches()
        assert width == (9.0 if name == "usual, wide" else 3.7)
        assert min(box.x0, box.y0, width - box.x1, height - box.y1) > -0.01, f"{key}: {box.extents} in {width, height}"


def test_same_numbers_give_the_same_bytes(red: Callable) -> None:
    findings = find(handmade([(f"p{j}", "g", pair, j > 1) for j in range(4) for pair in "abc"]))
    first, second = (draw_figures(findings, red, is_marked=True) for _ in range(2))
    for name in ("pairs", "heat_map"):
        svg = save_svg(first[name])
        # A file after another is still the same: saving leaves the figure as it was.
        assert save_png(first[name]) == save_png(second[name])
        assert svg == save_svg(second[name]) == save_svg(first[name])


def test_png_has_the_width_asked_for(two: Findings) -> None:
    figure = draw_flow(two, 3.7)
    assert Image.open(io.BytesIO(save_png(figure, dpi=100))).width == 370
    assert Image.open(io.BytesIO(save_png(figure))).width == 740


def test_only_marked_figures_say_simulated(two: Findings, drawn: dict[str, Figure]) -> None:
    assert all("SIMULATED" in [text.get_text() for text in figure.texts] for figure in drawn.values())
    assert b"SIMULATED" in save_svg(drawn["flow"])
    plain = draw_figures(degenerate("one of each"), is_marked=False)
    assert not any("SIMULATED" in [text.get_text() for text in figure.texts] for figure in plain.values())


def test_forest_draws_the_three_intervals_and_the_margin(two: Findings) -> None:
    axes = draw_fool_rates(two, 9.0).axes[0]
    rates = two.conditions
    assert lines(axes, 4.5) == [[rate.interval.low, rate.interval.high] for rate in rates]
    assert lines(axes, 2.2) == [[rate.participants_interval.low, rate.participants_interval.high] for rate in rates]
    assert [rate.naive.low for rate in rates] == [low for low, high in lines(axes, 1.0) if low != high]
    assert [0.5, 0.5] in lines(axes, 1.0)
    (margin,) = axes.patches
    assert margin.get_x() == pytest.approx(0.45)
    assert margin.get_width() == pytest.approx(0.1)


def test_differences_are_in_points_and_hollow_where_there_may_be_none(two: Findings) -> None:
    found = (
        Comparison("a", "b", -0.25, -0.4, -0.1, 0.0004, 0.0004),
        Comparison("a", "c", 0.031, -0.02, 0.08, 0.2, 0.2),
        Comparison("b", "c", 0.0, -1.0, 1.0, None, None),
    )
    axes = draw_differences(replace(two, comparisons=found), 9.0).axes[0]
    assert lines(axes, 3) == [pytest.approx([-40, -10])]
    assert lines(axes, 2) == [pytest.approx([-2, 8]), pytest.approx([-100, 100])]
    assert [text.get_text() for text in axes.texts] == [
        "a \u2212 b   \u221225.0   p\u202f<\u202f.001",
        "a \u2212 c   +3.1   p\u202f=\u202f.200",
        "b \u2212 c   0",
    ]


def test_pairs_stand_in_order_with_the_interval_of_their_shrunken_rate() -> None:
    # Everybody is fooled by a, half of them by b, nobody by c.
    rows = [(f"p{j}", "g", pair, {"a": True, "b": j % 2 == 0, "c": False}[pair]) for j in range(8) for pair in "abc"]
    findings = find(handmade(rows))
    (rate,) = findings.conditions
    axes = draw_pairs(findings, None, 9.0).axes[0]
    shrunken = next(line for line in axes.lines if line.get_marker() == "o").get_ydata()
    assert list(shrunken) == [pair.shrunk for pair in findings.pairs]
    assert list(shrunken) == sorted(shrunken, reverse=True)
    # Prediction variance of a mean of 8 answers: between·within / (between + within).
    within = (rate.components.participant + rate.components.residual) / 8
    half = 1.959964 * sqrt(rate.components.pair * within / (rate.components.pair + within))
    bars = [segment[:, 1] for segment in axes.collections[0].get_segments()]
    assert bars[1] == pytest.approx([0.5 - half, 0.5 + half], abs=1e-6)
    assert bars[0][1] == pytest.approx(min(1, findings.pairs[0].shrunk + half), abs=1e-6)


def test_pairs_that_do_not_differ_are_said_not_to() -> None:
    figure = draw_pairs(degenerate("rates of 0 and 1"), None, 9.0)
    said = [text for text in texts(figure) if text.startswith("the pairs differ no more than by chance")]
    assert len(said) == 2
    assert said[0].endswith("so none has an interval of its own")


def test_thumbnails_run_from_the_first_pair_to_the_last_and_leave_out_absent_ones(two: Findings) -> None:
    asked: list[tuple[str, str]] = []

    def thumbnail(condition: str, pair: str) -> bytes | None:
        asked.append((condition, pair))
        return None if condition == "wgan" else picture("blue")

    figure = draw_pairs(two, thumbnail, 3.7)
    ordered = {name: [pair.pair for pair in two.pairs if pair.condition == name] for name in ("cgan", "wgan")}
    of_first = [pair for condition, pair in asked if condition == "cgan"]
    assert (of_first[0], of_first[-1], len(of_first)) == (ordered["cgan"][0], ordered["cgan"][-1], 4)
    (strip,) = [axes for axes in figure.axes if axes.images]
    assert len(strip.images) == 4
    assert tuple(strip.images[0].get_array()[0, 0][:3]) == (0, 0, 255)
    first, second = (image.get_extent() for image in strip.images[:2])
    assert first[1] < second[0]
    assert (first[1] - first[0]) / (first[3] - first[2]) == pytest.approx(60 / 40)


def test_heat_map_orders_both_ways_and_hatches_unseen_cells() -> None:
    rows = [("low", "g", "x", False), ("low", "g", "y", False), ("high", "g", "y", True), ("high", "g", "z", True)]
    axes = draw_heat_map(find(handmade(rows)), 9.0).axes[0]
    assert axes.patch.get_hatch()  # seen through the blank cells
    cells = axes.images[0].get_array()
    # People: high, low; pairs: z (1 of 1), y (1 of 2), x (0 of 1).
    np.testing.assert_array_equal(np.ma.filled(cells, np.nan), [[1, 1, np.nan], [np.nan, 0, 0]])


def test_heat_map_of_many_groups_them_by_rate() -> None:
    rng = np.random.default_rng(3)
    rows = [(f"p{j}", "g", f"i{k}", bool(rng.random() < k / 150)) for j in range(20) for k in range(150)]
    figure = draw_heat_map(find(handmade(rows)), 9.0)
    cells = figure.axes[0].images[0].get_array()
    assert cells.shape == (20, 60)
    assert cells[:, :20].mean() > 0.7 > 0.3 > cells[:, -20:].mean()
    assert "150 pairs in 60 groups" in figure.axes[0].get_xlabel()


def test_fatigue_shows_over_the_trials() -> None:
    rng = np.random.default_rng(4)
    rows = [(f"p{j}", "g", f"i{k}", bool(rng.random() < 0.2 + 0.4 * k / 99)) for j in range(40) for k in range(100)]
    table = handmade(rows, trial_index=np.tile(np.arange(100.0), 40))
    axes = draw_trial_number(find(table), 9.0).axes[0]
    (line,) = [line for line in axes.lines if line.get_marker() == "o"]
    at, rate = line.get_data()
    assert len(at) == 12
    assert (at[0], at[-1]) == (4.5, 96.5)
    assert set(np.diff(at)) <= {8.0, 8.5, 9.0}
    np.testing.assert_allclose(rate, 0.2 + 0.4 * (at - 1) / 99, atol=0.09)


def test_too_few_trials_make_no_line_over_trials() -> None:
    rows = [("p", "g", f"i{k}", k % 2 == 0) for k in range(39)]
    assert draw_trial_number(find(handmade(rows)), 9.0) is None
    assert draw_trial_number(find(handmade([*rows, ("p", "g", "i39", True)])), 9.0) is not None


def test_response_times_are_told_apart_by_outcome() -> None:
    rows = [("p", "g", f"i{k}", k < 5) for k in range(10)]
    table = handmade(rows, rt_ms=[100.0, 200, 300, 400, 500, 2000, 2000, 2000, 2000, 9000])
    axes = draw_response_times(find(table, Analysis()), 9.0).axes[0]
    medians = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"]
    assert medians == [300, 2000]
    assert lines(axes, 7)[0] == [200, 400]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["fooled", "right"]
    assert "median 2\u202f000 ms, 5 answers" in texts(axes.get_figure())


def test_side_limits_are_those_of_the_binomial_distribution() -> None:
    # Of 14 answers, P(K <= 2) = .0065 and P(K <= 3) = .0287: two left are outside, three are inside.
    rows = [(f"p{j}", "g", f"i{j}-{k}", k < j) for j in (2, 3, 7) for k in range(14)]
    figure = draw_side_bias(find(handmade(rows)), 9.0)
    words = texts(figure)[-1]
    assert words.startswith("1 of 3 participants outside the 95\u202f% limits")
    assert f"; {6 * stats.binom.cdf(2, 14, 0.5):.2g} expected if nobody preferred a side" in words
    band = figure.axes[0].collections[1].get_paths()[0].vertices
    lower = band[band[:, 1] < 0.5]
    assert 2 / 14 < np.interp(14, *lower[lower[:, 0].argsort()].T) <= 3 / 14


def test_one_picture_at_a_time_speaks_of_real_and_wrong() -> None:
    rows = [("p", "g", f"i{k}", True) for k in range(8)]
    findings = find(handmade(rows, real_side=["real", "fake"] * 4, chosen_side=["real"] * 6 + ["fake"] * 2))
    assert draw_side_bias(findings, 9.0).axes[0].get_ylabel() == "Share “real”"
    times = draw_response_times(findings, 9.0).axes[0]
    assert [label.get_text() for label in times.get_yticklabels()] == ["wrong", "right"]
    assert "misjudged" in draw_fool_rates(findings, 9.0).axes[0].get_xlabel()


def test_flow_adds_up(two: Findings) -> None:
    flow = Flow(
        participants=20, sessions=20, sessions_finished=15, sessions_excluded=6, participants_counted=11,
        trials_shown=500, trials_unanswered=40, trials_excluded=152, trials_counted=308, refusals=3,
        outcomes={"completed": 15, "screened_out": 2},
    )  # fmt: skip
    reasons = [("s1", "min_median_rt_ms"), *[(f"s{k}", "exclude_unfinished") for k in range(1, 7)]]
    excluded = tuple(Exclusion(session, criterion, 1.0) for session, criterion in reasons)
    figure = draw_flow(replace(two, flow=flow, exclusions=excluded), 9.0)
    assert [text for text in texts(figure) if text] == [
        "Began: 20 participants",
        "500 main trials shown",
        "15 answered every main trial",
        "15 completed",
        "2 screened out before the main trials",
        "3 more declined to take part",
        "Excluded by the plan: 6 sessions",
        "6 with not every main trial answered",
        "1 with a median response time below 300 ms",
        "(some for several reasons)",
        "Nothing to count: 3 sessions",
        "Counted: 11 participants",
        "308 answered main trials",
    ]


def test_threshold_stands_with_its_interval_or_is_said_to_be_absent(two: Findings) -> None:
    known, unknown = draw_psychometric(adaptive(two), 9.0).axes
    assert lines(known, 4) == [[80, 125]]
    assert "threshold 100 ms\n[80–125]" in [text.get_text() for text in known.texts]
    assert lines(unknown, 4) == []
    assert any("no threshold" in text.get_text() for text in unknown.texts)
    assert unknown.get_ylim()[0] < 12 / 40  # its lowest point stays in sight


def test_staircases_show_every_block_and_their_median(two: Findings) -> None:
    findings = adaptive(two)
    figure = draw_staircases(findings, 9.0)
    runs = [line for line in figure.axes[0].lines if line.get_linewidth() == 0.8]
    (median,) = [line for line in figure.axes[0].lines if line.get_linewidth() == 2.2]
    assert len(runs) == findings.conditions[0].n_participants == 11
    table = np.array([line.get_ydata() for line in runs])
    assert list(median.get_ydata()) == list(np.median(table, axis=0))
    assert draw_staircases(replace(findings, settled=()), 9.0) is None


def test_a_large_table_does_not_make_large_figures(two: Findings) -> None:
    rng = np.random.default_rng(5)
    n, people, pictures = 30_000, 3000, 400
    side = pd.Categorical.from_codes(rng.integers(0, 2, n), ["left", "right"])
    who, what = (
        pd.Categorical.from_codes(rng.integers(0, k, n), [f"u{i}" for i in range(k)]) for k in (people, pictures)
    )
    columns = {"participant": who, "session": who, "pair": what, "real_side": side, "chosen_side": "left"}
    rows = [("p", name, "a", True) for name in ("cgan", "wgan")] * (n // 2)
    trials = counted_trials(handmade(rows, **{**columns, "rt_ms": rng.lognormal(7, 0.4, n)}))
    for draw in (draw_heat_map, draw_trial_number, draw_response_times, draw_side_bias):
        assert len(save_svg(draw(replace(two, trials=trials), 9.0))) < 300_000, draw.__name__


def test_long_names_stay_different() -> None:
    assert shorten(["short"], 10) == {"short": "short"}
    assert shorten(["a_long_name_of_a"], 9) == {"a_long_name_of_a": "a_lo…of_a"}
    names = ["resnet_18_trained_on_flowers", "resnet_50_trained_on_flowers"]
    assert list(shorten(names, 12).values()) == ["…18…", "…50…"]
    # Nothing in common at the ends, and too long to stay apart when cut.
    names = ["diffusion_model_with_guidance", *(f"pix2pix_HD_{k:02d}_lambda_run_{k % 2}a" for k in range(11))]
    for longest in (7, 9, 12):
        short = shorten(names, longest)
        assert len(set(short.values())) == len(names)
        assert max(map(len, short.values())) <= longest


def test_condition_keeps_its_colour_in_every_figure(drawn: dict[str, Figure]) -> None:
    for name in ("pairs", "heat_map", "trial_number", "psychometric"):
        titles = {axes.get_title(loc="left"): axes for axes in drawn[name].axes if axes.get_title(loc="left")}
        marks = {
            title: [line.get_color() for line in axes.lines if line.get_marker() == "s"]
            for title, axes in titles.items()
        }
        assert marks == {"cgan": [PALETTE[0]], "wgan": [PALETTE[1]]}, name
        assert {axes._left_title.get_color() for axes in titles.values()} == {INK}, name


def test_more_conditions_than_colours_share_one(two: Findings) -> None:
    seven, eight = ([replace(two.conditions[0], condition=f"c{k}") for k in range(n)] for n in (7, 8))
    assert list(colors(seven).values()) == list(PALETTE)
    assert set(colors(eight).values()) == {PALETTE[0]}


def test_of_many_differences_the_largest_are_drawn_and_the_figure_says_so(two: Findings) -> None:
    found = tuple(Comparison(f"c{k:02d}", "z", k / 100, 0.0, 0.5, 0.5, 0.5) for k in range(31))
    axes = draw_differences(replace(two, comparisons=found), 9.0).axes[0]
    named = [text.get_text().split()[0] for text in axes.texts]
    assert named == [f"c{k:02d}" for k in range(30, 0, -1)]
    assert axes.get_xlabel().endswith("the 30 largest of 31")
    assert draw_differences(replace(two, comparisons=found[:30]), 9.0).axes[0].get_xlabel().endswith("(Holm)")


def test_rates_that_a_staircase_holds_are_not_compared(two: Findings) -> None:
    assert draw_differences(two, 9.0) is not None
    assert draw_differences(replace(two, held_at=0.25), 9.0) is None


def test_pairs_of_many_conditions_stand_two_in_a_row_without_pictures(two: Findings, red: Callable) -> None:
    names = [f"c{k}" for k in range(9)]
    conditions = tuple(replace(two.conditions[0], condition=name) for name in names)
    pairs = tuple(replace(pair, condition=name) for name in names for pair in two.pairs if pair.condition == "cgan")
    few, many = (draw_pairs(replace(two, conditions=conditions[:n], pairs=pairs), red, 9.0) for n in (8, 9))
    assert sum(bool(axes.images) for axes in few.axes) == 8
    assert not any(axes.images for axes in many.axes)
    assert max(few.get_figheight(), many.get_figheight()) < 14.1  # inches: readable on one page
