"""The psychometric threshold: counted by hand, as psignifit has it, and found again in observers led by the real staircase."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import expit

from analysis.psychometric import Threshold, staircases, thresholds
from protocol.sections import Staircase
from study_app.staircase import next_exposure_ms

RULE = Staircase(start_ms=500, min_ms=100, max_ms=1000, down_ms=10, up_ms=30)
# A two-alternative detection experiment, 90 trials at each of 13 strengths (Wichmann & Hill's laboratory; the first
# example of psignifit), the strengths times 100,000.
STRENGTHS = (100, 150, 200, 250, 300, 350, 400, 450, 500, 600, 700, 800, 1000)
RIGHT_OF_90 = (45, 50, 44, 44, 52, 53, 62, 64, 76, 79, 88, 90, 90)


def answers(counts: dict[float, tuple[int, int]], participant: str = "a", condition: str = "cgan") -> pd.DataFrame:
    """Counted trials from exposure → (right, wrong)."""
    rows = [
        {"exposure_ms": float(ms), "fooled": fooled}
        for ms, (right, wrong) in counts.items()
        for fooled in [False] * right + [True] * wrong
    ]
    who = {"condition": condition, "participant": participant, "session": participant}
    return pd.DataFrame(rows).assign(**who, trial_index=range(len(rows)))


def led_by_staircase(
    rng: np.random.Generator, threshold_ms: float, n: int, *, slope: float = 4.0, lapse: float = 0.02
) -> tuple[list[int], list[bool]]:
    """Exposures and whether they fooled an observer of known threshold, as the survey's own rule leads."""
    exposure_ms, shown, fooled = RULE.start_ms, [], []
    for chance in rng.random(n).tolist():
        correct = chance < 0.5 + (0.5 - lapse) / (1 + (threshold_ms / exposure_ms) ** slope)
        shown.append(exposure_ms)
        fooled.append(not correct)
        exposure_ms = next_exposure_ms(RULE, exposure_ms, correct=correct)
    return shown, fooled


def adaptive(rng: np.random.Generator, true_ms: np.ndarray, n: int, condition: str = "cgan") -> pd.DataFrame:
    """A staircase of ``n`` trials for each of the true thresholds."""
    runs = []
    for j, threshold_ms in enumerate(true_ms.tolist()):
        shown, fooled = led_by_staircase(rng, threshold_ms, n)
        runs.append(pd.DataFrame({"exposure_ms": np.array(shown, float), "fooled": fooled, "participant": f"p{j}"}))
    table = pd.concat(runs, ignore_index=True)
    return table.assign(condition=condition, session=table["participant"], trial_index=range(len(table)))


def the_one(found: tuple[Threshold, ...]) -> Threshold:
    (only,) = found
    return only


def test_threshold_and_slope_are_those_counted_by_hand() -> None:
    # Slope 2 about 400 ms: F = 1 / (1 + (400 / t) ** 2) is .2, .5 and .8, so .6, .75 and .9 are right.
    found = the_one(thresholds(answers({200: (6000, 4000), 400: (7500, 2500), 800: (9000, 1000)}), lapse=0))
    assert found.threshold_ms == pytest.approx(400, rel=2e-3)
    assert found.slope == pytest.approx(2, rel=5e-3)
    curve = dict(found.curve)
    assert (min(curve), max(curve)) == pytest.approx((200, 800))
    assert np.interp(400, list(curve), list(curve.values())) == pytest.approx(0.75, abs=2e-3)


def test_a_known_lapse_rate_is_taken_out() -> None:
    # As above with one answer in ten wrong however long: P = .5 + .4 F = .58, .7, .82.
    found = the_one(thresholds(answers({200: (5800, 4200), 400: (7000, 3000), 800: (8200, 1800)}), lapse=0.1))
    assert (found.threshold_ms, found.slope, found.lapse) == pytest.approx((400, 2, 0.1), rel=5e-3)


def test_threshold_is_that_of_psignifit() -> None:
    shown = answers({ms: (k, 90 - k) for ms, k in zip(STRENGTHS, RIGHT_OF_90, strict=True)})
    found = the_one(thresholds(shown))
    # psignifit 4.3, sigmoid "logistic" over the log of the strengths, 2AFC: threshold 6.11778, width .94162, lambda 0.
    assert found.threshold_ms == pytest.approx(np.exp(6.11778), rel=2e-3)
    assert found.slope == pytest.approx(2 * np.log(19) / 0.94162, rel=0.03)  # the width is from F = .05 to F = .95
    assert found.lapse == pytest.approx(0, abs=1e-3)
    assert (found.low, found.high, found.n_participants) == (None, None, 1)


