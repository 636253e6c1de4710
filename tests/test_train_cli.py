import dataclasses
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from photographs import SMALL, write_photos
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import realism
from train.checkpoint import CHECKPOINT, GENERATOR, load_generator, load_state
from train.cli import photos, train
from train.log import read_log
from train.pairs_cli import pairs
from train.parallel import Processes

ROOT = Path(realism.__file__).parent


@pytest.fixture(scope="module", autouse=True)
def _curves_are_not_drawn():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train.card._curves", lambda rows: b"")  # takes as long as ten small runs; see test_card
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SMALL.to_toml())
    return path


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    """A finished run, through the command."""
    place = tmp_path_factory.mktemp("finished")
    (place / "small.toml").write_text(SMALL.to_toml())
    done = call("train", place / "small.toml", "--photos", folder, "--out", place / "run")
    assert done.exit_code == 0, done.output
    return place / "run"


def call(*arguments):
    return CliRunner().invoke(realism.cli, [str(argument) for argument in arguments], catch_exceptions=False)


def refused(capsys, *arguments) -> str:
    """The one sentence with which the command refuses."""
    with pytest.raises(SystemExit, match="^2$"):
        realism.main([str(argument) for argument in arguments])
    said = capsys.readouterr().err.strip()
    assert "Traceback" not in said
    lines = [line for line in said.splitlines() if line and not line.startswith(("Usage:", "Try "))]
    assert len(lines) == 1, said
    return lines[0]


def test_every_command_has_help_with_an_example():
    for path in (["photos"], ["photos", "check"], ["train"], ["pairs"], ["pairs", "make"], ["pairs", "check"]):
        shown = call(*path, "--help")
        assert shown.exit_code == 0
        assert "Example:  realism " + " ".join(path[:1]) in shown.output


def test_every_option_of_the_commands_says_what_it_does():
    for command in (*photos.commands.values(), train, *pairs.commands.values()):
        for option in command.params:
            if option.name != "device" and option.param_type_name == "option":
                assert option.help, f"{command.name} {option.name}"


def test_photos_check_counts_both_sides(folder):
    done = call("photos", "check", folder, "--image-size", 16, "--held-out", 0.4)
    assert done.exit_code == 0
    assert "16 photos" in done.output
    assert "0 broken, 0 left out" in done.output
    answer = json.loads(call("photos", "check", folder, "--image-size", 16, "--held-out", 0.4, "--json").output)
    assert answer["photos"] == answer["train"] + answer["held_out"] == answer["sources"] == 16
    assert answer["broken"] == answer["left_out"] == []


def test_photos_check_lists_every_bad_file_and_finds_the_folder_wanting(tmp_path):
    write_photos(tmp_path, 3)
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "b.png").write_bytes(b"y")
    done = call("photos", "check", tmp_path, "--image-size", 16)
    assert done.exit_code == 1
    assert "a.jpg cannot be decoded" in done.output
    assert "b.png cannot be decoded" in done.output
    assert "2 broken" in done.output
    small = call("photos", "check", tmp_path, "--image-size", 99, "--json")
    assert len(json.loads(small.output)["left_out"]) == 3


def test_held_out_fraction_that_is_no_number_is_refused(folder, capsys):
    said = refused(capsys, "photos", "check", folder, "--held-out", "nan")
    assert "Invalid value for '--held-out': nan is not a number" in said


def test_training_leaves_a_generator_and_pairs_are_made_and_verify(folder, run, tmp_path):
    assert (run / GENERATOR).exists()
    made = call("pairs", "make", "--checkpoint", run, "--photos", folder, "--out", tmp_path / "set", "-n", 3)
    assert made.exit_code == 0, made.output
    assert "3 pairs of condition cgan" in made.output
    checked = call("pairs", "check", tmp_path / "set", "--json")
    assert checked.exit_code == 0
    assert json.loads(checked.output)["pairs"] == 3


def test_condition_source_and_luminance_are_as_asked(folder, run, tmp_path):
    given = ["--condition", "mine", "--source", "spots", "--licence", "CC0", "--keep-luminance", "--split", "all"]
    checkpoint = run / GENERATOR
    made = call("pairs", "make", "--checkpoint", checkpoint, "--photos", folder, "--out", tmp_path / "s", *given)
    assert made.exit_code == 0, made.output
    manifest = json.loads((tmp_path / "s" / "manifest.json").read_text())
    assert manifest["condition"] == "mine"
    assert manifest["source"] == {"name": "spots", "licence": "CC0", "split": "all"}
    assert manifest["generator"]["config"]["keep_luminance"] is True


