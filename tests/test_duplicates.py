"""Near-copies and mirror images are found, different photographs and plain pictures are not taken for each other."""

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from pairs.duplicates import Fingerprint, Match, fingerprint, near_duplicates, near_duplicates_between
from tests.pictures import colourful

SIZE = 256
PHOTOS = [colourful(seed, SIZE) for seed in range(12)]


def jpeg(picture: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=40)
    return Image.open(buffer)


def grainy(picture: Image.Image) -> Image.Image:
    grain = np.random.default_rng(0).normal(0, 10, (SIZE, SIZE, 3))
    return Image.fromarray(np.clip(np.asarray(picture) + grain, 0, 255).astype(np.uint8))


def cropped(picture: Image.Image) -> Image.Image:
    return picture.crop((3, 3, SIZE - 3, SIZE - 3)).resize(picture.size)


NEAR_COPIES = {
    "the same": lambda picture: picture,
    "JPEG": jpeg,
    "smaller": lambda picture: picture.resize((154, 154)),
    "brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.1),
    "cropped": cropped,
    "grainy": grainy,
    "turned": lambda picture: cropped(picture.rotate(1, Image.Resampling.BICUBIC)),  # without its black corners
    "gray": lambda picture: picture.convert("L"),
}


@pytest.mark.parametrize("change", NEAR_COPIES.values(), ids=NEAR_COPIES)
def test_near_copy_matches_its_photograph_and_no_other(change):
    copies = [fingerprint(change(photo)) for photo in PHOTOS]
    matches = near_duplicates_between([fingerprint(photo) for photo in PHOTOS], copies)
    assert [(match.i, match.j, match.mirrored) for match in matches] == [(i, i, False) for i in range(len(PHOTOS))]


def test_mirror_image_is_found_and_said_to_be_one():
    mirrored = [fingerprint(ImageOps.mirror(photo)) for photo in PHOTOS]
    matches = near_duplicates_between([fingerprint(photo) for photo in PHOTOS], mirrored)
    assert [(match.i, match.j, match.mirrored) for match in matches] == [(i, i, True) for i in range(len(PHOTOS))]


@pytest.mark.parametrize("size", [200, 240, 250])
def test_mirror_image_of_fine_detail_is_found_though_no_multiple_of_the_hash(size):
    noise = np.random.default_rng(0).integers(0, 256, (12, 12, 12, 3), np.uint8)
    fine = [Image.fromarray(each).resize((size, size), Image.Resampling.BICUBIC) for each in noise]
    mirrored = [fingerprint(ImageOps.mirror(picture)) for picture in fine]
    matches = near_duplicates_between([fingerprint(picture) for picture in fine], mirrored)
    assert [(match.i, match.j, match.mirrored) for match in matches] == [(i, i, True) for i in range(len(fine))]


def test_symmetric_picture_matches_its_copy_once_and_unmirrored():
    half = PHOTOS[0].crop((0, 0, SIZE // 2, SIZE))
    symmetric = Image.new("RGB", (SIZE, SIZE))
    symmetric.paste(half, (0, 0))
    symmetric.paste(ImageOps.mirror(half), (SIZE // 2, 0))
    assert near_duplicates([fingerprint(symmetric)] * 2) == [Match(0, 1, 0, mirrored=False)]


def test_photograph_upside_down_is_another_photograph():
    assert near_duplicates([fingerprint(PHOTOS[0]), fingerprint(ImageOps.flip(PHOTOS[0]))]) == []


def test_each_pair_within_a_set_is_named_once_in_order():
    copies = [PHOTOS[0], PHOTOS[1], PHOTOS[0], PHOTOS[2], PHOTOS[1], PHOTOS[0]]
    matches = near_duplicates([fingerprint(photo) for photo in copies])
    assert [(match.i, match.j) for match in matches] == [(0, 2), (0, 5), (1, 4), (2, 5)]


def test_different_photographs_do_not_match():
    assert near_duplicates([fingerprint(colourful(seed, 64)) for seed in range(100, 200)]) == []


def test_one_horizon_is_not_taken_for_another():
    """Bright sky over dark ground: their thumbnails agree, and the hash sees that what stands on the ground differs."""
    ground = np.where(np.arange(SIZE) < SIZE // 2, 220.0, 60.0)[:, None]
    prints = []
    for seed in range(8):
        texture = np.random.default_rng(seed).normal(0, 30, (16, 16)).repeat(16, axis=0).repeat(16, axis=1)
        prints.append(fingerprint(Image.fromarray(np.clip(ground + texture, 0, 255).astype(np.uint8))))
    assert near_duplicates(prints) == []


def test_equal_hashes_of_unlike_thumbnails_do_not_match():
    rng = np.random.default_rng(0)
    assert near_duplicates([Fingerprint(5, rng.bytes(64)) for _ in range(50)]) == []


def test_plain_pictures_match_nothing_not_even_each_other():
    colours = ("black", "white", "red", "#808080", "#808080", "#818181")
    plain = [fingerprint(Image.new("RGB", (SIZE, SIZE), colour)) for colour in colours]
    faint_shade = np.linspace(0, 5, SIZE).astype(np.uint8)[:, None].repeat(SIZE, axis=1)
    shaded = [fingerprint(Image.fromarray(faint_shade + np.uint8(level))) for level in (20, 120, 220)]
    assert near_duplicates([*plain, *shaded]) == []


def test_hash_and_thumbnail_do_not_depend_on_what_was_done_before():
    first, again = fingerprint(PHOTOS[3]), fingerprint(PHOTOS[3].copy())
    assert first == again
    assert 0 <= first.hash < 2**64
    assert len(first.thumbnail) == 64


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (20, 300)])
def test_pictures_smaller_than_the_hash_have_a_fingerprint(size):
    assert len(fingerprint(PHOTOS[0].resize(size)).thumbnail) == 64


def test_empty_sets_have_no_matches():
    prints = [fingerprint(PHOTOS[0])]
    assert near_duplicates([]) == []
    assert near_duplicates_between(prints, []) == []
    assert near_duplicates_between([], prints) == []
