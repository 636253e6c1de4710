"""Planning by simulation: the report's own intervals and tests, on many simulated experiments at once."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.comparisons import compare_conditions
from analysis.intervals import two_way
from analysis.planning.pilot import read_pilot
from analysis.planning.power import Candidate, candidates, differ, expect, intervals
from analysis.planning.simulated_counts import Assumptions, PlanError, answers, assign, count, draw, mean_logit
from analysis.planning.study_size import (
    Cost,
    Goal,
    StudySize,
    advice,
    least_half_width,
    nearest,
    pilot_advice,
    recommend,
)


def one_of(assumed, n_participants, n_pairs, experiments=200, seed=1):
    return expect(assumed, n_participants, n_pairs, experiments, np.random.default_rng(seed))


def drawn(assumed, shown, n_pairs, experiments, seed=3):
    """Single answers (people, trials, experiments) of each condition; people and pictures all alike."""
    rng = np.random.default_rng(seed)
    nobody = np.zeros((len(shown[0]), experiments), dtype=np.float32)
    nothing = np.zeros((n_pairs, experiments), dtype=np.float32)
    return [answers(rng, rate, assumed, seen, nobody, nothing) for rate, seen in zip(assumed.rates, shown, strict=True)]


def a_candidate(n_participants, n_pairs, half_width, power_difference=None):
    return Candidate(n_participants, n_pairs, 40, 1.0, half_width, 0.95, 0.9, power_difference)


def a_size(found, goal=None, **further):
    return StudySize(further.pop("assumed", Assumptions()), goal or Goal(), tuple(found), 100, 1, **further)


# What is simulated


def test_everyone_sees_the_pairs_shown_least_and_no_photo_twice():
    rng = np.random.default_rng(1)
    first, second = assign(rng, 2, 15, 20, 8, is_within=True)
    for seen in (first, second):
        uses = np.bincount(seen.ravel(), minlength=20)
        assert uses.sum() == 15 * 8
        assert uses.max() - uses.min() <= 2  # level but for photos that the other condition had taken
    assert all(len({*a, *b}) == 16 for a, b in zip(first, second, strict=True))
    (alone,) = assign(rng, 1, 15, 20, 8, is_within=False)
    assert set(np.bincount(alone.ravel())) == {6}


def test_answers_are_counted_by_person_and_by_pair_as_by_hand():
    fooled = np.array(
        [[[1], [0]], [[1], [1]], [[0], [0]]], dtype=np.float32
    )  # three people, two trials, one experiment
    seen = np.array([[0, 1], [2, 0], [1, 2]])
    counts = count(fooled, seen, 4)
    assert counts.of_people[:, 0].tolist() == [1, 2, 0]
    assert counts.of_pairs[:, 0].tolist() == [2, 0, 1, 0]
    assert counts.pair_n[:, 0].tolist() == [2, 2, 2, 0]
    assert (counts.n, counts.n_pairs, counts.n_units, counts.rate.tolist()) == (6, 3, 3, [0.5])


def test_mean_logit_gives_the_fool_rate_over_all_people_and_pictures():
    rng = np.random.default_rng(2)
    logits = mean_logit(0.3, 0.8, 1.5) + rng.normal(0, 0.8, 400_000) + rng.normal(0, 1.5, 400_000)
    assert (1 / (1 + np.exp(-logits))).mean() == pytest.approx(0.3, abs=0.002)


def test_simulated_people_and_pictures_differ_as_assumed():
    assumed = Assumptions(fool_rate=0.5, participant_sd=0.4, pair_sd=1.2, n_conditions=2, is_within=True, shared=0.7)
    shown = [np.tile(np.arange(60), (60, 1))] * 2
    a, b = draw(np.random.default_rng(4), assumed, shown, 60, 40)
    # Rates of one person over 60 pairs, of one pair over 60 people; their noise is the binomial's.
    noise = (a.rate * (1 - a.rate)).mean() / 60
    people, pictures = (
        np.sqrt(((counts / 60).var(axis=0, ddof=1)).mean() - noise) for counts in (a.of_people, a.of_pairs)
    )
    assert pictures / people == pytest.approx(3, rel=0.15)
    together = np.mean([np.corrcoef(a.of_pairs[:, e], b.of_pairs[:, e])[0, 1] for e in range(40)])
    assert together == pytest.approx(0.7, abs=0.07)  # a little less, for noise


# The interval and the test are those of the report


@pytest.mark.parametrize(("rate", "trials"), [(0.4, 6), (0.02, 3), (0.98, 3)])
def test_intervals_are_two_way_of_every_experiment(rate, trials):
    assumed = Assumptions(fool_rate=rate)
    shown = assign(np.random.default_rng(5), 1, 7, 9, trials, is_within=False)
    (fooled,) = drawn(assumed, shown, 9, 60)
    low, high = intervals(count(fooled, shown[0], 9), 0.9)
    people = np.repeat(np.arange(7), trials)
    expected = [two_way(fooled[..., e].ravel(), people, shown[0].ravel(), 0.9) for e in range(60)]
    assert len({one.method for one in expected}) == (
        1 if rate == 0.4 else 2
    )  # experiments without an error are among them
    assert low == pytest.approx([one.low for one in expected], abs=1e-9)
    assert high == pytest.approx([one.high for one in expected], abs=1e-9)


@pytest.mark.parametrize("is_within", [True, False])
def test_difference_is_found_where_the_reports_comparison_finds_it(is_within):
    assumed = Assumptions(fool_rate=0.3, difference=0.2, n_conditions=2, is_within=is_within)
    shown = assign(np.random.default_rng(6), 2, 8, 14, 6, is_within)
    fooled = drawn(assumed, shown, 14, 25)
    counts = [count(f, seen, 14) for f, seen in zip(fooled, shown, strict=True)]
    p_values = []
    for e in range(25):
        tables = [
            pd.DataFrame(
                {
                    "condition": name,
                    "participant": np.repeat([f"{j}" if is_within else f"{name}{j}" for j in range(8)], 6),
                    "pair": [f"pair{k}" for k in seen.ravel()],
                    "kind": "main",
                    "real_side": "left",
                    "chosen_side": np.where(f[..., e].ravel() == 1, "right", "left"),
                }
            )
            for name, f, seen in zip("ab", fooled, shown, strict=True)
        ]
        (comparison,) = compare_conditions(pd.concat(tables, ignore_index=True))
        p_values.append(comparison.p_value)
    for level in (0.5, 0.8, 0.9, 0.95):
        expected = [p < 1 - level for p in p_values]
        assert differ(*counts, is_within, level).tolist() == expected
        assert 0 < sum(expected) < 25


# Against what is published


def test_pictures_are_the_bottleneck_as_published():
    """Widths .215, .188 (five times the people) and .127 (five times the pairs), which spreads of .5 and 1 give."""
    assumed = Assumptions(fool_rate=0.4, participant_sd=0.5, pair_sd=1.0, trials=100)
    few, people, pairs = (2 * one_of(assumed, *n).half_width for n in ((20, 20), (100, 20), (20, 100)))
    assert [few, people, pairs] == pytest.approx([0.215, 0.188, 0.127], abs=0.012)


def test_power_without_spread_is_that_of_two_independent_proportions():
    """R's power.prop.test: 50 in each group, .5 against .75, power .740; Student's t and both variances cost a little."""
    assumed = Assumptions(0.5, 0, 0, trials=1, n_conditions=2, difference=0.25)
    assert one_of(assumed, 100, 50, 1500).power_difference == pytest.approx(0.74, abs=0.045)


def test_interval_holds_the_true_rate_and_a_difference_of_nothing_is_rarely_found():
    assumed = Assumptions(0.3, 0.7, 0.9, trials=30, n_conditions=2, is_within=True, difference=0.001)
    one = one_of(assumed, 30, 40, 1500)
    assert one.coverage == pytest.approx(0.95, abs=0.02)
    assert one.power_difference == pytest.approx(0.05, abs=0.02)


def test_countless_people_leave_what_the_pictures_leave():
    assumed = Assumptions(0.4, 0.5, 0.6, trials=20)
    limit = least_half_width(assumed, 20)
    assert limit < one_of(assumed, 1500, 20, 60).half_width == pytest.approx(limit, rel=0.05)
    assert least_half_width(replace(assumed, pair_sd=0), 20) == pytest.approx(0, abs=1e-9)


# Candidates and advice


def test_same_seed_gives_the_same_numbers_whatever_else_is_tried():
    few = candidates(Assumptions(), [20], [30], 50, seed=7)
    many = candidates(Assumptions(), [40, 20, 20], [50, 30], 50, seed=7)
    assert [(one.n_pairs, one.n_participants) for one in many] == [(30, 20), (30, 40), (50, 20), (50, 40)]
    assert many[0] == few[0]
    assert candidates(Assumptions(), [20], [30], 50, seed=8) != few


def test_trials_are_shared_by_conditions_and_limited_by_pairs():
    within = Assumptions(trials=40, n_conditions=4, is_within=True)
    assert [within.trials_of_condition(n) for n in (20, 40, 100)] == [5, 10, 10]
    assert one_of(within, 20, 20, 10).answers_per_pair == 5
    between = replace(within, is_within=False)
    assert between.trials_of_condition(100) == 40
    assert one_of(between, 20, 40, 10).answers_per_pair == 5  # five people see each condition, and all of its pairs


def test_fewest_people_win_then_fewest_pairs_and_a_hundred_pairs_where_possible():
    found = [
        a_candidate(20, 50, 0.04),
        a_candidate(40, 100, 0.045),
        a_candidate(40, 200, 0.03),
        a_candidate(80, 100, 0.02),
    ]
    assert recommend(found, Goal(0.05)) == found[1]
    assert recommend(found[:1], Goal(0.05)) == found[0]
    assert recommend(found, Goal(0.01)) is None


def test_power_that_is_asked_for_decides_too():
    found = [a_candidate(40, 100, 0.045, 0.5), a_candidate(80, 100, 0.03, 0.85)]
    assert recommend(found, Goal(0.05, 0.8)) == found[1]
    assert recommend(found, Goal(0.05, 0.9)) is None
    assert nearest(found, Goal(0.05, 0.9)) == found[1]


def test_advice_says_why_more_people_would_not_help():
    assumed = Assumptions(pair_sd=1.2)
    limited = advice(a_size([a_candidate(500, 20, 0.11)], assumed=assumed))
    assert "No size here reaches" in limited[0]
    assert "More people would not help: with 20 pairs" in limited[1]
    more = advice(a_size([a_candidate(20, 200, 0.07)], assumed=assumed))
    assert "More people would help: with 200 pairs" in more[1]


def test_advice_names_size_width_and_cost():
    first, second = advice(a_size([a_candidate(1000, 100, 0.0412)], cost=Cost(2.5)))
    assert first.startswith("Ask 1000 people and show 100 pairs: ")
    assert "4.1 points to either side (asked for: 5.0), at a cost of 2\u202f500.00\u202fEUR." in first
    assert "told from 50\u202f% in 90\u202f% of such studies" in second


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"fool_rate": 40}, "the fool rate is 40; give a fraction"),
        ({"fool_rate": float("nan")}, "the fool rate is nan"),
        ({"pair_sd": -1}, "the pairs' spread is -1"),
        ({"trials": 0}, "the number of trials is 0"),
        ({"trials": 2, "n_conditions": 3, "is_within": True}, "2 trials cannot show 3 conditions"),
        ({"shared": 2}, "the shared part is 2"),
    ],
)
def test_impossible_assumption_is_refused(values, message):
    with pytest.raises(PlanError, match=message):
        Assumptions(**values)


def test_impossible_sizes_and_goals_are_refused():
    with pytest.raises(PlanError, match="3 participants are too few for 2 conditions; give 4 or more"):
        candidates(Assumptions(n_conditions=2), [3], [20], 10)
    with pytest.raises(PlanError, match="no fool rate differs from 0.5 by 0.6"):
        _ = Assumptions(0.5, n_conditions=2, difference=0.6).rates
    with pytest.raises(PlanError, match="the half-width is 5; give a fraction"):
        Goal(5)
    with pytest.raises(PlanError, match="the power is 80; give a fraction"):
        Goal(0.05, 80)


# Pilots


def a_pilot(assumed, n_participants, n_pairs, experiments, seed=11):
    """Trials of complete pilots, one frame each."""
    rng = np.random.default_rng(seed)
    seen = np.tile(np.arange(n_pairs), (n_participants, 1))
    people = rng.normal(0, assumed.participant_sd, (n_participants, experiments)).astype(np.float32)
    pictures = rng.normal(0, assumed.pair_sd, (n_pairs, experiments)).astype(np.float32)
    fooled = answers(rng, assumed.fool_rate, assumed, seen, people, pictures)
    labels = {"condition": "a", "participant": np.repeat(np.arange(n_participants), n_pairs), "pair": seen.ravel()}
    return [
        pd.DataFrame({**labels, "origin": "human", "fooled": fooled[..., e].ravel() == 1}) for e in range(experiments)
    ]


def test_pilot_recovers_rate_and_spreads_and_its_intervals_hold_them():
    assumed = Assumptions(0.35, 0.5, 0.9)
    pilots = [read_pilot(trials) for trials in a_pilot(assumed, 25, 30, 60)]
    assert np.mean([one.fool_rate for one in pilots]) == pytest.approx(0.35, abs=0.015)
    assert np.median([one.participants[0] for one in pilots]) == pytest.approx(0.5, abs=0.07)
    assert np.median([one.pairs[0] for one in pilots]) == pytest.approx(0.9, abs=0.08)
    held = [(one.participants[1] <= 0.5 <= one.participants[2], one.pairs[1] <= 0.9 <= one.pairs[2]) for one in pilots]
    assert np.mean(held, axis=0) == pytest.approx([0.8, 0.8], abs=0.16)


def test_larger_pilot_knows_the_spreads_better():
    small, large = (read_pilot(a_pilot(Assumptions(), n, n, 1)[0]) for n in (12, 60))
    assert large.pairs[2] - large.pairs[1] < small.pairs[2] - small.pairs[1]


def test_pilot_without_spread_tells_how_large_it_could_still_be():
    """Everyone is fooled by the same half of the pairs, so people do not differ."""
    trials = pd.DataFrame({"participant": np.repeat(np.arange(6), 8), "pair": np.tile(np.arange(8), 6)})
    found = read_pilot(trials.assign(condition="a", origin="human", fooled=trials["pair"] < 4))
    assert found.participants[:2] == (0, 0)
    assert found.pairs[0] == found.pairs[2] == 3.0  # as wide as planning goes
    alternating = trials.assign(condition="a", origin="human", fooled=(trials["pair"] + trials["participant"]) % 2 == 0)
    found = read_pilot(alternating)
    assert found.participants[0] == found.pairs[0] == 0 < found.pairs[2]


def test_pilot_that_cannot_tell_is_refused():
    trials = a_pilot(Assumptions(), 5, 6, 1)[0]
    with pytest.raises(PlanError, match="no answered main trial"):
        read_pilot(trials.iloc[:0])
    with pytest.raises(PlanError, match="condition a has only answers of one kind"):
        read_pilot(trials.assign(fooled=False))
    with pytest.raises(PlanError, match="too few answers to tell people from pictures"):
        read_pilot(trials[trials["participant"] == 0])


def test_spread_that_is_not_the_pilots_stays_where_it_is():
    pilot = read_pilot(a_pilot(Assumptions(), 20, 20, 1)[0])
    taken = Assumptions(participant_sd=pilot.participants[0], pair_sd=0.3)
    changed = pilot.assumed(taken, 2)
    assert (changed.participant_sd, changed.pair_sd) == (pilot.participants[2], 0.3)


def test_advice_moves_with_what_a_pilot_allows():
    pilot = read_pilot(a_pilot(Assumptions(), 20, 20, 1)[0])
    size = a_size([a_candidate(40, 100, 0.04)], pilot=pilot, if_alike=a_candidate(20, 100, 0.04))
    first, second = pilot_advice(size)
    assert "The pilot (20 participants, 20 pairs, 400 answers) tells the spreads roughly" in first
    assert (
        "20 participants and 100 pairs would be enough; were they as different, no size here would be enough." in second
    )
    assert "simulated participants" in pilot_advice(replace(size, pilot=replace(pilot, is_simulated=True)))[0]
    assert pilot_advice(replace(size, pilot=None)) == ()
