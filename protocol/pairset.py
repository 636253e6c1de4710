"""A pair set: ``manifest.json``, its hash and ``images/`` in a folder, a zip or behind an address, verified on reading.

{"format": "realism-pairset/1", "condition": "cgan-flowers", "image_size": [256, 256], "encoding": "png",
 "generator": {"name", "checkpoint_sha256", "config"}, "source": {"name", "licence", "split"}, "created": RFC 3339,
 "pairs": [{"id", "photo_sha256", "real": {"file", "sha256"}, "fake": {"file", "sha256"}, "tags": []}],
 "excluded": [{"id", "reason"}], "road": {}}
"""

import hashlib
import io
import json
import reprlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from protocol import InputError
from protocol.decoding import decoding
from protocol.encoding import Encoding
from protocol.place import NO_FILE, Place, PlaceError, is_remote

FORMAT: Final = "realism-pairset/1"
MANIFEST = "manifest.json"
DIGEST = "manifest.sha256"
IMAGES = "images"
ENTRIES = frozenset({MANIFEST, DIGEST, IMAGES})
AGAIN = "make the pair set again with 'realism pairs make' or 'import'"

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
# One plain file name under images/: a manifest from elsewhere cannot reach outside its folder.
ImagePath = Annotated[str, StringConstraints(pattern=r"^images/[A-Za-z0-9][A-Za-z0-9_.-]{0,199}$")]
Side = Annotated[int, Field(ge=1, le=65_535)]  # pixels; the most that JPEG holds


class PairSetError(InputError):
    """A pair set that cannot be read, or does not verify."""


class _Record(BaseModel):
    # NaN is no JSON, and must not become null on the way.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


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


class Exclusion(_Record):
    """A pair that was left out on purpose, and why."""

    id: Name
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class PairSet(_Record):
    """The content of ``manifest.json``; ``image_size`` is (width, height) in pixels.

    ``quality`` is that of JPEG, 1 to 100. ``road`` says how the pictures were cut, sized and encoded, and what had to be
    done to how many of each side.
    """

    format: Literal["realism-pairset/1"] = FORMAT
    condition: Name
    image_size: tuple[Side, Side]
    encoding: Encoding = "png"
    quality: Annotated[int, Field(ge=1, le=100)] | None = None
    generator: dict[str, Any]
    source: dict[str, Any]
    created: str
    pairs: tuple[Pair, ...]
    excluded: tuple[Exclusion, ...] = ()
    road: dict[str, Any] = {}

    @field_validator("road")
    @classmethod
    def _counts_are_numbers(cls, road: dict[str, Any]) -> dict[str, Any]:
        for side in ("real", "fake"):
            counts = road.get(side, {})
            if not isinstance(counts, dict) or not all(type(count) is int for count in counts.values()):
                raise ValueError(f"what was done to each {side} must be counted in whole numbers")
        return road

    def to_json(self) -> str:
        content = self.model_dump(mode="json", exclude={"quality"} if self.quality is None else set())
        return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def sha256_hex(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def write_manifest(folder: Path, text: str) -> None:
    """``manifest.json`` and, as ``sha256sum -c`` reads it, its hash."""
    data = text.encode()
    (folder / MANIFEST).write_bytes(data)
    (folder / DIGEST).write_text(f"{sha256_hex(data)}  {MANIFEST}\n")


def parse_manifest(text: str | bytes, where: str) -> PairSet:
    """A manifest from its JSON text; ``where`` names it in errors.

    Raises:
        PairSetError: if the text is not a manifest of this format, or repeats a pair id.
    """
    try:
        raw = json.loads(text.decode() if isinstance(text, bytes) else text, object_pairs_hook=_each_name_once)
    except (ValueError, RecursionError) as error:
        raise PairSetError(f"{where} is not JSON ({error}); {AGAIN}") from error
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        found = reprlib.repr(raw.get("format") if isinstance(raw, dict) else type(raw).__name__)
        raise PairSetError(f"{where}: format is {found}, expected {FORMAT!r}; is this a pair set's manifest?")
    try:
        pairset = PairSet.model_validate(raw)
        pairset.to_json().encode()
    except ValidationError as error:
        raise PairSetError(f"{where}: {first_problem(error)}; {AGAIN}") from error
    except (ValueError, RecursionError) as error:  # NaN, half of a surrogate pair, a hundred lists in each other
        raise PairSetError(f"{where} is no JSON that could be written again ({error}); {AGAIN}") from error
    refuse_repeated_ids(where, pairset)
    return pairset


def _each_name_once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members):
        name = Counter(name for name, _ in members).most_common(1)[0][0]
        raise ValueError(f"{reprlib.repr(name)} occurs twice in an object")
    return found


