import dataclasses
import json
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from photographs import SMALL, write_photos
from safetensors.torch import load_file
from torch import nn

from train.checkpoint import CHECKPOINT, GENERATOR
from train.config import TrainConfig
from train.log import read_log
from train.loop import TrainError, open_run, train
from train.parallel import Processes, SharedBatchNorm, join_processes, share_batch_norm
from train.training_photos import load_photos

ALONE = Processes(torch.device("cpu"))
TIMEOUT_S = 120  # processes that wait for each other for ever shall fail, not hang
STEPS = 6
CGAN = dataclasses.replace(
    SMALL, name="cgan", discriminator_norm="batch", steps=STEPS, average_decay=0.9, sample_every=3, checkpoint_every=100
)
WGAN_GP = dataclasses.replace(
    CGAN, name="wgan-gp", objective="wgan-gp", discriminator_norm="layer", critic_steps=2, critic_warmup=2
)
# What depends on the machine, not on the training.
SPEEDS = {"images_per_s", "data_share"}


def run_training(folder: Path, run: Path, config: TrainConfig, processes=ALONE, *, until=None, resume=False) -> None:
    photos = load_photos(folder, config)
    train(open_run(run, config, photos.provenance, processes, resume), config, photos, run, until=until)


def assert_same_curve(run: Path, other: Path) -> None:
    rows, expected = read_log(run / "log.jsonl"), read_log(other / "log.jsonl")
    rows, expected = ([row for row in given if "l1" in row] for given in (rows, expected))
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    for row, wanted in zip(rows, expected, strict=True):
        assert row.keys() == wanted.keys()
        for name in row.keys() - SPEEDS:
            assert row[name] == pytest.approx(wanted[name], rel=1e-4), (row["step"], name)


def assert_same_weights(run: Path, other: Path, atol: float) -> None:
    for name in (CHECKPOINT, GENERATOR):
        tensors, expected = load_file(run / name), load_file(other / name)
        assert tensors.keys() == expected.keys()
        for key in tensors:
            torch.testing.assert_close(
                tensors[key], expected[key], rtol=1e-3, atol=atol, msg=lambda m, key=key: f"{key}: {m}"
            )


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("photos"))


def free_port() -> int:  # not conftest's, which would have each process import the survey
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def normalise(norm: nn.Module, x: torch.Tensor, like: torch.Tensor) -> dict[str, torch.Tensor]:
    """Output, and gradients of its squared distance from ``like``."""
    x = x.clone().requires_grad_()
    y = norm(x)
    F.mse_loss(y, like, reduction="sum").backward()
    return {"output": y.detach(), "input": x.grad, "weight": norm.weight.grad, "bias": norm.bias.grad}


def numbers_for_norm() -> tuple[nn.BatchNorm2d, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    norm = nn.BatchNorm2d(3)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.5, 1.0, -2.0]))
        norm.bias.copy_(torch.tensor([0.0, 1.0, 3.0]))
    x = torch.randn(6, 3, 4, 5, generator=draw) * torch.tensor([1.0, 2.0, 9.0]).view(3, 1, 1) + 4
    x[3:] += 2  # the halves differ, so that statistics of one are wrong for both
    return norm, x, torch.randn(6, 3, 4, 5, generator=draw)


def be_one_of_two(rank: int, port: int, folder: Path, out: Path) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with join_processes("cpu") as processes:
        norm, x, like = numbers_for_norm()
        holder = nn.Sequential(norm)
        share_batch_norm(holder)
        mine = slice(3 * rank, 3 * rank + 3)
        seen = normalise(holder[0], x[mine], like[mine]) | {f"{name}_after": t for name, t in norm.named_buffers()}
        holder.eval()
        seen["evaluated"] = holder(x[mine]).detach()
        torch.save(seen, out / f"norm-{rank}.pt")
        said = {
            "kind": type(holder[0]).__name__,
            "writes": processes.is_writer,
            "sum": processes.sum(torch.tensor(rank + 1.0)).item(),
            "any": [processes.any(rank == 1), processes.any(False)],
        }
        (out / f"said-{rank}.json").write_text(json.dumps(said))

        # Four steps on two processes, then the rest; what lies there between is gone on with by one.
        run_training(folder, out / "two", WGAN_GP, processes, until=4)
        if processes.is_writer:
            shutil.copytree(out / "two", out / "gone-on")
        processes.wait()
        run_training(folder, out / "two", WGAN_GP, processes, resume=True)


@pytest.fixture(scope="module")
def two(photos, tmp_path_factory) -> Path:
    """What two processes left."""
    out, spawn, port = tmp_path_factory.mktemp("two"), multiprocessing.get_context("spawn"), free_port()
    started = [spawn.Process(target=be_one_of_two, args=(rank, port, photos, out)) for rank in (0, 1)]
    for process in started:
        process.start()
    try:
        for process in started:
            process.join(TIMEOUT_S)
        assert [process.exitcode for process in started] == [0, 0]
    finally:
        for process in started:
            process.kill()
    return out


