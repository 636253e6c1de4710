"""Real files and any generator's files in, pair sets out: each picture by the same road, whatever kind of file it came from."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pairs.matching import Match, MatchingError
from pairs.progress import Progress
from pairs.road import BrokenPhotoError, PhotoError, cut, open_named, upright_size
from pairs.selecting import Choice
from pairs.workers import spread
from pairs.writing import About, Output, Picture, write_pairsets
from protocol.encoding import Encoder
from protocol.pairset import PairSet, sha256_hex

SMALLEST = 16  # pixels a side: less shows nothing to judge
UNEQUAL = 0.05  # of the pairs: more of one side resized than of the other is told, as the check does

Size = tuple[int, int]


@dataclass(frozen=True)
class Found:
    """A match, the hash of its real file's bytes, and the sizes (width, height) of the real picture and its fakes."""

    match: Match
    sha256: str
    sizes: tuple[Size, ...]


@dataclass(frozen=True)
class _Job:
    found: Found
    size: Size


def look_at(matches: Sequence[Match], *, progress: Progress = iter) -> list[Found]:
    """Hash every real file and read every picture's size.

    Raises:
        BrokenPhotoError: naming the first file that is no picture.
        MatchingError: if two real files are the same photograph.
    """
    found, seen = [], dict[str, Path]()
    for one in spread(_look, progress(matches)):
        if isinstance(one, BrokenPhotoError):
            raise one
        first = seen.setdefault(one.sha256, one.match.real)
        if first is not one.match.real:
            raise MatchingError(f"{first} and {one.match.real} are the same file; remove one of them, and its fakes")
        found.append(one)
    return found


def _look(match: Match) -> Found | BrokenPhotoError:
    try:
        return Found(
            match, sha256_hex(match.real.read_bytes()), tuple(upright_size(p) for p in (match.real, *match.fakes))
        )
    except BrokenPhotoError as error:
        return error


def common_size(found: Sequence[Found]) -> Size:
    """The size to bring all pictures to when none is asked for: that of all fakes, else the largest square in every picture.

    Nothing is enlarged for it.
    """
    fakes = {size for one in found for size in one.sizes[1:]}
    widths, heights = zip(*(size for one in found for size in one.sizes), strict=True)
    width, height = min(widths), min(heights)
    if len(fakes) == 1 and (only := next(iter(fakes)))[0] <= width and only[1] <= height:
        return only
    side = min(width, height)
    return side, side


def why_common_size(found: Sequence[Found]) -> str:
    """Why ``common_size`` is not the fakes' own, with the picture that sets it; empty if it is."""
    width, height = size = common_size(found)
    fakes = Counter(own for one in found for own in one.sizes[1:])
    usual, n_usual = fakes.most_common(1)[0]
    if usual == size and len(fakes) == 1:
        return ""
    n, of = fakes.total() - n_usual, f"{fakes.total()} fakes"
    what = f"{n} of {of} {'differs' if n == 1 else 'differ'} in size"
    if not n:
        n = sum(one.sizes[0][0] < usual[0] or one.sizes[0][1] < usual[1] for one in found)
        what = f"{n} of {len(found)} reals {'is' if n == 1 else 'are'} smaller than the fakes"
    paths = (
        (min(own), path)
        for one in found
        for own, path in zip(one.sizes, (one.match.real, *one.match.fakes), strict=True)
    )
    _, smallest = min(paths, key=lambda picture: picture[0])
    return f"{what}, so all are brought to {width}x{height} (the smallest is {smallest}); choose another with --size"


def note_on_sizes(pairset: PairSet) -> str:
    """What it may cost that one side alone was reduced in size, and what to do; empty if both were treated alike."""
    real, fake = (int(pairset.road[side].get("resized", 0)) for side in ("real", "fake"))
    if abs(real - fake) <= UNEQUAL * len(pairset.pairs):
        return ""
    more, less = ("reals", "fakes") if real > fake else ("fakes", "reals")
    remedy = (
        "give the reals at the size the generator saw, or make larger fakes" if real > fake else "give larger reals"
    )
    return (
        f"{more} were reduced in size and {less} were {'less often' if min(real, fake) else 'not'}: "
        f"blur can then come from the road; {remedy}"
    )


def import_pairs(
    found: Sequence[Found],
    out: Output,
    *,
    conditions: Sequence[About],
    size: Size,
    pairing: str,
    encoder: Encoder = Encoder(),  # noqa: B008 -- frozen
    choice: Choice = Choice(),  # noqa: B008 -- frozen
    replace: bool = False,
    progress: Progress = iter,
) -> list[PairSet]:
    """Write a pair set for each condition, on the same photographs, cut and brought to ``size`` (width, height).

    Raises:
        PhotoError: if a picture is smaller than ``size``, broken, or not what its name says.
        SelectionError: if the tags, the number or the exclusions do not fit.
        FolderError, PlaceError: if something is at ``out``.
    """
    _refuse_small(found, size)
    chosen = choice.of(found, photo_sha256=lambda one: one.sha256, tags=lambda one: one.match.tags)
    jobs = (_Job(one, size) for one in progress(chosen))
    return write_pairsets(
        out,
        jobs,
        conditions,
        draw=_draw,
        encoder=encoder,
        excluded=choice.excluded,
        road={"pairing": pairing},
        replace=replace,
    )


def _refuse_small(found: Sequence[Found], size: Size) -> None:
    width, height = size
    if min(size) < SMALLEST:
        raise PhotoError(
            f"pictures of {width}x{height} show nothing to judge; give pictures of at least {SMALLEST} pixels"
        )
    small = [
        (path, own)
        for one in found
        for path, own in zip((one.match.real, *one.match.fakes), one.sizes, strict=True)
        if own[0] < width or own[1] < height
    ]
    if small:
        path, own = small[0]
        more = f" (and {len(small) - 1} more are too small)" if len(small) > 1 else ""
        raise PhotoError(
            f"{path} is {own[0]}x{own[1]}, smaller than {width}x{height}{more}: enlarged it would be blurred; "
            "give a smaller --size, or larger pictures"
        )


def _draw(job: _Job) -> Picture:
    """Both sides by one road; nothing here knows which is which."""
    match = job.found.match
    pictures, steps = [], []
    for path in (match.real, *match.fakes):
        try:
            decoded = open_named(path, path.read_bytes())
        except OSError as error:
            raise BrokenPhotoError(path, error.strerror) from error
        pictures.append(cut(decoded.picture, job.size))
        steps.append(_steps(decoded.picture.size, job.size, decoded.is_lossy, decoded.had_profile))
    return Picture(job.found.sha256, pictures[0], tuple(pictures[1:]), match.tags, tuple(steps))


def _steps(own: Size, size: Size, is_lossy: bool, had_profile: bool) -> frozenset[str]:
    fits_one_side = own[0] == size[0] or own[1] == size[1]
    done = {
        "cut": own[0] * size[1] != own[1] * size[0],
        "resized": not fits_one_side,
        "from a lossy file": is_lossy,
        "converted to sRGB": had_profile,
    }
    return frozenset(name for name, was_done in done.items() if was_done)
