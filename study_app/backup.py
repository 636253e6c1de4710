"""Backups: a database in, one zip out; the zip in, the same rows in an empty database, SQLite or PostgreSQL, out.

The archive is the same whichever database it came from, so that a study can move from one to the other:

    backup.json             {"format": "realism-backup/1", "created": RFC 3339, "schema": REVISION, "database": "sqlite|postgresql",
                             "pictures": N, "tables": {NAME: {"columns": [...], "rows": N, "sha256": of the member}}}
    tables/NAME.jsonl       one row a line, by primary key, as a JSON list in the order of the columns; moments are RFC 3339 in UTC
                            with microseconds, and a JSON column is the very text that is stored
    pictures/SHA256         the file of a picture, where they were asked for
"""

import fcntl
import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import DBAPIError

from pairs.progress import Progress
from protocol import InputError
from protocol.place import Place
from study_app.db import reason_of, revision_of, shown_url, snapshot
from study_app.rows import CHUNK, kinds_of, read_table
from study_app.store import get_image
from study_app.tables import Image, Table

FORMAT = "realism-backup/1"
CONTENT = "backup.json"
# What lives for a minute, and says nothing of a study.
PASSING = {"rate_limits"}
NAMED = "realism-%Y%m%dT%H%M%SZ.zip"
Bar = Callable[[str], Progress]


class BackupError(InputError):
    """A backup that cannot be written, read or restored."""


@dataclass(frozen=True)
class Member:
    """A table in an archive."""

    columns: tuple[str, ...]
    rows: int
    sha256: str


@dataclass(frozen=True)
class Backup:
    """What an archive holds; ``database`` is where it came from."""

    created: str
    schema: str
    database: str
    pictures: int
    tables: dict[str, Member]


def quiet(_what: str) -> Progress:
    """No bar."""
    return lambda items: items


def write_backup(
    engine: Engine, file: Path, store: Place | None = None, *, force: bool = False, bar: Bar = quiet
) -> Backup:
    """Write the database as it is at this moment, while participants go on; with the pictures of ``store``, if one is given.

    The file appears when it is complete and on disk.

    Raises:
        BackupError: if there is such a file (unless ``force``), or it cannot be written.
        StoreError: if a picture is missing or has changed.
    """
    if file.is_dir():
        raise BackupError(f"{file} is a folder; name a file in it, or let --keep name them")
    if file.exists() and not force:
        raise BackupError(_taken(file))
    try:
        with _appearing(file, force) as stream, zipfile.ZipFile(stream, "w") as archive, snapshot(engine) as connection:
            schema = revision_of(connection) or ""
            names = [one.name for one in Table.metadata.sorted_tables if one.name not in PASSING]
            tables = {name: _write_table(archive, connection, name, bar) for name in names}
            pictures = _write_pictures(archive, connection, store, bar) if store is not None else 0
            backup = Backup(_now().isoformat(timespec="seconds"), schema, engine.dialect.name, pictures, tables)
            archive.writestr(CONTENT, json.dumps({"format": FORMAT, **asdict(backup)}, indent=1))
    except FileExistsError as error:
        raise BackupError(_taken(file)) from error
    except DBAPIError as error:
        raise BackupError(
            f"database {shown_url(engine)} cannot be read whole ({reason_of(error)}); 'realism db check' says more"
        ) from error
    except OSError as error:
        raise BackupError(
            f"backup {file} cannot be written ({error.strerror}); see that its folder is there and has room"
        ) from error
    return backup


def _taken(file: Path) -> str:
    return f"{file} exists already; give another name, or --force to replace it"


def _now() -> datetime:
    return datetime.now(UTC)


