"""Sensitivity and criterion: as published, by hand, and of a simulated observer whose values are recovered."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtr

from analysis.detection import detect, dprime_2afc, dprime_yes_no, yes_no
from analysis.intervals import two_way


def trials_of(
    chose_first: np.ndarray, was_first: np.ndarray, participant: np.ndarray, pair: np.ndarray, words: tuple[str, str]
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "chose_first": chose_first,
            "fooled": chose_first != was_first,
            "real_side": np.where(was_first, *words),
            "participant": participant,
            "pair": pair,
        }
    )


def counts(hits: int, n_first: int, false_alarms: int, n_second: int, words: tuple[str, str]) -> pd.DataFrame:
    n = n_first + n_second
    chose = np.r_[np.arange(n_first) < hits, np.arange(n_second) < false_alarms]
    return trials_of(chose, np.arange(n) < n_first, np.arange(n) % 5, np.arange(n) % 7, words)


# Closed form (Macmillan & Creelman 2005, ch. 7): P("left" | left), P("left" | right), d', c.
@pytest.mark.parametrize(
    ("hit_rate", "false_alarm_rate", "dprime", "criterion"),
    [
        (0.5, 0.01, 1.64497635713, 1.16317393702),
        (0.9, 0.01, 2.55117015957, 0.522398154248),
        (0.6, 0.1, 1.08533725706, 0.514102231204),
        (0.99, 0.1, 2.55117015957, -0.522398154248),
        (0.9, 0.1, 1.81238760487, 0),
        (0.5, 0.25, 0.476936276204, 0.337244875098),
    ],
)
def test_two_alternatives_are_as_published(
    hit_rate: float, false_alarm_rate: float, dprime: float, criterion: float
) -> None:
    assert dprime_2afc(hit_rate, false_alarm_rate) == pytest.approx((dprime, criterion), abs=1e-9)


# The model of Hacker & Ratcliff 1979 at m = 2, by numerical inversion, and without a side bias.
@pytest.mark.parametrize(
    ("correct", "dprime"),
    [(0.25, -0.953872552409), (0.4, -0.358286909243), (0.5, 0), (0.75, 0.953872552409), (0.99, 3.28995271427)],
)
def test_without_side_bias_it_is_the_table_of_proportion_correct(correct: float, dprime: float) -> None:
    assert dprime_2afc(correct, 1 - correct) == pytest.approx((dprime, 0), abs=1e-9)


def test_two_alternatives_are_counted_by_side() -> None:
    found = detect(counts(45, 50, 5, 50, ("left", "right")))
    assert (found.hit_rate, found.false_alarm_rate) == (0.9, 0.1)
    assert (found.dprime, found.criterion) == pytest.approx(dprime_2afc(0.9, 0.1))
    assert found.low < found.dprime < found.high


def test_a_preference_for_a_side_is_criterion_and_not_sensitivity() -> None:
    found = detect(counts(50, 100, 50, 100, ("left", "right")))
    leaning = detect(counts(80, 100, 80, 100, ("left", "right")))
    assert (found.dprime, found.criterion) == (0, 0)
    assert leaning.dprime == 0
    assert leaning.criterion == pytest.approx(-0.8416212336)  # -z(.8)


def test_no_error_counts_as_half_an_error() -> None:
    found = detect(counts(50, 50, 0, 50, ("left", "right")))
    assert (found.dprime, found.criterion) == pytest.approx(dprime_2afc(0.99, 0.01))
    assert (found.low, found.high) == (None, None)


def test_a_photograph_on_one_side_only_is_answered() -> None:
    found = detect(counts(45, 50, 0, 0, ("left", "right")))
    assert found.dprime == pytest.approx(dprime_2afc(0.9, 0.1)[0])
    assert found.false_alarm_rate is None


def test_one_picture_gets_the_log_linear_correction() -> None:
    # "real" to 2 of 2 photographs and 1 of 2 fakes, with half a trial more each: z(2.5/3) - z(1.5/3) = .967
    found = detect(counts(2, 2, 1, 2, ("real", "fake")))
    assert found.dprime == pytest.approx(0.9674, abs=1e-4)
    assert found.dprime == pytest.approx(dprime_yes_no(2.5 / 3, 0.5)[0])


def test_a_simulated_observers_sensitivity_lies_in_its_interval_as_often_as_it_says() -> None:
    rng, dprime, bias, n_covered, estimates = np.random.default_rng(6), 0.8, 0.3, 0, []
    people, pictures = np.divmod(np.arange(30 * 40), 40)
    for _ in range(300):
        was_first = rng.random(people.size) < 0.5
        # Equal-variance evidence for "left": ±d'/√2, the same for everyone and everything.
        chose = rng.random(people.size) < ndtr(np.where(was_first, 1, -1) * dprime / np.sqrt(2) + bias)
        found = detect(trials_of(chose, was_first, people, pictures, ("left", "right")))
        n_covered += found.low < dprime < found.high
        estimates.append((found.dprime, found.criterion))
    assert np.mean(estimates, axis=0) == pytest.approx([dprime, -bias], abs=0.01)
    assert 0.92 < n_covered / 300 <= 0.99


def test_errors_on_fakes_and_on_photographs_are_averaged_however_many_there_were() -> None:
    trials = counts(24, 30, 30, 60, ("real", "fake"))  # 6 of 30 photographs and 30 of 60 fakes misjudged
    found = yes_no(trials)
    assert (found.on_reals.rate, found.on_fakes.rate) == pytest.approx((0.2, 0.5))
    assert found.mean.rate == pytest.approx(0.35)
    fakes = trials[trials["real_side"] == "fake"]
    alone = two_way(fakes["fooled"], fakes["participant"], fakes["pair"])
    assert (found.on_fakes.low, found.on_fakes.high, found.on_fakes.n) == (alone.low, alone.high, 60)


def test_the_mean_of_balanced_errors_is_the_fool_rate_with_its_own_spread() -> None:
    # As printed for StyleGAN on CelebA (Zhou et al. 2019, table 2): 62.2 % of fakes, 39.3 % of photographs: 50.7 %.
    trials = counts(607, 1000, 622, 1000, ("real", "fake"))
    found = yes_no(trials)
    assert found.mean.rate == pytest.approx(0.507, abs=0.001)
    assert found.mean.rate == pytest.approx(trials["fooled"].mean())


def test_two_pictures_have_no_errors_by_kind_and_one_kind_no_mean() -> None:
    assert yes_no(counts(5, 10, 5, 10, ("left", "right"))) is None
    only_fakes = yes_no(counts(0, 0, 5, 10, ("real", "fake")))
    assert (only_fakes.on_reals, only_fakes.mean, only_fakes.on_fakes.rate) == (None, None, 0.5)


def test_who_calls_everything_real_errs_half_the_time_and_not_without_doubt() -> None:
    found = yes_no(counts(30, 30, 60, 60, ("real", "fake")))
    assert (found.on_reals.rate, found.on_fakes.rate, found.mean.rate) == (0.0, 1.0, 0.5)
    # 30 photographs and 60 fakes, 5 people: exact at 5, high - rate = .5218 of none, and as much below all.
    assert found.mean.high - 0.5 == pytest.approx(0.5218 / 2, abs=1e-4)
    assert found.mean.low == pytest.approx(1 - found.mean.high)
