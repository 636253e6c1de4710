"""The commands on a trained generator: ``evaluate``, ``publish``, ``colourise`` and ``onnx``; torch is loaded only when one needs it."""

import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markdown import Markdown

from pairs.progress import show_bar
from protocol.pairset import MANIFEST
from protocol.place import Place, is_remote
from train.cli import DEVICES, FOLDER, HELP, SIDE, THREADS


@click.command(context_settings=HELP)
@click.argument("address", metavar="SOURCE")
@click.option("--photos", "folder", type=FOLDER, help="Folder of photographs; needed for a generator.")
@click.option("-n", "n_photos", type=click.IntRange(1), help="How many photos.  [default: all]")
@click.option("--seed", type=int, default=0, show_default=True, help="Draws the photos, and trains the observer.")
@SIDE
@click.option(
    "--card/--no-card",
    default=None,
    help="Put the measures in the card.  [default: for a run, on all photos that it holds out]",
)
@click.option("--device", type=DEVICES, default="auto", show_default=True, help="auto: CUDA where there is a GPU.")
@THREADS
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def evaluate(
    address: str,
    folder: Path | None,
    n_photos: int | None,
    seed: int,
    side: Any,
    card: bool | None,
    device: str,
    as_json: bool,
) -> None:
    """Measure how good fakes are: those of a generator, or those of a pair set from wherever.

    SOURCE is a run, a generator.safetensors, or a pair set. For all photos and for each class (the folder in the folder)
    it gives PSNR, SSIM, colourfulness against the photographs', the distance of the colours' histograms, and how often a
    machine observer, a small network trained for it here, tells real from fake in pairs it has not seen: 50 % is
    perfect. FID, KID and LPIPS where torchmetrics is installed and its weights can be had. No measure stands for people.

    \b
    Example:  realism evaluate runs/cgan --photos flowers/
              realism evaluate pairs/cgan --json
    """
    from pairs.selecting import Choice
    from train.checkpoint import CHECKPOINT, load_generator, write_atomically
    from train.device import pick_device
    from train.evaluate import from_generator, from_pairset, measure, text_table
    from train.pairs import select_photos

    if is_remote(address) or Place(address).exists(MANIFEST):
        if folder or n_photos:
            raise click.UsageError(f"{address} is a pair set, which is measured whole; leave --photos and -n out.")
        about: dict[str, Any] = {"pairset": address}
        pictures = from_pairset(address)
    else:
        source = Path(address)
        if folder is None:
            raise click.UsageError(f"{address} is no pair set; to measure a generator, give --photos.")
        trained = load_generator(source, pick_device(device))
        photos = select_photos(
            folder, [trained], choice=Choice(n_photos, seed=seed), side=side, progress=show_bar("Reading photos")
        )
        about = {"generator": trained.config.name, "generator_sha256": trained.sha256, "photos": folder.resolve().name}
        about |= {"step": trained.step, "split": side}
        pictures = from_generator(trained, photos, show_bar("Colouring"))
    measured = measure(*pictures, seed=seed, progress=show_bar("Training the observer"))
    table = text_table(measured)
    answer = about | measured.to_dict() | {"seed": seed}
    if card is None:
        card = (Path(address) / CHECKPOINT).exists() and n_photos is None and side == "held-out"
    if card and "generator" in about and source.is_dir():
        from train.card import MEASURES, write_card

        which = "held out" if side == "held-out" else "not trained on"
        said = f"On {measured.overall.n} photographs of {about['photos']}, {which}, at step {trained.step}:"
        stored = json.dumps(answer | {"table": f"{said}\n\n{table}"}, indent=1, ensure_ascii=False)
        write_atomically(source / MEASURES, stored.encode())
        write_card(source)
    if as_json:
        click.echo(json.dumps(answer, indent=1))
    else:
        Console().print(Markdown(table))


