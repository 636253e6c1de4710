"""A folder comes into being whole, whoever else writes there and whenever a process is killed."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from protocol import whole_folder as module
from protocol.whole_folder import FolderError, folder_aside, whole_folder

ENTRIES = frozenset({"number"})


def put(out, number, *, replace=False, before_the_end=lambda: None):
    with whole_folder(out, "numbered folder", ENTRIES, lambda folder: True, replace=replace) as aside:
        (aside / "number").write_text(str(number))
        before_the_end()


def number(out):
    return int((out / "number").read_text())


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_folder_is_there_when_the_block_ends_and_not_before(tmp_path):
    out = tmp_path / "new" / "out"
    put(out, 1, before_the_end=lambda: (names(tmp_path / "new") and not out.exists()) or pytest.fail("it is there"))
    assert number(out) == 1
    assert out.stat().st_mode & 0o777 == 0o755
    assert names(tmp_path / "new") == ["out"]


@pytest.mark.parametrize("error", [ValueError("enough"), KeyboardInterrupt("enough"), SystemExit("enough")])
def test_what_is_raised_leaves_nothing_behind(tmp_path, error):
    def stop():
        raise error

    with pytest.raises(type(error), match="enough"):
        put(tmp_path / "out", 1, before_the_end=stop)
    assert names(tmp_path) == []
    put(tmp_path / "out", 1)
    with pytest.raises(type(error), match="enough"):
        put(tmp_path / "out", 2, replace=True, before_the_end=stop)
    assert number(tmp_path / "out") == 1
    assert names(tmp_path) == ["out"]


def test_empty_folder_gives_way(tmp_path):
    (tmp_path / "out").mkdir()
    put(tmp_path / "out", 1)
    assert number(tmp_path / "out") == 1


def test_folder_behind_a_link_is_written_where_it_lies(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    put(tmp_path / "out", 1)
    assert number(tmp_path / "disk") == 1
    assert (tmp_path / "out").is_symlink()


def test_other_content_is_left_alone(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis").write_text("years of work")
    with pytest.raises(
        FolderError, match="out is not empty and no numbered folder .it holds thesis. and is left alone"
    ):
        put(tmp_path / "out", 1, replace=True)
    (tmp_path / "file").write_text("years of work")
    with pytest.raises(FolderError, match="file is a file; give a folder as --out"):
        put(tmp_path / "file", 1, replace=True)
    assert (tmp_path / "out" / "thesis").read_text() == (tmp_path / "file").read_text() == "years of work"


def test_of_two_that_write_at_once_the_first_to_end_wins_and_the_other_is_told(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(FolderError, match="out already exists; choose another --out"):
        put(out, 1, before_the_end=lambda: put(out, 2))
    assert number(out) == 2
    assert names(tmp_path) == ["out"]


def test_one_that_ends_between_another_s_check_and_its_end_wins(tmp_path, monkeypatch):
    out, move = tmp_path / "out", module._move

    def beaten(aside, target, replace):
        monkeypatch.setattr(module, "_move", move)
        put(out, 2)
        move(aside, target, replace)

    monkeypatch.setattr(module, "_move", beaten)
    with pytest.raises(FolderError, match="out was written by another process meanwhile; look at it, or choose"):
        put(out, 1)
    assert number(out) == 2
    assert names(tmp_path) == ["out"]


def test_of_two_that_replace_at_once_each_is_whole_and_the_last_stays(tmp_path):
    out = tmp_path / "out"
    put(out, 0)
    put(out, 1, replace=True, before_the_end=lambda: put(out, 2, replace=True))
    assert number(out) == 1
    assert names(tmp_path) == ["out"]


def test_what_came_there_meanwhile_is_not_replaced(tmp_path):
    out = tmp_path / "out"

    def work_of_years():
        out.mkdir()
        (out / "thesis").write_text("years of work")

    with pytest.raises(FolderError, match="holds thesis. and is left alone"):
        put(out, 1, replace=True, before_the_end=work_of_years)
    assert names(out) == ["thesis"]
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("replace", [False, True])
def test_many_processes_at_once_leave_one_whole_folder(tmp_path, replace):
    """Each writes two files that must agree, at one name, over and over."""
    script = """
import sys
from pathlib import Path
from protocol.whole_folder import FolderError, whole_folder
out, own, replace = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "True"
wins = 0
for turn in range(60):
    try:
        with whole_folder(out, "kind", frozenset({"one", "two"}), lambda f: True, replace=replace) as aside:
            for name in ("one", "two"):
                (aside / name).write_text(f"{own} {turn}")
        wins += 1
    except FolderError:
        pass
