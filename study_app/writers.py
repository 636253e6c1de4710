"""Whose turn it is to write to an SQLite file: threads and processes in, one at a time out."""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from protocol import InputError

# How long somebody waits for the turn before they are told to come back.
TURN_WAIT_S = 30


class DatabaseError(InputError):
    """A database that cannot be reached, or is not at this release's schema."""


class DatabaseBusyError(DatabaseError):
    """Others write for so long that this one's turn did not come."""


class WritersQueue:
    """One writer of an SQLite file at a time: threads of this process wait for a lock, and its head for those of others.

    SQLite lets who finds the file locked sleep and try again, longer each time: late comers overtake, and some wait for
    seconds. The lock among processes is flock's on the file beside the database, which a killed process frees by dying.
    """

    def __init__(self, file: Path | None) -> None:
        """``file``: where processes queue; None for a database in memory."""
        self.file = file
        self._lock = threading.Lock()
        self._writer: int | None = None  # the thread whose turn it is

    @contextmanager
    def turn(self) -> Iterator[None]:
        """The turn of this thread.

        Raises:
            DatabaseBusyError: if it does not come in time.
        """
        me = threading.get_ident()
        if self._writer == me:
            raise RuntimeError(
                "this thread is writing already: use the transaction that is open, a second one would wait for it"
            )
        started = time.monotonic()
        if not self._lock.acquire(timeout=TURN_WAIT_S):
            raise _busy()
        try:
            self._writer = me
            descriptor = self._enter(started + TURN_WAIT_S)
            try:
                yield
            finally:
                if descriptor is not None:
                    os.close(descriptor)  # and with it flock's lock
        finally:
            self._writer = None
            self._lock.release()

    def _enter(self, deadline: float) -> int | None:
        if self.file is None:
            return None
        try:  # anew each time: a lock belongs to the opened file, which a forked process would share
            descriptor = os.open(self.file, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise DatabaseError(
                f"the file {self.file}, at which writers queue, cannot be opened ({error.strerror}); check its folder"
            ) from error
        try:
            while not _is_free(descriptor):
                if time.monotonic() > deadline:
                    raise _busy()
                time.sleep(0.0002)  # at most one thread of a process does this, and a turn takes about as long
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor


def _is_free(descriptor: int) -> bool:
    """Whether the lock was free; it is ours then."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _busy() -> DatabaseBusyError:
    return DatabaseBusyError(
        f"the database is busy: others have been writing for {TURN_WAIT_S} seconds; try again, and see what writes so long"
    )
