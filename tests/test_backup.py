"""Backup and restore: every row comes back as it was, on either database; a damaged archive or an interruption changes nothing."""

import functools
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import threading
import time
import zipfile

import pytest
from commands import call
from conftest import _new_postgresql
from sqlalchemy import inspect, text
from visitors import SHORT, agree, answer_all, make

from study_app import backup as backups
from study_app import rows
from study_app.backup import BackupError, read_backup, write_backup, write_next_backup
from study_app.checking import check
from study_app.db import DatabaseError, known_revisions, open_engine, open_migrated, reading, writing
from study_app.restoring import restore
from study_app.schema import altering, migrate
from study_app.store import StoreError, get_image
from study_app.tables import Session


@pytest.fixture
def other_url(request, tmp_path):
    """Makes URLs of databases that hold nothing: new ones, or with the tables that they have after an upgrade."""

    def make_url(kind, upgraded=True):
        if kind == "postgresql":
            template = (request.getfixturevalue("migrated_postgresql"),) if upgraded else ()
            return _new_postgresql(request.getfixturevalue("postgresql_server"), *template)
        if upgraded:
            shutil.copy(request.getfixturevalue("migrated_sqlite"), tmp_path / "r.sqlite")
            return f"sqlite:///{tmp_path / 'r.sqlite'}"
        return f"sqlite:///{tmp_path / 'restored' / 'r.sqlite'}"

    return make_url


@pytest.fixture
def answered(workshop):
    """A study with answers, names of all alphabets, and what only some rows have."""
    fill(workshop)
    return workshop


def fill(workshop):
    client = make(workshop, "link", title='Spöts 点 "\\ \n😀')
    agree(client)
    answer_all(client)
    agree(workshop.client())
    with writing(workshop.engine) as db:
        db.execute(
            text(
                "UPDATE responses SET exposure_measured_ms = 0.1, frame_interval_ms = 16.666666666666668, focus_lost = true"
            )
        )
        db.execute(text("INSERT INTO rate_limits VALUES (1, 'k', 1)"))


def rows_of(engine):
    """Every row of every table, as the database itself spells it."""
    with engine.connect() as connection:
        names = sorted(set(inspect(engine).get_table_names()) - {"rate_limits"})
        return {
            name: sorted(str(tuple(row)) for row in connection.execute(text(f"SELECT * FROM {name}"))) for name in names
        }


def test_restored_database_has_every_row_as_it_was_on_the_same_and_on_the_other_kind(answered, other_url, tmp_path):
    written = write_backup(answered.engine, tmp_path / "one.zip")
    assert written.tables["responses"].rows == 2
    assert read_backup(tmp_path / "one.zip") == written
    assert "rate_limits" not in written.tables
    for kind in ("sqlite", "postgresql"):
        url = other_url(kind)
        restore(url, answered.config.store, tmp_path / "one.zip")
        engine = open_migrated(url)
        again = write_backup(engine, tmp_path / f"{kind}.zip")
        assert again.tables == written.tables  # columns, rows and hashes: from either kind the very same bytes
        if kind == answered.engine.dialect.name:
            assert rows_of(engine) == rows_of(answered.engine)
        assert [one for one in check(engine, answered.config.store) if not one.ok] == []
        engine.dispose()


def test_study_goes_on_in_the_restored_database(answered, other_url, tmp_path):
    """New rows get new ids: PostgreSQL's sequences go on behind what was restored."""
    write_backup(answered.engine, tmp_path / "one.zip")
    url = other_url("postgresql" if answered.engine.dialect.name == "sqlite" else "sqlite")
    restore(url, answered.config.store, tmp_path / "one.zip")
    answered.engine.dispose()
    answered.engine = open_migrated(url)
    client = answered.client()
    agree(client)
    answer_all(client)
    with reading(answered.engine) as db:
        assert sorted(one.outcome or "" for one in db.query(Session)) == ["", "completed", "completed"]
    assert [one for one in check(answered.engine) if not one.ok] == []


def test_database_that_holds_something_is_left_alone(sqlite_workshop, tmp_path):
    fill(sqlite_workshop)
    write_backup(sqlite_workshop.engine, tmp_path / "one.zip")
    before = rows_of(sqlite_workshop.engine)
    with pytest.raises(
        DatabaseError, match=r"is not empty \(2 conditions, .*1 studies.*into an empty one: give another"
    ):
        restore(sqlite_workshop.config.database, sqlite_workshop.config.store, tmp_path / "one.zip")
    assert rows_of(sqlite_workshop.engine) == before


