"""A pair set: a folder with ``manifest.json``, its hash and ``images/``, written whole and verified on reading.

{"format": "realism-pairset/1", "condition": "cgan-flowers", "image_size": [256, 256], "encoding": "png",
 "generator": {"name", "checkpoint_sha256", "config"}, "source": {"name", "licence", "split"}, "created": RFC 3339,
 "pairs": [{"id", "photo_sha256", "real": {"file", "sha256"}, "fake": {"file", "sha256"}, "tags": []}]}
"""

import hashlib
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from protocol import InputError
from protocol.whole_folder import whole_folder

FORMAT: Final = "realism-pairset/1"
MANIFEST = "manifest.json"
DIGEST = "manifest.sha256"
ENTRIES = frozenset({MANIFEST, DIGEST, "images"})

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
# One plain file name under images/: a manifest from elsewhere cannot reach outside its folder.
ImagePath = Annotated[str, StringConstraints(pattern=r"^images/[A-Za-z0-9][A-Za-z0-9_.-]*$")]


class PairSetError(InputError):
    """A pair set that cannot be read, does not verify, or would overwrite another."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ImageFile(_Record):
    file: ImagePath
    sha256: Sha256


class Pair(_Record):
    """Real and fake of one photo. The id comes from the photo, so it is the same in every condition."""

    id: Name
    photo_sha256: Sha256
    real: ImageFile
    fake: ImageFile
    tags: tuple[str, ...] = ()


class PairSet(_Record):
    """The content of ``manifest.json``; ``image_size`` is (width, height) in pixels."""

    format: Literal["realism-pairset/1"] = FORMAT
    condition: Name
    image_size: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]
    encoding: Literal["png"] = "png"
    generator: dict[str, Any]
    source: dict[str, Any]
    created: str
    pairs: tuple[Pair, ...]

    def to_json(self) -> str:
        return json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"


@dataclass(frozen=True)
class Picture:
    """One pair before it is written: two RGB pictures of equal size and the hash of the photograph's bytes."""

    photo_sha256: str
    real: Image.Image
    fake: Image.Image
    tags: tuple[str, ...] = ()


def pair_id(photo_sha256: str) -> str:
    return photo_sha256[:12]


def encode_png(picture: Image.Image) -> bytes:
    """The one encoder for real and fake: RGB, fixed compression level, no metadata."""
    buffer = io.BytesIO()
    clean = Image.frombytes(
        "RGB", picture.size, picture.convert("RGB").tobytes()
    )  # leaves info (EXIF, ICC, text) behind
    clean.save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()


