"""The sections of a study.toml, one class each, frozen and checked."""

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from protocol.texts import Language, Text

NAME = r"^[a-z0-9][a-z0-9_-]{0,63}$"
CODE = r"^[A-Za-z0-9_-]{1,64}$"
ADDRESS = r"^https://[^\s<>\"]+$"
OPTION = r"^[^\r\n]*\S[^\r\n]*$"
# What these patterns ask for, in words.
WRITTEN = {
    NAME: "a name has 1 to 64 characters of a-z, 0-9, - and _, and begins with a letter or digit",
    CODE: "a code has 1 to 64 letters, digits, - and _",
    ADDRESS: "an address begins with https:// and has no spaces",
    OPTION: "an option is one line, and not empty",
}
Name = Annotated[str, StringConstraints(pattern=NAME)]
Code = Annotated[str, StringConstraints(pattern=CODE)]
FolderPath = Annotated[str, StringConstraints(pattern=r"^[^\x00]+$")]
Share = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Trials(Section):
    """How many trials one participant sees. ``main`` is the total over all conditions that the participant sees.

    Catch trials and repeats come on top of the main trials, among which they are mixed. ``blocks``: parts of the main
    trials, with a rest between them. ``feedback``: whether practice tells if an answer was right.
    """

    practice: Annotated[int, Field(ge=0, le=1000)]
    main: Annotated[int, Field(ge=1, le=2000)]
    catch: Annotated[int, Field(ge=0, le=200)] = 0
    repeat: Annotated[int, Field(ge=0, le=1000)] = 0
    blocks: Annotated[int, Field(ge=1, le=50)] = 1
    feedback: bool = True


class Exposure(Section):
    """How long the pictures stay, in milliseconds; "unlimited": until the answer; "adaptive": as the staircase says.

    ``between_ms`` is the empty time between the first and the second picture of a sequential trial. ``mask_ms`` is the
    time for which ``masks`` patterns follow the picture, one after the other.
    """

    duration_ms: int | Literal["unlimited", "adaptive"]
    fixation_ms: Annotated[int, Field(ge=0, le=5000)] = 400
    between_ms: Annotated[int, Field(ge=0, le=5000)] = 500
    mask_ms: Annotated[int, Field(ge=0, le=5000)] = 0
    masks: Annotated[int, Field(ge=1, le=20)] = 1

    @field_validator("duration_ms", mode="before")
    @classmethod
    def _whole_milliseconds(cls, value: Any) -> Any:
        if value in ("unlimited", "adaptive") or (type(value) is int and 16 <= value <= 60_000):
            return value
        raise ValueError('give whole milliseconds from 16 to 60000, "unlimited" or "adaptive"')


class Staircase(Section):
    """Weighted up-down (Kaernbach 1991): it settles where up_ms × P(wrong) = down_ms × P(right)."""

    start_ms: Annotated[int, Field(ge=16, le=60_000)] = 500
    min_ms: Annotated[int, Field(ge=16, le=60_000)] = 100
    max_ms: Annotated[int, Field(ge=16, le=60_000)] = 1000
    down_ms: Annotated[int, Field(ge=1, le=10_000)] = 10
    up_ms: Annotated[int, Field(ge=1, le=10_000)] = 30

    @model_validator(mode="after")
    def _start_lies_within(self) -> "Staircase":
        if not self.min_ms <= self.start_ms <= self.max_ms:
            raise ValueError(f"start_ms is {self.start_ms}, outside min_ms to max_ms; choose one between them")
        return self


class Assignment(Section):
    """``within``: everyone sees every condition, equally often. ``between``: everyone sees one."""

    conditions: Literal["within", "between"] = "within"


class Catch(Section):
    """Pairs with an obvious answer, such as ``realism pairs catch`` makes; missing more than ``max_missed`` fails the checks."""

    pairset: FolderPath
    max_missed: Annotated[int, Field(ge=0, le=200)] | None = None


class Qualification(Section):
    """The share of practice trials that must be right before the main trials begin."""

    min_correct: Share


class Question(Section):
    """A question beside the trials. ``options`` of a choice: the stored value and what is read, in order.

    ``min`` and ``max`` bound a number; a Likert scale has ``points``, the outer two named ``low`` and ``high``.
    """

    kind: Literal["single", "multiple", "number", "text", "likert"]
    label: Text
    options: dict[Annotated[str, StringConstraints(pattern=OPTION, max_length=100)], Text] | None = None
    min: float | None = None
    max: float | None = None
    points: Annotated[int, Field(ge=2, le=11)] = 7
    low: Text | None = None
    high: Text | None = None
    max_length: Annotated[int, Field(ge=1, le=10_000)] = 500
    required: bool = False
    when: Literal["before", "after"] = "before"

    @field_validator("options", mode="before")
    @classmethod
    def _list_of_words(cls, value: Any) -> Any:
        if isinstance(value, list) and all(isinstance(one, str) for one in value):
            if len(set(value)) < len(value):
                raise ValueError("two options are the same; remove one")
            return {one: one for one in value}
        return value

    @model_validator(mode="after")
    def _choices_have_options(self) -> "Question":
        if (self.kind in ("single", "multiple")) != bool(self.options):
            raise ValueError(
                "a choice needs options, such as options = ['yes', 'no']"
                if self.kind in ("single", "multiple")
                else f"a question of kind {self.kind} has no options; remove them"
            )
        if self.kind != "number" and (self.min is not None or self.max is not None):
            raise ValueError(f"min and max bound a number, and this is of kind {self.kind}; a Likert scale has points")
        if self.kind != "likert" and (self.low is not None or self.high is not None):
            raise ValueError(
                f"low and high name the ends of a Likert scale, and this is of kind {self.kind}; remove them"
            )
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}; exchange them")
        return self


