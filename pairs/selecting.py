"""Pairs, or photos to make pairs of, in; those that a study shall show out: by tag, by number, evenly, without some."""

import dataclasses
import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from pairs.matching import table_rows
from pairs.writing import Output, pair_id, write_subset
from protocol import InputError
from protocol.pairset import Exclusion, Pair, PairSet, read_manifest

MAX_TAGS_LISTED = 20  # in an error: a folder may have a thousand classes

T = TypeVar("T")


class SelectionError(InputError):
    """A selection that cannot be made from what there is."""


def parse_exclusion(text: str) -> Exclusion:
    """An exclusion from the form ``ID=REASON``.

    Raises:
        SelectionError: if one of the two lacks, or the first is no pair's id.
    """
    identity, _, reason = text.partition("=")
    return _exclusion(identity, reason, f"exclusion {text!r}")


def read_exclusions(table: Path) -> tuple[Exclusion, ...]:
    """The exclusions in a CSV file with the columns ``id`` and ``reason``.

    Raises:
        SelectionError: naming the line, if it lacks an id or a reason.
        TableError: if the file cannot be read, or lacks a column.
    """
    rows = table_rows(table, [{"id"}, {"reason"}])
    return tuple(_exclusion(row["id"], row["reason"], f"{table}: line {line}") for line, row in rows)


def _exclusion(identity: str, reason: str, where: str) -> Exclusion:
    try:
        return Exclusion(id=identity.strip(), reason=reason)
    except ValidationError as error:
        lacking = "pair id" if error.errors()[0]["loc"] == ("id",) else "reason"
        raise SelectionError(f"{where} has no {lacking}; give the id of a pair, and why it is left out") from error


def exclude(items: Iterable[T], exclusions: Collection[Exclusion], *, identity: Callable[[T], str]) -> list[T]:
    """The items that are not excluded, in their order.

    Raises:
        SelectionError: if an exclusion is of no item, or of one that another excludes already.
    """
    items = list(items)
    there, seen = {identity(item) for item in items}, set()
    for exclusion in exclusions:
        if exclusion.id not in there:
            raise SelectionError(
                f"exclusion {exclusion.id} ({exclusion.reason}): none of the {len(there)} pairs has this id; "
                "correct it, or leave it out"
            )
        if exclusion.id in seen:
            raise SelectionError(f"pair {exclusion.id} is excluded twice; keep one reason")
        seen.add(exclusion.id)
    return [item for item in items if identity(item) not in seen]


def choose(
    items: Iterable[T],
    *,
    key: Callable[[T], str],
    tags: Callable[[T], Sequence[str]],
    n: int | None = None,
    wanted: Collection[str] = (),
    stratified: bool = False,
    seed: int = 0,
) -> list[T]:
    """``n`` (at least 1) of the items, or all, with any of the ``wanted`` tags, in an order that depends on seed and keys alone.

    Keys are unique. Fewer are a prefix of more, and what has the same keys and tags gets the same choice.

    ``stratified`` takes turns between the strata, which are the items' first tags: their numbers differ by one at
    most, and which have one more depends on the seed. Without ``n`` each gives as many as the smallest has. Here too
    fewer are a prefix of more.

    Raises:
        SelectionError: if there is no such tag, fewer than ``n`` items, too few in a stratum, or one without a tag.
    """
    found = list(items)
    _refuse_unknown_tags(Counter(tag for item in found for tag in tags(item)), wanted)
    usable = [item for item in found if not wanted or set(wanted).intersection(tags(item))]
    usable.sort(key=lambda item: _place(seed, key(item)))
    if len(usable) < (n or 1):
        among = f" with the tags {', '.join(sorted(wanted))}" if wanted else ""
        raise SelectionError(f"there are {len(usable)} pairs{among}, {n or 1} are wanted; ask for fewer, or give more")
    if not stratified:
        return usable[:n]
    strata = defaultdict(list)
    for item in usable:
        if not tags(item):
            raise SelectionError(f"pair {key(item)} has no tag to be stratified by; tag every pair, or do not stratify")
        strata[tags(item)[0]].append(item)
    return _in_turns(strata, n, seed)


def _in_turns(strata: dict[str, list[T]], n: int | None, seed: int) -> list[T]:
    smallest = min(map(len, strata.values()))
    n = n or smallest * len(strata)
    order = sorted(strata, key=lambda tag: _place(seed, tag))
    for turn, tag in enumerate(order):
        share = len(range(turn, n, len(order)))
        if len(strata[tag]) < share:
            raise SelectionError(
                f"stratum {tag!r} has {len(strata[tag])} pairs, {share} are wanted of it ({n} from {len(order)} "
                f"strata); ask for at most {smallest * len(order)}, or choose other tags"
            )
    return [strata[order[turn % len(order)]][turn // len(order)] for turn in range(n)]


def _place(seed: int, key: str) -> bytes:
    return hashlib.sha256(f"{seed}:{key}".encode(errors="surrogateescape")).digest()


def _refuse_unknown_tags(there: Counter[str], wanted: Iterable[str]) -> None:
    for tag in wanted:
        if tag not in there:
            listed = [f"{name} ({count})" for name, count in there.most_common(MAX_TAGS_LISTED)]
            more = ["…"] if len(there) > len(listed) else []
            raise SelectionError(
                f"no pair has the tag {tag!r}; the tags are {', '.join(listed + more) or 'none'}; choose among them"
            )


@dataclasses.dataclass(frozen=True)
class Choice:
    """Which pairs to take: ``n_pairs`` (None: all) with any of the ``tags``, none ``excluded``; as ``choose`` has it."""

    n_pairs: int | None = None
    tags: tuple[str, ...] = ()
    stratified: bool = False
    seed: int = 0
    excluded: tuple[Exclusion, ...] = ()

    def of(
        self, items: Iterable[T], *, photo_sha256: Callable[[T], str], tags: Callable[[T], Sequence[str]]
    ) -> list[T]:
        """The items chosen; what they are pairs of is told by the photograph's hash.

        Raises:
            SelectionError: if the tags, the number or the exclusions do not fit.
        """
        kept = exclude(items, self.excluded, identity=lambda item: pair_id(photo_sha256(item)))
        return choose(
            kept,
            key=photo_sha256,
            tags=tags,
            n=self.n_pairs,
            wanted=self.tags,
            stratified=self.stratified,
            seed=self.seed,
        )

    def of_pairs(self, pairs: Sequence[Pair]) -> list[Pair]:
        """The pairs chosen of a pair set, which may come with ids of its own."""
        by_id = dataclasses.replace(self, excluded=())
        kept = exclude(pairs, self.excluded, identity=lambda pair: pair.id)
        return by_id.of(kept, photo_sha256=lambda pair: pair.photo_sha256, tags=lambda pair: pair.tags)


def select_pairs(
    source: Output,
    out: Output,
    *,
    choice: Choice = Choice(),
    replace: bool = False,
) -> PairSet:
    """Copy chosen pairs of a pair set, each as it is; the exclusions are kept in the manifest.

    Raises:
        PairSetError: if the pair set does not verify.
        SelectionError: if the choice cannot be made.
    """
    chosen = choice.of_pairs(read_manifest(source).pairs)
    return write_subset(source, out, chosen, excluded=choice.excluded, replace=replace)
