"""Contact sheets: pixels read back from the PNG, pictures from the page, and the page in a browser."""

import base64
import io
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from pictures import colourful
from PIL import Image, ImageColor, ImageOps
from playwright.sync_api import expect

from pairs.contact_sheet import (
    GAP,
    MARGIN,
    MOST_PICTURES,
    ROWS_PER_HEAD,
    SURROUND,
    ContactSheetError,
    Row,
    draw_html,
    draw_png,
    heads_for,
)

GREY = ImageColor.getrgb(SURROUND)
HEADS = heads_for(["cgan", "wgan-gp"])
BOTH = pytest.mark.parametrize("draw", [draw_png, lambda *arguments: draw_html(*arguments, "", {})])
HOSTILE = '"><script>alert(1)</script>'


def row(seed: int, size: tuple[int, int] = (48, 48), tags: tuple[str, ...] = ("tulip",)) -> Row:
    """A photograph, its negative and its mirror image, so that no two columns are alike."""
    real = colourful(seed, max(size)).crop((0, 0, *size))
    return Row(f"pair-{seed}", tags, real, (ImageOps.invert(real), ImageOps.mirror(real)))


def rows(n: int, size: tuple[int, int] = (48, 48)) -> list[Row]:
    return [row(seed, size) for seed in range(n)]


