"""Findings, figures and pictures in, the text of report.html out: here numbers become sentences."""

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from analysis.comparisons import Comparison
from analysis.figures import PALETTE
from analysis.findings import Findings
from analysis.fool_rate import FEW_UNITS, FoolRate
from analysis.gallery import GalleryRow
from protocol.design import Analysis

_SPACE = "\u202f"  # narrow and unbreakable, between a number and its unit
_MINUS = "\u2212"
# How sessions ended that are not simply complete, in words.
_OUTCOMES = {
    "screened_out": "screened out before the main trials",
    "failed_checks": "failed the checks",
    "full": "of a group that was full already",
}


def render_page(findings: Findings, figures: Mapping[str, bytes], rows: Sequence[GalleryRow]) -> str:
    """One self-contained HTML page; ``figures`` maps a name to SVG, ``NAME-narrow`` being its form for a phone."""
    return (
        _environment()
        .get_template("report.html")
        .render(
            findings=findings,
            colors={rate.condition: PALETTE[row % len(PALETTE)] for row, rate in enumerate(findings.conditions)},
            headlines={rate.condition: headline(rate, findings) for rate in findings.conditions},
            measures=_measures(findings),
            readings=[_reading(comparison, findings.plan) for comparison in findings.comparisons],
            p_values=[(_p(found.p_value), _p(found.p_adjusted)) for found in findings.comparisons],
            criteria=_criteria(findings),
            figures={
                name: f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}" for name, svg in figures.items()
            },
            gallery=rows,
            level=percent(findings.plan.level),
            few_units=FEW_UNITS,
            lost=_lost(findings),
        )
    )


@cache
def _environment() -> Environment:
    """Made at the first report and kept, since a template takes longer to compile than to fill."""
    environment = Environment(
        loader=PackageLoader("analysis"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, signed=_signed, number=_number, milliseconds=_milliseconds)
    return environment


def headline(rate: FoolRate, findings: Findings) -> tuple[str, str]:
    """The finding in one sentence, and what it means against guessing in another."""
    people = "Simulated participants" if findings.is_simulated else "People"
    did = "misjudged the picture" if findings.is_one_picture else "took the fake for the real photograph"
    finding = (
        f"{people} {did} on {percent(rate.fool_rate)} of trials "
        f"({percent(findings.plan.level)} interval {_range(rate.interval.low, rate.interval.high)})."
    )
    if findings.held_at is not None:
        modal_ms = next(one.modal_ms for one in findings.settled if one.condition == rate.condition)
        held = f"The exposure followed the answers, which holds this rate near {percent(findings.held_at)}."
        return finding, f"{held} Compare the exposure instead: modal {_milliseconds(modal_ms)}."
    if rate.interval.high < 0.5:
        return finding, "The interval lies below 50\u202f%: these fakes can be told from photographs."
    if rate.interval.low > 0.5:
        return finding, "The interval lies above 50\u202f%: the fakes looked more real than the photographs."
    if rate.interval.high - rate.interval.low > 0.3:
        return finding, "The interval includes 50\u202f%, but it is wide: more participants or pairs are needed to say."
    return finding, "The interval includes 50\u202f%, the rate of guessing: no difference from photographs was shown."


def percent(fraction: float, digits: int = 0) -> str:
    return f"{100 * fraction:.{digits}f}{_SPACE}%"


def _range(low: float, high: float, digits: int = 0) -> str:
    return f"{100 * low:.{digits}f}–{100 * high:.{digits}f}{_SPACE}%"


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}".replace("-", _MINUS)


def _signed(fraction: float, digits: int = 1) -> str:
    """Percentage points with their sign; zero has none."""
    text = f"{100 * fraction:+.{digits}f}"
    return "0" if float(text) == 0 else text.replace("-", _MINUS)


def _milliseconds(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}{_SPACE}ms".replace(",", _SPACE)


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return f"<{_SPACE}.001" if value < 0.001 else f"{value:.3f}".removeprefix("0")


