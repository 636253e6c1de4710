"""A source in, all numbers of a report out: the plan is applied, conditions are counted and compared."""

import platform
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

import pandas as pd

from analysis.comparisons import Comparison, compare_conditions
from analysis.exclusions import Exclusion, find_exclusions, keep_counted, session_summary
from analysis.exposures import Settled, Timing, measure_timing, settled_exposures
from analysis.fool_rate import FoolRate, PairRate, counted_trials, fool_rates, pair_rates
from analysis.source import Source, choose_origin
from protocol.design import Analysis, StudyDesign, canonical_sha256
from protocol.presets import PRESETS, Deviation, deviations
from protocol.responses import KINDS

FORMAT = "realism-report/1"
CONDITION_COLUMNS = (
    *("fool_rate", "low", "high", "method", "n_trials", "n_participants", "n_pairs"),
    *("naive_low", "naive_high", "design_effect", "dprime", "side_bias", "median_rt_ms"),
)
_SOFTWARE = ("realism", "numpy", "scipy", "pandas", "matplotlib", "pillow", "jinja2")


@dataclass(frozen=True)
class Flow:
    """How many people and trials there were, and how many are left to count. Trials are main trials.

    ``refusals`` is None and ``outcomes`` (sessions by how they ended) empty where the source does not say.
    """

    participants: int
    sessions: int
    sessions_finished: int
    sessions_excluded: int
    participants_counted: int
    trials_shown: int
    trials_unanswered: int
    trials_excluded: int
    trials_counted: int
    refusals: int | None
    outcomes: dict[str, int]


@dataclass(frozen=True)
class KindCount:
    """Trials of one kind before exclusions; ``correct`` is a fraction of those answered, None without any."""

    kind: str
    shown: int
    answered: int
    correct: float | None


@dataclass(frozen=True)
class Protocol:
    """The published protocol that a study follows, and where it departs from it."""

    name: str
    source: str
    deviations: tuple[Deviation, ...]


@dataclass(frozen=True)
class Findings:
    """Everything a report says; conditions in the design's order, the pairs that fooled most first.

    ``protocol`` is None without a design. ``settled`` is empty unless the exposure was adaptive; ``held_at`` is then the
    fool rate at which the staircase holds a participant. ``consistency`` is the fraction of answered repeats in which the
    same picture was taken for real as the first time; None without any. ``max_missed``: catch trials a session may miss.
    """

    title: str
    study: str
    origin: str
    protocol: Protocol | None
    plan: Analysis
    max_missed: int | None
    conditions: tuple[FoolRate, ...]
    comparisons: tuple[Comparison, ...]
    pairs: tuple[PairRate, ...]
    exclusions: tuple[Exclusion, ...]
    flow: Flow
    kinds: tuple[KindCount, ...]
    consistency: float | None
    timing: Timing | None
    settled: tuple[Settled, ...]
    held_at: float | None
    is_one_picture: bool
    warnings: tuple[str, ...]
    inputs: dict[str, Any]

    @property
    def is_simulated(self) -> bool:
        return self.origin == "simulated"


def analyse(source: Source, origin: str | None = None) -> Findings:
    """Apply the plan of the source's design (the default plan without one) and count.

    Raises:
        ReportError: as ``choose_origin``.
    """
    origin = choose_origin(source.table, origin)
    design, table = source.design, source.table[source.table["origin"] == origin]
    plan = design.analysis if design else Analysis()
    main_trials = design.trials.main if design else None
    max_missed = design.catch.max_missed if design and design.catch else None
    exclusions = find_exclusions(table, plan, main_trials, max_missed)
    kept = keep_counted(table, exclusions)
    staircase = design.staircase if design else None
    order = _condition_order(source, table)
    study = design.name if design else next(iter(table["study"]), "no study")
    found = {rate.condition: rate for rate in fool_rates(kept, plan.level)}
    return Findings(
        title=design.told(design.title, "en") if design else f"Fool rates of {study}",
        study=study,
        origin=origin,
        protocol=_protocol(design, source.picture_px) if design else None,
        plan=plan,
        max_missed=max_missed,
        conditions=tuple(found[name] for name in order if name in found),
        comparisons=tuple(compare_conditions(kept, order, plan.level)),
        pairs=tuple(sorted(pair_rates(kept), key=lambda pair: order.index(pair.condition))),
        exclusions=tuple(exclusions),
        flow=_flow(source, table, kept, main_trials, exclusions),
        kinds=tuple(_kind_counts(table)),
        consistency=_consistency(table),
        timing=measure_timing(counted_trials(kept)),
        settled=tuple(settled_exposures(counted_trials(kept), plan.level)) if staircase else (),
        held_at=staircase.down_ms / (staircase.down_ms + staircase.up_ms) if staircase else None,
        is_one_picture=bool(len(table)) and bool(table["real_side"].isin(["real", "fake"]).all()),
        warnings=tuple(_warnings(source, table, order, found.keys())),
        inputs=_inputs(source, plan),
    )


def _protocol(design: StudyDesign, picture_px: tuple[int, int] | None) -> Protocol:
    return Protocol(design.protocol, PRESETS[design.protocol].source, deviations(design, picture_px))


def _condition_order(source: Source, table: pd.DataFrame) -> list[str]:
    designed = list(source.design.conditions) if source.design else []
    return designed + sorted(set(table.loc[table["kind"] == "main", "condition"]) - set(designed))