@pytest.fixture(scope="module")
def one(photos, tmp_path_factory) -> Path:
    """The run that one process makes of the same settings."""
    run = tmp_path_factory.mktemp("one") / "run"
    run_training(photos, run, WGAN_GP)
    return run


def test_batch_norm_of_two_processes_is_that_of_the_joined_batch(two):
    norm, x, like = numbers_for_norm()
    expected, (first, second) = normalise(norm, x, like), (torch.load(two / f"norm-{rank}.pt") for rank in (0, 1))
    for name in ("output", "input"):
        torch.testing.assert_close(torch.cat((first[name], second[name])), expected[name], rtol=1e-4, atol=1e-4)
    for name in ("weight", "bias"):
        torch.testing.assert_close(first[name] + second[name], expected[name], rtol=1e-4, atol=1e-3)
    for name, buffer in norm.named_buffers():
        for seen in (first, second):
            torch.testing.assert_close(seen[f"{name}_after"], buffer)
    evaluated = norm.eval()(x)
    torch.testing.assert_close(torch.cat((first["evaluated"], second["evaluated"])), evaluated)


def test_processes_agree_and_only_the_first_writes(two):
    said = [json.loads((two / f"said-{rank}.json").read_text()) for rank in (0, 1)]
    assert [each["writes"] for each in said] == [True, False]
    for each in said:
        assert (each["kind"], each["sum"], each["any"]) == ("SharedBatchNorm", 3.0, [True, False])


def test_penalised_training_on_two_processes_has_the_curve_of_one(two, one):
    assert_same_curve(two / "two", one)
    assert_same_weights(two / "two", one, atol=1e-4)


def test_checkpoint_of_two_processes_is_gone_on_with_by_one(photos, two, one):
    run = two / "gone-on"
    assert [row["step"] for row in read_log(run / "log.jsonl") if "l1" in row] == [1, 2, 3, 4]
    run_training(photos, run, WGAN_GP, resume=True)
    assert_same_curve(run, one)
    assert_same_weights(run, one, atol=1e-4)


def test_torchrun_trains_with_batch_norm_as_one_process_does(photos, tmp_path):
    (tmp_path / "c.toml").write_text(CGAN.to_toml())
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1"]
    command += ["--master-port", str(free_port()), "-m", "realism", "train", str(tmp_path / "c.toml")]
    command += ["--photos", str(photos), "--out", str(tmp_path / "two"), "--device", "cpu", "--threads", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "REALISM_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("steps 0 to 6 on cpu and 1 more") == 1  # one of them speaks
    run_training(photos, tmp_path / "one", CGAN)
    assert_same_curve(tmp_path / "two", tmp_path / "one")
    assert_same_weights(tmp_path / "two", tmp_path / "one", atol=1e-4)
    names = [{str(path.relative_to(run)) for path in run.rglob("*")} for run in (tmp_path / "two", tmp_path / "one")]
    assert names[0] == names[1]


@pytest.mark.parametrize(("n", "batch_size"), [(3, 4), (4, 2)])
def test_batch_that_processes_cannot_share_is_refused_by_name(photos, tmp_path, n, batch_size):
    config = dataclasses.replace(SMALL, batch_size=batch_size)
    provenance = load_photos(photos, config).provenance
    processes = Processes(torch.device("cpu"), 0, n)
    with pytest.raises(
        TrainError, match=rf"batch_size {batch_size} cannot be shared by {n} processes; choose a multiple"
    ):
        open_run(tmp_path / "run", config, provenance, processes, resume=False)
    assert not (tmp_path / "run").exists()


def test_process_on_its_own_is_the_first_of_one_and_shares_nothing(monkeypatch):
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    network = nn.Sequential(nn.BatchNorm2d(2))
    with join_processes("cpu") as processes:
        assert (processes.rank, processes.n, processes.is_writer) == (0, 1, True)
        assert not torch.distributed.is_initialized()
        assert processes.share(network) is network
        assert type(network[0]) is nn.BatchNorm2d
        assert processes.sum(torch.tensor([2.0, 3.0])).tolist() == [2, 3]
        assert processes.any(True)
        assert not processes.any(False)
        processes.wait()


def test_shared_batch_norm_takes_the_place_and_the_parameters_of_every_batch_norm():
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Sequential(nn.BatchNorm2d(2), nn.ReLU()), nn.GroupNorm(1, 2))
    parameters, names = list(network.parameters()), list(network.state_dict())
    share_batch_norm(network)
    assert [type(m) for m in network[1]] == [SharedBatchNorm, nn.ReLU]
    assert type(network[2]) is nn.GroupNorm
    assert all(one is other for one, other in zip(network.parameters(), parameters, strict=True))
    assert list(network.state_dict()) == names
