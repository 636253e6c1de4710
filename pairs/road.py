"""A picture file of any kind in; upright, in sRGB, cut and sized out: the one road for training, real and fake.

Decode, turn as EXIF says, convert from the file's colour profile to sRGB, lay on white where it is transparent, take the
middle in the shape that is wanted, bring it to size (Lanczos). What follows, the encoder, is ``protocol.encoding``.
"""

import io
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps, TiffImagePlugin

from protocol import InputError
from protocol.decoding import decoding

ABOUT = "source.json"  # a folder's note on where its photographs come from
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
MAX_PIXELS = Image.MAX_IMAGE_PIXELS or 2**26  # as Pillow warns of; a file may claim far more than it holds
NOTHING = 2  # of 255: a profile that changes no colour by more is sRGB's, whatever it is called
_FORMATS = {
    ".jpg": {"JPEG", "MPO"}, ".jpeg": {"JPEG", "MPO"}, ".png": {"PNG"}, ".webp": {"WEBP"}, ".bmp": {"BMP"},
    ".tif": {"TIFF"}, ".tiff": {"TIFF"},
}  # fmt: skip
_COLOURS = {"1": "L", "L": "L", "LA": "L", "CMYK": "CMYK", "LAB": "LAB"}  # what profiles are made for; else RGB


class PhotoError(InputError):
    """A folder or a file of pictures that cannot be used."""


class BrokenPhotoError(PhotoError):
    """A file that cannot be decoded; ``reason`` says why, without its name."""

    def __init__(self, path: Path, reason: object) -> None:
        super().__init__(path, str(reason))  # both, so that it can go to another process
        self.path, self.reason = path, f"cannot be decoded ({reason})"

    def __str__(self) -> str:
        return f"{self.path} {self.reason}; remove it or replace it"


class MislabelledPhotoError(BrokenPhotoError):
    """A picture of another kind than its name says."""

    def __init__(self, path: Path, kind: str) -> None:
        super().__init__(path, kind)
        self.reason = f"is a {kind}, not what its name says"

    def __str__(self) -> str:
        return f"{self.path} {self.reason}; rename it"


@dataclass(frozen=True)
class Decoded:
    """A picture in sRGB, and what its file was: JPEG or lossy WebP, or with a colour profile other than sRGB's."""

    picture: Image.Image
    is_lossy: bool
    had_profile: bool


def picture_paths(folder: Path) -> list[Path]:
    """The files in the folder and the folders in it that are named like pictures, in the order of their names.

    Raises:
        PhotoError: if there is no such folder, or no such file in it.
    """
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise PhotoError(f"folder {folder} {what}; give a folder of photographs")
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
    if not paths:
        raise PhotoError(
            f"folder {folder} holds no photograph ({', '.join(sorted(SUFFIXES))}); give a folder of photographs"
        )
    return paths


def read_source(folder: Path) -> dict[str, str]:
    """Name and licence of the photographs, as far as the folder's ``source.json`` states them.

    Raises:
        PhotoError: if there is one that cannot be read.
    """
    note = folder / ABOUT
    if not note.exists():
        return {}
    try:
        stated = json.loads(note.read_text(encoding="utf-8"))
        found = {name: str(stated[name]) for name in ("name", "licence") if name in stated}
        "".join(found.values()).encode()  # half of a surrogate pair could not be written again
        return found
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise PhotoError(f"{note} cannot be read ({error}); mend it, or remove it") from error


def open_photo(path: Path) -> Image.Image:
    """The picture upright, in sRGB, on white where it is transparent.

    Raises:
        BrokenPhotoError: if the file cannot be decoded.
    """
    return _decode(path, path.read_bytes).picture


def open_named(path: Path, data: bytes) -> Decoded:
    """As ``open_photo``, from the file's bytes, of a file that must be what its name says.

    A JPEG named .png would hide what the picture went through.

    Raises:
        BrokenPhotoError: if the file cannot be decoded.
        MislabelledPhotoError: if it is of another kind.
    """
    return _decode(path, lambda: data, named=path)


def upright_size(path: Path) -> tuple[int, int]:
    """Width and height that ``open_named`` would give; of most files nothing but the header is decoded.

    Raises:
        BrokenPhotoError: if the file is no picture.
        MislabelledPhotoError: if it is of another kind than its name says.
    """
    with decoding(partial(BrokenPhotoError, path)), path.open("rb") as stream, _opened(stream, path) as file:
        # Pillow states the size of a TIFF as it is seen. A PNG may have its EXIF at its end, and is decoded for it.
        if file.format == "TIFF" or file.width == file.height:
            return file.size
        turned = file.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
        return (file.height, file.width) if turned else file.size