def _flow(
    source: Source, table: pd.DataFrame, kept: pd.DataFrame, main_trials: int | None, exclusions: list[Exclusion]
) -> Flow:
    sessions = session_summary(table, main_trials)
    counted = counted_trials(kept)
    answered = int(sessions["answered"].sum())
    ended = table.groupby("session")["outcome"].first() if "outcome" in table else pd.Series(dtype=str)
    return Flow(
        participants=table["participant"].nunique(),
        sessions=len(sessions),
        sessions_finished=int(sessions["finished"].sum()),
        sessions_excluded=len({exclusion.session for exclusion in exclusions}),
        participants_counted=counted["participant"].nunique(),
        trials_shown=int(sessions["shown"].sum()),
        trials_unanswered=int(sessions["shown"].sum()) - answered,
        trials_excluded=answered - len(counted),
        trials_counted=len(counted),
        refusals=source.refusals,
        outcomes={str(outcome): int(n) for outcome, n in ended.value_counts().sort_index().items()},
    )


def _kind_counts(table: pd.DataFrame) -> Iterator[KindCount]:
    for kind in KINDS:
        shown = table[table["kind"] == kind]
        answered = shown[shown["chosen_side"].notna()]
        if len(shown):
            correct = (answered["chosen_side"] == answered["real_side"]).mean() if len(answered) else None
            yield KindCount(kind, len(shown), len(answered), None if correct is None else float(correct))


def _consistency(table: pd.DataFrame) -> float | None:
    if "repeat_of" not in table:
        return None
    answered = table[table["chosen_side"].notna()]
    answered = answered.assign(correct=answered["chosen_side"] == answered["real_side"])
    repeats = answered[answered["kind"] == "repeat"].assign(first=lambda rows: pd.to_numeric(rows["repeat_of"]))
    both = repeats.merge(answered, left_on=["session", "first"], right_on=["session", "trial_index"])
    return float((both["correct_x"] == both["correct_y"]).mean()) if len(both) else None


def _warnings(source: Source, table: pd.DataFrame, order: list[str], found: Iterable[str]) -> Iterator[str]:
    left_out = source.table.drop(table.index)
    if len(left_out):
        yield (
            f"{len(left_out)} {left_out['origin'].iloc[0]} trials of {left_out['session'].nunique()} sessions were left "
            "out; a report is on people or on simulated participants, never on both."
        )
    if source.design is None:
        yield "No study design came with the answers: the default plan was applied, which excludes no session."
    if not found:
        yield _why_nothing_is_left(table)
    else:
        for name in order:
            if name not in found:
                yield f"Condition {name} has no answered main trial left, so it has no fool rate."


def _why_nothing_is_left(table: pd.DataFrame) -> str:
    main = table[table["kind"] == "main"]
    if table.empty:
        return "There is no fool rate: the response table holds no trial."
    if main.empty:
        return f"There is no fool rate: none of the {len(table)} trials is a main trial."
    if main["chosen_side"].isna().all():
        return f"There is no fool rate: none of the {len(main)} main trials was answered."
    return "There is no fool rate: the plan excludes every session that answered a main trial."


def _inputs(source: Source, plan: Analysis) -> dict[str, Any]:
    return {
        "responses_sha256": source.responses_sha256,
        "design_sha256": canonical_sha256(source.design) if source.design else None,
        "plan_sha256": canonical_sha256(plan),
        "pairset_manifests_sha256": {name: found.manifest_sha256 for name, found in source.pairsets.items()},
        "software": {"python": platform.python_version(), **{name: _version(name) for name in _SOFTWARE}},
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # run from a source tree that is not installed
        return None


def condition_row(rate: FoolRate) -> dict[str, Any]:
    """A condition's numbers by ``CONDITION_COLUMNS``; rates are fractions."""
    values = (
        *(rate.fool_rate, rate.interval.low, rate.interval.high, rate.interval.method),
        *(rate.n_trials, rate.n_participants, rate.n_pairs),
        *(rate.naive.low, rate.naive.high, rate.design_effect, rate.dprime, rate.side_bias, rate.median_rt_ms),
    )
    return dict(zip(CONDITION_COLUMNS, values, strict=True))


def as_json(findings: Findings) -> dict[str, Any]:
    """The content of report.json (format realism-report/1); what is unknown is None."""
    return {
        "format": FORMAT,
        "title": findings.title,
        "study": findings.study,
        "level": findings.plan.level,
        "origin": findings.origin,
        "inputs": findings.inputs,
        "protocol": _protocol_as_json(findings.protocol) if findings.protocol else None,
        "plan": findings.plan.model_dump(mode="json"),
        "conditions": {rate.condition: condition_row(rate) for rate in findings.conditions},
        "comparisons": [asdict(comparison) for comparison in findings.comparisons],
        "pairs": [asdict(pair) for pair in findings.pairs],
        "exclusions": [asdict(exclusion) for exclusion in findings.exclusions],
        "flow": asdict(findings.flow),
        "kinds": [asdict(count) for count in findings.kinds],
        "consistency": findings.consistency,
        "settled": [asdict(settled) for settled in findings.settled],
        "warnings": [
            *findings.warnings,
            *(f"{rate.condition}: {warning}" for rate in findings.conditions for warning in rate.warnings),
        ],
    }


def _protocol_as_json(protocol: Protocol) -> dict[str, Any]:
    return {**asdict(protocol), "deviations": [asdict(deviation) for deviation in protocol.deviations]}
