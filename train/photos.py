"""A folder of photographs in; which are trained on, which are held out for good, and their square pictures out.

The hash of a file's bytes decides its side, so a photograph keeps its side whatever it is called and whatever is added
to the folder. A folder may carry ``sources.csv`` with the columns ``file,source_sha256``: crops of one photograph carry
that photograph's hash and stand on one side together.
"""

import csv
import hashlib
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from protocol import InputError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
SOURCES = "sources.csv"
DEFAULT_HELD_OUT = 0.2  # fraction of the photographs
COLOUR_THRESHOLD = 8  # channels that never differ by more (of 255) are a gray photograph, JPEG noise included
# What Pillow's decoders raise on files that are not what they seem.
DECODING_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)

Progress = Callable[[Sequence[Any]], Iterable[Any]]  # wraps what is looped over, to show how far the loop is


class PhotoError(InputError):
    """A folder or a file of photographs that cannot be used."""


@dataclass(frozen=True)
class Photo:
    """A file and the hash of its bytes; ``source_sha256`` is that of the photograph it was cut from, or its own."""

    path: Path
    sha256: str
    source_sha256: str


@dataclass(frozen=True)
class Split:
    """The two sides of a folder, each in the order of the hashes."""

    train: tuple[Photo, ...]
    held_out: tuple[Photo, ...]

    def digest(self) -> str:
        """sha256 over both lists of hashes: equal for the same photos on the same sides, whatever they are called."""
        sides = ("\n".join(photo.sha256 for photo in side) for side in (self.train, self.held_out))
        return hashlib.sha256("\n\n".join(sides).encode()).hexdigest()


@dataclass(frozen=True)
class Pictures:
    """Photos that can be used, their pictures (N, H, W, 3) uint8, and the others, each with the reason."""

    photos: tuple[Photo, ...]
    pixels: np.ndarray
    left_out: tuple[tuple[Photo, str], ...] = ()


def find_photos(folder: Path, progress: Progress = iter) -> tuple[Photo, ...]:
    """Every photograph in the folder and the folders in it, in the order of the hashes; equal files count once.

    Raises:
        PhotoError: if there is no such folder, no photograph in it, or its ``sources.csv`` does not fit.
    """
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise PhotoError(f"photo folder {folder} {what}; give a folder of photographs")
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
    if not paths:
        raise PhotoError(
            f"photo folder {folder} holds no photograph ({', '.join(sorted(SUFFIXES))}); give a folder of photographs"
        )
    sources = _read_sources(folder, paths)
    photos: dict[str, Photo] = {}
    for path in progress(paths):
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        photos.setdefault(sha256, Photo(path, sha256, sources.get(path, sha256)))
    return tuple(photos[sha256] for sha256 in sorted(photos))


def _read_sources(folder: Path, paths: list[Path]) -> dict[Path, str]:
    table = folder / SOURCES
    if not table.exists():
        return {}
    try:
        with table.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise PhotoError(f"{table} cannot be read ({reason}); make it a UTF-8 table, or remove it") from error
    sources = {}
    for line, row in enumerate(rows, start=2):
        if not row.get("file") or not re.fullmatch("[0-9a-f]{64}", row.get("source_sha256") or ""):
            raise PhotoError(
                f"{table}: line {line} is {dict(row)}; each line needs 'file' and 'source_sha256' (64 hex digits)"
            )
        sources[folder / row["file"]] = row["source_sha256"]
    for path in paths:
        if path not in sources:
            raise PhotoError(f"{path} has no line in {table}; add one, or remove the photo")
    return sources


def is_held_out(source_sha256: str, held_out: float) -> bool:
    """Whether a photograph belongs to the held-out fraction: its hash, read as a number in [0, 1), lies below it."""
    return int(source_sha256[:13], 16) / 16**13 < held_out  # 52 bits: exact in a float


def split_photos(photos: Iterable[Photo], held_out: float) -> Split:
    """The photos' two sides. A larger fraction only moves photos from train to held-out."""
    sides: tuple[list[Photo], list[Photo]] = ([], [])
    for photo in photos:
        sides[is_held_out(photo.source_sha256, held_out)].append(photo)
    return Split(train=tuple(sides[0]), held_out=tuple(sides[1]))


def never_trained_on(photos: Iterable[Photo], trained: frozenset[str]) -> tuple[Photo, ...]:
    """The photos of which neither the file nor the photograph it was cut from is among the ``trained`` hashes."""
    return tuple(photo for photo in photos if not {photo.sha256, photo.source_sha256} & trained)


def open_photo(path: Path) -> Image.Image:
    """The photograph upright, in RGB.

    Raises:
        PhotoError: if the file cannot be decoded.
    """
    try:
        with Image.open(path) as file:
            return ImageOps.exif_transpose(file).convert("RGB")
    except DECODING_ERRORS as error:
        reason = "not a picture" if isinstance(error, Image.UnidentifiedImageError) else error
        raise PhotoError(f"{path} cannot be decoded ({reason}); remove it or replace it") from error


def unsuitable(photo: Image.Image, image_size: int) -> str | None:
    """Why a photograph is left out, if it is: enlarged it would be blurred, and without colour there is nothing to learn."""
    if min(photo.size) < image_size:
        return f"is {photo.width}x{photo.height}, smaller than {image_size} pixels"
    if np.ptp(np.asarray(photo), axis=2).max() <= COLOUR_THRESHOLD:
        return "has no colour"
    return None


def square_picture(photo: Image.Image, image_size: int) -> Image.Image:
    """The middle of the photograph, ``image_size`` on each side: the one road for training, real and fake."""
    return ImageOps.fit(photo, (image_size, image_size), Image.Resampling.LANCZOS)


def read_pictures(photos: Iterable[Photo], image_size: int, progress: Progress = iter) -> Pictures:
    """All pictures in memory, 3 * image_size**2 bytes each.

    Raises:
        PhotoError: if a file cannot be decoded.
    """
    used, pixels, left_out = [], [], []
    for photo in progress(tuple(photos)):
        picture = open_photo(photo.path)
        reason = unsuitable(picture, image_size)
        if reason:
            left_out.append((photo, reason))
        else:
            used.append(photo)
            pixels.append(np.asarray(square_picture(picture, image_size)))
    stacked = np.stack(pixels) if pixels else np.empty((0, image_size, image_size, 3), np.uint8)  # (N, H, W, 3)
    return Pictures(tuple(used), stacked, tuple(left_out))
