import io

import numpy as np
import pytest
from pictures import colourful
from PIL import Image, PngImagePlugin

from pairs.cues import LUMA_COLUMN, NUMBERS, measure
from pairs.file_cues import read_file
from pairs.relation import relate


def photograph(seed: int, size: int = 128) -> np.ndarray:
    """Coloured 1/f noise (size, size, 3), whose spectrum is a photograph's and whose content is nothing."""
    rng = np.random.default_rng(seed)
    down, right = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)
    amplitude = 1 / np.maximum(np.hypot(down, right), 1 / size)
    planes = [np.fft.irfft2(np.fft.rfft2(rng.normal(size=(size, size))) * amplitude) for _ in range(3)]
    shared = planes[0] / planes[0].std()
    channels = [128 + 45 * shared + 12 * plane / plane.std() for plane in planes]
    return np.clip(np.rint(np.stack(channels, axis=2)), 0, 255).astype(np.uint8)


def encoded(pixels: np.ndarray, kind: str = "PNG", **settings) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(
        buffer, kind, **({"compress_level": 0} if kind == "PNG" and not settings else settings)
    )
    return buffer.getvalue()


def through_jpeg(pixels: np.ndarray, quality: int, subsampling: int = 2) -> np.ndarray:
    data = encoded(pixels, "JPEG", quality=quality, subsampling=subsampling)
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def cue(name: str, pixels: np.ndarray) -> float:
    return float(measure(encoded(pixels), pixels).numbers[NUMBERS.index(name)])


def colour_lost(pixels: np.ndarray) -> np.ndarray:
    """A generator's picture: the photo's lightness, without its colour."""
    value = np.arange(256) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    gray = np.interp(linear[pixels] @ [0.2126, 0.7152, 0.0722], linear, np.arange(256))
    return np.rint(gray).astype(np.uint8)[..., None].repeat(3, axis=2)


