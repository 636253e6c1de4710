"""A photograph in; the fake of a catch pair out: the same luminance, under colours that nobody takes for the real ones.

Zhang, Isola & Efros (2016, sec. 3.1) set one trial in ten against the colours of another photograph, to see whether people
attend; 87 % of those fakes were recognised. A catch trial that excludes people must be easier than that: the colours are
random patches, or the photograph's own in the wrong places, or none, and a photograph that would make a mild fake is refused.
"""

import zlib
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from protocol import InputError

Kind = Literal["noise", "shuffled", "grayscale"]
PATCHES: Final = 8  # along each side: large enough to be seen in half a second, small enough to cut through things
NOISE_CHROMA: Final = 100.0  # levels of 255; what the luminance has no room for is left out
# Root mean square over the pixels of how far real and fake lie apart in Cb and Cr, in levels of 255. Chosen by eye on sheets
# of the mildest fakes of 467 photographs of flowers: no colour is seen sooner than some colour in another place. Of those
# flowers, 100 % have enough colour for noise, 94 % for grayscale and 31 % for shuffled colours.
LEAST_DIFFERENCE: Final[dict[Kind, float]] = {"noise": 30.0, "shuffled": 40.0, "grayscale": 14.0}

LUMA: Final = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as in JPEG and Pillow's YCbCr
CHROMA_TO_RGB: Final = np.array([[0.0, -0.344136, 1.772], [1.402, -0.714136, 0.0]])  # rows Cb and Cr

Plane = NDArray[np.float64]


class CatchError(InputError):
    """A photograph of which no catch pair with an obvious answer can be made."""


def catch_picture(picture: Image.Image, kind: Kind, seed: int) -> Image.Image:
    """The fake beside an RGB photograph: of its size, its luminance within 1 level of 255, its colours wrong.

    The same picture and seed give the same fake; another picture gets other patches.

    Raises:
        CatchError: if real and fake would look too much alike.
    """
    pixels = np.asarray(picture.convert("RGB"), dtype=np.float64)  # (H, W, 3)
    luminance, chroma = _split(pixels)
    rng = np.random.default_rng([seed, zlib.crc32(picture.tobytes())])
    if kind == "noise":
        wrong = _noise(luminance.shape, rng)
    elif kind == "shuffled":
        wrong = _shuffled(chroma, rng)
    else:
        wrong = np.zeros_like(chroma)
    fake = np.rint(luminance[..., None] + _within_gamut(luminance, wrong @ CHROMA_TO_RGB)).astype(np.uint8)
    difference = float(np.sqrt(((_split(fake)[1] - chroma) ** 2).sum(axis=2).mean()))
    if difference < LEAST_DIFFERENCE[kind]:
        raise CatchError(
            f"the photograph and its fake of kind '{kind}' differ in colour by {difference:.1f} levels of 255, and an "
            f"obvious answer needs {LEAST_DIFFERENCE[kind]:g}; take a more colourful photograph or another kind"
        )
    return Image.fromarray(fake)


def _split(pixels: NDArray) -> tuple[Plane, Plane]:
    """Luminance (H, W) in [0, 255] and chroma Cb, Cr (H, W, 2) around 0, from RGB (H, W, 3)."""
    luminance = pixels @ LUMA
    chroma = np.stack(((pixels[..., 2] - luminance) / 1.772, (pixels[..., 0] - luminance) / 1.402), axis=2)
    return luminance, chroma


def _noise(shape: tuple[int, ...], rng: np.random.Generator) -> Plane:
    """Chroma (H, W, 2): a saturated colour of random hue in each patch."""
    hue = rng.uniform(0, 2 * np.pi, (PATCHES, PATCHES))
    rows, columns = (np.arange(side) * PATCHES // side for side in shape)
    hues = hue[np.ix_(rows, columns)]  # (H, W)
    return NOISE_CHROMA * np.stack((np.cos(hues), np.sin(hues)), axis=2)


def _shuffled(chroma: Plane, rng: np.random.Generator) -> Plane:
    """The same chroma (H, W, 2) in other places: its patches in random order."""
    height, width = chroma.shape[:2]
    block_rows, block_columns = (np.arange(side) * PATCHES // side for side in (height, width))
    blocks = block_rows[:, None] * PATCHES + block_columns  # (H, W), the patch that each pixel is in
    source = rng.permutation(PATCHES * PATCHES)[blocks]  # (H, W), the patch that each pixel's chroma comes from
    row_starts, column_starts = (-(-np.arange(PATCHES) * side // PATCHES) for side in (height, width))
    rows = row_starts[source // PATCHES] + (np.arange(height) - row_starts[block_rows])[:, None]
    columns = column_starts[source % PATCHES] + np.arange(width) - column_starts[block_columns]
    # Where the side is no multiple of the patches, some are a pixel larger than others.
    return chroma[np.minimum(rows, height - 1), np.minimum(columns, width - 1)]


def _within_gamut(luminance: Plane, offsets: Plane) -> Plane:
    """RGB offsets (H, W, 3) from gray, each pixel's drawn towards gray until all its channels fit in [0, 255]."""
    room = np.where(offsets > 0, 255 - luminance[..., None], luminance[..., None])
    share = np.min(room / np.maximum(np.abs(offsets), 1e-9), axis=2, keepdims=True)
    return offsets * np.minimum(share, 1)
