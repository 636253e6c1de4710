"""The end of a study leads back to where somebody came from, and MTurk may show one in its frame."""

import re

import pytest
from sqlalchemy import func, select
from visitors import MTURK, PROLIFIC, SHORT, agree, answer_all, design_from, make, title_of

from study_app.db import reading, writing
from study_app.recruitment import WayOn, only_looks, way_on
from study_app.sessions import Arrival, end_session
from study_app.tables import Response, Session


@pytest.mark.parametrize(
    ("design", "outcome", "code", "arrival", "expected"),
    [
        (design_from("link"), "completed", "C0DE", Arrival(), None),
        (
            design_from("link", completion_url="https://panel.example/back?c={code}&i={id}"),
            "completed",
            "C0DE",
            Arrival(),
            WayOn("https://panel.example/back?c=C0DE&i="),
        ),
        (
            design_from("prolific"),
            "completed",
            "GOOD",
            Arrival("p"),
            WayOn("https://app.prolific.com/submissions/complete?cc=GOOD"),
        ),
        (
            design_from("prolific"),
            "screened_out",
            "OUT",
            Arrival("p"),
            WayOn("https://app.prolific.com/submissions/complete?cc=OUT"),
        ),
        (design_from("prolific"), "failed_checks", "DRAWN", Arrival("p"), None),  # a code that Prolific does not know
        (design_from("prolific"), "full", None, Arrival("p"), None),
        (
            design_from("sona"),
            "completed",
            "C0DE",
            Arrival("{code}&x=1"),  # an id is filled in as it is, and quoted
            WayOn("https://uni.sona-systems.com/credit?survey_code=%7Bcode%7D%26x%3D1&by=C0DE"),
        ),
        (design_from("sona"), "screened_out", None, Arrival("7"), None),
        (
            design_from("mturk"),
            "completed",
            "C0DE",
            Arrival("w", {"assignmentId": "A", "turkSubmitTo": "https://www.mturk.com"}),
            WayOn("https://www.mturk.com/mturk/externalSubmit", {"assignmentId": "A", "code": "C0DE"}),
        ),
        (
            design_from("mturk"),
            "completed",
            "C0DE",
            Arrival("w", {"assignmentId": "A", "turkSubmitTo": "https://evil.example"}),
            None,
        ),
        (
            design_from("mturk"),
            "screened_out",
            None,
            Arrival("w", {"assignmentId": "A", "turkSubmitTo": "https://www.mturk.com"}),
            None,
        ),
    ],
)
def test_way_on_is_the_one_that_the_source_expects(design, outcome, code, arrival, expected):
    assert way_on(design, outcome, code, arrival) == expected


def test_code_appears_only_when_every_answer_is_stored(sqlite_workshop):
    client = make(sqlite_workshop, "prolific")
    agree(client, PROLIFIC)
    client.post("/study/spots/step/instructions")
    for index in range(2):
        for page in ("done", "survey", "next", "on", "", f"{PROLIFIC}"):
            assert "GOOD" not in client.get(f"/study/spots/{page}", follow_redirects=True).text
        body = {"trial_index": index, "response": "left", "rt": 700, "elapsed_ms": 700}
        assert "GOOD" not in client.post("/study/spots/answer", json=body).text
    with reading(sqlite_workshop.engine) as db:
        assert db.scalar(select(func.count(Response.id))) == 2
    page = client.get("/study/spots/done").text
    assert '<output id="code" dir="ltr">GOOD</output>' in page
    assert 'href="https://app.prolific.com/submissions/complete?cc=GOOD" data-seconds="10"' in page


@pytest.mark.parametrize(
    ("source", "query", "outcome", "title", "leads_to", "hint"),
    [
        ("prolific", PROLIFIC, "screened_out", "The study ends here for you", "cc=OUT", None),
        ("prolific", PROLIFIC, "failed_checks", "The study ends here for you", None, "please return the study"),
        ("prolific", PROLIFIC, "full", "Thank you for wanting to help", None, "please return the study"),
        ("mturk", MTURK, "full", "Thank you for wanting to help", None, "please return the task"),
        ("link", "", "screened_out", "The study ends here for you", None, None),
    ],
)
def test_who_is_sent_away_reads_kind_words_and_what_was_stored(
    sqlite_workshop, source, query, outcome, title, leads_to, hint
):
    client = make(sqlite_workshop, source)
    agree(client, query)
    with writing(sqlite_workshop.engine) as db:
        session = db.scalars(select(Session)).one()
        end_session(session, design_from(source), outcome)
    page = client.get("/study/spots/done").text
    assert title_of(page) == title
    assert "What you answered so far is stored." in page
    assert "Every one of your answers" not in page
    assert ('id="way-on"' in page) is (leads_to is not None)
    assert leads_to is None or leads_to in page
    assert ("please return" in page) is (hint is not None)
    assert hint is None or hint in page


# MTurk's frame.


def test_worker_looks_at_the_task_before_accepting_it(sqlite_workshop):
    client = make(sqlite_workshop, "mturk")
    page = client.get("/study/spots/?assignmentId=ASSIGNMENT_ID_NOT_AVAILABLE&hitId=H1").text
    assert "Your consent" in page
    assert "Accept the task on Mechanical Turk to begin." in page
    assert "<form" not in page
    assert "<button" not in page
    assert not only_looks(design_from("prolific"), {"assignmentId": "ASSIGNMENT_ID_NOT_AVAILABLE"})


