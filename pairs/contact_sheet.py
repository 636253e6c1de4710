"""Rows of pictures in; a contact sheet out, as one PNG or one self-contained HTML page: grayscale, real, every fake."""

import base64
import io
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from PIL import Image, ImageDraw, ImageFont

from protocol import InputError
from protocol.encoding import encode_png

MOST_PICTURES = 900  # on one sheet: a PNG of some 80 million pixels, which Pillow still opens without a warning
CELL = 256  # pixels, the longer side of a picture as shown
PAGE_EDGE = 512  # pixels, the longer side of a picture as the page carries it, for looking at it large
ROWS_PER_HEAD = 12
ACRONYMS = frozenset({"gan", "cgan", "dcgan", "lsgan", "sngan", "wgan", "wgan-gp"})

# The surround changes how saturated and how bright a picture looks: one neutral mid grey everywhere.
SURROUND = "#707070"
INK, QUIET_INK = "#ffffff", "#ececec"
MARGIN, GAP, ROW_GAP, HEAD_GAP = 40, 12, 20, 10  # pixels; the last stands above heads and below them
MIN_WIDTH = 128  # pixels of a column, so that narrow pictures leave room for its head
MOST_LINES = 5  # of a head: 64 of the widest signs, the longest condition there is, in a column of 256 pixels
TITLE_SIZE, HEAD_SIZE, LABEL_SIZE = 22, 15, 12  # pixels
TITLE_LINE, HEAD_LINE, LABEL_LINE = 30, 20, 22


class ContactSheetError(InputError):
    """Pairs that no sheet can be made of."""


@dataclass(frozen=True)
class Row:
    """One photograph: its real picture, and its fake in every condition, in the order of the heads."""

    pair: str
    tags: tuple[str, ...]
    real: Image.Image
    fakes: tuple[Image.Image, ...]

    def pictures(self) -> tuple[Image.Image, ...]:
        """As many as there are columns; grayscale is the luminance of the real picture (ITU-R 601-2, as Pillow has it)."""
        real = self.real.convert("RGB")
        return (real.convert("L").convert("RGB"), real, *(fake.convert("RGB") for fake in self.fakes))

    def label(self) -> str:
        return " · ".join(filter(None, map(_printable, (self.pair, *self.tags))))


def heads_for(conditions: Sequence[str]) -> tuple[str, ...]:
    """The column heads of a sheet of these conditions."""
    return ("Grayscale", "Ground truth", *(name.upper() if name in ACRONYMS else name for name in conditions))


