import dataclasses

import pytest
import torch
from photographs import SMALL

from models import losses
from train import steps
from train.steps import start_state, train_step

CPU = torch.device("cpu")
WGAN = dataclasses.replace(SMALL, objective="wgan", critic_steps=3, clamp=0.01)


def pixels(n: int = 6) -> torch.Tensor:
    """Photos (n, 3, 16, 16) uint8, each of two colours of its own."""
    colours = torch.randint(0, 256, (n, 3, 2), generator=torch.Generator().manual_seed(0))
    return colours.repeat_interleave(8, dim=2).unsqueeze(-1).expand(-1, -1, -1, 16).to(torch.uint8)


@pytest.mark.parametrize("config", [SMALL, WGAN])
def test_steps_lower_the_l1_loss(config):
    state = start_state(dataclasses.replace(config, generator_lr=5e-3), CPU)
    curve = [train_step(state, config, pixels())["l1"] for _ in range(40)]
    assert sum(curve[-5:]) < 0.6 * sum(curve[:5])


@pytest.mark.parametrize("config", [SMALL, WGAN])
def test_discriminator_learns_to_tell_real_from_fake(config):
    config = dataclasses.replace(config, discriminator_lr=1e-3, batch_size=6)
    state = start_state(config, CPU)
    gray, real = steps.draw_batch(pixels(), 6, 0, 0, False)
    fake = gray.expand_as(real)
    for _ in range(60):
        steps.update_discriminator(state, config, gray, real, fake)
    real_scores, fake_scores = state.discriminator(gray, real), state.discriminator(gray, fake)
    assert real_scores.mean() > fake_scores.mean()


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_every_critic_update_ends_with_every_weight_in_bounds(monkeypatch, norm):
    config = dataclasses.replace(WGAN, discriminator_lr=0.1, discriminator_norm=norm)
    seen = []

    def scores_after_updates(critic, *given):
        weights = [p for m in critic.modules() if isinstance(m, torch.nn.Conv2d) for p in m.parameters()]
        seen.append(max(p.abs().max().item() for p in weights))
        return score_both(critic, *given)

    score_both = steps.score_both
    monkeypatch.setattr(steps, "score_both", scores_after_updates)
    state = start_state(config, CPU)
    for _ in range(3):
        train_step(state, config, pixels())
    assert seen[0] > 0.01  # before the first update
    assert len(seen) >= 9
    assert max(seen[1:]) <= 0.01 + 1e-8
    bounded = [m for m in state.discriminator.modules() if isinstance(m, torch.nn.Conv2d)]
    assert all(p.abs().max() <= 0.01 for m in bounded for p in m.parameters())


def test_critic_is_updated_as_often_as_stated_and_sees_a_new_batch_each_time(monkeypatch):
    drawn = []
    draw_batch = steps.draw_batch

    def noted(pixels, batch_size, seed, number, flip):
        drawn.append(number)
        return draw_batch(pixels, batch_size, seed, number, flip)

    monkeypatch.setattr(steps, "draw_batch", noted)
    state = start_state(WGAN, CPU)
    train_step(state, WGAN, pixels())
    train_step(state, WGAN, pixels())
    assert drawn == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("objective", ["cgan", "wgan"])
def test_adversarial_gradient_is_the_stated_share_of_the_l1_gradient(objective):
    config = dataclasses.replace(SMALL, objective=objective, adversarial_share=0.25)
    state = start_state(config, CPU)
    sent = []

    def generator_gradient(share: float) -> torch.Tensor:
        gray, real = steps.draw_batch(pixels(), 4, 0, 0, False)
        fake = torch.zeros_like(real, requires_grad=True)
        state.ratio = losses.GradientRatio()
        steps.update_generator(state, dataclasses.replace(config, adversarial_share=share), gray, real, fake)
        return fake.grad

    l1 = generator_gradient(0.0)
    sent = generator_gradient(0.25) - l1
    assert sent.norm().item() == pytest.approx(0.25 * l1.norm().item(), rel=1e-3)


def test_fixed_weight_takes_the_place_of_the_share():
    config = dataclasses.replace(SMALL, adversarial_weight=3.0)
    numbers = train_step(start_state(config, CPU), config, pixels())
    assert numbers["adversarial_weight"] == 3.0
    assert numbers["gradient_ratio"] > 0


def test_generator_update_leaves_the_critic_alone():
    state = start_state(SMALL, CPU)
    before = {name: t.clone() for name, t in state.discriminator.state_dict().items()}
    gray, real = steps.draw_batch(pixels(), 4, 0, 0, False)
    steps.update_generator(state, SMALL, gray, real, state.generator(gray))
    assert all(torch.equal(t, before[name]) for name, t in state.discriminator.state_dict().items())
    assert all(p.grad is None for p in state.discriminator.parameters())


def test_same_seed_gives_the_same_weights_whatever_was_drawn_before():
    first, second, other = start_state(SMALL, CPU), None, start_state(dataclasses.replace(SMALL, seed=1), CPU)
    torch.rand(7)
    before = torch.random.get_rng_state()
    second = start_state(SMALL, CPU)
    assert torch.equal(torch.random.get_rng_state(), before)
    for state in (first, second, other):
        for _ in range(3):
            train_step(state, SMALL, pixels())
    weights = [torch.cat([p.flatten() for p in s.generator.parameters()]) for s in (first, second, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_average_follows_the_weights_from_behind():
    config = dataclasses.replace(SMALL, average_decay=0.5, generator_lr=1e-2)
    state = start_state(config, CPU)
    start = state.generator.last.weight.clone()
    for _ in range(3):
        train_step(state, config, pixels())
    assert state.result is state.average
    kept, new = state.average.last.weight, state.generator.last.weight
    assert 0 < (kept - start).norm() < (new - start).norm()


def test_half_precision_trains_too():
    config = dataclasses.replace(SMALL, precision="bfloat16")
    state = start_state(config, CPU)
    curve = [train_step(state, config, pixels())["l1"] for _ in range(20)]
    assert curve[-1] < curve[0]
    assert all(p.dtype == torch.float32 for p in state.generator.parameters())
