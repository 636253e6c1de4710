"""An export folder or a response table in; the answers and everything known about their study out."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from pydantic import ValidationError

from analysis.fool_rate import counted_trials
from protocol import InputError
from protocol.design import StudyDesign
from protocol.pairset import MANIFEST, PairSet, parse_manifest, sha256_hex
from protocol.responses import ORIGINS, read_responses


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
    """What a report is made of. ``design`` is None and ``pairsets`` empty for a bare response table.

    ``refusals``: how many people declined; None where the source does not say.
    """

    table: pd.DataFrame
    responses_sha256: str
    design: StudyDesign | None
    pairsets: Mapping[str, PairSetFolder]
    refusals: int | None = None

    @property
    def picture_px(self) -> tuple[int, int] | None:
        """Width and height of the study's pictures, which are of one size in all its pair sets."""
        return next((found.pairset.image_size for found in self.pairsets.values()), None)


def read_source(path: Path) -> Source:
    """Read an export folder (responses.csv, and if there: design.json, study.json, pairsets/CONDITION/) or a response table.

    Raises:
        ReportError: if the folder holds no responses.csv, or the table holds several studies.
        InputError: if a file in it is not what its name promises.
    """
    responses = path / "responses.csv" if path.is_dir() else path
    if path.is_dir() and not responses.is_file():
        raise ReportError(f"{path} is not an export folder: it has no responses.csv; make one with 'realism export'")
    table = read_responses(responses)
    studies = sorted(set(table["study"]))
    if len(studies) > 1:
        raise ReportError(
            f"{responses}: holds {len(studies)} studies ({', '.join(studies[:5])}); a report is on one, keep its rows only"
        )
    design = _read_design(path / "design.json") if path.is_dir() else None
    pairsets = _read_pairsets(path / "pairsets") if path.is_dir() else {}
    refusals = _read_refusals(path / "study.json") if path.is_dir() else None
    return Source(table, sha256_hex(responses.read_bytes()), design, pairsets, refusals)


def choose_origin(table: pd.DataFrame, origin: str | None) -> str:
    """Whose answers a report is on: as asked; else people's if any counts, else simulated ones.

    Without an answered main trial it is simulated only if every row is.

    Raises:
        ReportError: if the origin is unknown, or the table holds answers but none of that origin.
    """
    found = table["origin"].value_counts()
    if origin is None:
        origins = set(counted_trials(table)["origin"]) or set(found.index)
        return "simulated" if origins == {"simulated"} else "human"
    if origin not in ORIGINS:
        raise ReportError(f"origin is {origin!r}; give {' or '.join(ORIGINS)}")
    if len(table) and origin not in found:
        raise ReportError(
            f"no row has the origin {origin}; found {', '.join(f'{n} {name}' for name, n in found.items())}"
        )
    return origin


def _read_design(path: Path) -> StudyDesign | None:
    if not path.exists():
        return None
    try:
        return StudyDesign.model_validate(json.loads(path.read_bytes()))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the design"
        raise ReportError(f"{path}: {key}: {first['msg']}; export the study again with 'realism export'") from error
    except OSError as error:  # a folder, or not ours to read
        raise ReportError(
            f"{path} cannot be read ({error.strerror}); export the study again with 'realism export'"
        ) from error
    except ValueError as error:  # not JSON, or not UTF-8
        raise ReportError(f"{path} is not JSON ({error}); export the study again with 'realism export'") from error


def _read_refusals(path: Path) -> int | None:
    if not path.exists():
        return None
    try:
        return int(json.loads(path.read_bytes())["refusals"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ReportError(
            f"{path} does not say how many refused; export the study again with 'realism export'"
        ) from error


def _read_pairsets(folder: Path) -> dict[str, PairSetFolder]:
    manifests = sorted(folder.glob(f"*/{MANIFEST}")) if folder.is_dir() else []
    pairsets = {}
    for manifest in manifests:
        data = manifest.read_bytes()
        pairsets[manifest.parent.name] = PairSetFolder(
            manifest.parent, parse_manifest(data, str(manifest)), sha256_hex(data)
        )
    return pairsets
