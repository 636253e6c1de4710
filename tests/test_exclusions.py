"""Exclusions: each criterion of the plan, with the value that was found."""

import numpy as np
import pandas as pd
import pytest
from observers import simulate_table

from analysis.exclusions import Exclusion, find_exclusions, keep_counted, session_summary
from protocol.design import Analysis


@pytest.fixture
def table() -> pd.DataFrame:
    """Five sessions of 20 main trials: s001 is unfinished, s002 hurries, s003 always says left."""
    table = simulate_table(np.random.default_rng(1), {"cgan": -0.5}, n_participants=5)
    is_main = table["kind"] == "main"
    late = is_main & (table["session"] == "s001") & (table["trial_index"] >= 15)  # after 2 practice and 13 main trials
    table.loc[late, ["chosen_side", "rt_ms"]] = None
    table.loc[is_main & (table["session"] == "s002"), "rt_ms"] = np.linspace(100, 290, 20)  # median 195
    table.loc[is_main & (table["session"] == "s003"), "chosen_side"] = "left"
    return table


def test_the_default_plan_excludes_nobody(table: pd.DataFrame) -> None:
    assert find_exclusions(table, Analysis()) == []


def test_unfinished_sessions_are_excluded_with_the_answers_they_gave(table: pd.DataFrame) -> None:
    assert find_exclusions(table, Analysis(exclude_unfinished=True)) == [Exclusion("s001", "exclude_unfinished", 13.0)]


def test_a_session_that_stopped_early_is_unfinished_by_the_design(table: pd.DataFrame) -> None:
    plan, shown = Analysis(exclude_unfinished=True), table[table["chosen_side"].notna()]
    assert find_exclusions(shown, plan) == []  # nothing in the table says that there should be more
    assert find_exclusions(shown, plan, main_trials=20) == [Exclusion("s001", "exclude_unfinished", 13.0)]


def test_hurried_sessions_are_excluded_with_their_median(table: pd.DataFrame) -> None:
    assert find_exclusions(table, Analysis(min_median_rt_ms=200)) == [Exclusion("s002", "min_median_rt_ms", 195.0)]
    assert find_exclusions(table, Analysis(min_median_rt_ms=195)) == []  # the minimum itself is allowed


def test_one_sided_sessions_are_excluded_with_their_share(table: pd.DataFrame) -> None:
    assert find_exclusions(table, Analysis(max_one_side=0.9)) == [Exclusion("s003", "max_one_side", 1.0)]
    assert find_exclusions(table, Analysis(max_one_side=1.0)) == []
    rightward = table.assign(chosen_side=table["chosen_side"].map({"left": "right", "right": "left"}))
    assert find_exclusions(rightward, Analysis(max_one_side=0.9)) == [Exclusion("s003", "max_one_side", 1.0)]


def test_a_session_may_fail_several_criteria(table: pd.DataFrame) -> None:
    table.loc[table["session"] == "s003", "rt_ms"] = 50.0
    found = find_exclusions(table, Analysis(exclude_unfinished=True, min_median_rt_ms=200, max_one_side=0.9))
    assert [(one.session, one.criterion) for one in found] == [
        ("s001", "exclude_unfinished"),
        ("s002", "min_median_rt_ms"),
        ("s003", "max_one_side"),
        ("s003", "min_median_rt_ms"),
    ]


def test_practice_excludes_nobody(table: pd.DataFrame) -> None:
    practice = table["kind"] == "practice"
    table.loc[practice, "rt_ms"] = 1.0
    table.loc[practice, "chosen_side"] = None
    plan = Analysis(exclude_unfinished=True, min_median_rt_ms=200, max_one_side=0.9)
    assert {one.session for one in find_exclusions(table, plan)} == {"s001", "s002", "s003"}


def test_a_session_without_an_answer_is_unfinished_and_nothing_else(table: pd.DataFrame) -> None:
    silent = table[table["session"] == "s000"].assign(chosen_side=None, rt_ms=np.nan)
    plan = Analysis(exclude_unfinished=True, min_median_rt_ms=200, max_one_side=0.9)
    assert find_exclusions(silent, plan) == [Exclusion("s000", "exclude_unfinished", 0.0)]


def test_keeping_counted_sessions_deletes_nothing(table: pd.DataFrame) -> None:
    before = table.copy()
    kept = keep_counted(table, [Exclusion("s001", "exclude_unfinished", 13.0)])
    assert set(kept["session"]) == {"s000", "s002", "s003", "s004"}
    pd.testing.assert_frame_equal(table, before)


def test_summary_says_what_each_session_did(table: pd.DataFrame) -> None:
    summary = session_summary(table)
    assert summary.loc["s001", ["shown", "answered", "finished"]].tolist() == [20, 13, False]
    assert summary.loc["s000", ["shown", "answered", "finished"]].tolist() == [20, 20, True]
    assert (summary["one_side"] >= 0.5).all()


def test_sessions_that_miss_more_catch_trials_than_the_design_allows_are_excluded(table: pd.DataFrame) -> None:
    catch = table["kind"] == "practice"  # each session's two practice trials, as if they were catch trials
    table.loc[catch, ["kind", "chosen_side"]] = ["catch", None]
    seen = {"s000": 0, "s001": 1, "s002": 2}  # how many were missed; the others left theirs unanswered
    for session, missed in seen.items():
        mine = table.index[catch & (table["session"] == session)]
        for i, index in enumerate(mine):
            real = table.loc[index, "real_side"]
            table.loc[index, "chosen_side"] = real if i >= missed else {"left": "right", "right": "left"}[real]
    assert find_exclusions(table, Analysis()) == []
    assert find_exclusions(table, Analysis(), max_missed=1) == [Exclusion("s002", "max_missed", 2.0)]
    assert [one.session for one in find_exclusions(table, Analysis(), max_missed=0)] == ["s001", "s002"]
