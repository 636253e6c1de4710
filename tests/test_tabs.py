"""Two tabs of one participant at the very same moment: nothing that was acknowledged is undone, nothing is refused wrongly."""

import threading

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select
from visitors import agree

from study_app import step_pages, trial_pages
from study_app.comprehension import options_in_order, right_option
from study_app.db import reading
from study_app.studies import design_of
from study_app.tables import Response, Session

WAIT_S = 20


def answer(index, response="left"):
    return {"trial_index": index, "response": response, "rt": 700, "elapsed_ms": 700}


def another_tab(client) -> FlaskClient:
    tab = client.application.test_client()
    tab.set_cookie("realism", client.get_cookie("realism").value)
    return tab


class Held:
    """A tab's request, held where it calls a function of the server until it is let go."""

    def __init__(self, monkeypatch, module, name, request):
        self.reached, self.free, self.replies = threading.Event(), threading.Event(), []
        real = getattr(module, name)

        def held(*arguments):
            if threading.current_thread() is self.thread:
                self.reached.set()
                self.free.wait(WAIT_S)
            return real(*arguments)

        monkeypatch.setattr(module, name, held)
        self.thread = threading.Thread(target=lambda: self.replies.append(request()))
        self.thread.start()
        assert self.reached.wait(WAIT_S)

    def let_go(self):
        self.free.set()
        self.thread.join(WAIT_S)
        (reply,) = self.replies
        return reply


@pytest.fixture
def begun(workshop):
    workshop.create_study(trials={"practice": 0, "main": 2}, question="real", instructions={"comprehension": False})
    client = workshop.client()
    agree(client)
    client.post("/study/spots/step/instructions")
    return client


def test_first_answer_sent_twice_is_acknowledged_also_when_the_session_ended_meanwhile(begun, monkeypatch):
    tab = another_tab(begun)
    late = Held(
        monkeypatch, trial_pages, "_step_before", lambda: tab.post("/study/spots/answer", json=answer(0, "right"))
    )
    for index in (0, 1):
        assert begun.post("/study/spots/answer", json=answer(index)).status_code == 200
    reply = late.let_go()
    assert (reply.status_code, reply.json["stored"]) == (200, True)


def test_wrong_answer_of_another_tab_ends_nobody_who_is_in_the_trials(workshop, monkeypatch):
    workshop.create_study(
        trials={"practice": 0, "main": 2}, question="real", instructions={"comprehension": True, "max_attempts": 1}
    )
    client = workshop.client()
    agree(client)
    with reading(workshop.engine) as db:
        session = db.scalars(select(Session)).one()
        design = design_of(session.study)
        right = right_option(design)
        wrong = next(one for one in options_in_order(design, session.seed) if one != right)
    tab, page = another_tab(client), "/study/spots/step/instructions"
    held = Held(monkeypatch, step_pages, "count_wrong", lambda: tab.post(page, data={"choice": wrong, "attempt": "0"}))
    # Where the other tab holds the session, this one waits for it, and comes second.
    other = threading.Thread(target=lambda: client.post(page, data={"choice": right}))
    other.start()
    other.join(0.5)
    held.let_go()
    other.join(WAIT_S)
    client.post("/study/spots/answer", json=answer(0))
    with reading(workshop.engine) as db:
        outcome, answers = db.scalar(select(Session.outcome)), db.scalar(select(func.count(Response.id)))
    assert (outcome, answers) == ("failed_checks", 0)
