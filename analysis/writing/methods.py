"""Findings in; a methods paragraph to paste out: only what was done, and only what is known."""

from collections.abc import Iterator

from analysis.exclusions import criteria_of, in_words
from analysis.findings import Findings
from analysis.writing.citations import cite, has_jackknife
from analysis.writing.wording import counted, listed, ranked_sample

_MOST_TOLD = 6  # intervals of the bootstrap, one by one


def methods_paragraph(findings: Findings) -> str:
    """Participants, exclusions, stimuli, trials, exposure, statistics and software, as far as the findings say."""
    groups = (_people(findings), _exclusions(findings), _stimuli(findings), _attention(findings))
    return " ".join(sentence for group in (*groups, _statistics(findings), _software(findings)) for sentence in group)


def _people(findings: Findings) -> Iterator[str]:
    flow = findings.flow
    if findings.is_simulated:
        yield "The answers are simulated; no person took part."
    declined = f"; {counted(flow.refusals, 'person', 'people')} declined" if flow.refusals else ""
    yield (
        f"In all, {counted(flow.participants, 'participant')} began {counted(flow.sessions, 'session')}, of which "
        f"{flow.sessions_finished} {_were(flow.sessions_finished)} finished{declined}."
    )


def _exclusions(findings: Findings) -> Iterator[str]:
    flow, applied = findings.flow, findings.applied
    used = criteria_of(findings.plan, findings.max_missed)
    failed = {name: sum(one.criterion == name for one in findings.exclusions) for name in used}
    if not used:
        yield "No exclusion criterion was applied."
    else:
        reasons = listed([f"{in_words(name, limit)} (n = {failed[name]})" for name, limit in used.items()])
        several = "; a session may fail several" if sum(failed.values()) > flow.sessions_excluded else ""
        yield f"Sessions with {reasons} were to be excluded; {flow.sessions_excluded} {_were(flow.sessions_excluded)}{several}."
    if applied.is_frozen:
        sha256 = applied.frozen_sha256 or ""
        yield f"The analysis plan was frozen when the study was created (SHA-256 {sha256[:12]}…)."
    elif used:
        yield "No frozen plan shows that these criteria were fixed before results were seen."
    if applied.changes:
        changed = listed([f"{change.key} ({change.frozen} → {change.here})" for change in applied.changes])
        yield f"Set or changed afterwards, and so post hoc: {changed}."
    if findings.conditions or not findings.ranking:
        people = counted(flow.participants_counted, "participant")
        yield f"The analysis rests on {counted(flow.trials_counted, 'answer')} of {people}."
    if findings.ranking:
        n_people, _, n_trials = ranked_sample(findings)
        people = counted(n_people, "participant")
        yield f"The ranking rests on {counted(n_trials, 'answer')} of {people} to conditions shown against each other."


def _were(n: int) -> str:
    return "was" if n == 1 else "were"


def _stimuli(findings: Findings) -> Iterator[str]:
    rates = findings.conditions
    if findings.protocol:
        n = len(findings.protocol.deviations)
        kept = f"with {counted(n, 'departure')} that the report lists" if n else "without departing from what it states"
        yield f"The study followed {findings.protocol.name} ({findings.protocol.source}), {kept}."
    yield from _trials(findings)
    if rates:
        pairs = listed([f"{counted(rate.n_pairs, 'pair')} of {rate.condition}" for rate in rates])
        yield f"On each trial a participant saw {_shown(findings)}{_asked(findings)}. Answers were on {pairs}."
    elif findings.ranking:
        photos = counted(ranked_sample(findings)[1], "photograph")
        yield f"On each trial a participant saw the fakes that two conditions made of one photograph; there were {photos}."
    yield from _exposure(findings)


