"""Comparisons: a difference counted by hand, tests and intervals as published, and the stated share of false alarms."""

from math import exp, pi, sqrt, tan

import numpy as np
import pandas as pd
import pytest
from observers import draw_fooled, simulate_table
from scipy.special import expit, logit, stdtr, stdtrit
from scipy.stats import fisher_exact

from analysis.comparisons import compare_conditions, recovered_interval
from analysis.holm import holm
from analysis.intervals import clopper_pearson, clustered_variance, logit_t, two_way, wilson


def trials(condition: str, fooled: np.ndarray, first_person: int = 0, first_pair: int = 0) -> pd.DataFrame:
    """Main trials of fooled (participants, pairs) in one condition; only the columns that counting needs."""
    n_participants, n_pairs = fooled.shape
    return pd.DataFrame(
        {
            "condition": condition,
            "kind": "main",
            "participant": np.repeat(np.arange(n_participants) + first_person, n_pairs),
            "pair": np.tile(np.arange(n_pairs) + first_pair, n_participants),
            "real_side": "left",
            "chosen_side": np.where(fooled.ravel(), "right", "left"),
        }
    )


def test_difference_equals_the_formula_counted_by_hand() -> None:
    # Three people, two pairs, both conditions. Fooled in a: (1 1), (1 0), (0 0): rate 1/2. In b: (1 0), (0 0), (0 0): 1/6.
    # Influence in twelfths^-1: a trial of a is (y - 1/2)/6 = +-3/36, of b -(y - 1/6)/6 = -5/36 or +1/36. Cells, in 36ths:
    #   person 1: 3 - 5 = -2, 3 + 1 = 4;  person 2: 3 + 1 = 4, -3 + 1 = -2;  person 3: -2, -2
    #   people 2, 2, -4: squares 24, times 3/2 = 36;  pairs 0, 0: 0;  cells: squares 4+16+16+4+4+4 = 48, times 6/5 = 57.6
    # V = 36 + 0 - 57.6 < 0, so the larger one-way variance stands in: 36/36^2 = 1/36, standard error 1/6, t = 2.
    # All of it is between three people: 2 degrees of freedom, where P(|T| > t) = 1 - t / sqrt(2 + t^2).
    a, b = np.array([[1, 1], [1, 0], [0, 0]]), np.array([[1, 0], [0, 0], [0, 0]])
    (found,) = compare_conditions(pd.concat([trials("a", a), trials("b", b)]))
    assert (found.a, found.b, found.difference) == ("a", "b", pytest.approx(1 / 3))
    assert found.p_value == pytest.approx(1 - 2 / sqrt(6))
    assert (found.low, found.high) == (pytest.approx(1 / 3 - 4.30265 / 6, rel=1e-5), 1.0)  # the other end is beyond 1
    # Odds 1 and 1/5. On their logarithms an error of a counts 1/(1/2 * 1/2) = 4 times, one of b 1/(1/6 * 5/6) = 7.2 times:
    #   people (in 45ths) -6, 18, -12: squares 504/2025, times 3/2 = .37333;  pairs -+4/15: squares 32/225, times 2 = .28444
    #   cells (in 15ths) -10, 8, 8, -2, -2, -2: squares 240/225, times 6/5 = 1.28
    # V = .37333 + .28444 - 1.28 < 0: .37333; degrees of freedom .37333^2 / (.37333^2/2 + .28444^2/1) = .93, at least 1.
    # Student's t with 1 degree of freedom is Cauchy's: tan(.475 pi) = 12.706 at .975.
    half = tan(0.475 * pi) * sqrt(504 / 2025 * 3 / 2)
    assert found.odds_ratio == pytest.approx(5)
    assert (found.odds_low, found.odds_high) == (pytest.approx(5 * exp(-half)), pytest.approx(5 * exp(half)))


