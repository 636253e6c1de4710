"""Trials in; a crossed random-effects logistic model per condition out: its rate, how much people and pictures differ, each of them.

    logit P(fooled) = m + u(participant) + v(pair),   u ~ normal(0, a²),   v ~ normal(0, b²)

Drawn from its exact posterior by ``analysis.gibbs``; the rate is marginal, so that it is comparable to the fool rate: that of
the average person on the average picture, expit(m), is further from a half. It needs the extra ``analysis``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from analysis.gibbs import Codes, Draws, Floats, draw_posterior, effective_draws, split_r_hat

# Chains that agree less, or are worth fewer independent draws, are not to be reported as they are (Vehtari et al. 2021).
MAX_R_HAT, MIN_EFFECTIVE = 1.01, 400
FEW_UNITS = 5  # with fewer units their spread rests on its prior (Gelman 2006, Bayesian Analysis 1, 515)
# Beyond, a random part is fitted, to keep within a minute or two on one core.
MAX_TRIALS = 50_000
MAX_WORK = 10_000_000  # participants x pairs x the smaller of the two

_Z, _Z_WEIGHTS = np.polynomial.hermite_e.hermegauss(30)


@dataclass(frozen=True)
class Effect:
    """One pair's rate among new people, or one participant's on new pictures; shrunken towards the rate of all."""

    label: str
    rate: float
    low: float
    high: float


@dataclass(frozen=True)
class MixedModel:
    """What the model says about one condition. Rates are fractions, spreads standard deviations in logits.

    Attributes:
        rate: E[expit(m + u + v)], over new people and new pictures; the posterior's median, here and below.
        low, high: equal-tailed credible interval, here and below; that of a spread never reaches 0.
        pairs, participants: by label; of those fitted, where not all were.
        library: what drew it, with its version.
        notes: what to know before these numbers are used, in sentences; empty if nothing.
    """

    condition: str
    rate: float
    low: float
    high: float
    participant_sd: float
    participant_sd_low: float
    participant_sd_high: float
    pair_sd: float
    pair_sd_low: float
    pair_sd_high: float
    pairs: tuple[Effect, ...]
    participants: tuple[Effect, ...]
    level: float
    library: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Answers:
    """One condition's trials: codes of participant and pair, and ``fooled`` as 0 or 1, (n,) each, with what they stand for."""

    participant: Codes
    pair: Codes
    fooled: Floats
    participants: list[str]
    pairs: list[str]


def fit_mixed_model(
    trials: pd.DataFrame, level: float = 0.95, seed: int = 0, *, draws: int = 2000
) -> tuple[MixedModel, ...]:
    """One MixedModel per condition of the counted trials; the same for the same trials, in whatever order, and ``seed``.

    Priors: m ~ normal(0, 1.5), which is nearly flat between rates of .05 and .95 (McElreath 2020, Statistical Rethinking,
    sec. 11.1); a and b ~ half-normal(1), weakly informative for logits (Gelman 2006; Stan's prior choice
    recommendations). With ten participants and ten pairs, a prior of twice that spread widened the rate's interval by 8 %,
    and one of half of it narrowed it by 13 % (benchmarks/mixed_model.py --spread-prior).

    With many trials, or many of both people and pictures, a random part of them is fitted, and ``notes`` say so.

    Raises:
        InputError: if the extra ``analysis`` is not installed.
        ValueError: if there are fewer than 100 draws or the level is outside (0, 1).
    """
    if draws < 100 or not 0 < level < 1:
        raise ValueError(f"draws is {draws} and level {level}; give at least 100, and a fraction between 0 and 1")
    groups = [(str(name), group) for name, group in trials.groupby("condition", observed=True)]
    rngs = np.random.default_rng(seed).spawn(len(groups))
    return tuple(_fit(name, group, level, draws, rng) for (name, group), rng in zip(groups, rngs, strict=True))


