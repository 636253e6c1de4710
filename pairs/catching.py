"""A pair set in, a pair set of catch pairs out: its real pictures beside fakes that anybody who looks can tell."""

import dataclasses
from collections.abc import Iterator, Sequence
from itertools import cycle

from pairs.catch import CatchError, Kind, catch_picture
from pairs.placing import Output
from pairs.selecting import Choice
from pairs.writing import About, Picture, write_pairset
from protocol.encoding import Encoder
from protocol.pairset import Pair, PairSet, read_manifest, read_pair
from protocol.place import Place

KINDS: tuple[Kind, ...] = ("noise", "shuffled", "grayscale")


def make_catch_pairs(
    source: Output,
    out: Output,
    *,
    kinds: Sequence[Kind] = (),
    condition: str = "catch",
    choice: Choice = Choice(),  # noqa: B008 -- frozen
    replace: bool = False,
) -> PairSet:
    """Write catch pairs of the ``kinds`` in turn; photographs with too little colour for one are passed over.

    A pair's last tag is its kind.

    Raises:
        PairSetError: if the pair set does not verify, or no photograph has enough colour.
        SelectionError, CatchError: if fewer than ``n_pairs`` can be made.
    """
    place, pairset = Place(source), read_manifest(source)
    candidates = dataclasses.replace(choice, n_pairs=None).of_pairs(pairset.pairs)
    pictures = _pictures(place, pairset, candidates, tuple(kinds) or KINDS, choice.seed, choice.n_pairs)
    config = {"kinds": list(dict.fromkeys(kinds or KINDS)), "seed": choice.seed}
    about = About(condition, {"name": "catch", "checkpoint_sha256": None, "config": config}, pairset.source)
    encoder = Encoder(pairset.encoding, pairset.quality)
    excluded = (*pairset.excluded, *choice.excluded)
    return write_pairset(out, pictures, about, encoder=encoder, excluded=excluded, replace=replace)


def _pictures(
    place: Place, pairset: PairSet, candidates: Sequence[Pair], kinds: Sequence[Kind], seed: int, n: int | None
) -> Iterator[Picture]:
    turns = cycle(kinds)
    kind, made = next(turns), 0
    for pair in candidates:
        if made == n:
            return
        real = read_pair(place, pairset, pair).real
        try:
            fake = catch_picture(real, kind, seed)
        except CatchError:
            continue
        yield Picture(pair.photo_sha256, real, (fake,), (*pair.tags, kind))
        kind, made = next(turns), made + 1
    if made < (n or 1):
        raise CatchError(
            f"{place}: {made} of {len(candidates)} photographs have enough colour for an obvious answer, "
            f"{n or 1} are wanted; ask for fewer, or give a pair set of more colourful photographs"
        )
