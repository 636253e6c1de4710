"""study.toml: what it fills in, and what it refuses in one sentence."""

from datetime import date, datetime
from pathlib import Path

import pytest

from protocol.design import DesignError, StudyDesign, canonical_sha256, parse_design, read_design

MINIMAL = {"title": "Dogs and flowers", "conditions": {"cgan": "pairs/cgan", "wgan": "pairs/wgan"}}


def test_protocol_fills_in_what_is_not_said():
    design = parse_design(MINIMAL, "study.toml")
    assert design.name == "dogs-and-flowers"
    assert (design.trials.practice, design.trials.main) == (10, 40)
    assert design.exposure_ms == 1000
    assert design.question == "fake"


def test_study_may_differ_from_its_protocol_key_by_key():
    design = parse_design({**MINIMAL, "trials": {"main": 20}, "exposure": {"duration_ms": "unlimited"}}, "study.toml")
    assert (design.trials.practice, design.trials.main) == (10, 20)
    assert design.exposure_ms is None


# A design as releases before blocks, catch trials and languages froze it.
FROZEN = {
    "name": "flowers",
    "title": "Which flower is real?",
    "protocol": "zhang2016",
    "question": "fake",
    "description": "",
    "consent": "You are invited.",
    "trials": {"practice": 10, "main": 40},
    "exposure": {"duration_ms": 1000},
    "conditions": {"cgan": "pairs/cgan", "wgan": "pairs/wgan"},
    "pairs": {"accept": ["sharpness"]},
    "assignment": {"conditions": "within"},
    "analysis": {
        "level": 0.95,
        "seed": 1,
        "exclude_unfinished": True,
        "min_median_rt_ms": None,
        "max_one_side": 0.9,
    },
}


def test_design_frozen_by_an_earlier_release_is_still_valid():
    design = StudyDesign.model_validate(FROZEN)
    assert (design.trials.catch, design.trials.repeat, design.trials.blocks) == (0, 0, 1)
    assert (design.layout, design.sides, design.description) == ("side_by_side", ("left", "right"), None)
    assert design.told(design.title, "de") == "Which flower is real?"
    plan = design.analysis
    assert plan.model_dump(mode="json", exclude_unset=True) == FROZEN["analysis"]  # what was fixed, and nothing else
    assert (plan.max_catch_missed, plan.max_focus_lost, plan.max_late, plan.exclude_colour_vision) == (
        *[None] * 3,
        False,
    )


def test_whole_plan_is_read_and_comes_back_from_its_frozen_form(tmp_path: Path):
    (tmp_path / "study.toml").write_text(WHOLE + PLAN)
    design = read_design(tmp_path / "study.toml")
    plan = design.analysis
    assert (plan.max_catch_missed, plan.max_focus_lost, plan.max_late) == (2, 0.1, 0.0)
    assert (plan.equivalence_margin, plan.exclude_colour_vision) == (0.1, True)
    frozen = StudyDesign.model_validate(design.model_dump(mode="json"))
    assert frozen == design
    assert canonical_sha256(frozen.analysis) == canonical_sha256(plan)
    assert frozen.analysis.model_fields_set == set(type(plan).model_fields)  # defaults are fixed with the rest


PLAN = """
[analysis]
level = 0.9
equivalence_margin = 0.1
exclude_unfinished = true
min_median_rt_ms = 300
max_one_side = 0.9
max_catch_missed = 2
exclude_colour_vision = true
max_focus_lost = 0.1
max_late = 0.0
"""


@pytest.mark.parametrize(
    ("differing", "layout", "sides"),
    [
        ({}, "side_by_side", ("left", "right")),
        ({"presentation": "sequential"}, "sequential", ("first", "second")),
        ({"task": "yes_no"}, "single", ("real", "fake")),
        ({"task": "yes_no", "presentation": "sequential"}, "single", ("real", "fake")),
    ],
)
def test_layout_decides_the_words_for_the_sides(differing, layout, sides):
    design = parse_design({**MINIMAL, **differing}, "study.toml")
    assert (design.layout, design.sides) == (layout, sides)


def test_sections_of_a_whole_study_are_read_from_toml(tmp_path: Path):
    (tmp_path / "study.toml").write_text(WHOLE)
    design = read_design(tmp_path / "study.toml")
    assert design.told(design.title, "de") == "Blumen"
    assert design.told(design.title, "fr") == "Flowers"  # not one of the study's languages: the first
    assert design.questions["glasses"].options == {"yes": "yes", "no": "no"}
    assert design.stopping.until == "2027-01-31T18:00:00+00:00"
    assert design.stopping.quotas[0].participants == 20
    assert design.trials.catch == 4  # as its protocol has it, now that there are pairs
    assert StudyDesign.model_validate(design.model_dump(mode="json")) == design  # as it comes back from the database


