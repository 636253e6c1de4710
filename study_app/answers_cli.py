"""Commands that bring answers in and take them out: simulate, export, report."""

import json
import math
import re
import tempfile
from pathlib import Path
from typing import Any

import click

from study_app.cli import FOLDER, as_json, with_config
from study_app.config import Config, read_secret


class BoundedFloat(click.FloatRange):
    """A bounded number; NaN, which no bound holds back, is refused."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value!r} is not a number", param, ctx)
        return number


def _parse_fool_rates(given: tuple[str, ...], conditions: list[str]) -> dict[str, float]:
    rates = dict.fromkeys(conditions, 0.4)
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
@click.option("--fool-rate", "fool_rates", multiple=True, metavar="[CONDITION=]RATE", help="True rate.  [default: 0.4]")
@click.option("--pair-rates", type=click.Path(path_type=Path, dir_okay=False), help="CSV: condition, pair, fool_rate.")
@click.option("--pair-sd", default=0.6, show_default=True, type=BoundedFloat(0, 5), help="Spread of pairs, logits.")
@click.option("--participant-sd", default=0.5, show_default=True, type=BoundedFloat(0, 5), help="Of people, logits.")
@click.option("--side-bias", default=0.0, show_default=True, type=BoundedFloat(-5, 5), help="Towards left, logits.")
@click.option("--lapse", default=0.02, show_default=True, type=BoundedFloat(0, 1), help="Share of blind guesses.")
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
    from study_app.simulate import count_simulated, study_pairs
    from study_app.simulate import simulate as run

    engine = open_migrated(config.database)
    pairs = study_pairs(engine, name)
    observers = Observers(pair_sd, participant_sd, side_bias, lapse)
    if pair_rates:
        true = read_truth(pair_rates, pairs, observers)
    else:
        rates = _parse_fool_rates(fool_rates, list(pairs))
        true = draw_truth(pairs, rates, observers, np.random.default_rng(seed))
    # Whoever comes later is somebody else, also under the same seed.
    rng = np.random.default_rng([seed, count_simulated(engine, name)])
    if truth:
        true.write_csv(truth)
    with Progress() as progress:
        task = progress.add_task("Simulated participants", total=participants)
        run(engine, name, url, read_secret(config), true, observers, participants, rng, lambda: progress.advance(task))
    click.echo(f"{participants} simulated participants completed study {name!r}.")


@click.command()
@click.argument("name", metavar="STUDY")
@with_config
@click.option("--out", required=True, type=FOLDER, help="Folder to write.")
@click.option("--images/--no-images", default=True, show_default=True, help="Include the pictures of the pair sets.")
@click.option("--replace", is_flag=True, help="Replace an earlier export in --out.")
@as_json
def export(name: str, config: Config, out: Path, images: bool, replace: bool, as_json: bool) -> None:
    """Write a study's response table, codebook, design and pair sets.

    \b
    Example:  realism export flowers --out flowers-export
    """
    from study_app.db import open_migrated
    from study_app.export import export_study

    rows = export_study(open_migrated(config.database), config.store, name, out, images=images, replace=replace)
    click.echo(json.dumps({"out": str(out), "rows": rows}) if as_json else f"{rows} trials in {out / 'responses.csv'}")


@click.command()
@click.argument("source")
@with_config
@click.option("--out", required=True, type=FOLDER, help="Folder to write.")
@click.option("--origin", type=click.Choice(["human", "simulated"]), help="Whose answers.  [default: people's if any]")
@as_json
def report(source: str, config: Config, out: Path, origin: str | None, as_json: bool) -> None:
    """Report SOURCE: a study, an export folder, or a response table (CSV or Parquet).

    \b
    Example:  realism report flowers --out flowers-report
    """
    from analysis.report import write_report

    if Path(source).is_file() or (Path(source) / "responses.csv").is_file():
        result = write_report(Path(source), out, origin=origin)
    else:
        result = _report_study(config, source, out, origin)
    if as_json:
        click.echo(json.dumps(result))
        return
    click.echo(f"Report in {out / 'report.html'}")


def _report_study(config: Config, name: str, out: Path, origin: str | None) -> dict[str, Any]:
    from analysis.report import write_report
    from study_app.db import open_migrated
    from study_app.export import export_study

    engine = open_migrated(config.database)
    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder) / name
        export_study(engine, config.store, name, exported)
        return write_report(exported, out, origin=origin)
