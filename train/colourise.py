"""A trained generator and a folder of photographs in; the same photographs coloured out, each at its own size.

This is use, not a study: photographs without colour, small ones and those trained on are coloured like any other.
"""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from models.color import fit_chroma, from_network, merge_luminance, split_luminance
from models.generator import colour
from pairs.progress import Progress
from pairs.road import PhotoError, open_photo, picture_paths
from protocol import InputError
from protocol.whole_folder import whole_folder
from train.checkpoint import TrainedGenerator

NOTE = "colourised.json"  # what is in the folder and what made it; by it --replace knows a folder of ours
FORMAT = "realism-colourised/1"
LONGEST = 8  # the generator sees at most this many times image_size along the long side: a bound on its memory
STRIP = 2**17  # pixels that are merged at once: some 100 bytes of floats each


class ColouriseError(InputError):
    """A folder that the coloured photographs cannot go to."""


@dataclass(frozen=True)
class Coloured:
    """The pictures written, as paths in the folder, and one sentence for each photograph that could not be decoded."""

    pictures: tuple[Path, ...]
    broken: tuple[str, ...]


def colour_folder(
    trained: TrainedGenerator, folder: Path, out: Path, *, replace: bool = False, progress: Progress = iter
) -> Coloured:
    """Colour every photograph in the folder and the folders in it; ``out`` appears when all are done.

    Raises:
        PhotoError: if there is no such folder, or no photograph in it.
        ColouriseError: if ``out`` and the photographs share a folder.
        FolderError: if ``out`` exists and is not to be replaced, or is something else.
    """
    photos = picture_paths(folder)
    _refuse_shared(folder, photos, out)
    targets = _targets([photo.relative_to(folder) for photo in photos])
    pictures, broken = {}, {}
    with whole_folder(out, "folder of coloured photographs", _entries(out), _is_ours, replace=replace) as aside:
        for photo in progress(photos):
            source = photo.relative_to(folder)
            try:
                picture = colour_photo(trained, open_photo(photo))
            except PhotoError as error:
                broken[source] = str(error)
                continue
            (aside / targets[source]).parent.mkdir(parents=True, exist_ok=True)
            picture.save(aside / targets[source], compress_level=4)  # nearly the size of 6, in half the time
            pictures[targets[source]] = source
        _write_note(aside, trained, pictures, broken)
    return Coloured(tuple(pictures), tuple(broken.values()))