WHOLE = """
languages = ["en", "de"]
conditions = { cgan = "pairs/cgan" }

[title]
en = "Flowers"
de = "Blumen"

[catch]
pairset = "pairs/catch"
max_missed = 1

[questions.glasses]
kind = "single"
label = { en = "Do you wear glasses?", de = "Tragen Sie eine Brille?" }
options = ["yes", "no"]
required = true

[screen]
min_width_px = 800
gamut = "srgb"

[colour_vision]
plates = 6
exclude = true

[stopping]
participants = 40
until = 2027-01-31T18:00:00Z
quotas = [{ question = "glasses", answer = "yes", participants = 20 }]
"""


def test_cyclegan_asks_for_the_real_one():
    assert parse_design({**MINIMAL, "protocol": "cyclegan2017"}, "study.toml").question == "real"


@pytest.mark.parametrize(
    ("differing", "message"),
    [
        ({"trails": {"main": 4}}, "unknown key 'trails'; did you mean 'trials'"),
        ({"trials": {"mian": 4}}, r"unknown key 'trials\.mian'; did you mean 'main'"),
        ({"analysis": {"levle": 0.9}}, r"unknown key 'analysis\.levle'; did you mean 'level'"),
        ({"protocol": "zhang2061"}, "did you mean 'zhang2016'"),
        (
            {"protocol": "mine"},
            "known are cyclegan2017, ding2018, hype_infinity, hype_time, pix2pix2017, zhang2016",
        ),
        ({"protocol": "hype_tine"}, "did you mean 'hype_time'"),
        (
            {"trials": {"main": 5}, "assignment": {"conditions": "within"}},
            "2 conditions cannot share equally; make it a multiple of 2",
        ),
        ({"trials": {"blocks": 3}}, "40, which 3 blocks cannot share equally; make it a multiple of 3"),
        (
            {"trials": {"main": 9, "blocks": 3}, "assignment": {"conditions": "within"}},
            "9, which 3 blocks of 2 conditions cannot share equally; make it a multiple of 6",
        ),
        ({"trials": {"repeat": 21}}, r"trials\.repeat is 21 of 40 main trials; repeat half of them at most"),
        (
            {"trials": {"catch": 2}},
            r"trials\.catch and pairs with an obvious answer, \[catch\] pairset = .*come together",
        ),
        ({"trials": {"catch": 21}, "catch": {"pairset": "x"}}, r"trials\.catch is 21 beside 40 others"),
        ({"catch": {"pairset": "x", "max_missed": -1}}, r"catch\.max_missed: .*greater than or equal to 0"),
        ({"catch": {"pairset": "x"}, "conditions": {"catch": "y"}}, "a condition is called 'catch'.*rename it"),
        ({"exposure": {"duration_ms": "adaptive"}}, r"\[staircase\] come together; give both or neither"),
        (
            {"protocol": "hype_time", "stopping": {"half_width": 0.05}},
            r"stopping\.half_width: an adaptive exposure holds every fool rate alike.*stop by stopping\.participants",
        ),
        ({"staircase": {}}, r"\[staircase\] come together; give both or neither"),
        (
            {"protocol": "hype_time", "staircase": {"start_ms": 50}},
            "staircase: start_ms is 50, outside min_ms to max_ms; choose one between them",
        ),
        (
            {"protocol": "hype_time", "staircase": {"up_mss": 9}},
            r"unknown key 'staircase\.up_mss'; did you mean 'up_ms'",
        ),
        (
            {"qualification": {"min_correct": 0.65}, "trials": {"practice": 0}},
            "a qualification is decided by practice trials; give trials.practice",
        ),
        ({"qualification": {"min_correct": 65.0}}, r"qualification\.min_correct: .*less than or equal to 1"),
        ({"questions": {"age": {"kind": "numbre", "label": "Age?"}}}, r"questions\.age\.kind: .*'number'"),
        ({"questions": {"age": {"kind": "number"}}}, r"questions\.age\.label is missing; add it"),
        (
            {"questions": {"age": {"kind": "number", "label": "Age?", "lable": "?"}}},
            r"unknown key 'questions\.age\.lable'; did you mean 'label'",
        ),
        ({"questions": {"sex": {"kind": "single", "label": "Sex?"}}}, r"questions\.sex: a choice needs options"),
        (
            {"questions": {"age": {"kind": "number", "label": "Age?", "options": ["1"]}}},
            r"questions\.age: a question of kind number has no options; remove them",
        ),
        (
            {"questions": {"age": {"kind": "number", "label": "Age?", "min": 9.0, "max": 1.0}}},
            r"questions\.age: min 9 is above max 1; exchange them",
        ),
        ({"screen": {"gamut": "wide"}}, r"screen\.gamut: .*'any', 'srgb', 'p3' or 'rec2020'"),
        (
            {"colour_vision": {"plates": 4}},
            r"colour_vision: min_correct is 5 of 4 plates; ask for as many at most",
        ),
        ({"recruitment": {"source": "prolific"}}, r'recruitment: Prolific gives .*; add completed = "CODE"'),
        ({"recruitment": {"source": "sona"}}, "recruitment: SONA grants credit at an address of its own"),
        (
            {"recruitment": {"completion_url": "http://x"}},
            r"recruitment\.completion_url: an address begins with https://",
        ),
        ({"stopping": {"until": date(2027, 1, 31)}}, r"stopping\.until: give a moment with its time zone"),
        ({"stopping": {"until": datetime(2027, 1, 31, 18)}}, r"stopping\.until: give a moment with its time zone"),
        (
            {"stopping": {"quotas": [{"question": "age", "answer": "9", "participants": 3}]}},
            r"stopping\.quotas: 'age' is no single choice asked before the trials",
        ),
        (
            {
                "questions": {"sex": {"kind": "single", "label": "Sex?", "options": ["f", "m"]}},
                "stopping": {"quotas": [{"question": "sex", "answer": "x", "participants": 3}]},
            },
            r"stopping\.quotas: 'x' is no option of 'sex'",
        ),
        ({"languages": ["xx"]}, r"languages\.0: .*'en'"),
        ({"languages": []}, "languages: .*at least 1"),
        ({"name": "x", "title": {"xx": "Blumen"}}, "title: 'xx' is no language of the survey; known are en, de"),
        ({"name": "x", "title": {"en": " "}}, "title: a text is empty; write it, or leave the key out"),
        ({"name": "x", "title": 3}, "title: give a text, or one per language"),
        ({"languages": ["en", "de"], "title": {"en": "Flowers"}}, "title has no text in 'de', one of the study's lang"),
        (
            {"languages": ["en", "de"], "debriefing": {"text": {"en": "Thanks"}}},
            r"debriefing\.text has no text in 'de'",
        ),
        ({"trials": {"main": 0}}, r"trials\.main.*greater than or equal to 1"),
        ({"trials": 3}, r"trials: .*found 3"),
        ({"conditions": {}}, "conditions: .*at least 1"),
        ({"conditions": {"CGAN Flowers": "x"}}, "conditions.CGAN Flowers"),
        ({"question": "which"}, "question: .*'real' or 'fake'"),
        ({"analysis": {"level": 95}}, r"analysis\.level: give a fraction above 0\.5, at most 0\.9999 \(found 95\)"),
        ({"analysis": {"level": 0.99995}}, r"analysis\.level: give a fraction .*\(found 0\.99995\)"),
        ({"analysis": {"seed": -1}}, r"analysis\.seed: give a whole number, 0 or more \(found -1\)"),
        (
            {"analysis": {"equivalence_margin": 5}},
            r"analysis\.equivalence_margin: give a fraction between 0 and 0\.5 \(found 5\)",
        ),
        (
            {"analysis": {"max_catch_missed": -1}},
            r"analysis\.max_catch_missed: give a whole number from 0 to 200 \(found -1\)",
        ),
        (
            {"analysis": {"max_focus_lost": 10}},
            r"analysis\.max_focus_lost: give a share from 0 to below 1 \(found 10\)",
        ),
        ({"analysis": {"max_late": -0.1}}, r"analysis\.max_late: give a share from 0 to below 1 \(found -0\.1\)"),
        ({"analysis": {"max_lates": 0.1}}, r"unknown key 'analysis\.max_lates'; did you mean 'max_late'"),
        ({"protocol": ["zhang2016"]}, "protocol is"),
        (
            {"exposure": {"duration_ms": "forever"}},
            r"exposure\.duration_ms: give whole milliseconds .* \"unlimited\" or \"adaptive\"",
        ),
        ({"exposure": {"duration_ms": 3}}, "from 16 to 60000"),
        ({"trials": {"practice": True}}, r"trials\.practice: .*integer"),
        ({"trials": {"main": "40"}}, r"trials\.main: .*integer"),
        (
            {"analysis": {"min_median_rt_ms": float("inf")}},
            r"analysis\.min_median_rt_ms: give milliseconds, more than 0 \(found inf\)",
        ),
        ({"conditions": {"cgan": "pairs\0"}}, r"conditions\.cgan: "),
        ({"title": "Цветы"}, "name is missing, and the title gives none"),
    ],
)
def test_wrong_design_is_told_by_key(differing, message):
    with pytest.raises(DesignError, match=message):
        parse_design({**MINIMAL, **differing}, "study.toml")


