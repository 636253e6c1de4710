"""A study in, a folder out: response table, codebook, design, and the pair sets as they were frozen."""

import csv
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session as DatabaseSession

from protocol.pairset import ImageFile, parse_manifest, write_manifest
from protocol.place import Place
from protocol.responses import COLUMNS, format_time, write_responses
from protocol.whole_folder import whole_folder
from study_app.db import reading
from study_app.store import AT_ONCE, get_image
from study_app.studies import find_study
from study_app.tables import Condition, Pair, Participant, Response, Session, Study, Trial

ENTRIES = frozenset({"responses.csv", "codebook.csv", "design.json", "pairsets"})


def export_study(
    engine: Engine, store: Place, name: str, out: Path, *, images: bool = True, replace: bool = False
) -> int:
    """Write the export folder aside and move it into place; the number of rows in its response table.

    Raises:
        StudyError: if there is no such study.
        FolderError: if ``out`` exists and is not to be replaced, or is no export.
        StoreError: if a picture is missing from the store, or the store cannot be reached.
    """
    with whole_folder(out, "export", ENTRIES, _is_export, replace=replace) as folder, reading(engine) as db:
        study = find_study(db, name)
        rows = write_responses(folder / "responses.csv", _rows(db, study))
        _write_codebook(folder / "codebook.csv")
        design = json.dumps(study.design, indent=1, ensure_ascii=False) + "\n"
        (folder / "design.json").write_text(design, encoding="utf-8")
        for condition in study.conditions:
            _write_pairset(store, condition, folder / "pairsets" / condition.name, images)
    return rows


def _is_export(folder: Path) -> bool:
    return (folder / "responses.csv").is_file()


def _rows(db: DatabaseSession, study: Study) -> Iterator[dict[str, Any]]:
    """A row per trial of every session, in the order they began; trials never answered have no answer."""
    query = (
        select(Session, Participant, Condition.name, Pair.pair, Trial, Response)
        .join(Participant, Session.participant_id == Participant.id)
        .join(Trial, Trial.session_id == Session.id)
        .join(Pair, Trial.pair_id == Pair.id)
        .join(Condition, Pair.condition_id == Condition.id)
        .outerjoin(Response, Response.trial_id == Trial.id)
        .where(Session.study_id == study.id)
        .order_by(Session.id, Trial.trial_index)
        .execution_options(yield_per=1000)
    )
    for session, participant, condition, pair, trial, response in db.execute(query):
        yield {
            "study": study.name,
            "session": session.public_id,
            "participant": participant.public_id,
            "origin": participant.origin,
            "condition": condition,
            "pair": pair,
            "trial_index": trial.trial_index,
            "kind": trial.kind,
            "real_side": trial.real_side,
            "chosen_side": response and response.chosen_side,
            "rt_ms": response and response.rt_ms,
            "exposure_ms": trial.exposure_ms,
            "exposure_measured_ms": response and response.exposure_measured_ms,
            "late_frames": response and response.late_frames,
            "presented_at": format_time(response.presented_at if response else None),
            "answered_at": format_time(response.answered_at if response else None),
        }


def _write_codebook(path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["column", "meaning"])
        writer.writerows(COLUMNS.items())


def _write_pairset(store: Place, condition: Condition, folder: Path, images: bool) -> None:
    folder.mkdir(parents=True)
    write_manifest(folder, condition.manifest)
    if not images:
        return
    (folder / "images").mkdir()
    manifest = parse_manifest(condition.manifest, f"condition {condition.name}")

    def write(file: ImageFile) -> None:
        (folder / file.file).write_bytes(get_image(store, file.sha256))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(write, (file for pair in manifest.pairs for file in (pair.real, pair.fake))))
