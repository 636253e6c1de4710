"""A study whose pictures and pair sets lie behind S3: an HTTP endpoint of its own, and the real commands and server."""

import io
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
import s3fs
import tomli_w
from commands import call
from conftest import SECRET, free_port
from pictures import copy_pictures, write_pictures
from PIL import Image
from sqlalchemy import select

from protocol.encoding import encode_png
from protocol.pairset import read_pairset
from protocol.place import Place
from study_app import create_app, store
from study_app.db import reading
from study_app.doctor import Finding
from study_app.export import export_study
from study_app.store import StoreError, check_store, get_served, put_image
from study_app.studies import create_study
from study_app.tables import Pair, Study, Trial


def realism(workshop, *arguments):
    """The command, on the workshop's database and instance."""
    where = ("--database", workshop.config.database, "--instance", workshop.config.instance)
    return call(*arguments, *where, cwd=workshop.folder, REALISM_SECRET_KEY=SECRET)


def write_design(folder: Path, conditions: dict[str, str]) -> Path:
    design = {
        "name": "spots",
        "title": "Which spots are real?",
        "protocol": "zhang2016",
        "trials": {"practice": 2, "main": 4},
        "conditions": conditions,
        "assignment": {"conditions": "within"},
        "screen": {"check": False},
        "instructions": {"comprehension": False},
    }
    path = folder / "study.toml"
    path.write_text(tomli_w.dumps(design))
    return path


def make_study(workshop, address: str) -> Place:
    """A study of one condition whose pictures lie at the address."""
    copy_pictures(workshop.folder / "cgan", "cgan")
    create_study(workshop.engine, Place(address), write_design(workshop.folder, {"cgan": "cgan"}))
    return Place(address)


def begin(client, url=""):
    """Consent, as a browser does; what the survey says is next."""
    page = client.get(f"{url}/study/spots/").text
    ticket = re.search(r'name="ticket" value="([^"]+)"', page)[1]
    assert client.post(f"{url}/study/spots/start", data={"ticket": ticket}).status_code in (200, 303)
    client.post(f"{url}/study/spots/step/instructions")
    return client.get(f"{url}/study/spots/next")


def pixels(data: bytes) -> bytes:
    return Image.open(io.BytesIO(data)).convert("RGB").tobytes()


def test_study_lives_behind_s3_from_its_pair_sets_to_its_export(s3, sqlite_workshop, serve, tmp_path):
    write_pictures(f"{s3}/sets/cgan", "cgan")
    copy_pictures(tmp_path / "wgan", "wgan", strength=0.25)
    shutil.make_archive(str(tmp_path / "wgan"), "zip", tmp_path, "wgan")
    design = write_design(tmp_path, {"cgan": f"{s3}/sets/cgan", "wgan": "wgan.zip"})
    at = ("--store", f"{s3}/studies")

    done = realism(sqlite_workshop, "study", "create", str(design), *at)
    assert done.returncode == 0, done.stderr
    assert not (sqlite_workshop.config.instance / "store").exists()
    shutil.rmtree(tmp_path / "wgan")

    url, session = serve(sqlite_workshop, *at), requests.Session()
    trial = begin(session, url).json()["trial"]
    # A new connection for each, so that both of the server's processes are asked.
    session.headers["Connection"] = "close"
    replies = [
        {side: session.get(url + trial["pictures"][side], timeout=60) for side in ("left", "right")} for _ in range(6)
    ]
    assert all(reply.status_code == 200 for pair in replies for reply in pair.values())
    assert len({len(reply.content) for pair in replies for reply in pair.values()}) == 1
    left, right = replies[0]["left"], replies[0]["right"]
    told = [{k: v for k, v in reply.headers.items() if k not in ("Date", "Set-Cookie")} for reply in (left, right)]
    assert told[0] == told[1]
    assert told[0]["Content-Type"] == "image/png"
    assert told[0]["Cache-Control"] == "private, max-age=86400, immutable"
    assert not {"ETag", "Last-Modified", "Content-Disposition"} & set(told[0])

    done = realism(sqlite_workshop, "export", "spots", "--out", str(tmp_path / "out"), *at)
    assert done.returncode == 0, done.stderr
    for condition in ("cgan", "wgan"):
        assert len(read_pairset(tmp_path / "out" / "pairsets" / condition).pairs) == 24
    with reading(sqlite_workshop.engine) as db:
        shown = db.scalar(select(Trial).where(Trial.trial_index == trial["trial_index"]))
        pair = db.get(Pair, shown.pair_id)
        folder = tmp_path / "out" / "pairsets" / pair.condition.name / "images"
        sides = ("left", "right") if shown.real_side == "left" else ("right", "left")
        for side, role in zip(sides, ("real", "fake"), strict=True):
            assert pixels(replies[0][side].content) == pixels((folder / f"{pair.pair}-{role}.png").read_bytes())


def test_pictures_already_there_are_not_sent_again(s3, sqlite_workshop, monkeypatch):
    make_study(sqlite_workshop, f"{s3}/studies")
    sent = []
    monkeypatch.setattr("study_app.studies.put_image", lambda store, data: sent.append(put_image(store, data)))
    again = sqlite_workshop.folder / "study.toml"
    again.write_text(again.read_text().replace('name = "spots"', 'name = "spots-2"'))
    create_study(sqlite_workshop.engine, Place(f"{s3}/studies"), again)
    assert sent == []


