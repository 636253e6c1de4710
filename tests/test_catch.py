"""Fakes of catch pairs keep the luminance, have plainly other colours, and are refused where they would not."""

import numpy as np
import pytest
from PIL import Image

from pairs.catch import LEAST_DIFFERENCE, CatchError, Kind, catch_picture
from tests.pictures import colourful

KINDS: tuple[Kind, ...] = ("noise", "shuffled", "grayscale")


def garden(seed: int, size: tuple[int, int] = (64, 64)) -> Image.Image:
    """Fields of strong colours side by side, lit from above: plenty of colour, in places of its own."""
    rng = np.random.default_rng(seed)
    fields = rng.permutation([[200, 60, 60], [60, 150, 60], [80, 90, 200], [200, 170, 40]]).reshape(2, 2, 3)
    pixels = fields.repeat(32, axis=0).repeat(32, axis=1) * np.linspace(1, 0.5, 64)[:, None, None]
    return Image.fromarray(pixels.astype(np.uint8)).resize(size)


def chroma(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("YCbCr"), dtype=float)[..., 1:] - 128


@pytest.mark.parametrize("size", [(64, 64), (61, 47), (40, 90)])
@pytest.mark.parametrize("kind", KINDS)
def test_size_and_luminance_of_the_photograph_stay(kind, size):
    photo = garden(0, size)
    fake = catch_picture(photo, kind, seed=0)
    assert (fake.mode, fake.size) == ("RGB", size)
    luminance = [np.asarray(picture.convert("L"), dtype=int) for picture in (photo, fake)]
    assert np.abs(luminance[0] - luminance[1]).max() <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_colours_differ_from_the_photograph_by_what_is_promised(kind):
    for seed in range(8):
        photo = garden(seed)
        difference = chroma(catch_picture(photo, kind, seed)) - chroma(photo)
        assert np.sqrt((difference**2).sum(axis=2).mean()) > LEAST_DIFFERENCE[kind] - 1  # bytes are rounded


def test_same_seed_and_photograph_give_the_same_fake():
    for kind in KINDS:
        assert catch_picture(garden(0), kind, 7).tobytes() == catch_picture(garden(0), kind, 7).tobytes()


@pytest.mark.parametrize("kind", ["noise", "shuffled"])
def test_another_seed_gives_other_patches(kind):
    assert catch_picture(garden(0), kind, 0).tobytes() != catch_picture(garden(0), kind, 1).tobytes()


def test_another_photograph_gets_other_noise_under_the_same_seed():
    bright, brighter = Image.new("RGB", (64, 64), (128, 128, 128)), Image.new("RGB", (64, 64), (129, 129, 129))
    difference = chroma(catch_picture(bright, "noise", 0)) - chroma(catch_picture(brighter, "noise", 0))
    assert np.abs(difference).mean() > 20


def test_grayscale_has_no_colour():
    red, green, blue = (np.asarray(band) for band in catch_picture(garden(0), "grayscale", 0).split())
    assert (red == green).all()
    assert (green == blue).all()


def test_noise_covers_the_hues():
    fake = chroma(catch_picture(Image.new("RGB", (64, 64), (128, 128, 128)), "noise", 0))
    quadrants = (fake > 0) @ [1, 2]
    assert set(np.unique(quadrants)) == {0, 1, 2, 3}


def test_shuffled_colours_are_those_of_the_photograph():
    """On even luminance every colour fits anywhere, so each is as frequent as before and most stand elsewhere."""
    rng = np.random.default_rng(0)
    hue = rng.uniform(0, 2 * np.pi, (8, 8)).repeat(8, axis=0).repeat(8, axis=1)
    planes = [np.full((64, 64), 128), 128 + 45 * np.cos(hue), 128 + 45 * np.sin(hue)]
    photo = Image.fromarray(np.stack(planes, axis=2).astype(np.uint8), "YCbCr").convert("RGB")
    before, after = chroma(photo), chroma(catch_picture(photo, "shuffled", 0))
    assert np.abs(np.sort(before.reshape(-1, 2), axis=0) - np.sort(after.reshape(-1, 2), axis=0)).max() <= 2
    assert (np.abs(before - after).max(axis=2) > 5).mean() > 0.8


@pytest.mark.parametrize("kind", ["shuffled", "grayscale"])
def test_photograph_without_colour_is_refused(kind):
    gray = colourful(0).convert("L").convert("RGB")
    with pytest.raises(
        CatchError, match=f"kind '{kind}' differ in colour by 0.[0-9] levels .* more colourful photograph"
    ):
        catch_picture(gray, kind, 0)


def test_photograph_with_one_colour_everywhere_is_refused_for_shuffling_alone():
    meadow = Image.new("RGB", (64, 64), (60, 150, 60))
    with pytest.raises(CatchError, match="needs 40; take a more colourful photograph or another kind"):
        catch_picture(meadow, "shuffled", 0)
    assert catch_picture(meadow, "grayscale", 0).getpixel((0, 0)) == (113, 113, 113)


@pytest.mark.parametrize("colour", ["black", "white"])
def test_photograph_with_no_room_for_colour_is_refused_for_noise(colour):
    with pytest.raises(CatchError, match="kind 'noise' differ in colour by 0.0 levels"):
        catch_picture(Image.new("RGB", (64, 64), colour), "noise", 0)
