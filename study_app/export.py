"""A study in, a folder out: response table, sessions, codebook, design, and the pair sets as they were frozen."""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session as DatabaseSession

from protocol.pairset import ImageFile, parse_manifest, write_manifest
from protocol.place import Place
from protocol.responses import COLUMNS, FURTHER_COLUMNS, format_time, write_table
from protocol.whole_folder import whole_folder
from study_app.db import reading
from study_app.session_table import recruitment_table, session_table
from study_app.store import AT_ONCE, get_image
from study_app.studies import design_of, find_study
from study_app.tables import PREVIEW, Condition, Pair, Participant, Refusal, Response, Session, Study, Trial

FORMAT = "realism-study/1"
ENTRIES = frozenset(
    {"responses.csv", "sessions.csv", "recruitment.csv", "codebook.csv", "study.json", "design.json", "pairsets"}
)
_RESPONSE_COLUMNS = COLUMNS | FURTHER_COLUMNS


def export_study(
    engine: Engine,
    store: Place,
    name: str,
    out: Path,
    *,
    images: bool = True,
    replace: bool = False,
    recruitment_ids: bool = False,
) -> int:
    """Write the export folder aside and move it into place; the number of rows in its response table.

    ``recruitment_ids`` adds recruitment.csv, by which sessions can be told whose they are. Previews are left out.

    Raises:
        StudyError: if there is no such study.
        FolderError: if ``out`` exists and is not to be replaced, or is no export.
        StoreError: if a picture is missing from the store, or the store cannot be reached.
    """
    with whole_folder(out, "export", ENTRIES, _is_export, replace=replace) as folder, reading(engine) as db:
        study = find_study(db, name)
        rows = write_table(folder / "responses.csv", _rows(db, study), _RESPONSE_COLUMNS)
        codebook = {"responses.csv": _RESPONSE_COLUMNS}
        tables = {"sessions.csv": session_table(db, study, design_of(study))}
        if recruitment_ids:
            tables["recruitment.csv"] = recruitment_table(db, study)
        for file, (columns, sessions) in tables.items():
            write_table(folder / file, sessions, columns)
            codebook[file] = columns
        _write_codebook(folder / "codebook.csv", codebook)
        _write_json(folder / "study.json", _about(db, study))
        _write_json(folder / "design.json", study.design)
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
        .where(Session.study_id == study.id, Participant.origin != PREVIEW)
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
            "exposure_ms": trial.exposure_ms,
            "block": trial.block,
            "repeat_of": trial.repeat_of,
            "language": session.language,
            "outcome": session.outcome,
        } | (_answer(response) if response else {})


def _answer(response: Response) -> dict[str, Any]:
    return {
        "chosen_side": response.chosen_side,
        "rt_ms": response.rt_ms,
        "exposure_measured_ms": response.exposure_measured_ms,
        "late_frames": response.late_frames,
        "presented_at": format_time(response.presented_at),
        "answered_at": format_time(response.answered_at),
        "exposure_second_measured_ms": response.exposure_second_measured_ms,
        "frame_interval_ms": response.frame_interval_ms,
        "picture_width_px": response.picture_width_px,
        "focus_lost": None if response.focus_lost is None else str(response.focus_lost).lower(),
        "presentations": response.presentations,
        "input_method": response.input_method,
    }


def _about(db: DatabaseSession, study: Study) -> dict[str, Any]:
    refusals = db.scalar(select(func.count(Refusal.id)).where(Refusal.study_id == study.id))
    return {
        "format": FORMAT,
        "study": study.name,
        "created_at": format_time(study.created_at),
        "closed_at": format_time(study.closed_at) or None,
        "design_sha256": study.design_sha256,
        "plan_sha256": study.plan_sha256,
        "refusals": refusals or 0,
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _write_codebook(path: Path, codebook: Mapping[str, Mapping[str, str]]) -> None:
    rows = (
        {"file": file, "column": column, "meaning": meaning}
        for file, columns in codebook.items()
        for column, meaning in columns.items()
    )
    write_table(path, rows, ("file", "column", "meaning"))


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
