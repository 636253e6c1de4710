import csv
import dataclasses
import os
import resource
import signal
from contextlib import contextmanager

import pytest
import torch
from photographs import SMALL, write_photos
from PIL import Image
from safetensors.torch import load_file

from pairs.road import PhotoError
from train import loop
from train.checkpoint import CHECKPOINT, GENERATOR, CheckpointError, load_generator
from train.config import TrainConfig, read_config
from train.log import LogError, TrainLog, read_log
from train.loop import TrainError, open_run
from train.parallel import Processes
from train.photos import find_photos, freeze_split, split_photos
from train.training_photos import load_photos

CPU = torch.device("cpu")
ALONE = Processes(CPU)
CGAN = dataclasses.replace(SMALL, average_decay=0.9)
WGAN = dataclasses.replace(SMALL, name="wgan", objective="wgan", critic_steps=2)
BATCH_NORM = dataclasses.replace(SMALL, discriminator_norm="batch")
EVERYTHING = dataclasses.replace(
    SMALL,
    name="wgan-gp",
    objective="wgan-gp",
    discriminator_norm="layer",
    critic_steps=2,
    critic_warmup=1,
    colour_space="lab",
    zoom=1.25,
    lr_schedule="cosine",
    average_decay=0.9,
)


@pytest.fixture(autouse=True)
def _curves_are_not_drawn(monkeypatch):
    monkeypatch.setattr("train.card._curves", lambda rows: b"")  # takes as long as ten small runs; see test_card


def run_training(folder, run, config: TrainConfig, resume=False, until=None):
    photos = load_photos(folder, config)
    state = open_run(run, config, photos.provenance, ALONE, resume)
    loop.train(state, config, photos, run, until=until)
    return state


def without_times(log):
    """The rows of a log, without what differs from run to run."""
    return [{name: n for name, n in row.items() if name not in ("images_per_s", "data_share")} for row in read_log(log)]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("photos"))


def test_run_leaves_generator_samples_log_and_settings(photos, tmp_path):
    run = tmp_path / "run"
    run_training(photos, run, SMALL)
    left = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    grids = {"samples/step-000002.png", "samples/step-000004.png"}
    tables = {"config.toml", "log.jsonl", "photos.csv"}
    assert left == {CHECKPOINT, GENERATOR, *tables, "README.md", "curves.png", *grids}
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


@pytest.mark.parametrize(
    "config", [CGAN, WGAN, BATCH_NORM, EVERYTHING], ids=["cgan", "wgan", "batch-norm", "everything"]
)
def test_resumed_run_equals_an_uninterrupted_one_bit_for_bit(photos, tmp_path, config):
    run_training(photos, tmp_path / "whole", config)
    run_training(photos, tmp_path / "parts", config, until=2)
    run_training(photos, tmp_path / "parts", config, resume=True)
    for name in (CHECKPOINT, GENERATOR):
        whole, parts = load_file(tmp_path / "whole" / name), load_file(tmp_path / "parts" / name)
        assert whole.keys() == parts.keys()
        assert all(torch.equal(whole[key], parts[key]) for key in whole)
    assert (tmp_path / "whole" / CHECKPOINT).read_bytes() == (tmp_path / "parts" / CHECKPOINT).read_bytes()
    assert without_times(tmp_path / "whole/log.jsonl") == without_times(tmp_path / "parts/log.jsonl")


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
    assert load_generator(tmp_path / "run", CPU).step == 0  # the first signal saves, the second does not wait for that


def test_loss_that_is_no_number_stops_and_the_last_checkpoint_stays(photos, tmp_path, monkeypatch):
    train_step = loop.train_step

    def spoiled(state, *given):
        losses = train_step(state, *given)
        return losses | {"l1": torch.tensor(float("nan"))} if state.step == 3 else losses

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


def test_rows_tell_the_speed_and_the_wait_for_photos(photos, tmp_path):
    run_training(photos, tmp_path / "run", SMALL)
    rows = [row for row in read_log(tmp_path / "run/log.jsonl") if "l1" in row]
    assert len(rows) == 4
    assert all(row["images_per_s"] > 0 for row in rows)
    assert all(0 <= row["data_share"] <= 1 for row in rows)


def test_clamped_critic_logs_how_many_weights_lie_at_the_clamp(photos, tmp_path):
    run_training(photos, tmp_path / "run", WGAN)
    shares = [row["at_clamp"] for row in read_log(tmp_path / "run/log.jsonl") if "l1" in row]
    assert len(shares) == 4
    assert all(0 < share <= 1 for share in shares)


