"""Two servers of the survey over one PostgreSQL, behind nginx as deploy/nginx.conf makes it; participants at work throughout."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import nginx
import pytest
import requests
from cluster import Cluster, Crowd, Server, wait_for, working
from conftest import Workshop, _new_postgresql, free_port
from sqlalchemy import select
from visitors import fields_of

from study_app.config import Config
from study_app.db import open_migrated, reading
from study_app.tables import Participant, Response, Session, Trial

TRIALS = {"practice": 2, "main": 16}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, postgresql_server, migrated_postgresql) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    config = Config(folder / "instance", _new_postgresql(postgresql_server, migrated_postgresql))
    engine = open_migrated(config.database)
    workshop = Workshop(config, engine, folder)
    workshop.create_study(trials=TRIALS)
    servers = [Server(config, folder) for _ in range(2)]
    port = free_port()
    names = [f"127.0.0.1:{one.port}" for one in servers]
    try:
        store = Path(config.store.address)
        with nginx.running(folder / "nginx", port, free_port(), names, store) as certificate:
            wait_for(lambda: all(one.is_ready() for one in servers), "both servers")
            yield Cluster(workshop, servers, f"https://{nginx.HOST}:{port}", str(certificate), folder / "nginx")
    finally:
        for one in servers:
            one.end()
        engine.dispose()


def stored(cluster: Cluster) -> tuple[dict[tuple[str, int], int], Counter[str]]:
    """The times stored by session and trial, one row each, and how the sessions of people ended."""
    with reading(cluster.workshop.engine) as db:
        rows = db.execute(
            select(Session.public_id, Trial.trial_index, Response.rt_ms)
            .join(Trial, Response.trial_id == Trial.id)
            .join(Session, Trial.session_id == Session.id)
        ).all()
        outcomes = db.execute(select(Session.outcome).join(Participant).where(Participant.origin == "human")).all()
    answers = {(public_id, index): rt for public_id, index, rt in rows}
    assert len(answers) == len(rows), "an answer is stored twice"
    return answers, Counter(str(one) for (one,) in outcomes)


def after_more(crowd: Crowd, n: int) -> None:
    """Wait until so many more answers were acknowledged."""
    goal = len(crowd.acknowledged) + n
    wait_for(lambda: len(crowd.acknowledged) >= goal or bool(crowd.errors), f"{n} more answers")


def test_nobody_notices_that_a_server_is_killed_and_comes_back(cluster):
    first, second = cluster.servers
    with working(cluster) as crowd:
        after_more(crowd, 20)
        before = cluster.served_by()
        assert before[first.port] > 0
        assert before[second.port] > 0
        first.kill()
        after_more(crowd, 30)
        first.start()
        wait_for(first.is_ready, "the server that was killed")
        at_return = cluster.served_by()[first.port]
        wait_for(lambda: cluster.served_by()[first.port] > at_return + 5, "work for the server that came back")
    answers, outcomes = stored(cluster)
    assert answers == crowd.acknowledged
    assert outcomes == {"completed": len(crowd.finished)}
    assert set(crowd.finished) == {"Thank you"}
    assert ", " in (cluster.folder / "access.log").read_text()  # some requests were sent to both, and nobody knows
    # A reply that was cut off in its middle cannot be given by another server: the page asks again. More does not happen.
    assert len(crowd.asked_again) <= 4, crowd.asked_again
    assert not [one for one in crowd.asked_again if "50" in one], crowd.asked_again


def test_reload_of_one_server_after_the_other_drops_nothing(cluster):
    answered_before, _ = stored(cluster)
    with working(cluster) as crowd:
        for server in cluster.servers:
            after_more(crowd, 10)
            workers = server.workers()
            server.reload()
            wait_for(lambda: not workers & server.workers(), "the end of the workers of before")  # noqa: B023
            after_more(crowd, 10)
    assert crowd.asked_again == []
    answers, outcomes = stored(cluster)
    assert answers == answered_before | crowd.acknowledged
    assert set(outcomes) == {"completed"}


def at_first_trial(cluster: Cluster, browser: requests.Session) -> dict[str, str]:
    """The addresses of the first trial's pictures."""
    base = f"{cluster.url}/study/spots/"
    action, ticket = fields_of(browser.get(base).text)
    browser.post(browser.post(cluster.url + action, data={"ticket": ticket}).url)
    return browser.get(base + "next").json()["trial"]["pictures"]


