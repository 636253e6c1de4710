import dataclasses
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from photographs import SMALL
from pictures import colourful
from torch import nn

from models import losses
from models.color import merge_luminance
from models.discriminator import score_both
from train import steps
from train.batches import Batch, Batches
from train.parallel import Processes
from train.steps import open_batches, start_state, train_step

ALONE = Processes(torch.device("cpu"))
WGAN = dataclasses.replace(SMALL, objective="wgan", critic_steps=3, clamp=0.01)
WGAN_GP = dataclasses.replace(SMALL, objective="wgan-gp", discriminator_norm="layer", critic_steps=2)
LAB = dataclasses.replace(SMALL, colour_space="lab")
OBJECTIVES = pytest.mark.parametrize("config", [SMALL, WGAN, WGAN_GP], ids=["cgan", "wgan", "wgan-gp"])


def photographs(n: int = 6) -> torch.Tensor:
    """Photos (n, 16, 16, 3) uint8, each of two colours of its own."""
    colours = torch.randint(0, 256, (n, 2, 3), generator=torch.Generator().manual_seed(0))
    return colours.repeat_interleave(8, dim=1).unsqueeze(2).expand(-1, -1, 16, -1).to(torch.uint8)


def start(config, photos: torch.Tensor | None = None):
    """The state at step 0, and the batches of the photos."""
    return start_state(config, ALONE), open_batches(config, photographs() if photos is None else photos, ALONE)


def take_steps(config, n: int) -> list[dict[str, float]]:
    state, batches = start(config)
    return [{name: loss.item() for name, loss in train_step(state, config, batches).items()} for _ in range(n)]


@pytest.fixture
def updates(monkeypatch):
    """The updates made, in order: the critic's, each with the number of its batch, and the generator's."""
    made = []
    draw, critic, generator = Batches.draw, steps.update_discriminator, steps.update_generator

    def noted_draw(self, number):
        made.append(number)
        return draw(self, number)

    def noted_critic(*given):
        made[-1] = ("critic", made[-1])
        return critic(*given)

    monkeypatch.setattr(Batches, "draw", noted_draw)
    monkeypatch.setattr(steps, "update_discriminator", noted_critic)
    monkeypatch.setattr(steps, "update_generator", lambda *given: made.append("generator") or generator(*given))
    return made


def critics_of(*numbers: int) -> list[tuple[str, int]]:
    return [("critic", number) for number in numbers]


@pytest.mark.parametrize("config", [SMALL, WGAN, WGAN_GP, LAB], ids=["cgan", "wgan", "wgan-gp", "lab"])
def test_steps_lower_the_l1_loss(config):
    curve = [numbers["l1"] for numbers in take_steps(dataclasses.replace(config, generator_lr=5e-3), 40)]
    assert sum(curve[-5:]) < 0.6 * sum(curve[:5])


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (SMALL, {"discriminator_loss"}),
        (WGAN, {"wasserstein_estimate"}),
        (WGAN_GP, {"wasserstein_estimate", "gradient_penalty"}),
    ],
    ids=["cgan", "wgan", "wgan-gp"],
)
def test_losses_are_scalars_by_name_that_hold_no_graph(config, named):
    state, batches = start(config)
    numbers = train_step(state, config, batches)
    assert set(numbers) == named | {"l1", "adversarial", "adversarial_weight", "gradient_ratio"}
    assert all(loss.shape == () and not loss.requires_grad and loss.isfinite() for loss in numbers.values())


@OBJECTIVES
def test_discriminator_learns_to_tell_real_from_fake(config):
    config = dataclasses.replace(config, discriminator_lr=1e-3, batch_size=6)
    state, batches = start(config)
    batch = batches.draw(0)
    fake = batch.gray.expand_as(batch.colour)
    for _ in range(60):
        steps.update_discriminator(state, config, batch, fake)
    real_scores, fake_scores = score_both(state.discriminator, batch.gray, batch.colour, fake)
    assert real_scores.mean() > fake_scores.mean() + 1e-3


@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
def test_every_critic_update_ends_with_every_weight_in_bounds(monkeypatch, norm):
    config = dataclasses.replace(WGAN, discriminator_lr=0.1, discriminator_norm=norm)
    seen = []

    def weights(critic) -> list[torch.Tensor]:
        return [p for m in critic.modules() if isinstance(m, nn.Conv2d) for p in m.parameters()]

    def noted(critic, *given):
        seen.append(max(p.abs().max().item() for p in weights(critic)))
        return score_both(critic, *given)

    monkeypatch.setattr(steps, "score_both", noted)
    state, batches = start(config)
    for _ in range(3):
        train_step(state, config, batches)
    assert seen[0] > 0.01  # before the first update
    assert len(seen) >= 9
    assert max(seen[1:]) <= 0.01 + 1e-8
    assert all(p.abs().max() <= 0.01 for p in weights(state.discriminator))


