import dataclasses

import pytest
import torch
from photographs import SMALL, write_photos
from safetensors.torch import load_file

from protocol.whole_folder import FolderError
from train import loop
from train.card import CARD
from train.checkpoint import GENERATOR, CheckpointError, load_generator
from train.parallel import Processes
from train.publish import publish
from train.training_photos import load_photos

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    photos = write_photos(tmp_path_factory.mktemp("photos"))
    folder = tmp_path_factory.mktemp("runs") / "run"
    config = dataclasses.replace(SMALL, colour_space="lab", average_decay=0.9)
    side = load_photos(photos, config, source="Spots", licence="CC0")
    state = loop.open_run(folder, config, side.provenance, Processes(CPU), False)
    loop.train(state, config, side, folder)
    return folder


def test_published_generator_colours_as_the_run_does_at_half_the_size(run, tmp_path):
    done = publish(run, tmp_path / "out")
    whole, half = load_generator(run, CPU), load_generator(tmp_path / "out", CPU)
    assert (half.config, half.step, half.photos) == (whole.config, whole.step, whole.photos)
    assert half.sha256 != whole.sha256
    assert 0 < done.largest_change < 1  # of 255
    weights = {name: tensor for name, tensor in load_file(tmp_path / "out" / GENERATOR).items() if tensor.ndim == 4}
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}
    assert done.n_bytes == (tmp_path / "out" / GENERATOR).stat().st_size < (run / GENERATOR).stat().st_size


def test_published_folder_has_its_card_and_what_the_card_shows_and_no_checkpoint(run, tmp_path):
    publish(run, tmp_path / "out")
    files = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert files == {
        GENERATOR,
        CARD,
        "config.toml",
        "log.jsonl",
        "curves.png",
        "photos.csv",
        "samples/step-000004.png",
    }
    card = (tmp_path / "out" / CARD).read_text()
    assert "Licence of the photographs: CC0" in card
    assert "samples/step-000004.png" in card


def test_something_else_is_never_replaced(run, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/notes.txt").write_text("mine")
    with pytest.raises(FolderError, match="out"):
        publish(run, tmp_path / "out", replace=True)
    assert (tmp_path / "out/notes.txt").read_text() == "mine"


def test_folder_without_a_generator_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"generator.safetensors does not exist"):
        publish(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
