"""Intervals: counted by hand, as published, and covering the truth of simulated people and pictures."""

from math import exp, log, sqrt

import numpy as np
import pandas as pd
import pytest
from observers import draw_fooled, population_rate

from analysis.intervals import Interval, clopper_pearson, clustered_variance, participants_only, two_way, wilson


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_is_as_published_by_newcombe(k: int, n: int, low: float, high: float) -> None:
    # Newcombe 1998, Statistics in Medicine 17, 857-872, Table I, method 3.
    interval = wilson(k, n)
    assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)
    assert (interval.method, interval.level) == ("wilson", 0.95)


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [(81, 263, 0.2527, 0.3676), (15, 148, 0.0578, 0.1617), (0, 20, 0.0, 0.1684), (1, 29, 0.0009, 0.1776)],
)
def test_clopper_pearson_is_as_published_by_newcombe(k: int, n: int, low: float, high: float) -> None:
    # Newcombe 1998, Table I, method 5 ("exact").
    interval = clopper_pearson(k, n)
    assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)


def test_no_success_in_25_is_as_published_by_agresti() -> None:
    # Agresti 2002, Categorical Data Analysis, pp. 16-19: 0 vegetarians of 25; .133 by score, .137 exact.
    assert round(wilson(0, 25).high, 3) == 0.133
    assert round(clopper_pearson(0, 25).high, 3) == 0.137


def test_successes_and_failures_mirror_each_other() -> None:
    for interval in (wilson, clopper_pearson):
        assert interval(3, 17).low == pytest.approx(1 - interval(14, 17).high)
        assert interval(0, 17).low == 0
        assert interval(17, 17).high == 1


@pytest.mark.parametrize(("k", "n"), [(0, 0), (3, 2), (-1, 5)])
def test_what_is_no_proportion_is_refused(k: int, n: int) -> None:
    for interval in (wilson, clopper_pearson):
        with pytest.raises(ValueError, match=f"{k} of {n} is not a proportion"):
            interval(k, n)


def test_a_level_in_percent_is_refused() -> None:
    with pytest.raises(ValueError, match="level is 95; give a fraction"):
        wilson(1, 2, level=95)


# Three people, three pairs, everyone saw every pair: four of nine answers fooled.
#            pair x  pair y  pair z
#   ann        1       1       1
#   ben        1       0       0
#   cas        0       0       0
HAND_FOOLED = [1, 1, 1, 1, 0, 0, 0, 0, 0]
HAND_PARTICIPANT = ["ann"] * 3 + ["ben"] * 3 + ["cas"] * 3
HAND_PAIR = ["x", "y", "z"] * 3
T_2 = 0.95 * sqrt(2 / (1 - 0.95**2))  # Student's t, 2 degrees of freedom, .975: 4.303 in any table


def test_two_way_interval_equals_the_formula_counted_by_hand() -> None:
    # r = 4/9; an error is 5/9 where fooled and -4/9 where not. In ninths:
    #   ann 5+5+5 = 15, ben 5-4-4 = -3, cas -4-4-4 = -12: squares 225 + 9 + 144 = 378
    #   x 5+5-4 = 6, y 5-4-4 = -3, z -3:                  squares 36 + 9 + 9 = 54
    #   cells: four of 5, five of -4:                     squares 100 + 80 = 180
    # V = [3/2 * 378 + 3/2 * 54 - 9/8 * 180] / 81 / 81 = (567 + 81 - 202.5) / 6561 = 445.5 / 6561
    variance = 445.5 / 6561
    half = T_2 * sqrt(variance) / (4 / 9 * 5 / 9)
    centre = log((4 / 9) / (5 / 9))
    interval = two_way(HAND_FOOLED, HAND_PARTICIPANT, HAND_PAIR)
    assert interval.low == pytest.approx(1 / (1 + exp(-(centre - half))), rel=1e-8)
    assert interval.high == pytest.approx(1 / (1 + exp(-(centre + half))), rel=1e-8)
    assert interval.method == "two_way_logit_t"


def test_repeated_cells_are_clustered_on_the_cell() -> None:
    # The same nine cells, each shown twice with the same answer: n doubles, every sum doubles, so that V_p and V_i stay;
    # so does V_x, which knows nine cells and not 18 trials.
    again = clustered_variance(
        np.repeat(_hand_errors() / 2, 2), np.repeat(HAND_PARTICIPANT, 2), np.repeat(HAND_PAIR, 2)
    )
    assert again.variance == pytest.approx(445.5 / 6561)
    assert (again.n_participants, again.n_pairs, again.n_units) == (3, 3, 3)


def _hand_errors() -> np.ndarray:
    fooled = np.array(HAND_FOOLED)
    return (fooled - 4 / 9) / 9


