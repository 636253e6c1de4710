"""Rate limits: who asks too often is told to come back, on every server alike, and nobody else is."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import SECRET
from sqlalchemy import func, select, text
from visitors import agree, answer_all, fields_of, make, title_of

from study_app import create_app, limits
from study_app.config import Serving
from study_app.db import reading, writing
from study_app.invitations import invite_number, signed_token
from study_app.limits import PER_MINUTE, Buckets, SharedCounts, counted_address
from study_app.studies import find_study
from study_app.tables import Participant, RateLimit

SOMEWHERE, ELSEWHERE = "203.0.113.7", "198.51.100.4"


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """The time of day of the limits, at the beginning of a minute: they begin anew with the next one."""
    now = [1_800_000_000.0]
    monkeypatch.setattr("study_app.limits.time.time", lambda: now[0])
    return now


def server(workshop, **serving):
    return create_app(workshop.engine, workshop.config.store, SECRET, serving=Serving(**serving))


def browser_at(address, app):
    client = app.test_client()
    client.environ_base["REMOTE_ADDR"] = address
    return client


def note(workshop, address, what, n, now):
    """As if that had been done n times in this minute."""
    key = SharedCounts(workshop.engine, SECRET).key(address, what, now)
    with writing(workshop.engine) as db:
        db.add(RateLimit(minute=int(now // 60), key=key, n=n))


def test_address_that_begins_too_often_is_told_when_to_come_back_and_others_begin(workshop, clock):
    make(workshop, "link")
    app, another_server = server(workshop), server(workshop)
    clock[0] += 45
    note(workshop, SOMEWHERE, "entrance.start", PER_MINUTE["entrance.start"] - 1, clock[0])
    assert agree(browser_at(SOMEWHERE, app)).status_code == 303  # the last one of this minute
    for each in (app, another_server):
        told = agree(browser_at(SOMEWHERE, each))
        assert told.status_code == 429
        assert 15 <= int(told.headers["Retry-After"]) <= 16
        assert title_of(told.text) == "That was too much"
        assert told.headers["Cache-Control"] == "no-store"
        assert "default-src 'none'" in told.headers["Content-Security-Policy"]
    assert agree(browser_at(ELSEWHERE, another_server)).status_code == 303
    clock[0] += 15
    assert agree(browser_at(SOMEWHERE, another_server)).status_code == 303
    with reading(workshop.engine) as db:
        assert db.scalar(select(func.count(Participant.id))) == 3


def test_a_hundred_behind_one_address_may_begin_in_the_same_second(workshop):
    """A dozen do, at once; the others are as many as the limit lets through."""
    make(workshop, "link")
    app = server(workshop)
    browsers = [browser_at(SOMEWHERE, app) for _ in range(12)]
    forms = [(one, *fields_of(one.get("/study/spots/").text)) for one in browsers]
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda form: form[0].post(form[1], data={"ticket": form[2]}), forms))
    assert {reply.status_code for reply in replies} == {303}
    assert PER_MINUTE["entrance.start"] >= 600
    with reading(workshop.engine) as db:
        assert db.scalars(select(RateLimit.n)).all() == [len(forms)]


def test_many_at_once_are_counted_one_by_one(workshop, clock):
    counts = [SharedCounts(workshop.engine, SECRET) for _ in range(2)]  # as two servers

    def add(i):
        return counts[i % 2].add(SOMEWHERE, "entrance.start", clock[0])

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(add, range(60))) == list(range(1, 61))
    assert counts[0].add(SOMEWHERE, "entrance.declined", clock[0]) == 1
    assert counts[0].add(ELSEWHERE, "entrance.start", clock[0]) == 1


def test_address_is_not_stored_and_counts_are_swept(workshop, clock):
    counts = SharedCounts(workshop.engine, SECRET)
    for _ in range(4):
        counts.add(SOMEWHERE, "entrance.start", clock[0])
        clock[0] += 60
    with reading(workshop.engine) as db:
        rows = db.execute(text("SELECT * FROM rate_limits ORDER BY minute")).all()
    assert [row.n for row in rows] == [1, 1]  # of this minute and the one before
    assert SOMEWHERE not in str(rows)
    keys = {SharedCounts(workshop.engine, secret).key(SOMEWHERE, "x", now) for secret in "ab" for now in (0, 86_400)}
    assert len(keys) == 4  # another one each day, and not to be tried without the secret


def test_wrong_tokens_of_others_lock_nobody_out(sqlite_workshop):
    """Any page of the web can make browsers of a university ask with wrong ones; and 128 random bits are not guessed."""
    make(sqlite_workshop, "invitation")
    with writing(sqlite_workshop.engine) as db:
        invited = invite_number(db, find_study(db, "spots"), 1)
    right = signed_token(SECRET, "spots", invited[0].public_id)
    app = server(sqlite_workshop)
    wrong = {browser_at(SOMEWHERE, app).get(f"/study/spots/?invitation={right[:-1]}").status_code for _ in range(99)}
    assert wrong == {400}
    assert agree(browser_at(SOMEWHERE, app), f"?invitation={right}").status_code == 303


@pytest.mark.parametrize(
    ("endpoint", "send"),
    [
        ("entrance.declined", lambda client: client.post("/study/spots/declined")),
        ("step_pages.take", lambda client: client.post("/study/spots/step/instructions")),
        ("step_pages.plate", lambda client: client.get("/study/spots/plate/0/0")),
    ],
)
def test_forms_and_plates_have_limits_of_their_own(sqlite_workshop, clock, endpoint, send):
    make(sqlite_workshop, "link")
    client = browser_at(SOMEWHERE, server(sqlite_workshop))
    agree(client)
    note(sqlite_workshop, SOMEWHERE, endpoint, PER_MINUTE[endpoint] - 1, clock[0])
    assert send(client).status_code != 429
    assert send(client).status_code == 429


def test_session_that_asks_without_end_is_slowed_and_loses_nothing(sqlite_workshop, monkeypatch):
    monkeypatch.setattr(limits, "SESSION_BURST", 6)
    monkeypatch.setattr(limits, "SESSION_PER_S", 0.5)
    make(sqlite_workshop, "link")
    app = server(sqlite_workshop)
    mad, calm = browser_at(SOMEWHERE, app), browser_at(SOMEWHERE, app)
    for client in (mad, calm):
        agree(client)
        client.post("/study/spots/step/instructions")
    replies = [mad.get("/study/spots/next") for _ in range(9)]
    assert [reply.status_code for reply in replies[:6]] == [200] * 6
    assert replies[8].status_code == 429
    assert replies[8].json == {"error": "too many requests; try again in 2 s"}
    assert replies[8].headers["Retry-After"] == "2"
    body = {"trial_index": 0, "response": "left", "rt": 700, "elapsed_ms": 700}
    assert calm.post("/study/spots/answer", json=body).status_code == 200
    while (reply := mad.post("/study/spots/answer", json=body)).status_code == 429:  # as the browser's outbox does
        assert reply.json["error"].startswith("too many requests")
    assert reply.json["stored"]


def test_limits_can_be_switched_off_and_spare_this_machine(sqlite_workshop, clock):
    make(sqlite_workshop, "link")
    for what in PER_MINUTE:
        note(sqlite_workshop, SOMEWHERE, what, 100_000, clock[0])
    unlimited = browser_at(SOMEWHERE, server(sqlite_workshop, limits=False))
    agree(unlimited)
    answer_all(unlimited)
    assert unlimited.get("/study/spots/done").status_code == 200
    here = browser_at("127.0.0.1", server(sqlite_workshop))
    assert agree(here).status_code == 303
    with reading(sqlite_workshop.engine) as db:
        assert db.scalar(select(func.count()).select_from(RateLimit)) == len(PER_MINUTE)


def test_address_behind_a_proxy_is_the_one_that_is_counted(sqlite_workshop, clock):
    make(sqlite_workshop, "link")
    app = server(sqlite_workshop, proxies=1)
    note(sqlite_workshop, SOMEWHERE, "entrance.declined", 100_000, clock[0])
    client = app.test_client()  # its own address is the proxy's
    for forwarded, status in ((SOMEWHERE, 429), (f"{ELSEWHERE}, {SOMEWHERE}", 429), (f"{SOMEWHERE}, {ELSEWHERE}", 200)):
        assert client.post("/study/spots/declined", headers={"X-Forwarded-For": forwarded}).status_code == status


@pytest.mark.parametrize(
    ("address", "counted_as"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::99", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("127.0.0.1", None),
        ("::1", None),
        (None, None),
        ("unknown", "unknown"),
    ],
)
def test_household_is_one_address_and_this_machine_is_none(address, counted_as):
    assert counted_address(address) == counted_as


def test_bucket_lets_a_burst_through_then_the_rate():
    now = [0.0]
    buckets = Buckets(most=3, clock=lambda: now[0])
    assert [buckets.wait_s("a", 4, 2) for _ in range(5)] == [0, 0, 0, 0, 0.5]
    now[0] = 0.25
    assert buckets.wait_s("a", 4, 2) == 0.25
    assert buckets.wait_s("b", 4, 2) == 0
    now[0] = 1.5
    assert [buckets.wait_s("a", 4, 2) for _ in range(4)] == [0, 0, 0, 0.5]
    now[0] = 1000
    assert [buckets.wait_s("a", 4, 2) for _ in range(5)] == [0, 0, 0, 0, 0.5]
    for key in "bcdefgh":  # no more than there is room for; the one that rested longest goes
        buckets.wait_s(key, 4, 2)
    assert len(buckets) == 3


def test_database_that_fails_stops_nobody_by_the_limit(sqlite_workshop):
    """Whether the page itself can be had is not for the limit to say."""
    make(sqlite_workshop, "link")
    app = server(sqlite_workshop)
    with writing(sqlite_workshop.engine) as db:
        db.execute(text("DROP TABLE rate_limits"))
    assert agree(browser_at(SOMEWHERE, app)).status_code == 303
