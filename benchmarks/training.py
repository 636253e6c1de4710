"""How fast a training step is: settings in, a table or JSON out, beside a plain loop and what the machine could do at most.

plain   the loop of pytorch-CycleGAN-and-pix2pix: fp32, contiguous, real and fake apart, unfused Adam; its batch is ready
ours    train.steps.train_step with all it does: drawing its batches from a mapped file, weighing its two gradients
peer    (--peer) that repository's own networks, unet_256 and the 70x70 PatchGAN, in the plain loop, for context

Plain and ours run the same networks from the same weights. Their rounds alternate, so that what else the machine does
falls on both; each reads its losses once a round (the peer prints every 100 pictures, realism every 10 steps).
"""

import argparse
import gc
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from peer import PeerDiscriminator, peer_generator, plain_loop
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from models.losses import OBJECTIVES
from train.batches import Batches
from train.config import TrainConfig
from train.device import pick_device
from train.parallel import Processes
from train.steps import open_batches, start_state, train_step

N_PHOTOS = 256
STEPS_A_ROUND = {"cpu": 1, "cuda": 20}
BATCH_SIZES = {"cpu": [4], "cuda": [16, 32, 64, 128]}
# Convolutions near the most that a machine can do: pictures, channels, side in pixels, kernel, stride.
PEAK_SHAPES = {
    "cpu": [(4, 128, 64, 3, 1), (4, 256, 32, 3, 1), (4, 128, 64, 4, 2)],
    "cuda": [(64, 256, 64, 3, 1), (64, 512, 32, 3, 1), (32, 1024, 32, 3, 1), (64, 512, 64, 4, 2)],
}
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Variant:
    """One way to train; ``step`` updates both networks once and gives its losses, scalars on the device."""

    step: Callable[[], dict[str, Tensor]]
    networks: tuple[nn.Module, nn.Module]
    batches: Batches

    def take_steps(self, n: int) -> None:
        """``n`` steps, and a look at the last losses."""
        for _ in range(n):
            losses = self.step()
        torch.stack([loss.float() for loss in losses.values()]).tolist()


def halvings(image_size: int, most: int) -> int:
    """How often a picture can be halved, at most ``most`` times."""
    return min(most, (image_size & -image_size).bit_length() - 1)


def open_variant(name: str, config: TrainConfig, photos: Tensor, device: torch.device) -> Variant:
    """The variant "plain", "ours" or "peer" at its first step; ``config`` is that of ours."""
    if name != "ours":
        config = replace(config, objective="cgan", precision="float32", compile=False)
    batches, state = open_batches(config, photos, Processes(device)), start_state(config, Processes(device))
    generator, discriminator = cast(nn.Module, state.generator), cast(nn.Module, state.discriminator)
    if name == "ours":
        return Variant(lambda: train_step(state, config, batches), (generator, discriminator), batches)
    if name == "peer":
        generator = peer_generator(halvings(config.image_size, 8), config.generator_width).to(device)
        discriminator = PeerDiscriminator(config.discriminator_width).to(device)
    for network in (generator, discriminator):
        network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # the stubs lack it
    batch = batches.draw(0)
    step = plain_loop(generator, discriminator, batch.gray.contiguous(), batch.colour.contiguous())
    return Variant(step, (generator, discriminator), batches)


def seconds(act: Callable[[], object], device: torch.device, n: int = 1) -> float:
    """Of each of ``n`` calls, until the device has done them."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    began = time.perf_counter()
    for _ in range(n):
        act()
    wait()
    return (time.perf_counter() - began) / n


def convolution_peak(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of the fastest of a few channels_last convolutions, forward alone or with backward, best of five."""
    peak = 0.0
    for n, channels, side, kernel, stride in PEAK_SHAPES[device.type]:
        convolution = nn.Conv2d(channels, channels, kernel, stride, 1, bias=False).to(device, dtype)
        convolution.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        x = torch.randn(n, channels, side, side, device=device, dtype=dtype).to(memory_format=torch.channels_last)
        slope = torch.ones_like(convolution(x.requires_grad_()))
        forward = torch.no_grad()(partial(convolution, x))
        both = partial(_forward_backward, convolution, x, slope)
        for act, passes in ((forward, 1), (both, 3)):  # a backward pass is two more convolutions of that size
            fastest = min([seconds(act, device, STEPS_A_ROUND[device.type]) for _ in range(6)][1:])
            peak = max(peak, 2 * slope.numel() * channels * kernel**2 * passes / fastest)
    return peak


