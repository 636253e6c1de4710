"""Findings in, the table of conditions as people read it out: a measure per row, with what it is for."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from analysis.components import VarianceComponents
from analysis.detection import ErrorRate, YesNo
from analysis.findings import Findings
from analysis.fool_rate import FoolRate
from analysis.intervals import Interval
from analysis.writing.wording import milliseconds, number, p_value, percent, signed, span, span_of_numbers

_NONE = "–"


@dataclass(frozen=True)
class Measure:
    """One row: ``values`` in the order of the conditions; ``is_main`` for what is to be reported."""

    name: str
    purpose: str
    values: tuple[str, ...]
    is_main: bool = False


def measures(findings: Findings) -> list[tuple[str, list[Measure]]]:
    """The rows in groups, each with its heading; empty without a condition."""
    groups = [
        ("Exposure", _exposures(findings) if findings.settled else ()),
        ("How often people were fooled", _rates(findings)),
        ("Errors by kind of picture", _errors(findings) if findings.is_one_picture else ()),
        ("Against guessing", _tests(findings)),
        ("Telling real and fake apart", _detection(findings)),
        ("Where the spread comes from", _spread(findings)),
        ("What it rests on", _counts(findings)),
    ]
    return [(heading, list(rows)) for heading, rows in groups if findings.conditions and rows]


def _row(
    findings: Findings, name: str, purpose: str, value: Callable[[FoolRate], str], *, is_main: bool = False
) -> Measure:
    return Measure(name, purpose, tuple(value(rate) for rate in findings.conditions), is_main)


def _span(interval: Interval | None) -> str:
    return span(interval.low, interval.high) if interval else _NONE


def _rates(findings: Findings) -> Iterator[Measure]:
    level, is_main = percent(findings.plan.level), not findings.settled
    yield _row(
        findings,
        "Mean error (on fakes and on photographs)" if findings.is_one_picture else "Fool rate",
        "HYPE’s score (Zhou et al. 2019): both kinds count half, however many were shown; 50\u202f% would be indistinguishable."
        if findings.is_one_picture
        else "Share of answers that took the fake for the real picture; 50\u202f% would be indistinguishable.",
        lambda rate: percent(rate.fool_rate, 1),
        is_main=is_main,
    )
    yield _row(
        findings,
        f"{level} interval: new people, new pictures",
        "Where the rate lies for people like these and pictures like these." + " This is the one to report." * is_main,
        lambda rate: _span(rate.interval),
        is_main=is_main,
    )
    yield _row(
        findings,
        "New people, exactly these pictures",
        "Usually narrower, since it says nothing about other pictures; for a claim about this very set. It can come out a little "
        "wider where the pictures differ no more than by chance.",
        lambda rate: _span(rate.participants_interval),
    )
    if any(rate.bootstrap for rate in findings.conditions):
        yield _row(
            findings,
            "Two-way bootstrap",
            "A cautious check by another road: usually wider, most where pairs have few answers each.",
            lambda rate: _span(rate.bootstrap),
        )
    yield _row(
        findings,
        "Wilson interval",
        "As if no two answers shared a person or a picture. Usually far too narrow; only to compare with papers that use it.",
        lambda rate: _span(rate.naive),
    )


def _errors(findings: Findings) -> Iterator[Measure]:
    def told(pick: Callable[[YesNo], ErrorRate | None]) -> Callable[[FoolRate], str]:
        def value(rate: FoolRate) -> str:
            error = pick(rate.yes_no) if rate.yes_no else None
            return f"{percent(error.rate, 1)} ({span(error.low, error.high)})" if error else _NONE

        return value

    yield _row(
        findings, "Errors on fakes", "Share of fakes that were called real.", told(lambda errors: errors.on_fakes)
    )
    yield _row(
        findings,
        "Errors on photographs",
        "Share of photographs that were called fake.",
        told(lambda errors: errors.on_reals),
    )


def _tests(findings: Findings) -> Iterator[Measure]:
    yield _row(
        findings,
        "p, against 50\u202f%",
        "Small: people do better or worse than guessing. It agrees with the interval to report.",
        lambda rate: p_value(rate.half.p_value),
    )
    yield _row(
        findings,
        f"p, equal to 50\u202f% within ±{100 * findings.plan.equivalence_margin:g} points",
        "Small: the rate lies that close to guessing (two one-sided tests). A large p against 50\u202f% alone does not show it.",
        lambda rate: p_value(rate.half.p_equivalent),
    )


def _detection(findings: Findings) -> Iterator[Measure]:
    side = "“real”" if findings.is_one_picture else "left (or first)"
    yield _row(
        findings,
        "Sensitivity d′",
        "How far apart real and fake look, in standard deviations; 0 is indistinguishable.",
        lambda rate: number(rate.dprime),
    )
    yield _row(
        findings,
        f"{percent(findings.plan.level)} interval of d′",
        "For new people and new pictures.",
        lambda rate: span_of_numbers(rate.detection.low, rate.detection.high),
    )
    if findings.sides_known:
        yield _row(
            findings,
            "Criterion c",
            f"Preference for an answer, in standard deviations; below 0, for {side}.",
            lambda rate: number(rate.detection.criterion),
        )
        yield _row(
            findings,
            "Bias to “real”" if findings.is_one_picture else "Side bias",
            f"Answers {side} above one half, in percentage points"
            + ("." if findings.is_one_picture else "; far from 0, answers followed the side more than the picture."),
            lambda rate: signed(rate.side_bias),
        )


def _spread(findings: Findings) -> Iterator[Measure]:
    yield _row(
        findings,
        "Design effect",
        "How many times the variance of the rate exceeds that of as many unrelated answers.",
        lambda rate: number(rate.design_effect, 1),
    )
    if any(rate.components for rate in findings.conditions):
        yield _row(
            findings,
            "Variance: people, pictures, rest",
            "Of single answers. Many people cannot make up for few pictures where pictures differ, nor the other way round.",
            lambda rate: _shares(rate.components),
        )
        yield _row(
            findings,
            "SD in logits: people, pictures",
            "How much people differ in how often they are fooled, and pictures in how often they fool; approximate.",
            lambda rate: (
                f"{number(rate.components.participant_sd_logit)}, {number(rate.components.pair_sd_logit)}"
                if rate.components
                else _NONE
            ),
        )


def _shares(components: VarianceComponents | None) -> str:
    if components is None:
        return _NONE
    parts = (components.participant, components.pair, components.residual)
    total = sum(parts) or 1
    return f"{', '.join(f'{100 * part / total:.0f}' for part in parts)}\u202f%"


def _counts(findings: Findings) -> Iterator[Measure]:
    yield _row(findings, "Answers", "Main trials that count.", lambda rate: number(rate.n_trials, 0))
    yield _row(findings, "Participants", "", lambda rate: number(rate.n_participants, 0))
    yield _row(findings, "Pairs", "", lambda rate: number(rate.n_pairs, 0))
    yield _row(
        findings,
        "Median response time",
        "Very short times are a sign of answers without looking.",
        lambda rate: milliseconds(rate.median_rt_ms),
    )


def _exposures(findings: Findings) -> Iterator[Measure]:
    settled = {one.condition: one for one in findings.settled}

    def told(value: Callable[..., str]) -> Callable[[FoolRate], str]:
        return lambda rate: value(settled[rate.condition]) if rate.condition in settled else _NONE

    yield _row(
        findings,
        "Modal exposure",
        "Exposure shown most often in a block, averaged over blocks, then people: the score of an adaptive study.",
        told(lambda one: milliseconds(one.modal_ms)),
        is_main=True,
    )
    yield _row(
        findings,
        f"{percent(findings.plan.level)} interval",
        "Where the modal exposure lies for new people (t); pictures are taken as they are.",
        told(lambda one: _NONE if one.low is None else f"{milliseconds(one.low)} to {milliseconds(one.high)}"),
        is_main=True,
    )
    yield _row(
        findings,
        "Late exposure",
        "Mean exposure over the second half of each block: the threshold, where a block is long enough to reach it.",
        told(lambda one: milliseconds(one.late_ms)),
    )
