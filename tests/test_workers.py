"""Work on many processes: in order, few at a time, and nothing stays alive when it ends, is stopped or is killed."""

import os
import pickle
import signal
import subprocess
import sys
import time
import uuid
from contextlib import contextmanager
from pathlib import Path

import pytest

from pairs import workers
from pairs.workers import AHEAD, ALONE, CHUNK, WorkerError, spread
from protocol import InputError

MANY = ALONE + 30
TESTS = Path(__file__).parent


def square(n):
    return n * n


def uneven(n):
    """The earlier, the longer."""
    time.sleep(0.4 if n < 4 else 0)  # long enough for the other process to begin, on a busy machine too
    return n, os.getpid()


def pick_at_odd(n):
    if n in (3, MANY - 3):
        raise InputError(f"item {n} is odd; give even ones")
    return n


def end_at_40(n):
    if n == 40:
        os.kill(os.getpid(), signal.SIGKILL)
    return n


class Marked:
    """A command whose process and all that come from it carry a mark in their environment."""

    def __init__(self, *command, **environment):
        self.mark = f"REALISM_TEST_MARK={uuid.uuid4().hex}"
        name, value = self.mark.split("=")
        paths = os.pathsep.join((str(TESTS.parent), str(TESTS)))
        environ = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **environment, name: value}
        self.process = subprocess.Popen(
            [sys.executable, *map(str, command)],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a group of its own, as a terminal's job is
        )

    def alive(self) -> list[int]:
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and self.mark.encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:  # it has ended, or is another user's
                continue
        return found

    def press_ctrl_c(self) -> None:
        """As a terminal does: to every process of the job."""
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self) -> tuple[int, str, str]:
        said, complained = self.process.communicate(timeout=60)
        return self.process.returncode, said, complained

    def left_alive(self, within_s: float = 10) -> list[int]:
        """What of it still runs when it had time to end."""
        deadline = time.monotonic() + within_s
        while (alive := self.alive()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return alive


@contextmanager
def marked(*command, **environment):
    running = Marked(*command, **environment)
    try:
        yield running
    finally:
        for pid in running.alive():
            os.kill(pid, signal.SIGKILL)
        running.process.communicate()


def wait_until(holds, within_s: float = 30):
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.005)


def test_results_come_in_the_order_of_the_items_from_several_processes():
    results = list(spread(uneven, range(MANY), 2))
    assert [n for n, _ in results] == list(range(MANY))
    assert len({pid for _, pid in results} - {os.getpid()}) == 2


def test_few_items_stay_in_this_process():
    assert {pid for _, pid in spread(uneven, range(ALONE), 2)} == {os.getpid()}
    assert {pid for _, pid in spread(uneven, range(MANY), 1)} == {os.getpid()}
    assert list(spread(uneven, [], 2)) == []


def test_no_more_items_are_taken_than_wait():
    taken = []
    results = spread(square, (taken.append(n) or n for n in range(1000)), 2)
    for n, result in enumerate(results):
        assert result == n * n
        assert len(taken) <= max(ALONE + 1, n + CHUNK * (2 + 2 * AHEAD))
        if n == 300:
            break
    results.close()
    assert len(taken) < 300 + CHUNK * (3 + 2 * AHEAD)


def test_error_in_work_is_raised_once_and_ends_the_rest():
    taken, results = [], []
    with pytest.raises(InputError, match="^item 3 is odd; give even ones$"):
        results.extend(spread(pick_at_odd, (taken.append(n) or n for n in range(1000)), 2))
    assert len(taken) < 100


def test_error_among_the_items_is_raised():
    def items():
        yield from range(60)
        raise InputError("there is no item 60; give more")

    with pytest.raises(InputError, match="^there is no item 60; give more$"):
        list(spread(square, items(), 2))


def test_killed_process_is_told_once():
    with pytest.raises(WorkerError, match="a process that worked on pictures was killed; is there enough free memory?"):
        list(spread(end_at_40, range(MANY), 2))
    assert list(spread(square, range(MANY), 2)) == [n * n for n in range(MANY)]  # and the next work begins anew


def test_generator_that_is_left_alone_ends_its_processes():
    results = spread(uneven, range(MANY), 2)
    pids = {next(results)[1] for _ in range(20)}
    results.close()
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


LONG = """
import sys, time
from pairs.workers import spread
from test_workers import uneven
if __name__ == "__main__":
    for n, pid in spread(uneven, range(100_000), 2):
        if n == 20:
            print(pid, flush=True)
        if n == 20 and "wait" in sys.argv:
            time.sleep(60)
"""


@pytest.mark.parametrize("where", ["work", "wait"])
def test_processes_end_with_the_one_that_is_killed(tmp_path, where):
    (tmp_path / "long.py").write_text(LONG)
    with marked(tmp_path / "long.py", where) as running:
        assert running.process.stdout.readline()
        assert len(running.alive()) >= 3
        running.process.kill()
        assert running.left_alive() == []


@pytest.mark.parametrize("delay_s", [0, 0.1, 0.25])
def test_stopped_by_hand_only_the_first_process_complains(tmp_path, delay_s):
    """Also while the others still start."""
    (tmp_path / "long.py").write_text(LONG)
    with marked(tmp_path / "long.py") as running:
        wait_until(lambda: len(running.alive()) >= 3)  # the server that the others are forked from has begun
        time.sleep(delay_s)
        running.press_ctrl_c()
        code, _, complained = running.end()
        assert code == -signal.SIGINT
        assert complained.count("Traceback") == 1, complained
        assert running.left_alive() == []


def test_errors_of_ours_can_go_to_another_process():
    """An exception that pickle cannot make again breaks the pool, and would be told as a lack of memory."""
    from pairs.road import BrokenPhotoError
    from protocol.place import PlaceError

    for error in (BrokenPhotoError(Path("a.png"), "cut short"), PlaceError("s3://bucket/set", "Access Denied")):
        again = pickle.loads(pickle.dumps(error))  # noqa: S301 -- our own
        assert type(again) is type(error)
        assert (str(again), vars(again)) == (str(error), vars(error))


def test_number_of_processes_is_that_of_the_cores(monkeypatch):
    monkeypatch.setattr(workers.os, "sched_getaffinity", lambda pid: {0})
    assert {pid for _, pid in spread(uneven, range(MANY))} == {os.getpid()}
