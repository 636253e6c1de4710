"""The section ``[analysis]`` of a study.toml: the plan that a study freezes before anybody has answered."""

from typing import Annotated, Any

from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from protocol.sections import Section


def _or_say(sentence: str) -> WrapValidator:
    """What to give, in place of pydantic's words, where a value is not taken."""

    def check(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
        try:
            return validate(value)
        except ValidationError as error:
            raise ValueError(sentence) from error

    return WrapValidator(check)


YesNo = Annotated[bool, _or_say("give true or false")]
ShareBelow1 = Annotated[float, Field(ge=0, lt=1), _or_say("give a share from 0 to below 1")]


class Analysis(Section):
    """The plan, fixed beforehand: the intervals' level, and which sessions do not count. None or false: criterion not used.

    Shares are of the main trials answered. ``max_catch_missed`` takes the place of ``[catch] max_missed`` in the analysis.
    ``equivalence_margin``: a fool rate this close to one half, as a fraction, counts as equal to it.
    """

    level: Annotated[float, Field(gt=0.5, le=0.9999), _or_say("give a fraction above 0.5, at most 0.9999")] = 0.95
    seed: Annotated[int, Field(ge=0), _or_say("give a whole number, 0 or more")] = 1
    equivalence_margin: Annotated[float, Field(gt=0, lt=0.5), _or_say("give a fraction between 0 and 0.5")] = 0.05
    exclude_unfinished: YesNo = False
    min_median_rt_ms: Annotated[float, Field(gt=0), _or_say("give milliseconds, more than 0")] | None = None
    max_one_side: Annotated[float, Field(gt=0.5, le=1), _or_say("give a share above 0.5, at most 1")] | None = None
    max_catch_missed: Annotated[int, Field(ge=0, le=200), _or_say("give a whole number from 0 to 200")] | None = None
    exclude_colour_vision: YesNo = False
    max_focus_lost: ShareBelow1 | None = None
    max_late: ShareBelow1 | None = None
