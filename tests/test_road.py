"""The road's first half: files of every kind are decoded as they would be seen, and cut so that nothing else changes."""

import io
import json
import pickle
import re
import struct

import numpy as np
import pytest
from handmade import png, rgb_profile, tiff
from pictures import colourful
from PIL import Image

from pairs.road import (
    BrokenPhotoError,
    MislabelledPhotoError,
    PhotoError,
    cut,
    open_named,
    open_photo,
    picture_paths,
    read_source,
    square_picture,
    upright_size,
)
from protocol.encoding import Encoder

SPOTS = colourful(3, 40)
CORNERS = Image.new("RGB", (32, 16))  # a colour in each corner: which way up it stands is seen
for number, colour in enumerate(["red", "lime", "blue", "yellow"]):
    CORNERS.paste(colour, (number % 2 * 16, number // 2 * 8, number % 2 * 16 + 16, number // 2 * 8 + 8))


def decoded(folder, name, picture, **options):
    """What comes back of a picture that is saved so."""
    picture.save(folder / name, **options)
    return opened(folder / name)


def opened(path):
    found = open_named(path, path.read_bytes())
    assert found.picture.mode == "RGB"
    assert found.picture.info == {}
    assert upright_size(path) == found.picture.size
    return found


def written(folder, name, data):
    (folder / name).write_bytes(data)
    return opened(folder / name)


def pixel(found, at=(0, 0)):
    return found.picture.getpixel(at)


def same(found, expected, tolerance=0):
    """Whether no channel of a pixel differs by more than the tolerance, of 255."""
    difference = np.asarray(found.picture, int) - np.asarray(expected.convert("RGB"), int)
    return np.abs(difference).max() <= tolerance


# Kinds of files. What is lossy is compared on average.


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("x.png", {}),
        ("x.PNG", {"optimize": True}),
        ("x.webp", {"lossless": True}),
        ("x.bmp", {}),
        ("x.tif", {}),
        ("x.tiff", {"compression": "tiff_lzw"}),
        ("x.tif", {"compression": "tiff_adobe_deflate", "big_tiff": True}),
    ],
)
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "RGBA", "LA"])
def test_lossless_file_comes_back_as_it_was(tmp_path, name, options, mode):
    picture = SPOTS.convert(mode)
    if mode == "LA" and name == "x.bmp":  # which BMP has not
        picture = picture.convert("RGBA")
    found = decoded(tmp_path, name, picture, **options)
    assert same(found, picture)
    assert not found.is_lossy
    assert not found.had_profile


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("x.jpg", {"quality": 100, "subsampling": 0}),
        ("x.jpeg", {"quality": 95, "progressive": True}),
        ("x.webp", {"quality": 100}),
        ("x.tif", {"compression": "jpeg", "quality": 100}),
    ],
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_lossy_file_comes_back_nearly_as_it_was_and_is_known_as_lossy(tmp_path, name, options, mode):
    picture = SPOTS.convert(mode)
    found = decoded(tmp_path, name, picture, **options)
    assert np.abs(np.asarray(found.picture, int) - np.asarray(picture.convert("RGB"), int)).mean() < 4
    assert found.is_lossy


@pytest.mark.parametrize("quality", [80, "lossless"])
def test_long_profile_does_not_hide_whether_a_webp_is_lossy(tmp_path, quality):
    options = {"lossless": True} if quality == "lossless" else {"quality": quality}
    found = decoded(tmp_path, "x.webp", SPOTS, icc_profile=rgb_profile() + bytes(9000), **options)
    assert found.is_lossy is (quality != "lossless")


@pytest.mark.parametrize("name", ["x.jpg", "x.tif"])
def test_cmyk_is_ink_on_white_paper(tmp_path, name):
    """Pillow, as Adobe's programs, writes a CMYK JPEG with its inks inverted, and says so in the file."""
    inks = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    found = decoded(tmp_path, name, inks)
    assert b"Adobe" in (tmp_path / name).read_bytes() or name == "x.tif"
    assert np.abs(np.array(pixel(found)) - (255, 0, 0)).max() <= 2


