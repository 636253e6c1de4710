"""What a simulated participant gives at the steps beside the trials: a design and a step in, the fields of its form out.

Answers to questions are drawn at random; everything else is as it should be, so that nobody is sent away here.
"""

import json
import math

import numpy as np

from protocol.design import StudyDesign
from protocol.sections import Question, Screen
from study_app.colour_screening import session_plates
from study_app.comprehension import right_option

Form = dict[str, str | list[str]]


def fill_form(step: str, design: StudyDesign, session_seed: int, rng: np.random.Generator) -> Form:
    """The fields of a step's form, as a browser would send them."""
    if step in ("questions", "questions_after"):
        when = "after" if step == "questions_after" else "before"
        asked = {name: question for name, question in design.questions.items() if question.when == when}
        return {name: _answer(question, rng) for name, question in asked.items()}
    if step == "screen":
        return {"measured": json.dumps(_screen(design.screen))}
    if step == "colour_vision" and design.colour_vision is not None:
        plates = session_plates(session_seed, design.colour_vision)
        return {f"plate{i}": plate.digit for i, plate in enumerate(plates)}
    if step == "instructions":
        return {"choice": right_option(design), "attempt": "0"}
    return {}


def _answer(question: Question, rng: np.random.Generator) -> str | list[str]:
    options = list(question.options or {})
    if question.kind == "single":
        return str(rng.choice(options))
    if question.kind == "multiple":
        return sorted(rng.choice(options, rng.integers(1, len(options) + 1), replace=False).tolist())
    if question.kind == "likert":
        return str(rng.integers(1, question.points + 1))
    if question.kind == "text":
        return "simulated"[: question.max_length]
    low = question.min if question.min is not None else min(18.0, question.max or 18.0)
    high = question.max if question.max is not None else max(80.0, low)
    number = rng.uniform(low, high)
    return str(math.floor(number) if math.floor(number) >= low else number)


def _screen(screen: Screen) -> dict[str, object]:
    width, height = max(1280, screen.min_width_px), max(720, screen.min_height_px)
    return {
        "width_px": width,
        "height_px": height,
        "screen_width_px": width,
        "screen_height_px": height,
        "device_pixel_ratio": 1.0,
        "frame_interval_ms": 16.67,
        "gamut": "srgb" if screen.gamut == "any" else screen.gamut,
        "colour_bits": 24,
        "prefers_dark": False,
        "forced_colours": False,
        "reduced_motion": False,
        "pointer": "fine",
        "browser": "other",
    }
