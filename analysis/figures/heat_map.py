"""Findings in; who was fooled by which pair, both in the order of their rates, out."""

from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from analysis.figures.style import FAINT, QUIET, add_axes, colors, counted, panels
from analysis.findings import Findings
from analysis.fool_rate import by_condition
from analysis.intervals import codes

_LEFT = 1.25  # inches left of the key
_MOST = 60  # rows and columns that can be told apart
_UNSEEN: dict[str, Any] = {"facecolor": "white", "edgecolor": "#8a9099", "hatch": "//////", "linewidth": 0}
_SHADES = LinearSegmentedColormap.from_list("fooled", ["#d7e6f2", "#6aaed6", "#0b559f", "#061c3a"])


def draw_heat_map(findings: Findings, width_in: float) -> Figure | None:
    """A panel per condition, people fooled most on top, pairs that fooled most at the left; what nobody saw is hatched. Many are put in groups by rank."""
    if not findings.conditions:
        return None
    color_of = colors(findings.conditions)
    trials = dict(by_condition(findings.trials))
    titles = [(name, color_of[name]) for name in color_of]
    figure, grid = panels(titles, width_in, 2.5, left=0.4, bottom=0.62, foot=0.36)
    for axes, (name, _) in zip(grid, titles, strict=True):
        found = trials[name]
        people, pictures = (codes(found[unit], len(found), unit)[0] for unit in ("participant", "pair"))
        fooled = found["fooled"].to_numpy(dtype=bool)
        row, n_people = _places(people, fooled)
        column, n_pairs = _places(pictures, fooled)
        rates = _cells(row, column, fooled)
        axes.patch.set(**_UNSEEN)
        axes.imshow(rates, cmap=_SHADES, vmin=0, vmax=1, aspect="auto", interpolation="none")
        axes.set(xticks=[], yticks=[])
        axes.set_ylabel(_in_words(n_people, "participant"))
        order = "\nfooled more often → fooled less often" if n_pairs > 1 else ""
        axes.set_xlabel(_in_words(n_pairs, "pair") + order, loc="left")
        for spine in axes.spines.values():
            spine.set(visible=True, color=FAINT)
    _key(figure)
    return figure


def _places(units: NDArray[np.intp], fooled: NDArray[np.bool_]) -> tuple[NDArray[np.intp], int]:
    """Row (or column) of every trial, those fooled most first, in at most ``_MOST`` groups of equal size; how many units."""
    n, k = np.bincount(units), np.bincount(units, weights=fooled)
    present = np.flatnonzero(n)
    order = present[np.lexsort((present, -n[present], -(k[present] / n[present])))]
    place = np.zeros(len(n), dtype=np.intp)
    place[order] = np.arange(len(order)) * min(_MOST, len(order)) // len(order)
    return place[units], len(order)


def _cells(row: NDArray[np.intp], column: NDArray[np.intp], fooled: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Share fooled, (rows, columns); NaN where nobody saw it."""
    shape = (int(row.max()) + 1, int(column.max()) + 1)
    cells = row * shape[1] + column
    n = np.bincount(cells, minlength=shape[0] * shape[1])
    k = np.bincount(cells, weights=fooled, minlength=n.size)
    return np.divide(k, n, out=np.full(n.size, np.nan), where=n > 0).reshape(shape)


def _in_words(n: int, noun: str) -> str:
    return counted(n, noun) + (f" in {_MOST} groups" if n > _MOST else "")


def _key(figure: Figure) -> None:
    """The shades with their ends in words, and the hatching of what nobody saw."""
    axes = add_axes(figure, _LEFT, 0.16, 1.0, 0.14)
    axes.imshow(np.linspace(0, 1, 64)[None, :], cmap=_SHADES, aspect="auto", interpolation="none", extent=(0, 1, 0, 1))
    axes.axis("off")
    look: dict[str, Any] = {
        "xycoords": "axes fraction",
        "textcoords": "offset points",
        "va": "center",
        "fontsize": 8,
        "color": QUIET,
    }
    axes.annotate("nobody fooled", (0, 0.5), xytext=(-5, 0), ha="right", **look)
    axes.annotate("all", (1, 0.5), xytext=(5, 0), **look)
    axes.add_patch(Rectangle((1.45, 0), 0.22, 1, clip_on=False, **{**_UNSEEN, "linewidth": 0.5}))
    axes.annotate("not seen", (1.67, 0.5), xytext=(5, 0), **look)
