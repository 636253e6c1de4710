"""A figure in, its SVG or PNG out, the same bytes for the same numbers; and what all figures look like. No pyplot."""

import io
from collections.abc import Iterable
from contextlib import AbstractContextManager
from math import ceil
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, MultipleLocator, NullFormatter

from analysis.fool_rate import FoolRate

# Okabe & Ito 2008, safe for colour-blind readers; the strong ones first, and not the yellow, which paper swallows.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
INK, QUIET, FAINT = "#1b1e23", "#5d646e", "#c9cdd3"
DASHED = (0, (4, 3))
PATCH: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1}  # behind text on lines
_MARK_IN = 0.17  # for the mark before a name
NARROW_IN = 6.0  # below this width a figure is for a phone
_SPACE = "\u202f"
_SVG_DPI = 150  # of the pictures in it
_CHARACTER = 0.62  # mean width of a character of the font, in ems
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "realism",  # element ids from the content, not from chance
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,  # a name may hold dollars
    "axes.edgecolor": FAINT,
    "axes.labelcolor": QUIET,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "savefig.bbox": None,
}


def styled() -> AbstractContextManager[None]:
    """Within it figures are drawn and saved in one look, whatever the settings of the caller."""
    return matplotlib.rc_context(_STYLE)


def save_svg(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    with styled():
        figure.savefig(buffer, format="svg", dpi=_SVG_DPI, metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def save_png(figure: Figure, dpi: int = 200) -> bytes:
    buffer = io.BytesIO()
    with styled():
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def mark_simulated(figure: Figure) -> None:
    """SIMULATED across the figure, several times down a tall one."""
    width_in, height_in = figure.get_size_inches()
    n = max(1, round(height_in / 6))
    for k in range(n):
        figure.text(
            0.5, (k + 0.5) / n, "SIMULATED", fontsize=min(7 * width_in, 26 * height_in), color="#b00020", alpha=0.12,
            rotation=12, ha="center", va="center", fontweight="bold", zorder=10,
        )  # fmt: skip


def inset_axes(
    width_in: float, height_in: float, *, left: float, right: float, bottom: float, top: float
) -> tuple[Figure, Axes]:
    """A figure and its axes, with margins in inches: labels are short, so nothing need be measured."""
    figure = Figure(figsize=(width_in, height_in))
    return figure, add_axes(figure, left, bottom, width_in - left - right, height_in - bottom - top)


def add_axes(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at a place given in inches."""
    width_in, height_in = figure.get_size_inches()
    return figure.add_axes((left / width_in, bottom / height_in, width / width_in, height / height_in))


def panels(
    titles: Iterable[tuple[str, str]],
    width_in: float,
    height_in: float,
    *,
    left: float = 0.74,
    bottom: float = 0.62,
    foot: float = 0.0,
    most_columns: int = 3,
) -> tuple[Figure, list[Axes]]:
    """A figure of one panel per title (its text and colour), ``height_in`` high each without labels; two or three a row.

    ``left`` and ``bottom`` are a panel's margins for labels and ``foot`` that of the whole figure, in inches.
    """
    wanted = list(titles)
    rows = ceil(len(wanted) / max(1, min(most_columns, int(width_in / 2.8))))
    columns = ceil(len(wanted) / rows)
    top, right = 0.34, 0.14
    each_in = width_in / columns
    row_in = top + height_in + bottom
    figure = Figure(figsize=(width_in, foot + rows * row_in))
    short = shorten((title for title, _ in wanted), fitting(each_in - left, 11.5))
    found = []
    for place, (title, color) in enumerate(wanted):
        row, column = divmod(place, columns)
        under = foot + (rows - 1 - row) * row_in + bottom
        axes = add_axes(figure, column * each_in + left, under, each_in - left - right, height_in)
        name_panel(axes, short[title], color)
        found.append(axes)
    return figure, found


def name_panel(axes: Axes, name: str, color: str) -> None:
    """The name in ink above the axes, after a mark in its colour: some colours are too pale for letters."""
    wide_in, high_in = axes.bbox.width / axes.figure.dpi, axes.bbox.height / axes.figure.dpi
    axes.set_title(name, x=_MARK_IN / wide_in)
    at = 0.35 * _MARK_IN / wide_in, 1 + 0.135 / high_in
    axes.plot(*at, "s", color=color, markersize=8, transform=axes.transAxes, clip_on=False)


def colors(rates: Iterable[FoolRate]) -> dict[str, str]:
    """The colour of every condition, the same in all figures; one for all where there are more conditions than colours."""
    names = [rate.condition for rate in rates]
    palette = PALETTE if len(names) <= len(PALETTE) else PALETTE[:1] * len(names)
    return dict(zip(names, palette, strict=False))


def percent_axis(axes: Axes, which: Literal["x", "y"], step: float) -> None:
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(MultipleLocator(step))
    axis.set_major_formatter(FuncFormatter(lambda value, _: percent(value)))
    axes.grid(True, axis=which, color=FAINT, linewidth=0.5, zorder=0)
    axes.set_axisbelow(True)


def whole_numbers(axes: Axes) -> None:
    """No half a trial on the x axis."""
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value) if value else "0"))


def milliseconds_axis(axes: Axes, which: Literal["x", "y"], low: float, high: float) -> None:
    """A logarithmic axis over ``low`` to ``high``, widened to at least a factor of 2.5, with plain numbers on it."""
    widen = max(1.08, (2.5 * low / high) ** 0.5)
    low, high = low / widen, high * widen
    axis = axes.xaxis if which == "x" else axes.yaxis
    axes.set(**{f"{which}scale": "log", f"{which}lim": (low, high)})
    steps = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0) if high / low < 5 else (1.0, 2.0, 5.0) if high / low < 100 else (1.0,)
    axis.set_major_locator(LogLocator(subs=steps))
    axis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    axis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis=which, which="minor", length=0)
    axes.grid(True, axis=which, color=FAINT, linewidth=0.5, zorder=0)
    axes.set_axisbelow(True)


def percent(fraction: float) -> str:
    return f"{100 * fraction:.0f}{_SPACE}%"


def number(value: float) -> str:
    """With a thin space between thousands; small ones with as many digits as they need."""
    return f"{value:,.0f}".replace(",", _SPACE) if value >= 10 else f"{value:.2g}"


def counted(n: int, noun: str) -> str:
    return f"{number(n) if n >= 10 else n} {noun}{'s' * (n != 1)}"


def fitting(inches: float, font_size: float = 9) -> int:
    """How many characters of text fit."""
    return max(4, int(inches * 72 / (font_size * _CHARACTER)))


def shorten(names: Iterable[str], longest: int) -> dict[str, str]:
    """Long names without their middle, or, where that would make two alike, without the ends that all have in common.

    Where two are still alike, what is left of each is where it first differs from the one most like it, or else a number.
    """
    names = list(dict.fromkeys(names))
    found = {name: _cut(name, longest) for name in names}
    if len(set(found.values())) < len(names):
        first = _alike(names)
        last = _alike([name[first:][::-1] for name in names])
        found = {name: f"…{_cut(name[first : len(name) - last], longest - 2)}{'…' * (last > 0)}" for name in names}
    if len(set(found.values())) < len(names):
        found = {name: _around(name, names, longest) for name in names}
    if len(set(found.values())) < len(names):
        found = {name: f"{place} {_cut(name, max(2, longest - 3))}" for place, name in enumerate(names, start=1)}
    return found


def _around(name: str, names: list[str], longest: int) -> str:
    """The part of a name with the first letter that tells it from the most similar of the others."""
    differs = max(_alike([name, other]) for other in names if other != name)
    start = max(0, min(differs - longest // 2, len(name) - longest + 1))
    part = name[start : start + longest - 2 + (start == 0)]
    return f"{'…' * (start > 0)}{part}{'…' * (start + len(part) < len(name))}"


def _alike(names: list[str]) -> int:
    """How many characters all names begin with."""
    columns = enumerate(zip(*names, strict=False))
    return next((place for place, letters in columns if len(set(letters)) > 1), min(map(len, names)))


def _cut(name: str, longest: int) -> str:
    if len(name) <= longest:
        return name
    end = (longest - 1) // 2
    return f"{name[: longest - 1 - end]}…{name[len(name) - end :]}"