def test_backup_of_every_older_schema_is_restored_into_this_one(database_url, sqlite_workshop, tmp_path):
    """Into a database that is new, the first; then into one that was upgraded already."""
    for revision in known_revisions()[:-1]:
        old = open_engine(f"sqlite:///{tmp_path / revision}.sqlite")
        with altering(old) as connection:
            migrate(connection, None, revision)
            connection.execute(text("INSERT INTO images (id, sha256) VALUES (7, 'abc')"))
        names = set(inspect(old).get_table_names()) - {"alembic_version", "rate_limits"}
        archive = tmp_path / f"{revision}.zip"
        known = [one for one in backups.Table.metadata.sorted_tables if one.name in names]
        with pytest.MonkeyPatch.context() as patch:  # as the release of that schema wrote it
            patch.setattr(backups, "Table", type("Table", (), {"metadata": type("M", (), {"sorted_tables": known})}))
            assert write_backup(old, archive).schema == revision
        old.dispose()
        restore(database_url, sqlite_workshop.config.store, archive)
        engine = open_migrated(database_url)
        with writing(engine) as db:
            assert db.execute(text("SELECT id, sha256 FROM images")).all() == [(7, "abc")]
            db.execute(text("DELETE FROM images"))
        engine.dispose()


def test_backup_taken_while_participants_answer_is_of_one_moment(workshop, other_url, tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "CHUNK", 2)  # so that much is answered between the first row read and the last
    workshop.create_study(trials={"practice": 2, "main": 8})
    stop, done = threading.Event(), []

    def take_part():
        while not stop.is_set():
            client = workshop.client()
            agree(client)
            answer_all(client)
            done.append(True)

    participant = threading.Thread(target=take_part)
    participant.start()
    try:
        deadline = time.monotonic() + 60
        while not done and time.monotonic() < deadline:
            time.sleep(0.01)
        before = len(done)
        written = write_backup(workshop.engine, tmp_path / "one.zip")
    finally:
        stop.set()
        participant.join(60)
    assert before >= 1
    assert written.tables["responses"].rows >= 10 * before
    url = other_url("sqlite")
    restore(url, workshop.config.store, tmp_path / "one.zip")
    engine = open_migrated(url)
    assert [one for one in check(engine) if not one.ok] == []
    engine.dispose()


@pytest.fixture
def archive(sqlite_workshop, tmp_path):
    fill(sqlite_workshop)
    write_backup(sqlite_workshop.engine, tmp_path / "one.zip")
    return tmp_path / "one.zip"


def changed(archive, **changes):
    """The archive with other texts in members (by the end of their names), and the zip's own sums set right."""
    new = archive.with_name("changed.zip")
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(new, "w") as target:
        for one in source.namelist():
            change = changes.get(one.split("/")[-1].split(".")[0], bytes)
            target.writestr(one, change(source.read(one)))
    return new


