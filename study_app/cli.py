"""Commands of studies: options in, one clear line or a page of JSON out."""

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from study_app.config import Config, find_config, read_secret

FOLDER = click.Path(path_type=Path, file_okay=False)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")


def with_database(command: Any) -> Any:
    """--database and --instance, for every command that touches studies."""
    command = click.option(
        "--instance", type=FOLDER, help="Folder of the database, the pictures and the secret key.  [default: instance]"
    )(command)
    return click.option(
        "--database", help="Database URL.  [default: $REALISM_DATABASE_URL, else SQLite in the instance folder]"
    )(command)


@click.group()
def db() -> None:
    """Prepare the database."""


@db.command()
@with_database
def upgrade(database: str | None, instance: Path | None) -> None:
    """Make the database, or bring it to this release's schema.

    \b
    Example:  realism db upgrade
    """
    from study_app.db import upgrade as run

    config = find_config(database, instance)
    before, after = run(config.database)
    click.echo(f"Schema {after}: {'as it was' if before == after else f'upgraded from {before}' if before else 'new'}.")


@click.group()
def study() -> None:
    """Create, list, show and close studies."""


@study.command()
@click.argument("design", metavar="STUDY.toml", type=click.Path(path_type=Path))
@with_database
@as_json
def create(design: Path, database: str | None, instance: Path | None, as_json: bool) -> None:
    """Check a design and its pair sets, and freeze both.

    \b
    Example:  realism study create study.toml
    """
    from study_app.db import open_migrated
    from study_app.studies import create_study

    config = find_config(database, instance)
    created = create_study(open_migrated(config.database), config.store, design)
    if as_json:
        click.echo(json.dumps({"name": created.name, "path": f"/study/{created.name}/"}))
    else:
        click.echo(
            f"Study {created.name!r} is open. Serve it with 'realism serve'; its address ends in /study/{created.name}/"
        )


@study.command("list")
@with_database
@as_json
def list_(database: str | None, instance: Path | None, as_json: bool) -> None:
    """List all studies.

    \b
    Example:  realism study list
    """
    from sqlalchemy import select

    from study_app.db import open_migrated, reading
    from study_app.studies import study_progress
    from study_app.tables import Study

    with reading(open_migrated(find_config(database, instance).database)) as db:
        found = [study_progress(db, row) for row in db.scalars(select(Study).order_by(Study.id))]
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], default=str))
        return
    for one in found:
        click.echo(f"{one.name}\t{one.state}\t{sum(one.completed.values())} completed\t{one.title}")
    if not found:
        click.echo("There is no study yet; make one with 'realism study create'.")


@study.command()
@click.argument("name", metavar="STUDY")
@with_database
@as_json
def show(name: str, database: str | None, instance: Path | None, as_json: bool) -> None:
    """Show a study's conditions and how far it is.

    \b
    Example:  realism study show flowers
    """
    from study_app.db import open_migrated, reading
    from study_app.studies import find_study, study_progress

    with reading(open_migrated(find_config(database, instance).database)) as db:
        progress = study_progress(db, find_study(db, name))
    if as_json:
        click.echo(json.dumps(asdict(progress), default=str))
        return
    click.echo(f"{progress.title}  ({progress.name}, {progress.state})")
    for condition, pairs in progress.conditions.items():
        click.echo(f"  condition {condition}: {pairs} pairs")
    for origin, started in progress.started.items():
        click.echo(f"  {origin}: {started} started, {progress.completed[origin]} completed")
    click.echo(f"  {progress.responses} answers")


@study.command()
@click.argument("name", metavar="STUDY")
@with_database
def close(name: str, database: str | None, instance: Path | None) -> None:
    """Take no more participants; those at work may finish.

    \b
    Example:  realism study close flowers
    """
    from study_app.db import open_migrated
    from study_app.studies import close_study

    changed = close_study(open_migrated(find_config(database, instance).database), name)
    click.echo(f"Study {name!r} is closed." if changed else f"Study {name!r} was closed already.")


