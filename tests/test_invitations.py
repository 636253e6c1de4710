"""Links and personal links, as the commands print them, and whom they lead in."""

import csv
import json

import pytest
from click.testing import CliRunner
from conftest import SECRET
from sqlalchemy import func, select
from visitors import agree, answer_all, make, title_of

import realism
from study_app.config import ConfigError
from study_app.db import reading, writing
from study_app.invitations import InvitationError, invite_number, read_token, signed_token
from study_app.studies import find_study
from study_app.tables import Invitation, Participant


@pytest.fixture(autouse=True)
def _commands_have_the_servers_key(monkeypatch):
    monkeypatch.setenv("REALISM_SECRET_KEY", SECRET)


def command(workshop, *arguments):
    where = ["--database", workshop.config.database, "--instance", str(workshop.config.instance)]
    return CliRunner().invoke(realism.cli, ["study", *map(str, arguments), *where], catch_exceptions=False)


@pytest.mark.parametrize(
    ("source", "query"),
    [
        ("link", ""),
        (
            "prolific",
            "?PROLIFIC_PID={{%PROLIFIC_PID%}}&STUDY_ID={{%STUDY_ID%}}&SESSION_ID={{%SESSION_ID%}}",
        ),
        ("mturk", ""),
        ("sona", "?survey_code=%SURVEY_CODE%"),
    ],
)
def test_link_command_prints_what_the_source_is_given(sqlite_workshop, source, query):
    make(sqlite_workshop, source)
    link = f"https://studies.example.org/study/spots/{query}"
    assert command(sqlite_workshop, "link", "spots", "--url", "https://studies.example.org/").output == f"{link}\n"
    told = json.loads(
        command(sqlite_workshop, "link", "spots", "--url", "https://studies.example.org", "--json").output
    )
    assert told == {"study": "spots", "source": source, "preview": False, "link": link}


def test_personal_links_are_made_once_each_and_listed_with_what_became_of_them(workshop):
    client = make(workshop, "invitation")
    labels, out = workshop.folder / "people.txt", workshop.folder / "links.csv"
    labels.write_text('\ufeffAnn\n\n Bob, "the tall" \n', encoding="utf-8")
    assert "2 links are in" in command(workshop, "invite", "spots", "--labels", labels, "--csv", out).output
    with out.open(newline="") as file:
        links = {row["label"]: row["link"] for row in csv.DictReader(file)}
    assert list(links) == ["Ann", 'Bob, "the tall"']
    made = json.loads(command(workshop, "invite", "spots", "-n", 2, "--json").output)
    assert [one["label"] for one in made] == ["1", "2"]
    assert command(workshop, "invite", "spots", "-n", 1).output.startswith(
        "3\thttp://127.0.0.1:8000/study/spots/?invit"
    )

    queries = [link.removeprefix("http://127.0.0.1:8000/study/spots/") for link in links.values()]
    agree(client, queries[0])
    answer_all(client)
    agree(client, queries[1])
    listed = command(workshop, "invitations", "spots").output.splitlines()
    assert [line.split("\t")[:2] for line in listed] == [
        ["Ann", "completed"],
        ['Bob, "the tall"', "begun"],
        *([str(number), "not begun"] for number in (1, 2, 3)),
    ]
    told = json.loads(command(workshop, "invitations", "spots", "--json").output)
    assert told[0] == {
        "label": "Ann",
        "link": links["Ann"],
        "begun": True,
        "completed": True,
        "outcome": "completed",
    }
    assert [one["completed"] for one in told] == [True] + [False] * 4
    assert title_of(workshop.client().get(f"/study/spots/{queries[0]}").text) == "You have begun this study already"


def test_invitation_leads_into_its_own_study_only(sqlite_workshop):
    make(sqlite_workshop, "invitation")
    sqlite_workshop.create_study(name="other", recruitment={"source": "invitation"})
    link = command(sqlite_workshop, "invite", "other", "-n", 1).output.split("/?")[1].strip()
    assert sqlite_workshop.client().get(f"/study/other/?{link}").status_code == 200
    assert sqlite_workshop.client().get(f"/study/spots/?{link}").status_code == 400


