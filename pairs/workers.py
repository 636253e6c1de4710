"""Work on pictures spread over the CPU's cores: items in, results in the same order out, few at a time in memory."""

import multiprocessing
import os
import signal
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any, TypeVar

from PIL import Image
from threadpoolctl import threadpool_limits

from protocol import InputError

ALONE = 48  # items: as many are done sooner than processes start
CHUNK = 8  # items sent at a time
AHEAD = 2  # chunks waiting, for each process

Item = TypeVar("Item")
Result = TypeVar("Result")


class WorkerError(InputError):
    """A process that ended before its work."""


def spread(work: Callable[[Item], Result], items: Iterable[Item], n_workers: int | None = None) -> Iterator[Result]:
    """``work`` of every item, in the items' order; ``work`` and items are sent to other processes.

    What ``work`` raises is raised here, and the rest is given up.

    Raises:
        WorkerError: if a process is killed, as the system does when memory runs out.
    """
    n_workers = n_workers or _n_cores()
    items = iter(items)
    first = list(islice(items, ALONE + 1))
    if n_workers == 1 or len(first) <= ALONE:
        yield from map(work, chain(first, items))
        return
    # Not forked: torch's and the file systems' threads would be missing in a copy of this process.
    context = multiprocessing.get_context("forkserver")
    pool = ProcessPoolExecutor(n_workers, context, initializer=_settle, initargs=(work,))
    waiting: deque[Future[list[Result]]] = deque()
    everything = chain(first, items)
    try:
        while chunk := list(islice(everything, CHUNK)):
            with _ctrl_c_held():  # processes begin here
                waiting.append(pool.submit(_work_on, chunk))
            if len(waiting) > AHEAD * n_workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    except BrokenProcessPool as error:
        raise WorkerError("a process that worked on pictures was killed; is there enough free memory?") from error
    finally:
        pool.shutdown(cancel_futures=True)


_work: Callable[[Any], Any]  # of this process, if it is a worker: sent once, not with every item


def _work_on(items: Sequence[Any]) -> list[Any]:
    return [_work(item) for item in items]


@contextmanager
def _ctrl_c_held() -> Iterator[None]:
    """This process sees Ctrl-C afterwards; one that begins meanwhile, which would complain at length, never does."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _n_cores() -> int:
    """Those that this process may use, where the system can tell."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _settle(work: Callable[[Any], Any]) -> None:
    """In a new process: leave Ctrl-C to the one that waits, and end when that is killed."""
    global _work
    _work = work
    threadpool_limits(1)  # NumPy's own threads would only fight the other processes for the cores
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # an error of ours, not a warning
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent:
            parent.join()
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
