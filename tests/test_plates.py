import dataclasses
import io
from functools import cache

import matplotlib
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from skimage.color import xyz2lab
from skimage.color.colorconv import xyz_from_rgb
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import roc_auc_score

from study_app.plates import Plate, draw_plates, is_read, lay_dots, render_plate

HIDDEN = ("protan", "deutan", "tritan")
# What dichromats see, for linear RGB: Viénot, Brettel & Mollon 1999 for the first two; for tritan the two half planes of
# Brettel, Viénot & Mollon 1997, in the numbers of libDaltonLens, and the normal of the plane between them.
VIENOT = {
    "protan": [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
    "deutan": [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]],
}
BRETTEL_TRITAN = (
    [[1.01277, 0.13548, -0.14826], [-0.01243, 0.86812, 0.14431], [0.07589, 0.80500, 0.11911]],
    [[0.93678, 0.18979, -0.12657], [0.06154, 0.81526, 0.12320], [-0.37562, 1.12767, 0.24796]],
)
BRETTEL_NORMAL = [0.03901, -0.02788, -0.01113]


def opened(plate: Plate, size_px: int = 400) -> Image.Image:
    return Image.open(io.BytesIO(render_plate(plate, size_px)))


@cache
def dot_colours(plate: Plate, size_px: int = 400) -> np.ndarray:
    """sRGB bytes (N, 3) in the middle of each dot."""
    x, y = (lay_dots(plate).centres * size_px).astype(int).T
    return np.asarray(opened(plate, size_px).convert("RGB"))[y, x]


def seen(srgb: np.ndarray, observer: str) -> np.ndarray:
    """CIE Lab (N, 3) that the observer sees, with noise of one unit, about half of what is just noticed (Mahy 1994)."""
    share = srgb / 255
    linear = np.where(share > 0.04045, ((share + 0.055) / 1.055) ** 2.4, share / 12.92)
    if observer == "grayscale":
        linear = np.repeat(linear @ xyz_from_rgb[1][:, None], 3, axis=1)
    elif observer == "tritan":
        one, other = (linear @ np.transpose(half) for half in BRETTEL_TRITAN)
        linear = np.where((linear @ BRETTEL_NORMAL >= 0)[:, None], one, other)
    elif observer != "normal":
        linear = linear @ np.transpose(VIENOT[observer])
    noise = np.random.default_rng(0).normal(size=linear.shape)
    return xyz2lab(linear.clip(0, 1) @ xyz_from_rgb.T) + noise


def told_apart(axis: str, observer: str) -> float:
    """How well the observer's best direction in Lab, found on one plate, parts figure from ground on another (AUC)."""
    known, new = Plate("58", axis, seed=1), Plate("26", axis, seed=2)
    best = LinearDiscriminantAnalysis().fit(seen(dot_colours(known), observer), lay_dots(known).is_figure)
    return roc_auc_score(lay_dots(new).is_figure, best.decision_function(seen(dot_colours(new), observer)))


@pytest.mark.parametrize("axis", HIDDEN)
def test_normal_colour_vision_tells_figure_from_ground(axis):
    assert told_apart(axis, "normal") > 0.999


@pytest.mark.parametrize("axis", HIDDEN)
def test_the_dichromat_of_the_axis_cannot_tell_figure_from_ground(axis):
    assert told_apart(axis, axis) == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("axis", HIDDEN)
def test_to_that_dichromat_the_difference_is_far_below_the_jitter_of_the_dots(axis):
    plates = [Plate("58", axis, seed) for seed in range(3)]
    is_figure = np.concatenate([lay_dots(plate).is_figure for plate in plates])

    def difference(observer: str) -> tuple[float, float]:
        lab = np.concatenate([seen(dot_colours(plate), observer) for plate in plates])
        jitter = np.sqrt(lab[~is_figure].var(axis=0).sum())
        return np.linalg.norm(lab[is_figure].mean(axis=0) - lab[~is_figure].mean(axis=0)), jitter

    gap, jitter = difference(axis)
    assert gap < jitter / 5
    gap, jitter = difference("normal")
    assert gap > 3 * jitter


@pytest.mark.parametrize(("axis", "observer"), [("protan", "tritan"), ("deutan", "tritan"), ("tritan", "protan")])
def test_a_plate_hides_nothing_from_those_with_another_deficiency(axis, observer):
    assert told_apart(axis, observer) > 0.999


@pytest.mark.parametrize("axis", HIDDEN)
def test_brightness_tells_little(axis):
    assert told_apart(axis, "grayscale") == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize("observer", ["normal", *HIDDEN, "grayscale"])
def test_everyone_reads_the_control(observer):
    assert told_apart("control", observer) > 0.999


def test_places_sizes_and_lightness_of_the_dots_do_not_depend_on_the_number():
    one, other = lay_dots(Plate("3", "protan", 5)), lay_dots(Plate("71", "deutan", 5))
    for field in ("centres", "radii", "lightness"):
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field))
    assert (one.is_figure != other.is_figure).any()


def test_dots_fill_the_disc_and_do_not_touch():
    dots = lay_dots(Plate("12", "control", 3))
    between = np.linalg.norm(dots.centres[:, None] - dots.centres, axis=2) - dots.radii - dots.radii[:, None]
    assert between[np.triu_indices(len(between), 1)].min() > 0.002
    assert (np.linalg.norm(dots.centres - 0.5, axis=1) + dots.radii).max() < 0.49
    assert np.pi * (dots.radii**2).sum() > 0.4 * np.pi * 0.485**2


