"""Ranking: abilities as published, two conditions as counted by hand, and simulated judges whose abilities are recovered."""

from itertools import combinations
from math import log

import numpy as np
import pandas as pd
import pytest
from observers import population_rate
from scipy.special import expit, logit

from analysis.intervals import two_way
from analysis.ranking import RankingError, rank_conditions

# Agresti 2002, Categorical Data Analysis, p. 438: American League East 1987, home team first: wins at home, wins of the guest.
BASEBALL = {
    "Milwaukee": {"Detroit": (4, 3), "Toronto": (4, 2), "New York": (4, 3), "Boston": (6, 1), "Cleveland": (4, 2), "Baltimore": (6, 0)},
    "Detroit": {"Milwaukee": (3, 3), "Toronto": (4, 2), "New York": (4, 3), "Boston": (6, 0), "Cleveland": (6, 1), "Baltimore": (4, 3)},
    "Toronto": {"Milwaukee": (2, 5), "Detroit": (4, 3), "New York": (2, 4), "Boston": (4, 3), "Cleveland": (4, 2), "Baltimore": (6, 0)},
    "New York": {"Milwaukee": (3, 3), "Detroit": (5, 1), "Toronto": (2, 5), "Boston": (4, 3), "Cleveland": (4, 2), "Baltimore": (6, 1)},
    "Boston": {"Milwaukee": (5, 1), "Detroit": (2, 5), "Toronto": (3, 3), "New York": (4, 2), "Cleveland": (5, 2), "Baltimore": (6, 0)},
    "Cleveland": {"Milwaukee": (2, 5), "Detroit": (3, 3), "Toronto": (3, 4), "New York": (4, 3), "Boston": (4, 2), "Baltimore": (2, 4)},
    "Baltimore": {"Milwaukee": (2, 5), "Detroit": (1, 5), "Toronto": (1, 6), "New York": (2, 4), "Boston": (1, 6), "Cleveland": (3, 4)},
}  # fmt: skip
# The same, p. 448 (Stigler 1994): citations of the first journal by the second, and of the second by the first.
CITATIONS = {
    "Biometrika": {"Comm Statist": (730, 33), "JASA": (498, 320), "JRSS-B": (221, 284)},
    "Comm Statist": {"JASA": (68, 813), "JRSS-B": (17, 276)},
    "JASA": {"JRSS-B": (142, 325)},
}
# Abilities and standard errors of R's BradleyTerry2 (BTm), without an effect of playing at home; then its deviance.
EXPECTED_BASEBALL = {
    "Milwaukee": (1.58135587665, 0.343255664026),
    "Detroit": (1.43640843181, 0.339568187482),
    "Toronto": (1.29448512391, 0.336669092693),
    "New York": (1.24761784513, 0.335860615785),
    "Boston": (1.10769770537, 0.333877908162),
    "Cleveland": (0.683852769153, 0.331876399144),
    "Baltimore": (0, 0),
}
EXPECTED_CITATIONS = {
    "JRSS-B": (0.268954055819, 0.0708299651057),
    "Biometrika": (0, 0),
    "JASA": (-0.479569769752, 0.0605887292396),
    "Comm Statist": (-2.94907249684, 0.10254533537),
}


def duels(
    condition: str, against: str, is_won: np.ndarray, participant: np.ndarray | int = 0, pair: np.ndarray | int = 0
) -> pd.DataFrame:
    """Answered main trials with the picture of condition left and right in turn; it is taken for real where it won."""
    sides = np.resize(["left", "right"], is_won.size)
    other = np.where(sides == "left", "right", "left")
    rows = {"kind": "main", "condition": condition, "against": against, "participant": participant, "pair": pair}
    return pd.DataFrame({**rows, "real_side": sides, "chosen_side": np.where(is_won, sides, other)})


def published(results: dict[str, dict[str, tuple[int, int]]]) -> pd.DataFrame:
    return pd.concat(
        duels(one, other, np.repeat([True, False], wins), np.arange(sum(wins)) % 3, np.arange(sum(wins)) % 2)
        for one, others in results.items()
        for other, wins in others.items()
    )


@pytest.mark.parametrize(
    ("results", "expected", "deviance"),
    [(BASEBALL, EXPECTED_BASEBALL, 44.0534612286), (CITATIONS, EXPECTED_CITATIONS, 4.29338396989)],
    ids=["baseball", "citations"],
)
def test_abilities_errors_and_deviance_are_as_published(
    results: dict[str, dict[str, tuple[int, int]]], expected: dict[str, tuple[float, float]], deviance: float
) -> None:
    ranked = rank_conditions(published(results))
    assert [one.condition for one in ranked] == list(expected)
    for one in ranked:
        assert (one.ability, one.se_naive) == pytest.approx(expected[one.condition], abs=1e-5)
    ability = {one.condition: one.ability for one in ranked}
    found = 0.0
    for one, others in results.items():
        for other, (won, lost) in others.items():
            p, n = expit(ability[one] - ability[other]), won + lost
            found += 2 * sum(k * log(k / (n * chance)) for k, chance in ((won, p), (lost, 1 - p)) if k)
    assert found == pytest.approx(deviance, abs=1e-4)


