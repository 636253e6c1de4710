"""Serving: a configuration in, gunicorn running until it is told to stop."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication

from study_app import create_app
from study_app.config import Config, ConfigError, read_secret
from study_app.db import open_migrated
from study_app.store import check_store


class SurveyServer(BaseApplication):
    """gunicorn over our application. Each worker makes its own: a connection, to the database or the store, must not cross a fork."""

    def __init__(self, config: Config, secret: str, report: Path | None, options: dict[str, Any]) -> None:
        self.config, self.secret, self.report, self.options = config, secret, report, options
        super().__init__()

    def load_config(self) -> None:
        for key, value in self.options.items():
            self.cfg.set(key, value)

    def load(self) -> Flask:
        return create_app(open_migrated(self.config.database), self.config.store, self.secret, self.report)


def serve(
    config: Config,
    host: str,
    port: int,
    workers: int,
    threads: int,
    report: Path | None,
    announce: Callable[[str], None],
) -> None:
    """Serve until stopped; once nothing stands in the way, ``announce`` is given the address.

    Raises:
        ConfigError: if there is no secret key, the port cannot be had, or ``report`` is no report.
        DatabaseError: if the database is not ready.
        StoreError: if the pictures are behind an address that cannot be reached.
    """
    secret = read_secret(config)
    open_migrated(config.database).dispose()
    check_store(config.store)
    if report is not None and not (report / "report.html").is_file():
        raise ConfigError(f"{report} holds no report.html; make a report with 'realism report'")
    _check_port(host, port)
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    announce(f"http://{address}")
    options = {
        "bind": address,
        "workers": workers,
        "threads": threads,
        "worker_class": "gthread",
        "loglevel": "warning",
        "keepalive": 30,
        "graceful_timeout": 5,  # seconds for requests under way when told to stop; idle connections wait in vain
        "control_socket_disable": True,
    }
    SurveyServer(config, secret, report.resolve() if report else None, options).run()


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
