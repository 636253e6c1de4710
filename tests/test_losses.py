import math

import pytest
import torch
from torch import nn

from models.discriminator import Discriminator
from models.losses import OBJECTIVES, GradientRatio, clamp_weights, gradient_penalty, share_at_clamp


def test_logistic_losses_of_an_undecided_critic_are_logarithms_of_two():
    undecided = torch.zeros(3)
    assert OBJECTIVES["cgan"].critic_loss(undecided, undecided).item() == pytest.approx(2 * math.log(2))
    assert OBJECTIVES["cgan"].generator_loss(undecided).item() == pytest.approx(math.log(2))


def test_logistic_losses_counted_by_hand():
    real, fake = torch.tensor([2.0, 0.0]), torch.tensor([-1.0, 1.0])
    softplus = [math.log(1 + math.exp(x)) for x in (-2.0, 0.0, -1.0, 1.0)]
    expected = (softplus[0] + softplus[1]) / 2 + (softplus[2] + softplus[3]) / 2
    assert OBJECTIVES["cgan"].critic_loss(real, fake).item() == pytest.approx(expected)
    assert OBJECTIVES["cgan"].generator_loss(fake).item() == pytest.approx((softplus[2] + softplus[3]) / 2)


def test_generator_of_a_certain_critic_still_gets_a_gradient():
    scores = torch.tensor([-20.0], requires_grad=True)
    OBJECTIVES["cgan"].generator_loss(scores).backward()
    assert scores.grad.item() == pytest.approx(-1, abs=1e-6)


@pytest.mark.parametrize("objective", ["wgan", "wgan-gp"])
def test_wasserstein_losses_are_means_without_a_logarithm(objective):
    real, fake = torch.tensor([5.0, 7.0]), torch.tensor([-1.0, 2.0])
    assert OBJECTIVES[objective].critic_loss(real, fake).item() == pytest.approx(0.5 - 6)
    assert OBJECTIVES[objective].generator_loss(fake).item() == pytest.approx(-0.5)


def test_only_wasserstein_critics_are_bounded_each_in_its_own_way():
    assert {name: o.bound for name, o in OBJECTIVES.items()} == {"cgan": "none", "wgan": "clamp", "wgan-gp": "penalty"}
    assert [name for name, o in OBJECTIVES.items() if o.is_wasserstein] == ["wgan", "wgan-gp"]


def test_clamp_bounds_every_convolution_and_leaves_norm_scales():
    critic = Discriminator(16, width=2, norm="batch")
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.fill_(1.0)
    clamp_weights(critic, 0.02)
    for name, module in critic.layers.named_children():
        bound = 1.0 if isinstance(module, nn.BatchNorm2d) else 0.02
        assert all((p == bound).all() for p in module.parameters()), name


def test_share_at_clamp_counts_weights_and_biases_of_convolutions_alone():
    critic = Discriminator(4, width=1, norm="batch")  # 4 * 16 weights, then 16 and a bias: 81
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.fill_(0.01)  # norms' scales too, which are not clamped
        first, last = (m for m in critic.modules() if isinstance(m, torch.nn.Conv2d))
        assert first.bias is None
        first.weight[:, :2] = -0.02  # at the bound, below
        first.weight[:, 2:] = 0.0199
        last.weight.zero_()
        last.bias.fill_(0.02)
    assert share_at_clamp(critic, 0.02) == pytest.approx(33 / 81)


class Sloped(nn.Module):
    """Scores that rise with every number of the colours alike, ``slope`` times."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(slope))

    def forward(self, gray, colour):
        return (self.slope * colour).flatten(1).sum(dim=1)


class Bowl(nn.Module):
    """Scores whose slope at a picture is the picture."""

    def forward(self, gray, colour):
        return colour.square().flatten(1).sum(dim=1) / 2


def four_numbers(*values: float) -> torch.Tensor:
    """A picture (1, 2, 2) for each value, all of it that value."""
    return torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)


@pytest.mark.parametrize(("slope", "expected"), [(1.5, 4.0), (0.5, 0.0), (-0.5, 0.0), (0.0, 1.0), (0.25, 0.25)])
def test_penalty_of_a_straight_critic_is_counted_by_hand(slope, expected):
    # Of four numbers, each weighed alike, the slope is twice as long as the weight.
    real, fake = four_numbers(3.0, -1.0), four_numbers(0.0, 2.0)
    penalty = gradient_penalty(Sloped(slope), real, real, fake, torch.tensor([0.2, 0.9]))
    assert penalty.item() == pytest.approx(expected, abs=1e-5)


def test_penalty_is_taken_between_real_and_fake_where_mix_says():
    real, fake = four_numbers(2.0, 2.0, 4.0), four_numbers(0.5, 0.5, 0.0)
    # Numbers 0.5, 2 and 1: slopes 1, 4 and 2 long.
    penalty = gradient_penalty(Bowl(), real, real, fake, torch.tensor([0.0, 1.0, 0.25]))
    assert penalty.item() == pytest.approx((0 + 9 + 1) / 3, abs=1e-5)


@pytest.mark.parametrize("slope", [0.0, 0.5, 2.0])
def test_penalty_pulls_the_slope_towards_one_and_is_calm_where_there_is_none(slope):
    critic, picture = Sloped(slope), four_numbers(1.0)
    gradient_penalty(critic, picture, picture, picture, torch.zeros(1)).backward()
    expected = 0.0 if slope == 0 else 2 * (2 * slope - 1) * 2  # of (2 w - 1)^2
    assert critic.slope.grad.item() == pytest.approx(expected, abs=1e-4)


def test_penalty_reaches_the_critic_and_not_the_generator():
    critic = Discriminator(8, width=2, norm="layer")
    gray, real, fake = torch.rand(3, 1, 8, 8), torch.rand(3, 3, 8, 8), torch.rand(3, 3, 8, 8, requires_grad=True)
    gradient_penalty(critic, gray, real, fake, torch.rand(3)).backward()
    assert all(p.grad.abs().sum() > 0 for m in critic.modules() if isinstance(m, nn.Conv2d) for p in [m.weight])
    assert fake.grad is None


def test_weight_makes_the_adversarial_gradient_the_stated_share_of_the_other():
    l1, adversarial = torch.tensor(6.0), torch.tensor(2e-6)
    weight = GradientRatio().updated(l1, adversarial).weight(0.25)
    assert (weight * adversarial).item() == pytest.approx(0.25 * 6, rel=1e-5)


def test_ratio_is_a_running_mean_that_one_flat_moment_does_not_upset():
    ratio, steady = GradientRatio(), torch.tensor(1.0)
    for _ in range(60):
        ratio = ratio.updated(steady * 2, steady)
    assert ratio.weight(1.0).item() == pytest.approx(2)
    ratio = ratio.updated(steady * 2, steady * 1e-9)
    assert 2 < ratio.weight(1.0).item() < 4
    for _ in range(400):
        ratio = ratio.updated(steady * 8, steady)
    assert ratio.weight(1.0).item() == pytest.approx(8, rel=0.01)


def test_first_ratios_count_alike():
    ratio = GradientRatio()
    for times in (1.0, 8.0, 27.0):
        ratio = ratio.updated(torch.tensor(times), torch.tensor(1.0))
    assert ratio.weight(1.0).item() == pytest.approx(6)  # the geometric mean
    assert ratio.n_seen == 3


def test_vanished_adversarial_gradient_gives_a_finite_weight():
    assert math.isfinite(GradientRatio().updated(torch.tensor(1.0), torch.tensor(0.0)).weight(0.5).item())
