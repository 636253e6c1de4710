"""The command that watches a running study: a study's name in, a table or JSON of what may be said of it already out."""

import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from study_app.cli import BoundedFloat, as_json, study, with_config
from study_app.config import Config

if TYPE_CHECKING:
    from rich.console import RenderableType

    from analysis.intervals import Interval
    from analysis.sequence import Watched
    from study_app.monitor import ConditionWatch, StudyWatch

COVERS = (
    "Safe to look at: the fool rate of new people on exactly these pictures. However often one looks, and stops because "
    "of it, the whole sequence misses that rate in at most {miss} of studies. It says nothing about other pictures."
)
AT_THE_END = (
    "Only at the end: the interval for new people and new pictures. It holds when the number of participants was fixed "
    "beforehand; watching it, and stopping when it pleases, makes it too narrow."
)


@study.command()
@click.argument("name", metavar="STUDY")
@with_config
@click.option(
    "--origin",
    type=click.Choice(("human", "simulated")),
    default="human",
    show_default=True,
    help="Whose answers: people's, or simulated participants'.",
)
@click.option("--watch", metavar="SECONDS", type=BoundedFloat(1, 86_400), help="Look again so often, until Ctrl+C.")
@as_json
def monitor(name: str, config: Config, origin: str, watch: float | None, as_json: bool) -> None:
    """Watch a running study without spoiling it: intervals that may be looked at as often as one likes.

    \b
    Example:  realism study monitor flowers --watch 10
    """
    from rich.console import Console
    from rich.live import Live

    from study_app.db import open_migrated, reading
    from study_app.monitor import watch_study

    engine = open_migrated(config.database)

    def look() -> "StudyWatch":
        with reading(engine) as db:
            return watch_study(db, name, origin)

    def show(seen: "StudyWatch") -> None:
        if as_json:
            click.echo(json.dumps(_as_json(seen)))
        else:
            console.print(_as_table(seen))

    console = Console(highlight=False)
    seen = look()
    if watch is None:
        show(seen)
        return
    try:
        if as_json or not console.is_terminal:  # one after the other, for a program or a file
            while True:
                show(seen)
                time.sleep(watch)
                seen = look()
        with Live(_as_table(seen), console=console, auto_refresh=False) as live:
            while True:
                time.sleep(watch)
                live.update(_as_table(look()), refresh=True)
    except KeyboardInterrupt:
        pass


def _as_json(seen: "StudyWatch") -> dict[str, Any]:
    watched = asdict(seen)
    for row, one in zip(watched["conditions"], seen.conditions, strict=True):
        row["sequence"] |= {"half_width": one.sequence.half_width, "reached": seen.is_reached(one)}
    return {**watched, "covers": _covers(seen), "headline_holds": AT_THE_END}


def _covers(seen: "StudyWatch") -> str:
    return COVERS.format(miss=f"{100 * (1 - seen.level):.3g} %")


def _as_table(seen: "StudyWatch") -> "RenderableType":
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table("condition", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("participants", "fool rate", "safe to look at", "only at the end"):
        table.add_column(heading, no_wrap=True)
    for one in seen.conditions:
        table.add_row(
            Text(one.condition, overflow="fold"),
            f"{one.complete} complete\n{one.excluded} excluded\n{one.at_work} at work",
            "–" if one.fool_rate is None else f"{100 * one.fool_rate:.1f} %\nof {one.answers:,}",
            f"{_span(one.sequence)}\n± {100 * one.sequence.half_width:.1f}{_goal(seen, one)}",
            "–" if one.headline is None else _span(one.headline),
        )
    title = Text(f"{seen.title}  ({seen.study}, {seen.state})", style="bold")
    if seen.origin == "simulated":
        title.append("  SIMULATED participants, not people", style="bold red")
    return Group(title, table, Text(_covers(seen)), Text(AT_THE_END, style="dim"))


def _span(interval: "Interval | Watched") -> str:
    return f"{100 * interval.low:.1f} – {100 * interval.high:.1f} %"


def _goal(seen: "StudyWatch", one: "ConditionWatch") -> str:
    if seen.half_width is None:
        return ""
    return f"\n{'reached' if seen.is_reached(one) else 'wanted'}: ± {100 * seen.half_width:g}"