@pytest.mark.parametrize("axis", ["control", *HIDDEN])
def test_no_colour_is_at_the_edge_of_what_a_screen_shows(axis):
    colours = dot_colours(Plate("58", axis, 1))
    assert colours.min() > 30
    assert colours.max() < 250


def test_the_same_plate_has_the_same_bytes_and_another_seed_other_dots():
    plate = Plate("47", "deutan", 11)
    assert render_plate(plate) == render_plate(plate)
    other = dataclasses.replace(plate, seed=12)
    assert not np.array_equal(lay_dots(plate).centres[:100], lay_dots(other).centres[:100])


@pytest.mark.parametrize("size_px", [280, 400])
def test_a_plate_is_a_small_palette_picture_on_the_gray_of_the_page(size_px):
    plate = Plate("96", "tritan", 4)
    picture = opened(plate, size_px)
    assert (picture.format, picture.mode, picture.size) == ("PNG", "P", (size_px, size_px))
    assert len(render_plate(plate, size_px)) < 45_000
    assert picture.convert("RGB").getpixel((0, 0)) == (128, 128, 128)


def test_dots_have_the_same_colours_at_every_size():
    plate = Plate("30", "protan", 8)
    np.testing.assert_array_equal(dot_colours(plate, 280), dot_colours(plate, 400))


@cache
def printed(digit: str) -> Image.Image:
    """The digit in a common font, as a mask cut to its ink."""
    font = ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf", 250)
    mask = Image.new("L", (500, 500))
    ImageDraw.Draw(mask).text((100, 100), digit, fill=255, font=font, stroke_width=12)
    return mask.crop(mask.getbbox())


def most_like(dots: np.ndarray, is_figure: np.ndarray) -> str:
    """The printed digit, stretched over the figure's dots, that agrees best with which dots are figure."""
    low, high = dots[is_figure].min(axis=0), dots[is_figure].max(axis=0)
    inside = ((dots >= low) & (dots <= high)).all(axis=1)
    x, y = ((dots[inside] - low) / (high - low) * 99).astype(int).T
    agreement = {}
    for digit in "0123456789":
        ink = np.asarray(printed(digit).resize((100, 100))) / 255
        agreement[digit] = np.corrcoef(ink[y, x], is_figure[inside])[0, 1]
    return max(agreement, key=agreement.__getitem__)


@pytest.mark.parametrize("digit", list("023456789"))
def test_a_single_digit_looks_like_that_digit_in_print(digit):
    dots = lay_dots(Plate(digit, "protan", 21))
    assert most_like(dots.centres, dots.is_figure) == digit


@pytest.mark.parametrize("number", ["20", "43", "56", "87", "69"])
def test_two_digits_are_read_from_left_to_right(number):
    dots = lay_dots(Plate(number, "protan", 22))
    is_left = dots.centres[:, 0] < 0.5
    assert "".join(most_like(dots.centres[side], dots.is_figure[side]) for side in (is_left, ~is_left)) == number


def test_a_one_is_an_upright_stroke():
    dots = lay_dots(Plate("1", "protan", 23))
    width, height = np.ptp(dots.centres[dots.is_figure], axis=0)
    assert height > 2 * width


def test_the_first_plate_is_the_control_and_red_green_deficiencies_take_turns():
    for seed in range(20):
        axes = [plate.axis for plate in draw_plates(5, seed)]
        assert axes[0] == "control"
        assert axes[1:] in (["protan", "deutan"] * 2, ["deutan", "protan"] * 2)


def test_from_six_plates_on_one_that_is_not_the_first_is_tritan():
    places = set()
    for seed in range(60):
        axes = [plate.axis for plate in draw_plates(6, seed)]
        assert axes[0] == "control"
        places.add(axes.index("tritan"))
        axes.remove("tritan")
        assert axes[1:] in (["protan", "deutan"] * 2, ["deutan", "protan"] * 2)
    assert places == {1, 2, 3, 4, 5}


def test_numbers_and_dots_differ_between_the_plates_of_a_screening_and_follow_from_the_seed():
    plates = draw_plates(20, seed=7)
    assert plates == draw_plates(20, seed=7)
    assert plates != draw_plates(20, seed=8)
    assert len({plate.digit for plate in plates}) == len({plate.seed for plate in plates}) == 20


def test_every_number_from_1_to_99_is_drawn_and_can_be_laid():
    plates = draw_plates(99, seed=0)
    assert {plate.digit for plate in plates} == {str(number) for number in range(1, 100)}
    for plate in plates[:12]:
        assert 60 < lay_dots(plate).is_figure.sum() < 300


@pytest.mark.parametrize("n", [0, 100])
def test_a_screening_of_none_or_too_many_plates_is_refused(n):
    with pytest.raises(ValueError, match=f"{n} plates: a screening has 1 to 99"):
        draw_plates(n, seed=0)


@pytest.mark.parametrize("answer", ["74", " 7 4\n", "٧٤", "۷۴", "７４", "७४", "\u200f74\u200f", "\u00a074"])
def test_spaces_and_digits_of_other_scripts_are_understood(answer):
    assert is_read(Plate("74", "protan", 1), answer)


@pytest.mark.parametrize("answer", ["", " ", "47", "7", "740", "-74", "7.4", "⁷⁴", "nothing", "21"])
def test_other_answers_are_not_the_number(answer):
    assert not is_read(Plate("74", "protan", 1), answer)
