"""The benchmark of training: it compares the same networks doing the same work, and gives all its numbers."""

import dataclasses
import json
import math
from pathlib import Path

import pytest
import torch
from photographs import SMALL

ROOT = Path(__file__).resolve().parent.parent
CPU = torch.device("cpu")


@pytest.fixture
def training(monkeypatch):
    """benchmarks/training.py with nothing in it that takes long: its own process for memory, its large convolutions."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import training

    monkeypatch.setattr(training, "PEAK_SHAPES", {"cpu": [(1, 4, 8, 3, 1)]})
    monkeypatch.setattr(training, "N_PHOTOS", 8)
    monkeypatch.setattr(training, "in_child", training.peak_memory)
    return training


def test_plain_and_ours_start_from_the_same_networks(training):
    photos = torch.zeros(4, 16, 16, 3, dtype=torch.uint8)
    plain, ours = (training.open_variant(name, SMALL, photos, CPU) for name in ("plain", "ours"))
    for theirs, mine in zip(plain.networks, ours.networks, strict=True):
        torch.testing.assert_close(theirs.state_dict(), mine.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["plain", "ours", "peer"])
def test_a_step_changes_both_networks(training, name):
    config = dataclasses.replace(SMALL, image_size=32)
    variant = training.open_variant(name, config, torch.zeros(4, 32, 32, 3, dtype=torch.uint8), CPU)
    before = [[p.detach().clone() for p in network.parameters()] for network in variant.networks]
    variant.take_steps(1)
    for network, old in zip(variant.networks, before, strict=True):
        assert any((p != was).any() for p, was in zip(network.parameters(), old, strict=True))


def test_peer_networks_have_the_published_sizes(training):
    with torch.device("meta"):
        networks = training.peer_generator(8, 64), training.PeerDiscriminator(64)
    # pix2pix prints 54.414 M and 2.769 M with RGB for its input; a gray one has 2 * 64 * 4 * 4 weights less in each.
    counts = [sum(p.numel() for p in network.parameters()) + 2048 for network in networks]
    assert [round(count / 1e6, 3) for count in counts] == [54.414, 2.769]


def test_benchmark_gives_every_number_and_the_same_work_for_plain_and_ours(training, tmp_path, capsys):
    file = tmp_path / "numbers.json"
    small = ["--device", "cpu", "--image-size", "32", "--width", "4", "--batch-size", "2", "--rounds", "1"]
    training.main([*small, "--peer", "--precision", "float32", "--json", str(file)])

    found = json.loads(file.read_text())
    assert set(found) == {"device", "torch", "threads", "settings", "peak_flop_a_s", "variants"}
    assert set(found["peak_flop_a_s"]) == {"float32", "bfloat16"}
    shared = {"batch_size", "parameters", "step_s", "pictures_a_s", "ratio", "ratio_low", "ratio_high"}
    shared |= {"memory_bytes", "flop", "flop_a_s", "share_of_peak"}
    variants = found["variants"]
    assert set(variants["plain"]) == set(variants["peer"]) == shared
    assert set(variants["ours"]) == shared | {"draw_s", "waited_s"}
    numbers = [number for numbers in (*variants.values(), found["peak_flop_a_s"]) for number in numbers.values()]
    assert all(math.isfinite(number) for number in numbers)
    for name in ("batch_size", "parameters", "flop"):
        assert variants["plain"][name] == variants["ours"][name] > 0
    printed = capsys.readouterr().out
    assert all(f"\n{name} " in printed for name in ("plain", "ours", "peer"))
