"""Settings of one training run: a TOML file in, a frozen TrainConfig out; and back, for the checkpoint."""

import dataclasses
import difflib
import json
import math
import re
import sys
import tomllib
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from models.color import ColourSpace
from models.discriminator import layer_count
from models.generator import bottleneck_size, check_size
from protocol import InputError
from train.photos import DEFAULT_HELD_OUT

# What may differ when a run is resumed: nothing here changes a step that was already made.
FREE_ON_RESUME = frozenset({"steps", "log_every", "sample_every", "checkpoint_every", "tensorboard", "on_alarm"})


class ConfigError(InputError):
    """Settings that cannot be read or do not fit together."""


@dataclass(frozen=True)
class TrainConfig:
    """Everything that makes one run what it is. Sizes are in pixels, lengths of time in steps."""

    name: str = "cgan"  # the condition's name in a study
    objective: Literal["cgan", "wgan", "wgan-gp"] = "cgan"

    # Networks.
    image_size: int = 256
    colour_space: ColourSpace = "rgb"  # lab: predict ab, and keep the photograph's own luminance
    generator_depth: int = 7
    generator_width: int = 64
    discriminator_width: int = 64
    discriminator_norm: Literal["auto", "none", "batch", "layer"] = "auto"  # layer for wgan-gp, else batch

    # Photographs.
    held_out: float = DEFAULT_HELD_OUT  # fraction that is never trained on
    flip: bool = True  # show a photo mirrored every other time, on average
    zoom: float = 1.0  # photos are kept this much larger than image_size, and a random square of each is shown

    # Optimisation. One step is one update of the generator after `critic_steps` updates of the discriminator.
    steps: int = 100_000
    batch_size: int = 16
    generator_lr: float = 2e-4
    discriminator_lr: float = 2e-4
    lr_schedule: Literal["constant", "linear", "cosine"] = "constant"  # how both learning rates fall to 0
    lr_decay_from: float = 0.5  # fraction of the steps after which they begin to fall
    critic_steps: int = 1
    critic_warmup: int = 0  # updates of the discriminator before the generator's first
    clamp: float = 0.01  # wgan: the critic's weights stay in [-clamp, clamp]
    penalty_weight: float = 10.0  # wgan-gp: of the penalty on the critic's slope
    l1_weight: float = 100.0
    adversarial_share: float = 0.3  # length of the adversarial gradient, relative to that of the L1 gradient
    adversarial_weight: float | None = None  # a fixed weight, in place of the share; 0: no critic at all, L1 alone
    average_decay: float = 0.0  # of the running mean of the generator's weights; 0: the last weights are the result
    precision: Literal["float32", "bfloat16"] = "float32"
    compile: bool = False  # torch.compile both networks: minutes at the start, faster steps on a GPU
    seed: int = 0

    # What is written while it trains.
    log_every: int = 10
    sample_every: int = 1000
    checkpoint_every: int = 1000
    tensorboard: bool = False
    on_alarm: Literal["warn", "stop"] = "warn"  # what a sign of a training gone wrong does

    def __post_init__(self) -> None:
        if self.discriminator_norm == "auto":  # what is stored says what was done
            object.__setattr__(self, "discriminator_norm", "layer" if self.objective == "wgan-gp" else "batch")
        for name, low, high in RANGES:
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ConfigError(f"{name} is {value}; choose a value from {low:g} to {high:g}")
        if not re.fullmatch("[a-z0-9][a-z0-9_-]{0,63}", self.name):
            raise ConfigError(f"name is {self.name!r}; use lower-case letters, digits, '-' and '_', at most 64")
        try:
            check_size(self.image_size, self.generator_depth)
            layer_count(self.image_size)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        if self.batch_size == 1 and bottleneck_size(self.image_size, self.generator_depth) == 1:
            raise ConfigError(
                f"batch_size is 1 and image_size {self.image_size} shrinks to 1x1 at depth {self.generator_depth}, "
                "which leaves batch norm a single value; take a batch of 2 or more, or a smaller depth"
            )

        if self.objective == "wgan-gp" and self.discriminator_norm == "batch":
            raise ConfigError(
                'discriminator_norm is "batch", but the penalty of wgan-gp is on each picture\'s own score, which batch '
                'norm ties to the others; take "layer" or "none"'
            )

    @property
    def has_critic(self) -> bool:
        return self.adversarial_weight != 0

    @property
    def stored_size(self) -> int:
        """Side, in pixels, of the squares kept of the photos that are trained on."""
        return round(self.image_size * self.zoom)

    def free_on_resume(self) -> frozenset[str]:
        """The settings that a run may be resumed with other values of."""
        return FREE_ON_RESUME if self.lr_schedule == "constant" else FREE_ON_RESUME - {"steps"}

    def learning_rate_at(self, step: int) -> float:
        """What both learning rates are multiplied with at a step, counted from 0; in [0, 1]."""
        begin = self.lr_decay_from * self.steps
        if self.lr_schedule == "constant" or step < begin:
            return 1.0
        done = (step - begin) / (self.steps - begin)  # in [0, 1)
        return 1 - done if self.lr_schedule == "linear" else (1 + math.cos(math.pi * done)) / 2

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def to_toml(self) -> str:
        """Text that ``read_config`` reads back to the same settings; a setting that is None has no line."""
        lines = (f"{name} = {json.dumps(value)}" for name, value in self.to_dict().items() if value is not None)
        return "\n".join(lines) + "\n"


