"""The generator: a luminance picture in, its colours at the same size out (U-Net, Ronneberger 2015).

At depth 7 and width 64 these are the sixteen layers of ImagingLab/Colorizing-with-GANs (Nazeri, Ng & Ebrahimi 2018):
eight 4x4 convolutions down to 512 channels, seven 4x4 transposed convolutions back, one 1x1 convolution to colour.
"""

from typing import cast

import torch
from torch import Tensor, nn


class Generator(nn.Module):
    """``depth`` halvings of the picture, ``width`` channels at full size; 2 * depth + 2 layers.

    ``colour_channels`` is 3 for RGB and 2 for the ab of Lab (``models.color.CHANNELS``).
    """

    def __init__(self, depth: int = 7, width: int = 64, colour_channels: int = 3) -> None:
        super().__init__()
        if depth < 1 or width < 1:
            raise ValueError(f"a generator of depth {depth} and width {width} cannot be; both must be at least 1")
        # Channels at full size, then after each halving: 64 | 64, 128, 256, 512, 512, 512, 512.
        channels = [width] + [width * min(2**i, 8) for i in range(depth)]
        self.first = _layer(nn.Conv2d(1, width, 4, bias=False))
        self.encoder = nn.ModuleList(
            _layer(nn.Conv2d(channels[i], channels[i + 1], 4, stride=2, padding=1, bias=False)) for i in range(depth)
        )
        # Each decoder layer gives as many channels as the encoder had at that size; but for the deepest,
        # it takes twice as many: its own path and the skip.
        self.decoder = nn.ModuleList(
            _layer(
                nn.ConvTranspose2d(
                    channels[i + 1] * (1 if i == depth - 1 else 2), channels[i], 4, stride=2, padding=1, bias=False
                )
            )
            for i in reversed(range(depth))
        )
        self.last = nn.Conv2d(2 * width, colour_channels, 1)

    def forward(self, gray: Tensor) -> Tensor:
        """Colour (N, C, H, W) in [-1, 1] from luminance (N, 1, H, W) in [-1, 1]; H and W multiples of 2**depth."""
        # A 4x4 kernel at stride 1 has no middle: one row more below and to the right keeps the size.
        x = self.first(nn.functional.pad(gray, (1, 2, 1, 2)))  # (N, width, H, W)
        skips = []
        for layer in self.encoder:
            skips.append(x)
            x = layer(x)  # (N, channels, H / 2, W / 2), again and again
        for layer, skip in zip(self.decoder, reversed(skips), strict=True):
            x = torch.cat((layer(x), skip), dim=1)  # (N, 2 * channels, 2 * H, 2 * W)
        return torch.tanh(self.last(x))  # (N, C, H, W)


@torch.no_grad()
def colour(generator: Generator, gray: Tensor) -> Tensor:
    """Colour (N, C, H, W) in [-1, 1] for luminance (N, 1, H, W), with the statistics that training gathered."""
    was_training = generator.training
    generator.eval()
    colours = torch.cat([generator(few) for few in gray.split(8)])  # a few at a time, for the memory
    generator.train(was_training)
    return colours


def _layer(convolution: nn.Module) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(cast(int, convolution.out_channels)), nn.ReLU(inplace=True))


def check_size(image_size: int, depth: int) -> None:
    """Refuse a picture that a generator of this depth cannot halve that often.

    Raises:
        ValueError: if ``image_size`` is not a positive multiple of ``2**depth``.
    """
    unit = 2**depth
    if image_size < 1 or image_size % unit:
        nearest = max(unit, round(image_size / unit) * unit)
        raise ValueError(
            f"image_size {image_size} does not fit a generator of depth {depth}: it must be a multiple of {unit}; "
            f"take {nearest}, or a smaller depth"
        )


def bottleneck_size(image_size: int, depth: int) -> int:
    """Side of the smallest map, in pixels; at 1, batch norm needs more than one picture in a training batch."""
    return image_size // 2**depth
