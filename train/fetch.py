"""The name of a published set of photographs in; a folder of its photographs out, verified, one folder per class.

While files come they lie in that folder as ``NAME.part``, where a stopped download goes on; the photographs are unpacked
aside and take the folder's place when they are complete. What they are and on which terms stands in ``source.json``.
"""

import hashlib
import json
import re
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import requests
from requests.exceptions import RequestException
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from urllib3.exceptions import HTTPError

from pairs.road import ABOUT as NOTE
from protocol import InputError
from protocol.whole_folder import whole_folder

TIMEOUT_S = (15, 60)  # to connect, and between two pieces
CHUNK_BYTES = 1 << 16


class FetchError(InputError):
    """Photographs that could not be downloaded, verified or unpacked."""


@dataclass(frozen=True)
class Remote:
    """A published file and its checksum, in hex digits, by an algorithm that hashlib knows."""

    url: str
    algorithm: str
    checksum: str

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[1]


@dataclass(frozen=True)
class Source:
    """A published set of photographs. ``arrange`` moves them from where ``files[0]``, the archive, is unpacked (first
    argument) to one folder per class (second); the other files lie in the third."""

    name: str
    homepage: str
    licence: str
    citation: str
    files: tuple[Remote, ...]
    arrange: Callable[[Path, Path, Path], None]


def flowers102() -> Source:
    """Oxford 102 Flowers: the addresses, md5 sums and class names are those that torchvision carries."""
    from train import vision  # noqa: F401  # the door: without it torchvision does not open beside a CPU-only torch

    # isort: split
    from torchvision.datasets import Flowers102

    home, files = Flowers102._download_url_prefix, Flowers102._file_dict
    # Its third file, "setid", is not needed: the split here goes by the photographs' hashes.
    archive, labels = (Remote(home + name, "md5", md5) for name, md5 in (files["image"], files["label"]))

    def arrange(unpacked: Path, out: Path, downloaded: Path) -> None:
        from scipy.io import loadmat

        numbers = loadmat(downloaded / labels.name)["labels"].ravel()  # (N,) 1 to 102; image_00001.jpg has the first
        for photo in sorted((unpacked / "jpg").glob("image_*.jpg")):
            number = int(numbers[int(photo.stem.removeprefix("image_")) - 1])
            slug = re.sub("[^a-z]+", "-", Flowers102.classes[number - 1].replace("'", "")).strip("-")
            (out / f"{number:03d}-{slug}").mkdir(exist_ok=True)
            photo.rename(out / f"{number:03d}-{slug}" / photo.name)

    return Source(
        name="flowers102",
        homepage=home,
        licence="no licence stated by the publishers; most photographs were collected from the web",
        citation="Nilsback, Zisserman: Automated flower classification over a large number of classes. ICVGIP 2008",
        files=(archive, labels),
        arrange=arrange,
    )


def stanford_dogs() -> Source:
    """Stanford Dogs: 120 breeds, each in its folder of the archive, such as n02085620-Chihuahua."""
    home = "http://vision.stanford.edu/aditya86/ImageNetDogs/"

    def arrange(unpacked: Path, out: Path, downloaded: Path) -> None:
        for breed in sorted((unpacked / "Images").iterdir()):
            breed.rename(out / breed.name)

    return Source(
        name="stanford-dogs",
        homepage=home,
        licence="no licence stated by the publishers; the photographs are ImageNet's, whose terms of access allow "
        "non-commercial research and educational use only",
        citation="Khosla, Jayadevaprakash, Yao, Li: Novel dataset for fine-grained image categorization: Stanford Dogs. "
        "First Workshop on Fine-Grained Visual Categorization, CVPR 2011",
        # The publishers give no checksum; this one is TensorFlow Datasets' (url_checksums/stanford_dogs.txt).
        files=(
            Remote(home + "images.tar", "sha256", "a443fc2f9a851aa1a7b8e4fa4af94b8459fce2c9f5a2f4dd4669cf9673a4ec58"),
        ),
        arrange=arrange,
    )


CATALOGUE: dict[str, Callable[[], Source]] = {"flowers102": flowers102, "stanford-dogs": stanford_dogs}


