import dataclasses
import hashlib

import numpy as np
import pytest
import torch
from photographs import SMALL, write_photos
from PIL import Image

from models.color import split_luminance
from pairs.road import PhotoError, open_photo, square_picture
from pairs.selecting import Choice, SelectionError
from pairs.writing import pair_id
from protocol.pairset import Exclusion, read_pairset
from train import loop
from train.checkpoint import GENERATOR, load_generator
from train.pairs import make_pairs, select_photos
from train.parallel import Processes
from train.photos import Split, find_photos, freeze_split, split_photos
from train.training_photos import load_photos

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("photos"), 24)


def train(photos, config, run):
    """A run without its card, which takes longer than all else."""
    side = load_photos(photos, config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "write_card", lambda run: None)
        loop.train(loop.open_run(run, config, side.provenance, Processes(CPU), True), config, side, run)


@pytest.fixture(scope="module")
def runs(photos, tmp_path_factory):
    """Two generators, by their name, trained on the same side of the same photos."""
    folder = tmp_path_factory.mktemp("runs")
    for name, objective in (("one", "cgan"), ("two", "wgan")):
        train(photos, dataclasses.replace(SMALL, name=name, objective=objective), folder / name)
    return {name: load_generator(folder / name, CPU) for name in ("one", "two")}


def pair_up(trained, photos, out, n_pairs=None, seed=0, keeps_luminance=False, side="held-out"):
    selection = select_photos(photos, [trained], side=side, choice=Choice(n_pairs, seed=seed))
    names = {"conditions": [trained.config.name], "source_name": "spots", "licence": "CC0"}
    make_pairs([trained], selection, out, **names, side=side, keeps_luminance=keeps_luminance)
    return read_pairset(out)


def picture(folder, image):
    with Image.open(folder / image.file) as file:
        return np.asarray(file)


def luminance(pixels):
    rgb = torch.tensor(pixels).permute(2, 0, 1).unsqueeze(0) / 255
    return split_luminance(rgb)[0]


def test_only_held_out_photos_are_shown(photos, runs, tmp_path):
    pairset = pair_up(runs["one"], photos, tmp_path / "set")
    split = split_photos(find_photos(photos), SMALL.held_out)
    assert {pair.photo_sha256 for pair in pairset.pairs} == {photo.sha256 for photo in split.held_out}
    assert not {pair.photo_sha256 for pair in pairset.pairs} & runs["one"].photos.trained


def test_real_is_the_photo_cropped_as_in_training_and_fake_is_another_picture_of_its_size(photos, runs, tmp_path):
    pairset = pair_up(runs["one"], photos, tmp_path / "set")
    by_hash = {photo.sha256: photo for photo in find_photos(photos)}
    for pair in pairset.pairs:
        real, fake = picture(tmp_path / "set", pair.real), picture(tmp_path / "set", pair.fake)
        expected = square_picture(open_photo(by_hash[pair.photo_sha256].path), 16)
        np.testing.assert_array_equal(real, np.asarray(expected))
        assert fake.shape == real.shape == (16, 16, 3)
        assert (fake != real).any()


def test_two_generators_are_shown_on_the_same_pictures(photos, runs, tmp_path):
    sets = [pair_up(runs[name], photos, tmp_path / name, n_pairs=4, seed=5) for name in ("one", "two")]
    assert [pair.id for pair in sets[0].pairs] == [pair.id for pair in sets[1].pairs]
    assert [pair.real for pair in sets[0].pairs] == [pair.real for pair in sets[1].pairs]
    assert [pair.fake.sha256 for pair in sets[0].pairs] != [pair.fake.sha256 for pair in sets[1].pairs]


def test_seed_draws_the_pictures(photos, runs, tmp_path):
    drawn = {
        seed: [p.id for p in pair_up(runs["one"], photos, tmp_path / str(seed), 4, seed).pairs] for seed in (0, 1, 2)
    }
    assert len({tuple(ids) for ids in drawn.values()}) == 3


def test_fewer_pairs_are_the_first_of_more(photos, runs, tmp_path):
    few, more = (pair_up(runs["one"], photos, tmp_path / str(n), n) for n in (2, 5))
    assert [pair.id for pair in few.pairs] == [pair.id for pair in more.pairs][:2]


def test_kept_luminance_is_that_of_the_photo(photos, runs, tmp_path):
    for keeps, folder in ((True, tmp_path / "kept"), (False, tmp_path / "own")):
        pairset = pair_up(runs["one"], photos, folder, keeps_luminance=keeps)
        differences = torch.stack(
            [luminance(picture(folder, pair.real)) - luminance(picture(folder, pair.fake)) for pair in pairset.pairs]
        ).abs()
        assert (differences.max() < 0.03) == keeps
        assert pairset.generator["config"]["keep_luminance"] is keeps


def test_lab_generator_keeps_the_luminance_of_the_photo_unasked(photos, tmp_path):
    train(photos, dataclasses.replace(SMALL, colour_space="lab", generator_lr=0.05), tmp_path / "run")
    trained = load_generator(tmp_path / "run", CPU)
    pairset = pair_up(trained, photos, tmp_path / "set", keeps_luminance=False)
    assert pairset.generator["config"]["keep_luminance"] is True
    for pair in pairset.pairs:
        real, fake = picture(tmp_path / "set", pair.real), picture(tmp_path / "set", pair.fake)
        difference = (luminance(real) - luminance(fake)).abs()
        assert difference.max() < 0.03  # of 2: rounding to 8 bits
        assert np.abs(real.astype(int) - fake).max() > 20


