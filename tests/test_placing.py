"""A pair set is at its place whole or not at all: in a folder, in a zip, behind an S3 address."""

import hashlib
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import boto3
import pytest
from pictures import colourful, write_pictures

from pairs import placing
from pairs.placing import refuse_taken
from pairs.selecting import Choice, select_pairs
from pairs.writing import About, Picture, write_pairsets
from protocol.pairset import MANIFEST, PairSetError, read_manifest, read_pairset, sha256_hex
from protocol.place import Place, PlaceError
from protocol.whole_folder import FolderError


@pytest.fixture(autouse=True)
def _same_time(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Where what goes to an address is made first."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(placing.tempfile, "tempdir", str(folder))
    return folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def put_object(address, data=b"years of work"):
    bucket, _, key = address.removeprefix("s3://").partition("/")
    boto3.client("s3").put_object(Bucket=bucket, Key=key, Body=data)


# ---- zips


def test_zip_is_read_as_a_folder_is_and_by_every_tool(tmp_path):
    in_zip, in_folder = (write_pictures(tmp_path / name, "cgan", n=4) for name in ("set.zip", "set"))
    assert in_zip == in_folder == read_pairset(tmp_path / "set.zip") == read_pairset(tmp_path / "set")
    with zipfile.ZipFile(tmp_path / "set.zip") as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == Place(tmp_path / "set").names()
        assert {entry.external_attr >> 16 for entry in archive.infolist()} == {0o644}
    assert names(tmp_path) == ["set", "set.zip"]


def test_same_pictures_give_the_same_zip(tmp_path):
    for name in ("one.zip", "two.zip"):
        write_pictures(tmp_path / name, "cgan", n=4)
    assert digest(tmp_path / "one.zip") == digest(tmp_path / "two.zip")


def test_zip_is_replaced_only_when_asked_and_only_if_it_is_a_pair_set(tmp_path):
    out = tmp_path / "set.ZIP"
    write_pictures(out, "cgan", n=2)
    before = digest(out)
    with pytest.raises(FolderError, match="set.ZIP already exists; choose another --out, or replace it with --replace"):
        write_pictures(out, "wgan", n=3)
    assert digest(out) == before
    write_pictures(out, "wgan", n=3, replace=True)
    assert len(read_pairset(out).pairs) == 3
    with zipfile.ZipFile(tmp_path / "thesis.zip", "w") as archive:
        archive.writestr("thesis.txt", "years of work")
    (tmp_path / "text.zip").write_text("no zip at all")
    (tmp_path / "folder.zip").mkdir()
    kept = {name: digest(tmp_path / name) for name in ("thesis.zip", "text.zip")}
    for name in ("thesis.zip", "text.zip", "folder.zip"):
        with pytest.raises(FolderError, match=f"{name} is no pair set and is left alone; choose another --out"):
            write_pictures(tmp_path / name, "cgan", n=2, replace=True)
    assert {name: digest(tmp_path / name) for name in kept} == kept
    assert names(tmp_path) == ["folder.zip", "set.ZIP", "text.zip", "thesis.zip"]


def test_zip_that_another_process_wrote_meanwhile_stays(tmp_path, monkeypatch):
    pack = placing._pack

    def beaten(content, packed):
        monkeypatch.setattr(placing, "_pack", pack)
        write_pictures(tmp_path / "set.zip", "wgan", n=3)
        pack(content, packed)

    monkeypatch.setattr(placing, "_pack", beaten)
    with pytest.raises(FolderError, match="already exists"):
        write_pictures(tmp_path / "set.zip", "cgan", n=2)
    assert read_pairset(tmp_path / "set.zip").condition == "wgan"
    assert names(tmp_path) == ["set.zip"]


def test_zip_of_more_files_than_the_old_format_counts_is_read(tmp_path, monkeypatch):
    """32,768 pairs are more than 65,535 files; the limit is lowered instead, so that the longer form is written."""
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 5)
    write_pictures(tmp_path / "set.zip", "cgan", n=4)
    assert b"PK\x06\x06" in (tmp_path / "set.zip").read_bytes()  # zip64's end of the central directory
    monkeypatch.undo()
    assert len(read_pairset(tmp_path / "set.zip").pairs) == 4


def test_zip_holds_one_pair_set_only(tmp_path):
    with pytest.raises(FolderError, match="set.zip: a zip holds one pair set; give a folder for cgan and wgan"):
        refuse_taken(tmp_path / "set.zip", ["cgan", "wgan"], replace=True)


