"""Findings in, the tables of the data behind them out: how people and trials were lost, what that changes, and how good the answers are."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from analysis.exclusions import criteria_of, in_words
from analysis.findings import Findings
from analysis.flow import Flow
from analysis.writing.latex import Table, count, shown, text
from analysis.writing.wording import number, percent, span

_STAGES = {
    "refusals": "people who declined",
    "participants": "participants",
    "sessions": "sessions",
    "sessions_finished": "sessions finished",
    "sessions_excluded": "sessions excluded",
    "participants_counted": "participants counted",
    "trials_shown": "main trials shown",
    "trials_unanswered": "main trials without an answer",
    "trials_excluded": "answers in excluded sessions",
    "trials_counted": "answers counted",
    "rows_unusable": "rows that could not be used",
}


def data_tables(findings: Findings) -> Iterator[Table]:
    yield _flow(findings)
    yield Table(
        "exclusions",
        "Sessions left out, with every criterion that each failed.",
        ("session", "criterion", "value"),
        tuple(asdict(one) for one in findings.exclusions),
        (text("session", "Session"), text("criterion", "Criterion"), shown("Value", lambda row: f"{row['value']:.4g}")),
    )
    yield _sensitivity(findings)
    yield _quality(findings)


def _flow(findings: Findings) -> Table:
    return Table(
        "flow",
        "How many people and trials there were, and how many are left to count. A session may fail several criteria.",
        ("stage", "n"),
        tuple({"stage": stage, "n": n} for stage, n in _stages(findings, findings.flow)),
        (text("stage", "Stage"), count("n", "Number")),
    )


def _stages(findings: Findings, flow: Flow) -> Iterator[tuple[str, int]]:
    failed = [one.criterion for one in findings.exclusions]
    for name, words in _STAGES.items():
        n = getattr(flow, name)
        if n is not None:
            yield words, n
        if name == "sessions_finished":
            yield from ((f"sessions that ended as {outcome}", n) for outcome, n in flow.outcomes.items())
        if name == "sessions_excluded":
            for criterion, limit in criteria_of(findings.plan, findings.max_missed).items():
                yield f"sessions with {in_words(criterion, limit)}", failed.count(criterion)


def _sensitivity(findings: Findings) -> Table:
    """A row per choice of criteria and condition; the same numbers as in report.json, flat."""
    rows: list[dict[str, Any]] = []
    for choice in findings.sensitivity:
        of_choice = {
            "criteria": choice.label,
            "is_plan": choice.is_plan,
            "is_post_hoc": choice.is_post_hoc,
            "sessions_excluded": choice.sessions_excluded,
        }
        for condition, found in choice.rates.items():
            rate, low, high = found or (None, None, None)
            rows.append({**of_choice, "condition": condition, "fool_rate": rate, "low": low, "high": high})
    return Table(
        "sensitivity",
        f"The fool rate under other choices of exclusion criteria. Intervals ({percent(findings.plan.level)}) are for new people "
        "and new pictures.",
        ("criteria", "is_plan", "is_post_hoc", "sessions_excluded", "condition", "fool_rate", "low", "high"),
        tuple(rows),
        (
            ("Sessions left out", lambda row: row["criteria"] + (" (post hoc)" if row["is_post_hoc"] else ""), True),
            count("sessions_excluded", "Number"),
            text("condition", "Condition"),
            shown("Fool rate", lambda row: percent(row["fool_rate"], 1)),
            shown("Interval", lambda row: span(row["low"], row["high"])),
        ),
    )


def _quality(findings: Findings) -> Table:
    columns = ("measure", "value", "low", "high", "n")
    return Table(
        "data_quality",
        "How good the answers are; rates are fractions, times milliseconds. Answered right: all sessions before exclusions; "
        "the rest: the sessions that count.",
        columns,
        tuple(dict(zip(columns, row, strict=True)) for row in _qualities(findings)),
        (
            text("measure", "Measure"),
            *(shown(key.capitalize(), lambda row, key=key: _fitting(row[key])) for key in ("value", "low", "high")),  # type: ignore[misc]
            count("n", "Number"),
        ),
    )


def _fitting(value: float | None) -> str:
    """Fractions with three digits, milliseconds with none."""
    return number(value, 3 if value is None or abs(value) <= 1 else 0)


_Quality = tuple[str, float | None, float | None, float | None, int | None]


def _qualities(findings: Findings) -> Iterator[_Quality]:
    for kind in findings.kinds:
        yield f"{kind.kind} trials answered right", kind.correct, None, None, kind.answered
    catch, same, timing = findings.catch, findings.consistency, findings.timing
    if catch:
        yield "catch trials missed", catch.error_rate, catch.low, catch.high, catch.n
        yield "lapse rate", catch.lapse, min(1.0, 2 * catch.low), min(1.0, 2 * catch.high), catch.n
    if same:
        yield "repeats answered as before", same.agreement, same.low, same.high, same.n
        yield "kappa of repeats", same.kappa, None, None, same.n
    if timing:
        yield (
            "measured exposure, median and 5th to 95th percentile",
            timing.median_ms,
            timing.p05_ms,
            timing.p95_ms,
            None,
        )
        yield "exposure off the plan, median", timing.off_ms, None, None, None
        yield "trials with late frames", timing.late, None, None, None
        yield "trials with the focus lost", timing.focus_lost, None, None, None
    for rate in findings.conditions:
        yield f"median response time, {rate.condition}", rate.median_rt_ms, None, None, rate.n_trials
        if findings.sides_known:
            yield f"side bias, {rate.condition}", rate.side_bias, None, None, rate.n_trials
    for one in findings.unusable:
        yield f"rows not used: {one.reason}", None, None, None, one.n
