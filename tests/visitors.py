"""Participants over a test client: a study for those of one source, its link opened, and all that follows."""

import html
import re

from protocol.design import StudyDesign, parse_design

PROLIFIC = "?PROLIFIC_PID=5f3a&STUDY_ID=st&SESSION_ID=se"
MTURK = "?assignmentId=A1&hitId=H1&workerId=W1&turkSubmitTo=https%3A%2F%2Fworkersandbox.mturk.com"
SHORT = {"practice": 0, "main": 2}
SOURCES = {
    "link": {},
    "invitation": {},
    "prolific": {"completed": "GOOD", "screened_out": "OUT"},
    "mturk": {},
    "sona": {"completion_url": "https://uni.sona-systems.com/credit?survey_code={id}&by={code}"},
}


def design_from(source: str, **more: str) -> StudyDesign:
    raw = {"title": "t", "conditions": {"a": "a"}, "recruitment": {"source": source, **SOURCES[source], **more}}
    return parse_design(raw, "study.toml")


def make(workshop, source: str, **differing):
    """A study of two trials for people of that source, and somebody's browser."""
    workshop.create_study(trials=SHORT, recruitment={"source": source, **SOURCES[source]}, **differing)
    return workshop.client()


def fields_of(page: str) -> tuple[str, str]:
    """Where a page's consent form is sent to, and its ticket."""
    action = re.search(r'<form id="consent" method="post" action="([^"]+)"', page)
    ticket = re.search(r'name="ticket" value="([^"]+)"', page)
    assert action, page
    assert ticket, page
    return html.unescape(action[1]), ticket[1]


def agree(client, query: str = "", study: str = "spots"):
    """Open the link and send its consent form, as a browser does; the reply."""
    action, ticket = fields_of(client.get(f"/study/{study}/{query}").text)
    return client.post(action, data={"ticket": ticket})


def answer_all(client, study: str = "spots", side: str = "left") -> None:
    """Read the instructions and answer every trial."""
    client.post(f"/study/{study}/step/instructions")
    state = client.get(f"/study/{study}/next").json
    while not state["done"]:
        body = {"trial_index": state["trial"]["trial_index"], "response": side, "rt": 700, "elapsed_ms": 700}
        state = client.post(f"/study/{study}/answer", json=body).json["next"]


def title_of(page: str) -> str:
    found = re.search(r"<h1>(.*?)</h1>", page)
    assert found, page
    return html.unescape(found[1])