def test_token_is_good_for_one_study_and_under_one_key():
    token = signed_token(SECRET, "spots", "ab" * 16)
    assert read_token(SECRET, "spots", token) == "ab" * 16
    assert read_token(SECRET, "other", token) is None
    assert read_token("x" * 32, "spots", token) is None
    for guess in ("", "ab" * 16, "ab" * 16 + ".", token[:-1], token + "A", "cd" + token[2:], "\u00e9", "." * 300):
        assert read_token(SECRET, "spots", guess) is None


def test_link_without_the_servers_signature_leads_nowhere(sqlite_workshop):
    client = make(sqlite_workshop, "invitation")
    with writing(sqlite_workshop.engine) as db:
        (invited,) = invite_number(db, find_study(db, "spots"), 1)
    for guess in (
        invited.public_id,
        f"{invited.public_id}.{'A' * 43}",
        signed_token("x" * 32, "spots", invited.public_id),
    ):
        reply = client.get(f"/study/spots/?invitation={guess}")
        assert reply.status_code == 400
        assert title_of(reply.text) == "Please come by your own link"
    nobody = signed_token(SECRET, "spots", "0" * 32)  # signed, and not in this database
    assert client.get(f"/study/spots/?invitation={nobody}").status_code == 400
    agree(client, f"?invitation={signed_token(SECRET, 'spots', invited.public_id)}")
    with reading(sqlite_workshop.engine) as db:
        assert db.scalars(select(Participant.recruitment_id)).all() == [invited.public_id]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("link", "spots"), InvitationError, "'spots' is by invitation and has no link for all; make"),
        (
            ("invite", "plain", "-n", "1"),
            InvitationError,
            "'plain' is not by invitation, its recruitment.source is 'link'",
        ),
        (("invitations", "plain"), InvitationError, "'plain' is not by invitation"),
        (
            ("invite", "spots", "--labels", "twice.txt"),
            InvitationError,
            "label 'Ann' would be used twice in study 'spots'",
        ),
        (("invite", "spots", "--labels", "none.txt"), InvitationError, "none.txt has no label; write one a line"),
        (("invite", "spots", "--labels", "long.txt"), InvitationError, "line 2 has 201 characters; a label has 200 at"),
        (("invite", "spots", "--labels", "bytes.txt"), InvitationError, "bytes.txt is no text in UTF-8"),
        (("link", "spots", "--preview"), ConfigError, "there is no secret key"),
        (("invite", "spots", "-n", "1"), ConfigError, "there is no secret key"),
    ],
)
def test_links_that_cannot_be_made_are_told_in_one_sentence(sqlite_workshop, monkeypatch, arguments, error, message):
    make(sqlite_workshop, "invitation")
    sqlite_workshop.create_study(name="plain")
    monkeypatch.chdir(sqlite_workshop.folder)
    monkeypatch.delenv("REALISM_SECRET_KEY", raising=False)
    for name, content in {
        "twice": b"Ann\nBob\nAnn",
        "none": b"\n \n",
        "long": b"a\n" + b"b" * 201,
        "bytes": b"\xff",
    }.items():
        (sqlite_workshop.folder / f"{name}.txt").write_bytes(content)
    with pytest.raises(error, match=message):
        command(sqlite_workshop, *arguments)
    with reading(sqlite_workshop.engine) as db:
        assert db.scalar(select(func.count(Invitation.id))) == 0


def test_invite_needs_to_know_how_many_or_whom(sqlite_workshop, tmp_path):
    make(sqlite_workshop, "invitation")
    for arguments in ((), ("-n", "1", "--labels", __file__)):
        told = command(sqlite_workshop, "invite", "spots", *arguments)
        assert told.exit_code == 2
        assert "Give either -n, how many links to make, or --labels" in told.output
    told = command(sqlite_workshop, "link", "spots", "--url", "studies.example.org")
    assert told.exit_code == 2
    assert "'studies.example.org' is no web address; give one such as https://" in told.output
    with pytest.raises(FileNotFoundError, match="nowhere"):
        command(sqlite_workshop, "invite", "spots", "-n", 1, "--csv", tmp_path / "nowhere" / "links.csv")
    with reading(sqlite_workshop.engine) as db:  # who could not be told their link is not invited
        assert db.scalar(select(func.count(Invitation.id))) == 0
