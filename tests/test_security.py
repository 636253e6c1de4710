"""What browsers are told and what they may send: headers, cookies, hosts, proxies, other sites, redirects."""

import re
from pathlib import Path

import pytest
import requests
from conftest import SECRET
from flask import request
from sqlalchemy import func, select
from visitors import MTURK, SHORT, agree, answer_all, fields_of, make

from study_app import create_app
from study_app.config import Serving
from study_app.db import reading
from study_app.security import survey_policy
from study_app.tables import Participant, Refusal, Response, Session, Step

SAFE_FOR_ALL = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def app_of(workshop, report: Path | None = None, **serving):
    return create_app(workshop.engine, workshop.config.store, SECRET, report, Serving(**serving))


def stored_rows(workshop) -> int:
    with reading(workshop.engine) as db:
        counted = (Participant, Session, Step, Response, Refusal)
        return sum(db.scalar(select(func.count(table.id))) or 0 for table in counted)


# Headers.


@pytest.mark.parametrize("https", [False, True])
def test_every_reply_has_the_headers_that_keep_it_ours(sqlite_workshop, tmp_path, https):
    make(sqlite_workshop, "link")
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.html").write_text("<p>0.31")
    app = app_of(sqlite_workshop, report=tmp_path / "report", https=https)
    client = app.test_client()
    secure = {"base_url": "https://localhost"} if https else {}
    action, ticket = fields_of(client.get("/study/spots/", **secure).text)
    replies = [client.post(action, data={"ticket": ticket}, **secure)]
    replies += [client.post("/study/spots/step/instructions", **secure), client.get("/study/spots/survey", **secure)]
    state = client.get("/study/spots/next", **secure)
    replies += [state, client.get(state.json["trial"]["pictures"]["left"], **secure)]
    assert replies[-1].status_code == 200
    paths = ("/", "/health", "/ready", "/nowhere", "/static/survey.js", "/report/", "/report/report.html", "/study/x/")
    replies += [client.get(path, **secure) for path in paths]
    replies += [client.put("/study/spots/", **secure), client.post("/study/spots/answer", data="{", **secure)]
    for reply in replies:
        where = f"{reply.request.method} {reply.request.path}"
        assert dict(reply.headers).items() >= SAFE_FOR_ALL.items(), where
        assert "camera=()" in reply.headers["Permissions-Policy"], where
        policy = reply.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; "), where
        assert "frame-ancestors 'none'" in policy, where
        assert "base-uri 'none'" in policy, where
        assert ("unsafe" in policy) == (reply.request.path == "/report/report.html"), where
        held = reply.headers.get("Strict-Transport-Security")
        assert held == ("max-age=63072000; includeSubDomains" if https else None), where
        if reply.request.path.startswith("/study/") and "/picture/" not in reply.request.path:
            assert reply.headers["Cache-Control"] == "no-store", where


def test_policy_lets_no_script_make_markup_and_names_the_store_that_serves_pictures():
    plain = survey_policy(https=False)
    assert "require-trusted-types-for 'script'" in plain
    assert "img-src 'self';" in plain
    assert "upgrade-insecure-requests" not in plain
    there = survey_policy(https=True, pictures="https://bucket.example.org")
    assert "img-src 'self' https://bucket.example.org;" in there
    assert "script-src 'self';" in there
    assert there.endswith("; upgrade-insecure-requests")


def test_framed_study_keeps_the_whole_policy_but_for_who_frames_it(sqlite_workshop):
    make(sqlite_workshop, "mturk")
    reply = app_of(sqlite_workshop, https=True).test_client().get(f"/study/spots/{MTURK}")
    widened = survey_policy(https=True).replace("frame-ancestors 'none'", "frame-ancestors https://*.mturk.com")
    widened = widened.replace("form-action 'self'", "form-action 'self' https://*.mturk.com")
    assert reply.headers["Content-Security-Policy"] == widened


def test_served_replies_do_not_tell_what_serves_them(live):
    live.create_study()
    for path in ("/study/spots/", "/static/survey.js", "/nowhere"):
        headers = requests.get(live.url + path, timeout=10).headers
        assert not re.search(r"\d", headers.get("Server", ""))
        assert not {"X-Powered-By", "Via"} & set(headers)
    assert requests.request("TRACE", f"{live.url}/study/spots/", timeout=10).status_code == 405


# Cookies.


