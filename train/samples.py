"""What the generator makes of the same held-out photos as training goes on: a grid of pictures, and measures."""

import io
from pathlib import Path

import torch
from torch import Tensor

from models.color import ColourSpace, from_network
from models.generator import Generator, colour
from train.batches import network_input
from train.checkpoint import write_atomically
from train.metrics import held_out_measures
from train.vision import make_grid, save_image

GRID_ROWS = 8


def write_samples(path: Path, generator: Generator, pixels: Tensor, space: ColourSpace) -> dict[str, float]:
    """Write a PNG grid, a row a photo: grayscale, real, fake; and measure all photos (N, 3, H, W) uint8."""
    gray, _ = network_input(pixels, space)
    real = pixels.float() / 255
    fake = from_network(gray, colour(generator, gray), space)  # (N, 3, H, W)
    shown = from_network(gray, torch.zeros_like(real[:, :2]), "lab")  # (N, 3, H, W), gray but for rounding
    shown = shown.mean(dim=1, keepdim=True).expand_as(real)  # (N, 3, H, W), the luminance as gray
    columns = torch.stack((shown, real, fake), dim=1)[:GRID_ROWS]  # (rows, 3 columns, 3, H, W)
    grid = make_grid(columns.flatten(0, 1), nrow=3)
    png = io.BytesIO()
    save_image(grid, png, format="png")
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, png.getvalue())
    return held_out_measures(real * 2 - 1, fake * 2 - 1)
