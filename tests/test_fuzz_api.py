"""The interface of /next, /answer and the pictures is as its description says, whatever is sent, with a cookie and without."""

import re
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from conftest import Workshop
from flask import session as cookie
from fuzzing import drawn_for, fuzzed, open_app
from hypothesis import given
from hypothesis import strategies as st
from pictures import copy_pictures
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from visitors import agree

from study_app import openapi
from study_app.trial_pages import PLACES, AnswerBody

STUDIES: dict[str, dict[str, object]] = {
    "spots": {},
    "sequential": {"presentation": "sequential", "question": "real"},
    "yes-no": {"protocol": "hype_infinity"},
}
PLACE = {"spots": "left", "sequential": "first", "yes-no": "picture"}
RESPONSE = {**PLACE, "yes-no": "real"}
TOKEN = "only for the monitor"
OPERATIONS = [(path, method) for path, operations in openapi.describe()["paths"].items() for method in operations]
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


class Api:
    """A server with studies of each layout, and its description as a client would fetch it."""

    def __init__(self, workshop: Workshop) -> None:
        copy_pictures(workshop.folder / "few", "cgan", n=6)
        few = {"conditions": {"cgan": "few"}, "trials": {"practice": 1, "main": 3}}
        for name, more in STUDIES.items():
            workshop.create_study(**{**few, "name": name, **more})
        self.app = open_app(workshop)
        self.app.config["METRICS_TOKEN"] = TOKEN
        self.schema = schemathesis.openapi.from_wsgi("/openapi.json", self.app)
        self.cookies = {name: self.participant(name) for name in STUDIES}

    def participant(self, name: str) -> str:
        """The cookie of somebody before the first trial."""
        client = self.app.test_client()
        agree(client, study=name)
        client.post(f"/study/{name}/step/instructions")
        kept = client.get_cookie("realism")
        assert kept is not None
        return kept.value

    def session(self, name: str) -> str:
        """The id of the participant's session, as their cookie has it."""
        with self.app.test_request_context(headers={"Cookie": f"realism={self.cookies[name]}"}):
            found: str = cookie["sessions"][name]
            return found


@pytest.fixture
def api(workshop: Workshop) -> Api:
    return Api(workshop)


@st.composite
def cases(draw: st.DrawFn, api: Api, path: str, method: str) -> tuple[Case, dict[str, Any]]:
    """A call of the operation, most parts of which are mostly right, and the cookie and token sent with it."""
    name, mode = draw(st.sampled_from(sorted(STUDIES))), draw(st.sampled_from(list(GenerationMode)))
    case: Case = draw(api.schema[path][method].as_strategy(generation_mode=mode))
    right = {"name": name, "session": api.session(name), "trial_index": 0, "place": PLACE[name]}
    for part in sorted(case.path_parameters):
        if draw(st.integers(0, 5)) < 5:
            case.path_parameters[part] = right[part]
    if method == "post" and draw(st.booleans()):
        case.body = {"trial_index": 0, "response": RESPONSE[name], "rt": 700, "elapsed_ms": 700}
    cookies = {"realism": api.cookies[name]} if draw(st.integers(0, 5)) < 5 else None
    headers = {"Authorization": f"Bearer {TOKEN}"} if draw(st.booleans()) else None
    return case, {"cookies": cookies, "headers": headers}


def test_replies_are_as_described_whatever_is_sent(api: Api) -> None:
    without = [
        operation for operation in OPERATIONS if not any(200 <= status < 300 for status in call(api, *operation))
    ]
    assert without == []


def call(api: Api, path: str, method: str) -> set[int]:
    """The statuses of the replies that were found to be as described."""
    found = set()

    @drawn_for(f"{method} {path}")
    @fuzzed(20)
    @given(cases(api, path, method))
    def fuzz(one: tuple[Case, dict[str, Any]]) -> None:
        case, more = one
        found.add(case.call_and_validate(**more, checks=CHECKS).status_code)

    fuzz()
    return found


def test_every_reply_of_a_whole_participation_is_as_described(sqlite_workshop: Workshop) -> None:
    api = Api(sqlite_workshop)
    client = api.app.test_client()
    agree(client)
    client.post("/study/spots/step/instructions")
    state = openapi.WhatsNext.model_validate_json(client.get("/study/spots/next").text, strict=True).root
    feedback = []
    while state.done is False:
        assert {client.get(address).mimetype for address in state.trial.pictures.values()} == {"image/png"}
        body = {"trial_index": state.trial.trial_index, "response": "left", "rt": 700, "elapsed_ms": 700}
        stored = openapi.Stored.model_validate_json(client.post("/study/spots/answer", json=body).text, strict=True)
        assert stored.trial_index == state.trial.trial_index
        feedback.append(stored.feedback)
        state = stored.next.root
    assert [told is not None for told in feedback] == [True, False, False, False]
    refused = client.post("/study/spots/answer", json={**body, "response": "first"})
    assert (
        openapi.Problem.model_validate_json(refused.text).error == "response: first is no answer here; left or right is"
    )


def test_description_is_of_the_addresses_that_the_server_has(sqlite_workshop: Workshop) -> None:
    app = open_app(sqlite_workshop)
    served = {
        (re.sub(r"<(?:[^:>]*(?:\([^)]*\))?:)?(\w+)>", r"{}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
    }
    described = {(re.sub(r"{\w+}", "{}", path), method) for path, method in OPERATIONS}
    assert described <= served
    place = openapi.describe()["components"]["schemas"]["TrialToShow"]["properties"]["pictures"]["propertyNames"][
        "enum"
    ]
    assert sorted(place) == sorted(one for places in PLACES.values() for one in places)


def test_documentation_tells_of_every_address_and_field() -> None:
    page = (Path(__file__).resolve().parent.parent / "docs" / "api.md").read_text()
    for path in openapi.describe()["paths"]:
        assert path.replace("{name}", "NAME").split("/{")[0] in page, path
    for field in (*AnswerBody.model_fields, *openapi.TrialNext.model_fields, *openapi.Stored.model_fields):
        assert f"`{field}`" in page, field
