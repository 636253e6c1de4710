"""The trial as an instrument: what is shown in which order, which times are told, and answers that survive the network."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from participant import READY, SEEN, consent, enter, take_survey, watched_page
from sqlalchemy import select

from study_app.db import reading
from study_app.tables import Response, Trial

MAIN = {"practice": 0, "main": 4}
# What is seen on the stage, change by change, with the place and size of the frames.
WATCH = """() => {
    window.seen = [];
    const stage = document.querySelector('#stage');
    const note = () => {
        const what = [...stage.querySelectorAll('.seen')].map((one) => one.id || one.localName + [...one.parentElement.children].indexOf(one));
        const where = [...stage.querySelectorAll('.frame')].map((one) => Object.values(one.getBoundingClientRect().toJSON()).map(Math.round).join());
        if ((window.seen.at(-1)?.what ?? []).join() !== what.join()) window.seen.push({ what, where: where.join(' ') });
    };
    new MutationObserver(note).observe(stage, { subtree: true, attributeFilter: ['class'] });
}"""


@pytest.fixture
def page(browser):
    with watched_page(browser) as page:
        yield page


def responses(workshop):
    with reading(workshop.engine) as db:
        return db.scalars(select(Response).join(Trial).order_by(Trial.trial_index)).all()


def answer_and_go_on(page, key="ArrowLeft"):
    """Answers the trial that is open and waits for the next one; the body that was sent."""
    index = page.evaluate("document.querySelector('#progress').value")
    with page.expect_request("**/answer") as sent:
        page.keyboard.press(key)
    page.wait_for_function("index => document.querySelector('#progress').value > index", arg=index)
    page.wait_for_selector(READY)
    return sent.value.post_data_json


@pytest.mark.parametrize(
    ("layout", "pictures"),
    [
        pytest.param({}, [["img0", "img0"]], id="side by side"),
        pytest.param({"presentation": "sequential"}, [["img0"], ["img0"]], id="in sequence"),
        pytest.param({"task": "yes_no", "question": "real"}, [["img0"]], id="one picture"),
    ],
)
def test_masks_follow_pictures_in_their_place_and_nothing_moves(page, sqlite_workshop, serve, layout, pictures):
    exposure = {"duration_ms": 100, "fixation_ms": 100, "between_ms": 100, "mask_ms": 100, "masks": 2}
    sqlite_workshop.create_study(exposure=exposure, trials=MAIN, **layout)
    consent(page, serve(sqlite_workshop) + "/study/spots/")
    page.evaluate(WATCH)
    page.click("#begin")
    page.keyboard.press("ArrowLeft")  # long before it is over
    page.wait_for_selector(READY)
    seen = page.evaluate("window.seen")
    expected = [["cross"]]
    for group in pictures:
        expected += [group, ["canvas1" for _ in group], ["canvas2" for _ in group], []]
    assert [one["what"] for one in seen] == expected
    assert len({one["where"] for one in seen}) == 1
    boxes = page.evaluate(
        "[...document.querySelector('#stage .frame').children].map(one => one.getBoundingClientRect().toJSON())"
    )
    assert boxes[0] == boxes[1] == boxes[2]  # the picture and its masks
    masks = page.evaluate("[...document.querySelectorAll('#stage canvas')].map(one => one.toDataURL())")
    assert len(set(masks)) == len(masks) == 2 * sum(map(len, pictures))
    assert responses(sqlite_workshop) == []


def test_who_wants_less_motion_sees_one_mask(browser, sqlite_workshop, serve):
    sqlite_workshop.create_study(exposure={"duration_ms": 50, "mask_ms": 100, "masks": 4}, trials=MAIN)
    with watched_page(browser, reduced_motion="reduce") as page:
        enter(page, serve(sqlite_workshop) + "/study/spots/")
        assert page.locator("#left canvas").count() == page.locator("#right canvas").count() == 1


def test_answers_before_the_end_do_not_count_and_lost_focus_is_told(page, sqlite_workshop, serve):
    sqlite_workshop.create_study(exposure={"duration_ms": 800, "fixation_ms": 0}, trials=MAIN)
    url = serve(sqlite_workshop) + "/study/spots/"
    consent(page, url)
    page.click("#begin")
    page.wait_for_selector(SEEN)
    page.keyboard.press("ArrowLeft")
    page.evaluate("dispatchEvent(new Event('blur'))")
    page.wait_for_selector(READY)
    assert page.locator(SEEN).count() == 0  # gone when it may be chosen
    assert answer_and_go_on(page, "ArrowRight")["focus_lost"] is True
    page.evaluate("dispatchEvent(new Event('blur'))")  # after the exposure
    assert answer_and_go_on(page)["focus_lost"] is False
    hide = "Object.defineProperty(document, 'hidden', { value: true }); document.dispatchEvent(new Event('visibilitychange'))"
    page.wait_for_selector(READY)
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("() => document.querySelector('#progress').value == 3")
    page.wait_for_selector(SEEN)
    page.evaluate(hide)
    page.wait_for_selector(READY)
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("#code")
    first, *others = responses(sqlite_workshop)
    assert first.chosen_side == "left"  # asked for the fake: the left key came too early, the right one counted
    assert first.rt_ms >= 790
    assert [one.focus_lost for one in others] == [False, False, True]


def test_moment_of_an_answer_is_that_of_the_press_however_late_the_page_hears_of_it(page, sqlite_workshop, serve):
    sqlite_workshop.create_study(exposure={"duration_ms": 50, "fixation_ms": 0}, trials=MAIN)
    enter(page, serve(sqlite_workshop) + "/study/spots/")
    page.mouse.move(
        *page.evaluate("(({ x, y }) => [x + 20, y + 20])(document.querySelector('#left').getBoundingClientRect())")
    )
    with page.expect_request("**/answer") as sent:
        page.mouse.down()
        page.wait_for_timeout(300)
        page.mouse.up()
    held = sent.value.post_data_json
    assert held["elapsed_ms"] - held["rt"] >= 295
    page.wait_for_function("() => document.querySelector('#progress').value == 1")
    page.wait_for_selector(READY)
    busy = "addEventListener('keydown', () => { for (const until = performance.now() + 300; performance.now() < until; ); }, true)"
    page.evaluate(busy)
    stalled = answer_and_go_on(page)
    assert stalled["elapsed_ms"] - stalled["rt"] >= 295
    assert isinstance(stalled["rt"], int)


def test_second_of_two_pictures_without_a_time_limit_comes_when_asked_for(page, sqlite_workshop, serve):
    sqlite_workshop.create_study(presentation="sequential", trials=MAIN)
    consent(page, serve(sqlite_workshop) + "/study/spots/")
    page.click("#begin")
    page.wait_for_selector("#show-second:visible")
    page.keyboard.press("ArrowLeft")  # nothing to choose yet
    page.wait_for_timeout(300)
    page.keyboard.press("Enter")
    page.wait_for_selector(READY)
    assert page.is_hidden("#show-second")
    with page.expect_request("**/answer") as sent:
        page.click("#second")
    told = sent.value.post_data_json
    assert told["exposure_measured_ms"] >= 295
    assert told["exposure_second_measured_ms"] >= told["rt"] - 1  # until the answer, from its own onset
    assert told["late_frames"] is None


def test_button_order_of_one_picture_is_drawn_once_per_participant(sqlite_workshop):
    from test_participate import start

    sqlite_workshop.create_study(task="yes_no", question="real", trials=MAIN)
    orders = set()
    for _ in range(60):
        client = sqlite_workshop.client()
        start(client)
        client.post("/study/spots/step/instructions")
        text = client.get("/study/spots/survey").text
        # The ready screen, the two others that repeat it, and the buttons all show the same order.
        order = [text.index(f'<button id="{word}"') for word in ("real", "fake")]
        keys = text[text.index('class="answers"') :]
        shown = [keys.index(words) for words in ("Real photograph", "Fake")]
        assert (order[0] < order[1]) == (shown[0] < shown[1])
        assert client.get("/study/spots/survey").text == text
        orders.add(order[0] < order[1])
        if len(orders) == 2:
            break
    assert orders == {True, False}


def test_refresh_interval_is_found(page, sqlite_workshop, serve):
    url = serve(sqlite_workshop)
    page.goto(url)
    script = """async ([url, times]) => {
        window.requestAnimationFrame = (call) => queueMicrotask(() => call(times.shift()));
        const { FrameClock } = await import(`${url}/static/frames.js`);
        return await new FrameClock().measure();
    }"""
    frames = range(31)
    for times, interval in (
        ([i * 1000 / 60 for i in frames], 1000 / 60),
        ([round(i * 1000 / 60) for i in frames], 1000 / 60),  # told in whole milliseconds, as by Safari
        ([i * 1000 / 144 for i in frames], 1000 / 144),
        ([(i + 3 * (i > 7) + 5 * (i > 20)) * 10.0 for i in frames], 10),  # two frames came late
        ([i * 200.0 for i in frames], 1000 / 60),  # a page that was asleep: the usual is taken
    ):
        assert page.evaluate(script, [url, times]) == pytest.approx(interval, rel=0.003)


def test_steps_take_whole_frames_and_late_ones_are_told(page, sqlite_workshop, serve):
    url = serve(sqlite_workshop)
    page.goto(url)
    script = """async ([url, times, steps]) => {
        window.requestAnimationFrame = (call) => queueMicrotask(() => call(times.shift()));
        const { FrameClock } = await import(`${url}/static/frames.js`);
        const clock = new FrameClock();
        clock.interval = 10;
        const drawn = [];
        const played = await clock.play(steps.map((ms, i) => ({ draw: () => drawn.push(i), ms })));
        return { played, drawn, shares: [clock.share(120, 4), clock.share(25, 2), clock.share(20, 3)] };
    }"""
    times = [0, 10, 20, 30, 40, 70, 80, 90.4, 99.6, 120, 130]
    found = page.evaluate(script, [url, times, [26, 20, 4, 30]])
    assert found["drawn"] == [0, 1, 2, 3]
    assert [step["start"] for step in found["played"]] == [0, 30, 70, 80]
    # 26 ms: three frames. 20 ms: two, but two frames came late. 4 ms: one. 30 ms: three, one of them late, and no longer for it.
    assert [step["measured_ms"] for step in found["played"]] == pytest.approx([30, 40, 10, 40])
    assert [step["late_frames"] for step in found["played"]] == [0, 2, 0, 1]
    assert found["shares"] == [[30, 30, 30, 30], [20, 10], [10, 10]]


def test_answers_survive_closed_tabs_and_clocks_that_were_set(browser, sqlite_workshop, serve):
    """Each visit answers one trial without a network and is closed; the next, with another date, sends it."""
    sqlite_workshop.create_study(exposure={"duration_ms": 50, "fixation_ms": 0}, trials=MAIN)
    url = serve(sqlite_workshop) + "/study/spots/"
    warned = []
    with watched_page(browser) as first:
        enter(first, url)
        context, page = first.context, first
        for visit, days in enumerate((0, -10, 10)):
            page.evaluate("() => { window.fetch = () => Promise.reject(new TypeError('Failed to fetch')); }")
            page.keyboard.press("ArrowLeft")
            page.wait_for_selector("#notice:visible")
            assert "Your answers are safe" in page.inner_text("#notice")
            assert len(responses(sqlite_workshop)) == visit
            page.on("dialog", lambda dialog: (warned.append(dialog.type), dialog.accept()))
            with page.expect_event("close"):
                page.close(run_before_unload=True)
            page = context.new_page()
            page.add_init_script(f"const now = Date.now; Date.now = () => now() + {days} * 86400000;")
            page.goto(url)
            page.wait_for_selector("#back:visible")
            assert len(responses(sqlite_workshop)) == visit + 1
            page.click("#back button")
            page.wait_for_selector(READY)
        page.keyboard.press("ArrowLeft")
        page.wait_for_selector("#code")
        assert page.evaluate("localStorage.length") == 1  # how often the last trial was shown; no answer
    assert warned == ["beforeunload"] * 3
    kept, back, ahead, direct = responses(sqlite_workshop)
    now = datetime.now(UTC)
    for response in (kept, back, direct):
        assert now - response.presented_at < timedelta(minutes=5)
    assert timedelta(hours=71) < now - ahead.presented_at < timedelta(hours=73)
    assert all(response.presented_at <= response.answered_at <= now for response in (kept, back, ahead, direct))


def test_answer_is_sent_until_the_server_has_stored_it(browser, sqlite_workshop, serve):
    sqlite_workshop.create_study(exposure={"duration_ms": 50, "fixation_ms": 0}, trials={"practice": 0, "main": 2})
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
        enter(page, serve(sqlite_workshop) + "/study/spots/")
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
        assert [response.presentations for response in responses(sqlite_workshop)] == [1, 2]


def test_browser_that_keeps_nothing_can_take_part(page, sqlite_workshop, serve):
    sqlite_workshop.create_study(exposure={"duration_ms": 50, "fixation_ms": 0}, trials={"practice": 0, "main": 2})
    page.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError'); } })"
    )
    enter(page, serve(sqlite_workshop) + "/study/spots/")
    take_survey(page, lambda: page.keyboard.press("ArrowLeft"))
    assert [response.presentations for response in responses(sqlite_workshop)] == [1, 1]