def sha256_hex(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def write_pairset(
    out: Path,
    pictures: Iterable[Picture],
    *,
    condition: str,
    generator: dict[str, Any],
    source: dict[str, Any],
    replace: bool = False,
) -> PairSet:
    """Write a pair set aside and move it into place when it is complete.

    Raises:
        FolderError: if ``out`` exists and ``replace`` is false, or if it is no pair set.
        PairSetError: if no picture is given, or if real and fake differ in size.
    """
    with whole_folder(out, "pair set", ENTRIES, _has_manifest, replace=replace) as folder:
        (folder / "images").mkdir()
        size: tuple[int, int] | None = None
        pairs = []
        for picture in pictures:
            pairs.append(_write_pair(folder, picture, size or picture.real.size))
            size = picture.real.size
        if size is None:
            raise PairSetError(f"{out}: there is no picture to make a pair of; give a folder with held-out photos")
        created = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        about: dict[str, Any] = {"condition": condition, "image_size": size, "generator": generator, "source": source}
        try:
            pairset = PairSet(**about, created=created, pairs=tuple(pairs))
        except ValidationError as error:
            raise PairSetError(f"{out}: {_first_problem(error)}") from error
        _refuse_repeated_ids(out, pairset)
        write_manifest(folder, pairset.to_json())
    return pairset


def write_manifest(folder: Path, text: str) -> None:
    """``manifest.json`` and, as ``sha256sum -c`` reads it, its hash."""
    data = text.encode()
    (folder / MANIFEST).write_bytes(data)
    (folder / DIGEST).write_text(f"{sha256_hex(data)}  {MANIFEST}\n")


def _has_manifest(folder: Path) -> bool:
    try:
        read_manifest(folder)
    except PairSetError:
        return False
    return True


def _write_pair(folder: Path, picture: Picture, size: tuple[int, int]) -> Pair:
    identity = pair_id(picture.photo_sha256)
    files = {}
    for role, image in (("real", picture.real), ("fake", picture.fake)):
        if image.size != size:
            raise PairSetError(
                f"pair {identity}: {role} is {image.width}x{image.height}, the set is {size[0]}x{size[1]}; "
                "give pictures of one size"
            )
        data = encode_png(image)
        name = f"images/{identity}-{role}.png"
        (folder / name).write_bytes(data)
        files[role] = ImageFile(file=name, sha256=sha256_hex(data))
    return Pair(
        id=identity, photo_sha256=picture.photo_sha256, real=files["real"], fake=files["fake"], tags=picture.tags
    )


def parse_manifest(text: str | bytes, where: str) -> PairSet:
    """A manifest from its JSON text; ``where`` names it in errors.

    Raises:
        PairSetError: if the text is not a manifest of this format, or repeats a pair id.
    """
    try:
        raw = json.loads(text)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PairSetError(
            f"{where} is not JSON ({error}); make the pair set again with 'realism pairs make'"
        ) from error
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        found = raw.get("format") if isinstance(raw, dict) else type(raw).__name__
        raise PairSetError(f"{where}: format is {found!r}, expected {FORMAT!r}; is this a pair set's manifest?")
    try:
        pairset = PairSet.model_validate(raw)
    except ValidationError as error:
        raise PairSetError(
            f"{where}: {_first_problem(error)}; make the pair set again with 'realism pairs make'"
        ) from error
    _refuse_repeated_ids(where, pairset)
    return pairset


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    return (
        f"{'.'.join(str(part) for part in first['loc']) or 'manifest'}: {first['msg']} (found {first['input']!r:.80})"
    )


def _refuse_repeated_ids(where: Path | str, pairset: PairSet) -> None:
    seen: set[str] = set()
    for pair in pairset.pairs:
        if pair.id in seen:
            raise PairSetError(
                f"{where}: pair {pair.id} occurs twice; remove the duplicate photo and make the pair set again"
            )
        seen.add(pair.id)


def read_manifest(folder: Path) -> PairSet:
    """The manifest of a pair set, without looking at its images.

    Raises:
        PairSetError: if there is no manifest, it is not of this format, or not what ``manifest.sha256`` says.
    """
    path, digest = folder / MANIFEST, folder / DIGEST
    try:
        data = path.read_bytes()
        stated = digest.read_bytes().decode(errors="replace") if digest.exists() else None
    except OSError as error:
        raise PairSetError(
            f"{folder} is not a pair set: {MANIFEST} cannot be read ({error.strerror}); make one with 'realism pairs make'"
        ) from error
    # A pair set from elsewhere may come without the hash.
    if stated is not None and stated.split()[:1] != [sha256_hex(data)]:
        raise PairSetError(
            f"{path} has sha256 {sha256_hex(data)[:12]}…, {DIGEST} says {stated[:12]}…; make the pair set again with 'realism pairs make'"
        )
    return parse_manifest(data, str(path))


def read_pairset(folder: Path) -> PairSet:
    """The manifest of a pair set whose every image was verified: present, hash as stated, decodes, size as stated.

    Raises:
        PairSetError: naming the first pair that does not verify.
    """
    pairset = read_manifest(folder)
    if not pairset.pairs:
        raise PairSetError(f"{folder}: the pair set is empty; make it again with 'realism pairs make'")
    for pair in pairset.pairs:
        for role, image in (("real", pair.real), ("fake", pair.fake)):
            _verify_image(folder, pairset.image_size, pair.id, role, image)
    return pairset


def _verify_image(folder: Path, size: tuple[int, int], identity: str, role: str, image: ImageFile) -> None:
    again = "make the pair set again with 'realism pairs make'"
    try:
        data = (folder / image.file).read_bytes()
    except OSError as error:
        raise PairSetError(
            f"pair {identity}: {role} {image.file} cannot be read ({error.strerror}); {again}"
        ) from error
    found = sha256_hex(data)
    if found != image.sha256:
        raise PairSetError(
            f"pair {identity}: {role} {image.file} has sha256 {found[:12]}…, the manifest says {image.sha256[:12]}…; {again}"
        )
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            picture.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise PairSetError(f"pair {identity}: {role} {image.file} is not a readable PNG ({error}); {again}") from error
    if picture.size != size:
        raise PairSetError(
            f"pair {identity}: {role} is {picture.width}x{picture.height}, the manifest says {size[0]}x{size[1]}; {again}"
        )
