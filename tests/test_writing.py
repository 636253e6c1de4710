"""Pair sets come into being whole, on many processes, from pictures of which any may fail, and whenever they are killed."""

import os
import random
import signal
import time
from dataclasses import dataclass, replace

import numpy as np
import pytest
from pictures import colourful, write_pictures
from PIL import Image
from test_workers import marked, wait_until

from pairs.workers import ALONE
from pairs.writing import About, Picture, write_pairset, write_pairsets
from protocol import InputError
from protocol.encoding import Encoder
from protocol.pairset import Exclusion, PairSetError, read_manifest, read_pairset, sha256_hex
from protocol.whole_folder import FolderError

MANY = ALONE + 20
ABOUT = About("cgan", {"name": "cgan"}, {"name": "spots"})


@dataclass(frozen=True)
class Job:
    """A pair that is drawn where it is written; ``failing`` are numbers that cannot be."""

    number: int
    failing: frozenset[int] = frozenset()


def draw(job):
    if job.number in job.failing:
        raise InputError(f"photo-{job.number}.png cannot be decoded; remove it")
    return plain(job.number)


def plain(number):
    pixels = np.full((8, 8, 3), number % 251, np.uint8)
    pixels[0, 0] = number // 251
    real = Image.fromarray(pixels)
    return Picture(sha256_hex(pixels.tobytes()), real, (real.rotate(90),), ("even" if number % 2 == 0 else "odd",))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# ---- failures


