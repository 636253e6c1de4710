"""Time and memory of making and checking a large pair set, beside a plain loop that does the same: python benchmarks/pair_sets.py

Writes N pairs of source files of 256x256 (reals as JPEG, as cameras write them; fakes as PNG, as generators do), lets
``realism pairs import`` and ``realism pairs check`` run on them, and prints wall time and the peak memory of all their
processes together. The plain way is one loop with Pillow's own encoder (PNG, its default compression), over a tenth of
the pairs. With --photos the pictures are squares of real photographs, else smooth noise.
"""

import argparse
import io
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter, ImageOps

SIZE = 256
LIMIT_S, LIMIT_MIB = 60, 1024  # what is asked of both commands


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=10_000, help="pairs")
    parser.add_argument("--photos", type=Path, help="folder of photographs")
    parser.add_argument("--folder", type=Path, help="where to work; several gigabytes  [default: a temporary folder]")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="realism-benchmark-", dir=arguments.folder))
    try:
        print(f"Writing {arguments.n} pairs of source files …", flush=True)
        write_sources(folder, arguments.n, arguments.photos)
        sources = ["--real", str(folder / "real"), "--fake", str(folder / "fake"), "--condition", "bench"]
        plain_s = time_plain(folder, arguments.n // 10) * 10
        made = measure(["pairs", "import", *sources, "--out", str(folder / "set")])
        report("pairs import", made, plain_s)
        again_s = time_reading(folder / "set", arguments.n // 10) * 10
        checked = measure(["pairs", "check", str(folder / "set"), "--json"])
        report("pairs check", checked, again_s)
    finally:
        shutil.rmtree(folder)


def write_sources(folder: Path, n: int, photos: Path | None) -> None:
    """``n`` different pictures as real/N.jpg, and with half of their colour as fake/N.png."""
    for side in ("real", "fake"):
        (folder / side).mkdir()
    pictures = _photographs(photos) if photos else _noise()
    for number, picture in zip(range(n), pictures, strict=False):
        picture.save(folder / "real" / f"{number:05d}.jpg", quality=92)
        fake = Image.blend(picture, picture.convert("L").convert("RGB"), 0.5)
        fake.save(folder / "fake" / f"{number:05d}.png", compress_level=1)


def _photographs(folder: Path) -> Iterator[Image.Image]:
    """Squares of every photograph, and, once they are used up, other crops of them."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    rng = np.random.default_rng(0)
    seen = set()
    while True:
        for path in paths:
            zoom = int(SIZE * rng.uniform(1.05, 1.6))
            x, y = (int(place) for place in rng.integers(0, zoom - SIZE + 1, 2))
            if (path, zoom, x, y) in seen:
                continue
            seen.add((path, zoom, x, y))
            with Image.open(path) as photo:
                square = ImageOps.fit(photo.convert("RGB"), (zoom, zoom))
            yield square.crop((x, y, x + SIZE, y + SIZE))


def _noise() -> Iterator[Image.Image]:
    rng = np.random.default_rng(0)
    while True:
        coarse = Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).resize(
            (SIZE, SIZE), Image.Resampling.BICUBIC
        )
        grain = Image.fromarray(rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)).filter(
            ImageFilter.GaussianBlur(1)
        )
        yield Image.blend(coarse, grain, 0.2)


def time_plain(folder: Path, n: int) -> float:
    """Seconds for ``n`` pairs decoded, fitted and saved in one loop."""
    out = folder / "plain"
    out.mkdir()
    began = time.perf_counter()
    for side, suffix in (("real", "jpg"), ("fake", "png")):
        for number in range(n):
            with Image.open(folder / side / f"{number:05d}.{suffix}") as picture:
                ImageOps.fit(picture.convert("RGB"), (SIZE, SIZE)).save(out / f"{number:05d}-{side}.png")
    return time.perf_counter() - began


def time_reading(pairset: Path, n: int) -> float:
    """Seconds to decode ``n`` pairs and take both spectra in double precision, in one loop: a search's least plain form."""
    began = time.perf_counter()
    for side in ("real", "fake"):
        for path in sorted((pairset / "images").glob(f"*-{side}.png"))[:n]:
            with Image.open(io.BytesIO(path.read_bytes())) as picture:
                np.abs(np.fft.fft2(np.asarray(picture.convert("L"), float)))
    return time.perf_counter() - began


def measure(arguments: Sequence[str]) -> tuple[float, float]:
    """Seconds and peak MiB (proportional set size of all processes) of a ``realism`` command."""
    peak, done = [0.0], threading.Event()
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "realism", *arguments], stdout=subprocess.DEVNULL)

    def watch() -> None:
        while not done.wait(0.25):
            peak[0] = max(peak[0], sum(map(_memory_mib, _family(process.pid))))

    watcher = threading.Thread(target=watch)
    watcher.start()
    code = process.wait()
    seconds = time.perf_counter() - began
    done.set()
    watcher.join()
    if code not in (0, 1):
        raise SystemExit(f"realism {' '.join(arguments[:2])} ended with {code}")
    return seconds, peak[0]


def _family(pid: int) -> list[int]:
    """A process and all that descend from it (Linux)."""
    parents = {}
    for entry in os.listdir("/proc"):
        try:
            parents[int(entry)] = int(Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, ValueError):
            continue
    family = [pid]
    for one in family:
        family += [child for child, parent in parents.items() if parent == one]
    return family


def _memory_mib(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def report(what: str, measured: tuple[float, float], plain_s: float) -> None:
    seconds, mib = measured
    print(
        f"{what}: {seconds:.1f} s (asked: {LIMIT_S}), peak {mib:.0f} MiB (asked: {LIMIT_MIB}); "
        f"plain loop {plain_s:.1f} s; ratio {seconds / plain_s:.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
