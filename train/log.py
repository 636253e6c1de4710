"""Numbers of a run, step by step: ``log.jsonl``, one JSON object a line; TensorBoard beside it where it is asked for."""

import json
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from protocol import InputError
from train.checkpoint import write_atomically

LOG = "log.jsonl"


class LogError(InputError):
    """A log that cannot be gone on with."""


class TrainLog:
    """Appends to the log of a run; what a run that is resumed had written after its checkpoint is dropped.

    ``kept`` holds the rows before it.
    """

    def __init__(self, run: Path, step: int, tensorboard: bool = False) -> None:
        path = run / LOG
        self.kept = [row for row in read_log(path) if row["step"] <= step] if path.exists() else []
        write_atomically(path, "".join(json.dumps(row) + "\n" for row in self.kept).encode())
        self._path, self._file = path, path.open("a", encoding="utf-8")
        self._board: Any = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter  # takes seconds to import

            self._board = SummaryWriter(str(run / "tensorboard"), purge_step=step + 1)

    def write(self, step: int, numbers: dict[str, float]) -> None:
        self._append({"step": step, **{name: float(f"{n:.6g}") for name, n in numbers.items()}})
        if self._board is not None:
            for name, number in numbers.items():
                self._board.add_scalar(name, number, step)

    def write_alarm(self, step: int, alarm: str) -> None:
        self._append({"step": step, "alarm": alarm})

    def _append(self, row: dict[str, Any]) -> None:
        try:
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()
        except OSError as error:
            raise LogError(
                f"log {self._path} cannot be written ({error.strerror}); make room, and go on with --resume"
            ) from error

    def __enter__(self) -> "TrainLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # it tries once more to write a row that could not be written, which was told
            self._file.close()
        if self._board is not None:
            self._board.close()


def read_log(path: Path) -> list[dict[str, Any]]:
    """The rows of a log; a last line that a crash cut short is left out.

    Raises:
        LogError: naming the first line that is no JSON object with a step.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="backslashreplace").splitlines(keepends=True)
    except OSError as error:
        raise LogError(f"log {path} cannot be read ({error.strerror}); remove it, and the run goes on") from error
    return [_row(path, number, line) for number, line in enumerate(lines, start=1) if line.endswith("\n")]


def _row(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict) or type(row.get("step")) is not int:
        raise LogError(
            f"log {path}: line {number} is {line[:60]!r}, expected a JSON object with a step; "
            "remove the line or the log, and the run goes on"
        )
    return row