RANGES: tuple[tuple[str, float, float], ...] = (
    ("image_size", 4, 4096),
    ("generator_depth", 1, 12),
    ("generator_width", 1, 1024),
    ("discriminator_width", 1, 1024),
    ("held_out", 0.001, 0.999),
    ("zoom", 1, 1.5),
    ("steps", 1, 10**9),
    ("batch_size", 1, 4096),
    ("generator_lr", 1e-8, 1),
    ("discriminator_lr", 1e-8, 1),
    ("lr_decay_from", 0, 1),
    ("critic_steps", 1, 100),
    ("critic_warmup", 0, 10_000),
    ("penalty_weight", 0, 1e6),
    ("clamp", 1e-6, 10),
    ("l1_weight", 1e-6, 1e6),
    ("adversarial_share", 0, 1e6),
    ("adversarial_weight", 0, 1e6),
    ("average_decay", 0, 0.99999),
    ("seed", 0, 2**31 - 1),
    ("log_every", 1, 10**9),
    ("sample_every", 1, 10**9),
    ("checkpoint_every", 1, 10**9),
)


def read_config(path: Path) -> TrainConfig:
    """The settings in a TOML file; what it does not name keeps its default.

    Raises:
        ConfigError: naming the file and the first setting that is unknown, of the wrong type, or out of range.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"config {path} cannot be read ({error.strerror}); give a TOML file") from error
    except (ValueError, RecursionError) as error:  # TOML's own errors, wrong bytes, endless numbers and nesting
        raise ConfigError(f"config {path} is not TOML ({error!s:.200})") from error
    return parse_config(raw, where=f"config {path}")


def parse_config(raw: dict[str, Any], where: str) -> TrainConfig:
    """The settings in a mapping; ``where`` names it in errors.

    Raises:
        ConfigError: as ``read_config``.
    """
    kinds = typing.get_type_hints(TrainConfig)
    settings = {}
    for name, value in raw.items():
        if name not in kinds:
            near = difflib.get_close_matches(name, kinds, n=1, cutoff=0.6)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(kinds)}"
            raise ConfigError(f"{where}: {name!r} is not a setting; {hint}")
        settings[name] = _checked(name, value, kinds[name], where)
    try:
        return TrainConfig(**settings)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _checked(name: str, value: Any, kind: Any, where: str) -> Any:
    if typing.get_origin(kind) is types.UnionType:  # only `float | None`; JSON has null, TOML leaves it out
        if value is None:
            return None
        kind = typing.get_args(kind)[0]
    if typing.get_origin(kind) is Literal:
        choices = typing.get_args(kind)
        if value not in choices:
            raise ConfigError(f"{where}: {name} is {value!r}; choose one of {', '.join(map(repr, choices))}")
        return value
    if kind is float and type(value) is int:
        return float(value) if abs(value) < sys.float_info.max else math.inf  # which no range holds
    if type(value) is not kind:
        wanted = {str: "text in quotes", bool: "true or false", int: "a whole number", float: "a number"}[kind]
        raise ConfigError(f"{where}: {name} is {value!r}, expected {wanted}")
    return value
