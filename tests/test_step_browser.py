"""A real browser goes the road beside the trials: by keyboard, by touch, with reloads and the back button."""

import json
import re

import pytest
from participant import axe_finds_nothing
from test_step_pages import ANSWERS, STEPS, WHOLE_ROAD, numbers, session_of, stored

DESIGN = WHOLE_ROAD | {
    "screen": {"min_width_px": 320, "calibration": True},
    "trials": {"practice": 0, "main": 4},
    "title": {"en": "Which spots are real?", "ar": "أي البقع حقيقية؟"},
    "languages": ["en", "ar"],
}
SIZES = {"desktop": (1280, 800), "phone": (320, 568)}


@pytest.fixture
def visit(browser):
    """Opens pages of fresh profiles; an error in a page's script or a refused resource fails the test."""
    contexts, problems = [], []

    def open_page(width, height, **more):
        context = browser.new_context(viewport={"width": width, "height": height}, bypass_csp=True, **more)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        return page

    yield open_page
    # A form that comes back does so with 422, which the browser's console has too.
    assert [problem for problem in problems if "422" not in problem] == []
    for context in contexts:
        context.close()


def begin(page, address):
    page.goto(address)
    page.click("text=I agree")
    page.wait_for_load_state()


def at(page, step):
    """Wait for the step's page, and find it again after a reload."""
    page.wait_for_url(f"**/step/{step}")
    page.reload()
    assert page.url.endswith(f"/step/{step}")


def looks_right(page):
    """Whatever axe finds, and whether one must scroll sideways."""
    axe_finds_nothing(page, page.url)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{page.url} is too wide"


def answer_trials(page):
    page.evaluate(
        """async () => {
            for (let i = 0; i < 4; i++)
                await fetch("answer", { method: "POST", body: JSON.stringify(
                    { trial_index: i, response: "left", rt: 500, elapsed_ms: 500 }) });
        }"""
    )


@pytest.mark.parametrize("size", SIZES)
def test_axe_finds_nothing_on_any_page_of_the_road_and_reloads_lose_nothing(visit, live, size):
    """The phone is touched, and read from right to left."""
    live.create_study(**DESIGN)
    is_phone = size == "phone"
    page = visit(*SIZES[size], has_touch=is_phone, is_mobile=is_phone)
    press = page.tap if is_phone else page.click
    page.goto(live.url + f"/study/spots/?lang={'ar' if is_phone else 'en'}")
    press("#consent button.primary")

    at(page, "questions")
    looks_right(page)
    page.fill("[name=age]", "34")
    page.fill("[name=words]", "hm")
    page.evaluate("document.querySelector('[name=age]').max = ''; document.querySelector('[name=age]').value = 300")
    press("button.primary")
    page.wait_for_selector(".problems")
    assert page.evaluate("document.activeElement.className") == "problems"
    looks_right(page)
    press(".problems a")
    assert page.evaluate("document.activeElement.name") == "age"
    assert page.input_value("[name=words]") == "hm"
    page.fill("[name=age]", "34")
    page.check("[name=skill][value='6']")
    press("button.primary")

    at(page, "screen")
    page.wait_for_selector("#ready:visible")
    looks_right(page)
    for _ in range(3):
        press("#larger")
    slider = page.locator("#px-per-mm").bounding_box()
    middle = slider["x"] + slider["width"] / 2, slider["y"] + slider["height"] / 2
    (page.touchscreen.tap if is_phone else page.mouse.click)(*middle)
    chosen = float(page.input_value("#px-per-mm"))
    assert chosen > 3.5
    card = page.locator("#card").bounding_box()
    across, down = (53.98, 85.6) if is_phone else (85.6, 53.98)
    assert (card["width"], card["height"]) == pytest.approx((across * chosen, down * chosen), abs=1)
    press("[name=calibrated]")

    at(page, "colour_vision")
    page.wait_for_load_state("networkidle")
    looks_right(page)
    assert page.evaluate("[...document.images].every((image) => image.naturalWidth === 400)")
    for name, number in numbers(live).items():
        page.fill(f"[name={name}]", number)
    press("button.primary")

    at(page, "instructions")
    looks_right(page)
    page.check("[value=nicer]")
    press("button.primary")
    page.wait_for_selector(".problems")
    looks_right(page)
    page.reload()
    assert page.is_visible(".problems")
    page.check("[value=fake]")
    press("button.primary")
    page.wait_for_url("**/survey")
    answer_trials(page)
    page.go_back()
    at(page, "questions_after")
    page.check("[name=fun][value='1']")
    looks_right(page)
    press("button.primary")
    at(page, "debriefing")
    looks_right(page)
    press("button.primary")
    page.wait_for_url("**/done")

    data = stored(live)
    assert {*data} == {*STEPS, "comprehension"}
    assert data["screen"]["px_per_mm"] == chosen
    assert (data["screen"]["width_px"], data["screen"]["browser"]) == (SIZES[size][0], "chromium")
    assert data["screen"]["pointer"] == ("coarse" if is_phone else "fine")
    assert 5 < data["screen"]["frame_interval_ms"] < 50
    assert data["instructions"] == {"attempts": 2}
    assert data["questions"]["skill"] == 6