def test_lab_tiff_shows_its_colours(tmp_path):
    """L* 50.2 without colour: the light is ((50.2 + 16) / 116)^3 = 0.186, which is 119 in sRGB. a* and b* are signed."""
    assert np.abs(np.array(pixel(written(tmp_path, "x.tif", tiff(8, 8, b"\x80\0\0", samples=3)))) - 119).max() <= 2
    red = pixel(written(tmp_path, "x.tif", tiff(8, 8, b"\x80\x40\x20", samples=3)))
    assert red[0] > 180 > 90 > max(red[1:])


@pytest.mark.parametrize("name", ["x.png", "x.tif"])
def test_16_bit_photo_keeps_its_tones(tmp_path, name):
    ramp = np.linspace(0, 65535, 64).astype(np.uint16).reshape(1, 64).repeat(4, axis=0)
    Image.fromarray(ramp).save(tmp_path / name)
    tones = np.asarray(open_photo(tmp_path / name))[0, :, 0]
    assert np.abs(tones - ramp[0] / 257).max() <= 1
    assert np.mean(tones - ramp[0] / 257) == pytest.approx(0, abs=0.05)  # no darker, no brighter


@pytest.mark.parametrize("tone", range(0, 256, 51))
def test_8_bit_tone_saved_in_16_bits_is_the_same_tone(tmp_path, tone):
    expected = (tone,) * 3
    gray = Image.fromarray(np.full((2, 2), tone * 257, np.uint16))
    assert pixel(decoded(tmp_path, "gray.png", gray)) == expected
    samples = struct.pack(">H", tone * 257)
    assert pixel(written(tmp_path, "rgb.png", png(2, 16, samples * 3))) == expected
    assert pixel(written(tmp_path, "rgba.png", png(6, 16, samples * 3 + b"\xff\xff"))) == expected
    assert pixel(written(tmp_path, "gray-alpha.png", png(4, 16, samples + b"\xff\xff"))) == expected
    assert pixel(written(tmp_path, "rgb.tif", tiff(16, 2, samples[::-1] * 3, samples=3))) == expected


def test_16_bit_colours_are_cut_to_their_upper_8_bits(tmp_path):
    data = struct.pack(">3H", 0x12FF, 0x8000, 0xFE01)
    assert pixel(written(tmp_path, "x.png", png(2, 16, data))) == (0x12, 0x80, 0xFE)


def test_tiff_of_12_bits_and_one_whose_white_is_0_are_seen_as_meant(tmp_path):
    assert pixel(written(tmp_path, "x.tif", tiff(12, 1, b"\xff\xf0"))) == (255, 255, 255)
    assert pixel(written(tmp_path, "x.tif", tiff(16, 0, b"\x00\x10"))) == (239, 239, 239)
    assert pixel(written(tmp_path, "x.tif", tiff(8, 0, b"\x10"))) == (239, 239, 239)


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_photo_without_a_stated_range_is_broken(tmp_path, kind):
    Image.fromarray(np.linspace(0, 1000, 64).astype(kind).reshape(8, 8)).save(tmp_path / "odd.tif")
    with pytest.raises(
        PhotoError, match=r"odd.tif cannot be decoded \(mode . has no stated range; save it with 8 or 16"
    ):
        open_photo(tmp_path / "odd.tif")


# Transparency.


def test_what_is_transparent_is_white(tmp_path):
    picture = Image.new("RGBA", (3, 1), (255, 0, 0, 255))
    picture.putpixel((1, 0), (255, 0, 0, 0))
    picture.putpixel((2, 0), (255, 0, 0, 128))  # half red, half white
    found = decoded(tmp_path, "x.png", picture)
    assert [pixel(found, (x, 0)) for x in range(3)] == [(255, 0, 0), (255, 255, 255), (255, 127, 127)]


def test_transparent_gray_and_transparent_entry_of_a_palette_are_white(tmp_path):
    gray = Image.new("LA", (2, 1), (10, 0))
    gray.putpixel((1, 0), (10, 255))
    found = decoded(tmp_path, "x.png", gray)
    assert [pixel(found), pixel(found, (1, 0))] == [(255, 255, 255), (10, 10, 10)]
    palette = Image.new("P", (2, 1))
    palette.putpalette([200, 0, 0, 0, 0, 200])
    palette.putpixel((1, 0), 1)
    for transparency in (0, b"\x00\xff"):
        found = decoded(tmp_path, "x.png", palette, transparency=transparency)
        assert [pixel(found), pixel(found, (1, 0))] == [(255, 255, 255), (0, 0, 200)]


