"""A participant in a real browser: from consent to the trials, and through them to the code."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from axe_playwright_python.sync_playwright import Axe
from conftest import Workshop
from playwright.sync_api import Browser, Page
from sqlalchemy import select

from study_app.db import reading
from study_app.tables import Response, Trial

# A trial that may be answered, in any layout.
READY = "[data-response]:not([disabled])"
PAUSES = ("#continue", "#go-on", "#rest-over", "#show-second", "#begin", "#back button")
AXE = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "resultTypes": ["violations"],  # what passes is not written up, which takes most of the time
}
SEEN = "#stage .seen:not(#cross)"  # pictures or masks


@contextmanager
def watched_page(browser: Browser, tolerated: str = "ERR_INTERNET_DISCONNECTED", **context: object) -> Iterator[Page]:
    """A page of a fresh profile; an error in the page's script or a refused resource fails the test, unless ``tolerated``."""
    profile = browser.new_context(**context)  # type: ignore[arg-type]
    page = profile.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    yield page
    assert [p for p in problems if tolerated not in p] == []
    profile.close()


def axe_finds_nothing(page: Page, where: str) -> None:
    """The page must have been opened with ``bypass_csp``."""
    result = Axe().run(page, options=AXE)
    assert result.violations_count == 0, f"{where}: {result.generate_report()}"


def consent(page: Page, survey: str) -> None:
    """From the study's address to the screen before the first trial."""
    page.goto(survey)
    page.click("text=I agree")
    page.click("form button")  # the instructions
    page.wait_for_selector("#begin:visible")


def enter(page: Page, survey: str) -> None:
    """From the study's address to the first trial that may be answered."""
    consent(page, survey)
    page.click("#begin")
    page.wait_for_selector(READY)


def take_survey(page: Page, choose: Callable[[], object], go_on: Callable[[str], object] | None = None) -> str:
    """From wherever the page is to the code; ``choose`` answers a trial, ``go_on`` leaves any screen in between."""
    pauses = ", ".join(f"{button}:visible" for button in PAUSES)
    while True:
        page.wait_for_selector(f"{READY}, {pauses}, #code", timeout=20_000)
        if page.query_selector("#code"):
            return page.inner_text("#code")
        waiting = [button for button in PAUSES if page.is_visible(button)]
        if waiting:
            (go_on or page.click)(waiting[0])
            page.wait_for_selector(waiting[0], state="hidden")
        elif page.query_selector(READY):
            before = page.evaluate("performance.timeOrigin + document.querySelector('#progress').value")
            choose()
            page.wait_for_function(
                f"""before => document.querySelector('#code') || !document.querySelector('{READY}')
                    || performance.timeOrigin + document.querySelector('#progress').value > before""",
                arg=before,
            )


def answer_and_go_on(page: Page, key: str = "ArrowLeft") -> dict[str, object]:
    """Answers the trial that is open and waits for the next one; the body that was sent."""
    index = page.evaluate("document.querySelector('#progress').value")
    with page.expect_request("**/answer") as sent:
        page.keyboard.press(key)
    page.wait_for_function("index => document.querySelector('#progress').value > index", arg=index)
    page.wait_for_selector(READY)
    body: dict[str, object] = sent.value.post_data_json
    return body


def responses(workshop: Workshop) -> Sequence[Response]:
    """Every answer stored, in the order of the trials."""
    with reading(workshop.engine) as db:
        return db.scalars(select(Response).join(Trial).order_by(Trial.trial_index)).all()
