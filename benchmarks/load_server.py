"""A server as processes: a command in, its address, its costs and its end out. All is read from Linux's /proc."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

SECRET = "0123456789abcdef0123456789abcdef"
ROOT = Path(__file__).resolve().parent.parent
START_S = 60
STOP_S = 30


class Server:
    """A process group that answers on ``port``; it may be killed and started again."""

    def __init__(
        self,
        command: Sequence[str],
        port: int,
        log: Path,
        environment: Mapping[str, str],
        folder: Path = ROOT,
        health: str = "/health",
    ) -> None:
        self.command, self.port, self.log, self.folder, self.health = command, port, log, folder, health
        kept = {name: value for name, value in os.environ.items() if not name.startswith("REALISM_")}
        self.environment = {**kept, **environment}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Seconds until the server answered.

        Raises:
            RuntimeError: if it ended instead, with what it said.
        """
        began = time.monotonic()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, env=self.environment, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() - began > START_S:
                self.kill()
                raise RuntimeError(f"{self.command} does not serve: {self.log.read_text()[-2000:]}")
            time.sleep(0.01)
        return time.monotonic() - began

    def _answers(self) -> bool:
        """Whether a worker, not only the open port, is there."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                connection.sendall(
                    f"GET {self.health} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
                )
                return connection.recv(12) == b"HTTP/1.1 200"
        except OSError:
            return False

    def kill(self) -> None:
        """SIGKILL to all of it at once; back when nothing of it listens."""
        if self.process is None:
            return
        with_all = self.process.pid
        if alive(with_all):
            os.killpg(with_all, signal.SIGKILL)
        self.process.wait(STOP_S)
        deadline = time.monotonic() + STOP_S
        while self._listens():
            if time.monotonic() > deadline:
                raise RuntimeError(f"something still listens on port {self.port} after it was killed")
            time.sleep(0.005)

    def kill_workers(self) -> None:
        """SIGKILL to every worker; the master makes new ones."""
        for pid in self.processes()[1:]:
            os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        """At once: SIGTERM would let idle connections drain."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(STOP_S)

    def _listens(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5):
                return True
        except OSError:
            return False

    def processes(self) -> list[int]:
        """The server's process and all below it."""
        return family(self.process.pid) if self.process is not None else []


def realism_server(database: str, instance: Path, port: int, *arguments: str, **environment: str) -> Server:
    """``realism serve`` over a database, without limits of rates: all participants come from one address."""
    command = [sys.executable, "-m", "realism", "serve", "--port", str(port), "--database", database]
    command += ["--instance", str(instance), *arguments]
    settings = {"REALISM_SECRET_KEY": SECRET, "REALISM_LIMITS": "0", **environment}
    return Server(command, port, instance.parent / f"server-{port}.log", settings)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def alive(pid: int) -> bool:
    """Whether the process runs; one that ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def family(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        try:
            children = [task.joinpath("children").read_text() for task in Path(f"/proc/{parent}/task").iterdir()]
        except OSError:  # it ended meanwhile
            continue
        found += [int(child) for listed in children for child in listed.split()]
    return found


def cpu_s(pids: Sequence[int]) -> float:
    """Seconds of processor time, in user and kernel, of processes that run."""
    total = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def memory_mb(pids: Sequence[int]) -> float:
    """Proportional set size: what processes share is counted once."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total * 1024 / 1e6