def test_between_people_and_on_other_photos_the_variances_add() -> None:
    rng, spread = np.random.default_rng(11), {"mean_logit": -0.3, "sd_participant": 0.8, "sd_pair": 0.8}
    tables = [
        trials("a", draw_fooled(rng, 1, 12, 20, **spread)[0]),
        trials("b", draw_fooled(rng, 1, 30, 15, **spread)[0], first_person=12, first_pair=20),
    ]
    (found,) = compare_conditions(pd.concat(tables))
    variance, doubtful = 0.0, 0.0
    for table in tables:
        errors = (table["chosen_side"] == "right") - (table["chosen_side"] == "right").mean()
        variance += clustered_variance(errors / len(table), table["participant"], table["pair"]).variance
        for unit in ("participant", "pair"):  # each unit's part over its degrees of freedom (Welch 1947)
            sums = (errors / len(table)).groupby(table[unit]).sum()
            doubtful += (float(sums @ sums) * len(sums) / (len(sums) - 1)) ** 2 / (len(sums) - 1)
    df = variance**2 / doubtful
    assert df > 11  # the smallest number of units less one
    assert found.p_value == pytest.approx(2 * stdtr(df, -abs(found.difference) / sqrt(variance)))
    assert (found.high - found.low) / 2 == pytest.approx(stdtrit(df, 0.975) * sqrt(variance))


def test_noise_cannot_make_a_variance_smaller_than_that_between_people_or_between_pairs() -> None:
    # Unrelated answers: V_p, V_i and V_x are three estimates of the same, and V_p + V_i - V_x may be next to nothing.
    a, b = draw_fooled(np.random.default_rng(48), 2, 12, 12, mean_logit=0, sd_participant=0, sd_pair=0)
    errors = ((a - a.mean()) - (b - b.mean())) / a.size
    by_person, by_pair = (12 / 11 * (errors.sum(axis=axis) ** 2).sum() for axis in (1, 0))
    by_cell = 144 / 143 * (errors**2).sum()
    assert 0 < by_person + by_pair - by_cell < min(by_person, by_pair)
    (found,) = compare_conditions(pd.concat([trials("a", a), trials("b", b)]))
    floor = min(by_person, by_pair)
    df = max(11, floor**2 / (by_person**2 / 11 + by_pair**2 / 11))
    assert (found.high - found.low) / 2 == pytest.approx(stdtrit(df, 0.975) * sqrt(floor))


def test_people_and_pairs_in_both_conditions_make_a_difference_more_certain() -> None:
    rng = np.random.default_rng(3)
    a = draw_fooled(rng, 1, 30, 30, mean_logit=0, sd_participant=1, sd_pair=1)[0]
    b = a & (rng.random(a.shape) < 0.8)  # the same person is fooled by the same picture, a little less often
    (crossed,) = compare_conditions(pd.concat([trials("a", a), trials("b", b)]))
    (apart,) = compare_conditions(pd.concat([trials("a", a), trials("b", b, first_person=30, first_pair=30)]))
    assert crossed.difference == apart.difference
    assert crossed.high - crossed.low < 0.5 * (apart.high - apart.low)


def test_interval_is_the_difference_give_or_take_t_standard_errors() -> None:
    table = simulate_table(np.random.default_rng(6), {"a": 0.0, "b": -0.8})
    (found,) = compare_conditions(table)
    (narrower,) = compare_conditions(table, level=0.5)
    # t with 19 degrees of freedom: 2.0930 at .975 and .6876 at .75 (any table).
    assert (found.high - found.low) / (narrower.high - narrower.low) == pytest.approx(2.0930 / 0.6876, rel=1e-3)
    assert (found.low + found.high) / 2 == pytest.approx(found.difference)


def test_odds_are_those_of_the_rates_and_their_interval_lies_about_them_as_factors() -> None:
    (found,) = compare_conditions(simulate_table(np.random.default_rng(6), {"a": 0.0, "b": -0.8}))
    assert 1 < found.odds_low < found.odds_ratio < found.odds_high
    assert found.odds_ratio**2 == pytest.approx(found.odds_low * found.odds_high)


def test_order_given_decides_sign_and_sequence() -> None:
    table = simulate_table(np.random.default_rng(6), {"a": 0.0, "b": -0.8, "c": -0.8})
    found = compare_conditions(table, ["c", "absent", "b", "a"])
    assert [(one.a, one.b) for one in found] == [("c", "b"), ("c", "a"), ("b", "a")]
    by_name = {(one.a, one.b): one for one in compare_conditions(table)}
    assert found[1].difference == -by_name["a", "c"].difference
    assert found[1].p_value == pytest.approx(by_name["a", "c"].p_value)


def test_one_condition_has_nothing_to_compare() -> None:
    assert compare_conditions(simulate_table(np.random.default_rng(6), {"a": 0.0})) == []


