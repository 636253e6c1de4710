"""A folder of photos and a run's settings in; both sides decoded, and where they came from, out."""

import csv
import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pairs.progress import Progress
from pairs.road import PhotoError
from train.cache import Pictures, read_pictures
from train.checkpoint import Provenance
from train.config import TrainConfig
from train.photos import Split, find_photos, split_photos
from train.samples import GRID_ROWS

MEASURED = 32  # held-out photos that are measured


@dataclass(frozen=True)
class TrainingPhotos:
    """Both sides of a folder, decoded; ``left_out`` says which of either could not be used, and why."""

    train: Tensor  # (n_photos, S, S, 3) uint8
    held_out: Tensor  # (at most MEASURED, 3, H, W) uint8
    provenance: Provenance
    left_out: tuple[str, ...]
    table: str  # CSV: which photo is on which side


def load_photos(
    folder: Path,
    config: TrainConfig,
    *,
    source: str | None = None,
    licence: str = "not stated",
    cache: Path | None = None,
    progress: Progress = iter,
) -> TrainingPhotos:
    """Find and split every photo of the folder, and decode it, or map it from ``cache``.

    Raises:
        PhotoError: if a side is left without photos.
    """
    split = split_photos(find_photos(folder, progress), config.held_out)
    size = config.image_size
    train = read_pictures(split.train, size, stored_size=config.stored_size, cache=cache, progress=progress)
    held_out = read_pictures(split.held_out, size, cache=cache, progress=progress)
    left_out = {photo.sha256: why for photo, why in (*train.left_out, *held_out.left_out)}
    if not train.photos or not held_out.photos:
        reasons = "; ".join(f"{photo.path.name} {why}" for photo, why in (*train.left_out, *held_out.left_out)[:3])
        raise PhotoError(
            f"photo folder {folder}: of {len(split.train) + len(split.held_out)} photos, {len(train.photos)} can be "
            f"trained on and {len(held_out.photos)} held out ({len(left_out)} left out{': ' if reasons else ''}{reasons}); "
            "give more photographs, or change held_out"
        )
    provenance = Provenance(
        folder=folder.resolve().name,
        source=source or folder.resolve().name,
        licence=licence,
        n_train=len(train.photos),
        n_held_out=len(held_out.photos),
        split_sha256=split.digest(),
        trained=frozenset(sha256 for photo in split.train for sha256 in (photo.sha256, photo.source_sha256)),
    )
    # Spread over the hashes' order, so that crops of several photographs are seen.
    seen = np.linspace(0, len(held_out.photos) - 1, min(MEASURED, len(held_out.photos))).round().astype(int)
    rows = {held_out.photos[i].sha256: row for row, i in enumerate(seen[:GRID_ROWS], start=1)}
    return TrainingPhotos(
        train=_tensor(train),
        held_out=torch.from_numpy(held_out.pixels[seen]).permute(0, 3, 1, 2),
        provenance=provenance,
        left_out=tuple(f"{photo.path} {why}" for photo, why in (*train.left_out, *held_out.left_out)),
        table=_table(folder, split, left_out, rows),
    )


def _tensor(pictures: Pictures) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # and nothing writes to it
        return torch.from_numpy(pictures.pixels)  # (N, S, S, 3)


def _table(folder: Path, split: Split, left_out: dict[str, str], rows: dict[str, int]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "sha256", "source_sha256", "side", "left_out", "row"])
    for side, photos in (("train", split.train), ("held-out", split.held_out)):
        for photo in photos:
            file = photo.path.relative_to(folder).as_posix()
            writer.writerow(
                [
                    file,
                    photo.sha256,
                    photo.source_sha256,
                    side,
                    left_out.get(photo.sha256, ""),
                    rows.get(photo.sha256, ""),
                ]
            )
    return text.getvalue()
