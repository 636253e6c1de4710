"""Findings in, the tables of their results out: conditions, tags, comparisons, models, pairs and participants."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, fields

from analysis.exposures import ExposureComparison
from analysis.findings import Findings
from analysis.writing.latex import Column, Row, Table, count, shown, text
from analysis.writing.report_json import condition_row
from analysis.writing.wording import milliseconds, number, p_value, percent, signed, span, span_of_numbers

# What condition_row gives first, for a table without a row.
_CONDITION_COLUMNS = (
    *("fool_rate", "low", "high", "method", "n_trials", "n_participants", "n_pairs", "naive_low", "naive_high"),
    *("design_effect", "dprime", "side_bias", "median_rt_ms"),
)
_PARTS = ("participant", "pair", "residual")  # of the variance


def result_tables(findings: Findings) -> Iterator[Table]:
    level = percent(findings.plan.level)
    meaning = f"Intervals ({level}) are for new people and new pictures."
    rates = tuple({"condition": rate.condition, **condition_row(rate)} for rate in findings.conditions)
    yield _conditions("conditions", f"Fool rates by condition. {meaning}", rates, level)
    tags = tuple({"tag": one.tag, "condition": one.rate.condition, **condition_row(one.rate)} for one in findings.tags)
    yield _conditions("tags", f"Fool rates by tag of the pictures. {meaning}", tags, level)
    yield _components(findings)
    yield _comparisons(findings, level)
    yield _ranking(findings, level)
    yield _models(findings)
    yield _thresholds(findings, level)
    yield _exposure_comparisons(findings, level)
    yield from _units(findings)


def _conditions(name: str, caption: str, rows: tuple[Row, ...], level: str) -> Table:
    """Of conditions, or of conditions and tags; without any, the CSV has the columns that a study of two pictures has."""
    columns = tuple(rows[0]) if rows else ("condition", *_CONDITION_COLUMNS)
    first = (
        (text("tag", "Tag"), text("condition", "Condition")) if name == "tags" else (text("condition", "Condition"),)
    )
    is_one_picture = any("error_on_fakes" in row for row in rows)
    caption += " p: of the test against 50 %; c: criterion, below 0 a preference for "
    caption += "“real”." if is_one_picture else "left (or first)."
    caption += (
        " The fool rate is the mean of both errors, on fakes and on photographs (HYPE’s score)."
        if is_one_picture
        else " Same pictures: the interval for new people and exactly these pictures."
    )
    latex = (
        *first,
        shown("Fool rate", lambda row: percent(row["fool_rate"], 1)),
        shown(f"{level} interval", lambda row: span(row["low"], row["high"])),
        *(
            (_error("error_on_fakes", "Errors on fakes"), _error("error_on_reals", "Errors on photographs"))
            if is_one_picture
            else (shown("Same pictures", lambda row: span(row["participants_low"], row["participants_high"])),)
        ),
        shown("p, 50 %", lambda row: p_value(row["p_half"])),
        shown("d′", lambda row: number(row["dprime"])),
        shown("c", lambda row: number(row["criterion"])),
        count("n_participants", "Participants"),
        count("n_pairs", "Pairs"),
        count("n_trials", "Trials"),
    )
    return Table(name, caption, columns, rows, latex)


def _error(key: str, heading: str) -> Column:
    def told(row: Row) -> str:
        return "–" if row[key] is None else f"{percent(row[key], 1)} ({span(row[f'{key}_low'], row[f'{key}_high'])})"

    return shown(heading, told)


def _components(findings: Findings) -> Table:
    rows = tuple(
        {"condition": rate.condition, **asdict(rate.components), "design_effect": rate.design_effect}
        for rate in findings.conditions
        if rate.components
    )

    def share(part: str) -> Callable[[Row], str]:
        return lambda row: percent(row[part] / (sum(row[name] for name in _PARTS) or 1), 1)

    return Table(
        "variance_components",
        "How much of the variance of single answers is people, pictures and the rest; SD in logits, approximate.",
        ("condition", *_PARTS, "participant_sd_logit", "pair_sd_logit", "design_effect"),
        rows,
        (
            text("condition", "Condition"),
            *(
                shown(heading, share(part))
                for part, heading in zip(_PARTS, ("People", "Pictures", "Rest"), strict=True)
            ),
            shown("SD, people", lambda row: number(row["participant_sd_logit"])),
            shown("SD, pictures", lambda row: number(row["pair_sd_logit"])),
            shown("Design effect", lambda row: number(row["design_effect"], 1)),
        ),
    )


def _comparisons(findings: Findings, level: str) -> Table:
    return Table(
        "comparisons",
        "Differences between fool rates, in percentage points, clustered on participants and photographs; p adjusted by "
        f"Holm’s method. Intervals ({level}) are for new people and new pictures, and for one comparison each.",
        (
            *("a", "b", "difference", "low", "high", "p_value", "p_adjusted"),
            *("odds_ratio", "odds_low", "odds_high", "mcnemar_chi2", "mcnemar_p"),
        ),
        tuple(asdict(one) for one in findings.comparisons),
        (
            ("Conditions", lambda row: f"{row['a']} − {row['b']}", True),
            shown("Difference", lambda row: signed(row["difference"])),
            shown(f"{level} interval", lambda row: f"{signed(row['low'])} to {signed(row['high'])}"),
            shown("Odds ratio", lambda row: number(row["odds_ratio"])),
            shown(f"{level} interval", lambda row: span_of_numbers(row["odds_low"], row["odds_high"])),
            shown("p", lambda row: p_value(row["p_value"])),
            shown("p, adjusted", lambda row: p_value(row["p_adjusted"])),
        ),
    )


def _ranking(findings: Findings, level: str) -> Table:
    return Table(
        "ranking",
        "Bradley–Terry abilities in logits, relative to the condition at 0. "
        f"Intervals ({level}) are for new people and new pictures.",
        ("condition", "ability", "low", "high", "se_naive", "wins", "losses"),
        tuple(asdict(one) for one in findings.ranking),
        (
            text("condition", "Condition"),
            shown("Ability", lambda row: number(row["ability"])),
            shown(f"{level} interval", lambda row: span_of_numbers(row["low"], row["high"])),
            count("wins", "Taken for real"),
            count("losses", "Not"),
        ),
    )


def _models(findings: Findings) -> Table:
    level = percent(findings.models[0].level) if findings.models else ""
    columns = (
        *("condition", "rate", "low", "high", "participant_sd", "participant_sd_low", "participant_sd_high"),
        *("pair_sd", "pair_sd_low", "pair_sd_high", "level", "library"),
    )
    return Table(
        "mixed_model",
        "Crossed random-effects logistic model: marginal fool rate and spreads in logits, with credible intervals.",
        columns,
        tuple({name: getattr(model, name) for name in columns} for model in findings.models),
        (
            text("condition", "Condition"),
            shown("Fool rate", lambda row: percent(row["rate"], 1)),
            shown(f"{level} interval", lambda row: span(row["low"], row["high"])),
            shown("SD, people", lambda row: number(row["participant_sd"])),
            shown("SD, pictures", lambda row: number(row["pair_sd"])),
        ),
    )


def _thresholds(findings: Findings, level: str) -> Table:
    settled = {one.condition: one for one in findings.settled}
    columns = ("condition", "threshold_ms", "low", "high", "slope", "lapse", "n_participants", "n_outside")
    rows = []
    for one in findings.thresholds:
        modal = settled.get(one.condition)
        told = {"modal_ms": modal.modal_ms, "modal_low": modal.low, "modal_high": modal.high} if modal else {}
        rows.append(
            {**dict.fromkeys(("modal_ms", "modal_low", "modal_high")), **{c: getattr(one, c) for c in columns}, **told}
        )
    return Table(
        "thresholds",
        "Exposure at which a typical participant is right three times in four, from the psychometric function, and the modal "
        f"exposure of an adaptive study. Intervals ({level}) are for new people and these pictures.",
        (*columns, "modal_ms", "modal_low", "modal_high"),
        tuple(rows),
        (
            text("condition", "Condition"),
            shown("Threshold", lambda row: milliseconds(row["threshold_ms"])),
            shown(f"{level} interval", lambda row: span_of_numbers(row["low"], row["high"], 0)),
            shown("Slope", lambda row: number(row["slope"], 1)),
            shown("Lapses", lambda row: percent(row["lapse"], 1)),
            shown("Modal", lambda row: milliseconds(row["modal_ms"])),
            count("n_participants", "Participants"),
        ),
    )


def _exposure_comparisons(findings: Findings, level: str) -> Table:
    return Table(
        "exposure_comparisons",
        "Differences between modal exposures and ratios of thresholds; p adjusted by Holm’s method. "
        f"Intervals ({level}) are for new people and these pictures.",
        tuple(one.name for one in fields(ExposureComparison)),
        tuple(asdict(one) for one in findings.exposure_comparisons),
        (
            ("Conditions", lambda row: f"{row['a']}, {row['b']}", True),
            shown("Modal, difference in ms", lambda row: number(row["difference_ms"], 0)),
            shown(f"{level} interval", lambda row: span_of_numbers(row["difference_low"], row["difference_high"], 0)),
            shown("p, adjusted", lambda row: p_value(row["difference_p_adjusted"])),
            shown("Threshold, ratio", lambda row: number(row["ratio"])),
            shown(f"{level} interval", lambda row: span_of_numbers(row["ratio_low"], row["ratio_high"])),
            shown("p, adjusted", lambda row: p_value(row["ratio_p_adjusted"])),
        ),
    )


def _units(findings: Findings) -> Iterator[Table]:
    """Pairs and participants."""
    for name, unit, records in (
        ("pairs", "pair", findings.pairs),
        ("participants", "participant", findings.participants),
    ):
        yield Table(
            name,
            f"Fool rate of every {unit}, and shrunk: the best guess of what more answers would show.",
            ("condition", unit, "fool_rate", "n", "shrunk"),
            tuple(vars(one) for one in records),
            (
                text("condition", "Condition"),
                text(unit, unit.capitalize()),
                shown("Fool rate", lambda row: percent(row["fool_rate"], 1)),
                count("n", "Answers"),
                shown("Shrunk", lambda row: percent(row["shrunk"], 1)),
            ),
        )