def test_a_rate_of_0_is_compared_by_its_exact_interval() -> None:
    never = np.zeros((12, 12), dtype=bool)
    always = ~never
    (same,) = compare_conditions(pd.concat([trials("a", never), trials("b", never)]))
    bound = clopper_pearson(0, 12).high
    assert (same.difference, same.low, same.high, same.p_value) == (0, pytest.approx(-bound), pytest.approx(bound), 1)
    assert (same.odds_ratio, same.odds_low, same.odds_high) == (None, None, None)
    (apart,) = compare_conditions(pd.concat([trials("a", always), trials("b", never)]))
    assert (apart.difference, apart.high) == (1, 1)
    assert apart.low == pytest.approx(1 - sqrt(2) * bound)
    # The interval ends at 0 where the bound is 1/sqrt(2), and the bound at level 1 - p is 1 - (p/2)^(1/12).
    assert apart.p_value == pytest.approx(2 * (1 - 1 / sqrt(2)) ** 12)


def test_p_and_interval_agree_where_a_rate_is_0() -> None:
    rng, never, verdicts = np.random.default_rng(21), trials("a", np.zeros((12, 12), dtype=bool)), set()
    for mean_logit in (-2.2, -1.6, -1.2, -0.6, 0.0):
        b = draw_fooled(rng, 1, 12, 12, mean_logit=mean_logit, sd_participant=0.5, sd_pair=0.7)[0]
        table = pd.concat([never, trials("b", b)])
        (found,) = compare_conditions(table)
        assert (found.p_value < 0.05) == (found.high < 0)
        verdicts.add(found.high < 0)
        (at_p,) = compare_conditions(table, level=1 - found.p_value)
        assert at_p.high == pytest.approx(0, abs=1e-9)
    assert verdicts == {True, False}


def test_a_p_beyond_what_rounding_leaves_is_1e_12() -> None:
    never = np.zeros((40, 40), dtype=bool)
    (found,) = compare_conditions(pd.concat([trials("a", never), trials("b", ~never)]))
    assert found.p_value == 1e-12  # 2 (1 - 1/sqrt(2))^40 = 9e-22


def test_a_rate_of_0_is_compared_with_the_headline_interval_of_a_rate_near_it() -> None:
    b = np.zeros((12, 12), dtype=bool)
    b[0, 0] = b[0, 1] = b[3, 2] = True
    table = trials("b", b)
    headline = two_way(b.ravel(), table["participant"], table["pair"])
    # The jackknife speaks here: the clustered variance alone would give another interval.
    plain = clustered_variance((b.ravel() - b.mean()) / b.size, table["participant"], table["pair"])
    assert headline.high > 1.05 * logit_t(b.mean(), plain).high
    (found,) = compare_conditions(pd.concat([trials("a", np.zeros_like(b)), table]))
    expected = recovered_interval(0.0, clopper_pearson(0, 12), b.mean(), headline)
    assert (found.low, found.high) == pytest.approx(expected)


def test_equal_conditions_near_0_differ_significantly_at_most_one_time_in_twenty() -> None:
    # One or two in eight people are fooled at all, and often nobody of one group: taken for independent, answers differ.
    rng, n, shape = np.random.default_rng(8), 80, (8, 40)
    alarms, n_zero, fisher_alarms = 0, 0, 0
    for _ in range(n):
        a, b = (rng.random(shape) < expit(-9 + rng.normal(0, 5, (8, 1)) + rng.normal(0, 0.5, (1, 40))) for _ in "ab")
        (found,) = compare_conditions(pd.concat([trials("a", a), trials("b", b, first_person=8)]))
        alarms += found.p_value < 0.05
        n_zero += not (a.any() and b.any())
        fisher_alarms += fisher_exact([[a.sum(), (~a).sum()], [b.sum(), (~b).sum()]]).pvalue < 0.05
    assert n_zero > n / 3
    assert fisher_alarms > n / 3
    assert alarms / n <= 0.10  # two standard errors above .05


