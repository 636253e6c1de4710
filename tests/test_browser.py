"""A real browser takes the survey, from consent to code: by mouse, keyboard and touch, with reloads, offline, in two tabs."""

import re

import pytest
from participant import READY, axe_finds_nothing, consent, enter, responses, take_survey, watched_page
from sqlalchemy import func, select

from analysis.report import write_report
from study_app.db import reading
from study_app.export import export_study
from study_app.tables import Condition, Pair, Response, Trial

SINGLE = {"task": "yes_no", "question": "real"}
SEQUENTIAL = {"presentation": "sequential"}
BRIEF = {"duration_ms": 100, "fixation_ms": 50, "between_ms": 50}


@pytest.fixture
def survey(live):
    """The address of a served study of 2 practice and 4 main trials with timed exposure."""
    live.create_study(exposure=BRIEF, trials={"practice": 2, "main": 4})
    return live.url + "/study/spots/"


def stored(workshop):
    """How many answers each trial has."""
    with reading(workshop.engine) as db:
        rows = db.execute(select(Trial.trial_index, func.count(Response.id)).outerjoin(Response).group_by(Trial.id))
        return {index: n for index, n in rows}  # noqa: C416  # rows are not pairs to dict


def test_mouse_goes_from_consent_to_code(page, survey, live):
    consent(page, survey)
    code = take_survey(page, lambda: page.click("#right"))
    assert re.fullmatch("[A-Z2-9]{10}", code)
    assert stored(live) == dict.fromkeys(range(6), 1)
    for response in responses(live):
        assert response.chosen_side == "left"  # asked for the fake, clicked right
        assert response.input_method == "mouse"
        assert 60 <= response.exposure_measured_ms <= 300
        assert response.exposure_second_measured_ms is None
        assert response.rt_ms >= response.exposure_measured_ms - 1
        assert 2 < response.frame_interval_ms < 50
        assert response.late_frames >= 0
        assert (response.focus_lost, response.presentations) == (False, 1)
    page.go_back()
    assert page.inner_text("#code") == code


def test_keyboard_alone_goes_from_consent_to_code(page, live):
    live.create_study(exposure=BRIEF, trials={"practice": 1, "main": 2})
    page.goto(live.url + "/study/spots/")
    for words in ("I agree, begin", "Continue"):  # the consent, the instructions
        for _ in range(20):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.textContent") == words:
                break
        with page.expect_navigation():
            page.keyboard.press("Enter")
    page.wait_for_selector("#begin:visible")

    def choose():
        if page.inner_text("#progress-text") == "3 of 3":  # a button by Tab, as a screen reader's user would
            page.keyboard.press("Tab")
            page.keyboard.press("Enter")
        else:
            page.keyboard.press("ArrowLeft")

    take_survey(page, choose, lambda _: page.keyboard.press("Enter"))  # buttons in between have the focus
    assert stored(live) == dict.fromkeys(range(3), 1)
    answered = responses(live)
    assert {(response.chosen_side, response.input_method) for response in answered} == {("right", "keyboard")}


@pytest.mark.parametrize(
    ("layout", "prompt", "button", "stored_as"),
    [
        pytest.param({"question": "fake"}, "Which one is the fake?", "left", "right", id="left is the fake"),
        pytest.param({"question": "real"}, "Which one is the real photograph?", "left", "left", id="left is real"),
        pytest.param(
            SEQUENTIAL | {"question": "fake"}, "Which one is the fake?", "first", "second", id="first is the fake"
        ),
        pytest.param(
            SEQUENTIAL | {"question": "real"},
            "Which one is the real photograph?",
            "second",
            "second",
            id="second is real",
        ),
        pytest.param(SINGLE, "Is this a real photograph or a fake?", "fake", "fake", id="it is a fake"),
    ],
)
def test_each_layout_takes_mouse_key_and_finger_on_a_small_phone(browser, live, layout, prompt, button, stored_as):
    live.create_study(exposure=BRIEF, trials={"practice": 1, "main": 2}, **layout)
    with watched_page(browser, viewport={"width": 320, "height": 568}, has_touch=True, is_mobile=True) as page:
        consent(page, live.url + "/study/spots/")
        leftmost = page.get_attribute("[data-response]", "data-response")
        ways = [
            lambda: page.click(f"#{button}"),
            lambda: page.keyboard.press("ArrowLeft" if leftmost == button else "ArrowRight"),
            lambda: page.tap(f"#{button}"),
        ]

        def choose():
            assert page.inner_text("#prompt") == prompt
            for size in ("Width", "Height"):  # nothing below the fold or beside the page
                assert page.evaluate(f"document.documentElement.scroll{size} <= inner{size}"), size
            ways.pop(0)()

        take_survey(page, choose, page.tap)
    assert stored(live) == dict.fromkeys(range(3), 1)
    answered = responses(live)
    assert [response.input_method for response in answered] == ["mouse", "keyboard", "touch"]
    assert {response.chosen_side for response in answered} == {stored_as}
    for response in answered:
        assert (response.exposure_second_measured_ms is None) == ("presentation" not in layout)
        assert 60 <= (response.exposure_second_measured_ms or 100) <= 300


def test_report_counts_what_the_browser_answered(page, survey, live, tmp_path):
    consent(page, survey)
    take_survey(page, lambda: page.keyboard.press("ArrowLeft"))
    export_study(live.engine, live.config.store, "spots", tmp_path / "export")
    report = write_report(tmp_path / "export", tmp_path / "report")
    with reading(live.engine) as db:
        answered = db.execute(
            select(Condition.name, Trial.real_side, Response.chosen_side)
            .join(Pair, Pair.condition_id == Condition.id)
            .join(Trial, Trial.pair_id == Pair.id)
            .join(Response, Response.trial_id == Trial.id)
            .where(Trial.kind == "main")
        ).all()
    assert report["origin"] == "human"
    for condition in ("cgan", "wgan"):
        sides = [(real, chosen) for name, real, chosen in answered if name == condition]
        found = report["conditions"][condition]
        assert found["n_trials"] == len(sides) == 2
        assert found["fool_rate"] == sum(real != chosen for real, chosen in sides) / 2