def test_missing_title_is_told():
    with pytest.raises(DesignError, match="is missing; add it"):
        parse_design({"conditions": {"a": "b"}}, "study.toml")


def test_unreadable_and_broken_files_are_told(tmp_path: Path):
    with pytest.raises(DesignError, match=r"nowhere\.toml cannot be read \(No such file"):
        read_design(tmp_path / "nowhere.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("title = ")
    with pytest.raises(DesignError, match="is not TOML"):
        read_design(broken)


def test_plan_hash_follows_the_plan_alone():
    one = parse_design(MINIMAL, "study.toml")
    other = parse_design({**MINIMAL, "title": "Another"}, "study.toml")
    stricter = parse_design({**MINIMAL, "analysis": {"exclude_unfinished": True}}, "study.toml")
    assert canonical_sha256(one.analysis) == canonical_sha256(other.analysis)
    assert canonical_sha256(one.analysis) != canonical_sha256(stricter.analysis)


def test_names_that_look_like_languages_are_names():
    question = {"kind": "single", "label": "Which is your first language?", "options": {"de": "German", "fr": "French"}}
    design = parse_design({**MINIMAL, "conditions": {"es": "x", "fr": "y"}, "questions": {"tongue": question}}, "t")
    assert design.questions["tongue"].options == {"de": "German", "fr": "French"}


@pytest.mark.parametrize(
    ("differing", "message"),
    [
        ({"conditions": {"catch": "x"}}, "a condition is called 'catch'.*rename it"),
        ({"catch": {"pairset": "x"}, "trials": {"catch": 0}}, "trials.catch and pairs.*come together"),
        ({"catch": {"pairset": "x", "max_missed": 4}}, "catch.max_missed is 4 of 4 catch trials.*lower it"),
        (
            {"analysis": {"exclude_colour_vision": True}},
            r"analysis\.exclude_colour_vision needs the plates that screen for it; add \[colour_vision\]",
        ),
        (
            {"analysis": {"max_catch_missed": 0}},
            r"analysis\.max_catch_missed is 0 of 0 catch trials.*lower it, or leave",
        ),
        (
            {"analysis": {"max_late": 0.1}, "exposure": {"duration_ms": "unlimited"}},
            r"analysis\.max_late: pictures that stay until the answer have no late frames; leave it out",
        ),
        ({"exposure": {"duration_ms": "unlimited", "mask_ms": 100}}, "exposure.mask_ms: nothing follows.*mask_ms = 0"),
        (
            {"recruitment": {"source": "prolific", "completed": "A"}, "instructions": {"max_attempts": 2}},
            "needs a code that Prolific knows; add recruitment.failed_checks",
        ),
        ({"languages": ["en", "en"]}, "languages: a language is listed twice"),
        ({"recruitment": {"source": "sona", "completion_url": "https://x.org/{who}"}}, "{who} is nothing"),
        ({"recruitment": {"source": "sona", "completion_url": "https://x.org/"}}, "SONA grants credit"),
        ({"questions": {"q": {"kind": "likert", "label": "l", "max": 5}}}, "min and max bound a number"),
        ({"questions": {"q": {"kind": "text", "label": "l", "low": "a"}}}, "low and high name the ends"),
        ({"questions": {"q": {"kind": "single", "label": "l", "options": ["a", "a"]}}}, "two options are the same"),
        ({"recruitment": {"completed": "A B"}}, "recruitment.completed: a code has 1 to 64 letters"),
    ],
)
def test_settings_that_would_do_nothing_or_harm_are_refused(differing, message):
    with pytest.raises(DesignError, match=message):
        parse_design({**MINIMAL, **differing}, "study.toml")
