"""Protocols by name: what each fixes, what counts as a departure from it, and that the documentation says the same."""

import runpy
from pathlib import Path
from typing import Any

import pytest

from protocol.design import StudyDesign, parse_design
from protocol.presets import PRESETS, Preset, deviations, leaves

DOCS = Path(__file__).resolve().parent.parent / "docs"
CATCH = {"catch": {"pairset": "pairs/catch"}}  # for the protocol that has catch trials
# Another value for each setting that a source may state.
OTHERS = {
    "task": {"2afc": "yes_no", "yes_no": "2afc"},
    "presentation": {"side_by_side": "sequential"},
    "question": {"real": "fake", "fake": "real"},
    "trials.feedback": {True: False},
    "assignment.conditions": {"between": "within"},
    "exposure.duration_ms": {1000: "unlimited", "unlimited": 500},
    "qualification.min_correct": {0.65: 0.5},
    "trials.blocks": {3: 5},
    "staircase.start_ms": {500: 600},
    "staircase.min_ms": {100: 300},
}


def study(protocol: str, **differing: object) -> StudyDesign:
    """The least that a study.toml of this protocol must say, and what differs."""
    minimal = {"title": "Flowers", "protocol": protocol, "conditions": {"cgan": "pairs/cgan"}}
    catch = CATCH if "catch" in PRESETS[protocol].published.get("trials", {}) else {}
    return parse_design({**minimal, **catch, **differing}, "study.toml")


def at(design: StudyDesign, key: str) -> object:
    value: Any = design
    for part in key.split("."):
        value = getattr(value, part)
    return value


def with_other(protocol: str, key: str, value: object) -> StudyDesign:
    """The same study but for one setting."""
    other = OTHERS[key][value] if key in OTHERS else value * 3 or 120  # type: ignore[operator, index]
    *section, name = key.split(".")
    return study(protocol, **({section[0]: {name: other}} if section else {name: other}))


PUBLISHED = [(name, key, value) for name, preset in PRESETS.items() for key, value in leaves(preset.published)]
# An adaptive study without its staircase is another one altogether; see below.
APART = [one for one in PUBLISHED if one[2] != "adaptive"]


@pytest.mark.parametrize(("protocol", "key", "value"), PUBLISHED)
def test_published_value_holds_where_the_file_says_nothing(protocol: str, key: str, value: object) -> None:
    assert at(study(protocol), key) == value


@pytest.mark.parametrize("protocol", PRESETS)
def test_study_that_says_nothing_else_departs_in_nothing(protocol: str) -> None:
    px = PRESETS[protocol].picture_px or 99
    assert deviations(study(protocol), (px, px)) == ()


@pytest.mark.parametrize(("protocol", "key", "value"), APART)
def test_every_published_value_that_differs_is_listed_and_nothing_else(protocol: str, key: str, value: object) -> None:
    (found,) = deviations(with_other(protocol, key, value))
    assert found.key == key
    assert found.published != found.here


def test_adaptive_study_without_its_staircase_departs_in_all_of_it() -> None:
    found = {one.key: one.here for one in deviations(study("hype_time", exposure={"duration_ms": 500}))}
    steps = {f"staircase.{key}": "none" for key in ("start_ms", "min_ms", "max_ms", "down_ms", "up_ms")}
    assert found == {"exposure.duration_ms": "500", **steps}


OPEN = [(name, key, value) for name, preset in PRESETS.items() for key, value in leaves(preset.ours)]


@pytest.mark.parametrize(("protocol", "key", "value"), OPEN)
def test_what_the_source_leaves_open_may_be_changed(protocol: str, key: str, value: object) -> None:
    assert at(study(protocol), key) == value
    assert deviations(with_other(protocol, key, value)) == ()


def test_trials_that_the_source_does_not_have_are_deviations() -> None:
    found = deviations(study("pix2pix2017", trials={"catch": 4, "repeat": 5}, **CATCH))
    assert [(one.key, one.published, one.here) for one in found] == [
        ("trials.catch", "0", "4"),
        ("trials.repeat", "0", "5"),
    ]


def test_catch_trials_without_pairs_for_them_are_missed() -> None:
    design = parse_design({"title": "Flowers", "conditions": {"cgan": "pairs/cgan"}}, "study.toml")
    assert design.trials.catch == 0
    assert [(one.key, one.published, one.here) for one in deviations(design)] == [("trials.catch", "4", "0")]


def test_size_of_the_pictures_counts_where_the_source_has_one() -> None:
    (found,) = deviations(study("cyclegan2017"), (256, 128))
    assert (found.key, found.published, found.here) == ("picture size", "256 × 256 px", "256 × 128 px")
    assert deviations(study("cyclegan2017")) == ()  # not known
    assert deviations(study("hype_time"), (128, 128)) == ()


@pytest.mark.parametrize(("name", "preset"), PRESETS.items())
def test_source_is_cited_with_its_year(name: str, preset: Preset) -> None:
    year = name[-4:] if name[-4:].isdigit() else "2019"  # HYPE is the one without its year in its name
    assert year in preset.source


def test_documentation_says_what_the_presets_say() -> None:
    page = (DOCS / "protocols.md").read_text(encoding="utf-8")
    assert runpy.run_path(str(DOCS / "protocols.py"))["with_tables"](page) == page, "run 'python docs/protocols.py'"
