"""Whose is what: every address of the server, tried by everybody who is not meant, against somebody at work in a study."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from conftest import SECRET
from sqlalchemy import inspect, select, update
from visitors import SHORT, agree, answer_all

from study_app import create_app
from study_app.db import reading, writing
from study_app.entrance import preview_tokens, simulation_tokens
from study_app.tables import Participant, Response, Session, Step, Study, Trial

# Each address and for whom it is. There are no accounts: researchers work by commands on the server, and what is theirs
# alone is not to be had over the web. What each of VISITORS gets, in their order; the owner is the victim.
#   everybody     the same for all
#   the browser   each gets their own, by their cookie; who has none is led to the beginning (302, 303) or refused (403)
#   the session   one session's alone: its id is part of the address
#   the operator  from this machine, or by a token
VISITORS = ("owner", "signed out", "same study", "other study", "preview", "simulated", "finished")
ROUTES = {
    ("GET", "static"): ("everybody", (200,) * 7),
    ("GET", "home"): ("everybody", (200,) * 7),
    ("GET", "health.alive"): ("everybody", (200,) * 7),
    ("GET", "health.ready"): ("everybody", (200,) * 7),
    ("GET", "openapi.description"): ("everybody", (200,) * 7),
    ("GET", "report"): ("everybody", (302,) * 7),
    ("GET", "report_file"): ("everybody", (200,) * 7),
    ("GET", "health.counters"): ("the operator", (200, *(404,) * 6)),
    # Who has begun goes on where they were; a preview leaves what counts alone.
    ("GET", "entrance.welcome"): ("the browser", (303, 200, 303, 200, 200, 200, 303)),
    ("POST", "entrance.start"): ("the browser", (303,) * 7),
    ("GET", "entrance.declined"): ("everybody", (303,) * 7),
    ("POST", "entrance.declined"): ("the browser", (200,) * 7),
    ("GET", "entrance.go_on"): ("the browser", (302, 303, 302, 303, 302, 302, 302)),
    ("GET", "step_pages.show"): ("the browser", (303, 303, 200, 303, 200, 200, 303)),
    ("POST", "step_pages.take"): ("the browser", (303, 303, 303, 303, 303, 303, 303)),
    ("GET", "step_pages.plate"): ("the session", (200, 403, 403, 403, 403, 403, 403)),
    ("GET", "trial_pages.survey"): ("the browser", (200, 302, 200, 302, 200, 200, 302)),
    ("GET", "trial_pages.next_trial"): ("the browser", (200, 403, 200, 403, 200, 200, 200)),
    ("POST", "trial_pages.answer"): ("the browser", (200, 403, 200, 403, 200, 200, 200)),
    ("GET", "trial_pages.picture"): ("the session", (200, 403, 403, 403, 403, 403, 403)),
    ("GET", "ending.done"): ("the browser", (302, 302, 302, 302, 302, 302, 200)),
}
COLOURS = {"plates": 2, "min_correct": 1, "exclude": False}
NO_NUMBERS = {"none0": "on", "none1": "on"}


def begin(client, query="", study="spots"):
    reply = agree(client, query, study)
    assert reply.status_code == 303, reply.text
    client.post(f"/study/{study}/step/colour_vision", data=NO_NUMBERS)
    return client


def to_the_trials(client):
    client.post("/study/spots/step/instructions")
    return client


def send_answer(client, index):
    body = {"trial_index": index, "response": "left", "rt": 700, "elapsed_ms": 700}
    return client.post("/study/spots/answer", json=body)


@pytest.fixture
def app(sqlite_workshop, tmp_path):
    sqlite_workshop.create_study(colour_vision=COLOURS, trials={"practice": 0, "main": 4})
    sqlite_workshop.create_study(name="other", trials=SHORT)
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.html").write_text("<p>0.31")
    return create_app(sqlite_workshop.engine, sqlite_workshop.config.store, SECRET, tmp_path / "report")


@pytest.fixture
def victim(app):
    """Somebody at work: one trial is answered."""
    client = to_the_trials(begin(app.test_client()))
    assert send_answer(client, 0).status_code == 200
    return client


def visitor(app, who, victim):
    if who == "owner":
        return victim
    client = app.test_client()
    client.environ_base["REMOTE_ADDR"] = "203.0.113.7"  # not this machine
    if who == "same study":
        begin(client)
    elif who == "other study":
        begin(client, study="other")
    elif who == "preview":
        begin(client, f"?preview={preview_tokens(SECRET).dumps('spots')}")
    elif who == "simulated":
        begin(client, f"?simulated={simulation_tokens(SECRET).dumps('spots')}")
    elif who == "finished":
        answer_all(begin(client))
    return client


def addresses(app, public_id):
    """Every address there is, aimed at the victim: method, endpoint, path."""
    blanks = {
        "<name>": "spots",
        "<public_id>": public_id,
        "<int:index>": "1",
        "<path:filename>": "survey.js",
        "<path:file>": "report.html",
    }
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<int\([^>]*\):index>", "1", rule.rule)
        path = re.sub(r"<any\(left[^>]*>", "left", path)
        path = re.sub(r"<any\(questions[^>]*>", "instructions", path)
        for blank, value in blanks.items():
            path = path.replace(blank, value)
        assert "<" not in path, rule.rule
        for method in sorted(rule.methods - {"HEAD", "OPTIONS"}):
            yield method, rule.endpoint, path


def rows_of(workshop, public_id):
    """All that is stored of a session."""
    with reading(workshop.engine) as db:
        session = db.scalars(select(Session).where(Session.public_id == public_id)).one()
        found = [session, db.get_one(Participant, session.participant_id)]
        found += db.scalars(select(Step).where(Step.session_id == session.id).order_by(Step.id))
        found += db.scalars(select(Trial).where(Trial.session_id == session.id).order_by(Trial.id))
        found += db.scalars(select(Response).join(Trial).where(Trial.session_id == session.id).order_by(Response.id))
        return [{column.key: getattr(row, column.key) for column in inspect(type(row)).columns} for row in found]


def id_of(workshop, nth=0):
    with reading(workshop.engine) as db:
        return db.scalars(select(Session.public_id).order_by(Session.id)).all()[nth]


def test_every_route_says_for_whom_it_is(app):
    """A new address belongs into the table, with what each visitor gets."""
    there = {(method, endpoint) for method, endpoint, _ in addresses(app, "x")}
    assert there == set(ROUTES)


def test_nobody_gets_or_changes_what_is_anothers(app, victim, sqlite_workshop):
    public_id = id_of(sqlite_workshop)
    before = rows_of(sqlite_workshop, public_id)
    for who in VISITORS[1:]:
        stranger = visitor(app, who, victim)
        begun = who in ("same study", "preview", "simulated")
        got = {}
        for method, endpoint, path in addresses(app, public_id):
            if endpoint == "trial_pages.survey" and begun:
                to_the_trials(stranger)
            ask = (
                f"{path}?preview={preview_tokens(SECRET).dumps('spots')}"
                if path.endswith("spots/") and who == "preview"
                else path
            )
            reply = stranger.open(ask, method=method, **body_for(endpoint, 0))
            where = f"{who}: {method} {path}"
            got[method, endpoint] = reply.status_code
            assert public_id not in str(reply.headers), where
            if endpoint not in ("static", "trial_pages.picture", "step_pages.plate"):
                assert public_id not in reply.text, where
            if reply.status_code != 200:
                assert reply.mimetype != "image/png", where
        assert got == {route: statuses[VISITORS.index(who)] for route, (_, statuses) in ROUTES.items()}, who
        assert rows_of(sqlite_workshop, public_id) == before, who


def body_for(endpoint, index):
    if endpoint != "trial_pages.answer":
        return {}
    return {"json": {"trial_index": index, "response": "left", "rt": 700, "elapsed_ms": 700}}


def test_owner_gets_what_is_theirs(app, victim, sqlite_workshop):
    public_id = id_of(sqlite_workshop)
    got = {}
    for method, endpoint, path in addresses(app, public_id):
        reply = victim.open(path, method=method, **body_for(endpoint, 1))
        got[method, endpoint] = reply.status_code
        if endpoint in ("trial_pages.picture", "step_pages.plate"):
            assert reply.mimetype == "image/png"
            assert reply.headers["Cache-Control"] in ("no-store", "private, max-age=86400, immutable")
    assert got == {route: statuses[0] for route, (_, statuses) in ROUTES.items()}


def test_session_that_exists_and_one_that_does_not_are_refused_alike(app, victim, sqlite_workshop):
    """Whoever tries ids learns nothing from what comes back."""
    ids = (id_of(sqlite_workshop), "0" * 32)
    for who in ("signed out", "same study", "other study"):
        stranger = visitor(app, who, victim)
        for page in ("picture/{}/1/left", "picture/{}/999999/left", "plate/{}/0", "plate/{}/77"):
            replies = [stranger.get(f"/study/spots/{page.format(one)}") for one in ids]
            told = [(reply.status_code, reply.data, {**reply.headers, "X-Request-ID": ""}) for reply in replies]
            assert told[0] == told[1], (who, page)
            assert told[0][0] == 403, (who, page)


def test_study_that_one_may_not_enter_tells_nothing_of_itself(sqlite_workshop):
    sqlite_workshop.create_study(title="The secret title", description="Hush.", recruitment={"source": "invitation"})
    client = sqlite_workshop.client()
    for page in (
        "",
        "?invitation=guess",
        "?invitation=" + "0" * 32,
        "?preview=guess",
        "?simulated=guess",
        "next",
        "on",
    ):
        told = client.get(f"/study/spots/{page}", follow_redirects=True).text
        assert "secret title" not in told
        assert "Hush" not in told
    unknown = {page: client.get(f"/study/nowhere/{page}").status_code for page in ("", "next", "on", "done", "survey")}
    assert set(unknown.values()) == {404}


# Pictures.


def shown(client):
    """The addresses of the pictures of the trial at hand, and of the one to come."""
    state = client.get("/study/spots/next").json
    return state["trial"]["pictures"], state["upcoming"][0]["pictures"]


def test_pictures_of_later_trials_are_not_to_be_had_yet(app, victim):
    now, soon = shown(victim)
    assert {victim.get(address).status_code for address in [*now.values(), *soon.values()]} == {200}
    later = [address.replace("/2/", "/3/") for address in soon.values()]
    assert later != list(soon.values())
    assert {victim.get(address).status_code for address in later} == {404}
    send_answer(victim, 1)
    assert {victim.get(address).status_code for address in later} == {200}


def test_no_picture_is_to_be_had_before_the_trials_begin(app, sqlite_workshop):
    client = begin(app.test_client())
    public_id = id_of(sqlite_workshop)
    first = f"/study/spots/picture/{public_id}/0/left"
    assert client.get(first).status_code == 404
    assert client.get(first).headers["Cache-Control"] == "no-store"
    to_the_trials(client)
    assert client.get(first).status_code == 200


def test_pictures_are_gone_when_the_session_is_over(app, victim):
    addresses = [address for both in shown(victim) for address in both.values()]
    answer_all(victim)
    assert victim.get("/study/spots/done").status_code == 200
    assert {victim.get(address).status_code for address in addresses} == {404}


@pytest.mark.parametrize(("closed_ago", "status"), [(timedelta(minutes=119), 200), (timedelta(minutes=121), 404)])
def test_who_was_at_work_when_the_study_closed_has_two_hours_to_finish(
    app, victim, sqlite_workshop, closed_ago, status
):
    addresses = [address for both in shown(victim) for address in both.values()]
    with writing(sqlite_workshop.engine) as db:
        db.execute(update(Study).where(Study.name == "spots").values(closed_at=datetime.now(UTC) - closed_ago))
    assert {victim.get(address).status_code for address in addresses} == {status}
    assert victim.get("/study/spots/next").json["done"] == (status == 404)  # nobody answers what cannot be seen
    assert begin_status(app) == 200  # a page that says that the study is closed


def begin_status(app):
    reply = app.test_client().get("/study/spots/")
    assert "This study is closed" in reply.text
    return reply.status_code


def test_answer_is_stored_for_the_browsers_own_session_whatever_it_says(app, victim, sqlite_workshop):
    stranger = to_the_trials(begin(app.test_client()))
    before = rows_of(sqlite_workshop, id_of(sqlite_workshop))
    public_id = id_of(sqlite_workshop)
    body = {"trial_index": 0, "response": "left", "rt": 700, "elapsed_ms": 700}
    for more in ({"session": public_id}, {"public_id": public_id}, {"session_id": 1}):
        assert stranger.post("/study/spots/answer", json={**body, **more}).status_code == 400
    assert stranger.post(f"/study/spots/answer?session={public_id}", json=body).status_code == 200
    assert rows_of(sqlite_workshop, public_id) == before
    with reading(sqlite_workshop.engine) as db:
        answered = db.scalars(select(Session.public_id).join(Trial).join(Response).order_by(Session.id)).all()
    assert len(set(answered)) == 2


def test_ids_are_random_and_too_many_to_try(app, sqlite_workshop):
    """128 random bits: a lookup's time that tells how much of a guess is right would have to be told from ten million."""
    ids = set()
    for _ in range(3):
        begin(app.test_client())
    with reading(sqlite_workshop.engine) as db:
        ids = set(db.scalars(select(Session.public_id)))
    assert len(ids) == 3
    assert all(re.fullmatch(r"[0-9a-f]{32}", one) for one in ids)