@click.command(context_settings=HELP)
@click.argument("run", type=FOLDER)
@click.option("--out", type=FOLDER, required=True, help="Folder to give away.")
@click.option("--replace", is_flag=True, help="Replace a published generator that is there already.")
def publish(run: Path, out: Path, replace: bool) -> None:
    """Make a small folder of a RUN to give away: the generator in half precision, its card, curves and samples.

    What only a resume needs stays behind. Every --checkpoint takes the folder.

    \b
    Example:  realism publish runs/cgan --out flowers-cgan
    """
    from train.publish import publish as publish_run

    done = publish_run(run, out, replace=replace)
    click.echo(
        f"{out}: {done.n_bytes / 1e6:.1f} MB; half precision changes no picture by more than "
        f"{done.largest_change:.2f} of 255"
    )


@click.command(context_settings=HELP)
@click.argument("folder", type=FOLDER)
@click.option(
    "--checkpoint", type=click.Path(path_type=Path), required=True, help="A run's folder, or its generator.safetensors."
)
@click.option("--out", type=FOLDER, required=True, help="Folder of the coloured photographs.")
@click.option("--device", type=DEVICES, default="auto", show_default=True, help="auto: CUDA where there is a GPU.")
@THREADS
@click.option("--replace", is_flag=True, help="Replace a folder of coloured photographs that is there already.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def colourise(
    ctx: click.Context, folder: Path, checkpoint: Path, out: Path, device: str, replace: bool, as_json: bool
) -> None:
    """Colour every photograph in FOLDER, with or without colours of its own.

    Each becomes a PNG of the same name and size. The generator sees it at the size that it was trained on, whatever its
    colour space, and gives its colours alone: the luminance, and with it every detail, stays the photograph's. For a
    study make pairs instead, of photographs that the generator never saw. Exit code 1 if a file cannot be decoded.

    \b
    Example:  realism colourise old-photos/ --checkpoint runs/cgan --out coloured/
    """
    from train.checkpoint import load_generator
    from train.colourise import colour_folder
    from train.device import pick_device

    trained = load_generator(checkpoint, pick_device(device))
    done = colour_folder(trained, folder, out, replace=replace, progress=show_bar("Colouring"))
    if as_json:
        answer = {"folder": str(folder), "out": str(out), "pictures": [path.as_posix() for path in done.pictures]}
        click.echo(json.dumps(answer | {"broken": list(done.broken)}, indent=1))
    else:
        for line in done.broken:
            click.echo(f"broken:   {line}")
        click.echo(f"{out}: {len(done.pictures)} photos coloured by {trained.config.name}; {len(done.broken)} broken")
    ctx.exit(1 if done.broken else 0)


@click.command(context_settings=HELP)
@click.option(
    "--checkpoint", type=click.Path(path_type=Path), required=True, help="A run's folder, or its generator.safetensors."
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The file, which ends in .onnx.")
@click.option("--replace", is_flag=True, help="Replace a file that is there already.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def onnx(ctx: click.Context, checkpoint: Path, out: Path, replace: bool, as_json: bool) -> None:
    """Write a generator as an ONNX file, for software without torch.

    Its input is luminance (N, 1, H, W), its output colour (N, C, H, W), both in [-1, 1]; N is free, H and W are multiples
    of 2**generator_depth. What the numbers mean, and which generator it is, stands in the file's metadata. Before it is
    written, onnxruntime must compute what torch computes, within 1e-4 of the range: exit code 1, and no file, if not.

    \b
    Example:  realism onnx --checkpoint runs/cgan --out cgan.onnx
    """
    import torch

    from train.checkpoint import load_generator
    from train.onnx_export import export

    trained = load_generator(checkpoint, torch.device("cpu"))
    agreement = export(trained, out, replace=replace)
    if as_json:
        answer = {"file": str(out), "written": agreement.holds, "largest_difference": agreement.difference}
        click.echo(json.dumps(answer | {"shapes": agreement.shapes}, indent=1))
    else:
        click.echo(
            f"{out}{'' if agreement.holds else ' is not written'}: generator {trained.config.name}; over "
            f"{len(agreement.shapes)} shapes it differs from torch by at most {agreement.difference:.1e} of the range"
        )
    ctx.exit(0 if agreement.holds else 1)
