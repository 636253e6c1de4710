"""Pair rates and pair sets in; the pictures that fooled most and least, as small data: URIs, and single thumbnails, out."""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from PIL import Image

from analysis.fool_rate import PairRate
from analysis.reading.source import PairSetFolder
from protocol.pairset import ImageFile, Pair, sha256_hex

ROW = 6  # pictures in one line of the page
FAKE_EDGE, REAL_EDGE = 288, 120  # pixels; twice the size on the page, for sharp print
_FIGURE_EDGE = 144  # of a picture beside a figure's axis
_SMALL = 96  # pixels; a picture up to this size stays as it is, since JPEG would be most of what one sees


@dataclass(frozen=True)
class Exhibit:
    """One pair as shown; a URI is None where the picture is absent or is not the one the manifest names."""

    pair: str
    fool_rate: float
    n: int
    fake_uri: str | None
    real_uri: str | None


@dataclass(frozen=True)
class GalleryRow:
    """One condition's exhibits, fooled more often first; ``least`` is empty when ``most`` holds all there are."""

    condition: str
    most: tuple[Exhibit, ...]
    least: tuple[Exhibit, ...]
    n_between: int
    note: str


def gallery(pairs: Sequence[PairRate], pairsets: Mapping[str, PairSetFolder]) -> list[GalleryRow]:
    """A row per condition, in the order of ``pairs``; at most twice ``ROW`` pictures each."""
    rows = []
    for condition in dict.fromkeys(pair.condition for pair in pairs):
        of_condition = [pair for pair in pairs if pair.condition == condition]
        rows.append(_row(condition, of_condition, pairsets.get(condition)))
    return rows


def _row(condition: str, pairs: list[PairRate], source: PairSetFolder | None) -> GalleryRow:
    if source is None:
        return GalleryRow(condition, (), (), 0, "No pair set came with the answers, so there is nothing to show.")
    if not source.has_images:
        return GalleryRow(condition, (), (), 0, "The pair set came without its pictures, so there is nothing to show.")
    n_most, n_least = (ROW, ROW) if len(pairs) > 2 * ROW else (len(pairs), 0)
    known = {pair.id: pair for pair in source.pairset.pairs}
    shown = [_exhibit(pair, known.get(pair.pair), source) for pair in pairs[:n_most] + pairs[len(pairs) - n_least :]]
    absent = sum(exhibit.fake_uri is None or exhibit.real_uri is None for exhibit in shown)
    note = (
        f"Of {absent} pairs a picture is absent, or is not the one in the manifest; it is left blank." if absent else ""
    )
    return GalleryRow(condition, tuple(shown[:n_most]), tuple(shown[n_most:]), len(pairs) - n_most - n_least, note)


def thumbnails(pairsets: Mapping[str, PairSetFolder]) -> Callable[[str, str], bytes | None]:
    """What gives the fake of a condition's pair as a small PNG or JPEG, None where there is none; each is read once."""
    known = {name: {pair.id: pair for pair in source.pairset.pairs} for name, source in pairsets.items()}

    @cache
    def thumbnail(condition: str, pair: str) -> bytes | None:
        found = known.get(condition, {}).get(pair)
        small = _small(pairsets[condition], found.fake, _FIGURE_EDGE) if found else None
        return small[1] if small else None

    return thumbnail


def _exhibit(rate: PairRate, pair: Pair | None, source: PairSetFolder) -> Exhibit:
    fake = _uri(_small(source, pair.fake, FAKE_EDGE)) if pair else None
    real = _uri(_small(source, pair.real, REAL_EDGE)) if pair else None
    return Exhibit(rate.pair, rate.fool_rate, rate.n, fake, real)


def _small(source: PairSetFolder, image: ImageFile, edge: int) -> tuple[str, bytes] | None:
    """Media type and bytes of at most ``edge`` pixels, or None unless the file is exactly what participants saw."""
    try:
        data = (source.folder / image.file).read_bytes()
        if sha256_hex(data) != image.sha256:
            return None
        with Image.open(io.BytesIO(data), formats=["PNG"]) as opened:
            picture = opened.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
    buffer = io.BytesIO()
    if max(picture.size) <= _SMALL:
        picture.save(buffer, format="PNG", optimize=True)
        return "image/png", buffer.getvalue()
    picture.thumbnail((edge, edge), Image.Resampling.LANCZOS)
    # Full colour resolution: halved, JPEG would invent the very bleeding that a colourisation is judged by.
    picture.save(buffer, format="JPEG", quality=84, subsampling=0, optimize=True)
    return "image/jpeg", buffer.getvalue()


def _uri(small: tuple[str, bytes] | None) -> str | None:
    return f"data:{small[0]};base64,{base64.b64encode(small[1]).decode()}" if small else None
