"""Where the files of a pair set or a study's store lie: a folder, a zip, or behind any fsspec address; names in, bytes out."""

import lzma
import struct
import sys
import zipfile
import zlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import fsspec
from fsspec.asyn import AsyncFileSystem

from protocol import InputError

# A dead endpoint is told within seconds, and a silent one within a minute, instead of many.
_S3: dict[str, Any] = {
    "config_kwargs": {"connect_timeout": 5, "read_timeout": 15, "retries": {"total_max_attempts": 1}},
    "max_concurrency": 1,  # of parts of one file, which are small: a file is one request then, not two
    "use_listings_cache": False,
}
_S3_RETRIES = 2  # attempts, which s3fs makes; the client makes one in each

NO_FILE: Final = "No such file or directory"


class PlaceError(InputError):
    """An address at which nothing can be read or written; ``reason`` says why, without the address."""

    def __init__(self, address: str, reason: str) -> None:
        self.address, self.reason = address, reason
        super().__init__(address, reason)

    def __str__(self) -> str:
        return f"{self.address}: {self.reason}"


def is_remote(address: str | Path) -> bool:
    """Whether an address is one of fsspec's (``s3://bucket/set``) and not a path."""
    return "://" in str(address)


class Place:
    """A folder of files at an address. It holds no connection until it is used, so it may go to another process."""

    def __init__(self, address: "str | Path | Place") -> None:
        self.address: str = address.address if isinstance(address, Place) else str(address)

    def __str__(self) -> str:
        return self.address

    def __reduce__(self) -> tuple[type["Place"], tuple[str]]:
        return Place, (self.address,)

    @property
    def is_zip(self) -> bool:
        return self.address.lower().endswith(".zip")

    @cached_property
    def _system(self) -> tuple[Any, str]:
        """fsspec's file system, and the folder in it; new for every Place, since a zip may have been replaced."""
        options = _S3 if self.address.startswith(("s3://", "s3a://")) else {}
        try:
            if self.is_zip:
                system = fsspec.filesystem("zip", fo=self.address, target_options=options, skip_instance_cache=True)
                # A zip of a folder often holds just that folder, and, if made on a Mac, notes on it.
                top = [entry for entry in system.ls("", detail=True) if not entry["name"].startswith(("__MACOSX", "."))]
                return system, top[0]["name"].rstrip("/") if len(top) == 1 and top[0]["type"] == "directory" else ""
            system, root = fsspec.core.url_to_fs(self.address, **options)
            if options:
                system.retries = _S3_RETRIES
            return system, root.rstrip("/") or "/"
        except failures() as error:
            raise PlaceError(self.address, reason_of(error)) from error

    def path_of(self, name: str) -> tuple[Any, str]:
        """fsspec's file system, and what ``name`` is called in it."""
        system, root = self._system
        return system, f"{root}/{name}" if root else name

    def read(self, name: str) -> bytes:
        """The file's bytes.

        Raises:
            PlaceError: if it cannot be read.
        """
        system, path = self.path_of(name)
        try:
            return bytes(system.cat_file(path))
        except failures() as error:
            raise PlaceError(f"{self.address}/{name}", reason_of(error)) from error

    def read_many(self, names: Sequence[str]) -> list[bytes | PlaceError]:
        """The files' bytes, all asked for at once where the address is far away; for one that cannot be read, the error."""
        system, _ = self._system
        if isinstance(system, AsyncFileSystem):
            paths = {name: self.path_of(name)[1] for name in names}
            found = system.cat(list(paths.values()), on_error="return") if names else {}
            return [self._answer(name, found[system._strip_protocol(paths[name])]) for name in names]
        return [self._read_or_error(name) for name in names]

    def _answer(self, name: str, found: Any) -> bytes | PlaceError:
        if isinstance(found, Exception):
            return PlaceError(f"{self.address}/{name}", reason_of(found))
        return bytes(found)

    def _read_or_error(self, name: str) -> bytes | PlaceError:
        try:
            return self.read(name)
        except PlaceError as error:
            return error

    def names(self) -> list[str]:
        """Every file at the address, as a path in it.

        Raises:
            PlaceError: if the address cannot be reached.
        """
        system, root = self.path_of("")
        try:
            return sorted(path.removeprefix(root).lstrip("/") for path in system.find(root.rstrip("/")))
        except failures() as error:
            raise PlaceError(self.address, reason_of(error)) from error

    def exists(self, name: str = "") -> bool:
        """Whether there is a file of that name, or, without a name, anything at the address.

        Raises:
            PlaceError: if the address cannot be reached.
        """
        system, path = self.path_of(name)
        try:
            return bool(system.exists(path.rstrip("/")))
        except failures() as error:
            raise PlaceError(self.address, reason_of(error)) from error


def failures() -> tuple[type[Exception], ...]:
    """What file systems raise: their own errors, a zip's (RuntimeError if it is encrypted), and those of the S3 client if it is loaded."""
    kinds: tuple[type[Exception], ...] = (
        OSError, ValueError, LookupError, ImportError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error,
        EOFError, RuntimeError,
    )  # fmt: skip
    if "botocore" in sys.modules:
        from botocore.exceptions import BotoCoreError, ClientError

        kinds = (*kinds, BotoCoreError, ClientError)
    return kinds


def lacks_bucket(error: Exception) -> bool:
    """Whether S3 answered that there is no such bucket. Its code says so: the text may be a path with "bucket" in it."""
    answer = getattr(error.__cause__, "response", None)
    return isinstance(answer, dict) and answer.get("Error", {}).get("Code") == "NoSuchBucket"


def reason_of(error: Exception) -> str:
    """What went wrong, in words without the address."""
    if isinstance(error, ImportError):
        return f"{error}" + (" (pip install 'realism[s3]')" if "s3fs" in str(error) else "")
    if isinstance(error, FileNotFoundError):
        return "The specified bucket does not exist" if lacks_bucket(error) else NO_FILE
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error) or type(error).__name__).splitlines()[0][:200]
