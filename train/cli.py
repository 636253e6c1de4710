"""The commands ``realism photos`` and ``realism train``; torch is loaded only when one needs it."""

import json
import math
from pathlib import Path

import click
from rich.console import Console

from pairs.progress import show_bar
from pairs.road import PhotoError, open_photo, read_source
from train import fetch as photo_sources
from train.photos import (
    DEFAULT_HELD_OUT,
    find_photos,
    freeze_split,
    split_photos,
    unsuitable,
)

HELP = {"help_option_names": ["-h", "--help"]}
FOLDER = click.Path(path_type=Path, file_okay=False)
DEVICES = click.Choice(["auto", "cpu", "cuda"])
STOPPED = 130  # what a shell gives for a command ended by Ctrl-C


def _set_threads(ctx: click.Context, parameter: click.Parameter, value: int | None) -> None:
    if value:
        import torch

        torch.set_num_threads(value)


THREADS = click.option(
    "--threads",
    type=click.IntRange(1),
    callback=_set_threads,
    expose_value=False,
    help="CPU threads.  [default: all cores]",
)


SIDE = click.option(
    "--split",
    "side",
    type=click.Choice(["held-out", "all"]),
    default="held-out",
    show_default=True,
    help="The held-out side of the generator's split, or every photo that it was not trained on.",
)


def _number(ctx: click.Context, parameter: click.Parameter, value: float) -> float:
    if math.isnan(value):  # click's range lets it through: it is neither below nor above
        raise click.BadParameter("nan is not a number.")
    return value


