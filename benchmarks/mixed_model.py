"""Accuracy and time of ways to fit the crossed model, side by side on simulated answers: python benchmarks/mixed_model.py

Everyone sees every pair; people and pictures differ logit-normally. For each design and candidate: how often the 95 %
interval of the rate (over new people and new pictures) holds the true one, its mean width, the rate's bias; coverage and
bias of either spread; seconds of processor time for one fit. All candidates see the same answers.

    ours         Gibbs sampling with Pólya-Gamma weights (analysis/gibbs.py), 2,000 draws
    short        the same with 400
    headline     the two-way interval of the report, for comparison (it has no spreads)
    numpyro      NUTS, 4 x 500 draws, same priors       (pip install numpyro)
    statsmodels  BinomialBayesMixedGLM, variational     (pip install statsmodels)
    gpboost      Laplace approximation                  (pip install gpboost)

Candidates whose library is not installed are named and left out. ``--one`` fits each of them to one data set of 40 x 100.
``--write`` puts what was measured, and what the other libraries once gave, into docs/methods.md, between its marks.
"""

import argparse
import importlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from page_marks import METHODS, put_into
from scipy.special import expit

from analysis import gibbs
from analysis.gibbs import Floats
from analysis.intervals import two_way

LEVEL = 0.95
TAILS = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
_Z, _WEIGHTS = np.polynomial.hermite_e.hermegauss(40)


@dataclass(frozen=True)
class Design:
    n_participants: int
    n_pairs: int
    rate: float
    participant_sd: float
    pair_sd: float

    def mean_logit(self) -> float:
        """The m whose rate over all people and pictures is ``rate``, by bisection."""
        low, high = -20.0, 20.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (
                (middle, high) if marginal(middle, self.participant_sd, self.pair_sd) < self.rate else (low, middle)
            )
        return low


DESIGNS = (
    Design(10, 10, 0.3, 0.5, 0.7),
    Design(20, 20, 0.1, 0.5, 0.7),
    Design(20, 20, 0.3, 0.5, 1.0),
    Design(20, 40, 0.5, 0.0, 0.0),
    Design(30, 20, 0.3, 1.0, 0.5),
    Design(20, 60, 0.2, 0.5, 0.7),
    Design(40, 40, 0.4, 1.0, 1.0),
)


# Measured once, in November 2026, by this script; the libraries are no part of ``make evidence``, for they are large.
OTHERS = """\
Other libraries, tried in November 2026 (numpyro 0.22.0, gpboost 1.8.0, statsmodels 0.15.0), with the same answers for each row's candidates:

| answers | ours | headline | numpyro (NUTS) | gpboost (Laplace, plug-in) | statsmodels (variational) |
| --- | --- | --- | --- | --- | --- |
| one data set of 40 × 100, spreads .5, .7: width of the rate's interval | .081 | .085 | .082 | .067 | .028 |
| 100 studies of 20 × 20, rate .1, spreads .5, .7: coverage of the rate | 92 % | 94 % | – | 93 % | 81 % |
| the same: coverage of the spread of people; of pairs | | – | – | no interval | 67 %; 61 % |"""


@dataclass(frozen=True)
class Answers:
    fooled: Floats  # (n,), 0 or 1
    participant: np.ndarray
    pair: np.ndarray


# Low, estimate and high, of the rate first; then of the spread of participants and of that of pairs, if there are any.
Fit = list[list[float]]


def marginal(mean: Any, participant_sd: Any, pair_sd: Any) -> Any:
    spread = np.hypot(participant_sd, pair_sd)
    return sum(w * expit(mean + spread * z) for z, w in zip(_Z, _WEIGHTS / _WEIGHTS.sum(), strict=True))


def simulate(design: Design, rng: np.random.Generator) -> Answers:
    participant, pair = np.divmod(np.arange(design.n_participants * design.n_pairs), design.n_pairs)
    people = rng.normal(0, design.participant_sd, design.n_participants)
    pictures = rng.normal(0, design.pair_sd, design.n_pairs)
    p = expit(design.mean_logit() + people[participant] + pictures[pair])
    return Answers((rng.random(p.size) < p).astype(float), participant, pair)


def from_draws(mean: Floats, participant_sd: Floats, pair_sd: Floats) -> Fit:
    of_all = marginal(mean, participant_sd, pair_sd), participant_sd, pair_sd
    return [np.quantile(values, [TAILS[0], 0.5, TAILS[1]]).tolist() for values in of_all]


