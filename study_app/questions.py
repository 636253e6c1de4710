"""Questions beside the trials: the fields of a form in, the answers to be stored and what is wrong with the others out."""

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Literal

from protocol.sections import Question

Value = str | int | float | list[str]
# Why an answer cannot be stored; the page has the words.
Problem = Literal["missing", "unknown", "number", "range", "length"]

Fields = Mapping[str, Sequence[str]]

# What a browser sends for a number, "1e3" included; float() alone would also read "nan", "1_000" and "inf".
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
LARGEST_WHOLE = 2**53  # a float beyond it stands for several whole numbers


class AnswerError(ValueError):
    """An answer that does not fit its question."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem = problem


def check_answers(questions: Mapping[str, Question], form: Fields) -> tuple[dict[str, Value], dict[str, Problem]]:
    """The answers by question, those left out aside, and the problems by question.

    A single choice is its option's key, a multiple choice the keys in the questions' order, a Likert answer the point.
    """
    values: dict[str, Value] = {}
    problems: dict[str, Problem] = {}
    for name, question in questions.items():
        given = [text for text in form.get(name, ()) if cleaned(text)]
        try:
            if given:
                values[name] = _value(question, given)
            elif question.required:
                problems[name] = "missing"
        except AnswerError as error:
            problems[name] = error.problem
    return values, problems


def cleaned(text: str) -> str:
    """Typed text as it is stored: lines end alike, and no control characters, which no database takes."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(char for char in lines if char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cs")).strip()


def _value(question: Question, given: Sequence[str]) -> Value:
    options = question.options or {}
    if question.kind == "multiple":
        if not options.keys() >= set(given):
            raise AnswerError("unknown")
        return [option for option in options if option in given]
    if len(given) > 1:
        raise AnswerError("unknown")
    if question.kind == "single":
        if given[0] not in options:
            raise AnswerError("unknown")
        return given[0]
    if question.kind == "likert":
        points = {str(point): point for point in range(1, question.points + 1)}
        if given[0] not in points:
            raise AnswerError("unknown")
        return points[given[0]]
    return _number(question, given[0]) if question.kind == "number" else _text(question, given[0])


def _number(question: Question, given: str) -> int | float:
    if len(given) > 50 or not NUMBER.fullmatch(given.strip()) or not math.isfinite(number := float(given)):
        raise AnswerError("number")
    if (question.min is not None and number < question.min) or (question.max is not None and number > question.max):
        raise AnswerError("range")
    return int(number) if number.is_integer() and abs(number) <= LARGEST_WHOLE else number


def _text(question: Question, given: str) -> str:
    text = cleaned(given)
    if len(text) > question.max_length:
        raise AnswerError("length")
    return text
