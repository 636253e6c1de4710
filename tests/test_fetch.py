import dataclasses
import hashlib
import io
import json
import resource
import socket
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from click.testing import CliRunner
from pictures import colourful
from rich.console import Console
from scipy.io import savemat

import realism
from train import fetch as photo_sources
from train.fetch import FetchError, Remote, fetch, flowers102, stanford_dogs
from train.photos import find_photos

BREEDS = ("n02085620-Chihuahua", "n02085782-Japanese_spaniel")
LABELS = (77, 1, 77, 60)  # of image_00001.jpg and those after it


class Server(ThreadingHTTPServer):
    """Serves ``files`` (name to bytes); with ``cut_after`` it hangs up after so many bytes of each answer."""

    def __init__(self, knows_ranges=True):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.knows_ranges, self.cut_after = {}, knows_ranges, None
        self.asked = []  # (name, Range or None), in order

    def url(self, name):
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        name, asked = self.path.rsplit("/", 1)[1], self.headers.get("Range")
        self.server.asked.append((name, asked))
        if name not in self.server.files:
            self.send_error(404)
            return
        body, start = self.server.files[name], 0
        if asked and self.server.knows_ranges:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                self.send_error(416)
                return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if name.endswith(".tgz"):
            self.send_header("Content-Encoding", "gzip")  # as some servers say of every such file
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.wfile.write(body[start:][: self.server.cut_after])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    yield from running(Server())


@pytest.fixture
def old_server():
    """One that knows no ranges."""
    yield from running(Server(knows_ranges=False))


def running(server):
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def jpeg(seed):
    data = io.BytesIO()
    colourful(seed).save(data, "jpeg")
    return data.getvalue()


def tar_of(members, mode="w"):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=mode) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return data.getvalue()


def dogs_tar():
    return tar_of(
        {f"Images/{breed}/{breed[:9]}_{i}.jpg": jpeg(i + 10 * k) for k, breed in enumerate(BREEDS) for i in (1, 2)}
    )


def dogs(server, content=None, checksum=None):
    """Stanford Dogs as published, but for where it is and what comes."""
    server.files["images.tar"] = content = dogs_tar() if content is None else content
    remote = Remote(server.url("images.tar"), "sha256", checksum or hashlib.sha256(content).hexdigest())
    return dataclasses.replace(stanford_dogs(), files=(remote,))


def flowers(server):
    labels = io.BytesIO()
    savemat(labels, {"labels": np.array([LABELS], np.uint8)})
    archive = tar_of({f"jpg/image_{i:05d}.jpg": jpeg(i) for i in range(1, len(LABELS) + 1)}, "w:gz")
    server.files |= {"102flowers.tgz": archive, "imagelabels.mat": labels.getvalue()}
    published = flowers102()
    local = [Remote(server.url(f.name), "md5", hashlib.md5(server.files[f.name]).hexdigest()) for f in published.files]
    return dataclasses.replace(published, files=tuple(local))


def get(source, out):
    return fetch(source, out, Console(file=io.StringIO()))


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_dogs(out):
    """The folder holds the photographs and the note, byte for byte, and nothing else, nor is anything beside it."""
    with tarfile.open(fileobj=io.BytesIO(dogs_tar())) as tar:
        published = {m.name.removeprefix("Images/"): tar.extractfile(m).read() for m in tar.getmembers()}
    found = contents(out)
    assert json.loads(found.pop("source.json"))["photos"] == 4
    assert found == published
    assert list(out.parent.iterdir()) == [out]


@pytest.fixture
def out(tmp_path):
    return tmp_path / "photos"


def test_dogs_come_into_one_folder_per_breed_with_a_note_of_their_source(server, out):
    source = dogs(server)
    note = get(source, out)
    assert_dogs(out)
    assert json.loads((out / "source.json").read_text()) == note
    assert note["classes"] == 2
    assert note["files"] == [{"url": source.files[0].url, "sha256": source.files[0].checksum}]
    assert "non-commercial" in note["licence"]
    assert "Khosla" in note["citation"]
    assert {photo.path.parent.name for photo in find_photos(out)} == set(BREEDS)
    assert len(find_photos(out)) == 4