def draw_png(heads: Sequence[str], rows: Sequence[Row], title: str = "") -> bytes:
    """The sheet as an RGB PNG; the same pictures and words give the same bytes.

    Raises:
        ContactSheetError: if there is no row, a row does not fit the heads, or there are over 900 pictures.
    """
    _check(heads, rows)
    sizes = [_shown_size(picture.size) for row in rows for picture in (row.real, *row.fakes)]
    cell_width, cell_height = max(MIN_WIDTH, *(w for w, _ in sizes)), max(h for _, h in sizes)
    lefts = [MARGIN + column * (cell_width + GAP) for column in range(len(heads))]
    width = lefts[-1] + cell_width + MARGIN

    # What stands where: the title, then rows, each twelfth with the heads above it.
    titles = _wrap(_printable(title), _font(TITLE_SIZE), width - 2 * MARGIN, MOST_LINES)
    wrapped = [_wrap(_printable(head), _font(HEAD_SIZE), cell_width, MOST_LINES) for head in heads]
    above = MARGIN + len(titles) * TITLE_LINE + (HEAD_GAP if titles else -HEAD_GAP)
    head_height = max(len(lines) for lines in wrapped) * HEAD_LINE + 2 * HEAD_GAP
    row_height = cell_height + LABEL_LINE + ROW_GAP
    tops = [above + (i // ROWS_PER_HEAD + 1) * head_height + i * row_height for i in range(len(rows))]

    sheet = Image.new("RGB", (width, tops[-1] + row_height - ROW_GAP + MARGIN), SURROUND)
    pen = ImageDraw.Draw(sheet)
    for number, line in enumerate(titles):
        pen.text((MARGIN, MARGIN + number * TITLE_LINE), line, INK, _font(TITLE_SIZE))
    for index, (row, top) in enumerate(zip(rows, tops, strict=True)):
        for left, lines, picture in zip(lefts, wrapped, row.pictures(), strict=True):
            sheet.paste(_shown(picture), (left, top))
            if index % ROWS_PER_HEAD == 0:
                for number, line in enumerate(reversed(lines), start=1):  # every head ends just above its column
                    pen.text((left, top - HEAD_GAP - number * HEAD_LINE), line, INK, _font(HEAD_SIZE))
        label = "".join(_wrap(row.label(), _font(LABEL_SIZE), width - 2 * MARGIN, 1))
        pen.text((MARGIN, top + cell_height + 6), label, QUIET_INK, _font(LABEL_SIZE))
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG")
    return buffer.getvalue()


def draw_html(heads: Sequence[str], rows: Sequence[Row], title: str, about: Mapping[str, str]) -> str:
    """The sheet as one HTML page that asks for nothing from outside; ``about`` is shown under the title.

    Its pictures are lossless and, up to 512 pixels, whole: what is seen large is what participants see.

    Raises:
        ContactSheetError: if there is no row, a row does not fit the heads, or there are over 900 pictures.
    """
    _check(heads, rows)
    return (
        _environment()
        .get_template("contact_sheet.html")
        .render(
            title=_printable(title),
            about={_printable(name): _printable(text) for name, text in about.items()},
            heads=[_printable(head) for head in heads],
            # An iterator: each row is encoded when its turn comes.
            rows=((_printable(row.pair), row.label(), [_cell(picture) for picture in row.pictures()]) for row in rows),
            surround=SURROUND,
            cell=CELL,
        )
    )


def _check(heads: Sequence[str], rows: Sequence[Row]) -> None:
    if not rows:
        raise ContactSheetError("there is no pair to show; give pair sets that have pairs in common")
    for row in rows:
        if len(row.fakes) != len(heads) - 2:
            raise ContactSheetError(
                f"pair {row.pair}: fakes of {len(row.fakes)}, the heads name {len(heads) - 2} conditions; "
                "show pairs that every pair set holds"
            )
    if len(heads) * len(rows) > MOST_PICTURES:
        raise ContactSheetError(
            f"{len(rows)} pairs are {len(heads) * len(rows)} pictures, a contact sheet holds {MOST_PICTURES}; "
            f"show at most {MOST_PICTURES // len(heads)} pairs"
        )


def _shown_size(size: tuple[int, int]) -> tuple[int, int]:
    """(width, height) at which a picture is shown: enlarged by a whole factor, or reduced, to 256 pixels at most."""
    longer = max(size)
    if longer <= CELL:
        return size[0] * (CELL // longer), size[1] * (CELL // longer)
    return max(1, round(size[0] * CELL / longer)), max(1, round(size[1] * CELL / longer))


def _shown(picture: Image.Image) -> Image.Image:
    """Enlarged pixels stay sharp squares: smoothing would hide what a generator did."""
    way = Image.Resampling.NEAREST if max(picture.size) <= CELL else Image.Resampling.LANCZOS
    return picture.resize(_shown_size(picture.size), way)


def _cell(picture: Image.Image) -> tuple[str, int, int, bool]:
    """A data: URI, the (width, height) at which the page shows it, and whether that is enlarged."""
    carried = picture.copy()
    carried.thumbnail((PAGE_EDGE, PAGE_EDGE), Image.Resampling.LANCZOS)
    width, height = _shown_size(picture.size)
    uri = f"data:image/png;base64,{base64.b64encode(encode_png(carried)).decode()}"
    return uri, width, height, width > picture.width


def _printable(text: str) -> str:
    """On one line, without the signs that would turn its direction, break a font, or not be written as UTF-8."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def _wrap(text: str, font: ImageFont.FreeTypeFont, width: int, most: int) -> list[str]:
    """The text in at most ``most`` lines of ``width`` pixels, broken after blanks and dashes if it can be; else cut with …"""
    lines: list[str] = []
    while text:
        fits = _fitting(text, font, width)
        if fits < len(text) and len(lines) == most - 1:
            return [*lines, text[: _fitting(text, font, width - font.getlength("…"))].rstrip() + "…"]
        if fits < len(text):
            fits = max(text.rfind(sign, 0, fits) for sign in " -_.·") + 1 or fits
        lines.append(text[:fits].rstrip())
        text = text[fits:].lstrip()
    return lines


def _fitting(text: str, font: ImageFont.FreeTypeFont, width: float) -> int:
    """How many signs of the text, at least one, go into ``width`` pixels."""
    # A line takes no more signs than pixels, so that a text of a million signs costs no more than a line of them.
    return max(1, bisect_right(range(1, min(len(text), int(width)) + 1), width, key=lambda n: font.getlength(text[:n])))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans as matplotlib brings it: Latin, Greek, Cyrillic and more, the same on every machine."""
    import matplotlib  # here, since only a PNG needs it and every command would wait for it

    path = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    # The basic layout is in every Pillow; the other depends on a library that a machine has or has not.
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("pairs"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
