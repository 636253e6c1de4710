"""A source in, all numbers of a report out: the plan is applied, conditions are counted and compared."""

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata
from typing import Any

import pandas as pd

from analysis.bootstrap import two_way_bootstrap
from analysis.comparisons import Comparison, compare_conditions
from analysis.exclusions import Exclusion, exclusions_in, keep_counted, session_summary, undecidable
from analysis.exposures import (
    ExposureComparison,
    Settled,
    Timing,
    compare_exposures,
    exposure_warnings,
    measure_timing,
    settled_exposures,
    staircase_steps,
)
from analysis.flow import Flow, KindCount, count_flow, count_kinds, find_warnings
from analysis.fool_rate import (
    FoolRate,
    PairRate,
    ParticipantRate,
    TagRate,
    by_condition,
    counted_trials,
    fool_rate,
    pair_rates,
    participant_rates,
    tag_rates,
)
from analysis.margins import margins_of, trial_weights
from analysis.mixed_model import MixedModel, fit_mixed_model
from analysis.plan import AppliedPlan, apply_changes
from analysis.psychometric import MAX_LAPSE, Threshold, fit_thresholds
from analysis.quality import CatchRate, Consistency, catch_rate, consistency
from analysis.ranking import Ability, RankingError, rank_conditions
from analysis.reading.source import ReportError, Source, choose_origin
from analysis.reading.unusable import Unusable
from analysis.sensitivity import SensitivityRow, sensitivity
from protocol.design import Analysis, StudyDesign, canonical_sha256
from protocol.presets import PRESETS, Deviation, deviations

_SOFTWARE = ("realism", "numpy", "scipy", "pandas", "pyarrow", "choix", "matplotlib", "pillow", "jinja2")
# Catch trials that tell the lapse rate of a psychometric curve better than its own answers do.
_MANY_CATCH = 100


@dataclass(frozen=True)
class Protocol:
    """The published protocol that a study follows, and where it departs from it."""

    name: str
    source: str
    deviations: tuple[Deviation, ...]


@dataclass(frozen=True)
class Options:
    """What is asked of an analysis beyond its source.

    ``plan`` replaces the default one where the source brings none; ``post_hoc`` changes settings of the plan, each given as
    text. ``replicates`` of the two-way bootstrap, 0 for none; ``model``: fit the mixed model too.
    """

    origin: str | None = None
    plan: AppliedPlan | None = None
    post_hoc: Mapping[str, str] | None = None
    replicates: int = 2000
    model: bool = False


@dataclass(frozen=True)
class Findings:
    """Everything a report says; conditions in the design's order, the pairs (people) that fooled (were fooled) most first.

    ``design`` and ``protocol`` are None for answers from elsewhere. ``settled`` is empty unless the exposure was
    adaptive; ``held_at`` is then the fool rate at which the staircase holds a participant. ``ranking`` is empty unless conditions were compared directly, and
    ``models`` unless it was asked for. ``max_missed``: catch trials a session may miss. ``trials`` are those counted.
    """

    title: str
    study: str
    origin: str
    design: StudyDesign | None
    protocol: Protocol | None
    applied: AppliedPlan
    max_missed: int | None
    conditions: tuple[FoolRate, ...]
    comparisons: tuple[Comparison, ...]
    ranking: tuple[Ability, ...]
    pairs: tuple[PairRate, ...]
    participants: tuple[ParticipantRate, ...]
    tags: tuple[TagRate, ...]
    models: tuple[MixedModel, ...]
    exclusions: tuple[Exclusion, ...]
    sensitivity: tuple[SensitivityRow, ...]
    unusable: tuple[Unusable, ...]
    flow: Flow
    kinds: tuple[KindCount, ...]
    catch: CatchRate | None
    consistency: Consistency | None
    timing: Timing | None
    settled: tuple[Settled, ...]
    thresholds: tuple[Threshold, ...]
    held_at: float | None
    is_one_picture: bool
    sides_known: bool
    warnings: tuple[str, ...]
    inputs: dict[str, Any]
    table: pd.DataFrame
    trials: pd.DataFrame
    exposure_comparisons: tuple[ExposureComparison, ...] = ()

    @property
    def plan(self) -> Analysis:
        return self.applied.plan

    @property
    def is_simulated(self) -> bool:
        return self.origin == "simulated"


