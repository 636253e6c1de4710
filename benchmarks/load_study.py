"""The study that the load is on: made, filled with answers of before, and looked through for what was lost or doubled."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from load_client import Sitting
from PIL import Image
from sqlalchemy import Engine, func, select, text

from pairs.writing import About, Picture, write_pairset
from protocol.pairset import sha256_hex
from protocol.place import Place
from study_app.db import reading, writing
from study_app.studies import create_study
from study_app.tables import Condition, Pair, Response, Session, Trial

NAME = "load"
CONDITIONS = {"cgan": 0.5, "wgan": 0.25}
EACH = 50  # answers of one participant of before


def make_study(engine: Engine, folder: Path, store: Place, trials: int, pairs: int, size: int) -> str:
    """A study of two conditions within participants; its name. Its pair sets are made in ``folder``."""
    for condition, strength in CONDITIONS.items():
        if not (folder / condition).exists():
            write_pairset(folder / condition, _pictures(pairs, size, strength), _about(condition))
    design = {
        "name": NAME,
        "title": "Which spots are real?",
        "protocol": "zhang2016",
        "question": "real",  # so that the side clicked is the side stored
        "trials": {"practice": 0, "main": trials},
        "exposure": {"duration_ms": "unlimited"},
        "conditions": {condition: condition for condition in CONDITIONS},
        "assignment": {"conditions": "within"},
        "screen": {"check": False},
        "instructions": {"comprehension": False},
    }
    path = folder / "study.toml"
    path.write_text(tomli_w.dumps(design))
    return create_study(engine, store, path).name


def _pictures(n: int, size: int, strength: float) -> Iterator[Picture]:
    """Noisy slopes of colour, real, and with part of their colour, fake; the same photos in every condition."""
    for seed in range(n):
        rng = np.random.default_rng(seed)
        slope = np.linspace(rng.uniform(0, 100, 3), rng.uniform(100, 255, 3), size)
        noisy = slope + rng.normal(0, 8, (size, size, 3))
        real = Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
        yield Picture(
            sha256_hex(real.tobytes()), real, (Image.blend(real.convert("L").convert("RGB"), real, strength),)
        )


def _about(condition: str) -> About:
    generator: dict[str, Any] = {"name": condition, "checkpoint_sha256": None, "config": {}}
    return About(condition, generator, {"name": "slopes", "licence": "CC0", "split": "held-out"})


# The rows of participants who were there before, counted by a recursion that both databases know.
_COUNTED = "WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last}) "
_BEFORE = (
    (
        "participants",
        "INSERT INTO participants (id, study_id, public_id, origin, consent_sha256, consented_at) "
        "{counted} SELECT i, {study}, 'before' || i, 'human', '', '{now}' FROM n",
    ),
    (
        "sessions",
        "INSERT INTO sessions (id, study_id, participant_id, public_id, seed, started_at, completed_at, outcome) "
        "{counted} SELECT i, {study}, i, 'before' || i, i, '{now}', '{now}', 'completed' FROM n",
    ),
    (
        "trials",
        "INSERT INTO trials (id, session_id, trial_index, kind, pair_id, real_side) {counted} SELECT i, "
        "(i - 1) / {each} + 1, (i - 1) % {each}, 'main', {first_pair} + (i - 1) % {pairs}, "
        "CASE WHEN i % 2 = 0 THEN 'left' ELSE 'right' END FROM n",
    ),
    (
        "responses",
        "INSERT INTO responses (id, trial_id, chosen_side, rt_ms, presented_at, answered_at) "
        "{counted} SELECT i, i, 'left', 900, '{now}', '{now}' FROM n",
    ),
)


def fill(engine: Engine, answers: int) -> None:
    """Store that many answers of participants who were there before, in a study nobody has taken part in yet."""
    with writing(engine) as db:
        study = db.scalars(select(Condition.study_id)).first()
        first_pair, pairs = db.execute(select(func.min(Pair.id), func.count())).one()
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
        if engine.dialect.name == "postgresql":
            now += "+00"
        for table, statement in _BEFORE:
            rows = answers if table in ("trials", "responses") else -(-answers // EACH)
            counted = _COUNTED.format(first=1, last=rows)
            values = {"study": study, "now": now, "each": EACH, "first_pair": first_pair, "pairs": pairs}
            db.execute(text(statement.format(counted=counted, **values)))
            if engine.dialect.name == "postgresql":
                db.execute(text(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), {rows})"))
        db.execute(text("ANALYZE"))


def find_losses(engine: Engine, sittings: Sequence[Sitting]) -> list[str]:
    """What differs between the answers that were acknowledged and those that are stored; nothing, if all is well."""
    columns = (Session.public_id, Trial.trial_index, Response.chosen_side, Response.rt_ms)
    ids = [sitting.public_id for sitting in sittings]
    with reading(engine) as db:
        rows = db.execute(
            select(*columns)
            .select_from(Response)
            .join(Trial, Response.trial_id == Trial.id)
            .join(Session, Trial.session_id == Session.id)
            .where(Session.public_id.in_(ids))
        ).all()
    stored: dict[tuple[str, int], list[tuple[str, int]]] = {}
    for public_id, index, side, rt_ms in rows:
        stored.setdefault((public_id, index), []).append((side, rt_ms))
    problems = []
    for sitting in sittings:
        for index, sent in sitting.acknowledged.items():
            found = stored.pop((sitting.public_id, index), [])
            if found != [sent]:
                problems.append(f"{sitting.public_id}, trial {index}: {sent} was acknowledged, {found} is stored")
    problems += [
        f"{public_id}, trial {index}: {found} was never acknowledged" for (public_id, index), found in stored.items()
    ]
    return problems


def unevenness(engine: Engine) -> int:
    """How many more trials showed the pair used most than the one used least."""
    with reading(engine) as db:
        counts = db.execute(select(Pair.id, func.count(Trial.id)).outerjoin(Trial).group_by(Pair.id)).all()
    uses = dict(counts).values()
    return max(uses) - min(uses)
