"""Folders of small colourful photographs, and the smallest settings that train on them."""

from pathlib import Path

import torch
from pictures import colourful

from train.config import TrainConfig

torch.set_num_threads(1)  # pictures so small that threads would only wait for each other

SMALL = TrainConfig(
    image_size=16,
    generator_depth=2,
    generator_width=4,
    discriminator_width=4,
    discriminator_norm="none",
    held_out=0.4,
    batch_size=4,
    steps=4,
    log_every=1,
    sample_every=2,
    checkpoint_every=2,
    generator_lr=1e-3,
)


def write_photos(folder: Path, n: int = 16, size: int = 24, first: int = 0) -> Path:
    """``n`` photographs; with ``first`` others than another folder's."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(first, first + n):
        colourful(seed, size).save(folder / f"photo-{seed:03d}.png")
    return folder
