"""A response table and the plan fixed beforehand in; which sessions do not count, and why, out. Nothing is deleted."""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from analysis.fool_rate import chose_first_side
from protocol.design import Analysis


@dataclass(frozen=True)
class Exclusion:
    """One criterion that one session failed, and the value found; a session may fail several.

    ``value`` is main trials answered (exclude_unfinished), milliseconds (min_median_rt_ms), the share of answers on
    the side taken more often (max_one_side) or catch trials missed (max_missed).
    """

    session: str
    criterion: str
    value: float


def find_exclusions(
    table: pd.DataFrame, plan: Analysis, main_trials: int | None = None, max_missed: int | None = None
) -> list[Exclusion]:
    """Every criterion of the plan that a session fails, by session. Main trials decide; practice never does.

    ``main_trials`` is the number that the design gives each session; without it, a session is unfinished when one of
    its main trials in the table has no answer. ``max_missed`` is how many catch trials the design lets a session miss.
    """
    sessions = session_summary(table, main_trials)
    return sorted(_failures(sessions, plan, max_missed), key=lambda exclusion: (exclusion.session, exclusion.criterion))


def _failures(sessions: pd.DataFrame, plan: Analysis, max_missed: int | None) -> Iterator[Exclusion]:
    failed = {}
    if plan.exclude_unfinished:
        failed["exclude_unfinished"] = sessions.loc[~sessions["finished"], "answered"]
    # A session without an answer has no median and no side (NaN), and nothing to exclude.
    if plan.min_median_rt_ms is not None:
        failed["min_median_rt_ms"] = sessions.loc[sessions["median_rt_ms"] < plan.min_median_rt_ms, "median_rt_ms"]
    if plan.max_one_side is not None:
        failed["max_one_side"] = sessions.loc[sessions["one_side"] > plan.max_one_side, "one_side"]
    if max_missed is not None:
        failed["max_missed"] = sessions.loc[sessions["missed"] > max_missed, "missed"]
    for criterion, values in failed.items():
        for session, value in values.items():
            yield Exclusion(str(session), criterion, float(value))


def session_summary(table: pd.DataFrame, main_trials: int | None = None) -> pd.DataFrame:
    """One row per session: ``shown`` and ``answered`` main trials, catch trials ``missed``, ``finished``, ``median_rt_ms``, ``one_side``."""
    main = table[table["kind"] == "main"]
    answered = main[main["chosen_side"].notna()]
    catch = table[(table["kind"] == "catch") & table["chosen_side"].notna()]
    first_share = chose_first_side(answered).groupby(answered["session"]).mean()
    summary = pd.DataFrame(index=pd.Index(sorted(set(table["session"])), name="session", dtype=str))
    summary["shown"] = main.groupby("session").size()
    summary["answered"] = answered.groupby("session").size()
    summary["missed"] = (catch["chosen_side"] != catch["real_side"]).groupby(catch["session"]).sum()
    summary = summary.fillna(0).astype(int)
    expected = summary["shown"] if main_trials is None else summary["shown"].clip(lower=main_trials)
    summary["finished"] = (summary["answered"] >= expected) & (summary["answered"] > 0)
    summary["median_rt_ms"] = answered.groupby("session")["rt_ms"].median()
    summary["one_side"] = first_share.where(first_share >= 0.5, 1 - first_share)
    return summary


def keep_counted(table: pd.DataFrame, exclusions: list[Exclusion]) -> pd.DataFrame:
    """The rows of the sessions that no exclusion names."""
    return table[~table["session"].isin({exclusion.session for exclusion in exclusions})]
