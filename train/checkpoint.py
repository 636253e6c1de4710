"""What a run leaves on disk: ``checkpoint.safetensors``, to resume it exactly, and ``generator.safetensors``, to use it.

Both are written whole or not at all, hold tensors and JSON (never pickled code), and name the settings that made them
and the photos they came from, so that reading one needs nothing else.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from models.color import CHANNELS
from models.generator import Generator
from models.losses import GradientRatio
from protocol import InputError
from train.config import ConfigError, TrainConfig, parse_config
from train.parallel import Processes
from train.steps import TrainState, start_state

CHECKPOINT, GENERATOR = "checkpoint.safetensors", "generator.safetensors"
CHECKPOINT_FORMAT, GENERATOR_FORMAT = "realism-checkpoint/1", "realism-generator/1"


class CheckpointError(InputError):
    """A checkpoint that cannot be read or does not belong here."""


@dataclass(frozen=True)
class Provenance:
    """Where a run's photos came from. ``trained`` holds the sha256 of every file trained on and of its source."""

    folder: str
    source: str
    licence: str
    n_train: int
    n_held_out: int
    split_sha256: str
    trained: frozenset[str]

    def to_dict(self) -> dict[str, Any]:
        """All but the hashes, which are stored as a tensor."""
        return {name: value for name, value in vars(self).items() if name != "trained"}


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Photos(_Record):
    """What ``Provenance.to_dict`` writes."""

    folder: str
    source: str
    licence: str
    n_train: int
    n_held_out: int
    split_sha256: str


class _Ratio(_Record):
    log_mean: float
    n_seen: Annotated[int, Field(ge=0)]


class _About(_Record):
    """What a file says of itself; ``ratio`` stands in a checkpoint only."""

    format: str
    step: Annotated[int, Field(ge=0)]
    config: dict[str, Any]
    photos: _Photos
    ratio: _Ratio | None = None
    started_from: str | None = None


@dataclass(frozen=True)
class TrainedGenerator:
    """A generator ready to colour, and all that its file says of it; ``sha256`` is the file's."""

    generator: Generator
    config: TrainConfig
    step: int
    photos: Provenance
    sha256: str


@dataclass(frozen=True)
class GeneratorFile:
    """What a generator's file says of itself; ``started_from`` is the sha256 of the generator it began with, if any."""

    config: TrainConfig
    step: int
    photos: Provenance
    started_from: str | None
    is_half: bool


def save_run(run: Path, state: TrainState, config: TrainConfig, photos: Provenance) -> None:
    """Write both files; the checkpoint last, so that what it says is done has its generator."""
    about = {"step": state.step, "config": config.to_dict(), "photos": photos.to_dict()}
    about["started_from"] = state.started_from
    trained = {"photos.trained": _hashes_to_tensor(photos.trained | state.trained_before)}
    _write(run / GENERATOR, GENERATOR_FORMAT, _tensors(state.result) | trained, about)
    tensors = trained | {
        f"{part}.{name}": tensor for part, holder in _parts(state).items() for name, tensor in _tensors(holder).items()
    }
    about["ratio"] = {"log_mean": float(state.ratio.log_mean), "n_seen": state.ratio.n_seen}
    _write(run / CHECKPOINT, CHECKPOINT_FORMAT, tensors, about)


def load_state(run: Path, processes: Processes) -> tuple[TrainState, TrainConfig, Provenance]:
    """The run as it was saved: networks rebuilt from the settings in the checkpoint, optimizers, step.

    Raises:
        CheckpointError: if the checkpoint cannot be read, is of another format, or its weights do not fit its settings.
    """
    path = run / CHECKPOINT
    tensors, about = _read(path, CHECKPOINT_FORMAT)
    if about.ratio is None:
        raise CheckpointError(
            f"checkpoint {path}: ratio is None; it is damaged, or made by another version: train again"
        )
    config, photos = _config(path, about), _provenance(path, about, tensors)
    state = start_state(config, processes)
    for part, holder in _parts(state).items():
        own = {name.removeprefix(f"{part}."): t for name, t in tensors.items() if name.startswith(f"{part}.")}
        _fill(path, part, holder, own)
    state.step, state.started_from, state.trained_before = about.step, about.started_from, photos.trained
    log_mean = torch.tensor(about.ratio.log_mean, dtype=torch.float64, device=processes.device)
    state.ratio = GradientRatio(log_mean, about.ratio.n_seen)
    return state, config, photos


def load_generator(path: Path, device: torch.device) -> TrainedGenerator:
    """The generator in a file, or in a run's folder, in evaluation mode.

    Raises:
        CheckpointError: as ``load_state``.
    """
    if path.is_dir():
        path = path / GENERATOR
    tensors, about = _read(path, GENERATOR_FORMAT)
    config, photos = _config(path, about), _provenance(path, about, tensors)
    del tensors["photos.trained"]
    generator = Generator(config.generator_depth, config.generator_width, CHANNELS[config.colour_space])
    _fill(path, "generator", generator, tensors)
    generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # as it was trained
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return TrainedGenerator(generator.to(device).eval(), config, about.step, photos, sha256)


def read_about(path: Path) -> GeneratorFile:
    """What a generator's file says, without building the generator.

    Raises:
        CheckpointError: as ``load_state``.
    """
    tensors, about = _read(path, GENERATOR_FORMAT)
    is_half = any(tensor.dtype == torch.float16 for tensor in tensors.values())
    photos = _provenance(path, about, tensors)
    return GeneratorFile(_config(path, about), about.step, photos, about.started_from, is_half)