def test_flowers_come_into_one_folder_per_class_by_their_labels(server, out):
    note = get(flowers(server), out)
    found = {str(photo.path.relative_to(out)) for photo in find_photos(out)}
    assert found == {
        "077-passion-flower/image_00001.jpg",
        "001-pink-primrose/image_00002.jpg",
        "077-passion-flower/image_00003.jpg",
        "060-pink-yellow-dahlia/image_00004.jpg",
    }
    assert (out / "077-passion-flower" / "image_00003.jpg").read_bytes() == jpeg(3)
    assert (note["photos"], note["classes"]) == (4, 3)
    assert "Nilsback" in note["citation"]


def test_catalogue_names_the_published_files_by_their_checksums():
    assert {f.url: (f.algorithm, f.checksum) for f in (*flowers102().files, *stanford_dogs().files)} == {
        "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/102flowers.tgz": ("md5", "52808999861908f626f3c1f4e79d11fa"),
        "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/imagelabels.mat": (
            "md5",
            "e0620be6f572b9609742df49c70aed4d",
        ),
        "http://vision.stanford.edu/aditya86/ImageNetDogs/images.tar": (
            "sha256",
            "a443fc2f9a851aa1a7b8e4fa4af94b8459fce2c9f5a2f4dd4669cf9673a4ec58",
        ),
    }


def test_download_that_was_cut_off_goes_on_where_it_stopped(server, out):
    source = dogs(server)
    server.cut_after = 1000
    with pytest.raises(FetchError, match="images.tar broke off, and what came is kept .*run the command again"):
        get(source, out)
    assert contents(out) == {"images.tar.part": dogs_tar()[:1000]}
    with pytest.raises(FetchError, match="broke off"):
        get(source, out)
    server.cut_after = None
    get(source, out)
    assert_dogs(out)
    assert [asked for _, asked in server.asked] == [None, "bytes=1000-", "bytes=2000-"]


def test_complete_part_is_verified_and_not_downloaded_again(server, out):
    source = dogs(server)
    out.mkdir()
    (out / "images.tar.part").write_bytes(dogs_tar())
    get(source, out)
    assert_dogs(out)


def test_server_that_knows_no_ranges_sends_all_again(old_server, out):
    source = dogs(old_server)
    old_server.cut_after = 1000
    with pytest.raises(FetchError, match="broke off"):
        get(source, out)
    old_server.cut_after = None
    get(source, out)
    assert_dogs(out)
    assert old_server.asked[-1] == ("images.tar", "bytes=1000-")


def test_wrong_checksum_names_both_and_the_next_run_starts_over(server, out):
    source = dogs(server)
    right, wrong = server.files["images.tar"], b"x" * 5000
    server.files["images.tar"] = wrong
    sums = f"{hashlib.sha256(wrong).hexdigest()}, the published one is {source.files[0].checksum}"
    with pytest.raises(FetchError, match=f"images.tar.part has the sha256 {sums}; it is now .*images.tar.damaged"):
        get(source, out)
    assert contents(out) == {"images.tar.damaged": wrong}
    server.files["images.tar"] = right
    get(source, out)
    assert_dogs(out)
    assert server.asked == [("images.tar", None)] * 2


def test_part_of_another_file_is_found_out_and_dropped(server, out):
    source = dogs(server)
    out.mkdir()
    (out / "images.tar.part").write_bytes(b"x" * 700)
    with pytest.raises(FetchError, match="the published one is"):
        get(source, out)
    get(source, out)
    assert_dogs(out)


def test_offline_says_what_why_and_what_to_do(out, server):
    source = dogs(server)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound but not listening: nobody else gets the port
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/images.tar"
        gone = dataclasses.replace(source, files=(dataclasses.replace(source.files[0], url=url),))
        with pytest.raises(FetchError, match="could not be reached") as refused:
            get(gone, out)
    said = str(refused.value)
    assert said.startswith(f"{url} could not be reached (Connection refused); run the command again when")
    assert f"download it by other means to {out / 'images.tar'}" in said


def test_file_that_is_gone_from_the_server_is_reported_with_its_answer(server, out):
    source = dogs(server)
    server.files.clear()
    with pytest.raises(FetchError, match="images.tar is not to be had \\(the server says 404 Not Found\\)"):
        get(source, out)


