"""The pages beside the trials over a test client: stored once, never skipped, and told where they do not fit."""

import json
import re

import pytest
from sqlalchemy import select
from test_participate import start
from test_questions import MEASURED

from study_app.colour_screening import session_plates
from study_app.db import reading
from study_app.studies import design_of
from study_app.tables import Session, Step, Trial

QUESTIONS = {
    "age": {"kind": "number", "label": "How old are you?", "min": 18, "max": 120, "required": True},
    "sex": {"kind": "single", "label": "You are?", "options": {"f": "a woman", "m": "a man"}},
    "phones": {"kind": "multiple", "label": "You own?", "options": ["phone", "camera"]},
    "words": {"kind": "text", "label": "In your words?", "max_length": 20},
    "skill": {"kind": "likert", "label": "How skilled?", "low": "not", "high": "very"},
    "fun": {"kind": "likert", "label": "Was it fun?", "required": True, "when": "after"},
}
WHOLE_ROAD = {
    "questions": QUESTIONS,
    "screen": {"min_width_px": 600},
    "colour_vision": {"plates": 3, "min_correct": 2, "exclude": True},
    "instructions": {"text": "Sit <b>well</b>.", "max_attempts": 2},
    "debriefing": {"text": "So it was.", "show_score": True},
    "recruitment": {"screened_out": "OUT", "failed_checks": "FAILED"},
}
ANSWERS = {"age": "34", "sex": "f", "phones": ["phone", "camera"], "words": " =hm ", "skill": "3"}
STEPS = ["questions", "screen", "colour_vision", "instructions", "questions_after", "debriefing"]


def address(step):
    return f"/study/spots/step/{step}"


def send(client, step, **fields):
    return client.post(address(step), data=fields)


def screen(**differing):
    return {"measured": json.dumps(MEASURED | differing)}


def session_of(workshop) -> Session:
    """The newest."""
    with reading(workshop.engine) as db:
        return db.scalars(select(Session).order_by(Session.id.desc())).first()


def stored(workshop):
    with reading(workshop.engine) as db:
        query = select(Step.name, Step.data).where(Step.session_id == session_of(workshop).id).order_by(Step.id)
        return dict(db.execute(query).all())


def numbers(workshop):
    """What is to be read on the plates of the newest session."""
    with reading(workshop.engine) as db:
        session = db.get(Session, session_of(workshop).id)
        plates = session_plates(session.seed, design_of(session.study).colour_vision)
    return {f"plate{i}": plate.digit for i, plate in enumerate(plates)}


def answer_trials(client):
    state = client.get("/study/spots/next").json
    while not state["done"]:
        answer = {"trial_index": state["trial"]["trial_index"], "response": "left", "rt": 700, "elapsed_ms": 700}
        state = client.post("/study/spots/answer", json=answer).json["next"]


def begin(workshop, **differing):
    """A client after the consent, in a study that differs as stated and has no step but the instructions otherwise."""
    workshop.create_study(**differing)
    client = workshop.client()
    assert start(client).status_code == 303
    return client


def test_the_whole_road_stores_every_step_once_and_in_order(sqlite_workshop):
    client = begin(sqlite_workshop, **WHOLE_ROAD)
    correct = {
        "questions": ANSWERS,
        "screen": screen(),
        "instructions": {"choice": "fake"},
        "questions_after": {"fun": "7"},
    }
    correct |= {"colour_vision": numbers(sqlite_workshop), "debriefing": {}}
    for i, step in enumerate(STEPS):
        if step == "questions_after":
            assert client.get("/study/spots/on").headers["Location"] == "/study/spots/survey"
            answer_trials(client)
        assert client.get("/study/spots/on").headers["Location"] == address(step)
        for other in STEPS[:i] + STEPS[i + 1 :]:  # neither skipped nor done again
            assert client.get(address(other)).headers["Location"] == address(step)
            assert send(client, other, **correct[other]).headers["Location"] == address(step)
        assert client.get(address(step)).status_code == 200
        assert send(client, step, **correct[step]).status_code == 303
    assert client.get("/study/spots/on").headers["Location"] == "/study/spots/done"
    data = stored(sqlite_workshop)
    assert list(data) == STEPS
    assert data["questions"] == {"age": 34, "sex": "f", "phones": ["phone", "camera"], "words": "=hm", "skill": 3}
    assert data["questions_after"] == {"fun": 7}
    assert data["screen"] == {key: value for key, value in MEASURED.items() if value is not None}
    assert data["colour_vision"]["correct"] == 3
    assert data["instructions"] == {"attempts": 1}
    assert session_of(sqlite_workshop).outcome == "completed"


