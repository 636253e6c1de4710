"""How a pair set, an export and a report come into being: written aside, and moved into place when complete."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    but ``entries``, and ``is_one`` says so.

    Raises:
        FolderError: before anything is written.
    """
    out = out.resolve()
    _refuse(out, kind, entries, is_one, replace)
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        yield aside
        aside.chmod(0o755)
        old = out.with_name(f".{out.name}-replaced-{os.getpid()}")
        if out.exists():
            out.rename(old)
        aside.rename(out)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _refuse(out: Path, kind: str, entries: frozenset[str], is_one: Callable[[Path], bool], replace: bool) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise FolderError(f"{out} is a file; give a folder as --out")
    found = {entry.name for entry in out.iterdir()}
    if not found:
        return
    if not replace:
        raise FolderError(f"{out} already exists; choose another --out, or replace it with --replace")
    if found - entries or not is_one(out):
        why = f"it holds {min(found - entries)}" if found - entries else "what it holds only looks like one"
        raise FolderError(f"{out} is not empty and no {kind} ({why}) and is left alone; choose another --out")
