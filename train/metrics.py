"""What is measured on held-out photos while a generator trains: none of it stands for what people see."""

import torch
from torch import Tensor


def colourfulness(rgb: Tensor) -> Tensor:
    """Colourfulness (N,) of sRGB pictures (N, 3, H, W) in [0, 1]: 0 is gray, 100 vivid (Hasler & Süsstrunk 2003, eq. 10)."""
    red, green, blue = (rgb * 255).flatten(2).unbind(dim=1)  # (N, H * W) each
    red_green, yellow_blue = red - green, (red + green) / 2 - blue
    deviation = torch.hypot(red_green.std(dim=1, correction=0), yellow_blue.std(dim=1, correction=0))
    mean = torch.hypot(red_green.mean(dim=1), yellow_blue.mean(dim=1))
    return deviation + 0.3 * mean  # (N,)


def held_out_measures(real: Tensor, fake: Tensor) -> dict[str, float]:
    """L1 and mean colourfulness of real and fake (N, 3, H, W) in [-1, 1]."""
    return {
        "held_out_l1": (real - fake).abs().mean().item(),
        "held_out_colourfulness": colourfulness((fake + 1) / 2).mean().item(),
        "real_colourfulness": colourfulness((real + 1) / 2).mean().item(),
    }
