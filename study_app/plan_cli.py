"""The command that plans a study: assumptions or a pilot in, how many people and pictures to take out."""

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from study_app.cli import FOLDER, as_json, study

if TYPE_CHECKING:
    from analysis.planning.pilot import Pilot
    from analysis.planning.simulated_counts import Assumptions
    from analysis.planning.study_size import StudySize
    from protocol.design import StudyDesign

_FILE = click.Path(path_type=Path)


class Numbers(click.ParamType):
    """Whole numbers between commas."""

    name = "numbers"

    def __init__(self, largest: int) -> None:
        self.largest = largest

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(int(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is no list of numbers; give some such as 20,40,80", param, ctx)
        for number in numbers:
            if not 2 <= number <= self.largest:
                self.fail(f"{number} is out of range; give numbers from 2 to {self.largest}", param, ctx)
        return numbers


@study.command()
@click.argument("design", metavar="[STUDY.toml]", type=_FILE, required=False)
@click.option("--fool-rate", type=float, help="Expected fool rate, a fraction.  [default: 0.4]")
@click.option("--participant-sd", type=float, help="How much people differ, in logits.  [default: 0.5]")
@click.option("--pair-sd", type=float, help="How much pictures differ, in logits.  [default: 0.6]")
@click.option("--pilot", type=_FILE, help="Take these three from the answers of an export or response table.")
@click.option("--trials", type=int, help="Main trials of one participant.  [default: the study's, else 40]")
@click.option("--conditions", type=int, help="Conditions, of equal size.  [default: the study's, else 1]")
@click.option(
    "--within/--between",
    "is_within",
    default=None,
    help="Whether everyone sees every condition, or one.  [default: the study's, else one]",
)
@click.option("--shared", type=float, help="Part of the spread that is the same in two conditions.  [default: 0.5]")
@click.option("--participants", type=Numbers(10_000), help="Numbers of participants to try, over all conditions.")
@click.option("--pairs", type=Numbers(10_000), help="Numbers of pairs to try, in each condition.")
@click.option(
    "--half-width",
    type=float,
    help="Reach of the interval to either side that is wanted.  [default: the study's equivalence margin, else 0.05]",
)
@click.option(
    "--detect", type=float, help="Difference of two conditions that is to be found.  [default: 0.05, not asked]"
)
@click.option("--power", type=float, help="How often it is to be found.  [default: 0.8, where a difference is asked]")
@click.option("--cost", type=click.FloatRange(0), help="Of one participant.")
@click.option("--currency", default="EUR", show_default=True, help="Of the cost.")
@click.option(
    "--experiments",
    default=1000,
    show_default=True,
    type=click.IntRange(10, 1_000_000),
    help="Simulated, of each size.",
)
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0), help="Of the simulation.")
@click.option("--out", type=FOLDER, help="Also write plan.html, plan.json, plan.csv and a picture here.")
@as_json
@click.pass_context
def plan(
    ctx: click.Context,
    design: Path | None,
    pilot: Path | None,
    participants: tuple[int, ...] | None,
    pairs: tuple[int, ...] | None,
    half_width: float | None,
    power: float | None,
    cost: float | None,
    currency: str,
    experiments: int,
    seed: int,
    out: Path | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Say how many people and pictures a study needs, by simulation.

    Exit code 1: no size that was tried reaches what was asked for.

    \b
    Example:  realism study plan study.toml --half-width 0.04 --cost 2.50 --out flowers-plan
    """
    from analysis.planning.page import as_json as plan_as_json
    from analysis.planning.page import plan_folder, write_plan
    from analysis.planning.pilot import read_pilot
    from analysis.planning.power import N_PAIRS, N_PARTICIPANTS, candidates
    from analysis.planning.study_size import Cost, Goal, StudySize
    from pairs.progress import show_bar
    from protocol.design import read_design

    planned = read_design(design) if design is not None else None
    found_pilot = read_pilot(_pilot_trials(pilot)) if pilot is not None else None
    asks_difference = given["detect"] is not None or power is not None
    told = {"difference": given.pop("detect"), "n_conditions": given.pop("conditions"), **given}
    if found_pilot is not None:
        spreads = {"participant_sd": found_pilot.participants[0], "pair_sd": found_pilot.pairs[0]}
        told = {"fool_rate": found_pilot.fool_rate, **spreads, **{k: v for k, v in told.items() if v is not None}}
    assumed = _assumed(planned, told, asks_difference)
    if half_width is None:
        half_width = planned.analysis.equivalence_margin if planned else Goal().half_width
    goal = Goal(half_width, (power if power is not None else 0.8) if asks_difference else None)
    sizes = (participants or N_PARTICIPANTS, pairs or N_PAIRS)

    price = None if cost is None else Cost(cost, currency)

    with nullcontext() if out is None else plan_folder(out) as folder:  # a folder that is refused is so at once
        found = candidates(assumed, *sizes, experiments, seed, show_bar("Simulating studies"))
        size = StudySize(assumed, goal, found, experiments, seed, price)
        if found_pilot is not None:
            size = _with_pilot(size, found_pilot, sizes)
        if folder is not None:
            write_plan(size, folder)
    if as_json:
        click.echo(json.dumps(plan_as_json(size)))
    else:
        _show(size)
        if out is not None:
            click.echo(f"Plan in {out / 'plan.html'}")
    ctx.exit(0 if size.recommended else 1)


def _with_pilot(size: "StudySize", pilot: "Pilot", sizes: tuple[tuple[int, ...], tuple[int, ...]]) -> "StudySize":
    """What would be recommended were the spreads at either end of what the pilot allows; with fewer experiments."""
    from analysis.planning.power import candidates
    from analysis.planning.study_size import recommend
    from pairs.progress import show_bar

    chosen = []
    for which, word in ((1, "smaller"), (2, "larger")):
        progress = show_bar(f"Were spreads {word}")
        found = candidates(
            pilot.assumed(size.assumed, which), *sizes, max(10, size.experiments // 4), size.seed, progress
        )
        chosen.append(recommend(found, size.goal))
    return replace(size, pilot=pilot, if_alike=chosen[0], if_different=chosen[1])


def _pilot_trials(path: Path) -> Any:
    """The answers that count in an export or a response table: people's, else simulated ones."""
    from analysis.fool_rate import counted_trials
    from analysis.reading.source import choose_origin, read_source

    table = read_source(path).table
    return counted_trials(table[table["origin"] == choose_origin(table, None)])


def _assumed(design: "StudyDesign | None", told: dict[str, Any], asks_difference: bool) -> "Assumptions":
    """What is told, else what the design says, else the defaults.

    Raises:
        PlanError: if they do not go together.
    """
    from analysis.planning.simulated_counts import Assumptions, PlanError

    values: dict[str, Any] = {"n_conditions": 2} if asks_difference else {}
    if design is not None:
        if design.staircase is not None:
            raise PlanError(
                f"study {design.name!r} adapts its exposure, which holds the fool rate; plan it with 'realism simulate'"
            )
        values = {
            "trials": design.trials.main,
            "n_conditions": len(design.conditions),
            "is_within": design.assignment.conditions == "within",
            "level": design.analysis.level,
        }
    values.update({key: value for key, value in told.items() if value is not None})
    assumed = Assumptions(**values)
    if asks_difference and assumed.n_conditions < 2:
        raise PlanError(
            "a difference needs two conditions, found 1; give --conditions 2, or leave out --detect and --power"
        )
    return assumed


def _show(size: "StudySize") -> None:
    """The widths as a table, the powers where conditions are compared, and the advice."""
    from analysis.planning.study_size import advice, least_half_width, percent, pilot_advice, points, share

    level, asked = percent(size.assumed.level), points(size.goal.half_width)
    widths = [
        [str(n), *(_width(size, one) for one in row), f"±{points(least_half_width(size.assumed, n))}"]
        for n, row in _rows(size)
    ]
    _table(size, f"Reach of the {level} interval to either side, in percentage points", widths, ("∞ people",))
    click.echo(f"✓ reaches what was asked for (±{asked}).  ∞: what so few pictures leave, however many look.\n")
    if size.assumed.n_conditions > 1:
        powers = [[str(n), *(share(one.power_difference or 0) for one in row)] for n, row in _rows(size)]
        _table(size, f"Power for a difference of {points(size.assumed.difference)} points", powers)
        click.echo()
    for sentence in (*advice(size), *pilot_advice(size)):
        click.echo(sentence)


def _width(size: "StudySize", one: Any) -> str:
    text = f"±{100 * one.half_width:.1f}"
    if not size.goal.is_reached_by(one):
        return text
    return f"[bold green]{text} ✓[/]" if one == size.recommended else f"[green]{text} ✓[/]"


def _rows(size: "StudySize") -> list[tuple[int, list[Any]]]:
    from analysis.planning.page import grid

    return [(n, list(row.values())) for n, row in grid(size).items()]


def _table(size: "StudySize", title: str, rows: Sequence[Sequence[str]], further: Sequence[str] = ()) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    # Not the table's own title, which breaks where the table is narrow.
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    people = sorted({one.n_participants for one in size.found})
    for heading in ("pairs", *(f"{n} people" for n in people), *further):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*row)
    console = Console()
    console.print(title, style="bold", soft_wrap=True, highlight=False)
    console.print(table)
