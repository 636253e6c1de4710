"""Findings in; the forest of fool rates, and the differences between conditions, out."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from analysis.comparisons import Comparison
from analysis.figures.style import (
    DASHED,
    FAINT,
    INK,
    NARROW_IN,
    PATCH,
    QUIET,
    colors,
    fitting,
    inset_axes,
    percent_axis,
    shorten,
)
from analysis.findings import Findings
from analysis.fool_rate import FoolRate

_ROW_IN = 0.66
MOST_DIFFERENCES = 30  # rows that still fit on a printed page
_NUMBERS, _DIFFERENCE = 23, 17  # characters after a name, after two
_KEY = (
    ("new people, new pictures", 4.5),
    ("new people, these pictures", 2.2),
    ("as if trials were unrelated (Wilson)", 1.0),
)
_MINUS, _SPACE = "\u2212", "\u202f"


def draw_fool_rates(findings: Findings, width_in: float) -> Figure | None:
    """A line per condition: headline interval thick, for these pictures thinner, Wilson's thin; 50 % and its margin."""
    rates = findings.conditions
    if not rates:
        return None
    is_narrow = width_in < NARROW_IN
    key_in = 0.19 * (len(_KEY) if is_narrow else 1) + 0.1
    height_in = 0.62 + key_in + _ROW_IN * (len(rates) + 0.35)
    figure, axes = inset_axes(width_in, height_in, left=0.15, right=0.25, bottom=0.5 + key_in, top=0.12)
    highest = max(max(rate.interval.high, rate.participants_interval.high, rate.fool_rate) for rate in rates)
    end = min(1.0, max(0.65, highest + 0.05))
    color_of = colors(rates)
    short = shorten(color_of, min(40, fitting(width_in - 0.4, 10) - _NUMBERS))
    for row, rate in enumerate(rates):
        _forest_row(axes, row, rate, short[rate.condition], color_of[rate.condition])
    _half_line(axes, findings.plan.equivalence_margin)
    axes.set(xlim=(0, end), ylim=(len(rates) - 0.5, -0.85), yticks=[])
    meaning = (
        "mean of the shares of fakes and of photographs misjudged"
        if findings.is_one_picture
        else "share of answers that took the fake for the real picture"
    )
    quantity = "Mean error" if findings.is_one_picture else "Fool rate"
    axes.set_xlabel(quantity if is_narrow else f"{quantity}: {meaning}")
    axes.spines["left"].set_visible(False)
    percent_axis(axes, "x", 0.1 if end <= 0.7 or not is_narrow else 0.2)
    handles = [Line2D([], [], color=INK if width > 1 else QUIET, linewidth=width, label=text) for text, width in _KEY]
    figure.legend(handles=handles, loc="lower left", ncols=1 if is_narrow else len(_KEY), borderaxespad=0.2)
    return figure


def _forest_row(axes: Axes, row: int, rate: FoolRate, name: str, color: str) -> None:
    low, high = rate.interval.low, rate.interval.high
    lines = (
        (rate.interval, 0.0, 4.5, color),
        (rate.participants_interval, 0.17, 2.2, color),
        (rate.naive, 0.3, 1.0, QUIET),
    )
    for interval, below, width, ink in lines:
        axes.plot(
            [interval.low, interval.high],
            [row + below] * 2,
            color=ink,
            linewidth=width,
            solid_capstyle="butt",
            zorder=3,
        )
    axes.plot(rate.fool_rate, row, "o", color=color, markersize=9, markeredgecolor="white", zorder=4, clip_on=False)
    label = f"{name}   {100 * rate.fool_rate:.1f}{_SPACE}% [{100 * low:.1f}–{100 * high:.1f}]"
    axes.annotate(
        label, (0, row - 0.29), xytext=(2, 0), textcoords="offset points", fontweight="bold", va="center",
        bbox=PATCH, zorder=5,
    )  # fmt: skip


