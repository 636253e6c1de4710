import dataclasses
import json

import pytest
import torch
from click.testing import CliRunner
from photographs import SMALL, write_photos

import realism
from train.checkpoint import GENERATOR
from train.cli import pairs, photos, train


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
    assert "is finished at step 4; there is nothing to do" in done.output
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


def test_unreadable_photo_stops_training_with_its_name(config, tmp_path, capsys):
    photos = write_photos(tmp_path / "photos")
    (photos / "bad.jpg").write_bytes(b"x")
    said = refused(capsys, "train", config, "--photos", photos, "--out", tmp_path / "run")
    assert "bad.jpg cannot be decoded (not a picture); remove it or replace it" in said


def test_left_out_photos_are_named_while_training(config, tmp_path):
    photos = write_photos(tmp_path / "photos")
    write_photos(tmp_path / "photos/small", 1, size=8)
    done = call("train", config, "--photos", photos, "--out", tmp_path / "run", "--dry-run")
    assert "photo-000.png is 8x8, smaller than 16 pixels" in done.output


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