# Orientation: saved turned away, as a camera does, each file says how to turn it back.

TURNED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("name", ["x.jpg", "x.png", "x.webp", "x.tif"])
def test_photo_is_turned_upright(tmp_path, name, orientation):
    turn = TURNED[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"x.webp": {"lossless": True}, "x.jpg": {"quality": 100, "subsampling": 0}}.get(name, {})
    found = decoded(tmp_path, name, CORNERS.transpose(turn) if turn is not None else CORNERS, exif=exif, **options)
    assert same(found, CORNERS, tolerance=3)


@pytest.mark.parametrize("exif", [b"Exif\0\0MM", b"Exif\0\0" + b"\xff" * 40, b"Exif\0\0II*\0\x08\0\0\0\xff\xff"])
def test_damaged_exif_is_passed_over(tmp_path, exif, capfd, recwarn):
    Image.new("RGB", (4, 2), "red").save(tmp_path / "x.jpg", exif=exif)
    assert opened(tmp_path / "x.jpg").picture.size == (4, 2)
    assert capfd.readouterr().err == ""
    assert not recwarn.list


# Files that are not what they should be.


def test_file_that_is_no_picture_is_named(tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"not a picture")
    with pytest.raises(PhotoError, match=r"x.jpg cannot be decoded \(not a picture\); remove it or replace it"):
        open_photo(tmp_path / "x.jpg")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "bmp"])
