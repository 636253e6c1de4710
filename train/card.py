"""The model card of a run: ``README.md`` with data, licence, curves, samples, measures and settings, from what the run wrote.

The headings follow Mitchell et al. 2019, *Model cards for model reporting*; the front matter is that of model hubs.
"""

import csv
import io
import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from train.checkpoint import GENERATOR, GeneratorFile, read_about, write_atomically
from train.config import TrainConfig
from train.log import LOG, read_log

TABLE = "photos.csv"  # which photo was on which side, and in which row of the sample grids
CARD, CURVES, MEASURES, SAMPLES = "README.md", "curves.png", "measures.json", "samples"
# Rows of the picture of the curves: what is drawn together, and its axis.
PANELS = (
    ("L1 to the photograph", ("l1", "held_out_l1"), False),
    ("Critic", ("wasserstein_estimate", "discriminator_loss"), False),
    ("Gradients: adversarial / L1", ("gradient_ratio",), True),
    ("Colourfulness, held-out", ("held_out_colourfulness", "real_colourfulness"), False),
)


def write_card(run: Path) -> None:
    """Write the card and its curves into the run's folder; rewritten whenever there is more to say.

    Raises:
        CheckpointError: if the run's generator cannot be read.
        LogError: if its log cannot.
    """
    rows = read_log(run / LOG) if (run / LOG).exists() else []
    if any("l1" in row for row in rows):
        write_atomically(run / CURVES, _curves(rows))
    write_atomically(run / CARD, _card(run, rows).encode())


def _curves(rows: list[dict[str, Any]]) -> bytes:
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    for axes, (title, names, is_log) in zip(figure.subplots(2, 2).flat, PANELS, strict=True):
        for name in names:
            points = [(row["step"], row[name]) for row in rows if name in row]
            if points:
                axes.plot(*zip(*points, strict=True), label=name.replace("_", " "), linewidth=1)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("step", fontsize=8)
        axes.tick_params(which="both", labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        if is_log:
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
        if axes.lines:
            axes.legend(fontsize=8, frameon=False)
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=110, metadata={"Software": None})
    return png.getvalue()


def _card(run: Path, rows: list[dict[str, Any]]) -> str:
    about = read_about(run / GENERATOR)
    config, photos = about.config, about.photos
    alarms = [f"- step {row['step']}: {row['alarm']}" for row in rows if "alarm" in row]
    kind = config.objective.upper() if config.has_critic else "L1"
    parts = [
        _front_matter(config, photos.licence),
        f"# {config.name}: {kind} colourisation at {config.image_size} × {config.image_size}",
        _what(about),
        "## Data",
        f"{photos.n_train} photographs of **{photos.source}** were trained on, {photos.n_held_out} were held out. "
        f"Licence of the photographs: {photos.licence}. Which photograph was on which side stands in `photos.csv`; "
        f"sha256 of the split: `{photos.split_sha256}`.",
        _samples(run),
        "## Measures",
        _measures(run, rows),
        "## Curves\n\n![Losses and measures, step by step](curves.png)" if (run / CURVES).exists() else "",
        "## Alarms\n\n" + "\n".join(alarms) if alarms else "",
        "## Settings\n\n```toml\n" + config.to_toml() + "```",
        "## Limits",
        "The colours are a guess that looks likely, not a record of what was there. The generator has seen only the "
        "kind of photograph named above. No measure here replaces asking people: see `realism study create`.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front_matter(config: TrainConfig, licence: str) -> str:
    lines = ("library_name: realism", "pipeline_tag: image-to-image", "license: other")
    tags = f"tags: [image-colorization, gan, {config.objective}]"
    return "\n".join(("---", *lines, f"license_name: {json.dumps(licence, ensure_ascii=False)}", tags, "---"))


def _what(about: GeneratorFile) -> str:
    config = about.config
    result = "colours (ab) for the photograph's own luminance" if config.colour_space == "lab" else "an RGB picture"
    aims = "to be close to the photograph (L1)"
    if config.has_critic:
        aims += f" and to be taken for real by a critic ({config.objective})"
    sentences = [
        f"A U-Net of depth {config.generator_depth} and width {config.generator_width} that takes the luminance of a "
        f"photograph and gives {result}.",
        f"It was trained for {about.step} steps of batch {config.batch_size}, {aims}.",
    ]
    if about.started_from:
        sentences.append(
            f"It began with the weights of another generator (sha256 `{about.started_from}`); the photographs that one "
            "was trained on count as trained on."
        )
    if config.average_decay:
        sentences.append(f"Its weights are a running mean over the steps (decay {config.average_decay}).")
    if about.is_half:
        sentences.append("Its convolutions are stored in half precision.")
    return " ".join(sentences)


def last_grid(run: Path) -> Path | None:
    """The sample grid of the latest step."""
    return max((run / SAMPLES).glob("step-*.png"), key=_step_of, default=None)


def _step_of(grid: Path) -> int:
    return int(grid.stem.removeprefix("step-"))


def _samples(run: Path) -> str:
    grid = last_grid(run)
    if grid is None:
        return ""
    shown = ""
    if (run / TABLE).exists():
        with (run / TABLE).open(newline="", encoding="utf-8") as file:
            rows = sorted((int(row["row"]), row["file"]) for row in csv.DictReader(file) if row.get("row"))
        shown = " Rows from the top: " + ", ".join(f"`{name}`" for _, name in rows) + "."
    return (
        f"## Samples\n\nHeld-out photographs at step {_step_of(grid)}: grayscale, real, fake.{shown}\n\n"
        f"![Held-out photographs]({SAMPLES}/{grid.name})"
    )


def _measures(run: Path, rows: list[dict[str, Any]]) -> str:
    if (run / MEASURES).exists():
        return str(json.loads((run / MEASURES).read_text(encoding="utf-8"))["table"])
    last = next((row for row in reversed(rows) if "held_out_l1" in row), None)
    if last is None:
        return "None were taken."
    return (
        f"On held-out photographs at step {last['step']}: L1 {last['held_out_l1']:.3f}, colourfulness "
        f"{last['held_out_colourfulness']:.1f} where the photographs have {last['real_colourfulness']:.1f}. "
        "`realism evaluate` measures more, and puts it here."
    )
