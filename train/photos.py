"""A folder of photographs in; which are trained on and which are held out for good.

The hash of a file's bytes decides its side, so a photograph keeps its side whatever it is called and whatever is added
to the folder. A folder may carry ``sources.csv`` with the columns ``file,source_sha256``: crops of one photograph carry
that photograph's hash and stand on one side together. It may carry ``split.csv`` with the columns ``source_sha256,side``,
which freezes the sides: who changes the fraction later, or reads the folder with other software, finds them there.
"""

import csv
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import numpy as np
from PIL import Image

from pairs.progress import Progress
from pairs.road import BrokenPhotoError, PhotoError, open_photo, picture_paths

SOURCES, SPLIT = "sources.csv", "split.csv"
DEFAULT_HELD_OUT = 0.2  # fraction of the photographs
COLOUR_THRESHOLD = 8  # channels that never differ by more (of 255) are a gray photograph, JPEG noise included

Side = Literal["train", "held-out"]


@dataclass(frozen=True)
class Photo:
    """A file and the hash of its bytes; ``source_sha256`` is that of the photograph it was cut from, or its own.

    ``frozen_side`` is what the folder's ``split.csv`` says, if it says anything.
    """

    path: Path
    sha256: str
    source_sha256: str
    frozen_side: Side | None = None


@dataclass(frozen=True)
class Split:
    """The two sides of a folder, each in the order of the hashes."""

    train: tuple[Photo, ...]
    held_out: tuple[Photo, ...]

    def digest(self) -> str:
        """sha256 over both lists of hashes: equal for the same photos on the same sides, whatever they are called."""
        sides = ("\n".join(photo.sha256 for photo in side) for side in (self.train, self.held_out))
        return hashlib.sha256("\n\n".join(sides).encode()).hexdigest()


def find_photos(folder: Path, progress: Progress = iter) -> tuple[Photo, ...]:
    """Every photograph in the folder and the folders in it, in the order of the hashes; equal files count once.

    Raises:
        PhotoError: if there is no such folder, no photograph in it, or its ``sources.csv`` or ``split.csv`` does not fit.
    """
    paths = picture_paths(folder)
    sources, sides = _read_sources(folder, paths), _read_sides(folder)
    photos: dict[str, Photo] = {}
    for path in progress(paths):
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        source = sources.get(path, sha256)
        photos.setdefault(sha256, Photo(path, sha256, source, sides.get(source)))
    return tuple(photos[sha256] for sha256 in sorted(photos))


def _read_sources(folder: Path, paths: list[Path]) -> dict[Path, str]:
    table = folder / SOURCES
    if not table.exists():
        return {}
    sources = {}
    for line, row in _rows(table):
        if not row.get("file") or not _is_hash(row.get("source_sha256")):
            raise PhotoError(
                f"{table}: line {line} is {row}; each line needs 'file' and 'source_sha256' (64 hex digits)"
            )
        sources[folder / row["file"]] = row["source_sha256"]
    for path in paths:
        if path not in sources:
            raise PhotoError(f"{path} has no line in {table}; add one, or remove the photo")
    return sources


def _read_sides(folder: Path) -> dict[str, Side]:
    table = folder / SPLIT
    if not table.exists():
        return {}
    sides: dict[str, Side] = {}
    for line, row in _rows(table):
        source, side = row.get("source_sha256", ""), row.get("side")
        if not _is_hash(source) or (side != "train" and side != "held-out"):
            raise PhotoError(
                f"{table}: line {line} is {row}; each line needs 'source_sha256' (64 hex digits) and 'side' "
                "(train or held-out)"
            )
        if sides.setdefault(source, cast(Side, side)) != side:
            raise PhotoError(f"{table}: line {line} puts {source} on a second side; keep one line for each photograph")
    if not sides:
        raise PhotoError(f"{table} freezes no photograph; remove it, and freeze the split again")
    return sides


def _rows(table: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets put a byte-order mark in front
            rows = csv.DictReader(file)
            return [(rows.line_num, dict(row)) for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise PhotoError(f"{table} cannot be read ({reason}); make it a UTF-8 table, or remove it") from error


def _is_hash(text: str | None) -> bool:
    return re.fullmatch("[0-9a-f]{64}", text or "") is not None


def freeze_split(folder: Path, split: Split) -> Path:
    """Write ``split.csv``, which keeps every photograph on its side from now on.

    Raises:
        PhotoError: if the folder has one already.
    """
    # Put aside first: a part of a split would free the other photos.
    table, aside = folder / SPLIT, folder / f".{SPLIT}.new"
    if table.exists():
        raise PhotoError(f"{table} exists: the split is frozen already; remove it to draw a new one")
    try:
        with aside.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["source_sha256", "side", "file"])
            for side, photos in (("train", split.train), ("held-out", split.held_out)):
                first = {photo.source_sha256: photo for photo in reversed(photos)}  # one line for each photograph
                writer.writerows((p.source_sha256, side, p.path.relative_to(folder).as_posix()) for p in first.values())
        aside.replace(table)
    except OSError as error:
        raise PhotoError(
            f"{table} cannot be written ({error.strerror}); make room, or make the folder writable"
        ) from error
    finally:
        aside.unlink(missing_ok=True)
    return table


def is_held_out(source_sha256: str, held_out: float) -> bool:
    """Whether a photograph belongs to the held-out fraction: its hash, read as a number in [0, 1), lies below it."""
    return int(source_sha256[:13], 16) / 16**13 < held_out  # 52 bits: exact in a float


def side_of(photo: Photo, held_out: float) -> Side:
    """The side that is frozen, else that of the hash."""
    return photo.frozen_side or ("held-out" if is_held_out(photo.source_sha256, held_out) else "train")


def split_photos(photos: Iterable[Photo], held_out: float) -> Split:
    """The photos' two sides. A larger fraction only moves photos from train to held-out."""
    sides: dict[Side, list[Photo]] = {"train": [], "held-out": []}
    for photo in photos:
        sides[side_of(photo, held_out)].append(photo)
    return Split(train=tuple(sides["train"]), held_out=tuple(sides["held-out"]))


def never_trained_on(photos: Iterable[Photo], trained: frozenset[str]) -> tuple[Photo, ...]:
    """The photos of which neither the file nor the photograph it was cut from is among the ``trained`` hashes."""
    return tuple(photo for photo in photos if not {photo.sha256, photo.source_sha256} & trained)


def unsuitable(photo: Image.Image, image_size: int) -> str | None:
    """Why a photograph is left out, if it is: enlarged it would be blurred, and without colour there is nothing to learn."""
    if min(photo.size) < image_size:
        return f"is {photo.width}x{photo.height}, smaller than {image_size} pixels"
    if np.ptp(np.asarray(photo), axis=2).max() <= COLOUR_THRESHOLD:
        return "has no colour"
    return None


def why_left_out(path: Path, image_size: int) -> str | None:
    """Why a photograph is left out, if it is: it is broken or ``unsuitable``."""
    try:
        return unsuitable(open_photo(path), image_size)
    except BrokenPhotoError as error:
        return error.reason
