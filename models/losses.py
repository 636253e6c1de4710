"""What generator and critic are each asked to lower, and how the adversarial term is weighed against L1."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.discriminator import Discriminator


@dataclass(frozen=True)
class Objective:
    """One game: both losses take scores (N,), higher for real, and give a scalar."""

    critic_loss: Callable[[Tensor, Tensor], Tensor]  # of real scores, of fake scores
    generator_loss: Callable[[Tensor], Tensor]  # of fake scores
    optimizer: Literal["adam", "rmsprop"]  # of the critic
    bound: Literal["none", "clamp", "penalty"] = "none"  # what keeps the critic's slope from growing without end

    @property
    def is_wasserstein(self) -> bool:
        return self.bound != "none"


def logistic_critic_loss(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """Cross-entropy with logits, real against fake (Goodfellow 2014, eq. 1)."""
    real = F.binary_cross_entropy_with_logits(real_scores, torch.ones_like(real_scores))
    fake = F.binary_cross_entropy_with_logits(fake_scores, torch.zeros_like(fake_scores))
    return real + fake


def logistic_generator_loss(fake_scores: Tensor) -> Tensor:
    """-log D(fake): the form whose gradient does not vanish while the fakes are still bad (Goodfellow 2014, sec. 3)."""
    return F.binary_cross_entropy_with_logits(fake_scores, torch.ones_like(fake_scores))


def wasserstein_critic_loss(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """mean D(fake) - mean D(real), no logarithm; its negative estimates the distance (Arjovsky 2017, algorithm 1)."""
    return fake_scores.mean() - real_scores.mean()


def wasserstein_generator_loss(fake_scores: Tensor) -> Tensor:
    """-mean D(fake)."""
    return -fake_scores.mean()


# Momentum makes a clamped critic unstable (Arjovsky 2017, sec. 4); a penalised one takes Adam (Gulrajani 2017, sec. 4).
OBJECTIVES = {
    "cgan": Objective(logistic_critic_loss, logistic_generator_loss, "adam"),
    "wgan": Objective(wasserstein_critic_loss, wasserstein_generator_loss, "rmsprop", "clamp"),
    "wgan-gp": Objective(wasserstein_critic_loss, wasserstein_generator_loss, "adam", "penalty"),
}


@torch.no_grad()
def clamp_weights(critic: nn.Module, bound: float) -> None:
    """Put every weight and bias of the critic's convolutions in [-bound, bound] (Arjovsky 2017); call it after each update.

    Norms' scales are left alone: clamped at 0.01 they shrink the critic's gradient by two orders of magnitude,
    and they cannot make it unbounded, since they follow a normalisation.
    """
    for parameter in _clamped(critic):
        parameter.clamp_(-bound, bound)


@torch.no_grad()
def share_at_clamp(critic: nn.Module, bound: float) -> float:
    """Fraction of the clamped weights that lie at the bound: near 1, the critic is two values and a sign."""
    at_bound = [(parameter.abs() >= bound * (1 - 1e-6)).flatten() for parameter in _clamped(critic)]
    return torch.cat(at_bound).float().mean().item()


def _clamped(critic: nn.Module) -> list[nn.Parameter]:
    convolutions = (module for module in critic.modules() if isinstance(module, nn.Conv2d))
    return [parameter for convolution in convolutions for parameter in convolution.parameters(recurse=False)]


def gradient_penalty(critic: Discriminator, gray: Tensor, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """Mean of (||slope|| - 1)^2 at pictures between real and fake (N, C, H, W) (Gulrajani 2017, eq. 3).

    ``mix`` (N,) in [0, 1] says how far from fake to real each lies. The slope is that of the picture's own score: a
    critic with batch norm, whose scores hang together, has none.
    """
    mix = mix.view(-1, 1, 1, 1)
    between = (mix * real + (1 - mix) * fake).detach().requires_grad_()
    (slope,) = torch.autograd.grad(critic(gray, between).sum(), between, create_graph=True)  # (N, C, H, W)
    # Not .norm(): its derivative at 0 is no number.
    return ((slope.square().flatten(1).sum(dim=1) + 1e-12).sqrt() - 1).square().mean()


@dataclass(frozen=True)
class GradientRatio:
    """Running mean of how many times longer the L1 gradient is than the adversarial one, at the generator's output.

    The scale of a critic's gradient varies by 10^7 between objectives, norms and clamps, so no fixed weight suits all.
    The adaptive weight of Esser, Rombach & Ommer 2021 (eq. 7) is the idea. The mean is of logarithms: one moment in
    which the critic is flat must not outweigh all others.
    """

    log_mean: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float64))
    n_seen: int = 0
    window: int = 50  # steps that the mean looks back, about

    def updated(self, l1_length: Tensor, adversarial_length: Tensor) -> "GradientRatio":
        """The mean with one more pair of lengths (scalars); stays on their device, so that nothing waits for it."""
        logs = torch.stack((l1_length, adversarial_length)).double().clamp(min=1e-30).log()
        log_ratio = logs[0] - logs[1]
        n_seen = self.n_seen + 1
        before = self.log_mean.to(log_ratio.device)
        return GradientRatio(before + (log_ratio - before) / min(n_seen, self.window), n_seen, self.window)

    def weight(self, share: float) -> Tensor:
        """The factor (scalar) that makes the adversarial gradient ``share`` times as long as the L1 gradient."""
        return share * self.log_mean.exp()
