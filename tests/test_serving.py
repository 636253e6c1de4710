"""The server as it runs: real processes, signals and connections; nothing is lost while it is reloaded, stopped or hurt."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from conftest import SECRET, free_port
from sqlalchemy import func, select
from visitors import fields_of

from study_app import worker
from study_app.db import reading
from study_app.tables import Response

NEEDLESS = [
    "torch",
    "pandas",
    "matplotlib",
    "scipy",
    "alembic",
    "requests",
    "sklearn",
    "prometheus_client",
    "s3fs",
    "gunicorn",
]


def wait_until(holds, within_s=30):
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


class Server:
    """``realism serve`` as a process of its own."""

    def __init__(self, workshop, *arguments, **environment):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "realism", "serve", "--port", str(self.port), *map(str, arguments)]
        command += ["--database", workshop.config.database, "--instance", str(workshop.config.instance)]
        own = {name: value for name, value in os.environ.items() if not name.startswith("REALISM_")}
        self.process = subprocess.Popen(command, env={**own, "REALISM_SECRET_KEY": SECRET, **environment})
        wait_until(self.answers)

    def answers(self):
        assert self.process.poll() is None, f"the server ended with {self.process.returncode}"
        try:
            return requests.get(f"{self.url}/health", timeout=5).ok
        except requests.ConnectionError:
            return False

    def workers(self):
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return set(map(int, children))

    def counted(self, name, **headers):
        text = requests.get(f"{self.url}/metrics", timeout=10, headers=headers).text
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))

    def is_open(self):
        try:
            self.connect().close()
        except ConnectionError:
            return False
        return True

    def connect(self):
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection


@contextmanager
def running(workshop, *arguments, **environment):
    server = Server(workshop, *arguments, **environment)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.send_signal(signal.SIGINT)
            server.process.wait(timeout=30)


class Hammer(threading.Thread):
    """Asks over one connection that is kept alive, until told to stop; what failed is kept."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        self.asked, self.failed, self.again, self.stopped = 0, [], 0, False
        self.start()

    def run(self):
        while not self.stopped:
            was_open = self.connection.sock is not None
            try:
                self.connection.request("GET", "/ready")
                reply = self.connection.getresponse()
                reply.read()
                if reply.status != 200:
                    self.failed.append(reply.status)
            except OSError as error:
                self.connection.close()
                if was_open:  # closed while idle, at this very moment: browsers ask again, as this does
                    self.again += 1
                else:
                    self.failed.append(repr(error))
            self.asked += 1
            time.sleep(0.005)  # leaves the processor to the server


def test_reload_takes_new_settings_and_drops_no_request(sqlite_workshop, tmp_path):
    settings, log = tmp_path / "settings", tmp_path / "log"
    settings.write_text("# of the operator\nREALISM_METRICS_TOKEN=first\nREALISM_PROXIES=1\n")
    with running(sqlite_workshop, "--settings", settings, "--log", log, "--workers", 2) as server:
        first = server.workers()
        hammers = [Hammer(server) for _ in range(4)]
        for token in ("second", "third", "REALISM_HTTPS=perhaps"):
            before = server.workers()
            settings.write_text(f"{token if '=' in token else f'REALISM_METRICS_TOKEN={token}'}\nREALISM_PROXIES=1\n")
            server.process.send_signal(signal.SIGHUP)
            wait_until(lambda before=before: len(server.workers()) == 2 and not server.workers() & before)
            asked = [hammer.asked for hammer in hammers]
            wait_until(lambda asked=asked: all(h.asked > n + 5 for h, n in zip(hammers, asked, strict=True)))
        for hammer in hammers:
            hammer.stopped = True
        for hammer in hammers:
            hammer.join(timeout=30)
        assert [hammer.failed for hammer in hammers] == [[]] * 4
        assert sum(hammer.again for hammer in hammers) <= 1  # of thousands: it is a rare moment
        assert not first & server.workers()
        # Who comes through the proxy from elsewhere needs the token: the third, since what came after it cannot be used.
        outside = {"X-Forwarded-For": "203.0.113.9"}
        replies = [
            requests.get(f"{server.url}/metrics", timeout=10, headers={**outside, "Authorization": f"Bearer {token}"})
            for token in ("first", "third")
        ]
        assert [reply.status_code for reply in replies] == [404, 200]
        # Also what the workers counted that are gone.
        assert server.counted('realism_requests_total{endpoint="health.ready"') == sum(h.asked for h in hammers)
        assert memory_mb({server.process.pid, *server.workers()}) < 250
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    told = [line["message"] for line in lines if line["level"] == "error"]
    assert told == ["the settings stay as they were: REALISM_HTTPS is 'perhaps'; give 1 for yes or 0 for no"]


def memory_mb(pids):
    """What the processes hold together, shared pages once (PSS)."""
    rollups = [Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines() for pid in pids]
    return sum(int(line.split()[1]) for lines in rollups for line in lines if line.startswith("Pss:")) / 1024


