"""A real browser takes the survey: by mouse, by keyboard, by touch, with a reload, offline; and what it could have seen."""

import json
import re
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Page
from sqlalchemy import func, select
from sqlalchemy.orm import joinedload

from analysis.report import write_report
from study_app.db import reading
from study_app.export import export_study
from study_app.tables import Condition, Image, Pair, Response, Session, Trial

READY = "#left:not([disabled])"


@pytest.fixture
def survey(sqlite_workshop, serve):
    """The address of a served study of 2 practice and 4 main trials with timed exposure."""
    sqlite_workshop.create_study(exposure={"duration_ms": 100}, trials={"practice": 2, "main": 4})
    return serve(sqlite_workshop) + "/study/spots/"


@pytest.fixture
def page(browser):
    """A page of a fresh profile; an error in the page's script or a refused resource fails the test."""
    context = browser.new_context()
    page = context.new_page()
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    yield page
    assert [p for p in problems if "ERR_INTERNET_DISCONNECTED" not in p] == []
    context.close()


def take_survey(page: Page, choose, go_on) -> str:
    """From the first trial to the code; ``choose`` answers a trial, ``go_on`` leaves feedback and the turn to the main part."""
    while True:
        page.wait_for_selector(f"{READY}, #continue:visible, #go-on:visible, #code", timeout=20_000)
        if page.query_selector("#code"):
            return page.inner_text("#code")
        for button in ("#continue", "#go-on"):
            if page.is_visible(button):
                go_on(button)
                page.wait_for_selector(button, state="hidden")
                break
        else:
            shown = page.inner_text("#progress-text")
            choose()
            page.wait_for_function(
                "shown => document.querySelector('#code') || document.querySelector('#left')?.disabled", arg=shown
            )


def stored(workshop):
    with reading(workshop.engine) as db:
        rows = db.execute(select(Trial.trial_index, func.count(Response.id)).outerjoin(Response).group_by(Trial.id))
        return {index: n for index, n in rows}  # noqa: C416  # rows are not pairs to dict


def test_mouse_goes_from_consent_to_code(page, survey, sqlite_workshop):
    page.goto(survey)
    page.click("text=I agree")
    page.click("#begin")
    code = take_survey(page, lambda: page.click("#right"), page.click)
    assert re.fullmatch("[A-Z2-9]{10}", code)
    assert stored(sqlite_workshop) == dict.fromkeys(range(6), 1)
    with reading(sqlite_workshop.engine) as db:
        responses = db.scalars(select(Response)).all()
    assert {response.chosen_side for response in responses} == {"left"}  # asked for the fake, clicked right
    assert all(60 <= response.exposure_measured_ms <= 300 for response in responses)
    assert all(response.rt_ms >= response.exposure_measured_ms - 1 for response in responses)
    page.go_back()
    assert page.inner_text("#code") == code


def test_report_counts_what_the_browser_answered(page, survey, sqlite_workshop, tmp_path):
    page.goto(survey)
    page.click("text=I agree")
    page.click("#begin")
    take_survey(page, lambda: page.keyboard.press("ArrowLeft"), page.click)
    export_study(sqlite_workshop.engine, sqlite_workshop.config.store, "spots", tmp_path / "export")
    report = write_report(tmp_path / "export", tmp_path / "report")
    with reading(sqlite_workshop.engine) as db:
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


def test_keyboard_alone_goes_from_consent_to_code(page, survey, sqlite_workshop):
    page.goto(survey)
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "I agree, begin":
            break
    page.keyboard.press("Enter")
    page.wait_for_selector("#begin:visible")
    page.keyboard.press("Enter")  # the button has the focus
    code = take_survey(page, lambda: page.keyboard.press("ArrowLeft"), lambda _: page.keyboard.press("Enter"))
    assert re.fullmatch("[A-Z2-9]{10}", code)
    assert stored(sqlite_workshop) == dict.fromkeys(range(6), 1)
    with reading(sqlite_workshop.engine) as db:
        assert set(db.scalars(select(Response.chosen_side))) == {"right"}


def test_touch_on_a_phone_goes_from_consent_to_code(browser, survey, sqlite_workshop):
    context = browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(survey)
    page.tap("text=I agree")
    page.tap("#begin")
    take_survey(page, lambda: page.tap("#left"), page.tap)
    assert stored(sqlite_workshop) == dict.fromkeys(range(6), 1)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()


