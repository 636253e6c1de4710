"""Comparisons: a difference counted by hand, Holm as published, and the stated share of false alarms."""

from math import sqrt

import numpy as np
import pandas as pd
import pytest
from observers import draw_fooled, simulate_table

from analysis.comparisons import compare_conditions, holm
from analysis.intervals import clopper_pearson, two_way


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
    # V = 36 + 0 - 57.6 < 0, so the larger one-way variance stands in: 36/36^2 = 1/36, standard error 1/6.
    # The smaller number is two pairs: t with 1 degree of freedom is Cauchy's, 12.706 at .975.
    a, b = np.array([[1, 1], [1, 0], [0, 0]]), np.array([[1, 0], [0, 0], [0, 0]])
    (found,) = compare_conditions(pd.concat([trials("a", a), trials("b", b)]))
    assert (found.a, found.b, found.difference) == ("a", "b", pytest.approx(1 / 3))
    assert found.p_value == pytest.approx(2 * (0.5 - np.arctan(2) / np.pi))  # t = (1/3) / (1/6) = 2
    assert (found.low, found.high) == (-1.0, 1.0)  # 1/3 +- 12.706/6 reaches beyond what a difference can be


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
    (apart,) = compare_conditions(pd.concat([trials("a", always), trials("b", never)]))
    assert (apart.difference, apart.high) == (1, 1)
    assert apart.low == pytest.approx(1 - sqrt(2) * bound)
    # Fisher's exact test of 12/12 against 0/12: 2 tables of C(24, 12) = 2,704,156.
    assert apart.p_value == pytest.approx(2 / 2_704_156)


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


def test_a_constant_difference_shows_no_variance_and_is_tested_exactly() -> None:
    # Two answers per cell: fooled 0 or 1 of 2 in a, always one more in b. Rates 1/4 and 3/4, influences cancel.
    first = np.indices((4, 4)).sum(axis=0) % 2 == 1
    never = np.zeros_like(first)
    tables = [trials("a", first), trials("a", never), trials("b", first), trials("b", ~never)]
    (found,) = compare_conditions(pd.concat(tables))
    assert found.difference == -0.5
    assert -1 < found.low < -0.5 < found.high
    # Fisher's exact test of 1/4 against 3/4: (16 + 1 + 16 + 1) of C(8, 4) = 70 tables are as unlikely.
    assert found.p_value == pytest.approx(34 / 70)


def test_one_participant_leaves_a_difference_undetermined() -> None:
    table = simulate_table(np.random.default_rng(6), {"a": 0.0, "b": 0.0, "c": 0.0}, n_participants=1)
    for found in compare_conditions(table):
        assert (found.low, found.high, found.p_value, found.p_adjusted) == (-1, 1, None, None)


def test_holm_is_as_r_has_it_for_the_p_values_of_benjamini_and_hochberg() -> None:
    # The 15 p-values of Benjamini & Hochberg 1995, sec. 3.2; expected from R's p.adjust(method = "holm").
    p = [1e-4, 4e-4, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.324, 0.4262, 0.5719, 0.6528, 0.759, 1]
    expected = [0.0015, 0.0056, 0.0247, 0.114, 0.2211, 0.278, 0.278, 0.278, 0.3213, *[1] * 6]
    assert holm(p) == pytest.approx(expected)
    assert holm(p[::-1]) == pytest.approx(expected[::-1])
    assert holm([]) == []


@pytest.mark.parametrize("is_within", [True, False], ids=["within", "between"])
def test_equal_conditions_differ_significantly_about_one_time_in_twenty(is_within: bool) -> None:
    rng = np.random.default_rng(14)
    n, n_people, n_pairs = 200, 16, 16
    spread = {"mean_logit": -0.5, "sd_participant": 0.6}
    false_alarms = 0
    for a, b in zip(*(draw_fooled(rng, n, n_people, n_pairs, **spread, sd_pair=0.7) for _ in "ab"), strict=True):
        # Drawn apart, people and pairs are new in each condition; the names say whether they are taken for the same.
        second = trials("b", b, 0 if is_within else n_people, 0 if is_within else n_pairs)
        (found,) = compare_conditions(pd.concat([trials("a", a), second]))
        false_alarms += found.p_value < 0.05
    assert 0.015 <= false_alarms / n <= 0.095  # two and a half standard errors about .05, and a little
