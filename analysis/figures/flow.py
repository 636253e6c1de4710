"""Findings in; what became of everybody who took part, as boxes from top to bottom, out."""

import textwrap
from collections import Counter
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from analysis.exclusions import criteria_of, in_words
from analysis.figures.style import INK, QUIET, add_axes, counted, fitting, number
from analysis.findings import Findings

_LINE_IN, _PAD_IN, _GAP_IN, _INDENT_IN = 0.185, 0.11, 0.2, 0.45
_OUTCOMES = {
    "completed": "completed",
    "screened_out": "screened out before the main trials",
    "failed_checks": "failed the checks",
    "full": "in a group that was full already",
}


@dataclass(frozen=True)
class _Box:
    """``is_aside``: these leave the way from top to bottom."""

    title: str
    lines: tuple[str, ...]
    is_aside: bool


def draw_flow(findings: Findings, width_in: float) -> Figure | None:
    """Began, left and counted; the numbers of sessions add up."""
    if not findings.flow.sessions:
        return None
    wide_in = min(width_in, 5.6)
    boxes = [_wrapped(box, wide_in) for box in _boxes(findings)]
    heights = [2 * _PAD_IN + _LINE_IN * (1 + len(box.lines)) for box in boxes]
    height_in = sum(heights) + _GAP_IN * (len(boxes) - 1) + 0.1
    figure = Figure(figsize=(width_in, height_in))
    axes = add_axes(figure, 0, 0, width_in, height_in)
    axes.set(xlim=(0, width_in), ylim=(height_in, 0))
    axes.axis("off")
    _draw(axes, boxes, heights, (width_in - wide_in) / 2, wide_in)
    return figure


def _boxes(findings: Findings) -> list[_Box]:
    flow = findings.flow
    n_counted = int(findings.trials["session"].nunique())
    n_empty = flow.sessions - flow.sessions_excluded - n_counted
    people = counted(flow.participants, "participant")
    if flow.sessions != flow.participants:
        people += f" in {counted(flow.sessions, 'session')}"
    ended = [f"{number(n)} {_OUTCOMES.get(how, how)}" for how, n in flow.outcomes.items()]
    finished = f"{number(flow.sessions_finished)} answered every main trial"
    trials = f"{counted(flow.trials_shown, 'main trial')} shown"
    declined = (f"{number(flow.refusals)} more declined to take part",) if flow.refusals else ()
    found = [_Box(f"Began: {people}", (trials, finished, *ended, *declined), is_aside=False)]
    if flow.sessions_excluded:
        excluded = counted(flow.sessions_excluded, "session")
        found.append(_Box(f"Excluded by the plan: {excluded}", _reasons(findings), is_aside=True))
    if n_empty > 0:
        found.append(_Box(f"Nothing to count: {counted(n_empty, 'session')}", (), is_aside=True))
    left = counted(flow.trials_counted, "answered main trial")
    found.append(_Box(f"Counted: {counted(flow.participants_counted, 'participant')}", (left,), is_aside=False))
    return found


def _reasons(findings: Findings) -> tuple[str, ...]:
    """How many sessions failed each criterion; a session may fail several."""
    limits = criteria_of(findings.plan, findings.max_missed)
    failed = Counter(one.criterion for one in findings.exclusions)
    lines = [f"{number(n)} with {in_words(name, limits[name])}" for name, n in failed.most_common()]
    if sum(failed.values()) > findings.flow.sessions_excluded:
        lines.append("(some for several reasons)")
    return tuple(lines)


def _wrapped(box: _Box, wide_in: float) -> _Box:
    room = fitting(wide_in - 0.3 - (_INDENT_IN if box.is_aside else 0))
    lines = [part for line in box.lines for part in textwrap.wrap(line, room, subsequent_indent="   ")]
    return _Box(box.title, tuple(lines), box.is_aside)


def _draw(axes: Axes, boxes: list[_Box], heights: list[float], left: float, wide_in: float) -> None:
    top = 0.05
    spine = left + _INDENT_IN / 2
    arrow = {"arrowstyle": "-|>", "color": INK, "shrinkA": 0, "shrinkB": 0}
    last = 0.05 + sum(heights[:-1]) + _GAP_IN * (len(boxes) - 1)
    axes.annotate("", (spine, last), (spine, top), arrowprops=arrow, zorder=2)
    for box, height in zip(boxes, heights, strict=True):
        start = left + (_INDENT_IN if box.is_aside else 0.05)
        patch = FancyBboxPatch(
            (start, top), left + wide_in - 0.05 - start, height, boxstyle="round,pad=0,rounding_size=0.06",
            facecolor="white" if box.is_aside else "#f1f3f6", edgecolor=QUIET, linewidth=0.9, zorder=3,
        )  # fmt: skip
        axes.add_patch(patch)
        first = top + _PAD_IN + _LINE_IN / 2
        axes.text(start + 0.12, first, box.title, va="center", fontweight="bold", zorder=4)
        for k, line in enumerate(box.lines, start=1):
            axes.text(start + 0.12, first + k * _LINE_IN, line, va="center", color=QUIET, zorder=4)
        if box.is_aside:
            axes.annotate("", (start, top + height / 2), (spine, top + height / 2), arrowprops=arrow, zorder=2)
        top += height + _GAP_IN
