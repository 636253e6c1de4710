"""The crossed model: against a posterior computed another way, observers of known rate, and all degenerate cases."""

import sys

import numpy as np
import pandas as pd
import pytest
from observers import draw_fooled, population_rate
from scipy.special import expit

from analysis import gibbs, mixed_model
from analysis.gibbs import draw_posterior, effective_draws, split_r_hat
from analysis.intervals import two_way
from analysis.mixed_model import fit_mixed_model
from protocol import InputError

OBSERVERS = {"mean_logit": -0.8, "sd_participant": 0.6, "sd_pair": 0.9}


def frame(fooled, condition="cgan"):
    """(participants, pairs) of True, False or None (not seen) as counted trials."""
    rows = [
        {"condition": condition, "participant": f"p{j:02d}", "pair": f"q{i:02d}", "fooled": bool(answer)}
        for j, row in enumerate(fooled)
        for i, answer in enumerate(row)
        if answer is not None
    ]
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def observed():
    """24 participants on 32 pairs, their model, and the share of answers that were fooled by participant and pair."""
    rng = np.random.default_rng(12)
    fooled = draw_fooled(rng, 1, 24, 32, **OBSERVERS)[0]
    (model,) = fit_mixed_model(frame(fooled), draws=1200)
    return fooled, model


@pytest.fixture
def short_chains(monkeypatch):
    """For tests that do not look at the numbers."""
    monkeypatch.setattr(gibbs, "N_WARMUP", 5)


def prior_draws(rng, n, n_participants, n_pairs):
    """The model as its docstring states it, drawn without any data."""
    mean = rng.normal(0, 1.5, n)
    sds = np.abs(rng.normal(0, 1, (2, n)))
    people = sds[0][:, None] * rng.normal(0, 1, (n, n_participants))
    pictures = sds[1][:, None] * rng.normal(0, 1, (n, n_pairs))
    return mean, sds, people, pictures


def weighted_quantile(values, weights, q):
    order = np.argsort(values)
    return values[order][np.searchsorted(np.cumsum(weights[order]) / weights.sum(), q)]


def test_posterior_is_that_of_weighting_prior_draws_by_their_likelihood():
    answers = [[1, 1, 0, 1], [0, 1, 0, None], [0, 1, 0, 0]]
    trials = pd.concat([frame(answers), frame([[1, None, None, None]])])  # the first cell twice
    (model,) = fit_mixed_model(trials, level=0.8, draws=3200)

    rng = np.random.default_rng(0)
    mean, sds, people, pictures = prior_draws(rng, 200_000, 3, 4)
    likelihood = np.ones(mean.size)
    for participant, pair, fooled in trials[["participant", "pair", "fooled"]].itertuples(index=False):
        p = expit(mean + people[:, int(participant[1:])] + pictures[:, int(pair[1:])])
        likelihood *= p if fooled else 1 - p
    nodes, node_weights = np.polynomial.hermite_e.hermegauss(12)
    node_weights = node_weights / node_weights.sum()

    def over(score, sd):
        return sum(weight * expit(score + sd * z) for z, weight in zip(nodes, node_weights, strict=True))

    rate = over(mean, np.hypot(*sds))
    second_pair = over(mean + pictures[:, 1], sds[0])
    first_participant = over(mean + people[:, 0], sds[1])
    expected_and_found = [
        (rate, model.low, model.rate, model.high, 0.02),
        (second_pair, model.pairs[1].low, model.pairs[1].rate, model.pairs[1].high, 0.02),
        (first_participant, model.participants[0].low, model.participants[0].rate, model.participants[0].high, 0.02),
        (sds[0], model.participant_sd_low, model.participant_sd, model.participant_sd_high, 0.08),
        (sds[1], model.pair_sd_low, model.pair_sd, model.pair_sd_high, 0.08),
    ]
    for values, low, middle, high, tolerance in expected_and_found:
        expected = weighted_quantile(values, likelihood, [0.1, 0.5, 0.9])
        assert (low, middle, high) == pytest.approx(expected, abs=tolerance)


def test_true_rate_and_spreads_of_simulated_observers_lie_in_their_intervals(observed):
    _, model = observed
    assert model.low < population_rate(**OBSERVERS) < model.high
    assert model.participant_sd_low < OBSERVERS["sd_participant"] < model.participant_sd_high
    assert model.pair_sd_low < OBSERVERS["sd_pair"] < model.pair_sd_high
    assert model.notes == ()
    assert model.library.startswith("polyagamma ")


def test_interval_is_about_as_wide_as_the_headline_interval(observed):
    fooled, model = observed
    participant, pair = np.indices(fooled.shape).reshape(2, -1)
    headline = two_way(fooled.ravel(), participant, pair)
    assert model.high - model.low == pytest.approx(headline.high - headline.low, rel=0.2)
    assert model.rate == pytest.approx(fooled.mean(), abs=0.015)