def test_table_of_photos_says_the_side_of_each_and_why_one_was_left_out(tmp_path):
    folder = write_photos(tmp_path / "photos")
    write_photos(folder / "small", 2, size=8, first=50)
    run_training(folder, tmp_path / "run", SMALL)
    split = split_photos(find_photos(folder), SMALL.held_out)
    with (tmp_path / "run" / loop.TABLE).open(newline="") as file:
        rows = {row["sha256"]: row for row in csv.DictReader(file)}
    assert {sha256 for sha256 in rows if rows[sha256]["side"] == "train"} == {p.sha256 for p in split.train}
    assert {sha256 for sha256 in rows if rows[sha256]["side"] == "held-out"} == {p.sha256 for p in split.held_out}
    left_out = {row["file"]: row["left_out"] for row in rows.values() if row["left_out"]}
    assert left_out == {f"small/photo-05{n}.png": "is 8x8, smaller than 16 pixels" for n in (0, 1)}


def test_photo_whose_name_is_no_text_is_trained_on(tmp_path):
    folder = write_photos(tmp_path / "photos")
    os.rename(folder / "photo-000.png", os.fsencode(folder) + b"/bl\xfcte.png")  # Latin-1
    run_training(folder, tmp_path / "run", dataclasses.replace(SMALL, steps=1))
    assert "bl\\udcfcte.png" in (tmp_path / "run" / loop.TABLE).read_text()


def test_frozen_split_is_kept_to_whatever_the_config_holds_out(tmp_path):
    folder = write_photos(tmp_path / "photos")
    before = load_photos(folder, SMALL)
    freeze_split(folder, split_photos(find_photos(folder), SMALL.held_out))
    after = load_photos(folder, dataclasses.replace(SMALL, held_out=0.9))
    assert after.provenance == before.provenance
    assert torch.equal(after.train, before.train)


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_steps_may_be_changed_on_resume_only_with_constant_learning_rates(photos, tmp_path, schedule):
    config = dataclasses.replace(SMALL, steps=1)
    run_training(photos, tmp_path / "constant", config)
    assert run_training(photos, tmp_path / "constant", dataclasses.replace(config, steps=2), resume=True).step == 2
    falling = dataclasses.replace(SMALL, lr_schedule=schedule)
    run_training(photos, tmp_path / schedule, falling, until=1)
    with pytest.raises(
        TrainError, match=r"was begun with steps = 4, the config says 2; put it back, or choose another"
    ):
        run_training(photos, tmp_path / schedule, dataclasses.replace(falling, steps=2), resume=True)
    with pytest.raises(TrainError, match=rf"was begun with lr_schedule = '{schedule}', the config says 'constant'"):
        run_training(photos, tmp_path / schedule, SMALL, resume=True)


def test_settings_that_change_no_step_may_be_changed_on_resume(photos, tmp_path):
    run_training(photos, tmp_path / "parts", SMALL, until=2)
    other = dataclasses.replace(SMALL, log_every=3, sample_every=3, checkpoint_every=3, on_alarm="stop")
    run_training(photos, tmp_path / "parts", other, resume=True)
    run_training(photos, tmp_path / "whole", other)
    assert (tmp_path / "parts" / CHECKPOINT).read_bytes() == (tmp_path / "whole" / CHECKPOINT).read_bytes()


def test_run_stops_at_the_step_asked_for_with_all_that_a_run_leaves(photos, tmp_path):
    config = dataclasses.replace(SMALL, log_every=10, sample_every=10, checkpoint_every=10)
    assert run_training(photos, tmp_path / "run", config, until=3).step == 3
    assert [row["step"] for row in read_log(tmp_path / "run/log.jsonl")] == [3, 3]
    assert load_generator(tmp_path / "run", CPU).step == 3
    assert "for 3 steps" in (tmp_path / "run/README.md").read_text()


def test_state_that_was_resumed_is_left_alone_when_there_is_nothing_to_do(photos, tmp_path):
    run_training(photos, tmp_path / "run", SMALL)
    before = (tmp_path / "run" / CHECKPOINT).read_bytes()
    assert run_training(photos, tmp_path / "run", SMALL, resume=True).step == 4
    assert (tmp_path / "run" / CHECKPOINT).read_bytes() == before


def test_batch_that_the_processes_cannot_share_is_one_clear_error(photos, tmp_path):
    provenance = load_photos(photos, SMALL).provenance
    with pytest.raises(TrainError, match=r"batch_size 4 cannot be shared by 3 processes; choose a multiple"):
        open_run(tmp_path / "run", SMALL, provenance, Processes(CPU, rank=1, n=3), resume=False)


