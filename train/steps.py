"""One update of critic and generator, CGAN or WGAN; and the state that such updates change."""

import copy
from dataclasses import dataclass, field

import torch
from torch import Tensor

from models.discriminator import Discriminator, score_both
from models.generator import Generator
from models.losses import OBJECTIVES, GradientRatio, clamp_weights
from train.batches import draw_batch
from train.config import TrainConfig


@dataclass
class TrainState:
    """All that changes from step to step. Random choices follow from the seed and the step, so none is kept here."""

    generator: Generator
    discriminator: Discriminator
    generator_optimizer: torch.optim.Optimizer
    discriminator_optimizer: torch.optim.Optimizer
    average: Generator | None  # running mean of the generator's weights
    ratio: GradientRatio = field(default_factory=GradientRatio)
    step: int = 0

    @property
    def result(self) -> Generator:
        """The generator to look at and to keep."""
        return self.generator if self.average is None else self.average


def start_state(config: TrainConfig, device: torch.device) -> TrainState:
    """Networks with the seed's weights, at step 0. Leaves the global random state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        generator = Generator(config.generator_depth, config.generator_width)
        discriminator = Discriminator(config.image_size, config.discriminator_width, config.discriminator_norm)
    for network in (generator, discriminator):
        network.to(device)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # faster; the stubs lack it
    return TrainState(
        generator=generator,
        discriminator=discriminator,
        generator_optimizer=torch.optim.Adam(
            generator.parameters(), lr=config.generator_lr, betas=(0.5, 0.999), fused=True
        ),
        discriminator_optimizer=_discriminator_optimizer(config, discriminator),
        average=copy.deepcopy(generator).requires_grad_(False) if config.average_decay else None,
    )


def _discriminator_optimizer(config: TrainConfig, discriminator: Discriminator) -> torch.optim.Optimizer:
    if config.objective == "wgan":
        # Momentum makes a clamped critic unstable (Arjovsky 2017, sec. 4).
        return torch.optim.RMSprop(discriminator.parameters(), lr=config.discriminator_lr)
    return torch.optim.Adam(discriminator.parameters(), lr=config.discriminator_lr, betas=(0.5, 0.999), fused=True)


def train_step(state: TrainState, config: TrainConfig, pixels: Tensor) -> dict[str, float]:
    """One step on photos (n_photos, 3, H, W) uint8; gives its losses by name."""
    state.generator.train()
    last = (state.step + 1) * config.critic_steps - 1
    for number in range(state.step * config.critic_steps, last):
        gray, real = draw_batch(pixels, config.batch_size, config.seed, number, config.flip)
        with torch.no_grad():
            fake = _colour(state.generator, config, gray)
        update_discriminator(state, config, gray, real, fake)

    # The last batch serves both, and its fakes are made once.
    gray, real = draw_batch(pixels, config.batch_size, config.seed, last, config.flip)
    fake = _colour(state.generator, config, gray)  # (N, 3, H, W)
    losses = update_discriminator(state, config, gray, real, fake.detach())
    losses |= update_generator(state, config, gray, real, fake)
    state.step += 1
    return losses


def update_discriminator(
    state: TrainState, config: TrainConfig, gray: Tensor, real: Tensor, fake: Tensor
) -> dict[str, float]:
    """Teach the critic to tell real from fake (N, 3, H, W), given gray (N, 1, H, W)."""
    with _autocast(config, gray):
        real_scores, fake_scores = score_both(state.discriminator, gray, real, fake)
    loss = OBJECTIVES[config.objective].critic_loss(real_scores, fake_scores)
    state.discriminator_optimizer.zero_grad(set_to_none=True)
    loss.backward()
    state.discriminator_optimizer.step()
    if config.objective == "wgan":
        clamp_weights(state.discriminator, config.clamp)
        # An estimate that stays below 0 says that the critic does not learn.
        return {"wasserstein_estimate": -loss.item()}
    return {"discriminator_loss": loss.item()}


def update_generator(
    state: TrainState, config: TrainConfig, gray: Tensor, real: Tensor, fake: Tensor
) -> dict[str, float]:
    """Bring fake (N, 3, H, W), as the generator made it, closer to real and to what the critic takes for real."""
    # Both gradients are taken at the picture, weighed there, and sent through the generator together.
    picture = fake.detach().requires_grad_()
    l1 = torch.nn.functional.l1_loss(picture, real)
    (l1_gradient,) = torch.autograd.grad(config.l1_weight * l1, picture)  # (N, 3, H, W)
    with _autocast(config, gray):
        if state.discriminator.norm == "none":
            scores = state.discriminator(gray, picture)  # (N,)
        else:
            _, scores = score_both(state.discriminator, gray, real, picture)  # (N,)
    adversarial = OBJECTIVES[config.objective].generator_loss(scores)
    (adversarial_gradient,) = torch.autograd.grad(adversarial, picture)  # (N, 3, H, W)

    state.ratio = state.ratio.updated(l1_gradient, adversarial_gradient)
    weight = config.adversarial_weight
    if weight is None:
        weight = state.ratio.weight(config.adversarial_share)
    state.generator_optimizer.zero_grad(set_to_none=True)
    fake.backward(l1_gradient + weight * adversarial_gradient)
    state.generator_optimizer.step()
    if state.average is not None:
        _follow(state.average, state.generator, config.average_decay, state.step)
    return {
        "l1": l1.item(),
        "adversarial": adversarial.item(),
        "adversarial_weight": weight,
        "gradient_ratio": state.ratio.weight(1.0),
    }


@torch.no_grad()
def _follow(average: Generator, generator: Generator, decay: float, step: int) -> None:
    decay = min(decay, (1 + step) / (10 + step))  # so that the first weights are soon forgotten
    for kept, new in zip(average.state_dict().values(), generator.state_dict().values(), strict=True):
        if kept.is_floating_point():  # weights, and the running statistics of batch norm
            kept.lerp_(new, 1 - decay)
        else:
            kept.copy_(new)


def _colour(generator: Generator, config: TrainConfig, gray: Tensor) -> Tensor:
    with _autocast(config, gray):
        fake = generator(gray)
    return fake.float()  # (N, 3, H, W)


def _autocast(config: TrainConfig, like: Tensor) -> torch.autocast:
    return torch.autocast(like.device.type, torch.bfloat16, enabled=config.precision == "bfloat16")