def test_answer_under_way_is_stored_and_told_when_the_server_is_stopped(workshop):
    """Its head has come, its body has not; and connections over which nothing comes do not hold the server up."""
    workshop.create_study(trials={"practice": 0, "main": 2})
    with running(workshop, "--workers", 1, "--threads", 2) as server:
        idle = [server.connect() for _ in range(6)]  # more than there are threads
        visitor = requests.Session()
        page = visitor.get(f"{server.url}/study/spots/", timeout=30)
        action, ticket = fields_of(page.text)
        visitor.post(f"{server.url}{action}", data={"ticket": ticket}, timeout=30)
        visitor.post(f"{server.url}/study/spots/step/instructions", timeout=30)
        assert visitor.get(f"{server.url}/study/spots/next", timeout=30).json()["trial"]["trial_index"] == 0
        body = json.dumps({"trial_index": 0, "response": "left", "rt": 700, "elapsed_ms": 700}).encode()
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in visitor.cookies)
        with server.connect() as answering:
            head = f"POST /study/spots/answer HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {cookies}\r\n"
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            answering.sendall(head.encode() + body[:10])
            wait_until(lambda: server.answers())  # a request that came later is answered: this one is under way
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: not server.is_open())
            answering.sendall(body[10:])
            reply = http.client.HTTPResponse(answering)
            reply.begin()
            assert (reply.status, json.loads(reply.read())["stored"]) == (200, True)
        assert server.process.wait(timeout=15) == 0
        for connection in idle:
            connection.close()
    with reading(workshop.engine) as db:
        assert db.scalar(select(func.count(Response.id))) == 1


def test_killed_worker_is_replaced_and_what_it_counted_stays(sqlite_workshop):
    with running(sqlite_workshop, "--workers", 1) as server:
        (killed,) = server.workers()
        before = server.counted('realism_requests_total{endpoint="health.alive"')
        assert before >= 1
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: server.workers() and server.workers() != {killed} and server.answers())
        assert server.counted('realism_requests_total{endpoint="health.alive"') > before
        assert list(Path("/dev/shm").glob(f"realism-serve-*/*_{killed}.db")) == []


def test_log_is_opened_anew_and_the_survey_goes_on_without_it(sqlite_workshop, tmp_path):
    def reload():
        before = server.workers()
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(server.workers()) == 1 and not server.workers() & before and server.answers())

    folder = tmp_path / "logs"
    folder.mkdir()
    with running(sqlite_workshop, "--workers", 1, "--log", folder / "log") as server:
        with server.connect() as broken:
            broken.sendall(b"GET http://[::1/study?invitation=SECRET HTTP/1.1\r\nCookie realism=SECRET\r\n\r\n")
            assert broken.recv(12) == b"HTTP/1.1 400"
        told = (folder / "log").read_text()
        assert "a request could not be read" in told
        assert "SECRET" not in told
        assert "127.0.0.1:" not in told.replace(f"127.0.0.1:{server.port}", "")
        (folder / "log").rename(folder / "log.1")
        reload()
        assert "/health" in (folder / "log").read_text()
        folder.rename(tmp_path / "away")
        reload()
        assert not folder.exists()


def test_visitors_are_shared_out_evenly_also_after_a_worker_was_killed(sqlite_workshop):
    def come(n):
        for _ in range(n):
            visitor = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
            visitor.request("GET", "/health")
            assert visitor.getresponse().read()
            visitors.append(visitor)

    def sockets(pid):
        return sum("socket" in os.readlink(file) for file in Path(f"/proc/{pid}/fd").iterdir())

    def is_served_by(pid):
        """A process is there before it lets anybody in."""
        before = sockets(pid)
        come(1)
        return sockets(pid) > max(before, 2)

    visitors = []
    with running(sqlite_workshop, "--workers", 2) as server:
        wait_until(lambda: len(server.workers()) == 2)
        one, other = server.workers()
        wait_until(lambda: is_served_by(one))
        wait_until(lambda: is_served_by(other))
        come(30)
        assert abs(sockets(one) - sockets(other)) <= 4
        os.kill(one, signal.SIGKILL)
        wait_until(lambda: len(server.workers() - {one}) == 2)
        (new,) = server.workers() - {one, other}
        wait_until(lambda: is_served_by(new))
        before = sockets(new)
        come(12)
        assert sockets(new) >= before + 8
        for visitor in visitors:
            visitor.close()


def test_whoever_stops_reading_is_waited_for_only_so_long(monkeypatch):
    monkeypatch.setattr(worker, "STALLED_S", 0.05)
    ours, theirs = socket.socketpair()
    with theirs, worker.PatientSocket(ours.family, ours.type, ours.proto, fileno=ours.detach()) as patient:
        patient.setblocking(True)
        with pytest.raises(TimeoutError, match="timed out"):
            patient.sendall(b"x" * 10_000_000)


def test_a_server_loads_nothing_that_it_does_not_need():
    script = f"import sys, study_app; print([name for name in {NEEDLESS} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