def test_archive_downloaded_by_hand_is_taken_after_its_checksum(server, out):
    source = dogs(server)
    out.mkdir()
    (out / "images.tar").write_bytes(b"<html>Sign in</html>")
    with pytest.raises(FetchError, match="images.tar has the sha256"):
        get(source, out)
    (out / "images.tar").write_bytes(dogs_tar())
    get(source, out)
    assert_dogs(out)
    assert server.asked == []


def test_second_run_does_nothing(server, out):
    source = dogs(server)
    first = get(source, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert get(source, out) == first
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    assert len(server.asked) == 1


def test_folder_that_holds_something_else_is_left_alone(server, out):
    out.mkdir()
    (out / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(FetchError, match="photos holds holiday.jpg, which is no part of stanford-dogs; choose another"):
        get(dogs(server), out)
    assert contents(out) == {"holiday.jpg": b"mine"}
    assert server.asked == []


@pytest.mark.parametrize("name", ["../escaped.jpg", "Images/../../../escaped.jpg"])
def test_archive_that_reaches_out_of_its_folder_is_refused(server, out, name):
    source = dogs(server, tar_of({"Images/n1-Dog/a.jpg": b"a", name: b"evil"}))
    with pytest.raises(FetchError, match="images.tar cannot be unpacked .*escaped.jpg.* outside the destination"):
        get(source, out)
    assert set(contents(out.parent)) == {"photos/images.tar"}


def test_archive_that_links_out_of_its_folder_is_refused(server, out):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        link = tarfile.TarInfo("Images/n1-Dog")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(link)
    with pytest.raises(FetchError, match="images.tar cannot be unpacked .*n1-Dog.* is a link to an absolute path"):
        get(dogs(server, data.getvalue()), out)
    assert set(contents(out.parent)) == {"photos/images.tar"}


def test_unpacking_that_is_stopped_leaves_the_archive_and_nothing_half(server, out):
    source = dogs(server)

    def stopped(unpacked, aside, downloaded):
        source.arrange(unpacked, aside, downloaded)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="^$"):
        get(dataclasses.replace(source, arrange=stopped), out)
    assert set(contents(out.parent)) == {"photos/images.tar"}
    assert list(out.parent.iterdir()) == [out]
    get(source, out)
    assert_dogs(out)
    assert len(server.asked) == 1


def test_full_disk_keeps_what_came(server, out):
    source = dogs(server)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, before[1]))  # the nearest to a full disk that needs no rights
    try:
        with pytest.raises(FetchError, match="images.tar.part cannot be written .*make room and run the command again"):
            get(source, out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert contents(out) == {"images.tar.part": dogs_tar()[:3000]}
    get(source, out)
    assert_dogs(out)
    assert server.asked[-1] == ("images.tar", "bytes=3000-")


def test_terminal_shows_how_far_and_how_fast(server, out):
    shown = io.StringIO()
    fetch(dogs(server), out, Console(file=shown, force_terminal=True, width=120))
    assert "images.tar" in shown.getvalue()
    assert "Unpacking" in shown.getvalue()
    assert "B/s" in shown.getvalue()


def test_command_fetches_once_and_says_the_terms(server, out, monkeypatch):
    source = dogs(server)
    monkeypatch.setitem(photo_sources.CATALOGUE, "stanford-dogs", lambda: source)
    command = ["photos", "fetch", "stanford-dogs", "--out", str(out)]
    done = CliRunner().invoke(realism.cli, command, catch_exceptions=False)
    assert done.exit_code == 0
    assert "4 photos of stanford-dogs in 2 classes, all verified" in done.output
    assert "non-commercial" in done.output
    again = CliRunner().invoke(realism.cli, command, catch_exceptions=False)
    assert again.exit_code == 0
    assert "holds stanford-dogs already; there is nothing to do" in again.output


def test_command_says_in_one_sentence_what_went_wrong(server, out, monkeypatch, capsys):
    source = dogs(server)
    server.files.clear()
    monkeypatch.setitem(photo_sources.CATALOGUE, "stanford-dogs", lambda: source)
    with pytest.raises(SystemExit, match="^2$"):
        realism.main(["photos", "fetch", "stanford-dogs", "--out", str(out)])
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert said[0].startswith(f"Error: {source.files[0].url} is not to be had")


def test_command_has_help_with_an_example():
    shown = CliRunner().invoke(realism.cli, ["photos", "fetch", "--help"]).output
    assert "Example:  realism photos fetch flowers102 --out flowers/" in shown
