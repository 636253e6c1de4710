"""The discriminator of a conditional GAN, and the critic of a Wasserstein GAN: luminance and colour in, a score out."""

from itertools import pairwise
from typing import Literal, cast

import torch
from torch import Tensor, nn

MOST_LAYERS = 7

Norm = Literal["none", "batch", "layer"]


class Discriminator(nn.Module):
    """4x4 convolutions of stride 2: seven where the picture is at least 128 pixels wide, fewer where it is smaller.

    The last layer is bare. Batch norm there, with real and fake in separate batches, removes the very difference that a
    Wasserstein loss measures; elsewhere it is a choice, for clamping drives its scales towards 0. Layer norm works on
    one picture at a time, as a penalty on each picture's gradient needs it (Gulrajani 2017, sec. 4).
    """

    def __init__(self, image_size: int, width: int = 64, norm: Norm = "none", colour_channels: int = 3) -> None:
        super().__init__()
        n_layers = layer_count(image_size)
        channels = [1 + colour_channels] + [width * min(2**i, 8) for i in range(n_layers - 1)]
        layers: list[nn.Module] = []
        for before, after in pairwise(channels):
            layers.append(nn.Conv2d(before, after, 4, stride=2, padding=1, bias=norm == "none"))
            if norm == "batch":
                layers.append(nn.BatchNorm2d(after))
            elif norm == "layer":
                layers.append(nn.GroupNorm(1, after))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
        layers.append(nn.Conv2d(channels[-1], 1, 4, stride=2, padding=1))
        self.layers = nn.Sequential(*layers)
        self.norm = norm

    def forward(self, gray: Tensor, colour: Tensor) -> Tensor:
        """Scores (N,), higher for real, of colour (N, C, H, W) given luminance (N, 1, H, W), both in [-1, 1]."""
        x = torch.cat((gray, colour), dim=1)  # (N, 1 + C, H, W)
        return cast(Tensor, self.layers(x).float().mean(dim=(1, 2, 3)))  # (N,)


def layer_count(image_size: int) -> int:
    """As many halvings as the picture allows, at most seven.

    Raises:
        ValueError: if ``image_size`` is below 4 pixels.
    """
    if image_size < 4:
        raise ValueError(f"image_size {image_size} is too small for a discriminator; it takes 4 pixels or more")
    return min(MOST_LAYERS, image_size.bit_length() - 1)


def score_both(critic: nn.Module, gray: Tensor, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Scores (N,) of real and of fake (N, C, H, W), taken from one batch.

    In two batches, batch norm would give each its own statistics and hide how they differ.
    """
    scores = critic(torch.cat((gray, gray)), torch.cat((real, fake)))  # (2 N,)
    real_scores, fake_scores = scores.chunk(2)  # (N,), (N,)
    return real_scores, fake_scores