def read_note(name: str, out: Path) -> dict | None:
    """What ``source.json`` says, if the folder holds the complete photographs of that name."""
    try:
        note = json.loads((out / NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # fetch() says what is there instead
    return note if isinstance(note, dict) and note.get("name") == name and "photos" in note else None


def fetch(source: Source, out: Path, console: Console) -> dict:
    """Downloads what is not there yet, verifies and unpacks it, and returns what ``source.json`` says.

    Raises:
        FetchError: if the folder holds something else, or a file cannot be had, differs or cannot be unpacked.
    """
    done = read_note(source.name, out)
    if done:
        return done
    entries = frozenset(f.name + end for f in source.files for end in ("", ".part", ".damaged"))
    strange = sorted({entry.name for entry in out.iterdir()} - entries) if out.is_dir() else []
    if strange:
        raise FetchError(f"{out} holds {strange[0]}, which is no part of {source.name}; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    with _bar(console) as progress:
        for remote in source.files:
            _download(remote, out, progress)
        with whole_folder(out, f"download of {source.name}", entries, lambda _: True, replace=True) as aside:
            _unpack(source, out, aside, progress)
            files = [{"url": remote.url, remote.algorithm: remote.checksum} for remote in source.files]
            note = {field: getattr(source, field) for field in ("name", "homepage", "licence", "citation")}
            note |= {"classes": len(list(aside.iterdir())), "photos": len(list(aside.glob("*/*"))), "files": files}
            (aside / NOTE).write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")
    return note


def _bar(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    return Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal)


def _download(remote: Remote, folder: Path, progress: Progress) -> None:
    """Leaves the file in the folder under its name only when its checksum is right."""
    path = folder / remote.name
    part = path if path.exists() else folder / f"{remote.name}.part"
    if part != path:
        _receive(remote, part, path, progress)
    with progress.open(part, "rb", description=f"Verifying {remote.name}") as file:
        digest = hashlib.new(remote.algorithm, usedforsecurity=False)
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    if digest.hexdigest() != remote.checksum:
        damaged = folder / f"{remote.name}.damaged"
        part.replace(damaged)
        raise FetchError(
            f"{part} has the {remote.algorithm} {digest.hexdigest()}, the published one is {remote.checksum}; "
            f"it is now {damaged}: run the command again to download anew"
        )
    part.replace(path)


def _receive(remote: Remote, part: Path, path: Path, progress: Progress) -> None:
    """Adds what is missing to the part, or all of it where the server cannot go on from there."""
    start = part.stat().st_size if part.exists() else 0
    by_hand = f"or download it by other means to {path} and run the command again"
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    what = "could not be reached"
    try:
        with requests.get(remote.url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
            if response.status_code == 416 and start:
                return  # there is nothing after what came: the checksum tells whether it is right
            if response.status_code not in (200, 206):
                answer = f"{response.status_code} {response.reason}"
                raise FetchError(f"{remote.url} is not to be had (the server says {answer}); try later, {by_hand}")
            what = "broke off, and what came is kept"
            start = start if response.status_code == 206 else 0
            length = response.headers.get("Content-Length")
            task = progress.add_task(remote.name, total=start + int(length) if length else None, completed=start)
            with part.open("ab" if start else "wb") as file:
                # Not iter_content: it would unpack a .tgz that a server sends as "Content-Encoding: gzip".
                for chunk in response.raw.stream(CHUNK_BYTES, decode_content=False):
                    file.write(chunk)
                    progress.advance(task, len(chunk))
    except (RequestException, HTTPError) as error:
        message = f"{remote.url} {what} ({_reason(error)}); run the command again when the network is back, {by_hand}"
        raise FetchError(message) from error
    except OSError as error:
        message = f"{part} cannot be written ({error.strerror}); make room and run the command again: what came is kept"
        raise FetchError(message) from error


def _reason(error: BaseException) -> str:
    """The innermost cause has the plain words (Connection refused); those around it wrap them in addresses."""
    while error.__context__ is not None:
        error = error.__context__
    return getattr(error, "strerror", None) or str(error)


def _unpack(source: Source, downloaded: Path, aside: Path, progress: Progress) -> None:
    archive = downloaded / source.files[0].name
    unpacked = aside / "unpacked"
    try:
        with (
            progress.open(archive, "rb", description=f"Unpacking {archive.name}") as file,
            tarfile.open(fileobj=file, mode="r|*") as tar,
        ):
            tar.extractall(unpacked, filter="data")
        source.arrange(unpacked, aside, downloaded)
        shutil.rmtree(unpacked)
    except (OSError, EOFError, tarfile.TarError) as error:
        reason = getattr(error, "strerror", None) or error
        message = f"{archive} cannot be unpacked ({reason}); it is kept: if room is short, make some, and run the command again"
        raise FetchError(message) from error
