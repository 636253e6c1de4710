"""Simulated participants, who take the survey through its real HTTP interface: a running server in, stored answers out."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any
from urllib.parse import urljoin

import numpy as np
import requests
from sqlalchemy import Engine, select

from study_app.db import reading
from study_app.observers import Observers, SimulationError, Truth, choose_side, other_side
from study_app.participate import TICKET, simulation_tokens
from study_app.studies import design_of, find_study, study_progress
from study_app.tables import Condition, Pair, Session, Trial

TIMEOUT_S = 60
AT_ONCE = 8


def study_pairs(engine: Engine, name: str) -> dict[str, list[str]]:
    """The pair ids of each condition of a study."""
    with reading(engine) as db:
        study = find_study(db, name)
        rows = db.execute(
            select(Condition.name, Pair.pair)
            .join(Pair, Pair.condition_id == Condition.id)
            .where(Condition.study_id == study.id)
            .order_by(Condition.position, Pair.id)
        )
        pairs: dict[str, list[str]] = {condition: [] for condition in design_of(study).conditions}
        for condition, pair in rows:
            pairs[condition].append(pair)
    return pairs


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
) -> None:
    """Send ``n`` participants through the survey at ``url``, some at the same time; ``advance`` is called after each.

    Raises:
        SimulationError: if the survey does not answer, or refuses.
    """
    token = simulation_tokens(secret).dumps(name)
    with reading(engine) as db:
        question = design_of(find_study(db, name)).question
    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures = [
            pool.submit(_take_part, engine, name, url, token, question, truth, observers, child)
            for child in rng.spawn(n)
        ]
        try:
            for future in as_completed(futures):
                future.result()
                advance()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _take_part(
    engine: Engine,
    name: str,
    url: str,
    token: str,
    question: str,
    truth: Truth,
    observers: Observers,
    rng: np.random.Generator,
) -> None:
    """One participant, from consent to code, fetching every picture as a browser does."""
    base = urljoin(url.rstrip("/") + "/", f"study/{name}/")
    spread = observers.participant_sd * rng.standard_normal()
    with requests.Session() as browser:
        form = _consent_form(_fetch(browser, "GET", base).text, base)
        _fetch(browser, "POST", urljoin(base, "start"), data=form | {"simulated": token})
        state = _json(_fetch(browser, "GET", urljoin(base, "next")))
        trials = _true_trials(engine, state["trial"]["left"].split("/")[-3])
        if not trials:
            raise SimulationError(f"the survey at {url} runs on another database; give the one it uses with --database")
        while not state["done"]:
            shown = state["trial"]
            for side in ("left", "right"):
                _fetch(browser, "GET", urljoin(base, shown[side]))
            condition, pair, real_side = trials[shown["trial_index"]]
            taken_for_real = choose_side(truth.intercepts[condition, pair] + spread, real_side, observers, rng)
            clicked = taken_for_real if question == "real" else other_side(taken_for_real)
            rt = int(rng.lognormal(np.log(900), 0.4)) + (shown["exposure_ms"] or 0)
            answer = {"trial_index": shown["trial_index"], "response": clicked, "rt": rt, "elapsed_ms": float(rt)}
            state = _json(_fetch(browser, "POST", urljoin(base, "answer"), json=answer))["next"]
        if 'id="code"' not in _fetch(browser, "GET", urljoin(base, "done")).text:
            raise SimulationError(f"{base} gave no completion code after the last answer; look at the server's log")


def _consent_form(page: str, address: str) -> dict[str, str]:
    """The hidden field of the consent form, as a browser would send it."""
    found = re.search(rf'name="{TICKET}" value="([^"]+)"', page)
    if found is None:
        raise SimulationError(f"{address} has no consent form; is the study closed?")
    return {TICKET: found[1]}


def _true_trials(engine: Engine, session: str) -> dict[int, tuple[str, str, str]]:
    """(condition, pair, real side) by trial index: read from the database, since the survey does not tell."""
    with reading(engine) as db:
        rows = db.execute(
            select(Trial.trial_index, Condition.name, Pair.pair, Trial.real_side)
            .join(Session, Trial.session_id == Session.id)
            .join(Pair, Trial.pair_id == Pair.id)
            .join(Condition, Pair.condition_id == Condition.id)
            .where(Session.public_id == session)
        )
        return {index: (condition, pair, side) for index, condition, pair, side in rows}


def _json(reply: requests.Response) -> Any:
    try:
        return reply.json()
    except requests.JSONDecodeError as error:
        raise SimulationError(
            f"{reply.url} is not a survey of this program; give the survey's address with --url"
        ) from error


def _fetch(browser: requests.Session, method: str, address: str, **body: Any) -> requests.Response:
    try:
        reply = browser.request(method, address, timeout=TIMEOUT_S, **body)
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