def write_next_backup(
    engine: Engine, folder: Path, keep: int, store: Place | None = None, *, bar: Bar = quiet
) -> tuple[Path, Backup]:
    """Write a backup named after this moment, then remove all but the newest ``keep`` of such a name.

    Raises:
        BackupError: as ``write_backup``, or if ``folder`` is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise BackupError(f"{folder} is a file; with --keep give a folder for the backups")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / _now().strftime(NAMED)
    backup = write_backup(engine, file, store, bar=bar)
    others = sorted(set(folder.glob("realism-[0-9]*T[0-9]*Z.zip")) - {file})
    for old in others[: max(0, len(others) + 1 - keep)]:
        old.unlink()
    for left in folder.glob(".realism-[0-9]*Z.zip.part"):  # by one that was killed
        with left.open("rb") as stream:
            if _is_ours(stream, left):
                left.unlink()
    return file, backup


@contextmanager
def _appearing(file: Path, force: bool) -> Iterator[IO[bytes]]:
    """A file that gets its name when it is complete; what a killed process left of one is taken over."""
    aside = file.with_name(f".{file.name}.part")
    descriptor = os.open(
        aside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
    )  # participants' answers: for the owner alone
    with open(descriptor, "w+b") as stream:
        if not _is_ours(stream, aside):
            raise BackupError(f"another process is writing {file}; wait until it is done")
        try:
            stream.truncate(0)
            yield stream
            stream.flush()
            os.fsync(descriptor)
            if force:
                os.replace(aside, file)
            else:
                os.link(aside, file)
        finally:
            aside.unlink(missing_ok=True)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _is_ours(stream: IO[bytes], aside: Path) -> bool:
    """Whether nobody else is at that file, nor has just given it its name."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(stream.fileno()), aside.stat())
    except (BlockingIOError, FileNotFoundError):
        return False


def _write_table(archive: zipfile.ZipFile, connection: Connection, name: str, bar: Bar) -> Member:
    columns = tuple(kinds_of(connection, name))
    digest, rows = hashlib.sha256(), 0
    info = zipfile.ZipInfo(f"tables/{name}.jsonl", _now().timetuple()[:6])
    info.compress_type, info._compresslevel = zipfile.ZIP_DEFLATED, 1  # type: ignore[attr-defined]
    with archive.open(info, "w", force_zip64=True) as member:
        for lines, n in read_table(connection, name, columns, bar(f"Table {name}")):
            digest.update(lines)
            member.write(lines)
            rows += n
    return Member(columns, rows, digest.hexdigest())


def _write_pictures(archive: zipfile.ZipFile, connection: Connection, store: Place, bar: Bar) -> int:
    hashes = connection.scalars(select(Image.sha256).order_by(Image.sha256)).all()
    for sha256 in bar("Pictures")(hashes):
        archive.writestr(f"pictures/{sha256}", get_image(store, sha256))
    return len(hashes)


def read_backup(file: Path, bar: Bar = quiet) -> Backup:
    """What an archive holds, every byte of it verified.

    Raises:
        BackupError: if it is none, or is damaged.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            backup = _read_content(json.loads(archive.read(CONTENT)), file)
            for name, member in backup.tables.items():
                with archive.open(f"tables/{name}.jsonl") as stream:
                    _verify(stream, member, name, file, bar(f"Verifying {name}"))
            pictures = [name for name in archive.namelist() if name.startswith("pictures/")]
            if len(pictures) != backup.pictures:
                raise BackupError(damaged(file, f"{len(pictures)} pictures are in it, {backup.pictures} were written"))
            for name in bar("Verifying pictures")(pictures):
                if hashlib.sha256(archive.read(name)).hexdigest() != name.removeprefix("pictures/"):
                    raise BackupError(damaged(file, f"{name} has changed"))
    except FileNotFoundError as error:
        raise BackupError(f"there is no backup {file}; give the path of one that 'realism db backup' wrote") from error
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        LookupError,
        TypeError,
        AttributeError,
        NotImplementedError,
        ValueError,
        OverflowError,
        RecursionError,
    ) as error:
        raise BackupError(damaged(file, str(error) or type(error).__name__)) from error
    return backup


def damaged(file: Path, what: str) -> str:
    return f"backup {file} is damaged or is no backup ({what}); take another one"


def _read_content(raw: Any, file: Path) -> Backup:
    if raw.get("format") != FORMAT:
        raise BackupError(
            f"backup {file} is of the format {raw.get('format')!r}, this release reads {FORMAT}; install the release that wrote it"
        )
    tables = {
        name: Member(tuple(one["columns"]), int(one["rows"]), one["sha256"]) for name, one in raw["tables"].items()
    }
    return Backup(raw["created"], raw["schema"], raw["database"], int(raw["pictures"]), tables)


def _verify(stream: IO[bytes], member: Member, name: str, file: Path, progress: Progress) -> None:
    digest = hashlib.sha256()
    for _ in progress(range(-(-member.rows // CHUNK) + 1)):
        while block := stream.read(2**20):
            digest.update(block)
    if digest.hexdigest() != member.sha256:
        raise BackupError(damaged(file, f"table {name} has changed"))