def test_pair_set_is_replaced_by_a_choice_of_itself(tmp_path):
    for name in ("set", "set.zip"):
        before = write_pictures(tmp_path / name, "cgan", n=4)
        select_pairs(tmp_path / name, tmp_path / name, choice=Choice(2), replace=True)
        assert set(read_pairset(tmp_path / name).pairs) < set(before.pairs)


# ---- what is there is told before the work


@pytest.mark.parametrize("name", ["../evil", "/evil", "", ".", "..", "UPPER", "a/b", "a\n", "-x", "a" * 65])
def test_condition_that_is_no_name_is_refused_before_anything_is_written(tmp_path, name):
    for others in ([], ["cgan"]):
        with pytest.raises(PairSetError, match="condition .*: a name is lower-case letters, digits"):
            refuse_taken(tmp_path / "a" / "out", [*others, name], replace=False)
    with pytest.raises(PairSetError, match="a name is lower-case letters, digits"):
        write_pictures(tmp_path / "a" / "out", name, n=2)
    assert names(tmp_path) == []


def test_condition_that_occurs_twice_is_refused(tmp_path):
    with pytest.raises(PairSetError, match="condition cgan occurs twice; give each condition its own name"):
        refuse_taken(tmp_path / "out", ["cgan", "wgan", "cgan"], replace=False)


def test_what_is_there_is_told_before_the_work(tmp_path):
    refuse_taken(tmp_path / "new", ["cgan"], replace=False)
    (tmp_path / "empty").mkdir()
    refuse_taken(tmp_path / "empty", ["cgan"], replace=False)
    write_pictures(tmp_path / "set", "cgan", n=2)
    with pytest.raises(FolderError, match="set already exists; choose another --out"):
        refuse_taken(tmp_path / "set", ["cgan"], replace=False)
    refuse_taken(tmp_path / "set", ["cgan"], replace=True)


# ---- S3


def test_pair_set_on_s3_is_read_back_and_leaves_nothing_here(s3, tmp_path, temporary):
    written = write_pictures(f"{s3}/sets/cgan", "cgan", n=3)
    assert written == read_pairset(f"{s3}/sets/cgan") == write_pictures(tmp_path / "set", "cgan", n=3)
    assert Place(f"{s3}/sets/cgan").names() == Place(tmp_path / "set").names()
    assert names(temporary) == []


def test_pair_set_at_the_root_of_a_bucket_is_read_back(s3, temporary):
    assert write_pictures(f"{s3}/", "cgan", n=2) == read_pairset(s3)


def test_replacing_on_s3_removes_the_pictures_that_were(s3, temporary):
    write_pictures(f"{s3}/set", "cgan", n=4)
    with pytest.raises(PlaceError, match="/set: there is a pair set already; choose another --out, or replace it"):
        write_pictures(f"{s3}/set", "cgan", n=2)
    assert len(read_pairset(f"{s3}/set").pairs) == 4
    write_pictures(f"{s3}/set", "wgan", n=2, strength=0.1, replace=True)
    assert len(Place(f"{s3}/set").names()) == 2 + 2 * 2
    assert read_pairset(f"{s3}/set").condition == "wgan"


@pytest.mark.parametrize("foreign", ["thesis.txt", "images/cat.jpg", "manifest.json", "more/manifest.json"])
def test_what_is_no_pair_set_on_s3_is_left_alone(s3, temporary, foreign):
    put_object(f"{s3}/mine/{foreign}")
    with pytest.raises(PlaceError, match=f"/mine: is no pair set .it holds {foreign}. and is left alone; choose"):
        write_pictures(f"{s3}/mine", "cgan", n=2, replace=True)
    assert Place(f"{s3}/mine").read(foreign) == b"years of work"
    assert Place(f"{s3}/mine").names() == [foreign]


def test_pair_set_on_s3_with_other_files_among_its_own_is_left_alone(s3, temporary):
    write_pictures(f"{s3}/set", "cgan", n=2)
    put_object(f"{s3}/set/thesis.txt")
    with pytest.raises(PlaceError, match="is no pair set .it holds thesis.txt. and is left alone"):
        write_pictures(f"{s3}/set", "cgan", n=3, replace=True)
    assert len(read_pairset(f"{s3}/set").pairs) == 2


