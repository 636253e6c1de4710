"""The screening for colour vision: a session's seed in, its plates out; a form of answers in, what is stored of it out."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from protocol.sections import ColourVision
from study_app.plates import Plate, draw_plates, is_read
from study_app.questions import Fields, cleaned

LONGEST = 20  # characters of an answer
SEED_OF_PLATES = 1  # beside the session's seed: other random numbers than the trials'


def session_plates(session_seed: int, section: ColourVision) -> list[Plate]:
    seed = np.random.SeedSequence([session_seed, SEED_OF_PLATES]).generate_state(1, np.uint64)[0]
    return draw_plates(section.plates, int(seed))


def read_plates(form: Fields, n: int) -> tuple[list[str], list[int]]:
    """What was typed for each of ``n`` plates, "" for no number, and which plates have no answer.

    Plate 0 has the fields ``plate0`` and, for no number, ``none0``.
    """
    answers, missing = [], []
    for i in range(n):
        answer = cleaned(next(iter(form.get(f"plate{i}", ())), ""))[:LONGEST]
        if not answer and f"none{i}" not in form:
            missing.append(i)
        answers.append(answer)
    return answers, missing


def judged(plates: Sequence[Plate], answers: Sequence[str], section: ColourVision) -> dict[str, Any]:
    """What is stored: how many were read, whether these are enough, and each plate with its answer."""
    correct = sum(is_read(plate, answer) for plate, answer in zip(plates, answers, strict=True))
    return {
        "correct": correct,
        "passed": correct >= section.min_correct,
        **{
            f"plate_{i}": {"axis": plate.axis, "number": plate.digit, "answer": answer}
            for i, (plate, answer) in enumerate(zip(plates, answers, strict=True), start=1)
        },
    }