def test_pairs_keep_to_a_frozen_split(photos, runs, tmp_path):
    """Photos that are held out by their hash and frozen as trained on are not shown, and the other way round."""
    folder = write_photos(tmp_path / "others", 12, first=100)
    split = split_photos(find_photos(folder), SMALL.held_out)
    assert split.train
    assert split.held_out
    freeze_split(folder, Split(train=split.held_out, held_out=split.train))
    shown = select_photos(folder, [runs["one"]], side="held-out", choice=Choice(None, seed=0))
    assert {photo.sha256 for photo in shown.photos} == {photo.sha256 for photo in split.train}


def test_broken_photos_are_passed_over(photos, runs, tmp_path):
    folder = write_photos(tmp_path / "others", 4, first=100)
    (folder / "bad.jpg").write_bytes(b"no picture")
    shown = select_photos(folder, [runs["one"]], side="all", choice=Choice(None, seed=0))
    assert (len(shown.photos), shown.n_left_out) == (4, 1)


def test_manifest_says_what_made_it_and_from_what(photos, runs, tmp_path):
    pairset = pair_up(runs["two"], photos, tmp_path / "set", side="all")
    assert pairset.condition == "two"
    assert pairset.source == {"name": "spots", "licence": "CC0", "split": "all"}
    assert pairset.generator["name"] == "two"
    assert pairset.generator["checkpoint_sha256"] == runs["two"].sha256
    assert pairset.generator["config"] | SMALL.to_dict() | {"name": "two", "objective": "wgan"} == (
        SMALL.to_dict() | {"name": "two", "objective": "wgan", "step": 4, "keep_luminance": False}
    )


def test_generator_hash_is_that_of_its_file(photos, runs, tmp_path):
    config = dataclasses.replace(SMALL, steps=1)
    train(photos, config, tmp_path)
    expected = hashlib.sha256((tmp_path / GENERATOR).read_bytes()).hexdigest()
    assert load_generator(tmp_path, CPU).sha256 == expected


def test_photo_trained_on_is_never_shown_whatever_the_split_says(photos, runs, tmp_path):
    one = runs["one"]
    generous = dataclasses.replace(one, config=dataclasses.replace(one.config, held_out=0.999))
    shown = select_photos(photos, [generous], side="held-out", choice=Choice(None, seed=0))
    assert not {photo.sha256 for photo in shown.photos} & one.photos.trained
    assert shown.n_trained == one.photos.n_train
    elsewhere = write_photos(tmp_path / "others", 6, first=100)
    assert len(select_photos(elsewhere, [one], side="all", choice=Choice(None, seed=0)).photos) == 6


def test_crops_of_a_trained_photograph_are_never_shown(photos, runs, tmp_path):
    trained_on = min(runs["one"].photos.trained)
    write_photos(tmp_path, 2, first=100)
    (tmp_path / "sources.csv").write_text(f"file,source_sha256\nphoto-100.png,{trained_on}\nphoto-101.png,{'0' * 64}\n")
    shown = select_photos(tmp_path, [runs["one"]], side="all", choice=Choice(None, seed=0))
    assert [photo.path.name for photo in shown.photos] == ["photo-101.png"]


def test_too_few_photos_left_says_where_the_others_went(photos, runs, tmp_path):
    n_train = runs["one"].photos.n_train
    with pytest.raises(PhotoError, match=rf"of 24 photos can be shown, 25 are wanted \({n_train} were trained on"):
        select_photos(photos, [runs["one"]], side="held-out", choice=Choice(25, seed=0))
    for photo in split_photos(find_photos(photos), SMALL.held_out).train:
        (tmp_path / photo.path.name).write_bytes(photo.path.read_bytes())
    with pytest.raises(PhotoError, match=rf"0 of {n_train} photos can be shown, 1 are wanted"):
        select_photos(tmp_path, [runs["one"]], side="all", choice=Choice(None, seed=0))


def test_excluded_photos_are_not_shown_and_stay_noted(photos, runs, tmp_path):
    trained = runs["one"]
    shown = [
        pair_id(photo.sha256)
        for photo in select_photos(photos, [trained], side="all", choice=Choice(None, seed=0)).photos
    ]
    excluded = [Exclusion(id=shown[1], reason="a watermark")]
    selection = select_photos(photos, [trained], side="all", choice=Choice(None, seed=0, excluded=tuple(excluded)))
    assert [pair_id(photo.sha256) for photo in selection.photos] == [shown[0], *shown[2:]]
    names = {"conditions": ["one"], "source_name": "spots", "licence": "CC0"}
    make_pairs([trained], selection, tmp_path / "set", **names, side="all", keeps_luminance=False)
    assert read_pairset(tmp_path / "set").excluded == tuple(excluded)
    gone = Exclusion(id=pair_id(min(trained.photos.trained)), reason="x")  # which was never to be shown
    with pytest.raises(SelectionError, match="none of the .* pairs has this id"):
        select_photos(photos, [trained], side="all", choice=Choice(None, seed=0, excluded=(gone,)))


def test_photo_that_breaks_while_others_are_coloured_leaves_nothing_behind(runs, tmp_path):
    photos = write_photos(tmp_path / "photos", 4, first=100)
    selection = select_photos(photos, [runs["one"]], side="all", choice=Choice(None, seed=0))
    selection.photos[2].path.write_bytes(b"no picture")
    names = {"conditions": ["one"], "source_name": "spots", "licence": "CC0"}
    with pytest.raises(PhotoError, match="cannot be decoded .*; remove it or replace it"):
        make_pairs([runs["one"]], selection, tmp_path / "set", **names, side="all", keeps_luminance=False)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]
