"""One update of critic and generator under any objective; and the state that such updates change."""

import copy
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from models.color import CHANNELS
from models.discriminator import Discriminator, Norm, score_both
from models.generator import Generator
from models.losses import OBJECTIVES, GradientRatio, clamp_weights, gradient_penalty
from train.batches import Batch, Batches
from train.config import TrainConfig
from train.parallel import Processes


@dataclass
class TrainState:
    """All that changes from step to step. Random choices follow from the seed and the step, so none is kept here."""

    generator: Generator
    discriminator: Discriminator
    generator_optimizer: torch.optim.Optimizer
    discriminator_optimizer: torch.optim.Optimizer
    average: Generator | None  # running mean of the generator's weights
    processes: Processes
    run_generator: nn.Module  # the same networks as they are run: compiled, shared by processes, or neither
    run_discriminator: nn.Module
    ratio: GradientRatio = field(default_factory=GradientRatio)
    step: int = 0
    started_from: str | None = None  # sha256 of the generator whose weights came first
    trained_before: frozenset[str] = frozenset()  # hashes of the photos that it had been trained on

    @property
    def result(self) -> Generator:
        """The generator to look at and to keep."""
        return self.generator if self.average is None else self.average


def start_state(config: TrainConfig, processes: Processes) -> TrainState:
    """Networks with the seed's weights, at step 0, the same in all processes. Leaves the global random state as it was."""
    channels = CHANNELS[config.colour_space]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        generator = Generator(config.generator_depth, config.generator_width, channels)
        discriminator = Discriminator(
            config.image_size, config.discriminator_width, cast(Norm, config.discriminator_norm), channels
        )
    for network in (generator, discriminator):
        network.to(processes.device)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # faster; the stubs lack it
    average = copy.deepcopy(generator).requires_grad_(False) if config.average_decay else None
    return TrainState(
        generator=generator,
        discriminator=discriminator,
        generator_optimizer=torch.optim.Adam(
            generator.parameters(), lr=config.generator_lr, betas=(0.5, 0.999), fused=True
        ),
        discriminator_optimizer=_discriminator_optimizer(config, discriminator),
        average=average,
        processes=processes,
        run_generator=_runnable(generator, config, processes),
        run_discriminator=_runnable(discriminator, config, processes),
    )


def _runnable(network: nn.Module, config: TrainConfig, processes: Processes) -> nn.Module:
    shared = processes.share(network)
    return cast(nn.Module, torch.compile(shared)) if config.compile else shared


def open_batches(config: TrainConfig, photos: Tensor, processes: Processes) -> Batches:
    """This process's share of the batches of photos (n_photos, S, S, 3) uint8."""
    return Batches(
        photos,
        processes.device,
        image_size=config.image_size,
        batch_size=config.batch_size,
        space=config.colour_space,
        flip=config.flip,
        seed=config.seed,
        part=(processes.rank, processes.n),
    )


def _discriminator_optimizer(config: TrainConfig, discriminator: Discriminator) -> torch.optim.Optimizer:
    objective = OBJECTIVES[config.objective]
    if objective.optimizer == "rmsprop":
        return torch.optim.RMSprop(discriminator.parameters(), lr=config.discriminator_lr)
    betas = (0.0, 0.9) if objective.bound == "penalty" else (0.5, 0.999)  # Gulrajani 2017, algorithm 1; Radford 2016
    return torch.optim.Adam(discriminator.parameters(), lr=config.discriminator_lr, betas=betas, fused=True)


def train_step(state: TrainState, config: TrainConfig, batches: Batches) -> dict[str, Tensor]:
    """One step; gives its losses by name, scalars on the device, so that nothing waits for them."""
    state.generator.train()
    _set_learning_rates(state, config)
    if not config.has_critic:
        batch = batches.draw(state.step)
        losses = update_generator(state, config, batch, _colour(state.run_generator, config, batch.gray))
        state.step += 1
        return losses
    last = config.critic_warmup + (state.step + 1) * config.critic_steps - 1
    first = 0 if state.step == 0 else last - config.critic_steps + 1
    for number in range(first, last):
        batch = batches.draw(number)
        with torch.no_grad():
            fake = _colour(state.run_generator, config, batch.gray)
        update_discriminator(state, config, batch, fake)

    # The last batch serves both, and its fakes are made once.
    batch = batches.draw(last)
    fake = _colour(state.run_generator, config, batch.gray)  # (N, C, H, W)
    losses = update_discriminator(state, config, batch, fake.detach())
    losses |= update_generator(state, config, batch, fake)
    state.step += 1
    return losses


def _set_learning_rates(state: TrainState, config: TrainConfig) -> None:
    factor = config.learning_rate_at(state.step)
    rates = ((state.generator_optimizer, config.generator_lr), (state.discriminator_optimizer, config.discriminator_lr))
    for optimizer, rate in rates:
        for group in optimizer.param_groups:
            group["lr"] = rate * factor


