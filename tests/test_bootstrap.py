"""Two-way bootstrap: weighted by hand, as Owen's theory has it, covering the truth, and the same however it multiplies."""

import numpy as np
import pandas as pd
import pytest
from observers import draw_fooled, population_rate
from scipy import sparse

from analysis.bootstrap import MAX_WEIGHT, two_way_bootstrap, weighted_rates
from analysis.intervals import clopper_pearson, two_way


def complete(fooled: np.ndarray) -> pd.DataFrame:
    """Trials of fooled (participants, pairs), everyone and every pair once."""
    people, pictures = np.indices(fooled.shape)
    return pd.DataFrame({"participant": people.ravel(), "pair": pictures.ravel(), "fooled": fooled.ravel()})


def weights(rng: np.random.Generator, size: int, n_units: int) -> np.ndarray:
    return rng.multinomial(n_units, np.full(n_units, 1 / n_units), size).clip(max=MAX_WEIGHT).astype(np.float32)


def test_rate_of_a_replicate_weighs_trials_as_counted_by_hand() -> None:
    # Ann saw x twice (fooled once) and y (fooled); ben saw x (not fooled). Ann drawn twice, ben never, x once and y once:
    # (2*1*1 + 2*1*1) / (2*1*2 + 2*1*1) = 4/6. Ann and ben once, x twice: 2/(4 + 2). Only ben, only y: no trial.
    n, k = sparse.csr_array(np.array([[2.0, 1.0], [1.0, 0.0]])), np.array([[1.0, 1.0], [0.0, 0.0]])
    fooled = sparse.csr_array((k[n.toarray() > 0], n.indices, n.indptr), shape=(2, 2))
    people = np.array([[2, 0], [1, 1], [0, 2]], dtype=np.float32)
    pictures = np.array([[1, 1], [2, 0], [0, 2]], dtype=np.float32)
    for is_dense in (True, False):
        rates = weighted_rates(n, fooled, people, pictures, is_dense)
        assert rates == pytest.approx([4 / 6, 2 / 6, np.nan], nan_ok=True)


# The second fills pairs with more trials than one block of single precision may sum, the third needs double precision.
@pytest.mark.parametrize(("shape", "most"), [((40, 30), 3), ((700, 3), 2), ((5, 4), 400)], ids=str)
def test_dense_and_sparse_products_are_exactly_equal(shape: tuple[int, int], most: int) -> None:
    rng = np.random.default_rng(8)
    seen = rng.integers(0, most + 1, shape)
    n = sparse.csr_array(seen.astype(float))
    k = sparse.csr_array((rng.binomial(seen[seen > 0], 0.4).astype(float), n.indices, n.indptr), shape=shape)
    people, pictures = weights(rng, 50, shape[0]), weights(rng, 50, shape[1])
    people[0, 0] = pictures[0, 0] = MAX_WEIGHT
    fooled = np.einsum("rj,ji,ri->r", people.astype(float), k.toarray(), pictures)
    expected = fooled / np.einsum("rj,ji,ri->r", people.astype(float), n.toarray(), pictures)
    for is_dense in (True, False, None):
        assert np.array_equal(weighted_rates(n, k, people, pictures, is_dense), expected)


def test_variance_is_that_of_the_pigeonhole_and_of_noise_thrice() -> None:
    # With multinomial weights w and v, w'Yv varies by its rows' sums, its columns' sums and what is left of the table
    # (Owen 2007): of unrelated answers each part shows r (1 - r) / n once.
    fooled = np.random.default_rng(9).random((60, 50)) < 0.3
    table, n = fooled - fooled.mean(), fooled.size
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    left = table - rows[:, None] / 50 - columns / 60
    variance = (rows @ rows + columns @ columns + (left**2).sum()) / n**2
    assert variance == pytest.approx(3 * 0.3 * 0.7 / n, rel=0.15)
    one_sd = two_way_bootstrap(complete(fooled), level=0.6826895, replicates=8000, seed=1)
    assert (one_sd.high - one_sd.low) / 2 == pytest.approx(np.sqrt(variance), rel=0.05)


def test_bootstrap_covers_the_population_rate_and_agrees_with_the_headline() -> None:
    spread = {"mean_logit": -0.4, "sd_participant": 0.6, "sd_pair": 0.8}
    truth, covered, ratios = population_rate(**spread), 0, []
    experiments = draw_fooled(np.random.default_rng(21), 60, 20, 25, **spread)
    for seed, fooled in enumerate(experiments):
        trials = complete(fooled)
        found, headline = (
            two_way_bootstrap(trials, replicates=300, seed=seed),
            two_way(trials["fooled"], trials["participant"], trials["pair"]),
        )
        covered += found.low <= truth <= found.high
        ratios.append((found.high - found.low) / (headline.high - headline.low))
    assert covered >= 0.9 * len(experiments)
    assert 0.9 <= np.mean(ratios) <= 1.1


def test_labels_of_any_kind_and_the_same_seed_give_the_same_interval() -> None:
    trials = complete(draw_fooled(np.random.default_rng(3), 1, 8, 9, mean_logit=0, sd_participant=1, sd_pair=1)[0])
    found = two_way_bootstrap(trials, replicates=200, seed=5)
    assert (found.method, found.level) == ("two_way_bootstrap", 0.95)
    assert 0 < found.low < trials["fooled"].mean() < found.high < 1
    named = trials.assign(
        participant=pd.Categorical.from_codes(trials["participant"] + 1, [f"p{j}" for j in range(12)]),  # 4 of no trial
        pair=trials["pair"].map(lambda i: f"x{i}"),
    )
    assert two_way_bootstrap(named, replicates=200, seed=5) == found
    assert two_way_bootstrap(trials, replicates=200, seed=6) != found


def test_rates_of_0_and_1_and_lonely_units_are_answered_as_in_the_headline() -> None:
    never = complete(np.zeros((12, 15), dtype=bool))
    assert two_way_bootstrap(never) == clopper_pearson(0, 12)
    assert two_way_bootstrap(never.assign(fooled=True)) == clopper_pearson(12, 12)
    for one in (complete(np.array([[True, False]])), complete(np.array([[True], [False]]))):
        assert two_way_bootstrap(one) == two_way(one["fooled"], one["participant"], one["pair"])
        assert two_way_bootstrap(one).method == "undetermined"


def test_replicates_without_a_trial_are_left_out() -> None:
    # Ann saw only x, ben only y: a quarter of the replicates draw ann and y, or ben and x, alone.
    trials = pd.DataFrame({"participant": ["ann", "ben"], "pair": ["x", "y"], "fooled": [True, False]})
    found = two_way_bootstrap(trials, replicates=400)
    assert (found.low, found.high) == (0, 1)


def test_a_bootstrap_of_nothing_is_refused() -> None:
    trials = complete(np.array([[True, False], [False, True]]))
    with pytest.raises(ValueError, match="at least one trial"):
        two_way_bootstrap(trials[:0])
    with pytest.raises(ValueError, match="replicates is 0; give 1 or more"):
        two_way_bootstrap(trials, replicates=0)