def test_truncated_file_is_named(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    colourful(0, 64).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(PhotoError, match=rf"x.{suffix} cannot be decoded \(.+\); remove it or replace it"):
        open_photo(path)


def test_empty_file_is_named(tmp_path):
    (tmp_path / "x.png").write_bytes(b"")
    for read in (open_photo, upright_size):
        with pytest.raises(BrokenPhotoError, match=r"x.png cannot be decoded \(the file is empty\); remove it"):
            read(tmp_path / "x.png")


def test_photo_whose_name_says_something_else_is_opened_only_where_that_does_no_harm(tmp_path):
    SPOTS.save(tmp_path / "x.png", format="JPEG")
    assert open_photo(tmp_path / "x.png").size == SPOTS.size
    told = r"x.png is a JPEG, not what its name says; rename it$"
    with pytest.raises(MislabelledPhotoError, match=told):
        open_named(tmp_path / "x.png", (tmp_path / "x.png").read_bytes())
    with pytest.raises(MislabelledPhotoError, match=told):
        upright_size(tmp_path / "x.png")


@pytest.mark.parametrize(
    ("side", "told"), [(12_000, "12000x12000 is more than 89 megapixels"), (60_000, r"3600000000 pixels\) exceeds")]
)
def test_file_that_claims_to_be_huge_is_refused_before_it_is_decoded(tmp_path, side, told, recwarn):
    (tmp_path / "x.png").write_bytes(png(2, 8, b"", side, side))
    for read in (open_photo, upright_size):
        with pytest.raises(BrokenPhotoError, match=told):
            read(tmp_path / "x.png")
    assert not recwarn.list


def test_missing_file_is_named_once(tmp_path):
    with pytest.raises(BrokenPhotoError, match=r"^\S+x.png cannot be decoded \(No such file or directory\); remove"):
        open_photo(tmp_path / "x.png")


def test_error_of_a_photo_survives_the_way_from_another_process(tmp_path):
    (tmp_path / "x.png").write_bytes(b"")
    with pytest.raises(BrokenPhotoError, match="empty") as empty:
        upright_size(tmp_path / "x.png")
    SPOTS.save(tmp_path / "y.png", format="JPEG")
    with pytest.raises(MislabelledPhotoError, match="rename it") as mislabelled:
        upright_size(tmp_path / "y.png")
    for error in (empty.value, mislabelled.value):
        again = pickle.loads(pickle.dumps(error))  # noqa: S301
        assert type(again) is type(error)
        assert (str(again), again.path, again.reason) == (str(error), error.path, error.reason)


# Cutting.


def test_square_picture_is_the_middle():
    picture = Image.new("RGB", (30, 10), "red")
    picture.paste("blue", (10, 0, 20, 10))
    square = square_picture(picture, 5)
    assert square.size == (5, 5)
    assert np.abs(np.asarray(square) - np.array([0, 0, 255])).max() < 20


@pytest.mark.parametrize("width", [40, 41, 42, 55])
@pytest.mark.parametrize("upright", [False, True])
def test_what_has_one_side_of_the_size_keeps_its_pixels(width, upright):
    pixels = np.random.default_rng(0).integers(0, 256, (40, width, 3), np.uint8)
    if upright:
        pixels = pixels.transpose(1, 0, 2)
    left = (width - 40) // 2
    middle = pixels[left : left + 40] if upright else pixels[:, left : left + 40]
    assert np.array_equal(np.asarray(cut(Image.fromarray(pixels), (40, 40))), middle)


def test_cut_is_at_whole_pixels_and_in_the_middle():
    wide = Image.new("RGB", (101, 40), "red")
    wide.paste("lime", (30, 0, 70, 40))  # (101 - 40) // 2 = 30
    half = np.asarray(cut(wide, (20, 20)), int)
    assert np.abs(half[:, 1:-1] - (0, 255, 0)).max() <= 2
    # At the cut, Lanczos looks across it as anywhere else: a border of its own would tell who was reduced.
    assert np.array_equal(half, half[:, ::-1])
    assert half[0, 0, 0] < 20


@pytest.mark.parametrize("own", [(1, 1), (1000, 1), (1, 1000), (7, 300)])
@pytest.mark.parametrize("size", [(16, 16), (100, 1), (320, 16), (16, 320)])
def test_picture_of_any_shape_can_be_cut_to_any_size(own, size):
    assert cut(Image.new("RGB", own, "red"), size).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("encoding", ["png", "webp", "jpeg"])
def test_same_file_gives_the_same_bytes(tmp_path, encoding):
    SPOTS.save(tmp_path / "x.jpg", icc_profile=rgb_profile())
    made = {Encoder(encoding).encode(cut(opened(tmp_path / "x.jpg").picture, (24, 24))) for _ in range(3)}
    assert len(made) == 1
    with Image.open(io.BytesIO(made.pop())) as picture:
        picture.load()
        assert (picture.mode, picture.size) == ("RGB", (24, 24))
        assert not {"exif", "icc_profile", "xmp", "comment", "dpi"} & set(picture.info)


# Folders.


def test_pictures_are_found_in_the_order_of_their_names_and_hidden_files_are_not(tmp_path):
    for name in ("b/2.PNG", "a/1.jpeg", "a/.hidden.png", "notes.txt", "c.tiff"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    found = [path.relative_to(tmp_path).as_posix() for path in picture_paths(tmp_path)]
    assert found == ["a/1.jpeg", "b/2.PNG", "c.tiff"]


@pytest.mark.parametrize(
    ("name", "told"), [("nowhere", "does not exist"), ("notes.txt", "is not a folder"), ("", "holds no photograph")]
)
def test_folder_without_pictures_is_named(tmp_path, name, told):
    (tmp_path / "notes.txt").write_text("no photo")
    with pytest.raises(PhotoError, match=re.escape(str(tmp_path / name)) + f" {told}.*; give a folder of photographs"):
        picture_paths(tmp_path / name)


def test_name_and_licence_are_read_from_source_json(tmp_path):
    assert read_source(tmp_path) == {}
    (tmp_path / "source.json").write_text(json.dumps({"name": "Spots", "licence": "CC0", "photos": 3}))
    assert read_source(tmp_path) == {"name": "Spots", "licence": "CC0"}


@pytest.mark.parametrize("content", [b"{", b"\xff", b"3", b"null", b"[" * 100_000, b'{"name": "\\ud800"}'])
def test_source_json_that_cannot_be_read_is_named(tmp_path, content):
    (tmp_path / "source.json").write_bytes(content)
    with pytest.raises(PhotoError, match=r"source.json cannot be read \(.+\); mend it, or remove it"):
        read_source(tmp_path)