@click.group(context_settings=HELP)
def photos() -> None:
    """Download, check and split photographs.

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
@click.option(
    "--freeze", is_flag=True, help="Write the split to FOLDER/split.csv, which training and pairs then keep to."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def check(ctx: click.Context, folder: Path, held_out: float, image_size: int, freeze: bool, as_json: bool) -> None:
    """Decode every photograph in FOLDER and count both sides of the split.

    A photograph is on the side that the hash of its bytes puts it on, for good. If FOLDER holds a table sources.csv
    (columns file, source_sha256), crops of one photograph are on one side. Exit code 1 if a file cannot be decoded.

    \b
    Example:  realism photos check flowers/ --image-size 256
              realism photos check flowers/ --held-out 0.3 --freeze
    """
    found = find_photos(folder, show_bar("Reading"))
    split = split_photos(found, held_out)
    broken, left_out = [], []
    for photo in show_bar("Decoding")(found):
        try:
            reason = unsuitable(open_photo(photo.path), image_size)
        except PhotoError as error:
            broken.append(str(error))
            continue
        if reason:
            left_out.append(f"{photo.path} {reason}")
    if freeze:
        table = freeze_split(folder, split)
        if not as_json:
            click.echo(f"frozen:   {table}")
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


@photos.command()
@click.argument("name", type=click.Choice(list(photo_sources.CATALOGUE)))
@click.option("--out", type=FOLDER, required=True, help="Folder of the photographs; the download lies there too.")
def fetch(name: str, out: Path) -> None:
    """Download a published set of photographs, verify it, and unpack it into one folder per class.

    A download that was stopped goes on where it stopped. A file that was downloaded by other means and put into the
    folder is taken instead. source.json says where the photographs are from and on which terms. While flowers102 is
    unpacked it takes 0.7 GB, stanford-dogs 1.6 GB, half of which is free again afterwards.

    \b
    Example:  realism photos fetch flowers102 --out flowers/
    """
    if photo_sources.read_note(name, out):
        click.echo(f"{out} holds {name} already; there is nothing to do")
        return
    note = photo_sources.fetch(photo_sources.CATALOGUE[name](), out, Console(stderr=True))
    click.echo(f"{out}: {note['photos']} photos of {name} in {note['classes']} classes, all verified")
    click.echo(f"Terms: {note['licence']}\nPlease cite: {note['citation']}")


@click.command(context_settings=HELP)
@click.argument("config_path", metavar="CONFIG.toml", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--photos", "folder", type=FOLDER, required=True, help="Folder of photographs; folders in it count.")
@click.option("--out", "run", type=FOLDER, required=True, help="Folder of the run.")
@click.option("--resume", is_flag=True, help="Go on from the run's checkpoint, exactly as if it had not stopped.")
@click.option("--device", type=DEVICES, default="auto", show_default=True, help="auto: CUDA where there is a GPU.")
@THREADS
@click.option("--until", type=click.IntRange(1), help="Stop at this step, to go on later.  [default: the end]")
@click.option(
    "--source", "source_name", help="Name of the photographs' source.  [default: FOLDER/source.json, its name]"
)
@click.option("--licence", help="Licence of the photographs.  [default: FOLDER/source.json, else not stated]")
@click.option(
    "--start-from",
    "start",
    type=click.Path(path_type=Path),
    help="Begin with the weights of a trained generator (a run, or its generator.safetensors) of the same build.",
)
@click.option("--dry-run", is_flag=True, help="Check settings, photos and device, say what would be done, and stop.")
@click.pass_context
def train(
    ctx: click.Context,
    config_path: Path,
    folder: Path,
    run: Path,
    resume: bool,
    device: str,
    until: int | None,
    start: Path | None,
    source_name: str | None,
    licence: str | None,
    dry_run: bool,
) -> None:
    """Train a generator on a folder of photographs.

    The run's folder gets generator.safetensors, which 'realism pairs make' takes, checkpoint.safetensors, from which
    --resume goes on, a model card (README.md) with curves.png, sample grids (grayscale, real, fake) under samples/,
    numbers in log.jsonl, photos.csv, which says which photo was on which side, and config.toml.
    Ctrl-C saves before it stops. On a CPU the same settings, photos and threads give the same weights.

    On several GPUs or machines start it with torchrun; batch_size is that of all of them together.

    \b
    Example:  realism train configs/cgan-demo.toml --photos flowers/ --out runs/cgan
              realism train configs/cgan-demo.toml --photos flowers/ --out runs/cgan --resume
              torchrun --nproc-per-node 4 -m realism train my.toml --photos flowers/ --out runs/cgan
    """
    from train import loop
    from train.cache import usable_cache
    from train.checkpoint import GENERATOR, load_generator, read_about
    from train.config import read_config
    from train.parallel import join_processes
    from train.training_photos import load_photos

    config = read_config(config_path)
    with join_processes(device) as processes:

        def say(text: str, err: bool = False) -> None:
            if processes.is_writer:
                click.echo(text, err=err)

        loop.refuse_existing(run, resume)
        about = read_source(folder)
        if resume and (run / GENERATOR).exists():
            stored = read_about(run / GENERATOR).photos
            about = {"name": stored.source, "licence": stored.licence}
        with processes.one_here_first():
            photos = load_photos(
                folder,
                config,
                source=source_name or about.get("name"),
                licence=licence or about.get("licence", "not stated"),
                cache=usable_cache(lambda problem: say(problem, err=True)),
                progress=show_bar("Reading photos"),
            )
        for line in photos.left_out:
            say(f"left out: {line}", err=True)
        state = loop.open_run(run, config, photos.provenance, processes, resume)
        if start:
            loop.start_from(state, config, load_generator(start, processes.device))
        say(
            f"{config.name}: {photos.provenance.n_train} photos to train on, {photos.provenance.n_held_out} held out, "
            f"{config.image_size}x{config.image_size}, steps {state.step} to {until or config.steps} on "
            f"{processes.device}{f' and {processes.n - 1} more' if processes.n > 1 else ''}"
        )
        if dry_run:
            return
        if state.step >= min(config.steps, until or config.steps):
            more = "steps" if state.step >= config.steps else "--until"
            say(f"run {run} is at step {state.step}; there is nothing to do. Raise {more} to go on")
            return
        loop.train(state, config, photos, run, until=until, console=Console(stderr=True))
        if state.step < min(config.steps, until or config.steps):
            say(f"stopped at step {state.step} and saved; go on with --resume", err=True)
            ctx.exit(STOPPED)
        say(f"generator: {run / 'generator.safetensors'}, card: {run / 'README.md'}")
