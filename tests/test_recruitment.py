"""Links of every source lead in, and one person takes part once, on one device."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import SECRET
from sqlalchemy import func, select
from visitors import PROLIFIC, agree, design_from, fields_of, make, title_of

from study_app.db import reading
from study_app.entrance import simulation_tokens
from study_app.recruitment import ArrivalError, arrival_of
from study_app.sessions import Arrival
from study_app.tables import Participant, Session


def people(workshop):
    with reading(workshop.engine) as db:
        return db.execute(select(Participant.recruitment_id, Participant.recruitment)).all()


# Who comes.


@pytest.mark.parametrize(
    ("source", "arguments", "arrival"),
    [
        ("link", {"PROLIFIC_PID": "5f3a", "id": "7"}, Arrival()),
        ("prolific", {"PROLIFIC_PID": "5f3a"}, Arrival("5f3a")),
        (
            "prolific",
            {"PROLIFIC_PID": "5f3a", "STUDY_ID": "st", "SESSION_ID": "se", "more": "x"},
            Arrival("5f3a", {"STUDY_ID": "st", "SESSION_ID": "se"}),
        ),
        (
            "mturk",
            {"workerId": "W", "assignmentId": "A", "hitId": "H", "turkSubmitTo": "https://www.mturk.com/"},
            Arrival("W", {"assignmentId": "A", "hitId": "H", "turkSubmitTo": "https://www.mturk.com"}),
        ),
        ("sona", {"id": "1234"}, Arrival("1234")),
        ("sona", {"survey_code": "x" * 200}, Arrival("x" * 200)),
    ],
)
def test_arrival_holds_the_persons_id_and_what_else_was_sent(source, arguments, arrival):
    assert arrival_of(None, None, design_from(source), arguments) == arrival


@pytest.mark.parametrize(
    ("source", "arguments", "problem"),
    [
        ("prolific", {}, "person"),
        ("prolific", {"PROLIFIC_PID": ""}, "person"),
        ("prolific", {"PROLIFIC_PID": "{{%PROLIFIC_PID%}}"}, "person"),
        ("prolific", {"PROLIFIC_PID": "a" * 201}, "person"),
        ("prolific", {"PROLIFIC_PID": "5f3a\n"}, "person"),
        ("prolific", {"PROLIFIC_PID": "5f3a", "STUDY_ID": "<b>"}, "STUDY_ID"),
        ("sona", {"survey_code": "%SURVEY_CODE%"}, "person"),
        ("mturk", {"workerId": "W", "turkSubmitTo": "https://www.mturk.com"}, "assignmentId"),
        ("mturk", {"assignmentId": "A", "turkSubmitTo": "https://www.mturk.com"}, "person"),
        ("mturk", {"workerId": "W", "assignmentId": "A"}, "turkSubmitTo"),
        *(
            ("mturk", {"workerId": "W", "assignmentId": "A", "turkSubmitTo": address}, "turkSubmitTo")
            for address in (
                "https://www.mturk.com.evil.example",
                "http://www.mturk.com",
                "https://evil.example/https://www.mturk.com",
                "https://www.mturk.com@evil.example",
                "//www.mturk.com",
                "javascript:alert(1)//https://www.mturk.com",
            )
        ),
    ],
)
def test_link_without_a_usable_id_is_refused(source, arguments, problem):
    with pytest.raises(ArrivalError, match=problem):
        arrival_of(None, None, design_from(source), arguments)


@pytest.mark.parametrize("source", ["invitation", "prolific", "mturk", "sona"])
def test_who_comes_without_an_id_is_asked_kindly_to_use_the_own_link(sqlite_workshop, source):
    client = make(sqlite_workshop, source)
    reply = client.get("/study/spots/?invitation=unknown")
    assert reply.status_code == 400
    assert title_of(reply.text) == "Please come by your own link"
    assert "consent" not in reply.text
    assert people(sqlite_workshop) == []


def test_arrival_is_stored_with_the_participant(sqlite_workshop):
    agree(make(sqlite_workshop, "prolific"), PROLIFIC)
    assert people(sqlite_workshop) == [("5f3a", {"STUDY_ID": "st", "SESSION_ID": "se"})]


def test_consent_form_begins_for_whom_it_was_made(sqlite_workshop):
    """The signed ticket says who comes; what the address says when the form is sent does not matter."""
    client = make(sqlite_workshop, "prolific")
    action, ticket = fields_of(client.get(f"/study/spots/{PROLIFIC}").text)
    client.post(action.replace("5f3a", "another"), data={"ticket": ticket})
    assert [who for who, _ in people(sqlite_workshop)] == ["5f3a"]


def test_ticket_of_another_study_is_refused(sqlite_workshop):
    client = make(sqlite_workshop, "prolific")
    sqlite_workshop.create_study(name="other")
    _, ticket = fields_of(client.get(f"/study/spots/{PROLIFIC}").text)
    assert client.post("/study/other/start", data={"ticket": ticket}).status_code == 403
    assert people(sqlite_workshop) == []


def test_arguments_of_a_link_cannot_break_the_addresses_made_of_them(sqlite_workshop):
    client = make(sqlite_workshop, "link", languages=["en", "de"])
    page = client.get("/study/spots/?name=x&_external=1&_scheme=javascript&_anchor=y&filename=z&lang=de").text
    assert "javascript:" not in page
    assert 'href="/study/spots/?lang=en"' in page


# Once, and on the same device.


def test_same_person_goes_on_in_the_same_browser_and_is_told_in_another(sqlite_workshop):
    client = make(sqlite_workshop, "prolific")
    agree(client, PROLIFIC)
    client.post("/study/spots/step/instructions")
    assert client.get(f"/study/spots/{PROLIFIC}").headers["Location"] == "/study/spots/survey"
    assert client.get("/study/spots/").headers["Location"] == "/study/spots/survey"  # by a bookmark
    with reading(sqlite_workshop.engine) as db:
        session = db.scalars(select(Session.public_id)).one()
    elsewhere = sqlite_workshop.client()
    page = elsewhere.get(f"/study/spots/{PROLIFIC}").text
    assert title_of(page) == "You have begun this study already"
    assert session not in page
    assert elsewhere.get("/study/spots/next").status_code == 403


def test_next_person_at_the_same_computer_begins_and_the_first_can_come_back(sqlite_workshop):
    client = make(sqlite_workshop, "sona")
    agree(client, "?id=ann")
    client.post("/study/spots/step/instructions")
    agree(client, "?id=bob")
    assert client.get("/study/spots/on").headers["Location"] == "/study/spots/step/instructions"
    assert client.get("/study/spots/?id=ann").headers["Location"] == "/study/spots/survey"
    assert client.get("/study/spots/on").headers["Location"] == "/study/spots/survey"
    assert client.get("/study/spots/?id=bob").headers["Location"] == "/study/spots/step/instructions"
    assert sorted(who for who, _ in people(sqlite_workshop)) == ["ann", "bob"]


def test_cookie_stays_small_however_many_use_a_computer(sqlite_workshop):
    client = make(sqlite_workshop, "sona")
    cookies = [agree(client, f"?id=person-{i}").headers["Set-Cookie"] for i in range(18)]
    assert abs(len(cookies[17]) - len(cookies[9])) < 40
    assert len(cookies[17]) < 1500


def test_form_whose_reply_was_lost_leads_on_when_sent_again(sqlite_workshop):
    """The first sending began the session, but its cookie never arrived: neither the form nor the link is refused."""
    client = make(sqlite_workshop, "prolific")
    action, ticket = fields_of(client.get(f"/study/spots/{PROLIFIC}").text)
    before = client.get_cookie("realism").value
    client.post(action, data={"ticket": ticket})
    client.set_cookie("realism", before)
    assert client.post(action, data={"ticket": ticket}).headers["Location"] == "/study/spots/step/instructions"
    client.set_cookie("realism", before)
    assert client.get(f"/study/spots/{PROLIFIC}").headers["Location"] == "/study/spots/step/instructions"
    assert len(people(sqlite_workshop)) == 1


def test_two_tabs_of_one_browser_begin_one_session(sqlite_workshop):
    client = make(sqlite_workshop, "link")
    tabs = [fields_of(client.get("/study/spots/").text) for _ in range(2)]
    for action, ticket in tabs:
        assert client.post(action, data={"ticket": ticket}).headers["Location"] == "/study/spots/step/instructions"
    assert len(people(sqlite_workshop)) == 1


def test_one_id_in_many_browsers_at_once_begins_one_session(workshop):
    make(workshop, "prolific")
    clients = [workshop.client() for _ in range(6)]
    forms = [fields_of(client.get(f"/study/spots/{PROLIFIC}").text) for client in clients]

    def send(client, form):
        return client.post(form[0], data={"ticket": form[1]}, follow_redirects=True).text

    with ThreadPoolExecutor(6) as pool:
        titles = sorted(map(title_of, pool.map(send, clients, forms)))
    assert titles == ["What to do"] + ["You have begun this study already"] * 5
    assert [who for who, _ in people(workshop)] == ["5f3a"]
    with reading(workshop.engine) as db:
        assert db.scalar(select(func.count(Session.id))) == 1


def test_nothing_begins_in_a_browser_without_cookies(sqlite_workshop):
    client = make(sqlite_workshop, "prolific")
    action, ticket = fields_of(client.get(f"/study/spots/{PROLIFIC}").text)
    client.delete_cookie("realism")
    back = client.post(action, data={"ticket": ticket}).headers["Location"]
    page = client.get(back).text
    assert "Your browser did not keep the cookie" in page
    assert people(sqlite_workshop) == []
    agree(client, back.removeprefix("/study/spots/"))
    assert people(sqlite_workshop) == [("5f3a", {"STUDY_ID": "st", "SESSION_ID": "se"})]


def test_form_that_is_too_old_leads_back_by_the_same_link(sqlite_workshop, monkeypatch):
    client = make(sqlite_workshop, "prolific")
    monkeypatch.setattr("itsdangerous.TimestampSigner.get_timestamp", lambda _: 1_000_000)
    action, ticket = fields_of(client.get(f"/study/spots/{PROLIFIC}&lang=en").text)
    monkeypatch.undo()
    back = client.post(action, data={"ticket": ticket}).headers["Location"]
    assert agree(client, back.removeprefix("/study/spots/")).headers["Location"] == "/study/spots/step/instructions"


def test_language_links_keep_who_comes_and_the_language_reaches_the_session(sqlite_workshop):
    client = make(sqlite_workshop, "prolific", languages=["en", "de"])
    page = client.get(f"/study/spots/{PROLIFIC}").text
    german = next(link for link in re.findall(r'href="([^"]+)"', page) if "lang=de" in link).replace("&amp;", "&")
    assert "PROLIFIC_PID=5f3a" in german
    agree(client, german.removeprefix("/study/spots/"))
    assert people(sqlite_workshop)[0][0] == "5f3a"
    with reading(sqlite_workshop.engine) as db:
        assert db.scalars(select(Session.language)).all() == ["de"]


def test_simulated_participants_need_no_id(sqlite_workshop):
    client = make(sqlite_workshop, "mturk")
    reply = agree(client, f"?simulated={simulation_tokens(SECRET).dumps('spots')}")
    assert reply.headers["Location"] == "/study/spots/step/instructions"
    assert "Secure" not in reply.headers["Set-Cookie"]  # they come by plain http
    assert client.get("/study/spots/?simulated=forged").status_code == 403
    assert people(sqlite_workshop) == [(None, None)]