def _measures(findings: Findings) -> list[dict[str, Any]]:
    """The table of conditions turned on its side: a measure per row, with what it is for."""
    rates = findings.conditions
    side = "“real”" if findings.is_one_picture else "left (or first)"
    rows: list[tuple[str, str, list[str]]] = [
        (
            "Fool rate",
            "Share of answers that took the fake for the real picture; 50\u202f% would be indistinguishable.",
            [percent(rate.fool_rate, 1) for rate in rates],
        ),
        (
            f"{percent(findings.plan.level)} interval",
            "Where the rate lies for new people and new pictures."
            + ("" if findings.settled else " This is the one to report."),
            [_range(rate.interval.low, rate.interval.high, 1) for rate in rates],
        ),
        (
            "Wilson interval",
            "As if no two answers shared a person or a picture. Usually far too narrow; only to compare with papers that use it.",
            [_range(rate.naive.low, rate.naive.high, 1) for rate in rates],
        ),
        (
            "Design effect",
            "How many times the variance of the rate exceeds that of as many unrelated answers.",
            [_number(rate.design_effect, 1) for rate in rates],
        ),
        (
            "Sensitivity d′",
            "How far apart real and fake look, in standard deviations; 0 is indistinguishable.",
            [_number(rate.dprime) for rate in rates],
        ),
        (
            "Side bias",
            f"Answers {side} above one half, in percentage points; far from 0, answers followed the side more than the picture.",
            [_signed(rate.side_bias) for rate in rates],
        ),
        (
            "Median response time",
            "Very short times are a sign of answers without looking.",
            [_milliseconds(rate.median_rt_ms) for rate in rates],
        ),
        ("Answers", "Main trials that count.", [str(rate.n_trials) for rate in rates]),
        ("Participants", "The people it rests on.", [str(rate.n_participants) for rate in rates]),
        ("Pairs", "The pictures it rests on.", [str(rate.n_pairs) for rate in rates]),
    ]
    if findings.settled:
        rows[:0] = _exposure_measures(findings)
    return [{"name": name, "purpose": purpose, "values": values} for name, purpose, values in rows]


def _exposure_measures(findings: Findings) -> list[tuple[str, str, list[str]]]:
    level = percent(findings.plan.level)
    by_condition = {settled.condition: settled for settled in findings.settled}
    settled = [by_condition[rate.condition] for rate in findings.conditions]
    return [
        (
            "Modal exposure",
            "Exposure shown most often in a block, averaged over blocks, then people: the score of an adaptive study.",
            [_milliseconds(one.modal_ms) for one in settled],
        ),
        (
            f"{level} interval",
            "Where the modal exposure lies for new people (t); pictures are taken as they are.",
            ["–" if one.low is None else f"{_milliseconds(one.low)} to {_milliseconds(one.high)}" for one in settled],
        ),
        (
            "Late exposure",
            "Mean exposure over the second half of each block: the threshold, where a block is long enough to reach it.",
            [_milliseconds(one.late_ms) for one in settled],
        ),
    ]


def _reading(comparison: Comparison, plan: Analysis) -> str:
    if comparison.p_adjusted is None:
        return "one participant or pair cannot say"
    if comparison.p_adjusted >= 1 - plan.level:
        return "no difference shown"
    return f"{comparison.a if comparison.difference > 0 else comparison.b} fools more often"


def _lost(findings: Findings) -> str:
    """Who declined, and which sessions ended otherwise than complete; empty without any."""
    flow = findings.flow
    parts = [f"{flow.refusals} declined to take part"] if flow.refusals else []
    parts += [f"{flow.outcomes[outcome]} {words}" for outcome, words in _OUTCOMES.items() if outcome in flow.outcomes]
    return f"{', '.join(parts)}." if parts else ""


def _criteria(findings: Findings) -> list[dict[str, Any]]:
    """Every criterion of the plan in words, and how many sessions failed it; None where the plan does not use it."""
    plan, failed = findings.plan, Counter(exclusion.criterion for exclusion in findings.exclusions)
    rt, share, missed = plan.min_median_rt_ms, plan.max_one_side, findings.max_missed
    rules = {
        "exclude_unfinished": ("Not every main trial was answered", plan.exclude_unfinished),
        "min_median_rt_ms": (f"Median response time below {_milliseconds(rt)}" if rt else "Too fast", rt is not None),
        "max_one_side": (
            f"More than {percent(share)} of answers on one side" if share else "One-sided",
            share is not None,
        ),
        "max_missed": (
            "Missed too many catch trials"
            if missed is None
            else f"Missed more than {missed} catch trial{'s' * (missed != 1)}",
            missed is not None,
        ),
    }
    return [
        {"name": name, "rule": rule, "failed": failed[name] if used else None} for name, (rule, used) in rules.items()
    ]