def test_worker_whose_browser_keeps_no_cookie_in_a_frame_is_offered_a_window(sqlite_workshop):
    client = make(sqlite_workshop, "mturk")
    page = client.get(f"/study/spots/{MTURK}&cookies=missing").text
    window = re.search(r'<a href="([^"]+)" target="_blank"', page)[1].replace("&amp;", "&")
    assert agree(client, window.removeprefix("/study/spots/")).headers["Location"] == "/study/spots/step/instructions"
    assert 'target="_blank"' not in client.get(f"/study/spots/{MTURK}").text


def test_only_mturk_may_frame_and_only_its_studies(sqlite_workshop):
    framed = make(sqlite_workshop, "mturk")
    sqlite_workshop.create_study(name="bare", trials=SHORT)
    begun = agree(framed, MTURK)
    for reply in (framed.get(f"/study/spots/{MTURK}"), begun, framed.get("/study/spots/on")):
        policy = reply.headers["Content-Security-Policy"]
        assert "frame-ancestors https://*.mturk.com;" in policy
        assert "form-action 'self' https://*.mturk.com;" in policy
        assert "default-src 'none'" in policy
    cookie = begun.headers["Set-Cookie"]
    assert {"Secure", "SameSite=None", "Partitioned", "HttpOnly", "Path=/study/spots/"} <= set(cookie.split("; "))
    begun = agree(framed, study="bare")
    for reply in (begun, framed.get("/study/bare/on"), framed.get("/")):
        assert "frame-ancestors 'none'" in reply.headers["Content-Security-Policy"]
        assert "form-action 'self';" in reply.headers["Content-Security-Policy"]
    cookie = begun.headers["Set-Cookie"]
    assert {"SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
    assert not {"Partitioned", "Secure"} & set(cookie.split("; "))


def test_worker_who_returned_and_accepted_anew_hands_in_the_new_assignment(sqlite_workshop):
    client = make(sqlite_workshop, "mturk")
    agree(client, MTURK)
    answer_all(client)
    assert client.get(f"/study/spots/{MTURK.replace('A1', 'A2')}").headers["Location"] == "/study/spots/done"
    page = client.get("/study/spots/done").text
    assert 'action="https://workersandbox.mturk.com/mturk/externalSubmit"' in page
    assert 'name="assignmentId" value="A2"' in page
    code = re.search(r'<output id="code" dir="ltr">([A-Z2-9]{10})</output>', page)[1]
    assert f'name="code" value="{code}"' in page


# In a real browser.

TAKE_PART = """async () => {
  const post = (page, body) => fetch(`/study/spots/${page}`, { method: "POST", body });
  await post("step/instructions");
  let state = await (await fetch("/study/spots/next")).json();
  while (!state.done) {
    const answer = { trial_index: state.trial.trial_index, response: "left", rt: 700, elapsed_ms: 700 };
    state = (await (await post("answer", JSON.stringify(answer))).json()).next;
  }
}"""


def answer_in(frame):
    """Agree, and send every answer from the page itself, with the cookies that the browser gives it."""
    with frame.expect_navigation():
        frame.click("text=I agree")
    frame.evaluate(TAKE_PART)


def test_browser_is_led_back_to_prolific_once_unless_it_stays(browser, sqlite_workshop, serve):
    make(sqlite_workshop, "prolific")
    survey = serve(sqlite_workshop) + "/study/spots/"
    context = browser.new_context()
    gone_to = []
    context.route(
        "https://app.prolific.com/**", lambda route: gone_to.append(route.request.url) or route.fulfill(body="P")
    )
    page = context.new_page()
    page.clock.install()
    page.goto(survey + PROLIFIC)
    answer_in(page)
    page.goto(survey + "done")
    assert page.inner_text("#code") == "GOOD"
    assert "taken there in 10 seconds" in page.inner_text("#leaving")
    page.click("text=Stay here")
    assert page.is_hidden("#leaving")
    page.clock.fast_forward(60_000)
    assert gone_to == []
    page.reload()
    with page.expect_navigation(url="https://app.prolific.com/**"):
        page.clock.fast_forward(10_000)
    assert gone_to == ["https://app.prolific.com/submissions/complete?cc=GOOD"]
    page.go_back()
    assert page.is_hidden("#leaving")  # who comes back is not sent away again
    page.clock.fast_forward(60_000)
    with page.expect_navigation(url="https://app.prolific.com/**"):
        page.click("text=Return to Prolific")
    assert len(gone_to) == 2
    context.close()


def test_task_is_done_and_handed_in_inside_mturks_frame(browser, sqlite_workshop, serve):
    """Its page is another site: the cookie must be kept there, and the policy must let it frame us and be posted to."""
    make(sqlite_workshop, "mturk")
    survey = serve(sqlite_workshop) + "/study/spots/"
    context = browser.new_context()
    handed_in, problems = [], []
    # The survey runs on this machine, which a page of the world may frame only if it is allowed to.
    context.grant_permissions(["local-network-access"])
    source = survey + MTURK.replace("&", "&amp;")
    around = f'<!doctype html><iframe src="{source}" allow="local-network-access" width="900" height="700"></iframe>'
    context.route("https://worker.mturk.com/**", lambda route: route.fulfill(body=around, content_type="text/html"))
    context.route(
        "https://workersandbox.mturk.com/**",
        lambda route: handed_in.append((route.request.url, route.request.post_data)) or route.fulfill(body="Thanks"),
    )
    page = context.new_page()
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.goto("https://worker.mturk.com/task")
    frame = page.frame_locator("iframe").locator("h1").element_handle().owner_frame()
    answer_in(frame)
    frame.goto(survey + "done")
    code = frame.inner_text("#code")
    with frame.expect_navigation():
        frame.click("button.primary")
    assert handed_in == [("https://workersandbox.mturk.com/mturk/externalSubmit", f"assignmentId=A1&code={code}")]
    assert problems == []
    context.close()
