"""Real and fake pictures in; how good the fakes are by every measure at hand, for all photos and for each class, out.

FID, KID and LPIPS compare features of networks that others trained. They come from torchmetrics, which downloads the
weights; where either is not to be had, the reason stands in the value's place.
"""

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.client import HTTPException
from importlib import import_module
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import train.vision  # noqa: F401 -- torchmetrics imports torchvision, which opens beside a CPU-only torch through it only
from pairs.progress import Progress
from protocol.pairset import read_manifest, read_pair, refuse_empty
from protocol.place import Place
from train.checkpoint import TrainedGenerator
from train.metrics import MetricError, ab_histogram_distance, colourfulness, psnr, ssim
from train.observer import ObserverError, observation, observe
from train.pairs import Selection, coloured

CHUNK = 32  # pictures at a time
UNCLASSED = "(no class)"
# The feature's covariance (2048 x 2048) has no full rank with fewer (Heusel et al. 2017, the authors' code).
FID_MIN_PICTURES = 2048
KID_MIN_PICTURES = 50
KID_SUBSET = 1000  # pictures (Bińkowski et al. 2018, sec. 4); of fewer, all at once
LPIPS_MIN_SIZE = 64  # pixels: what AlexNet's pooling leaves something of
PATIENCE_S = 10.0  # of silence from a download
# What an incomplete installation, a download, a damaged file of weights, or too little memory raises.
FAILURES = (ImportError, OSError, HTTPException, EOFError, UnpicklingError, RuntimeError, ValueError, AttributeError)

Value = float | str | None  # a string is the reason why there is no number


@dataclass(frozen=True)
class Measures:
    """Means over ``n`` photos; ``psnr`` is in dB, and None if a fake is its photo exactly: then it is infinite.

    ``colourfulness_ratio`` is the fakes' mean over the photos', None if those are gray. ``observer`` is the share of
    pairs whose photo the machine observer picked, with a 95 % interval, None if there were too few to train one.
    """

    n: int
    psnr: float | None
    ssim: float | None
    colourfulness_fake: float
    colourfulness_real: float
    colourfulness_ratio: float | None
    ab_distance: float
    observer: float | None
    observer_low: float | None
    observer_high: float | None


@dataclass(frozen=True)
class Evaluation:
    """``by_class`` is in alphabetical order, empty if no photo has one; ``notes`` say why a measure is missing."""

    overall: Measures
    by_class: dict[str, Measures]
    fid: Value
    kid: Value
    lpips: Value
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Numbers, strings and None, as JSON has them."""
        return asdict(self) | {"notes": list(self.notes)}


def measure(
    real: Tensor, fake: Tensor, classes: Sequence[str], *, seed: int = 0, progress: Progress = iter
) -> Evaluation:
    """Measure fakes against their photos, sRGB (N, 3, H, W) in [0, 1]; ``classes`` has one per photo, "" for none.

    Every class is judged by the same observers, which learned from the pairs of all classes.

    Raises:
        MetricError: if there is no picture, or real, fake and classes do not go together.
    """
    if not len(real) or real.shape != fake.shape or len(classes) != len(real):
        raise MetricError(
            f"real is {tuple(real.shape)}, fake {tuple(fake.shape)}, with {len(classes)} classes; "
            "give pairs of pictures of one size, and a class for each"
        )
    notes: list[str] = []
    values = {
        "psnr": _by_picture(psnr, real, fake),
        "ssim": _tried(lambda: _by_picture(ssim, real, fake), notes),
        "fake": _by_picture(colourfulness, fake),
        "real": _by_picture(colourfulness, real),
        "correct": _tried(lambda: torch.tensor(observe(real, fake, seed=seed, progress=progress).correct), notes),
    }

    def of(members: list[int]) -> Measures:
        own = {name: value[members].double() for name, value in values.items() if value is not None}
        return _measures(own, ab_histogram_distance(real[members], fake[members]))

    names = sorted(set(classes)) if any(classes) else []
    by_class = {name or UNCLASSED: of([i for i, own in enumerate(classes) if own == name]) for name in names}
    return Evaluation(of(list(range(len(real)))), by_class, **with_torchmetrics(real, fake, seed), notes=tuple(notes))


def _measures(own: dict[str, Tensor], ab_distance: float) -> Measures:
    mean = {name: value.mean().item() for name, value in own.items()}
    seen = observation(own["correct"].tolist()) if "correct" in own else None
    return Measures(
        n=len(own["fake"]),
        psnr=mean["psnr"] if isfinite(mean["psnr"]) else None,
        ssim=mean.get("ssim"),
        colourfulness_fake=mean["fake"],
        colourfulness_real=mean["real"],
        # Below a thousandth of the scale there is rounding, no colour.
        colourfulness_ratio=mean["fake"] / mean["real"] if mean["real"] > 0.1 else None,
        ab_distance=ab_distance,
        observer=seen.accuracy if seen else None,
        observer_low=seen.low if seen else None,
        observer_high=seen.high if seen else None,
    )


def _by_picture(measure_of: Callable[..., Tensor], *pictures: Tensor) -> Tensor:
    parts = zip(*(p.split(CHUNK) for p in pictures), strict=True)
    return torch.cat([measure_of(*part) for part in parts]).cpu()  # (N,)


def _tried(compute: Callable[[], Tensor], notes: list[str]) -> Tensor | None:
    try:
        return compute()
    except (MetricError, ObserverError) as error:
        notes.append(str(error))
        return None


def with_torchmetrics(real: Tensor, fake: Tensor, seed: int = 0) -> dict[str, Value]:
    """FID, KID and LPIPS of sRGB (N, 3, H, W) in [0, 1] by torchmetrics; for one that cannot be had, the reason."""
    n, height, width = len(real), *real.shape[-2:]
    few = "needs at least {} pictures, there are " + str(n)
    small = f"needs pictures of at least {LPIPS_MIN_SIZE} pixels a side, these are {width}x{height}"
    return {
        "fid": few.format(FID_MIN_PICTURES) if n < FID_MIN_PICTURES else _guarded(lambda: _fid(real, fake)),
        "kid": few.format(KID_MIN_PICTURES) if n < KID_MIN_PICTURES else _guarded(lambda: _kid(real, fake, seed)),
        "lpips": small if min(height, width) < LPIPS_MIN_SIZE else _guarded(lambda: _lpips(real, fake)),
    }


def _guarded(compute: Callable[[], float]) -> Value:
    if find_spec("torchmetrics") is None:
        return "torchmetrics is not installed: pip install 'torchmetrics[image]'"
    try:
        with _short_patience(), torch.random.fork_rng(devices=[]), torch.no_grad():
            value = compute()
    except FAILURES as error:
        return f"torchmetrics could not compute it: {(str(error) or type(error).__name__).splitlines()[0]}"
    return value if isfinite(value) else f"torchmetrics computed {value}"


@contextmanager
def _short_patience() -> Iterator[None]:
    """A server that does not answer is given up on soon: torch downloads weights without a time limit of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _torchmetric(module: str, name: str, **settings: Any) -> Any:
    return getattr(import_module(f"torchmetrics.image.{module}"), name)(normalize=True, **settings)