def test_wins_and_losses_are_counted_whichever_condition_is_named_first() -> None:
    # b is taken for real in 3 of 4 trials as condition and in 1 of 2 as the other side: 4 wins, 2 losses.
    table = pd.concat([duels("b", "a", np.array([1, 1, 1, 0]) > 0), duels("a", "b", np.array([1, 0]) > 0)])
    b, a = rank_conditions(table)
    assert (b.condition, b.wins, b.losses, a.condition, a.wins, a.losses) == ("b", 4, 2, "a", 2, 4)
    # Two conditions by hand: the odds are 4 to 2, and the variance of their logarithm is 1/4 + 1/2.
    assert (b.ability, b.se_naive**2) == (pytest.approx(log(2)), pytest.approx(0.75))
    assert (a.ability, a.low, a.high, a.se_naive) == (0, None, None, 0)  # one participant: nothing about others


def test_two_conditions_have_the_headline_interval_of_the_share_of_wins() -> None:
    rng = np.random.default_rng(12)
    people, pictures = np.indices((15, 20)).reshape(2, -1)
    is_won = rng.random(300) < expit(0.4 + rng.normal(0, 0.8, 15)[people] + rng.normal(0, 0.8, 20)[pictures])
    table = duels("b", "a", is_won, people, pictures)
    first, reference = rank_conditions(table, level=0.9)
    share = two_way(is_won, people, pictures, level=0.9)
    assert first.ability == pytest.approx(logit(is_won.mean()))
    assert (first.low, first.high) == (pytest.approx(logit(share.low)), pytest.approx(logit(share.high)))
    assert (reference.condition, reference.low, reference.high) == ("a", 0, 0)
    as_text = table.astype({"participant": str, "pair": str})
    categorical = as_text.astype(dict.fromkeys(as_text, "category"))
    assert rank_conditions(as_text, level=0.9) == rank_conditions(categorical, level=0.9)


def test_only_answered_main_trials_of_two_conditions_rank() -> None:
    table = duels("b", "a", np.array([1, 1, 0, 0, 0]) > 0)
    more = pd.concat(
        [
            table,
            table.assign(kind="practice"),
            table.assign(chosen_side=None),
            table.assign(against=None, condition="c"),
            table.assign(against="", condition="c"),
        ]
    )
    assert rank_conditions(more) == rank_conditions(table)
    assert rank_conditions(table.drop(columns="against")) == rank_conditions(table.assign(against="")) == ()


def test_simulated_judges_abilities_are_recovered_and_covered() -> None:
    # Judges and photos differ in how they take each condition, which the naive errors do not know. Averaged over both, the
    # odds between two conditions are those of the mean chance.
    rng, sd, names, runs = np.random.default_rng(31), 0.5, list("abcd"), 40
    means = np.array([0.0, 0.5, 1.0, -0.4])
    truth = {
        name: logit(population_rate(mean, sd * 2**0.5, sd * 2**0.5)) for name, mean in zip(names, means, strict=True)
    }
    people, pictures = np.indices((18, 24)).reshape(2, -1)
    covered, covered_naively, errors = [], [], []
    for _ in range(runs):
        realism = means + rng.normal(0, sd, (18, 4))[people] + rng.normal(0, sd, (24, 4))[pictures]
        tables = []
        for place, (one, other) in enumerate(combinations(range(4), 2)):
            shown = (people + pictures) % 6 == place  # each person judges each photo once
            is_won = rng.random(shown.sum()) < expit(realism[shown, one] - realism[shown, other])
            tables.append(duels(names[one], names[other], is_won, people[shown], pictures[shown]))
        for found in rank_conditions(pd.concat(tables)):
            if found.condition != "a":
                error = found.ability - truth[found.condition]
                errors.append(error)
                covered.append(found.low <= truth[found.condition] <= found.high)
                covered_naively.append(abs(error) <= 1.96 * found.se_naive)
    assert abs(np.mean(errors)) < 0.06
    assert np.mean(covered) >= 0.9
    assert np.mean(covered_naively) < 0.88


def test_what_cannot_be_ranked_is_said_by_name() -> None:
    won = np.array([1, 0]) > 0
    apart = pd.concat([duels("a", "b", won), duels("c", "d", won)])
    with pytest.raises(RankingError, match="^a, b and c, d were never shown against each other.*rank them apart$"):
        rank_conditions(apart)
    ahead = pd.concat([duels("a", "b", won), duels("b", "c", ~won[:1] | True), duels("a", "c", won[:1])])
    with pytest.raises(RankingError, match="^a, b won every trial against c: .*collect more answers"):
        rank_conditions(ahead)
    with pytest.raises(RankingError, match="condition c: 2 trials show it against itself; name the other condition"):
        rank_conditions(pd.concat([duels("a", "c", won), duels("c", "c", won)]))