def update_discriminator(state: TrainState, config: TrainConfig, batch: Batch, fake: Tensor) -> dict[str, Tensor]:
    """Teach the critic to tell the batch's colours from fake (N, C, H, W)."""
    objective = OBJECTIVES[config.objective]
    with _autocast(config, fake):
        real_scores, fake_scores = score_both(state.run_discriminator, batch.gray, batch.colour, fake)
    loss = objective.critic_loss(real_scores, fake_scores)
    # An estimate that stays below 0 says that the critic does not learn.
    losses = {"wasserstein_estimate" if objective.is_wasserstein else "discriminator_loss": loss.detach()}
    if objective.is_wasserstein:
        losses["wasserstein_estimate"] = -losses["wasserstein_estimate"]
    if objective.bound == "penalty":
        with _autocast(config, fake):
            penalty = gradient_penalty(state.discriminator, batch.gray, batch.colour, fake, batch.mix)
        losses["gradient_penalty"] = penalty.detach()
        loss = loss + config.penalty_weight * penalty
    state.discriminator_optimizer.zero_grad(set_to_none=True)
    loss.backward()
    state.discriminator_optimizer.step()
    if objective.bound == "clamp":
        clamp_weights(state.discriminator, config.clamp)
    return losses


def update_generator(state: TrainState, config: TrainConfig, batch: Batch, fake: Tensor) -> dict[str, Tensor]:
    """Bring fake (N, C, H, W), as the generator made it, closer to real and to what the critic takes for real."""
    # Both gradients are taken at the picture, weighed there, and sent through the generator together.
    picture = fake.detach().requires_grad_()
    l1 = torch.nn.functional.l1_loss(picture, batch.colour)
    (l1_gradient,) = torch.autograd.grad(config.l1_weight * l1, picture)  # (N, C, H, W)
    if not config.has_critic:
        return _send(state, config, fake, l1_gradient, {"l1": l1.detach()})
    # Its own weights get no gradient here, so there is none for processes to share.
    critic = state.run_discriminator if state.processes.n == 1 else state.discriminator
    with _autocast(config, fake):
        if state.discriminator.norm == "batch":
            _, scores = score_both(critic, batch.gray, batch.colour, picture)  # (N,)
        else:
            scores = critic(batch.gray, picture)  # (N,)
    adversarial = OBJECTIVES[config.objective].generator_loss(scores)
    (adversarial_gradient,) = torch.autograd.grad(adversarial, picture)  # (N, C, H, W)

    squares = torch.stack((l1_gradient.square().sum(), adversarial_gradient.square().sum()))
    l1_length, adversarial_length = state.processes.sum(squares).sqrt()
    state.ratio = state.ratio.updated(l1_length, adversarial_length)
    if config.adversarial_weight is None:
        weight = state.ratio.weight(config.adversarial_share)
    else:
        weight = torch.tensor(config.adversarial_weight, device=fake.device)
    losses = {
        "l1": l1.detach(),
        "adversarial": adversarial.detach(),
        "adversarial_weight": weight,
        # The unweighed gradients' lengths: what a fixed weight would have to make up for.
        "gradient_ratio": config.l1_weight * adversarial_length / l1_length.clamp(min=1e-30),
    }
    return _send(state, config, fake, l1_gradient + weight.float() * adversarial_gradient, losses)


def _send(
    state: TrainState, config: TrainConfig, fake: Tensor, gradient: Tensor, losses: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Send the gradient at fake (N, C, H, W) through the generator."""
    state.generator_optimizer.zero_grad(set_to_none=True)
    fake.backward(gradient)
    state.generator_optimizer.step()
    if state.average is not None:
        _follow(state.average, state.generator, config.average_decay, state.step)
    return losses


@torch.no_grad()
def _follow(average: Generator, generator: Generator, decay: float, step: int) -> None:
    decay = min(decay, (1 + step) / (10 + step))  # so that the first weights are soon forgotten
    kept, new = average.state_dict(), generator.state_dict()
    weights = [
        name for name, tensor in kept.items() if tensor.is_floating_point()
    ]  # batch norm's statistics among them
    torch._foreach_lerp_([kept[name] for name in weights], [new[name] for name in weights], 1 - decay)
    for name in kept.keys() - set(weights):
        kept[name].copy_(new[name])


def _colour(generator: nn.Module, config: TrainConfig, gray: Tensor) -> Tensor:
    with _autocast(config, gray):
        fake = cast(Tensor, generator(gray))
    return fake.float()  # (N, C, H, W)


def _autocast(config: TrainConfig, like: Tensor) -> torch.autocast:
    return torch.autocast(like.device.type, torch.bfloat16, enabled=config.precision == "bfloat16")
