"""The pictures of frozen studies, in a folder, named by content: bytes in, a path to send out."""

import hashlib
import os
from pathlib import Path

from protocol import InputError


class StoreError(InputError):
    """A picture that is not in the store, or is not what it was."""


def image_path(store: Path, sha256: str, padded_bytes: int) -> Path:
    return store / sha256[:2] / f"{sha256}-{padded_bytes}"


def put_image(store: Path, data: bytes, padded_bytes: int) -> str:
    """Keep a picture, filled up with zeros to ``padded_bytes``; its sha256.

    Real and fake of a pair are stored, and so sent, at one length: otherwise the size, which the network shows before
    the picture does, would tell them apart. Decoders stop at the end of the picture and ignore what follows.
    """
    sha256 = hashlib.sha256(data).hexdigest()
    path = image_path(store, sha256, padded_bytes)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}-{os.getpid()}")
        with aside.open("wb") as file:
            file.write(data.ljust(padded_bytes, b"\0"))
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    return sha256


def get_image(store: Path, sha256: str, n_bytes: int, padded_bytes: int) -> bytes:
    """The picture without its padding, verified.

    Raises:
        StoreError: if it is missing or its bytes have changed.
    """
    path = image_path(store, sha256, padded_bytes)
    try:
        data = path.read_bytes()[:n_bytes]
    except OSError as error:
        raise StoreError(
            f"picture {sha256[:12]} cannot be read from {path} ({error.strerror}); restore the store from its backup"
        ) from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise StoreError(f"picture {sha256[:12]} at {path} has changed; restore the store from its backup")
    return data
