"""Commands that make and serve studies: options in, one clear line or a page of JSON out."""

import functools
import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from protocol.design import StudyDesign
from protocol.place import Place
from study_app.config import Config, find_config

FOLDER = click.Path(path_type=Path, file_okay=False)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")


class BoundedFloat(click.FloatRange):
    """A bounded number; NaN, which no bound holds back, is refused."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value!r} is not a number", param, ctx)
        return number


def with_config(command: Callable[..., None]) -> Callable[..., None]:
    """--database, --instance and --store, for every command that touches studies; the command gets them as ``config``."""

    @click.option(
        "--database", help="Database URL.  [default: $REALISM_DATABASE_URL, else SQLite in the instance folder]"
    )
    @click.option(
        "--instance", type=FOLDER, help="Folder of the database, the pictures and the secret key.  [default: instance]"
    )
    @click.option(
        "--store",
        metavar="ADDRESS",
        help="Where the pictures are kept: a folder, or an address such as s3://bucket/studies.  "
        "[default: $REALISM_STORE, else store/ in the instance folder]",
    )
    @functools.wraps(command)
    def configured(
        *arguments: Any, database: str | None, instance: Path | None, store: str | None, **options: Any
    ) -> None:
        command(*arguments, config=find_config(database, instance, store), **options)

    return configured


@click.group()
def study() -> None:
    """Plan, create, list, show, recruit for, monitor and close studies."""


@study.command()
@click.argument("design", metavar="STUDY.toml", type=click.Path(path_type=Path))
@with_config
@as_json
def create(design: Path, config: Config, as_json: bool) -> None:
    """Check a design and its pair sets, and freeze both.

    What gives the fakes away, as 'realism pairs check' finds it, and the design does not accept, is told.

    \b
    Example:  realism study create study.toml
    """
    from study_app.db import open_migrated
    from study_app.studies import create_study

    created = create_study(open_migrated(config.database), config.store, design, _tell_give_aways)
    if as_json:
        click.echo(json.dumps({"name": created.name, "path": f"/study/{created.name}/"}))
    else:
        click.echo(
            f"Study {created.name!r} is open. Serve it with 'realism serve'; its address ends in /study/{created.name}/"
        )


def _tell_give_aways(condition: str, pairset: Place, design: StudyDesign) -> None:
    from pairs.check import check_pairset
    from pairs.progress import show_bar

    checked = check_pairset(pairset, accept=design.pairs.accept, progress=show_bar(f"Looking at {condition}"))
    for one in checked.results:
        if one.verdict in ("warning", "failure"):
            click.echo(f"{one.verdict}: condition {condition}: {one.name}. {one.explanation}", err=True)
    if checked.verdict == "failure":
        click.echo(
            f"Fool rates of {condition} would measure that, too. 'realism pairs check {pairset} --page check.html' shows "
            "it; make the pair set again, or accept it in the design: [pairs] accept = […]",
            err=True,
        )


@study.command("list")
@with_config
@as_json
def list_(config: Config, as_json: bool) -> None:
    """List all studies.

    \b
    Example:  realism study list
    """
    from sqlalchemy import select

    from study_app.db import open_migrated, reading
    from study_app.studies import study_progress
    from study_app.tables import Study

    with reading(open_migrated(config.database)) as db:
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
@with_config
@as_json
def show(name: str, config: Config, as_json: bool) -> None:
    """Show a study's conditions and how far it is.

    \b
    Example:  realism study show flowers
    """
    from study_app.db import open_migrated, reading
    from study_app.studies import find_study, study_progress

    with reading(open_migrated(config.database)) as db:
        progress = study_progress(db, find_study(db, name))
    if as_json:
        click.echo(json.dumps(asdict(progress), default=str))
        return
    click.echo(f"{progress.title}  ({progress.name}, {progress.state})")
    for condition, pairs in progress.conditions.items():
        click.echo(f"  condition {condition}: {pairs} pairs")
    for origin, started in progress.started.items():
        ended = {"completed": 0, **progress.outcomes[origin]}
        click.echo(f"  {origin}: {started} started, " + ", ".join(f"{n} {word}" for word, n in ended.items()))
    if progress.refusals:
        click.echo(f"  {progress.refusals} declined")
    click.echo(f"  {progress.responses} answers")


@study.command()
@click.argument("name", metavar="STUDY")
@with_config
def close(name: str, config: Config) -> None:
    """Take no more participants; those at work may finish.

    \b
    Example:  realism study close flowers
    """
    from study_app.db import open_migrated
    from study_app.studies import close_study

    changed = close_study(open_migrated(config.database), name)
    click.echo(f"Study {name!r} is closed." if changed else f"Study {name!r} was closed already.")


@click.command()
@with_config
@as_json
@click.pass_context
def doctor(ctx: click.Context, config: Config, as_json: bool) -> None:
    """Say what is installed, what is missing, and what to do.

    \b
    Example:  realism doctor
    """
    from study_app.doctor import examine

    findings = examine(config)
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


from study_app import monitor_cli, plan_cli, recruitment_cli  # noqa: E402, F401  # their commands join the group study
