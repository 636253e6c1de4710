"""Where participants come from and where they go in the end: a link's arguments in, an Arrival out; an outcome in, a WayOn out.

What the services send and expect, by their own documentation:
Prolific, "Integrating your study": PROLIFIC_PID, STUDY_ID and SESSION_ID in the link; back at /submissions/complete?cc=CODE.
Mechanical Turk, "ExternalQuestion": assignmentId, hitId, workerId and turkSubmitTo in the link; back by a form posted to
turkSubmitTo + /mturk/externalSubmit; before a worker has accepted, assignmentId is ASSIGNMENT_ID_NOT_AVAILABLE.
SONA, "External studies": %SURVEY_CODE% in the link is the person's number, which the completion address takes back.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from flask import current_app
from sqlalchemy import select
from sqlalchemy.orm import Session as DatabaseSession

from protocol.design import StudyDesign
from study_app.invitations import read_token
from study_app.sessions import Arrival
from study_app.tables import Invitation, Study

# What a link may carry beside a service's own ids.
LANGUAGE, PREVIEW, SIMULATED = "lang", "preview", "simulated"
# Source → the arguments that may hold the person's id, and the others that it sends along.
SENT = {
    "link": ((), ()),
    "invitation": (("invitation",), ()),
    "prolific": (("PROLIFIC_PID",), ("STUDY_ID", "SESSION_ID")),
    "mturk": (("workerId",), ("assignmentId", "hitId", "turkSubmitTo")),
    "sona": (("id", "survey_code"), ()),
}
ID = re.compile(r"[A-Za-z0-9._~-]{1,200}")
NOT_ACCEPTED = "ASSIGNMENT_ID_NOT_AVAILABLE"
# An answer goes nowhere else, whatever a link says.
SUBMIT_TO = ("https://www.mturk.com", "https://workersandbox.mturk.com")
PROLIFIC_COMPLETE = "https://app.prolific.com/submissions/complete?cc="


class ArrivalError(Exception):
    """A link without what its source sends along, or with what cannot have come from there."""


@dataclass(frozen=True)
class WayOn:
    """Where a participant goes in the end. With ``fields`` a form is posted there, else it is a link."""

    address: str
    fields: Mapping[str, str] = field(default_factory=dict)


def known_arguments(design: StudyDesign, arguments: Mapping[str, str]) -> dict[str, str]:
    """Those arguments of a link that mean something to this study."""
    persons, others = SENT[design.recruitment.source]
    known = (LANGUAGE, PREVIEW, SIMULATED, *persons, *others)
    return {key: arguments[key] for key in known if key in arguments}


def only_looks(design: StudyDesign, arguments: Mapping[str, str]) -> bool:
    """Whether a worker looks at a task on MTurk before accepting it."""
    return design.recruitment.source == "mturk" and arguments.get("assignmentId") == NOT_ACCEPTED


def arrival_of(db: DatabaseSession, study: Study, design: StudyDesign, arguments: Mapping[str, str]) -> Arrival:
    """Under which id somebody comes, and what else was sent along.

    Raises:
        ArrivalError: if the person's id is missing, an id cannot be one, or an invitation is not signed or unknown.
    """
    source = design.recruitment.source
    if source == "link":
        return Arrival()
    persons, others = SENT[source]
    person = next((arguments[key] for key in persons if key in arguments), "")
    details = {key: arguments[key] for key in others if key in arguments}
    if source == "mturk":
        details["turkSubmitTo"] = details.get("turkSubmitTo", "").rstrip("/")
        if details["turkSubmitTo"] not in SUBMIT_TO or "assignmentId" not in details:
            raise ArrivalError("turkSubmitTo is not MTurk's, or there is no assignmentId")
    ids = {"person": person, **{key: value for key, value in details.items() if key != "turkSubmitTo"}}
    for key, value in ids.items():
        if not ID.fullmatch(value):
            raise ArrivalError(f"{key} is {value!r:.80}, which is no id")
    if source == "invitation":
        return Arrival(_invited_as(db, study, person), details)
    return Arrival(person, details)


def _invited_as(db: DatabaseSession, study: Study, token: str) -> str:
    public_id = read_token(current_app.config["SECRET_KEY"], study.name, token)
    invited = select(Invitation.id).where(Invitation.study_id == study.id, Invitation.public_id == public_id)
    if public_id is None or db.scalar(invited) is None:
        raise ArrivalError(f"there is no invitation {token!r:.80}")
    return public_id


def way_on(design: StudyDesign, outcome: str, code: str | None, arrival: Arrival) -> WayOn | None:
    """Where somebody goes whose session ended so; None where nobody waits for them.

    On Prolific only a code that Prolific knows leads back. Elsewhere whoever was given a code goes on.
    """
    recruitment = design.recruitment
    if recruitment.source == "prolific":
        expected = getattr(recruitment, outcome, None)
        return WayOn(PROLIFIC_COMPLETE + quote(expected, safe="")) if expected else None
    if code is None:
        return None
    if recruitment.source == "mturk":
        submit_to = arrival.details.get("turkSubmitTo")
        if submit_to not in SUBMIT_TO:
            return None
        return WayOn(
            f"{submit_to}/mturk/externalSubmit", {"assignmentId": arrival.details["assignmentId"], "code": code}
        )
    if recruitment.completion_url is None:
        return None
    filled = {"{id}": arrival.recruitment_id or "", "{code}": code}
    return WayOn(re.sub(r"\{id\}|\{code\}", lambda blank: quote(filled[blank[0]], safe=""), recruitment.completion_url))


# What each service replaces in a link by what it knows of the person.
_BLANKS = {
    "prolific": "?" + "&".join(f"{key}={{{{%{key}%}}}}" for key in ("PROLIFIC_PID", "STUDY_ID", "SESSION_ID")),
    "sona": "?survey_code=%SURVEY_CODE%",
}


def address_of_study(base: str, name: str, **arguments: str) -> str:
    """The address of a study's first page on the server at ``base``."""
    query = "&".join(f"{key}={quote(value, safe='')}" for key, value in arguments.items())
    return f"{base.rstrip('/')}/study/{name}/" + (f"?{query}" if query else "")


def participants_link(base: str, design: StudyDesign) -> str:
    """The link to give to participants, or to the service that sends them; MTurk adds its arguments itself."""
    return address_of_study(base, design.name) + _BLANKS.get(design.recruitment.source, "")
