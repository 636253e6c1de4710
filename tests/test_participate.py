"""The participants' pages over a test client: the road, the refusals, and that nothing tells the fake from the real."""

import re

import pytest
from conftest import SECRET
from sqlalchemy import func, select

from study_app.db import reading
from study_app.entrance import simulation_tokens
from study_app.studies import close_study
from study_app.tables import Participant, Refusal, Response, Session, Trial


@pytest.fixture
def client(sqlite_workshop):
    sqlite_workshop.create_study()
    return sqlite_workshop.client()


def start(client, **fields):
    """Send the consent form of the welcome page, as a browser does."""
    return client.post("/study/spots/start", data={"ticket": ticket_of(client), **fields})


def ticket_of(client):
    ticket = re.search(r'name="ticket" value="([^"]+)"', client.get("/study/spots/").text)
    return ticket[1] if ticket else ""


def begin(client):
    """Consent and read the instructions: the first trial is next."""
    start(client)
    assert client.post("/study/spots/step/instructions").headers["Location"] == "/study/spots/survey"


def answer(client, index, side="left", **more):
    body = {"trial_index": index, "response": side, "rt": 700, "elapsed_ms": 701.5, **more}
    return client.post("/study/spots/answer", json=body)


def test_whole_road_ends_with_a_code(client, sqlite_workshop):
    assert b"I agree" in client.get("/study/spots/").data
    assert start(client).headers["Location"] == "/study/spots/step/instructions"
    assert client.get("/study/spots/survey").headers["Location"] == "/study/spots/step/instructions"
    assert answer(client, 0).status_code == 409  # nothing is asked before it was explained
    begin(client)
    assert client.get("/study/spots/survey").status_code == 200
    state = client.get("/study/spots/next").json
    while not state["done"]:
        assert client.get("/study/spots/done").headers["Location"] == "/study/spots/survey"
        for side in ("left", "right"):
            assert client.get(state["trial"]["pictures"][side]).data.startswith(b"\x89PNG")
        state = answer(client, state["trial"]["trial_index"]).json["next"]
    page = client.get("/study/spots/done").text
    assert re.search(r'<output id="code" dir="ltr">[A-Z2-9]{10}</output>', page)
    assert client.get("/study/spots/").headers["Location"] == "/study/spots/done"
    with reading(sqlite_workshop.engine) as db:
        assert db.scalar(select(func.count(Response.id))) == db.scalar(select(func.count(Trial.id))) == 10


def test_reload_continues_where_the_participant_was(client):
    begin(client)
    answer(client, 0)
    answer(client, 1)
    assert client.get("/study/spots/").headers["Location"] == "/study/spots/survey"
    assert start(client).headers["Location"] == "/study/spots/"  # a form of before leads on, too
    state = client.get("/study/spots/next").json
    assert state["trial"]["trial_index"] == 2
    assert state["progress"] == {"answered": 2, "total": 10, "practice": 2}


def test_repeated_answer_returns_the_first(client):
    begin(client)
    first = answer(client, 0, "left").json
    again = answer(client, 0, "right").json
    assert first == again


def test_feedback_is_given_in_practice_only(client):
    begin(client)
    feedback = [answer(client, index).json["feedback"] for index in range(10)]
    assert all(set(told) == {"correct", "real"} for told in feedback[:2])
    assert all(told["correct"] == (told["real"] == "right") for told in feedback[:2])  # left was clicked as the fake
    assert feedback[2:] == [None] * 8


def test_refusal_is_counted_and_nothing_else_stored(client, sqlite_workshop):
    reply = client.post("/study/spots/declined", data={"ticket": ticket_of(client)})
    assert "Nothing about you was stored" in reply.text
    assert "Set-Cookie" not in reply.headers
    client.post("/study/spots/declined", data={"ticket": "x" + ticket_of(client)})  # not from our page: not counted
    with reading(sqlite_workshop.engine) as db:
        assert db.scalar(select(func.count(Participant.id))) == 0
        assert db.scalar(select(func.count(Refusal.id))) == 1
    assert client.get("/study/spots/declined").headers["Location"] == "/study/spots/"
    assert set(Refusal.__table__.columns.keys()) == {"id", "study_id", "consent_sha256", "refused_at"}


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"trial_index": 0, "response": "up", "rt": 1, "elapsed_ms": 1}, "response"),
        ({"trial_index": 0, "response": "left", "rt": -1, "elapsed_ms": 1}, "rt"),
        ({"trial_index": 0, "response": "left", "rt": "fast", "elapsed_ms": 1}, "rt"),
        ({"trial_index": 0, "response": "left", "rt": 1}, "elapsed_ms"),
        ({"trial_index": 0, "response": "left", "rt": 1, "elapsed_ms": 1, "real_side": "left"}, "real_side"),
        ({"trial_index": 10**30, "response": "left", "rt": 1, "elapsed_ms": 1}, "trial_index"),
        ([], "answer"),
    ],
)
def test_malformed_answer_is_refused_and_nothing_stored(client, sqlite_workshop, body, problem):
    begin(client)
    reply = client.post("/study/spots/answer", json=body)
    assert reply.status_code == 400
    assert reply.json["error"].startswith(problem)
    with reading(sqlite_workshop.engine) as db:
        assert db.scalar(select(func.count(Response.id))) == 0


