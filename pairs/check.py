"""A pair set's address in; whether it verifies, what gives its fakes away, and which of its photographs do not belong, out."""

import csv
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pairs.cues import Cues, measure, measure_file
from pairs.duplicates import Fingerprint, Match, fingerprint, near_duplicates, near_duplicates_between
from pairs.giveaways import FEWEST, NAMES, CueResult, CueTable, GiveAwayError, search
from pairs.importing import UNEQUAL
from pairs.placing import Output
from pairs.progress import Progress
from pairs.relation import Relation, relate
from pairs.road import BrokenPhotoError, PhotoError, cut, open_photo, picture_paths
from pairs.workers import spread
from protocol.design import read_design
from protocol.pairset import Pair, PairSet, read_manifest, read_pair, refuse_empty, sha256_hex
from protocol.place import Place

LOOKS_LIKE = "looks like"
MOST_MEASURED = 2500  # pairs whose cues in pixels are measured, which leaves an interval of 2 % on either side
NUMBER, TRAINED, DUPLICATES = "number of pairs", "trained on", "near-duplicates"
MONOCHROME, IDENTICAL = "monochrome", "nearly identical"
FINDINGS = (NUMBER, TRAINED, DUPLICATES, MONOCHROME, IDENTICAL)

Verdict = Literal["pass", "warning", "failure", "accepted", "content", "not looked for"]


@dataclass(frozen=True)
class Case:
    """Pairs, by their ids, that something is wrong with; ``detail`` says what, in a few words."""

    pairs: tuple[str, ...]
    detail: str


@dataclass(frozen=True)
class Finding:
    """What is wrong with single photographs; without a case it is a pass."""

    name: str
    verdict: Verdict
    cases: tuple[Case, ...]
    explanation: str


