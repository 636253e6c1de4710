"""What was found of a study's size in; plan.html, plan.json, plan.csv and the picture of width against people and pairs out."""

import base64
import csv
import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from analysis.figures.style import DASHED, FAINT, INK, QUIET, save_png, save_svg, styled
from analysis.planning.power import Candidate
from analysis.planning.study_size import (
    MIN_PAIRS,
    StudySize,
    about,
    advice,
    least_half_width,
    nearest,
    percent,
    pilot_advice,
    points,
    share,
)
from protocol.whole_folder import whole_folder

FORMAT = "realism-plan/1"
_ENTRIES = frozenset({"plan.html", "plan.json", "plan.csv", "width.svg", "width.png"})
_WIDE_IN, _NARROW_IN = 9.0, 3.7  # inches: a page's and a phone's width at the size of the page's text


def plan_folder(out: Path) -> AbstractContextManager[Path]:
    """A folder to write a plan into, which becomes ``out`` when the block ends; an earlier plan gives way.

    Raises:
        FolderError: at once, if ``out`` is something else than a plan.
    """
    return whole_folder(out, "plan", _ENTRIES, _is_plan, replace=True)


def write_plan(size: StudySize, folder: Path) -> None:
    """Write page, numbers and pictures into an empty folder. The same plan gives the same bytes."""
    content = json.dumps(as_json(size), indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "plan.json").write_text(content + "\n", encoding="utf-8")
    _write_table(folder / "plan.csv", size)
    wide = width_figure(size)
    (folder / "width.svg").write_bytes(wide)
    (folder / "width.png").write_bytes(width_figure(size, as_png=True))
    page = render_page(size, {"width": wide, "width-narrow": width_figure(size, width_in=_NARROW_IN)})
    (folder / "plan.html").write_text(page, encoding="utf-8")


