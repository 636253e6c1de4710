"""Photographs decoded once: squares of one size in a file that is mapped into memory, so that nothing waits for decoding.

A cache's name is a hash of the photos' hashes and the size: changed photos get another, and a shared one is never stale.
"""

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pairs.progress import Progress
from pairs.road import BrokenPhotoError, PhotoError, open_photo, square_picture
from train.photos import Photo, unsuitable

VERSION = 2  # of how a picture is made from a photo: another version, another cache


@dataclass(frozen=True)
class Pictures:
    """Photos that can be used, their pictures (N, S, S, 3) uint8, and the others, each with the reason."""

    photos: tuple[Photo, ...]
    pixels: np.ndarray
    left_out: tuple[tuple[Photo, str], ...] = ()


def usable_cache(tell: Callable[[str], object]) -> Path | None:
    """Where decoded photos are kept: ``REALISM_CACHE``, else the user's cache folder; None, and told, if that is read-only."""
    named = os.environ.get("REALISM_CACHE")
    if named:
        return Path(named)
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "realism"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        tell(
            f"cache {folder} cannot be used ({error.strerror}): photos are held in memory, and decoded again next time"
        )
        return None


def read_pictures(
    photos: Sequence[Photo],
    image_size: int,
    *,
    stored_size: int | None = None,
    cache: Path | None = None,
    progress: Progress = iter,
) -> Pictures:
    """The photos that are at least ``image_size`` pixels wide and high and have colour, as squares of ``stored_size``.

    With ``cache``, a folder, they are decoded once and mapped from there; without, they are held in memory.

    Raises:
        PhotoError: if the cache cannot be written.
    """
    side = stored_size or image_size
    if cache is None:
        rows: list[np.ndarray] = []
        used, left_out = _decode(photos, image_size, side, rows.append, progress)
        pixels = np.stack(rows) if rows else _no_pixels(side)
        return _pictures(photos, pixels, used, left_out)
    name = hashlib.sha256(json.dumps([VERSION, image_size, side, [p.sha256 for p in photos]]).encode()).hexdigest()[:32]
    pixels_file, index_file = cache / f"{name}.pixels", cache / f"{name}.json"
    try:
        if not (index_file.exists() and pixels_file.exists()):  # the index is written last: with it, the cache is whole
            _write_cache(photos, image_size, side, pixels_file, index_file, progress)
        return _read_cache(photos, side, pixels_file, index_file)
    except OSError as error:
        raise PhotoError(
            f"cache {cache} cannot be used ({error.strerror}); make room or choose another folder with REALISM_CACHE"
        ) from error


def _read_cache(photos: Sequence[Photo], side: int, pixels_file: Path, index_file: Path) -> Pictures:
    try:
        index = json.loads(index_file.read_text(encoding="utf-8"))
        shape, n_bytes = (len(index["used"]), side, side, 3), pixels_file.stat().st_size
        if n_bytes != math.prod(shape):
            raise ValueError(f"{n_bytes} bytes of pixels, expected {math.prod(shape)}")
        pixels = np.memmap(pixels_file, np.uint8, "r", shape=shape) if index["used"] else _no_pixels(side)
        return _pictures(photos, pixels, index["used"], index["left_out"])
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise PhotoError(f"cache {index_file} is damaged ({error}); remove it, and it is made again") from error


def _write_cache(
    photos: Sequence[Photo], image_size: int, side: int, pixels_file: Path, index_file: Path, progress: Progress
) -> None:
    pixels_file.parent.mkdir(parents=True, exist_ok=True)
    # Several processes may fill one cache: each writes a file of its own, and the last to finish puts the same in place.
    number, name = tempfile.mkstemp(prefix=f".{pixels_file.name}.", dir=pixels_file.parent)
    aside = Path(name)
    try:
        with os.fdopen(number, "wb") as file:
            used, left_out = _decode(photos, image_size, side, lambda row: file.write(row.tobytes()), progress)
        aside.chmod(0o644)  # other users may share the cache
        aside.replace(pixels_file)
        aside.write_text(json.dumps({"used": used, "left_out": left_out}), encoding="utf-8")
        aside.replace(index_file)
    finally:
        aside.unlink(missing_ok=True)


def _decode(
    photos: Sequence[Photo], image_size: int, side: int, keep: Callable[[np.ndarray], object], progress: Progress
) -> tuple[list[int], list[tuple[int, str]]]:
    """Hand each picture (S, S, 3) to ``keep``; gives the numbers of the photos used, and of those left out, with why."""
    used: list[int] = []
    left_out: list[tuple[int, str]] = []

    def decode(photo: Photo) -> np.ndarray | str:
        try:
            picture = open_photo(photo.path)
        except BrokenPhotoError as error:
            return error.reason
        return unsuitable(picture, image_size) or np.asarray(square_picture(picture, side))

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:  # Pillow decodes and scales without Python's lock
        for chunk in progress(_chunks(photos, 64)):
            for number, picture in zip(chunk, threads.map(decode, (photos[i] for i in chunk)), strict=True):
                if isinstance(picture, str):
                    left_out.append((number, picture))
                else:
                    used.append(number)
                    keep(picture)
    return used, left_out


def _chunks(items: Sequence[object], n: int) -> list[range]:
    return [range(start, min(start + n, len(items))) for start in range(0, len(items), n)]


def _pictures(
    photos: Sequence[Photo], pixels: np.ndarray, used: Iterable[int], left_out: Iterable[tuple[int, str]]
) -> Pictures:
    return Pictures(tuple(photos[i] for i in used), pixels, tuple((photos[i], why) for i, why in left_out))


def _no_pixels(side: int) -> np.ndarray:
    return np.empty((0, side, side, 3), np.uint8)
