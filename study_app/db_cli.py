"""The commands of the database: options in, one clear line or a page of JSON out."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from study_app.cli import as_json, with_config
from study_app.config import Config


@click.group()
def db() -> None:
    """Prepare, check, back up and restore the database."""


@db.command()
@with_config
def upgrade(config: Config) -> None:
    """Make the database, or bring it to this release's schema.

    \b
    Example:  realism db upgrade
    """
    from study_app.schema import upgrade as run

    before, after = run(config.database)
    click.echo(f"Schema {after}: {'as it was' if before == after else f'upgraded from {before}' if before else 'new'}.")


@db.command()
@with_config
@click.option("--pictures", is_flag=True, help="Also read every picture of the studies that are open.")
@as_json
@click.pass_context
def check(ctx: click.Context, config: Config, pictures: bool, as_json: bool) -> None:
    """Look whether everything in the database is as it must be; change nothing.

    Participants may be at work meanwhile. The exit code is 1 where something is wrong.

    \b
    Example:  realism db check --pictures
    """
    from pairs.progress import show_bar
    from study_app.checking import check as run
    from study_app.db import open_migrated

    findings = run(open_migrated(config.database), config.store if pictures else None, show_bar)
    if as_json:
        click.echo(json.dumps([asdict(finding) | {"ok": finding.ok} for finding in findings]))
    else:
        for finding in findings:
            first = f": {finding.count}, the first {', '.join(finding.first)}" if finding.count else ""
            note = f" ({finding.note})" if finding.note else ""
            click.echo(f"{'ok   ' if finding.ok else 'WRONG'}  {finding.what}{note}{first}")
    if all(finding.ok for finding in findings):
        return
    if not as_json:
        click.echo(
            "Keep what there is: 'realism db backup', or a copy of the files if that fails; then see docs/database.md."
        )
    ctx.exit(1)


@db.command()
@click.argument("target", metavar="FILE", type=click.Path(path_type=Path))
@with_config
@click.option("--pictures", is_flag=True, help="Also the pictures of all studies, each verified.")
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@click.option(
    "--keep",
    type=click.IntRange(1),
    metavar="N",
    help="FILE is a folder: name the backup after this moment, and then remove all but the newest N.",
)
@as_json
def backup(target: Path, config: Config, pictures: bool, force: bool, keep: int | None, as_json: bool) -> None:
    """Write the whole database into one file, while participants go on.

    \b
    Example:  realism db backup studies.zip
    """
    from pairs.progress import show_bar
    from study_app.backup import write_backup, write_next_backup
    from study_app.db import open_migrated

    engine, store = open_migrated(config.database), config.store if pictures else None
    if keep is None:
        file, written = target, write_backup(engine, target, store, force=force, bar=show_bar)
    else:
        file, written = write_next_backup(engine, target, keep, store, bar=show_bar)
    if as_json:
        click.echo(json.dumps({"file": str(file), **asdict(written)}))
        return
    answers = written.tables["responses"].rows
    without = "" if pictures else "; the pictures are not in it, back up the store too"
    click.echo(
        f"{file}: {written.tables['studies'].rows} studies, {answers} answers, {written.pictures} pictures{without}."
    )


@db.command()
@click.argument("file", type=click.Path(path_type=Path))
@with_config
def restore(file: Path, config: Config) -> None:
    """Load a backup into an empty database, of either kind; every row is read back and compared.

    \b
    Example:  realism db restore studies.zip --database sqlite:///restored.sqlite
    """
    from pairs.progress import show_bar
    from study_app.restoring import restore as run

    restored = run(config.database, config.store, file, bar=show_bar)
    answers = restored.tables["responses"].rows
    click.echo(
        f"{restored.tables['studies'].rows} studies with {answers} answers are as they were on {restored.created}."
    )
    if not restored.pictures:
        click.echo("The backup has no pictures; see that the store has them: realism db check --pictures")
