"""Fool rates in, figures as SVG out: drawn without any global state, the same bytes for the same numbers."""

import io
from collections.abc import Sequence
from math import ceil
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MultipleLocator
from scipy import stats

from analysis.fool_rate import FoolRate, PairRate
from analysis.intervals import wilson

# Okabe & Ito 2008, safe for colour-blind readers; the strong ones first, and not the yellow, which paper swallows.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_INK, _QUIET, _FAINT = "#1b1e23", "#5d646e", "#c9cdd3"
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "realism",  # element ids from the content, not from chance
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": _INK,
    "axes.edgecolor": _FAINT,
    "axes.labelcolor": _QUIET,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _QUIET,
    "ytick.color": _QUIET,
}
_PERCENT = FuncFormatter(lambda value, _: f"{100 * value:.0f}\u202f%")


def forest(rates: Sequence[FoolRate], *, is_simulated: bool = False, width_in: float = 9.0) -> bytes:
    """Fool rate per condition on one line each: headline interval thick, Wilson's thin beneath, a line at 50 %."""
    with matplotlib.rc_context(_STYLE):
        height_in = 0.95 + 0.62 * max(1, len(rates))
        figure = Figure(figsize=(width_in, height_in))
        axes = figure.subplots(gridspec_kw=_margins(figure, left=0.15, right=0.25, bottom=0.48, top=0.05))
        end = max([0.65, *(rate.interval.high + 0.05 for rate in rates), *(rate.fool_rate + 0.1 for rate in rates)])
        for row, rate in enumerate(rates):
            _forest_row(axes, row, rate, min(1.0, end), width_in)
        axes.axvline(0.5, color=_INK, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        axes.annotate("guessing", (0.5, -0.78), xytext=(4, 0), textcoords="offset points", fontsize=8, color=_QUIET)
        axes.set(xlim=(0, min(1.0, end)), ylim=(max(1, len(rates)) - 0.35, -0.95), yticks=[])
        meaning = ": share of answers that took the fake for the real picture" if width_in > 6 else ""
        axes.set_xlabel(f"Fool rate{meaning}")
        axes.spines["left"].set_visible(False)
        _percent_axis(axes, "x")
        return _svg(figure, is_simulated)


def _forest_row(axes: Axes, row: int, rate: FoolRate, end: float, width_in: float) -> None:
    color = PALETTE[row % len(PALETTE)]
    low, high = rate.interval.low, rate.interval.high
    axes.plot([low, high], [row, row], color=color, linewidth=4, solid_capstyle="butt", zorder=3)
    axes.plot(rate.fool_rate, row, "o", color=color, markersize=9, markeredgecolor="white", zorder=4, clip_on=False)
    axes.plot([rate.naive.low, rate.naive.high], [row + 0.2, row + 0.2], color=_QUIET, linewidth=1.2, zorder=3)
    label = f"{_short(rate.condition)}   {100 * rate.fool_rate:.0f}\u202f% [{100 * low:.0f}–{100 * high:.0f}]"
    # Above the bar, moved left where it would leave the figure (a bold letter is some .09 inches wide).
    start = max(0.0, min(low, end * (1 - 0.09 * len(label) / width_in)))
    axes.annotate(
        label,
        (start, row - 0.28),
        xytext=(-1, 0),
        textcoords="offset points",
        fontweight="bold",
        va="center",
        parse_math=False,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1},
        zorder=5,
    )


def pair_spread(
    rates: Sequence[FoolRate], pairs: Sequence[PairRate], *, is_simulated: bool = False, width_in: float = 9.0
) -> bytes:
    """Every pair's fool rate, sorted, per condition; dashed: what chance alone would spread around the mean."""
    with matplotlib.rc_context(_STYLE):
        n_columns = max(1, min(len(rates), round(width_in / 4)))
        n_rows = max(1, ceil(len(rates) / n_columns))
        figure = Figure(figsize=(width_in, 0.1 + 2.7 * n_rows))
        margins = _margins(figure, left=0.68, right=0.08, bottom=0.3, top=0.3)
        grid = figure.subplots(
            n_rows, n_columns, sharey=True, squeeze=False, gridspec_kw={**margins, "hspace": 0.32, "wspace": 0.06}
        )
        for position, axes in enumerate(grid.flat):
            if position >= len(rates):
                axes.set_visible(False)
                continue
            rate = rates[position]
            _spread_panel(axes, rate, [pair for pair in pairs if pair.condition == rate.condition], position)
        for axes in grid[:, 0]:
            axes.set_ylabel("Fool rate of the pair")
        return _svg(figure, is_simulated)


def _spread_panel(axes: Axes, rate: FoolRate, pairs: Sequence[PairRate], position: int) -> None:
    color = PALETTE[position % len(PALETTE)]
    ordered = sorted(pairs, key=lambda pair: -pair.fool_rate)
    x = np.arange(1, len(ordered) + 1)
    bounds = [wilson(round(pair.fool_rate * pair.n), pair.n, rate.interval.level) for pair in ordered]
    axes.axhline(0.5, color=_INK, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    axes.vlines(x, [b.low for b in bounds], [b.high for b in bounds], color=color, alpha=0.35, linewidth=1.6, zorder=2)
    axes.plot(x, [pair.fool_rate for pair in ordered], "o", color=color, markersize=4, zorder=4)
    # Were all pairs alike, the sorted rates would follow the quantiles of one binomial distribution.
    n = int(np.median([pair.n for pair in ordered]))
    chance = stats.binom.ppf(1 - (x - 0.5) / len(x), n, rate.fool_rate) / n
    axes.plot(x, chance, color=_QUIET, linewidth=1.2, drawstyle="steps-mid", zorder=3)
    axes.set_title(_short(rate.condition), loc="left", fontsize=10, fontweight="bold", parse_math=False)
    axes.set(ylim=(-0.03, 1.03), xlim=(0.2, len(ordered) + 0.8), xticks=[])
    axes.set_xlabel(f"{len(ordered)} pairs, fooled more often → fooled less often")
    _percent_axis(axes, "y")


def _margins(figure: Figure, *, left: float, right: float, bottom: float, top: float) -> dict[str, float]:
    """Inches around the axes as the fractions that a grid wants. All labels are short, so nothing need be measured."""
    width_in, height_in = figure.get_size_inches()
    return {
        "left": left / width_in,
        "right": 1 - right / width_in,
        "bottom": bottom / height_in,
        "top": 1 - top / height_in,
    }


def _percent_axis(axes: Axes, which: Literal["x", "y"]) -> None:
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(MultipleLocator(0.25 if which == "y" else 0.1))
    axis.set_major_formatter(_PERCENT)
    axes.grid(True, axis=which, color=_FAINT, linewidth=0.5, zorder=0)
    axes.set_axisbelow(True)


def _short(name: str, longest: int = 28) -> str:
    """A long name without its middle: names of one study often differ only at an end."""
    return name if len(name) <= longest else f"{name[: longest // 2]}…{name[1 - longest // 2 :]}"


def _svg(figure: Figure, is_simulated: bool) -> bytes:
    if is_simulated:
        figure.text(
            0.5, 0.5, "SIMULATED", fontsize=7 * figure.get_figwidth(), color="#b00020", alpha=0.12, rotation=12,
            ha="center", va="center", fontweight="bold", zorder=10,
        )  # fmt: skip
    buffer = io.BytesIO()
    FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})
    return buffer.getvalue()
