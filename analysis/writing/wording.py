"""Findings in; numbers and findings as people read them, and the sentence in APA style to paste, out."""

from collections.abc import Iterator, Sequence
from math import isfinite

from scipy.special import logit, stdtrit

from analysis.comparisons import Comparison
from analysis.detection import ErrorRate
from analysis.exclusions import keep_counted
from analysis.exposures import Settled
from analysis.findings import Findings
from analysis.fool_rate import FoolRate
from analysis.intervals import Interval
from analysis.psychometric import Threshold

SPACE = "\u202f"  # narrow and unbreakable, between a number and its unit
MINUS = "\u2212"
_MOST_COMPARISONS = 6  # told one by one in a sentence


def percent(fraction: float | None, digits: int = 0) -> str:
    return "–" if fraction is None else f"{100 * fraction:.{digits}f}{SPACE}%"


def span(low: float | None, high: float | None, digits: int = 1) -> str:
    """An interval of fractions, in percent."""
    return "–" if low is None or high is None else f"{100 * low:.{digits}f}–{100 * high:.{digits}f}{SPACE}%"


def number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else _no_minus_zero(f"{value:,.{digits}f}").replace(",", SPACE)


def span_of_numbers(low: float | None, high: float | None, digits: int = 2) -> str:
    return "–" if low is None or high is None else f"{number(low, digits)} to {number(high, digits)}"


def signed(fraction: float, digits: int = 1) -> str:
    """Percentage points with their sign; zero has none."""
    text = f"{100 * fraction:+.{digits}f}"
    return "0" if float(text) == 0 else text.replace("-", MINUS)


def milliseconds(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}{SPACE}ms".replace(",", SPACE)


def p_value(value: float | None) -> str:
    if value is None:
        return "–"
    if value < 0.001:
        return f"<{SPACE}.001"
    return f">{SPACE}.999" if value > 0.9995 else f"{value:.3f}".removeprefix("0")


def plural(n: int, one: str, many: str | None = None) -> str:
    return counted(n, one, many).replace(",", SPACE)


def counted(n: int, one: str, many: str | None = None) -> str:
    """As ``plural``, in the style of the texts to paste."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def listed(parts: Sequence[str]) -> str:
    """As a list in a sentence: a, b and c."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _no_minus_zero(text: str) -> str:
    return (text if float(text.replace(",", "")) else text.removeprefix("-")).replace("-", MINUS)


def headline(rate: FoolRate, findings: Findings) -> tuple[str, str]:
    """The finding in one sentence, and what it means against guessing in another."""
    people = "Simulated participants" if findings.is_simulated else "People"
    did = "misjudged the picture" if findings.is_one_picture else "took the fake for the real photograph"
    halves = ", fakes and photographs counting half each" if rate.yes_no and rate.yes_no.mean else ""
    finding = (
        f"{people} {did} on {percent(rate.fool_rate, 1)} of trials{halves} "
        f"({percent(findings.plan.level)} interval {span(rate.interval.low, rate.interval.high)})."
    )
    if findings.held_at is not None:
        return (
            finding,
            f"{_held(_settled(rate, findings), findings.held_at)} Compare the exposure instead: {_exposures(rate, findings)}.",
        )
    if rate.interval.high < 0.5:
        return finding, f"The interval lies below 50{SPACE}%: these fakes can be told from photographs."
    if rate.interval.low > 0.5:
        return finding, f"The interval lies above 50{SPACE}%: the fakes looked more real than the photographs."
    if rate.half.p_equivalent is not None and rate.half.p_equivalent < 1 - findings.plan.level:
        within = f"within {100 * rate.half.margin:g} points of it"
        return (
            finding,
            f"The interval includes 50{SPACE}%, the rate of guessing, and the rate was shown to lie {within}.",
        )
    if rate.interval.high - rate.interval.low > 0.3:
        return (
            finding,
            f"The interval includes 50{SPACE}%, but it is wide: more participants or pairs are needed to say.",
        )
    return finding, f"The interval includes 50{SPACE}%, the rate of guessing: no difference from photographs was shown."


def _held(settled: Settled | None, held_at: float) -> str:
    if settled is None or settled.may_hold(held_at):
        return f"The exposure followed the answers, which holds this rate near {percent(held_at)}."
    return (
        f"The exposure followed the answers, which was to hold this rate at {percent(held_at)}: the staircases had not "
        "settled there."
    )


