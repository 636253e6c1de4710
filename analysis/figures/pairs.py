"""Findings in; every pair's fool rate in order, with pictures of the fakes along it, out."""

import io
from collections.abc import Callable, Sequence
from math import sqrt

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image
from scipy.special import ndtri

from analysis.figures.style import (
    DASHED,
    FAINT,
    INK,
    NARROW_IN,
    PATCH,
    QUIET,
    add_axes,
    colors,
    counted,
    fitting,
    name_panel,
    percent_axis,
    shorten,
)
from analysis.findings import Findings
from analysis.fool_rate import FoolRate, PairRate
from analysis.intervals import wilson

Thumbnails = Callable[[str, str], bytes | None]

_LEFT, _RIGHT, _TOP, _BOTTOM = 0.74, 0.14, 0.34, 0.36  # inches around the axes of a condition
_PLOT_IN, _LEADER_IN, _THUMB_IN, _FOOT_IN, _GAP_IN = 1.75, 0.3, 0.62, 0.06, 0.06
_MOST_DRAWN = 600
_MOST_WITH_PICTURES = 4  # panels above each other; more would not fit on a printed page
_OBSERVED = "#8a9099"
_KEYS = (
    "best estimate with its interval (few answers pull it towards the mean)",
    "estimate, interval",  # on a phone
)


def draw_pairs(findings: Findings, thumbnails: Thumbnails | None, width_in: float) -> Figure | None:
    """A panel per condition, fooled more often first: the pair's shrunken rate with its interval, and what was observed."""
    rates = findings.conditions
    if not rates:
        return None
    columns = 1 if len(rates) <= _MOST_WITH_PICTURES or width_in < NARROW_IN else 2
    rows = [rates[first : first + columns] for first in range(0, len(rates), columns)]
    each_in = width_in / columns
    if len(rows) > _MOST_WITH_PICTURES:
        thumbnails = None
    ordered = {rate.condition: _ordered(findings.pairs, rate.condition) for rate in rates}
    n_thumbs = max(2, int((each_in - _LEFT - _RIGHT + _GAP_IN) / (_THUMB_IN + _GAP_IN)))
    shown = {name: _pictures(name, pairs, thumbnails, n_thumbs) for name, pairs in ordered.items()}
    strip_in = _LEADER_IN + _THUMB_IN + _FOOT_IN
    strips = [strip_in * any(shown[rate.condition] for rate in row) for row in rows]
    height_in = 0.3 + sum(_TOP + _PLOT_IN + _BOTTOM + strip for strip in strips)
    figure = Figure(figsize=(width_in, height_in))
    text_in = 0.1 if each_in < NARROW_IN else _LEFT
    under, color_of, short = height_in, colors(rates), shorten(ordered, fitting(each_in - _LEFT - 0.2, 11.5))
    for row, strip in zip(rows, strips, strict=True):
        under -= _TOP + _PLOT_IN + strip
        for column, rate in enumerate(row):
            name, start = rate.condition, column * each_in
            axes = add_axes(figure, start + _LEFT, under + strip, each_in - _LEFT - _RIGHT, _PLOT_IN)
            _panel(axes, rate, ordered[name], short[name], color_of[name], each_in - _LEFT - _RIGHT)
            if shown[name]:
                _thumbnails(figure, axes, under, shown[name], (start + _LEFT, start + each_in - _RIGHT))
            words = _order_in_words(len(ordered[name]))
            figure.text((start + text_in) / width_in, (under - _BOTTOM + 0.16) / height_in, words, color=QUIET)
        under -= _BOTTOM
    _key(figure, is_narrow=width_in < NARROW_IN)
    return figure


def _key(figure: Figure, *, is_narrow: bool) -> None:
    handles = [
        Line2D([], [], color=INK, marker="o", markersize=5, linestyle="", label=_KEYS[is_narrow]),
        Line2D([], [], color=_OBSERVED, marker=".", linestyle="", label="observed" if is_narrow else "share observed"),
        Line2D([], [], color=QUIET, linewidth=0.8, label="mean"),
        Line2D([], [], color=INK, linewidth=1, linestyle=DASHED, label="guessing"),
    ]
    figure.legend(
        handles=handles[: 3 if is_narrow else 4], loc="lower left", ncols=4, borderaxespad=0.1, handlelength=1.1,
        handletextpad=0.3, columnspacing=0.6 if is_narrow else 1.5,
    )  # fmt: skip


def _ordered(pairs: Sequence[PairRate], condition: str) -> list[PairRate]:
    found = [pair for pair in pairs if pair.condition == condition]
    return sorted(found, key=lambda pair: (-pair.shrunk, -pair.fool_rate, pair.pair))


def _order_in_words(n: int) -> str:
    some = f", {_MOST_DRAWN} of them drawn" if n > _MOST_DRAWN else ""
    return f"{counted(n, 'pair')}{some}" + (": fooled more often → fooled less often" if n > 1 else "")


