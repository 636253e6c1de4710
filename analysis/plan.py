"""A study's frozen plan and what is changed now in; the plan that a report applies, and everything post hoc in it, out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protocol import InputError
from protocol.design import Analysis, parse_analysis, read_toml

NOT_FIXED = "not fixed"
_WORDS: dict[str, Any] = {"none": None, "true": True, "false": False}


class PlanError(InputError):
    """A plan, or a change of one, that cannot be applied."""


@dataclass(frozen=True)
class Change:
    """One setting, as words: ``here`` in place of what the plan had, ``frozen`` or only given; NOT_FIXED: it had nothing."""

    key: str
    frozen: str
    here: str


@dataclass(frozen=True)
class AppliedPlan:
    """What a report goes by: ``plan``, which is the one that the study froze (with its hash) after ``changes``.

    Where nothing was frozen (there was no study, or the plan was given with the answers), both are None.
    """

    plan: Analysis
    changes: tuple[Change, ...]
    frozen_sha256: str | None
    frozen: Analysis | None

    @property
    def is_frozen(self) -> bool:
        return self.frozen is not None


def apply_changes(
    frozen: Analysis, changes: Mapping[str, str], frozen_sha256: str | None = None, max_missed: int | None = None
) -> AppliedPlan:
    """The plan with some settings changed, each given as text; ``none`` unsets a criterion. No hash: no study froze it.

    A key that an older release did not know has its default, and counts as not fixed where that has an effect.
    ``max_missed`` is that of the design's ``[catch]``, which holds where the plan has no ``max_catch_missed``.

    Raises:
        PlanError: if a value is no value, or is what the plan says already.
        DesignError: if a key is unknown (the nearest is named) or the plan does not take its value.
    """
    values = {key: _value(key, text) for key, text in changes.items()}
    plan = parse_analysis({**frozen.model_dump(), **values}, "post hoc change")
    is_frozen = frozen_sha256 is not None
    found = []
    for key in Analysis.model_fields:
        here = getattr(plan, key)
        fixed = _fixed(frozen, key, max_missed)
        has_effect = here is not None and here is not False
        if here != getattr(frozen, key) or (is_frozen and fixed == NOT_FIXED and has_effect):
            found.append(Change(key, fixed, _told(here)))
        elif key in changes:
            raise PlanError(f"{key} is {_told(here)} in the plan already; leave the change {key}={changes[key]} out")
    return AppliedPlan(plan, tuple(found), frozen_sha256, frozen if is_frozen else None)


def _fixed(frozen: Analysis, key: str, max_missed: int | None) -> str:
    """What the plan says of it, in words."""
    value = getattr(frozen, key)
    if key == "max_catch_missed" and value is None and max_missed is not None:
        return f"{max_missed}, by [catch]"
    return _told(value) if key in frozen.model_fields_set else NOT_FIXED


def split_changes(texts: Iterable[str]) -> dict[str, str]:
    """KEY=VALUE texts by key.

    Raises:
        PlanError: if one is written otherwise, or a key comes twice.
    """
    changes: dict[str, str] = {}
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not (key and equals and value):
            raise PlanError(f"{text!r} is no change of the plan; write KEY=VALUE, such as max_one_side=0.9")
        if key in changes:
            raise PlanError(f"{key} is changed to {changes[key]} and to {value}; give it once")
        changes[key] = value
    return changes


def read_plan(path: Path) -> AppliedPlan:
    """The plan in the ``[analysis]`` table of a TOML file, for answers that come without a design: not a frozen one.

    Raises:
        PlanError: if the file has no such table.
        DesignError: as ``protocol.design.read_design``.
    """
    raw = read_toml(path, "TOML file with an [analysis] table")
    if not isinstance(raw.get("analysis"), dict):
        found = f"found {', '.join(raw)}" if raw else "it is empty"
        raise PlanError(f"{path} has no [analysis] table ({found}); write the criteria under [analysis]")
    return AppliedPlan(parse_analysis(raw["analysis"], str(path)), (), None, None)


def _value(key: str, text: str) -> Any:
    """What a text stands for, typed as TOML would; ``none`` is false where a key is yes or no."""
    word = text.strip().lower()
    if word in _WORDS:
        field = Analysis.model_fields.get(key)
        return False if word == "none" and field and field.default is False else _WORDS[word]
    for number in (int, float):
        try:
            return number(word)
        except ValueError:
            pass
    raise PlanError(f"{key}={text} gives no value; write a number, true, false or none")


def _told(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return next(word for word, meant in _WORDS.items() if meant is value)
    return f"{value:.10g}" if isinstance(value, float) else str(value)
