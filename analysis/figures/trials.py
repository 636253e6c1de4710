"""Findings in; how answers go with the trial's number, the response time and the side, out."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.special import bdtr, betainc

from analysis.figures.style import (
    DASHED,
    INK,
    NARROW_IN,
    PALETTE,
    QUIET,
    colors,
    counted,
    fitting,
    inset_axes,
    milliseconds_axis,
    number,
    panels,
    percent_axis,
    shorten,
    whole_numbers,
)
from analysis.findings import Findings
from analysis.fool_rate import by_condition
from analysis.intervals import codes, participants_only

_LEAST, _MOST_BINS = 10, 12  # trials of a bin, bins of a condition
_PERCENTILES = (5, 25, 50, 75, 95)

_Array = NDArray[np.float64]


def draw_trial_number(findings: Findings, width_in: float) -> Figure | None:
    """Fool rate over the course of a session, with the interval for new people and exactly these pictures."""
    trials = dict(by_condition(findings.trials))
    color_of = colors(findings.conditions)
    binned = {name: _over_trials(trials[name], findings.plan.level) for name in color_of}
    drawn = {name: bins for name, bins in binned.items() if len(bins) > 1}
    if not drawn:
        return None
    figure, grid = panels([(name, color_of[name]) for name in drawn], width_in, 1.9)
    top = min(1.0, max(0.65, *(float(bins[:, 3].max()) + 0.03 for bins in drawn.values())))
    last = max(float(bins[-1, 0]) for bins in drawn.values())
    quantity = "Wrong answers" if findings.is_one_picture else "Fool rate"
    for axes, (name, bins) in zip(grid, drawn.items(), strict=True):
        at, rate, low, high = bins.T
        axes.axhline(0.5, color=INK, linewidth=1, linestyle=DASHED, zorder=1)
        axes.fill_between(at, low, high, color=color_of[name], alpha=0.2, linewidth=0, zorder=2)
        axes.plot(at, rate, "o-", color=color_of[name], markersize=5, markeredgecolor="white", zorder=3, clip_on=False)
        axes.set(xlim=(0, last * 1.04), ylim=(0, top), xlabel="Trial of the session", ylabel=quantity)
        percent_axis(axes, "y", 0.1 if top < 0.7 else 0.25)
        whole_numbers(axes)
    return figure


def _over_trials(trials: pd.DataFrame, level: float) -> _Array:
    """Mean trial number from 1, rate, low and high of bins with about as many trials each, (bins, 4)."""
    position = pd.to_numeric(trials["trial_index"], errors="coerce").to_numpy(dtype=float)
    known = ~np.isnan(position)
    position = position[known] + 1
    fooled = trials["fooled"].to_numpy(dtype=bool)[known]
    people = codes(trials["participant"], len(trials), "participant")[0][known]
    if not position.size:
        return np.empty((0, 4))
    _, place, n = np.unique(position, return_inverse=True, return_counts=True)
    n_bins = int(np.clip(position.size // (2 * _LEAST), 1, _MOST_BINS))
    of_value = np.minimum((n.cumsum() - n / 2) / n.sum() * n_bins, n_bins - 1).astype(int)
    of_trial = of_value[place]
    rows = []
    for k in np.unique(of_value):
        here = of_trial == k
        if here.sum() >= _LEAST:
            interval = participants_only(fooled[here], people[here], level)
            rows.append((position[here].mean(), fooled[here].mean(), interval.low, interval.high))
    return np.array(rows).reshape(-1, 4)


def draw_response_times(findings: Findings, width_in: float) -> Figure | None:
    """Two boxes per condition, when fooled and when not: middle half thick, 5th to 95th percentile thin, median."""
    boxes = _response_times(findings)
    if not boxes:
        return None
    names = list(dict.fromkeys(name for name, _, _, _ in boxes))
    is_narrow = width_in < NARROW_IN
    row_in = 0.24
    height_in = 0.55 + row_in * (len(boxes) + len(names))
    figure, axes = inset_axes(width_in, height_in, left=0.74, right=0.2 if is_narrow else 2.0, bottom=0.5, top=0.05)
    color_of, short = colors(findings.conditions), shorten(names, fitting(width_in - 1, 10))
    labels: list[tuple[int, str]] = []
    for name in names:
        row = len(labels) + names.index(name)
        across = axes.get_yaxis_transform()
        axes.plot(0.008, row, "s", color=color_of[name], markersize=8, transform=across, clip_on=False)
        axes.annotate(
            short[name], (0, row), xycoords=across, xytext=(12, 0), textcoords="offset points", va="center",
            fontweight="bold",
        )  # fmt: skip
        for _, is_fooled, n, at in (box for box in boxes if box[0] == name):
            row += 1
            _box(axes, row, at, color_of[name] if is_fooled else QUIET)
            labels.append((row, "right" if not is_fooled else "wrong" if findings.is_one_picture else "fooled"))
            if not is_narrow:
                text = f"median {number(at[2])} ms, {counted(n, 'answer')}"
                axes.text(1.015, row, text, transform=axes.get_yaxis_transform(), va="center", fontsize=8, color=QUIET)
    axes.set_yticks([at for at, _ in labels], labels=[text for _, text in labels])
    axes.tick_params(axis="y", length=0)
    axes.set(ylim=(len(boxes) + len(names) - 0.3, -0.6))
    milliseconds_axis(axes, "x", min(at[0] for *_, at in boxes), max(at[-1] for *_, at in boxes))
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("Response time, ms (log)" if is_narrow else "Response time, ms (logarithmic)")
    return figure


def _response_times(findings: Findings) -> list[tuple[str, bool, int, _Array]]:
    """Condition, whether fooled, number of answers, and ``_PERCENTILES`` of their times."""
    trials = dict(by_condition(findings.trials))
    found = []
    for rate in findings.conditions:
        rt_ms = pd.to_numeric(trials[rate.condition]["rt_ms"], errors="coerce").to_numpy(dtype=float)
        fooled = trials[rate.condition]["fooled"].to_numpy(dtype=bool)
        for is_fooled in (True, False):
            times = rt_ms[(fooled == is_fooled) & (rt_ms > 0)]
            if times.size:
                found.append((rate.condition, is_fooled, times.size, np.percentile(times, _PERCENTILES)))
    return found


def _box(axes: Axes, row: float, at: _Array, color: str) -> None:
    axes.plot([at[0], at[4]], [row, row], color=color, linewidth=1.2, zorder=2)
    axes.plot([at[1], at[3]], [row, row], color=color, linewidth=7, solid_capstyle="butt", alpha=0.55, zorder=3)
    axes.plot(at[2], row, "o", color=color, markersize=6.5, markeredgecolor="white", zorder=4)


def draw_side_bias(findings: Findings, width_in: float) -> Figure | None:
    """Each participant's share of answers on the first side over how many they gave, and what chance would do."""
    trials = findings.trials
    if not findings.sides_known or trials.empty:
        return None
    people = codes(trials["participant"], len(trials), "participant")[0]
    n = np.bincount(people)
    k = np.bincount(people, weights=trials["chose_first"].to_numpy(dtype=bool)).astype(int)[n > 0]
    n = n[n > 0]
    figure, axes = inset_axes(width_in, 3.3, left=0.74, right=0.14, bottom=0.55, top=0.5)
    most = max(10.0, n.max() * 1.1)
    x = np.concatenate([[0.0], np.geomspace(0.5, 1.02 * most, 200)])
    for level, color in ((0.99, "#eceef1"), (0.95, "#dadee3")):
        low = _lower_limit(x, level)
        axes.fill_between(x, low, 1 - low, color=color, linewidth=0, zorder=1)
    axes.axhline(0.5, color=INK, linewidth=1, linestyle=DASHED, zorder=2)
    points, times = np.unique(np.column_stack([n, k]), axis=0, return_counts=True)
    # Moved a little sideways, evenly (by the golden ratio): most people gave as many answers, and would hide each other.
    aside = 0.04 * most * (np.arange(len(points)) * 0.618 % 1 - 0.5) * (len(points) > 1)
    axes.scatter(
        points[:, 0] + aside, points[:, 1] / points[:, 0], s=16 + 24 * np.log(times), color=PALETTE[0], alpha=0.75,
        linewidth=0.4, edgecolor="white", zorder=3, clip_on=False,
    )  # fmt: skip
    low = _lower_limit(n.astype(float), 0.95)
    outside, expected = int((np.abs(k / n - 0.5) > 0.5 - low).sum()), _expected_outside(n, low)
    which = "an answer" if findings.is_one_picture else "a side"
    text = f"{outside} of {counted(n.size, 'participant')} outside the 95\u202f% limits"
    more = f"; {number(expected)} expected if nobody preferred {which} (shaded: 95 and 99\u202f%)"
    text += "" if width_in < NARROW_IN else more
    axes.set_title(text, fontsize=9, fontweight="normal", color=QUIET, pad=10)
    axes.set(xlim=(0, most * 1.02), ylim=(0, 1), xlabel="Answers of the participant")
    axes.set_ylabel(f"Share “{_first_side(trials)}”")
    percent_axis(axes, "y", 0.25)
    whole_numbers(axes)
    return figure


def _lower_limit(n: _Array, level: float) -> _Array:
    """Share of answers below which somebody without a side falls with probability (1 - level) / 2.

    The binomial distribution function at one half is an incomplete beta function, which also has a value between counts.
    """
    p = (1 - level) / 2
    low, high = np.zeros_like(n), n / 2
    for _ in range(40):
        k = (low + high) / 2
        is_below = betainc(n - k, k + 1, 0.5) < p
        low, high = np.where(is_below, k, low), np.where(is_below, high, k)
    return np.where(0.5**n >= p, 0.0, high / np.maximum(n, 1))


def _expected_outside(n: NDArray[np.intp], low: _Array) -> float:
    """How many people without a side fall outside; counts are whole, so that is less than the limits' share of them."""
    most = np.ceil(n * low) - 1
    return float(2 * np.where(most < 0, 0.0, bdtr(np.maximum(most, 0), n, 0.5)).sum())


def _first_side(trials: pd.DataFrame) -> str:
    sides = set(trials["real_side"].unique())
    return next((first for first in ("left", "first", "real") if first in sides), "left")
