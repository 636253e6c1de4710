import dataclasses
import json
import os

import pytest
import torch
from photographs import SMALL
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from models.generator import colour
from train import checkpoint
from train.checkpoint import (
    CHECKPOINT,
    GENERATOR,
    CheckpointError,
    Provenance,
    load_generator,
    load_state,
    save_run,
    write_atomically,
)
from train.parallel import Processes
from train.steps import open_batches, start_state, train_step

CPU = torch.device("cpu")
ALONE = Processes(CPU)
PHOTOS = Provenance(
    folder="flowers",
    source="Oxford flowers",
    licence="CC0",
    n_train=2,
    n_held_out=1,
    split_sha256="c" * 64,
    trained=frozenset({"a" * 64, "b" * 64}),
)


@pytest.fixture
def trained():
    return trained_with(SMALL)


def trained_with(config):
    """The state after one step on noise."""
    state = start_state(config, ALONE)
    side = config.stored_size
    pixels = torch.randint(0, 256, (5, side, side, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    train_step(state, config, open_batches(config, pixels, ALONE))
    return state


def load_alone(run, device):
    return load_state(run, Processes(device))


def rewrite(path, change):
    """The file again, with what it says of itself changed."""
    with safe_open(path, framework="pt") as file:
        about = json.loads(file.metadata()["realism"])
    change(about)
    save_file(load_file(path), path, {"realism": json.dumps(about)})


def test_generator_file_alone_gives_the_same_pictures(trained, tmp_path):
    save_run(tmp_path, trained, SMALL, PHOTOS)
    gray = torch.rand(2, 1, 16, 16)
    for path in (tmp_path, tmp_path / GENERATOR):
        loaded = load_generator(path, CPU)
        assert torch.equal(colour(loaded.generator, gray), colour(trained.generator, gray))
        assert (loaded.config, loaded.step, loaded.photos) == (SMALL, 1, PHOTOS)
    assert not loaded.generator.training


def test_generator_file_holds_the_averaged_weights(tmp_path):
    config = dataclasses.replace(SMALL, average_decay=0.5)
    state = start_state(config, ALONE)
    with torch.no_grad():
        state.average.last.bias.fill_(7.0)
    save_run(tmp_path, state, config, PHOTOS)
    assert (load_generator(tmp_path, CPU).generator.last.bias == 7).all()
    assert (load_state(tmp_path, ALONE)[0].average.last.bias == 7).all()


def test_checkpoint_rebuilds_networks_from_its_own_settings(trained, tmp_path):
    save_run(tmp_path, trained, SMALL, PHOTOS)
    state, config, photos = load_state(tmp_path, ALONE)
    assert (config, photos, state.step, state.ratio) == (SMALL, PHOTOS, 1, trained.ratio)
    moments = state.generator_optimizer.state_dict()["state"]
    expected = trained.generator_optimizer.state_dict()["state"]
    assert moments.keys() == expected.keys()
    assert all(torch.equal(moments[i][key], expected[i][key]) for i in expected for key in expected[i])


def test_failing_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    message = (
        r"file cannot be written \(No space left on device\); what was there before is as it was. Make room, and go"
    )
    with pytest.raises(CheckpointError, match=message):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_save_that_fails_half_way_leaves_a_checkpoint_that_resumes(trained, tmp_path, monkeypatch):
    save_run(tmp_path, trained, SMALL, PHOTOS)
    old = (tmp_path / CHECKPOINT).read_bytes()
    trained.step = 2
    write = checkpoint.write_atomically

    def fails_at_the_second_file(path, data):
        if path.name == CHECKPOINT:
            raise OSError(28, "No space left on device")
        write(path, data)

    monkeypatch.setattr(checkpoint, "write_atomically", fails_at_the_second_file)
    with pytest.raises(OSError, match="No space left"):
        save_run(tmp_path, trained, SMALL, PHOTOS)
    assert (tmp_path / CHECKPOINT).read_bytes() == old
    assert load_state(tmp_path, ALONE)[0].step == 1
    assert load_generator(tmp_path, CPU).step == 2


def test_weights_of_another_architecture_are_one_clear_error(trained, tmp_path):
    save_run(tmp_path, trained, SMALL, PHOTOS)
    for name in (CHECKPOINT, GENERATOR):
        rewrite(tmp_path / name, lambda about: about["config"].update(generator_width=8))
    message = r"safetensors: the weights of its generator do not fit the settings stored with them \(.+\); train again"
    with pytest.raises(CheckpointError, match=message):
        load_generator(tmp_path, CPU)
    with pytest.raises(CheckpointError, match=message):
        load_state(tmp_path, ALONE)


def test_file_of_another_format_is_refused(trained, tmp_path):
    save_run(tmp_path, trained, SMALL, PHOTOS)
    with pytest.raises(CheckpointError, match=r"format is 'realism-checkpoint/1', expected 'realism-generator/1'"):
        load_generator(tmp_path / CHECKPOINT, CPU)
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"format is None, expected 'realism-generator/1'"):
        load_generator(tmp_path / "other.safetensors", CPU)


def test_settings_of_another_version_are_named(trained, tmp_path):
    save_run(tmp_path, trained, SMALL, PHOTOS)
    rewrite(tmp_path / GENERATOR, lambda about: about["config"].update(wings=2))
    with pytest.raises(CheckpointError, match=r"'wings' is not a setting.*made by another version"):
        load_generator(tmp_path, CPU)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda about: about.pop("config"), "config: Field required"),
        (lambda about: about.pop("step"), "step: Field required"),
        (lambda about: about.pop("photos"), "photos: Field required"),
        (lambda about: about.update(config=[1]), r"config: .*\(found \[1\]\)"),
        (lambda about: about.update(step="soon"), r"step: .*\(found 'soon'\)"),
        (lambda about: about.update(step=-1), r"step: .*\(found -1\)"),
        (lambda about: about.update(photos=None), r"photos: .*\(found None\)"),
        (lambda about: about["photos"].update(zoo=3), r"photos.zoo: Extra inputs are not permitted \(found 3\)"),
        (lambda about: about["photos"].pop("folder"), "photos.folder: Field required"),
    ],
)
def test_file_that_leaves_out_or_adds_something_is_one_clear_error(trained, tmp_path, change, message):
    save_run(tmp_path, trained, SMALL, PHOTOS)
    for name, load in ((GENERATOR, load_generator), (CHECKPOINT, load_alone)):
        rewrite(tmp_path / name, change)
        with pytest.raises(CheckpointError, match=rf"{name}: {message}.*; it is damaged, or .*: train again$"):
            load(tmp_path, CPU)


