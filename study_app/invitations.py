"""Personal links: labels in, one invitation each; and who of them has begun."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count, islice
from pathlib import Path

from itsdangerous import BadSignature, Signer
from sqlalchemy import and_, select
from sqlalchemy.orm import Session as DatabaseSession

from protocol import InputError
from study_app.sessions import new_session_id
from study_app.studies import design_of
from study_app.tables import Invitation, Participant, Session, Study

LONGEST_LABEL = 200


class InvitationError(InputError):
    """Invitations that cannot be made."""


@dataclass(frozen=True)
class Invited:
    """An invitation's label and id, and what became of it: ``outcome`` is None as long as the session goes on.

    A link carries the id signed: ``signed_token``.
    """

    label: str
    public_id: str
    begun: bool = False
    completed: bool = False
    outcome: str | None = None


def _signer(secret: str, study: str) -> Signer:
    return Signer(secret, salt=f"invitation to {study}", digest_method=hashlib.sha256)


def signed_token(secret: str, study: str, public_id: str) -> str:
    """What a personal link carries: an invitation's id, signed for the study of that name by who holds the server's key."""
    return _signer(secret, study).sign(public_id).decode()


def read_token(secret: str, study: str, token: str) -> str | None:
    """The id in a link's token; None if it was not signed for this study, so that no guess reaches the database."""
    try:
        return _signer(secret, study).unsign(token).decode()
    except BadSignature:
        return None


def read_labels(path: Path) -> list[str]:
    """One label a line; empty lines do not count.

    Raises:
        InvitationError: if the file is no text, has no label, or one is too long.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InvitationError(f"{path} is no text in UTF-8 ({error.reason}); save it as one") from error
    for number, line in enumerate(lines, 1):
        if len(line.strip()) > LONGEST_LABEL:
            raise InvitationError(
                f"{path}: line {number} has {len(line.strip())} characters; a label has {LONGEST_LABEL} at most"
            )
    labels = [line.strip() for line in lines if line.strip()]
    if not labels:
        raise InvitationError(f"{path} has no label; write one a line, such as a name or a number")
    return labels


def invite_labels(db: DatabaseSession, study: Study, labels: Iterable[str]) -> list[Invited]:
    """An invitation for each label.

    Raises:
        InvitationError: if the study is not by invitation, or a label would stand for two people.
    """
    _check_by_invitation(study)
    made = [Invited(label, new_session_id()) for label in labels]
    uses = Counter([*_labels(db, study), *(one.label for one in made)])
    twice = next((one.label for one in made if uses[one.label] > 1), None)
    if twice is not None:
        raise InvitationError(
            f"label {twice!r} would be used twice in study {study.name!r}; give everyone a label of their own"
        )
    now = datetime.now(UTC)
    db.add_all(Invitation(study_id=study.id, public_id=one.public_id, label=one.label, created_at=now) for one in made)
    db.flush()
    return made


def invite_number(db: DatabaseSession, study: Study, n: int) -> list[Invited]:
    """``n`` invitations, labelled by the next free numbers."""
    taken = set(_labels(db, study))
    free = (str(number) for number in count(1) if str(number) not in taken)
    return invite_labels(db, study, islice(free, n))


def list_invited(db: DatabaseSession, study: Study) -> list[Invited]:
    """All invitations, in the order in which they were made.

    Raises:
        InvitationError: if the study is not by invitation.
    """
    _check_by_invitation(study)
    rows = db.execute(
        select(Invitation.label, Invitation.public_id, Session.started_at, Session.completed_at, Session.outcome)
        .outerjoin(
            Participant,
            and_(Participant.study_id == Invitation.study_id, Participant.recruitment_id == Invitation.public_id),
        )
        .outerjoin(Session, Session.participant_id == Participant.id)
        .where(Invitation.study_id == study.id)
        .order_by(Invitation.id)
    )
    return [
        Invited(label, public_id, started is not None, completed is not None, outcome)
        for label, public_id, started, completed, outcome in rows
    ]


def _labels(db: DatabaseSession, study: Study) -> list[str]:
    return list(db.scalars(select(Invitation.label).where(Invitation.study_id == study.id)))


def _check_by_invitation(study: Study) -> None:
    source = design_of(study).recruitment.source
    if source != "invitation":
        raise InvitationError(
            f"study {study.name!r} is not by invitation, its recruitment.source is {source!r}; print its link with "
            f"'realism study link {study.name}', or create a study with source = \"invitation\""
        )
