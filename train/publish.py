"""A run in; a folder small enough to give away out: the generator in half precision, its card, and what the card shows."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import torch

from models.color import from_network
from models.generator import colour
from protocol.whole_folder import whole_folder
from train.card import CARD, CURVES, MEASURES, SAMPLES, TABLE, last_grid, write_card
from train.checkpoint import GENERATOR, halve_generator, load_generator
from train.log import LOG

COPIED = ("config.toml", LOG, CURVES, MEASURES, TABLE)


@dataclass(frozen=True)
class Published:
    """Size of the generator's file, and the largest change that half precision makes to a picture, of 255."""

    n_bytes: int
    largest_change: float


def publish(run: Path, out: Path, *, replace: bool = False) -> Published:
    """Write ``out``, which every command takes as it takes the run, but for ``train --resume``.

    Raises:
        CheckpointError: if the run's generator cannot be read.
        FolderError: if there is something at ``out``, and it is not a published generator or not to be replaced.
    """
    whole = load_generator(run, torch.device("cpu"))
    entries = frozenset({GENERATOR, CARD, SAMPLES, *COPIED})
    with whole_folder(out, "published generator", entries, _is_one, replace=replace) as aside:
        halve_generator(run / GENERATOR, aside / GENERATOR)
        for name in COPIED:
            if (run / name).exists():
                shutil.copyfile(run / name, aside / name)
        (aside / SAMPLES).mkdir()
        grid = last_grid(run)
        if grid:
            shutil.copyfile(grid, aside / SAMPLES / grid.name)
        write_card(aside)
        half = load_generator(aside, torch.device("cpu"))
        n_bytes = (aside / GENERATOR).stat().st_size
    size, space = whole.config.image_size, whole.config.colour_space
    coarse = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    gray = torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear")  # (4, 1, H, W), smooth
    pictures = [from_network(gray, colour(trained.generator, gray), space) for trained in (whole, half)]
    return Published(n_bytes, 255 * (pictures[0] - pictures[1]).abs().max().item())


def _is_one(folder: Path) -> bool:
    return (folder / GENERATOR).is_file()