def fit_ours(answers: Answers, seed: int, n_draws: int = 2000) -> Fit:
    drawn = gibbs.draw_posterior(
        answers.fooled, answers.participant, answers.pair, n_draws, np.random.default_rng(seed)
    )
    return from_draws(drawn.mean, drawn.row_sd, drawn.column_sd)


def fit_headline(answers: Answers, seed: int) -> Fit:
    interval = two_way(answers.fooled, answers.participant, answers.pair, LEVEL)
    return [[interval.low, float(answers.fooled.mean()), interval.high]]


_SAMPLERS: dict[tuple[int, int], Any] = {}  # compiled once for each shape of the answers


def fit_numpyro(answers: Answers, seed: int) -> Fit:
    jax, numpyro = importlib.import_module("jax"), importlib.import_module("numpyro")
    infer = importlib.import_module("numpyro.infer")
    normal, half_normal = numpyro.distributions.Normal, numpyro.distributions.HalfNormal
    shape = int(answers.participant.max()) + 1, int(answers.pair.max()) + 1

    def model(fooled: Any, participant: Any, pair: Any) -> None:
        mean = numpyro.sample("mean", normal(0, gibbs.MEAN_PRIOR_SD))
        participant_sd = numpyro.sample("participant_sd", half_normal(gibbs.SPREAD_PRIOR_SD))
        pair_sd = numpyro.sample("pair_sd", half_normal(gibbs.SPREAD_PRIOR_SD))
        people = numpyro.sample("people", normal(0, 1).expand([shape[0]]).to_event(1))
        pictures = numpyro.sample("pictures", normal(0, 1).expand([shape[1]]).to_event(1))
        logits = mean + participant_sd * people[participant] + pair_sd * pictures[pair]
        numpyro.sample("fooled", numpyro.distributions.Bernoulli(logits=logits), obs=fooled)

    if shape not in _SAMPLERS:
        settings = {"num_warmup": 500, "num_samples": 500, "num_chains": 4, "chain_method": "vectorized"}
        _SAMPLERS[shape] = infer.MCMC(infer.NUTS(model), progress_bar=False, jit_model_args=True, **settings)
    sampler = _SAMPLERS[shape]
    sampler.run(jax.random.key(seed), answers.fooled, answers.participant, answers.pair)
    drawn = {name: np.asarray(values, dtype=float) for name, values in sampler.get_samples().items()}
    return from_draws(drawn["mean"], drawn["participant_sd"], drawn["pair_sd"])


def fit_statsmodels(answers: Answers, seed: int) -> Fit:
    module = importlib.import_module("statsmodels.genmod.bayes_mixed_glm")
    dummies = [np.eye(codes.max() + 1)[codes] for codes in (answers.participant, answers.pair)]
    ident = np.repeat([0, 1], [part.shape[1] for part in dummies])
    ones = np.ones((answers.fooled.size, 1))
    model = module.BinomialBayesMixedGLM(
        answers.fooled, ones, np.hstack(dummies), ident, vcp_p=gibbs.SPREAD_PRIOR_SD, fe_p=gibbs.MEAN_PRIOR_SD
    )
    fitted = model.fit_vb()
    rng = np.random.default_rng(seed)
    log_sds = rng.normal(fitted.vcp_mean, fitted.vcp_sd, (4000, 2))
    return from_draws(rng.normal(fitted.fe_mean[0], fitted.fe_sd[0], 4000), *np.exp(log_sds).T)


def fit_gpboost(answers: Answers, seed: int) -> Fit:
    gpboost = importlib.import_module("gpboost")
    groups = np.column_stack([answers.participant, answers.pair])
    model = gpboost.GPModel(group_data=groups, likelihood="bernoulli_logit", num_parallel_threads=1)
    model.fit(answers.fooled, X=np.ones((answers.fooled.size, 1)))
    mean, error = np.asarray(model.get_coef(std_err=True, format_pandas=False), dtype=float).ravel()[:2]
    sds = np.sqrt(np.asarray(model.get_cov_pars(format_pandas=False), dtype=float).ravel()[:2])
    rate = [float(marginal(mean + 1.96 * error * side, *sds)) for side in (-1, 0, 1)]
    return [rate, *([np.nan, float(sd), np.nan] for sd in sds)]  # it gives the spreads no interval


