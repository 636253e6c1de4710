"""Catch trials and repeats counted by hand, and the tests against 50 %."""

import pandas as pd
import pytest

from analysis.half import against_half, exact_equivalence
from analysis.intervals import ClusteredVariance
from analysis.quality import catch_rate, consistency


def rows(*trials: tuple[str, int, str, str | None, int | None]) -> pd.DataFrame:
    """(participant, trial_index, kind, chosen_side, repeat_of); the real picture is always left."""
    names = ("participant", "trial_index", "kind", "chosen_side", "repeat_of")
    table = pd.DataFrame([dict(zip(names, trial, strict=True)) for trial in trials], columns=list(names))
    return table.assign(session=table["participant"], real_side="left")


def test_catch_trials_missed_are_half_of_those_without_attention() -> None:
    table = rows(
        *(("ann", i, "catch", "left" if i else "right", None) for i in range(10)),
        *(("ben", i, "catch", "left", None) for i in range(9)),
        ("ben", 9, "catch", None, None),
        ("ben", 10, "main", "right", None),
    )
    found = catch_rate(table)
    assert (found.n, found.missed, found.error_rate, found.lapse) == (19, 1, 1 / 19, 2 / 19)
    assert found.low < 1 / 19 < found.high
    assert catch_rate(table[table["kind"] == "main"]) is None


def test_more_misses_than_guesses_give_a_lapse_rate_of_one() -> None:
    assert catch_rate(rows(("ann", 0, "catch", "right", None), ("ben", 0, "catch", "right", None))).lapse == 1


def test_repeats_are_set_against_the_trial_that_they_repeat() -> None:
    table = rows(
        ("ann", 0, "main", "left", None),
        ("ann", 1, "main", "right", None),
        ("ann", 2, "repeat", "left", 0),
        ("ann", 3, "repeat", "left", 1),
        ("ben", 0, "main", "right", None),
        ("ben", 1, "main", "left", None),
        ("ben", 2, "repeat", "right", 0),
        ("ben", 3, "repeat", None, 1),
        ("cyd", 0, "main", None, None),
        ("cyd", 1, "repeat", "left", 0),
    )
    found = consistency(table)
    # Again right, wrong then right, again wrong: 2 of 3 agree. Chance: 2/3 x 1/3 + 1/3 x 2/3 = 4/9; (2/3 - 4/9) / (5/9).
    assert (found.n, found.agreement, found.kappa) == (3, pytest.approx(2 / 3), pytest.approx(0.4))
    assert consistency(table[table["kind"] == "main"]) is None
    assert consistency(table.drop(columns="repeat_of")) is None


def test_kappa_is_as_published() -> None:
    # The classic table 20, 5; 10, 15 of two raters: kappa .4.
    cells = [("left", "left", 20), ("left", "right", 5), ("right", "left", 10), ("right", "right", 15)]
    trials, index = [], 0
    for first, second, n in cells:
        for _ in range(n):
            trials += [("ann", index, "main", first, None), ("ann", index + 1, "repeat", second, index)]
            index += 2
    assert consistency(rows(*trials)).kappa == pytest.approx(0.4)
    alike = consistency(rows(("ann", 0, "main", "left", None), ("ann", 1, "repeat", "left", 0)))
    assert (alike.agreement, alike.kappa) == (1, None)


def test_the_test_against_one_half_is_student_s_t_on_the_logit_scale() -> None:
    # r = .4 with variance .0025: the error is .05 / .24 logits, t = logit(.4) / (.05 / .24) = -1.9462 at 9 df: p = .0835
    found = against_half(0.4, ClusteredVariance(0.0025, 10, 40), 0.1)
    assert found.p_value == pytest.approx(0.083466, abs=1e-5)
    # Equivalent within .1: at its edge .4, the lower test has p = .5.
    assert found.p_equivalent == pytest.approx(0.5)
    mirrored = against_half(0.6, ClusteredVariance(0.0025, 10, 40), 0.1)
    assert (mirrored.p_value, mirrored.p_equivalent) == pytest.approx((found.p_value, found.p_equivalent))


def test_a_rate_near_one_half_that_is_known_well_is_equivalent_to_it() -> None:
    found = against_half(0.502, ClusteredVariance(0.0001, 100, 100), 0.05)
    assert found.p_value > 0.8
    assert found.p_equivalent < 1e-5


@pytest.mark.parametrize(
    ("k", "n", "margin", "p"),
    [  # the larger of two one-sided exact binomial tests, by R's binom.test
        (50, 100, 0.05, 0.182728184686),
        (500, 1000, 0.05, 0.000846549216619),
        (480, 1000, 0.05, 0.0305423389211),
        (230, 500, 0.1, 0.0037138400555),
    ],
)
def test_exact_equivalence_is_as_in_r(k: int, n: int, margin: float, p: float) -> None:
    assert exact_equivalence(k, n, margin) == pytest.approx(p, abs=1e-9)


def test_extreme_rates_are_tested_exactly_and_one_unit_not_at_all() -> None:
    nobody = against_half(0.0, ClusteredVariance(float("nan"), 10, 30), 0.05)
    assert nobody.p_value == pytest.approx(0.001953125)  # R's binom.test(0, 10)
    assert nobody.p_equivalent > 0.99
    alone = against_half(0.4, ClusteredVariance(float("nan"), 1, 30), 0.05)
    assert (alone.p_value, alone.p_equivalent) == (None, None)