@torch.no_grad()
def colour_photo(trained: TrainedGenerator, photo: Image.Image) -> Image.Image:
    """The generator's colours on the RGB photograph's own luminance, at the photograph's own size."""
    ab = _chroma(trained, photo)
    # Colours vary slowly and the eye is not sharp for them: what the generator saw small is enlarged unnoticed.
    ab = F.interpolate(ab, (photo.height, photo.width), mode="bicubic", antialias=True)  # (1, 2, H, W)
    pixels = np.array(photo)  # (H, W, 3)
    rows = max(1, STRIP // photo.width)
    for top in range(0, photo.height, rows):
        strip = slice(top, top + rows)
        luminance, _ = split_luminance(_to_tensor(pixels[strip]).to(ab.device))  # (1, 1, rows, W)
        rgb = merge_luminance(luminance, _fitted(luminance, ab[:, :, strip]))  # (1, 3, rows, W)
        pixels[strip] = (rgb[0] * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    return Image.fromarray(pixels)


def _fitted(luminance: Tensor, ab: Tensor) -> Tensor:
    """``fit_chroma``, whose search for the edge of sRGB runs over the pixels alone that lie beyond it: most do not."""
    fitted = fit_chroma(luminance, ab, halvings=0)  # gray where sRGB lacks the colour
    beyond = (fitted != ab).any(dim=1)[0]  # (H, W)
    if beyond.any():
        few = fit_chroma(luminance[:, :, beyond].unsqueeze(-1), ab[:, :, beyond].unsqueeze(-1))  # (1, 2, n_beyond, 1)
        fitted[:, :, beyond] = few.squeeze(-1)
    return fitted


def _chroma(trained: TrainedGenerator, photo: Image.Image) -> Tensor:
    """The generator's ab (1, 2, h, w) for the photograph at the size that it was trained on."""
    config, device = trained.config, next(trained.generator.parameters()).device
    width, height = _seen_size(photo.width, photo.height, config.image_size)
    # The same road as in training: made smaller in RGB, by the same filter, and then its luminance.
    small = np.asarray(photo.resize((width, height), Image.Resampling.LANCZOS))
    unit = 2**config.generator_depth
    above, left = -height % unit // 2, -width % unit // 2
    margins = ((above, -height % unit - above), (left, -width % unit - left), (0, 0))
    padded = np.pad(small, margins, mode="symmetric")  # mirrored: an edge there would be coloured as one
    luminance, _ = split_luminance(_to_tensor(padded).to(device))
    seen = colour(trained.generator, luminance)[:, :, above : above + height, left : left + width]
    return seen if config.colour_space == "lab" else split_luminance(from_network(luminance, seen, "rgb"))[1]


def _seen_size(width: int, height: int, image_size: int) -> tuple[int, int]:
    """Width and height of which the shorter is ``image_size``, unless the longer would be beyond bounds."""
    scale = min(image_size / min(width, height), LONGEST * image_size / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _to_tensor(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0).float() / 255  # (1, 3, H, W)


def _refuse_shared(folder: Path, photos: list[Path], out: Path) -> None:
    source, target = folder.resolve(), out.resolve()
    if target.is_relative_to(source) or source.is_relative_to(target):
        how = "is" if source == target else "lies in" if target.is_relative_to(source) else "holds"
        raise ColouriseError(f"--out {out} {how} the photo folder {folder}; choose a folder beside it")
    for photo in photos:
        if photo.resolve().is_relative_to(target):
            raise ColouriseError(f"--out {out} holds {photo.resolve()}, to which {photo} links; choose another --out")


def _targets(sources: list[Path]) -> dict[Path, Path]:
    """Each photograph's picture: ``a.png`` for ``a.jpg``; ``a.jpg.png`` if another photograph would be ``a.png`` too."""
    targets = {source: source.with_suffix(".png") for source in sources}
    while True:
        # Compared as file systems do that take capitals for small letters; a folder's name is taken as well.
        taken = Counter(str(target).lower() for target in targets.values())
        taken.update({str(folder).lower() for target in targets.values() for folder in target.parents})
        clashing = {
            source: source.with_name(f"{source.name}.png")
            for source, target in targets.items()
            if taken[str(target).lower()] > 1
        }
        if clashing.items() <= targets.items():
            return targets
        targets |= clashing


def _write_note(folder: Path, trained: TrainedGenerator, pictures: dict[Path, Path], broken: dict[Path, str]) -> None:
    note = {
        "format": FORMAT,
        "generator": {"name": trained.config.name, "step": trained.step, "checkpoint_sha256": trained.sha256},
        "pictures": [{"file": file.as_posix(), "photo": photo.as_posix()} for file, photo in pictures.items()],
        "broken": [photo.as_posix() for photo in broken],
    }
    (folder / NOTE).write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")


def _files(out: Path) -> frozenset[str]:
    """What the note in a folder says is in it; nothing, if it has none that can be read."""
    try:
        note: Any = json.loads((out / NOTE).read_text(encoding="utf-8"))
        return frozenset(p["file"] for p in note["pictures"]) if note["format"] == FORMAT else frozenset()
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return frozenset()


def _entries(out: Path) -> frozenset[str]:
    return frozenset(PurePosixPath(file).parts[0] for file in _files(out)) | {NOTE}


def _is_ours(out: Path) -> bool:
    found = {path.relative_to(out).as_posix() for path in out.rglob("*") if not path.is_dir()}
    return found <= _files(out) | {NOTE}
