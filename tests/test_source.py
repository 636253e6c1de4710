"""What a report is made of: an export folder with all that its files say, or a bare table."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from test_responses import row, written

from analysis.reading.source import ReportError, read_source
from protocol.design import canonical_json, canonical_sha256, parse_design

DESIGN = parse_design(
    {
        **{"title": "Flowers", "protocol": "zhang2016", "question": "fake", "conditions": {"cgan": "sets/cgan"}},
        **{"trials": {"practice": 1, "main": 4}, "analysis": {"max_one_side": 0.9}},
    },
    "the test",
)


def folder_of(folder: Path, raw_design: dict[str, Any], **study: Any) -> Path:
    written(folder, row())
    (folder / "design.json").write_text(json.dumps(raw_design))
    hashes = {"design_sha256": canonical_sha256(DESIGN), "plan_sha256": canonical_sha256(DESIGN.analysis)}
    (folder / "study.json").write_text(json.dumps({"refusals": 2, **hashes, **study}))
    return folder


def test_an_export_says_what_was_frozen(tmp_path: Path) -> None:
    source = read_source(folder_of(tmp_path, json.loads(canonical_json(DESIGN))))
    assert source.design == DESIGN
    assert source.raw_plan == DESIGN.analysis.model_dump(mode="json")
    assert source.design_sha256 == canonical_sha256(DESIGN)
    assert source.frozen_plan_sha256 == canonical_sha256(DESIGN.analysis)
    assert (source.refusals, source.notes, source.sessions) == (2, (), None)


def test_a_plan_without_the_keys_of_later_releases_keeps_its_hash(tmp_path: Path) -> None:
    raw = json.loads(canonical_json(DESIGN))
    raw["analysis"] = {"level": 0.95, "seed": 1}
    frozen = hashlib.sha256(b'{"level":0.95,"seed":1}').hexdigest()
    source = read_source(folder_of(tmp_path, raw, plan_sha256=frozen, design_sha256=None))
    assert (source.frozen_plan_sha256, source.raw_plan, source.notes) == (frozen, {"level": 0.95, "seed": 1}, ())
    assert source.design is not None
    assert canonical_sha256(source.design.analysis) != frozen


def test_a_plan_changed_after_it_was_frozen_is_no_frozen_plan(tmp_path: Path) -> None:
    raw = json.loads(canonical_json(DESIGN))
    raw["analysis"]["max_one_side"] = 0.7
    source = read_source(folder_of(tmp_path, raw))
    assert source.frozen_plan_sha256 is None
    assert [note.split(" (")[0] for note in source.notes] == [
        "The plan in design.json is not the one that the study froze",
        "The design in design.json is not the one that the study froze",
    ]


def test_sessions_are_read_as_text_as_they_were_given(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, json.loads(canonical_json(DESIGN)))
    (folder / "sessions.csv").write_text("session,question.age,colour_vision.passed\n'=s1,007,true\nNA,,\n")
    sessions = read_source(folder).sessions
    assert sessions is not None
    assert sessions["session"].tolist() == ["=s1", "NA"]
    assert sessions["question.age"].iloc[0] == "007"
    assert sessions["colour_vision.passed"].isna().tolist() == [False, True]


def test_a_bare_table_knows_of_no_study_and_its_unusable_rows_come_along(tmp_path: Path) -> None:
    path = written(tmp_path, row(), row(trial_index=1, kind="test"))
    source = read_source(path)
    assert (source.design, source.raw_plan, source.design_sha256, source.frozen_plan_sha256) == (None,) * 4
    assert (len(source.table), source.unusable[0].lines) == (1, (3,))


def test_several_studies_in_one_table_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"holds 2 studies \(birds, flowers\); a report is on one"):
        read_source(written(tmp_path, row(), row(study="birds")))


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("design.json", "[]", "design.json holds no JSON object"),
        ("design.json", "{", "design.json is not JSON"),
        ("design.json", '{"title": "\\ud800"}', "design.json is not JSON"),
        ("study.json", '{"refusals": "many"}', r"study.json does not say how many refused \(refusals is 'many'\)"),
        *(
            ("study.json", f'{{"refusals": {found}}}', "does not say how many refused")
            for found in ("null", "true", "-1", "2.5", "Infinity", "[2]")
        ),
        ("study.json", '{"refusals": 2, "plan_sha256": 5}', "study.json: plan_sha256 is 5, which is no hash"),
        (
            "study.json",
            '{"refusals": 2, "design_sha256": ["a"]}',
            r"study.json: design_sha256 is \['a'\], which is no hash",
        ),
        ("sessions.csv", "participant\np1\n", "sessions.csv has no column session"),
        ("sessions.csv", "", "sessions.csv is no table"),
    ],
)
def test_a_damaged_export_is_refused(tmp_path: Path, file: str, content: str, message: str) -> None:
    folder = folder_of(tmp_path, json.loads(canonical_json(DESIGN)))
    (folder / file).write_text(content)
    with pytest.raises(ReportError, match=message):
        read_source(folder)


def test_a_protocol_of_a_later_release_is_refused(tmp_path: Path) -> None:
    raw = json.loads(canonical_json(DESIGN)) | {"protocol": "nope"}
    with pytest.raises(
        ReportError, match=r"design\.json: protocol 'nope' is not one that this release knows \(.*zhang2016"
    ):
        read_source(folder_of(tmp_path, raw, plan_sha256=None, design_sha256=None))
