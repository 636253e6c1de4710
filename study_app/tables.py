"""The tables of a study. A database session is called ``db`` everywhere: the bare word session is a participant's sitting."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from protocol.responses import KINDS, ORIGINS, SIDES

# A preview walks a study as a participant would; it is stored like one, and counts nowhere.
PREVIEW = "preview"
# How a session ended: its answers count, or it was sent away beforehand, or it is complete and missed the checks.
OUTCOMES = ("completed", "screened_out", "failed_checks", "full")
_SIDES = tuple(side for both in SIDES for side in both)


class UTCDateTime(TypeDecorator[datetime]):
    """An aware moment, kept in UTC also where the database (SQLite) knows no time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _one_of(column: str, words: tuple[str, ...]) -> CheckConstraint:
    listed = ", ".join(f"'{word}'" for word in words)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


class Table(DeclarativeBase):
    # Constraints need names so that a later migration can change them.
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Study(Table):
    """A frozen design. Only ``closed_at`` ever changes."""

    __tablename__ = "studies"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    design: Mapped[dict[str, Any]] = mapped_column(JSON)
    design_sha256: Mapped[str] = mapped_column(String(64))
    plan_sha256: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    closed_at: Mapped[datetime | None] = mapped_column(UTCDateTime)

    conditions: Mapped[list["Condition"]] = relationship(back_populates="study", order_by="Condition.position")


class Condition(Table):
    """One generator's pair set in a study, with its manifest as it was when the study was created.

    The pairs of catch trials are a condition too, of the role catch: it has no fool rate.
    """

    __tablename__ = "conditions"
    __table_args__ = (UniqueConstraint("study_id", "name"), _one_of("role", ("condition", "catch")))

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id"))
    position: Mapped[int]
    name: Mapped[str] = mapped_column(String(64))
    role: Mapped[str] = mapped_column(String(16), default="condition", server_default="condition")
    manifest: Mapped[str] = mapped_column(Text)
    manifest_sha256: Mapped[str] = mapped_column(String(64))

    study: Mapped[Study] = relationship(back_populates="conditions")


class Image(Table):
    """A picture in the store, by the hash of its file in the pair set."""

    __tablename__ = "images"

    id: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)


