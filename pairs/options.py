"""Options that several commands on pair sets share."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from protocol.encoding import Encoder
from protocol.pairset import Exclusion, PairSet

HELP = {"help_option_names": ["-h", "--help"]}
FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)
OUT = click.option(
    "--out", required=True, help="The pair set: a folder, a name ending in .zip, or an address (s3://…)."
)
REPLACE = click.option("--replace", is_flag=True, help="Replace a pair set that is there already.")
SOURCE_NAME = click.option(
    "--source", "source_name", help="Name of the photographs' source.  [default: FOLDER/source.json, its name]"
)
LICENCE = click.option("--licence", help="Licence of the photographs.  [default: FOLDER/source.json, else not stated]")


def chooses(command: Callable[..., None], unless_asked: str = "all") -> Callable[..., None]:
    """-n, --seed, --tag, --stratified, --exclude, --exclusions: the command gets them as ``choice``.

    ``unless_asked`` is what the help says of -n: how many pairs the command takes without it.
    """

    @click.option("-n", "n_pairs", type=click.IntRange(1), help=f"How many pairs.  [default: {unless_asked}]")
    @click.option(
        "--seed", type=int, default=0, show_default=True, help="Draws the photos; the same for all conditions."
    )
    @click.option("--tag", "tags", multiple=True, help="Only photos of this class; repeat for more.")
    @click.option("--stratified", is_flag=True, help="As many of every class.")
    @click.option("--exclude", multiple=True, metavar="ID=REASON", help="Leave a pair out; the reason is kept.")
    @click.option("--exclusions", type=FILE, help="CSV with the columns id, reason.")
    @functools.wraps(command)
    def choosing(
        *arguments: Any,
        n_pairs: int | None,
        seed: int,
        tags: tuple[str, ...],
        stratified: bool,
        exclude: tuple[str, ...],
        exclusions: Path | None,
        **options: Any,
    ) -> None:
        from pairs.selecting import Choice, parse_exclusion, read_exclusions

        listed: list[Exclusion] = [parse_exclusion(text) for text in exclude]
        listed += read_exclusions(exclusions) if exclusions else ()
        command(*arguments, choice=Choice(n_pairs, tags, stratified, seed, tuple(listed)), **options)

    return choosing


def encodes(command: Callable[..., None]) -> Callable[..., None]:
    """--encoding and --quality: the command gets them as ``encoder``."""

    @click.option(
        "--encoding",
        type=click.Choice(["png", "webp", "jpeg"]),
        default="png",
        show_default=True,
        help="png: uncompressed; webp: lossless, half as large; jpeg: for large studies.",
    )
    @click.option("--quality", type=click.IntRange(1, 100), help="Of JPEG.  [default: 95]")
    @functools.wraps(command)
    def encoding_(*arguments: Any, encoding: Any, quality: int | None, **options: Any) -> None:
        if quality is not None and encoding != "jpeg":
            raise click.UsageError("--quality is JPEG's; add --encoding jpeg, or leave it out.")
        command(*arguments, encoder=Encoder(encoding, quality), **options)

    return encoding_


class Size(click.ParamType):
    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        parts = str(value).lower().split("x")
        if not 1 <= len(parts) <= 2 or not all(part.isdigit() and 0 < int(part) <= 8192 for part in parts):
            self.fail(f"{value!r} is no size; give pixels, such as 256 or 320x240.", param, ctx)
        return int(parts[0]), int(parts[-1])


def tell_written(out: str, pairsets: Sequence[PairSet], passed_over: str = "") -> None:
    """One line on what was written."""
    width, height = pairsets[0].image_size
    conditions = " and ".join(pairset.condition for pairset in pairsets)
    click.echo(
        f"{out}: {len(pairsets[0].pairs)} pairs of condition{'s' * (len(pairsets) > 1)} {conditions}, {width}x{height}"
        + (f"; {passed_over}" if passed_over else "")
    )
