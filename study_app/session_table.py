"""A study's sessions in, a row each out: how it went, and what was given at every step beside the trials."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session as DatabaseSession

from protocol.design import StudyDesign
from protocol.responses import format_time
from study_app.tables import PREVIEW, Condition, Pair, Participant, Session, Step, Study, Trial

Row = dict[str, Any]

COLUMNS = {
    "study": "name of the study",
    "session": "one participant's sitting, an opaque id",
    "participant": "the person, an opaque id",
    "origin": "human or simulated",
    "conditions": "the conditions of the session's main trials, in the study's order, with spaces between them",
    "language": "language of the session, a BCP 47 tag",
    "started_at": "consent, UTC, RFC 3339",
    "completed_at": "the last answer, UTC, RFC 3339; empty where trials are unanswered",
    "outcome": "completed, screened_out, failed_checks or full; empty where the session has not ended",
    "consent_sha256": "hash of the text that was agreed to, as it read in the session's language",
}
RECRUITMENT_COLUMNS = {
    "session": "one participant's sitting, an opaque id",
    "participant": "the person, an opaque id",
    "recruitment_id": "the id under which the person was recruited",
    "completion_code": "the code that the person was shown",
}
# What a step's columns begin with; a step of another name is its own.
PREFIXES = {"questions": "question", "questions_after": "question"}
# Columns of the steps; N stands for any number.
STEP_COLUMNS = {
    "screen.width_px": "width of the page's window, CSS pixels",
    "screen.height_px": "height of the page's window, CSS pixels",
    "screen.screen_width_px": "width of the screen, CSS pixels",
    "screen.screen_height_px": "height of the screen, CSS pixels",
    "screen.device_pixel_ratio": "pixels of the screen to a CSS pixel",
    "screen.viewport_scale": "magnification by two fingers",
    "screen.zoom": "zoom of the browser, estimated",
    "screen.frame_interval_ms": "time between two frames, milliseconds",
    "screen.gamut": "largest colour gamut that the browser says the screen has: none, srgb, p3 or rec2020",
    "screen.colour_bits": "bits of a pixel's colour",
    "screen.prefers_dark": "whether dark pages are preferred",
    "screen.forced_colours": "whether the system forces its own colours on pages",
    "screen.reduced_motion": "whether less motion is preferred",
    "screen.pointer": "fine (mouse, pen), coarse (touch) or none",
    "screen.browser": "family of the browser: chromium, firefox, safari or other",
    "screen.px_per_mm": "CSS pixels to a millimetre, by the size of a bank card; empty where that was skipped",
    "screen.gave_up": "true where the participant could not make the screen fit",
    "colour_vision.correct": "plates read",
    "colour_vision.passed": "whether these were enough for the study",
    "colour_vision.plate_N.axis": "what the plate tells: control (everybody reads it), protan, deutan or tritan",
    "colour_vision.plate_N.number": "the number on the plate",
    "colour_vision.plate_N.answer": "what was read",
    "instructions.attempts": "answers to the question on the instructions, the right one included",
    "comprehension.wrong": "wrong answers to the question on the instructions",
}


def session_table(db: DatabaseSession, study: Study, design: StudyDesign) -> tuple[dict[str, str], list[Row]]:
    """Every column with its meaning, and the rows in the order in which the sessions began; previews stay here."""
    conditions, given = _conditions(db, study), _given(db, study)
    asked = {f"question.{name}": design.told(one.label, "en") for name, one in design.questions.items()}
    columns, rows = COLUMNS | asked, []
    for session, participant in _sessions(db, study):
        row = {
            "study": study.name,
            "session": session.public_id,
            "participant": participant.public_id,
            "origin": participant.origin,
            "conditions": " ".join(conditions[session.id]),
            "language": session.language,
            "started_at": format_time(session.started_at),
            "completed_at": format_time(session.completed_at),
            "outcome": session.outcome,
            "consent_sha256": participant.consent_sha256,
        }
        for step, data in given[session.id]:
            cells = dict(_flat(data, PREFIXES.get(step, step)))
            columns |= {column: _meaning(column, step) for column in cells if column not in columns}
            row |= cells
        rows.append(row)
    return columns, rows


def _meaning(column: str, step: str) -> str:
    return STEP_COLUMNS.get(re.sub(r"_\d+\b", "_N", column), f"as found at the step {step}")


def recruitment_table(db: DatabaseSession, study: Study) -> tuple[dict[str, str], list[Row]]:
    """The same for what ties sessions to people: ids of the recruiting service, and completion codes."""
    columns, rows = dict(RECRUITMENT_COLUMNS), []
    for session, participant in _sessions(db, study):
        details = dict(_flat(participant.recruitment or {}, "recruitment"))
        columns |= dict.fromkeys(details, "as the recruiting service sent it")
        row = {"session": session.public_id, "participant": participant.public_id, **details}
        rows.append(row | {"recruitment_id": participant.recruitment_id, "completion_code": session.completion_code})
    return columns, rows


def _sessions(db: DatabaseSession, study: Study) -> list[tuple[Session, Participant]]:
    query = (
        select(Session, Participant)
        .join(Participant, Session.participant_id == Participant.id)
        .where(Session.study_id == study.id, Participant.origin != PREVIEW)
        .order_by(Session.id)
    )
    return [(session, participant) for session, participant in db.execute(query)]


def _conditions(db: DatabaseSession, study: Study) -> Mapping[int, list[str]]:
    rows = db.execute(
        select(Session.id, Condition.name)
        .join(Trial, Trial.session_id == Session.id)
        .join(Pair, Trial.pair_id == Pair.id)
        .join(Condition, Pair.condition_id == Condition.id)
        .where(Session.study_id == study.id, Trial.kind == "main")
        .group_by(Session.id, Condition.name, Condition.position)
        .order_by(Session.id, Condition.position)
    )
    found: defaultdict[int, list[str]] = defaultdict(list)
    for session, condition in rows:
        found[session].append(condition)
    return found


def _given(db: DatabaseSession, study: Study) -> Mapping[int, list[tuple[str, Row]]]:
    """The steps of each session with what was given there, in the order in which they were done."""
    rows = db.execute(
        select(Step.session_id, Step.name, Step.data)
        .join(Session, Step.session_id == Session.id)
        .where(Session.study_id == study.id)
        .order_by(Step.id)
    )
    found: defaultdict[int, list[tuple[str, Row]]] = defaultdict(list)
    for session, name, data in rows:
        found[session].append((name, data))
    return found


def _flat(data: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Columns PREFIX.KEY, deeper ones PREFIX.KEY.KEY; a list is one cell of JSON."""
    for key, value in data.items():
        column = f"{prefix}.{key}"
        if isinstance(value, dict):
            yield from _flat(value, column)
        elif isinstance(value, list):
            yield column, json.dumps(value, ensure_ascii=False)
        else:
            yield column, str(value).lower() if isinstance(value, bool) else value
