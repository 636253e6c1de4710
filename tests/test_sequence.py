"""The confidence sequence: by hand, against its definition, and with observers who are watched after every participant."""

import time

import numpy as np
import pytest
from observers import draw_fooled
from scipy.special import expit

from analysis.sequence import confidence_sequence, latest

Z = 1.959964


def test_ten_who_were_always_fooled_by_hand():
    # Bets are at their most, half of what can be lost, for any mean above .13: each answer multiplies the capital by
    # (1 + 1/m)/2, and after ten this is 40 = 2/(1 - .95) where m = 1/(2 · 40^(1/10) - 1) = .5285.
    low, high = confidence_sequence(np.ones(10))
    assert low[-1] == 0.528
    assert (high == 1).all()
    assert low[0] == 0  # nobody is convinced by one participant
    low, high = confidence_sequence(np.zeros(10))
    assert high[-1] == 0.472
    assert (low == 0).all()


def capital_by_definition(values, m, level):
    """Both halves of the hedged capital after each value, step by step as in Waudby-Smith & Ramdas (2023)."""
    up = down = 1.0
    total, squares, spread = 0.5, 0.25, 0.25
    for t, x in enumerate(values, start=1):
        bet = np.sqrt(2 * np.log(2 / (1 - level)) / (spread * t * np.log(t + 1)))
        up *= 1 + min(bet, 0.5 / m) * (x - m)
        down *= 1 - min(bet, 0.5 / (1 - m)) * (x - m)
        total += x
        squares += (x - total / (t + 1)) ** 2
        spread = squares / (t + 1)
        yield max(up, down) / 2


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_bounds_are_the_outermost_means_against_which_no_bet_was_ever_won(level):
    values = np.random.default_rng(3).beta(2, 3, 30)
    low, high = confidence_sequence(values, level)
    means = np.arange(1, 1000) / 1000
    ever = [max(capital_by_definition(values, m, level)) < 1 / (1 - level) for m in means]
    standing = means[ever]
    assert low[-1] == pytest.approx(standing.min() - 0.001)  # rounded outwards
    assert high[-1] == pytest.approx(standing.max() + 0.001)


def test_intervals_only_become_narrower_and_latest_is_the_last():
    values = np.random.default_rng(4).beta(2, 3, 300)
    low, high = confidence_sequence(values)
    assert (np.diff(low) >= 0).all()
    assert (np.diff(high) <= 0).all()
    last = latest(values)
    assert (last.low, last.high, last.n, last.level) == (low[-1], high[-1], 300, 0.95)
    assert last.half_width == pytest.approx((high[-1] - low[-1]) / 2)
    early = latest(values[:100])
    assert (early.low, early.high) == (low[99], high[99])


def test_more_confidence_and_fewer_participants_make_it_wider():
    values = np.random.default_rng(5).beta(2, 3, 200)
    assert latest(values, 0.9).half_width < latest(values, 0.95).half_width < latest(values, 0.99).half_width
    assert latest(values).half_width < latest(values[:50]).half_width


def test_mirrored_answers_have_the_mirrored_interval():
    values = np.random.default_rng(6).beta(2, 5, 80)
    there, back = latest(values), latest(1 - values)
    assert (back.low, back.high) == pytest.approx((1 - there.high, 1 - there.low))


def test_before_the_first_participant_nothing_is_known():
    low, high = confidence_sequence([])
    assert low.size == high.size == 0
    assert (latest([]).low, latest([]).high, latest([]).half_width) == (0, 1, 0.5)


def test_rate_that_changes_under_way_leaves_the_last_interval_standing():
    low, high = confidence_sequence(np.repeat([0.1, 0.9], [200, 400]))
    assert (low <= high).all()
    assert (low[-1], high[-1]) == (low[-100], high[-100])


@pytest.mark.parametrize("bad", [-0.1, 1.1, float("nan")])
def test_mean_that_is_no_fraction_is_refused(bad):
    with pytest.raises(ValueError, match=r"mean 1 is .*; give fractions between 0 and 1"):
        confidence_sequence([0.5, bad])


def test_level_that_is_no_fraction_is_refused():
    with pytest.raises(ValueError, match=r"level is 95; give a fraction between 0 and 1"):
        confidence_sequence([0.5], 95)


def wilson_misses(fooled, truth):
    """Whether Wilson's interval of all trials so far misses the truth after any participant; fooled (J, K)."""
    k, n = np.cumsum(fooled.sum(axis=1)), np.arange(1, len(fooled) + 1) * fooled.shape[1]
    middle, half = (k + Z**2 / 2) / (n + Z**2), Z * np.sqrt(k * (n - k) / n + Z**2 / 4) / (n + Z**2)
    return bool((np.abs(truth - middle) > half).any())


def test_watched_after_every_participant_it_covers_these_pictures_where_wilson_does_not():
    rng = np.random.default_rng(7)
    studies, missed, wilson_missed = 40, 0, 0
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    for _ in range(studies):
        pictures = rng.normal(-0.4, 0.7, 20)
        truth = float(
            (weights @ expit(nodes[:, None] + pictures)).mean() / weights.sum()
        )  # over people, these pictures
        fooled = rng.random((500, 20)) < expit(rng.normal(0, 1, (500, 1)) + pictures)
        low, high = confidence_sequence(fooled.mean(axis=1))
        missed += bool(((truth < low) | (truth > high)).any())
        wilson_missed += wilson_misses(fooled, truth)
    assert missed <= 0.05 * studies
    assert wilson_missed > 0.5 * studies


def test_it_does_not_cover_new_pictures_however_many_participants_come():
    # Ten pictures: the mean of these lies about .05 from the mean of all pictures, which no participant makes up for.
    rng = np.random.default_rng(8)
    fooled = draw_fooled(rng, 30, 500, 10, mean_logit=0, sd_participant=0.5, sd_pair=1.0)
    watched = [latest(each.mean(axis=1)) for each in fooled]
    missed = sum(not each.low <= 0.5 <= each.high for each in watched)  # one half by symmetry
    assert missed > 0.4 * len(watched)


def test_ten_thousand_participants_take_less_than_a_second_of_work():
    values = np.random.default_rng(9).beta(2, 3, 10_000)
    begin = time.process_time()
    watched = latest(values)
    assert time.process_time() - begin < 2  # twice the promise: machines differ
    assert watched.low <= values.mean() <= watched.high
    assert watched.half_width < 0.02
