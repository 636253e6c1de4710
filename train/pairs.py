"""A trained generator and a folder of photos in, a pair set out: each photo that was never trained on, real and coloured."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from PIL import Image
from torch import Tensor

from models.color import from_network, keep_luminance
from models.generator import colour
from protocol.pairset import PairSet, Picture, write_pairset
from train.batches import network_input
from train.checkpoint import TrainedGenerator
from train.photos import (
    Photo,
    PhotoError,
    Progress,
    find_photos,
    never_trained_on,
    open_photo,
    side_of,
    square_picture,
    why_left_out,
)

Side = Literal["held-out", "all"]


@dataclass(frozen=True)
class Selection:
    """Photos of a folder to show, and how many were passed over for which reason."""

    folder: Path
    photos: tuple[Photo, ...]
    n_trained: int
    n_left_out: int

    def class_of(self, photo: Photo) -> str:
        """The name of the folder in the folder that the photo lies in, "" if it lies in none."""
        inside = photo.path.relative_to(self.folder).parts
        return inside[0] if len(inside) > 1 else ""


def select_photos(
    folder: Path,
    trained: TrainedGenerator,
    *,
    n_pairs: int | None,
    seed: int,
    side: Side,
    progress: Progress = iter,
) -> Selection:
    """Photos that the generator was never trained on, in an order that depends on seed and photos alone.

    Two generators with the same held-out photos get the same ones, whatever else differs. ``side`` "held-out" takes
    what the split stored with the generator holds out; "all" takes every photo never trained on, for a folder of others.

    Raises:
        PhotoError: if none is left, or fewer than ``n_pairs``.
    """
    found = find_photos(folder, progress)
    fresh = never_trained_on(found, trained.photos.trained)
    candidates = fresh
    if side == "held-out":
        candidates = tuple(p for p in fresh if side_of(p, trained.config.held_out) == "held-out")
    shuffled = sorted(candidates, key=lambda p: hashlib.sha256(f"{seed}:{p.sha256}".encode()).digest())
    size = trained.config.image_size
    usable = [photo for photo in progress(shuffled) if not why_left_out(photo.path, size)]
    n_trained, n_left_out = len(found) - len(fresh), len(shuffled) - len(usable)
    if len(usable) < (n_pairs or 1):
        raise PhotoError(
            f"photo folder {folder}: {len(usable)} of {len(found)} photos can be shown, {n_pairs or 1} are wanted "
            f"({n_trained} were trained on, {len(fresh) - len(candidates)} are not held out, {n_left_out} are broken, "
            f"smaller than {size} pixels or without colour); give more photos, or ask for fewer pairs"
        )
    return Selection(folder, tuple(usable[:n_pairs]), n_trained, n_left_out)


def make_pairs(
    trained: TrainedGenerator,
    selection: Selection,
    out: Path,
    *,
    condition: str,
    source_name: str,
    licence: str,
    side: Side,
    keeps_luminance: bool,
    replace: bool = False,
    progress: Progress = iter,
) -> PairSet:
    """Colour the selected photos and write them beside the originals."""
    keeps_luminance |= trained.config.colour_space == "lab"
    config = trained.config.to_dict() | {"step": trained.step, "keep_luminance": keeps_luminance}
    return write_pairset(
        out,
        coloured(trained, selection, keeps_luminance, progress),
        condition=condition,
        generator={"name": trained.config.name, "checkpoint_sha256": trained.sha256, "config": config},
        source={"name": source_name, "licence": licence, "split": side},
        replace=replace,
    )


def coloured(
    trained: TrainedGenerator, selection: Selection, keeps_luminance: bool, progress: Progress = iter
) -> Iterator[Picture]:
    """Each photo and the generator's colours for it, tagged with the photo's class."""
    for photo in progress(selection.photos):
        real = square_picture(open_photo(photo.path), trained.config.image_size)
        tags = tuple(filter(None, (selection.class_of(photo),)))
        yield Picture(photo.sha256, real, colour_picture(trained, real, keeps_luminance), tags)


def colour_picture(trained: TrainedGenerator, picture: Image.Image, keeps_luminance: bool) -> Image.Image:
    """The generator's colours for an RGB picture, of which it sees the luminance only.

    With ``keeps_luminance`` only the colours are the generator's, and the picture's own luminance stays: what gives
    the fake away is then its colour, never a blur.
    """
    device = next(trained.generator.parameters()).device
    space = trained.config.colour_space
    gray, _ = network_input(_to_tensor(picture).to(device), space)  # (1, 1, H, W)
    rgb = from_network(gray, colour(trained.generator, gray), space)  # (1, 3, H, W)
    if keeps_luminance and space == "rgb":  # Lab has kept it already
        rgb = keep_luminance(rgb, gray)
    pixels = (rgb[0] * 255).round().clamp(0, 255).byte().permute(1, 2, 0)  # (H, W, 3)
    return Image.fromarray(pixels.cpu().contiguous().numpy())


def _to_tensor(picture: Image.Image) -> Tensor:
    pixels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    return pixels.view(picture.height, picture.width, 3).permute(2, 0, 1).unsqueeze(0)  # (1, 3, H, W)
