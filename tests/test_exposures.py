"""What a report says of exposures: how they were kept, and where the staircases of an adaptive study settled."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.exposures import (
    compare_exposures,
    exposure_warnings,
    measure_timing,
    settled_exposures,
    staircase_steps,
)
from analysis.holm import holm
from analysis.psychometric import FittedThreshold, Threshold, fit_thresholds
from protocol.sections import Staircase
from study_app.staircase import next_exposure_ms


def trials(exposures: dict[tuple[str, int], list[int]], condition: str = "cgan") -> pd.DataFrame:
    """Main trials by (participant, block), in order."""
    rows = [
        {"condition": condition, "participant": who, "session": who, "block": block, "exposure_ms": float(ms)}
        for (who, block), shown in exposures.items()
        for ms in shown
    ]
    return pd.DataFrame(rows).assign(trial_index=range(len(rows)), fooled=False)


def test_settled_exposures_are_counted_by_hand() -> None:
    shown = {
        ("a", 0): [500, 490, 490, 480],  # modal 490; late 485
        ("a", 1): [500, 530, 530, 520],  # modal 530; late 525
        ("b", 0): [500, 490, 480, 470],  # each once: their mean, 485; late 475
    }
    (found,) = settled_exposures(trials(shown))
    assert found.modal_ms == ((490 + 530) / 2 + 485) / 2
    assert found.late_ms == ((485 + 525) / 2 + 475) / 2
    low, high = stats.t.interval(0.95, 1, loc=found.modal_ms, scale=stats.sem([510, 485]))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.n_participants == 2


def test_one_participant_has_no_interval_and_a_table_without_blocks_is_one_block() -> None:
    (found,) = settled_exposures(trials({("a", 0): [500, 490, 490], ("a", 1): [490]}).drop(columns="block"))
    assert (found.modal_ms, found.low, found.high) == (490, None, None)


def test_empty_blocks_are_one_block() -> None:
    table = trials({("a", 0): [500, 490, 490], ("b", 0): [500, 530, 530]})
    assert settled_exposures(table.assign(block=np.nan)) == settled_exposures(table)


def test_conditions_settle_apart() -> None:
    both = pd.concat([trials({("a", 0): [300, 300]}, "wgan"), trials({("a", 0): [700, 700]}, "cgan")])
    assert {found.condition: found.modal_ms for found in settled_exposures(both)} == {"cgan": 700, "wgan": 300}


def measured(**columns: object) -> pd.DataFrame:
    table = {
        "exposure_ms": [100.0, 200.0, 300.0],
        "exposure_measured_ms": [101.0, 198.0, 304.0],
        "late_frames": [0.0, 1, 0],
    }
    return pd.DataFrame({**table, **columns})


def test_timing_tells_how_far_the_measured_exposure_is_from_the_planned() -> None:
    timing = measure_timing(measured(focus_lost=["true", "false", None]))
    assert timing is not None
    assert (timing.off_ms, timing.median_ms, timing.planned_ms) == (2.0, 198.0, (100.0, 200.0, 300.0))
    assert timing.late == pytest.approx(1 / 3)
    assert timing.focus_lost == 0.5


def test_timing_without_a_plan_or_a_measure_says_what_it_can() -> None:
    unlimited = measure_timing(measured(exposure_ms=[np.nan] * 3))
    assert unlimited is not None
    assert (unlimited.off_ms, unlimited.planned_ms, unlimited.focus_lost) == (None, (), None)
    assert unlimited.picture_width_px is None
    assert measure_timing(measured(exposure_measured_ms=[np.nan] * 3)) is None


@pytest.mark.parametrize("dtype", ["float64", "object", "category"])
def test_timing_tells_how_wide_the_pictures_were(dtype: str) -> None:
    timing = measure_timing(measured(picture_width_px=pd.Series([256.0, 300.0, 512.0]).astype(dtype)))
    assert timing is not None
    widths = (timing.picture_width_p05_px, timing.picture_width_px, timing.picture_width_p95_px)
    assert widths == pytest.approx((256 + 0.1 * 44, 300, 512 - 0.1 * 212))
    without = measure_timing(measured(picture_width_px=pd.Series([np.nan] * 3)))
    assert without is not None
    assert without.picture_width_px is None


def test_text_may_be_categorical_and_trials_without_an_exposure_are_left_out() -> None:
    plain = trials({("a", 0): [500, 490, 490, 480], ("b", 0): [500, 490, 480, 470]})
    as_categories = plain.astype(dict.fromkeys(["condition", "participant", "session"], "category"))
    with_a_gap = pd.concat([as_categories, as_categories.tail(1).assign(exposure_ms=np.nan, trial_index=99)])
    assert settled_exposures(with_a_gap) == settled_exposures(plain)
    assert measure_timing(measured(focus_lost=pd.Series(["true", "false", None]).astype("category"))) == measure_timing(
        measured(focus_lost=["true", "false", None])
    )


def led(rng: np.random.Generator, rule: Staircase, people: dict[str, float], n: int, condition: str) -> pd.DataFrame:
    """Two blocks of ``n`` trials, each led by the survey's own rule, for people of known threshold."""
    rows = []
    for who, threshold_ms in people.items():
        for block in range(2):
            ms = rule.start_ms
            for chance in rng.random(n).tolist():
                fooled = chance >= 0.5 + 0.48 / (1 + (threshold_ms / ms) ** 4)
                rows.append((condition, who, who, block, float(ms), fooled, len(rows), f"pair{len(rows) % n}"))
                ms = next_exposure_ms(rule, ms, correct=not fooled)
    columns = ["condition", "participant", "session", "block", "exposure_ms", "fooled", "trial_index", "pair"]
    return pd.DataFrame(rows, columns=columns)