def test_pair_set_that_does_not_verify_is_told(folder, run, tmp_path, capsys):
    call("pairs", "make", "--checkpoint", run, "--photos", folder, "--out", tmp_path / "set")
    picture = min((tmp_path / "set/images").iterdir())
    picture.write_bytes(picture.read_bytes() + b"x")
    assert "the manifest says" in refused(capsys, "pairs", "check", tmp_path / "set")
    assert "is not a pair set" in refused(capsys, "pairs", "check", tmp_path)


def test_pair_set_that_exists_is_replaced_only_when_asked(folder, run, tmp_path, capsys):
    make = ["pairs", "make", "--checkpoint", run, "--photos", folder, "--out", tmp_path / "set"]
    assert call(*make).exit_code == 0
    assert "already exists; choose another --out, or replace it with --replace" in refused(capsys, *make)
    assert call(*make, "--replace", "-n", 2).exit_code == 0


def test_dry_run_checks_all_and_writes_nothing(folder, config, tmp_path):
    done = call("train", config, "--photos", folder, "--out", tmp_path / "run", "--dry-run")
    assert done.exit_code == 0
    assert "steps 0 to 4 on" in done.output
    assert not (tmp_path / "run").exists()


def test_resuming_a_finished_run_says_so_and_changes_nothing(folder, run):
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    done = call("train", run.parent / "small.toml", "--photos", folder, "--out", run, "--resume")
    assert done.exit_code == 0
    assert "is at step 4; there is nothing to do. Raise steps to go on" in done.output
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_resuming_a_folder_that_is_no_run_is_refused_and_leaves_it_alone(folder, config, tmp_path, capsys):
    said = refused(capsys, "train", config, "--photos", folder, "--out", tmp_path, "--resume")
    assert "has no checkpoint to go on from; remove the folder, or give another --out" in said
    assert [path.name for path in tmp_path.iterdir()] == ["small.toml"]


def test_stopped_training_exits_as_interrupted_and_names_resume(folder, config, tmp_path, monkeypatch):
    monkeypatch.setattr("train.loop.train", lambda *given, **named: None)  # returns before the last step
    done = call("train", config, "--photos", folder, "--out", tmp_path / "run")
    assert done.exit_code == 130
    assert "stopped at step 0 and saved; go on with --resume" in done.output


def test_wrong_uses_of_train_are_refused_in_one_sentence(folder, config, run, tmp_path, capsys):
    def train_with(config=config, photos=folder, out=tmp_path / "run", *more):
        return refused(capsys, "train", config, "--photos", photos, "--out", out, *more)

    assert "missing.toml cannot be read" in train_with(config=tmp_path / "missing.toml")
    assert "nowhere does not exist; give a folder" in train_with(photos=tmp_path / "nowhere")
    assert "holds no photograph" in train_with(photos=tmp_path)
    assert "exists; go on with it with --resume" in train_with(out=run)
    assert "Missing option '--out'" in refused(capsys, "train", config, "--photos", folder)
    config.write_text("bach_size = 3")
    assert "did you mean 'batch_size'?" in train_with()
    config.write_text(dataclasses.replace(SMALL, seed=5).to_toml())
    assert "was begun with seed = 0, the config says 5" in train_with(config, folder, run, "--resume")
    assert not (tmp_path / "run").exists()


def test_left_out_photos_are_named_while_training(config, tmp_path):
    photos = write_photos(tmp_path / "photos")
    write_photos(tmp_path / "photos/small", 1, size=8)
    (photos / "bad.jpg").write_bytes(b"x")
    done = call("train", config, "--photos", photos, "--out", tmp_path / "run", "--dry-run")
    assert done.exit_code == 0
    assert f"left out: {photos / 'small/photo-000.png'} is 8x8, smaller than 16 pixels\n" in done.stderr
    assert f"left out: {photos / 'bad.jpg'} cannot be decoded (not a picture)\n" in done.stderr


