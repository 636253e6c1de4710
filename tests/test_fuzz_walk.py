"""Participants who do whatever comes to mind, in any order, in two browsers: every answer once, in order, and no truth before it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import numpy as np
from conftest import Workshop
from flask import Flask
from flask.testing import FlaskClient
from fuzzing import fuzzed, open_app
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from pictures import copy_pictures
from sqlalchemy import func, select
from test_step_pages import WHOLE_ROAD
from visitors import fields_of
from werkzeug.test import TestResponse

from protocol.design import StudyDesign
from study_app.answers import side_taken_for_real
from study_app.db import reading
from study_app.simulated_forms import fill_form
from study_app.studies import design_of, find_study
from study_app.tables import Image, Response, Session, Study, Trial

FEW = {"practice": 1, "main": 2}
CODES = {"screened_out": "SENT-AWAY-7", "failed_checks": "MISSED-CHECKS-7", "completed": "ALL-DONE-7"}
STUDIES: dict[str, dict[str, object]] = {
    "whole": {**WHOLE_ROAD, "recruitment": CODES, "trials": FEW, "languages": ["en", "ar"]},
    "one": {"task": "yes_no", "qualification": {"min_correct": 1.0}, "recruitment": CODES, "trials": FEW},
    "adaptive": {"protocol": "hype_time", "presentation": "sequential", "task": "2afc", "trials": {**FEW, "blocks": 2}, "exposure": {"duration_ms": "adaptive"}},
    "known": {"recruitment": {"source": "prolific", **CODES}, "trials": {"practice": 0, "main": 2, "repeat": 1}, "question": "real"},
}  # fmt: skip
STEPS = ("questions", "screen", "colour_vision", "instructions", "questions_after", "debriefing")
PEOPLE = count()
LONGEST = 9  # steps and trials of a road
TRIAL_KEYS = {"trial_index", "practice", "exposure_ms", "pictures"}


def create_studies(workshop: Workshop) -> None:
    copy_pictures(workshop.folder / "few", "cgan", n=6)
    for name, more in STUDIES.items():
        workshop.create_study(**{"name": name, "conditions": {"cgan": "few"}, **more})


class Walk(RuleBasedStateMachine):
    """Two browsers of one person or of two; ``given``: by trial the first answer that each browser was told is stored.

    What is drawn never depends on what the server replied: sides are drawn anew in each session, so the same steps may end
    otherwise when they are taken again.
    """

    def __init__(self, app: Flask, workshop: Workshop) -> None:
        super().__init__()
        self.app, self.workshop = app, workshop
        self.browsers = [app.test_client(), app.test_client()]
        self.given: list[dict[int, str]] = [{}, {}]
        self.tickets: list[tuple[str, str]] = []
        self.at = 0
        with reading(workshop.engine) as db:
            self.hashes = list(db.scalars(select(Image.sha256)))

    @initialize(
        name=st.sampled_from(sorted(STUDIES)), left=st.integers(0, LONGEST), rightly=st.sampled_from([True, False])
    )
    def begins(self, name: str, left: int, rightly: bool) -> None:
        """Somebody opens the link and goes on, rightly or so badly as to be sent away, to somewhere on the road."""
        self.name, self.home = name, f"/study/{name}/"
        self.link = self.home + (f"?PROLIFIC_PID=p{next(PEOPLE)}&STUDY_ID=st&SESSION_ID=se" if name == "known" else "")
        with reading(self.workshop.engine) as db:
            self.design: StudyDesign = design_of(find_study(db, name))
            self.before = set(db.scalars(select(Session.id)))
        self.opens_the_link()
        if left < LONGEST:
            self.agrees()
        for _ in range(LONGEST - left):
            self.does_what_is_next(rightly)

    # What is seen.

    @property
    def browser(self) -> FlaskClient:
        return self.browsers[self.at]

    def see(self, reply: TestResponse) -> TestResponse:
        assert reply.status_code < 500, reply.text
        if reply.mimetype != "image/png":
            told = [
                word
                for word in ("cgan", "real_side", "condition", 'main"', "catch", *self.hashes)
                if word in reply.text
            ]
            assert told == []
            self.sees_code_only_at_the_end(reply.text)
        return reply

    def sees_code_only_at_the_end(self, page: str) -> None:
        shown = [session for session in self.sessions() if session.completion_code and session.completion_code in page]
        assert [code for code in CODES.values() if code in page] == [] or shown
        assert all(session.outcome for session in shown)
        if shown:
            assert "/done" in self.browser.get(self.home + "on").location

    def get(self, page: str) -> TestResponse:
        return self.see(self.browser.get(self.home + page))

    def sessions(self) -> list[Session]:
        with reading(self.workshop.engine) as db:
            found = db.scalars(select(Session).join(Study).where(Study.name == self.name).order_by(Session.id))
            return [session for session in found if session.id not in self.before]

    def state(self) -> dict[str, Any] | None:
        """What is next, where the trials are reached."""
        reply = self.get("next")
        assert reply.status_code in (200, 403)
        found: dict[str, Any] | None = reply.json if reply.status_code == 200 else None
        return self.knows_only_what_it_may(found) if found and not found["done"] else None

    def knows_only_what_it_may(self, state: dict[str, Any]) -> dict[str, Any]:
        assert set(state) <= {"done", "progress", "rest", "trial", "upcoming"}
        for trial in (state["trial"], *state["upcoming"]):
            assert set(trial) == TRIAL_KEYS
        return state

    # What is done.

    @rule(at=st.integers(0, 1))
    def changes_the_browser(self, at: int) -> None:
        self.at = at

    @rule()
    def opens_the_link(self) -> None:
        page = self.see(self.browser.get(self.link))
        if 'name="ticket"' in page.text:
            self.tickets.append(fields_of(page.text))

    @rule(which=st.integers(0, 2))
    def sends_a_consent_form(self, which: int) -> None:
        """Of any tab, perhaps once more, perhaps of the other browser."""
        action, ticket = self.tickets[-1 - which % len(self.tickets)]
        self.see(self.browser.post(action, data={"ticket": ticket}))

    @rule()
    def agrees(self) -> None:
        self.opens_the_link()
        action, ticket = self.tickets[-1]
        self.see(self.browser.post(action, data={"ticket": ticket}))

    @rule()
    def declines(self) -> None:
        self.see(self.browser.post(self.home + "declined", data={"ticket": self.tickets[-1][1]}))

    @rule(page=st.sampled_from(["", "on", "survey", "done", "declined", *(f"step/{step}" for step in STEPS)]))
    def looks_at(self, page: str) -> None:
        self.get(page)

    @rule(n=st.integers(1, 4))
    def takes_the_next_steps(self, n: int) -> None:
        for _ in range(n):
            where = self.get("on").location
            if "/step/" in where:
                self.takes_rightly(where)

    def takes_rightly(self, where: str) -> None:
        session = self.own_session()
        if session is not None:
            form = fill_form(where.rsplit("/", 1)[-1], self.design, session.seed, np.random.default_rng(0))
            self.see(self.browser.post(where, data=form))

    def does_what_is_next(self, rightly: bool) -> None:
        where, session = self.get("on").location, self.own_session()
        assert session is not None
        if where.endswith("/screen") and not rightly:
            self.see(self.browser.post(where, data={"give_up": "on"}))
        elif "/step/" in where:
            self.takes_rightly(where)
        elif where.endswith("/survey"):
            trial = self.get("next").json["trial"]["trial_index"]
            with reading(self.workshop.engine) as db:
                here = Trial.session_id == session.id, Trial.trial_index == trial
                real = db.scalar(select(Trial.real_side).where(*here))
            is_right = {side: side_taken_for_real(side, self.design) == real for side in self.design.sides}
            clicked = next(side for side in self.design.sides if is_right[side] == rightly)
            self.acknowledged(self.post_answer(self.browser, trial, clicked), trial, clicked)

    @rule(
        step=st.sampled_from(STEPS),
        form=st.sampled_from([{}, {"choice": "nicer", "attempt": "0"}, {"choice": "fake", "attempt": "1"}, {"age": "17"},
                              {"measured": "{}"}, {"none0": "on", "none1": "on", "none2": "on"}]),
    )  # fmt: skip
    def takes_a_step_badly(self, step: str, form: dict[str, str]) -> None:
        self.see(self.browser.post(f"{self.home}step/{step}", data=form))

    def post_answer(self, browser: FlaskClient, trial: int, side: str) -> TestResponse:
        body = {"trial_index": trial, "response": side, "rt": 500, "elapsed_ms": 600.5}
        return self.see(browser.post(self.home + "answer", json=body))

    def acknowledged(self, reply: TestResponse, trial: int, side: str) -> None:
        assert reply.status_code == 200, reply.text
        self.given[self.at].setdefault(trial, side)
        told = reply.json
        assert (told["stored"], told["trial_index"]) == (True, trial)
        assert told["feedback"] is None or trial < self.design.trials.practice
        if not told["next"]["done"]:
            self.knows_only_what_it_may(told["next"])

    @rule(side=st.integers(0, 1), n=st.integers(1, 2))
    def answers(self, side: int, n: int) -> None:
        for _ in range(n):
            state = self.state()
            if state is not None and "/survey" in self.get("on").location:
                trial, clicked = state["trial"]["trial_index"], self.design.sides[side]
                self.acknowledged(self.post_answer(self.browser, trial, clicked), trial, clicked)

    @rule(which=st.integers(0, 4), side=st.integers(0, 1))
    def answers_again(self, which: int, side: int) -> None:
        given = sorted(self.given[self.at])
        if given:
            trial, clicked = given[which % len(given)], self.design.sides[side]
            self.acknowledged(self.post_answer(self.browser, trial, clicked), trial, clicked)

    @rule(ahead=st.integers(1, 3) | st.just(9999), side=st.integers(0, 1))
    def answers_out_of_turn(self, ahead: int, side: int) -> None:
        state = self.state()
        trial = ahead + (state["trial"]["trial_index"] if state else len(self.given[self.at]) - 1)
        assert self.post_answer(self.browser, trial, self.design.sides[side]).status_code in (403, 409)

    @rule()
    def answers_twice_at_once(self) -> None:
        state = self.state()
        if state is None or "/survey" not in self.get("on").location:
            return
        trial, cookie = state["trial"]["trial_index"], self.cookie(self.at)
        tabs = [self.app.test_client() for _ in self.design.sides]
        for tab in tabs:
            tab.set_cookie("realism", cookie)
        body = {"trial_index": trial, "rt": 500, "elapsed_ms": 600}
        send: Callable[[FlaskClient, str], TestResponse] = lambda tab, side: tab.post(  # noqa: E731
            self.home + "answer", json={**body, "response": side}
        )
        with ThreadPoolExecutor(2) as pool:
            replies = list(pool.map(send, tabs, self.design.sides))
        session = next(one for one in self.sessions() if self.is_of(one, self.at))
        stored = self.responses(session)[trial]
        side = next(side for side in self.design.sides if side_taken_for_real(side, self.design) == stored)
        for reply in replies:
            self.acknowledged(self.see(reply), trial, side)

    @rule(trial=st.integers(0, 4))
    def fetches_pictures(self, trial: int) -> None:
        """Its own of the trials at hand; never those of others."""
        state = self.state()
        if state is None or "/survey" not in self.get("on").location:
            return
        at_hand = [state["trial"], *state["upcoming"]]
        for address in at_hand[0]["pictures"].values():
            assert self.see(self.browser.get(address)).status_code == 200
            assert self.see(self.app.test_client().get(address)).status_code == 403
            if not self.is_same_person(address):
                assert self.see(self.browsers[1 - self.at].get(address)).status_code == 403
        if trial > at_hand[-1]["trial_index"]:
            first = next(iter(at_hand[0]["pictures"].values())).split("/")
            ahead = "/".join([*first[:-2], str(trial), first[-1]])
            assert self.see(self.browser.get(ahead)).status_code == 404

    # Who is who.

    def cookie(self, at: int) -> str:
        found = self.browsers[at].get_cookie("realism")
        return found.value if found else ""

    def own(self, at: int) -> str | None:
        """The id of the browser's session, as its cookie has it."""
        cookie = self.cookie(at)
        with self.app.test_request_context(self.home):
            sign = self.app.session_interface.get_signing_serializer(self.app)  # type: ignore[attr-defined]
        found: str | None = (sign.loads(cookie) if cookie else {}).get("sessions", {}).get(self.name)
        return found

    def own_session(self) -> Session | None:
        return next((session for session in self.sessions() if self.is_of(session, self.at)), None)

    def is_of(self, session: Session, at: int) -> bool:
        return session.public_id == self.own(at)

    def is_same_person(self, address: str) -> bool:
        return f"/{self.own(1 - self.at)}/" in address

    def responses(self, session: Session) -> dict[int, str]:
        with reading(self.workshop.engine) as db:
            rows = db.execute(
                select(Trial.trial_index, Response.chosen_side).join(Response).where(Trial.session_id == session.id)
            ).all()
        assert len({index for index, _ in rows}) == len(rows)  # one response a trial
        return dict(rows)

    @invariant()
    def answers_are_in_order_and_the_first_ones(self) -> None:
        if not hasattr(self, "name"):
            return
        for session in self.sessions():
            stored = self.responses(session)
            assert sorted(stored) == list(range(len(stored)))
            if session.completed_at is not None:
                assert len(stored) == self.design.n_trials
            for at in (0, 1):
                if self.is_of(session, at) and self.own(0) != self.own(1):
                    first = {index: side_taken_for_real(side, self.design) for index, side in self.given[at].items()}
                    assert stored == first


def test_no_order_of_doing_things_loses_or_tells_an_answer(workshop: Workshop) -> None:
    create_studies(workshop)
    app = open_app(workshop)
    run_state_machine_as_test(lambda: Walk(app, workshop), settings=fuzzed(12, stateful_step_count=16))
    for name, rightly in (("known", True), ("one", False)):  # whatever was drawn, the ends of the road are reached
        walk = Walk(app, workshop)
        walk.begins(name=name, left=0, rightly=rightly)
        walk.answers_again(which=0, side=1)
        walk.answers_are_in_order_and_the_first_ones()
    with reading(workshop.engine) as db:
        assert {"completed", "screened_out"} <= set(db.scalars(select(Session.outcome)))
        assert db.scalar(select(func.count(Response.id))) >= 12
