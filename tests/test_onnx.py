import dataclasses
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from photographs import SMALL, write_photos
from test_train_cli import call, refused

import realism
from models.generator import colour
from train import onnx_export
from train.checkpoint import GENERATOR, load_generator

CPU = torch.device("cpu")
SPACES = {"lab": 2, "rgb": 3}


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
def exported(runs, tmp_path_factory):
    """The file of each, through the command."""
    folder = tmp_path_factory.mktemp("onnx")
    for space, run in runs.items():
        done = call("onnx", "--checkpoint", run, "--out", folder / "new" / f"{space}.onnx")
        assert done.exit_code == 0, done.output
        assert f"generator in-{space}; over 4 shapes it differs from torch by at most" in done.output
    return {space: folder / "new" / f"{space}.onnx" for space in SPACES}


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("shape", [(1, 4, 4), (2, 16, 16), (3, 8, 20), (5, 36, 4), (1, 4, 64)])
def test_file_computes_what_torch_does_for_any_number_and_size(runs, exported, space, shape):
    trained = load_generator(runs[space], CPU)
    n, height, width = shape
    luminance = torch.rand(n, 1, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1
    runner = onnxruntime.InferenceSession(exported[space], providers=["CPUExecutionProvider"])
    found = runner.run(None, {"luminance": luminance.numpy()})[0]
    assert found.shape == (n, SPACES[space], height, width)
    np.testing.assert_allclose(found, colour(trained.generator, luminance).numpy(), atol=1e-5)


@pytest.mark.parametrize("space", SPACES)
def test_file_says_what_goes_in_what_comes_out_and_what_made_it(runs, exported, space):
    runner = onnxruntime.InferenceSession(exported[space], providers=["CPUExecutionProvider"])
    about = runner.get_modelmeta().custom_metadata_map
    wanted = {"format": "realism-onnx/1", "generator": f"in-{space}", "colour_space": space, "image_size": "16"}
    wanted |= {"depth": "2", "step": "4", "checkpoint_sha256": load_generator(runs[space], CPU).sha256}
    assert about.items() >= wanted.items()
    assert "multiples of 4" in about["input"]
    assert ("a*/110" in about["output"]) == (space == "lab")
    assert runner.get_inputs()[0].shape == ["n", 1, "4*h", "4*w"]
    assert runner.get_outputs()[0].shape == ["n", SPACES[space], "4*h", "4*w"]


@pytest.mark.parametrize("space", SPACES)
def test_file_is_valid_and_tells_nothing_of_the_machine_it_was_made_on(exported, space):
    data = exported[space].read_bytes()
    onnx.checker.check_model(onnx.load_model_from_string(data), full_check=True)
    assert str(Path(realism.__file__).parent).encode() not in data
    assert b".py" not in data


def test_check_sees_other_weights(runs, exported):
    other = load_generator(runs["lab"], CPU)
    data = exported["lab"].read_bytes()
    assert onnx_export.compare(data, other).holds
    with torch.no_grad():
        other.generator.last.bias += 0.001
    agreement = onnx_export.compare(data, other)
    assert not agreement.holds
    assert agreement.difference == pytest.approx(0.0005, rel=0.1)  # 0.001 of the range of 2, where tanh is steep
    other.generator.last.bias.data.fill_(float("nan"))
    assert not onnx_export.compare(data, other).holds


def test_file_that_computes_something_else_is_not_written(runs, exported, tmp_path, monkeypatch):
    model = onnx.load_model(exported["lab"])
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == "last.bias")
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + np.float32(0.01), "last.bias"))
    monkeypatch.setattr(onnx_export, "to_onnx", lambda trained: model.SerializeToString())
    done = call("onnx", "--checkpoint", runs["lab"], "--out", tmp_path / "lab.onnx")
    assert done.exit_code == 1
    assert "lab.onnx is not written: generator in-lab; over 4 shapes it differs from torch by at most" in done.output
    assert list(tmp_path.iterdir()) == []
    told = call("onnx", "--checkpoint", runs["lab"], "--out", tmp_path / "lab.onnx", "--json")
    assert told.exit_code == 1
    assert '"written": false' in told.output


def test_wrong_uses_of_onnx_are_refused_in_one_sentence(runs, tmp_path, capsys):
    def with_(checkpoint=runs["lab"], out=tmp_path / "new.onnx", *more):
        return refused(capsys, "onnx", "--checkpoint", checkpoint, "--out", out, *more)

    (tmp_path / "old.onnx").write_bytes(b"old")
    (tmp_path / "folder.onnx").mkdir()
    assert "generator.safetensors does not exist; give a run's folder" in with_(checkpoint=tmp_path)
    assert "does not end in .onnx" in with_(runs["lab"], runs["lab"] / GENERATOR, "--replace")
    assert "is a folder" in with_(out=tmp_path / "folder.onnx")
    assert "already exists; choose another --out, or replace it with --replace" in with_(out=tmp_path / "old.onnx")
    assert (tmp_path / "old.onnx").read_bytes() == b"old"
    assert not (tmp_path / "new.onnx").exists()


def test_file_is_replaced_when_asked(runs, exported, tmp_path, monkeypatch):
    (tmp_path / "old.onnx").write_bytes(b"old")
    monkeypatch.setattr(onnx_export, "to_onnx", lambda trained: exported["lab"].read_bytes())
    assert call("onnx", "--checkpoint", runs["lab"], "--out", tmp_path / "old.onnx", "--replace").exit_code == 0
    assert (tmp_path / "old.onnx").read_bytes() == exported["lab"].read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["old.onnx"]


def test_generator_too_large_for_a_file_is_refused_before_it_is_exported(runs, monkeypatch):
    monkeypatch.setattr(onnx_export, "LARGEST_FILE", 1000)
    with pytest.raises(onnx_export.OnnxError, match="generator in-lab has .* GB of weights, .* train a narrower one"):
        onnx_export.to_onnx(load_generator(runs["lab"], CPU))


@pytest.mark.parametrize("name", ["onnx", "onnxruntime", "onnxscript"])
def test_without_the_extra_it_says_what_to_install(runs, tmp_path, capsys, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "train.onnx_export")
    said = refused(capsys, "onnx", "--checkpoint", runs["lab"], "--out", tmp_path / "new.onnx")
    assert said == f"Error: writing ONNX needs {name}, which is not installed; run \"pip install 'realism[onnx]'\""
