"""Colours of every profile become sRGB's: what is known to be seen is what comes out."""

import numpy as np
import pytest
from handmade import cmyk_profile, gray_profile, rgb_profile
from PIL import Image, ImageCms
from test_road import SPOTS, decoded, pixel, same

# 55/255 of the light is 0.2157; 1.055 * 0.2157^(1/2.4) - 0.055 = 0.502, which is 128/255 (IEC 61966-2-1).
LINEAR, SEEN = 55, 128


@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.webp", "x.tif"])
def test_colours_of_another_profile_are_converted_whatever_it_is_called(tmp_path, name):
    options = {"lossless": True} if name == "x.webp" else {"quality": 100} if name == "x.jpg" else {}
    gray = Image.new("RGB", (16, 16), (LINEAR,) * 3)
    found = decoded(tmp_path, name, gray, icc_profile=rgb_profile(), **options)
    assert np.abs(np.array(pixel(found)) - SEEN).max() <= 2
    assert found.had_profile


def test_exchanged_primaries_are_exchanged_back(tmp_path):
    picture = Image.new("RGB", (2, 2), (LINEAR, 255, 0))
    found = decoded(tmp_path, "x.png", picture, icc_profile=rgb_profile("bgr"))
    assert np.abs(np.array(pixel(found)) - (0, 255, SEEN)).max() <= 2


@pytest.mark.parametrize("mode", ["L", "LA", "1"])
def test_gray_profile_holds_for_gray_pictures(tmp_path, mode):
    value = {"L": LINEAR, "LA": (LINEAR, 255), "1": 1}[mode]
    found = decoded(tmp_path, "x.png", Image.new(mode, (2, 2), value), icc_profile=gray_profile())
    assert np.abs(np.array(pixel(found)) - (255 if mode == "1" else SEEN)).max() <= 2
    assert found.had_profile


def test_profile_of_a_palette_and_of_what_shines_through(tmp_path):
    palette = Image.new("RGB", (2, 2), (LINEAR,) * 3).quantize()
    found = decoded(tmp_path, "x.png", palette, icc_profile=rgb_profile())
    assert np.abs(np.array(pixel(found)) - SEEN).max() <= 2
    half = Image.new("RGBA", (2, 2), (LINEAR, LINEAR, LINEAR, 128))  # first the profile, then the white
    found = decoded(tmp_path, "x.png", half, icc_profile=rgb_profile())
    assert np.abs(np.array(pixel(found)) - (SEEN + 255) / 2).max() <= 2


@pytest.mark.parametrize("name", ["x.jpg", "x.tif"])
def test_cmyk_profile_says_what_its_inks_look_like(tmp_path, name):
    found = decoded(tmp_path, name, Image.new("CMYK", (16, 16), (255, 0, 0, 0)), icc_profile=cmyk_profile())
    assert np.abs(np.array(pixel(found)) - 119).max() <= 2  # as in the LAB TIFF above
    assert found.had_profile


@pytest.mark.parametrize(
    "useless",
    [b"no profile", rgb_profile()[:200], rgb_profile()[:128] + b"\xff" * 400, gray_profile(), cmyk_profile()],
    ids=["text", "truncated", "damaged", "gray", "cmyk"],
)
def test_damaged_profile_and_one_of_another_colour_space_are_passed_over(tmp_path, useless):
    found = decoded(tmp_path, "x.png", SPOTS, icc_profile=useless)
    assert same(found, SPOTS)
    assert not found.had_profile


def test_srgbs_own_profile_changes_no_pixel(tmp_path):
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    found = decoded(tmp_path, "x.png", SPOTS, icc_profile=own)
    assert same(found, SPOTS)
    assert not found.had_profile
