"""A study's design: ``study.toml`` in, a frozen StudyDesign out; and its canonical JSON, whose hash is kept."""

import difflib
import hashlib
import json
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator

from protocol import InputError

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]

FolderPath = Annotated[str, StringConstraints(pattern=r"^[^\x00]+$")]

# What a protocol fixes; a study.toml may differ from it key by key.
PROTOCOLS: dict[str, dict[str, Any]] = {
    # Zhang, Isola & Efros 2016, sec. 3.1: two pictures, 1 s, click the fake; 10 practice with feedback + 40.
    "zhang2016": {"question": "fake", "trials": {"practice": 10, "main": 40}, "exposure": {"duration_ms": 1000}},
    # Isola, Zhu, Zhou & Efros 2017, sec. 3.2: as Zhang 2016.
    "pix2pix2017": {"question": "fake", "trials": {"practice": 10, "main": 40}, "exposure": {"duration_ms": 1000}},
    # Zhu, Park, Isola & Efros 2017, sec. 5.1.1: the same, asking for the real one.
    "cyclegan2017": {"question": "real", "trials": {"practice": 10, "main": 40}, "exposure": {"duration_ms": 1000}},
}
DEFAULT_PROTOCOL = "zhang2016"

DEFAULT_CONSENT = """\
You are invited to take part in a study of how realistic computer-made pictures look. You will see pairs of pictures
and say which one is which. There is no risk beyond that of looking at a screen.

Taking part is voluntary. You may stop at any time by closing the page, without giving a reason.

We store your choices and how long each took, under a random number. We do not ask for your name and do not store
your network address."""


class DesignError(InputError):
    """A study.toml that cannot be read or does not describe a study."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Trials(_Section):
    """How many trials one participant sees. ``main`` is the total over all conditions that the participant sees."""

    practice: Annotated[int, Field(ge=0, le=200)]
    main: Annotated[int, Field(ge=1, le=2000)]


class Exposure(_Section):
    """How long the pictures stay, in milliseconds; "unlimited": until the answer."""

    duration_ms: int | Literal["unlimited"]

    @field_validator("duration_ms", mode="before")
    @classmethod
    def _whole_milliseconds(cls, value: Any) -> Any:
        if value == "unlimited" or (type(value) is int and 16 <= value <= 60_000):
            return value
        raise ValueError('give whole milliseconds from 16 to 60000, or "unlimited"')


class Assignment(_Section):
    """``within``: everyone sees every condition, equally often. ``between``: everyone sees one."""

    conditions: Literal["within", "between"] = "within"


class Analysis(_Section):
    """The plan, fixed beforehand: the interval's level, and which sessions do not count. None: criterion not used."""

    level: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    seed: int = 1
    exclude_unfinished: bool = False
    min_median_rt_ms: Annotated[float, Field(gt=0)] | None = None
    max_one_side: Annotated[float, Field(gt=0.5, le=1)] | None = None


class PairChecks(_Section):
    """Give-aways, by name, that 'realism pairs check' may find in the study's pair sets: known, and accepted."""

    accept: tuple[str, ...] = ()

    @field_validator("accept", mode="before")
    @classmethod
    def _as_tuple(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value


class StudyDesign(_Section):
    name: Name
    title: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
    protocol: str = DEFAULT_PROTOCOL
    question: Literal["real", "fake"]
    description: str = ""
    consent: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)] = DEFAULT_CONSENT
    trials: Trials
    exposure: Exposure
    conditions: Annotated[dict[Name, FolderPath], Field(min_length=1)]
    pairs: PairChecks = PairChecks()
    assignment: Assignment = Assignment()
    analysis: Analysis = Analysis()

    @model_validator(mode="after")
    def _conditions_share_the_trials(self) -> "StudyDesign":
        if self.assignment.conditions == "within" and self.trials.main % len(self.conditions):
            raise ValueError(
                f"trials.main is {self.trials.main}, which {len(self.conditions)} conditions cannot share equally; "
                f"make it a multiple of {len(self.conditions)}"
            )
        return self

    @property
    def exposure_ms(self) -> int | None:
        """Planned exposure in milliseconds; None: until the answer."""
        duration = self.exposure.duration_ms
        return None if duration == "unlimited" else duration


def canonical_json(section: BaseModel) -> str:
    """The one spelling of a section that is hashed: sorted keys, no spaces, UTF-8."""
    return json.dumps(section.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def canonical_sha256(section: BaseModel) -> str:
    return hashlib.sha256(canonical_json(section).encode()).hexdigest()


def read_design(path: Path) -> StudyDesign:
    """The design in a study.toml.

    Raises:
        DesignError: naming the key, what was found, and the nearest known key where one is unknown.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DesignError(f"{path} cannot be read ({error.strerror}); give the path of a study.toml") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DesignError(f"{path} is not TOML ({error}); correct that line") from error
    return parse_design(raw, str(path))


def parse_design(raw: dict[str, Any], where: str) -> StudyDesign:
    """A design from the content of a study.toml, its protocol's values filled in; ``where`` names it in errors."""
    protocol = raw.get("protocol", DEFAULT_PROTOCOL)
    if not isinstance(protocol, str) or protocol not in PROTOCOLS:
        raise DesignError(f"{where}: protocol is {protocol!r}{_nearest(str(protocol), PROTOCOLS)}")
    filled = dict(raw)
    for key, value in PROTOCOLS[protocol].items():
        given = raw.get(key, {} if isinstance(value, dict) else value)
        filled[key] = {**value, **given} if isinstance(value, dict) and isinstance(given, dict) else given
    if "name" not in filled and isinstance(raw.get("title"), str):
        filled["name"] = re.sub(r"[^a-z0-9]+", "-", raw["title"].lower()).strip("-")[:64]
        if not filled["name"]:
            raise DesignError(f"{where}: name is missing, and the title gives none in a-z and 0-9; add a name")
    try:
        return StudyDesign.model_validate(filled)
    except ValidationError as error:
        raise DesignError(f"{where}: {_first_problem(error)}") from error


def _first_problem(error: ValidationError) -> str:
    # An unknown key is usually the cause of a missing one, so it is told first.
    problems = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    first = problems[0]
    parts = [str(part) for part in first["loc"] if part != "[key]"]
    key = ".".join(parts)
    if first["type"] == "extra_forbidden":
        return f"unknown key {key!r}{_nearest(parts[-1], _known_keys(parts[:-1]))}"
    if first["type"] == "missing":
        return f"{key} is missing; add it"
    message = first["msg"].removeprefix("Value error, ")
    return f"{key}: {message} (found {first['input']!r:.80})" if key else message


def _known_keys(parents: list[str]) -> list[str]:
    model: type[BaseModel] = StudyDesign
    for parent in parents:
        annotation = model.model_fields[parent].annotation
        candidates = (annotation, *get_args(annotation))
        model = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return list(model.model_fields)


def _nearest(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(sorted(known))}"