def test_damaged_archive_is_told_and_changes_nothing(archive, sqlite_workshop, tmp_path):
    whole = archive.read_bytes()
    middle = zipfile.ZipFile(archive).getinfo("tables/responses.jsonl").header_offset + 80  # beyond the member's header
    damaged = {
        "cut short": (whole[: len(whole) // 2], "is damaged or is no backup .*take another one"),
        "a bit": (whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :], "is damaged or is no backup"),
        "text": (b"hello", "is damaged or is no backup .*not a zip"),
        "empty": (b"", "is damaged or is no backup"),
    }
    for name, (data, message) in damaged.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(BackupError, match=message):
            restore(f"sqlite:///{tmp_path / 'r.sqlite'}", sqlite_workshop.config.store, tmp_path / name)
    members = {
        "responses": (lambda data: data.replace(b",700,", b",701,", 1), "table responses has changed"),
        "backup": (lambda data: data.replace(b"backup/1", b"backup/9"), "format 'realism-backup/9', this release"),
    }
    for name, (change, message) in members.items():
        with pytest.raises(BackupError, match=message):
            restore(
                f"sqlite:///{tmp_path / 'r.sqlite'}", sqlite_workshop.config.store, changed(archive, **{name: change})
            )
    newer = changed(archive, backup=lambda data: data.replace(known_revisions()[-1].encode(), b"9999"))
    with pytest.raises(BackupError, match="at schema 9999, which this release does not know; install the newer one"):
        restore(f"sqlite:///{tmp_path / 'r.sqlite'}", sqlite_workshop.config.store, newer)
    with pytest.raises(BackupError, match="there is no backup .*none.zip"):
        restore(f"sqlite:///{tmp_path / 'r.sqlite'}", sqlite_workshop.config.store, tmp_path / "none.zip")
    assert not list(tmp_path.glob("r.sqlite*"))


def test_rows_that_a_database_refuses_are_told_and_nothing_stays(archive, sqlite_workshop, other_url, tmp_path):
    """Somebody's own archive, whose sums are right and whose rows cannot be."""

    def orphaned(data):
        return b"".join(line for line in data.splitlines(True) if not line.startswith(b"[1,"))

    with zipfile.ZipFile(archive) as whole:
        left, content = orphaned(whole.read("tables/trials.jsonl")), json.loads(whole.read("backup.json"))
    content["tables"]["trials"] |= {"rows": left.count(b"\n"), "sha256": hashlib.sha256(left).hexdigest()}
    bad = changed(archive, trials=orphaned, backup=lambda _: json.dumps(content).encode())
    for kind, error in (("sqlite", BackupError), ("postgresql", DatabaseError)):
        url = other_url(kind, upgraded=False)
        with pytest.raises(error, match="refers to one that is not there|cannot be loaded .*the database is as it was"):
            restore(url, sqlite_workshop.config.store, bad)
        if kind == "postgresql":
            assert inspect(open_engine(url)).get_table_names() == []
    assert list((tmp_path / "restored").iterdir()) == []


@pytest.mark.parametrize(
    "made",
    [
        lambda data: b"null\n" + data.partition(b"\n")[2],
        lambda data: data.replace(b"[", b"{", 1),
        lambda data: data.replace(b"[1,", b"[" + b"9" * 40 + b",", 1),
        lambda data: b"\xff" + data,
        lambda data: b"[" * 100_000 + data,
    ],
)
def test_archive_made_by_others_with_what_is_no_row_is_told(archive, sqlite_workshop, tmp_path, made):
    with zipfile.ZipFile(archive) as whole:
        rows, content = made(whole.read("tables/studies.jsonl")), json.loads(whole.read("backup.json"))
    content["tables"]["studies"]["sha256"] = hashlib.sha256(rows).hexdigest()
    bad = changed(archive, studies=lambda _: rows, backup=lambda _: json.dumps(content).encode())
    url = f"sqlite:///{tmp_path / 'restored' / 'r.sqlite'}"
    with pytest.raises(
        (BackupError, DatabaseError), match="damaged or is no backup|cannot be loaded|did not come back"
    ):
        restore(url, sqlite_workshop.config.store, bad)
    assert list((tmp_path / "restored").iterdir()) == []


def test_damaged_database_is_told_and_leaves_no_backup(sqlite_workshop, tmp_path):
    fill(sqlite_workshop)
    sqlite_workshop.engine.dispose()
    file = tmp_path / "realism.sqlite"
    data = bytearray(file.read_bytes())
    data[4096 * 4 : 4096 * 40] = os.urandom(4096 * 36)
    file.write_bytes(data)
    with pytest.raises((BackupError, DatabaseError), match="malformed|cannot be read whole|not a database"):
        write_backup(open_engine(f"sqlite:///{file}"), tmp_path / "one.zip")
    assert list(tmp_path.glob("*one.zip*")) == []


def test_pictures_travel_along_where_they_are_asked_for(sqlite_workshop, tmp_path):
    from protocol.place import Place

    fill(sqlite_workshop)
    store = sqlite_workshop.config.store
    written = write_backup(sqlite_workshop.engine, tmp_path / "one.zip", store)
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        hashes = [one.removeprefix("pictures/") for one in archive.namelist() if one.startswith("pictures/")]
    assert len(hashes) == written.pictures > 0
    restore(f"sqlite:///{tmp_path / 'r.sqlite'}", Place(tmp_path / "elsewhere"), tmp_path / "one.zip")
    for sha256 in hashes:
        get_image(Place(tmp_path / "elsewhere"), sha256)
    for file in (sqlite_workshop.config.instance / "store").glob(f"*/{hashes[0]}*"):
        file.write_bytes(b"changed")
    with pytest.raises(StoreError, match="missing or has changed"):
        write_backup(sqlite_workshop.engine, tmp_path / "two.zip", store)
    assert sorted(one.name for one in tmp_path.glob("*zip*")) == ["one.zip"]
    wrong = changed(tmp_path / "one.zip", **{hashes[1]: lambda data: data[:-1]})
    with pytest.raises(BackupError, match=f"pictures/{hashes[1]} has changed"):
        read_backup(wrong)


def test_backup_that_is_there_is_not_overwritten_unless_forced(sqlite_workshop, tmp_path):
    file = tmp_path / "one.zip"
    file.write_text("precious")
    with pytest.raises(BackupError, match="one.zip exists already; give another name, or --force"):
        write_backup(sqlite_workshop.engine, file)
    assert file.read_text() == "precious"
    write_backup(sqlite_workshop.engine, file, force=True)
    read_backup(file)
    assert file.stat().st_mode & 0o077 == 0  # participants' answers: for the owner alone
    with pytest.raises(BackupError, match="none/one.zip cannot be written .*see that its folder is there"):
        write_backup(sqlite_workshop.engine, tmp_path / "none" / "one.zip")
    with pytest.raises(BackupError, match="is a folder; name a file in it"):
        write_backup(sqlite_workshop.engine, tmp_path)
    with pytest.raises(BackupError, match="is a file; with --keep give a folder"):
        write_next_backup(sqlite_workshop.engine, file, 2)


def test_only_the_newest_backups_are_kept(sqlite_workshop, tmp_path):
    folder = tmp_path / "backups"
    folder.mkdir()
    old = [folder / f"realism-2020010{day}T000000Z.zip" for day in range(1, 5)]
    for file in (
        *old,
        folder / "realism-notes.zip",
        folder / "mine.zip",
        folder / ".realism-20200101T000000Z.zip.part",
    ):
        file.write_text("x")
    file, _ = write_next_backup(sqlite_workshop.engine, folder, 3)
    assert sorted(folder.iterdir()) == sorted([file, *old[-2:], folder / "realism-notes.zip", folder / "mine.zip"])
    for one in old:
        one.unlink(missing_ok=True)
    old[0].write_text("x")
    file.rename(old[1])
    write_next_backup(sqlite_workshop.engine, folder, 5)
    assert len(list(folder.glob("realism-2*"))) == 3


def interrupted(how, run):
    """``run`` in a process of its own, which is interrupted when a table has been read, or written, and before the next."""

    def bar(said):
        if said in ("Table sessions", "Comparing sessions"):
            os.kill(os.getpid(), how)
        return lambda items: items

    process = multiprocessing.get_context("fork").Process(target=run, kwargs={"bar": bar})
    process.start()
    process.join(60)
    assert process.exitcode == (-how if how == signal.SIGKILL else 1)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_backup_and_restore_leave_nothing_half_done(archive, sqlite_workshop, tmp_path, how):
    url, store = f"sqlite:///{tmp_path / 'r.sqlite'}", sqlite_workshop.config.store
    sqlite_workshop.engine.dispose()
    interrupted(
        how, functools.partial(write_backup, open_engine(sqlite_workshop.config.database), tmp_path / "two.zip")
    )
    assert not (tmp_path / "two.zip").exists()
    write_backup(sqlite_workshop.engine, tmp_path / "two.zip")  # what was left is in nobody's way
    assert not list(tmp_path.glob(".two*"))
    interrupted(how, functools.partial(restore, url, store, archive))
    assert inspect(open_engine(url)).get_table_names() == []
    restore(url, store, archive)
    assert rows_of(open_engine(url)) == rows_of(sqlite_workshop.engine)


def test_backup_and_restore_from_the_command_line(sqlite_workshop, tmp_path):
    where = ("--database", sqlite_workshop.config.database, "--instance", sqlite_workshop.config.instance)
    sqlite_workshop.create_study(trials=SHORT)
    done = call("db", "backup", "one.zip", *where, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (
        0,
        "one.zip: 1 studies, 0 answers, 0 pictures; the pictures are not in it, back up the store too.\n",
    )
    again = call("db", "backup", "one.zip", *where, cwd=tmp_path)
    assert (again.returncode, "exists already" in again.stderr) == (2, True)
    told = json.loads(call("db", "backup", "kept", "--keep", "2", "--pictures", "--json", *where, cwd=tmp_path).stdout)
    assert told["file"].startswith("kept/realism-2")
    assert told["pictures"] > 0
    restored = call("db", "restore", "one.zip", "--database", "sqlite:///new.sqlite", cwd=tmp_path)
    assert restored.returncode == 0
    assert "1 studies with 0 answers are as they were on 2" in restored.stdout
    refused = call("db", "restore", "one.zip", "--database", "sqlite:///new.sqlite", cwd=tmp_path)
    assert (refused.returncode, "is not empty" in refused.stderr) == (2, True)