class Pair(Table):
    """Real and fake of one photo in one condition; ``pair`` is the manifest's id, the same in every condition."""

    __tablename__ = "pairs"
    __table_args__ = (UniqueConstraint("condition_id", "pair"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    condition_id: Mapped[int] = mapped_column(ForeignKey("conditions.id"))
    pair: Mapped[str] = mapped_column(String(64))
    photo_sha256: Mapped[str] = mapped_column(String(64))
    real_image_id: Mapped[int] = mapped_column(ForeignKey("images.id"))
    fake_image_id: Mapped[int] = mapped_column(ForeignKey("images.id"))

    condition: Mapped[Condition] = relationship()
    real_image: Mapped[Image] = relationship(foreign_keys=[real_image_id])
    fake_image: Mapped[Image] = relationship(foreign_keys=[fake_image_id])


class PairUses(Table):
    """How often main and catch trials of sessions with ``counted`` showed a pair to participants of an origin."""

    __tablename__ = "pair_uses"

    pair_id: Mapped[int] = mapped_column(ForeignKey("pairs.id"), primary_key=True)
    origin: Mapped[str] = mapped_column(String(16), primary_key=True)
    uses: Mapped[int]


class Participant(Table):
    """Somebody who consented, and to which text (its sha256).

    ``recruitment_id`` is the id under which they were recruited (Prolific's, MTurk's, an invitation's …): one takes part
    once. ``recruitment`` is what else the service sent along.
    """

    __tablename__ = "participants"
    __table_args__ = (_one_of("origin", (*ORIGINS, PREVIEW)), UniqueConstraint("study_id", "recruitment_id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id"), index=True)
    public_id: Mapped[str] = mapped_column(String(32), unique=True)
    origin: Mapped[str] = mapped_column(String(16))
    consent_sha256: Mapped[str] = mapped_column(String(64))
    consented_at: Mapped[datetime] = mapped_column(UTCDateTime)
    recruitment_id: Mapped[str | None] = mapped_column(String(200))
    recruitment: Mapped[dict[str, str] | None] = mapped_column(JSON)


class Refusal(Table):
    """Somebody declined: that it happened, and to which text, and nothing about them."""

    __tablename__ = "refusals"

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id"), index=True)
    consent_sha256: Mapped[str] = mapped_column(String(64))
    refused_at: Mapped[datetime] = mapped_column(UTCDateTime)


class Invitation(Table):
    """A personal link, by its random ``public_id``; whoever comes by it has that as ``recruitment_id``."""

    __tablename__ = "invitations"

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id"), index=True)
    public_id: Mapped[str] = mapped_column(String(32), unique=True)
    label: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)


class RateLimit(Table):
    """How often one address did one thing in a minute of the server's clock; swept when that is over.

    ``key`` is a keyed hash of the day, the address and what was done (``limits``): the address itself is not stored.
    """

    __tablename__ = "rate_limits"

    minute: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    key: Mapped[str] = mapped_column(String(32), primary_key=True)
    n: Mapped[int]


class Session(Table):
    """One participant's sitting. All its trials follow from ``seed``; the code is given when every trial is stored.

    ``outcome`` is empty as long as the session may go on. ``completed_at``: every trial is answered. ``counted``: its
    trials are added up in ``PairUses``.
    """

    __tablename__ = "sessions"
    __table_args__ = (_one_of("outcome", OUTCOMES), Index(None, "study_id", "outcome", "counted", "started_at"))

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id"))
    participant_id: Mapped[int] = mapped_column(ForeignKey("participants.id"), index=True)
    public_id: Mapped[str] = mapped_column(String(32), unique=True)
    seed: Mapped[int] = mapped_column(BigInteger)
    language: Mapped[str] = mapped_column(String(8), default="en", server_default="en")
    started_at: Mapped[datetime] = mapped_column(UTCDateTime)
    completed_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    outcome: Mapped[str | None] = mapped_column(String(16))
    completion_code: Mapped[str | None] = mapped_column(String(64))
    counted: Mapped[bool] = mapped_column(default=False, server_default=false())

    study: Mapped[Study] = relationship()
    participant: Mapped[Participant] = relationship()


class Step(Table):
    """What a participant gave at one step of the road beside the trials, such as the questions; the first one counts."""

    __tablename__ = "steps"
    __table_args__ = (UniqueConstraint("session_id", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    session_id: Mapped[int] = mapped_column(ForeignKey("sessions.id"))
    name: Mapped[str] = mapped_column(String(32))
    data: Mapped[dict[str, Any]] = mapped_column(JSON)
    done_at: Mapped[datetime] = mapped_column(UTCDateTime)


class Trial(Table):
    """What one participant is shown, drawn when the session starts.

    ``real_side`` is where the real picture is; for one picture, which one is shown. ``repeat_of`` is the trial_index that
    a repeat shows again. In an adaptive study ``exposure_ms`` of the next trial follows from the answer before it.
    """

    __tablename__ = "trials"
    __table_args__ = (
        UniqueConstraint("session_id", "trial_index"),
        _one_of("kind", KINDS),
        _one_of("real_side", _SIDES),
        Index(None, "pair_id", "kind"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    session_id: Mapped[int] = mapped_column(ForeignKey("sessions.id"))
    trial_index: Mapped[int]
    kind: Mapped[str] = mapped_column(String(16))
    pair_id: Mapped[int] = mapped_column(ForeignKey("pairs.id"))
    real_side: Mapped[str] = mapped_column(String(8))
    exposure_ms: Mapped[int | None]
    block: Mapped[int] = mapped_column(default=0, server_default="0")
    repeat_of: Mapped[int | None]

    session: Mapped[Session] = relationship()
    pair: Mapped[Pair] = relationship()
    response: Mapped["Response | None"] = relationship(back_populates="trial")


class Response(Table):
    """The answer to a trial: the first one counts, and there is never a second.

    Times are the browser's frame clock's, in milliseconds; ``picture_width_px`` is in CSS pixels. ``presentations``: how often the trial was shown, more than
    once after a reload. ``focus_lost``: the page was hidden or lost the focus while the pictures were there.
    """

    __tablename__ = "responses"
    __table_args__ = (_one_of("chosen_side", _SIDES),)

    id: Mapped[int] = mapped_column(primary_key=True)
    trial_id: Mapped[int] = mapped_column(ForeignKey("trials.id"), unique=True)
    chosen_side: Mapped[str] = mapped_column(String(8))
    rt_ms: Mapped[int]
    exposure_measured_ms: Mapped[float | None]
    exposure_second_measured_ms: Mapped[float | None]
    late_frames: Mapped[int | None]
    frame_interval_ms: Mapped[float | None]
    picture_width_px: Mapped[float | None]
    focus_lost: Mapped[bool | None]
    presentations: Mapped[int | None]
    input_method: Mapped[str | None] = mapped_column(String(16))
    presented_at: Mapped[datetime] = mapped_column(UTCDateTime)
    answered_at: Mapped[datetime] = mapped_column(UTCDateTime)

    trial: Mapped[Trial] = relationship(back_populates="response")
