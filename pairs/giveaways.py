"""The cues of all pairs in; how often each, and all together, would tell the fake, and whether that is an error, out.

Every number is the accuracy of an observer who is shown both pictures of a pair, knows nothing but the cue, and has to
say which is fake: 0.5 is no give-away, 1 a complete one. What the making of the pairs could have caused ("road") is a
warning above 0.6 and a failure above 0.75; what the generator itself causes ("content") is told, not judged. Neither is
believed before chance is ruled out over all results together.
"""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray

from pairs.answers import (
    Floats,
    cross_validated_sign,
    exact_interval,
    holm,
    number_features,
    regression,
    sign_test,
    word_features,
)
from pairs.cues import LUMA_COLUMN, NUMBERS, Cues
from pairs.relation import Relation
from pairs.wording import (
    ALIGNMENT,
    ALL,
    ALL_ROAD,
    METADATA,
    NUMBER_CUES,
    OF_CONTENT,
    REMEDIES,
    SAME_ROAD,
    SETTINGS,
    Cause,
    first,
    metadata_sentence,
    number_sentence,
    settings_sentence,
)
from protocol import InputError

Verdict = Literal["pass", "warning", "failure", "accepted", "content"]

WARNING, FAILURE = 0.6, 0.75  # accuracy
SHIFTED_FAILURE = 0.05  # share of the comparable pairs
LEVEL = 0.01  # of a false alarm in a whole search
N_FOLDS = 10
LUMINANCE = "mean luminance"
FILE_SIZES = ("file size", "compression ratio")


class GiveAwayError(InputError):
    """A search for give-aways that cannot be made."""


@dataclass(frozen=True)
class CueResult:
    """What one cue gives away.

    ``accuracy`` is that on unseen pairs, ties counting half, with its exact 95 % interval ``low`` to ``high``; for
    alignment it is the share of shifted pairs among the comparable ones, which ``n_pairs`` counts. ``p_value`` is
    adjusted for all results (Holm 1979); alignment, where chance has no part, has none.
    """

    name: str
    cause: Cause
    n_pairs: int
    accuracy: float
    low: float
    high: float
    p_value: float | None
    verdict: Verdict
    explanation: str


