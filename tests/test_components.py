"""Variance components: by hand, against the analysis of variance of complete data, and recovered from simulated answers."""

import numpy as np
import pandas as pd
import pytest

from analysis.components import shrink, variance_components
from analysis.intervals import clustered_variance, two_way
from analysis.margins import Margins, margins_of


def crossed(fooled: np.ndarray, seen: np.ndarray | None = None) -> Margins:
    """Margins of answers (participants, pairs); only those ``seen``."""
    people, pictures = np.nonzero(np.ones_like(fooled, dtype=bool) if seen is None else seen)
    return margins_of(pd.DataFrame({"participant": people, "pair": pictures, "fooled": fooled[people, pictures]}))


def test_components_of_complete_data_are_those_of_the_two_way_analysis_of_variance() -> None:
    y = np.random.default_rng(3).random((6, 8)) < np.linspace(0.1, 0.9, 6)[:, None]
    j, k = y.shape
    rows, columns = y.mean(axis=1, keepdims=True), y.mean(axis=0, keepdims=True)
    ms_rows = k * ((rows - y.mean()) ** 2).sum() / (j - 1)
    ms_columns = j * ((columns - y.mean()) ** 2).sum() / (k - 1)
    ms_rest = ((y - rows - columns + y.mean()) ** 2).sum() / ((j - 1) * (k - 1))
    found = variance_components(crossed(y))
    assert found.participant == pytest.approx((ms_rows - ms_rest) / k)
    assert found.pair == pytest.approx(max((ms_columns - ms_rest) / j, 0))
    if (ms_columns - ms_rest) > 0:
        assert found.residual == pytest.approx(ms_rest)


def test_people_who_are_all_alike_have_no_spread() -> None:
    y = np.tile([True, False, True, False], (5, 1))  # every picture gets the same answer from everyone
    found = variance_components(crossed(y))
    assert (found.participant, found.residual) == (0.0, pytest.approx(0.0))
    assert found.pair == pytest.approx(1 / 3)  # of 1, 0, 1, 0


def test_spreads_in_logits_are_recovered_when_everyone_sees_a_part() -> None:
    rng, found = np.random.default_rng(5), []
    for _ in range(40):
        logits = -0.4 + rng.normal(0, 0.8, (60, 1)) + rng.normal(0, 0.5, (1, 80))
        y, seen = rng.random((60, 80)) < 1 / (1 + np.exp(-logits)), rng.random((60, 80)) < 0.5
        components = variance_components(crossed(y, seen))
        found.append((components.participant_sd_logit, components.pair_sd_logit))
    assert np.mean(found, axis=0) == pytest.approx([0.8, 0.5], abs=0.05)


@pytest.mark.parametrize("shape", [(1, 20), (20, 1), (1, 1)])
def test_one_participant_or_one_pair_tells_no_components(shape: tuple[int, int]) -> None:
    assert variance_components(crossed(np.random.default_rng(1).random(shape) < 0.5)) is None


def test_answers_that_are_all_alike_have_no_spread_at_all() -> None:
    found = variance_components(crossed(np.ones((4, 5), dtype=bool)))
    assert (found.participant, found.pair, found.residual, found.pair_sd_logit) == (0, 0, 0, 0)


def test_rates_are_pulled_by_the_share_of_noise() -> None:
    # Variance .02 between units and .2 of one answer: 10 answers weigh .02 / (.02 + .02) = 1/2, 90 answers .9.
    pulled = shrink(np.array([10.0, 90.0]), np.array([8.0, 72.0]), 0.4, 0.02, 0.2)
    assert pulled == pytest.approx([0.6, 0.76])
    assert shrink(np.array([10.0]), np.array([8.0]), 0.4, 0.0, 0.2) == pytest.approx([0.4])


def test_margins_say_what_the_trials_say_with_and_without_repeated_cells() -> None:
    rng = np.random.default_rng(4)
    for repeats in (1, 3):
        people, pictures = (np.tile(units.ravel(), repeats) for units in np.indices((7, 9)))
        trials = pd.DataFrame({"participant": people, "pair": pictures, "fooled": rng.random(people.size) < 0.3})
        margins = margins_of(trials)
        expected = two_way(trials["fooled"], people, pictures)
        assert (margins.headline().low, margins.headline().high) == pytest.approx(
            (expected.low, expected.high), rel=1e-12
        )
        assert (margins.n_cells, margins.n) == (63, 63 * repeats)


def of_one_pair(n_pairs: int) -> tuple[Margins, float]:
    """Four people, three of them fooled by the first pair and by no other; and the plain clustered variance."""
    y = np.zeros((4, n_pairs), dtype=bool)
    y[:3, 0] = True
    people, pictures = (units.ravel() for units in np.indices(y.shape))
    plain = clustered_variance((y.ravel() - y.mean()) / y.size, people, pictures).variance
    return crossed(y), plain


def test_the_plain_variance_stands_where_the_rate_is_far_from_the_ends() -> None:
    margins, plain = of_one_pair(3)  # r = 3/12
    assert margins.clusters().variance == pytest.approx(plain)


def test_a_rate_near_the_end_that_few_units_carry_gets_the_variance_of_the_jackknife() -> None:
    margins, plain = of_one_pair(12)  # r = 3/48
    # Left out: a person who was fooled, 2/36; the one who was not, 3/36; the pair, none, which counts as half of 48; another, 3/44.
    by_people = np.log([2 / 34, 2 / 34, 2 / 34, 3 / 33])
    by_pairs = np.log([0.5 / 47.5, *[3 / 41] * 11])
    jackknife = (
        3 / 4 * ((by_people - by_people.mean()) ** 2).sum() + 11 / 12 * ((by_pairs - by_pairs.mean()) ** 2).sum()
    )
    slope, v_x = 3 / 48 * 45 / 48, 3 / 48 * 45 / 48 / 47
    assert margins.clusters().variance == pytest.approx(jackknife * slope**2 - v_x)
    assert jackknife * slope**2 - v_x > plain