def _half_line(axes: Axes, margin: float) -> None:
    axes.axvspan(0.5 - margin, 0.5 + margin, color=FAINT, alpha=0.3, linewidth=0, zorder=0)
    axes.axvline(0.5, color=INK, linewidth=1, linestyle=DASHED, zorder=1)
    axes.annotate(
        "guessing", (0.5, -0.74), xytext=(4, 0), textcoords="offset points", fontsize=8, color=QUIET, va="center"
    )


def draw_differences(findings: Findings, width_in: float) -> Figure | None:
    """Every two conditions: difference in points with its interval, and Holm's p; hollow where it may be none.

    Of many the largest, in their order. None in an adaptive study, where the staircase holds the rates alike.
    """
    found = findings.comparisons
    if not found or findings.held_at is not None:
        return None
    if len(found) > MOST_DIFFERENCES:
        found = tuple(sorted(found, key=lambda one: -abs(one.difference))[:MOST_DIFFERENCES])
    row_in = 0.42
    under_in = 0.5 if len(found) == len(findings.comparisons) else 0.65
    height_in = 0.25 + under_in + row_in * (len(found) + 0.15)
    figure, axes = inset_axes(width_in, height_in, left=0.15, right=0.25, bottom=under_in, top=0.2)
    low, high = min(0.0, *(one.low for one in found)), max(0.0, *(one.high for one in found))
    reach = max(0.1, high - low)
    names = {name for one in found for name in (one.a, one.b)}
    short = shorten(sorted(names), min(32, (fitting(width_in - 0.4, 8.5) - _DIFFERENCE - 3) // 2))
    start, end = 100 * (low - 0.05 * reach), 100 * (high + 0.05 * reach)
    for row, one in enumerate(found):
        _difference_row(axes, row, one, short, findings.plan.level, start)
    axes.axvline(0, color=INK, linewidth=1, linestyle=DASHED, zorder=1)
    axes.set(xlim=(start, end), ylim=(len(found) - 0.6, -0.75), yticks=[])
    axes.xaxis.set_major_locator(MaxNLocator(5 if width_in < NARROW_IN else 9, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: "0" if value == 0 else f"{value:+.0f}".replace("-", _MINUS))
    )
    axes.grid(True, axis="x", color=FAINT, linewidth=0.5, zorder=0)
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    is_narrow, n_all = width_in < NARROW_IN, len(findings.comparisons)
    meaning = "" if is_narrow else " (first minus second); p adjusted for all comparisons (Holm)"
    quantity = "mean error" if findings.is_one_picture else "fool rate"
    some = f"\nthe {len(found)} largest of {n_all}" if n_all > len(found) else ""
    axes.set_xlabel(f"Difference in {quantity}, points{meaning}{some}")
    return figure


def _difference_row(axes: Axes, row: int, one: Comparison, short: dict[str, str], level: float, start: float) -> None:
    is_different = one.p_adjusted is not None and one.p_adjusted < 1 - level
    color = INK if is_different else QUIET
    axes.plot(
        [100 * one.low, 100 * one.high],
        [row, row],
        color=color,
        linewidth=3 if is_different else 2,
        solid_capstyle="butt",
        zorder=3,
    )
    axes.plot(
        100 * one.difference, row, "o", markersize=7, color=color, markerfacecolor=color if is_different else "white",
        zorder=4, clip_on=False,
    )  # fmt: skip
    p = "" if one.p_adjusted is None else f"   p{_SPACE}{_p(one.p_adjusted)}"
    numbers = f"   {_signed(one.difference)}{p}"
    label = f"{short[one.a]} {_MINUS} {short[one.b]}{numbers}"
    axes.annotate(
        label, (start, row - 0.38), xytext=(2, 0), textcoords="offset points", va="center", fontsize=8.5,
        bbox=PATCH, zorder=5,
    )  # fmt: skip


def _signed(fraction: float) -> str:
    """Percentage points with their sign; zero has none."""
    text = f"{100 * fraction:+.1f}"
    return "0" if float(text) == 0 else text.replace("-", _MINUS)


def _p(value: float) -> str:
    return f"<{_SPACE}.001" if value < 0.001 else f"={_SPACE}{value:.3f}".replace(f"{_SPACE}0", _SPACE)
