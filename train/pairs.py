"""Trained generators and a folder of photos in, pair sets out: photos that none was trained on, real and coloured by each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor

from models.color import from_network, keep_luminance
from models.generator import colour
from pairs.progress import Progress
from pairs.road import PhotoError, open_photo, square_picture
from pairs.selecting import Choice
from pairs.writing import About, Output, Picture, write_pairsets
from protocol.encoding import Encoder
from protocol.pairset import Exclusion, PairSet
from train.batches import network_input
from train.checkpoint import TrainedGenerator
from train.photos import Photo, find_photos, never_trained_on, side_of, why_left_out

Side = Literal["held-out", "all"]


@dataclass(frozen=True)
class Selection:
    """Photos of a folder to show, and how many were passed over for which reason."""

    folder: Path
    photos: tuple[Photo, ...]
    n_trained: int
    n_left_out: int
    excluded: tuple[Exclusion, ...] = ()

    def class_of(self, photo: Photo) -> str:
        """The name of the folder in the folder that the photo lies in, "" if it lies in none."""
        return _class_of(self.folder, photo)


def _class_of(folder: Path, photo: Photo) -> str:
    inside = photo.path.relative_to(folder).parts
    return inside[0] if len(inside) > 1 else ""


def select_photos(
    folder: Path,
    generators: Sequence[TrainedGenerator],
    *,
    side: Side,
    choice: Choice = Choice(),  # noqa: B008 -- frozen
    progress: Progress = iter,
) -> Selection:
    """Photos that no generator was trained on, in an order that depends on seed and photos alone.

    Generators with the same held-out photos get the same ones, whatever else differs. ``side`` "held-out" takes what
    the split stored with every generator holds out; "all" takes every photo never trained on, for a folder of others.

    Raises:
        PhotoError: if none is left, or fewer than are wanted.
        SelectionError: if the tags, the strata or the exclusions do not fit.
    """
    size = image_size_of(generators)
    found = find_photos(folder, progress)
    fresh = never_trained_on(found, frozenset().union(*(one.photos.trained for one in generators)))
    candidates = fresh
    if side == "held-out":
        candidates = tuple(p for p in fresh if all(side_of(p, one.config.held_out) == "held-out" for one in generators))
    usable = [photo for photo in progress(candidates) if not why_left_out(photo.path, size)]
    n_trained, n_left_out = len(found) - len(fresh), len(candidates) - len(usable)
    if len(usable) < (choice.n_pairs or 1):
        raise PhotoError(
            f"{folder}: {len(usable)} of {len(found)} photos can be shown, {choice.n_pairs or 1} are wanted ({n_trained} were "
            f"trained on, {len(fresh) - len(candidates)} are not held out, {n_left_out} are broken, "
            f"smaller than {size} pixels or without colour); give more photos, or ask for fewer pairs"
        )
    shown = choice.of(
        usable,
        photo_sha256=lambda photo: photo.sha256,
        tags=lambda photo: [name for name in (_class_of(folder, photo),) if name],
    )
    return Selection(folder, tuple(shown), n_trained, n_left_out, choice.excluded)


def image_size_of(generators: Sequence[TrainedGenerator]) -> int:
    """The generators' common size of pictures.

    Raises:
        PhotoError: if they differ: then no picture can be the same for all.
    """
    sizes = {one.config.image_size: one.config.name for one in generators}
    if len(sizes) > 1:
        listed = " and ".join(f"{name} {size}x{size}" for size, name in sorted(sizes.items()))
        raise PhotoError(f"the generators make pictures of different sizes ({listed}); make their pair sets one by one")
    return next(iter(sizes))


def make_pairs(
    generators: Sequence[TrainedGenerator],
    selection: Selection,
    out: Output,
    *,
    conditions: Sequence[str],
    source_name: str,
    licence: str,
    side: Side,
    keeps_luminance: bool,
    encoder: Encoder = Encoder(),  # noqa: B008 -- frozen
    replace: bool = False,
    progress: Progress = iter,
) -> list[PairSet]:
    """Colour the selected photos with every generator and write them beside the originals, a pair set for each."""
    source = {"name": source_name, "licence": licence, "split": side}
    about = [
        About(name, _described(one, keeps_luminance), source) for name, one in zip(conditions, generators, strict=True)
    ]
    pictures = coloured(generators, selection, keeps_luminance, progress)
    return write_pairsets(out, pictures, about, encoder=encoder, excluded=selection.excluded, replace=replace)


def _described(trained: TrainedGenerator, keeps_luminance: bool) -> dict[str, Any]:
    kept = keeps_luminance or trained.config.colour_space == "lab"
    config = trained.config.to_dict() | {"step": trained.step, "keep_luminance": kept}
    return {"name": trained.config.name, "checkpoint_sha256": trained.sha256, "config": config}


def coloured(
    generators: Sequence[TrainedGenerator], selection: Selection, keeps_luminance: bool, progress: Progress = iter
) -> Iterator[Picture]:
    """Each photo and the generators' colours for it, tagged with the photo's class."""
    size = image_size_of(generators)
    for photo in progress(selection.photos):
        opened = open_photo(photo.path)
        real = square_picture(opened, size)
        fakes = tuple(colour_picture(trained, real, keeps_luminance) for trained in generators)
        tags = tuple(filter(None, (selection.class_of(photo),)))
        steps = frozenset({"resized"} if min(opened.size) != size else ())
        # A fake is made of the real picture, so what was done to the one was done to the other.
        yield Picture(photo.sha256, real, fakes, tags, (steps,) * (1 + len(fakes)))


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