@pytest.mark.parametrize(("down_ms", "up_ms", "max_ms"), [(10, 30, 1000), (40, 60, 520)])
def test_a_staircase_is_recognised_by_its_steps(down_ms: int, up_ms: int, max_ms: int) -> None:
    rule = Staircase(start_ms=500, min_ms=200, max_ms=max_ms, down_ms=down_ms, up_ms=up_ms)
    shown = led(np.random.default_rng(1), rule, {"a": 150, "b": 400, "c": 900}, 40, "cgan")
    assert staircase_steps(shown.sample(frac=1, random_state=1)) == (down_ms, up_ms)
    assert staircase_steps(shown.drop(shown.index[::50])) == (down_ms, up_ms)  # a few rows were lost
    assert staircase_steps(shown.assign(session=shown["session"].astype("category"))) == (down_ms, up_ms)


def test_other_exposures_are_no_staircase() -> None:
    rng = np.random.default_rng(2)
    shown = led(rng, Staircase(), {"a": 150, "b": 400}, 40, "cgan")
    assert staircase_steps(shown.assign(fooled=~shown["fooled"])) is None  # up after right answers
    assert staircase_steps(shown.assign(exposure_ms=rng.choice([100.0, 200], len(shown)))) is None
    assert staircase_steps(shown.assign(exposure_ms=500.0)) is None
    assert staircase_steps(shown.assign(exposure_ms=np.nan)) is None
    assert staircase_steps(shown.head(10)) is None
    # Two right answers for a step down, one wrong for a step up: it holds 29 %, and not down / (down + up).
    ms, run, two_down = 500.0, 0, []
    for fooled in shown["fooled"]:
        two_down.append(ms)
        run = 0 if fooled else run + 1
        ms += 10 if fooled else -10 if run % 2 == 0 else 0
    assert staircase_steps(shown.assign(exposure_ms=two_down, block=0, session="a")) is None


def test_staircases_that_did_not_arrive_are_told_by_the_second_half_of_their_blocks() -> None:
    shown = trials({(who, 0): [500] * 20 for who in "abcdefghij"})
    index, person = np.tile(np.arange(20), 10), np.repeat(np.arange(10), 20)
    # On the way nobody is fooled; then every fourth time, or once in a while.
    arrived, on_the_way = ((index >= 10) & ((7 * person + index) % every == 0) for every in (4, 20))
    (settled,) = settled_exposures(shown.assign(fooled=arrived))
    assert settled.late_fool_rate == pytest.approx(0.25, abs=0.02)
    assert list(exposure_warnings(shown, [settled], 0.25)) == []
    (settled,) = settled_exposures(shown.assign(fooled=on_the_way))
    (told,) = exposure_warnings(shown, [settled], 0.25)
    assert told.startswith("cgan: the staircases did not settle: in the second half of the blocks the fool rate is")
    assert f"{100 * on_the_way.sum() / 100:.1f} %, where they hold 25 %" in told