def test_cookie_by_https_is_for_this_host_alone_and_no_script_reads_it(sqlite_workshop):
    make(sqlite_workshop, "link")
    client = app_of(sqlite_workshop, https=True).test_client()
    parts = client.get("/study/spots/", base_url="https://localhost").headers["Set-Cookie"].split("; ")
    assert parts[0].startswith("__Host-realism=")
    assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= set(parts)
    assert not any(part.startswith("Domain") for part in parts)


def test_framed_cookie_is_another_one_by_name_and_signature(sqlite_workshop):
    """A neighbour under the same domain can set the framed name for every path; it must mean nothing elsewhere."""
    make(sqlite_workshop, "mturk")
    sqlite_workshop.create_study(name="bare", trials=SHORT)
    app = app_of(sqlite_workshop, https=True)
    framed, secure = app.test_client(), {"base_url": "https://localhost"}
    reply = framed.get(f"/study/spots/{MTURK}", **secure)
    name, _, rest = reply.headers["Set-Cookie"].partition("=")
    parts = rest.split("; ")
    assert name == "__Secure-realism-frame"
    assert {"Secure", "HttpOnly", "SameSite=None", "Partitioned", "Path=/study/spots/"} <= set(parts)
    action, ticket = fields_of(reply.text)
    begun = framed.post(action, data={"ticket": ticket}, **secure)
    assert begun.headers["Location"] == "/study/spots/step/instructions"
    attackers = begun.headers["Set-Cookie"].partition("=")[2].partition(";")[0]
    for planted_as, study in ((name, "bare"), ("__Host-realism", "spots"), ("__Host-realism", "bare")):
        victim = app.test_client()
        victim.set_cookie(planted_as, attackers, domain="localhost")
        assert victim.get(f"/study/{study}/next", **secure).status_code == 403


def test_cookie_that_was_changed_or_made_elsewhere_is_nobodys(sqlite_workshop):
    client = make(sqlite_workshop, "link")
    agree(client)
    genuine = client.get_cookie("realism").value
    payload, _, signature = genuine.rpartition(".")
    for forged in (payload, f"{payload}.", f"{payload}.{signature[:-2]}AA", genuine + "A", "{}", "x" * 4000, "é"):
        thief = sqlite_workshop.client()
        thief.set_cookie("realism", forged)
        assert thief.get("/study/spots/next").status_code == 403
    another = create_app(sqlite_workshop.engine, sqlite_workshop.config.store, "y" * 32).test_client()
    another.set_cookie("realism", genuine)
    assert another.get("/study/spots/next").status_code == 403


# Hosts and proxies.


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("studies.example.org", 200),
        ("studies.example.org:8000", 200),
        ("lab.example.edu", 200),
        ("127.0.0.1:8000", 200),
        ("localhost", 200),
        ("evil.example.net", 400),
        ("studies.example.org.evil.example.net", 400),
        ("evil-example.edu", 400),
    ],
)
def test_server_answers_to_its_own_names_only(sqlite_workshop, host, status):
    app = app_of(sqlite_workshop, hosts=("studies.example.org", ".example.edu"))
    reply = app.test_client().get("/", headers={"Host": host})
    assert reply.status_code == status
    if status == 400:
        assert reply.text == "This server is not known by that name. Check the address.\n"
        assert "default-src 'none'" in reply.headers["Content-Security-Policy"]


def test_proxies_are_believed_as_far_as_they_are_told_of(sqlite_workshop):
    told = {
        "X-Forwarded-For": "198.51.100.9, 203.0.113.7",  # the first is what the client itself claimed
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "studies.example.org",
    }

    def seen(proxies):
        app = app_of(sqlite_workshop, proxies=proxies)
        app.add_url_rule("/seen", "seen", lambda: [request.remote_addr, request.scheme, request.host])
        return app.test_client().get("/seen", headers=told).json

    assert seen(0) == ["127.0.0.1", "http", "localhost"]
    assert seen(1) == ["203.0.113.7", "https", "studies.example.org"]


# Other sites.