def fit_ours_short(answers: Answers, seed: int) -> Fit:
    return fit_ours(answers, seed, 400)


CANDIDATES: dict[str, tuple[str, Callable[[Answers, int], Fit]]] = {
    "ours": ("polyagamma", fit_ours),
    "short": ("polyagamma", fit_ours_short),
    "headline": ("scipy", fit_headline),
    "numpyro": ("numpyro", fit_numpyro),
    "statsmodels": ("statsmodels", fit_statsmodels),
    "gpboost": ("gpboost", fit_gpboost),
}


def measure(design: Design, name: str, n_experiments: int) -> dict[str, Any]:
    """One row of the table."""
    fit = CANDIDATES[name][1]
    fits, seconds = [], []
    for seed in range(n_experiments):
        answers = simulate(design, np.random.default_rng(seed))
        start = time.process_time()
        fits.append(fit(answers, seed))
        seconds.append(time.process_time() - start)
    row: dict[str, Any] = {"candidate": name, **vars(design), "n": n_experiments, "seconds": float(np.median(seconds))}
    truths = {"rate": design.rate, "participant_sd": design.participant_sd, "pair_sd": design.pair_sd}
    for what, truth, found in zip(truths, truths.values(), zip(*fits, strict=True), strict=False):
        low, estimate, high = np.array(found).T
        row[f"{what}_coverage"] = float(np.where(np.isnan(low), np.nan, (low <= truth) & (truth <= high)).mean())
        row[f"{what}_width"], row[f"{what}_bias"] = float((high - low).mean()), float((estimate - truth).mean())
    return row


def installed(names: list[str]) -> list[str]:
    found = []
    for name in names:
        try:
            importlib.import_module(CANDIDATES[name][0])
            found.append(name)
        except ImportError:
            print(f"{name} is left out: {CANDIDATES[name][0]} is not installed")
    return found


def table(rows: list[dict[str, Any]]) -> str:
    """What ``measure`` found, in Markdown."""
    lines = [
        "| participants | pairs | fool rate | spreads | interval | coverage of the rate | mean width | bias | coverage of the spread of people | of pairs |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        spreads = [
            f"{row[f'{what}_sd_coverage']:.0%}" if f"{what}_sd_coverage" in row else "–"
            for what in ("participant", "pair")
        ]
        lines.append(
            f"| {row['n_participants']} | {row['n_pairs']} | {row['rate']:g} | {row['participant_sd']:g}, {row['pair_sd']:g} | {row['candidate']} | "
            f"{row['rate_coverage']:.0%} | {row['rate_width']:.3f} | {row['rate_bias']:+.3f} | {' | '.join(spreads)} |"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=200, help="experiments per design  [default: 200]")
    parser.add_argument("--candidates", nargs="+", choices=list(CANDIDATES), default=list(CANDIDATES))
    parser.add_argument("--designs", type=int, nargs="+", default=list(range(len(DESIGNS))), help="which, from 0")
    parser.add_argument("--one", action="store_true", help="one data set of 40 x 100 only")
    parser.add_argument("--json", type=Path, help="write all numbers here")
    parser.add_argument("--write", action="store_true", help="put the table into docs/methods.md")
    parser.add_argument("--spread-prior", type=float, default=gibbs.SPREAD_PRIOR_SD, help="logits  [default: 1]")
    chosen = parser.parse_args(arguments)
    gibbs.SPREAD_PRIOR_SD = chosen.spread_prior
    designs = [Design(40, 100, 0.35, 0.5, 0.7)] if chosen.one else [DESIGNS[i] for i in chosen.designs]
    rows = []
    for design in designs:
        print(design, flush=True)
        for name in installed(chosen.candidates):
            rows.append(measure(design, name, 1 if chosen.one else chosen.n))
            numbers = {key: value for key, value in rows[-1].items() if "_" in key and key not in vars(design)}
            print(f"  {name:12}{rows[-1]['seconds']:7.2f} s", *(f"{k} {v:.3f}" for k, v in numbers.items()), flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=1) + "\n")
    if chosen.write:
        n = 1 if chosen.one else chosen.n
        how = f"{n} simulated studies for each design, everyone sees every pair: `make evidence` (`benchmarks/mixed_model.py`)."
        put_into(METHODS, "mixed model", f"{table(rows)}\n\n{OTHERS}", how)


if __name__ == "__main__":
    main()
