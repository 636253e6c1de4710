"""The page on a check: pictures read back from it, what it says and escapes, and the page in a browser."""

import base64
import io
import shlex
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from click.testing import CliRunner
from pictures import colourful
from PIL import Image

from pairs.check import Case, Check, Finding, check_pairset
from pairs.check_page import MARKER, MOST_CASES, MOST_EXCLUDED, CheckPageError, exclusions, render_page, write_page
from pairs.cli import pairs
from pairs.cues import NUMBERS, measure
from pairs.giveaways import CueResult
from pairs.writing import About, Picture, write_pairset
from protocol.pairset import PairSet, PairSetError, read_manifest, read_pair, sha256_hex, write_manifest

HOSTILE = '"><script>alert(1)</script>'
SIZE = 48
Change = Callable[[int, np.ndarray], np.ndarray]


def unchanged(_: int, pixels: np.ndarray) -> np.ndarray:
    return pixels


def framed(_: int, pixels: np.ndarray) -> np.ndarray:
    changed = pixels.copy()
    changed[-1] = 0
    return changed


def brighter_by_its_number(number: int, pixels: np.ndarray) -> np.ndarray:
    return np.clip(pixels.astype(int) + number, 0, 255).astype(np.uint8)


def checkered(_: int, pixels: np.ndarray) -> np.ndarray:
    y, x = np.indices(pixels.shape[:2])
    return np.clip(pixels + np.where((x + y) % 2, 6, -6)[..., None], 0, 255).astype(np.uint8)


def write_set(
    folder: Path, change: Change = unchanged, n: int = 12, size: int = SIZE, tags: tuple[str, ...] = ()
) -> PairSet:
    """Pairs whose fakes are the real pictures, changed."""

    def pictures():
        for number in range(n):
            real = colourful(number, size)
            fake = Image.fromarray(change(number, np.asarray(real)))
            yield Picture(sha256_hex(real.tobytes()), real, (fake,), tags)

    about = About("spots", {"name": "spots"}, {"name": "spots", "licence": "CC0", "split": "held-out"})
    return write_pairset(folder, pictures(), about)


def result(name: str, verdict: str = "pass", accuracy: float = 0.5, cause: str = "road") -> CueResult:
    return CueResult(name, cause, 12, accuracy, accuracy - 0.05, accuracy + 0.05, 0.5, verdict, f"About {name}.")


def a_check(*cues: CueResult, findings: tuple[Finding, ...] = (), **changes) -> Check:
    check = Check("set", "spots", 12, (SIZE, SIZE), "pass", cues or (result("file size"),), findings, ())
    return replace(check, **changes)


def finding(*cases: tuple[str, ...], verdict: str = "warning", name: str = "monochrome") -> Finding:
    return Finding(name, verdict, tuple(Case(pairs, f"seen in {' and '.join(pairs)}") for pairs in cases), "Look.")


