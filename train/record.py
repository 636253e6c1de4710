"""What a run tells while it trains: the log, sample grids, alarms and a progress bar; one process of several does it."""

import time
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from models.losses import OBJECTIVES, share_at_clamp
from train.alarms import Alarms
from train.config import TrainConfig
from train.log import TrainLog
from train.samples import write_samples
from train.steps import TrainState


class Record:
    """Open while a run trains. ``alarms_raised`` holds every alarm of this sitting, as sentences."""

    def __init__(
        self, run: Path, state: TrainState, config: TrainConfig, end: int, held_out: Tensor, console: Console
    ) -> None:
        self._run, self._state, self._config, self._held_out = run, state, config, held_out
        self._log = TrainLog(run, state.step, config.tensorboard)
        self._bar = _progress_bar(console)
        self._task = self._bar.add_task(config.name, total=end, completed=state.step, speed="", l1="")
        self._alarms = Alarms()
        if config.on_alarm == "warn":  # what was told is not told again; a run that is to stop is judged anew
            for row in self._log.kept:
                self._alarms.check(row)
        self._since, self._since_step, self._waited_s = time.perf_counter(), state.step, 0.0
        self.alarms_raised: list[str] = []

    def numbers(self, losses: dict[str, float], waited_s: float) -> None:
        """A row of the log: losses, images a second, and the share of the time that went into waiting for photos."""
        step, now = self._state.step, time.perf_counter()
        seconds = now - self._since
        speed = (step - self._since_step) * self._config.batch_size / seconds
        row = losses | {"images_per_s": speed, "data_share": (waited_s - self._waited_s) / seconds}
        if OBJECTIVES[self._config.objective].bound == "clamp":
            row["at_clamp"] = share_at_clamp(self._state.discriminator, self._config.clamp)
        self._since, self._since_step, self._waited_s = now, step, waited_s
        self._log.write(step, row)
        self._raise_alarms(row)
        self._bar.update(self._task, speed=f"{speed:.3g} images/s", l1=f"l1 {losses['l1']:.3f}")

    def samples(self) -> None:
        """A grid of held-out photos, and their measures in the log."""
        grid = self._run / "samples" / f"step-{self._state.step:06d}.png"
        measures = write_samples(grid, self._state.result, self._held_out, self._config.colour_space)
        self._log.write(self._state.step, measures)
        self._raise_alarms(measures)

    def advance(self) -> None:
        self._bar.update(self._task, completed=self._state.step)

    def _raise_alarms(self, numbers: dict[str, float]) -> None:
        for alarm in self._alarms.check(numbers):
            self.alarms_raised.append(alarm)
            self._log.write_alarm(self._state.step, alarm)
            self._bar.console.print(f"[bold]Alarm[/bold] at step {self._state.step}: {alarm}")

    def __enter__(self) -> "Record":
        self._log.__enter__()
        self._bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.__exit__(kind, error, trace)
        self._log.__exit__(kind, error, trace)


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
