"""Trials of one condition in; the two-way bootstrap interval of their fool rate out, as a check of the headline interval."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from analysis.intervals import ClusteredVariance, Interval, codes, logit_t

# One number carries two counts, n + base * fooled, so that one matrix product sums both. With every sum of n below the
# base, float32 holds it exactly up to 2^24; float64 up to 2^52, for participants who see a pair hundreds of times.
_PACKINGS = ((np.float32, 1 << 12), (np.float64, 1 << 26))
# How often a participant or a pair may be drawn. More happens about once in 10^15, and is then taken for this often.
MAX_WEIGHT = 16
# A table of participants x pairs that is filled so far is multiplied as it is; below, only its filled cells are.
_DENSE = 0.02
# Cells of a dense block, and weights drawn at once.
_MAX_CELLS = 1 << 23


def two_way_bootstrap(trials: pd.DataFrame, level: float = 0.95, replicates: int = 2000, seed: int = 0) -> Interval:
    """Percentile interval over samples of participants and, apart from them, of pairs (the pigeonhole: Owen 2007).

    Each replicate draws J participants and K pairs with replacement, and weighs a trial by the product of how often its
    participant and its pair were drawn (Owen & Eckles 2012). It counts the trials' own noise three times and so is
    conservative: simulated 95 % intervals cover 97 %. A percentile interval is the same on every scale, logits too.
    Replicates without a trial are left out. Rates of 0 or 1, one participant or one pair: as ``intervals.two_way``.

    Raises:
        ValueError: as ``two_way``, or if there are no replicates.
    """
    if replicates < 1:
        raise ValueError(f"replicates is {replicates}; give 1 or more")
    if trials.empty:
        raise ValueError("an interval needs at least one trial")
    fooled = trials["fooled"].to_numpy(dtype=bool)
    people = _compact(*codes(trials["participant"], fooled.size, "participant"))
    pictures = _compact(*codes(trials["pair"], fooled.size, "pair"))
    n_people, n_pictures, rate = int(people.max()) + 1, int(pictures.max()) + 1, float(fooled.mean())
    if rate in (0.0, 1.0) or min(n_people, n_pictures) < 2:
        return logit_t(rate, ClusteredVariance(float("nan"), n_people, n_pictures), level)
    n = sparse.csr_array((np.ones(fooled.size), (people, pictures)), shape=(n_people, n_pictures))
    k = sparse.csr_array((fooled.astype(float), (people, pictures)), shape=(n_people, n_pictures))
    rng, rates, at_once = np.random.default_rng(seed), [], max(1, _MAX_CELLS // max(n_people, n_pictures))
    for first in range(0, replicates, at_once):
        size = min(at_once, replicates - first)
        rates.append(weighted_rates(n, k, _draw(rng, size, n_people), _draw(rng, size, n_pictures)))
    drawn = np.concatenate(rates)
    low, high = np.quantile(drawn[np.isfinite(drawn)], [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), "two_way_bootstrap", level)


def weighted_rates(
    n: sparse.csr_array,
    k: sparse.csr_array,
    participant_weights: NDArray[np.float32],
    pair_weights: NDArray[np.float32],
    is_dense: bool | None = None,
) -> NDArray[np.float64]:
    """w'Kv / w'Nv for each row w of (R, J) and v of (R, K) weights, (R,); NaN where no trial has a weight.

    ``n`` and ``k`` (J, K) hold trials and fooled trials; both have the same cells. Weights are whole, up to MAX_WEIGHT.
    ``is_dense``: multiply whole blocks, or filled cells only; by how full the table is, when not given.
    """
    is_dense = n.nnz >= _DENSE * n.shape[0] * n.shape[1] if is_dense is None else is_dense
    dtype, base = _PACKINGS[int(n.data.max() * MAX_WEIGHT >= _PACKINGS[0][1])]
    packed = sparse.csr_array(((n.data + base * k.data).astype(dtype), n.indices, n.indptr), shape=n.shape)
    weights, both, fooled = participant_weights.astype(dtype), 0.0, 0.0
    for first, last in _blocks(n, 0, n.shape[0], (base - 1) // MAX_WEIGHT, is_dense):
        block = packed[first:last]
        sums = weights[:, first:last] @ (block.toarray() if is_dense else block)  # (R, K)
        both = both + np.einsum("ri,ri->r", sums, pair_weights, dtype=np.float64)
        fooled = fooled + np.einsum("ri,ri->r", np.floor(sums / dtype(base)), pair_weights, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return np.asarray(fooled / (both - base * fooled))


def _blocks(n: sparse.csr_array, first: int, last: int, max_trials: int, is_dense: bool) -> Iterator[tuple[int, int]]:
    """Runs of participants with at most ``max_trials`` of any pair, and few enough cells to be made dense."""
    cells = slice(n.indptr[first], n.indptr[last])
    trials = np.bincount(n.indices[cells], weights=n.data[cells], minlength=1).max()
    if last - first > 1 and (trials > max_trials or (is_dense and (last - first) * n.shape[1] > _MAX_CELLS)):
        middle = (first + last) // 2
        yield from _blocks(n, first, middle, max_trials, is_dense)
        yield from _blocks(n, middle, last, max_trials, is_dense)
    else:
        yield first, last


def _draw(rng: np.random.Generator, size: int, n_units: int) -> NDArray[np.float32]:
    """How often each of ``n_units`` is among as many drawn with replacement, (size, n_units): multinomial weights."""
    weights = np.empty((size, n_units), dtype=np.float32)
    for row in weights:
        row[:] = np.bincount(rng.integers(n_units, size=n_units, dtype=np.uint32), minlength=n_units)
    return np.minimum(weights, MAX_WEIGHT, out=weights)


def _compact(units: NDArray[np.intp], n_units: int) -> NDArray[np.intp]:
    """The same codes without those that have no trial."""
    is_present = np.bincount(units, minlength=n_units) > 0
    return units if is_present.all() else (np.cumsum(is_present) - 1)[units]
