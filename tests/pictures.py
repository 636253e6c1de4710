"""Small colourful pictures and pair sets for tests."""

import shutil
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from pairs.writing import About, Picture, write_pairset
from protocol.pairset import PairSet, sha256_hex


def colourful(seed: int, size: int = 48) -> Image.Image:
    """A smooth picture of a few coloured spots, unlike that of any other seed."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size] / size
    pixels = np.zeros((size, size, 3)) + rng.uniform(40, 160, 3)
    for _ in range(5):
        cx, cy = rng.random(2)
        spot = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / rng.uniform(0.01, 0.06))
        pixels += spot[..., None] * rng.uniform(-120, 140, 3)
    return Image.fromarray(np.clip(pixels + rng.normal(0, 4, pixels.shape), 0, 255).astype(np.uint8))


def write_pictures(
    folder: Path, condition: str, n: int = 24, size: int = 48, strength: float = 0.35, replace: bool = False
) -> PairSet:
    """``n`` pairs whose fakes are the real pictures with part of their colour; the same photos in every condition."""

    def pictures():
        for seed in range(n):
            real = colourful(seed, size)
            fake = Image.blend(real.convert("L").convert("RGB"), real, strength)
            yield Picture(sha256_hex(real.tobytes()), real, (fake,))

    about = About(
        condition,
        {"name": condition, "checkpoint_sha256": None, "config": {"strength": strength}},
        {"name": "spots", "licence": "CC0", "split": "held-out"},
    )
    return write_pairset(folder, pictures(), about, replace=replace)


def copy_pictures(folder: Path, condition: str, n: int = 24, size: int = 48, strength: float = 0.35) -> None:
    """The pair set that ``write_pictures`` makes, made once for all tests, in a new folder."""
    shutil.copytree(_made_once(condition, n, size, strength).name, folder)


@cache
def _made_once(condition: str, n: int, size: int, strength: float) -> TemporaryDirectory[str]:
    """A folder that is gone when Python ends."""
    folder = TemporaryDirectory()
    write_pictures(Path(folder.name), condition, n, size, strength, replace=True)
    return folder
