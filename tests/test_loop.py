import dataclasses
import os
import signal

import pytest
import torch
from photographs import SMALL, write_photos
from PIL import Image
from safetensors.torch import load_file

from train import loop
from train.checkpoint import CHECKPOINT, GENERATOR, load_generator
from train.config import TrainConfig, read_config
from train.log import LogError, read_log
from train.loop import TrainError, load_photos, open_run
from train.photos import PhotoError, find_photos, split_photos

CPU = torch.device("cpu")
CGAN = dataclasses.replace(SMALL, average_decay=0.9)
WGAN = dataclasses.replace(SMALL, name="wgan", objective="wgan", critic_steps=2)
BATCH_NORM = dataclasses.replace(SMALL, discriminator_norm="batch")


def run_training(folder, run, config: TrainConfig, resume=False):
    photos = load_photos(folder, config)
    state = open_run(run, config, photos.provenance, CPU, resume)
    loop.train(state, config, photos, run)
    return state


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("photos"))


def test_run_leaves_generator_samples_log_and_settings(photos, tmp_path):
    run = tmp_path / "run"
    run_training(photos, run, SMALL)
    left = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    grids = {"samples/step-000002.png", "samples/step-000004.png"}
    assert left == {CHECKPOINT, GENERATOR, "config.toml", "log.jsonl", *grids}
    assert read_config(run / "config.toml") == SMALL
    rows = read_log(run / "log.jsonl")
    assert [row["step"] for row in rows if "l1" in row] == [1, 2, 3, 4]
    assert [row["step"] for row in rows if "held_out_l1" in row] == [2, 4]
    assert {"discriminator_loss", "adversarial", "adversarial_weight", "gradient_ratio"} <= set(rows[0])


def test_sample_grid_shows_gray_real_and_fake_in_columns(photos, tmp_path):
    run_training(photos, tmp_path / "run", SMALL)
    n_held_out = min(8, len(load_photos(photos, SMALL).held_out))
    with Image.open(tmp_path / "run/samples/step-000004.png") as grid:
        cell = SMALL.image_size + 2
        assert grid.size == (3 * cell + 2, n_held_out * cell + 2)
        gray, real = (grid.crop((x, 2, x + 16, 18)).convert("RGB") for x in (2, 2 + cell))
    assert all(r == g == b for _, (r, g, b) in gray.getcolors())
    assert any(r != g for _, (r, g, b) in real.getcolors())


@pytest.mark.parametrize("config", [CGAN, WGAN, BATCH_NORM], ids=["cgan", "wgan", "batch-norm"])
def test_resumed_run_equals_an_uninterrupted_one_bit_for_bit(photos, tmp_path, config):
    run_training(photos, tmp_path / "whole", config)
    run_training(photos, tmp_path / "parts", dataclasses.replace(config, steps=2))
    run_training(photos, tmp_path / "parts", config, resume=True)
    for name in (CHECKPOINT, GENERATOR):
        whole, parts = load_file(tmp_path / "whole" / name), load_file(tmp_path / "parts" / name)
        assert whole.keys() == parts.keys()
        assert all(torch.equal(whole[key], parts[key]) for key in whole)
    assert (tmp_path / "whole" / CHECKPOINT).read_bytes() == (tmp_path / "parts" / CHECKPOINT).read_bytes()
    assert (tmp_path / "whole/log.jsonl").read_text() == (tmp_path / "parts/log.jsonl").read_text()


def test_rows_logged_after_the_checkpoint_are_dropped_on_resume(photos, tmp_path):
    run = tmp_path / "run"
    run_training(photos, run, dataclasses.replace(SMALL, steps=2))
    with (run / "log.jsonl").open("a") as file:
        file.write('{"step": 3, "l1": 99}\n{"step": 4, "l')  # a crash in the middle of a line
    run_training(photos, run, SMALL, resume=True)
    rows = read_log(run / "log.jsonl")
    assert [row["step"] for row in rows if "l1" in row] == [1, 2, 3, 4]
    assert all(row.get("l1") != 99 for row in rows)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_saves_after_the_step_in_progress_and_resume_goes_on(photos, tmp_path, monkeypatch, number):
    config = dataclasses.replace(SMALL, steps=5, checkpoint_every=100)
    train_step = loop.train_step

    def interrupted(state, *given):
        if state.step == 2:
            os.kill(os.getpid(), number)
        return train_step(state, *given)

    before = signal.getsignal(number)
    monkeypatch.setattr(loop, "train_step", interrupted)
    assert run_training(photos, tmp_path / "run", config).step == 3
    assert signal.getsignal(number) is before
    assert load_generator(tmp_path / "run", CPU).step == 3
    monkeypatch.setattr(loop, "train_step", train_step)
    run_training(photos, tmp_path / "run", config, resume=True)
    run_training(photos, tmp_path / "whole", config)
    assert (tmp_path / "run" / CHECKPOINT).read_bytes() == (tmp_path / "whole" / CHECKPOINT).read_bytes()


