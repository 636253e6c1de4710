"""Every protocol by name, taken in a real browser from consent to code: by mouse and keys on a desktop and by touch on a phone."""

import re
from itertools import cycle

import pytest
from conftest import Workshop, served
from participant import take_survey, watched_page
from sqlalchemy import select

from protocol.presets import PRESETS
from study_app.config import Config
from study_app.db import open_migrated, reading
from study_app.schema import upgrade
from study_app.tables import Response, Session, Step, Study, Trial

RIGHT_WORDS = {
    "fake": "Choose the fake",
    "real": "Choose the real photograph",
    "one": "Say if it is a real photograph or a fake",
}


def tab_to(page, found: str) -> None:
    """Press Tab until the element with the focus fits; ``found`` is JavaScript about ``it``."""
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate(f"(it => {found})(document.activeElement)"):
            return
    raise AssertionError(f"no key leads to where {found}")


class Mouse:
    context = {"viewport": {"width": 1280, "height": 800}}  # noqa: RUF012
    method = "mouse"

    def __init__(self, page):
        self.page = page

    def press(self, selector):
        self.page.click(selector)

    def choose(self):
        self.page.click("[data-response]:not([disabled]) >> nth=0")


class Touch(Mouse):
    context = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}  # noqa: RUF012
    method = "touch"

    def press(self, selector):
        self.page.tap(selector)

    def choose(self):
        self.page.tap("[data-response]:not([disabled]) >> nth=0")


class Keys(Mouse):
    method = "keyboard"

    def press(self, selector):
        wanted = self.page.wait_for_selector(f"{selector} >> visible=true")
        is_radio = wanted.evaluate("it => it.matches('label.choice')")
        if is_radio:  # the group is one stop; arrows move within it
            tab_to(self.page, "it.type === 'radio'")
            self.page.keyboard.press("Space")
            while not wanted.evaluate("it => it.control.checked"):
                self.page.keyboard.press("ArrowDown")
            return
        if not wanted.evaluate("it => it === document.activeElement"):
            handle = wanted.evaluate("it => (it.dataset.wanted = 'yes', true)")
            assert handle
            tab_to(self.page, "it.dataset.wanted === 'yes'")
        self.page.keyboard.press("Enter")

    def choose(self):
        self.page.keyboard.press("ArrowLeft")


@pytest.fixture(scope="module")
def surveys(tmp_path_factory):
    """A served study of every protocol with few trials, and with the platform's own steps as they are by default."""
    folder = tmp_path_factory.mktemp("presets")
    config = Config(folder / "instance", f"sqlite:///{folder / 'realism.sqlite'}")
    upgrade(config.database)
    workshop = Workshop(config, open_migrated(config.database), folder)
    for name, preset in PRESETS.items():
        # Who gives the same answer twice is right once.
        half = {"qualification": {"min_correct": 0.5}} if "qualification" in preset.published else {}
        workshop.create_study(
            name=name,
            protocol=name,
            conditions={"cgan": "cgan"},
            assignment={"conditions": "between"},
            trials={"practice": 2 if half else 1, "main": 3 if "staircase" in preset.published else 2},
            exposure={},
            screen={},
            instructions={},
            **half,
        )
    with served(workshop) as url:
        yield workshop, url
    workshop.engine.dispose()


# Each protocol in one pair of hands, in turn. That either layout suits all of them on a phone, test_browser.py sees.
HANDS = list(zip(PRESETS, cycle((Mouse, Touch, Keys)), strict=False))


@pytest.mark.parametrize(("preset", "hands"), HANDS)
def test_protocol_goes_from_consent_to_code(browser, surveys, preset, hands):
    workshop, url = surveys
    with watched_page(browser, **hands.context) as page:
        act = hands(page)
        page.goto(f"{url}/study/{preset}/")
        act.press("#consent .primary")
        page.wait_for_selector("#ready:visible")  # the screen suits
        act.press("#ready .primary")
        page.wait_for_selector("label.choice")
        published = PRESETS[preset].values()
        asked = "one" if published["task"] == "yes_no" else published["question"]
        act.press(f'label.choice:has-text("{RIGHT_WORDS[asked]}")')
        act.press("form .primary")
        code = take_survey(page, act.choose, act.press)
        assert re.fullmatch("[A-Z2-9]{10}", code)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    with reading(workshop.engine) as db:
        session = db.scalars(
            select(Session)
            .join(Study, Session.study_id == Study.id)
            .where(Study.name == preset)
            .order_by(Session.id.desc())
        ).first()
        assert session.outcome == "completed"
        steps = dict(db.execute(select(Step.name, Step.data).where(Step.session_id == session.id)).all())
        answered = db.execute(
            select(Trial.exposure_ms, Response).join(Response).where(Trial.session_id == session.id)
        ).all()
    assert set(steps) == {"screen", "instructions"}
    assert len(answered) in (3, 4)
    for exposure_ms, response in answered:
        assert response.input_method == hands.method
        assert (response.presentations, response.focus_lost) == (1, False)
        assert response.frame_interval_ms == pytest.approx(16.7, abs=4)
        if exposure_ms is not None:
            # A busy machine may be late, and says so; it is never early by more than half a frame.
            late_ms = response.late_frames * response.frame_interval_ms
            assert -10 <= response.exposure_measured_ms - exposure_ms <= 10 + late_ms
            assert response.rt_ms >= response.exposure_measured_ms - 1
