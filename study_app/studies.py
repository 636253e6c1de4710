"""Studies: a study.toml and its pair sets in, a frozen study out."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Engine, Pool, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session as DatabaseSession
from sqlalchemy.orm import object_session

from protocol import InputError
from protocol.design import StudyDesign, canonical_sha256, read_design
from protocol.pairset import PairSet, PairSetError, manifest_bytes, read_pairset, sha256_hex
from protocol.place import Place, is_remote
from study_app.assignment import CATCH, AvailablePair, draw_trials
from study_app.db import reading, writing
from study_app.stopping import why_not_open
from study_app.store import AT_ONCE, check_store, has_image, put_image
from study_app.tables import PREVIEW, Condition, Image, Pair, Participant, Refusal, Response, Session, Study, Trial


class StudyError(InputError):
    """A study that does not exist, exists already, or is closed."""


@dataclass(frozen=True)
class StudyProgress:
    """How far a study is, for people and for ``--json``; counts are by origin. ``completed`` are complete and valid.

    ``state`` is open, closed (by hand), ended (its time is over) or full.
    """

    name: str
    title: str
    state: str
    conditions: dict[str, int]
    created_at: datetime
    started: dict[str, int]
    completed: dict[str, int]
    outcomes: dict[str, dict[str, int]]
    refusals: int
    responses: int


def create_study(
    engine: Engine, store: Place, path: Path, look: Callable[[str, Place, StudyDesign], object] = lambda *_: None
) -> StudyDesign:
    """Check a study.toml and its pair sets, copy the pictures into the store, and freeze all of it.

    ``look`` is called with each condition and its pair set once they fit, before anything is stored.

    Raises:
        DesignError, PairSetError, AssignmentError: if something does not fit; then nothing is stored in the database.
        StudyError: if there is a study of that name.
        StoreError: if the store cannot be used.
    """
    design = read_design(path)
    with reading(engine) as db:
        if db.scalar(select(Study.id).where(Study.name == design.name)):
            raise StudyError(_name_taken(path, design.name))
    check_store(store)
    addresses = dict(design.conditions)
    if design.catch is not None and design.trials.catch:
        addresses[CATCH] = design.catch.pairset
    places = {
        name: Place(address if is_remote(address) else path.parent / address) for name, address in addresses.items()
    }
    pairsets = {}
    for name, place in places.items():
        try:
            pairsets[name] = read_pairset(place)
        except PairSetError as error:
            raise PairSetError(f"condition {name}: {error}") from error
    _check_sizes(pairsets)
    _check_feasible(design, pairsets)
    for name in design.conditions:
        look(name, places[name], design)
    manifests = {name: manifest_bytes(place).decode() for name, place in places.items()}
    _keep_pictures(store, places, pairsets)
    try:
        with writing(engine) as db:
            _insert(db, design, manifests, pairsets)
    except IntegrityError as error:
        raise StudyError(_name_taken(path, design.name)) from error
    return design


def _name_taken(path: Path, name: str) -> str:
    return f"{path}: a study {name!r} exists already and a running study never changes; give the new one another name"


def _check_sizes(pairsets: dict[str, PairSet]) -> None:
    sizes = {name: pairset.image_size for name, pairset in pairsets.items()}
    if len(set(sizes.values())) > 1:
        shown = ", ".join(f"{name} {width}x{height}" for name, (width, height) in sizes.items())
        raise PairSetError(f"the conditions' pictures differ in size ({shown}); make the pair sets with one size")


def _check_feasible(design: StudyDesign, pairsets: dict[str, PairSet]) -> None:
    """Draw once for every condition a participant may be given, so that a shortage shows now and not at a participant."""
    pairs = [
        AvailablePair(i, name, pair.photo_sha256)
        for name, pairset in pairsets.items()
        for i, pair in enumerate(pairset.pairs)
    ]
    if design.assignment.conditions == "within":
        draw_trials(design, pairs, seed=0)
        return
    for name in design.conditions:
        alone = design.model_copy(update={"conditions": {name: ""}})
        draw_trials(alone, [pair for pair in pairs if pair.condition in (name, CATCH)], seed=0)


def _keep_pictures(store: Place, places: dict[str, Place], pairsets: dict[str, PairSet]) -> None:
    """Copy the pictures that the store lacks; one shared by conditions once."""
    files = {
        file.sha256: (places[name], file.file)
        for name, pairset in pairsets.items()
        for pair in pairset.pairs
        for file in (pair.real, pair.fake)
    }

    def keep(sha256: str) -> None:
        if not has_image(store, sha256):
            place, file = files[sha256]
            put_image(store, place.read(file))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(keep, files))


def _insert(db: DatabaseSession, design: StudyDesign, manifests: dict[str, str], pairsets: dict[str, PairSet]) -> None:
    study = Study(
        name=design.name,
        design=design.model_dump(mode="json"),
        design_sha256=canonical_sha256(design),
        plan_sha256=canonical_sha256(design.analysis),
        created_at=datetime.now(UTC),
    )
    db.add(study)
    images: dict[str, Image] = {}

    def image(sha256: str) -> Image:
        if sha256 not in images:
            row = db.scalar(select(Image).where(Image.sha256 == sha256))
            images[sha256] = row or Image(sha256=sha256)
        return images[sha256]

    for position, (name, pairset) in enumerate(pairsets.items()):
        condition = Condition(
            study=study,
            position=position,
            name=name,
            role="catch" if name == CATCH else "condition",
            manifest=manifests[name],
            manifest_sha256=sha256_hex(manifests[name].encode()),
        )
        db.add(condition)
        for pair in pairset.pairs:
            db.add(
                Pair(
                    condition=condition,
                    pair=pair.id,
                    photo_sha256=pair.photo_sha256,
                    real_image=image(pair.real.sha256),
                    fake_image=image(pair.fake.sha256),
                )
            )


def find_study(db: DatabaseSession, name: str) -> Study:
    """The study of that name.

    Raises:
        StudyError: naming the studies there are.
    """
    study = db.scalar(select(Study).where(Study.name == name))
    if study is None:
        names = list(db.scalars(select(Study.name).order_by(Study.name)))
        there = f"there are {', '.join(names)}" if names else "there is none yet; make one with 'realism study create'"
        raise StudyError(f"there is no study {name!r}; {there}")
    return study


def open_designs(db: DatabaseSession) -> list[StudyDesign]:
    """The designs of the studies that take participants."""
    now = datetime.now(UTC)
    found = [(study, design_of(study)) for study in db.scalars(select(Study).order_by(Study.id))]
    return [design for study, design in found if why_not_open(db, study, design, now) is None]


# Checking a design takes milliseconds, and it never changes. By database (its pool), then by the study's id and the
# design's hash; the hash alone would not do, for it is the same in whatever order the conditions stand.
_designs: WeakKeyDictionary[Pool, dict[tuple[int, str], StudyDesign]] = WeakKeyDictionary()


def design_of(study: Study) -> StudyDesign:
    db = object_session(study)
    if db is None:
        return StudyDesign.model_validate(study.design)
    return design_at_hand(db.get_bind().engine, study.id, study.design_sha256, lambda: study.design)


def design_at_hand(engine: Engine, study_id: int, sha256: str, stored: Callable[[], dict[str, Any]]) -> StudyDesign:
    """The design of a study in a database; it is asked for as ``stored`` unless this process has it at hand."""
    at_hand = _designs.get(engine.pool)
    if at_hand is None:
        at_hand = _designs[engine.pool] = {}
    design = at_hand.get((study_id, sha256))
    if design is None:
        design = at_hand[study_id, sha256] = StudyDesign.model_validate(stored())
    return design


def close_study(engine: Engine, name: str) -> bool:
    """Take no more participants; those at work may finish. False if it was closed before."""
    with writing(engine) as db:
        study = find_study(db, name)
        if study.closed_at is not None:
            return False
        study.closed_at = datetime.now(UTC)
        return True


def study_progress(db: DatabaseSession, study: Study) -> StudyProgress:
    design = design_of(study)
    pairs = db.execute(
        select(Condition.name, func.count(Pair.id))
        .join(Pair, Pair.condition_id == Condition.id)
        .where(Condition.study_id == study.id, Condition.role == "condition")
        .group_by(Condition.name, Condition.position)
        .order_by(Condition.position)
    )
    conditions = dict(pairs.all())
    started: Counter[str] = Counter()
    outcomes: dict[str, dict[str, int]] = {}
    counts = db.execute(
        select(Participant.origin, Session.outcome, func.count(Session.id))
        .join(Participant, Session.participant_id == Participant.id)
        .where(Session.study_id == study.id, Participant.origin != PREVIEW)
        .group_by(Participant.origin, Session.outcome)
        .order_by(Participant.origin, Session.outcome)
    )
    for origin, outcome, n in counts:
        started[origin] += n
        ended = outcomes.setdefault(origin, {})
        if outcome is not None:
            ended[outcome] = n
    responses = db.scalar(
        select(func.count(Response.id))
        .join(Trial)
        .join(Session)
        .join(Participant, Session.participant_id == Participant.id)
        .where(Session.study_id == study.id, Participant.origin != PREVIEW)
    )
    return StudyProgress(
        name=study.name,
        title=design.told(design.title, "en"),
        state=why_not_open(db, study, design, datetime.now(UTC)) or "open",
        conditions=conditions,
        created_at=study.created_at,
        started=dict(started),
        completed={origin: ended.get("completed", 0) for origin, ended in outcomes.items()},
        outcomes=outcomes,
        refusals=db.scalar(select(func.count(Refusal.id)).where(Refusal.study_id == study.id)) or 0,
        responses=responses or 0,
    )