@pytest.mark.parametrize(("ratio", "message"), [(None, "ratio is None"), ({"n_seen": 1}, "ratio.log_mean: Field req")])
def test_checkpoint_without_its_gradient_ratio_is_refused(trained, tmp_path, ratio, message):
    save_run(tmp_path, trained, SMALL, PHOTOS)
    rewrite(tmp_path / CHECKPOINT, lambda about: about.update(ratio=ratio))
    with pytest.raises(CheckpointError, match=rf"{CHECKPOINT}: {message}.*; it is damaged, or .*: train again$"):
        load_state(tmp_path, ALONE)


@pytest.mark.parametrize(
    ("said", "message"),
    [("{not JSON", r"is not JSON \(.+\)"), ("[" * 100_000, r"is not JSON \(.+\)"), ("[1]", "is no JSON object")],
)
def test_file_that_says_no_json_object_of_itself_is_refused(trained, tmp_path, said, message):
    save_run(tmp_path, trained, SMALL, PHOTOS)
    for name, load in ((GENERATOR, load_generator), (CHECKPOINT, load_alone)):
        save_file(load_file(tmp_path / name), tmp_path / name, {"realism": said})
        with pytest.raises(CheckpointError, match=rf"{name}: what it says of itself {message}; train again$"):
            load(tmp_path, CPU)


@pytest.mark.parametrize("hashes", [torch.zeros(2, 32), torch.zeros(2, 31, dtype=torch.uint8), torch.tensor(3)])
def test_hashes_of_another_shape_or_kind_are_refused(trained, tmp_path, hashes):
    save_run(tmp_path, trained, SMALL, PHOTOS)
    for name, load in ((GENERATOR, load_generator), (CHECKPOINT, load_alone)):
        with safe_open(tmp_path / name, framework="pt") as file:
            said = file.metadata()
        save_file(load_file(tmp_path / name) | {"photos.trained": hashes}, tmp_path / name, said)
        message = rf"{name}: photos.trained is torch.* of shape \(.*\), expected torch.uint8 .*; train again$"
        with pytest.raises(CheckpointError, match=message):
            load(tmp_path, CPU)


def test_missing_and_damaged_files_are_named(trained, tmp_path):
    with pytest.raises(CheckpointError, match=r"generator.safetensors does not exist; give a run's folder"):
        load_generator(tmp_path, CPU)
    save_run(tmp_path, trained, SMALL, PHOTOS)
    data = (tmp_path / GENERATOR).read_bytes()
    for damaged in (data[: len(data) // 2], b"", b"\x80\x04pickle" * 9):
        (tmp_path / GENERATOR).write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"generator.safetensors cannot be read \(.*\); it is damaged"):
            load_generator(tmp_path, CPU)
