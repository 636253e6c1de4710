"""The table of all trials in; what catch trials say about attention, and repeats about consistency, out."""

from dataclasses import dataclass

import pandas as pd

from analysis.fool_rate import is_wrong
from analysis.intervals import participants_only


@dataclass(frozen=True)
class CatchRate:
    """Answered catch trials and those missed; the interval is for new people.

    ``lapse`` is the share of trials without attention: who does not look still guesses right half the time, so twice the
    error rate, at most 1.
    """

    n: int
    missed: int
    error_rate: float
    low: float
    high: float
    lapse: float


@dataclass(frozen=True)
class Consistency:
    """Repeats, and the share in which the same picture was taken for real as the first time; interval for new people.

    ``kappa`` is the agreement beyond that of unrelated answers (Cohen 1960): right answers agree by nature. None where
    all answers are alike.
    """

    n: int
    agreement: float
    low: float
    high: float
    kappa: float | None


def catch_rate(table: pd.DataFrame, level: float = 0.95) -> CatchRate | None:
    """None without an answered catch trial."""
    catch = table[(table["kind"] == "catch") & table["chosen_side"].notna()]
    if catch.empty:
        return None
    missed = is_wrong(catch)
    interval = participants_only(missed, catch["participant"], level)
    rate = float(missed.mean())
    return CatchRate(len(catch), int(missed.sum()), rate, interval.low, interval.high, min(1.0, 2 * rate))


def consistency(table: pd.DataFrame, level: float = 0.95) -> Consistency | None:
    """None without an answered repeat of an answered trial, or where the table does not say what it repeats."""
    if "repeat_of" not in table:
        return None
    repeats = table[(table["kind"] == "repeat") & table["chosen_side"].notna()]
    if repeats.empty:
        return None
    once = table[table["chosen_side"].notna() & table["session"].isin(repeats["session"].unique())]
    first = once.assign(wrong=is_wrong(once))[["session", "trial_index", "wrong"]]
    again = repeats.assign(wrong=is_wrong(repeats), repeat_of=pd.to_numeric(repeats["repeat_of"]).astype(float))
    both = again.merge(first, left_on=["session", "repeat_of"], right_on=["session", "trial_index"])
    if both.empty:
        return None
    agree = (both["wrong_x"] == both["wrong_y"]).to_numpy(dtype=float)
    interval = participants_only(agree, both["participant"], level)
    found = float(agree.mean())
    return Consistency(len(both), found, interval.low, interval.high, _kappa(found, both["wrong_x"], both["wrong_y"]))


def _kappa(agreement: float, a: pd.Series, b: pd.Series) -> float | None:
    expected = float(a.mean() * b.mean() + (1 - a.mean()) * (1 - b.mean()))
    return (agreement - expected) / (1 - expected) if expected < 1 else None
