"""Pictures in, pair sets out: encoded alike on every core, written aside, and in place only when they are whole."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import PIL
from PIL import Image
from pydantic import ValidationError

from pairs.placing import Output, refuse_taken, whole_place
from pairs.workers import spread
from protocol import InputError
from protocol.encoding import Encoder
from protocol.pairset import (
    IMAGES,
    Exclusion,
    ImageFile,
    Pair,
    PairSet,
    PairSetError,
    first_problem,
    read_manifest,
    read_pair,
    refuse_repeated_ids,
    sha256_hex,
    write_manifest,
)
from protocol.place import Place

Item = TypeVar("Item")
SHOWN = 10  # errors


@dataclass(frozen=True)
class Picture:
    """A photograph's pair before it is written: RGB pictures of one size, a fake for each condition.

    ``steps`` has a set for the real picture and one for each fake: what the road had to do ("resized", …).
    """

    photo_sha256: str
    real: Image.Image
    fakes: tuple[Image.Image, ...]
    tags: tuple[str, ...] = ()
    steps: tuple[frozenset[str], ...] = ()


@dataclass(frozen=True)
class About:
    """What a manifest says of its condition."""

    condition: str
    generator: dict[str, Any]
    source: dict[str, Any]


@dataclass(frozen=True)
class _Written:
    """One photograph's files; ``hashes`` and ``steps`` are of the real picture, then of each fake."""

    photo_sha256: str
    size: tuple[int, int]
    tags: tuple[str, ...]
    hashes: tuple[str, ...]
    steps: tuple[frozenset[str], ...]


def pair_id(photo_sha256: str) -> str:
    return photo_sha256[:12]


def as_it_is(picture: Picture) -> Picture:
    return picture


def write_pairsets(
    out: Output,
    items: Iterable[Item],
    conditions: Sequence[About],
    *,
    draw: Callable[[Item], Picture] = as_it_is,  # type: ignore[assignment]
    encoder: Encoder = Encoder(),  # noqa: B008 -- frozen
    excluded: Sequence[Exclusion] = (),
    road: Mapping[str, Any] = MappingProxyType({}),
    replace: bool = False,
    n_workers: int | None = None,
) -> list[PairSet]:
    """Write one pair set for each condition, on the same photographs: ``out`` itself, or with several ``out``/CONDITION.

    ``draw`` makes an item's pictures, in another process if there are many. ``out`` is a folder, a name ending in .zip, or
    an fsspec address. ``road`` is what the manifest shall say besides.

    Raises:
        FolderError, PlaceError: if something is at ``out`` and ``replace`` is false, or it is no pair set.
        PairSetError: if there is no item, or real and fake differ in size.
    """
    several = len(conditions) > 1
    names = [about.condition for about in conditions]
    refuse_taken(out, names, replace=replace)
    with whole_place(out, names if several else None, replace) as aside:
        folders = [aside / about.condition if several else aside for about in conditions]
        for folder in folders:
            (folder / IMAGES).mkdir(parents=True)
        results = list(spread(partial(_write_pair, folders, encoder, draw), items, n_workers))
        _refuse_failures(out, [one for one in results if isinstance(one, InputError)], len(results))
        written = [one for one in results if isinstance(one, _Written)]
        if not written:
            raise PairSetError(f"{out}: there is no picture to make a pair of; give a folder with held-out photos")
        pairsets = []
        for number, (about, folder) in enumerate(zip(conditions, folders, strict=True), start=1):
            pairset = _pairset(out, about, number, written, encoder, excluded, road)
            _write_manifest(out, folder, pairset)
            pairsets.append(pairset)
    return pairsets


def write_pairset(out: Output, items: Iterable[Picture], about: About, **options: Any) -> PairSet:
    """``write_pairsets`` of one condition."""
    return write_pairsets(out, items, [about], **options)[0]