def test_answer_out_of_turn_is_refused(client):
    begin(client)
    assert answer(client, 5).status_code == 409


def test_unknown_studies_and_pages_are_told_kindly(client):
    for address in ("/study/nothing/", "/study/spots/nothing", "/nowhere"):
        reply = client.get(address)
        assert reply.status_code == 404
        assert "There is no such page" in reply.text


def test_closed_study_says_so_before_consent(client, sqlite_workshop):
    close_study(sqlite_workshop.engine, "spots")
    assert "This study is closed" in client.get("/study/spots/").text
    assert start(client).headers["Location"] == "/study/spots/"


def test_other_browsers_get_neither_trials_nor_pictures(client, sqlite_workshop):
    begin(client)
    address = client.get("/study/spots/next").json["trial"]["pictures"]["left"]
    stranger, second = sqlite_workshop.client(), sqlite_workshop.client()
    start(second)
    for other in (stranger, second):
        assert other.get(address).status_code == 403
    assert stranger.get("/study/spots/next").status_code == 403
    assert answer(stranger, 0).status_code == 403


def test_who_has_begun_is_not_told_that_nothing_was_stored(client, sqlite_workshop):
    ticket = ticket_of(client)  # the page in another tab
    begin(client)
    reply = client.post("/study/spots/declined", data={"ticket": ticket})
    assert "You have begun this study already" in reply.text
    assert "Nothing about you was stored" not in reply.text
    with reading(sqlite_workshop.engine) as db:
        assert db.scalar(select(func.count(Refusal.id))) == 0


def test_pictures_are_not_to_be_had_before_the_trials(client, sqlite_workshop):
    start(client)
    with reading(sqlite_workshop.engine) as db:
        address = f"/study/spots/picture/{db.scalar(select(Session.public_id))}"
    assert client.get(f"{address}/0/left").status_code == 404
    assert client.post("/study/spots/step/instructions").status_code == 303
    assert client.get(f"{address}/0/left").status_code == 200
    for index in ("1000001", "1" + "0" * 30):
        assert client.get(f"{address}/{index}/left").status_code == 404


def test_pictures_of_far_trials_are_not_to_be_had_yet(client):
    begin(client)
    trial = client.get("/study/spots/next").json["trial"]
    assert client.get(trial["pictures"]["left"].replace("/0/", "/1/")).status_code == 200
    assert client.get(trial["pictures"]["left"].replace("/0/", "/2/")).status_code == 404


def test_only_the_holder_of_the_key_can_simulate(client, sqlite_workshop):
    assert start(client, simulated="please").status_code == 403
    forged = simulation_tokens("x" * 32).dumps("spots")
    assert start(client, simulated=forged).status_code == 403
    elsewhere = simulation_tokens(SECRET).dumps("another-study")
    assert start(client, simulated=elsewhere).status_code == 403
    genuine = simulation_tokens(SECRET).dumps("spots")
    assert start(client, simulated=genuine).status_code == 303
    with reading(sqlite_workshop.engine) as db:
        assert db.scalars(select(Participant.origin)).all() == ["simulated"]


def test_real_and_fake_cannot_be_told_by_headers_or_length(client, sqlite_workshop):
    """Served bytes differ inside the picture and nowhere else: same headers, same length."""
    begin(client)
    state = client.get("/study/spots/next").json
    lengths = set()
    while not state["done"]:
        replies = {side: client.get(state["trial"]["pictures"][side]) for side in ("left", "right")}
        headers = [
            {k: v for k, v in reply.headers.items() if k not in ("Date", "X-Request-ID")} for reply in replies.values()
        ]
        assert headers[0] == headers[1]
        assert not {"ETag", "Last-Modified", "Content-Disposition"} & set(headers[0])
        assert replies["left"].data != replies["right"].data
        assert all(
            reply.data.endswith(b"IEND\xaeB`\x82") for reply in replies.values()
        )  # no padding behind the picture
        lengths.add(headers[0]["Content-Length"])
        state = answer(client, state["trial"]["trial_index"]).json["next"]
    assert len(lengths) == 1


def test_left_is_as_often_real_as_fake(client, sqlite_workshop):
    begin(client)
    with reading(sqlite_workshop.engine) as db:
        sides = db.scalars(select(Trial.real_side).join(Session).where(Trial.kind == "main")).all()
    assert sorted(sides) == ["left"] * 4 + ["right"] * 4
    trial = client.get("/study/spots/next").json["trial"]
    assert set(trial) == {"trial_index", "practice", "exposure_ms", "pictures"}
    assert set(trial["pictures"]) == {"left", "right"}


def test_pages_allow_no_foreign_or_inline_script(client):
    reply = client.get("/study/spots/")
    policy = reply.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "script-src 'self'" in policy
    assert not re.search(r"\son\w+=|<script(?![^>]*src=)|style=", reply.text)


def test_titles_from_a_design_cannot_inject_markup(sqlite_workshop):
    sqlite_workshop.create_study(title="<script>alert(1)</script>", description="<b>bold</b>", consent="<i>yes</i>")
    page = sqlite_workshop.client().get("/study/spots/").text
    assert "<script>" not in page
    assert "<b>" not in page
    assert "<i>" not in page
