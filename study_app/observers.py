"""Simulated observers whose parameters are known: fool rates in, choices out.

A participant j who sees pair i for as long as they like takes the fake for real (of one picture: says what it is not) with
probability

    (1 - lapse) * f + lapse / 2,    f = expit(a_i + u_j + s * side_bias),

where u_j ~ N(0, participant_sd²), s is +1 where the mistake is to say left (first, real) and -1 where it is to say right
(second, fake). The a_i are set such that the fool rates, averaged over participants and sides, are those asked for.

With a threshold_ms, pictures that stay for t milliseconds are seen well enough with probability v, and otherwise guessed at
(high threshold theory, with a log-logistic psychometric function):

    (1 - lapse) * (v * f + (1 - v) / 2) + lapse / 2,    v = 1 / (1 + (threshold_ms / t) ** slope).

Where f is 0 and nobody lapses, three answers in four are right at t = threshold_ms. Fool rates are then those of an unlimited look.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from protocol import InputError


class SimulationError(InputError):
    """A simulation that was asked for the impossible, or a survey that does not answer."""


@dataclass(frozen=True)
class Observers:
    """What is true of the simulated participants. Spreads and the bias are in logits, rates and lapse are fractions.

    Without a ``threshold_ms`` the exposure makes no difference.
    """

    pair_sd: float = 0.6
    participant_sd: float = 0.5
    side_bias: float = 0.0
    lapse: float = 0.02
    threshold_ms: float | None = None
    slope: float = 3.0

    def seen(self, exposure_ms: float | None) -> float:
        """The probability that pictures which stay so long (None: until the answer) are seen well enough."""
        if self.threshold_ms is None or exposure_ms is None:
            return 1.0
        return float(1 / (1 + (self.threshold_ms / exposure_ms) ** self.slope))


def marginal_rate(intercept: np.ndarray, sd: float, observers: Observers) -> np.ndarray:
    """The fool rate at ``intercept`` (logits), averaged over a normal spread ``sd``, both sides, and lapses."""
    from scipy.special import expit

    nodes, weights = np.polynomial.hermite_e.hermegauss(61)
    weights = weights / weights.sum()
    logits = np.asarray(intercept, float)[..., None, None] + sd * nodes[:, None]
    logits = logits + observers.side_bias * np.array([1.0, -1.0])  # (..., nodes, sides)
    attentive = np.einsum("...ns,n->...", expit(logits), weights) / 2
    return (1 - observers.lapse) * attentive + observers.lapse / 2


def solve_intercept(rate: float, sd: float, observers: Observers) -> float:
    """The intercept (logits) at which ``marginal_rate`` is ``rate``.

    Raises:
        SimulationError: if lapses leave no intercept that gives this rate.
    """
    from scipy.optimize import brentq

    low, high = observers.lapse / 2, 1 - observers.lapse / 2
    if not low < rate < high:
        raise SimulationError(
            f"a fool rate of {rate:g} cannot be: with {observers.lapse:g} lapses it lies between {low:g} and {high:g}; "
            "choose another rate, or fewer lapses"
        )
    return float(brentq(lambda a: float(marginal_rate(np.array(a), sd, observers)) - rate, -60, 60, xtol=1e-10))


@dataclass(frozen=True)
class Truth:
    """The intercept and the true fool rate of every (condition, pair)."""

    intercepts: dict[tuple[str, str], float]
    fool_rates: dict[tuple[str, str], float]

    def write_csv(self, path: Path) -> None:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["condition", "pair", "fool_rate"])
            writer.writerows([*key, f"{rate:.6f}"] for key, rate in self.fool_rates.items())


def draw_truth(
    pairs: dict[str, list[str]], fool_rates: dict[str, float], observers: Observers, rng: np.random.Generator
) -> Truth:
    """Pairs whose fool rates spread around their condition's, which is the rate for new people and new pictures.

    ``pairs``: the pair ids of each condition. A pair's deviation is its photo's, so it is the same in every condition.
    """
    ids = sorted({pair for listed in pairs.values() for pair in listed})
    deviations = dict(zip(ids, observers.pair_sd * rng.standard_normal(len(ids)), strict=True))
    intercepts = {}
    for condition, listed in pairs.items():
        spread = float(np.hypot(observers.pair_sd, observers.participant_sd))
        center = solve_intercept(fool_rates[condition], spread, observers)
        intercepts.update({(condition, pair): center + deviations[pair] for pair in listed})
    marginal = marginal_rate(np.array(list(intercepts.values())), observers.participant_sd, observers)
    return Truth(intercepts, dict(zip(intercepts, marginal.tolist(), strict=True)))


def read_truth(path: Path, pairs: dict[str, list[str]], observers: Observers) -> Truth:
    """True fool rates per pair from a CSV with the columns condition, pair, fool_rate.

    Raises:
        SimulationError: naming the line, or the pair that has no rate.
    """
    rates: dict[tuple[str, str], float] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                rates[row["condition"], row["pair"]] = float(row["fool_rate"])
    except OSError as error:
        raise SimulationError(f"{path} cannot be read ({error.strerror}); give a CSV of true fool rates") from error
    except (KeyError, TypeError, ValueError) as error:
        raise SimulationError(
            f"{path}: row {len(rates) + 2} is wrong ({error}); the columns are condition, pair, fool_rate"
        ) from error
    wanted = [(condition, pair) for condition, listed in pairs.items() for pair in listed]
    missing = [key for key in wanted if key not in rates]
    if missing:
        raise SimulationError(f"{path}: condition {missing[0][0]}, pair {missing[0][1]} has no fool rate; add a row")
    intercepts = {key: solve_intercept(rates[key], observers.participant_sd, observers) for key in wanted}
    return Truth(intercepts, {key: rates[key] for key in wanted})


def choose_side(
    logit: float,
    real_side: str,
    sides: tuple[str, str],
    exposure_ms: float | None,
    observers: Observers,
    rng: np.random.Generator,
) -> str:
    """The one of ``sides`` taken for real; of one picture, what it is said to be."""
    if rng.random() < observers.lapse or rng.random() >= observers.seen(exposure_ms):
        return str(rng.choice(sides))
    first, second = sides
    fake_side = second if real_side == first else first
    logit += observers.side_bias if fake_side == first else -observers.side_bias
    return fake_side if rng.random() < 1 / (1 + np.exp(-logit)) else real_side