def _is_plan(folder: Path) -> bool:
    try:
        plan = json.loads((folder / "plan.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(plan, dict) and plan.get("format") == FORMAT


def as_json(size: StudySize) -> dict[str, Any]:
    """The content of plan.json."""
    best = size.recommended
    return {
        "format": FORMAT,
        "level": size.assumed.level,
        "assumptions": asdict(size.assumed),
        "goal": asdict(size.goal),
        "experiments": size.experiments,
        "seed": size.seed,
        "cost": asdict(size.cost) if size.cost else None,
        "advice": [*advice(size), *pilot_advice(size)],
        "recommended": _row(size, best) if best else None,
        "nearest": None if best else _row(size, nearest(size.found, size.goal)),
        "candidates": [_row(size, one) for one in size.found],
        "countless_people": [{"n_pairs": n, "half_width": least_half_width(size.assumed, n)} for n in _pairs(size)],
        "pilot": asdict(size.pilot) if size.pilot else None,
    }


def _row(size: StudySize, one: Candidate) -> dict[str, Any]:
    cost = size.cost.each * one.n_participants if size.cost else None
    return {**asdict(one), "cost": cost, "is_reached": size.goal.is_reached_by(one)}


def _write_table(path: Path, size: StudySize) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        columns = [field.name for field in fields(Candidate)]
        writer = csv.DictWriter(file, [*columns, "cost", "is_reached"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(_row(size, one) for one in size.found)


def render_page(size: StudySize, figures: dict[str, bytes]) -> str:
    """One self-contained HTML page; ``figures`` holds the SVG "width" and, for a phone, "width-narrow"."""
    environment = Environment(
        loader=PackageLoader("analysis"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, points=points, share=share, about=about)
    return environment.get_template("plan.html").render(
        size=size,
        best=size.recommended or nearest(size.found, size.goal),
        is_reached=size.recommended is not None,
        advice=advice(size),
        pilot_advice=pilot_advice(size),
        grid=grid(size),
        people=_people(size),
        least={n: least_half_width(size.assumed, n) for n in _pairs(size)},
        min_pairs=MIN_PAIRS,
        strength=_strength(size),
        figures={
            name: f"data:image/svg+xml;base64,{base64.b64encode(figure).decode()}" for name, figure in figures.items()
        },
    )


def grid(size: StudySize) -> dict[int, dict[int, Candidate]]:
    """The candidates by pairs, then participants."""
    return {n: {one.n_participants: one for one in size.found if one.n_pairs == n} for n in _pairs(size)}


def _pairs(size: StudySize) -> list[int]:
    return sorted({one.n_pairs for one in size.found})


def _people(size: StudySize) -> list[int]:
    return sorted({one.n_participants for one in size.found})


def _strength(size: StudySize) -> dict[tuple[int, int], float]:
    """How strongly a cell of the width table is coloured, 0 to .5 (dark text stays readable): narrower is stronger."""
    widths = np.log([one.half_width for one in size.found])
    spread = float(np.ptp(widths)) or 1.0
    return {
        (one.n_pairs, one.n_participants): round(0.5 * float(widths.max() - width) / spread, 3)
        for one, width in zip(size.found, widths, strict=True)
    }


def width_figure(size: StudySize, *, width_in: float = _WIDE_IN, as_png: bool = False) -> bytes:
    """Half-width over participants, a line for each number of pairs, and what countless people would leave at its end."""
    with styled():
        is_wide = width_in > 6
        height_in = 4.2 if is_wide else 3.6
        figure = Figure(figsize=(width_in, height_in))
        left, right = 0.62, 1.0 if is_wide else 0.82
        axes = figure.add_axes((left / width_in, 0.55 / height_in, 1 - (left + right) / width_in, 1 - 0.8 / height_in))
        _draw_widths(axes, size, is_wide)
        _draw_labels(axes, size, height_in - 0.8)
        _draw_goal(axes, size)
        axes.set_xlabel("Participants" + (" (log scale)" if is_wide else ""))
        axes.set_title(
            f"Half of the {percent(size.assumed.level)} interval’s width, points", loc="left", fontsize=9, color=QUIET
        )
        return save_png(figure) if as_png else save_svg(figure)


def _draw_widths(axes: Axes, size: StudySize, is_wide: bool) -> None:
    people = _people(size)
    for color, (_, row) in zip(_colors(len(_pairs(size))), grid(size).items(), strict=True):
        halves = [100 * one.half_width for one in row.values()]
        axes.plot(people, halves, "o-", color=color, linewidth=2, markersize=4.5, markeredgecolor="white", zorder=3)
    axes.set(xscale="log", yscale="log", xlim=(people[0] / 1.08, people[-1] * 1.08))
    ticked = _apart(people, 1.18 if is_wide else 1.45)
    axes.set_xticks(ticked, labels=[str(n) for n in ticked])
    low, high = axes.get_ylim()
    low, high = min(low, 90 * size.goal.half_width), max(high, 110 * size.goal.half_width)
    ticks = [tick for tick in (0.2, 0.3, 0.5, 1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 40, 50) if low <= tick <= high]
    axes.set_ylim(low, high)
    axes.set_yticks(ticks, labels=[f"±{tick:g}" for tick in ticks])
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
        axis.set_minor_formatter(NullFormatter())
    axes.grid(True, axis="y", color=FAINT, linewidth=0.5, zorder=0)


def _draw_labels(axes: Axes, size: StudySize, height_in: float) -> None:
    """The number of pairs beside the end of each line, moved apart where two would touch."""
    rows = list(grid(size).items())
    low, high = np.log(axes.get_ylim())
    at = [(np.log(100 * list(row.values())[-1].half_width) - low) / (high - low) for _, row in rows]
    order = np.argsort(at)
    line = 0.17 / height_in
    moved = np.array(at)
    for before, after in pairwise(order):
        moved[after] = max(moved[after], moved[before] + line)
    for (n_pairs, _), color, y in zip(rows, _colors(len(rows)), moved, strict=True):
        axes.annotate(
            f"{n_pairs} pairs", (1, y), xycoords="axes fraction", xytext=(6, 0), textcoords="offset points",
            color=color, fontweight="bold", va="center",
        )  # fmt: skip


def _draw_goal(axes: Axes, size: StudySize) -> None:
    goal, one = 100 * size.goal.half_width, size.recommended
    axes.axhline(goal, color=INK, linewidth=1, linestyle=DASHED, zorder=2)
    # At the left, on the side of the dashed line where no line starts.
    is_below = min(row[min(row)].half_width for row in grid(size).values()) > size.goal.half_width
    axes.annotate(
        f"asked for: ±{goal:.3g}", (0, goal), xycoords=("axes fraction", "data"), xytext=(4, -4 if is_below else 4),
        textcoords="offset points", va="top" if is_below else "bottom", fontsize=8, color=QUIET,
    )  # fmt: skip
    if one is not None:
        axes.plot(
            one.n_participants, 100 * one.half_width, "o", markersize=13, markerfacecolor="none",
            markeredgecolor=INK, markeredgewidth=1.6, zorder=4,
        )  # fmt: skip


def _colors(n: int) -> list[Any]:
    """From dark to light as pairs grow; viridis, safe for colour-blind readers, without its light end, which paper swallows."""
    return list(matplotlib.colormaps["viridis"](np.linspace(0.0, 0.6, n)))


def _apart(values: Sequence[int], factor: float) -> list[int]:
    """Those far enough from the one before for its label not to touch."""
    kept: list[int] = []
    for value in values:
        if not kept or value >= kept[-1] * factor:
            kept.append(value)
    return kept