def _refuse_failures(out: Output, errors: Sequence[InputError], n: int) -> None:
    """All that is wrong at once, so that nobody mends a thousand pictures one run at a time."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        listed = "".join(f"\n  {error}" for error in errors[:SHOWN])
        more = f"\n  and {len(errors) - SHOWN} more" if len(errors) > SHOWN else ""
        raise PairSetError(f"{out}: {len(errors)} of {n} pairs cannot be made, so none is:{listed}{more}")


def _write_pair(
    folders: Sequence[Path], encoder: Encoder, draw: Callable[[Item], Picture], item: Item
) -> _Written | InputError:
    try:
        picture = draw(item)
    except InputError as error:
        return error
    identity, size = pair_id(picture.photo_sha256), picture.real.size
    for role, image in (("real", picture.real), *(("fake", fake) for fake in picture.fakes)):
        if image.size != size:
            return PairSetError(
                f"pair {identity}: {role} is {image.width}x{image.height}, real is {size[0]}x{size[1]}; "
                "give pictures of one size"
            )
    real = encoder.encode(picture.real)
    fakes = [encoder.encode(fake) for fake in picture.fakes]
    for folder, fake in zip(folders, fakes, strict=True):
        for role, data in (("real", real), ("fake", fake)):
            (folder / _file(identity, role, encoder)).write_bytes(data)
    hashes = tuple(sha256_hex(data) for data in (real, *fakes))
    return _Written(picture.photo_sha256, size, picture.tags, hashes, picture.steps)


def _file(identity: str, role: str, encoder: Encoder) -> str:
    return f"{IMAGES}/{identity}-{role}{encoder.suffix}"


def _pairset(
    out: Output,
    about: About,
    number: int,
    written: Sequence[_Written],
    encoder: Encoder,
    excluded: Sequence[Exclusion],
    more: Mapping[str, Any],
) -> PairSet:
    """The manifest of the ``number``-th condition."""
    size = written[0].size
    pairs = []
    for one in written:
        identity = pair_id(one.photo_sha256)
        if one.size != size:
            raise PairSetError(
                f"pair {identity}: real is {one.size[0]}x{one.size[1]}, the set is {size[0]}x{size[1]}; "
                "give pictures of one size"
            )
        real, fake = (
            ImageFile(file=_file(identity, role, encoder), sha256=sha256)
            for role, sha256 in (("real", one.hashes[0]), ("fake", one.hashes[number]))
        )
        pairs.append(Pair(id=identity, photo_sha256=one.photo_sha256, real=real, fake=fake, tags=one.tags))
    road: dict[str, Any] = {
        "cut": "middle",
        "resampling": "lanczos",
        "colour": "sRGB",
        "software": f"Pillow {PIL.__version__}",
        **more,
    }
    steps = [Counter(step for one in written if one.steps for step in sorted(one.steps[side])) for side in (0, number)]
    road |= {side: dict(sorted(counts.items())) for side, counts in zip(("real", "fake"), steps, strict=True)}
    try:
        pairset = PairSet(
            condition=about.condition,
            image_size=size,
            encoding=encoder.encoding,
            quality=(encoder.quality or 95) if encoder.encoding == "jpeg" else None,
            generator=about.generator,
            source=about.source,
            created=_now(),
            pairs=tuple(pairs),
            excluded=tuple(excluded),
            road=road,
        )
    except ValidationError as error:
        raise PairSetError(f"{out}: {first_problem(error)}") from error
    refuse_repeated_ids(out, pairset)
    return pairset


def _write_manifest(out: Output, folder: Path, pairset: PairSet) -> None:
    """A name that comes from a folder may hold bytes that are no text."""
    try:
        write_manifest(folder, pairset.to_json())
    except UnicodeEncodeError as error:
        line = next(line for line in error.object.splitlines() if not line.isascii() and "\\ud" in ascii(line))
        raise PairSetError(f"{out}: the manifest's {line.strip()!a} is no text; rename the folder") from error


def _now() -> str:
    """RFC 3339; SOURCE_DATE_EPOCH stands for the time where every byte has to be the same (reproducible-builds.org)."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    seconds = int(epoch) if epoch.isdigit() else int(time.time())
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def write_subset(
    source: Output, out: Output, chosen: Sequence[Pair], *, excluded: Sequence[Exclusion] = (), replace: bool = False
) -> PairSet:
    """Copy the ``chosen`` pairs of a pair set, each file verified and as it is; what it excluded stays noted.

    Raises:
        FolderError, PlaceError: as ``write_pairsets``.
        PairSetError: if a picture does not verify.
    """
    place = Place(source)
    old = read_manifest(place)
    with whole_place(out, None, replace) as aside:
        (aside / IMAGES).mkdir()
        for pair in chosen:
            found = read_pair(place, old, pair)
            (aside / pair.real.file).write_bytes(found.real_data)
            (aside / pair.fake.file).write_bytes(found.fake_data)
        changed = {"pairs": tuple(chosen), "excluded": (*old.excluded, *excluded), "created": _now()}
        pairset = old.model_copy(update=changed)
        _write_manifest(out, aside, pairset)
    return pairset
