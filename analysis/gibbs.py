"""Zeros and ones with two codes each in, draws from the posterior of a crossed random-effects logistic model out.

    logit P(one) = m + u(row) + v(column),   u ~ normal(0, a²),   v ~ normal(0, b²)

Gibbs sampling with Pólya-Gamma weights (Polson, Scott & Windle 2013, JASA 108, 1339), exact but for its random error: given
the weights, m, u and v are normal, so a and b are drawn with all effects integrated out, and then all effects at once.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from math import exp, inf

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dpotrf, dtrtrs

from protocol import InputError

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

MEAN_PRIOR_SD, SPREAD_PRIOR_SD = 1.5, 1.0  # logits: normal for m, half-normal for a and b
N_CHAINS, N_WARMUP = 4, 100
_WIDTH = 4.0  # of the slice sampler's interval, logits


@dataclass(frozen=True)
class Draws:
    """From the posterior, in logits: (chains, draws) and, for effects, (chains, draws, units)."""

    mean: Floats
    row_sd: Floats
    column_sd: Floats
    row: Floats
    column: Floats


def draw_posterior(ones: Floats, row: Codes, column: Codes, n_draws: int, rng: np.random.Generator) -> Draws:
    """At least ``n_draws`` draws, by four chains. One entry per answer; codes count from 0 without a gap.

    Raises:
        InputError: if polyagamma is not installed.
    """
    if row.max() < column.max():  # rows are integrated out one by one, which is cheap: let them be the many
        drawn = draw_posterior(ones, column, row, n_draws, rng)
        return Draws(drawn.mean, drawn.column_sd, drawn.row_sd, drawn.column, drawn.row)
    n_each = -(-n_draws // N_CHAINS)
    chains = [
        zip(*islice(_chain(ones, row, column, chain_rng), N_WARMUP, N_WARMUP + n_each), strict=True)
        for chain_rng in rng.spawn(N_CHAINS)
    ]
    return Draws(*(np.array(part) for part in zip(*chains, strict=True)))


def _chain(
    ones: Floats, row: Codes, column: Codes, rng: np.random.Generator
) -> Iterator[tuple[float, float, float, Floats, Floats]]:
    """Endlessly: the fields of Draws."""
    draw_weights = _polya_gamma()
    shape = int(row.max()) + 1, int(column.max()) + 1
    cell = row * shape[1] + column
    excess = _summed(ones - 0.5, cell, shape)
    score = np.zeros(ones.size)
    row_sd = column_sd = 0.5
    while True:
        cells = _cells(_summed(draw_weights(1, score, random_state=rng), cell, shape), excess)
        row_sd = _slice(partial(_density_of_rows, cells, column_sd), row_sd, 0, rng)
        rest = _integrate(cells, row_sd)
        column_sd = _slice(partial(_density, rest), column_sd, 0, rng)
        mean, rows, columns = _effects(cells, rest, column_sd, rng)
        # Where nearly all answers are alike, the weights hold m back (Johndrow et al. 2019, JASA 114, 1394): once more without.
        others = rows[row] + columns[column]
        mean = _slice(partial(_density_of_mean, np.exp(others), float(ones.sum())), mean, -inf, rng)
        score = mean + others
        yield mean, row_sd, column_sd, rows, columns


@dataclass(frozen=True)
class _Cells:
    """Weights, and ones minus a half, summed over R rows and C columns: they give the normal distribution of all effects.

    Attributes:
        by_row: (R,), weights.
        cross: (R, 1 + C), weights: of the row, then split by column. The first place stands for m, below too.
        rest: (1 + C, 1 + C), what the weights say of m and the columns alone.
        excess_row, excess_rest: (R,) and (1 + C,), ones minus a half.
    """

    by_row: Floats
    cross: Floats
    rest: Floats
    excess_row: Floats
    excess_rest: Floats


@dataclass(frozen=True)
class _Rest:
    """The normal distribution of m and the columns' effects with the rows' integrated out, before its own prior.

    Attributes:
        shrink: (R,), variance of each row's effect given the others.
        precision: (1 + C, 1 + C).
        shift: (1 + C,), precision times mean.
        log_density: of what was integrated, with the prior of the rows' spread.
    """

    shrink: Floats
    precision: Floats
    shift: Floats
    log_density: float


def _cells(weights: Floats, excess: Floats) -> _Cells:
    by_row, by_column = weights.sum(axis=1), weights.sum(axis=0)
    rest = np.diag(np.append(by_row.sum(), by_column))
    rest[0, 1:] = rest[1:, 0] = by_column
    excess_rest = np.append(excess.sum(), excess.sum(axis=0))
    return _Cells(by_row, np.column_stack([by_row, weights]), rest, excess.sum(axis=1), excess_rest)


def _summed(values: Floats, cell: Codes, shape: tuple[int, int]) -> Floats:
    return np.bincount(cell, values, shape[0] * shape[1]).reshape(shape).astype(np.float64, copy=False)


def _integrate(cells: _Cells, row_sd: float) -> _Rest:
    scale = 1 + row_sd**2 * cells.by_row
    shrink = row_sd**2 / scale
    shrunken = cells.cross.T * shrink  # (1 + C, R)
    prior = (row_sd / SPREAD_PRIOR_SD) ** 2
    return _Rest(
        shrink,
        precision=cells.rest - shrunken @ cells.cross,
        shift=cells.excess_rest - shrunken @ cells.excess_row,
        log_density=0.5 * float(shrink @ cells.excess_row**2 - np.log(scale).sum() - prior),
    )


def _factor(rest: _Rest, column_sd: float) -> tuple[Floats, Floats, Floats]:
    """Prior standard deviations t, Cholesky factor L of 1 + t precision t, and L^-1 t shift; sound at 0 too."""
    scale = np.full(rest.shift.size, column_sd)  # (1 + C,)
    scale[0] = MEAN_PRIOR_SD
    precision = rest.precision * scale * scale[:, None]
    precision.flat[:: scale.size + 1] += 1
    root, _ = dpotrf(precision, lower=1)
    return scale, root, dtrtrs(root, scale * rest.shift, lower=1)[0]


def _density(rest: _Rest, column_sd: float) -> float:
    """Log posterior density of both spreads given the weights, up to a constant."""
    _, root, solved = _factor(rest, column_sd)
    prior = 0.5 * (column_sd / SPREAD_PRIOR_SD) ** 2
    return rest.log_density + 0.5 * float(solved @ solved) - float(np.log(root.diagonal()).sum()) - prior


def _density_of_rows(cells: _Cells, column_sd: float, row_sd: float) -> float:
    return _density(_integrate(cells, row_sd), column_sd)


def _density_of_mean(odds: Floats, n_ones: float, mean: float) -> float:
    """Log posterior density of m given all effects, up to a constant: ``odds`` are theirs without m; no weights enter."""
    return mean * n_ones - float(np.log(1 + exp(mean) * odds).sum()) - 0.5 * (mean / MEAN_PRIOR_SD) ** 2


def _effects(cells: _Cells, rest: _Rest, column_sd: float, rng: np.random.Generator) -> tuple[float, Floats, Floats]:
    """m and the effects of rows (R,) and columns (C,), drawn together given weights and spreads."""
    scale, root, solved = _factor(rest, column_sd)
    drawn = scale * dtrtrs(root, solved + rng.standard_normal(solved.size), lower=1, trans=1)[0]
    noise = np.sqrt(rest.shrink) * rng.standard_normal(rest.shrink.size)
    return float(drawn[0]), rest.shrink * (cells.excess_row - cells.cross @ drawn) + noise, drawn[1:]


def _slice(log_density: Callable[[float], float], now: float, lowest: float, rng: np.random.Generator) -> float:
    """The next value of a slice sampler that shrinks an interval of fixed width (Neal 2003, Annals of Statistics 31, 705)."""
    height = log_density(now) - rng.exponential()
    low = now - _WIDTH * rng.random()
    high = low + _WIDTH
    low = max(low, lowest)
    while True:
        new = rng.uniform(low, high)
        if log_density(new) > height:
            return new
        low, high = (new, high) if new < now else (low, new)


def _polya_gamma() -> Callable[..., Floats]:
    try:
        from polyagamma import random_polyagamma  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise InputError(
            "the crossed model needs polyagamma, which is not installed; run \"pip install 'realism[analysis]'\""
        ) from error
    return random_polyagamma


def split_r_hat(chains: Floats) -> float:
    """Potential scale reduction of (chains, draws), each chain cut into halves; 1 when all agree (Gelman et al. 2013, sec. 11.4)."""
    n = chains.shape[1] // 2
    halves = chains[:, : 2 * n].reshape(-1, n)
    return float(np.sqrt((n - 1) / n + halves.mean(axis=1).var(ddof=1) / halves.var(axis=1, ddof=1).mean()))


def effective_draws(chains: Floats) -> float:
    """How many independent draws (chains, draws) are worth: Geyer's initial monotone sequence (1992, Statistical Science 7, 473)."""
    n_chains, n = chains.shape
    within = chains.var(axis=1, ddof=1).mean()
    total = (n - 1) / n * within + chains.mean(axis=1).var(ddof=1)
    spectrum = np.fft.rfft(chains - chains.mean(axis=1, keepdims=True), 2 * n, axis=1)
    covariance = np.fft.irfft(np.abs(spectrum) ** 2, axis=1)[:, :n].mean(axis=0) / (n - 1)
    correlation = 1 - (within - covariance) / total
    pairs = correlation[: n // 2 * 2].reshape(-1, 2).sum(axis=1)  # of neighbouring lags, (0, 1) first
    positive = np.minimum.accumulate(pairs[: int(np.argmax(np.append(pairs, -1) < 0))])
    return float(n_chains * n / max(2 * positive.sum() - 1, 1 / np.log10(n_chains * n)))
