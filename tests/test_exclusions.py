"""Exclusions: each criterion of the plan, with the value that was found."""

import numpy as np
import pandas as pd
import pytest
from observers import simulate_table

from analysis.exclusions import (
    Exclusion,
    exclusions_in,
    find_exclusions,
    keep_counted,
    session_summary,
    undecidable,
)
from protocol.design import Analysis

TEXT = ["study", "session", "participant", "origin", "condition", "pair", "kind", "real_side", "chosen_side"]


@pytest.fixture
def table() -> pd.DataFrame:
    """Five sessions of 20 main trials: s001 is unfinished, s002 hurries, s003 always says left."""
    table = simulate_table(np.random.default_rng(1), {"cgan": -0.5}, n_participants=5)
    table = table.astype(dict.fromkeys(TEXT, object))
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


def test_sides_that_were_made_up_exclude_nobody_and_the_report_says_so(table: pd.DataFrame) -> None:
    plan = Analysis(max_one_side=0.9)
    summary = session_summary(table, sides_known=False)
    assert exclusions_in(summary, plan) == []
    assert undecidable(summary, plan) == [
        "The plan's criterion 'more than 90 % of the answers on one side' cannot be judged for 5 of the 5 sessions that "
        "count (the side chosen is not known): they were kept."
    ]
    others = session_summary(table).drop(columns="one_side")
    pd.testing.assert_frame_equal(summary.drop(columns="one_side"), others)


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


def test_the_plans_limit_of_catch_trials_takes_the_place_of_the_designs(table: pd.DataFrame) -> None:
    practice = table["kind"] == "practice"
    table.loc[practice, "kind"] = "catch"
    table.loc[practice, "chosen_side"] = table.loc[practice, "real_side"]
    first = table.index[practice & (table["session"] == "s004")][0]
    table.loc[first, "chosen_side"] = {"left": "right", "right": "left"}[table.loc[first, "real_side"]]
    strict = Analysis(max_catch_missed=0)
    assert find_exclusions(table, strict, max_missed=5) == [Exclusion("s004", "max_missed", 1.0)]
    assert find_exclusions(table, Analysis(max_catch_missed=1), max_missed=0) == []


def test_sessions_that_lose_the_focus_are_excluded_with_their_share(table: pd.DataFrame) -> None:
    table["focus_lost"] = np.where(table["chosen_side"].isna(), None, "false")
    lose_focus(table, "s000", 5)  # of 20 main trials
    lose_focus(table, "s001", 4)  # of 13 that were answered
    expected = [Exclusion("s000", "max_focus_lost", 0.25), Exclusion("s001", "max_focus_lost", 4 / 13)]
    assert find_exclusions(table, Analysis(max_focus_lost=0.2)) == expected
    assert find_exclusions(table, Analysis(max_focus_lost=0.25)) == expected[1:]  # the share itself is allowed
    flags = table.assign(focus_lost=table["focus_lost"].map({"true": True, "false": False}))
    assert find_exclusions(flags, Analysis(max_focus_lost=0.2)) == expected


def lose_focus(table: pd.DataFrame, session: str, n: int) -> None:
    """In practice too, which does not count."""
    mine = table["session"] == session
    table.loc[mine & (table["kind"] == "practice"), "focus_lost"] = "true"
    table.loc[table.index[mine & (table["kind"] == "main")][:n], "focus_lost"] = "true"


def test_sessions_with_late_frames_are_excluded_with_their_share(table: pd.DataFrame) -> None:
    table["late_frames"] = np.where(table["kind"] == "main", 0.0, 9.0)
    main = table.index[(table["session"] == "s004") & (table["kind"] == "main")]
    table.loc[main[:3], "late_frames"] = [1.0, 2.0, np.nan]
    assert find_exclusions(table, Analysis(max_late=0)) == [Exclusion("s004", "max_late", 2 / 19)]  # one is not known
    assert find_exclusions(table, Analysis(max_late=0.2)) == []