def _panel(axes: Axes, rate: FoolRate, pairs: list[PairRate], title: str, color: str, plot_in: float) -> None:
    ranks = np.unique(np.linspace(0, len(pairs) - 1, min(len(pairs), _MOST_DRAWN)).round().astype(int))
    drawn = [pairs[k] for k in ranks]
    bounds = [_bounds(pair, rate) for pair in drawn]
    thick = float(np.clip(30 * plot_in / len(drawn), 0.5, 5))  # points, half of what there is
    axes.axhline(0.5, color=INK, linewidth=1, linestyle=DASHED, zorder=1)
    axes.axhline(rate.fool_rate, color=QUIET, linewidth=0.8, zorder=1)
    if rate.components is not None and rate.components.pair == 0:
        axes.annotate(
            "the pairs differ no more than by chance,\nso none has an interval of its own",
            (0.99, 0.04 if rate.fool_rate > 0.5 else 0.96), xycoords="axes fraction", ha="right",
            va="bottom" if rate.fool_rate > 0.5 else "top", fontsize=8, color=QUIET, bbox=PATCH, zorder=6,
        )  # fmt: skip
    low, high = zip(*bounds, strict=True)
    axes.vlines(ranks, low, high, color=color, alpha=0.4, linewidth=thick, zorder=2)
    axes.plot(
        ranks,
        [pair.shrunk for pair in drawn],
        "o",
        color=color,
        markersize=min(5.5, 1.3 * thick + 1),
        zorder=4,
        clip_on=False,
    )
    axes.plot(
        ranks,
        [pair.fool_rate for pair in drawn],
        ".",
        color=_OBSERVED,
        markersize=4 if thick > 1 else 2,
        zorder=3,
        clip_on=False,
    )
    name_panel(axes, title, color)
    axes.set(ylim=(0, 1), xlim=(-0.8, max(len(pairs) - 1, 0) + 0.8), xticks=[])
    axes.set_ylabel("Errors on the pair" if rate.yes_no else "Fool rate of the pair")
    percent_axis(axes, "y", 0.25)


def _bounds(pair: PairRate, rate: FoolRate) -> tuple[float, float]:
    """Of the shrunken rate: normal, from its prediction variance (Robinson 1991); Wilson's where nothing was shrunken."""
    parts = rate.components
    if parts is None:
        naive = wilson(round(pair.fool_rate * pair.n), pair.n, rate.interval.level)
        return naive.low, naive.high
    within = (parts.participant + parts.residual) / pair.n
    variance = parts.pair * within / (parts.pair + within) if parts.pair > 0 else 0.0
    half = ndtri((1 + rate.interval.level) / 2) * sqrt(variance)
    return max(0.0, pair.shrunk - half), min(1.0, pair.shrunk + half)


def _pictures(
    condition: str, pairs: list[PairRate], thumbnails: Thumbnails | None, n_thumbs: int
) -> list[tuple[int, Image.Image]]:
    """Rank and picture of some pairs, evenly from the first to the last; fewer where some are absent."""
    if thumbnails is None:
        return []
    ranks = np.unique(np.linspace(0, len(pairs) - 1, min(len(pairs), n_thumbs)).round().astype(int)).tolist()
    found = ((rank, thumbnails(condition, pairs[rank].pair)) for rank in ranks)
    return [(rank, _small(data)) for rank, data in found if data is not None]


def _small(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data), formats=["PNG", "JPEG"]) as opened:
        picture = opened.convert("RGB")
    picture.thumbnail((round(_THUMB_IN * 200),) * 2, Image.Resampling.LANCZOS)
    return picture


def _thumbnails(
    figure: Figure, axes: Axes, under: float, shown: list[tuple[int, Image.Image]], across: tuple[float, float]
) -> None:
    """Side by side below the axes, which go ``across`` the figure from left to right, each with a line to its pair; few stand below their pairs. All in inches."""
    width_in, height_in = figure.get_figwidth(), _LEADER_IN + _THUMB_IN
    strip = add_axes(figure, 0, under + _FOOT_IN, width_in, height_in)
    first, last = axes.get_xlim()
    start, end = across
    wanted = [start + (end - start) * (rank - first) / (last - first) for rank, _ in shown]
    for (_, picture), at, middle in zip(shown, wanted, _spread(wanted, start, end), strict=True):
        wide, high = (_THUMB_IN / 2 * size / max(picture.size) for size in picture.size)
        extent = (middle - wide, middle + wide, _THUMB_IN - 2 * high, _THUMB_IN)
        strip.imshow(picture, extent=extent, aspect="auto")
        strip.plot([at, middle], [height_in, _THUMB_IN + 0.02], color=FAINT, linewidth=1)
    strip.set(xlim=(0, width_in), ylim=(0, height_in))
    strip.axis("off")


def _spread(wanted: list[float], start: float, end: float) -> list[float]:
    """Middles of thumbnails as near to the wanted ones (ascending) as they fit between start and end."""
    step, half = _THUMB_IN + _GAP_IN, _THUMB_IN / 2
    found: list[float] = []
    for place, at in enumerate(wanted):
        least = found[-1] + step if found else start + half
        most = end - half - step * (len(wanted) - 1 - place)
        found.append(max(least, min(at, most)))
    return found
