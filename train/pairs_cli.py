"""The command ``realism pairs make``, which joins those of ``pairs.cli``; torch is loaded only when pairs are made."""

from pathlib import Path
from typing import Any

import click

from pairs.cli import pairs
from pairs.options import FOLDER, LICENCE, OUT, REPLACE, SOURCE_NAME, chooses, encodes, tell_written
from pairs.placing import refuse_taken
from pairs.progress import show_bar
from pairs.road import read_source
from pairs.selecting import Choice
from protocol.encoding import Encoder
from train.cli import DEVICES, SIDE, THREADS

__all__ = ["pairs"]


@pairs.command()
@click.option(
    "--checkpoint",
    "checkpoints",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    help="A run's folder, or its generator.safetensors; repeatable.",
)
@click.option("--photos", "folder", type=FOLDER, required=True, help="Folder of photographs; folders in it count.")
@OUT
@click.option(
    "--condition", "conditions", multiple=True, help="The condition's name, one for each.  [default: the run's name]"
)
@click.option(
    "--keep-luminance/--no-keep-luminance",
    default=False,
    show_default=True,
    help="Take only the colours from the generator, and the luminance from the photo.",
)
@SIDE
@chooses
@encodes
@SOURCE_NAME
@LICENCE
@click.option("--device", type=DEVICES, default="auto", show_default=True, help="auto: CUDA where there is a GPU.")
@THREADS
@REPLACE
def make(
    checkpoints: tuple[Path, ...],
    folder: Path,
    out: str,
    conditions: tuple[str, ...],
    keep_luminance: bool,
    side: Any,
    choice: Choice,
    encoder: Encoder,
    source_name: str | None,
    licence: str | None,
    device: str,
    replace: bool,
) -> None:
    """Colour photographs that the generator never saw, and write them beside the originals.

    With several --checkpoint, OUT holds a pair set for each condition, on photographs that none of them saw.

    \b
    Example:  realism pairs make --checkpoint runs/cgan --photos flowers/ --out pairs/cgan -n 200
              realism pairs make --checkpoint runs/cgan --checkpoint runs/wgan --photos flowers/ --out pairs
    """
    from train.checkpoint import load_generator
    from train.device import pick_device
    from train.pairs import make_pairs, select_photos

    if conditions and len(conditions) != len(checkpoints):
        raise click.UsageError(
            f"{len(checkpoints)} --checkpoint and {len(conditions)} --condition; give one name for each."
        )
    generators = [load_generator(checkpoint, pick_device(device)) for checkpoint in checkpoints]
    names = conditions or [one.config.name for one in generators]
    refuse_taken(out, names, replace=replace)
    about = read_source(folder)
    selection = select_photos(folder, generators, side=side, choice=choice, progress=show_bar("Reading photos"))
    pairsets = make_pairs(
        generators,
        selection,
        out,
        conditions=names,
        source_name=source_name or about.get("name", folder.resolve().name),
        licence=licence or about.get("licence", "not stated"),
        side=side,
        keeps_luminance=keep_luminance,
        encoder=encoder,
        replace=replace,
        progress=show_bar("Colouring"),
    )
    passed = (
        f"passed over {selection.n_trained} photos trained on and {selection.n_left_out} too small or without colour"
    )
    tell_written(out, pairsets, passed)