class Page(HTMLParser):
    """Every picture by what it stands for, every tag, and the text that is read."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.pictures: list[tuple[str, np.ndarray]] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        about = dict(attrs)
        if tag == "img":
            prefix, data = about["src"].split(",", 1)
            assert prefix == "data:image/png;base64"
            with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
                self.pictures.append((about["alt"], np.asarray(picture)))

    def handle_data(self, data):
        if self.tags[-1:] != ["style"]:
            self.text += data

    def of(self, alt: str) -> np.ndarray:
        (found,) = [picture for name, picture in self.pictures if name == alt]
        return found


def test_mean_pictures_are_those_of_all_pairs(tmp_path):
    write_set(tmp_path / "set", brighter_by_its_number, n=5)
    page = Page(render_page(a_check(), tmp_path / "set"))
    reals = np.stack([np.asarray(colourful(i, SIZE)) for i in range(5)])
    fakes = np.stack([brighter_by_its_number(i, real) for i, real in enumerate(reals)])
    assert np.array_equal(page.of("Mean real picture"), np.rint(reals.mean(axis=0)))
    assert np.array_equal(page.of("Mean fake picture"), np.rint(fakes.mean(axis=0)))
    # 2 of 255 on average, 32 times and more amplified: 64 and more above mid grey, where nothing was clipped.
    assert "Amplified 32 times" in page.text
    assert np.median(page.of("Fake less real")) == 127.5 + 2 * 32 + 0.5


def test_no_difference_is_mid_grey_everywhere(tmp_path):
    write_set(tmp_path / "set")
    page = Page(render_page(a_check(), tmp_path / "set"))
    for name in ("Fake less real", "Its four corners", "Fake less real, spectrum"):
        assert set(np.unique(page.of(name))) == {128}


def test_border_of_one_pixel_is_eight_pixels_of_the_corners(tmp_path):
    write_set(tmp_path / "set", framed)
    corners = Page(render_page(a_check(), tmp_path / "set")).of("Its four corners")
    assert corners.shape == (2 * 16 * 8, 2 * 16 * 8, 3)
    assert (corners[-8:] < 64).all()
    assert (corners[:-8] == 128).all()


def test_checkerboard_is_a_point_at_the_highest_frequency_of_the_fakes_alone(tmp_path):
    write_set(tmp_path / "set", checkered)
    page = Page(render_page(a_check(), tmp_path / "set"))
    # Zero frequency is in the middle, so that the highest one is the first row's and column's.
    assert page.of("Mean spectrum, fake")[0, 0] > page.of("Mean spectrum, real")[0, 0] + 50
    assert page.of("Fake less real, spectrum")[0, 0] == 255
    assert np.median(page.of("Fake less real, spectrum")[16:33, 16:33]) == pytest.approx(128, abs=8)


def test_pictures_on_the_page_have_256_pixels_at_most_and_corners_stay_sharp(tmp_path):
    pairset = write_set(tmp_path / "set", framed, n=2, size=600)
    case = finding((pairset.pairs[0].id,))
    page = Page(render_page(a_check(findings=(case,)), tmp_path / "set"))
    assert max(max(picture.shape[:2]) for _, picture in page.pictures) == 256
    assert (page.of("Its four corners")[-8:] < 64).all()


def test_of_many_pairs_some_are_looked_at_evenly_taken(tmp_path, monkeypatch):
    pairset = write_set(tmp_path / "set", n=9)
    looked = []

    def noted(place, of, pair):
        looked.append(pair.id)
        return read_pair(place, of, pair)

    monkeypatch.setattr("pairs.check_page.MOST_PAIRS", 3)
    monkeypatch.setattr("pairs.check_page.read_pair", noted)
    page = Page(render_page(a_check(n_pairs=9), tmp_path / "set"))
    assert looked == [pairset.pairs[i].id for i in (0, 3, 6)]
    assert "Means over 3 pairs, evenly taken" in page.text


def test_cue_that_fails_is_shown_where_it_is_strongest(tmp_path):
    pairset = write_set(tmp_path / "set", brighter_by_its_number)
    page = Page(render_page(a_check(result("mean luminance", "failure", 0.9)), tmp_path / "set"))
    shown = [alt for alt, _ in page.pictures if "pair" in alt]
    expected = [pairset.pairs[i].id for i in (11, 10, 9)]
    assert shown == [f"{side}, pair {pair}" for pair in expected for side in ("real", "fake")]
    assert np.array_equal(page.of(f"real, pair {expected[0]}"), np.asarray(colourful(11, SIZE)))
    reals = measure(b"", np.asarray(colourful(11, SIZE))).numbers[NUMBERS.index("mean luminance")]
    assert f"real {reals:.1f} of 255, fake" in page.text


@pytest.mark.parametrize(
    ("verdict", "shown"), [("pass", 0), ("warning", 3), ("failure", 3), ("accepted", 3), ("content", 3)]
)
def test_every_cue_but_a_pass_is_shown_with_three_pairs(tmp_path, verdict, shown):
    write_set(tmp_path / "set", framed)
    page = Page(render_page(a_check(result("border", verdict)), tmp_path / "set"))
    assert sum(alt.startswith("fake, pair") for alt, _ in page.pictures) == shown


def save_fakes_again(folder: Path, numbers: range, **options) -> PairSet:
    """The set, after somebody saved some of its fakes with Pillow and the manifest was put right."""
    pairset = read_manifest(folder)
    changed = list(pairset.pairs)
    for number in numbers:
        path = folder / changed[number].fake.file
        with Image.open(path) as picture:
            picture.load()
        picture.save(path, **options)
        fake = changed[number].fake.model_copy(update={"sha256": sha256_hex(path.read_bytes())})
        changed[number] = changed[number].model_copy(update={"fake": fake})
    pairset = pairset.model_copy(update={"pairs": tuple(changed)})
    write_manifest(folder, pairset.model_dump_json())
    return pairset


def check_with_page(folder: Path) -> Page:
    out = folder.parent / "check.html"
    answer = CliRunner().invoke(pairs, ["check", str(folder), "--page", str(out)])
    assert (answer.exit_code, type(answer.exception)) == (1, SystemExit), answer.output
    return Page(out.read_text(encoding="utf-8"))


def test_exif_of_one_fake_is_shown_with_its_pair(tmp_path):
    write_set(tmp_path / "set")
    exif = Image.Exif()
    exif[0x0131] = "gan 1.0"
    pairset = save_fakes_again(tmp_path / "set", range(5, 6), compress_level=0, exif=exif)
    page = check_with_page(tmp_path / "set")
    assert "real none; fake eXIf" in page.text
    assert next(alt for alt, _ in page.pictures if alt.startswith("fake, pair")) == f"fake, pair {pairset.pairs[5].id}"


def test_fakes_that_another_encoder_wrote_are_shown_with_both_settings(tmp_path):
    write_set(tmp_path / "set", n=32)
    save_fakes_again(tmp_path / "set", range(32))
    page = check_with_page(tmp_path / "set")
    assert "encoder settings" in page.text
    assert "real png 8:2:0:0:0 zlib" in page.text
    assert "; fake png 8:2:0:0:0 zlib" in page.text


@pytest.mark.parametrize("name", ["check.txt", "check", "check.html.gz"])
def test_page_that_would_not_open_in_a_browser_is_refused_before_the_check(tmp_path, name):
    answer = CliRunner().invoke(pairs, ["check", str(tmp_path / "no-set"), "--page", str(tmp_path / name)])
    assert isinstance(answer.exception, CheckPageError)
    assert str(answer.exception) == f"{tmp_path / name} is no .html; give a name that ends so as --page"


def test_cues_together_have_no_pairs_of_their_own(tmp_path):
    write_set(tmp_path / "set", framed)
    page = Page(render_page(a_check(result("all road cues", "failure", 0.9)), tmp_path / "set"))
    assert "Where each cue shows best" not in page.text


def test_shift_is_said_with_its_direction(tmp_path):
    write_set(tmp_path / "set", lambda _, pixels: np.roll(pixels, (2, -3), axis=(0, 1)))
    alignment = replace(result("alignment", "failure", 1.0), p_value=None)
    page = Page(render_page(a_check(alignment), tmp_path / "set"))
    assert "fake 3 px left, 2 px down" in page.text


def test_cases_have_both_their_pictures_and_twelve_at_most(tmp_path):
    pairset = write_set(tmp_path / "set", n=MOST_CASES + 3)
    ids = [pair.id for pair in pairset.pairs]
    alike = finding((ids[0], ids[1]), name="near-duplicates")
    gray = finding(*((one,) for one in ids))
    page = Page(render_page(a_check(findings=(alike, gray)), tmp_path / "set"))
    assert sum(alt.startswith("real, pair") for alt, _ in page.pictures) == 2 + MOST_CASES
    assert f"seen in {ids[0]} and {ids[1]}" in page.text
    assert "And 3 more." in page.text


def test_of_photographs_that_look_alike_one_stays():
    chain = finding(("a", "b"), ("b", "c"), ("c", "d"), name="near-duplicates")
    assert exclusions([chain, finding(("b",), ("e",))]) == {
        "b": "near-duplicates",
        "d": "near-duplicates",
        "e": "monochrome",
    }


def test_what_the_study_accepts_is_not_excluded():
    assert exclusions([finding(("a",), verdict="accepted"), finding(("b",), verdict="failure")]) == {"b": "monochrome"}


def test_command_of_the_page_leaves_the_pairs_out(tmp_path):
    folder = tmp_path / "it's a set"
    pairset = write_set(folder)
    out = [pairset.pairs[3].id, pairset.pairs[7].id]
    html = render_page(a_check(findings=(finding((out[0],)), finding((out[1],), name="nearly identical"))), folder)
    page = Page(html)
    command = page.text[page.text.index("realism pairs select") :]
    words = shlex.split(command.replace(" \\ ", " "))[2:]
    words[words.index("OUT")] = str(tmp_path / "clean")
    answer = CliRunner().invoke(pairs, words)
    assert answer.exit_code == 0, answer.output
    clean = read_manifest(tmp_path / "clean")
    assert len(clean.pairs) == 10
    assert {one.id: one.reason for one in clean.excluded} == {out[0]: "monochrome", out[1]: "nearly identical"}
    assert "2 pairs should be left out." in page.text


def test_command_stays_short_and_says_what_it_leaves_out(tmp_path):
    pairset = write_set(tmp_path / "set", n=MOST_EXCLUDED + 2, size=16)
    page = Page(render_page(a_check(findings=(finding(*((pair.id,) for pair in pairset.pairs)),)), tmp_path / "set"))
    assert page.text.count("--exclude ") == MOST_EXCLUDED
    assert "2 more do not fit here" in page.text


@pytest.mark.parametrize(
    ("cues", "says"),
    [
        ([], "Nothing gives the fakes away."),
        ([result("border", "warning")], "1 cue gives the fakes away."),
        ([result("border", "failure"), result("jpeg grid", "warning"), result("all cues", "failure")], "2 cues give"),
        ([result("all road cues", "failure")], "Only together do cues give the fakes away."),
        ([result("border", "accepted")], "Nothing gives the fakes away but what the study accepts."),
        ([result("sharpness", "content", cause="content")], "Nothing but their content gives the fakes away."),
    ],
)
def test_headline_says_the_verdict(tmp_path, cues, says):
    write_set(tmp_path / "set", n=2)
    html = render_page(a_check(result("file size"), *cues), tmp_path / "set")
    assert f"<h1>{says}" in html


def test_accuracy_stands_at_its_place_on_the_axis(tmp_path):
    write_set(tmp_path / "set", n=2)
    html = render_page(a_check(result("file size", accuracy=0.7), result("border", accuracy=0.2)), tmp_path / "set")
    assert '<u style="--low: 41.67%; --high: 58.33%">' in html  # 0.65 and 0.75 on an axis from 0.4 to 1
    assert '<b style="--at: 50.0%">' in html
    assert '<b class="below" style="--at: 0.0%">' in html
    assert "70.0\u202f%" in html
    assert "20.0\u202f%" in html


def test_everything_from_outside_is_escaped(tmp_path):
    pairset = write_set(tmp_path / "set", framed, tags=(HOSTILE,))
    hostile = Finding("trained on", "failure", (Case((pairset.pairs[0].id,), HOSTILE),), HOSTILE)
    border = replace(result("border", "failure", 0.9), explanation=HOSTILE)
    check = a_check(border, findings=(hostile,), address=HOSTILE, condition=HOSTILE, notes=(HOSTILE,))
    html = render_page(check, tmp_path / "set")
    page = Page(html)
    assert "script" not in page.tags
    assert "<script" not in html
    assert page.text.count(HOSTILE) == 3 + 1 + 7  # three tags of the strongest, one of the case, and the rest


def test_page_is_written_and_replaces_an_earlier_one(tmp_path):
    write_set(tmp_path / "set", n=2)
    out = tmp_path / "pages" / "check.html"
    write_page(a_check(address="first"), tmp_path / "set", out)
    write_page(a_check(address="second"), tmp_path / "set", out)
    html = out.read_text(encoding="utf-8")
    assert MARKER in html[:200]
    assert "second" in html


def test_name_that_is_no_text_can_be_written(tmp_path):
    write_set(tmp_path / "set", n=2)
    write_page(a_check(notes=("looks like \udcff.jpg",)), tmp_path / "set", tmp_path / "check.html")
    assert "looks like ?.jpg" in (tmp_path / "check.html").read_text(encoding="utf-8")


def test_file_that_is_no_page_of_ours_is_left_alone(tmp_path):
    write_set(tmp_path / "set", n=2)
    thesis = tmp_path / "thesis.html"
    thesis.write_text("<!doctype html>\n<p>Years of work")
    with pytest.raises(CheckPageError, match=r"thesis\.html is no page of 'realism pairs check' and is left alone"):
        write_page(a_check(), tmp_path / "set", thesis)
    assert "Years" in thesis.read_text()
    (tmp_path / "old.html").mkdir()
    with pytest.raises(CheckPageError, match=r"cannot be replaced \(Is a directory\)"):
        write_page(a_check(), tmp_path / "set", tmp_path / "old.html")
    with pytest.raises(CheckPageError, match="cannot be written"):
        write_page(a_check(), tmp_path / "set", thesis / "check.html")


def test_set_that_has_changed_since_its_check_is_refused(tmp_path):
    pairset = write_set(tmp_path / "set", n=2)
    with pytest.raises(CheckPageError, match=r"pair 0123 of the check is not in .*set; check the pair set again"):
        render_page(a_check(findings=(finding(("0123",)),)), tmp_path / "set")
    (tmp_path / "set" / pairset.pairs[0].fake.file).write_bytes(b"")
    with pytest.raises(PairSetError, match="the manifest says"):
        render_page(a_check(), tmp_path / "set")


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_of_a_real_check_is_accessible_fits_and_asks_for_nothing(browser, tmp_path, scheme, width):
    write_set(tmp_path / "set", framed, n=16, tags=("a" * 200,))
    check = check_pairset(tmp_path / "set")
    assert {cue.name for cue in check.cues if cue.verdict == "failure"} >= {"border"}
    same = Finding("nearly identical", "warning", (Case((read_manifest(tmp_path / "set").pairs[0].id,), "x"),), "Look.")
    write_page(replace(check, findings=(*check.findings[:-1], same)), tmp_path / "set", tmp_path / "check.html")
    page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 900})
    asked, problems = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: problems.append(message.text))
    page.goto((tmp_path / "check.html").as_uri())
    assert Axe().run(page).response["violations"] == []
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate("[...document.images].every((one) => one.naturalWidth > 0)")
    assert [url for url in asked if not url.startswith(("data:", "file:"))] == []
    assert problems == []
    page.close()