@pytest.mark.parametrize("shape", [(16, 16), (16, 47), (33, 17), (129, 300), (20, 2048)])
def test_every_cue_of_any_picture_is_a_number(shape):
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    half = np.zeros((*shape, 3), np.uint8)
    half[: shape[0] // 2] = 255
    for pixels in (noise, half, *(np.full((*shape, 3), value, np.uint8) for value in (0, 128, 255))):
        assert np.isfinite(measure(encoded(pixels), pixels).numbers).all()
        assert np.isfinite(relate(pixels, noise).same_content)


def test_constant_picture_has_its_lightness_and_nothing_else():
    # sRGB 119 is CIE lightness 50.03.
    found = measure(b"", np.full((64, 64, 3), 119, np.uint8)).numbers
    assert found[LUMA_COLUMN] == pytest.approx(119)
    numbers = dict(zip(NUMBERS, found[:LUMA_COLUMN], strict=True))
    assert numbers.pop("mean luminance") == pytest.approx(50.03 * 2.55, abs=0.02)
    assert all(value == 0 for value in numbers.values())


def test_noise_level_is_the_standard_deviation_of_white_noise():
    noise = np.random.default_rng(0).normal(0, 10, (256, 256, 1)).repeat(3, axis=2)
    assert cue("noise level", np.rint(128 + noise).astype(np.uint8)) == pytest.approx(10, rel=0.05)


def test_white_and_black_are_clipped_but_a_full_channel_is_not():
    pixels = np.full((64, 64, 3), 128, np.uint8)
    pixels[:16], pixels[16:32], pixels[32:48] = 255, 0, (255, 0, 0)
    assert cue("clipping", pixels) == pytest.approx(0.5)


@pytest.mark.parametrize("quality", [75, 90, 95])
@pytest.mark.parametrize("subsampling", [0, 2])
def test_jpeg_leaves_its_grid_wherever_it_was_cut(quality, subsampling):
    for seed in range(5):
        photo = photograph(seed, 192)
        saved = through_jpeg(photo, quality, subsampling)
        assert cue("jpeg grid", photo) == 0
        assert cue("jpeg grid", saved) > 0.02
        assert cue("jpeg grid", saved[3:, 5:]) > 0.02


def test_jpeg_grid_is_found_in_the_colours_alone():
    photo = photograph(1, 192)
    saved = through_jpeg(photo, 90).astype(np.int16)
    luma = np.array([0.299, 0.587, 0.114])
    only_colour = np.clip(saved + np.rint((photo - saved) @ luma)[..., None], 0, 255).astype(np.uint8)
    assert cue("jpeg grid", only_colour) > 0.02


def test_repeats_of_two_or_four_pixels_are_upsampling_and_no_jpeg_grid():
    for times in (2, 4):
        small = photograph(3)[: 128 // times, : 128 // times]
        enlarged = small.repeat(times, axis=0).repeat(times, axis=1)
        assert cue("upsampling spectrum", enlarged) > cue("upsampling spectrum", photograph(3)) + 2
        assert cue("jpeg grid", enlarged) == 0


def test_checkerboard_of_a_few_levels_is_upsampling():
    board = photograph(4).astype(np.int16)
    board[::2, ::2] += 3
    board[1::2, 1::2] += 3
    found = cue("upsampling spectrum", np.clip(board, 0, 255).astype(np.uint8))
    assert found > cue("upsampling spectrum", photograph(4)) + 0.5


@pytest.mark.parametrize("line", ["black", "white", "repeated"])
@pytest.mark.parametrize("side", range(4))
def test_one_odd_line_on_one_side_is_a_border(line, side):
    pixels = np.rot90(photograph(5), side).copy()
    pixels[0] = {"black": 0, "white": 255, "repeated": pixels[1]}[line]
    assert cue("border", np.rot90(pixels, -side)) > cue("border", photograph(5)) + 1


@pytest.mark.parametrize(("dx", "dy"), [(1, 0), (0, -1), (-1, 1), (5, -9), (0, 0)])
@pytest.mark.parametrize("size", [24, 96, 200])
def test_shift_is_found_though_the_colours_differ(dx, dy, size):
    for seed in range(3):
        photo = photograph(seed, size + 20)
        real, fake = photo[10:-10, 10:-10], photo[10 - dy : size + 10 - dy, 10 - dx : size + 10 - dx]
        relation = relate(real, colour_lost(fake))
        if size > 24 or max(abs(dx), abs(dy)) <= 5:
            assert (relation.dx, relation.dy, relation.is_comparable) == (dx, dy, True)
            assert relation.is_shifted == ((dx, dy) != (0, 0))


@pytest.mark.parametrize("size", [16, 48, 96])
def test_unrelated_photographs_are_not_comparable(size):
    for seed in range(40):
        assert not relate(photograph(seed, size), photograph(seed + 100, size)).is_comparable
        spots = (np.asarray(colourful(one, size)) for one in (seed, seed + 100))
        assert not relate(*spots).is_shifted


def test_gray_photograph_is_monochrome_and_one_coloured_pixel_is_not():
    gray = photograph(0)[..., :1].repeat(3, axis=2)
    assert relate(gray, gray).is_monochrome
    coloured = gray.copy()
    coloured[5, 6] = (128, 137, 128)
    assert not relate(coloured, gray).is_monochrome


def test_nearly_identical_means_fewer_than_one_pixel_in_a_thousand_differs():
    real = np.full((100, 100, 3), 100, np.uint8)
    fake = real.copy()
    fake[0, :9] += 5
    fake[1] += 4
    assert relate(real, fake).is_nearly_identical
    fake[0, 9, 2] += 5
    assert not relate(real, fake).is_nearly_identical


def test_stored_png_files_of_a_size_are_alike():
    one, other = (measure(encoded(pixels), pixels) for pixels in (photograph(0), photograph(1)))
    assert one.numbers[:2].tolist() == other.numbers[:2].tolist()
    assert (one.settings, one.metadata) == (other.settings, ())


def test_settings_tell_encoders_apart():
    photo = photograph(0, 64)
    files = [
        encoded(photo, "PNG", compress_level=1),
        encoded(photo, "PNG", compress_level=9),
        encoded(photo),
        encoded(photo[..., 0]),
        encoded(photo, "JPEG", quality=90),
        encoded(photo, "JPEG", quality=91),
        encoded(photo, "JPEG", quality=90, subsampling=0),
        encoded(photo, "JPEG", quality=90, progressive=True),
        encoded(photo, "WEBP", lossless=True),
        encoded(photo, "WEBP", quality=90),
        encoded(photo, "BMP"),
    ]
    assert len({read_file(data).settings for data in files}) == len(files)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_payload_is_what_is_left_of_a_file_without_its_headers(kind):
    data = encoded(photograph(0, 64), kind)
    assert 0.6 * len(data) - 500 < read_file(data).payload < len(data)


def test_payload_of_a_png_is_its_idat():
    assert read_file(encoded(np.zeros((2, 2, 3), np.uint8))).payload == 2 * 7 + 5 + 2 + 4  # rows, block, zlib's ends


def test_every_kind_of_metadata_is_named():
    photo = photograph(0, 32)
    exif = Image.Exif()
    exif[0x0131] = "camera"
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "fake")
    found = {
        "PNG": read_file(encoded(photo, "PNG", exif=exif, pnginfo=text, icc_profile=b"icc", dpi=(72, 72))),
        "JPEG": read_file(encoded(photo, "JPEG", exif=exif, icc_profile=b"icc", comment=b"fake")),
        "WEBP": read_file(encoded(photo, "WEBP", exif=exif, icc_profile=b"icc", xmp=b"<x/>")),
    }
    assert set(found["PNG"].metadata) == {"eXIf", "iCCP", "pHYs", "tEXt"}
    assert set(found["JPEG"].metadata) == {"APP1 Exif", "APP2 ICC_PROFILE", "COM"}
    assert set(found["WEBP"].metadata) == {"ICCP", "EXIF", "XMP"}


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_bytes_after_the_end_are_metadata(kind):
    data = encoded(photograph(0, 32), kind)
    assert read_file(data).metadata == ()
    assert read_file(data + b"fake").metadata == ("bytes after the end",)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_file_that_is_cut_short_is_still_described(kind):
    data = encoded(photograph(0, 32), kind)
    for end in range(0, len(data), 7):
        assert read_file(data[:end]).payload <= end