def _trials(findings: Findings) -> Iterator[str]:
    """Of one participant: as designed, or as counted where no design says."""
    if findings.design is None:
        per_session = findings.trials.groupby("session", observed=True).size()
        if len(per_session):
            least, most = int(per_session.min()), int(per_session.max())
            yield f"Of each session {f'{least} to ' * (least < most)}{counted(most, 'main trial')} entered the analysis."
        return
    trials, conditions = findings.design.trials, findings.design.conditions
    blocks = f" in {trials.blocks} blocks" if trials.blocks > 1 else ""
    practice = f", after {counted(trials.practice, 'practice trial')}" if trials.practice else ""
    among = [counted(n, name) for n, name in ((trials.catch, "catch trial"), (trials.repeat, "repeated trial")) if n]
    mixed = f"; {listed(among)} were mixed among them" if among else ""
    saw = "every condition" if findings.design.assignment.conditions == "within" else "one of the conditions"
    shown = f" and saw {saw}" if len(conditions) > 1 else ""
    yield f"Each participant was to answer {counted(trials.main, 'main trial')}{blocks}{shown}{practice}{mixed}."


def _shown(findings: Findings) -> str:
    if findings.is_one_picture:
        return "one picture, real or fake"
    sides = {str(side) for side in findings.trials["real_side"].unique()}
    arranged = ", side by side" if sides <= {"left", "right"} else ", one after the other"
    return f"a photograph and a generator’s fake of it{arranged if findings.sides_known else ''}"


def _asked(findings: Findings) -> str:
    """The question, as far as it is known: a table of answers tells the picture taken for real, not what was asked."""
    if findings.is_one_picture:
        return ", and was asked which it was"
    if findings.design is None:
        return ", and told which was which"
    return f", and was asked which was the {'fake' if findings.design.question == 'fake' else 'real photograph'}"


def _exposure(findings: Findings) -> Iterator[str]:
    planned, timing = _planned(findings), findings.timing
    if planned:
        yield planned
    if findings.design and (mask_ms := findings.design.exposure.mask_ms):
        masks = findings.design.exposure.masks
        yield f"Afterwards {counted(masks, 'mask')} {'was' if masks == 1 else 'were'} shown, for {mask_ms:,} ms in all."
    if timing:
        yield (
            f"Measured in the browser, exposure had a median of {timing.median_ms:,.0f} ms (5th to 95th percentile "
            f"{timing.p05_ms:,.0f} to {timing.p95_ms:,.0f} ms), with late frames in {_percent(timing.late)} of trials."
        )


def _planned(findings: Findings) -> str | None:
    """The exposure as planned; None where nothing says."""
    design = findings.design
    if design and design.staircase:
        steps = design.staircase
        return (
            f"Exposure followed the answers by a weighted staircase ({cite('kaernbach1991')}): it began at "
            f"{steps.start_ms:,} ms, fell by {steps.down_ms:,} ms after a right answer and rose by {steps.up_ms:,} ms after a "
            f"wrong one, between {steps.min_ms:,} and {steps.max_ms:,} ms."
        )
    if design and design.exposure.duration_ms == "unlimited":
        return "Pictures stayed until the answer."
    shown = findings.table.loc[findings.table["kind"] == "main", "exposure_ms"].dropna()
    if shown.empty:
        return f"Exposure was {design.exposure_ms:,} ms as planned." if design and design.exposure_ms else None
    first, last = float(shown.min()), float(shown.max())
    times = f"{first:,.0f} ms" if first == last else f"{first:,.0f} to {last:,.0f} ms"
    return f"Exposure was {times} as planned."


def _attention(findings: Findings) -> Iterator[str]:
    if findings.catch:
        catch = findings.catch
        yield f"Of {counted(catch.n, 'answered catch trial')}, {catch.missed} {_were(catch.missed)} missed."
    if findings.consistency:
        same = findings.consistency
        yield f"Of {counted(same.n, 'repeated trial')}, {_percent(same.agreement)} got the same answer as before."