def test_several_exposures_without_a_staircase_are_told() -> None:
    (told,) = exposure_warnings(trials({("a", 0): [50, 2000, 250, 50]}), [], None)
    assert told.startswith("Pictures were shown for 3 different times (50 to 2,000 ms); the fool rate is over all")
    assert list(exposure_warnings(trials({("a", 0): [50, 50]}), [], None)) == []
    assert list(exposure_warnings(trials({("a", 0): [50, 60]}).assign(exposure_ms=np.nan), [], None)) == []


def fitted(condition: str, threshold_ms: float, logs: dict[str, float]) -> FittedThreshold:
    """A threshold that is the mean of known log thresholds."""
    mean = np.mean(list(logs.values()))
    pulls = {who: float(value - mean) / len(logs) for who, value in logs.items()}
    return FittedThreshold(
        Threshold(condition, threshold_ms, threshold_ms, threshold_ms, 4, 0, len(logs), 0, (), ()), pulls
    )


def test_people_who_saw_both_are_compared_in_pairs_and_others_by_welch() -> None:
    a, b, c = [300, 340, 410, 290], [350, 420, 440, 330], [500, 560, 410, 620, 480]
    shown = [
        trials({(f"{group}{k}", 0): [ms, ms] for k, ms in enumerate(values)}, name)
        for group, name, values in (("x", "a", a), ("x", "b", b), ("y", "c", c))
    ]
    logs = [{f"{g}{k}": np.log(ms) for k, ms in enumerate(v)} for g, v in (("x", a), ("x", b), ("y", c))]
    fits = [fitted(n, float(np.exp(np.mean(list(v.values())))), v) for n, v in zip("abc", logs, strict=True)]
    found = compare_exposures(pd.concat(shown), fits, ["a", "b", "c"], adaptive=True)
    assert [(one.a, one.b, one.n_both) for one in found] == [("a", "b", 4), ("a", "c", 0), ("b", "c", 0)]
    for one, test, in_logs in zip(
        found,
        [stats.ttest_rel(a, b), *(stats.ttest_ind(v, c, equal_var=False) for v in (a, b))],
        [
            stats.ttest_rel(np.log(a), np.log(b)),
            *(stats.ttest_ind(np.log(v), np.log(c), equal_var=False) for v in (a, b)),
        ],
        strict=True,
    ):
        assert (one.difference_low, one.difference_high) == pytest.approx(tuple(test.confidence_interval()))
        assert (one.difference_p, one.ratio_p) == pytest.approx((test.pvalue, in_logs.pvalue))
        assert np.log([one.ratio_low, one.ratio_high]) == pytest.approx(tuple(in_logs.confidence_interval()))
    assert found[0].difference_ms == np.mean(a) - np.mean(b)
    assert [one.ratio_p_adjusted for one in found] == holm([one.ratio_p for one in found])
    (alone,) = compare_exposures(pd.concat(shown[:2]), [], ["a", "b"], adaptive=True)
    assert (alone.ratio, alone.ratio_p_adjusted) == (None, None)
    assert compare_exposures(pd.concat(shown), [], ["a", "b", "c"], adaptive=False) == ()


def test_ratio_of_thresholds_of_simulated_people_is_found() -> None:
    rng = np.random.default_rng(3)
    people = {f"p{j}": float(ms) for j, ms in enumerate(300 * np.exp(rng.normal(0, 0.35, 12)))}
    one = led(rng, Staircase(), people, 80, "one")
    two = led(rng, Staircase(), {who: 1.5 * ms for who, ms in people.items()}, 80, "two")
    shown = pd.concat([one, two])
    (same_people,) = compare_exposures(shown, fit_thresholds(shown), ["two", "one"], adaptive=True)
    assert same_people.ratio_low < 1.5 < same_people.ratio_high
    assert same_people.ratio_p < 0.001
    renamed = pd.concat([one, two.assign(participant="q" + two["participant"])])
    (others,) = compare_exposures(renamed, fit_thresholds(renamed), ["two", "one"], adaptive=True)
    assert others.ratio == pytest.approx(same_people.ratio)
    # The spread between people, .35, drops out of the comparison within them.
    assert np.log(others.ratio_high / others.ratio_low) > 2 * np.log(same_people.ratio_high / same_people.ratio_low)
