"""The training loop: settings and a folder of photos in; a run's folder with generator, samples and log out."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from protocol import InputError
from train.checkpoint import CHECKPOINT, Provenance, load_state, save_run, write_atomically
from train.config import FREE_ON_RESUME, TrainConfig
from train.interrupt import stop_requests
from train.log import LOG, TrainLog, read_log
from train.photos import PhotoError, Pictures, find_photos, read_pictures, split_photos
from train.photos import Progress as ShowProgress
from train.samples import write_samples
from train.steps import TrainState, start_state, train_step

MEASURED = 32  # held-out photos that are measured


class TrainError(InputError):
    """A run that cannot begin, go on or be trusted."""


@dataclass(frozen=True)
class TrainingPhotos:
    """Both sides of a folder, in memory; ``left_out`` says how many of either could not be used."""

    train: Tensor  # (n_photos, 3, H, W) uint8
    held_out: Tensor  # (at most MEASURED, 3, H, W) uint8
    provenance: Provenance
    left_out: tuple[str, ...]


def load_photos(folder: Path, config: TrainConfig, progress: ShowProgress = iter) -> TrainingPhotos:
    """Find, split and decode every photo of the folder.

    Raises:
        PhotoError: if a file cannot be decoded, or if a side is left without photos.
    """
    split = split_photos(find_photos(folder, progress), config.held_out)
    train = read_pictures(split.train, config.image_size, progress)
    held_out = read_pictures(split.held_out, config.image_size, progress)
    left_out = tuple(f"{photo.path} {why}" for photo, why in (*train.left_out, *held_out.left_out))
    if not train.photos or not held_out.photos:
        raise PhotoError(
            f"photo folder {folder}: of {len(split.train) + len(split.held_out)} photos, {len(train.photos)} can be "
            f"trained on and {len(held_out.photos)} held out ({len(left_out)} left out); "
            "give more photographs, or change held_out"
        )
    provenance = Provenance(
        folder=folder.resolve().name,
        n_train=len(train.photos),
        n_held_out=len(held_out.photos),
        split_sha256=split.digest(),
        trained=frozenset(sha256 for photo in split.train for sha256 in (photo.sha256, photo.source_sha256)),
    )
    # Spread over the hashes' order, so that crops of several photographs are seen.
    seen = np.linspace(0, len(held_out.photos) - 1, min(MEASURED, len(held_out.photos))).round().astype(int)
    return TrainingPhotos(_tensor(train), _tensor(held_out)[seen], provenance, left_out)


def _tensor(pictures: Pictures) -> Tensor:
    return torch.from_numpy(pictures.pixels).permute(0, 3, 1, 2)  # (N, 3, H, W)


def refuse_existing(run: Path, resume: bool) -> None:
    """Stop before a run is overwritten.

    Raises:
        TrainError: if there is something at ``run``, and it is not to be resumed or has no checkpoint.
    """
    if not run.exists() or (run.is_dir() and not any(run.iterdir())):
        return
    if not resume:
        raise TrainError(f"run {run} exists; go on with it with --resume, or choose another --out")
    if not (run / CHECKPOINT).is_file():
        raise TrainError(f"run {run} has no checkpoint to go on from; remove the folder, or give another --out")


def open_run(run: Path, config: TrainConfig, photos: Provenance, device: torch.device, resume: bool) -> TrainState:
    """The state to go on from: at step 0 for a new run, else as its checkpoint left it.

    Raises:
        TrainError: if the run exists and is not to be resumed or has no checkpoint, or other settings or photos made it.
        CheckpointError: if its checkpoint cannot be read.
        LogError: if its log cannot be read.
    """
    refuse_existing(run, resume)
    if not (run / CHECKPOINT).exists():
        return start_state(config, device)
    state, stored, stored_photos = load_state(run, device)
    for name, value in config.to_dict().items():
        if name not in FREE_ON_RESUME and value != stored.to_dict()[name]:
            raise TrainError(
                f"run {run} was begun with {name} = {stored.to_dict()[name]!r}, the config says {value!r}; "
                "put it back, or choose another --out"
            )
    if photos.split_sha256 != stored_photos.split_sha256:
        raise TrainError(
            f"run {run} was begun with other photos ({stored_photos.n_train} from {stored_photos.folder!r}, now "
            f"{photos.n_train} from {photos.folder!r}); give the same --photos, or choose another --out"
        )
    if (run / LOG).exists():
        read_log(run / LOG)
    return state


def train(
    state: TrainState,
    config: TrainConfig,
    photos: TrainingPhotos,
    run: Path,
    *,
    console: Console | None = None,
) -> None:
    """Take ``state`` to ``config.steps``, or as far as it comes until it is asked to stop.

    Raises:
        TrainError: if a loss stops being a number.
    """
    run.mkdir(parents=True, exist_ok=True)
    write_atomically(run / "config.toml", config.to_toml().encode())
    device = next(state.generator.parameters()).device
    pixels, held_out = photos.train.to(device), photos.held_out.to(device)

    with (
        TrainLog(run, state.step, config.tensorboard) as log,
        _progress_bar(console or Console(stderr=True)) as progress,
        stop_requests() as stop_requested,
    ):
        task = progress.add_task("train", total=config.steps, completed=state.step, speed="", l1="")
        while state.step < config.steps and not stop_requested():
            losses = train_step(state, config, pixels)
            is_last = state.step == config.steps

            # A loss that is no number has spoiled the weights: the last checkpoint stays.
            if not all(math.isfinite(loss) for loss in losses.values()):
                raise TrainError(
                    f"run {run}: step {state.step} gave {losses}; lower the learning rates, and train again"
                )

            # Numbers.
            if state.step % config.log_every == 0 or is_last:
                log.write(state.step, losses)
            speed = (progress.tasks[task].speed or 0) * config.batch_size
            progress.update(task, completed=state.step, speed=f"{speed:.0f} images/s", l1=f"l1 {losses['l1']:.3f}")

            # Pictures.
            if state.step % config.sample_every == 0 or is_last:
                grid = run / "samples" / f"step-{state.step:06d}.png"
                log.write(state.step, write_samples(grid, state.result, held_out))

            # What a resume starts from.
            if state.step % config.checkpoint_every == 0 and not is_last:
                save_run(run, state, config, photos.provenance)

        save_run(run, state, config, photos.provenance)


def _progress_bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[l1]}"),
        console=console,
    )
