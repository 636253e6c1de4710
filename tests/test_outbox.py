"""Answers on their way: kept by the browser until the server has stored them, through reloads, lost networks and refusals."""

import json
from datetime import UTC, datetime, timedelta

from participant import READY, answer_and_go_on, consent, enter, responses, take_survey, watched_page
from sqlalchemy import select

from study_app.db import reading
from study_app.tables import Session

MAIN = {"practice": 0, "main": 4}


def kept_answer(page):
    """The answer that the browser keeps until the server has it."""
    kept = "Object.entries(localStorage).find(([key]) => key.endsWith('/answer'))[1]"
    return page.evaluate(f"JSON.parse({kept}).answer")


def test_answers_survive_closed_tabs_and_clocks_that_were_set(browser, live):
    """Each visit answers one trial without a network and is closed; the next, with another date, sends it."""
    live.create_study(exposure={"duration_ms": 50, "fixation_ms": 0}, trials=MAIN)
    url = live.url + "/study/spots/"
    warned = []
    with watched_page(browser) as first:
        enter(first, url)
        context, page = first.context, first
        for visit, days in enumerate((0, -10, 10)):
            page.evaluate("() => { window.fetch = () => Promise.reject(new TypeError('Failed to fetch')); }")
            page.keyboard.press("ArrowLeft")
            page.wait_for_selector("#notice:visible")
            assert "Your answers are safe" in page.inner_text("#notice")
            assert len(responses(live)) == visit
            page.on("dialog", lambda dialog: (warned.append(dialog.type), dialog.accept()))
            with page.expect_event("close"):
                page.close(run_before_unload=True)
            page = context.new_page()
            page.add_init_script(f"const now = Date.now; Date.now = () => now() + {days} * 86400000;")
            page.goto(url)
            page.wait_for_selector("#back:visible")
            assert len(responses(live)) == visit + 1
            page.click("#back button")
            page.wait_for_selector(READY)
        page.keyboard.press("ArrowLeft")
        page.wait_for_selector("#code")
        assert page.evaluate("localStorage.length") == 1  # how often the last trial was shown; no answer
    assert warned == ["beforeunload"] * 3
    kept, back, ahead, direct = responses(live)
    now = datetime.now(UTC)
    for response in (kept, back, direct):
        assert now - response.presented_at < timedelta(minutes=5)
    with reading(live.engine) as db:
        assert ahead.presented_at == db.scalar(select(Session.started_at))  # 20 days ago by the device's date
    assert all(response.presented_at <= response.answered_at <= now for response in (kept, back, ahead, direct))


def test_answer_is_sent_until_the_server_has_stored_it(browser, live):
    live.create_study(exposure={"duration_ms": 50, "fixation_ms": 0}, trials={"practice": 0, "main": 2})
    replies = [
        {"status": 503, "body": "busy"},
        {"status": 429, "body": "slow down"},
        {"status": 200, "body": "<h1>Log in to the network</h1>"},
    ]
    sent = []

    def meddle(route):
        sent.append(json.loads(route.request.post_data))
        route.fulfill(**replies.pop(0)) if replies else route.continue_()

    with watched_page(browser, tolerated="Failed to load resource") as page:
        enter(page, live.url + "/study/spots/")
        page.route("**/answer", meddle)
        page.keyboard.press("ArrowLeft")
        page.wait_for_selector("#notice:visible")
        for n in (2, 3, 4):
            page.evaluate("dispatchEvent(new Event('online'))")  # at once, and not when the pause is over
            page.wait_for_timeout(150)
            assert len(sent) >= n
        page.wait_for_function("() => document.querySelector('#progress').value == 1")
        assert page.is_hidden("#notice")
        assert len({(body["trial_index"], body["response"], body["rt"]) for body in sent}) == 1
        elapsed = [body["elapsed_ms"] for body in sent]
        assert elapsed == sorted(elapsed)
        assert len(set(elapsed)) == 4
        # Out of step is no dead end: the page asks what comes next, and goes on there.
        replies.append({"status": 409, "body": "{}"})
        page.wait_for_selector(READY)
        page.keyboard.press("ArrowLeft")
        page.wait_for_selector("[data-state=waiting]", state="attached")
        take_survey(page, lambda: page.keyboard.press("ArrowRight"))
        assert [response.presentations for response in responses(live)] == [1, 2]


def test_browser_that_keeps_nothing_can_take_part(page, live):
    live.create_study(exposure={"duration_ms": 50, "fixation_ms": 0}, trials={"practice": 0, "main": 2})
    page.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError'); } })"
    )
    enter(page, live.url + "/study/spots/")
    take_survey(page, lambda: page.keyboard.press("ArrowLeft"))
    assert [response.presentations for response in responses(live)] == [1, 1]


def test_pictures_are_asked_for_again_while_the_server_fails(browser, live):
    live.create_study(exposure={"duration_ms": 50, "fixation_ms": 0}, trials=MAIN)
    with watched_page(browser, tolerated="Failed to load resource") as page:
        page.route("**/picture/**", lambda route: route.fulfill(status=503))
        consent(page, live.url + "/study/spots/")
        page.click("#begin")
        page.wait_for_selector("#notice:text('We keep trying')")
        page.unroute("**/picture/**")
        page.wait_for_selector(READY)
        assert page.is_hidden("#notice")


def test_who_is_refused_a_picture_is_asked_to_reload_and_keeps_the_answer(browser, live):
    live.create_study(exposure={"duration_ms": 50, "fixation_ms": 0}, trials=MAIN)
    asked = []

    def lose_cookies(route):
        stored = route.fetch().json()
        page.context.clear_cookies()
        route.fulfill(json=stored)

    with watched_page(browser, tolerated="Failed to load resource") as page:
        enter(page, live.url + "/study/spots/")
        page.wait_for_load_state("networkidle")  # a picture's reply would bring the cookie back
        page.route("**/answer", lose_cookies, times=1)
        page.on("request", lambda request: asked.append(request.url) if "/picture/" in request.url else None)
        answer_and_go_on(page)
        page.wait_for_selector("#notice:text('Please reload this page')")  # of the picture after this trial's
        page.wait_for_load_state("networkidle")
        before = len(asked)
        page.keyboard.press("ArrowLeft")
        page.wait_for_timeout(1200)  # the first pause is of 750 ms at most
        assert len(asked) == before > 0
        assert "Please reload this page" in page.inner_text("#notice")
        assert kept_answer(page)["trial_index"] == 1
    assert len(responses(live)) == 1


def test_tab_that_is_behind_leaves_the_answer_of_the_tab_ahead(page, live):
    live.create_study(exposure={"duration_ms": 50, "fixation_ms": 0}, trials=MAIN)
    url = live.url + "/study/spots/"
    enter(page, url)
    behind = page.context.new_page()
    behind.goto(url)
    behind.click("#begin")
    behind.wait_for_selector(READY)
    page.bring_to_front()
    answer_and_go_on(page)
    page.context.set_offline(True)
    for tab in (page, behind):
        tab.bring_to_front()
        tab.keyboard.press("ArrowLeft")
        tab.wait_for_selector("#notice:visible")
        assert kept_answer(tab)["trial_index"] == 1