def _fid(real: Tensor, fake: Tensor) -> float:
    return float(_compared(_torchmetric("fid", "FrechetInceptionDistance"), real, fake))


def _kid(real: Tensor, fake: Tensor, seed: int) -> float:
    torch.default_generator.manual_seed(seed)  # for the subsets
    subsets = {"subsets": 1 if len(real) <= KID_SUBSET else 100, "subset_size": min(len(real), KID_SUBSET)}
    mean, _ = _compared(_torchmetric("kid", "KernelInceptionDistance", **subsets), real, fake)
    return float(mean)


def _compared(metric: Any, real: Tensor, fake: Tensor) -> Any:
    metric = metric.to(real.device)
    for real_part, fake_part in zip(real.split(CHUNK), fake.split(CHUNK), strict=True):
        metric.update(real_part, real=True)
        metric.update(fake_part, real=False)
    return metric.compute()


def _lpips(real: Tensor, fake: Tensor) -> float:
    metric = _torchmetric("lpip", "LearnedPerceptualImagePatchSimilarity", net_type="alex").to(real.device)
    for real_part, fake_part in zip(real.split(CHUNK), fake.split(CHUNK), strict=True):
        metric.update(real_part, fake_part)
    return float(metric.compute())


def from_generator(
    trained: TrainedGenerator, selection: Selection, progress: Progress = iter
) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Real and fake (N, 3, H, W) in [0, 1] of the photos selected, as a pair set would show them, and their classes."""
    pictures = list(coloured([trained], selection, keeps_luminance=False, progress=progress))
    real, fake = (
        torch.stack([_pixels(p) for p in side]) for side in zip(*((p.real, p.fakes[0]) for p in pictures), strict=True)
    )
    return real, fake, tuple(p.tags[0] if p.tags else "" for p in pictures)


def from_pairset(address: str | Path) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Real and fake (N, 3, H, W) in [0, 1] of a pair set, and each pair's class: its first tag, "" if it has none.

    Raises:
        PairSetError: if the pair set does not verify.
    """
    place = Place(address)
    pairset = read_manifest(place)
    refuse_empty(place, pairset)
    pictures = [read_pair(place, pairset, pair) for pair in pairset.pairs]
    real, fake = (
        torch.stack([_pixels(p) for p in side]) for side in zip(*((p.real, p.fake) for p in pictures), strict=True)
    )
    return real, fake, tuple(pair.tags[0] if pair.tags else "" for pair in pairset.pairs)


def _pixels(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1).float() / 255  # (3, H, W)


def text_table(evaluation: Evaluation) -> str:
    """A Markdown table with a row for all and one for each class, then lines for what is of all photos only."""
    columns = ("", "n", "PSNR (dB)", "SSIM", "colourfulness (fake / real)", "ab distance", "observer (95 %)")
    rows = [columns, ("---", *["---:"] * (len(columns) - 1)), _row("all", evaluation.overall)]
    rows += [_row(name.replace("|", "\\|"), measures) for name, measures in evaluation.by_class.items()]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    lines.append("")
    for name, value in (("FID", evaluation.fid), ("KID", evaluation.kid), ("LPIPS", evaluation.lpips)):
        lines.append(f"- {name}: not computed: {value}" if isinstance(value, str) else f"- {name}: {value:.4g}")
    lines += [f"- Not in the table: {note}" for note in evaluation.notes]
    return "\n".join(lines) + "\n"


def _row(name: str, m: Measures) -> tuple[str, ...]:
    ratio = "–" if m.colourfulness_ratio is None else f"{m.colourfulness_ratio:.2f}"
    observer = "–" if m.observer is None else f"{m.observer:.1%} ({m.observer_low:.1%} to {m.observer_high:.1%})"
    return (
        name,
        str(m.n),
        "∞" if m.psnr is None else f"{m.psnr:.1f}",
        "–" if m.ssim is None else f"{m.ssim:.3f}",
        f"{m.colourfulness_fake:.1f} / {m.colourfulness_real:.1f} = {ratio}",
        f"{m.ab_distance:.3f}",
        observer,
    )
