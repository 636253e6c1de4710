"""The plan that a report applies, with what is post hoc in it, and what the fool rates owe to its criteria."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from observers import simulate_table

from analysis.exclusions import find_exclusions, keep_counted, session_summary
from analysis.fool_rate import counted_trials
from analysis.intervals import two_way
from analysis.plan import NOT_FIXED, AppliedPlan, Change, PlanError, apply_changes, read_plan, split_changes
from analysis.sensitivity import SensitivityRow, sensitivity
from protocol.design import Analysis, DesignError

FROZEN = Analysis.model_validate({**Analysis().model_dump(), "max_one_side": 0.9, "exclude_unfinished": True})


def test_a_frozen_plan_is_applied_as_it_is() -> None:
    applied = apply_changes(FROZEN, {}, "abc")
    assert (applied.plan, applied.changes, applied.frozen_sha256, applied.is_frozen) == (FROZEN, (), "abc", True)


def test_changes_of_a_frozen_plan_are_listed() -> None:
    changes = split_changes(["max_one_side=0.8", "exclude_unfinished=none", "max_late = 0.1", "level=0.9", "seed=7"])
    applied = apply_changes(FROZEN, changes, "abc")
    assert applied.changes == (
        Change("level", "0.95", "0.9"),
        Change("seed", "1", "7"),
        Change("exclude_unfinished", "true", "false"),
        Change("max_one_side", "0.9", "0.8"),
        Change("max_late", "none", "0.1"),
    )
    assert applied.plan == Analysis(level=0.9, seed=7, max_one_side=0.8, max_late=0.1)
    assert applied.frozen == FROZEN
    assert apply_changes(FROZEN, {"max_one_side": "none"}, "abc").plan.max_one_side is None


def test_the_designs_limit_of_catch_trials_was_fixed_too() -> None:
    changed = apply_changes(FROZEN, {"max_catch_missed": "3"}, "abc", max_missed=1)
    assert changed.changes == (Change("max_catch_missed", "1, by [catch]", "3"),)
    own = FROZEN.model_copy(update={"max_catch_missed": 2})
    assert apply_changes(own, {"max_catch_missed": "3"}, "abc", 1).changes == (Change("max_catch_missed", "2", "3"),)


def test_what_an_older_release_could_not_fix_is_told_where_it_has_an_effect() -> None:
    older = Analysis.model_validate({"level": 0.95, "seed": 1, "exclude_unfinished": True, "max_one_side": None})
    assert apply_changes(older, {}, "abc").changes == (Change("equivalence_margin", NOT_FIXED, "0.05"),)
    assert apply_changes(older, {"equivalence_margin": "0.05", "max_late": "0.1"}, "abc").changes == (
        Change("equivalence_margin", NOT_FIXED, "0.05"),
        Change("max_late", NOT_FIXED, "0.1"),
    )


def test_nothing_was_fixed_without_a_study() -> None:
    applied = apply_changes(Analysis(), {"max_one_side": "0.8"})
    assert (applied.is_frozen, applied.frozen, applied.frozen_sha256) == (False, None, None)
    assert applied.changes == (Change("max_one_side", NOT_FIXED, "0.8"),)
    assert apply_changes(Analysis(), {}).changes == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_onside=0.9", r"post hoc change: unknown key 'analysis\.max_onside'; did you mean 'max_one_side'"),
        (
            "max_one_side=90",
            r"post hoc change: analysis\.max_one_side: give a share above 0\.5, at most 1 \(found 90\)",
        ),
        ("max_one_side=nan", r"analysis\.max_one_side: give a share above 0\.5, at most 1 \(found nan\)"),
        ("level=none", r"analysis\.level: give a fraction above 0\.5, at most 0\.9999 \(found None\)"),
        ("level=true", r"analysis\.level: give a fraction above 0\.5, at most 0\.9999 \(found True\)"),
        ("seed=1.5", r"analysis\.seed: give a whole number, 0 or more \(found 1\.5\)"),
        ("seed=-1", r"analysis\.seed: give a whole number, 0 or more \(found -1\)"),
        ("exclude_unfinished=1", r"analysis\.exclude_unfinished: give true or false \(found 1\)"),
    ],
)
def test_changes_that_the_plan_does_not_take_are_told_by_key(text: str, message: str) -> None:
    with pytest.raises(DesignError, match=message):
        apply_changes(FROZEN, split_changes([text]), "abc")


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["max_one_side"], "'max_one_side' is no change of the plan; write KEY=VALUE, such as"),
        (["=0.9"], "'=0.9' is no change of the plan"),
        (["max_late=0.1", "max_late=0.2"], r"max_late is changed to 0\.1 and to 0\.2; give it once"),
        (["max_late=lots"], "max_late=lots gives no value; write a number, true, false or none"),
        (["max_one_side=0.9"], r"max_one_side is 0\.9 in the plan already; leave the change max_one_side=0\.9 out"),
        (["max_late=none"], "max_late is none in the plan already"),
    ],
)
def test_changes_that_are_none_are_refused(texts: list[str], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        apply_changes(FROZEN, split_changes(texts), "abc")


def test_a_plan_may_come_with_the_answers_and_is_not_frozen(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text('title = "of a study elsewhere"\n[analysis]\nmax_one_side = 0.8\nmax_late = 0.1\n')
    applied = read_plan(path)
    assert (applied.plan, applied.is_frozen) == (Analysis(max_one_side=0.8, max_late=0.1), False)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", PlanError, r"has no \[analysis\] table \(it is empty\); write the criteria under \[analysis\]"),
        ("[anlysis]\nlevel = 0.9", PlanError, r"has no \[analysis\] table \(found anlysis\)"),
        ("analysis = 3", PlanError, r"has no \[analysis\] table"),
        ("[analysis]\nlevl = 0.9", DesignError, r"plan\.toml: unknown key 'analysis\.levl'; did you mean 'level'"),
        ("[analysis", DesignError, "is not TOML"),
    ],
)
def test_a_file_without_a_plan_is_told(tmp_path: Path, text: str, error: type[Exception], message: str) -> None:
    (tmp_path / "plan.toml").write_text(text)
    with pytest.raises(error, match=message):
        read_plan(tmp_path / "plan.toml")


def test_a_plan_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        DesignError, match=r"cannot be read .*; give the path of a TOML file with an \[analysis\] table"
    ):
        read_plan(tmp_path / "plan.toml")


def rows_of(table: pd.DataFrame, applied: AppliedPlan, max_missed: int | None = None) -> dict[str, SensitivityRow]:
    rows = sensitivity(table, session_summary(table), applied, max_missed)
    by_label = {row.label: row for row in rows}
    assert len(by_label) == len(rows)
    return by_label


@pytest.fixture
def table() -> pd.DataFrame:
    """12 sessions of 8 pairs in two conditions: s001 is unfinished, s002 hurries, s003 says left always, s004 is late."""
    rng = np.random.default_rng(3)
    pairs = [f"pair{i}" for i in range(8)]
    table = simulate_table(rng, {"cgan": -0.5, "wgan": -1.5}, n_participants=12, pairs=pairs, n_practice=0)
    table = table.astype(dict.fromkeys(TEXT, object))
    mine = {f"s{i:03d}": table["session"] == f"s{i:03d}" for i in range(5)}
    table.loc[mine["s001"] & (table["trial_index"] >= 10), ["chosen_side", "rt_ms"]] = None
    table.loc[mine["s002"], "rt_ms"] = 250.0
    table.loc[mine["s003"], "chosen_side"] = "left"
    table["late_frames"] = np.where(mine["s004"] & (table["trial_index"] < 6), 3.0, 0.0)
    return table


def by_hand(table: pd.DataFrame, gone: set[str]) -> dict[str, tuple[float, float, float]]:
    """Fool rates and headline intervals from the trials of the other sessions."""
    found = {}
    for name, trials in counted_trials(table[~table["session"].isin(gone)]).groupby("condition"):
        interval = two_way(trials["fooled"], trials["participant"], trials["pair"], 0.9)
        found[str(name)] = (trials["fooled"].mean(), interval.low, interval.high)
    return found


def check(table: pd.DataFrame, row: SensitivityRow, gone: set[str]) -> None:
    expected = by_hand(table, gone)
    assert row.sessions_excluded == len(gone)
    assert row.rates.keys() == expected.keys()
    for name, rate in row.rates.items():
        assert rate == pytest.approx(expected[name], rel=1e-9), (row.label, name)


TEXT = ["study", "session", "participant", "origin", "condition", "pair", "kind", "real_side", "chosen_side"]
PLAN = Analysis(level=0.9, exclude_unfinished=True, min_median_rt_ms=300, max_one_side=0.9)


@pytest.mark.parametrize("n_times", [1, 2])
def test_every_row_is_what_its_criteria_leave(table: pd.DataFrame, n_times: int) -> None:
    if n_times == 2:  # everyone meets every picture twice: cells of two trials
        table = pd.concat([table, table.assign(trial_index=table["trial_index"] + 100)], ignore_index=True)
    rows = rows_of(table, apply_changes(PLAN, {}, "abc"))
    expected = {
        "no exclusion": set(),
        "only: not every main trial answered": {"s001"},
        "only: a median response time below 300 ms": {"s002"},
        "only: more than 90 % of the answers on one side": {"s003"},
        "the plan without: not every main trial answered": {"s002", "s003"},
        "the plan without: a median response time below 300 ms": {"s001", "s003"},
        "the plan without: more than 90 % of the answers on one side": {"s001", "s002"},
        "the plan": {"s001", "s002", "s003"},
        "not in the plan: late frames in more than 20 % of the trials": {"s001", "s002", "s003", "s004"},
    }
    assert list(rows) == list(expected)
    for label, gone in expected.items():
        check(table, rows[label], gone)
    assert [label for label, row in rows.items() if row.is_plan] == ["the plan"]
    assert [label for label, row in rows.items() if row.is_post_hoc] == [list(expected)[-1]]
    assert rows["the plan"].criteria == ("exclude_unfinished", "min_median_rt_ms", "max_one_side")


def test_the_plans_row_is_what_the_report_counts(table: pd.DataFrame) -> None:
    row = rows_of(table, apply_changes(PLAN, {}, "abc"))["the plan"]
    kept = counted_trials(keep_counted(table, find_exclusions(table, PLAN)))
    assert {name: rate[0] for name, rate in row.rates.items() if rate} == kept.groupby("condition")[
        "fooled"
    ].mean().to_dict()


def test_categories_and_text_give_the_same_rows(table: pd.DataFrame) -> None:
    as_categories = table.astype(dict.fromkeys(TEXT, "category"))
    applied = apply_changes(PLAN, {}, "abc")
    expected = rows_of(table, applied)
    for label, row in rows_of(as_categories, applied).items():
        assert row.sessions_excluded == expected[label].sessions_excluded
        for name, rate in row.rates.items():
            assert rate == pytest.approx(expected[label].rates[name], rel=1e-9)


def test_who_sat_twice_keeps_the_sitting_that_counts(table: pd.DataFrame) -> None:
    table["participant"] = table["participant"].replace({"p002": "p005"})
    rows = rows_of(table, apply_changes(PLAN, {}, "abc"))
    check(table, rows["only: a median response time below 300 ms"], {"s002"})
    check(table, rows["the plan"], {"s001", "s002", "s003"})


def test_one_criterion_is_the_plan_and_two_are_each_others_rest(table: pd.DataFrame) -> None:
    one = rows_of(table, apply_changes(Analysis(min_median_rt_ms=300), {}, "abc"))
    assert list(one)[:2] == ["no exclusion", "the plan: a median response time below 300 ms"]
    assert not [label for label in one if label.startswith(("only", "the plan without"))]
    two = rows_of(table, apply_changes(Analysis(min_median_rt_ms=300), {}, "abc"), max_missed=0)
    assert list(two)[:4] == [
        "no exclusion",
        "only: a median response time below 300 ms",
        "only: more than 0 catch trials missed",
        "the plan",
    ]


def test_a_plan_without_criteria_excludes_nobody_and_others_are_tried(table: pd.DataFrame) -> None:
    rows = rows_of(table, apply_changes(Analysis(level=0.9), {}, "abc"))
    assert (rows["no exclusion"].is_plan, rows["no exclusion"].is_post_hoc) == (True, False)
    assert list(rows)[1:] == [
        "not in the plan: not every main trial answered",
        "not in the plan: a median response time below 300 ms",
        "not in the plan: more than 90 % of the answers on one side",
        "not in the plan: late frames in more than 20 % of the trials",
    ]
    check(table, rows["not in the plan: late frames in more than 20 % of the trials"], {"s004"})


def test_what_was_changed_afterwards_is_marked_beside_the_frozen_plan(table: pd.DataFrame) -> None:
    rows = rows_of(table, apply_changes(PLAN, {"max_one_side": "none", "min_median_rt_ms": "200"}, "abc"))
    marks = {label: row.is_post_hoc for label, row in rows.items() if not label.startswith("not in")}
    assert marks == {
        "no exclusion": False,
        "only: not every main trial answered": False,
        "only: a median response time below 200 ms": True,
        "the plan": True,
        "the plan as it was frozen": False,
    }
    check(table, rows["the plan"], {"s001"})
    check(table, rows["the plan as it was frozen"], {"s001", "s002", "s003"})
    unfrozen = rows_of(table, apply_changes(PLAN, {}))
    assert unfrozen["the plan"].is_post_hoc
    assert "the plan as it was frozen" not in unfrozen


def test_conditions_of_which_nothing_is_left_have_no_rate(table: pd.DataFrame) -> None:
    table["rt_ms"] = 100.0
    rows = rows_of(table, apply_changes(PLAN, {}, "abc"))
    assert rows["the plan"].rates == {"cgan": None, "wgan": None}
    assert rows["the plan"].sessions_excluded == 12
    (only,) = sensitivity(table.iloc[:0], session_summary(table.iloc[:0]), apply_changes(Analysis(), {}))
    assert (only.rates, only.sessions_excluded, only.is_plan) == ({}, 0, True)


def test_one_picture_at_a_time_weighs_the_kinds_among_the_sessions_that_stay(table: pd.DataFrame) -> None:
    was_fooled = table["chosen_side"] != table["real_side"]
    is_real = (table["session"] == "s000") | (table["trial_index"] % 5 == 0)  # s000 saw photographs only
    table["real_side"] = np.where(is_real, "real", "fake")
    table["chosen_side"] = np.where(is_real ^ was_fooled, "real", "fake")
    table.loc[table["session"] == "s000", "rt_ms"] = 100.0
    rows = rows_of(table, apply_changes(Analysis(min_median_rt_ms=200), {}, "abc"))
    for label, stays in (("no exclusion", table["session"] != ""), (list(rows)[1], table["session"] != "s000")):
        for name, trials in counted_trials(table[stays]).groupby("condition"):
            of_both = trials["fooled"].groupby(trials["real_side"]).mean()
            assert rows[label].rates[str(name)][0] == pytest.approx(of_both.mean())
    assert rows[list(rows)[1]].sessions_excluded == 1


def test_sides_that_were_made_up_are_not_tried_as_a_criterion(table: pd.DataFrame) -> None:
    applied, label = apply_changes(Analysis(), {}), "not in the plan: more than 90 % of the answers on one side"
    assert label in rows_of(table, applied)
    rows = sensitivity(table, session_summary(table, sides_known=False), applied)
    assert label not in [row.label for row in rows]


def test_one_person_left_has_a_rate_and_no_interval(table: pd.DataFrame) -> None:
    table.loc[table["session"] != "s005", "rt_ms"] = 100.0
    rate = rows_of(table, apply_changes(PLAN, {}, "abc"))["the plan"].rates["cgan"]
    assert rate is not None
    assert rate[1:] == (0.0, 1.0)