class Screen(Section):
    """The check of the screen before the trials: the least room for the page, in CSS pixels, and the least colour gamut."""

    check: bool = True
    min_width_px: Annotated[int, Field(ge=200, le=10_000)] = 320
    min_height_px: Annotated[int, Field(ge=200, le=10_000)] = 400
    gamut: Literal["any", "srgb", "p3", "rec2020"] = "any"
    calibration: bool = False


class ColourVision(Section):
    """Pseudo-isochromatic plates; with fewer than ``min_correct`` read, ``exclude`` says whether the study ends there."""

    plates: Annotated[int, Field(ge=2, le=20)] = 6
    min_correct: Annotated[int, Field(ge=1, le=20)] = 5
    exclude: bool = False

    @model_validator(mode="after")
    def _can_be_read(self) -> "ColourVision":
        if self.min_correct > self.plates:
            raise ValueError(f"min_correct is {self.min_correct} of {self.plates} plates; ask for as many at most")
        return self


class Instructions(Section):
    """``text`` is read before the platform's own words. ``comprehension`` asks what is to be chosen.

    ``max_attempts`` wrong answers to it fail the checks; without it the question is asked until it is right.
    """

    text: Text | None = None
    comprehension: bool = True
    max_attempts: Annotated[int, Field(ge=1, le=20)] | None = None


class Debriefing(Section):
    text: Text | None = None
    show_score: bool = False


class Recruitment(Section):
    """Where participants come from, and where they go in the end.

    The three codes are what a service such as Prolific expects for each outcome; without them a code is drawn for each
    participant. ``completion_url`` is where SONA (or any panel) wants them back: {id} and {code} are filled in.
    """

    source: Literal["link", "invitation", "prolific", "mturk", "sona"] = "link"
    completed: Code | None = None
    screened_out: Code | None = None
    failed_checks: Code | None = None
    completion_url: Annotated[str, StringConstraints(pattern=ADDRESS, max_length=2000)] | None = None

    @model_validator(mode="after")
    def _source_has_what_it_needs(self) -> "Recruitment":
        if self.source == "prolific" and self.completed is None:
            raise ValueError('Prolific gives a completion code when a study is made there; add completed = "CODE"')
        unknown = set(re.findall(r"\{[^}]*\}", self.completion_url or "")) - {"{id}", "{code}"}
        if unknown:
            raise ValueError(
                f"completion_url: {min(unknown)} is nothing that can be filled in; {{id}} and {{code}} are"
            )
        if self.source == "sona" and "{id}" not in (self.completion_url or ""):
            raise ValueError(
                "SONA grants credit at an address of its own; add completion_url = "
                '"https://….sona-systems.com/webstudy_credit.aspx?experiment_id=…&credit_token=…&survey_code={id}"'
            )
        return self


class Quota(Section):
    """At most so many participants who give this answer."""

    question: Name
    answer: str
    participants: Count


def _as_moment(value: Any) -> Any:
    """RFC 3339, as in the file or as TOML's own moment."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        moment = None
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise ValueError("give a moment with its time zone, such as 2027-01-31T18:00:00Z")
    return moment.isoformat()


class Stopping(Section):
    """When a study takes no more people: at so many completed and valid ones, at a moment, or once every condition's
    confidence sequence lies within ``half_width`` (a fraction) of its middle; whichever comes first.
    """

    participants: Count | None = None
    half_width: Annotated[float, Field(ge=0.005, lt=0.5)] | None = None
    until: Annotated[str, BeforeValidator(_as_moment)] | None = None
    quotas: Annotated[tuple[Quota, ...], BeforeValidator(_as_tuple)] = ()


class PairChecks(Section):
    """Give-aways, by name, that 'realism pairs check' may find in the study's pair sets: known, and accepted."""

    accept: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = ()


def _once_each(languages: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(languages)) < len(languages):
        raise ValueError("a language is listed twice; remove one")
    return languages


Languages = Annotated[tuple[Language, ...], BeforeValidator(_as_tuple), Field(min_length=1), AfterValidator(_once_each)]