def _forward_backward(convolution: nn.Conv2d, x: Tensor, slope: Tensor) -> None:
    torch.autograd.grad(convolution(x), (x, convolution.weight), slope)


class FlopCounter(TorchDispatchMode):
    """torch's FlopCounterMode less its hooks on modules, which cannot follow a gradient taken at a picture."""

    flop = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket in flop_registry:
            self.flop += flop_registry[func.overloadpacket](*args, **(kwargs or {}), out_val=out)
        return out


def peak_memory(name: str, config: TrainConfig, device: torch.device) -> int:
    """Bytes that training takes at its highest, weights and optimizers included: of the GPU, or of this process."""
    photos = torch.zeros(config.batch_size, config.image_size, config.image_size, 3, dtype=torch.uint8)
    if device.type == "cuda":
        gc.collect()
        before = torch.cuda.memory_allocated()
        variant = open_variant(name, config, photos, device)
        variant.take_steps(3)  # cuDNN tries its algorithms, some of which take memory that later steps do not
        torch.cuda.reset_peak_memory_stats()
        variant.take_steps(1)
        return torch.cuda.max_memory_allocated() - before
    # What loads with a first step, however small, is not counted.
    small = replace(config, image_size=32, generator_depth=5, generator_width=2, discriminator_width=2)
    open_variant(name, small, photos.new_zeros(config.batch_size, 32, 32, 3), device).take_steps(1)
    before = _resident("VmRSS")
    open_variant(name, config, photos, device).take_steps(2)
    return _resident("VmHWM") - before


