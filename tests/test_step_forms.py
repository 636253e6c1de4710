"""Forms that no page of ours would send: none breaks the server, and none is stored."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select
from test_participate import start
from test_questions import MEASURED
from test_step_pages import QUESTIONS, address, send

from study_app.db import reading
from study_app.tables import Step

# Studies that begin with the step.
STUDIES = {
    "questions": {"questions": QUESTIONS},
    "screen": {"screen": {}},
    "colour_vision": {"colour_vision": {"plates": 2, "min_correct": 2, "exclude": True}},
    "instructions": {"instructions": {"max_attempts": 3}},
}
FIELDS = {
    "questions": ["age", "sex", "phones", "words", "skill", "fun"],
    "screen": ["measured", "give_up", "px_per_mm", "calibrated"],
    "colour_vision": ["plate0", "none0", "plate1", "none1", "plate2"],
    "instructions": ["choice", "attempt"],
}
known = st.sampled_from(["18", "f", "phone", "real", "0", "1", "{}", json.dumps(MEASURED), "1e999", "\0", "😀"])
value = known | st.text(max_size=40)


@pytest.fixture(params=STUDIES)
def step(request, sqlite_workshop):
    sqlite_workshop.create_study(**STUDIES[request.param])
    return request.param


@pytest.fixture
def app(sqlite_workshop):
    return sqlite_workshop.client().application


@settings(
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_no_form_breaks_the_server(app, step, data):
    name = st.sampled_from(FIELDS[step]) | st.text(max_size=8)
    form = data.draw(st.dictionaries(name, value | st.lists(value, max_size=3)))
    client = app.test_client()
    start(client)
    assert send(client, step, **form).status_code in (303, 422)
    assert client.get("/study/spots/on", follow_redirects=True).status_code == 200


def test_no_body_breaks_the_server_or_is_stored(sqlite_workshop, step):
    client = sqlite_workshop.client()
    start(client)
    for body, kind in (
        (b"\xff\xfe=%zz&age=%ff", "application/x-www-form-urlencoded"),
        (b"--x\r\nbroken", "multipart/form-data; boundary=x"),
        (b"", "multipart/form-data"),
        (b'{"age": 18, "choice": "fake"}', "application/json"),
    ):
        assert client.post(address(step), data=body, content_type=kind).status_code == 422
    assert send(client, step, words="a" * 200_000).status_code == 413
    with reading(sqlite_workshop.engine) as db:
        assert db.scalar(select(func.count(Step.id))) == 0
