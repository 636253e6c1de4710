"""The pictures of frozen studies, in a folder or behind an fsspec address, named by content: files of pair sets in, what
is sent to browsers out.

SHA256.png is what participants get of the file with that hash: its pixels as PNG without compression, so that all pictures
of one size have one length. A compressed length would tell real from fake before the picture does, and so would padding,
which shows where the shorter one ends. SHA256 is the file itself, for exports, kept only where it differs.
"""

import hashlib
import io
import os
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

from fsspec.asyn import AsyncFileSystem
from PIL import Image

from protocol import InputError
from protocol.encoding import encode_png
from protocol.place import Place, PlaceError, failures, is_remote, lacks_bucket, reason_of

# A participant's page tries again by itself, and the thread is needed for answers; the S3 client alone may try for minutes.
READ_S = 15
WRITE_S = 60
RECENT_BYTES = 64 * 2**20  # in each process: 340 pictures of 256x256
AT_ONCE = 8  # threads that copy pictures: most of the time goes into waiting, for the network or for the disk
RESTORE = "restore the store from its backup"


class StoreError(InputError):
    """A store that cannot be used, or a picture that is not in it or is not what it was."""


class MissingPictureError(StoreError):
    """A picture that is not in the store."""


class RecentPictures:
    """What participants get of a far store: the pairs last asked for stay in memory."""

    def __init__(self, store: Place, recent_bytes: int = RECENT_BYTES) -> None:
        self._store, self._limit = store, recent_bytes
        self._recent: OrderedDict[frozenset[str], dict[str, bytes]] = OrderedDict()
        self._held = 0
        self._lock = Lock()

    def get(self, sha256: str, partner: str) -> bytes:
        """The picture with this hash; ``partner`` is the one beside it.

        Far pictures come by the pair: a real one is shared by conditions, and would else be at hand more often than a fake.

        Raises:
            StoreError: if it cannot be had.
        """
        pair = frozenset((sha256, partner))
        with self._lock:
            if pair in self._recent:
                self._recent.move_to_end(pair)
                return self._recent[pair][sha256]
        names = sorted(pair)
        found = dict(zip(names, get_served(self._store, names), strict=True))
        self._keep(pair, found)
        return found[sha256]

    def _keep(self, pair: frozenset[str], found: dict[str, bytes]) -> None:
        with self._lock:
            if pair not in self._recent:  # two threads may have fetched it
                self._recent[pair] = found
                self._held += _size(found)
            while self._held > self._limit:
                self._held -= _size(self._recent.popitem(last=False)[1])


def _size(pictures: dict[str, bytes]) -> int:
    return sum(map(len, pictures.values()))


def has_image(store: Place, sha256: str) -> bool:
    """Whether a file with this hash was put into the store."""
    if not is_remote(store.address):
        return _path(store, served_name(sha256)).exists()
    return bool(_ask(store, "exists", _path_in(store, served_name(sha256)), seconds=READ_S))


def put_image(store: Place, data: bytes) -> str:
    """Keep a picture's file; its sha256."""
    sha256 = hashlib.sha256(data).hexdigest()
    served = _as_served(data)
    if served != data:
        _write(store, _original_name(sha256), data)
    _write(store, served_name(sha256), served)  # last: where it is, all is
    return sha256


def get_image(store: Place, sha256: str) -> bytes:
    """The file with this hash, verified.

    Raises:
        StoreError: if it is missing or its bytes have changed.
    """
    data, served = _read(store, [_original_name(sha256), served_name(sha256)])
    if isinstance(data, MissingPictureError) and isinstance(served, bytes):
        data = served
    if isinstance(data, StoreError):
        raise data
    if hashlib.sha256(data).hexdigest() != sha256:
        raise StoreError(f"picture {sha256[:12]} in {store} is missing or has changed; {RESTORE}")
    return data


def get_served(store: Place, hashes: Sequence[str]) -> list[bytes]:
    """What participants get of the files with these hashes, asked for at once.

    Raises:
        StoreError: if one cannot be had.
    """
    pictures = []
    for sha256, found in zip(hashes, _read(store, [served_name(sha256) for sha256 in hashes]), strict=True):
        if isinstance(found, MissingPictureError):  # a store of before there was this name
            found = _as_served(get_image(store, sha256))
        if isinstance(found, StoreError):
            raise found
        pictures.append(found)
    return pictures