def pixels(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as sheet:
        assert (sheet.format, sheet.mode, sheet.info) == ("PNG", "RGB", {})
        return np.asarray(sheet)


def columns_of(one: Row) -> list[Image.Image]:
    return [one.real.convert("L").convert("RGB"), one.real, *one.fakes]


def find(sheet: np.ndarray, picture: Image.Image, left: int) -> int:
    """The one height at which the picture stands with its left side at ``left``."""
    expected = np.asarray(picture)
    height, width = expected.shape[:2]
    strip = sheet[:, left : left + width]
    starts = np.flatnonzero((strip == expected[0]).all(axis=(1, 2)))
    tops = [int(y) for y in starts if np.array_equal(strip[y : y + height], expected)]
    assert len(tops) == 1
    return tops[0]


def tops_of(sheet: np.ndarray, of_rows: list[Row], size: tuple[int, int]) -> list[int]:
    """Each row's height on the sheet, once all its pictures were found there, whole, in their columns."""
    tops = []
    for one in of_rows:
        shown = [picture.resize(size, Image.Resampling.NEAREST) for picture in columns_of(one)]
        row_tops = {find(sheet, picture, MARGIN + i * (size[0] + GAP)) for i, picture in enumerate(shown)}
        assert len(row_tops) == 1
        tops += row_tops
    return tops


def is_grey(part: np.ndarray) -> bool:
    return bool((part == GREY).all())


def test_heads_name_known_networks_in_capitals_and_leave_other_names_alone():
    assert heads_for(["cgan", "wgan", "wgan-gp"]) == ("Grayscale", "Ground truth", "CGAN", "WGAN", "WGAN-GP")
    assert heads_for(["cgan-flowers", "vegan"]) == ("Grayscale", "Ground truth", "cgan-flowers", "vegan")


def test_every_picture_stands_whole_in_its_row_and_column():
    sheet = pixels(draw_png(HEADS, rows(3), "Spots"))
    tops = tops_of(sheet, rows(3), (240, 240))  # 48 pixels five times over
    assert tops[1] - tops[0] == tops[2] - tops[1] > 240
    assert sheet.shape[1] == 2 * MARGIN + 4 * 240 + 3 * GAP


def test_between_columns_and_around_them_is_nothing_but_grey():
    sheet = pixels(draw_png(HEADS, rows(2)))
    for right in (MARGIN + 240, MARGIN + 2 * 240 + GAP, MARGIN + 3 * 240 + 2 * GAP):
        assert is_grey(sheet[:, right : right + GAP][: sheet.shape[0] // 2])
    for margin in (sheet[:, :MARGIN], sheet[:, -MARGIN:], sheet[:30], sheet[-30:]):
        assert is_grey(margin)


@pytest.mark.parametrize(
    ("size", "shown"),
    [((16, 24), (160, 240)), ((16, 16), (256, 256)), ((100, 100), (200, 200)), ((128, 96), (256, 192))],
)
def test_small_pictures_grow_by_a_whole_factor_without_smoothing(size, shown):
    tops_of(pixels(draw_png(HEADS, rows(1, size))), rows(1, size), shown)


@pytest.mark.parametrize(
    ("size", "shown"), [((300, 200), (256, 171)), ((700, 1024), (175, 256)), ((2000, 3), (256, 1))]
)
def test_large_pictures_shrink_to_256_pixels_whole(size, shown):
    one = row(0, size)
    sheet = pixels(draw_png(HEADS, [one]))
    for column, picture in enumerate(columns_of(one)):
        find(sheet, picture.resize(shown, Image.Resampling.LANCZOS), MARGIN + column * (shown[0] + GAP))


def test_pictures_of_different_sizes_share_even_columns():
    real = colourful(0, 256)
    small = colourful(1, 64)
    sheet = pixels(draw_png(heads_for(["cgan"]), [Row("p", (), real, (small,))]))
    assert find(sheet, real, MARGIN + 256 + GAP) == find(sheet, small.resize((256, 256), 0), MARGIN + 2 * (256 + GAP))


def test_pictures_of_every_mode_can_be_drawn():
    real = colourful(0)
    fakes = (real.convert("P"), real.convert("RGBA"), real.convert("L"))
    heads = heads_for(["a", "b", "c"])
    sheet = pixels(draw_png(heads, [Row("p", (), real, fakes)]))
    for column, fake in enumerate(fakes, start=2):
        find(sheet, fake.convert("RGB").resize((240, 240), 0), MARGIN + column * (240 + GAP))
    assert "data:image/png" in draw_html(heads, [Row("p", (), real, fakes)], "", {})


def test_heads_come_again_above_every_twelfth_row():
    n = ROWS_PER_HEAD + 2
    sheet = pixels(draw_png(HEADS, rows(n)))
    tops = tops_of(sheet, rows(n), (240, 240))
    bands = [sheet[top - 34 : top, MARGIN:-MARGIN] for top in tops]
    again = [i for i, band in enumerate(bands) if np.array_equal(band, bands[0])]
    assert again == [0, ROWS_PER_HEAD]
    assert not is_grey(bands[0])


def test_title_heads_ids_and_tags_are_all_drawn():
    one = row(0)
    sheets = (
        draw_png(HEADS, [one], "A"),
        draw_png(HEADS, [one], "B"),
        draw_png(heads_for(["cgan", "other"]), [one], "A"),
        draw_png(HEADS, [replace(one, pair="another")], "A"),
        draw_png(HEADS, [replace(one, tags=())], "A"),
    )
    assert len(set(sheets)) == len(sheets)


def test_same_pictures_and_words_give_the_same_bytes():
    assert draw_png(HEADS, rows(2), "Spots") == draw_png(HEADS, rows(2), "Spots")
    assert draw_html(HEADS, rows(2), "Spots", {"n": "2"}) == draw_html(HEADS, rows(2), "Spots", {"n": "2"})


@pytest.mark.parametrize("text", ["x" * 100_000, "pix2pix-" * 500, "many words " * 500, "W" * 64, "́" * 5000])
def test_long_names_stay_within_their_column_and_the_sheet(text):
    one = row(0, (16, 24), tags=(text,))
    sheet = pixels(draw_png((*HEADS[:2], text, HEADS[3]), [one], title=text))
    (top,) = tops_of(sheet, [one], (160, 240))
    assert sheet.shape[0] < 700
    assert is_grey(sheet[:, -MARGIN + 2 :])
    assert is_grey(sheet[top - 100 : top, MARGIN + 3 * 160 + 2 * GAP + 2 : MARGIN + 3 * (160 + GAP) - 2])


def test_longest_condition_is_not_cut():
    one = Row("p", (), colourful(0, 64), (colourful(1, 64),))
    first, second = (draw_png(heads_for(["wgan-" + "m" * 58 + end]), [one]) for end in "ab")
    assert first != second


@pytest.mark.parametrize(
    "text", ["", "two\nlines\r\tand\0more", "\ud800", "\u202egnp.elttit", "日本語 Ωж ünïcödé", HOSTILE]
)
def test_odd_names_draw_and_can_be_written_as_utf8(text):
    one = Row(text, (text, text), colourful(0), (colourful(1),))
    heads = heads_for([text])
    assert pixels(draw_png(heads, [one], text)).shape[1] == 2 * MARGIN + 3 * 240 + 2 * GAP
    page = draw_html(heads, [one], text, {text: text})
    page.encode()
    assert "\u202e" not in page
    assert "\0" not in page


@BOTH
def test_sheet_without_rows_is_refused(draw):
    with pytest.raises(ContactSheetError, match="there is no pair to show; give pair sets that have pairs in common"):
        draw(HEADS, [])


@BOTH
def test_row_with_a_fake_too_few_is_refused_by_name(draw):
    short = Row("0412", (), colourful(0), (colourful(1),))
    with pytest.raises(
        ContactSheetError, match="pair 0412: fakes of 1, the heads name 2 conditions; show pairs that every"
    ):
        draw(HEADS, [row(0), short])


@BOTH
def test_sheet_too_large_to_open_is_refused_with_how_many_rows_fit(draw):
    too_many = [row(0)] * (MOST_PICTURES // 4 + 1)
    with pytest.raises(ContactSheetError, match=r"226 pairs are 904 pictures.*show at most 225 pairs"):
        draw(HEADS, too_many)


def test_largest_sheet_opens_without_a_warning(recwarn):
    flat = Image.new("RGB", (256, 256))
    with Image.open(io.BytesIO(draw_png(heads_for(["cgan"]), [Row("p", (), flat, (flat,))] * 300))) as sheet:
        assert sheet.width * sheet.height > 75e6
    assert not recwarn.list


class Tags(HTMLParser):
    """The tags of a page, in order, as (name, attributes)."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def images_of(page: str) -> list[dict[str, str | None]]:
    """The attributes of the pictures in the table; the page's last one is what shows them large."""
    return [attributes for tag, attributes in Tags(page).found if tag == "img"][:-1]


def test_page_carries_every_picture_without_loss_in_its_place():
    images = images_of(draw_html(HEADS, rows(2, (48, 32)), "Spots", {}))
    expected = [
        (head, one.pair, p) for one in rows(2, (48, 32)) for head, p in zip(HEADS, columns_of(one), strict=True)
    ]
    for image, (head, pair, picture) in zip(images, expected, strict=True):
        data = base64.b64decode(image["src"].removeprefix("data:image/png;base64,"))
        with Image.open(io.BytesIO(data)) as carried:
            assert carried.tobytes() == picture.tobytes()
        assert image["alt"] == f"{head}, pair {pair}"
        assert (image["width"], image["height"], image["class"]) == ("240", "160", "pixels")
        assert (image["loading"], image["decoding"]) == ("lazy", "async")


def test_page_carries_large_pictures_at_512_pixels():
    image = images_of(draw_html(HEADS, [row(0, (1024, 700))], "", {}))[0]
    with Image.open(io.BytesIO(base64.b64decode(image["src"].split(",")[1]))) as carried:
        assert carried.size == (512, 350)
    assert (image["width"], image["height"]) == ("256", "175")
    assert "class" not in image


def test_hostile_names_add_no_tag_to_the_page():
    one = row(0)
    hostile = replace(one, pair=HOSTILE, tags=(HOSTILE,))
    tame = Tags(draw_html((*HEADS[:2], "a", "b"), [one], "title", {"name": "text"}))
    wild = Tags(draw_html((*HEADS[:2], HOSTILE, HOSTILE), [hostile], HOSTILE, {HOSTILE: HOSTILE}))
    kinds = [[(tag, list(attributes)) for tag, attributes in tags.found] for tags in (tame, wild)]
    assert kinds[0] == kinds[1]


@pytest.mark.parametrize("width", [1280, 390])
def test_page_asks_for_nothing_and_shows_pictures_large_by_keyboard(browser, tmp_path, width):
    file = tmp_path / "sheet.html"
    file.write_text(draw_html(HEADS, rows(8), "Spots", {"Source": "spots"}))
    page = browser.new_page(viewport={"width": width, "height": 700})
    asked, problems = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == width

    page.locator("td button").nth(5).press("Enter")
    shown = page.locator("dialog p")
    assert shown.inner_text() == "Ground truth, pair pair-1"
    for key, expected in (
        ("ArrowRight", "CGAN, pair pair-1"),
        ("ArrowRight", "WGAN-GP, pair pair-1"),
        ("ArrowRight", "WGAN-GP, pair pair-1"),  # a row ends where it ends
        ("ArrowUp", "WGAN-GP, pair pair-0"),
        ("ArrowUp", "WGAN-GP, pair pair-0"),
    ):
        page.keyboard.press(key)
        assert shown.inner_text() == expected
    page.locator("dialog").get_by_role("button", name="Row below").click()
    assert page.locator("dialog img").get_attribute("src") == page.locator("td img").nth(7).get_attribute("src")
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()
    expect(page.locator("td button").nth(7)).to_be_focused()

    page.evaluate("window.scrollTo(0, 900)")
    assert page.locator("thead th").first.bounding_box()["y"] == pytest.approx(0, abs=1)
    assert [url for url in asked if not url.startswith(("data:", "file:"))] == []
    assert problems == []
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation_on_the_page(browser, tmp_path, scheme):
    file = tmp_path / "sheet.html"
    file.write_text(draw_html(HEADS, rows(2), "Spots", {"Source": "spots"}))
    page = browser.new_page(color_scheme=scheme)
    page.goto(file.as_uri())
    assert Axe().run(page).response["violations"] == []
    page.locator("td button").first.click()
    assert Axe().run(page).response["violations"] == []
    page.close()
