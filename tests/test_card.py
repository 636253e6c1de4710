import dataclasses
import json
import re
import tomllib

import numpy as np
import pytest
import torch
from photographs import SMALL, write_photos
from PIL import Image

from train import loop
from train.card import write_card
from train.checkpoint import Provenance, save_run
from train.config import TrainConfig, parse_config
from train.loop import open_run
from train.parallel import Processes
from train.steps import start_state
from train.training_photos import load_photos

LICENCE = 'CC BY 4.0: "as is", für alle'


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of two sample grids. Tests that change its folder put it back."""
    folder = write_photos(tmp_path_factory.mktemp("photos"))
    run = tmp_path_factory.mktemp("runs") / "run"
    photos = load_photos(folder, SMALL, source="Spots", licence=LICENCE)
    loop.train(open_run(run, SMALL, photos.provenance, Processes(torch.device("cpu")), False), SMALL, photos, run)
    return run


@pytest.fixture
def card(run):
    return (run / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def curves_are_kept(run, monkeypatch):
    """For tests that write the card again: drawing them takes longer than all else."""
    png = (run / "curves.png").read_bytes()
    monkeypatch.setattr("train.card._curves", lambda rows: png)


def section(card, heading):
    return card.split(f"\n## {heading}\n")[1].split("\n## ")[0].strip()


def test_card_says_which_photos_were_used_and_on_which_terms(run, card):
    data = section(card, "Data")
    split = [line.split(",") for line in (run / "photos.csv").read_text().splitlines()[1:]]
    n_train = sum(row[3] == "train" for row in split)
    assert f"{n_train} photographs of **Spots** were trained on, {16 - n_train} were held out." in data
    assert f"Licence of the photographs: {LICENCE}." in data
    assert re.search(r"sha256 of the split: `[0-9a-f]{64}`", data)


def test_settings_of_the_card_are_those_of_the_run(card):
    toml = section(card, "Settings").removeprefix("```toml\n").removesuffix("```")
    assert parse_config(tomllib.loads(toml), "the card") == SMALL


def test_card_shows_the_last_grid_and_the_curves(run, card):
    assert "Held-out photographs at step 4: grayscale, real, fake." in section(card, "Samples")
    shown = re.findall(r"!\[[^]]+\]\(([^)]+)\)", card)
    assert shown == ["samples/step-000004.png", "curves.png"]
    assert all((run / name).is_file() for name in shown)


def test_last_grid_is_that_of_the_largest_step(run, curves_are_kept):
    last = run / "samples/step-1000000.png"  # before step-999999 in the order of the alphabet
    last.write_bytes(b"")
    (run / "samples/step-999999.png").write_bytes(b"")
    write_card(run)
    shown = (run / "README.md").read_text()
    for path in (last, run / "samples/step-999999.png"):
        path.unlink()
    write_card(run)
    assert "(samples/step-1000000.png)" in shown
    assert "at step 1000000:" in shown


def test_curves_are_a_picture_and_not_a_blank_one(run):
    with Image.open(run / "curves.png") as file:
        pixels = np.asarray(file.convert("RGB")).astype(int)
    assert pixels.shape[0] > 300
    assert pixels.shape[1] > 600
    coloured = np.ptp(pixels, axis=2) > 50
    height, width = coloured.shape
    for rows in (slice(0, height // 2), slice(height // 2, height)):
        for columns in (slice(0, width // 2), slice(width // 2, width)):
            assert coloured[rows, columns].sum() > 100  # a line in each of the four panels


def test_front_matter_is_yaml_that_model_hubs_read(card):
    opening, *lines, closing = card.split("\n\n")[0].split("\n")
    assert opening == closing == "---"
    said = dict(line.split(": ", 1) for line in lines)
    assert said.pop("license_name") == json.dumps(LICENCE, ensure_ascii=False)  # JSON's strings are YAML's
    assert said == {
        "library_name": "realism",
        "pipeline_tag": "image-to-image",
        "license": "other",
        "tags": "[image-colorization, gan, cgan]",
    }


def test_card_holds_the_measures_of_the_log_until_there_are_better_ones(run, card, curves_are_kept):
    measures = section(card, "Measures")
    last = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()][-1]
    assert f"step 4: L1 {last['held_out_l1']:.3f}, colourfulness {last['held_out_colourfulness']:.1f}" in measures

    (run / "measures.json").write_text(json.dumps({"table": "| PSNR | 21.5 |"}))
    write_card(run)
    measured = section((run / "README.md").read_text(), "Measures")
    (run / "measures.json").unlink()
    write_card(run)
    assert measured == "| PSNR | 21.5 |"
    assert (run / "README.md").read_text() == card


def test_alarms_stand_in_the_card_with_their_step(run, card, curves_are_kept):
    assert "## Alarms" not in card
    log = (run / "log.jsonl").read_text()
    (run / "log.jsonl").write_text(log + '{"step": 3, "alarm": "critic flat: raise clamp"}\n')
    write_card(run)
    alarmed = (run / "README.md").read_text()
    (run / "log.jsonl").write_text(log)
    write_card(run)
    assert section(alarmed, "Alarms") == "- step 3: critic flat: raise clamp"


def test_card_of_a_run_without_log_and_samples_says_so(run, tmp_path):
    (tmp_path / "generator.safetensors").write_bytes((run / "generator.safetensors").read_bytes())
    write_card(tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert section(card, "Measures") == "None were taken."
    assert "## Samples" not in card
    assert "## Curves" not in card
    assert {path.name for path in tmp_path.iterdir()} == {"generator.safetensors", "README.md"}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (dataclasses.replace(SMALL, colour_space="lab"), "gives colours (ab) for the photograph's own luminance"),
        (SMALL, "gives an RGB picture"),
    ],
)
def test_card_says_what_the_generator_gives(tmp_path, config: TrainConfig, said):
    photos = Provenance("p", "Spots", "CC0", 2, 1, "c" * 64, frozenset({"a" * 64}))
    save_run(tmp_path, start_state(config, Processes(torch.device("cpu"))), config, photos)
    write_card(tmp_path)
    assert said in (tmp_path / "README.md").read_text()


def test_equal_runs_have_equal_curves(run):
    before = (run / "curves.png").read_bytes()
    write_card(run)
    assert (run / "curves.png").read_bytes() == before
