"""Commands that bring answers in and take them out: simulate, export."""

import json
import re
from pathlib import Path

import click

from study_app.cli import FOLDER, BoundedFloat, as_json, with_config
from study_app.config import Config, read_secret


def _parse_fool_rates(given: tuple[str, ...], conditions: list[str], default: float) -> dict[str, float]:
    rates = dict.fromkeys(conditions, default)
    for text in given:
        match = re.fullmatch(r"(?:([^=]+)=)?(0?\.\d+|0|1)", text)
        if not match or (match[1] and match[1] not in conditions):
            raise click.BadParameter(
                f"{text!r} is not a fraction such as 0.4, nor one of {', '.join(f'{c}=0.4' for c in conditions)}",
                param_hint="--fool-rate",
            )
        for condition in [match[1]] if match[1] else conditions:
            rates[condition] = float(match[2])
    return rates


@click.command()
@click.argument("name", metavar="STUDY")
@with_config
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="Where the survey is served.")
@click.option("-n", "--participants", default=20, show_default=True, type=click.IntRange(1), help="How many.")
@click.option(
    "--fool-rate",
    "fool_rates",
    multiple=True,
    metavar="[CONDITION=]RATE",
    help="True rate.  [default: 0.4; 0.1 if adaptive]",
)
@click.option("--pair-rates", type=click.Path(path_type=Path, dir_okay=False), help="CSV: condition, pair, fool_rate.")
@click.option("--pair-sd", default=0.6, show_default=True, type=BoundedFloat(0, 5), help="Spread of pairs, logits.")
@click.option("--participant-sd", default=0.5, show_default=True, type=BoundedFloat(0, 5), help="Of people, logits.")
@click.option("--side-bias", default=0.0, show_default=True, type=BoundedFloat(-5, 5), help="Towards left, logits.")
@click.option("--lapse", default=0.02, show_default=True, type=BoundedFloat(0, 1), help="Share of blind guesses.")
@click.option(
    "--threshold-ms", type=BoundedFloat(1, 60_000), help="Half is seen at this exposure.  [default: 300 if adaptive]"
)
@click.option(
    "--slope", default=3.0, show_default=True, type=BoundedFloat(0.1, 20), help="Of what is seen, by exposure."
)
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0), help="Of true rates, people and choices.")
@click.option(
    "--truth", type=click.Path(path_type=Path, dir_okay=False), help="Write the true rate of every pair here."
)
def simulate(
    name: str,
    config: Config,
    url: str,
    participants: int,
    fool_rates: tuple[str, ...],
    pair_rates: Path | None,
    pair_sd: float,
    participant_sd: float,
    side_bias: float,
    lapse: float,
    threshold_ms: float | None,
    slope: float,
    seed: int,
    truth: Path | None,
) -> None:
    """Send simulated participants through the running survey; their answers are marked as simulated for good.

    \b
    Example:  realism simulate flowers -n 40 --fool-rate cgan=0.42 --fool-rate wgan=0.3
    """
    import numpy as np
    from rich.progress import Progress

    from study_app.db import open_migrated
    from study_app.observers import Observers, draw_truth, read_truth
    from study_app.simulate import count_simulated, is_adaptive, study_pairs
    from study_app.simulate import simulate as run

    engine = open_migrated(config.database)
    pairs = study_pairs(engine, name)
    adaptive = is_adaptive(engine, name)
    if threshold_ms is None and adaptive:
        threshold_ms = 300.0
    observers = Observers(pair_sd, participant_sd, side_bias, lapse, threshold_ms, slope)
    if pair_rates:
        true = read_truth(pair_rates, pairs, observers)
    else:
        rates = _parse_fool_rates(fool_rates, list(pairs), 0.1 if adaptive else 0.4)
        true = draw_truth(pairs, rates, observers, np.random.default_rng(seed))
    # Whoever comes later is somebody else, also under the same seed.
    rng = np.random.default_rng([seed, count_simulated(engine, name)])
    if truth:
        true.write_csv(truth)
    with Progress() as progress:
        task = progress.add_task("Simulated participants", total=participants)
        secret = read_secret(config)
        outcomes = run(engine, name, url, secret, true, observers, participants, rng, lambda: progress.advance(task))
    others = "".join(f"; {n} {outcome.replace('_', ' ')}" for outcome, n in outcomes.items() if outcome != "completed")
    click.echo(f"{outcomes['completed']} simulated participants completed study {name!r}{others}.")


@click.command()
@click.argument("name", metavar="STUDY")
@with_config
@click.option("--out", required=True, type=FOLDER, help="Folder to write.")
@click.option("--images/--no-images", default=True, show_default=True, help="Include the pictures of the pair sets.")
@click.option("--recruitment-ids", is_flag=True, help="Add recruitment.csv: who is who. Keep it to yourself.")
@click.option("--replace", is_flag=True, help="Replace an earlier export in --out.")
@as_json
def export(
    name: str, config: Config, out: Path, images: bool, recruitment_ids: bool, replace: bool, as_json: bool
) -> None:
    """Write a study's response table, sessions, codebook, design and pair sets.

    \b
    Example:  realism export flowers --out flowers-export
    """
    from study_app.db import open_migrated
    from study_app.export import export_study

    engine = open_migrated(config.database)
    options = {"images": images, "replace": replace, "recruitment_ids": recruitment_ids}
    rows = export_study(engine, config.store, name, out, **options)
    click.echo(json.dumps({"out": str(out), "rows": rows}) if as_json else f"{rows} trials in {out / 'responses.csv'}")