SCREENED = pd.DataFrame(
    {
        "session": ["s000", "s001", "s002", "s009"],
        "colour_vision.passed": ["true", "false", None, "false"],
        "colour_vision.correct": ["6", "3", None, "1"],
    }
)


def test_sessions_that_did_not_pass_the_plates_are_excluded_with_those_read(table: pd.DataFrame) -> None:
    plan = Analysis(exclude_colour_vision=True)
    assert find_exclusions(table, plan, sessions=SCREENED) == [Exclusion("s001", "exclude_colour_vision", 3.0)]
    assert find_exclusions(table, Analysis(), sessions=SCREENED) == []
    passed_only = SCREENED[["session", "colour_vision.passed"]]
    assert find_exclusions(table, plan, sessions=passed_only) == [Exclusion("s001", "exclude_colour_vision", 0.0)]


def test_every_criterion_finds_the_same_in_a_table_of_categories(table: pd.DataFrame) -> None:
    table["focus_lost"] = np.where(table["trial_index"] % 3 == 0, "true", "false")
    table.loc[table["kind"] == "practice", "kind"] = "catch"
    plan = Analysis(
        exclude_unfinished=True,
        min_median_rt_ms=200,
        max_one_side=0.9,
        max_catch_missed=0,
        max_focus_lost=0.3,
        max_late=0,
    )
    found = find_exclusions(table, plan)
    assert {one.criterion for one in found} == {
        *("exclude_unfinished", "min_median_rt_ms", "max_one_side", "max_missed", "max_focus_lost", "max_late")
    }
    as_categories = table.astype(dict.fromkeys([*TEXT, "focus_lost"], "category"))
    # As a reader numbers them: by first appearance, and others may have gone.
    order = [*dict.fromkeys(table["session"][::-1]), "gone"]
    as_categories["session"] = as_categories["session"].cat.set_categories(order)
    assert find_exclusions(as_categories, plan) == found
    assert session_summary(as_categories).equals(session_summary(table))


def test_what_the_data_cannot_decide_is_told(table: pd.DataFrame) -> None:
    answered = table[table["chosen_side"].notna()].assign(rt_ms=np.nan, late_frames=np.nan)
    plan = Analysis(
        exclude_unfinished=True,
        min_median_rt_ms=200,
        max_catch_missed=1,
        exclude_colour_vision=True,
        max_focus_lost=0.5,
    )
    told = undecidable(session_summary(answered, sessions=SCREENED), plan)
    assert [sentence.partition(" cannot be judged for ")[2] for sentence in told] == [
        "4 of the 4 sessions that count (nothing says how many trials they were to answer): they were kept.",
        "4 of the 4 sessions that count (no response time is known): they were kept.",
        "4 of the 4 sessions that count (no catch trial was answered): they were kept.",
        "3 of the 4 sessions that count (no result of the screening is known): they were kept.",
        "4 of the 4 sessions that count (nothing says whether the focus was lost): they were kept.",
    ]
    assert told[1].startswith("The plan's criterion 'a median response time below 200 ms' cannot be judged")
    answered.loc[answered["session"] != "s000", "rt_ms"] = 900.0
    (one,) = undecidable(session_summary(answered), Analysis(min_median_rt_ms=200))
    assert one.endswith(" 1 of the 5 sessions that count (no response time is known): it was kept.")
    assert (
        undecidable(session_summary(answered, 20), Analysis(exclude_unfinished=True)) == []
    )  # the design says how many
    assert undecidable(session_summary(table), Analysis(exclude_unfinished=True, max_late=0.1)) == []
    assert undecidable(session_summary(table), Analysis()) == []


def test_a_table_without_a_trial_has_nobody_to_exclude(table: pd.DataFrame) -> None:
    plan = Analysis(
        exclude_unfinished=True, min_median_rt_ms=1, max_one_side=0.9, max_late=0, exclude_colour_vision=True
    )
    assert find_exclusions(table.iloc[:0], plan, sessions=SCREENED) == []
    assert undecidable(session_summary(table.iloc[:0]), plan) == []
