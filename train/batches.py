"""Which photos a batch shows, and how they are cut: functions of the seed and the batch's number, so a resume stores nothing."""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.color import ColourSpace, to_network

# Streams of random numbers that must not run together.
ORDER, CHANCES = 0, 1


@dataclass(frozen=True)
class Batch:
    """Luminance (N, 1, H, W), colour (N, C, H, W), both in [-1, 1], and numbers (N,) in [0, 1) for a gradient penalty."""

    gray: Tensor
    colour: Tensor
    mix: Tensor


class Batches:
    """Batches of photos (n_photos, S, S, 3) uint8, cut, mirrored and converted on ``device``.

    ``part`` says which share of every batch is drawn here: (0, 1) is all of it, (1, 2) the second half. Photos that are
    not on the device are fetched one batch ahead by a thread. ``waited_s`` counts the seconds spent waiting for photos.
    """

    def __init__(
        self,
        photos: Tensor,
        device: torch.device,
        *,
        image_size: int,
        batch_size: int,
        space: ColourSpace,
        flip: bool,
        seed: int,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        self.photos, self.device, self.image_size, self.batch_size = photos, device, image_size, batch_size
        self.space, self.flip, self.seed = space, flip, seed
        share = batch_size // part[1]
        self._mine = slice(part[0] * share, (part[0] + 1) * share)
        self._fetcher = ThreadPoolExecutor(1) if photos.device.type != device.type else None
        self._ahead: tuple[int, Future[Tensor]] | None = None
        self.waited_s = 0.0

    def draw(self, number: int) -> Batch:
        began = time.perf_counter()
        photos = self._photos(number)
        self.waited_s += time.perf_counter() - began
        size, left, top, mirrored, mix = self._chances(number).unbind(dim=1)  # (N,) each
        pixels = photos.permute(0, 3, 1, 2).float() / 255  # (N, 3, S, S)
        pixels = cut(pixels, self.image_size, size, torch.stack((left, top), dim=1), mirrored < 0.5 * self.flip)
        gray, colour = to_network(pixels, self.space)
        return Batch(_channels_last(gray), _channels_last(colour), mix)

    def _photos(self, number: int) -> Tensor:
        if self._fetcher is None:
            return self._gather(number).to(self.device)
        if self._ahead is None or self._ahead[0] != number:
            self._ahead = (number, self._fetcher.submit(self._gather, number))
        photos = self._ahead[1].result()
        self._ahead = (number + 1, self._fetcher.submit(self._gather, number + 1))
        return photos.to(self.device, non_blocking=True)

    def _gather(self, number: int) -> Tensor:
        indices = batch_indices(len(self.photos), self.batch_size, self.seed, number)[self._mine]
        photos = self.photos[torch.from_numpy(indices).to(self.photos.device)]  # (N, S, S, 3)
        return photos.pin_memory() if self._fetcher is not None and self.device.type == "cuda" else photos

    def _chances(self, number: int) -> Tensor:
        """Numbers (N, 5) in [0, 1), drawn for the whole batch, so that its parts add up to it."""
        drawn = np.random.default_rng((self.seed, CHANCES, number)).random((self.batch_size, 5), np.float32)
        return torch.from_numpy(drawn[self._mine]).to(self.device, non_blocking=True)


def batch_indices(n_photos: int, batch_size: int, seed: int, number: int) -> np.ndarray:
    """The photos (batch_size,) of batch ``number``: every photo once, in a new order, before any comes again."""
    positions = np.arange(number * batch_size, (number + 1) * batch_size)
    return np.array([_epoch_order(n_photos, seed, int(p) // n_photos)[p % n_photos] for p in positions])


@lru_cache(maxsize=4)
def _epoch_order(n_photos: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, ORDER, epoch)).permutation(n_photos)


def cut(pixels: Tensor, image_size: int, size: Tensor, where: Tensor, mirrored: Tensor) -> Tensor:
    """A square of each picture (N, 3, S, S), scaled to ``image_size``, where S is at least that.

    ``size`` (N,) in [0, 1) sets the square's side, from ``image_size`` to S; ``where`` (N, 2) in [0, 1) its place, from
    the left and top to the right and bottom; ``mirrored`` (N,) whether left and right are swapped.
    """
    stored = pixels.shape[-1]
    if stored == image_size:
        return torch.where(mirrored.view(-1, 1, 1, 1), pixels.flip(-1), pixels)
    smallest = image_size / stored
    scale = smallest + (1 - smallest) * size  # (N,), of the picture's side
    centre = (2 * where - 1) * (1 - scale).unsqueeze(1)  # (N, 2), in [-1, 1]
    theta = torch.zeros(len(pixels), 2, 3, device=pixels.device)
    theta[:, 0, 0] = torch.where(mirrored, -scale, scale)
    theta[:, 1, 1] = scale
    theta[:, :, 2] = centre
    grid = F.affine_grid(theta, [len(pixels), 3, image_size, image_size], align_corners=False)
    return F.grid_sample(pixels, grid, padding_mode="border", align_corners=False)  # (N, 3, image_size, image_size)


def network_input(pixels: Tensor, space: ColourSpace) -> tuple[Tensor, Tensor]:
    """Luminance (N, 1, H, W) and colour (N, C, H, W), both in [-1, 1], of pixels (N, 3, H, W) uint8."""
    gray, colour = to_network(pixels.float() / 255, space)
    return _channels_last(gray), _channels_last(colour)


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)