def _decode(path: Path, read: Callable[[], bytes], named: Path | None = None) -> Decoded:
    with decoding(partial(BrokenPhotoError, path)):
        data = read()
        with _opened(io.BytesIO(data), named) as file:
            with _libtiff_silenced() if file.format == "TIFF" else nullcontext():
                upright = ImageOps.exif_transpose(file)
            picture, had_profile = _in_srgb(_in_8_bits(upright, file), file.info.get("icc_profile"))
            picture.info = {}
            return Decoded(picture, _is_lossy(file, data), had_profile)


@contextmanager
def _opened(stream: BinaryIO, named: Path | None) -> Iterator[Image.Image]:
    """The picture, not decoded yet; it must be of a kind that goes by the name, if there is one."""
    if not stream.read(1):
        raise ValueError("the file is empty")
    stream.seek(0)
    with Image.open(stream) as file:
        if file.width * file.height > MAX_PIXELS:
            raise ValueError(f"{file.width}x{file.height} is more than {MAX_PIXELS / 1e6:.0f} megapixels")
        if named and file.format not in _FORMATS.get(named.suffix.lower(), ()):
            raise MislabelledPhotoError(named, str(file.format))
        yield file


@contextmanager
def _libtiff_silenced() -> Iterator[None]:
    """libtiff writes straight to the process's standard error what Pillow then raises."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _is_lossy(file: Image.Image, data: bytes) -> bool:
    if file.format == "WEBP":
        return re.search(rb"VP8 .{7}\x9d\x01\x2a", data, re.DOTALL) is not None  # RFC 6386, section 9.1
    return file.format in ("JPEG", "MPO") or "jpeg" in str(file.info.get("compression"))  # a TIFF may hold a JPEG


def _in_8_bits(picture: Image.Image, file: Image.Image) -> Image.Image:
    if picture.mode in ("I", "F"):
        raise ValueError(f"mode {picture.mode} has no stated range; save it with 8 or 16 bits")
    if not picture.mode.startswith("I;16"):
        return picture
    # Pillow would clip these at 255, and passes over a TIFF's bits a sample and its white that is 0.
    tags = getattr(file, "tag_v2", {})
    bits = tags.get(TiffImagePlugin.BITSPERSAMPLE, (16,))[0]
    gray = (np.asarray(picture) >> (bits - 8)).astype(np.uint8)
    return Image.fromarray(255 - gray if tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0 else gray)


def _in_srgb(picture: Image.Image, profile: bytes | None) -> tuple[Image.Image, bool]:
    """RGB as a browser would show it, on white where it is transparent, and whether the profile changed anything.

    A profile that is damaged or made for another kind of picture is passed over, as browsers do.
    """
    mode = _COLOURS.get(picture.mode, "RGB")
    alpha = None
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        alpha = picture.getchannel("A")
    picture = picture if picture.mode == mode else picture.convert(mode)  # which copies even so
    transform = _to_srgb(profile, mode) if isinstance(profile, bytes) else None
    rgb = ImageCms.applyTransform(picture, transform) if transform else None
    rgb = rgb or (picture if mode == "RGB" else picture.convert("RGB"))
    if alpha is not None:  # what lies under it was not meant to be seen
        rgb = Image.composite(rgb, Image.new("RGB", rgb.size, "white"), alpha)
    return rgb, transform is not None


@lru_cache(maxsize=16)
def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """None where the profile is of no use, or as good as sRGB's own: then pixels stay as they are."""
    cube = np.stack(np.indices((6, 6, 6), np.uint8) * 51, axis=-1)  # type: ignore[call-overload]
    swatches = Image.fromarray(cube.reshape(36, 6, 3)).convert(mode)
    try:
        source, target = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(source, target, mode, "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC)
        seen = ImageCms.applyTransform(swatches, transform)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
    change = np.abs(np.asarray(seen, int) - np.asarray(swatches.convert("RGB"), int)).max()
    return transform if change > NOTHING else None


def cut(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The middle of the picture in the shape of ``size`` (width, height), brought to that size.

    It is cut at whole pixels: what has one side of the size already keeps its pixels as they are.
    """
    width, height = size
    factor = min(picture.width / width, picture.height / height)
    w = min(max(1, round(width * factor)), picture.width)
    h = min(max(1, round(height * factor)), picture.height)
    left, top = (picture.width - w) // 2, (picture.height - h) // 2
    box = (left, top, left + w, top + h)
    if picture.size == size:
        return picture
    return picture.crop(box) if (w, h) == size else picture.resize(size, Image.Resampling.LANCZOS, box)


def square_picture(photo: Image.Image, image_size: int) -> Image.Image:
    """The middle of the photograph, ``image_size`` pixels on each side."""
    return cut(photo, (image_size, image_size))
