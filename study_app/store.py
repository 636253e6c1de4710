"""The pictures of frozen studies, in a folder, named by content: a file of a pair set in, what is sent to browsers out.

Every picture is kept twice: the file as the pair set has it, for exports, and what participants get. The latter is the same
pixels as PNG without compression, so that all pictures of one size have one length. A compressed length would tell real
from fake before the picture does, and so would padding, which shows where the shorter one ends.
"""

import hashlib
import io
import os
from pathlib import Path

from PIL import Image

from protocol import InputError


class StoreError(InputError):
    """A picture that is not in the store, or is not what it was."""


def served_path(store: Path, sha256: str) -> Path:
    """What participants get of the file with this hash."""
    return store / sha256[:2] / f"{sha256}-served"


def put_image(store: Path, data: bytes) -> str:
    """Keep a picture; the sha256 of its file."""
    sha256 = hashlib.sha256(data).hexdigest()
    for path, content in ((_original_path(store, sha256), data), (served_path(store, sha256), _uncompressed(data))):
        if not path.exists():
            _write(path, content)
    return sha256


def get_image(store: Path, sha256: str) -> bytes:
    """The file with this hash, verified.

    Raises:
        StoreError: if it is missing or its bytes have changed.
    """
    path = _original_path(store, sha256)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StoreError(
            f"picture {sha256[:12]} cannot be read from {path} ({error.strerror}); restore the store from its backup"
        ) from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise StoreError(f"picture {sha256[:12]} at {path} has changed; restore the store from its backup")
    return data


def _original_path(store: Path, sha256: str) -> Path:
    return store / sha256[:2] / sha256


def _uncompressed(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(data)) as picture:
        picture.convert("RGB").save(buffer, format="PNG", compress_level=0)
    return buffer.getvalue()


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}-{os.getpid()}")
    with aside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
