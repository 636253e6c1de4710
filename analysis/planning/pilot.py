"""Trials of a pilot in; its fool rate, and how much people and pictures differ, with how roughly it can tell, out."""

from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
import pandas as pd
from scipy.special import chdtri

from analysis.components import VarianceComponents, variance_components
from analysis.margins import Margins, margins_of
from analysis.planning.simulated_counts import Assumptions, PlanError

_TAIL = 0.1  # on either side: 80 % intervals, as far as a pilot is trusted
_MAX_SD = 3.0  # logits; beyond what planning is for
Spread = tuple[float, float, float]  # estimate, low, high, in logits


@dataclass(frozen=True)
class Pilot:
    """What a pilot says, averaged over its conditions. Spreads are standard deviations in logits: estimate, low, high."""

    fool_rate: float
    participants: Spread
    pairs: Spread
    n_participants: int
    n_pairs: int
    n_trials: int
    is_simulated: bool

    def assumed(self, given: Assumptions, which: int) -> Assumptions:
        """``given`` with the spreads at their low ends (1) or high ends (2), but for those that are not the pilot's estimate."""
        people, pairs = given.participant_sd, given.pair_sd
        return replace(
            given,
            participant_sd=self.participants[which] if people == self.participants[0] else people,
            pair_sd=self.pairs[which] if pairs == self.pairs[0] else pairs,
        )


def read_pilot(trials: pd.DataFrame) -> Pilot:
    """A pilot from its counted trials.

    Raises:
        PlanError: if they cannot tell people from pictures, or everyone was right, or wrong.
    """
    if not len(trials):
        raise PlanError("the pilot has no answered main trial; give one that has, or --participant-sd and --pair-sd")
    rates, people, pictures = [], [], []
    for name, of_condition in trials.groupby("condition", observed=True):
        margins = margins_of(of_condition)
        found = variance_components(margins)
        if found is None or margins.rate in (0.0, 1.0):
            why = "too few answers to tell people from pictures" if found is None else "only answers of one kind"
            raise PlanError(
                f"the pilot's condition {name} has {why}; ask more people about more pairs, or give --participant-sd and "
                "--pair-sd"
            )
        rates.append(margins.rate)
        for_people, for_pictures = _spreads(margins, found)
        people.append(for_people)
        pictures.append(for_pictures)
    return Pilot(
        fool_rate=float(np.mean(rates)),
        participants=_together(people),
        pairs=_together(pictures),
        n_participants=int(trials["participant"].nunique()),
        n_pairs=int(trials["pair"].nunique()),
        n_trials=len(trials),
        is_simulated=set(trials["origin"]) == {"simulated"},
    )


def _together(spreads: list[Spread]) -> Spread:
    """Variances averaged; the ends, too, as if the conditions told the same (they share people or pictures)."""
    estimate, low, high = (float(np.sqrt(np.mean(np.square(one)))) for one in zip(*spreads, strict=True))
    return estimate, low, high


def _spreads(margins: Margins, found: VarianceComponents) -> tuple[Spread, Spread]:
    """Of participants and of pairs."""
    n_participants, n_pairs = len(margins.participant_n), len(margins.pair_n)
    per_participant, per_pair = (1 / float(np.mean(1 / n)) for n in (margins.participant_n, margins.pair_n))
    # A participant's rate varies with the pairs drawn for them, but not where everyone sees all.
    of_person = found.residual / per_participant + found.pair * max(1 / per_participant - 1 / n_pairs, 0)
    of_picture = found.residual / per_pair + found.participant * max(1 / per_pair - 1 / n_participants, 0)
    return (
        _spread(found.participant, of_person, n_participants, found.participant_sd_logit, margins.rate),
        _spread(found.pair, of_picture, n_pairs, found.pair_sd_logit, margins.rate),
    )


def _spread(variance: float, noise: float, n: int, sd_logit: float, rate: float) -> Spread:
    """The standard deviation in logits, and the ends of its interval: chi-square for the n rates' variance, less its noise.

    In the manner of Tukey (1951) and Williams (1962), who do so for balanced normal data.
    """
    observed, df = variance + noise, n - 1
    low, high = (max(observed * df / float(chdtri(df, tail)) - noise, 0.0) for tail in (_TAIL, 1 - _TAIL))
    slope = sqrt(variance) / sd_logit if sd_logit > 0 else rate * (1 - rate)
    return min(sd_logit, _MAX_SD), min(sqrt(low) / slope, _MAX_SD), min(sqrt(high) / slope, _MAX_SD)
