"""A check and its pair set in; one self-contained HTML page out that shows what was found, with pictures.

What no single pair shows is seen in means over up to 200 of them: borders, brightness and checkerboards in the mean
picture, the traces of enlarging and of JPEG in the mean spectrum.
"""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from pairs.check import Check, Finding
from pairs.cues import NUMBERS, Cues, measure
from pairs.giveaways import FAILURE, WARNING, CueResult
from pairs.mean_pictures import EDGE, Means, data_uri, draw_means
from pairs.relation import Relation, relate
from pairs.wording import ALIGNMENT, ALL, ALL_ROAD, NUMBER_CUES, SETTINGS
from protocol import InputError
from protocol.pairset import Pair, PairSet, read_manifest, read_pair
from protocol.place import Place

MARKER = "<!-- realism pairs check -->"
MOST_PAIRS = 200  # looked at, evenly taken
MOST_CASES = 12  # of one finding, shown
MOST_EXCLUDED = 50  # in one command
N_STRONGEST = 3  # pairs shown for a cue
LEFT = 0.4  # accuracy, where the axis begins
TOGETHER: Final = (ALL_ROAD, ALL)


class CheckPageError(InputError):
    """A page on a check that cannot be written."""


@dataclass(frozen=True)
class _Looked:
    """What one pair's cues are."""

    pair: Pair
    real: Cues
    fake: Cues
    relation: Relation


@dataclass(frozen=True)
class _Exhibit:
    """A pair as the page shows it."""

    pair: str
    tags: tuple[str, ...]
    real: str  # a data: URI, as is
    fake: str
    has_few_pixels: bool


@dataclass(frozen=True)
class _Shown:
    """Pairs that belong together, and what is to be seen in them."""

    exhibits: tuple[_Exhibit, ...]
    detail: str


def write_page(check: Check, address: str | Path, out: Path) -> None:
    """Write the page on a check of the pair set at ``address``; an earlier page is replaced, and nothing else.

    Raises:
        CheckPageError: if ``out`` is no .html, something else is there, it cannot be written, or the pair set is
            another by now.
        PairSetError: if a picture shown does not verify.
    """
    refuse_foreign(out)
    page = render_page(check, address)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(page.encode(errors="replace"))  # a file's name may hold bytes that are no text
    except OSError as error:
        raise CheckPageError(f"{out} cannot be written ({error.strerror}); choose another --page") from error


def refuse_foreign(out: Path) -> None:
    """Raises CheckPageError if ``out`` does not end in .html, or something is there that is no page of a check."""
    if out.suffix.lower() != ".html":
        raise CheckPageError(f"{out} is no .html; give a name that ends so as --page")
    try:
        is_free = not out.exists() or MARKER.encode() in out.read_bytes()[:200]
    except OSError as error:
        raise CheckPageError(f"{out} cannot be replaced ({error.strerror}); choose another --page") from error
    if not is_free:
        raise CheckPageError(f"{out} is no page of 'realism pairs check' and is left alone; choose another --page")