@click.command()
@with_database
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535), help="Port to listen on.")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1), help="Processes.")
@click.option("--threads", default=4, show_default=True, type=click.IntRange(1), help="Threads in each.")
@click.option("--report", type=FOLDER, help="Also show this report, to anyone, under /report/.")
def serve(
    database: str | None, instance: Path | None, host: str, port: int, workers: int, threads: int, report: Path | None
) -> None:
    """Serve the survey until stopped.

    \b
    Example:  realism serve --port 8000
    """
    from study_app.db import open_migrated, reading
    from study_app.serve import serve as run
    from study_app.studies import open_study_names

    config = find_config(database, instance)
    with reading(open_migrated(config.database)) as db:
        names = open_study_names(db)
    for name in names:
        click.echo(f"Survey:  http://{host}:{port}/study/{name}/")
    if not names:
        click.echo("No study is open; make one with 'realism study create'.")
    if report:
        click.echo(f"Report:  http://{host}:{port}/report/")
    run(config, host, port, workers, threads, report)


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
@with_database
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="Where the survey is served.")
@click.option("-n", "--participants", default=20, show_default=True, type=click.IntRange(1), help="How many.")
@click.option("--fool-rate", "fool_rates", multiple=True, metavar="[CONDITION=]RATE", help="True rate.  [default: 0.4]")
@click.option("--pair-rates", type=click.Path(path_type=Path, dir_okay=False), help="CSV: condition, pair, fool_rate.")
@click.option("--pair-sd", default=0.6, show_default=True, type=click.FloatRange(0, 5), help="Spread of pairs, logits.")
@click.option(
    "--participant-sd", default=0.5, show_default=True, type=click.FloatRange(0, 5), help="Of people, logits."
)
@click.option("--side-bias", default=0.0, show_default=True, type=float, help="Towards left, logits.")
@click.option("--lapse", default=0.02, show_default=True, type=click.FloatRange(0, 1), help="Share of blind guesses.")
@click.option("--seed", default=1, show_default=True, type=int, help="Of true rates, people and choices.")
@click.option(
    "--truth", type=click.Path(path_type=Path, dir_okay=False), help="Write the true rate of every pair here."
)
def simulate(
    name: str,
    database: str | None,
    instance: Path | None,
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
    from study_app.simulate import simulate as run
    from study_app.simulate import study_pairs

    config = find_config(database, instance)
    engine = open_migrated(config.database)
    pairs = study_pairs(engine, name)
    observers = Observers(pair_sd, participant_sd, side_bias, lapse)
    rng = np.random.default_rng(seed)
    if pair_rates:
        true = read_truth(pair_rates, pairs, observers)
    else:
        true = draw_truth(pairs, _parse_fool_rates(fool_rates, list(pairs)), observers, rng)
    if truth:
        true.write_csv(truth)
    with Progress() as progress:
        task = progress.add_task("Simulated participants", total=participants)
        run(engine, name, url, read_secret(config), true, observers, participants, rng, lambda: progress.advance(task))
    click.echo(f"{participants} simulated participants completed study {name!r}.")


@click.command()
@click.argument("name", metavar="STUDY")
@with_database
@click.option("--out", required=True, type=FOLDER, help="Folder to write.")
@click.option("--images/--no-images", default=True, show_default=True, help="Include the pictures of the pair sets.")
@click.option("--replace", is_flag=True, help="Replace an earlier export in --out.")
@as_json
def export(
    name: str, database: str | None, instance: Path | None, out: Path, images: bool, replace: bool, as_json: bool
) -> None:
    """Write a study's response table, codebook, design and pair sets.

    \b
    Example:  realism export flowers --out flowers-export
    """
    from study_app.db import open_migrated
    from study_app.export import export_study

    config = find_config(database, instance)
    rows = export_study(open_migrated(config.database), config.store, name, out, images=images, replace=replace)
    click.echo(json.dumps({"out": str(out), "rows": rows}) if as_json else f"{rows} trials in {out / 'responses.csv'}")


@click.command()
@click.argument("source")
@with_database
@click.option("--out", required=True, type=FOLDER, help="Folder to write.")
@click.option("--origin", type=click.Choice(["human", "simulated"]), help="Whose answers.  [default: people's if any]")
@as_json
def report(
    source: str, database: str | None, instance: Path | None, out: Path, origin: str | None, as_json: bool
) -> None:
    """Report SOURCE: a study, an export folder, or a response table (CSV or Parquet).

    \b
    Example:  realism report flowers --out flowers-report
    """
    from analysis.report import write_report

    if Path(source).exists():
        result = write_report(Path(source), out, origin=origin)
    else:
        result = _report_study(find_config(database, instance), source, out, origin)
    if as_json:
        click.echo(json.dumps(result))
        return
    click.echo(f"Report in {out / 'report.html'}")


def _report_study(config: Config, name: str, out: Path, origin: str | None) -> dict[str, Any]:
    import tempfile

    from analysis.report import write_report
    from study_app.db import open_migrated
    from study_app.export import export_study

    engine = open_migrated(config.database)
    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder) / name
        export_study(engine, config.store, name, exported)
        return write_report(exported, out, origin=origin)


@click.command()
@with_database
@as_json
@click.pass_context
def doctor(ctx: click.Context, database: str | None, instance: Path | None, as_json: bool) -> None:
    """Say what is installed, what is missing, and what to do.

    \b
    Example:  realism doctor
    """
    from study_app.doctor import examine

    findings = examine(find_config(database, instance))
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings]))
    else:
        for finding in findings:
            mark = "ok     " if finding.ok else "MISSING" if finding.needed else "absent "
            click.echo(
                f"{mark}  {finding.what}: {finding.found}"
                + (f"\n         → {finding.advice}" if finding.advice else "")
            )
    ctx.exit(0 if all(finding.ok or not finding.needed for finding in findings) else 1)