OTHER_SITES = [
    {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example.net"},
    {"Sec-Fetch-Site": "same-site", "Origin": "http://neighbour.localhost"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Origin": "https://evil.example.net"},  # over plain http browsers send no Sec-Fetch-Site
    {"Origin": "http://localhost:9999"},
    {"Origin": "null"},
    {"Origin": "http://localhost.evil.example.net"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
]
OURSELVES = [{"Sec-Fetch-Site": "same-origin"}, {"Origin": "http://localhost"}, {"Sec-Fetch-Site": "none"}, {}]


def posts_of(app) -> list[str]:
    """The address of everything that can be posted, for the study ``spots``."""
    rules = [rule for rule in app.url_map.iter_rules() if not {"GET", "HEAD", "OPTIONS"} >= set(rule.methods)]
    return [re.sub(r"<any\((\w+)[^>]*>", r"\1", rule.rule).replace("<name>", "spots") for rule in rules]


def test_nothing_can_be_posted_from_another_site(sqlite_workshop):
    client = make(sqlite_workshop, "link")
    agree(client)
    addresses = posts_of(client.application)
    assert set(addresses) >= {f"/study/spots/{page}" for page in ("start", "declined", "answer", "step/questions")}
    before = stored_rows(sqlite_workshop)
    for address in addresses:
        for headers in OTHER_SITES:
            reply = client.post(address, data={"ticket": "t"}, headers=headers)
            assert reply.status_code == 403, (address, headers)
            assert "Open the link that you were given." in reply.text
            assert "Set-Cookie" not in reply.headers
        for headers in OURSELVES:
            assert client.post(address, data={}, headers=headers).status_code != 403, (address, headers)
    assert stored_rows(sqlite_workshop) - before == 0


def test_pages_that_only_read_change_nothing(sqlite_workshop):
    """A link or a picture on another site may open any address by GET: nothing may come of it."""
    client = make(sqlite_workshop, "link")
    agree(client)
    before = stored_rows(sqlite_workshop)
    for page in (
        "",
        "start",
        "declined",
        "on",
        "survey",
        "next",
        "answer",
        "done",
        "step/instructions",
        "step/debriefing",
    ):
        for method in ("get", "head"):
            getattr(client, method)(f"/study/spots/{page}", headers={"Sec-Fetch-Site": "cross-site"})
    assert stored_rows(sqlite_workshop) == before


def test_nobody_can_be_put_into_a_session_that_another_began(sqlite_workshop):
    """Session fixation: not by a form of the attacker's, not by a link, not by a cookie without our signature."""
    attacker = make(sqlite_workshop, "link")
    action, ticket = fields_of(attacker.get("/study/spots/").text)
    attacker.post(action, data={"ticket": ticket})
    with reading(sqlite_workshop.engine) as db:
        begun = db.scalars(select(Session.public_id)).one()
    victim = sqlite_workshop.client()
    victim.get("/study/spots/")
    own = victim.get_cookie("realism").value
    posted = victim.post(action, data={"ticket": ticket}, headers={"Sec-Fetch-Site": "cross-site"})
    assert posted.status_code == 403
    assert victim.get_cookie("realism").value == own
    for query in (f"?session={begun}", f"?realism={attacker.get_cookie('realism').value}", f"?ticket={ticket}"):
        victim.get(f"/study/spots/{query}")
        assert victim.get("/study/spots/next").status_code == 403
    agree(victim)
    with reading(sqlite_workshop.engine) as db:
        sessions = db.scalars(select(Session.public_id).order_by(Session.id)).all()
    assert len(set(sessions)) == 2
    assert sessions[1] in victim.get("/study/spots/next").text or victim.get("/study/spots/on").status_code == 302


# Redirects.


def test_no_redirect_leaves_for_where_a_request_says(sqlite_workshop):
    make(sqlite_workshop, "link")
    sqlite_workshop.create_study(name="done", trials=SHORT)
    done = sqlite_workshop.client()
    agree(done, study="done")
    answer_all(done, study="done")
    evil = "https://evil.example.net/"
    query = "&".join(
        f"{key}={evil}" for key in ("next", "url", "return", "lang", "cookies", "simulated", "turkSubmitTo")
    )
    headers = {"Host": "evil.example.net", "X-Forwarded-Host": "evil.example.net", "Referer": evil}
    redirected = 0
    for client in (done, sqlite_workshop.client()):
        for study in ("done", "spots", "//evil.example.net"):
            for page in ("", "declined", "on", "survey", "done", "step/instructions", "step/questions_after"):
                reply = client.get(f"/study/{study}/{page}?{query}", headers=headers)
                if 300 <= reply.status_code < 400:
                    redirected += 1
                    assert reply.headers["Location"].startswith(("/study/", "http://evil.example.net/study/evil")), page
                assert f'href="{evil}' not in reply.text
                assert f'action="{evil}' not in reply.text
    assert redirected > 8