def test_cuda_that_is_absent_is_one_sentence(folder, config, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    said = refused(capsys, "train", config, "--photos", folder, "--out", tmp_path / "r", "--device", "cuda")
    assert "torch finds no CUDA device; use --device cpu" in said


def test_wrong_uses_of_pairs_make_are_refused_in_one_sentence(folder, run, tmp_path, capsys):
    def make_with(checkpoint=run, photos=folder, *more):
        given = ["--checkpoint", checkpoint, "--photos", photos, "--out", tmp_path / "set"]
        return refused(capsys, "pairs", "make", *given, *more)

    assert "generator.safetensors does not exist; give a run's folder" in make_with(checkpoint=tmp_path)
    assert "nowhere does not exist" in make_with(photos=tmp_path / "nowhere")
    assert "999 are wanted" in make_with(run, folder, "-n", 999)
    assert "condition" in make_with(run, folder, "--condition", "Not A Name")
    assert not (tmp_path / "set").exists()


def command(*arguments, **named):
    """The real command, as a process of its own on one thread."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-m", "realism", *map(str, arguments)]
    return subprocess.Popen(line, env=environment, cwd=ROOT, stderr=subprocess.PIPE, text=True, **named)


def test_killed_training_goes_on_from_its_checkpoint_bit_for_bit(folder, tmp_path):
    config = dataclasses.replace(SMALL, steps=60, checkpoint_every=5, log_every=5, sample_every=20, average_decay=0.9)
    (tmp_path / "long.toml").write_text(config.to_toml())
    arguments = ["train", tmp_path / "long.toml", "--photos", folder, "--device", "cpu", "--threads", 1, "--out"]
    run = tmp_path / "killed"
    process = command(*arguments, run)
    deadline = time.monotonic() + 120
    alone = Processes(torch.device("cpu"))
    seen = set()
    while len(seen) < 2:  # the first may be that of step 0; opening them here would let the training end meanwhile
        if (run / CHECKPOINT).exists():
            seen.add((run / CHECKPOINT).stat().st_mtime_ns)
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    n_train = load_generator(run, torch.device("cpu")).photos.n_train
    step = load_state(run, alone)[0].step
    assert 0 < step < config.steps
    assert step * config.batch_size % n_train != 0  # in the middle of an epoch
    assert not (run / "README.md").exists()  # nor did it end by itself

    assert call(*arguments, run, "--resume").exit_code == 0
    assert call(*arguments, tmp_path / "whole").exit_code == 0
    for name in (CHECKPOINT, GENERATOR):
        assert (run / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    steps = [row["step"] for row in read_log(run / "log.jsonl") if "l1" in row]
    assert steps == list(range(5, 61, 5))
    assert not list(run.rglob(".*"))


def test_disk_that_fills_up_is_one_sentence_and_the_last_checkpoint_stays_and_resumes(folder, tmp_path):
    (tmp_path / "small.toml").write_text(SMALL.to_toml())
    run = tmp_path / "run"
    arguments = ["train", tmp_path / "small.toml", "--photos", folder, "--device", "cpu", "--threads", 1]
    assert call(*arguments, "--out", run, "--until", 1).exit_code == 0
    before = (run / CHECKPOINT).read_bytes()
    room = len(before) - 1000  # for all but the checkpoint
    assert (run / GENERATOR).stat().st_size < room

    def full():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    process = command(*arguments, "--out", run, "--resume", preexec_fn=full)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 2
    errors = [line for line in said.splitlines() if "Error" in line or "Traceback" in line]
    assert errors == [
        f"Error: {run / CHECKPOINT} cannot be written (File too large); what was there before is as it was. Make room, "
        "and go on with --resume"
    ]
    assert (run / CHECKPOINT).read_bytes() == before
    assert not list(run.rglob(".*"))

    assert call(*arguments, "--out", run, "--resume").exit_code == 0
    assert call(*arguments, "--out", tmp_path / "whole").exit_code == 0
    for name in (CHECKPOINT, GENERATOR):
        assert (run / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_wrong_input_ends_the_real_command_with_one_line_and_exit_code_2(config, tmp_path):
    write_photos(tmp_path / "photos", 1)
    process = command("train", config, "--photos", tmp_path / "photos", "--out", tmp_path / "run", "--device", "cpu")
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 2
    assert re.fullmatch(r"Error: photo folder \S+: of 1 photos, .* give more photographs, or change held_out\n", said)
    assert not (tmp_path / "run").exists()


def test_folders_that_cannot_be_trained_on_are_one_sentence(config, tmp_path, capsys):
    def train_with(photos):
        return refused(capsys, "train", config, "--photos", photos, "--out", tmp_path / "run")

    small = write_photos(tmp_path / "small", 12, size=8)
    said = train_with(small)
    assert re.search(r"of 12 photos, 0 can be trained on and 0 held out \(12 left out: photo-\d+.png is 8x8, ", said)
    bad = write_photos(tmp_path / "bad", 0)
    for name in "abc":
        (bad / f"{name}.jpg").write_bytes(name.encode())
    assert "(3 left out: " in train_with(bad)
    (tmp_path / "nothing").mkdir()
    assert "nothing holds no photograph" in train_with(tmp_path / "nothing")
    frozen = write_photos(tmp_path / "frozen", 12)
    assert call("photos", "check", frozen, "--image-size", 16, "--held-out", 0.0000001, "--freeze").exit_code == 0
    assert "of 12 photos, 12 can be trained on and 0 held out (0 left out)" in train_with(frozen)
    assert not (tmp_path / "run").exists()


def test_checkpoint_of_another_architecture_is_one_sentence(folder, config, run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "run")
    wider = dataclasses.replace(SMALL, generator_width=8)
    for name in (CHECKPOINT, GENERATOR):
        with safe_open(tmp_path / "run" / name, framework="pt") as file:
            about = json.loads(file.metadata()["realism"]) | {"config": wider.to_dict()}
        save_file(load_file(tmp_path / "run" / name), tmp_path / "run" / name, {"realism": json.dumps(about)})
    config.write_text(wider.to_toml())
    said = refused(capsys, "train", config, "--photos", folder, "--out", tmp_path / "run", "--resume")
    assert "the weights of its generator do not fit the settings stored with them" in said
    make = ["pairs", "make", "--checkpoint", tmp_path / "run", "--photos", folder, "--out", tmp_path / "set"]
    assert "the weights of its generator do not fit the settings" in refused(capsys, *make)


def test_split_is_frozen_by_command_and_only_once(tmp_path, capsys):
    folder = write_photos(tmp_path)
    check = ["photos", "check", folder, "--image-size", 16]
    done = call(*check, "--held-out", 0.3, "--freeze")
    assert done.exit_code == 0
    assert f"frozen:   {folder / 'split.csv'}" in done.output
    frozen = (folder / "split.csv").read_bytes()
    assert "the split is frozen already; remove it" in refused(capsys, *check, "--held-out", 0.6, "--freeze")
    assert (folder / "split.csv").read_bytes() == frozen
    counts = [json.loads(call(*check, "--held-out", share, "--json").output) for share in (0.3, 0.6)]
    assert counts[0] == counts[1]


def test_name_and_licence_of_source_json_stand_in_the_run_and_the_pair_set(config, tmp_path):
    folder = write_photos(tmp_path / "photos")
    (folder / "source.json").write_text(json.dumps({"name": "Spots 16", "licence": "CC BY 4.0"}))
    done = call("train", config, "--photos", folder, "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    photos = load_generator(tmp_path / "run", torch.device("cpu")).photos
    assert (photos.source, photos.licence) == ("Spots 16", "CC BY 4.0")
    card = (tmp_path / "run/README.md").read_text()
    assert "**Spots 16**" in card
    assert 'license_name: "CC BY 4.0"' in card
    made = call("pairs", "make", "--checkpoint", tmp_path / "run", "--photos", folder, "--out", tmp_path / "set")
    assert made.exit_code == 0, made.output
    said = json.loads((tmp_path / "set/manifest.json").read_text())["source"]
    assert (said["name"], said["licence"]) == ("Spots 16", "CC BY 4.0")


def test_source_and_licence_that_are_given_outweigh_source_json(config, tmp_path):
    folder = write_photos(tmp_path / "photos")
    (folder / "source.json").write_text(json.dumps({"name": "Spots 16", "licence": "CC BY 4.0"}))
    given = ["--source", "mine", "--licence", "CC0", "--until", 1]
    assert call("train", config, "--photos", folder, "--out", tmp_path / "run", *given).exit_code == 0
    photos = load_generator(tmp_path / "run", torch.device("cpu")).photos
    assert (photos.source, photos.licence) == ("mine", "CC0")


def test_training_stops_where_it_was_told_to_and_goes_on(folder, config, tmp_path):
    run = tmp_path / "run"
    done = call("train", config, "--photos", folder, "--out", run, "--until", 2)
    assert (done.exit_code, load_generator(run, torch.device("cpu")).step) == (0, 2)
    assert "steps 0 to 2 on" in done.output
    again = call("train", config, "--photos", folder, "--out", run, "--until", 2, "--resume")
    assert "is at step 2; there is nothing to do. Raise --until to go on" in again.output
    assert call("train", config, "--photos", folder, "--out", run, "--resume").exit_code == 0
    assert load_generator(run, torch.device("cpu")).step == 4


def test_photos_are_decoded_once_for_all_runs(folder, config, run, tmp_path, monkeypatch):
    monkeypatch.setattr("train.cache.open_photo", None)  # `run` has decoded them
    assert call("train", config, "--photos", folder, "--out", tmp_path / "run", "--dry-run").exit_code == 0


def test_alarm_that_stops_training_is_one_sentence(folder, tmp_path, capsys):
    config = dataclasses.replace(SMALL, objective="wgan", clamp=1e-6, discriminator_lr=0.1, on_alarm="stop")
    (tmp_path / "stop.toml").write_text(config.to_toml())
    arguments = ["train", tmp_path / "stop.toml", "--photos", folder, "--out", tmp_path / "run"]
    with pytest.raises(SystemExit, match="^2$"):
        realism.main([str(argument) for argument in arguments])
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert "stopped at step 1 and saved. critic clamped: " in errors[0]