def test_pictures_come_from_nginx_and_only_by_the_survey(cluster):
    with cluster.browser() as browser:
        addresses = at_first_trial(cluster, browser)
        replies = [browser.get(cluster.url + address) for address in addresses.values()]
        # What the server itself says to nginx, which it knows by its name.
        asked = {"Host": nginx.HOST, "Cookie": "; ".join(f"{one.name}={one.value}" for one in browser.cookies)}
        behind = requests.get(cluster.servers[0].url + addresses["left"], headers=asked, timeout=20)
        part = browser.get(cluster.url + addresses["left"], headers={"Range": "bytes=8-15"})
        since = {"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT", "If-None-Match": "*"}
        again = browser.get(cluster.url + addresses["left"], headers=since)
        accel = behind.headers["X-Accel-Redirect"]
        tried = [accel, accel.replace("/_store", "/%5fstore"), "/" + accel, f"/static/..{accel}", "/_store/"]
        refused = [browser.get(cluster.url + address).status_code for address in tried]
        forged = browser.get(
            cluster.url + "/", headers={"X-Accel-Redirect": accel, "X-Sendfile-Type": "X-Accel-Redirect"}
        )
    store = Path(cluster.workshop.config.store.address)
    assert behind.content == b""  # the picture is none of Python's business
    assert replies[0].content == (store / accel.removeprefix("/_store/")).read_bytes()
    assert refused == [404] * len(tried)
    assert forged.headers["Content-Type"].startswith("text/html")
    assert (part.status_code, part.content) == (206, replies[0].content[8:16])
    assert again.status_code == 200
    assert_alike(*replies)
    headers = replies[0].headers
    assert headers["Content-Type"] == "image/png"
    assert headers["Cache-Control"] == behind.headers["Cache-Control"] == "private, max-age=86400, immutable"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == behind.headers["Content-Security-Policy"]
    assert headers["Strict-Transport-Security"] == behind.headers["Strict-Transport-Security"]
    assert "X-Request-ID" not in headers  # it would be all that differs from the picture beside it


def assert_alike(first: requests.Response, second: requests.Response) -> None:
    """Nothing but the pixels, the moment and the request's own id differs between a real picture and its fake."""
    assert first.content != second.content
    assert len(first.content) == len(second.content)
    told = [
        {name: value for name, value in one.headers.items() if name not in ("Date", "X-Request-ID")}
        for one in (first, second)
    ]
    assert told[0] == told[1]
    assert not {"ETag", "Last-Modified", "X-Accel-Redirect", "Server-Timing"} & set(told[0])


def test_pages_of_the_operator_are_not_for_the_world(cluster):
    with cluster.browser() as browser:
        assert [browser.get(cluster.url + page).status_code for page in ("/metrics", "/ready", "/health")] == [
            404,
            404,
            200,
        ]


def test_request_id_of_the_reply_stands_in_the_logs(cluster):
    with cluster.browser() as browser:
        reply = browser.get(f"{cluster.url}/study/spots/?PROLIFIC_PID=secret", headers={"X-Request-ID": "forged"})
    request_id = reply.headers["X-Request-ID"]
    assert re.fullmatch("[0-9a-f]{32}", request_id)
    wait_for(lambda: request_id in (cluster.folder / "access.log").read_text(), "the line of nginx's log")
    logged = (cluster.folder / "access.log").read_text()
    assert not [word for word in ("spots", "secret", "PROLIFIC", "python-requests", '"127.0.0.1"') if word in logged]
