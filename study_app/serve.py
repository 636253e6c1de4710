"""Serving: settings in, gunicorn running until it is told to stop."""

import fcntl
import logging
import math
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger
from gunicorn.http.errors import ParseException

from protocol import InputError
from study_app import create_app
from study_app.config import Config, ConfigError, Serving
from study_app.db import open_engine, open_migrated
from study_app.delivery import Delivery
from study_app.metrics import FOLDER, fold
from study_app.request_log import handler_of, open_log
from study_app.store import check_store
from study_app.worker import leave

# Measured, on two cores; docs/serving.md has the figures. A thread waits for the database and the network half its time.
THREADS = 8
MOST_WORKERS = 8
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # "200000 100000" is two cores
MEMORY = Path("/dev/shm")  # counting there costs no disk writes
GRACEFUL_S = 20  # more than any statement may take
KEEPALIVE_S = 75  # more than nginx's for its upstreams (60), so that it is nginx who ends an idle connection


@dataclass(frozen=True)
class Settings:
    """All that a server reads when it starts, and again when it is told to (SIGHUP)."""

    config: Config
    serving: Serving
    secret: str
    metrics_token: str = ""


class SurveyServer(BaseApplication):
    """gunicorn over our application. Each worker makes its own: a connection, to the database or the store, must not cross a fork."""

    def __init__(self, read: Callable[[], Settings], report: Path | None, log: str, options: dict[str, Any]) -> None:
        self.read, self.report, self.log, self.options = read, report, log, options
        self.settings = read()
        super().__init__()

    def load_config(self) -> None:
        for key, value in self.options.items():
            self.cfg.set(key, value)

    def reload(self) -> None:
        """What cannot be used now leaves all as it was: new workers come in any case."""
        try:
            settings = self.read()
            check(settings)
            self.settings = settings
        except InputError as error:
            logging.getLogger("gunicorn.error").error("the settings stay as they were: %s", error)
        _open_logs(self.log)
        super().reload()

    def load(self) -> Flask:
        """A worker's application. It asks nothing of the database: a worker that cannot start ends the server."""
        log = _open_logs(self.log)
        settings = self.settings
        engine = open_engine(settings.config.database, threads=self.options["threads"])
        app = create_app(engine, settings.config.store, settings.secret, self.report, settings.serving)
        app.config["METRICS_TOKEN"] = settings.metrics_token
        app.extensions["request_log"] = log
        app.register_error_handler(ParseException, _cannot_read)
        return app


def _cannot_read(_error: ParseException) -> tuple[str, int, dict[str, str]]:
    """A body in chunks that are none, which gunicorn learns only when the body is read."""
    return "The request cannot be read.\n", 400, {"Content-Type": "text/plain"}


def _clear_up(_server: Any, worker: Any) -> None:
    """After a worker, however it ended."""
    leave(worker.age)
    fold(worker.pid)


class ServerLog(Logger):
    """gunicorn's own words, in the form of ours, but for those about a request: they hold addresses, tokens and cookies."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True

    def access(self, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
        return

    def warning(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        if str(msg).startswith("Invalid request"):
            msg, args = "a request could not be read", ()
        super().warning(msg, *args, **kwargs)

    def exception(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        if str(msg).startswith("Error handling request"):
            msg, args = "a request could not be answered", ()
        super().exception(msg, *args, **kwargs)


def _open_logs(log: str) -> int | None:
    """Where lines of requests go; where nothing can be written now, the survey goes on without them."""
    try:
        _write_logs(log)
        return open_log(log)
    except OSError as error:
        _write_logs("")
        logging.getLogger("gunicorn.error").error("the log %s cannot be opened (%s)", log, error.strerror)
        return None


def _write_logs(log: str) -> None:
    """Everything that is logged in this process goes to one place, in one form.

    Raises:
        OSError: if it cannot be opened.
    """
    logging.raiseExceptions = False  # where the disk is full, no line, and no page of traces instead
    root = logging.getLogger()
    handler = handler_of(log)
    for old in root.handlers:
        with suppress(OSError):
            old.close()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)


def default_workers() -> int:
    """As many processes as can be at work at once; two at least, so that one is there when the other is replaced."""
    return max(2, min(_cores(), MOST_WORKERS))


def _cores() -> int:
    """What this process may use: a container may have fewer than the machine."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = CPU_QUOTA.read_text().split()
        return min(cores, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):  # no such container, or "max"
        return cores


