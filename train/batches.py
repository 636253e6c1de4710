"""Which photos a batch shows, as a function of the seed and the batch's number alone: nothing to store for a resume."""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from models.color import split_luminance

# Streams of random numbers that must not run together.
ORDER, FLIP = 0, 1


def batch_indices(n_photos: int, batch_size: int, seed: int, number: int) -> np.ndarray:
    """The photos (batch_size,) of batch ``number``: every photo once, in a new order, before any comes again."""
    positions = np.arange(number * batch_size, (number + 1) * batch_size)
    return np.array([_epoch_order(n_photos, seed, int(p) // n_photos)[p % n_photos] for p in positions])


@lru_cache(maxsize=4)
def _epoch_order(n_photos: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, ORDER, epoch)).permutation(n_photos)


def draw_batch(
    pixels: Tensor,
    batch_size: int,
    seed: int,
    number: int,
    flip: bool,
) -> tuple[Tensor, Tensor]:
    """Luminance (N, 1, H, W) and colour (N, 3, H, W), both in [-1, 1], from all pixels (n_photos, 3, H, W) uint8."""
    indices = torch.from_numpy(batch_indices(len(pixels), batch_size, seed, number)).to(pixels.device)
    batch = pixels[indices]  # (N, 3, H, W)
    if flip:
        mirrored = np.random.default_rng((seed, FLIP, number)).random(batch_size) < 0.5
        chosen = torch.from_numpy(mirrored).to(pixels.device).view(-1, 1, 1, 1)
        batch = torch.where(chosen, batch.flip(-1), batch)
    return network_input(batch)


def network_input(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Luminance (N, 1, H, W) and colour (N, 3, H, W), both in [-1, 1], of pixels (N, 3, H, W) uint8."""
    rgb = pixels.float() / 255
    luminance, _ = split_luminance(rgb)
    return (
        luminance.contiguous(memory_format=torch.channels_last),
        (rgb * 2 - 1).contiguous(memory_format=torch.channels_last),
    )
