"""The machine observer: real and fake pictures in; how often a small network, that never saw the pair, picks the real one.

A classifier two-sample test (Lopez-Paz & Oquab 2017) put as the question that people are asked: of two pictures of one
photo, which is real? 0.5 is an observer that cannot tell, 1 one that always can. It needs no people and no downloaded
weights, and stands for no person: it looks at pictures of 64 pixels,
and what it sees need not be what people see.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor

import torch
import torch.nn.functional as F
from scipy.stats import binomtest
from torch import Tensor, nn

from models.color import split_luminance
from pairs.progress import Progress
from protocol import InputError

VIEW = 64  # pixels: longer shorter sides are averaged down to it, and what is left is colour more than detail
CROP = 7 / 8  # of each side, while training
AB_GAIN = 3.0  # photographs seldom use more than a third of ab's range
MIN_PAIRS = 10
N_FOLDS = 5
STEPS = 160
PAIRS_A_STEP = 16
PEAK_RATE = 4e-3
CHUNK = 64  # pictures at a time where no gradient is kept


class ObserverError(InputError):
    """Pictures that the machine observer cannot be shown."""


@dataclass(frozen=True)
class Observation:
    """How often the real picture of an unseen pair was picked, with a 95 % interval; fractions.

    ``correct`` has a value per pair: 1, 0, or 0.5 where both looked equally real.
    """

    n_pairs: int
    accuracy: float
    low: float
    high: float
    correct: tuple[float, ...]


def observe(
    real: Tensor,
    fake: Tensor,
    *,
    seed: int = 0,
    n_folds: int = N_FOLDS,
    steps: int = STEPS,
    progress: Progress = iter,
) -> Observation:
    """Show every pair to an observer trained on the other folds; real and fake are sRGB (N, 3, H, W) in [0, 1].

    A fold takes whole pairs. The same seed gives the same answer on a CPU, and torch's own random state stays as it was.

    Raises:
        ObserverError: if real and fake differ in shape, or there are fewer than 10 pairs.
    """
    _check(real, fake)
    real_views, fake_views = _views(real), _views(fake)
    random = torch.Generator().manual_seed(seed)
    folds = draw_folds(len(real), n_folds, random)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        observers = [_Trainee(real.device, steps) for _ in folds]
    others = [torch.cat([*folds[:i], *folds[i + 1 :]]) for i in range(len(folds))]
    # All folds learn side by side, so that a progress bar has as many steps as a fold.
    for _ in progress(range(steps)):
        for observer, pairs in zip(observers, others, strict=True):
            chosen = pairs[torch.randint(len(pairs), (PAIRS_A_STEP,), generator=random)]
            both = torch.stack((real_views[chosen], fake_views[chosen]))  # (2, pairs, 3, h, w)
            observer.learn(_augment(both, random))
    correct = torch.empty(len(real))
    for observer, pairs in zip(observers, folds, strict=True):
        gap = observer.realism(real_views[pairs]) - observer.realism(fake_views[pairs])  # (pairs,)
        correct[pairs] = (torch.sign(gap) / 2 + 0.5).cpu()
    return observation(correct.tolist())


def observation(correct: Sequence[float]) -> Observation:
    """The share of correct picks, ties counting half, with Wilson's 95 % interval over pairs (Wilson 1927).

    The interval takes pairs as independent, though each observer judges many: read it as the least doubt there is.

    Raises:
        ObserverError: if there is no pair.
    """
    n = len(correct)
    if not n:
        raise ObserverError("there is no pair to observe; give at least one")
    k = sum(correct)
    # Half a correct answer widens the interval to both its whole neighbours.
    low = binomtest(floor(k), n).proportion_ci(method="wilson").low
    high = binomtest(ceil(k), n).proportion_ci(method="wilson").high
    return Observation(n, k / n, float(low), float(high), tuple(correct))


def draw_folds(n_pairs: int, n_folds: int, random: torch.Generator) -> list[Tensor]:
    """Every pair's index in one of ``n_folds`` folds, whose sizes differ by at most one."""
    return list(torch.randperm(n_pairs, generator=random).tensor_split(n_folds))


class _Trainee:
    """An observer and what it needs to learn."""

    def __init__(self, device: torch.device, steps: int) -> None:
        self.network = observer_network().to(device)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=PEAK_RATE, weight_decay=0.05, fused=True)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, PEAK_RATE, total_steps=steps)

    @torch.enable_grad()
    def learn(self, both: Tensor) -> None:
        """One step on pairs (2, N, 3, h, w), real first: the real one should get the higher logit."""
        # Real and fake in one batch: normalised apart they would lose the very difference between them.
        real, fake = self.network(both.flatten(0, 1)).view(2, -1)  # (N,) each
        loss = F.softplus(fake - real).mean()  # the likelihood of a pair's right answer (Bradley & Terry 1952)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()

    @torch.no_grad()
    def realism(self, views: Tensor) -> Tensor:
        """The logit (N,) of each whole view, a mean over the view and its mirror image."""
        self.network.eval()
        return torch.cat([self.network(part) + self.network(part.flip(-1)) for part in views.split(CHUNK)]).view(-1) / 2


def observer_network() -> nn.Module:
    """Luminance and ab (N, 3, h, w) to the logit of "real" (N, 1); 47 thousand parameters, any size."""
    layers: list[nn.Module] = []
    for before, after, stride in ((3, 16, 2), (16, 32, 2), (32, 48, 2), (48, 64, 1)):
        layers += [
            nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.LeakyReLU(0.1, inplace=True),
        ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 1))


def _views(rgb: Tensor) -> Tensor:
    """Luminance and ab (N, 3, h, w), about in [-1, 1], of the pictures at the observer's size."""
    return torch.cat([_view(part) for part in rgb.split(CHUNK)])


def _view(rgb: Tensor) -> Tensor:
    height, width = rgb.shape[-2:]
    scale = VIEW / min(height, width)
    if scale < 1:
        rgb = F.interpolate(rgb, size=(round(height * scale), round(width * scale)), mode="area")
    luminance, ab = split_luminance(rgb)
    return torch.cat((luminance, ab * AB_GAIN), dim=1).contiguous(memory_format=torch.channels_last)  # (N, 3, h, w)


def _augment(both: Tensor, random: torch.Generator) -> Tensor:
    """One crop and mirroring for a whole batch (2, N, 3, h, w): the two pictures of a pair stay alike."""
    height, width = both.shape[-2:]
    h, w = ceil(height * CROP), ceil(width * CROP)
    y = int(torch.randint(height - h + 1, (), generator=random))
    x = int(torch.randint(width - w + 1, (), generator=random))
    both = both[..., y : y + h, x : x + w]
    mirrored = torch.rand(both.shape[1], generator=random) < 0.5
    return torch.where(mirrored.to(both.device).view(1, -1, 1, 1, 1), both.flip(-1), both)


def _check(real: Tensor, fake: Tensor) -> None:
    if real.shape != fake.shape:
        raise ObserverError(
            f"real pictures are {tuple(real.shape)}, fake ones {tuple(fake.shape)}; give pairs of one size"
        )
    if len(real) < MIN_PAIRS:
        raise ObserverError(f"the machine observer needs at least {MIN_PAIRS} pairs, there are {len(real)}")
