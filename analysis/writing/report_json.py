"""Findings in, the content of report.json (format realism-report/1) and the rows of the tables out; what is unknown is None."""

from dataclasses import asdict
from typing import Any

from analysis.detection import ErrorRate
from analysis.findings import Findings, Protocol
from analysis.fool_rate import FoolRate

FORMAT = "realism-report/1"


def condition_row(rate: FoolRate) -> dict[str, Any]:
    """A condition's numbers, flat; rates are fractions. The errors by kind of picture only for one-picture studies."""
    components, bootstrap, detection = rate.components, rate.bootstrap, rate.detection
    row: dict[str, Any] = {
        "fool_rate": rate.fool_rate,
        "low": rate.interval.low,
        "high": rate.interval.high,
        "method": rate.interval.method,
        "n_trials": rate.n_trials,
        "n_participants": rate.n_participants,
        "n_pairs": rate.n_pairs,
        "naive_low": rate.naive.low,
        "naive_high": rate.naive.high,
        "design_effect": rate.design_effect,
        "dprime": rate.dprime,
        "side_bias": rate.side_bias,
        "median_rt_ms": rate.median_rt_ms,
        "participants_low": rate.participants_interval.low,
        "participants_high": rate.participants_interval.high,
        "bootstrap_low": bootstrap.low if bootstrap else None,
        "bootstrap_high": bootstrap.high if bootstrap else None,
        "p_half": rate.half.p_value,
        "equivalence_margin": rate.half.margin,
        "p_equivalent": rate.half.p_equivalent,
        "dprime_low": detection.low,
        "dprime_high": detection.high,
        "criterion": detection.criterion,
        "variance_participant": components.participant if components else None,
        "variance_pair": components.pair if components else None,
        "variance_residual": components.residual if components else None,
        "participant_sd_logit": components.participant_sd_logit if components else None,
        "pair_sd_logit": components.pair_sd_logit if components else None,
    }
    if rate.yes_no:
        row |= _error("error_on_fakes", rate.yes_no.on_fakes)
        row |= _error("error_on_reals", rate.yes_no.on_reals)
        row |= _error("hype_score", rate.yes_no.mean)
    return row


def _error(name: str, error: ErrorRate | None) -> dict[str, float | None]:
    low, high = (error.low, error.high) if error else (None, None)
    return {name: error.rate if error else None, f"{name}_low": low, f"{name}_high": high}


def as_json(findings: Findings) -> dict[str, Any]:
    """The content of report.json."""
    applied = findings.applied
    return {
        "format": FORMAT,
        "title": findings.title,
        "study": findings.study,
        "level": findings.plan.level,
        "origin": findings.origin,
        "inputs": findings.inputs,
        "protocol": _protocol(findings.protocol) if findings.protocol else None,
        "plan": findings.plan.model_dump(mode="json"),
        "plan_is_frozen": applied.is_frozen,
        "post_hoc": [asdict(change) for change in applied.changes],
        "conditions": {rate.condition: condition_row(rate) for rate in findings.conditions},
        "comparisons": [asdict(comparison) for comparison in findings.comparisons],
        "ranking": [asdict(ability) for ability in findings.ranking],
        "tags": [{"tag": one.tag, "condition": one.rate.condition, **condition_row(one.rate)} for one in findings.tags],
        "models": [asdict(model) for model in findings.models],
        "pairs": [asdict(pair) for pair in findings.pairs],
        "exclusions": [asdict(exclusion) for exclusion in findings.exclusions],
        "sensitivity": [asdict(row) for row in findings.sensitivity],
        "unusable": [asdict(one) for one in findings.unusable],
        "flow": asdict(findings.flow),
        "kinds": [asdict(count) for count in findings.kinds],
        "catch": asdict(findings.catch) if findings.catch else None,
        "consistency": findings.consistency.agreement if findings.consistency else None,
        "repeats": asdict(findings.consistency) if findings.consistency else None,
        "timing": asdict(findings.timing) if findings.timing else None,
        "settled": [asdict(settled) for settled in findings.settled],
        "thresholds": [asdict(threshold) for threshold in findings.thresholds],
        "exposure_comparisons": [asdict(comparison) for comparison in findings.exposure_comparisons],
        "warnings": [
            *findings.warnings,
            *(f"{rate.condition}: {warning}" for rate in findings.conditions for warning in rate.warnings),
        ],
    }


def _protocol(protocol: Protocol) -> dict[str, Any]:
    return {**asdict(protocol), "deviations": [asdict(deviation) for deviation in protocol.deviations]}
