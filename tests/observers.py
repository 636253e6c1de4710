"""Simulated observers: a response table whose true fool rates are known."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.special import expit

from analysis.reading.table import check_responses
from protocol.responses import COLUMNS


def population_rate(mean_logit: float, sd_participant: float, sd_pair: float) -> float:
    """The expected fool rate over all people and pictures: the logistic-normal integral, by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    spread = np.hypot(sd_participant, sd_pair)
    return float(weights @ expit(mean_logit + spread * nodes) / weights.sum())


def draw_fooled(
    rng: np.random.Generator,
    n_experiments: int,
    n_participants: int,
    n_pairs: int,
    *,
    mean_logit: float,
    sd_participant: float,
    sd_pair: float,
) -> np.ndarray:
    """Whether everyone was fooled by every pair, (experiments, participants, pairs); both differ, logit-normally."""
    people = rng.normal(0, sd_participant, (n_experiments, n_participants, 1))
    pictures = rng.normal(0, sd_pair, (n_experiments, 1, n_pairs))
    return rng.random((n_experiments, n_participants, n_pairs)) < expit(mean_logit + people + pictures)


def simulate_table(
    rng: np.random.Generator,
    conditions: Mapping[str, float],
    *,
    n_participants: int = 20,
    pairs: list[str] | None = None,
    sd_participant: float = 0.5,
    sd_pair: float = 0.7,
    n_practice: int = 2,
    origin: str = "simulated",
    study: str = "flowers",
) -> pd.DataFrame:
    """A checked response table: everyone sees every pair in every condition, whose mean logits are given."""
    pairs = pairs if pairs is not None else [f"pair{i:02d}" for i in range(20)]
    people = rng.normal(0, sd_participant, n_participants)
    pictures = {condition: rng.normal(0, sd_pair, len(pairs)) for condition in conditions}
    rows = []
    for j in range(n_participants):
        trials = [("main", condition, i) for condition in conditions for i in range(len(pairs))]
        order = [trials[t] for t in rng.permutation(len(trials))]
        practice = [("practice", next(iter(conditions)), i) for i in range(min(n_practice, len(pairs)))]
        for index, (kind, condition, i) in enumerate(practice + order):
            fooled = rng.random() < expit(conditions[condition] + people[j] + pictures[condition][i])
            real_side = ("left", "right")[rng.integers(2)]
            chosen_side = {"left": "right", "right": "left"}[real_side] if fooled else real_side
            row = {
                "study": study,
                "session": f"s{j:03d}",
                "participant": f"p{j:03d}",
                "origin": origin,
                "condition": condition,
                "pair": pairs[i],
                "trial_index": index,
                "kind": kind,
                "real_side": real_side,
                "chosen_side": chosen_side,
                "rt_ms": round(float(rng.lognormal(6.9, 0.35)), 1),
                "exposure_ms": 1000,
                "exposure_measured_ms": round(1000 + float(rng.normal(0, 4)), 1),
                "late_frames": int(rng.random() < 0.02),
                "presented_at": "2026-01-31T09:30:00.000Z",
                "answered_at": "2026-01-31T09:30:02.000Z",
            }
            rows.append(row)
    return check_responses(pd.DataFrame(rows, columns=list(COLUMNS)), "simulated")