def test_a_step_sent_twice_keeps_the_first(sqlite_workshop):
    client = begin(sqlite_workshop, questions=QUESTIONS)
    first = send(client, "questions", **ANSWERS)
    again = send(client, "questions", **ANSWERS | {"age": "99"})
    assert first.headers["Location"] == again.headers["Location"] == address("instructions")
    assert stored(sqlite_workshop)["questions"]["age"] == 34


def test_who_has_no_session_is_led_to_the_consent(sqlite_workshop):
    begin(sqlite_workshop, **WHOLE_ROAD)
    stranger = sqlite_workshop.client()
    for reply in (stranger.get(address("questions")), send(stranger, "questions", **ANSWERS)):
        assert reply.headers["Location"] == "/study/spots/?cookies=missing"
    assert stranger.get("/study/nothing/step/questions").status_code == 404
    assert stranger.get(address("elsewhere")).status_code == 404


# Questions.


def test_answers_that_do_not_fit_come_back_with_what_is_wrong(sqlite_workshop):
    client = begin(sqlite_workshop, questions=QUESTIONS)
    reply = send(client, "questions", **ANSWERS | {"age": "17", "words": '<i>"much too long"</i>', "sex": "x"})
    assert reply.status_code == 422
    assert "Please give a number from 18 to 120." in reply.text
    assert "Please write 20 characters at most." in reply.text
    assert "3 answers are missing or do not fit" in reply.text
    for name in ("age", "words", "sex"):
        assert f'href="#q-{name}"' in reply.text
        assert f'aria-describedby="q-{name}-problem"' in reply.text
        assert f'id="q-{name}-problem"' in reply.text
    assert re.search(r'id="q-age"[^>]*value="17"', reply.text)
    assert "&lt;i&gt;&#34;much too long" in reply.text
    assert re.search(r'name="phones" value="camera" checked', reply.text)
    assert re.search(r'name="skill" value="3" checked', reply.text)
    assert stored(sqlite_workshop) == {}


def test_the_form_says_to_the_browser_what_is_asked(sqlite_workshop):
    page = begin(sqlite_workshop, questions=QUESTIONS).get(address("questions")).text
    assert re.search(r'<input type="number"[^>]* required[^>]*min="18" max="120" inputmode="decimal"', page)
    assert re.search(r'<input type="text" id="q-words"[^>]*maxlength="20"', page)
    assert len(re.findall(r'type="radio"[^>]*name="skill"', page)) == 7 + 1  # and one for no answer
    assert len(re.findall(r'type="radio"[^>]*required', page)) == 0
    assert page.count("(optional)") == 4
    assert 'name="fun"' not in page


def test_long_answers_in_any_script_get_through(sqlite_workshop):
    client = begin(sqlite_workshop, questions={"words": {"kind": "text", "label": "Tell", "max_length": 10_000}})
    assert send(client, "questions", words="画" * 10_000).status_code == 303  # nine bytes each on the way
    assert stored(sqlite_workshop)["questions"]["words"] == "画" * 10_000


def test_a_full_group_is_sent_on_kindly_and_others_go_on(workshop):
    quotas = [{"question": "sex", "answer": "f", "participants": 1}]
    client = begin(workshop, questions=QUESTIONS, stopping={"quotas": quotas})
    assert send(client, "questions", **ANSWERS).headers["Location"] == address("instructions")
    for sex, leads_to, outcome in (("f", "/study/spots/done", "full"), ("m", address("instructions"), None)):
        other = workshop.client()
        start(other)
        assert send(other, "questions", **ANSWERS | {"sex": sex}).headers["Location"] == leads_to
        assert session_of(workshop).outcome == outcome
    assert other.get("/study/spots/done").headers["Location"] == address("instructions")


# The screen.


def test_the_server_checks_the_screen_again(sqlite_workshop):
    client = begin(sqlite_workshop, screen={"min_width_px": 600, "gamut": "p3"})
    for sent in ({}, {"measured": "[1"}, screen(width_px=599), screen(gamut="srgb"), screen(zoom="x")):
        reply = send(client, "screen", **sent)
        assert reply.status_code == 422
        assert "Please check again" in reply.text
    assert stored(sqlite_workshop) == {}
    assert send(client, "screen", **screen()).headers["Location"] == address("instructions")


@pytest.mark.parametrize("sent", [{}, screen(width_px=300)])
def test_who_cannot_mend_the_screen_is_let_go(sqlite_workshop, sent):
    client = begin(sqlite_workshop, **{**WHOLE_ROAD, "questions": {}})
    reply = send(client, "screen", **sent, give_up="yes")
    assert reply.headers["Location"] == "/study/spots/done"
    assert stored(sqlite_workshop)["screen"]["gave_up"] is True
    session = session_of(sqlite_workshop)
    assert (session.outcome, session.completion_code) == ("screened_out", "OUT")
    assert client.get("/study/spots/survey").headers["Location"] == "/study/spots/done"


