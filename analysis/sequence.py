"""Participants' means in the order in which they finished in, an interval that may be looked at after each of them out.

An ordinary interval holds for one look at the end. This one holds at all times together, so that a study may be watched,
and stopped, because of what it shows. It covers the mean over new participants on *these* pictures; pictures it takes as
they are, so it says nothing about new ones, however many participants come.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Bounds are found among the thousandths, and rounded outwards.
_STEPS = 1000
# A bet risks at most this share of the capital, one that Waudby-Smith & Ramdas (2023) suggest.
_MOST = 0.5
_AT_ONCE = 2_000_000  # capitals in memory at a time


@dataclass(frozen=True)
class Watched:
    """Where the sequence stands after ``n`` participants; before the first it is 0 to 1."""

    low: float
    high: float
    n: int
    level: float

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2


def latest(means: ArrayLike, level: float = 0.95) -> Watched:
    """The last interval of ``confidence_sequence``; raises as it does."""
    low, high = confidence_sequence(means, level)
    return Watched(float(low[-1]), float(high[-1]), low.size, level) if low.size else Watched(0.0, 1.0, 0, level)


def confidence_sequence(means: ArrayLike, level: float = 0.95) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper bound after each participant, (n,) each; intervals only ever become narrower.

    A gambler bets against each candidate mean m: on higher means with one half of the capital, on lower ones with the
    other. Whoever bets on independent values of mean m multiplies either half by 2/(1 - level) with a probability of at
    most (1 - level)/2, ever (Ville 1939); candidates against which a half has grown so far are out for good. Hedged
    capital process with predictable plug-in bets, running intersection (Waudby-Smith & Ramdas 2023, JRSS-B).

    ``means``: each participant's share of answers that were fooled, in [0, 1], in the order of completion. Should every
    candidate be out, which is improbable unless the rate drifts, the last interval stands.

    Raises:
        ValueError: if a mean is outside [0, 1] or the level is outside (0, 1).
    """
    values = np.asarray(means, dtype=float).ravel()
    bad = ~((values >= 0) & (values <= 1))
    if bad.any():
        raise ValueError(f"mean {bad.argmax()} is {values[bad.argmax()]}; give fractions between 0 and 1")
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; give a fraction between 0 and 1, such as 0.95")
    bets = _bets(values, level)
    low = _steps_won(values, bets, level) / _STEPS
    high = (_STEPS - _steps_won(1 - values, bets, level)) / _STEPS
    n_sound = int(np.count_nonzero(low <= high))  # bounds never come apart again once they have crossed
    low[n_sound:], high[n_sound:] = low[n_sound - 1 : n_sound], high[n_sound - 1 : n_sound]
    return low, high


def _bets(values: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    """(n,): how much to stake on each value, from the spread of those before it alone."""
    t = np.arange(1, values.size + 1)
    centre = (0.5 + np.cumsum(values)) / (t + 1)
    spread = (0.25 + np.cumsum((values - centre) ** 2)) / (t + 1)
    before = np.concatenate(([0.25], spread))[: values.size]
    return np.sqrt(2 * np.log(2 / (1 - level)) / (before * t * np.log1p(t)))


def _steps_won(values: NDArray[np.float64], bets: NDArray[np.float64], level: float) -> NDArray[np.int64]:
    """(n,): against how many candidates, the smallest first, bets on higher means have paid after each value."""
    candidates = np.arange(1, _STEPS) / _STEPS
    n_out = np.zeros(values.size, dtype=np.int64)
    for block in np.array_split(candidates, max(1, candidates.size * values.size // _AT_ONCE)):
        reached = log_capital(values, bets, block) >= np.log(2 / (1 - level))  # (candidates, n)
        n_out += np.logical_or.accumulate(reached, axis=1).sum(axis=0)
    return n_out


def log_capital(
    values: NDArray[np.float64], bets: NDArray[np.float64], candidates: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(candidates, n): log of what 1 has become by betting on means higher than each candidate, after each value."""
    m = candidates[:, None]
    stakes = np.minimum(bets, _MOST / m)
    return np.cumsum(np.log1p(stakes * (values - m)), axis=1)