def _statistics(findings: Findings) -> Iterator[str]:
    if findings.conditions:
        yield from _intervals(findings)
    if findings.held_at is None:
        yield from _tests(findings)
    if findings.conditions and findings.sides_known:
        yield f"Sensitivity is d′ ({cite('macmillan2005')}), clustered on participants and pairs."
    yield from _bootstrap(findings)
    if findings.comparisons and findings.held_at is None:
        adjusted = f", with p-values adjusted by Holm’s method ({cite('holm1979')})" * (len(findings.comparisons) > 1)
        yield f"Differences between conditions were clustered on participants and photographs likewise{adjusted}."
    if findings.ranking:
        yield f"Conditions shown against each other were ranked by a Bradley–Terry model ({cite('bradley1952')})."
    if findings.models:
        yield (
            "A crossed random-effects logistic model, fitted by Gibbs sampling with Pólya–Gamma weights "
            f"({cite('polson2013')}), gave marginal rates with credible intervals."
        )
    if findings.thresholds:
        yield (
            f"Exposure thresholds come from psychometric functions ({cite('wichmann2001')}) with a threshold of "
            "each participant’s own."
        )


def _intervals(findings: Findings) -> Iterator[str]:
    """How the headline interval of every condition was computed: the cases of ``Margins.clusters`` and ``logit_t``."""
    rates, level = findings.conditions, f"{100 * findings.plan.level:g}%"
    if any(rate.yes_no and rate.yes_no.mean for rate in rates):
        yield f"The fool rate is the mean of the error rates on fakes and on photographs ({cite('zhou2019')})."
    if any(rate.interval.method == "two_way_logit_t" for rate in rates):
        yield (
            f"Fool rates have {level} intervals for new people and new pictures: cluster-robust over participants and pairs "
            f"at once ({cite('cameron2011')}), on the logit scale, with Student’s t at one less than the smaller number of "
            "participants or pairs."
        )
    if names := [rate.condition for rate in rates if has_jackknife(rate)]:
        yield (
            f"For {listed(names)}, with a rate near 0 or 100% and few participants or pairs, the variance of the jackknife "
            f"over participants and pairs ({cite('efron1981')}) was taken where it was larger."
        )
    if names := [rate.condition for rate in rates if rate.interval.method == "clopper_pearson"]:
        yield (
            f"For {listed(names)}, with a rate of 0 or 100%, the {level} interval is the exact one ({cite('clopper1934')}) "
            "for as many trials as the smaller number of participants or pairs."
        )
    if names := [rate.condition for rate in rates if rate.interval.method == "undetermined"]:
        yield f"For {listed(names)}, one participant or pair says nothing about others, so there is no interval."


def _tests(findings: Findings) -> Iterator[str]:
    tested = [rate for rate in findings.conditions if rate.half.p_value is not None]
    if tested:
        exact = [rate.condition for rate in tested if rate.interval.method == "clopper_pearson"]
        same = "uses the same variance" if len(exact) < len(tested) else "is the exact binomial one"
        but = f" (for {listed(exact)}, the exact binomial test)" if 0 < len(exact) < len(tested) else ""
        yield (
            f"The test against 50% {same}{but}; equivalence to 50% within ±{100 * findings.plan.equivalence_margin:g} points "
            f"was tested with two one-sided tests ({cite('schuirmann1987')})."
        )


def _bootstrap(findings: Findings) -> Iterator[str]:
    drawn = [
        f"{100 * rate.bootstrap.low:.1f} to {_percent(rate.bootstrap.high)} for {rate.condition}"
        for rate in findings.conditions
        if rate.bootstrap and rate.bootstrap.method == "two_way_bootstrap"
    ]
    if drawn:
        gave = listed(drawn) if len(drawn) <= _MOST_TOLD else "the intervals in the table of conditions"
        yield f"A two-way bootstrap ({cite('owen2007')}), which is conservative, gave {gave}."


def _software(findings: Findings) -> Iterator[str]:
    used = [f"{name} {version}" for name, version in findings.inputs["software"].items() if version]
    used += sorted({model.library for model in findings.models})
    yield f"Software: {', '.join(used)}."


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f}%"
