"""The command that serves: options and settings in, a running survey and its addresses out."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from study_app.cli import FOLDER, with_config
from study_app.config import Config, find_config, find_serving, from_environment, read_secret, read_settings

if TYPE_CHECKING:
    from study_app.serve import Settings

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@click.command()
@with_config
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535), help="Port to listen on.")
@click.option("--workers", type=click.IntRange(1), help="Processes.  [default: one per core, 2 to 8]")
@click.option("--threads", type=click.IntRange(1), help="Threads in each.  [default: 8]")
@click.option("--log", metavar="FILE", default="", help="One line of JSON per request into FILE; - for the output.")
@click.option(
    "--settings",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File of settings, a line REALISM_…=value each; read again at SIGHUP.",
)
@click.option("--report", type=FOLDER, help="Also show this report, to anyone, under /report/.")
@click.option("--preview", metavar="STUDY", help="Also print a link that walks this study; nothing of it counts.")
@click.pass_context
def serve(
    ctx: click.Context,
    config: Config,
    host: str,
    port: int,
    workers: int | None,
    threads: int | None,
    log: str,
    settings: Path | None,
    report: Path | None,
    preview: str | None,
) -> None:
    """Serve the survey until stopped. SIGHUP reads settings and secrets again, without a request lost.

    \b
    Example:  realism serve --preview flowers
    """
    from study_app.db import open_migrated, reading
    from study_app.recruitment import participants_link
    from study_app.recruitment_cli import preview_link
    from study_app.serve import Settings
    from study_app.serve import serve as run
    from study_app.studies import find_study, open_designs

    own = dict(os.environ)
    given = {name: ctx.params[name] for name in ("database", "instance", "store")}

    def read() -> "Settings":
        _put_settings(settings, own)
        found = find_config(**given)
        return Settings(found, find_serving(), read_secret(found), from_environment("REALISM_METRICS_TOKEN"))

    _put_settings(settings, own)
    config = find_config(**given)
    with reading(open_migrated(config.database)) as db:
        designs = open_designs(db)
        if preview is not None:
            find_study(db, preview)
    if host not in LOOPBACK and not find_serving().hosts:
        click.echo("Warning: any host name is answered; name yours in REALISM_HOSTS.", err=True)

    def announce(address: str) -> None:
        if preview is not None:
            click.echo(f"Preview: {preview_link(config, address, preview)}")
        for design in designs:
            if design.recruitment.source == "invitation":
                click.echo(
                    f"Survey:  {design.name} is by invitation; 'realism study invitations {design.name}' lists the links"
                )
            else:
                click.echo(f"Survey:  {participants_link(address, design)}")
        if not designs:
            click.echo("No study is open; make one with 'realism study create'.")
        if report:
            click.echo(f"Report:  {address}/report/")

    run(read, host, port, workers, threads, report, log, announce)


def _put_settings(file: Path | None, own: dict[str, str]) -> None:
    """The file's settings, where the environment that the server was started in has none of that name."""
    if file is None:
        return
    found = read_settings(file)
    for name in [name for name in os.environ if name.startswith("REALISM_")]:
        if name not in own:  # of the file as it was before
            del os.environ[name]
    os.environ.update({name: value for name, value in found.items() if name not in own})