def test_reload_continues_at_the_same_trial(page, survey, sqlite_workshop):
    page.goto(survey)
    page.click("text=I agree")
    page.click("#begin")
    page.wait_for_selector(READY)
    page.keyboard.press("ArrowLeft")
    page.click("#continue")
    page.wait_for_selector(READY)
    assert page.inner_text("#progress-text") == "2 of 6"
    page.reload()
    page.click("#back button")
    page.wait_for_selector(READY)
    assert page.inner_text("#progress-text") == "2 of 6"
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("#continue:visible")
    page.reload()  # at the end of practice: the turn to the main part is not skipped
    page.click("#back button")
    page.wait_for_selector("#go-on:visible")
    take_survey(page, lambda: page.keyboard.press("ArrowLeft"), page.click)
    assert stored(sqlite_workshop) == dict.fromkeys(range(6), 1)


def test_answer_given_offline_is_stored_when_the_network_is_back(page, survey, sqlite_workshop):
    page.goto(survey)
    page.click("text=I agree")
    page.click("#begin")
    page.wait_for_selector(READY)
    page.context.set_offline(True)
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("#notice:visible")
    assert "Your answers are safe" in page.inner_text("#notice")
    assert sum(stored(sqlite_workshop).values()) == 0
    page.context.set_offline(False)
    page.wait_for_selector("#continue:visible", timeout=20_000)
    assert page.is_hidden("#notice")
    assert stored(sqlite_workshop)[0] == 1


def test_keys_before_the_exposure_ends_are_not_answers(page, sqlite_workshop, serve):
    sqlite_workshop.create_study(exposure={"duration_ms": 700})
    page.goto(serve(sqlite_workshop) + "/study/spots/")
    page.click("text=I agree")
    page.click("#begin")
    page.wait_for_selector("#left img", state="attached")
    page.keyboard.press("ArrowLeft")
    assert sum(stored(sqlite_workshop).values()) == 0
    page.wait_for_selector(READY)
    assert page.query_selector("#left img") is None  # gone when it may be chosen
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#continue:visible")
    with reading(sqlite_workshop.engine) as db:
        response = db.scalars(select(Response)).one()
    assert response.chosen_side == "left"
    assert response.rt_ms >= 690


@dataclass
class Traffic:
    """All that passed between browser and server, in order, until it was cut."""

    exchanges: list[dict] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        page.on("requestfinished", self._note)

    def _note(self, request) -> None:
        response = request.response()
        body = "" if response.headers.get("content-type", "").startswith("image/png") else response.text()
        self.exchanges.append(
            {
                "url": request.url,
                "sent": request.post_data or "",
                "request": request.all_headers(),
                "headers": response.all_headers(),
                "body": body,
            }
        )


def test_traffic_tells_nothing_before_the_answer_is_in(page, survey, sqlite_workshop):
    traffic = Traffic()
    traffic.watch(page)
    page.goto(survey)
    page.click("text=I agree")
    page.click("#begin")
    take_survey(page, lambda: page.keyboard.press("ArrowLeft"), page.click)
    page.wait_for_load_state("networkidle")

    everything = json.dumps(traffic.exchanges)
    with reading(sqlite_workshop.engine) as db:
        trials = db.scalars(
            select(Trial).options(joinedload(Trial.pair)).join(Session).order_by(Trial.trial_index)
        ).all()
        hidden = [
            *db.scalars(select(Image.sha256)),
            *db.scalars(select(Pair.pair)),
            *db.scalars(select(Pair.photo_sha256)),
        ]
        hidden += [f'"{name}"' for name in db.scalars(select(Condition.name))]
    for secret in [*hidden, "real_side", "-real", "-fake", "pair_id", str(sqlite_workshop.folder)]:
        assert secret not in everything, secret

    # JSON: before its answer a trial is described by these keys alone, and their values are no one's real side.
    described = {}
    for exchange in traffic.exchanges:
        if not exchange["headers"].get("content-type", "").startswith("application/json"):
            continue
        body = json.loads(exchange["body"])
        feedback, state = body.get("feedback"), body.get("next", body)
        if feedback is not None:  # told after the commit, in practice only
            assert trials[body["trial_index"]].kind == "practice"
        for trial in [state["trial"], *state["upcoming"]]:
            if trial is not None:
                described.setdefault(trial["trial_index"], []).append(trial)
    assert sorted(described) == list(range(6))
    for index, descriptions in described.items():
        for trial in descriptions:
            assert set(trial) == {"trial_index", "practice", "exposure_ms", "left", "right"}
            assert trial["left"].removesuffix("/left") == trial["right"].removesuffix("/right")
            assert trial["left"].endswith(f"/{index}/left")

    # Pictures: address, headers and order of the two differ by nothing but the word for the side.
    shown = {}
    for exchange in traffic.exchanges:
        if match := re.search(r"/picture/[0-9a-f]+/(\d+)/(left|right)$", exchange["url"]):
            plain = {k: v for k, v in exchange["headers"].items() if k != "date"}
            sent = {k: v for k, v in exchange["request"].items() if k not in ("date", "cookie")}
            shown.setdefault(int(match[1]), {})[match[2]] = (exchange["url"].rsplit("/", 1)[0], sent, plain)
    assert sorted(shown) == list(range(6))
    for index, sides in shown.items():
        assert sides["left"] == sides["right"], f"trial {index}"