def test_penalised_critic_is_not_clamped():
    config = dataclasses.replace(WGAN_GP, clamp=1e-4)
    state, batches = start(config)
    train_step(state, config, batches)
    assert all(m.weight.abs().max() > 0.01 for m in state.discriminator.modules() if isinstance(m, nn.Conv2d))


def test_penalty_is_weighed_as_stated_and_brings_the_slope_to_one():
    slopes = []
    for weight in (0.0, 10.0):
        config = dataclasses.replace(WGAN_GP, penalty_weight=weight, discriminator_lr=5e-3)
        state, batches = start(config)
        batch = batches.draw(0)
        fake = batch.gray.expand_as(batch.colour)
        for _ in range(60):
            numbers = steps.update_discriminator(state, config, batch, fake)
        slopes.append(numbers["gradient_penalty"].item())
    assert slopes[0] > 10
    assert slopes[1] < 0.2


@pytest.mark.parametrize(
    ("objective", "kind", "betas"),
    [
        ("cgan", torch.optim.Adam, (0.5, 0.999)),
        ("wgan", torch.optim.RMSprop, None),
        ("wgan-gp", torch.optim.Adam, (0.0, 0.9)),
    ],
)
def test_critic_has_the_optimizer_of_its_objective(objective, kind, betas):
    config = dataclasses.replace(SMALL, objective=objective, discriminator_lr=3e-4)
    state, _ = start(config)
    assert type(state.discriminator_optimizer) is kind
    (group,) = state.discriminator_optimizer.param_groups
    assert group.get("betas") == betas
    assert group["lr"] == 3e-4
    assert group["params"] == list(state.discriminator.parameters())
    (group,) = state.generator_optimizer.param_groups
    assert (group["betas"], group["lr"]) == ((0.5, 0.999), SMALL.generator_lr)


def test_critic_is_updated_as_often_as_stated_and_sees_a_new_batch_each_time(updates):
    take_steps(WGAN, 2)
    assert updates == [*critics_of(0, 1, 2), "generator", *critics_of(3, 4, 5), "generator"]


@pytest.mark.parametrize("critic_steps", [1, 2])
def test_warm_up_teaches_the_critic_alone_on_batches_of_its_own_once(updates, critic_steps):
    config = dataclasses.replace(SMALL, critic_warmup=3, critic_steps=critic_steps)
    take_steps(config, 3)
    n = 3 + critic_steps
    later = [[*critics_of(*range(k, k + critic_steps)), "generator"] for k in (n, n + critic_steps)]
    assert updates == [*critics_of(*range(n)), "generator", *later[0], *later[1]]


def test_resumed_run_draws_the_batches_that_a_whole_one_would(updates):
    config = dataclasses.replace(WGAN_GP, critic_warmup=3)
    take_steps(config, 3)
    whole = updates.copy()
    updates.clear()
    state, batches = start(config)
    state.step = 1  # as a checkpoint leaves it
    for _ in range(2):
        train_step(state, config, batches)
    first_step = [*critics_of(0, 1, 2, 3, 4), "generator"]
    assert first_step + updates == whole


def test_warm_up_leaves_the_generator_as_it_was(monkeypatch):
    config = dataclasses.replace(SMALL, critic_warmup=4)
    (state, batches), (untouched, _) = start(config), start(config)
    changed = {}
    update = steps.update_generator

    def noted(state, *given):
        for name in ("generator", "discriminator"):
            pairs = zip(getattr(state, name).parameters(), getattr(untouched, name).parameters(), strict=True)
            changed[name] = any(not torch.equal(one, other) for one, other in pairs)
        return update(state, *given)

    monkeypatch.setattr(steps, "update_generator", noted)
    train_step(state, config, batches)
    assert changed == {"generator": False, "discriminator": True}
    assert state.step == 1


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [1, 1, 1, 1]),
        ("linear", [1, 1, 1, 0.5]),
        ("cosine", [1, 1, 1, 0.5]),
    ],
)
def test_both_learning_rates_follow_the_schedule(schedule, expected):
    config = dataclasses.replace(
        SMALL, lr_schedule=schedule, lr_decay_from=0.5, generator_lr=1e-3, discriminator_lr=2e-4
    )
    state, batches = start(config)
    rates = []
    for _ in range(4):
        train_step(state, config, batches)
        optimizers = (state.generator_optimizer, state.discriminator_optimizer)
        rates.append([group["lr"] for optimizer in optimizers for group in optimizer.param_groups])
    assert [rate for rate, _ in rates] == pytest.approx([1e-3 * factor for factor in expected])
    assert [rate for _, rate in rates] == pytest.approx([2e-4 * factor for factor in expected])


