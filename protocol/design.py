"""A study's design: ``study.toml`` in, a frozen StudyDesign out; and its canonical JSON, whose hash is kept."""

import difflib
import hashlib
import json
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, Field, ValidationError, model_validator

from protocol import InputError
from protocol.analysis_plan import Analysis
from protocol.presets import DEFAULT_PRESET, PRESETS
from protocol.sections import (
    WRITTEN,
    Assignment,
    Catch,
    ColourVision,
    Debriefing,
    Exposure,
    FolderPath,
    Instructions,
    Languages,
    Name,
    PairChecks,
    Qualification,
    Question,
    Recruitment,
    Screen,
    Section,
    Staircase,
    Stopping,
    Trials,
)
from protocol.texts import DEFAULT_CONSENT, Text, in_language, texts_of

# The two words for where the real picture is; for one picture, what was shown and what was said.
SIDES: dict[str, tuple[str, str]] = {
    "side_by_side": ("left", "right"),
    "sequential": ("first", "second"),
    "single": ("real", "fake"),
}


class DesignError(InputError):
    """A study.toml that cannot be read or does not describe a study."""


class StudyDesign(Section):
    name: Name
    title: Text
    protocol: str = DEFAULT_PRESET
    languages: Languages = ("en",)
    task: Literal["2afc", "yes_no"] = "2afc"
    presentation: Literal["side_by_side", "sequential"] = "side_by_side"
    question: Literal["real", "fake"]
    description: Annotated[Text | None, BeforeValidator(lambda given: given or None)] = None
    consent: Text = Field(default_factory=lambda: DEFAULT_CONSENT)
    trials: Trials
    exposure: Exposure
    staircase: Staircase | None = None
    conditions: Annotated[dict[Name, FolderPath], Field(min_length=1)]
    catch: Catch | None = None
    pairs: PairChecks = PairChecks()
    assignment: Assignment = Assignment()
    qualification: Qualification | None = None
    questions: dict[Name, Question] = Field(default_factory=dict)
    screen: Screen = Screen()
    colour_vision: ColourVision | None = None
    instructions: Instructions = Instructions()
    debriefing: Debriefing = Debriefing()
    recruitment: Recruitment = Recruitment()
    stopping: Stopping = Stopping()
    analysis: Analysis = Analysis()

    @model_validator(mode="after")
    def _conditions_share_the_trials(self) -> "StudyDesign":
        n = len(self.conditions) if self.assignment.conditions == "within" else 1
        blocks = self.trials.blocks
        if self.trials.main % (n * blocks):
            parts = " of ".join([f"{blocks} blocks"] * (blocks > 1) + [f"{n} conditions"] * (n > 1))
            raise ValueError(
                f"trials.main is {self.trials.main}, which {parts} cannot share equally; make it a multiple of {n * blocks}"
            )
        return self

    @model_validator(mode="after")
    def _trials_can_be_mixed(self) -> "StudyDesign":
        trials = self.trials
        if trials.repeat > trials.main // 2:
            raise ValueError(
                f"trials.repeat is {trials.repeat} of {trials.main} main trials; repeat half of them at most"
            )
        if trials.catch > (trials.main + trials.repeat) // 2:
            raise ValueError(
                f"trials.catch is {trials.catch} beside {trials.main + trials.repeat} others; they never stand side by "
                f"side, so give half as many at most"
            )
        if bool(trials.catch) != (self.catch is not None):
            raise ValueError(
                'trials.catch and pairs with an obvious answer, [catch] pairset = "…", come together; give both or neither'
            )
        if self.catch and self.catch.max_missed is not None and self.catch.max_missed >= trials.catch:
            raise ValueError(
                f"catch.max_missed is {self.catch.max_missed} of {trials.catch} catch trials, which nobody exceeds; lower it"
            )
        return self

    @model_validator(mode="after")
    def _sections_fit_each_other(self) -> "StudyDesign":
        if (self.exposure.duration_ms == "adaptive") != (self.staircase is not None):
            raise ValueError('exposure.duration_ms = "adaptive" and a [staircase] come together; give both or neither')
        if self.staircase and self.stopping.half_width is not None:
            raise ValueError(
                "stopping.half_width: an adaptive exposure holds every fool rate alike, so its width says nothing; leave it "
                "out, and stop by stopping.participants"
            )
        if "catch" in self.conditions:
            raise ValueError("a condition is called 'catch', as catch trials are in the response table; rename it")
        if self.exposure.mask_ms and self.exposure.duration_ms == "unlimited":
            raise ValueError("exposure.mask_ms: nothing follows pictures that stay until the answer; set mask_ms = 0")
        strict = self.instructions.max_attempts or (self.catch and self.catch.max_missed is not None)
        if strict and self.recruitment.source == "prolific" and self.recruitment.failed_checks is None:
            raise ValueError(
                "whoever fails the checks needs a code that Prolific knows; add recruitment.failed_checks, or leave out "
                "catch.max_missed and instructions.max_attempts"
            )
        if self.qualification and not self.trials.practice:
            raise ValueError("a qualification is decided by practice trials; give trials.practice")
        if self.analysis.exclude_colour_vision and self.colour_vision is None:
            raise ValueError(
                "analysis.exclude_colour_vision needs the plates that screen for it; add [colour_vision], or leave it out"
            )
        if (limit := self.analysis.max_catch_missed) is not None and limit >= self.trials.catch:
            raise ValueError(
                f"analysis.max_catch_missed is {limit} of {self.trials.catch} catch trials, which nobody exceeds; "
                "lower it, or leave it out"
            )
        if self.analysis.max_late is not None and self.exposure.duration_ms == "unlimited":
            raise ValueError("analysis.max_late: pictures that stay until the answer have no late frames; leave it out")
        for quota in self.stopping.quotas:
            question = self.questions.get(quota.question)
            if question is None or question.kind != "single" or question.when == "after":
                raise ValueError(f"stopping.quotas: {quota.question!r} is no single choice asked before the trials")
            if quota.answer not in (question.options or {}):
                raise ValueError(f"stopping.quotas: {quota.answer!r} is no option of {quota.question!r}")
        for where, text in texts_of(self):
            missing = [language for language in self.languages if language not in text]
            if missing:
                raise ValueError(f"{where} has no text in {missing[0]!r}, one of the study's languages; add it")
        return self

    @property
    def exposure_ms(self) -> int | None:
        """Planned exposure of the first trial in milliseconds; None: until the answer."""
        if self.staircase is not None:
            return self.staircase.start_ms
        return self.exposure.duration_ms if isinstance(self.exposure.duration_ms, int) else None

    @property
    def layout(self) -> str:
        """How a trial looks: side_by_side, sequential, or single (one picture)."""
        return "single" if self.task == "yes_no" else self.presentation

    @property
    def sides(self) -> tuple[str, str]:
        """The two words of the response table's ``real_side`` and ``chosen_side``."""
        return SIDES[self.layout]

    @property
    def n_trials(self) -> int:
        """Trials of one participant, of every kind."""
        return self.trials.practice + self.trials.main + self.trials.catch + self.trials.repeat

    def told(self, text: str | dict[str, str], language: str) -> str:
        """A text of this study in that language, else in its first."""
        return in_language(text, language if language in self.languages else self.languages[0])


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
    return parse_design(read_toml(path), str(path))


