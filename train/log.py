"""Numbers of a run, step by step: ``log.jsonl``, one JSON object a line; TensorBoard beside it where it is asked for."""

import json
from pathlib import Path
from types import TracebackType
from typing import Any


class TrainLog:
    """Appends to the log of a run; what a run that is resumed had written after its checkpoint is dropped."""

    def __init__(self, run: Path, step: int, tensorboard: bool = False) -> None:
        path = run / "log.jsonl"
        kept = [row for row in read_log(path) if row["step"] <= step] if path.exists() else []
        path.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
        self._file = path.open("a", encoding="utf-8")
        self._board: Any = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter  # takes seconds to import

            self._board = SummaryWriter(str(run / "tensorboard"), purge_step=step + 1)

    def write(self, step: int, numbers: dict[str, float]) -> None:
        self._file.write(json.dumps({"step": step, **{name: float(f"{n:.6g}") for name, n in numbers.items()}}) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, number in numbers.items():
                self._board.add_scalar(name, number, step)

    def __enter__(self) -> "TrainLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()


def read_log(path: Path) -> list[dict[str, Any]]:
    """The rows of a log; a last line that a crash cut short is left out."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            rows.append(json.loads(line))
    return rows