@dataclass(frozen=True)
class GiveAways:
    """One result for each of ``NAMES``, in that order; ``notes`` are sentences on the search as a whole."""

    cues: tuple[CueResult, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class CueTable:
    """The cues of n pairs, a few hundred bytes each: ``real`` and ``fake`` are (n, 10), as ``Cues.numbers``."""

    ids: tuple[str, ...]
    real: Floats
    fake: Floats
    real_settings: tuple[str, ...]
    fake_settings: tuple[str, ...]
    real_metadata: tuple[tuple[str, ...], ...]
    fake_metadata: tuple[tuple[str, ...], ...]
    relations: tuple[Relation, ...]

    @classmethod
    def of(cls, rows: Iterable[tuple[str, Cues, Cues, Relation]]) -> Self:
        """From id, cues of the real picture, cues of the fake one, and their relation, of every pair."""
        table = list(rows)
        ids, real, fake, relations = zip(*table, strict=True) if table else ((), (), (), ())
        return cls(
            ids,
            _numbers(real),
            _numbers(fake),
            tuple(sys.intern(cues.settings) for cues in real),  # thousands of files share a few settings
            tuple(sys.intern(cues.settings) for cues in fake),
            tuple(cues.metadata for cues in real),
            tuple(cues.metadata for cues in fake),
            relations,
        )

    def where(self, kept: NDArray[np.bool_]) -> "CueTable":
        """Some of the pairs; ``kept`` is (n,)."""
        rows = np.flatnonzero(kept)
        taken: dict[str, Any] = {
            field.name: own[rows]
            if isinstance(own := getattr(self, field.name), np.ndarray)
            else tuple(own[i] for i in rows)
            for field in fields(self)
        }
        return replace(self, **taken)


def _numbers(cues: Sequence[Cues]) -> Floats:
    return np.array([one.numbers for one in cues], np.float64).reshape(-1, len(NUMBERS) + 1)


NAMES: Final = (
    *FILE_SIZES,
    SETTINGS,
    METADATA,
    *NUMBERS[2:],
    ALIGNMENT,
    ALL_ROAD,
    ALL,
)
"""The results' names, in their order; those that a design may accept."""


def search(
    table: CueTable, *, accepted: frozenset[str] = frozenset(), unequal_road: str | None = None, seed: int = 0
) -> GiveAways:
    """How often each cue tells the fake, over pairs that are independent of each other.

    ``accepted`` names the results that the study's design accepts; the regressions do without those cues.
    ``unequal_road`` says, as a sentence, how the two sides were treated differently: then noise, sharpness and
    upsampling may come from the road and are judged as such. The seed draws the folds.

    Raises:
        GiveAwayError: if there is no pair, or ``accepted`` has a name that is not in ``NAMES``.
    """
    _check(table, accepted)
    everything, table = table, table.where(np.isfinite(table.real[:, 0]))
    n = len(table.ids)
    folds = np.random.default_rng(seed).permutation(n) % min(N_FOLDS, n)
    causes: dict[str, Cause] = {name: "road" if unequal_road else cue.cause for name, cue in NUMBER_CUES.items()}
    same_encoder = len({*table.real_settings, *table.fake_settings}) == 1
    if same_encoder and not unequal_road and not any((*table.real_metadata, *table.fake_metadata)):
        causes |= dict.fromkeys(FILE_SIZES, "content")  # of files that one encoder wrote
    findings, features = {}, {}
    for name in NUMBERS:
        difference, i, chances = _difference(table, name)
        p_value = min(1.0, chances * sign_test(difference))
        findings[name] = _Finding(cross_validated_sign(difference, folds), p_value, number_sentence(difference, name))
        features[name] = number_features(difference, table.real[:, i], table.fake[:, i])
    words = {
        SETTINGS: (
            table.real_settings,
            table.fake_settings,
            settings_sentence(table.real_settings, table.fake_settings),
        ),
        METADATA: (
            _joined(table.real_metadata),
            _joined(table.fake_metadata),
            metadata_sentence(everything.ids, everything.real_metadata, everything.fake_metadata),
        ),
    }
    for name, (real, fake, sentence) in words.items():
        features[name] = word_features(real, fake)
        findings[name] = _Finding(*regression(features[name], folds), sentence)
        causes[name] = "road"
    together: dict[str, tuple[Cause, ...]] = {ALL_ROAD: ("road",), ALL: ("road", "content")}
    for name, kinds in together.items():
        used = [cue for cue in features if causes[cue] in kinds and cue not in accepted]
        answers, p_value = regression(np.hstack([features[cue] for cue in used] or [np.zeros((n, 0))]), folds)
        sentence = f"{len(used)} cues together tell the fake in {answers.sum():g} of {n} unseen pairs."
        findings[name] = _Finding(answers, p_value, sentence)
        causes[name] = "road" if unequal_road else kinds[-1]
    adjusted = dict(zip(findings, holm([finding.p_value for finding in findings.values()]), strict=True))
    results: dict[str, CueResult] = {}
    for name, finding in findings.items():  # all cues last: what the road did wrong, they show too
        some_error = any(result.verdict in ("warning", "failure") for result in results.values())
        cause: Cause = "road" if name == ALL and some_error else causes[name]
        always = name == METADATA and any((*everything.real_metadata, *everything.fake_metadata))
        results[name] = _result(name, cause, finding, adjusted[name], always, accepted, unequal_road)
    results[ALIGNMENT] = _alignment_result(everything, accepted)
    return GiveAways(tuple(results[name] for name in NAMES), _notes(n, len(everything.ids), accepted))


def _check(table: CueTable, accepted: frozenset[str]) -> None:
    if not table.ids:
        raise GiveAwayError("there is no pair to search for give-aways; give at least one")
    if unknown := sorted(accepted - set(NAMES)):
        raise GiveAwayError(f"the design accepts '{unknown[0]}', which is no cue; known are: {', '.join(NAMES)}")


N_TESTS = len(NAMES) - 1  # alignment is none
FEWEST = next(k for k in range(1, 99) if N_TESTS * 2.0 ** (1 - k) < LEVEL)  # pairs that could tell anything from chance


@dataclass(frozen=True)
class _Finding:
    """``answers`` (n,) are 1 where the fake was told, 0 where the real one was taken for it, 0.5 for a tie."""

    answers: Floats
    p_value: float
    sentence: str


# One number.


def _difference(table: CueTable, name: str) -> tuple[Floats, int, int]:
    """Fake minus real (n,), small ones 0; the column that it comes from, and among how many that was chosen.

    Mean luminance has two measures, lightness and luma. A generator keeps the one, and moves the other with every colour,
    which is no error: that which most pairs share is asked. If there is none, that which tells more.
    """
    columns = (NUMBERS.index(name), *((LUMA_COLUMN,) if name == LUMINANCE else ()))
    differences = {i: table.fake[:, i] - table.real[:, i] for i in columns}
    differences = {i: np.where(np.abs(d) <= NUMBER_CUES[name].tolerance, 0, d) for i, d in differences.items()}
    shared = [i for i in columns if np.mean(differences[i] == 0) >= 0.5]
    candidates = shared[:1] or columns
    i = min(candidates, key=lambda column: sign_test(differences[column]))
    return differences[i], i, len(candidates)


# Words.


def _joined(metadata: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(", ".join(names) for names in metadata)


# Verdicts.


def _result(
    name: str,
    cause: Cause,
    finding: _Finding,
    p_value: float,
    always: bool,
    accepted: frozenset[str],
    unequal_road: str | None,
) -> CueResult:
    n, right = len(finding.answers), float(finding.answers.sum())
    found = p_value < LEVEL and right / n > WARNING
    verdict: Verdict = "pass"
    if always or found:
        verdict = "failure" if always or right / n > FAILURE else "warning"
        verdict = "content" if cause == "content" else "accepted" if name in accepted else verdict
    says = [finding.sentence]
    if verdict in ("warning", "failure"):
        says.append(REMEDIES.get(name, SAME_ROAD))
        says += (
            [f"The two sides were treated differently: {unequal_road}."] if name in OF_CONTENT and unequal_road else []
        )
    elif verdict != "pass":
        says.append("The generator causes it." if verdict == "content" else "The design accepts it.")
    elif right / n > WARNING:
        says.append("That may be chance.")
    return CueResult(name, cause, n, right / n, *exact_interval(right, n), p_value, verdict, " ".join(says))


def _alignment_result(table: CueTable, accepted: frozenset[str]) -> CueResult:
    comparable = sum(relation.is_comparable for relation in table.relations)
    shifted = [id_ for id_, relation in zip(table.ids, table.relations, strict=True) if relation.is_shifted]
    share = len(shifted) / comparable if comparable else 0.0
    low, high = exact_interval(len(shifted), comparable) if comparable else (0.0, 1.0)
    verdict: Verdict = "failure" if share > SHIFTED_FAILURE else "warning" if shifted else "pass"
    sentence = f"The fake is shifted against the real one in {len(shifted)} of {comparable} comparable pairs"
    if shifted:
        sentence += f" ({first(shifted)}). Crop and resize both sides in one way"
        verdict = "accepted" if ALIGNMENT in accepted else verdict
    return CueResult(ALIGNMENT, "road", comparable, share, low, high, None, verdict, sentence + ".")


def _notes(n: int, n_all: int, accepted: frozenset[str]) -> tuple[str, ...]:
    few = f"{n} pairs cannot tell any difference from chance; give at least {FEWEST}."
    part = f"The cues in pixels and sizes are those of {n} of the {n_all} pairs, evenly taken."
    left_out = f"The regressions do without what the design accepts: {', '.join(sorted(accepted))}."
    said = ((few, n < FEWEST), (part, n < n_all), (left_out, bool(accepted)))
    return tuple(sentence for sentence, holds in said if holds)
