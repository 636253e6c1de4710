"""How near the threshold comes, and how often its interval holds the true one, in simulated adaptive studies: python benchmarks/thresholds.py

Simulated observers, each with a threshold of their own, are led by the survey's staircase. The threshold of
``analysis.psychometric`` is fitted with the lapse rate estimated and with it known; beside it stand the modal exposure,
as published, and one psychometric curve through everybody's answers. Bias is measured against the geometric mean of the
people drawn, coverage against that of all people.

--write puts the table into docs/methods.md, between its marks.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from page_marks import METHODS, put_into
from rich.progress import track

from analysis.exposures import settled_exposures
from analysis.psychometric import thresholds
from protocol.sections import Staircase
from study_app.staircase import next_exposure_ms

RULE = Staircase()
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Design:
    """Thresholds are log-normal between people: ``spread`` is that of their logarithms, ``threshold_ms`` their middle."""

    name: str
    n_participants: int = 20
    trials: int = 150  # of one block
    blocks: int = 1
    threshold_ms: float = 350
    spread: float = 0.4
    slope: float = 4
    lapse: float = 0.02
    is_weibull: bool = False


DESIGNS = (
    Design("20 people × 150 trials, 350 ms, spread .4, slope 4, lapses 2 %"),
    Design("no lapses", lapse=0),
    Design("lapses 5 %", lapse=0.05),
    Design("3 blocks × 50 trials", trials=50, blocks=3),
    Design("200 ms, spread .5, slope 3", threshold_ms=200, spread=0.5, slope=3),
    Design("600 ms, slope 3", threshold_ms=600, slope=3),
    Design("slope 8", slope=8),
    Design("40 trials", trials=40),
    Design("6 people", n_participants=6),
    Design("spread .1", spread=0.1),
    Design("Weibull observers, slope 3", slope=3, is_weibull=True),
)


@dataclass(frozen=True)
class Found:
    """Of ``without`` of the studies no threshold could be told; the rest is about the others, NaN where there are none.

    ``bias`` is a fraction of the true threshold, ``coverage`` NaN without an interval.
    """

    bias: float
    coverage: float
    without: float


def simulate(design: Design, n: int) -> tuple[pd.DataFrame, Floats]:
    """Answers of ``n`` studies, each a condition of the table, and everybody's true log threshold (n, participants)."""
    rng = np.random.default_rng([round(1000 * setting) for setting in astuple(design)[1:]])
    own = np.log(design.threshold_ms) + rng.normal(0, design.spread, (n, design.n_participants))
    runs = own.size, design.blocks
    # The survey's own rule, looked up for all observers at once: (wrong or right, exposure) → the next exposure.
    after = np.array(
        [[next_exposure_ms(RULE, ms, correct=bool(correct)) for ms in range(RULE.max_ms + 1)] for correct in (0, 1)]
    )
    exposures, correct = np.empty((2, *runs, design.trials), dtype=int)
    now_ms = np.full(runs, RULE.start_ms)
    for trial in range(design.trials):
        is_correct = rng.random(runs) < p_correct(design, now_ms / np.exp(own).reshape(-1, 1))
        exposures[:, :, trial], correct[:, :, trial] = now_ms, is_correct
        now_ms = after[is_correct.astype(int), now_ms]
    person, block, trial_of_block = (index.ravel() for index in np.indices(exposures.shape))
    answers = {
        "condition": person // design.n_participants,
        "participant": person,
        "session": person,
        "block": block,
        "trial_index": block * design.trials + trial_of_block,
        "exposure_ms": exposures.ravel().astype(float),
        "fooled": correct.ravel() == 0,
    }
    return pd.DataFrame(answers), own


def p_correct(design: Design, relative: Floats) -> Floats:
    """From exposures relative to the observer's threshold, where either form is half way up."""
    powers = relative**design.slope
    rise = 1 - 0.5**powers if design.is_weibull else powers / (1 + powers)
    return np.asarray(0.5 + (0.5 - design.lapse) * rise)


def fitted(trials: pd.DataFrame, lapse: float | None) -> Floats:
    """Low, threshold and high of each study, (n, 3); NaN for None."""
    return np.array([(one.low, one.threshold_ms, one.high) for one in thresholds(trials, lapse=lapse)], dtype=float)


def modal(trials: pd.DataFrame) -> Floats:
    return np.array([(one.low, one.modal_ms, one.high) for one in settled_exposures(trials)], dtype=float)


def pooled(trials: pd.DataFrame, lapse: float) -> Floats:
    """The fit to everybody's answers, as if they were one person's."""
    return fitted(trials.assign(participant=0), lapse)


def judge(design: Design, own: Floats, ends: Floats) -> Found:
    """From the true log thresholds (n, participants), and low, estimate and high (n, 3)."""
    is_told = np.isfinite(ends[:, 1])
    if not is_told.any():
        return Found(np.nan, np.nan, 1.0)
    low, estimate, high = ends[is_told].T
    bias = np.expm1((np.log(estimate) - own[is_told].mean(axis=1)).mean())
    held = np.where(np.isnan(low), np.nan, (low <= design.threshold_ms) & (design.threshold_ms <= high))
    return Found(float(bias), float(held.mean()), float(1 - is_told.mean()))


def measure(design: Design, n: int) -> list[Found]:
    """The four columns of the table: lapses estimated, lapses known, modal exposure, one curve for all."""
    trials, own = simulate(design, n)
    ways: Sequence[Callable[[pd.DataFrame], Floats]] = (
        partial(fitted, lapse=None),
        partial(fitted, lapse=design.lapse),
        modal,
        partial(pooled, lapse=design.lapse),
    )
    return [judge(design, own, way(trials)) for way in ways]


def table(found: list[tuple[Design, list[Found]]]) -> str:
    rows = [
        "| people and study | lapses estimated: bias | coverage | lapses known: bias | coverage | modal exposure: bias | coverage "
        "| one curve through all answers: bias |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for design, (estimated, known, settled, one_curve) in found:
        cells = [text for way in (estimated, known, settled) for text in (_bias(way), _pc(way.coverage))]
        rows.append(f"| {' | '.join([design.name, *cells, _bias(one_curve)])} |")
    return "\n".join(rows)


def _bias(found: Found) -> str:
    if found.without == 1:
        return "no threshold"
    return _pc(found.bias, "+.1f") + (f" ({_pc(found.without, '.0f')} no threshold)" if found.without else "")


def _pc(fraction: float, form: str = ".1f") -> str:
    return f"{100 * fraction:{form}} %"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=200, help="studies per design  [200]")
    parser.add_argument("--write", action="store_true", help="put the table into docs/methods.md")
    chosen = parser.parse_args(arguments)
    tables = table([(design, measure(design, chosen.n)) for design in track(DESIGNS, "Thresholds")])
    print(tables)
    if chosen.write:
        how = (
            f"{chosen.n} simulated studies for each design, `python benchmarks/thresholds.py -n {chosen.n} --write`. Each row says what differs "
            "from the first. Bias is against the geometric mean of the people drawn, coverage (nominal 95 %) against that of all people. "
            "*No threshold*: the share of studies in which most thresholds lay outside what was shown; the other numbers are those of the rest. "
            "The modal exposure averages milliseconds and not their logarithms, which alone makes 8 % at a spread of .4."
        )
        put_into(METHODS, "thresholds", tables, how)


if __name__ == "__main__":
    main()
