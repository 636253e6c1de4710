"""Findings in, every figure of a report out, by name and in the order of the page."""

from collections.abc import Callable

from matplotlib.figure import Figure

from analysis.figures.flow import draw_flow
from analysis.figures.heat_map import draw_heat_map
from analysis.figures.pairs import draw_pairs
from analysis.figures.rates import draw_differences, draw_fool_rates
from analysis.figures.style import mark_simulated, styled
from analysis.figures.thresholds import draw_psychometric, draw_staircases
from analysis.figures.trials import draw_response_times, draw_side_bias, draw_trial_number
from analysis.findings import Findings

WIDE_IN, PHONE_IN = 9.0, 3.7  # a page's and a phone's width, at the size of the page's text


def draw_figures(
    findings: Findings,
    thumbnails: Callable[[str, str], bytes | None] | None = None,
    *,
    width_in: float = WIDE_IN,
    is_marked: bool,
) -> dict[str, Figure]:
    """The figures that the findings have something for; ``style.save_svg`` and ``style.save_png`` make files of them.

    ``thumbnails`` gives the fake of a condition's pair as the bytes of a PNG or JPEG, or None. ``is_marked`` writes
    SIMULATED across each, for figures that travel alone.
    """
    with styled():
        drawn = {
            "fool_rates": draw_fool_rates(findings, width_in),
            "differences": draw_differences(findings, width_in),
            "pairs": draw_pairs(findings, thumbnails, width_in),
            "heat_map": draw_heat_map(findings, width_in),
            "trial_number": draw_trial_number(findings, width_in),
            "response_times": draw_response_times(findings, width_in),
            "side_bias": draw_side_bias(findings, width_in),
            "flow": draw_flow(findings, width_in),
            "psychometric": draw_psychometric(findings, width_in),
            "staircases": draw_staircases(findings, width_in),
        }
        found = {name: figure for name, figure in drawn.items() if figure is not None}
        if is_marked:
            for figure in found.values():
                mark_simulated(figure)
    return found
