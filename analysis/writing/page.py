"""Findings, figures and pictures in, the text of report.html out: one page that needs nothing else."""

import base64
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from math import ceil
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape
from scipy.special import chdtri

from analysis.exclusions import criteria_of, in_words
from analysis.figures.rates import MOST_DIFFERENCES
from analysis.figures.style import colors
from analysis.findings import Findings
from analysis.fool_rate import FEW_UNITS
from analysis.intervals import codes
from analysis.plan import NOT_FIXED
from analysis.writing.citations import references
from analysis.writing.gallery import GalleryRow
from analysis.writing.measures import measures
from analysis.writing.methods import methods_paragraph
from analysis.writing.wording import (
    apa_sentence,
    headline,
    milliseconds,
    number,
    p_value,
    percent,
    plural,
    reading,
    signed,
    span,
    span_of_numbers,
)

MOST_ROWS = 50  # of a list on the page; tables/*.csv hold the rest
_MOST_COLUMNS = 4  # conditions in one table, on paper
_SHARES = ("max_one_side", "max_focus_lost", "max_late")
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
            colors=colors(findings.conditions),
            headlines={rate.condition: headline(rate, findings) for rate in findings.conditions},
            apa=apa_sentence(findings),
            methods=methods_paragraph(findings),
            settled={one.condition: one for one in findings.settled},
            measures=measures(findings),
            readings=[reading(comparison, findings.plan.level) for comparison in findings.comparisons],
            mcnemar=_mcnemar(findings),
            criteria=_criteria(findings),
            references=references(findings),
            figures={
                name: f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}" for name, svg in figures.items()
            },
            gallery=rows,
            level=percent(findings.plan.level),
            few_units=FEW_UNITS,
            most_rows=MOST_ROWS,
            not_fixed=NOT_FIXED,
            lost=_lost(findings),
            shares=_SHARES,
            keys=_keys(findings),
            per_table=_per_table(len(findings.conditions)),
            most_differences=MOST_DIFFERENCES,
            quantity="mean error" if findings.is_one_picture else "fool rate",
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
    environment.filters.update(
        percent=percent,
        signed=signed,
        number=number,
        milliseconds=milliseconds,
        p_value=p_value,
        italic_statistics=_italic_statistics,
    )
    environment.globals.update(span=span, span_of_numbers=span_of_numbers, plural=plural)
    return environment


def _italic_statistics(sentence: str) -> Markup:
    """N, t, p and d′ in italics, as APA style has them, so that they are pasted so."""
    return Markup(re.sub(r"\b([Ntp]|d′)(?=\(\d| = | &lt; | &gt; )", r"<i>\1</i>", str(escape(sentence))))


def _mcnemar(findings: Findings) -> str:
    """What McNemar's test would have said where it most overstates, beside the clustered one; empty where it does not."""
    found = [
        one
        for one in findings.comparisons
        if one.mcnemar_p is not None and one.p_value is not None and one.mcnemar_p < one.p_value
    ]
    if not found or findings.is_one_picture:
        return ""
    one = max(found, key=lambda comparison: comparison.mcnemar_chi2 or 0)
    clustered = number(float(chdtri(1, max(one.p_value or 0, 1e-300))), 1)
    n = _answered_once_in_both(findings.trials, one.a, one.b)
    return (
        f"For {one.a} and {one.b} it would have given χ² = {number(one.mcnemar_chi2, 1)}, from "
        f"{plural(n, 'picture that a person', 'pictures that the same person')} judged once in either; "
        f"the p of the clustered test, {p_value(one.p_value)}, is that of a χ² of {clustered}."
    )


def _answered_once_in_both(trials: pd.DataFrame, a: str, b: str) -> int:
    """How many cells of a participant and a pair have exactly one answer in each of two conditions."""
    people, pictures = (codes(trials[unit], len(trials), unit)[0] for unit in ("participant", "pair"))
    cells = people.astype(np.int64) * (int(pictures.max()) + 1) + pictures
    of_a, of_b = (np.unique(cells[trials["condition"] == name], return_counts=True) for name in (a, b))
    return int(np.intersect1d(of_a[0][of_a[1] == 1], of_b[0][of_b[1] == 1], assume_unique=True).size)


def _per_table(n_conditions: int) -> int:
    """Columns of a table of conditions, spread evenly over as few tables as paper has room for."""
    return ceil(n_conditions / max(1, ceil(n_conditions / _MOST_COLUMNS))) or 1


def _keys(findings: Findings) -> dict[str, str]:
    """How a criterion is called where it was set, if otherwise than in an exclusion."""
    return {"max_missed": "catch.max_missed" if findings.plan.max_catch_missed is None else "max_catch_missed"}


def _lost(findings: Findings) -> str:
    """Who declined, and which sessions ended otherwise than complete; empty without any."""
    flow = findings.flow
    parts = [f"{flow.refusals} declined to take part"] if flow.refusals else []
    parts += [f"{flow.outcomes[outcome]} {words}" for outcome, words in _OUTCOMES.items() if outcome in flow.outcomes]
    return f"{', '.join(parts)}." if parts else ""


def _criteria(findings: Findings) -> list[dict[str, Any]]:
    """Every criterion in use, in words, and how many sessions failed it; those that are not used come last, in one line."""
    failed = Counter(exclusion.criterion for exclusion in findings.exclusions)
    used, keys = criteria_of(findings.plan, findings.max_missed), _keys(findings)
    return [
        {"key": keys.get(name, name), "rule": in_words(name, limit).capitalize(), "failed": failed[name]}
        for name, limit in used.items()
    ]
