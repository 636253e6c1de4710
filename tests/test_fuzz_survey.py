"""Whatever anybody sends to the survey's pages, in whatever order: a page or a refusal, never a failure, and never the truth."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlencode

import numpy as np
import pytest
from conftest import SECRET, Workshop
from flask import Flask, request
from flask import session as cookie
from fuzzing import (
    Reply,
    Sent,
    as_bytes,
    ask,
    drawn_for,
    form,
    fuzzed,
    json_object,
    json_text,
    odd_cookies,
    odd_headers,
    odd_tokens,
    open_app,
    quoted,
)
from hypothesis import given
from hypothesis import strategies as st
from pictures import copy_pictures
from sqlalchemy import func, select
from test_questions import MEASURED
from test_step_pages import QUESTIONS, WHOLE_ROAD
from visitors import SOURCES, fields_of
from werkzeug.wrappers import Response as BaseResponse

from study_app.db import reading, writing
from study_app.invitations import invite_number, signed_token
from study_app.simulated_forms import fill_form
from study_app.studies import close_study, design_of, find_study
from study_app.tables import Image, Refusal, Response, Session, Step
from study_app.trial_pages import PLACES, AnswerBody

T = TypeVar("T")
FEW = {"practice": 1, "main": 2}
ONE_F = [{"question": "sex", "answer": "f", "participants": 1}]
# Each protocol, layout and source of participants once.
STUDIES: dict[str, dict[str, object]] = {
    "whole": {**WHOLE_ROAD, "languages": ["en", "de", "ar"]},
    "caught": {"trials": {**FEW, "catch": 1, "repeat": 1}, "catch": {"pairset": "catch", "max_missed": 0}},
    "translated": {"protocol": "pix2pix2017"},
    "sequential": {"protocol": "cyclegan2017", "presentation": "sequential"},
    "unlimited": {"protocol": "ding2018", "question": "fake"},
    "yes-no": {"protocol": "hype_infinity", "qualification": {"min_correct": 1.0}},
    "adaptive": {"protocol": "hype_time", "trials": {**FEW, "blocks": 2}, "exposure": {"duration_ms": "adaptive"}},
    "quotas": {"questions": QUESTIONS, "stopping": {"quotas": ONE_F}},
    "closed": {},
    **{source: {"recruitment": {"source": source, **SOURCES[source]}} for source in SOURCES if source != "link"},
}
FIELDS = {
    "ticket", "simulated", "preview", "lang", "choice", "attempt", "measured", "give_up", "calibrated", "px_per_mm", "plate0",
    "plate1", "plate2", "none0", "none1", *QUESTIONS,
}  # fmt: skip
LINKS = {
    "prolific": "?PROLIFIC_PID=p{n}&STUDY_ID=st&SESSION_ID=se",
    "mturk": "?assignmentId=A{n}&hitId=H1&workerId=w{n}&turkSubmitTo=https%3A%2F%2Fworkersandbox.mturk.com",
    "sona": "?survey_code={n}",
    "invitation": "?invitation={token}",
}
STEPS = ("questions", "screen", "colour_vision", "instructions", "questions_after", "debriefing")


# Of every endpoint the address, and who has most to do there: by the page at which they are.
PAGES = {
    "home": ("/", ""),
    "static": ("/static/{file}", ""),
    "report": ("/report/", ""),
    "report_file": ("/report/{report}", ""),
    "health.alive": ("/health", ""),
    "health.ready": ("/ready", ""),
    "health.counters": ("/metrics", ""),
    "openapi.description": ("/openapi.json", ""),
    "entrance.welcome": ("/study/{study}/", "consent"),
    "entrance.start": ("/study/{study}/start", "consent"),
    "entrance.declined": ("/study/{study}/declined", "consent"),
    "entrance.go_on": ("/study/{study}/on", ""),
    "step_pages.show": ("/study/{study}/step/{step}", "step"),
    "step_pages.take": ("/study/{study}/step/{step}", "step"),
    "step_pages.plate": ("/study/{study}/plate/{session}/{index}", "colour_vision"),
    "trial_pages.survey": ("/study/{study}/survey", "survey"),
    "trial_pages.next_trial": ("/study/{study}/next", "survey"),
    "trial_pages.answer": ("/study/{study}/answer", "survey"),
    "trial_pages.picture": ("/study/{study}/picture/{session}/{index}/{place}", "survey"),
    "ending.done": ("/study/{study}/done", "done"),
}
FILES = ["trial.css", "icon.svg", "survey.js"]


@dataclass(frozen=True)
class Person:
    """Somebody on the way through a study: the cookie, the session in it, and what to send from the page where they are."""

    study: str
    link: str
    at: str
    cookie: str
    session: str
    places: tuple[str, ...]
    form: bytes
    answer: dict[str, object]


@dataclass(frozen=True)
class Survey:
    """A served survey, people somewhere on their way through each study, and words that no page may say."""

    app: Flask
    people: list[Person]
    invitations: list[str]
    secrets: list[bytes]
    counted: Counter[tuple[str | None, str, int]]  # requests by endpoint, method and status // 100


@pytest.fixture
def survey(workshop: Workshop) -> Survey:
    copy_pictures(workshop.folder / "catch", "easy", n=6, strength=0.1)
    copy_pictures(workshop.folder / "few", "cgan", n=6)
    report = workshop.folder / "report"
    report.mkdir()
    (report / "report.html").write_text("<h1>What was found</h1>")
    common = {"conditions": {"cgan": "few"}, "trials": FEW}
    names = [workshop.create_study(**{**common, "name": name, **more}) for name, more in STUDIES.items()]
    app = open_app(workshop, report)
    counted: Counter[tuple[str | None, str, int]] = Counter()

    @app.after_request
    def count(response: BaseResponse) -> BaseResponse:
        counted[request.endpoint, request.method, response.status_code // 100] += 1
        return response

    with writing(workshop.engine) as db:
        study = find_study(db, "invitation")
        invited = [signed_token(SECRET, "invitation", one.public_id) for one in invite_number(db, study, 9)]
    # Somebody at each step of the longest road; before the consent, in the trials and at the end of the others.
    ways = [(name, n) for name in names for n in (range(-1, 9) if name == "whole" else (-1, 1, 6))]
    people = [
        person_on_the_way(app, workshop, name, LINKS.get(name, "").format(n=n, token=invited[n]), n) for name, n in ways
    ]
    close_study(workshop.engine, "closed")
    counted.clear()
    with reading(workshop.engine) as db:
        hashes = [sha256.encode() for sha256 in db.scalars(select(Image.sha256))]
    return Survey(app, people, invited, [b"cgan", b"wgan", b"real_side", b"condition", *hashes], counted)


def person_on_the_way(app: Flask, workshop: Workshop, name: str, link: str, n: int) -> Person:
    """Somebody who agreed and did rightly the first ``n`` things after that; of -1 the consent is still to come."""
    client = app.test_client()
    reply = client.get(f"/study/{name}/{link}")
    action, ticket = fields_of(reply.text)
    form = {"ticket": ticket}
    if n >= 0:
        reply = client.post(action, data=form)
    sent = reply.headers["Set-Cookie"].partition(";")[0]
    with app.test_request_context(f"/study/{name}/", headers={"Cookie": sent}):
        own = cookie.get("sessions", {}).get(name, "")
    with reading(workshop.engine) as db:
        design = design_of(find_study(db, name))
        seed = db.scalar(select(Session.seed).where(Session.public_id == own)) or 0
    answer = {"trial_index": 0, "response": design.sides[0], "rt": 700, "elapsed_ms": 700}
    at = "consent"
    for left in range(n, -1, -1):
        at = client.get(f"/study/{name}/on").location.rpartition("/")[2]
        form = {} if at in ("survey", "done") else fill_form(at, design, seed, np.random.default_rng(0))
        if at == "survey":
            answer["trial_index"] = client.get(f"/study/{name}/next").json["trial"]["trial_index"]
        if left and at == "survey":
            assert client.post(f"/study/{name}/answer", json=answer).status_code == 200
        elif left and at != "done":
            assert client.post(f"/study/{name}/step/{at}", data=form).status_code == 303
    return Person(name, link, at, sent, own, PLACES[design.layout], urlencode(form, doseq=True).encode(), answer)


def check(sent: Sent, reply: Reply, survey: Survey) -> None:
    """No failure, nothing that is nobody's business, and no way off this server."""
    assert reply.status < 500, reply
    assert not [word for word in survey.secrets if word in reply.body]
    where = reply.headers.get("Location", "/")
    # Where an address lacks a slash, the way to the one with it names the host that was asked for.
    by_other_name = {"Host", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port"} & dict(sent.headers).keys()
    assert re.match(r"(http://127\.0\.0\.1:8000)?/(?![/\\])", where) or by_other_name, where
    for name, value in reply.headers.items():
        assert "\n" not in value, (name, value)
        assert "\r" not in value, (name, value)


METHODS = ("HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "get", "X" * 200)
ARGUMENTS = (
    "lang", "preview", "simulated", "cookies", "invitation", "PROLIFIC_PID", "STUDY_ID", "SESSION_ID", "workerId",
    "assignmentId", "hitId", "turkSubmitTo", "id", "survey_code",
)  # fmt: skip


def mostly(right: st.SearchStrategy[T], odd: st.SearchStrategy[T]) -> st.SearchStrategy[T]:
    return st.integers(0, 5).flatmap(lambda n: odd if n == 5 else right)


def words(*these: str) -> st.SearchStrategy[bytes]:
    return st.sampled_from([word.encode() for word in these])


@dataclass(frozen=True)
class Odd:
    """Whatever else may be sent, by the part of the request in which it stands."""

    query: st.SearchStrategy[bytes]
    headers: st.SearchStrategy[list[tuple[str, str]]]
    cookie: st.SearchStrategy[str]
    form: st.SearchStrategy[tuple[str, bytes]]


def odd_parts(survey: Survey) -> Odd:
    names = list(STUDIES)
    tokens = st.sampled_from(odd_tokens(names))
    ids = words("A1", *survey.invitations, "ASSIGNMENT_ID_NOT_AVAILABLE", "https://www.mturk.com")
    arguments = st.lists(st.tuples(mostly(words(*ARGUMENTS), quoted), tokens | ids | quoted), min_size=1, max_size=5)
    measured = json_object(MEASURED, {key: json.dumps(value) for key, value in MEASURED.items()})
    return Odd(
        query=arguments.map(lambda found: b"&".join(key + b"=" + value for key, value in found)),
        headers=odd_headers,
        cookie=st.just("") | odd_cookies(survey.app, [person.cookie for person in survey.people], names),
        form=form(FIELDS, tokens | measured),
    )


def parts_of_paths(person: Person) -> dict[str, list[str]]:
    """What may rightly stand in the addresses of PAGES; a step is mostly the one that is next."""
    steps = [person.at] * len(STEPS) if person.at in STEPS else []
    right = {"study": [person.study], "session": [person.session], "place": list(person.places)}
    return {**right, "index": ["0", "1", "2"], "step": [*steps, *STEPS], "file": FILES, "report": ["report.html"]}


def fitting(people: Iterable[Person], at: str) -> list[Person]:
    """Those who have something to do at such a page."""
    return [one for one in people if at in (one.at, "") or (at == "step" and one.at in STEPS)]


def requests_to(survey: Survey, endpoint: str, method: str) -> st.SearchStrategy[Sent]:
    """Requests of which a few parts, or none, are not what our own pages would send to this endpoint."""
    template, at = PAGES[endpoint]
    odd = odd_parts(survey)
    whoever = mostly(st.sampled_from(fitting(survey.people, at)), st.sampled_from(survey.people))
    parts = st.sets(st.sampled_from(["path", "method", "query", "headers", "cookie", "body"]), max_size=3)

    @st.composite
    def one_request(draw: st.DrawFn) -> Sent:
        person, differs = draw(whoever), draw(parts)
        names = re.findall(r"{(\w+)}", template)
        right = {name: draw(words(*parts_of_paths(person)[name])) for name in names}
        if "path" in differs and names:
            right[draw(st.sampled_from(names))] = draw(quoted | words(*(one.session or "-" for one in survey.people)))
        path = re.sub(rb"{(\w+)}", lambda found: right[found[1].decode()], template.encode())
        query = draw(odd.query) if "query" in differs else person.link[1:].encode()
        if endpoint == "trial_pages.answer":
            members = {key: json.dumps(value) for key, value in person.answer.items()}
            odd_answers = json_object(AnswerBody.model_fields, members) | json_text.map(as_bytes)
            answers = odd_answers if "body" in differs else st.just(json.dumps(person.answer).encode())
            content = ("application/json", draw(answers))
        else:
            content = draw(odd.form) if "body" in differs else ("application/x-www-form-urlencoded", person.form)
        headers = {"Content-Type": content[0], "Cookie": draw(odd.cookie) if "cookie" in differs else person.cookie}
        headers |= dict(draw(odd.headers)) if "headers" in differs else {}
        verb = draw(st.sampled_from(METHODS)) if "method" in differs else method
        return Sent(path, verb, query, tuple(headers.items()), content[1])

    return one_request()


def odd_requests(survey: Survey) -> st.SearchStrategy[Sent]:
    """Requests to addresses most of which lead nowhere."""
    odd = odd_parts(survey)
    study = words(*STUDIES, *(f"{name}/{page}" for name in ("whole", "mturk") for page in ("step", "picture", "plate")))
    paths = st.tuples(mostly(study, quoted), st.lists(quoted, max_size=4)).map(
        lambda one: b"/".join([b"/study", one[0], *one[1]])
    )
    elsewhere = st.lists(words("", "health", "metrics", "report", "static", "study", "..") | quoted, max_size=4).map(
        lambda found: b"/".join([b"", *found])
    )
    cookies = mostly(st.sampled_from([person.cookie for person in survey.people]), odd.cookie)

    def build(
        path: bytes, method: str, query: bytes, headers: list[tuple[str, str]], whose: str, content: tuple[str, bytes]
    ) -> Sent:
        return Sent(path, method, query, (("Content-Type", content[0]), ("Cookie", whose), *headers), content[1])

    methods = mostly(st.sampled_from(["GET", "POST"]), st.sampled_from(METHODS))
    return st.builds(build, paths | elsewhere, methods, odd.query, odd.headers, cookies, odd.form)


# Each once made the survey fail, and the status with which it is refused.
MENDED = [
    (Sent(b"/study/%00/"), 404),  # PostgreSQL's text takes no NUL
    (Sent(b"/study/%00/answer", "POST", body=b'{"trial_index": 0, "response": "left", "rt": 1, "elapsed_ms": 1}'), 404),
    (Sent(b"/study/sona/", headers=(("Host", "a" * 64),)), 400),  # no name of a host, so no address of our icon
    (Sent(b"/study/sona/start", "POST", headers=(("Host", ".."), ("Origin", "http://a"))), 400),
    (Sent(b"/study/sona/start", "POST", headers=(("Origin", "http://["),)), 403),  # no address
]


def test_requests_that_once_made_it_fail_are_refused(workshop: Workshop) -> None:
    app = open_app(workshop)
    assert [ask(app, sent).status for sent, _ in MENDED] == [status for _, status in MENDED]


def test_no_request_makes_the_survey_fail_or_tell(survey: Survey) -> None:
    rules = list(survey.app.url_map.iter_rules())
    assert {rule.endpoint for rule in rules} == PAGES.keys()
    served = {(method, rule.endpoint) for rule in rules for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}}
    before = stored(survey)
    for method, endpoint in sorted(served):  # what is read first: after enough answers nobody has a picture at hand
        send(survey, f"{method} {endpoint}", 12, requests_to(survey, endpoint, method))
    send(survey, "odd", 40, odd_requests(survey))
    done = {(method, endpoint) for endpoint, method, hundreds in survey.counted if hundreds in (2, 3)}
    assert sorted(served - done) == []
    after = stored(survey)
    assert [name for name in after if after[name] == before[name]] == []


def send(survey: Survey, what: str, examples: int, requests: st.SearchStrategy[Sent]) -> None:
    @drawn_for(what)
    @fuzzed(examples)
    @given(requests)
    def fuzz(sent: Sent) -> None:
        check(sent, ask(survey.app, sent), survey)

    fuzz()


def stored(survey: Survey) -> dict[str, int]:
    """How many rows there are of each table into which participants write."""
    with reading(survey.app.extensions["engine"]) as db:
        return {
            table.__tablename__: db.scalar(select(func.count()).select_from(table)) or 0
            for table in (Session, Step, Response, Refusal)
        }
