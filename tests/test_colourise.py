import dataclasses
import json
import os

import numpy as np
import pytest
import torch
from photographs import SMALL, write_photos
from pictures import colourful
from PIL import Image
from test_train_cli import call, refused

from models.color import fit_chroma, split_luminance
from pairs.road import PhotoError, open_photo
from protocol.whole_folder import FolderError
from train import colourise
from train.checkpoint import load_generator
from train.colourise import NOTE, ColouriseError, colour_folder, colour_photo
from train.pairs import colour_picture

CPU = torch.device("cpu")
SPACES = ("lab", "rgb")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run's folder for each colour space."""
    folder = tmp_path_factory.mktemp("runs")
    photos = write_photos(folder / "photos")
    for space in SPACES:
        config = dataclasses.replace(SMALL, name=f"in-{space}", colour_space=space)
        (folder / "small.toml").write_text(config.to_toml())
        done = call("train", folder / "small.toml", "--photos", photos, "--out", folder / space, "--device", "cpu")
        assert done.exit_code == 0, done.output
    return {space: folder / space for space in SPACES}


@pytest.fixture(scope="module")
def trained(runs):
    return {space: load_generator(run, CPU) for space, run in runs.items()}


@pytest.fixture
def photos(tmp_path):
    return write_photos(tmp_path / "photos", 3)


def picture(path):
    with Image.open(path) as file:
        assert file.mode == "RGB"
        return np.asarray(file)


def lightness(pixels):
    """L* (H, W) of RGB pixels (H, W, 3)."""
    rgb = torch.tensor(np.array(pixels)).permute(2, 0, 1).unsqueeze(0) / 255
    return split_luminance(rgb)[0][0, 0].numpy() * 50 + 50


