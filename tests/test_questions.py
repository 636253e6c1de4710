"""What is stored of the forms beside the trials, and what is refused, without a server."""

import json
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.design import StudyDesign, parse_design
from protocol.sections import Question, Screen
from study_app.comprehension import options_in_order, right_option
from study_app.questions import check_answers
from study_app.screen_check import ScreenError, lacks, read_measured, read_px_per_mm

COLOUR = Question(kind="single", label="Which?", options={"red": "Red", " green ": "Green", "5": "Five"})
COLOURS = Question(kind="multiple", label="Which ones?", options={"red": "Red", "green": "Green", "blue": "Blue"})
AGE = Question(kind="number", label="How old?", min=18, max=120)
ANY_NUMBER = Question(kind="number", label="How much?")
WORDS = Question(kind="text", label="What?", max_length=10)
LIKERT = Question(kind="likert", label="How?", points=5)

MEASURED = {
    "width_px": 1280,
    "height_px": 800,
    "screen_width_px": 1280,
    "screen_height_px": 900,
    "device_pixel_ratio": 2,
    "viewport_scale": 1,
    "zoom": None,
    "frame_interval_ms": 16.67,
    "gamut": "p3",
    "colour_bits": 24,
    "prefers_dark": False,
    "forced_colours": False,
    "reduced_motion": True,
    "pointer": "fine",
    "browser": "firefox",
}

bounded = settings(deadline=None, derandomize=True, database=None, max_examples=300)


@pytest.mark.parametrize(
    ("question", "sent", "stored"),
    [
        (COLOUR, ["red"], "red"),
        (COLOUR, [" green "], " green "),
        (COLOURS, ["blue", "red", "red"], ["red", "blue"]),
        (AGE, ["18"], 18),
        (AGE, [" 33.0 "], 33),
        (AGE, ["1.2e2"], 120),
        (AGE, ["33.5"], 33.5),
        (ANY_NUMBER, ["-0.25"], -0.25),
        (ANY_NUMBER, ["1e300"], 1e300),
        (WORDS, [" ab\r\ncd\x00\x1b "], "ab\ncd"),
        (WORDS, ["=1+1"], "=1+1"),
        (WORDS, ["😀" * 10], "😀" * 10),
        (LIKERT, ["5"], 5),
    ],
)
def test_answers_that_fit_are_stored(question, sent, stored):
    values, problems = check_answers({"q": question}, {"q": sent})
    assert problems == {}
    assert values["q"] == stored
    assert type(values["q"]) is type(stored)


@pytest.mark.parametrize(
    ("question", "sent", "problem"),
    [
        (COLOUR, ["green"], "unknown"),
        (COLOUR, ["red", "5"], "unknown"),
        (COLOURS, ["red", "pink"], "unknown"),
        (AGE, ["17.99"], "range"),
        (AGE, ["121"], "range"),
        (AGE, ["old"], "number"),
        (AGE, ["nan"], "number"),
        (AGE, ["1_8"], "number"),
        (AGE, ["33", "34"], "unknown"),
        (ANY_NUMBER, ["1e999"], "number"),
        (ANY_NUMBER, ["1" * 51], "number"),
        (ANY_NUMBER, ["1,5"], "number"),
        (WORDS, ["a" * 11], "length"),
        (LIKERT, ["0"], "unknown"),
        (LIKERT, ["6"], "unknown"),
        (LIKERT, ["1.0"], "unknown"),
        (LIKERT, ["１"], "unknown"),
    ],
)
def test_answers_that_do_not_fit_are_told(question, sent, problem):
    assert check_answers({"q": question}, {"q": sent}) == ({}, {"q": problem})


@pytest.mark.parametrize("question", [COLOUR, COLOURS, AGE, WORDS, LIKERT])
@pytest.mark.parametrize("sent", [{}, {"q": []}, {"q": [""]}, {"q": ["  "]}, {"q": ["\x00\n"]}])
def test_only_a_required_question_must_be_answered(question, sent):
    assert check_answers({"q": question}, sent) == ({}, {})
    required = question.model_copy(update={"required": True})
    assert check_answers({"q": required}, sent) == ({}, {"q": "missing"})