def test_the_keyboard_alone_suffices(visit, live):
    questions = {name: WHOLE_ROAD["questions"][name] for name in ("age", "skill")}
    questions["skill"] = questions["skill"] | {"required": True}
    screen = {"calibration": True}
    live.create_study(questions=questions, screen=screen, instructions={"comprehension": True})
    page = visit(1280, 800)
    keys = page.keyboard
    begin(page, live.url + "/study/spots/")

    def reach(selector):
        for _ in range(30):
            keys.press("Tab")
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
        raise AssertionError(f"{selector} is not reached by Tab")

    reach("[name=age]")
    keys.type("40")
    reach("[name=skill]")
    keys.press("Space")
    keys.press("ArrowRight")
    reach("button.primary")
    keys.press("Enter")
    page.wait_for_selector("#ready:visible")
    reach("#px-per-mm")
    keys.press("PageUp")
    keys.press("ArrowRight")
    chosen = float(page.input_value("#px-per-mm"))
    assert page.get_attribute("#px-per-mm", "aria-valuetext") == f"{round(85.6 * chosen)} pixels"
    reach("[name=calibrated]")
    keys.press("Enter")
    page.wait_for_url("**/instructions")
    reach("[name=choice]")
    keys.press("Space")
    for _ in range(3):
        if page.input_value("[name=choice]:checked") == "fake":
            break
        keys.press("ArrowDown")
    reach("button.primary")
    keys.press("Enter")
    page.wait_for_url("**/survey")
    data = stored(live)
    assert data["questions"] == {"age": 40, "skill": 2}
    assert 2.5 < data["screen"]["px_per_mm"] == chosen
    assert data["instructions"] == {"attempts": 1}


def test_too_small_a_window_is_told_how_to_mend_it_and_may_be_mended(visit, live):
    live.create_study(screen={"min_width_px": 900, "min_height_px": 500})
    address = live.url + "/study/spots/"
    page = visit(600, 700, screen={"width": 1280, "height": 800})
    begin(page, address)
    page.wait_for_selector("#mend:visible")
    assert page.inner_text("#verdict") == "There is not enough room for the pictures yet."
    assert "Make the window larger" in page.inner_text("#help")
    assert "Turn the device" not in page.inner_text("#help")
    assert page.is_hidden("#ready")
    looks_right(page)
    page.set_viewport_size({"width": 900, "height": 500})
    page.wait_for_selector("#ready:visible")
    page.click("#ready button")
    page.wait_for_url("**/instructions")
    page.go_back()
    page.wait_for_url("**/instructions")
    assert stored(live)["screen"]["width_px"] == 900

    phone = visit(500, 900, has_touch=True, is_mobile=True)
    begin(phone, address)
    phone.wait_for_selector("#mend:visible")
    assert "Turn the device" in phone.inner_text("#help")
    phone.set_viewport_size({"width": 900, "height": 500})
    phone.wait_for_selector("#ready:visible")

    tiny = visit(320, 568, has_touch=True, is_mobile=True)
    begin(tiny, address)
    tiny.wait_for_selector("#mend:visible")
    assert tiny.inner_text("#verdict") == "This screen is too small for the pictures."
    assert tiny.is_hidden("#help")
    tiny.tap("#again")
    tiny.tap("[name=give_up]")
    tiny.wait_for_url("**/done")
    assert session_of(live).outcome == "screened_out"


def test_without_javascript_pages_say_what_they_need_and_questions_work(browser, live):
    live.create_study(questions={"age": WHOLE_ROAD["questions"]["age"]}, screen={})
    address = live.url + "/study/spots/"
    context = browser.new_context(viewport={"width": 400, "height": 700})
    page = context.new_page()
    begin(page, address)
    cookies = context.cookies()
    context.close()
    context = browser.new_context(java_script_enabled=False)
    context.add_cookies(cookies)
    page = context.new_page()
    page.goto(address)
    page.fill("[name=age]", ANSWERS["age"])
    page.click("button.primary")
    page.wait_for_url("**/step/screen")
    assert "This study needs JavaScript" in page.inner_text("main")
    assert page.is_hidden("#screen")
    context.close()


def test_measurements_are_those_of_the_browser_and_no_more(visit, live):
    live.create_study(screen={})
    page = visit(
        800, 600, color_scheme="dark", reduced_motion="reduce", forced_colors="active", device_scale_factor=1.5
    )
    begin(page, live.url + "/study/spots/")
    page.wait_for_selector("#ready:visible")
    measured = json.loads(page.input_value("[name=measured]"))
    assert (measured["prefers_dark"], measured["reduced_motion"], measured["forced_colours"]) == (True, True, True)
    assert measured["device_pixel_ratio"] == 1.5
    assert measured["gamut"] in ("srgb", "p3", "rec2020")
    assert not [value for value in measured.values() if isinstance(value, str) and not re.fullmatch("[a-z0-9]+", value)]
    page.click("#ready button")
    page.wait_for_url("**/instructions")
    assert stored(live)["screen"]["prefers_dark"] is True
