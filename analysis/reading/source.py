"""An export folder or a response table in; the answers and everything known about their study out."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError

from analysis.fool_rate import counted_trials
from analysis.reading.amt import PRACTICE
from analysis.reading.table import read_table
from analysis.reading.unusable import Unusable
from protocol import InputError
from protocol.design import StudyDesign
from protocol.pairset import MANIFEST, PairSet, parse_manifest, sha256_hex
from protocol.presets import PRESETS
from protocol.responses import ORIGINS, unprotected

# Columns that say whose trials count; a table of millions is not copied for it.
_COUNTING = ("origin", "kind", "real_side", "chosen_side", "against")


class ReportError(InputError):
    """A source that cannot be reported, or a folder that a report must not replace."""


@dataclass(frozen=True)
class PairSetFolder:
    """A pair set as exported: its manifest, the hash of the manifest's bytes, and where pictures would be."""

    folder: Path
    pairset: PairSet
    manifest_sha256: str

    @property
    def has_images(self) -> bool:
        return (self.folder / "images").is_dir()


@dataclass(frozen=True)
class Source:
    """What a report is made of. A bare response table has no design and no hashes of one, no sessions and no pair sets.

    Attributes:
        table, unusable, notes, sides_known: as ``reading.ResponseTable``.
        refusals: how many people declined; None where the source does not say.
        sessions: sessions.csv, all its cells text or NA.
        raw_plan: the section ``analysis`` of design.json as it stands there, without keys that came with later releases.
        design_sha256: of design.json's content as it stands there, in the spelling that a study hashes.
        frozen_plan_sha256: the hash under which the study froze its plan; None if it says none, or if the plan in
            design.json is another one, which ``notes`` then tells.
    """

    table: pd.DataFrame
    responses_sha256: str
    design: StudyDesign | None
    pairsets: Mapping[str, PairSetFolder]
    refusals: int | None = None
    sessions: pd.DataFrame | None = None
    raw_plan: Mapping[str, Any] | None = None
    design_sha256: str | None = None
    frozen_plan_sha256: str | None = None
    unusable: tuple[Unusable, ...] = ()
    notes: tuple[str, ...] = ()
    sides_known: bool = True

    @property
    def picture_px(self) -> tuple[int, int] | None:
        """Width and height of the study's pictures, which are of one size in all its pair sets."""
        return next((found.pairset.image_size for found in self.pairsets.values()), None)


def read_source(
    path: Path, columns: Mapping[str, str] | None = None, strict: bool = False, practice: int = PRACTICE
) -> Source:
    """Read an export folder (responses.csv, and if there: sessions.csv, design.json, study.json, pairsets/CONDITION/) or a
    response table; ``columns``, ``strict`` and ``practice`` as ``reading.read_table``.

    Raises:
        ReportError: if the folder holds no responses.csv, or the table holds several studies.
        InputError: if a file in it is not what its name promises.
    """
    responses = path / "responses.csv" if path.is_dir() else path
    if path.is_dir() and not responses.is_file():
        raise ReportError(f"{path} is not an export folder: it has no responses.csv; make one with 'realism export'")
    read = read_table(responses, columns, strict, practice)
    studies = sorted(read.table["study"].unique())
    if len(studies) > 1:
        raise ReportError(
            f"{responses}: holds {len(studies)} studies ({', '.join(studies[:5])}); a report is on one, keep its rows only"
        )
    design = _read_json(path / "design.json") if path.is_dir() else None
    study = _read_json(path / "study.json") if path.is_dir() else None
    changed = _changed_since(design, study, path / "study.json") if design is not None and study else {}
    with responses.open("rb") as file:
        responses_sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return Source(
        table=read.table,
        responses_sha256=responses_sha256,
        design=None if design is None else _design(design, path / "design.json"),
        pairsets=_read_pairsets(path / "pairsets") if path.is_dir() else {},
        refusals=None if study is None else _refusals(study, path / "study.json"),
        sessions=_read_sessions(path / "sessions.csv") if path.is_dir() else None,
        raw_plan=None if design is None else design.get("analysis", {}),
        design_sha256=None if design is None else _sha256(design),
        frozen_plan_sha256=None if study is None or "plan" in changed else study.get("plan_sha256"),
        unusable=read.unusable,
        notes=(*read.notes, *changed.values()),
        sides_known=read.sides_known,
    )


