"""Trials of one condition in, their counts by participant, pair and cell out: all that the headline interval needs.

The same counts come out of a database by GROUP BY, so nothing here needs the trials themselves, or pandas.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logit

from analysis.intervals import (
    ClusteredVariance,
    Interval,
    cell_codes,
    codes,
    joined_variance,
    logit_t,
    one_way_logit_t,
    wilson,
)
from protocol.responses import SIDES

if TYPE_CHECKING:
    import pandas as pd

# Where the rate is this near to 0 or 1, and units are this few, their skew matters: see ``Margins.clusters``.
NEAR_THE_END, SKEWED_UNITS = 0.1, 30
_WHOLE = 1e-6  # a sum of weights this near to a whole number is one


@dataclass(frozen=True)
class Margins:
    """How many trials (``n``) and how many of them fooled, per participant (J,) and per pair (K,).

    Where one picture was shown at a time, trials weigh as ``kind_weights`` says: not all counts are whole then. Over the cells, participant and pair, only sums are kept: their number, and the sums of n², n·fooled and fooled².
    """

    participants: NDArray[np.object_]
    participant_n: NDArray[np.float64]
    participant_fooled: NDArray[np.float64]
    pairs: NDArray[np.object_]
    pair_n: NDArray[np.float64]
    pair_fooled: NDArray[np.float64]
    n_cells: int
    cell_nn: float
    cell_nk: float
    cell_kk: float

    @property
    def n(self) -> int:
        return round(float(self.participant_n.sum()))

    @property
    def fooled(self) -> float:
        """Whole but for weights."""
        fooled = float(self.participant_fooled.sum())
        return round(fooled) if abs(fooled - round(fooled)) < _WHOLE else fooled

    @property
    def rate(self) -> float:
        return self.fooled / self.n

    def clusters(self) -> ClusteredVariance:
        """The clustered variance of the rate: that of ``intervals.clustered_variance`` of the trials behind these counts.

        With at most 30 participants or pairs and a rate below .1 or above .9 a few units carry most of it, and the
        interval built on it, symmetric in logits, holds the truth in 92 % instead of 95 %. The two-way variance of the
        jackknife of logit r, leaving out each participant and each pair in turn (Efron & Stein 1981), is then taken if
        it is larger; it holds it in 93 to 94 %.
        """
        rate, n, m = self.rate, self.n, self.n_cells
        cells = self.cell_kk - 2 * rate * self.cell_nk + rate**2 * self.cell_nn
        by_cell = cells * m / (m - 1) / n**2 if m > 1 else float("nan")
        n_people, n_pairs = len(self.participant_n), len(self.pair_n)
        found = joined_variance(
            self._between(self.participant_n, self.participant_fooled),
            self._between(self.pair_n, self.pair_fooled),
            by_cell,
            n_people,
            n_pairs,
        )
        if not 1 < found.n_units <= SKEWED_UNITS or NEAR_THE_END <= rate <= 1 - NEAR_THE_END or rate in (0.0, 1.0):
            return found
        slope = rate * (1 - rate)
        left_out = self._jackknife(self.participant_n, self.participant_fooled) + self._jackknife(
            self.pair_n, self.pair_fooled
        )
        return ClusteredVariance(max(found.variance, left_out * slope**2 - by_cell), n_people, n_pairs)

    def _jackknife(self, n: NDArray[np.float64], fooled: NDArray[np.float64]) -> float:
        """Variance of logit r over units left out; a rate of 0 or 1 counts half an answer."""
        rest, half = (self.fooled - fooled) / (self.n - n), 0.5 / self.n
        logits = logit(np.clip(rest, half, 1 - half))
        return float(((logits - logits.mean()) ** 2).sum()) * (len(n) - 1) / len(n)

    def _between(self, n: NDArray[np.float64], fooled: NDArray[np.float64]) -> float:
        m, errors = len(n), fooled - n * self.rate
        return float(errors @ errors) * m / (m - 1) / self.n**2 if m > 1 else float("nan")

    def headline(self, level: float = 0.95) -> Interval:
        """For new people and new pictures: ``intervals.two_way``."""
        return logit_t(self.rate, self.clusters(), level)

    def participants_only(self, level: float = 0.95) -> Interval:
        """For new people and exactly these pictures: ``intervals.participants_only``."""
        variance = self._between(self.participant_n, self.participant_fooled)
        by_trial = self.rate * (1 - self.rate) / self.n
        return one_way_logit_t(self.rate, variance, by_trial, len(self.participant_n), level)

    def naive(self, level: float = 0.95) -> Interval:
        """Wilson's, as if every trial were independent."""
        return wilson(round(self.fooled), self.n, level)