@contextmanager
def largest_file(n_bytes):
    """Within it the disk is full for files that are longer."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_log_on_a_full_disk_is_one_clear_error_and_what_was_logged_stays(tmp_path):
    def write_rows(run, room):
        with largest_file(room), TrainLog(run, 0) as log:
            for step in range(1, 99):
                log.write(step, {"l1": 0.5})

    with pytest.raises(LogError, match=r"log.jsonl cannot be written \(File too large\); make room, and go on with"):
        write_rows(tmp_path, 100)
    assert [row["step"] for row in read_log(tmp_path / "log.jsonl")] == [1, 2, 3, 4]


def test_log_on_a_disk_that_is_full_at_the_resume_stays_whole(tmp_path):
    with TrainLog(tmp_path, 0) as log:
        for step in range(1, 20):
            log.write(step, {"l1": 0.5})
    before = (tmp_path / "log.jsonl").read_bytes()
    with pytest.raises(CheckpointError, match=r"log.jsonl cannot be written \(File too large\)"), largest_file(100):
        TrainLog(tmp_path, 10)
    assert (tmp_path / "log.jsonl").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


L1_ALONE = dataclasses.replace(SMALL, adversarial_weight=0.0, average_decay=0.9)


def test_l1_alone_trains_without_a_critic_and_resumes_bit_for_bit(photos, tmp_path):
    state = run_training(photos, tmp_path / "whole", L1_ALONE)
    fresh = open_run(tmp_path / "fresh", L1_ALONE, load_photos(photos, L1_ALONE).provenance, ALONE, False)
    assert all(map(torch.equal, state.discriminator.parameters(), fresh.discriminator.parameters()))
    assert not any(map(torch.equal, state.generator.decoder.parameters(), fresh.generator.decoder.parameters()))
    run_training(photos, tmp_path / "parts", dataclasses.replace(L1_ALONE, steps=2))
    run_training(photos, tmp_path / "parts", L1_ALONE, resume=True)
    assert (tmp_path / "whole" / CHECKPOINT).read_bytes() == (tmp_path / "parts" / CHECKPOINT).read_bytes()


def test_run_that_starts_from_another_has_its_weights_and_counts_its_photos(photos, tmp_path):
    run_training(photos, tmp_path / "first", L1_ALONE)
    start = load_generator(tmp_path / "first", ALONE.device)
    others = write_photos(tmp_path / "others", 12, first=100)
    side = load_photos(others, CGAN)
    state = open_run(tmp_path / "second", CGAN, side.provenance, ALONE, False)
    loop.start_from(state, CGAN, start)
    for network in (state.generator, state.average):
        assert all(map(torch.equal, network.state_dict().values(), start.generator.state_dict().values()))
    loop.train(state, CGAN, side, tmp_path / "second", until=2)
    run_training(others, tmp_path / "second", CGAN, resume=True)  # which must not forget them
    seen = load_generator(tmp_path / "second", ALONE.device).photos.trained
    assert seen == start.photos.trained | side.provenance.trained


def test_run_does_not_start_from_a_generator_of_another_build(photos, tmp_path):
    run_training(photos, tmp_path / "first", L1_ALONE)
    wider = dataclasses.replace(SMALL, generator_width=8)
    state = open_run(tmp_path / "second", wider, load_photos(photos, wider).provenance, ALONE, False)
    with pytest.raises(TrainError, match=r"to start from has generator_width = 4, the config says 8; make them equal"):
        loop.start_from(state, wider, load_generator(tmp_path / "first", ALONE.device))


def test_weights_that_are_no_numbers_never_replace_the_checkpoint(photos, tmp_path, monkeypatch):
    train_step = loop.train_step

    def spoiled(state, *given):
        losses = train_step(state, *given)  # finite: they came before the update
        if state.step == 4:
            with torch.no_grad():
                state.generator.last.weight.fill_(float("nan"))
        return losses

    monkeypatch.setattr(loop, "train_step", spoiled)
    for steps in (4, 5):  # at the last step, and at a checkpoint
        with pytest.raises(
            TrainError, match=r"step 4 made weights that are no numbers; the checkpoint before it stays"
        ):
            run_training(photos, tmp_path / str(steps), dataclasses.replace(SMALL, steps=steps))
        assert load_generator(tmp_path / str(steps), ALONE.device).step == 2


def test_run_that_is_being_trained_is_not_trained_by_another(photos, tmp_path):
    run_training(photos, tmp_path / "run", dataclasses.replace(SMALL, steps=2))
    refused = pytest.raises(TrainError, match=r"is being trained by another process; wait for it, or choose another")
    with loop._only_writer(tmp_path / "run"), refused:
        run_training(photos, tmp_path / "run", SMALL, resume=True)
    assert run_training(photos, tmp_path / "run", SMALL, resume=True).step == 4


def test_crash_before_the_first_checkpoint_leaves_something_to_go_on_from(photos, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(loop, "train_step", lambda *given: 1 / 0)
        with pytest.raises(ZeroDivisionError, match="division"):
            run_training(photos, tmp_path / "run", SMALL)
    run_training(photos, tmp_path / "run", SMALL, resume=True)
    run_training(photos, tmp_path / "whole", SMALL)
    assert (tmp_path / "run" / CHECKPOINT).read_bytes() == (tmp_path / "whole" / CHECKPOINT).read_bytes()


def test_begun_run_does_not_start_from_another_generator(photos, tmp_path):
    run_training(photos, tmp_path / "first", L1_ALONE)
    state = run_training(photos, tmp_path / "second", SMALL)
    with pytest.raises(TrainError, match=r"the run has begun, and not from this generator; leave --start-from out"):
        loop.start_from(state, SMALL, load_generator(tmp_path / "first", ALONE.device))