@dataclass(frozen=True)
class Check:
    """``verdict`` is the worst of all."""

    address: str
    condition: str
    n_pairs: int
    image_size: tuple[int, int]
    verdict: Verdict
    cues: tuple[CueResult, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    @property
    def results(self) -> tuple[CueResult | Finding, ...]:
        return (*self.cues, *self.findings)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        answer = asdict(self)
        return {"folder": answer.pop("address"), "pairs": answer.pop("n_pairs")} | answer


@dataclass(frozen=True)
class _Looked:
    pair: str
    real: Cues
    fake: Cues
    relation: Relation
    fingerprint: Fingerprint


def check_pairset(
    address: Output | Place,
    *,
    accept: Collection[str] = (),
    design: Path | None = None,
    train_photos: Path | None = None,
    run: Path | None = None,
    seed: int = 0,
    progress: Progress = iter,
) -> Check:
    """Verify every picture of a pair set, and search it for give-aways.

    ``accept``, and what the study ``design`` accepts, are names of cues and findings. ``train_photos`` is a folder of the
    photographs trained on; with ``run``, whose photos.csv lists those, only these count in it.

    Raises:
        PairSetError: naming the first pair that does not verify.
        GiveAwayError: if a name to accept is none.
        PhotoError: if the folder of photographs, or the list of the run, cannot be read.
    """
    place = Place(address)
    pairset = read_manifest(place)
    refuse_empty(place, pairset)
    accepted = frozenset(accept) | frozenset(read_design(design).pairs.accept if design else ())
    _refuse_unknown(accepted)
    trained = read_trained(run) if run else None
    n = len(pairset.pairs)
    measured = {i * n // MOST_MEASURED for i in range(MOST_MEASURED)} if n > MOST_MEASURED else range(n)
    items = ((pair, i in measured) for i, pair in enumerate(progress(pairset.pairs)))
    looked = list(spread(partial(_look, place, pairset.model_copy(update={"pairs": ()})), items))
    table = CueTable.of((one.pair, one.real, one.fake, one.relation) for one in looked)
    found = search(table, accepted=accepted & frozenset(NAMES), unequal_road=unequal_road(pairset), seed=seed)
    findings: tuple[Finding, ...] = (
        _number(n),
        _trained_on(pairset, looked, train_photos, trained, progress),
        _duplicates(looked),
        _flagged(looked, MONOCHROME, lambda relation: relation.is_monochrome, "has no colour to judge"),
        _flagged(looked, IDENTICAL, lambda relation: relation.is_nearly_identical, "shows no difference to see"),
    )
    findings = tuple(_accepted(finding, accepted) for finding in findings)
    return Check(
        address=str(address),
        condition=pairset.condition,
        n_pairs=n,
        image_size=pairset.image_size,
        verdict=_worst([*(cue.verdict for cue in found.cues), *(finding.verdict for finding in findings)]),
        cues=found.cues,
        findings=findings,
        notes=found.notes,
    )


def _look(place: Place, pairset: PairSet, item: tuple[Pair, bool]) -> _Looked:
    pair, is_measured = item
    found = read_pair(place, pairset, pair)
    real, fake = np.asarray(found.real), np.asarray(found.fake)
    return _Looked(
        pair.id,
        measure(found.real_data, real) if is_measured else measure_file(found.real_data),
        measure(found.fake_data, fake) if is_measured else measure_file(found.fake_data),
        relate(real, fake),
        fingerprint(found.real),
    )


def _number(n: int) -> Finding:
    if n >= FEWEST:
        return Finding(NUMBER, "pass", (), "There are enough pairs to tell a difference from chance.")
    text = (
        f"{n} pairs cannot tell any difference from chance: only metadata and shifts are found. Give at least {FEWEST}."
    )
    return Finding(NUMBER, "warning", (), text)


def _refuse_unknown(accepted: Iterable[str]) -> None:
    known = (*NAMES, *FINDINGS)
    for name in sorted(set(accepted) - set(known)):
        raise GiveAwayError(f"cannot accept {name!r}: there is no such cue; the cues are {', '.join(known)}")


def _accepted(finding: Finding, accepted: frozenset[str]) -> Finding:
    if finding.verdict not in ("warning", "failure") or finding.name not in accepted:
        return finding
    return Finding(finding.name, "accepted", finding.cases, finding.explanation)


def _worst(verdicts: Sequence[Verdict]) -> Verdict:
    order: tuple[Verdict, ...] = ("failure", "warning")
    return next((verdict for verdict in order if verdict in verdicts), "pass")


def unequal_road(pairset: PairSet) -> str | None:
    """What the road did to more of one side than of the other, in words; None if it treated them alike."""
    real, fake = (int(pairset.road.get(side, {}).get("resized", 0)) for side in ("real", "fake"))
    n = len(pairset.pairs)
    if abs(real - fake) <= UNEQUAL * n:
        return None
    return f"{real} of {n} reals and {fake} of {n} fakes were reduced in size"


# Photographs.


def read_trained(run: Path) -> frozenset[str]:
    """The hashes of the photographs that a run was trained on, and of those they were cut from: its photos.csv, side train.

    Raises:
        PhotoError: if there is no such list.
    """
    table = run / "photos.csv" if run.is_dir() else run
    try:
        with table.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["side"] == "train" and not row["left_out"]]
            return frozenset(row[column] for row in rows for column in ("sha256", "source_sha256"))
    except (OSError, UnicodeDecodeError, csv.Error, KeyError) as error:
        missing = f"it has no column {error}" if isinstance(error, KeyError) else error
        reason = error.strerror if isinstance(error, OSError) else missing
        raise PhotoError(f"{table} cannot be read ({reason}); give a run's folder, or its photos.csv") from error


def _trained_on(
    pairset: PairSet, looked: Sequence[_Looked], folder: Path | None, trained: frozenset[str] | None, progress: Progress
) -> Finding:
    """Photographs shown that were trained on: by the hash of the file, else by what they look like."""
    if folder is None and trained is None:
        return Finding(TRAINED, "not looked for", (), "Give --train-photos DIR, --run RUN, or both.")
    cases = {
        pair.id: Case((pair.id,), "the very file was trained on")
        for pair in pairset.pairs
        if trained and pair.photo_sha256 in trained
    }
    n_compared = len(trained or ())
    if folder:
        paths = picture_paths(folder)
        seen = [one for one in spread(partial(_fingerprint_of, pairset.image_size), progress(paths)) if one]
        seen = [(path, sha256, mark) for path, sha256, mark in seen if trained is None or sha256 in trained]
        n_compared = len(seen)
        same = {sha256: path for path, sha256, _ in seen}
        for pair in pairset.pairs:
            if pair.photo_sha256 in same:
                cases[pair.id] = Case((pair.id,), f"is the same file as {same[pair.photo_sha256].name}")
        for match in near_duplicates_between([one.fingerprint for one in looked], [mark for _, _, mark in seen]):
            pair_id, path = looked[match.i].pair, seen[match.j][0]
            cases.setdefault(pair_id, Case((pair_id,), _alike(match, f"{LOOKS_LIKE} {path.name}")))
    if not cases:
        return Finding(TRAINED, "pass", (), f"None of the photographs shown is among {n_compared} trained on.")
    remedy = "exclude them with 'realism pairs select --exclude'"
    if trained is None:
        remedy += ", or, if the folder holds photographs that were held out, give --run"
    text = (
        f"{len(cases)} of {len(looked)} photographs shown are, or look like, one of {n_compared} trained on; {remedy}."
    )
    is_certain = any(not case.detail.startswith(LOOKS_LIKE) for case in cases.values())
    return Finding(TRAINED, "failure" if is_certain else "warning", tuple(cases.values()), text)


def _fingerprint_of(size: tuple[int, int], path: Path) -> tuple[Path, str, Fingerprint] | None:
    """Of a photograph cut as those shown are; None if it cannot be decoded: then nothing was trained on it."""
    try:
        return path, sha256_hex(path.read_bytes()), fingerprint(cut(open_photo(path), size))
    except BrokenPhotoError:
        return None


def _duplicates(looked: Sequence[_Looked]) -> Finding:
    matches = near_duplicates([one.fingerprint for one in looked])
    if not matches:
        return Finding(DUPLICATES, "pass", (), "No two photographs look alike.")
    cases = tuple(Case((looked[match.i].pair, looked[match.j].pair), _alike(match, "look alike")) for match in matches)
    text = f"Photographs that look alike: {len(cases)}. Who has seen one knows the other; exclude one of each two."
    return Finding(DUPLICATES, "warning", cases, text)


def _alike(match: Match, what: str) -> str:
    return f"{what}{', mirrored' if match.mirrored else ''} ({match.distance} of 64 bits differ)"


def _flagged(looked: Sequence[_Looked], name: str, is_so: Callable[[Relation], bool], what: str) -> Finding:
    cases = tuple(Case((one.pair,), what) for one in looked if is_so(one.relation))
    if not cases:
        return Finding(name, "pass", (), f"No pair is {name}.")
    text = f"Of {len(looked)} pairs {len(cases)} {'is' if len(cases) == 1 else 'are'} {name}: no observer could judge that; exclude."
    return Finding(name, "warning", cases, text)


def text_of(check: Check) -> str:
    """The check for people to read on a terminal."""
    width, height = check.image_size
    lines = [f"{check.address}: {check.n_pairs} pairs of condition {check.condition}, {width}x{height}; all verify", ""]
    lines.append(f"{'cue':<20} {'tells the fake':>15}   {'95 % interval':<16} verdict")
    for cue in check.cues:
        interval = f"{cue.low:.1%} to {cue.high:.1%}"
        lines.append(f"{cue.name:<20} {cue.accuracy:>15.1%}   {interval:<16} {cue.verdict}")
    lines += [
        "",
        *(f"{finding.name:<20} {len(finding.cases):>15}   {'':<16} {finding.verdict}" for finding in check.findings),
    ]
    told = [one for one in check.results if one.verdict != "pass" or "chance." in one.explanation[-12:]]
    if told:
        lines += ["", *(f"{one.verdict}: {one.name}. {one.explanation}" for one in told)]
        for finding in check.findings:
            lines += [f"  {' and '.join(case.pairs)}: {case.detail}" for case in finding.cases[:10]]
            lines += [f"  and {len(finding.cases) - 10} more" for _ in finding.cases[10:11]]
    lines += [f"note: {note}" for note in check.notes]
    return "\n".join([*lines, "", f"Verdict: {check.verdict}"])