def first_problem(error: ValidationError) -> str:
    """One line: where the first of the problems is, what it is, and what was found there."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "manifest"
    where = f"{where if where.isprintable() else ascii(where):.80}"
    return f"{where}: {first['msg']} (found {reprlib.repr(first['input'])})"


def refuse_repeated_ids(where: Path | str, pairset: PairSet) -> None:
    seen: set[str] = set()
    for pair in pairset.pairs:
        if pair.id in seen:
            raise PairSetError(f"{where}: pair {pair.id} occurs twice; remove the duplicate photo, and {AGAIN}")
        seen.add(pair.id)


def read_manifest(address: str | Path | Place) -> PairSet:
    """The manifest of a pair set, without looking at its images.

    Raises:
        PairSetError: if there is no manifest, it is not of this format, or not what ``manifest.sha256`` says.
    """
    return parse_manifest(manifest_bytes(address), f"{address}/{MANIFEST}")


def manifest_bytes(address: str | Path | Place) -> bytes:
    """The manifest's own bytes, which its hash is of.

    Raises:
        PairSetError: if there is no manifest, or it is not what ``manifest.sha256`` says.
    """
    place = Place(address)
    try:
        data = place.read(MANIFEST)
        stated = place.read(DIGEST).decode(errors="replace") if place.exists(DIGEST) else None
    except PlaceError as error:
        raise PairSetError(_without_manifest(place, error)) from error
    found = sha256_hex(data)
    if stated is not None and stated.split()[:1] != [found]:  # from elsewhere, it may come without the hash
        raise PairSetError(f"{address}/{MANIFEST} has sha256 {found[:12]}…, {DIGEST} says {stated[:12]!r}…; {AGAIN}")
    return data


def _without_manifest(place: Place, error: PlaceError) -> str:
    """What was found, and what to do: to make a pair set is no help against a wrong address or a dead server."""
    local = not is_remote(place.address)
    broken_zip = local and not isinstance(error.__cause__, OSError)
    if error.reason != NO_FILE and not broken_zip:
        return f"{place}/{MANIFEST} cannot be read ({error.reason}); see that the address is right and reachable"
    if names := sorted(path.parent.name for path in Path(place.address).glob(f"*/{MANIFEST}") if local):
        told = f"sets {' and '.join(names)}; give one of them" if len(names) > 1 else f"set {names[0]}; give that"
        return f"{place} is not a pair set: it holds the pair {told}"
    return f"{place} is not a pair set: {MANIFEST} cannot be read ({error.reason}); make one with 'realism pairs make' or 'import'"


def read_pairset(address: str | Path | Place) -> PairSet:
    """The manifest of a pair set whose every image was verified: present, hash as stated, decodes, size as stated.

    Raises:
        PairSetError: naming the first pair that does not verify.
    """
    place = Place(address)
    pairset = read_manifest(place)
    refuse_empty(place, pairset)
    for pair in pairset.pairs:
        read_pair(place, pairset, pair)
    return pairset


def refuse_empty(place: Place, pairset: PairSet) -> None:
    """Raises PairSetError if there is no pair."""
    if not pairset.pairs:
        raise PairSetError(f"{place}: the pair set is empty; make it again with 'realism pairs make' or 'import'")


@dataclass(frozen=True)
class PairImages:
    """A pair's two files and what they decode to, in RGB."""

    real_data: bytes
    fake_data: bytes
    real: Image.Image
    fake: Image.Image


def read_pair(place: Place, pairset: PairSet, pair: Pair) -> PairImages:
    """Both pictures of a pair, verified.

    Raises:
        PairSetError: if one is missing, is not what the manifest says, or cannot be decoded.
    """
    found = place.read_many([pair.real.file, pair.fake.file])
    data, pictures = [], []
    for role, image, content in zip(("real", "fake"), (pair.real, pair.fake), found, strict=True):
        about = f"pair {pair.id}: {role} {image.file}"
        if isinstance(content, PlaceError):
            raise PairSetError(f"{about} cannot be read ({content.reason}); {AGAIN}") from content
        sha256 = sha256_hex(content)
        if sha256 != image.sha256:
            raise PairSetError(f"{about} has sha256 {sha256[:12]}…, the manifest says {image.sha256[:12]}…; {AGAIN}")
        data.append(content)
        pictures.append(_decode(content, pairset, about))
    return PairImages(data[0], data[1], pictures[0], pictures[1])


def _decode(data: bytes, pairset: PairSet, about: str) -> Image.Image:
    kind = pairset.encoding.upper()
    fail = lambda reason: PairSetError(f"{about} is not a readable {kind} ({reason}); {AGAIN}")  # noqa: E731
    with decoding(fail), Image.open(io.BytesIO(data), formats=[kind]) as picture:
        if picture.size != pairset.image_size:  # before decoding: a small file may claim to be huge
            found, stated = (f"{width}x{height}" for width, height in (picture.size, pairset.image_size))
            raise PairSetError(f"{about} is {found}, the manifest says {stated}; {AGAIN}")
        return picture.convert("RGB")