def test_second_signal_interrupts_at_once(photos, tmp_path, monkeypatch):
    def interrupted_twice(*given):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(loop, "train_step", interrupted_twice)
    with pytest.raises(KeyboardInterrupt, match="^$"):
        run_training(photos, tmp_path / "run", SMALL)
    assert not (tmp_path / "run" / CHECKPOINT).exists()  # the first signal saves, the second does not wait for that


def test_loss_that_is_no_number_stops_and_the_last_checkpoint_stays(photos, tmp_path, monkeypatch):
    train_step = loop.train_step

    def spoiled(state, *given):
        losses = train_step(state, *given)
        return losses | {"l1": float("nan")} if state.step == 3 else losses

    monkeypatch.setattr(loop, "train_step", spoiled)
    with pytest.raises(TrainError, match=r"run .*: step 3 gave .*nan.*lower the learning rates"):
        run_training(photos, tmp_path / "run", SMALL)
    assert load_generator(tmp_path / "run", CPU).step == 2


def test_run_that_exists_is_not_overwritten(photos, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/notes.txt").write_text("mine")
    with pytest.raises(TrainError, match=r"run exists; go on with it with --resume"):
        run_training(photos, tmp_path / "run", SMALL)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["notes.txt"]


def test_empty_or_absent_run_resumes_at_the_beginning(photos, tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("empty", "absent"):
        assert run_training(photos, tmp_path / name, SMALL, resume=True).step == 4


@pytest.mark.parametrize("name", ["config.toml", "log.jsonl", "notes.txt"])
def test_folder_that_is_no_run_is_not_resumed_and_stays_as_it_was(photos, tmp_path, name):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).write_text("mine")
    with pytest.raises(TrainError, match=r"run has no checkpoint to go on from; remove the folder, or give another"):
        run_training(photos, tmp_path / "run", SMALL, resume=True)
    assert [path.read_text() for path in (tmp_path / "run").iterdir()] == ["mine"]


@pytest.mark.parametrize("line", [b"not JSON", b"[" * 100_000, b"\xff\xfe", b"[1]", b'{"l1": 2}', b'{"step": "one"}'])
def test_damaged_log_is_named_before_anything_is_written(photos, tmp_path, line):
    run = tmp_path / "run"
    run_training(photos, run, dataclasses.replace(SMALL, steps=1))
    with (run / "log.jsonl").open("ab") as file:
        file.write(line + b"\n")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(LogError, match=r"log.jsonl: line 3 is '.*', expected a JSON object with a step; remove the"):
        run_training(photos, run, SMALL, resume=True)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_log_that_is_a_folder_is_named(photos, tmp_path):
    run_training(photos, tmp_path / "run", dataclasses.replace(SMALL, steps=1))
    (tmp_path / "run/log.jsonl").unlink()
    (tmp_path / "run/log.jsonl").mkdir()
    with pytest.raises(LogError, match=r"log.jsonl cannot be read \(Is a directory\); remove it, and the run goes on"):
        run_training(photos, tmp_path / "run", SMALL, resume=True)


def test_run_is_not_resumed_with_other_settings(photos, tmp_path):
    run_training(photos, tmp_path / "run", SMALL)
    other = dataclasses.replace(SMALL, generator_lr=0.5)
    with pytest.raises(TrainError, match=r"was begun with generator_lr = 0.001, the config says 0.5; put it back"):
        run_training(photos, tmp_path / "run", other, resume=True)


def test_run_is_not_resumed_with_other_photos(photos, tmp_path):
    run_training(photos, tmp_path / "run", SMALL)
    others = write_photos(tmp_path / "others", 12, first=100)
    with pytest.raises(
        TrainError, match=r"was begun with other photos \(\d+ from 'photos\d*', now \d+ from 'others'\)"
    ):
        run_training(others, tmp_path / "run", SMALL, resume=True)


def test_photo_too_few_for_two_sides_is_one_clear_error(tmp_path):
    write_photos(tmp_path, 1)
    with pytest.raises(PhotoError, match=r"of 1 photos, \d can be trained on and \d held out.*give more photographs"):
        load_photos(tmp_path, SMALL)


def test_only_the_train_side_is_trained_on(photos):
    split = split_photos(find_photos(photos), SMALL.held_out)
    loaded = load_photos(photos, SMALL)
    assert len(loaded.train) == len(split.train)
    assert loaded.provenance.trained == {photo.sha256 for photo in split.train}
    assert loaded.provenance.n_held_out == len(split.held_out)


def test_tensorboard_is_written_when_asked_for(photos, tmp_path):
    run_training(photos, tmp_path / "run", dataclasses.replace(SMALL, tensorboard=True, steps=1))
    assert list((tmp_path / "run/tensorboard").glob("events.out.tfevents.*"))
