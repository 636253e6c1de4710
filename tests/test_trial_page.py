"""The trial as an instrument: what is shown in which order, and which times are told."""

import pytest
from participant import READY, SEEN, answer_and_go_on, consent, enter, responses, watched_page

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


@pytest.mark.parametrize(
    ("layout", "pictures"),
    [
        pytest.param({}, [["img0", "img0"]], id="side by side"),
        pytest.param({"presentation": "sequential"}, [["img0"], ["img0"]], id="in sequence"),
        pytest.param({"task": "yes_no", "question": "real"}, [["img0"]], id="one picture"),
    ],
)
def test_masks_follow_pictures_in_their_place_and_nothing_moves(page, live, layout, pictures):
    exposure = {"duration_ms": 100, "fixation_ms": 100, "between_ms": 100, "mask_ms": 100, "masks": 2}
    live.create_study(exposure=exposure, trials=MAIN, **layout)
    consent(page, live.url + "/study/spots/")
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
    assert responses(live) == []


def test_who_wants_less_motion_sees_one_mask(browser, live):
    live.create_study(exposure={"duration_ms": 50, "mask_ms": 100, "masks": 4}, trials=MAIN)
    with watched_page(browser, reduced_motion="reduce") as page:
        enter(page, live.url + "/study/spots/")
        assert page.locator("#left canvas").count() == page.locator("#right canvas").count() == 1


def test_answers_before_the_end_do_not_count_and_lost_focus_is_told(page, live):
    live.create_study(exposure={"duration_ms": 800, "fixation_ms": 0}, trials=MAIN)
    url = live.url + "/study/spots/"
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
    first, *others = responses(live)
    assert first.chosen_side == "left"  # asked for the fake: the left key came too early, the right one counted
    assert first.rt_ms >= 790
    assert [one.focus_lost for one in others] == [False, False, True]


def test_moment_of_an_answer_is_that_of_the_press_however_late_the_page_hears_of_it(page, live):
    live.create_study(exposure={"duration_ms": 50, "fixation_ms": 0}, trials=MAIN)
    enter(page, live.url + "/study/spots/")
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


def test_second_of_two_pictures_without_a_time_limit_comes_when_asked_for(page, live):
    live.create_study(presentation="sequential", trials=MAIN)
    consent(page, live.url + "/study/spots/")
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


def test_button_order_of_one_picture_is_drawn_once_per_participant(live):
    from test_participate import start

    live.create_study(task="yes_no", question="real", trials=MAIN)
    orders = set()
    for _ in range(60):
        client = live.client()
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


def test_refresh_interval_is_found(page, live):
    url = live.url
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


def test_steps_take_whole_frames_and_late_ones_are_told(page, live):
    url = live.url
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


@pytest.mark.parametrize(
    ("width", "picture"), [(1280, 256.0), (320, 137.6)]
)  # not 48 px, as the file has, but 256, or less
def test_width_of_pictures_is_told_as_it_was_shown(browser, live, width, picture):
    live.create_study(exposure={"duration_ms": 50, "fixation_ms": 0}, trials=MAIN)
    with watched_page(browser, viewport={"width": width, "height": 720}) as page:
        enter(page, live.url + "/study/spots/")
        answer_and_go_on(page)
        on_stage = page.evaluate("document.querySelector('#stage img').getBoundingClientRect().width")
    assert [response.picture_width_px for response in responses(live)] == [picture]
    assert on_stage == pytest.approx(picture, abs=0.05)