def noise(width, height, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("space", SPACES)
def test_every_photo_is_coloured_at_its_own_size_under_its_own_name(trained, space, tmp_path):
    sizes = {"a": (16, 16), "b": (15, 40), "in/c": (90, 20), "in/in/d": (7, 5), "e": (1, 1), "f": (3, 400)}
    for number, (name, size) in enumerate(sizes.items()):
        path = tmp_path / "photos" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise(*size, number).save(path)
    done = colour_folder(trained[space], tmp_path / "photos", tmp_path / "out")
    assert {str(path) for path in done.pictures} == {f"{name}.png" for name in sizes}
    for name, (width, height) in sizes.items():
        assert picture(tmp_path / "out" / f"{name}.png").shape == (height, width, 3)


@pytest.mark.parametrize("space", SPACES)
def test_equal_photos_and_photos_trained_on_are_coloured_too(runs, trained, space, tmp_path):
    folder = runs[space].parent / "photos"
    done = colour_folder(trained[space], folder, tmp_path / "out")
    assert len(done.pictures) == 16
    (tmp_path / "twice/copy").mkdir(parents=True)
    for name in ("one.png", "copy/two.png"):
        colourful(1).save(tmp_path / "twice" / name)
    assert len(colour_folder(trained[space], tmp_path / "twice", tmp_path / "two").pictures) == 2


@pytest.mark.parametrize("space", SPACES)
def test_photo_without_colour_gets_some_and_keeps_its_luminance(trained, space, tmp_path):
    for mode in ("L", "LA", "P"):
        path = tmp_path / f"gray-{mode}.png"
        colourful(3, 60).convert("L").convert(mode).save(path)
        gray = open_photo(path)
        coloured = colour_photo(trained[space], gray)
        assert np.ptp(np.asarray(coloured), axis=2).max() > 8
        assert np.abs(lightness(coloured) - lightness(gray)).max() < 1


@pytest.mark.parametrize("space", SPACES)
def test_luminance_stays_the_photos_within_the_rounding_to_8_bits(trained, space):
    for photo in (colourful(5, 64), noise(50, 30)):
        difference = np.abs(lightness(colour_photo(trained[space], photo)) - lightness(photo))
        assert difference.max() < 1
        assert difference.mean() < 0.15


@pytest.mark.parametrize("space", SPACES)
def test_photo_of_the_trained_size_gets_the_colours_that_a_pair_would(trained, space):
    photo = colourful(7, SMALL.image_size)
    expected = np.asarray(colour_picture(trained[space], photo, keeps_luminance=True), np.int16)
    assert np.abs(np.asarray(colour_photo(trained[space], photo), np.int16) - expected).max() <= 1


class Echo(torch.nn.Module):
    """Gives back what it sees as a* and b*, so that a test sees where it looked."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.sizes = []

    def forward(self, gray):
        assert gray.shape[2] % 4 == gray.shape[3] % 4 == 0
        self.sizes.append(tuple(gray.shape[2:]))
        return torch.cat((gray, -gray), dim=1)


def echo(trained):
    return dataclasses.replace(trained["lab"], generator=Echo())


@pytest.mark.parametrize("size", [(16, 16), (16, 17), (18, 16), (39, 16), (16, 127)])
def test_colours_lie_where_the_luminance_was_whatever_is_added_to_fit_the_network(trained, size):
    photo = noise(*size)
    ab = colourise._chroma(echo(trained), photo)
    np.testing.assert_allclose(ab[0, 0].numpy() * 50 + 50, lightness(photo), atol=1e-3)


def test_generator_sees_the_shorter_side_at_the_trained_size_and_a_strip_within_bounds(trained):
    seen = echo(trained)
    for size in ((32, 64), (8, 8), (640, 16), (1, 3000)):
        colour_photo(seen, noise(*size))
    assert seen.generator.sizes == [(32, 16), (16, 16), (4, 128), (128, 4)]


def test_colours_stay_in_place_when_enlarged(trained):
    pixels = np.zeros((100, 160, 3), np.uint8)
    pixels[:, 80:] = 200
    ab = np.asarray(colour_photo(echo(trained), Image.fromarray(pixels)), np.int16)
    assert (ab[:, 100:, 0] > ab[:, 100:, 1]).all()  # bright: a* > 0, red over green


def test_strips_leave_no_trace(trained, monkeypatch):
    photo = noise(61, 47)
    whole = np.asarray(colour_photo(trained["lab"], photo), np.int16)
    monkeypatch.setattr(colourise, "STRIP", 200)
    assert np.abs(np.asarray(colour_photo(trained["lab"], photo), np.int16) - whole).max() <= 1  # by rounding


def test_chroma_is_fitted_as_everywhere_else():
    generator = torch.Generator().manual_seed(0)
    luminance = torch.rand(1, 1, 40, 30, generator=generator) * 2 - 1
    for strength in (0.01, 0.2, 1.0):
        ab = (torch.rand(1, 2, 40, 30, generator=generator) * 2 - 1) * strength
        torch.testing.assert_close(colourise._fitted(luminance, ab), fit_chroma(luminance, ab), atol=1e-3, rtol=0)


def test_photo_lying_on_its_side_comes_out_upright(trained, tmp_path):
    (tmp_path / "photos").mkdir()
    exif = Image.Exif()
    exif[274] = 6  # Orientation: to be turned by a quarter
    noise(20, 40).save(tmp_path / "photos/a.jpg", exif=exif)
    colour_folder(trained["lab"], tmp_path / "photos", tmp_path / "out")
    assert picture(tmp_path / "out/a.png").shape == (20, 40, 3)


def test_photos_of_one_name_do_not_overwrite_each_other(trained, tmp_path):
    folder = tmp_path / "photos"
    (folder / "d.png").mkdir(parents=True)
    names = ["a.jpg", "a.png", "a.jpg.png", "B.jpg", "b.webp", "c.jpg", "d.jpg", "d.png/a.jpg"]
    for number, name in enumerate(names):
        noise(8 + number, 8).save(folder / name)
    done = colour_folder(trained["lab"], folder, tmp_path / "out")
    assert {str(path) for path in done.pictures} == {
        *("a.jpg.png", "a.png.png", "a.jpg.png.png", "B.jpg.png", "b.webp.png", "c.png", "d.jpg.png", "d.png/a.png")
    }
    note = json.loads((tmp_path / "out" / NOTE).read_text())
    for entry in note["pictures"]:
        assert picture(tmp_path / "out" / entry["file"]).shape[1] == 8 + names.index(entry["photo"])


def test_note_says_what_made_the_folder(trained, photos, tmp_path):
    colour_folder(trained["lab"], photos, tmp_path / "out")
    note = json.loads((tmp_path / "out" / NOTE).read_text())
    assert note["generator"] == {"name": "in-lab", "step": 4, "checkpoint_sha256": trained["lab"].sha256}
    assert note["pictures"][0] == {"file": "photo-000.png", "photo": "photo-000.png"}


def test_command_colours_a_folder_and_answers_in_json(runs, photos, tmp_path):
    given = ["colourise", photos, "--checkpoint", runs["rgb"], "--out", tmp_path / "out"]
    done = call(*given)
    assert done.exit_code == 0, done.output
    assert "3 photos coloured by in-rgb; 0 broken" in done.output
    answer = json.loads(call(*given, "--replace", "--json").output)
    assert answer["pictures"] == ["photo-000.png", "photo-001.png", "photo-002.png"]


def test_broken_files_are_listed_passed_over_and_found_wanting(runs, photos, tmp_path):
    (photos / "bad.jpg").write_bytes(b"x")
    done = call("colourise", photos, "--checkpoint", runs["lab"], "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert "bad.jpg cannot be decoded" in done.output
    assert "3 photos coloured by in-lab; 1 broken" in done.output
    assert sorted(os.listdir(tmp_path / "out")) == [NOTE, "photo-000.png", "photo-001.png", "photo-002.png"]


def test_wrong_uses_of_colourise_are_refused_in_one_sentence(runs, photos, tmp_path, capsys):
    def with_(folder=photos, checkpoint=runs["lab"], out=tmp_path / "out"):
        return refused(capsys, "colourise", folder, "--checkpoint", checkpoint, "--out", out)

    (tmp_path / "empty").mkdir()
    assert "holds no photograph" in with_(folder=tmp_path / "empty")
    assert "nowhere does not exist; give a folder" in with_(folder=tmp_path / "nowhere")
    assert "generator.safetensors does not exist; give a run's folder" in with_(checkpoint=tmp_path)
    assert "choose a folder beside it" in with_(out=photos)
    assert not (tmp_path / "out").exists()


def test_folder_of_coloured_photos_is_replaced_only_when_asked(trained, photos, tmp_path):
    colour_folder(trained["lab"], photos, tmp_path / "out")
    with pytest.raises(FolderError, match="already exists; choose another --out, or replace it with --replace"):
        colour_folder(trained["lab"], photos, tmp_path / "out")
    (photos / "photo-000.png").unlink()
    colour_folder(trained["lab"], photos, tmp_path / "out", replace=True)
    assert sorted(os.listdir(tmp_path / "out")) == [NOTE, "photo-001.png", "photo-002.png"]


@pytest.mark.parametrize("stranger", ["letter.txt", "in/letter.txt", "in/.hidden"])
def test_folder_with_anything_else_in_it_is_never_replaced(trained, photos, tmp_path, stranger):
    write_photos(photos / "in", 1, first=50)
    colour_folder(trained["lab"], photos, tmp_path / "out")
    (tmp_path / "out" / stranger).write_text("dear")
    with pytest.raises(FolderError, match="no folder of coloured photographs .* is left alone"):
        colour_folder(trained["lab"], photos, tmp_path / "out", replace=True)
    assert (tmp_path / "out" / stranger).read_text() == "dear"


@pytest.mark.parametrize("note", [None, "{", "[]", '{"format": "realism-colourised/1"}', '{"format": "other"}'])
def test_folder_whose_note_is_no_note_is_never_replaced(trained, photos, tmp_path, note):
    other = write_photos(tmp_path / "out", 2)
    if note is not None:
        (other / NOTE).write_text(note)
    with pytest.raises(FolderError, match="is left alone"):
        colour_folder(trained["lab"], photos, other, replace=True)
    assert (other / "photo-001.png").exists()


def test_photos_are_never_coloured_into_their_own_folder(trained, photos, tmp_path):
    (tmp_path / "link").symlink_to(photos, target_is_directory=True)
    for out, how in ((photos, "is"), (photos / "new", "lies in"), (tmp_path, "holds"), (tmp_path / "link", "is")):
        with pytest.raises(ColouriseError, match=f"{how} the photo folder .*; choose a folder beside it"):
            colour_folder(trained["lab"], photos, out, replace=True)
    colour_folder(trained["lab"], photos, tmp_path / "out")
    (photos / "again.png").symlink_to(tmp_path / "out/photo-000.png")
    with pytest.raises(ColouriseError, match="out/photo-000.png, to which .*again.png links; choose another --out"):
        colour_folder(trained["lab"], photos, tmp_path / "out", replace=True)
    assert len(list(photos.iterdir())) == 4


def test_stopped_colouring_leaves_nothing_behind(trained, photos, tmp_path):
    def stop(items):
        yield items[0]
        raise KeyboardInterrupt("stopped after one")

    with pytest.raises(KeyboardInterrupt, match="^stopped after one$"):
        colour_folder(trained["lab"], photos, tmp_path / "out", progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_folder_that_is_a_file_is_refused(trained, photos):
    with pytest.raises(PhotoError, match="is not a folder; give a folder of photographs"):
        colour_folder(trained["lab"], photos / "photo-000.png", photos.parent / "out")