def test_the_threshold_of_simulated_people_lies_in_its_interval_as_often_as_promised() -> None:
    rng, n_studies, n_people, true_ms = np.random.default_rng(5), 40, 12, 350
    people = true_ms * np.exp(rng.normal(0, 0.35, (n_studies, n_people)))
    studies = [adaptive(rng, people[k], 100, f"{k:02d}") for k in range(n_studies)]
    found = thresholds(pd.concat(studies, ignore_index=True), lapse=0.02)
    assert [one.condition for one in found] == [f"{k:02d}" for k in range(n_studies)]
    off = np.log([one.threshold_ms for one in found]) - np.log(people).mean(axis=1)
    assert abs(np.exp(off.mean()) - 1) < 0.03  # a standard error is .01
    covered = sum(one.low <= true_ms <= one.high for one in found)
    assert covered >= 35  # of 40: P = .01 to fail at a true coverage of .95, P = .04 to pass at .75
    width = np.mean([np.log(one.high / one.low) for one in found])
    assert width < 2 * stats.t.ppf(0.975, n_people - 1) * 0.35 / np.sqrt(n_people) * 1.5
    assert np.mean([one.slope for one in found]) == pytest.approx(4, rel=0.15)


def test_one_curve_through_everybody_would_be_far_off() -> None:
    rng = np.random.default_rng(6)
    true_ms = 350 * np.exp(rng.normal(0, 0.4, 20))
    shown, truth = adaptive(rng, true_ms, 150), np.exp(np.log(true_ms).mean())
    pooled = the_one(thresholds(shown.assign(participant="everybody")))
    found = the_one(thresholds(shown))
    assert found.threshold_ms == pytest.approx(truth, rel=0.05)
    assert found.low < truth < found.high
    assert pooled.threshold_ms is None or pooled.threshold_ms < 0.75 * truth


def test_fixed_exposures_shown_to_everybody_give_the_threshold_too() -> None:
    rng = np.random.default_rng(7)
    true_ms = 300 * np.exp(rng.normal(0, 0.3, 25))
    runs = []
    for j, one in enumerate(true_ms):
        right = {ms: rng.binomial(20, 0.5 + 0.48 * expit(4 * np.log(ms / one))) for ms in (100, 200, 400, 800)}
        runs.append(answers({ms: (k, 20 - k) for ms, k in right.items()}, f"p{j}"))
    found = the_one(thresholds(pd.concat(runs)))
    truth = np.exp(np.log(true_ms).mean())
    assert found.threshold_ms == pytest.approx(truth, rel=0.07)
    assert found.low < truth < found.high
    # 300 ms shown to a person of 150 ms is as 600 ms to a typical one, but 800 ms as 1,600 ms, which nobody was shown.
    assert 1000 < sum(n for _, n, _ in found.points) < 2000
    assert 100 <= found.points[0][0] < found.points[-1][0] <= 800
    assert found.n_participants == 25


def test_points_are_laid_about_the_curve() -> None:
    rng = np.random.default_rng(8)
    shown = adaptive(rng, 350 * np.exp(rng.normal(0, 0.4, 20)), 150)
    found = the_one(thresholds(shown))
    n, correct = (sum(column) for column in list(zip(*found.points, strict=True))[1:])
    assert 0.9 * len(shown) < n <= len(shown)
    assert 0.7 < correct / n < 0.8
    assert shown["exposure_ms"].min() <= found.points[0][0] < found.points[-1][0] <= shown["exposure_ms"].max()
    assert [ms for ms, _, _ in found.points] == sorted(ms for ms, _, _ in found.points)
    expected = np.interp([ms for ms, _, _ in found.points], *zip(*found.curve, strict=True))
    seen = [k / n for _, n, k in found.points]
    assert np.abs(expected - seen).max() < 0.1  # tenths of 300 trials: a standard error is .025