def test_lost_picture_is_an_error_of_ours_and_not_of_the_page(s3, sqlite_workshop, tmp_path, caplog):
    place = make_study(sqlite_workshop, s3)
    client = create_app(sqlite_workshop.engine, place, SECRET).test_client()
    trial = begin(client).json["trial"]
    for name in place.names():
        system, path = place.path_of(name)
        system.rm_file(path)
    reply = client.get(trial["pictures"]["left"])
    assert reply.status_code == 503
    assert "Something went wrong on our side" in reply.text
    assert "restore the store from its backup" in caplog.text
    assert client.get("/study/spots/next").status_code == 200
    with pytest.raises(StoreError, match=f"picture {s3}/.* cannot be read .*; restore the store from its backup"):
        export_study(sqlite_workshop.engine, place, "spots", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def refused(done) -> str:
    """The one sentence in which a command ended."""
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    return done.stderr


def test_missing_bucket_is_told_before_anything_is_made(s3, sqlite_workshop):
    copy_pictures(sqlite_workshop.folder / "cgan", "cgan")
    design = write_design(sqlite_workshop.folder, {"cgan": "cgan"})
    for command in (("study", "create", str(design)), ("serve",)):
        said = refused(realism(sqlite_workshop, *command, "--store", "s3://no-such-bucket/studies"))
        assert "the store s3://no-such-bucket/studies cannot be used: The specified bucket does not exist; make" in said
    with reading(sqlite_workshop.engine) as db:
        assert db.scalars(select(Study)).all() == []


def test_store_at_an_empty_address_with_bucket_in_it_is_used(s3):
    files = s3fs.S3FileSystem()
    files.mkdir("my-bucket")
    try:
        for address in ("s3://my-bucket/studies", f"{s3}/bucket"):
            place = Place(address)
            check_store(place)
            with pytest.raises(store.MissingPictureError, match=r"cannot be read \(No such file or directory\)"):
                get_served(place, ["0" * 64])
            sha256 = put_image(place, encode_png(Image.new("RGB", (2, 2))))
            assert store.has_image(place, sha256)
    finally:
        files.rm("my-bucket", recursive=True)


def test_missing_bucket_with_bucket_in_its_name_is_told(s3):
    for ask in (check_store, lambda place: get_served(place, ["0" * 64])):
        with pytest.raises(
            StoreError, match="the store s3://my-bucket/store cannot be used: The specified bucket does"
        ):
            ask(Place("s3://my-bucket/store"))


def test_dead_endpoint_is_told_within_seconds(s3, sqlite_workshop, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    copy_pictures(sqlite_workshop.folder / "cgan", "cgan")
    design = write_design(sqlite_workshop.folder, {"cgan": "cgan"})
    for command in (("study", "create", str(design)), ("serve",)):
        began = time.monotonic()
        said = refused(realism(sqlite_workshop, *command, "--store", f"{s3}/studies"))
        assert time.monotonic() - began < 40
        assert f"the store {s3}/studies cannot be used (Could not connect to the endpoint" in said
        assert "see that its server is up and can be reached" in said


def test_endpoint_that_dies_while_serving_is_an_error_of_ours(s3, sqlite_workshop, monkeypatch, caplog):
    make_study(sqlite_workshop, s3)
    s3fs.S3FileSystem.clear_instance_cache()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    client = create_app(sqlite_workshop.engine, Place(s3), SECRET).test_client()
    trial = begin(client).json["trial"]
    assert client.get(trial["pictures"]["left"]).status_code == 503
    assert "Could not connect to the endpoint" in caplog.text


def test_endpoint_that_never_answers_is_not_waited_for(s3, monkeypatch):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(store, "READ_S", 1)
        began = time.monotonic()
        with pytest.raises(StoreError, match=f"the store {s3} does not answer; see that its server is up"):
            get_served(Place(s3), ["0" * 64])
        assert time.monotonic() - began < 20


class Refusing(BaseHTTPRequestHandler):
    """An S3 that knows nobody."""

    def do_GET(self) -> None:
        body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        self.send_response(403)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        return


def test_refused_access_is_told(s3, monkeypatch):
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        for ask in (check_store, lambda place: store.has_image(place, "0" * 64), lambda p: get_served(p, ["0" * 64])):
            with pytest.raises(StoreError, match=f"the store {s3} refuses access .*; see who may read and write there"):
                ask(Place(s3))
        server.shutdown()


WITHOUT_S3FS = """
import sys
sys.modules["s3fs"] = None  # as if it were not installed
import realism; realism.main()
"""


def test_without_s3fs_it_is_said_what_to_install(s3, sqlite_workshop):
    """In a process of its own, which has not imported it yet."""
    command = [sys.executable, "-c", WITHOUT_S3FS, "serve", "--store", s3]
    command += ["--database", sqlite_workshop.config.database]
    environment = {**os.environ, "REALISM_SECRET_KEY": SECRET}
    root = Path(__file__).parent.parent
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False, cwd=root)
    assert f"the store {s3}: Install s3fs to access S3 (pip install 'realism[s3]')" in refused(done)


def test_doctor_looks_at_the_store(s3, sqlite_workshop, monkeypatch):
    monkeypatch.setattr("study_app.doctor._accelerator", lambda: Finding("GPU", False, "none", needed=False))  # slow
    done = realism(sqlite_workshop, "doctor", "--store", s3)
    assert done.returncode == 0, done.stdout
    assert f"Pictures: kept in {s3}" in done.stdout
    done = realism(sqlite_workshop, "doctor", "--store", "s3://no-such-bucket")
    assert done.returncode == 1
    assert "MISSING  Pictures: the store s3://no-such-bucket cannot be used: The specified bucket" in done.stdout
