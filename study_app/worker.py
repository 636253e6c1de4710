"""gunicorn's threaded worker, in which visitors who are slow to speak or to listen keep no thread from the others.

gunicorn gives each new connection a thread, which waits five seconds for its first byte (browsers open connections that
they then do not use), and waits without end for one who stops reading or sending halfway (a telephone in a lift).
And of processes that wait for the same visitors the kernel mostly wakes the same one: of fifty participants one process
would serve forty, for as long as their connections stay open, and the other ten.
"""

import mmap
import os
import socket
import time
from array import array
from contextlib import suppress
from functools import partial
from selectors import EVENT_READ
from typing import Any

from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, TConn, ThreadWorker

# How many connections each worker of this server has, at the place of its age; -1: nobody is there, or lets nobody in. The
# master makes it before it forks, so that all see the same.
PLACES = 256
NOBODY = -1
AT_WORK = memoryview(mmap.mmap(-1, 4 * PLACES)).cast("i")
AT_WORK[:] = memoryview(array("i", [NOBODY] * PLACES))
# How long a worker with more connections than another leaves a new one to that one.
COURTESY_S = 0.002
STALLED_S = 20.0  # without a byte in either direction; whoever is back in time goes on, others ask anew


def leave(age: int) -> None:
    """The worker of that age takes no more connections, or is no more."""
    AT_WORK[age % PLACES] = NOBODY


class PatientSocket(socket.socket):
    """A connection that blocks, as gunicorn asks it to, for so long and not longer."""

    def setblocking(self, flag: bool) -> None:
        self.settimeout(STALLED_S if flag else 0.0)


class SurveyWorker(ThreadWorker):
    """A thread is taken once there is something to read; metrics learn how long that waited for its thread."""

    stopped_at: float | None = None

    @property
    def nr_conns(self) -> int:
        """How many connections there are; gunicorn counts by it."""
        return self._nr_conns

    @nr_conns.setter
    def nr_conns(self, n: int) -> None:
        self._nr_conns = n
        if self.alive:
            AT_WORK[self.age % PLACES] = n

    def accept(self, listener: socket.socket) -> None:
        if any(NOBODY < others < self.nr_conns for others in AT_WORK):
            time.sleep(COURTESY_S)
        with suppress(BlockingIOError, ConnectionAbortedError):  # another worker took it, or it is gone again
            self._take(listener)

    def _take(self, listener: socket.socket) -> None:
        client, address = listener.accept()
        family, kind, protocol = client.family, client.type, client.proto
        patient = PatientSocket(family, kind, protocol, fileno=client.detach())
        self.nr_conns += 1
        conn = TConn(self.cfg, patient, address, listener.getsockname())
        conn.set_timeout()
        self.pending_conns.append(conn)
        self.poller.register(patient, EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def set_accept_enabled(self, enabled: bool) -> None:
        """When stopping, those who knocked are let in, and others are told at once that nobody is here, not when we end."""
        super().set_accept_enabled(enabled)
        if self.alive:
            return
        leave(self.age)
        for listener in self.sockets:
            with suppress(OSError):
                while True:
                    self._take(listener)
            listener.close()

    def handle_quit(self, sig: int, frame: Any) -> None:
        """End at once. gunicorn waits for a lock that the very line which the signal interrupts may hold, without end."""
        os._exit(0)

    def enqueue_req(self, conn: Any) -> None:
        conn.queued_at = time.perf_counter()
        super().enqueue_req(conn)

    def handle_request(self, req: Any, conn: Any) -> Any:
        metrics = self.wsgi.extensions.get("metrics")
        if metrics is not None:
            metrics.waited(time.perf_counter() - conn.queued_at)
        return super().handle_request(req, conn)

    def murder_pending(self) -> None:
        """When stopping, a connection over which nothing came is given no longer than one between two requests."""
        if not self.alive:
            self.stopped_at = self.stopped_at or time.monotonic()
            for conn in self.pending_conns:
                conn.timeout = min(conn.timeout, self.stopped_at + STOP_KEEPALIVE_LINGER)
        super().murder_pending()
