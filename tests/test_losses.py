import math

import pytest
import torch

from models.discriminator import Discriminator
from models.losses import OBJECTIVES, GradientRatio, clamp_weights


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


def test_wasserstein_losses_are_means_without_a_logarithm():
    real, fake = torch.tensor([5.0, 7.0]), torch.tensor([-1.0, 2.0])
    assert OBJECTIVES["wgan"].critic_loss(real, fake).item() == pytest.approx(0.5 - 6)
    assert OBJECTIVES["wgan"].generator_loss(fake).item() == pytest.approx(-0.5)


def test_clamp_bounds_every_convolution_and_leaves_norm_scales():
    critic = Discriminator(16, width=2, norm="batch")
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.fill_(1.0)
    clamp_weights(critic, 0.02)
    for name, module in critic.layers.named_children():
        bound = 1.0 if isinstance(module, torch.nn.BatchNorm2d) else 0.02
        assert all((p == bound).all() for p in module.parameters()), name


def test_weight_makes_the_adversarial_gradient_the_stated_share_of_the_other():
    l1, adversarial = torch.full((4,), 3.0), torch.full((4,), 1e-6)
    weight = GradientRatio().updated(l1, adversarial).weight(0.25)
    assert (weight * adversarial).norm() == pytest.approx(0.25 * l1.norm().item(), rel=1e-5)


def test_ratio_is_a_running_mean_that_one_flat_moment_does_not_upset():
    ratio = GradientRatio()
    steady = torch.ones(4)
    for _ in range(60):
        ratio = ratio.updated(steady * 2, steady)
    assert ratio.weight(1.0) == pytest.approx(2)
    ratio = ratio.updated(steady * 2, steady * 1e-9)
    assert 2 < ratio.weight(1.0) < 4
    for _ in range(400):
        ratio = ratio.updated(steady * 8, steady)
    assert ratio.weight(1.0) == pytest.approx(8, rel=0.01)


def test_vanished_adversarial_gradient_gives_a_finite_weight():
    assert math.isfinite(GradientRatio().updated(torch.ones(2), torch.zeros(2)).weight(0.5))
