"""The commands ``realism photos``, ``realism train`` and ``realism pairs``; torch is loaded only when one needs it."""

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import track

from protocol.pairset import PairSetError, read_pairset
from train.photos import DEFAULT_HELD_OUT, PhotoError, find_photos, open_photo, split_photos, unsuitable

HELP = {"help_option_names": ["-h", "--help"]}
FOLDER = click.Path(path_type=Path, file_okay=False)
DEVICES = click.Choice(["auto", "cpu", "cuda"])
STOPPED = 130  # what a shell gives for a command ended by Ctrl-C


def _bar(what: str) -> Any:
    """A progress bar on the terminal, if there is one, that goes when the loop ends."""
    console = Console(stderr=True)

    def show(items: Sequence[Any]) -> Iterable[Any]:
        return track(items, what, console=console, transient=True, disable=not console.is_terminal)

    return show


def _number(ctx: click.Context, parameter: click.Parameter, value: float) -> float:
    if math.isnan(value):  # click's range lets it through: it is neither below nor above
        raise click.BadParameter("nan is not a number.")
    return value


@click.group(context_settings=HELP)
def photos() -> None:
    """Check a folder of photographs and split it.

    \b
    Example:  realism photos check flowers/
    """


@photos.command()
@click.argument("folder", type=FOLDER)
@click.option(
    "--held-out",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    callback=_number,
    default=DEFAULT_HELD_OUT,
    show_default=True,
    help="Fraction of the photographs that is never trained on.",
)
@click.option(
    "--image-size",
    type=click.IntRange(4),
    default=256,
    show_default=True,
    help="Photographs smaller than this are left out.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def check(ctx: click.Context, folder: Path, held_out: float, image_size: int, as_json: bool) -> None:
    """Decode every photograph in FOLDER and count both sides of the split.

    A photograph is on the side that the hash of its bytes puts it on, for good. If FOLDER holds a table sources.csv
    (columns file, source_sha256), crops of one photograph are on one side. Exit code 1 if a file cannot be decoded.

    \b
    Example:  realism photos check flowers/ --image-size 256
    """
    found = find_photos(folder, _bar("Reading"))
    split = split_photos(found, held_out)
    broken, left_out = [], []
    for photo in _bar("Decoding")(found):
        try:
            reason = unsuitable(open_photo(photo.path), image_size)
        except PhotoError as error:
            broken.append(str(error))
            continue
        if reason:
            left_out.append(f"{photo.path} {reason}")
    if as_json:
        counts = {"photos": len(found), "train": len(split.train), "held_out": len(split.held_out)}
        sources = len({photo.source_sha256 for photo in found})
        answer = {"folder": str(folder), **counts, "sources": sources, "split_sha256": split.digest()}
        click.echo(json.dumps(answer | {"broken": broken, "left_out": left_out}, indent=1))
    else:
        for line in broken:
            click.echo(f"broken:   {line}")
        for line in left_out:
            click.echo(f"left out: {line}")
        click.echo(
            f"{folder}: {len(found)} photos, {len(split.train)} to train on, {len(split.held_out)} held out; "
            f"{len(broken)} broken, {len(left_out)} left out"
        )
    ctx.exit(1 if broken else 0)


@click.command(context_settings=HELP)
@click.argument("config_path", metavar="CONFIG.toml", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--photos", "folder", type=FOLDER, required=True, help="Folder of photographs; folders in it count.")
@click.option("--out", "run", type=FOLDER, required=True, help="Folder of the run.")
@click.option("--resume", is_flag=True, help="Go on from the run's checkpoint, exactly as if it had not stopped.")
@click.option("--device", type=DEVICES, default="auto", show_default=True, help="auto: CUDA where there is a GPU.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads.  [default: all cores]")
@click.option("--dry-run", is_flag=True, help="Check settings, photos and device, say what would be done, and stop.")
@click.pass_context
def train(
    ctx: click.Context,
    config_path: Path,
    folder: Path,
    run: Path,
    resume: bool,
    device: str,
    threads: int | None,
    dry_run: bool,
) -> None:
    """Train a generator on a folder of photographs.

    The run's folder gets generator.safetensors, which 'realism pairs make' takes, checkpoint.safetensors, from which
    --resume goes on, sample grids (grayscale, real, fake) under samples/, numbers in log.jsonl, and config.toml.
    Ctrl-C saves before it stops. On a CPU the same settings, photos and threads give the same weights.

    \b
    Example:  realism train configs/cgan-demo.toml --photos flowers/ --out runs/cgan
              realism train configs/cgan-demo.toml --photos flowers/ --out runs/cgan --resume
    """
    import torch

    from train import loop
    from train.config import read_config
    from train.device import pick_device

    config = read_config(config_path)
    where = pick_device(device)
    if threads:
        torch.set_num_threads(threads)
    loop.refuse_existing(run, resume)
    photos = loop.load_photos(folder, config, _bar("Reading photos"))
    for line in photos.left_out:
        click.echo(f"left out: {line}", err=True)
    state = loop.open_run(run, config, photos.provenance, where, resume)
    click.echo(
        f"{config.name}: {photos.provenance.n_train} photos to train on, {photos.provenance.n_held_out} held out, "
        f"{config.image_size}x{config.image_size}, steps {state.step} to {config.steps} on {where}"
    )
    if dry_run:
        return
    if state.step >= config.steps:
        click.echo(f"run {run} is finished at step {state.step}; there is nothing to do. Raise steps to go on")
        return
    loop.train(state, config, photos, run, console=Console(stderr=True))
    if state.step < config.steps:
        click.echo(f"stopped at step {state.step} and saved; go on with --resume", err=True)
        ctx.exit(STOPPED)
    click.echo(f"generator: {run / 'generator.safetensors'}")


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
@click.option(
    "--split",
    "side",
    type=click.Choice(["held-out", "all"]),
    default="held-out",
    show_default=True,
    help="The held-out side of the generator's split, or every photo that it was not trained on.",
)
@click.option("--source", "source_name", help="Name of the photographs' source.  [default: the folder's name]")
@click.option("--licence", default="not stated", show_default=True, help="Licence of the photographs.")
@click.option("--device", type=DEVICES, default="auto", show_default=True, help="auto: CUDA where there is a GPU.")
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
    licence: str,
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
    selection = select_photos(folder, trained, n_pairs=n_pairs, seed=seed, side=side, progress=_bar("Reading photos"))
    pairset = make_pairs(
        trained,
        selection,
        out,
        condition=condition or trained.config.name,
        source_name=source_name or folder.resolve().name,
        licence=licence,
        side=side,
        keeps_luminance=keep_luminance,
        replace=replace,
        progress=_bar("Colouring"),
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