@pytest.mark.parametrize(("start", "step", "fooled"), [(500, -10, False), (500, 30, True)])
def test_people_always_right_or_always_wrong_have_no_threshold(start: int, step: int, fooled: bool) -> None:
    exposures = np.clip(start + step * np.arange(50), 100, 1000)
    counts = {
        int(ms): (0, int(n)) if fooled else (int(n), 0)
        for ms, n in zip(*np.unique(exposures, return_counts=True), strict=True)
    }
    for n_people in (1, 5):
        shown = pd.concat([answers(counts, f"p{j}") for j in range(n_people)])
        found = the_one(thresholds(shown))
        assert (found.threshold_ms, found.low, found.high, found.curve) == (None, None, None, ())
        assert found.n_outside == found.n_participants == n_people
        assert sum(n for _, n, _ in found.points) == 50 * n_people


def test_those_whose_threshold_lies_outside_are_counted_and_do_not_carry_the_rest_away() -> None:
    rng = np.random.default_rng(9)
    true_ms = 350 * np.exp(rng.normal(0, 0.3, 15))
    shown = adaptive(rng, true_ms, 100)
    never_wrong = answers({ms: (1 if ms > 100 else 60, 0) for ms in range(100, 501, 10)}, "hawk")
    without, with_one = the_one(thresholds(shown)), the_one(thresholds(pd.concat([shown, never_wrong])))
    assert (without.n_outside, with_one.n_outside, with_one.n_participants) == (0, 1, 16)
    # One of 16 pulls the mean of the logs down by at least log(350/100)/16, and not by twice as much.
    assert 1.25 / 16 < np.log(without.threshold_ms / with_one.threshold_ms) < 2.5 / 16
    assert with_one.high / with_one.low > without.high / without.low


def test_without_two_exposures_there_is_nothing_to_fit() -> None:
    constant = answers({400: (30, 10)})
    assert thresholds(constant) == ()
    assert thresholds(constant.assign(exposure_ms=np.nan)) == ()
    both = pd.concat([constant, answers({200: (6, 4), 400: (8, 2)}, condition="wgan")])
    assert [found.condition for found in thresholds(both)] == ["wgan"]


def test_text_may_be_categorical() -> None:
    shown = adaptive(np.random.default_rng(10), np.array([300.0, 400, 500]), 40)
    text = ["condition", "participant", "session"]
    as_categories = shown.astype(dict.fromkeys(text, "category"))
    as_categories["condition"] = as_categories["condition"].cat.add_categories("never shown")
    assert thresholds(as_categories) == thresholds(shown)
    assert staircases(as_categories) == staircases(shown)


def test_many_different_exposures_are_rounded_to_one_percent() -> None:
    rng = np.random.default_rng(11)
    exposures = rng.uniform(100, 1000, 2000)
    fooled = rng.random(2000) > 0.5 + 0.5 * expit(4 * np.log(exposures / 300))
    shown = pd.DataFrame({"condition": "cgan", "participant": "a", "exposure_ms": exposures, "fooled": fooled})
    found = the_one(thresholds(shown, lapse=0))
    assert found.threshold_ms == pytest.approx(300, rel=0.08)
    assert sum(n for _, n, _ in found.points) == 2000


def test_staircases_come_in_the_order_of_their_trials() -> None:
    rng = np.random.default_rng(12)
    shown = adaptive(rng, np.array([300.0, 400, 500]), 20)
    in_blocks = shown.assign(block=np.tile(np.repeat([0, 1], 10), 3)).sample(frac=1, random_state=1)
    runs = staircases(in_blocks[in_blocks["participant"] != "p2"], n_participants=5)
    assert [(run.condition, run.participant, run.block) for run in runs] == [
        ("cgan", participant, block) for participant in ("p0", "p1") for block in ("0", "1")
    ]
    whole = [run for run in staircases(shown.sample(frac=1, random_state=2)) if run.participant == "p1"]
    (run,) = whole
    assert run.exposures_ms[0] == RULE.start_ms
    for (now, was_correct), (then, _) in pairwise(zip(run.exposures_ms, run.correct, strict=True)):
        assert then == next_exposure_ms(RULE, int(now), correct=was_correct)
    assert len({run.participant for run in staircases(shown, n_participants=2)}) == 2
    assert sum(len(run.correct) for run in staircases(shown.assign(block=np.nan))) == len(shown)


@pytest.mark.parametrize(
    ("asked", "message"),
    [({"lapse": 0.5}, "lapse is 0.5; give"), ({"lapse": -0.1}, "lapse is -0.1"), ({"level": 95}, "level is 95; give")],
)
def test_impossible_settings_are_refused(asked: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        thresholds(answers({200: (6, 4), 400: (8, 2)}), **asked)
