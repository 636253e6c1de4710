"""The command ``realism pairs``; torch is loaded only when pairs are made."""

import json
from pathlib import Path
from typing import Any

import click

from protocol.pairset import PairSetError, read_pairset
from train.cli import DEVICES, FOLDER, HELP, SIDE, THREADS, show_bar
from train.photos import read_source


@click.group(context_settings=HELP)
def pairs() -> None:
    """Make and check pair sets: the same photograph real and fake.

    \b
    Example:  realism pairs make --checkpoint runs/cgan --photos flowers/ --out pairs/cgan
              realism pairs check pairs/cgan
    """


@pairs.command()
@click.option(
    "--checkpoint", type=click.Path(path_type=Path), required=True, help="A run's folder, or its generator.safetensors."
)
@click.option("--photos", "folder", type=FOLDER, required=True, help="Folder of photographs; folders in it count.")
@click.option("--out", type=FOLDER, required=True, help="Folder of the pair set.")
@click.option("-n", "n_pairs", type=click.IntRange(1), help="How many pairs.  [default: all]")
@click.option("--condition", help="The condition's name in a study.  [default: the run's name]")
@click.option("--seed", type=int, default=0, show_default=True, help="Draws the photos; the same for all conditions.")
@click.option(
    "--keep-luminance/--no-keep-luminance",
    default=False,
    show_default=True,
    help="Take only the colours from the generator, and the luminance from the photo.",
)
@SIDE
@click.option(
    "--source", "source_name", help="Name of the photographs' source.  [default: FOLDER/source.json, its name]"
)
@click.option("--licence", help="Licence of the photographs.  [default: FOLDER/source.json, else not stated]")
@click.option("--device", type=DEVICES, default="auto", show_default=True, help="auto: CUDA where there is a GPU.")
@THREADS
@click.option("--replace", is_flag=True, help="Replace a pair set that is there already.")
def make(
    checkpoint: Path,
    folder: Path,
    out: Path,
    n_pairs: int | None,
    condition: str | None,
    seed: int,
    keep_luminance: bool,
    side: Any,
    source_name: str | None,
    licence: str | None,
    device: str,
    replace: bool,
) -> None:
    """Colour photographs that the generator never saw, and write them beside the originals.

    \b
    Example:  realism pairs make --checkpoint runs/cgan --photos flowers/ --out pairs/cgan -n 200
    """
    from train.checkpoint import load_generator
    from train.device import pick_device
    from train.pairs import make_pairs, select_photos

    if out.exists() and not replace:
        raise PairSetError(f"{out} already exists; choose another --out, or replace it with --replace")
    trained = load_generator(checkpoint, pick_device(device))
    about = read_source(folder)
    selection = select_photos(
        folder, trained, n_pairs=n_pairs, seed=seed, side=side, progress=show_bar("Reading photos")
    )
    pairset = make_pairs(
        trained,
        selection,
        out,
        condition=condition or trained.config.name,
        source_name=source_name or about.get("name", folder.resolve().name),
        licence=licence or about.get("licence", "not stated"),
        side=side,
        keeps_luminance=keep_luminance,
        replace=replace,
        progress=show_bar("Colouring"),
    )
    click.echo(
        f"{out}: {len(pairset.pairs)} pairs of condition {pairset.condition}; passed over {selection.n_trained} photos "
        f"trained on and {selection.n_left_out} too small or without colour"
    )


@pairs.command("check")
@click.argument("folder", metavar="PAIRSET", type=FOLDER)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check_pairs(folder: Path, as_json: bool) -> None:
    """Verify that every image of a pair set is there, unchanged, readable and of the stated size.

    \b
    Example:  realism pairs check pairs/cgan
    """
    pairset = read_pairset(folder)
    width, height = pairset.image_size
    if as_json:
        answer = {"folder": str(folder), "condition": pairset.condition, "pairs": len(pairset.pairs)}
        click.echo(json.dumps(answer | {"image_size": [width, height]}, indent=1))
    else:
        click.echo(
            f"{folder}: {len(pairset.pairs)} pairs of condition {pairset.condition}, {width}x{height}; all verify"
        )
