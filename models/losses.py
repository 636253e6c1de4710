"""What generator and critic are each asked to lower, and how the adversarial term is weighed against L1."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Objective:
    """One game: both losses take scores (N,), higher for real, and give a scalar."""

    critic_loss: Callable[[Tensor, Tensor], Tensor]  # of real scores, of fake scores
    generator_loss: Callable[[Tensor], Tensor]  # of fake scores


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


OBJECTIVES = {
    "cgan": Objective(logistic_critic_loss, logistic_generator_loss),
    "wgan": Objective(wasserstein_critic_loss, wasserstein_generator_loss),
}


@torch.no_grad()
def clamp_weights(critic: nn.Module, bound: float) -> None:
    """Put every weight and bias of the critic's convolutions in [-bound, bound] (Arjovsky 2017); call it after each update.

    Batch norm's scales are left alone: clamped at 0.01 they shrink the critic's gradient by two orders of magnitude,
    and they cannot make it unbounded, since they follow a normalisation.
    """
    for module in critic.modules():
        if isinstance(module, nn.Conv2d):
            for parameter in module.parameters(recurse=False):
                parameter.clamp_(-bound, bound)


@dataclass(frozen=True)
class GradientRatio:
    """Running mean of how many times longer the L1 gradient is than the adversarial one, at the generator's output.

    The scale of a critic's gradient varies by 10^7 between objectives, norms and clamps, so no fixed weight suits all.
    The adaptive weight of Esser, Rombach & Ommer 2021 (eq. 7) is the idea. The mean is of logarithms: one moment in
    which the critic is flat must not outweigh all others.
    """

    log_mean: float = 0.0
    n_seen: int = 0
    window: int = 50  # steps that the mean looks back, about

    def updated(self, l1_gradient: Tensor, adversarial_gradient: Tensor) -> "GradientRatio":
        lengths = torch.stack((l1_gradient.norm(), adversarial_gradient.norm())).double().clamp(min=1e-30)
        log_ratio = float(lengths.log().diff().neg())
        n_seen = self.n_seen + 1
        log_mean = self.log_mean + (log_ratio - self.log_mean) / min(n_seen, self.window)
        return GradientRatio(log_mean, n_seen, self.window)

    def weight(self, share: float) -> float:
        """The factor that makes the adversarial gradient ``share`` times as long as the L1 gradient."""
        return share * math.exp(self.log_mean)
