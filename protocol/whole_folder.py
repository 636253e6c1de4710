"""How a pair set, an export and a report come into being: written aside, and moved into place when complete."""

import errno
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from protocol import InputError


class FolderError(InputError):
    """A folder that exists already, or is something else than what would replace it."""


@contextmanager
def whole_folder(
    out: Path, kind: str, entries: frozenset[str], is_one: Callable[[Path], bool], *, replace: bool
) -> Iterator[Path]:
    """A new folder to write into, which becomes ``out`` when the block ends, and vanishes when it raises.

    What is at ``out`` is replaced only with ``replace``, and only if it is empty, or one of its ``kind``: it holds nothing
    but ``entries``, and ``is_one`` says so. What a killed process left beside ``out`` is cleared away.

    Raises:
        FolderError: before anything is written.
    """
    out = out.resolve()
    _recover(out)
    _refuse(out, kind, entries, is_one, replace)
    with folder_aside(out) as aside:
        yield aside
        aside.chmod(0o755)
        _refuse(out, kind, entries, is_one, replace)  # again: much may have happened meanwhile
        _move(aside, out, replace)


@contextmanager
def folder_aside(out: Path) -> Iterator[Path]:
    """An empty hidden folder beside ``out``, gone when the block ends unless it was moved away.

    Its lock tells the next process whether the one that made it still lives.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    for left in out.parent.glob(f".{_escaped(out.name)}.unfinished-*"):
        if (lock := _lock(left)) is not None:
            shutil.rmtree(left, ignore_errors=True)
            os.close(lock)
    try:
        aside, lock = _locked_folder(out)
    except OSError as error:  # which would name a folder that nobody gave
        raise FolderError(f"{out} cannot be written ({error.strerror}); choose another --out") from error
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _locked_folder(out: Path) -> tuple[Path, int | None]:
    """Without a lock only where the file system knows none."""
    for _ in range(4):
        aside = Path(tempfile.mkdtemp(prefix=f".{out.name}.unfinished-", dir=out.parent))
        if (lock := _lock(aside)) is not None:
            return aside, lock
        shutil.rmtree(aside, ignore_errors=True)  # taken for one that was left, before it was locked
    return Path(tempfile.mkdtemp(prefix=f".{out.name}.unfinished-", dir=out.parent)), None


def _lock(folder: Path) -> int | None:
    """The folder's lock, or None if another process holds it, or the folder has gone."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.stat(folder)  # which its last holder may have removed
    except OSError:
        os.close(handle)
        return None
    return handle


def _move(aside: Path, out: Path, replace: bool) -> None:
    """Rename, which an empty folder gives way to and another does not: of two processes one is told, and none destroys."""
    try:
        if replace:
            with suppress(FileNotFoundError):
                out.rename(out.with_name(f".{out.name}.replaced-{os.getpid()}"))
        aside.rename(out)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
        raise FolderError(
            f"{out} was written by another process meanwhile; look at it, or choose another --out"
        ) from error
    finally:
        _recover(out)


def _recover(out: Path) -> None:
    """Put back what a process stopped between its two renames had moved away; remove what has been replaced."""
    for old in sorted(out.parent.glob(f".{_escaped(out.name)}.replaced-*")):
        try:
            old.rename(out)
        except OSError:  # something is there
            if out.is_dir():
                shutil.rmtree(old, ignore_errors=True)


def _escaped(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)


def _refuse(out: Path, kind: str, entries: frozenset[str], is_one: Callable[[Path], bool], replace: bool) -> None:
    try:
        found = {entry.name for entry in out.iterdir()}
    except FileNotFoundError:  # or another process is between its two renames
        return
    except NotADirectoryError as error:
        raise FolderError(f"{out} is a file; give a folder as --out") from error
    if not found:
        return
    if not replace:
        raise FolderError(f"{out} already exists; choose another --out, or replace it with --replace")
    if found - entries or not is_one(out):
        why = f"it holds {min(found - entries)}" if found - entries else "what it holds only looks like one"
        raise FolderError(f"{out} is not empty and no {kind} ({why}) and is left alone; choose another --out")
