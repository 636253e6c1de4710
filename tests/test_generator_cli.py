import json

import pytest
from photographs import SMALL, write_photos
from test_train_cli import call, refused


@pytest.fixture(scope="module", autouse=True)
def _curves_are_not_drawn():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train.card._curves", lambda rows: b"")  # takes as long as ten small runs; see test_card
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photographs in two folders, which are their classes."""
    photos = tmp_path_factory.mktemp("photos")
    write_photos(photos / "daisy", 20)
    write_photos(photos / "rose", 20, first=50)
    return photos


@pytest.fixture
def run(folder, tmp_path):
    (tmp_path / "small.toml").write_text(SMALL.to_toml())
    done = call("train", tmp_path / "small.toml", "--photos", folder, "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    return tmp_path / "run"


def test_every_command_has_help_with_an_example():
    for name in ("evaluate", "publish", "colourise", "onnx"):
        shown = call(name, "--help")
        assert shown.exit_code == 0
        assert f"Example:  realism {name} " in shown.output


def test_evaluation_of_a_run_goes_into_its_card_class_by_class(folder, run):
    done = call("evaluate", run, "--photos", folder, "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert set(said["by_class"]) == {"daisy", "rose"}
    assert said["overall"]["n"] == sum(measures["n"] for measures in said["by_class"].values()) >= 10
    assert said["step"] == SMALL.steps
    stored = json.loads((run / "measures.json").read_text())
    assert stored["overall"] == said["overall"]
    card = (run / "README.md").read_text()
    assert f"On {said['overall']['n']} photographs" in card
    assert "| daisy |" in card


def test_pair_set_measures_as_the_generator_that_made_it(folder, run, tmp_path):
    made = call("pairs", "make", "--checkpoint", run, "--photos", folder, "--out", tmp_path / "pairs")
    assert made.exit_code == 0, made.output
    of_pairs = json.loads(call("evaluate", tmp_path / "pairs", "--json").stdout)
    of_run = json.loads(call("evaluate", run, "--photos", folder, "--no-card", "--json").stdout)
    assert of_pairs["overall"]["psnr"] == pytest.approx(of_run["overall"]["psnr"])
    assert of_pairs["by_class"].keys() == of_run["by_class"].keys()
    assert not (run / "measures.json").exists()


def test_generator_without_photos_and_unknown_sources_are_named(run, tmp_path, capsys):
    assert "give --photos" in refused(capsys, "evaluate", run)
    assert "does not exist" in refused(capsys, "evaluate", tmp_path / "nothing", "--photos", tmp_path)


def test_published_run_is_taken_by_pairs_and_says_its_size(folder, run, tmp_path):
    done = call("publish", run, "--out", tmp_path / "small")
    assert done.exit_code == 0, done.output
    assert " MB; half precision changes no picture by more than " in done.output
    made = call("pairs", "make", "--checkpoint", tmp_path / "small", "--photos", folder, "--out", tmp_path / "pairs")
    assert made.exit_code == 0, made.output