def test_crossed_conditions_answered_alike_do_not_differ() -> None:
    # Influences cancel in every cell, so the difference shows no variance; both rates are 1/3 by the same interval.
    alike = draw_fooled(np.random.default_rng(4), 1, 6, 6, mean_logit=-0.5, sd_participant=0.5, sd_pair=0.5)[0]
    a, b = trials("a", alike), trials("b", alike)
    (found,) = compare_conditions(pd.concat([a, b]))
    rate, one = alike.mean(), two_way(alike.ravel(), a["participant"], a["pair"])
    assert 0 < rate < 1
    half = sqrt((rate - one.low) ** 2 + (one.high - rate) ** 2)
    assert (found.difference, found.p_value, found.p_adjusted) == (0, 1, 1)
    assert (found.low, found.high) == (pytest.approx(-half), pytest.approx(half))
    odds = [bound / (1 - bound) / (rate / (1 - rate)) for bound in (one.low, one.high)]
    assert found.odds_ratio == pytest.approx(1)
    assert (found.odds_low, found.odds_high) == (pytest.approx(odds[0] ** sqrt(2)), pytest.approx(odds[1] ** sqrt(2)))


def test_a_constant_difference_shows_no_variance_and_is_tested_by_the_two_headline_intervals() -> None:
    # Two answers per cell: fooled 0 or 1 of 2 in a, always one more in b. Rates 1/4 and 3/4, influences cancel.
    first = np.indices((4, 4)).sum(axis=0) % 2 == 1
    never = np.zeros_like(first)
    tables = [trials("a", first), trials("a", never), trials("b", first), trials("b", ~never)]
    (found,) = compare_conditions(pd.concat(tables))
    assert found.difference == -0.5
    assert -1 < found.low < -0.5 < found.high
    # Each person's and each pair's errors cancel too, so V_x stands in for each rate: 16 cells of (1/2)^2 over 32^2, times
    # 16/15. The two headline intervals mirror each other about 1/2: joined, they reach 0 where that of 1/4 ends at
    # 1/4 + 1/2/sqrt(2). That is t standard errors away in logits, at 3 degrees of freedom.
    error = sqrt(4 / 32**2 * 16 / 15) / (1 / 4 * 3 / 4)
    t = (logit(0.25 + 0.5 / sqrt(2)) - logit(0.25)) / error
    assert found.p_value == pytest.approx(2 * stdtr(3, -t))


def test_one_participant_leaves_a_difference_undetermined() -> None:
    table = simulate_table(np.random.default_rng(6), {"a": 0.0, "b": 0.0, "c": 0.0}, n_participants=1)
    for found in compare_conditions(table):
        assert (found.low, found.high, found.p_value, found.p_adjusted) == (-1, 1, None, None)
        assert (found.odds_low, found.odds_high) == (None, None)


@pytest.mark.parametrize(
    ("k_a", "n_a", "k_b", "n_b", "low", "high"),
    [
        (56, 70, 48, 80, 0.0524, 0.3339),
        (9, 10, 3, 10, 0.1705, 0.8090),
        (6, 7, 2, 7, 0.0582, 0.8062),
        (5, 56, 0, 29, -0.0381, 0.1926),
        (0, 10, 0, 20, -0.1611, 0.2775),
        (0, 10, 0, 10, -0.2775, 0.2775),
        (10, 10, 0, 20, 0.6791, 1.0000),
        (10, 10, 0, 10, 0.6075, 1.0000),
    ],
)
def test_recovered_interval_from_wilson_is_as_published_by_newcombe(
    k_a: int, n_a: int, k_b: int, n_b: int, low: float, high: float
) -> None:
    # Newcombe 1998, Statistics in Medicine 17, 873-890, Table II, method 10.
    found = recovered_interval(k_a / n_a, wilson(k_a, n_a), k_b / n_b, wilson(k_b, n_b))
    assert tuple(round(bound, 4) for bound in found) == (low, high)


def test_mcnemar_is_as_r_has_it_for_the_approval_ratings_of_agresti() -> None:
    # Agresti 1990, p. 350: 794 approved twice, 150 only first, 86 only then, 570 never; R's mcnemar.test(correct = FALSE).
    first = np.repeat([True, True, False, False], [794, 150, 86, 570]).reshape(40, 40)
    second = np.repeat([True, False, True, False], [794, 150, 86, 570]).reshape(40, 40)
    (found,) = compare_conditions(pd.concat([trials("a", first), trials("b", second)]))
    assert found.mcnemar_chi2 == pytest.approx(17.3559322034, abs=1e-6)
    assert found.mcnemar_p == pytest.approx(3.09929344105e-05, abs=1e-9)


