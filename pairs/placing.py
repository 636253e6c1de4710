"""A folder that is being written in; a pair set in a folder, in a zip or behind an address out, whole or not at all."""

import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from protocol.pairset import DIGEST, ENTRIES, IMAGES, MANIFEST, PairSetError, read_manifest
from protocol.place import Place, PlaceError, failures, is_remote, reason_of
from protocol.whole_folder import FolderError, folder_aside, whole_folder

Output = str | Path
NAME = r"[a-z0-9][a-z0-9_.-]{0,63}"  # of a condition, which names a folder too: as ``protocol.pairset.Name``


def refuse_taken(out: Output, names: Sequence[str], *, replace: bool) -> None:
    """Say before long work what would stop it: pair sets of the conditions ``names`` cannot come to be at ``out``.

    Raises:
        PairSetError: if a name is none, or occurs twice.
        FolderError, PlaceError: if a zip shall hold several, or something is at ``out`` and ``replace`` is false.
    """
    for name in names:
        if not re.fullmatch(NAME, name):
            raise PairSetError(
                f"condition {name!r}: a name is lower-case letters, digits, '_', '-' and '.', at most 64, and begins with "
                "a letter or a digit; choose another"
            )
        if names.count(name) > 1:
            raise PairSetError(f"{out}: condition {name} occurs twice; give each condition its own name")
    several = len(names) > 1
    if several and str(out).lower().endswith(".zip"):
        raise FolderError(f"{out}: a zip holds one pair set; give a folder for {' and '.join(names)}")
    if is_remote(out):
        for place in _remote_places(str(out), names if several else None).values():
            _refuse_remote(place, replace)
    elif not replace and (Path(out).is_file() or (Path(out).is_dir() and any(Path(out).iterdir()))):
        raise FolderError(f"{out} already exists; choose another --out, or replace it with --replace")


def _remote_places(out: str, names: Sequence[str] | None) -> dict[str, Place]:
    return {name: Place(f"{out.rstrip('/')}/{name}") for name in names} if names else {"": Place(out)}


@contextmanager
def whole_place(out: Output, names: Sequence[str] | None, replace: bool) -> Iterator[Path]:
    """A folder to write a pair set into, or one for each of ``names``; it is at ``out`` when the block ends.

    Raises:
        FolderError, PlaceError: if something is at ``out`` and ``replace`` is false, or it is no pair set.
    """
    out = str(out)
    if is_remote(out):
        with _whole_remote(_remote_places(out, names), replace) as aside:
            yield aside
    elif out.lower().endswith(".zip"):
        with _whole_zip(Path(out).resolve(), replace) as aside:
            yield aside
    else:
        kind, entries = ("folder of these pair sets", frozenset(names)) if names else ("pair set", ENTRIES)
        with whole_folder(
            Path(out), kind, entries, lambda folder: _is_pairset(folder, names), replace=replace
        ) as aside:
            yield aside


def _is_pairset(address: Output, names: Sequence[str] | None = None) -> bool:
    try:
        for place in [f"{address}/{name}" for name in names] if names else [address]:
            read_manifest(place)
    except PairSetError:
        return False
    return True


@contextmanager
def _whole_zip(out: Path, replace: bool) -> Iterator[Path]:
    _refuse_zip(out, replace)
    with folder_aside(out) as aside:
        content, packed = aside / "content", aside / out.name
        content.mkdir()
        yield content
        _pack(content, packed)
        _refuse_zip(out, replace)  # again: another process may have been faster
        packed.replace(out)


def _refuse_zip(out: Path, replace: bool) -> None:
    if out.exists() and not replace:
        raise FolderError(f"{out} already exists; choose another --out, or replace it with --replace")
    if out.exists() and not (out.is_file() and _is_pairset(out)):
        raise FolderError(f"{out} is no pair set and is left alone; choose another --out")


def _pack(content: Path, packed: Path) -> None:
    with zipfile.ZipFile(packed, "w") as archive:  # stored: pictures are compressed as far as they are to be
        for file in sorted(path for path in content.rglob("*") if path.is_file()):
            about = zipfile.ZipInfo(file.relative_to(content).as_posix())  # dated 1980: the same bytes every time
            about.external_attr = 0o644 << 16
            with file.open("rb") as source, archive.open(about, "w", force_zip64=False) as target:
                shutil.copyfileobj(source, target)


@contextmanager
def _whole_remote(places: Mapping[str, Place], replace: bool) -> Iterator[Path]:
    for place in places.values():
        _refuse_remote(place, replace)
    # Locked as one beside a folder, so that the next process clears away what a killed one left.
    with folder_aside(Path(tempfile.gettempdir(), "realism-upload")) as aside:
        yield aside
        for place in places.values():
            _refuse_remote(place, replace)  # again: another process may have been faster
        for step in (_upload_images, _upload_manifest):  # no manifest before all images of all conditions
            for name, place in places.items():
                try:
                    step(aside / name, place)
                except failures() as error:
                    raise PlaceError(
                        str(place), f"cannot be written ({reason_of(error)}); see that it is there, and who may write"
                    ) from error


def _refuse_remote(place: Place, replace: bool) -> None:
    if place.is_zip:
        raise PlaceError(str(place), "a zip is written to a folder only; give an address that does not end in .zip")
    try:
        there = {name for name in place.names() if name}
    except PlaceError as error:
        raise PlaceError(
            str(place), f"cannot be looked at ({error.reason}); is its bucket there, and yours?"
        ) from error
    foreign = {name for name in there if name not in (MANIFEST, DIGEST) and not name.startswith(f"{IMAGES}/")}
    if MANIFEST in there and not _is_pairset(str(place)):
        foreign.add(MANIFEST)
    if not there & {MANIFEST, DIGEST}:  # the digest goes first: an upload that was stopped, and is gone on with
        foreign |= there
    if foreign:
        raise PlaceError(
            str(place), f"is no pair set (it holds {min(foreign)}) and is left alone; choose another --out"
        )
    if MANIFEST in there and not replace:
        raise PlaceError(str(place), "there is a pair set already; choose another --out, or replace it with --replace")


def _upload_images(folder: Path, place: Place) -> None:
    """After the digest, and without the manifest: what is there is known for ours, and is no pair set."""
    system, _ = place.path_of("")
    images = sorted(f"{IMAGES}/{path.name}" for path in (folder / IMAGES).iterdir())
    there = set(place.names())
    if MANIFEST in there:
        system.rm_file(place.path_of(MANIFEST)[1])
    system.pipe_file(place.path_of(DIGEST)[1], (folder / DIGEST).read_bytes())
    if stale := sorted(name for name in there - set(images) if name.startswith(f"{IMAGES}/")):
        system.rm([place.path_of(name)[1] for name in stale])
    system.put([str(folder / name) for name in images], [place.path_of(name)[1] for name in images])


def _upload_manifest(folder: Path, place: Place) -> None:
    system, path = place.path_of(MANIFEST)
    system.pipe_file(path, (folder / MANIFEST).read_bytes())