def analyse(
    source: Source, options: Options | None = None, tell: Callable[[str], None] = lambda step: None
) -> Findings:
    """Apply the plan that the study froze (or the one given, or the default) and count; ``tell`` hears of every step.

    Raises:
        ReportError: as ``choose_origin``, or if a plan is given beside a frozen one.
        PlanError: as ``plan.apply_changes``.
    """
    options = options or Options()
    origin = choose_origin(source.table, options.origin)
    design = source.design
    table = source.table if (source.table["origin"] == origin).all() else source.table[source.table["origin"] == origin]
    max_missed = design.catch.max_missed if design and design.catch else None
    applied = _applied(source, options, max_missed)
    plan = applied.plan
    tell("exclusions")
    main_trials = design.trials.main if design else None
    summary = session_summary(table, main_trials, source.sessions, sides_known=source.sides_known)
    exclusions = exclusions_in(summary, plan, max_missed)
    kept = keep_counted(table, exclusions)
    trials = counted_trials(kept)
    tell("fool rates")
    margins = {name: margins_of(found) for name, found in by_condition(trials)}
    order = _condition_order(source, table)
    found = [name for name in order if name in margins]
    of_condition = dict(by_condition(trials))
    rates = [fool_rate(name, of_condition[name], margins[name], plan.level, plan.equivalence_margin) for name in found]
    if options.replicates:
        tell("bootstrap")
        rates = [
            replace(
                rate,
                bootstrap=two_way_bootstrap(of_condition[rate.condition], plan.level, options.replicates, plan.seed),
            )
            if trial_weights(of_condition[rate.condition]) is None  # the bootstrap knows no weights but its own
            else rate
            for rate in rates
        ]
    tell("mixed model" if options.model else "comparisons")
    models = fit_mixed_model(trials, plan.level, plan.seed) if options.model and found else ()
    ranking, unranked = _rank(kept, plan.level)
    catch = catch_rate(kept, plan.level)
    lapse = min(catch.error_rate, MAX_LAPSE) if catch and catch.n >= _MANY_CATCH else None
    fitted = fit_thresholds(trials, plan.level, lapse)
    held_at = _held_at(design, trials)
    study = design.name if design else next(iter(table["study"]), "no study")
    settled = tuple(settled_exposures(trials, plan.level)) if held_at is not None else ()
    return Findings(
        title=design.told(design.title, "en") if design else f"Fool rates of {study}",
        study=study,
        origin=origin,
        design=design,
        protocol=_protocol(design, source.picture_px) if design else None,
        applied=applied,
        max_missed=max_missed,
        conditions=tuple(rates),
        comparisons=tuple(compare_conditions(trials, order, plan.level)),
        ranking=ranking,
        pairs=tuple(one for name in found for one in pair_rates(name, margins[name])),
        participants=tuple(one for name in found for one in participant_rates(name, margins[name])),
        tags=tuple(tag_rates(trials, _tags(source), plan.level, plan.equivalence_margin)),
        models=tuple(models),
        exclusions=tuple(exclusions),
        sensitivity=sensitivity(table, summary, applied, max_missed),
        unusable=source.unusable,
        flow=count_flow(source, table, trials, summary, exclusions),
        kinds=tuple(count_kinds(table)),
        catch=catch,
        consistency=consistency(kept, plan.level),
        timing=measure_timing(trials),
        settled=settled,
        thresholds=tuple(one.threshold for one in fitted),
        held_at=held_at,
        exposure_comparisons=compare_exposures(trials, fitted, order, plan.level, adaptive=held_at is not None),
        is_one_picture=bool(len(table)) and bool(table["real_side"].isin(["real", "fake"]).all()),
        sides_known=source.sides_known,
        warnings=(
            *find_warnings(source, table, order, found),
            *exposure_warnings(trials, settled, held_at),
            *unranked,
            *undecidable(summary, plan, max_missed),
        ),
        inputs=_inputs(source, applied),
        table=table,
        trials=trials,
    )


def _held_at(design: StudyDesign | None, trials: pd.DataFrame) -> float | None:
    """The share of wrong answers that the study's staircase holds; without a design, of the one that the exposures show."""
    if design is None:
        steps = staircase_steps(trials)
    else:
        steps = (design.staircase.down_ms, design.staircase.up_ms) if design.staircase else None
    return steps[0] / sum(steps) if steps else None


def _rank(table: pd.DataFrame, level: float) -> tuple[tuple[Ability, ...], tuple[str, ...]]:
    """The ranking, or why there is none although conditions were compared directly."""
    try:
        return rank_conditions(table, level), ()
    except RankingError as error:
        return (), (f"{error}.",)


def _applied(source: Source, options: Options, max_missed: int | None) -> AppliedPlan:
    changes = options.post_hoc or {}
    if source.design is not None:
        if options.plan is not None:
            raise ReportError(
                f"study {source.design.name} froze its plan, and another one is given; leave --plan out, or change single settings with "
                "--post-hoc KEY=VALUE"
            )
        return apply_changes(source.design.analysis, changes, source.frozen_plan_sha256, max_missed)
    given = options.plan.plan if options.plan else Analysis()
    return apply_changes(given, changes) if changes else AppliedPlan(given, (), None, None)


def _protocol(design: StudyDesign, picture_px: tuple[int, int] | None) -> Protocol:
    return Protocol(design.protocol, PRESETS[design.protocol].source, deviations(design, picture_px))


def _condition_order(source: Source, table: pd.DataFrame) -> list[str]:
    designed = list(source.design.conditions) if source.design else []
    shown = table.loc[table["kind"] == "main", "condition"].unique()
    return designed + sorted({str(name) for name in shown} - set(designed))


def _tags(source: Source) -> dict[str, list[str]]:
    """Every tag of the pair sets with the pairs that carry it."""
    found: dict[str, set[str]] = {}
    for one in source.pairsets.values():
        for pair in one.pairset.pairs:
            for tag in pair.tags:
                found.setdefault(tag, set()).add(pair.id)
    return {tag: sorted(pairs) for tag, pairs in found.items()}


def _inputs(source: Source, applied: AppliedPlan) -> dict[str, Any]:
    return {
        "responses_sha256": source.responses_sha256,
        "design_sha256": source.design_sha256,
        "plan_sha256": applied.frozen_sha256 or canonical_sha256(applied.plan),
        "pairset_manifests_sha256": {name: found.manifest_sha256 for name, found in source.pairsets.items()},
        "software": {"python": platform.python_version(), **{name: _version(name) for name in _SOFTWARE}},
    }


@cache
def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # run from a source tree that is not installed
        return None
