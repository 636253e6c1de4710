"""The training loop: settings and photos in; a run's folder with generator, samples and log out."""

import fcntl
import math
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from protocol import InputError
from train.card import TABLE, write_card
from train.checkpoint import CHECKPOINT, Provenance, TrainedGenerator, load_state, save_run, write_atomically
from train.config import TrainConfig
from train.interrupt import stop_requests
from train.log import LOG, read_log
from train.parallel import Processes
from train.record import Record
from train.steps import TrainState, open_batches, start_state, train_step
from train.training_photos import TrainingPhotos

ON_DEVICE = 0.25  # of the free memory: a set of photos that takes less is kept on the GPU


class TrainError(InputError):
    """A run that cannot begin, go on or be trusted."""


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


def start_from(state: TrainState, config: TrainConfig, start: TrainedGenerator) -> None:
    """Give the generator, at step 0, the weights of one trained before; the photos it has seen count as trained on.

    Raises:
        TrainError: if that one is built otherwise, or the run has begun from another.
    """
    if state.step > 0 or state.started_from:
        if state.started_from != start.sha256:
            raise TrainError(
                "the run has begun, and not from this generator; leave --start-from out, or choose another --out"
            )
        return
    for name in ("generator_depth", "generator_width", "colour_space"):
        ours, its = getattr(config, name), getattr(start.config, name)
        if ours != its:
            raise TrainError(
                f"the generator to start from has {name} = {its!r}, the config says {ours!r}; make them equal"
            )
    for network in (state.generator, state.average):
        if network is not None:
            network.load_state_dict(start.generator.state_dict())
    state.started_from, state.trained_before = start.sha256, start.photos.trained


def open_run(run: Path, config: TrainConfig, photos: Provenance, processes: Processes, resume: bool) -> TrainState:
    """The state to go on from: at step 0 for a new run, else as its checkpoint left it.

    Raises:
        TrainError: if the run exists and is not to be resumed or has no checkpoint, or other settings or photos made it;
            or if the batch cannot be shared by the processes.
        CheckpointError: if its checkpoint cannot be read.
        LogError: if its log cannot be read.
    """
    if config.batch_size % processes.n:
        raise TrainError(
            f"batch_size {config.batch_size} cannot be shared by {processes.n} processes; choose a multiple of their number"
        )
    refuse_existing(run, resume)
    if not (run / CHECKPOINT).exists():
        return start_state(config, processes)
    state, stored, stored_photos = load_state(run, processes)
    for name, value in config.to_dict().items():
        if name not in config.free_on_resume() and value != stored.to_dict()[name]:
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
    until: int | None = None,
    console: Console | None = None,
) -> None:
    """Take ``state`` to ``config.steps`` or to step ``until``, or as far as it comes until it is asked to stop.

    Raises:
        TrainError: if a loss stops being a number, or an alarm is raised and alarms are to stop the run.
        CheckpointError: if the run's folder cannot be written.
    """
    processes, end = state.processes, min(config.steps, until or config.steps)
    batches = open_batches(config, _near(photos.train, processes.device), processes)
    with ExitStack() as stack:
        stop_requested = stack.enter_context(stop_requests())
        record = None
        if processes.is_writer:
            run.mkdir(parents=True, exist_ok=True)
            stack.enter_context(_only_writer(run))
            if not (run / CHECKPOINT).exists():  # from here on a crash leaves something to go on from
                save_run(run, state, config, photos.provenance)
            write_atomically(run / "config.toml", config.to_toml().encode())
            write_atomically(run / TABLE, photos.table.encode(errors="backslashreplace"))  # of names that are no UTF-8
            held_out = photos.held_out.to(processes.device)
            record = stack.enter_context(Record(run, state, config, end, held_out, console or Console(stderr=True)))

        stopping = False
        while state.step < end and not stopping:
            losses = train_step(state, config, batches)
            is_last = state.step == end
            is_logged = state.step % config.log_every == 0 or is_last
            is_shown = state.step % config.sample_every == 0 or is_last
            is_saved = state.step % config.checkpoint_every == 0 and not is_last
            # Several processes must stop at the same step, and agree on it when they log.
            if processes.n == 1 or is_logged:
                stopping = processes.any(stop_requested())

            # Numbers leave the device only when they are looked at: until then nothing waits for them.
            if is_logged or is_saved or stopping:
                numbers = _numbers(losses, processes)
                # A loss that is no number has spoiled the weights: the last checkpoint stays.
                if not all(math.isfinite(number) for number in numbers.values()):
                    raise TrainError(
                        f"run {run}: step {state.step} gave {numbers}; lower the learning rates, and train again"
                    )
                if is_saved or stopping:
                    _refuse_spoiled(run, state)
                if record and is_logged:
                    record.numbers(numbers, batches.waited_s)
            if record and is_shown:
                record.samples()
            if record:
                record.advance()
            if is_logged and config.on_alarm == "stop":
                stopping |= processes.any(bool(record and record.alarms_raised))
            if is_saved and not stopping and record:
                save_run(run, state, config, photos.provenance)

        _refuse_spoiled(run, state)
        if record:
            save_run(run, state, config, photos.provenance)
            write_card(run)
        processes.wait()
    if record and record.alarms_raised and config.on_alarm == "stop" and state.step < end:
        raise TrainError(
            f"run {run}: stopped at step {state.step} and saved. {record.alarms_raised[0]}; "
            'or go on in spite of it with on_alarm = "warn" and --resume'
        )


@contextmanager
def _only_writer(run: Path) -> Iterator[None]:
    """Within it, no other process trains into the run's folder; the system ends the claim when this one dies."""
    folder = os.open(run, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise TrainError(
            f"run {run} is being trained by another process; wait for it, or choose another --out"
        ) from error
    finally:
        os.close(folder)


def _refuse_spoiled(run: Path, state: TrainState) -> None:
    """Stop before weights that are no numbers take the place of the last checkpoint: the losses came before the update."""
    networks = [state.generator, state.discriminator, *filter(None, (state.average,))]
    tensors = [tensor for network in networks for tensor in network.state_dict().values()]
    if not all(bool(tensor.isfinite().all()) for tensor in tensors):
        raise TrainError(
            f"run {run}: step {state.step} made weights that are no numbers; the checkpoint before it stays. "
            "Lower the learning rates, and train again"
        )


def _near(photos: Tensor, device: torch.device) -> Tensor:
    """The photos on the device, if they leave it room; else where they are, to be fetched batch by batch."""
    if device.type == "cuda" and photos.nbytes < ON_DEVICE * torch.cuda.mem_get_info(device)[0]:
        return photos.to(device)
    return photos


def _numbers(losses: dict[str, Tensor], processes: Processes) -> dict[str, float]:
    """The losses, each its mean over all processes."""
    values = processes.sum(torch.stack([loss.double() for loss in losses.values()])) / processes.n
    return dict(zip(losses, values.tolist(), strict=True))
