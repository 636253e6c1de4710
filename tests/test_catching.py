"""The command ``realism pairs catch``: pairs with an obvious answer, from any pair set, one by one."""

from pathlib import Path

import numpy as np
from pictures import colourful, write_pictures
from test_pairs_cli import contents, names, tagged
from test_train_cli import call, refused

from pairs import catching, workers
from pairs.selecting import Choice
from pairs.writing import About, Picture, write_pairset
from protocol.pairset import Exclusion, read_pair, read_pairset, sha256_hex
from protocol.place import Place

__all__ = ["tagged"]  # a fixture

LUMA = np.array([0.299, 0.587, 0.114])


def test_catch_pairs_take_the_kinds_in_turn_and_are_the_same_each_time(tagged, tmp_path):
    for out in ("one", "two"):
        done = call("pairs", "catch", tagged / "cgan", "-n", 6, "--tag", "rose", "--out", tmp_path / out)
        assert done.output == f"{tmp_path / out}: 6 pairs of condition catch, 32x32\n"
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    pairset = read_pairset(tmp_path / "one")
    assert [pair.tags for pair in pairset.pairs] == [("rose", kind) for kind in ("noise", "shuffled", "grayscale")] * 2
    assert pairset.generator["config"] == {"kinds": ["noise", "shuffled", "grayscale"], "seed": 0}
    assert {pair.id for pair in pairset.pairs} < {pair.id for pair in read_pairset(tagged / "cgan").pairs}


def test_luminance_of_a_catch_pair_is_that_of_the_photograph(tmp_path):
    write_pictures(tmp_path / "set", "cgan", n=6)
    assert call("pairs", "catch", tmp_path / "set", "--condition", "easy", "--out", tmp_path / "easy").exit_code == 0
    pairset, place = read_pairset(tmp_path / "easy"), Place(tmp_path / "easy")
    assert pairset.condition == "easy"
    reals = {pair.id: pair.real.sha256 for pair in read_pairset(tmp_path / "set").pairs}
    for pair in pairset.pairs:
        assert reals[pair.id] == pair.real.sha256
        found = read_pair(place, pairset, pair)
        real, fake = (np.asarray(picture, float) for picture in (found.real, found.fake))
        assert np.abs((real - fake) @ LUMA).max() < 1
        assert np.abs(real - fake).max() > 20
    assert {pair.tags[-1] for pair in pairset.pairs} == {"noise", "shuffled", "grayscale"}


def test_gray_photographs_are_passed_over(tmp_path, capsys):
    pictures = []
    for seed in range(6):
        real = colourful(seed)
        if seed % 2:
            real = real.convert("L").convert("RGB")
        pictures.append(Picture(sha256_hex(real.tobytes()), real, (real.rotate(90),), (f"seed-{seed}",)))
    excluded = [Exclusion(id="0a1b", reason="a watermark")]
    write_pairset(tmp_path / "set", pictures, About("cgan", {}, {}), excluded=excluded)
    command = ["pairs", "catch", tmp_path / "set", "--kind", "grayscale", "--out", tmp_path / "catch"]
    told = refused(capsys, *command, "-n", 4)
    assert "3 of 6 photographs have enough colour for an obvious answer, 4 are wanted; ask for fewer" in told
    assert names(tmp_path) == ["set"]
    assert call(*command).exit_code == 0
    pairset = read_pairset(tmp_path / "catch")
    assert sorted(pair.tags for pair in pairset.pairs) == [(f"seed-{seed}", "grayscale") for seed in (0, 2, 4)]
    assert pairset.excluded == tuple(excluded)
    gray = [picture for picture in pictures if picture.tags[0][-1] in "135"]
    write_pairset(tmp_path / "gray", gray, About("cgan", {}, {}))
    told = refused(capsys, "pairs", "catch", tmp_path / "gray", "--kind", "shuffled", "--out", tmp_path / "none")
    assert "0 of 3 photographs have enough colour for an obvious answer, 1 are wanted" in told


def test_catch_pairs_are_written_one_by_one(tmp_path, monkeypatch):
    """10,000 photographs do not fit in memory."""
    write_pictures(tmp_path / "set", "cgan", n=12)
    drawn, most = [], []
    monkeypatch.setattr(workers, "ALONE", 2)
    monkeypatch.setattr(workers.os, "sched_getaffinity", lambda pid: {0})
    monkeypatch.setattr(catching, "catch_picture", lambda real, kind, seed: drawn.append(kind) or real.rotate(90))
    monkeypatch.setattr(Path, "write_bytes", _noting(Path.write_bytes, lambda: most.append(len(drawn))))
    catching.make_catch_pairs(tmp_path / "set", tmp_path / "catch", choice=Choice(12))
    assert most[0] == 3


def _noting(write, note):
    def write_bytes(self, data):
        note()
        return write(self, data)

    return write_bytes