print(wins)
"""
    command = [sys.executable, "-c", script, str(tmp_path / "out")]
    running = [
        subprocess.Popen([*command, str(own), str(replace)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for own in range(4)
    ]
    said = [process.communicate(timeout=60) for process in running]
    assert [complained for _, complained in said] == [""] * 4
    wins = sum(int(stdout) for stdout, _ in said)
    assert wins > 60 if replace else wins == 1
    assert (tmp_path / "out" / "one").read_text() == (tmp_path / "out" / "two").read_text()
    assert names(tmp_path) == ["out"]


KILLED = """
import os, signal, sys
from pathlib import Path
from protocol import whole_folder
out, at = Path(sys.argv[1]), int(sys.argv[2])
calls = 0

def counted(what):
    def call(*arguments, **options):
        global calls
        calls += 1
        if calls == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return what(*arguments, **options)
    return call

# Every change of the disk comes by one of these.
for owner, name in ((os, "rename"), (os, "mkdir"), (os, "rmdir"), (os, "unlink"), (os, "chmod")):
    setattr(owner, name, counted(getattr(owner, name)))
with whole_folder.whole_folder(out, "kind", frozenset({"number"}), lambda f: True, replace=True) as aside:
    (aside / "number").write_text("2")
"""


def test_killed_before_any_change_of_the_disk_the_old_or_the_new_folder_is_there_or_comes_back(tmp_path):
    left_between = 0
    for at in range(1, 30):
        out = tmp_path / str(at) / "out"
        put(out, 1)
        done = subprocess.run([sys.executable, "-c", KILLED, str(out), str(at)], check=False)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
        if out.exists():
            assert number(out) in (1, 2)
        else:
            left_between += 1
            (old,) = out.parent.glob(".out.replaced-*")
            assert number(old) == 1
        with pytest.raises(FolderError, match="already exists"):  # it comes back, and is not written over
            put(out, 3)
        assert number(out) in (1, 2)
        put(out, 3, replace=True)
        assert number(out) == 3
        assert names(out.parent) == ["out"]
    assert at > 4, "no change of the disk was seen"
    assert left_between == 1  # between the two renames


def test_stopped_between_the_two_renames_the_old_folder_comes_back_at_once(tmp_path, monkeypatch):
    out, rename = tmp_path / "out", Path.rename
    put(out, 1)

    def stopped(path, target):
        if ".unfinished-" in path.name:
            raise KeyboardInterrupt("stopped")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", stopped)
    with pytest.raises(KeyboardInterrupt, match="stopped"):
        put(out, 2, replace=True)
    assert number(out) == 1
    assert names(tmp_path) == ["out"]


def test_folder_of_a_living_process_is_not_cleared_away_and_that_of_a_dead_one_is(tmp_path):
    script = (
        "import sys; from pathlib import Path; from protocol.whole_folder import folder_aside\n"
        "with folder_aside(Path(sys.argv[1])): print('here', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "out")]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "here\n"
    (theirs,) = tmp_path.iterdir()
    with folder_aside(tmp_path / "out") as ours:
        assert set(tmp_path.iterdir()) == {ours, theirs}
    other.kill()
    other.communicate()
    assert theirs.is_dir()
    with folder_aside(tmp_path / "out") as ours:
        assert list(tmp_path.iterdir()) == [ours]
    assert list(tmp_path.iterdir()) == []


def test_new_folder_that_is_cleared_away_before_it_is_locked_is_made_again(tmp_path, monkeypatch):
    lock, taken = module._lock, []

    def late(folder):
        if not taken:
            taken.append(folder)
            shutil.rmtree(folder)  # another process did
        return lock(folder)

    monkeypatch.setattr(module, "_lock", late)
    put(tmp_path / "out", 1)
    assert taken
    assert number(tmp_path / "out") == 1


def test_file_system_without_locks_is_written_to_all_the_same(tmp_path, monkeypatch):
    def unsupported(handle, operation):
        raise OSError(38, os.strerror(38))

    monkeypatch.setattr(module.fcntl, "flock", unsupported)
    put(tmp_path / "out", 1)
    assert names(tmp_path) == ["out"]


def test_name_with_the_signs_of_a_pattern_clears_away_its_own_only(tmp_path):
    (tmp_path / ".set1.unfinished-x").mkdir()
    (tmp_path / ".set[1].unfinished-x").mkdir()
    put(tmp_path / "set[1]", 1)
    assert names(tmp_path) == [".set1.unfinished-x", "set[1]"]


def test_a_place_that_cannot_be_written_is_named_as_it_was_given() -> None:
    with (
        pytest.raises(FolderError, match=r"^/proc/report cannot be written \(.+\); choose another --out$"),
        folder_aside(Path("/proc/report")),
    ):
        pass
