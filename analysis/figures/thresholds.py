"""Findings in; how answers get better with exposure, and the staircases of an adaptive study, out."""

from collections import defaultdict

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.style import (
    DASHED,
    INK,
    PATCH,
    QUIET,
    colors,
    counted,
    milliseconds_axis,
    number,
    panels,
    percent_axis,
    whole_numbers,
)
from analysis.findings import Findings
from analysis.psychometric import Staircase, Threshold, staircases


def draw_psychometric(findings: Findings, width_in: float) -> Figure | None:
    """Share of right answers over exposure per condition: points as shown, the fitted curve, the threshold's interval."""
    found = [one for one in findings.thresholds if one.points]
    if not found:
        return None
    color_of = colors(findings.conditions)
    shown = [ms for one in found for ms, *_ in (*one.curve, *one.points)]
    figure, grid = panels([(one.condition, color_of[one.condition]) for one in found], width_in, 2.1)
    most = max(n for one in found for _, n, _ in one.points)
    floor = min(0.4, min(correct / n for one in found for _, n, correct in one.points) - 0.05)
    for axes, one in zip(grid, found, strict=True):
        milliseconds_axis(axes, "x", min(shown), max(shown))
        _curve(axes, one, color_of[one.condition], most, floor)
        axes.set(ylim=(floor, 1.02), xlabel=_axis(one), ylabel="Right answers")
        percent_axis(axes, "y", 0.1)
    return figure


def _axis(one: Threshold) -> str:
    """With a threshold, each participant's exposures are scaled so that their own threshold falls on the typical one."""
    if one.threshold_ms is None:
        return "Exposure, ms (logarithmic)"
    return f"Exposure ÷ own threshold × {number(one.threshold_ms)} ms (log)"


def _curve(axes: Axes, one: Threshold, color: str, most: int, floor: float) -> None:
    axes.axhline(0.5, color=INK, linewidth=1, linestyle=DASHED, zorder=1)
    if one.curve:
        axes.plot(*zip(*one.curve, strict=True), color=color, linewidth=2, zorder=2)
    at, n, correct = (np.array(values, dtype=float) for values in zip(*one.points, strict=True))
    axes.scatter(at, correct / n, s=12 + 40 * n / most, color=color, edgecolor="white", linewidth=0.6, zorder=3)
    if one.threshold_ms is None:
        text = "no threshold within\nthe exposures shown"
    else:
        middle = 0.5 + (0.5 - one.lapse) / 2
        text = f"threshold {number(one.threshold_ms)} ms"
        axes.plot([one.threshold_ms] * 2, [floor, middle], color=color, linewidth=1, zorder=2)
        if one.low is not None and one.high is not None:
            axes.plot(
                [one.low, one.high], [floor + 0.02] * 2, color=color, linewidth=4, solid_capstyle="butt", zorder=3
            )
            text += f"\n[{number(one.low)}–{number(one.high)}]"
    axes.annotate(text, (0.03, 0.97), xycoords="axes fraction", va="top", fontsize=8, color=QUIET, bbox=PATCH)


def draw_staircases(findings: Findings, width_in: float) -> Figure | None:
    """Exposure over the trials of a block, a line for each block of some participants, and their median thick."""
    if not findings.settled:
        return None
    by_name: dict[str, list[Staircase]] = defaultdict(list)
    for one in staircases(findings.trials):
        by_name[one.condition].append(one)
    if not by_name:
        return None
    color_of = colors(findings.conditions)
    names = [name for name in color_of if name in by_name]
    figure, grid = panels([(name, color_of[name]) for name in names], width_in, 2.1)
    shown = [ms for runs in by_name.values() for run in runs for ms in run.exposures_ms]
    modal = {one.condition: one.modal_ms for one in findings.settled}
    people_of = {rate.condition: rate.n_participants for rate in findings.conditions}
    for axes, name in zip(grid, names, strict=True):
        milliseconds_axis(axes, "y", min(shown), max(shown))
        _steps(axes, by_name[name], color_of[name])
        drawn, people = len({run.participant for run in by_name[name]}), people_of[name]
        some = counted(people, "participant") if drawn == people else f"{drawn} of {counted(people, 'participant')}"
        axes.set(xlabel=f"Trial of the block ({some})", ylabel="Exposure, ms (log)")
        if name in modal:
            axes.axhline(modal[name], color=INK, linewidth=1, linestyle=DASHED, zorder=4)
            axes.annotate(
                f"- - modal {number(modal[name])} ms", (1, 1), xycoords="axes fraction", ha="right", va="top", fontsize=8,
                color=QUIET, bbox=PATCH, zorder=5,
            )  # fmt: skip
    return figure


def _steps(axes: Axes, runs: list[Staircase], color: str) -> None:
    longest = max(len(run.exposures_ms) for run in runs)
    table = np.full((len(runs), longest), np.nan)
    for row, run in zip(table, runs, strict=True):
        row[: len(run.exposures_ms)] = run.exposures_ms
        trial = np.arange(1, len(run.exposures_ms) + 1)
        axes.step(trial, run.exposures_ms, where="mid", color=color, alpha=0.3, linewidth=0.8, zorder=2)
    axes.plot(np.arange(1, longest + 1), np.nanmedian(table, axis=0), color=color, linewidth=2.2, zorder=3)
    axes.set_xlim(0.5, longest + 0.5)
    whole_numbers(axes)