def open_served(store: Place, sha256: str) -> tuple[BinaryIO, int]:
    """What participants get of the file with this hash, in a folder: opened, and its length in bytes.

    Raises:
        StoreError: if it cannot be had.
    """
    name = served_name(sha256)
    try:
        file = open(os.path.join(store.address, name), "rb", buffering=0)  # noqa: SIM115  # the reply closes it
    except OSError as error:
        raise _unreadable(store, name, error) from error
    return file, os.fstat(file.fileno()).st_size


def presigned(store: Place, sha256: str, seconds: int) -> str:
    """An address at which anybody gets, for so long, what participants get of the file with this hash, from S3 itself.

    Raises:
        StoreError: if the store cannot be used.
    """
    path = _path_in(store, served_name(sha256))
    options = {"ResponseContentType": "image/png", "ResponseCacheControl": "private, max-age=86400, immutable"}
    return str(_ask(store, "url", path, seconds=READ_S, expires=seconds, **options))


def check_store(store: Place) -> None:
    """Raises StoreError if a far store cannot be reached. A folder is made when it is needed."""
    if is_remote(store.address):
        try:
            _ask(store, "ls", _path_in(store, ""), seconds=READ_S)
        except MissingPictureError:  # nothing was put there yet
            return


def _original_name(sha256: str) -> str:
    return f"{sha256[:2]}/{sha256}"


def served_name(sha256: str) -> str:
    """Where in the store participants' form of the file with this hash lies."""
    return f"{sha256[:2]}/{sha256}.png"


def _as_served(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as picture:
        return encode_png(picture)


def _path(store: Place, name: str) -> Path:
    return Path(store.address) / name


def _read(store: Place, names: Sequence[str]) -> list[bytes | StoreError]:
    if not is_remote(store.address):
        return [_read_file(store, name) for name in names]
    paths = {name: _path_in(store, name) for name in names}
    found = _ask(store, "cat", list(paths.values()), on_error="return", seconds=READ_S)
    answers = [(name, found[paths[name]]) for name in names]
    return [_problem(store, one, name) if isinstance(one, Exception) else one for name, one in answers]


def _read_file(store: Place, name: str) -> bytes | StoreError:
    try:
        return _path(store, name).read_bytes()
    except OSError as error:
        return _unreadable(store, name, error)


def _unreadable(store: Place, name: str, error: OSError) -> StoreError:
    if isinstance(error, FileNotFoundError):
        return _problem(store, error, name)
    return StoreError(f"picture {_path(store, name)} cannot be read ({error.strerror}); {RESTORE}")


def _write(store: Place, name: str, data: bytes) -> None:
    if is_remote(store.address):
        _ask(store, "pipe_file", _path_in(store, name), data, seconds=WRITE_S)  # an object appears when it is whole
        return
    path = _path(store, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}-{os.getpid()}")
    with aside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.utime(aside, (0, 0))  # a web server may be asked for the date, and photographs may be older than their fakes
    aside.replace(path)


def _path_in(store: Place, name: str) -> str:
    try:
        path: str = store.path_of(name)[1]
    except PlaceError as error:  # s3fs is not installed, or there is no such kind of address
        raise StoreError(f"the store {error}") from error
    return path.rstrip("/")


def _ask(store: Place, verb: str, *arguments: Any, seconds: int, **options: Any) -> Any:
    """fsspec's answer; from an asynchronous file system, within so many seconds."""
    system, _ = store.path_of("")
    limit = {"timeout": seconds} if isinstance(system, AsyncFileSystem) else {}
    try:
        return getattr(system, verb)(*arguments, **options, **limit)
    except failures() as error:
        raise _problem(store, error) from error


def _problem(store: Place, error: Exception, name: str = "") -> StoreError:
    """What was found, and what to do."""
    reason = reason_of(error)
    if lacks_bucket(error):
        return StoreError(f"the store {store} cannot be used: {reason}; make the bucket, or give another --store")
    if isinstance(error, FileNotFoundError):
        return MissingPictureError(f"picture {store}/{name} cannot be read ({reason}); {RESTORE}")
    if isinstance(error, TimeoutError):
        return StoreError(f"the store {store} does not answer; see that its server is up and can be reached")
    if isinstance(error, PermissionError):
        return StoreError(f"the store {store} refuses access ({reason}); see who may read and write there")
    return StoreError(f"the store {store} cannot be used ({reason}); see that its server is up and can be reached")