def test_page_source_of_a_trial_names_nothing_but_the_sides(page, sqlite_workshop, serve):
    sqlite_workshop.create_study()
    page.goto(serve(sqlite_workshop) + "/study/spots/")
    page.click("text=I agree")
    page.click("#begin")
    seen = set()
    for index in range(4):
        page.wait_for_selector(f"{READY} img")
        markup = page.inner_html(".pair")
        address = re.findall(r'src="([^"]+)"', markup)
        assert [a.rsplit("/", 1)[1] for a in address] == ["left", "right"]
        seen.add(re.sub(r"/picture/[0-9a-f]+/\d+/", "/picture/", markup))
        page.keyboard.press("ArrowLeft")
        for button in {0: ["#continue"], 1: ["#continue", "#go-on"]}.get(index, []):
            page.click(button)
        page.wait_for_function("n => document.querySelector('#progress').value > n", arg=index)
    assert len(seen) == 1


def test_two_tabs_store_each_answer_once(page, survey, sqlite_workshop):
    page.goto(survey)
    page.click("text=I agree")
    page.click("#begin")
    page.wait_for_selector(READY)
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
    assert stored(sqlite_workshop)[0] == 1
    with reading(sqlite_workshop.engine) as db:
        assert db.scalars(select(Response.chosen_side)).all() == ["right"]  # the first: left was clicked as the fake


def test_without_javascript_the_page_says_what_it_needs(browser, survey):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(survey)
    assert "This study needs JavaScript" in page.inner_text("main")
    assert page.is_hidden("text=I agree")  # nobody consents to what cannot begin
    context.close()


@pytest.mark.parametrize("width", [360, 1280])
def test_axe_finds_no_violation_on_any_screen(browser, survey, width):
    from axe_playwright_python.sync_playwright import Axe

    context = browser.new_context(viewport={"width": width, "height": 800}, bypass_csp=True)
    page = context.new_page()
    rules = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}

    def check(screen):
        result = Axe().run(page, options=rules)
        assert result.violations_count == 0, f"{screen}: {result.generate_report()}"

    page.goto(survey)
    check("welcome")
    page.click("text=I agree")
    page.wait_for_selector("#begin:visible")
    check("instructions")
    page.click("#begin")
    page.wait_for_selector(READY)
    check("trial")
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("#continue:visible")
    check("feedback")
    page.reload()
    page.wait_for_selector("#back:visible")
    check("welcome back")
    page.click("#back button")

    def go_on(button):
        check(button)
        page.click(button)

    take_survey(page, lambda: page.keyboard.press("ArrowLeft"), go_on)
    check("done")
    context.close()


def test_pages_weigh_less_than_60_kilobytes_without_pictures(page, survey):
    weights = {}
    page.on("requestfinished", lambda request: weights.update({request.url: len(request.response().body())}))
    page.goto(survey)
    page.click("text=I agree")
    page.click("#begin")
    page.wait_for_selector(READY)
    assert all(url.startswith(survey.split("/study/")[0]) for url in weights)
    assert 0 < sum(size for url, size in weights.items() if "/picture/" not in url) < 60_000