def _resident(field: str) -> int:
    # Not getrusage: ru_maxrss of a new process begins at that of the process which started it.
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()  # Linux
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def in_child(*given: Any) -> int:
    """``peak_memory`` in a fresh process, where nothing else has been high."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(peak_memory, *given).result()


def best_batch_size(name: str, config: TrainConfig, photos: Tensor, device: torch.device, sizes: Sequence[int]) -> int:
    """The size at which this variant sees the most pictures a second, of those that fit into memory."""
    if len(sizes) == 1:
        return sizes[0]
    pace = {}
    for size in sorted(sizes):
        torch.compiler.reset()  # else a second size compiles to slower code for any size
        try:
            variant = open_variant(name, replace(config, batch_size=size), photos, device)
            variant.take_steps(3)
            pace[size] = min(seconds(variant.step, device, STEPS_A_ROUND[device.type]) for _ in range(2)) / size
            del variant  # before the next takes its memory
        except torch.OutOfMemoryError:
            break
    torch.compiler.reset()
    return min(pace, key=pace.__getitem__)


def measure(
    config: TrainConfig, device: torch.device, sizes: Sequence[int], rounds: int, names: Sequence[str]
) -> dict[str, dict[str, float]]:
    """For each variant its numbers by name, as ``table`` shows them; ratios are of the time a picture takes."""
    n_steps = STEPS_A_ROUND[device.type]
    results: dict[str, dict[str, float]] = {}
    configs: dict[str, TrainConfig] = {}
    with tempfile.TemporaryDirectory() as folder:
        shape = (N_PHOTOS, config.image_size, config.image_size, 3)
        np.random.default_rng(0).integers(0, 256, shape, np.uint8).tofile(Path(folder) / "pixels")
        photos = torch.from_numpy(np.memmap(Path(folder) / "pixels", np.uint8, "c", shape=shape))  # as train.cache does
        for name in names:
            size = best_batch_size(name, config, photos, device, sizes)
            configs[name] = at_size = replace(config, batch_size=size)
            peak = peak_memory(name, at_size, device) if device.type == "cuda" else in_child(name, at_size, device)
            with FlopCounter() as counter:
                open_variant(name, replace(at_size, compile=False), photos, device).step()
            results[name] = {"batch_size": size, "memory_bytes": peak, "flop": counter.flop}

        variants = {name: open_variant(name, configs[name], photos, device) for name in names}
        for variant in variants.values():
            variant.take_steps(3 if device.type == "cuda" else 1)
        batches = variants["ours"].batches
        batches.waited_s = 0.0
        times: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(rounds):
            for name, variant in variants.items():
                act = partial(variant.take_steps, n_steps)
                times[name].append(seconds(act, device) / n_steps / results[name]["batch_size"])
        waited_s, batches.waited_s = batches.waited_s / (rounds * n_steps), 0.0
        numbers = iter(range(20))
        draw_s = seconds(lambda: batches.draw(next(numbers)), device, 20) - batches.waited_s / 20

    for name, result in results.items():
        ratios = [mine / plain for mine, plain in zip(times[name], times["plain"], strict=True)]
        picture_s = statistics.median(times[name])
        result |= {
            "parameters": sum(p.numel() for network in variants[name].networks for p in network.parameters()),
            "step_s": picture_s * result["batch_size"],
            "pictures_a_s": 1 / picture_s,
            "flop_a_s": result["flop"] / picture_s / result["batch_size"],
            "ratio": picture_s / statistics.median(times["plain"]),
            "ratio_low": min(ratios),
            "ratio_high": max(ratios),
        }
    results["ours"] |= {"draw_s": draw_s, "waited_s": waited_s}
    return results


def table(found: dict[str, Any]) -> str:
    """The numbers as people read them."""
    lines = [f"{found['device']}; torch {found['torch']}, {found['threads']} threads; {found['settings']}"]
    for precision, peak in found["peak_flop_a_s"].items():
        lines.append(f"fastest convolution in {precision}: {peak / 1e9:.0f} GFLOP/s")
    lines.append(f"{'':6} batch  s/step  pictures/s  time/plain (lowest-highest)  memory MiB  GFLOP/s  of fastest")
    for name, r in found["variants"].items():
        spread = f"{r['ratio']:.3f} ({r['ratio_low']:.3f}-{r['ratio_high']:.3f})"
        lines.append(
            f"{name:6} {r['batch_size']:5} {r['step_s']:7.4f}  {r['pictures_a_s']:10.2f}  {spread:27}  "
            f"{r['memory_bytes'] / 2**20:10.0f}  {r['flop_a_s'] / 1e9:7.0f}  {r['share_of_peak']:10.0%}"
        )
    ours = found["variants"]["ours"]
    drawn, waited = (ours[key] / ours["step_s"] for key in ("draw_s", "waited_s"))
    lines.append(f"of a step of ours, {waited:.2%} is waiting for photos and {drawn:.2%} making a batch of them")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--image-size", type=int, default=256)
    parser.add_argument("--width", type=int, default=64, help="channels of both networks at full size")
    parser.add_argument("--batch-size", type=int, nargs="+", help="of several, each variant takes its best")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--objective", default="cgan", choices=OBJECTIVES, help="of ours; plain is always a cgan")
    parser.add_argument("--precision", default="auto", choices=("auto", *PRECISIONS), help="of ours; auto: the faster")
    parser.add_argument("--compile", action="store_true", help="ours compiled")
    parser.add_argument("--peer", action="store_true", help="also the peer's own networks")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here")
    given = parser.parse_args(arguments)

    device = pick_device(given.device)
    torch.backends.cudnn.benchmark = True  # for all: the peer sets it
    peaks = {name: convolution_peak(device, dtype) for name, dtype in PRECISIONS.items()}
    precision: Any = max(peaks, key=peaks.__getitem__) if given.precision == "auto" else given.precision
    config = TrainConfig(
        image_size=given.image_size,
        generator_depth=halvings(given.image_size, 7),
        generator_width=given.width,
        discriminator_width=given.width,
        # With batch norm ours would score real and fake together for the generator, too: other work than plain's.
        discriminator_norm="layer" if given.objective == "wgan-gp" else "none",
        objective=given.objective,
        precision=precision,
        compile=given.compile,
    )
    names = ("plain", "ours", "peer") if given.peer else ("plain", "ours")
    results = measure(config, device, given.batch_size or BATCH_SIZES[device.type], given.rounds, names)
    for name, result in results.items():
        result["share_of_peak"] = result["flop_a_s"] / peaks[precision if name == "ours" else "float32"]
    found = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "CPU",
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "settings": {key: value for key, value in vars(given).items() if key not in ("json", "device")}
        | {"precision": precision},
        "peak_flop_a_s": peaks,
        "variants": results,
    }
    print(table(found))
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