def check(settings: Settings) -> None:
    """Whether the server can be of use with these settings.

    Raises:
        ConfigError: if the store does not fit the way that pictures take.
        DatabaseError: if the database is not ready.
        StoreError: if the pictures are behind an address that cannot be reached.
    """
    open_migrated(settings.config.database).dispose()
    check_store(settings.config.store)
    Delivery(settings.config.store, settings.serving)


def serve(
    read: Callable[[], Settings],
    host: str,
    port: int,
    workers: int | None,
    threads: int | None,
    report: Path | None,
    log: str,
    announce: Callable[[str], None],
) -> None:
    """Serve until stopped; once nothing stands in the way, ``announce`` is given the address.

    ``read`` is called now and at each SIGHUP. ``log``: a file for one line of JSON per request, "-" for the standard output,
    or "" for none.

    Raises:
        ConfigError: if a setting cannot be used, the port cannot be had, or ``report`` is no report.
        DatabaseError: if the database is not ready.
        StoreError: if the pictures are behind an address that cannot be reached.
    """
    if report is not None and not (report / "report.html").is_file():
        raise ConfigError(f"{report} holds no report.html; make a report with 'realism report'")
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    options: dict[str, Any] = {
        "bind": address,
        "threads": threads or THREADS,
        "worker_class": "study_app.worker.SurveyWorker",
        "logger_class": ServerLog,
        "loglevel": "info" if log else "warning",
        "keepalive": KEEPALIVE_S,
        "graceful_timeout": GRACEFUL_S,
        "control_socket_disable": True,
        "child_exit": _clear_up,
    }
    server = SurveyServer(read, report.resolve() if report else None, log, options)
    check(server.settings)
    options["workers"] = workers or default_workers()
    _check_port(host, port)
    try:
        _write_logs(log)
    except OSError as error:
        raise ConfigError(f"the log {log} cannot be opened ({error.strerror}); choose another with --log") from error
    with _counting_folder() as folder:
        options["worker_tmp_dir"] = str(folder)
        server.do_load_config()
        announce(f"http://{address}")
        sys.stdout.flush()
        server.run()


@contextmanager
def _counting_folder() -> Iterator[Path]:
    """Where the workers count, and their heartbeats are; gone when the server is, at the latest when the next one starts."""
    base = MEMORY if os.access(MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    for left in base.glob("realism-serve-*"):
        _remove_if_left(left)
    folder = Path(tempfile.mkdtemp(prefix="realism-serve-", dir=base))
    with (folder / "alive").open("w") as mark:
        fcntl.flock(mark, fcntl.LOCK_EX)  # workers hold it too, until the last of them has ended
        os.environ[FOLDER] = str(folder)
        import prometheus_client  # noqa: F401  # only now, and before the fork, which shares its memory

        master = os.getpid()
        try:
            yield folder
        finally:
            if os.getpid() == master:
                shutil.rmtree(folder, ignore_errors=True)


def _remove_if_left(folder: Path) -> None:
    """Remove the folder of a server that was killed."""
    try:
        with (folder / "alive").open() as mark:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    except OSError:  # in use, another user's, or just being made
        return


def _check_port(host: str, port: int) -> None:
    """Ask for the port before gunicorn does, which would try five times and then say it in a log."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigError(
                f"port {port} of {host} cannot be used ({error.strerror}); stop what uses it, or choose another with --port"
            ) from error