def halve_generator(path: Path, out: Path) -> None:
    """Write a generator's file with its convolutions in half precision; norms keep theirs, whose range they may need.

    Raises:
        CheckpointError: as ``load_state``.
    """
    tensors, about = _read(path, GENERATOR_FORMAT)
    halved = {name: tensor.half() if tensor.ndim == 4 else tensor for name, tensor in tensors.items()}
    said = about.model_dump(exclude_none=True, exclude={"format"})
    _write(out, GENERATOR_FORMAT, halved, said)


def write_atomically(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path`` whole or not at all: a crash or a full disk leaves the old file as it was.

    Raises:
        CheckpointError: if it cannot be written.
    """
    aside = path.with_name(f".{path.name}.new")
    try:
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be written ({error.strerror}); what was there before is as it was. Make room, and go on "
            "with --resume"
        ) from error
    finally:
        aside.unlink(missing_ok=True)


def _parts(state: TrainState) -> dict[str, nn.Module | torch.optim.Optimizer]:
    parts: dict[str, nn.Module | torch.optim.Optimizer] = {
        "generator": state.generator,
        "discriminator": state.discriminator,
        "generator_optimizer": state.generator_optimizer,
        "discriminator_optimizer": state.discriminator_optimizer,
    }
    return parts if state.average is None else parts | {"average": state.average}


def _tensors(holder: nn.Module | torch.optim.Optimizer) -> dict[str, Tensor]:
    if isinstance(holder, nn.Module):
        return holder.state_dict()
    moments = holder.state_dict()["state"]
    return {f"{number}.{name}": tensor for number, kept in moments.items() for name, tensor in kept.items()}


def _fill(path: Path, part: str, holder: nn.Module | torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    try:
        if isinstance(holder, nn.Module):
            holder.load_state_dict(tensors)
            return
        parameters = [p for group in holder.param_groups for p in group["params"]]
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            number, key = name.split(".")
            if tensor.ndim == 4:  # a fused optimizer walks weights and moments in memory order: theirs must be one
                tensor = torch.empty_like(parameters[int(number)]).copy_(tensor)
            moments.setdefault(int(number), {})[key] = tensor
        # Learning rates and the like follow from the settings; only the moments were stored.
        holder.load_state_dict({"state": moments, "param_groups": holder.state_dict()["param_groups"]})
    except (RuntimeError, ValueError, KeyError, IndexError) as error:
        first = str(error).strip().splitlines()[-1].strip()
        raise CheckpointError(
            f"{path}: the weights of its {part} do not fit the settings stored with them ({first}); train again"
        ) from error


def _write(path: Path, file_format: str, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # One entry: the order of several is not fixed, and equal runs shall give equal files.
    write_atomically(path, save(contiguous, {"realism": json.dumps({"format": file_format, **about})}))


def _read(path: Path, file_format: str) -> tuple[dict[str, Tensor], _About]:
    if not path.is_file():
        raise CheckpointError(f"checkpoint {path} does not exist; give a run's folder or its {GENERATOR}")
    try:
        with safe_open(path, framework="pt") as file:
            said = (file.metadata() or {}).get("realism", "{}")
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise CheckpointError(f"checkpoint {path} cannot be read ({error}); it is damaged, or no checkpoint") from error
    about = _parsed(path, said)
    found = about.get("format")
    if found != file_format or "photos.trained" not in tensors:
        raise CheckpointError(
            f"checkpoint {path}: format is {found!r}, expected {file_format!r}; give a run of 'realism train'"
        )
    try:
        return tensors, _About.model_validate(about)
    except ValidationError as error:
        raise CheckpointError(
            f"checkpoint {path}: {_first_problem(error)}; it is damaged, or made by another version: train again"
        ) from error


def _parsed(path: Path, said: str) -> dict[str, Any]:
    try:
        about = json.loads(said)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"checkpoint {path}: what it says of itself is not JSON ({error}); train again"
        ) from error
    if not isinstance(about, dict):
        raise CheckpointError(f"checkpoint {path}: what it says of itself is no JSON object; train again")
    return about


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']} (found {first['input']!r:.80})"


def _config(path: Path, about: _About) -> TrainConfig:
    try:
        return parse_config(about.config, where="its settings")
    except ConfigError as error:
        raise CheckpointError(f"checkpoint {path}: {error}; it was made by another version") from error


def _provenance(path: Path, about: _About, tensors: dict[str, Tensor]) -> Provenance:
    hashes = tensors["photos.trained"]  # (n_hashes, 32)
    if hashes.dtype != torch.uint8 or hashes.ndim != 2 or hashes.shape[1] != 32:
        raise CheckpointError(
            f"checkpoint {path}: photos.trained is {hashes.dtype} of shape {tuple(hashes.shape)}, "
            "expected torch.uint8 of shape (n, 32); train again"
        )
    return Provenance(**about.photos.model_dump(), trained=frozenset(bytes(row.tolist()).hex() for row in hashes))


def _hashes_to_tensor(hashes: frozenset[str]) -> Tensor:
    rows = b"".join(bytes.fromhex(sha256) for sha256 in sorted(hashes))
    return torch.frombuffer(bytearray(rows), dtype=torch.uint8).view(-1, 32)  # (n_hashes, 32)