def test_a_negative_variance_is_replaced_by_the_larger_one_way_variance() -> None:
    # Two people, three pairs, rate 1/2, n = 6; an error is +-1/2. People fooled 2 and 1 of 3: sums +-1/2. Pairs fooled
    # 2, 1, 0 of 2: sums 1, 0, -1. V = [2 * (1/4 + 1/4) + 3/2 * 2 - 6/5 * 6/4] / 36 = (1 + 3 - 1.8) / 36 > 0 stays.
    kept = clustered_variance(np.array([1, 1, -1, 1, -1, -1]) / 12, list("pppqqq"), list("xyzxyz"))
    assert kept.variance == pytest.approx(2.2 / 36)
    # Two people, five pairs, n = 10. People fooled 2 and 3 of 5: sums +-1/2. Pairs fooled 1 of 2: sums 0.
    # V = [2 * (1/4 + 1/4) + 0 - 10/9 * 10/4] / 100 < 0: V_p = 1/100 stands in.
    influence = np.array([1, 1, -1, -1, -1, -1, -1, 1, 1, 1]) / 20
    replaced = clustered_variance(influence, list("pppppqqqqq"), list("vwxyzvwxyz"))
    assert replaced.variance == pytest.approx(1 / 100)


def test_errors_that_cancel_in_every_person_and_pair_do_not_give_a_zero_width() -> None:
    # A checkerboard: V_p = V_i = 0, and the cells' variance 4/3 * 4 * (1/2)^2 / 16 = 1/12 is left.
    assert clustered_variance(np.array([1, -1, -1, 1]) / 8, [0, 0, 1, 1], [0, 1, 0, 1]).variance == pytest.approx(
        1 / 12
    )


def test_a_rate_of_0_or_1_gets_the_exact_interval_of_as_many_trials_as_units() -> None:
    people, pairs = np.repeat(np.arange(20), 30), np.tile(np.arange(30), 20)
    assert two_way(np.zeros(600), people, pairs) == Interval(0.0, clopper_pearson(0, 20).high, "clopper_pearson", 0.95)
    assert two_way(np.ones(600), people, pairs) == clopper_pearson(20, 20)


def test_one_participant_or_one_pair_says_nothing_about_others() -> None:
    for participant, pair in (([1, 1, 1], [1, 2, 3]), ([1, 2, 3], [1, 1, 1]), ([1, 1, 1], [1, 1, 1])):
        assert two_way([1, 0, 1], participant, pair) == Interval(0.0, 1.0, "undetermined", 0.95)
    assert two_way([0], ["ann"], ["x"]) == clopper_pearson(0, 1)


def test_trials_that_cannot_be_clustered_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one trial"):
        two_way([], [], [])
    with pytest.raises(ValueError, match="3 trials and 2 participant labels"):
        two_way([1, 0, 1], ["a", "b"], ["x", "y", "z"])
    with pytest.raises(ValueError, match="trial 1 has no pair"):
        two_way([1, 0, 1], ["a", "b", "c"], pd.Series(["x", None, "z"]))


def test_names_and_numbers_give_the_same_interval_in_any_order() -> None:
    rng = np.random.default_rng(5)
    fooled = draw_fooled(rng, 1, 12, 15, mean_logit=-0.5, sd_participant=0.6, sd_pair=0.8)[0].ravel()
    people, pairs = np.repeat(np.arange(12), 15), np.tile(np.arange(15), 12)
    order = rng.permutation(fooled.size)
    by_number = two_way(fooled, people, pairs)
    by_name = two_way(fooled[order], [f"p{j}" for j in people[order]], pd.Series([f"x{i}" for i in pairs[order]]))
    by_large_number = two_way(fooled, people * 10**12 - 7, pairs)
    for other in (by_name, by_large_number):
        assert (other.low, other.high) == pytest.approx((by_number.low, by_number.high))


@pytest.mark.parametrize(
    ("n_participants", "n_pairs", "mean_logit", "sd_participant", "sd_pair"),
    [(20, 20, -0.4, 0.6, 0.8), (40, 20, -1.5, 0.5, 0.5)],
)
def test_headline_interval_covers_the_population_rate_where_wilson_does_not(
    n_participants: int, n_pairs: int, mean_logit: float, sd_participant: float, sd_pair: float
) -> None:
    spread = {"mean_logit": mean_logit, "sd_participant": sd_participant, "sd_pair": sd_pair}
    truth = population_rate(**spread)
    experiments = draw_fooled(np.random.default_rng(20), 4000, n_participants, n_pairs, **spread)
    people, pairs = np.repeat(np.arange(n_participants), n_pairs), np.tile(np.arange(n_pairs), n_participants)
    headline = [two_way(fooled.ravel(), people, pairs) for fooled in experiments]
    naive = [wilson(int(fooled.sum()), fooled.size) for fooled in experiments]
    covered = np.mean([interval.low <= truth <= interval.high for interval in headline])
    assert 0.935 <= covered <= 0.965
    assert np.mean([interval.low <= truth <= interval.high for interval in naive]) < 0.80


def test_people_who_were_fooled_equally_often_do_not_give_a_zero_width() -> None:
    fooled, people = [True, False, True, False, False, True], [1, 1, 2, 2, 3, 3]
    interval = participants_only(fooled, people)
    # The variance of six unrelated trials, r (1 - r) / n = 1/24; t at 2 df is 4.3027.
    half = 4.30265273 * (1 / 24) ** 0.5 / 0.25
    assert interval.high == pytest.approx(1 / (1 + np.exp(-half)))