def _exposures(rate: FoolRate, findings: Findings) -> str:
    settled, threshold = _settled(rate, findings), _threshold(rate, findings)
    modal = f"modal {milliseconds(settled.modal_ms if settled else None)}"
    return f"{modal}, threshold {milliseconds(threshold.threshold_ms)}" if threshold else modal


def _settled(rate: FoolRate, findings: Findings) -> Settled | None:
    return next((one for one in findings.settled if one.condition == rate.condition), None)


def _threshold(rate: FoolRate, findings: Findings) -> Threshold | None:
    """None too where most people's lay outside what they were shown."""
    found = (one for one in findings.thresholds if one.condition == rate.condition)
    return next((one for one in found if one.threshold_ms is not None), None)


def reading(comparison: Comparison, level: float) -> str:
    """What a comparison says, in a few words."""
    if comparison.p_adjusted is None:
        return "one participant or pair cannot say"
    if comparison.p_adjusted >= 1 - level:
        return "no difference shown"
    return f"{comparison.a if comparison.difference > 0 else comparison.b} fools more often"


# The sentence in APA style: no space before %, no zero before a p, brackets without units


def t_against_half(rate: FoolRate) -> tuple[float, int] | None:
    """Student's t of the headline interval against 50 %, and its degrees of freedom; None where the interval is not t's."""
    interval, df = rate.interval, min(rate.n_participants, rate.n_pairs) - 1
    if interval.method != "two_way_logit_t":
        return None
    # From the lower end: only towards 0 do fractions stay exact. An interval is expit(logit r -+ quantile * error).
    error = float(logit(rate.fool_rate) - logit(interval.low)) / float(stdtrit(df, (1 + interval.level) / 2))
    return (float(logit(rate.fool_rate)) / error, df) if isfinite(error) and error > 0 else None


def apa_sentence(findings: Findings) -> str:
    """Every condition's result, the comparisons and the ranking as an article would report them; empty without any."""
    sentences = [_apa_rate(rate, findings, is_first=not place) for place, rate in enumerate(findings.conditions)]
    return " ".join([*sentences, *_apa_comparisons(findings), *_apa_ranking(findings)])


def _apa_rate(rate: FoolRate, findings: Findings, *, is_first: bool) -> str:
    people, name = "Simulated participants" if findings.is_simulated else "Participants", rate.condition
    what = f"misjudged the pictures of {name}" if findings.is_one_picture else f"took the fakes of {name} for real"
    start = f"{people} {what} on" if is_first else f"For {name}, it was"
    samples = {_apa_sample(one) for one in findings.conditions}
    each = " per condition" if 1 == len(samples) < len(findings.conditions) else ""
    told = f" ({_apa_sample(rate)}{each})" if is_first or len(samples) > 1 else ""
    parts = [f"{start} {_apa_percent(rate.fool_rate)} of trials{told}, {_apa_span(rate.interval, findings)}"]
    if findings.held_at is not None:
        return "".join([*parts, _apa_held(_settled(rate, findings), findings.held_at), *_apa_exposures(rate, findings)])
    parts.append(_apa_test(rate))
    detection = rate.detection
    if findings.sides_known:
        parts.append(f"d′ = {number(detection.dprime)}")
        if detection.low is not None:
            parts.append(f"{_ci(findings)} [{number(detection.low)}, {number(detection.high)}]")
    sentence = ", ".join(parts)
    if rate.yes_no:
        sentence += ("; the mean of " if rate.yes_no.mean else "; ") + ", and ".join(_apa_errors(rate, findings))
    return "".join([sentence, ".", *_apa_exposures(rate, findings)])


def _apa_held(settled: Settled | None, held_at: float) -> str:
    held = _apa_percent(held_at, 0)
    if settled is None or settled.may_hold(held_at):
        return f", which the staircase holds near {held}."
    return f", where the staircase was to hold {held}: it had not settled there."


def _apa_exposures(rate: FoolRate, findings: Findings) -> Iterator[str]:
    """The modal exposure of an adaptive study and the fitted threshold, each with its interval."""
    settled, threshold = _settled(rate, findings), _threshold(rate, findings)
    told = [("modal exposure", settled.modal_ms, settled.low, settled.high)] if settled else []
    if threshold and threshold.threshold_ms is not None:
        told.append(("threshold of the psychometric function", threshold.threshold_ms, threshold.low, threshold.high))
    if told:
        parts = (f"the {name} was {ms:,.0f} ms{_apa_span_ms(low, high, findings)}" for name, ms, low, high in told)
        yield f" For {rate.condition}, {', and '.join(parts)}."


