"""What the generator makes of the same held-out photos as training goes on: a grid of pictures, and measures."""

import io
from pathlib import Path

import torch
from torch import Tensor

from models.generator import Generator, colour
from train.batches import network_input
from train.checkpoint import write_atomically
from train.metrics import held_out_measures
from train.vision import make_grid, save_image

GRID_ROWS = 8


def write_samples(path: Path, generator: Generator, pixels: Tensor) -> dict[str, float]:
    """Write a PNG grid, a row a photo: grayscale, real, fake; and measure all photos (N, 3, H, W) uint8."""
    gray, real = network_input(pixels)
    fake = colour(generator, gray)  # (N, 3, H, W)
    columns = torch.stack((gray.expand_as(real), real, fake), dim=1)[:GRID_ROWS]  # (rows, 3 columns, 3, H, W)
    grid = make_grid(columns.flatten(0, 1), nrow=3, normalize=True, value_range=(-1, 1))
    png = io.BytesIO()
    save_image(grid, png, format="png")
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, png.getvalue())
    return held_out_measures(real, fake)
