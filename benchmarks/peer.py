"""The peer's side of the comparison: the plain loop and the networks of pytorch-CycleGAN-and-pix2pix, from their description."""

from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def peer_generator(depth: int, width: int) -> nn.Module:
    """unet_256 at depth 8 (Isola et al. 2017, sec. 6.1.1): norm, then activation before each layer; dropout in three."""
    channels = [width * min(2**i, 8) for i in range(depth)]
    block: nn.Module = nn.Identity()
    for i in reversed(range(1, depth)):
        outer, inner, is_deepest = channels[i - 1], channels[i], i == depth - 1
        layers = [nn.LeakyReLU(0.2, True), nn.Conv2d(outer, inner, 4, 2, 1, bias=False)]
        layers += [nn.ReLU(True)] if is_deepest else [nn.BatchNorm2d(inner), block, nn.ReLU(True)]
        layers += [nn.ConvTranspose2d(inner * (1 if is_deepest else 2), outer, 4, 2, 1, bias=False)]
        layers += [nn.BatchNorm2d(outer), *([nn.Dropout(0.5)] if 4 <= i < depth - 1 else [])]
        block = _Skip(*layers)
    last = (nn.ReLU(True), nn.ConvTranspose2d(2 * width, 3, 4, 2, 1), nn.Tanh())
    return nn.Sequential(nn.Conv2d(1, width, 4, 2, 1), block, *last)


class _Skip(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x, super().forward(x)), dim=1)


class PeerDiscriminator(nn.Module):
    """The 70x70 PatchGAN (Isola et al. 2017, sec. 6.1.2): a map of scores (N, 1, H', W')."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(4, width, 4, 2, 1), nn.LeakyReLU(0.2, True)]
        for before, stride in ((width, 2), (2 * width, 2), (4 * width, 1)):
            layers.append(nn.Conv2d(before, 2 * before, 4, stride, 1, bias=False))
            layers += [nn.BatchNorm2d(2 * before), nn.LeakyReLU(0.2, True)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(8 * width, 1, 4, 1, 1))

    def forward(self, gray: Tensor, colour: Tensor) -> Tensor:
        return cast(Tensor, self.layers(torch.cat((gray, colour), dim=1)))


def plain_loop(
    generator: nn.Module, discriminator: nn.Module, gray: Tensor, real: Tensor
) -> Callable[[], dict[str, Tensor]]:
    """The step of the peer's ``optimize_parameters`` on one batch, (N, 1, H, W) and (N, 3, H, W)."""
    generator_adam, discriminator_adam = (
        torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.5, 0.999)) for network in (generator, discriminator)
    )

    def score_loss(colour: Tensor, is_real: bool) -> Tensor:
        scores = discriminator(gray, colour)
        return F.binary_cross_entropy_with_logits(scores, torch.full_like(scores, float(is_real)))

    def step() -> dict[str, Tensor]:
        fake = generator(gray)
        discriminator.requires_grad_(True)
        discriminator_adam.zero_grad()
        fake_loss, real_loss = score_loss(fake.detach(), False), score_loss(real, True)
        (0.5 * (fake_loss + real_loss)).backward()
        discriminator_adam.step()

        discriminator.requires_grad_(False)
        generator_adam.zero_grad()
        adversarial, l1 = score_loss(fake, True), 100 * F.l1_loss(fake, real)
        (adversarial + l1).backward()
        generator_adam.step()
        losses = {"fake": fake_loss, "real": real_loss, "adversarial": adversarial, "l1": l1}
        return {name: loss.detach() for name, loss in losses.items()}

    return step