@pytest.mark.parametrize("objective", ["cgan", "wgan", "wgan-gp"])
def test_adversarial_gradient_is_the_stated_share_of_the_l1_gradient(objective):
    config = dataclasses.replace(SMALL, objective=objective)
    state, batches = start(config)
    batch = batches.draw(0)

    def generator_gradient(share: float) -> torch.Tensor:
        fake = torch.zeros_like(batch.colour, requires_grad=True)
        state.ratio = losses.GradientRatio()
        steps.update_generator(state, dataclasses.replace(config, adversarial_share=share), batch, fake)
        return fake.grad

    l1 = generator_gradient(0.0)
    sent = generator_gradient(0.25) - l1
    assert sent.norm().item() == pytest.approx(0.25 * l1.norm().item(), rel=1e-3)


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("objective", ["cgan", "wgan"])
def test_logged_ratio_is_that_of_the_unweighed_gradients_lengths(objective, norm):
    config = dataclasses.replace(
        SMALL, objective=objective, discriminator_norm=norm, l1_weight=7.0, adversarial_share=0.1
    )
    state, batches = start(config)
    batch = batches.draw(0)
    fake = state.generator(batch.gray)

    picture = fake.detach().requires_grad_()
    if norm == "batch":
        _, scores = score_both(state.discriminator, batch.gray, batch.colour, picture)
    else:
        scores = state.discriminator(batch.gray, picture)
    adversarial = F.softplus(-scores).mean() if objective == "cgan" else -scores.mean()
    (gradient,) = torch.autograd.grad(adversarial, picture)
    l1_length = 1 / math.sqrt(picture.numel())  # the mean's derivative is +-1/n everywhere
    expected = gradient.norm().item() / l1_length

    numbers = steps.update_generator(state, config, batch, fake)
    assert numbers["gradient_ratio"].item() == pytest.approx(expected, rel=1e-3)
    assert numbers["adversarial"].item() == pytest.approx(adversarial.item(), rel=1e-4)
    assert numbers["adversarial_weight"].item() == pytest.approx(0.1 * 7 / expected, rel=1e-3)


def test_fixed_weight_takes_the_place_of_the_share():
    (numbers,) = take_steps(dataclasses.replace(SMALL, adversarial_weight=3.0), 1)
    assert numbers["adversarial_weight"] == 3.0
    assert numbers["gradient_ratio"] > 0