def test_mcnemar_is_for_pictures_that_the_same_people_saw_once_in_both_conditions() -> None:
    a, b = draw_fooled(np.random.default_rng(2), 2, 10, 10, mean_logit=0, sd_participant=0, sd_pair=0)
    (between,) = compare_conditions(pd.concat([trials("a", a), trials("b", b, first_person=10)]))
    (other_photos,) = compare_conditions(pd.concat([trials("a", a), trials("b", b, first_pair=10)]))
    (twice,) = compare_conditions(pd.concat([trials("a", a), trials("b", b), trials("b", ~b)]))
    for found in (between, other_photos, twice):
        assert (found.mcnemar_chi2, found.mcnemar_p) == (None, None)
    # Half of the people and half of the pairs are shared: 25 cells.
    (partly,) = compare_conditions(pd.concat([trials("a", a), trials("b", b, first_person=5, first_pair=5)]))
    shared_a, shared_b = a[5:, 5:], b[:5, :5]
    only_a, only_b = (shared_a & ~shared_b).sum(), (shared_b & ~shared_a).sum()
    assert partly.mcnemar_chi2 == pytest.approx((only_a - only_b) ** 2 / (only_a + only_b))


def test_one_picture_at_a_time_is_compared_by_the_mean_of_both_errors() -> None:
    # Of five pictures one is a photograph. Errors on fakes and on it, in a: 12/24 and 0/6; in b: 6/24 and 6/6.
    was_real = np.tile([False, False, False, False, True], 6)
    wrong = {"a": np.tile([1, 1, 0, 0, 0], 6).astype(bool), "b": np.tile([1, 0, 0, 0, 1], 6).astype(bool)}
    wrong["b"][:2] = [False, True]  # so that people differ
    tables = {name: trials(name, answers.reshape(6, 5)) for name, answers in wrong.items()}
    for name, table in tables.items():
        table["real_side"] = np.where(was_real, "real", "fake")
        table["chosen_side"] = np.where(was_real ^ wrong[name], "real", "fake")
    (found,) = compare_conditions(pd.concat(tables.values()))
    assert found.difference == pytest.approx((12 / 24 + 0 / 6) / 2 - (6 / 24 + 6 / 6) / 2)
    only_a, only_b = (int((wrong[x] & ~wrong[y]).sum()) for x, y in ("ab", "ba"))
    assert found.mcnemar_chi2 == pytest.approx((only_a - only_b) ** 2 / (only_a + only_b))  # counts answers as they are


def test_holm_is_as_r_has_it_for_the_p_values_of_benjamini_and_hochberg() -> None:
    # The 15 p-values of Benjamini & Hochberg 1995, sec. 3.2; expected from R's p.adjust(method = "holm").
    p = [1e-4, 4e-4, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.324, 0.4262, 0.5719, 0.6528, 0.759, 1]
    expected = [0.0015, 0.0056, 0.0247, 0.114, 0.2211, 0.278, 0.278, 0.278, 0.3213, *[1] * 6]
    assert holm(p) == pytest.approx(expected)
    assert holm(p[::-1]) == pytest.approx(expected[::-1])
    assert holm([]) == []


@pytest.mark.parametrize("is_within", [True, False], ids=["within", "between"])
def test_equal_conditions_differ_significantly_one_time_in_twenty_where_mcnemar_says_so_far_more_often(
    is_within: bool,
) -> None:
    # On average both conditions fool alike, but people and photos differ in how much either fools them.
    rng, n, n_people, n_pairs = np.random.default_rng(15), 100, 16, 20
    people, pictures = rng.normal(0, 0.5, (n, n_people, 1)), rng.normal(0, 0.7, (n, 1, n_pairs))
    by_condition = [rng.normal(0, 0.8, (n, n_people, 1)) + rng.normal(0, 0.8, (n, 1, n_pairs)) for _ in "ab"]
    both = [rng.random((n, n_people, n_pairs)) < expit(-0.5 + people + pictures + own) for own in by_condition]
    alarms, mcnemar_alarms = 0, 0
    for a, b in zip(*both, strict=True):
        (found,) = compare_conditions(pd.concat([trials("a", a), trials("b", b, 0 if is_within else n_people)]))
        alarms += found.p_value < 0.05
        mcnemar_alarms += is_within and found.mcnemar_p < 0.05
    assert 0.01 <= alarms / n <= 0.10  # two standard errors about .05
    assert not is_within or mcnemar_alarms / n > 0.25