def test_reload_at_every_stage_continues_there(page, live):
    live.create_study(exposure=BRIEF, trials={"practice": 1, "main": 4, "blocks": 2})
    consent(page, live.url + "/study/spots/")

    def reload(screen):
        page.reload()
        page.click(screen)

    def progress():
        page.wait_for_selector(READY)
        return page.inner_text("#progress-text")

    reload("#begin")  # nothing was answered: the ready screen once more
    assert progress() == "1 of 5"
    reload("#begin")
    assert progress() == "1 of 5"
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("#continue:visible")
    reload("#back button")  # practice told what it had to tell; the turn to the main part is not skipped
    page.click("#go-on")
    assert progress() == "2 of 5"
    for shown in ("2 of 5", "3 of 5"):
        assert progress() == shown
        page.keyboard.press("ArrowLeft")
        page.wait_for_selector("[data-state=waiting], #rest-over:visible", state="attached")
        page.wait_for_function(
            "shown => document.querySelector('#progress-text').textContent != shown || !document.querySelector('#rest').hidden",
            arg=shown,
        )
    page.wait_for_selector("#rest-over:visible")
    reload("#back button")  # who comes back has had a rest
    assert progress() == "4 of 5"
    take_survey(page, lambda: page.keyboard.press("ArrowLeft"))
    page.reload()
    assert page.is_visible("#code")
    assert stored(live) == dict.fromkeys(range(5), 1)
    assert responses(live)[0].presentations == 2  # seen before the second reload; at the first it was not yet shown


def test_answer_given_offline_is_stored_when_the_network_is_back(page, survey, live):
    enter(page, survey)
    page.context.set_offline(True)
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("#notice:visible")
    assert "Your answers are safe" in page.inner_text("#notice")
    assert sum(stored(live).values()) == 0
    page.context.set_offline(False)
    page.wait_for_selector("#continue:visible")
    assert page.is_hidden("#notice")
    assert stored(live)[0] == 1


def test_two_tabs_store_each_answer_once_and_both_go_on(page, survey, live):
    enter(page, survey)
    other = page.context.new_page()
    other.goto(survey)
    other.click("#begin")
    other.wait_for_selector(READY)
    page.bring_to_front()
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("#continue:visible")
    other.bring_to_front()
    other.keyboard.press("ArrowRight")
    other.wait_for_selector("#continue:visible")
    assert stored(live)[0] == 1
    first = responses(live)[0]
    assert (first.chosen_side, first.presentations) == ("right", 2)  # the first answer: left was clicked as the fake
    page.bring_to_front()
    take_survey(page, lambda: page.keyboard.press("ArrowLeft"))
    other.bring_to_front()  # it stayed behind, and is led to where the study is
    other.click("#continue")
    other.wait_for_selector(READY)
    other.keyboard.press("ArrowRight")
    other.click("#continue")
    other.wait_for_selector("#code")
    assert stored(live) == dict.fromkeys(range(6), 1)


def test_without_javascript_the_page_says_what_it_needs(browser, survey):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(survey)
    assert "This study needs JavaScript" in page.inner_text("main")
    assert page.is_hidden("text=I agree")  # nobody consents to what cannot begin
    context.close()


def test_axe_finds_no_violation_on_any_screen(browser, live):
    live.create_study(exposure=BRIEF, trials={"practice": 1, "main": 4, "blocks": 2})
    context = browser.new_context(bypass_csp=True)
    page = context.new_page()
    checked = set()

    def check(screen):
        if screen not in checked:
            checked.add(screen)
            for width in (320, 1280):
                page.set_viewport_size({"width": width, "height": 800})
                axe_finds_nothing(page, f"{screen}, {width} px")

    consent(page, live.url + "/study/spots/")

    def choose():
        check("trial")
        page.keyboard.press("ArrowLeft")

    def go_on(button):
        check(button)
        if button == "#continue":
            page.reload()
            page.wait_for_selector("#back:visible")
        else:
            page.click(button)

    take_survey(page, choose, go_on)
    assert checked == {"#begin", "trial", "#continue", "#back button", "#go-on", "#rest-over"}
    context.close()


@pytest.mark.parametrize("layout", [SEQUENTIAL, SINGLE], ids=["in sequence", "one picture"])
def test_axe_finds_no_violation_in_other_layouts(browser, live, layout):
    """Their screens up to the feedback; those after it are the same in every layout."""
    live.create_study(exposure=BRIEF, trials={"practice": 1, "main": 2}, **layout)
    context = browser.new_context(bypass_csp=True, viewport={"width": 320, "height": 800})
    page = context.new_page()
    consent(page, live.url + "/study/spots/")
    axe_finds_nothing(page, "#begin")
    page.click("#begin")
    page.wait_for_selector(READY)
    for width in (320, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        axe_finds_nothing(page, f"trial, {width} px")
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("#continue:visible")
    axe_finds_nothing(page, "#continue")
    context.close()


def test_pages_weigh_less_than_60_kilobytes_without_pictures(page, survey):
    weights = {}
    page.on("requestfinished", lambda request: weights.update({request.url: len(request.response().body())}))
    enter(page, survey)
    assert all(url.startswith(survey.split("/study/")[0]) for url in weights)
    assert any(url.endswith("trial.js") for url in weights)
    assert 0 < sum(size for url, size in weights.items() if "/picture/" not in url) < 60_000
