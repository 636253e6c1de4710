"""What the server counts, and never whom: requests and what came of them in, Prometheus's text out.

Several processes count in files of one folder, which PROMETHEUS_MULTIPROC_DIR names before prometheus_client is imported;
a process that is alone counts in memory.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from flask import current_app, g, has_app_context, has_request_context

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
LATENCY_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
WAIT_S = (0.001, 0.005, 0.02, 0.1, 0.5, 2, 10)
EVENTS = {
    "session_started": ("realism_sessions_started", "Sessions begun, or found again by the form that began them."),
    "session_ended": ("realism_sessions_ended", "Sessions that ended, by outcome."),
    "answer_stored": ("realism_answers_stored", "Answers acknowledged; one that is sent twice counts twice."),
}


class Metrics:
    """The counters of one application. No label names a participant, a session or a study."""

    def __init__(self) -> None:
        # Here and not above: it looks for the folder when it is imported.
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self.registry = CollectorRegistry()
        counter = partial(Counter, registry=self.registry)
        histogram = partial(Histogram, registry=self.registry)
        self._requests = counter("realism_requests", "Requests answered.", ["endpoint", "method", "status"])
        self._seconds = histogram(
            "realism_request_seconds",
            "Time from a thread's taking a request to its answer.",
            ["endpoint"],
            buckets=LATENCY_S,
        )
        self._waited = histogram(
            "realism_queue_seconds", "Time that requests waited for a free thread.", buckets=WAIT_S
        )
        self._retries = counter(
            "realism_database_retries", "Requests run again because the database lost their transaction.", ["reason"]
        )
        self._failures = counter(
            "realism_database_failures", "Requests refused because the database could not be used.", ["reason"]
        )
        self._events = {
            event: counter(name, told, ["outcome"] if event == "session_ended" else [])
            for event, (name, told) in EVENTS.items()
        }
        self._workers = Gauge(
            "realism_workers", "Processes that answer.", multiprocess_mode="livesum", registry=self.registry
        )
        self._workers.set(1)
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def observe(self, endpoint: str, method: str, status: int, seconds: float) -> None:
        """One request answered."""
        key = (endpoint, method, status)
        child = self._children.get(key)  # looking a label up costs more than counting
        if child is None:
            child = self._requests.labels(endpoint, method, str(status)), self._seconds.labels(endpoint)
            self._children[key] = child
        child[0].inc()
        child[1].observe(seconds)

    def waited(self, seconds: float) -> None:
        """A request waited so long for a thread."""
        self._waited.observe(seconds)

    def retried(self, reason: str) -> None:
        """A request is run again; ``reason`` is one of a few words."""
        self._retries.labels(reason).inc()

    def failed(self, reason: str) -> None:
        """A request is refused for the database's sake; ``reason`` is one of a few words."""
        self._failures.labels(reason).inc()

    def happened(self, event: str, outcome: str = "") -> None:
        """What a request came to, a key of EVENTS; ``session_ended`` takes the outcome."""
        counter = self._events[event]
        (counter.labels(outcome) if outcome else counter).inc()

    def text(self) -> bytes:
        """All counters of all processes, in Prometheus's text format 0.0.4."""
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        if not os.environ.get(FOLDER):
            return generate_latest(self.registry)
        gathered = CollectorRegistry()
        MultiProcessCollector(gathered)
        with _while_whole(fcntl.LOCK_SH):
            return generate_latest(gathered)


def note_end(outcome: str) -> None:
    """Say that this request ends a session: counted once, when it is answered well, however often it was tried."""
    if has_request_context():
        g.ended = outcome


def metrics() -> Metrics | None:
    """The counters of the application at work; None outside of one."""
    found = current_app.extensions.get("metrics") if has_app_context() else None
    assert found is None or isinstance(found, Metrics)
    return found


def fold(pid: int) -> None:
    """A worker has ended: what it counted goes to the counts of all that ended, so that files do not pile up."""
    from prometheus_client.mmap_dict import MmapedDict
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(pid)
    folder = Path(os.environ[FOLDER])
    with _while_whole(fcntl.LOCK_EX):
        for kind in ("counter", "histogram"):
            file = folder / f"{kind}_{pid}.db"
            if not file.exists():
                continue
            ended = MmapedDict(str(folder / f"{kind}_0.db"))
            for key, value, _, _ in MmapedDict.read_all_values_from_file(str(file)):
                ended.write_value(key, ended.read_value(key)[0] + value, 0.0)
            ended.close()
            file.unlink()


@contextmanager
def _while_whole(kind: int) -> Iterator[None]:
    """A reader must not meet a worker's counts in both places, or in none."""
    with (Path(os.environ[FOLDER]) / "folding").open("a") as lock:
        fcntl.flock(lock, kind)
        yield
