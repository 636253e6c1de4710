"""Simulated participants, who take the survey through its real HTTP interface: a running server in, stored answers out."""

import re
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

import numpy as np
import requests
from itsdangerous import URLSafeTimedSerializer
from sqlalchemy import Engine, select

from protocol.design import StudyDesign
from study_app.answers import side_taken_for_real
from study_app.db import reading
from study_app.entrance import TICKET, simulation_tokens
from study_app.observers import Observers, SimulationError, Truth, choose_side
from study_app.recruitment import SIMULATED
from study_app.sessions import find_session
from study_app.simulated_forms import fill_form
from study_app.studies import design_of, find_study, study_progress
from study_app.tables import Condition, Pair, Session, Trial

TIMEOUT_S = 60
AT_ONCE = 8
# Catch trials have an obvious answer: only who lapses, or sees too little, misses them.
OBVIOUS_LOGIT = -30.0


@dataclass(frozen=True)
class _Task:
    """The same for all participants of a simulation; ``token`` marks them as simulated."""

    engine: Engine
    design: StudyDesign
    base: str
    token: str
    truth: Truth
    observers: Observers


def study_pairs(engine: Engine, name: str) -> dict[str, list[str]]:
    """The pair ids of each condition of a study."""
    with reading(engine) as db:
        study = find_study(db, name)
        rows = db.execute(
            select(Condition.name, Pair.pair)
            .join(Pair, Pair.condition_id == Condition.id)
            .where(Condition.study_id == study.id, Condition.role == "condition")
            .order_by(Condition.position, Pair.id)
        )
        pairs: dict[str, list[str]] = {condition: [] for condition in design_of(study).conditions}
        for condition, pair in rows:
            pairs[condition].append(pair)
    return pairs


def is_adaptive(engine: Engine, name: str) -> bool:
    """Whether a staircase sets the study's exposure."""
    with reading(engine) as db:
        return design_of(find_study(db, name)).staircase is not None


def count_simulated(engine: Engine, name: str) -> int:
    """How many simulated participants the study has had."""
    with reading(engine) as db:
        return study_progress(db, find_study(db, name)).started.get("simulated", 0)


def simulate(
    engine: Engine,
    name: str,
    url: str,
    secret: str,
    truth: Truth,
    observers: Observers,
    n: int,
    rng: np.random.Generator,
    advance: Callable[[], None] = lambda: None,
) -> Counter[str]:
    """Send ``n`` participants through the survey at ``url``, some at the same time; how many ended with each outcome.

    ``advance`` is called after each.

    Raises:
        SimulationError: if the survey does not answer, or refuses.
    """
    with reading(engine) as db:
        design = design_of(find_study(db, name))
    base = urljoin(url.rstrip("/") + "/", f"study/{name}/")
    task = _Task(engine, design, base, simulation_tokens(secret).dumps(name), truth, observers)
    outcomes: Counter[str] = Counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures = [pool.submit(_take_part, task, child) for child in rng.spawn(n)]
        try:
            for future in as_completed(futures):
                outcomes[future.result()] += 1
                advance()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return outcomes


def _take_part(task: _Task, rng: np.random.Generator) -> str:
    """One participant, from consent to the end, fetching every picture as a browser does; how the session ended."""
    with requests.Session() as browser:
        form = _consent_form(_fetch(browser, "GET", task.base, params={SIMULATED: task.token}).text, task.base)
        page = _fetch(browser, "POST", urljoin(task.base, "start"), data=form)
        session = _find_session(task, _session_of(form))
        page = _take_steps(task, session, browser, page, rng)
        if page.url.endswith("/survey"):
            _answer_trials(task, session, browser, rng)
            page = _take_steps(task, session, browser, _fetch(browser, "GET", urljoin(task.base, "on")), rng)
        outcome = _find_session(task, session.public_id).outcome
        if outcome is None or not page.url.endswith("/done"):
            raise SimulationError(f"{page.url} is no end of the study; look at the server's log")
        return outcome