@pytest.mark.parametrize(
    ("calibration", "sent", "kept"),
    [(True, {"calibrated": "yes"}, 4.21), (True, {}, None), (False, {"calibrated": "yes"}, None)],
)
def test_a_calibration_is_stored_where_it_is_asked_for_and_confirmed(sqlite_workshop, calibration, sent, kept):
    client = begin(sqlite_workshop, screen={"calibration": calibration})
    send(client, "screen", **screen(), px_per_mm="4.21", **sent)
    assert stored(sqlite_workshop)["screen"].get("px_per_mm") == kept


# Instructions.


def test_wrong_answers_are_counted_over_reloads_and_the_last_ends_the_study(workshop):
    client = begin(workshop, instructions={"max_attempts": 2}, recruitment={"failed_checks": "FAILED"})
    assert "not quite it" not in client.get(address("instructions")).text
    for _ in range(2):  # the same form, sent twice
        assert send(client, "instructions", choice="real", attempt="0").headers["Location"] == address("instructions")
    page = client.get(address("instructions")).text
    assert "That was not quite it" in page
    assert "the study ends here" in page
    reply = send(client, "instructions", choice="nicer", attempt="1")
    assert reply.headers["Location"] == "/study/spots/done"
    session = session_of(workshop)
    assert (session.outcome, session.completion_code) == ("failed_checks", "FAILED")
    assert "instructions" not in stored(workshop)


def test_the_question_is_asked_until_it_is_right(sqlite_workshop):
    client = begin(sqlite_workshop, instructions={"comprehension": True})
    for attempt in range(5):
        send(client, "instructions", choice="real", attempt=str(attempt))
    assert send(client, "instructions", choice="fake").headers["Location"] == "/study/spots/survey"
    assert stored(sqlite_workshop)["instructions"] == {"attempts": 6}


def test_no_answer_is_no_wrong_answer(sqlite_workshop):
    client = begin(sqlite_workshop, instructions={"max_attempts": 1})
    for sent in ({}, {"choice": ""}, {"choice": "kind", "attempt": "0"}):
        reply = send(client, "instructions", **sent)
        assert reply.status_code == 422
        assert "Please choose one of these answers." in reply.text
    assert stored(sqlite_workshop) == {}


@pytest.mark.parametrize(
    ("design", "words"),
    [
        ({"question": "real"}, ["side by side", "Choose the real photograph."]),
        ({"presentation": "sequential", "exposure": {"duration_ms": 1000}}, ["one after the other", "one second"]),
        ({"protocol": "hype_time", "trials": {"main": 12, "practice": 2, "blocks": 3}}, ["one picture at a time", "a short time", "A pattern follows", "The first 2 are practice", "rest 2 times"]),
        ({"exposure": {"duration_ms": 250}, "instructions": {"text": "Sit <b>well</b>."}}, ["0.25 seconds", "&lt;b&gt;well"]),
    ],
)  # fmt: skip
def test_instructions_fit_the_design(sqlite_workshop, design, words):
    if design.get("protocol"):
        design = design | {"exposure": {}}
    page = re.sub(r"\s+", " ", begin(sqlite_workshop, **design).get(address("instructions")).text)
    for one in words:
        assert one in page


# Debriefing.


@pytest.mark.parametrize("protocol", ["zhang2016", "hype_infinity"])
def test_the_score_of_the_main_trials_is_told_with_what_guessing_gives(sqlite_workshop, protocol):
    client = begin(
        sqlite_workshop, protocol=protocol, debriefing={"show_score": True}, qualification={"min_correct": 0.1}
    )
    send(client, "instructions")
    with reading(sqlite_workshop.engine) as db:
        sides = dict(db.execute(select(Trial.trial_index, Trial.real_side)).all())
    for index, real in sides.items():  # two wrong answers in the main part, and the fake is to be chosen in 2afc
        wrong = {"left": "right", "right": "left", "real": "fake", "fake": "real"}[real]
        right = wrong if protocol == "zhang2016" else real
        taken = right if index not in (3, 4) else ({wrong, real} - {right}).pop()
        client.post("/study/spots/answer", json={"trial_index": index, "response": taken, "rt": 1, "elapsed_ms": 1})
    page = client.get(address("debriefing")).text
    assert "You were right 6 times in 8." in page
    assert "right about 4 times" in page