def choose_origin(table: pd.DataFrame, origin: str | None) -> str:
    """Whose answers a report is on: as asked; else people's if any counts, else simulated ones.

    Without an answered main trial it is simulated only if every row is.

    Raises:
        ReportError: if the origin is unknown, or the table holds answers but none of that origin.
    """
    found = table["origin"].value_counts()
    if origin is None:
        counted = counted_trials(table[[column for column in _COUNTING if column in table]])
        origins = set(counted["origin"].unique()) or set(found.index)
        return "simulated" if origins == {"simulated"} else "human"
    if origin not in ORIGINS:
        raise ReportError(f"origin is {origin!r}; give {' or '.join(ORIGINS)}")
    if len(table) and origin not in found:
        raise ReportError(
            f"no row has the origin {origin}; found {', '.join(f'{n} {name}' for name, n in found.items())}"
        )
    return origin


def _read_json(path: Path) -> dict[str, Any] | None:
    """The object in a file of an export; None where there is no such file."""
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_bytes())
        _sha256(content)  # half a surrogate pair is JSON, and no text
    except OSError as error:  # a folder, or not ours to read
        raise ReportError(
            f"{path} cannot be read ({error.strerror}); export the study again with 'realism export'"
        ) from error
    except ValueError as error:  # not JSON, or not UTF-8
        raise ReportError(f"{path} is not JSON ({error}); export the study again with 'realism export'") from error
    if not isinstance(content, dict):
        raise ReportError(f"{path} holds no JSON object; export the study again with 'realism export'")
    return content


def _design(raw: dict[str, Any], path: Path) -> StudyDesign:
    try:
        design = StudyDesign.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the design"
        raise ReportError(f"{path}: {key}: {first['msg']}; export the study again with 'realism export'") from error
    if design.protocol not in PRESETS:
        raise ReportError(
            f"{path}: protocol {design.protocol!r} is not one that this release knows ({', '.join(PRESETS)}); "
            "report with the release that ran the study, or a later one"
        )
    return design


def _refusals(study: dict[str, Any], path: Path) -> int:
    found = study.get("refusals")
    if type(found) is not int or found < 0:  # true is an int too
        raise ReportError(
            f"{path} does not say how many refused (refusals is {found!r:.80}); export the study again with 'realism export'"
        )
    return found


def _changed_since(design: dict[str, Any], study: dict[str, Any], path: Path) -> dict[str, str]:
    """Remarks on what design.json holds that is not what the study froze.

    Raises:
        ReportError: if study.json, at ``path``, keeps something other than text as a hash.
    """
    # The file's own keys are hashed, as they were then: a key that a later release adds changes no old hash.
    remarks = {}
    for what, content in (("plan", design.get("analysis", {})), ("design", design)):
        frozen, found = study.get(f"{what}_sha256"), _sha256(content)
        if not isinstance(frozen, str | None):
            raise ReportError(
                f"{path}: {what}_sha256 is {frozen!r:.80}, which is no hash; export the study again with 'realism export'"
            )
        if frozen is not None and frozen != found:
            remarks[what] = (
                f"The {what} in design.json is not the one that the study froze (its hash is {found[:12]}…, the study kept "
                f"{frozen[:12]}…): it was changed afterwards."
            )
    return remarks


def _sha256(raw: Any) -> str:
    """The hash of JSON in the spelling of ``protocol.design.canonical_json``."""
    spelled = json.dumps(raw, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(spelled.encode()).hexdigest()


def _read_sessions(path: Path) -> pd.DataFrame | None:
    if not path.exists():
        return None
    try:
        sessions = pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""], encoding="utf-8-sig")
    except (ValueError, OSError) as error:  # pandas' parser errors are ValueErrors
        raise ReportError(f"{path} is no table ({error}); export the study again with 'realism export'") from error
    if "session" not in sessions:
        raise ReportError(f"{path} has no column session; export the study again with 'realism export'")
    return sessions.map(unprotected, na_action="ignore")


def _read_pairsets(folder: Path) -> dict[str, PairSetFolder]:
    manifests = sorted(folder.glob(f"*/{MANIFEST}")) if folder.is_dir() else []
    pairsets = {}
    for manifest in manifests:
        data = manifest.read_bytes()
        pairsets[manifest.parent.name] = PairSetFolder(
            manifest.parent, parse_manifest(data, str(manifest)), sha256_hex(data)
        )
    return pairsets
