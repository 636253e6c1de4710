"""A preview walks the whole of any study, and leaves no trace in what counts."""

import re

import pytest
from click.testing import CliRunner
from conftest import SECRET
from sqlalchemy import func, select
from visitors import SHORT, agree, answer_all, title_of

import realism
from study_app.db import reading, writing
from study_app.entrance import preview_tokens, simulation_tokens
from study_app.export import export_study
from study_app.pair_uses import available_pairs
from study_app.sessions import new_session_id, start_session
from study_app.studies import close_study, find_study, study_progress
from study_app.tables import Participant, Refusal, Session

BANNER = "Preview: nothing here counts"


def link_to(name):
    return f"?preview={preview_tokens(SECRET).dumps(name)}"


def origins(workshop):
    with reading(workshop.engine) as db:
        return sorted(db.scalars(select(Participant.origin)))


def test_preview_walks_the_whole_study_and_every_page_says_so(sqlite_workshop):
    sqlite_workshop.create_study(trials=SHORT, debriefing={"show_score": True})
    client = sqlite_workshop.client()
    assert BANNER in client.get(f"/study/spots/{link_to('spots')}").text
    assert agree(client, link_to("spots")).headers["Location"] == "/study/spots/step/instructions"
    assert BANNER in client.get("/study/spots/step/instructions").text
    client.post("/study/spots/step/instructions")
    assert BANNER in client.get("/study/spots/survey").text
    answer_all(client)
    assert BANNER in client.get("/study/spots/step/debriefing").text
    client.post("/study/spots/step/debriefing")
    page = client.get("/study/spots/done").text
    assert BANNER in page
    assert 'id="code"' in page
    assert origins(sqlite_workshop) == ["preview"]


def test_banner_is_on_no_page_of_a_real_session(sqlite_workshop):
    sqlite_workshop.create_study(trials=SHORT)
    client = sqlite_workshop.client()
    agree(client)
    answer_all(client)
    for page in ("", "step/instructions", "survey", "done"):
        assert BANNER not in client.get(f"/study/spots/{page}", follow_redirects=True).text
    assert BANNER not in sqlite_workshop.client().get("/study/spots/").text


def test_nothing_of_a_preview_counts(workshop):
    """Neither in the progress, nor towards the number of participants, nor for the choice of pairs, nor in the export."""
    workshop.create_study(trials=SHORT, stopping={"participants": 1})
    client = workshop.client()
    for _ in range(2):
        agree(client, link_to("spots"))
        answer_all(client)
    client.post(f"/study/spots/declined{link_to('spots')}")
    with reading(workshop.engine) as db:
        study = find_study(db, "spots")
        progress = study_progress(db, study)
        now = study.created_at
        assert {pair.uses for pair in available_pairs(db.connection(), study.id, "human", now)} == {0}
        assert db.scalar(select(func.count(Refusal.id))) == 0
    assert (progress.state, progress.started, progress.completed, progress.responses) == ("open", {}, {}, 0)
    export_study(workshop.engine, workshop.config.store, "spots", workshop.folder / "export")
    for table in ("responses.csv", "sessions.csv"):
        assert len((workshop.folder / "export" / table).read_text().splitlines()) == 1  # the head alone


@pytest.mark.parametrize("stopped", ["closed", "ended", "full"])
def test_preview_walks_a_study_that_takes_nobody(sqlite_workshop, stopped):
    stopping = {"ended": {"until": "2020-01-01T00:00:00Z"}, "full": {"participants": 1}}.get(stopped, {})
    sqlite_workshop.create_study(trials=SHORT, stopping=stopping)
    if stopped == "closed":
        close_study(sqlite_workshop.engine, "spots")
    if stopped == "full":
        with writing(sqlite_workshop.engine) as db:
            start_session(db, find_study(db, "spots").id, "human", new_session_id())
    client = sqlite_workshop.client()
    assert "consent" not in client.get("/study/spots/").text
    agree(client, link_to("spots"))
    client.post("/study/spots/step/instructions")
    assert 'id="survey"' in client.get("/study/spots/survey").text
    shown = client.get("/study/spots/next").json["trial"]["pictures"]
    assert {client.get(address).status_code for address in shown.values()} == {200}
    answer_all(client)
    assert 'id="code"' in client.get("/study/spots/done").text


