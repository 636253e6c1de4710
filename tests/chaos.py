"""Harm done to a running survey while people are at work in it: a study and what to do to it in, what was promised to whom out.

People keep asking until they are answered, as the survey's page does. Whoever finishes is followed by somebody new, so that
every step of the road meets the harm, until it is over; then everybody finishes.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

from sqlalchemy import Engine, func, select

from study_app.db import reading
from study_app.tables import Response, Session

sys.path.append(str(Path(__file__).resolve().parent.parent / "benchmarks"))  # last: its names hide no library's

from load_client import Browser, Manner, Sitting, Traffic, take_part
from load_server import alive, family, free_port, realism_server
from load_study import find_losses, unevenness

__all__ = ["alive", "family", "free_port", "realism_server", "unevenness"]

PEOPLE = 20
PAUSES_S = (0.05, 0.1, 0.2, 0.4)  # the page's are ten times as long
# As long as a click takes a quick participant: otherwise more people come than the cores have time for.
THINK_S = 0.2


@dataclass
class Crowd:
    """Everybody who took part, and all that they met."""

    sittings: list[Sitting] = field(default_factory=list)
    traffic: Traffic = field(default_factory=Traffic)

    @property
    def answers(self) -> int:
        return sum(len(sitting.acknowledged) for sitting in self.sittings)

    def lost_nothing(self, engine: Engine, trials: int) -> None:
        """Everybody has a code, and stored are the acknowledged answers, each once and as it was sent, and nothing else."""
        assert [sitting for sitting in self.sittings if not sitting.code] == []
        assert [failure for failure in self.traffic.failures if failure.endswith(": 500")] == []  # 503 says: come back
        assert {len(sitting.acknowledged) for sitting in self.sittings} == {trials}
        assert find_losses(engine, self.sittings) == []
        with reading(engine) as db:
            assert db.scalar(select(func.count()).select_from(Response)) == self.answers
            ended = db.execute(select(Session.public_id, Session.outcome, Session.completion_code)).all()
        assert sorted(ended) == sorted((one.public_id, "completed", one.code) for one in self.sittings)


def at_work_while(
    harm: Callable[[Crowd], Awaitable[None]],
    ports: Sequence[int],
    study: str = "spots",
    people: int = PEOPLE,
    timeout_s: float = 20,
    within_s: float = 120,
) -> Crowd:
    """``people`` take part at a time, on the servers at ``ports``, until ``harm`` is over and all have finished."""
    crowd, over = Crowd(), asyncio.Event()

    async def sit(seat: int) -> None:
        while not over.is_set():
            sitting = Sitting()
            crowd.sittings.append(sitting)
            first = seat % len(ports)
            browser = Browser((*ports[first:], *ports[:first]), crowd.traffic, PAUSES_S, timeout_s)
            await take_part(browser, study, Manner(THINK_S), sitting)
            browser.close()

    async def run() -> None:
        async with asyncio.timeout(within_s), asyncio.TaskGroup() as together:
            for seat in range(people):
                together.create_task(sit(seat))
            try:
                await harm(crowd)
            finally:
                over.set()

    in_own_loop(run())
    return crowd


def in_own_loop(work: Coroutine[Any, Any, Any]) -> Any:
    """What the work comes to; in a thread, since a browser of other tests may have left its loop running in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


async def until(claim: Callable[[], bool], what: str, within_s: float = 30) -> None:
    """Wait for it; fails, saying ``what`` did not come about, after ``within_s``."""
    try:
        async with asyncio.timeout(within_s):
            while not claim():
                await asyncio.sleep(0.02)
    except TimeoutError as error:
        raise AssertionError(f"after {within_s} s still not: {what}") from error


async def answers_flow(crowd: Crowd, n: int = 20) -> None:
    """That many more answers are acknowledged."""
    wanted = crowd.answers + n
    try:
        await until(lambda: crowd.answers >= wanted, f"{n} more answers acknowledged")
    except AssertionError as error:
        raise AssertionError(f"{error}; the last failures: {crowd.traffic.failures[-5:]}") from error


class Cable:
    """A TCP port that leads to a PostgreSQL's socket, until it is cut: then bytes vanish both ways and nothing is closed.

    Mended, it carries new connections; those that were cut are reset, as by a peer that knows them no more.
    """

    def __init__(self, socket_file: str, host: str = "127.0.0.1") -> None:
        self.socket_file, self.host, self.port = socket_file, host, free_port()
        self.is_cut = False
        self._spoiled: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> "Cable":
        self._thread.start()
        asyncio.run_coroutine_threadsafe(asyncio.start_server(self._lead, self.host, self.port), self._loop).result(30)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    async def _end(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def cut(self) -> None:
        self.is_cut = True

    def mend(self) -> None:
        self.is_cut = False
        self._loop.call_soon_threadsafe(self._reset)

    def _reset(self) -> None:
        for writer in self._spoiled:
            writer.transport.abort()
        self._spoiled.clear()

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(self.socket_file)
        with suppress(asyncio.CancelledError):  # at the end; asyncio's streams would log it
            await asyncio.gather(self._carry(reader, back, writer), self._carry(there, writer, back))

    async def _carry(self, source: asyncio.StreamReader, *ends: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                if self.is_cut:
                    self._spoiled.update(ends)
                elif not self._spoiled.intersection(ends):
                    ends[0].write(data)
        except OSError:
            pass
        for end in ends:
            end.transport.abort()
