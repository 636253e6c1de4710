"""A rate and its clustered variance in; whether it differs from guessing, and whether it is as good as guessing, out."""

from dataclasses import dataclass
from math import isfinite, sqrt

from scipy.special import logit, stdtr
from scipy.stats import binomtest

from analysis.intervals import ClusteredVariance


@dataclass(frozen=True)
class HalfTest:
    """Fool rate against 50 %. None: the trials cannot say.

    ``p_value`` is two-sided and agrees with the headline interval; ``p_equivalent`` is the larger of two one-sided tests (Schuirmann
    1987): small where the rate for new people and new pictures lies within ``margin`` of .5.
    """

    p_value: float | None
    margin: float
    p_equivalent: float | None


def against_half(rate: float, clusters: ClusteredVariance, margin: float) -> HalfTest:
    """Student's t on the logit scale, as the headline interval; exact for as many trials as units at a rate of 0 or 1."""
    n = clusters.n_units
    if rate in (0.0, 1.0):
        exact = binomtest(round(rate * n), n, 0.5).pvalue
        return HalfTest(float(exact), margin, exact_equivalence(round(rate * n), n, margin))
    if n < 2 or not isfinite(clusters.variance):
        return HalfTest(None, margin, None)
    error = sqrt(clusters.variance) / (rate * (1 - rate))
    below, above = (_upper_tail(logit(0.5 + side * margin), rate, error, n - 1) for side in (-1, 1))
    two_sided = 2 * min(_upper_tail(0.0, rate, error, n - 1), 1 - _upper_tail(0.0, rate, error, n - 1))
    return HalfTest(two_sided, margin, max(below, 1 - above))


def _upper_tail(null: float, rate: float, error: float, df: int) -> float:
    """Probability of a rate as high or higher if the truth were ``null`` (in logits)."""
    return float(stdtr(df, (null - logit(rate)) / error))


def exact_equivalence(k: int, n: int, margin: float) -> float:
    """The larger p of two exact one-sided binomial tests, of k in n against .5 - margin and .5 + margin."""
    above = binomtest(k, n, 0.5 - margin, alternative="greater").pvalue
    below = binomtest(k, n, 0.5 + margin, alternative="less").pvalue
    return float(max(above, below))