@pytest.mark.parametrize(
    "recruitment",
    [
        {"source": "invitation"},
        {"source": "prolific", "completed": "GOOD"},
        {"source": "mturk"},
        {"source": "sona", "completion_url": "https://uni.sona-systems.com/credit?survey_code={id}"},
    ],
)
def test_preview_needs_no_id_and_is_not_sent_away_in_the_end(sqlite_workshop, recruitment):
    sqlite_workshop.create_study(trials=SHORT, recruitment=recruitment)
    client = sqlite_workshop.client()
    assert "Secure" not in agree(client, link_to("spots")).headers["Set-Cookie"]
    answer_all(client)
    page = client.get("/study/spots/done").text
    assert 'id="code"' in page
    assert "data-seconds" not in page


def test_each_opening_begins_a_new_preview(sqlite_workshop):
    sqlite_workshop.create_study(trials=SHORT)
    client = sqlite_workshop.client()
    agree(client, link_to("spots"))
    answer_all(client)
    assert agree(client, link_to("spots")).headers["Location"] == "/study/spots/step/instructions"
    assert client.get("/study/spots/on").headers["Location"] == "/study/spots/step/instructions"
    assert origins(sqlite_workshop) == ["preview", "preview"]


def test_preview_never_replaces_a_session_that_counts(sqlite_workshop):
    sqlite_workshop.create_study(trials=SHORT)
    client = sqlite_workshop.client()
    agree(client)
    client.post("/study/spots/step/instructions")
    page = client.get(f"/study/spots/{link_to('spots')}").text
    assert title_of(page) == "You take part in this study in this browser"
    assert "<form" not in page
    assert client.get("/study/spots/on").headers["Location"] == "/study/spots/survey"


def test_preview_keeps_nobody_from_taking_part_afterwards(sqlite_workshop):
    sqlite_workshop.create_study(trials=SHORT)
    client = sqlite_workshop.client()
    agree(client, link_to("spots"))
    answer_all(client)
    page = client.get("/study/spots/").text
    assert "I agree" in page
    assert BANNER not in page
    assert agree(client).headers["Location"] == "/study/spots/step/instructions"
    assert origins(sqlite_workshop) == ["human", "preview"]


def test_only_the_holder_of_the_key_can_preview(sqlite_workshop, monkeypatch):
    sqlite_workshop.create_study(trials=SHORT)
    client = sqlite_workshop.client()
    month_ago = preview_tokens(SECRET)
    monkeypatch.setattr("itsdangerous.TimestampSigner.get_timestamp", lambda _: 1_000_000)
    too_old = month_ago.dumps("spots")
    monkeypatch.undo()
    forged = [
        "please",
        "",
        preview_tokens("x" * 32).dumps("spots"),
        preview_tokens(SECRET).dumps("another-study"),
        simulation_tokens(SECRET).dumps("spots"),
        too_old,
    ]
    for token in forged:
        reply = client.get(f"/study/spots/?preview={token}")
        assert reply.status_code == 403
        assert title_of(reply.text) == "This preview link is not valid"
        assert "<form" not in reply.text


def test_preview_link_is_printed_by_two_commands_and_works(sqlite_workshop, monkeypatch):
    sqlite_workshop.create_study(trials=SHORT)
    close_study(sqlite_workshop.engine, "spots")
    monkeypatch.setenv("REALISM_SECRET_KEY", SECRET)
    monkeypatch.setattr("study_app.serve.serve", lambda *arguments: arguments[-1]("http://127.0.0.1:8123"))
    where = ["--database", sqlite_workshop.config.database, "--instance", str(sqlite_workshop.config.instance)]
    for arguments in (["study", "link", "spots", "--preview"], ["serve", "--preview", "spots"]):
        told = CliRunner().invoke(realism.cli, [*arguments, *where], catch_exceptions=False).output
        found = re.search(r"http://127.0.0.1:\d+(/study/spots/\?preview=\S+)", told)
        assert found, told
        assert BANNER in sqlite_workshop.client().get(found[1]).text
    with pytest.raises(realism.InputError, match="there is no study 'nothing'; there are spots"):
        CliRunner().invoke(realism.cli, ["serve", "--preview", "nothing", *where], catch_exceptions=False)
    with reading(sqlite_workshop.engine) as db:
        assert db.scalar(select(func.count(Session.id))) == 0  # looking at consent begins nothing