def test_weight_of_nought_trains_without_a_critic_on_a_batch_a_step(updates):
    config = dataclasses.replace(WGAN_GP, adversarial_weight=0.0, critic_warmup=3, generator_lr=5e-3)
    (state, batches), (untouched, _) = start(config), start(config)
    curve = [train_step(state, config, batches) for _ in range(40)]
    assert all(set(numbers) == {"l1"} for numbers in curve)
    assert updates == [each for number in range(40) for each in (number, "generator")]
    assert sum(numbers["l1"] for numbers in curve[-5:]) < 0.6 * sum(numbers["l1"] for numbers in curve[:5])
    pairs = zip(state.discriminator.parameters(), untouched.discriminator.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize("norm", ["none", "layer"])
def test_generator_update_leaves_the_critic_alone(norm):
    config = dataclasses.replace(SMALL, discriminator_norm=norm)
    state, batches = start(config)
    before = {name: t.clone() for name, t in state.discriminator.state_dict().items()}
    batch = batches.draw(0)
    steps.update_generator(state, config, batch, state.generator(batch.gray))
    assert all(torch.equal(t, before[name]) for name, t in state.discriminator.state_dict().items())
    assert all(p.grad is None for p in state.discriminator.parameters())


def test_critic_update_leaves_the_generator_alone():
    state, batches = start(WGAN_GP)
    batch = batches.draw(0)
    before = [p.clone() for p in state.generator.parameters()]
    steps.update_discriminator(state, WGAN_GP, batch, state.generator(batch.gray).detach())
    assert all(torch.equal(p, old) for p, old in zip(state.generator.parameters(), before, strict=True))
    assert all(p.grad is None for p in state.generator.parameters())


def test_same_seed_gives_the_same_weights_whatever_was_drawn_before():
    first, batches = start(SMALL)
    other, _ = start(dataclasses.replace(SMALL, seed=1))
    torch.rand(7)
    before = torch.random.get_rng_state()
    second, _ = start(SMALL)
    assert torch.equal(torch.random.get_rng_state(), before)
    for state in (first, second, other):
        for _ in range(3):
            train_step(state, SMALL, batches)
    weights = [torch.cat([p.flatten() for p in s.generator.parameters()]) for s in (first, second, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_average_follows_the_weights_from_behind():
    config = dataclasses.replace(SMALL, average_decay=0.5, generator_lr=1e-2)
    state, batches = start(config)
    begin = state.generator.last.weight.clone()
    for _ in range(3):
        train_step(state, config, batches)
    assert state.result is state.average
    kept, new = state.average.last.weight, state.generator.last.weight
    assert 0 < (kept - begin).norm() < (new - begin).norm()
    counted = {name: t for name, t in state.average.state_dict().items() if name.endswith("num_batches_tracked")}
    assert counted
    assert all(torch.equal(t, state.generator.state_dict()[name]) for name, t in counted.items())


@OBJECTIVES
def test_half_precision_gives_nearly_the_losses_of_single(config):
    half = take_steps(dataclasses.replace(config, precision="bfloat16"), 6)
    for numbers, expected in zip(half, take_steps(config, 6), strict=True):
        assert numbers["l1"] == pytest.approx(expected["l1"], rel=0.02)
        assert numbers["adversarial"] == pytest.approx(expected["adversarial"], rel=0.1, abs=0.02)
    assert half[-1]["adversarial"] != expected["adversarial"]


def test_half_precision_keeps_whole_weights():
    config = dataclasses.replace(WGAN_GP, precision="bfloat16")
    state, batches = start(config)
    train_step(state, config, batches)
    for network in (state.generator, state.discriminator):
        assert all(p.dtype == p.grad.dtype == torch.float32 for p in network.parameters() if p.grad is not None)


def test_compiled_networks_give_the_losses_of_plain_ones(monkeypatch):
    compiled, real_compile = [], torch.compile

    def traced(network):  # all of the way but the last part, minutes of C++
        compiled.append(network)
        return real_compile(network, backend="eager")

    monkeypatch.setattr(torch, "compile", traced)
    config = dataclasses.replace(WGAN_GP, critic_warmup=1)
    plain = take_steps(config, 3)
    assert compiled == []
    for numbers, expected in zip(take_steps(dataclasses.replace(config, compile=True), 3), plain, strict=True):
        assert numbers == pytest.approx(expected, rel=1e-4)
    assert [type(network).__name__ for network in compiled] == ["Generator", "Discriminator"]
    torch.compiler.reset()


SHIPPED = {
    "cgan": dataclasses.replace(SMALL, discriminator_norm="batch"),
    "wgan": dataclasses.replace(SMALL, objective="wgan", discriminator_norm="batch", clamp=0.01),
    "wgan-gp": dataclasses.replace(SMALL, objective="wgan-gp", discriminator_norm="layer"),
}


def desaturated(batch: Batch) -> torch.Tensor:
    """The batch's colours without any chroma, in [-1, 1]."""
    return merge_luminance(batch.gray, torch.zeros_like(batch.gray).expand(-1, 2, -1, -1)) * 2 - 1


@pytest.mark.parametrize("config", SHIPPED.values(), ids=SHIPPED)
def test_critic_of_each_objective_learns_and_has_a_gradient_to_follow(config):
    # A critic whose norm or clamp hides what it is to see passes every test of shapes: it must tell colour from gray,
    # and its slope at a fake must be neither 1e-3, as where norms are clamped, nor 1e3, as where nothing holds it.
    config = dataclasses.replace(config, image_size=32, discriminator_width=8, batch_size=8, discriminator_lr=2e-4)
    photos = torch.from_numpy(np.stack([np.asarray(colourful(seed, 32)) for seed in range(48)]))
    state, batches = start(config, photos)
    for number in range(100):
        batch = batches.draw(number)
        steps.update_discriminator(state, config, batch, desaturated(batch))

    new = torch.from_numpy(np.stack([np.asarray(colourful(seed, 32)) for seed in range(100, 124)]))
    batch = open_batches(dataclasses.replace(config, batch_size=24), new, ALONE).draw(0)
    fake = desaturated(batch).requires_grad_()
    real_scores, fake_scores = score_both(state.discriminator, batch.gray, batch.colour, fake)
    (slopes,) = torch.autograd.grad(fake_scores.sum(), fake)  # (24, 3, 32, 32)
    spread = ((real_scores.var() + fake_scores.var()) / 2).sqrt()
    assert real_scores.mean() - fake_scores.mean() > spread
    assert (real_scores > fake_scores).float().mean() > 0.9
    assert 1e-2 < slopes.flatten(1).norm(dim=1).mean() < 1e2