def test_effects_are_shrunken_and_stand_by_label(observed):
    fooled, model = observed
    for effects, shares, letter in (
        (model.participants, fooled.mean(axis=1), "p"),
        (model.pairs, fooled.mean(axis=0), "q"),
    ):
        rates = np.array([effect.rate for effect in effects])
        assert [effect.label for effect in effects] == [f"{letter}{i:02d}" for i in range(shares.size)]
        slope, _ = np.polyfit(shares, rates, 1)
        assert 0.5 < slope < 0.97
        assert np.corrcoef(shares, rates)[0, 1] > 0.99
        assert all(effect.low < effect.rate < effect.high for effect in effects)


def test_same_seed_gives_the_same_model_whatever_the_order_and_kind_of_rows(short_chains):
    fooled = draw_fooled(np.random.default_rng(3), 1, 6, 5, **OBSERVERS)[0]
    trials = pd.concat([frame(fooled), frame(~fooled, "wgan")])
    expected = fit_mixed_model(trials, seed=4, draws=100)
    shuffled = trials.sample(frac=1, random_state=1).astype(
        dict.fromkeys(("condition", "participant", "pair"), "category")
    )
    assert fit_mixed_model(shuffled, seed=4, draws=100) == expected
    assert [model.condition for model in expected] == ["cgan", "wgan"]
    assert fit_mixed_model(trials, seed=5, draws=100) != expected


def test_rows_and_columns_may_change_places(short_chains):
    rng = np.random.default_rng(0)
    row, column = np.indices((3, 7)).reshape(2, -1)
    ones = (rng.random(21) < 0.4).astype(float)
    one, other = (
        draw_posterior(ones, *codes, 40, np.random.default_rng(1)) for codes in ((row, column), (column, row))
    )
    np.testing.assert_array_equal(one.row, other.column)
    np.testing.assert_array_equal(one.column_sd, other.row_sd)
    assert one.row.shape == (4, 10, 3)


@pytest.mark.parametrize(
    ("fooled", "note"),
    [
        (np.ones((6, 6), dtype=bool), "every answer was wrong"),
        (np.zeros((6, 6), dtype=bool), "every answer was right"),
        ([[True, False] * 4], "only 1 participant: how much participants differ"),
        ([[True], [False]] * 4, "only 1 pair: how much pairs differ"),
        ([[True]], "only 1 pair: how much pairs differ"),
        ([[True, False, True]] * 7, "only 3 pairs: how much pairs differ"),
    ],
)
def test_degenerate_answers_get_a_model_and_a_note(fooled, note):
    (model,) = fit_mixed_model(frame(fooled), draws=400)
    assert 0 < model.low < model.rate < model.high < 1
    assert any(note in sentence for sentence in model.notes)


def test_nothing_left_gives_no_model():
    assert fit_mixed_model(frame([[True]]).iloc[:0]) == ()


def test_unsettled_draws_are_noted(short_chains):
    fooled = draw_fooled(np.random.default_rng(3), 1, 6, 6, **OBSERVERS)[0]
    (model,) = fit_mixed_model(frame(fooled), draws=100)  # so few are never worth 400 independent ones
    assert any("the draws have not settled" in note and "ask for more draws" in note for note in model.notes)


def test_too_many_trials_or_units_are_thinned_and_noted(monkeypatch, short_chains):
    fooled = draw_fooled(np.random.default_rng(3), 1, 12, 6, **OBSERVERS)[0]
    monkeypatch.setattr(mixed_model, "MAX_TRIALS", 40)
    monkeypatch.setattr(mixed_model, "MAX_WORK", 8 * 6 * 6)
    (model,) = fit_mixed_model(frame(fooled), draws=100)
    assert len(model.participants) == 8
    assert len(model.pairs) == 6
    assert model.notes[:2] == (
        "fitted to 8 of 12 participants, drawn at random",
        "fitted to 40 of 48 answers, drawn at random",
    )


def test_absent_library_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "polyagamma", None)
    with pytest.raises(InputError, match=r"needs polyagamma.*pip install 'realism\[analysis\]'"):
        fit_mixed_model(frame([[True, False]]))


@pytest.mark.parametrize("wrong", [{"draws": 99}, {"level": 1.0}, {"level": 0.0}])
def test_too_few_draws_or_a_level_outside_0_and_1_are_refused(wrong):
    with pytest.raises(ValueError, match="give at least 100, and a fraction between 0 and 1"):
        fit_mixed_model(frame([[True, False]]), **wrong)


def test_effective_draws_of_an_autoregression_are_those_of_its_formula():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(4, 5000))
    values = noise.copy()
    for t in range(1, values.shape[1]):
        values[:, t] = 0.6 * values[:, t - 1] + noise[:, t]
    assert effective_draws(values) == pytest.approx(20_000 * (1 - 0.6) / (1 + 0.6), rel=0.1)
    assert effective_draws(noise) == pytest.approx(20_000, rel=0.1)


def test_r_hat_counted_by_hand():
    # Halves (0, 2), (0, 2), (4, 6), (4, 6): within 2, between means 16/3; sqrt(1/2 + 16/3 / 2).
    assert split_r_hat(np.array([[0.0, 2, 0, 2], [4, 6, 4, 6]])) == pytest.approx(np.sqrt(0.5 + 8 / 3))