def _apa_span_ms(low: float | None, high: float | None, findings: Findings) -> str:
    return "" if low is None or high is None else f", {_ci(findings)} [{low:,.0f}, {high:,.0f}]"


def _apa_sample(rate: FoolRate) -> str:
    people, pairs, trials = rate.n_participants, rate.n_pairs, rate.n_trials
    return f"N = {counted(people, 'participant')}, {counted(pairs, 'pair')}, {counted(trials, 'trial')}"


def _apa_test(rate: FoolRate) -> str:
    half, t = rate.half, t_against_half(rate)
    if half.p_value is None:
        return "which one participant or pair cannot compare with 50%"
    told = f"t({t[1]}) = {number(t[0])}, {_apa_p(half.p_value)}" if t else f"{_apa_p(half.p_value)} (exact)"
    test = f"{told} against 50%"
    if half.p_value >= 0.05 and half.p_equivalent is not None:
        test += f" (equivalence within {100 * half.margin:g} points: {_apa_p(half.p_equivalent)})"
    return test


def _apa_errors(rate: FoolRate, findings: Findings) -> Iterator[str]:
    errors = rate.yes_no
    assert errors is not None
    for what, error in (("on fakes", errors.on_fakes), ("on photographs", errors.on_reals)):
        if error:
            yield f"{_apa_percent(error.rate)} errors {what}, {_apa_span(error, findings)}"


def _apa_comparisons(findings: Findings) -> Iterator[str]:
    found = findings.comparisons if findings.held_at is None else ()  # a staircase makes rates equal
    known = [one for one in found if one.p_adjusted is not None]
    if len(found) > _MOST_COMPARISONS:
        n = sum(one.p_adjusted is not None and one.p_adjusted < 1 - findings.plan.level for one in known)
        yield f"Of {len(found)} comparisons between conditions, {n} showed a difference after Holm’s adjustment."
    elif found:
        told = "; ".join(_apa_comparison(one, findings) for one in found)
        adjusted = f" (p-values Holm-adjusted for {len(known)} comparisons)" if len(known) > 1 else ""
        yield f"The fool rate was {told}{adjusted}."


def _apa_comparison(one: Comparison, findings: Findings) -> str:
    """The higher rate first."""
    a, b, low, high = (one.a, one.b, one.low, one.high) if one.difference >= 0 else (one.b, one.a, -one.high, -one.low)
    bounds = ", ".join(_no_minus_zero(f"{100 * bound:.1f}") for bound in (low, high))
    p = "" if one.p_adjusted is None else f", {_apa_p(one.p_adjusted)}"
    return f"{100 * abs(one.difference):.1f} points higher for {a} than for {b}, {_ci(findings)} [{bounds}]{p}"


def _apa_ranking(findings: Findings) -> Iterator[str]:
    if findings.ranking:
        told = (
            f"{one.condition} {number(one.ability)}"
            + (
                ""
                if one.low is None or not one.se_naive
                else f", {_ci(findings)} [{number(one.low)}, {number(one.high)}]"
            )
            for one in findings.ranking
        )
        people, photos, trials = ranked_sample(findings)
        sample = f"N = {counted(people, 'participant')}, {counted(photos, 'photo')}, {counted(trials, 'trial')}"
        yield f"Shown against each other, abilities in logits (Bradley–Terry) were ({sample}): {'; '.join(told)}."


def ranked_sample(findings: Findings) -> tuple[int, int, int]:
    """Participants, photographs and trials behind the ranking."""
    table = keep_counted(findings.table, list(findings.exclusions))
    if "against" not in table:
        return 0, 0, 0
    against, is_main = table["against"], table["kind"] == "main"
    duels = table[is_main & table["chosen_side"].notna() & against.notna() & (against != "")]
    return duels["participant"].nunique(), duels["pair"].nunique(), len(duels)


def _apa_percent(fraction: float, digits: int = 1) -> str:
    return f"{100 * fraction:.{digits}f}%"


def _ci(findings: Findings) -> str:
    return f"{100 * findings.plan.level:g}% CI"


def _apa_span(found: ErrorRate | Interval, findings: Findings) -> str:
    return f"{_ci(findings)} [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def _apa_p(value: float) -> str:
    if value < 0.001:
        return "p < .001"
    return "p > .999" if value > 0.9995 else f"p = {value:.3f}".replace("0.", ".", 1)