def margins_of(trials: "pd.DataFrame") -> Margins:
    """Count a frame of at least one trial with the columns participant, pair and fooled, and real_side of one picture."""
    fooled = trials["fooled"].to_numpy(dtype=bool)
    return count_margins(fooled, trials["participant"], trials["pair"], trial_weights(trials))


def trial_weights(trials: "pd.DataFrame") -> NDArray[np.float64] | None:
    """Each trial's weight, (n,); None where all weigh the same, as wherever two pictures were shown."""
    if "real_side" not in trials or not trials["real_side"].isin(SIDES[2]).all():
        return None
    was_real = (trials["real_side"] == "real").to_numpy(dtype=bool)
    of_fake, of_real = kind_weights(int((~was_real).sum()), int(was_real.sum()))
    return None if of_fake == of_real else np.where(was_real, of_real, of_fake)


def kind_weights(n_fake: int, n_real: int) -> tuple[float, float]:
    """What a fake and a photograph weigh so that both kinds count half: the rate is then the mean of both error rates.

    Whoever calls everything real errs on half (HYPE, Zhou et al. 2019), however few photographs there were.
    """
    n = n_fake + n_real
    return (n / 2 / n_fake, n / 2 / n_real) if n_fake and n_real else (1.0, 1.0)


def count_margins(
    fooled: NDArray[np.bool_], participant: ArrayLike, pair: ArrayLike, weights: NDArray[np.float64] | None = None
) -> Margins:
    """Count trials, one entry each.

    Raises:
        ValueError: as ``intervals.codes``.
    """
    people, n_people = codes(participant, fooled.size, "participant")
    pictures, n_pictures = codes(pair, fooled.size, "pair")
    cells = cell_codes(people, pictures, n_pictures)
    if cells is None and weights is not None:
        cells = np.arange(fooled.size)
    n_cells = int(cells.max()) + 1 if cells is not None else fooled.size
    sums = _cell_sums(cells, fooled, weights) if cells is not None else (fooled.size, *[float(fooled.sum())] * 2)
    return Margins(
        *_counts(people, n_people, fooled, participant, weights),
        *_counts(pictures, n_pictures, fooled, pair, weights),
        n_cells,
        *sums,
    )


def _counts(
    units: NDArray[np.intp],
    n_units: int,
    fooled: NDArray[np.bool_],
    labels: ArrayLike,
    weights: NDArray[np.float64] | None,
) -> tuple[NDArray[np.object_], NDArray[np.float64], NDArray[np.float64]]:
    """Label, trials and fooled trials of every unit that has a trial."""
    n = np.bincount(units, weights=weights, minlength=n_units).astype(float)
    k = np.bincount(units, weights=fooled if weights is None else fooled * weights, minlength=n_units).astype(float)
    present = np.flatnonzero(n)
    if hasattr(labels, "cat"):
        names = np.asarray(labels.cat.categories, dtype=object)[present]
    else:
        one_of_each = np.empty(n_units, dtype=np.intp)
        one_of_each[units] = np.arange(units.size)
        names = np.asarray(labels, dtype=object)[one_of_each[present]]
    return names, n[present], k[present]


def _cell_sums(
    cells: NDArray[np.intp], fooled: NDArray[np.bool_], weights: NDArray[np.float64] | None
) -> tuple[float, float, float]:
    n = np.bincount(cells, weights=weights).astype(float)
    k = np.bincount(cells, weights=fooled if weights is None else fooled * weights).astype(float)
    return float(n @ n), float(n @ k), float(k @ k)
