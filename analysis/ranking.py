"""A response table in; where conditions were shown against each other, how they rank by realism out (Bradley & Terry 1952)."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
import pandas as pd
from choix import ilsr_pairwise_dense
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.special import expit, stdtrit

from analysis.fool_rate import is_wrong
from analysis.intervals import ClusteredVariance, clustered_variance, codes
from protocol import InputError


@dataclass(frozen=True)
class Ability:
    """How real one condition looks beside the others, in logits: P(taken for real) = 1 / (1 + exp(other's - its ability)).

    The condition that comes first by name is the reference: its ability is 0 and has no error; the others' intervals are
    of the difference from it.

    Attributes:
        low: and ``high``: for new people and new pictures, clustered two-way; None with one participant or one photo.
        se_naive: of maximum likelihood, as if every trial were independent; for comparison with papers that report it.
        wins: trials in which this condition's picture was taken for real; ``losses``, in which the other's was.
    """

    condition: str
    ability: float
    low: float | None
    high: float | None
    se_naive: float
    wins: int
    losses: int


class RankingError(InputError):
    """Conditions that the trials cannot put in one order."""


def _duels(table: pd.DataFrame) -> pd.DataFrame:
    """The answered main trials of two conditions against each other."""
    if "against" not in table.columns:
        return table[:0]
    is_duel = table["against"].notna() & (table["against"] != "")
    return table[is_duel & (table["kind"] == "main") & table["chosen_side"].notna()]


def rank_conditions(table: pd.DataFrame, level: float = 0.95) -> tuple[Ability, ...]:
    """Every condition that was shown against another, the most real one first; nothing where none was.

    Maximum likelihood by choix (Maystre & Grossglauser 2015). Intervals: the trials' scores through the inverse of the
    information (White 1982), clustered on participants and photos, Student's t with min(J, K) - 1 degrees of freedom.

    Raises:
        RankingError: if a condition was shown against itself, or if some conditions have never been beaten by, or never
            met, the rest: then there is no finite ability (Ford 1957).
    """
    trials = _duels(table)
    if trials.empty:
        return ()
    names, winner, loser = _outcomes(trials)
    wins = np.bincount(winner * len(names) + loser, minlength=len(names) ** 2).reshape(2 * [len(names)]).astype(float)
    _check(wins, names)
    abilities = np.asarray(ilsr_pairwise_dense(wins, max_iter=10_000))
    abilities -= abilities[0]
    chance = expit(abilities[:, None] - abilities)  # (C, C), of the row against the column
    covariance = _inverse_information((wins + wins.T) * chance * chance.T)
    # A trial's score: 1 - P(what happened), for the winner and against the loser.
    pulls = (covariance[:, winner] - covariance[:, loser]) * (1 - chance[winner, loser])  # (C, trials)
    people, _ = codes(trials["participant"], len(trials), "participant")
    pictures, _ = codes(trials["pair"], len(trials), "pair")
    found = []
    for place, name in enumerate(names):
        low, high = _interval(float(abilities[place]), clustered_variance(pulls[place], people, pictures), level)
        se_naive = sqrt(covariance[place, place])
        won, lost = int(wins[place].sum()), int(wins[:, place].sum())
        found.append(Ability(name, float(abilities[place]), low, high, se_naive, won, lost))
    return tuple(sorted(found, key=lambda one: -one.ability))


def _outcomes(trials: pd.DataFrame) -> tuple[list[str], NDArray[np.intp], NDArray[np.intp]]:
    """The conditions by name, and per trial the place of the winner and of the loser among them."""
    sides = [pd.factorize(trials[of]) for of in ("condition", "against")]
    names = sorted({str(name) for _, labels in sides for name in labels})
    this, that = (np.array([names.index(str(name)) for name in labels])[places] for places, labels in sides)
    # The picture of ``condition`` was at ``real_side``, that of ``against`` at the other; the one taken for real wins.
    is_lost = is_wrong(trials)
    return names, np.where(is_lost, that, this), np.where(is_lost, this, that)


def _inverse_information(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Covariance of the abilities (C, C) from the information of every two conditions; 0 for the reference, the first."""
    information = np.diag(weights.sum(axis=0)) - weights
    covariance = np.zeros_like(information)
    covariance[1:, 1:] = np.linalg.inv(information[1:, 1:])
    return covariance


def _interval(ability: float, clusters: ClusteredVariance, level: float) -> tuple[float | None, float | None]:
    if clusters.n_units < 2:
        return None, None
    half = float(stdtrit(clusters.n_units - 1, (1 + level) / 2)) * sqrt(clusters.variance)
    return ability - half, ability + half


def _check(wins: NDArray[np.float64], names: list[str]) -> None:
    if wins.diagonal().any():
        itself = names[int(wins.diagonal().argmax())]
        raise RankingError(
            f"condition {itself}: {int(wins.diagonal().max())} trials show it against itself; "
            "name the other condition in column 'against'"
        )
    n_groups, group = connected_components(wins + wins.T > 0, directed=False)
    if n_groups > 1:
        apart, rest = (_listed(names, group == 0), _listed(names, group != 0))
        raise RankingError(
            f"{apart} and {rest} were never shown against each other, not even by way of others; rank them apart"
        )
    n_groups, group = connected_components(wins > 0, directed=True, connection="strong")
    for one in range(n_groups if n_groups > 1 else 0):
        is_inside = group == one
        if not wins[~is_inside][:, is_inside].any():
            raise RankingError(
                f"{_listed(names, is_inside)} won every trial against {_listed(names, ~is_inside)}: "
                "how far ahead cannot be said; collect more answers, or report the wins alone"
            )


def _listed(names: list[str], is_meant: NDArray[np.bool_]) -> str:
    return ", ".join(name for name, is_it in zip(names, is_meant, strict=True) if is_it)
