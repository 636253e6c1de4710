"""Signs that a training has gone wrong, read from the numbers it logs: each is told once, with what to do about it."""

from collections import deque
from dataclasses import dataclass, field

FEW = 20  # logged numbers that the mean of a critic's estimate looks back
FEW_GRIDS = 3  # sample grids that colourfulness looks back: an untrained generator is grey
FLAT_ESTIMATE = (
    1e-3  # batch norm and clamps that kill a critic leave an estimate of 2e-4; a working one gives 0.2 to 1e3
)
MOST_AT_CLAMP = 0.9
BEATEN_LOSS, BLIND_LOSS = 0.01, 1.38  # of a logistic discriminator; one that guesses has 2 ln 2 = 1.386
LEAST_COLOUR = 0.3  # colourfulness, relative to that of the real pictures

ADVICE = {
    "critic negative": "the Wasserstein estimate is {value:.3g} on average: the critic ranks fakes above photographs. "
    "Lower discriminator_lr, or raise critic_steps",
    "critic flat": "the Wasserstein estimate is {value:.3g} on average: the critic sees no difference. Raise clamp, "
    'take discriminator_norm = "none", or objective = "wgan-gp"',
    "critic clamped": "{value:.0%} of the critic's weights lie at the clamp: it can say little. Raise clamp, lower "
    'discriminator_lr, or take objective = "wgan-gp"',
    "discriminator wins": "the discriminator's loss is {value:.3g} on average: it tells every fake, and teaches "
    "nothing. Lower discriminator_lr",
    "discriminator blind": "the discriminator's loss is {value:.4g} on average, that of guessing (1.386). Raise "
    'discriminator_lr, or take discriminator_norm = "batch"',
    "grey output": "held-out colourfulness is {value:.0%} of the photographs': the pictures are grey. Raise "
    "adversarial_share, or train for longer",
}


@dataclass
class Alarms:
    """What was noticed so far. ``patience`` logged numbers must pass before a critic is judged."""

    patience: int = FEW
    told: set[str] = field(default_factory=set)
    _recent: dict[str, deque[float]] = field(default_factory=dict)

    def check(self, numbers: dict[str, float]) -> list[str]:
        """New alarms that these numbers raise, as sentences."""
        raised = [(name, value) for name, value in self._signs(numbers) if name not in self.told]
        self.told.update(name for name, _ in raised)
        return [f"{name}: {ADVICE[name].format(value=value)}" for name, value in raised]

    def _signs(self, numbers: dict[str, float]) -> list[tuple[str, float]]:
        signs = []
        estimate = self._mean("wasserstein_estimate", numbers)
        if estimate is not None and estimate <= -FLAT_ESTIMATE:
            signs.append(("critic negative", estimate))
        elif estimate is not None and estimate < FLAT_ESTIMATE:
            signs.append(("critic flat", estimate))
        loss = self._mean("discriminator_loss", numbers)
        if loss is not None and loss < BEATEN_LOSS:
            signs.append(("discriminator wins", loss))
        elif loss is not None and loss > BLIND_LOSS:
            signs.append(("discriminator blind", loss))
        if numbers.get("at_clamp", 0) > MOST_AT_CLAMP:
            signs.append(("critic clamped", numbers["at_clamp"]))
        if "real_colourfulness" in numbers:
            now = numbers["held_out_colourfulness"] / max(numbers["real_colourfulness"], 1e-9)
            share = self._mean("colour share", {"colour share": now}, min(FEW_GRIDS, self.patience))
            if share is not None and share < LEAST_COLOUR:
                signs.append(("grey output", share))
        return signs

    def _mean(self, name: str, numbers: dict[str, float], n: int | None = None) -> float | None:
        """Of the last ``n`` such numbers; None until there are so many."""
        if name not in numbers:
            return None
        recent = self._recent.setdefault(name, deque(maxlen=n or self.patience))
        recent.append(numbers[name])
        return sum(recent) / len(recent) if len(recent) == recent.maxlen else None
