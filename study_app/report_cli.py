"""The command that reports: a study, an export folder or a table of answers in, a folder to look at and to paste from out."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from study_app.cli import FOLDER, as_json, with_config
from study_app.config import Config


class Column(click.ParamType):
    """OURS=THEIRS, the name of a column in the response table and in a file from elsewhere."""

    name = "ours=theirs"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        ours, equals, theirs = (part.strip() for part in value.partition("="))
        if not (ours and equals and theirs):
            self.fail(f"{value!r} maps no column; write OURS=THEIRS, such as pair=stimulus", param, ctx)
        return ours, theirs


@click.command()
@click.argument("source")
@with_config
@click.option("--out", required=True, type=FOLDER, help="Folder to write.")
@click.option("--origin", type=click.Choice(["human", "simulated"]), help="Whose answers.  [default: people's if any]")
@click.option(
    "--column", "columns", multiple=True, type=Column(), help="Read column OURS from THEIRS, such as pair=stimulus."
)
@click.option(
    "--practice",
    default=10,
    show_default=True,
    type=click.IntRange(0),
    help="Practice trials of each assignment, for results of AMT_Real_vs_Fake.",
)
@click.option("--strict", is_flag=True, help="Stop at rows that cannot be used, instead of setting them aside.")
@click.option(
    "--plan",
    type=click.Path(path_type=Path),
    help="TOML with an [analysis] table, for answers that come without a design.",
)
@click.option(
    "--post-hoc",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change the plan, such as max_one_side=0.9; labelled post hoc.",
)
@click.option(
    "--replicates", default=2000, show_default=True, type=click.IntRange(0, 100_000), help="Of the bootstrap; 0: none."
)
@click.option("--model", is_flag=True, help="Fit the mixed model too; takes a minute.")
@click.option("--figures/--no-figures", default=True, show_default=True, help="Draw the figures.")
@as_json
def report(
    source: str,
    config: Config,
    out: Path,
    origin: str | None,
    columns: tuple[tuple[str, str], ...],
    practice: int,
    strict: bool,
    plan: Path | None,
    post_hoc: tuple[str, ...],
    replicates: int,
    model: bool,
    figures: bool,
    as_json: bool,
) -> None:
    """Report SOURCE: a study, an export folder, or a response table from anywhere (CSV or Parquet).

    Also reads the results of AMT_Real_vs_Fake. Rows that cannot be used are set aside, counted and listed.

    \b
    Example:  realism report flowers --out flowers-report
              realism report answers.csv --column pair=stimulus --column participant=worker --out report
    """
    from rich.console import Console

    from analysis.findings import Options
    from analysis.plan import read_plan, split_changes
    from analysis.reading.column_names import split_columns
    from analysis.report import write_report

    options = Options(
        origin=origin,
        plan=read_plan(plan) if plan else None,
        post_hoc=split_changes(post_hoc),
        replicates=replicates,
        model=model,
    )
    console = Console(stderr=True)
    with _answers(source, config) as path, console.status("Reading the answers") as status:
        result = write_report(
            path,
            out,
            options,
            columns=split_columns(columns),
            practice=practice,
            strict=strict,
            figures=figures,
            tell=lambda step: status.update(step),
        )
    for one in result["unusable"]:
        console.print(
            f"{one['n']} row{'s' * (one['n'] != 1)} set aside: {one['reason']}",
            style="yellow",
            highlight=False,
            markup=False,
        )
    if as_json:
        click.echo(json.dumps(result))
        return
    for name, rate in result["conditions"].items():
        low, high = (f"{100 * rate[end]:.1f}" for end in ("low", "high"))
        click.echo(
            f"{name}: {100 * rate['fool_rate']:.1f} % fooled, {100 * result['level']:.10g} % interval {low} to {high}"
        )
    click.echo(f"Report in {out / 'report.html'}")


@contextmanager
def _answers(source: str, config: Config) -> Iterator[Path]:
    """The file or folder to read; a study's answers are exported for as long as the report is made."""
    if Path(source).is_file() or (Path(source) / "responses.csv").is_file():
        yield Path(source)
        return
    if Path(source).suffix or Path(source).name != source:
        from analysis.reading.source import ReportError

        raise ReportError(
            f"{source} is no file and no export folder (which has a responses.csv); give one of these, or the name of a study"
        )
    from study_app.db import open_migrated
    from study_app.export import export_study

    engine = open_migrated(config.database)
    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder) / source
        export_study(engine, config.store, source, exported)
        yield exported