@pytest.mark.parametrize("n", [10, MANY], ids=["in one process", "in several"])
def test_failing_picture_in_the_middle_leaves_nothing_behind(tmp_path, n):
    jobs = [Job(number, frozenset({n // 2})) for number in range(n)]
    for out in ("set", "set.zip"):
        with pytest.raises(InputError, match=f"^photo-{n // 2}.png cannot be decoded; remove it$"):
            write_pairsets(tmp_path / out, jobs, [ABOUT], draw=draw)
    assert names(tmp_path) == []


def test_failing_pictures_are_listed_together(tmp_path):
    jobs = [Job(number, frozenset(range(3, MANY, 5))) for number in range(MANY)]
    n_failing = len(range(3, MANY, 5))
    with pytest.raises(PairSetError, match=f"set: {n_failing} of {MANY} pairs cannot be made, so none is:\n") as told:
        write_pairsets(tmp_path / "set", jobs, [ABOUT], draw=draw)
    lines = str(told.value).splitlines()
    assert lines[1:11] == [f"  photo-{number}.png cannot be decoded; remove it" for number in range(3, 53, 5)]
    assert lines[11:] == [f"  and {n_failing - 10} more"]
    assert names(tmp_path) == []


def test_failing_picture_leaves_the_old_set_as_it_was(tmp_path):
    old = write_pictures(tmp_path / "set", "cgan", n=2)
    with pytest.raises(InputError, match="photo-1.png cannot be decoded"):
        write_pairsets(tmp_path / "set", [Job(0), Job(1, frozenset({1}))], [ABOUT], draw=draw, replace=True)
    assert read_pairset(tmp_path / "set") == old
    assert names(tmp_path) == ["set"]


def test_no_picture_and_one_photograph_twice_are_refused(tmp_path):
    with pytest.raises(PairSetError, match="set: there is no picture to make a pair of"):
        write_pairset(tmp_path / "set", [], ABOUT)
    with pytest.raises(PairSetError, match="occurs twice; remove the duplicate photo"):
        write_pairset(tmp_path / "set", [plain(1), plain(2), plain(1)], ABOUT)
    assert names(tmp_path) == []


def test_fake_of_another_size_is_told(tmp_path):
    one = colourful(1, 32)
    with pytest.raises(
        PairSetError, match="^pair aaaaaaaaaaaa: fake is 24x24, real is 32x32; give pictures of one size"
    ):
        write_pairset(tmp_path / "set", [Picture("a" * 64, one, (colourful(1, 24),))], ABOUT)


def test_name_that_is_no_text_leaves_nothing_behind(tmp_path):
    """As a folder's name may be, of which a tag, or the source's name, is made."""
    broken = b"caf\xe9".decode(errors="surrogateescape")
    picture = Picture("a" * 64, colourful(1), (colourful(2),))
    with pytest.raises(PairSetError, match=r"set: the manifest's '.caf.udce9.' is no text; rename the folder"):
        write_pairset(tmp_path / "set", [replace(picture, tags=(broken,))], ABOUT)
    with pytest.raises(PairSetError, match=r"set: the manifest's '.name.: .caf.udce9.' is no text; rename"):
        write_pairset(tmp_path / "set", [picture], About("cgan", {}, {"name": broken}))
    assert names(tmp_path) == []


# ---- what is written


@pytest.mark.parametrize("encoding", ["png", "jpeg"])
def test_several_processes_write_what_one_writes(tmp_path, monkeypatch, encoding):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    jobs = [Job(number) for number in range(MANY)]
    for out, n_workers in (("alone", 1), ("together", 2)):
        write_pairsets(
            tmp_path / out, iter(jobs), [ABOUT], draw=draw, encoder=Encoder(encoding, None), n_workers=n_workers
        )
    alone, together = (
        {path.relative_to(tmp_path / out): path.read_bytes() for path in (tmp_path / out).rglob("*") if path.is_file()}
        for out in ("alone", "together")
    )
    assert alone == together
    assert len(alone) == 2 * MANY + 2
    assert [pair.tags for pair in read_pairset(tmp_path / "together").pairs[:2]] == [("even",), ("odd",)]


def test_several_conditions_share_ids_and_real_files(tmp_path):
    pictures = [plain(number) for number in range(4)]
    two = [Picture(one.photo_sha256, one.real, (*one.fakes, one.real.rotate(180))) for one in pictures]
    excluded = [Exclusion(id="0a1b", reason="a watermark")]
    sets = write_pairsets(
        tmp_path / "both", two, [ABOUT, About("wgan", {"name": "wgan"}, {})], excluded=excluded, road={"by": "test"}
    )
    assert names(tmp_path / "both") == ["cgan", "wgan"]
    cgan, wgan = sets
    assert sets == [read_pairset(tmp_path / "both" / name) for name in ("cgan", "wgan")]
    assert [(pair.id, pair.real) for pair in cgan.pairs] == [(pair.id, pair.real) for pair in wgan.pairs]
    assert [pair.fake.sha256 for pair in cgan.pairs] != [pair.fake.sha256 for pair in wgan.pairs]
    assert wgan.excluded == (Exclusion(id="0a1b", reason="a watermark"),)
    assert wgan.road["by"] == "test"
    write_pairsets(tmp_path / "both", two[:2], [ABOUT, About("wgan", {}, {})], replace=True)
    assert len(read_pairset(tmp_path / "both" / "wgan").pairs) == 2
    with pytest.raises(FolderError, match="both is not empty and no pair set .it holds cgan. and is left alone"):
        write_pairset(tmp_path / "both", pictures, ABOUT, replace=True)


def test_equal_names_of_conditions_are_refused(tmp_path):
    with pytest.raises(PairSetError, match="condition cgan occurs twice; give each condition its own name"):
        write_pairsets(tmp_path / "both", [plain(1)], [ABOUT, ABOUT])
    assert names(tmp_path) == []


# ---- kill -9

SCRIPT = """
import sys
from pathlib import Path
from pairs.writing import write_pairsets
from test_writing import ABOUT, Job, draw
if __name__ == "__main__":
    def jobs():
        for number in range(int(sys.argv[2])):
            if number == 100:
                print("at work", flush=True)
            yield Job(number)
    write_pairsets(sys.argv[1], jobs(), [ABOUT], draw=draw, replace="replace" in sys.argv, n_workers=2)
"""


@pytest.fixture
def script(tmp_path_factory):
    path = tmp_path_factory.mktemp("script") / "write.py"
    path.write_text(SCRIPT)
    return path


def test_killed_at_any_moment_nothing_verifies_and_the_next_run_completes(tmp_path, script):
    rng = random.Random(5)
    for out in ("set", "set", "set.zip"):
        with marked(script, tmp_path / out, 20_000) as running:
            assert running.process.stdout.readline() == "at work\n"
            time.sleep(rng.uniform(0, 0.2))
            running.process.kill()
            assert running.left_alive() == []
        assert not (tmp_path / out).exists()
        assert len([name for name in names(tmp_path) if name.startswith(f".{out}.unfinished-")]) <= 1
        assert all(name.startswith(".") for name in names(tmp_path))
        for left in tmp_path.iterdir():
            with pytest.raises(PairSetError, match="is not a pair set"):
                read_manifest(left)
    for out in ("set", "set.zip"):
        write_pairsets(tmp_path / out, [Job(number) for number in range(4)], [ABOUT], draw=draw)
        assert len(read_pairset(tmp_path / out).pairs) == 4
    assert names(tmp_path) == ["set", "set.zip"]


def test_killed_while_replacing_the_old_set_or_the_new_one_is_there(tmp_path, script):
    old = write_pairsets(tmp_path / "set", [Job(number) for number in range(4)], [ABOUT], draw=draw)[0]
    with marked(script, tmp_path / "set", 20_000, "replace") as running:
        assert running.process.stdout.readline() == "at work\n"
        running.process.kill()
        assert running.left_alive() == []
    assert read_pairset(tmp_path / "set") == old


def test_pool_that_loses_a_process_leaves_nothing_behind(tmp_path, script):
    with marked(script, tmp_path / "set", 20_000) as running:
        assert running.process.stdout.readline() == "at work\n"
        worker = max(running.alive())  # the last to begin
        os.kill(worker, signal.SIGKILL)
        code, _, complained = running.end()
        assert code == 1
        assert complained.splitlines()[-1].startswith(
            "pairs.workers.WorkerError: a process that worked on pictures was"
        )
        assert running.left_alive() == []
    assert names(tmp_path) == []


def test_stopped_by_hand_nothing_is_left(tmp_path, script):
    with marked(script, tmp_path / "set", 20_000) as running:
        assert running.process.stdout.readline() == "at work\n"
        running.press_ctrl_c()
        code, _, complained = running.end()
        assert code == -signal.SIGINT
        assert complained.count("Traceback") == 1, complained
        assert running.left_alive() == []
    assert names(tmp_path) == []


def test_of_two_writers_at_once_one_wins_whole_and_the_other_is_told(tmp_path, script):
    with marked(script, tmp_path / "set", 120) as one, marked(script, tmp_path / "set", 120) as other:
        wait_until(lambda: len(list(tmp_path.glob(".set.unfinished-*"))) == 2)
        ended = [one.end(), other.end()]
    assert sorted(code for code, _, _ in ended) == [0, 1]
    assert [complained for code, _, complained in ended if code == 0] == [""]
    (told,) = [complained for code, _, complained in ended if code == 1]
    assert "set already exists; choose another --out" in told.splitlines()[-1]
    assert len(read_pairset(tmp_path / "set").pairs) == 120
    assert names(tmp_path) == ["set"]
