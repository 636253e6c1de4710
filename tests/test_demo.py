"""The demonstration's own part: real crops of real photographs, each photograph on one side of the split."""

import csv
from collections import defaultdict

import pytest
from PIL import Image

import demo
from protocol import InputError
from protocol.design import parse_design
from train.config import read_config
from train.photos import find_photos, split_photos


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "photos"
    demo._cut_crops(folder)
    return folder


def test_there_are_enough_crops_of_the_stated_size(crops):
    files = sorted(crops.glob("*.png"))
    assert len(files) >= 60
    assert {Image.open(file).size for file in files} == {(128, 128)}
    with (crops / "sources.csv").open() as table:
        assert sorted(row["file"] for row in csv.DictReader(table)) == [file.name for file in files]


@pytest.mark.parametrize("condition", demo.CONDITIONS)
def test_all_crops_of_a_photograph_are_on_one_side(crops, condition):
    config = read_config(demo.HERE / "configs" / f"{condition}-demo.toml")
    split = split_photos(find_photos(crops), config.held_out)
    sides = defaultdict(set)
    for name, photos in (("train", split.train), ("held-out", split.held_out)):
        for photo in photos:
            sides[photo.path.name.rsplit("-", 3)[0]].add(name)
    assert len(sides) == len(demo.PHOTOGRAPHS)
    assert all(len(side) == 1 for side in sides.values())
    trials = demo_design().trials
    assert len(split.held_out) >= trials.practice + trials.main


def demo_design():
    import tomllib

    return parse_design(tomllib.loads(demo.DESIGN), "study.toml")


def test_second_cut_leaves_the_first_alone(crops, capsys):
    before = {file.name: file.stat().st_mtime_ns for file in crops.iterdir()}
    demo._cut_crops(crops)
    assert {file.name: file.stat().st_mtime_ns for file in crops.iterdir()} == before
    assert "there already" in capsys.readouterr().out


def test_missing_photograph_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(demo, "PHOTOGRAPHS", (("skimage", "data/nothing.png", "none"),))
    with pytest.raises(InputError, match="photograph data/nothing.png of skimage is missing; run"):
        demo._cut_crops(tmp_path / "photos")
    assert not (tmp_path / "photos").exists()


def test_taken_port_is_replaced_by_a_free_one():
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert demo._free_port(port) not in (0, port)