def render_page(check: Check, address: str | Path) -> str:
    """The page's text.

    Raises:
        CheckPageError: if a pair that the check names is not in the set.
        PairSetError: if a picture shown does not verify.
    """
    place = Place(address)
    pairset = read_manifest(place)
    means, looked = _look(place, pairset)
    excluded = exclusions(check.findings)
    return (
        _environment()
        .get_template("check.html")
        .render(
            check=check,
            marker=MARKER,
            headline=headline(check, len(excluded)),
            groups={cause: [cue for cue in check.cues if cue.cause == cause] for cause in ("road", "content")},
            axis=[(mark, _place_on_axis(mark)) for mark in (0.5, WARNING, FAILURE, 1.0)],
            left=LEFT,
            n_looked=len(looked),
            means=draw_means(means),
            strongest=_strongest_of_all(check.cues, looked, place, pairset),
            cases={finding.name: _shown_cases(finding, place, pairset) for finding in check.findings},
            command=_command(address, excluded),
            n_unlisted=max(0, len(excluded) - MOST_EXCLUDED),
            n_excluded=len(excluded),
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("pairs"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=_percent, on_axis=_place_on_axis)
    return environment


# Words.


def headline(check: Check, n_excluded: int) -> str:
    """The verdict in a sentence or two."""
    told = [cue.name for cue in check.cues if cue.verdict in ("warning", "failure")]
    alone = [name for name in told if name not in TOGETHER]
    if alone:
        says = f"{len(alone)} cue{'s give' if len(alone) > 1 else ' gives'} the fakes away."
    elif told:
        says = "Only together do cues give the fakes away."
    elif any(cue.verdict == "accepted" for cue in check.cues):
        says = "Nothing gives the fakes away but what the study accepts."
    elif any(cue.verdict == "content" for cue in check.cues):
        says = "Nothing but their content gives the fakes away."
    else:
        says = "Nothing gives the fakes away."
    if n_excluded:
        says += f" {n_excluded} pair{'s' if n_excluded > 1 else ''} should be left out."
    return says


def exclusions(findings: Iterable[Finding]) -> dict[str, str]:
    """Which pairs to leave out, and why; of pairs that belong together, all but one."""
    reasons: dict[str, str] = {}
    for finding in findings:
        for case in finding.cases if finding.verdict in ("warning", "failure") else ():
            if reasons.keys().isdisjoint(case.pairs):
                reasons[case.pairs[-1]] = finding.name
    return reasons


def _command(address: str | Path, excluded: Mapping[str, str]) -> str:
    parts = [f"realism pairs select {shlex.quote(str(address))}"]
    parts += [f"--exclude {shlex.quote(f'{pair}={reason}')}" for pair, reason in list(excluded.items())[:MOST_EXCLUDED]]
    return " \\\n  ".join([*parts, "--out OUT"])


def _percent(fraction: float, digits: int = 0) -> str:
    return f"{100 * fraction:.{digits}f}\u202f%"  # a narrow blank that does not break


def _place_on_axis(accuracy: float) -> float:
    """Percent of the axis's length from its left."""
    return round(100 * (min(max(accuracy, LEFT), 1) - LEFT) / (1 - LEFT), 2)


# Looking.


def _look(place: Place, pairset: PairSet) -> tuple[Means, list[_Looked]]:
    n = min(MOST_PAIRS, len(pairset.pairs))
    means, looked = Means(), []
    for i in range(n):
        pair = pairset.pairs[i * len(pairset.pairs) // n]
        found = read_pair(place, pairset, pair)
        real, fake = np.asarray(found.real), np.asarray(found.fake)
        means.add(real, fake)
        cues = measure(found.real_data, real), measure(found.fake_data, fake)
        looked.append(_Looked(pair, *cues, relate(real, fake)))
    return means, looked


def _strongest_of_all(
    cues: Sequence[CueResult], looked: Sequence[_Looked], place: Place, pairset: PairSet
) -> dict[str, list[_Shown]]:
    """For every cue that is not a pass, where there are any, the pairs that show it best."""
    found = {cue.name: strongest(cue.name, looked) for cue in cues if cue.verdict != "pass"}
    return {
        name: [_Shown((_exhibit(pair, place, pairset),), detail) for pair, detail in pairs]
        for name, pairs in found.items()
        if pairs
    }


def strongest(cue: str, looked: Sequence[_Looked]) -> list[tuple[Pair, str]]:
    """The pairs in which a cue tells most, and what it says there; none for cues taken together."""
    if cue in TOGETHER:
        return []
    tells = [(*_tell(cue, one), one.pair) for one in looked]
    way = np.sign(sum(np.sign(more) for more, _, _ in tells)) or 1  # the one in which most pairs go
    found = [(way * more, detail, pair) for more, detail, pair in tells if way * more > 0]
    return [(pair, detail) for _, detail, pair in sorted(found, key=lambda tell: -tell[0])[:N_STRONGEST]]


def _tell(cue: str, one: _Looked) -> tuple[float, str]:
    """How much more of a cue the fake has, and that in words."""
    if cue in NUMBERS:
        real, fake = (float(cues.numbers[NUMBERS.index(cue)]) for cues in (one.real, one.fake))
        says = f"real {NUMBER_CUES[cue].value.format(real)}, fake {NUMBER_CUES[cue].value.format(fake)}"
        return fake - real, says.replace("-", "\u2212")
    if cue == ALIGNMENT:
        moved = one.relation
        says = f"fake {abs(moved.dx)} px {'left' if moved.dx < 0 else 'right'}, {abs(moved.dy)} px {'up' if moved.dy < 0 else 'down'}"
        return moved.is_shifted * (abs(moved.dx) + abs(moved.dy)), says
    if cue == SETTINGS:
        return float(one.real.settings != one.fake.settings), f"real {one.real.settings}; fake {one.fake.settings}"
    held = [", ".join(cues.metadata) for cues in (one.real, one.fake)]  # metadata
    return float(any(held)), f"real {held[0] or 'none'}; fake {held[1] or 'none'}"


def _shown_cases(finding: Finding, place: Place, pairset: PairSet) -> list[_Shown]:
    by_id = {pair.id: pair for pair in pairset.pairs}
    cases = finding.cases[:MOST_CASES]
    for identity in (identity for case in cases for identity in case.pairs):
        if identity not in by_id:
            raise CheckPageError(f"pair {identity} of the check is not in {place}; check the pair set again")
    return [_Shown(tuple(_exhibit(by_id[one], place, pairset) for one in case.pairs), case.detail) for case in cases]


# Drawing.


def _exhibit(pair: Pair, place: Place, pairset: PairSet) -> _Exhibit:
    found = read_pair(place, pairset, pair)
    real, fake = (data_uri(np.asarray(picture)) for picture in (found.real, found.fake))
    return _Exhibit(pair.id, pair.tags, real, fake, max(pairset.image_size) < EDGE)
