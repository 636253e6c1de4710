"""A trained generator in, an ONNX file out, for software without torch: written only if it computes what torch computes."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnxruntime
import onnxscript  # noqa: F401  # torch's exporter needs it: without it, say so before anything is done
import torch
from torch.export import Dim

from models.generator import colour
from protocol import InputError
from train.checkpoint import TrainedGenerator, write_atomically

FORMAT = "realism-onnx/1"
TOLERANCE = 1e-4  # of the range of a colour, which is [-1, 1]
LARGEST_FILE = 2**31 - 1  # bytes: what a protobuf message holds
COLOURS = {
    "lab": "colour (N, 2, H, W): a*/110 and b*/110, to be put on the L* that was given",
    "rgb": "colour (N, 3, H, W): sRGB * 2 - 1",
}


class OnnxError(InputError):
    """A file that a generator cannot be written to, or a generator that none can hold."""


@dataclass(frozen=True)
class Agreement:
    """What the check found: the largest difference from torch, as a fraction of a colour's range, over these shapes."""

    difference: float
    shapes: tuple[tuple[int, int, int, int], ...]

    @property
    def holds(self) -> bool:
        return self.difference <= TOLERANCE  # and not, if it is nan


def export(trained: TrainedGenerator, out: Path, *, replace: bool = False) -> Agreement:
    """Write the generator, if onnxruntime makes of it what torch does; else nothing is written.

    Raises:
        OnnxError: if ``out`` is not to be written to, or the weights are too many for one file.
    """
    _refuse(out, replace)
    data = to_onnx(trained)
    agreement = compare(data, trained)
    if agreement.holds:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, data)
    return agreement


def _refuse(out: Path, replace: bool) -> None:
    if out.suffix.lower() != ".onnx":  # which also keeps --replace away from a checkpoint
        raise OnnxError(f"--out {out} does not end in .onnx; give a file that does")
    if out.is_dir():
        raise OnnxError(f"--out {out} is a folder; give a file that ends in .onnx")
    if out.exists() and not replace:
        raise OnnxError(f"{out} already exists; choose another --out, or replace it with --replace")


def to_onnx(trained: TrainedGenerator) -> bytes:
    """The generator, which is on the CPU, as an ONNX file's bytes: any number of pictures of any size that it can halve ``depth`` times."""
    generator, unit = trained.generator, 2**trained.config.generator_depth
    n_bytes = sum(tensor.nbytes for tensor in generator.parameters())
    if n_bytes > LARGEST_FILE * 0.99:
        raise OnnxError(
            f"generator {trained.config.name} has {n_bytes / 1e9:.1f} GB of weights, an ONNX file holds at most 2; "
            "train a narrower one (generator_width)"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch's own use of torch
        program = torch.onnx.export(
            generator,
            (torch.zeros(2, 1, 2 * unit, 3 * unit),),
            dynamo=True,
            input_names=["luminance"],
            output_names=["colour"],
            dynamic_shapes=({0: Dim("n"), 2: unit * Dim("h"), 3: unit * Dim("w")},),
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    _strip(model)
    onnx.helper.set_model_props(model, _about(trained))
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def compare(data: bytes, trained: TrainedGenerator) -> Agreement:
    """Run onnxruntime and torch on the same noise, at several sizes and numbers of pictures."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    runner = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    unit, size = 2**trained.config.generator_depth, trained.config.image_size
    shapes = ((1, 1, unit, unit), (3, 1, unit, 2 * unit), (2, 1, 3 * unit, unit), (1, 1, size, size))
    noise, differences = torch.Generator().manual_seed(0), []
    for shape in shapes:
        luminance = torch.rand(shape, generator=noise) * 2 - 1
        expected = colour(trained.generator, luminance)
        found = torch.from_numpy(runner.run(["colour"], {"luminance": luminance.numpy()})[0])
        assert found.shape == expected.shape, (found.shape, expected.shape)
        differences.append((found - expected).abs().max() / 2)
    return Agreement(float(torch.stack(differences).max()), shapes)


def _about(trained: TrainedGenerator) -> dict[str, str]:
    config = trained.config
    return {
        "format": FORMAT,
        "generator": config.name,
        "step": str(trained.step),
        "checkpoint_sha256": trained.sha256,
        "colour_space": config.colour_space,
        "image_size": str(config.image_size),
        "depth": str(config.generator_depth),
        "input": f"luminance (N, 1, H, W): L*/50 - 1; H and W multiples of {2**config.generator_depth}",
        "output": COLOURS[config.colour_space],
    }


def _strip(model: onnx.ModelProto) -> None:
    """Take out what the exporter notes on every part: lines of the code, with the folders it lay in on this machine."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