@pytest.mark.parametrize("replace", [False, True])
def test_upload_that_was_stopped_is_no_pair_set_and_is_completed(s3, temporary, monkeypatch, replace):
    if replace:
        write_pictures(f"{s3}/set", "old", n=4)
    with monkeypatch.context() as patch:

        def cut_off(folder, place):
            raise OSError(5, "Connection lost")

        patch.setattr(placing, "_upload_manifest", cut_off)
        with pytest.raises(PlaceError, match="/set: cannot be written .Connection lost.; see that it is there"):
            write_pictures(f"{s3}/set", "cgan", n=3, replace=replace)
    assert len(Place(f"{s3}/set").names()) == 1 + 2 * 3
    with pytest.raises(PairSetError, match="is not a pair set: manifest.json cannot be read"):
        read_manifest(f"{s3}/set")
    write_pictures(f"{s3}/set", "cgan", n=2)  # of fewer pictures, and without --replace
    assert len(read_pairset(f"{s3}/set").pairs) == 2
    assert len(Place(f"{s3}/set").names()) == 2 + 2 * 2


def test_upload_killed_before_its_last_request_is_no_pair_set_and_is_completed(s3, tmp_path, temporary):
    script = """
import os, signal, sys
from pictures import write_pictures
from s3fs import S3FileSystem
call, left = S3FileSystem._call_s3, [5]  # the digest and four pictures
async def counted(self, method, *arguments, **options):
    if method in ("put_object", "delete_object", "delete_objects"):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
    return await call(self, method, *arguments, **options)
S3FileSystem._call_s3 = counted
write_pictures(sys.argv[1], "cgan", n=2)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "TMPDIR": str(temporary)}
    done = subprocess.run([sys.executable, "-c", script, f"{s3}/set"], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(Place(f"{s3}/set").names()) == 5
    with pytest.raises(PairSetError, match="is not a pair set"):
        read_manifest(f"{s3}/set")
    assert len(names(temporary)) == 1
    write_pictures(f"{s3}/set", "cgan", n=2)
    assert len(read_pairset(f"{s3}/set").pairs) == 2
    assert names(temporary) == []  # what the killed process left was cleared away too


def test_manifests_of_several_conditions_come_after_all_pictures(s3, temporary, monkeypatch):
    def two(n):
        pictures = [colourful(seed) for seed in range(n)]
        items = [Picture(sha256_hex(one.tobytes()), one, (one.rotate(90), one.rotate(180))) for one in pictures]
        return write_pairsets(f"{s3}/both", items, [About("a", {}, {}), About("b", {}, {})])

    with monkeypatch.context() as patch:

        def cut_off(folder, place):
            raise OSError(5, "Connection lost")

        patch.setattr(placing, "_upload_manifest", cut_off)
        with pytest.raises(PlaceError, match="/both/a: cannot be written .Connection lost."):
            two(2)
    assert not [name for name in Place(f"{s3}/both").names() if name.endswith(MANIFEST)]
    assert two(2) == [read_pairset(f"{s3}/both/{name}") for name in "ab"]


def test_missing_bucket_is_told(s3, temporary):
    with pytest.raises(
        PlaceError,
        match="^s3://no-bucket-at-all/set: cannot be looked at .The specified bucket does not exist.; is its bucket there",
    ):
        write_pictures("s3://no-bucket-at-all/set", "cgan", n=2)
    assert names(temporary) == []


def test_zip_is_read_from_s3_and_refused_as_out(s3, tmp_path, temporary):
    written = write_pictures(tmp_path / "set.zip", "cgan", n=3)
    put_object(f"{s3}/sets/set.zip", (tmp_path / "set.zip").read_bytes())
    assert read_pairset(f"{s3}/sets/set.zip") == written
    chosen = select_pairs(f"{s3}/sets/set.zip", f"{s3}/sets/two", choice=Choice(2))
    assert read_pairset(f"{s3}/sets/two") == chosen
    with pytest.raises(
        PlaceError, match="new.zip: a zip is written to a folder only; give an address that does not end"
    ):
        write_pictures(f"{s3}/sets/new.zip", "cgan", n=2)


def test_pair_set_on_s3_is_replaced_by_a_choice_of_itself(s3, temporary):
    before = write_pictures(f"{s3}/set", "cgan", n=4)
    select_pairs(f"{s3}/set", f"{s3}/set", choice=Choice(2), replace=True)
    assert set(read_pairset(f"{s3}/set").pairs) < set(before.pairs)


def test_address_without_s3_is_written_too(tmp_path, temporary):
    written = write_pictures("memory://sets/cgan", "cgan", n=2)
    assert read_pairset("memory://sets/cgan") == written
    with pytest.raises(PlaceError, match="there is a pair set already"):
        write_pictures("memory://sets/cgan", "cgan", n=2)
