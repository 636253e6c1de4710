"""Pair sets in, a contact sheet of the photographs that they share out, as a PNG or an HTML file."""

from collections.abc import Sequence
from pathlib import Path

from pairs.contact_sheet import Row, draw_html, draw_png, heads_for
from pairs.selecting import Choice
from protocol import InputError
from protocol.pairset import MANIFEST, Pair, PairSet, PairSetError, read_manifest, read_pair
from protocol.place import Place, is_remote

ROWS = 12  # unless a number is asked for


class SheetError(InputError):
    """A contact sheet that cannot be drawn or written."""


def draw_sheet(
    sources: Sequence[str],
    out: str,
    *,
    title: str = "",
    choice: Choice = Choice(),  # noqa: B008 -- frozen
    replace: bool = False,
) -> int:
    """Write the sheet; the number of photographs on it. A source that holds no manifest but pair sets stands for those.

    Raises:
        SheetError: if ``out`` exists, is an address or of another kind, or the sets share no photograph.
        PairSetError: if a pair set does not verify.
    """
    if is_remote(out):
        raise SheetError(f"{out} is an address; give a file's name as --out")
    file = Path(out)
    if file.is_dir():
        raise SheetError(f"{out} is a folder; give a file's name as --out")
    if file.suffix.lower() not in (".png", ".html"):
        raise SheetError(f"{out} is neither .png nor .html; give a name that ends so")
    if file.exists() and not replace:
        raise SheetError(f"{out} exists already; choose another --out, or replace it with --replace")
    places = [place for source in sources for place in _places(source)]
    sets = [read_manifest(place) for place in places]
    shared = _shared(sets)
    if not shared:
        raise SheetError(
            f"{' and '.join(map(str, places))} share no photograph; give conditions of the same photographs"
        )
    chosen = choice.of_pairs([pairs[0] for pairs in shared])[: choice.n_pairs or ROWS]
    by_id = {pairs[0].id: pairs for pairs in shared}
    rows = [_row(places, sets, by_id[pair.id]) for pair in chosen]
    heads = heads_for([pairset.condition for pairset in sets])
    if file.suffix.lower() == ".png":
        data = draw_png(heads, rows, title)
    else:
        data = draw_html(heads, rows, title, _about(sets, len(shared))).encode()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return len(rows)


def _places(source: str) -> list[Place]:
    place = Place(source)
    if place.is_zip or place.exists(MANIFEST):
        return [place]
    if is_remote(source):
        folders = [name.removesuffix(f"/{MANIFEST}") for name in place.names() if name.endswith(f"/{MANIFEST}")]
    else:
        folders = [path.parent.name for path in Path(source).glob(f"*/{MANIFEST}")]
    inside = [name for name in sorted(folders) if "/" not in name]
    if not inside:
        raise PairSetError(f"{source} holds neither a manifest nor pair sets; give a pair set")
    return [Place(f"{source.rstrip('/')}/{name}") for name in inside]


def _shared(sets: Sequence[PairSet]) -> list[tuple[Pair, ...]]:
    """The pairs of each photograph that all sets have, in the order of the first."""
    by_id = [{pair.id: pair for pair in pairset.pairs} for pairset in sets]
    return [tuple(pairs[one.id] for pairs in by_id) for one in sets[0].pairs if all(one.id in pairs for pairs in by_id)]


def _row(places: Sequence[Place], sets: Sequence[PairSet], pairs: Sequence[Pair]) -> Row:
    found = [read_pair(place, pairset, pair) for place, pairset, pair in zip(places, sets, pairs, strict=True)]
    return Row(pairs[0].id, pairs[0].tags, found[0].real, tuple(one.fake for one in found))


def _about(sets: Sequence[PairSet], n_shared: int) -> dict[str, str]:
    sources = dict.fromkeys(
        f"{one.source.get('name', '?')} ({one.source.get('licence', 'licence not stated')})" for one in sets
    )
    width, height = sets[0].image_size
    return {"Photographs": ", ".join(sources), "Shared by all conditions": str(n_shared), "Size": f"{width} × {height}"}