def _fit(condition: str, trials: pd.DataFrame, level: float, n_draws: int, rng: np.random.Generator) -> MixedModel:
    notes: list[str] = []
    answers = _answers(trials, rng, notes)
    drawn = draw_posterior(answers.fooled, answers.participant, answers.pair, n_draws, rng)
    rate = _over_normal(drawn.mean, np.hypot(drawn.row_sd, drawn.column_sd))
    notes += _doubts(answers, rate, drawn)
    return MixedModel(
        condition,
        *_summary(rate, level),
        *_summary(drawn.row_sd, level),
        *_summary(drawn.column_sd, level),
        pairs=_effects(answers.pairs, drawn.mean, drawn.column, drawn.row_sd, level),
        participants=_effects(answers.participants, drawn.mean, drawn.row, drawn.column_sd, level),
        level=level,
        library=f"polyagamma {version('polyagamma')}",
        notes=tuple(notes),
    )


def _answers(trials: pd.DataFrame, rng: np.random.Generator, notes: list[str]) -> _Answers:
    """All answers, ordered, or as many as can be fitted in time: fewer participants first, since pictures are the bottleneck."""
    (participant, people), (pair, pictures) = _by_label(trials["participant"]), _by_label(trials["pair"])
    fooled = trials["fooled"].to_numpy(dtype=float)
    kept = np.lexsort((fooled, pair, participant))
    n_people, n_pairs = len(people), len(pictures)
    n_fit = sum(m * n_pairs * min(m, n_pairs) <= MAX_WORK for m in range(2, n_people + 1)) + 1
    if n_fit < n_people:
        kept = kept[np.isin(participant[kept], rng.choice(n_people, n_fit, replace=False))]
        notes.append(f"fitted to {n_fit:,} of {n_people:,} participants, drawn at random")
    if kept.size > MAX_TRIALS:
        notes.append(f"fitted to {MAX_TRIALS:,} of {kept.size:,} answers, drawn at random")
        kept = kept[np.sort(rng.choice(kept.size, MAX_TRIALS, replace=False))]
    left_people, participant = np.unique(participant[kept], return_inverse=True)
    left_pairs, pair = np.unique(pair[kept], return_inverse=True)
    return _Answers(participant, pair, fooled[kept], people[left_people].tolist(), pictures[left_pairs].tolist())


def _by_label(labels: pd.Series) -> tuple[Codes, NDArray[np.str_]]:
    """(n,) codes and the labels they stand for, in alphabetical order whatever order came in."""
    codes, units = pd.factorize(labels)
    names, place = np.unique([str(unit) for unit in units], return_inverse=True)
    return place[codes], names


def _over_normal(score: Floats, sd: Floats) -> Floats:
    """E[expit(score + sd z)] for a standard normal z, by Gauss-Hermite quadrature."""
    total = np.zeros(np.broadcast_shapes(score.shape, sd.shape))
    for z, weight in zip(_Z, _Z_WEIGHTS / _Z_WEIGHTS.sum(), strict=True):
        total += weight * expit(score + sd * z)
    return total


def _summary(values: Floats, level: float) -> tuple[float, float, float]:
    """Median, low and high."""
    median, low, high = np.quantile(values, [0.5, (1 - level) / 2, (1 + level) / 2]).tolist()
    return median, low, high


def _effects(
    labels: list[str], mean: Floats, effects: Floats, sd_of_others: Floats, level: float
) -> tuple[Effect, ...]:
    rates = _over_normal(mean[..., None] + effects, sd_of_others[..., None])  # (chains, draws, units)
    return tuple(Effect(label, *_summary(rates[..., i], level)) for i, label in enumerate(labels))


def _doubts(answers: _Answers, rate: Floats, drawn: Draws) -> Iterator[str]:
    checked = (rate, drawn.row_sd, drawn.column_sd)
    r_hat, n_effective = max(map(split_r_hat, checked)), min(map(effective_draws, checked))
    if r_hat > MAX_R_HAT or n_effective < MIN_EFFECTIVE:
        yield (
            f"the draws have not settled (R-hat {r_hat:.3f}, {n_effective:.0f} effective draws); "
            "ask for more draws before using these numbers"
        )
    if answers.fooled.min() == answers.fooled.max():
        yield f"every answer was {'wrong' if answers.fooled[0] else 'right'}: how near the rate is to that rests on the priors"
    for what, n in (("participant", len(answers.participants)), ("pair", len(answers.pairs))):
        if n < FEW_UNITS:
            yield f"only {n} {what}{'s' if n > 1 else ''}: how much {what}s differ, and so the interval, rests on the prior"