ASKED = {"a": COLOUR, "b": COLOURS, "c": AGE, "d": WORDS, "e": LIKERT, "f": ANY_NUMBER}
sent_text = st.text(max_size=30) | st.sampled_from(["red", "5", "1", "33", "-1e5", "blue", "\x00", "٣٣", "inf"])


@bounded
@given(st.dictionaries(st.sampled_from([*ASKED, "z"]), st.lists(sent_text, max_size=4)))
def test_whatever_is_sent_is_stored_as_one_of_its_kind_or_told(form):
    values, problems = check_answers(ASKED, form)
    assert not values.keys() & problems.keys()
    assert values.keys() | problems.keys() <= ASKED.keys() & form.keys()
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    # What was stored, sent again, is stored alike.
    again = {name: [str(one) for one in (v if isinstance(v, list) else [v])] for name, v in values.items()}
    assert check_answers(ASKED, again) == (values, {})


# The screen.


def test_a_screen_that_just_suffices_lacks_nothing():
    screen = Screen(min_width_px=1280, min_height_px=800, gamut="p3")
    assert lacks(read_measured(json.dumps(MEASURED)), screen) == []
    less = {"width_px": 1279, "height_px": 799, "gamut": "srgb"}
    assert lacks(read_measured(json.dumps(MEASURED | less)), screen) == ["width", "height", "gamut"]
    assert lacks(read_measured(json.dumps(MEASURED | {"gamut": "none"})), Screen()) == []


@pytest.mark.parametrize(
    ("differing", "problem"),
    [
        ({"width_px": "1280"}, "width_px"),
        ({"height_px": 0}, "height_px"),
        ({"device_pixel_ratio": 1e9}, "device_pixel_ratio"),
        ({"frame_interval_ms": -1}, "frame_interval_ms"),
        ({"frame_interval_ms": float("nan")}, "frame_interval_ms"),
        ({"gamut": "all"}, "gamut"),
        ({"prefers_dark": 1}, "prefers_dark"),
        ({"browser": "Mozilla/5.0 (X11; Linux x86_64)"}, "browser"),
        ({"fonts": ["Arial"]}, "fonts"),
    ],
)
def test_measurements_that_no_page_of_ours_sends_are_refused(differing, problem):
    with pytest.raises(ScreenError, match=problem):
        read_measured(json.dumps(MEASURED | differing))


def test_measurements_that_are_missing_are_refused():
    for sent, problem in (("", "Invalid JSON"), ("[]", "object"), ("{}", "width_px")):
        with pytest.raises(ScreenError, match=problem):
            read_measured(sent)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("3.78", {"px_per_mm": 3.78}), ("2", {"px_per_mm": 2.0}), ("1.9", {}), ("10.1", {}), ("nan", {}), ("", {})],
)
def test_a_calibration_is_kept_if_a_screen_can_have_it(sent, kept):
    assert read_px_per_mm(sent) == kept


# Comprehension.


def small_design(**differing) -> StudyDesign:
    given = {"title": "Spots", "trials": {"main": 4}, "conditions": {"a": "a"}, **differing}
    return parse_design(given, "study.toml")


@pytest.mark.parametrize("task", [{}, {"protocol": "hype_infinity"}])
def test_options_come_in_every_order_and_always_alike_in_one_session(task):
    design = small_design(**task)
    assert options_in_order(design, 5) == options_in_order(design, 5)
    orders = {tuple(options_in_order(design, seed)) for seed in range(100)}
    assert orders == set(permutations(options_in_order(design, 5)))
    assert right_option(design) in options_in_order(design, 5)


def test_the_right_option_follows_the_question():
    assert right_option(small_design(question="fake")) == "fake"
    assert right_option(small_design(question="real")) == "real"
    assert right_option(small_design(protocol="hype_infinity")) == "kind"