def _take_steps(
    task: _Task, session: Session, browser: requests.Session, page: requests.Response, rng: np.random.Generator
) -> requests.Response:
    """The page behind the steps that begin with ``page``."""
    while "/step/" in page.url:
        form = fill_form(page.url.rsplit("/", 1)[-1], task.design, session.seed, rng)
        page = _fetch(browser, "POST", page.url, data=form)
    return page


def _answer_trials(task: _Task, session: Session, browser: requests.Session, rng: np.random.Generator) -> None:
    spread = task.observers.participant_sd * rng.standard_normal()
    trials = _true_trials(task.engine, session)
    state = _json(_fetch(browser, "GET", urljoin(task.base, "next")))
    while not state["done"]:
        shown = state["trial"]
        for address in shown["pictures"].values():
            _fetch(browser, "GET", urljoin(task.base, address))
        kind, condition, pair, real_side = trials[shown["trial_index"]]
        logit = OBVIOUS_LOGIT if kind == "catch" else task.truth.intercepts[condition, pair] + spread
        taken_for_real = choose_side(logit, real_side, task.design.sides, shown["exposure_ms"], task.observers, rng)
        clicked = side_taken_for_real(taken_for_real, task.design)  # its own inverse
        rt = int(rng.lognormal(np.log(900), 0.4)) + (shown["exposure_ms"] or 0)
        answer = {"trial_index": shown["trial_index"], "response": clicked, "rt": rt, "elapsed_ms": float(rt)}
        state = _json(_fetch(browser, "POST", urljoin(task.base, "answer"), json=answer))["next"]


def _consent_form(page: str, address: str) -> dict[str, str]:
    """The hidden field of the consent form, as a browser would send it."""
    found = re.search(rf'name="{TICKET}" value="([^"]+)"', page)
    if found is None:
        raise SimulationError(f"{address} has no consent form; is the study open?")
    return {TICKET: found[1]}


def _session_of(form: dict[str, str]) -> str:
    """The id of the session that a consent form begins: signed, and not secret."""
    _, ticket = URLSafeTimedSerializer("").loads_unsafe(form[TICKET])
    return str(ticket["session"])


def _find_session(task: _Task, public_id: str) -> Session:
    with reading(task.engine) as db:
        session = find_session(db, public_id)
    if session is None:
        raise SimulationError(
            f"the survey at {task.base} runs on another database; give the one it uses with --database"
        )
    return session


def _true_trials(engine: Engine, session: Session) -> dict[int, tuple[str, str, str, str]]:
    """(kind, condition, pair, real side) by trial index: read from the database, since the survey does not tell."""
    with reading(engine) as db:
        rows = db.execute(
            select(Trial.trial_index, Trial.kind, Condition.name, Pair.pair, Trial.real_side)
            .join(Pair, Trial.pair_id == Pair.id)
            .join(Condition, Pair.condition_id == Condition.id)
            .where(Trial.session_id == session.id)
        )
        return {index: (kind, condition, pair, side) for index, kind, condition, pair, side in rows}


def _json(reply: requests.Response) -> Any:
    try:
        return reply.json()
    except requests.JSONDecodeError as error:
        raise SimulationError(
            f"{reply.url} is not a survey of this program; give the survey's address with --url"
        ) from error


def _fetch(browser: requests.Session, method: str, address: str, **sent: Any) -> requests.Response:
    try:
        reply = browser.request(method, address, timeout=TIMEOUT_S, **sent)
    except requests.RequestException as error:
        raise SimulationError(
            f"no survey answers at {address} ({type(error).__name__}); start it with 'realism serve', or give its --url"
        ) from error
    if not reply.ok:
        raise SimulationError(
            f"{method} {address} was answered with {reply.status_code}; is this survey served from the same database, "
            "with the same secret key?"
        )
    return reply