def read_toml(path: Path, what: str = "study.toml") -> dict[str, Any]:
    """The content of a TOML file; ``what`` it should be is named in errors.

    Raises:
        DesignError: if it cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DesignError(f"{path} cannot be read ({error.strerror}); give the path of a {what}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DesignError(f"{path} is not TOML ({error}); correct that line") from error


def parse_design(raw: dict[str, Any], where: str) -> StudyDesign:
    """A design from the content of a study.toml, its protocol's values filled in; ``where`` names it in errors."""
    protocol = raw.get("protocol", DEFAULT_PRESET)
    if not isinstance(protocol, str) or protocol not in PRESETS:
        raise DesignError(f"{where}: protocol is {protocol!r}{_nearest(str(protocol), PRESETS)}")
    filled = _filled(raw, PRESETS[protocol].values())
    title = raw.get("title")
    if isinstance(title, dict):
        title = title.get("en")
    if "name" not in filled and isinstance(title, str):
        filled["name"] = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:64]
        if not filled["name"]:
            raise DesignError(f"{where}: name is missing, and the title gives none in a-z and 0-9; add a name")
    try:
        return StudyDesign.model_validate(filled)
    except ValidationError as error:
        raise DesignError(f"{where}: {_first_problem(error)}") from error


def parse_analysis(raw: Any, where: str) -> Analysis:
    """A plan from the content of an ``[analysis]`` table alone; ``where`` names it in errors.

    Raises:
        DesignError: as ``read_design``.
    """
    try:
        return Analysis.model_validate(raw)
    except ValidationError as error:
        raise DesignError(f"{where}: {_first_problem(error, 'analysis')}") from error


def _filled(raw: dict[str, Any], preset: dict[str, Any]) -> dict[str, Any]:
    """What the file says, over what its protocol says."""
    filled = dict(raw)
    for key, value in preset.items():
        given = raw.get(key, {} if isinstance(value, dict) else value)
        filled[key] = {**value, **given} if isinstance(value, dict) and isinstance(given, dict) else given
    exposure, trials = filled.get("exposure"), filled.get("trials")
    if isinstance(exposure, dict) and exposure.get("duration_ms") != "adaptive" and "staircase" not in raw:
        filled.pop("staircase", None)  # the study departs from an adaptive protocol
    if isinstance(trials, dict) and "catch" not in raw and "catch" not in raw.get("trials", {}):
        # Without pairs for it a study has no catch trials; the report says so where its protocol has some.
        filled["trials"] = {**trials, "catch": 0}
    return filled


def _first_problem(error: ValidationError, *within: str) -> str:
    """In one sentence; ``within`` is the section that was read, where it was not the whole design."""
    # An unknown key is usually the cause of a missing one, so it is told first.
    problems = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    first = problems[0]
    parts = [*within, *(str(part) for part in first["loc"] if part != "[key]")]
    key = ".".join(parts)
    if first["type"] == "extra_forbidden":
        return f"unknown key {key!r}{_nearest(parts[-1], _known_keys(parts[:-1]))}"
    if first["type"] == "missing":
        return f"{key} is missing; add it"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "string_pattern_mismatch":
        message = WRITTEN.get(first["ctx"]["pattern"], "is written in a way that is not taken")
    return f"{key}: {message} (found {first['input']!r:.80})" if key else message


def _known_keys(parents: list[str]) -> list[str]:
    model: type[BaseModel] = StudyDesign
    for parent in parents:
        if parent not in model.model_fields:  # a name that the user chose, such as a question's
            continue
        annotation = model.model_fields[parent].annotation
        candidates = (annotation, *get_args(annotation))
        model = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return list(model.model_fields)


def _nearest(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(sorted(known))}"
