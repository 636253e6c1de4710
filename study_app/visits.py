"""What every page of a participant needs: the study of the address, the session of the browser's cookie, its language."""

import re
from collections.abc import Collection
from typing import Any, NoReturn

from flask import abort, current_app, g, render_template, request, url_for
from flask import session as cookie
from flask_babel import refresh
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session as DatabaseSession

from protocol.design import StudyDesign
from protocol.sections import NAME
from protocol.texts import LANGUAGES
from study_app.db import reading
from study_app.mturk_frame import note_frame
from study_app.road import DONE, TRIALS, next_step
from study_app.sessions import find_session, new_session_id
from study_app.studies import design_of
from study_app.tables import PREVIEW, Session, Study

ADDRESS = "/study/<name>"
# Sessions of others who used this browser before; a cookie of more would grow beyond what browsers keep.
PUT_ASIDE = 5


def engine() -> Engine:
    found = current_app.extensions["engine"]
    assert isinstance(found, Engine)
    return found


def study_or_404(db: DatabaseSession, name: str) -> Study:
    """The study of that name; from here on its visitor is spoken to in a language that it offers."""
    # No other name reaches the database: PostgreSQL knows no text with a NUL in it.
    study = db.scalar(select(Study).where(Study.name == name)) if re.match(NAME, name) else None
    if study is None:
        abort(404)
    note_frame(study, "human")
    languages = design_of(study).languages
    wished = request.args.get("lang")
    speak(wished if wished in languages else _browsers_wish(languages) or languages[0])
    return study


def own_public_id(name: str) -> str:
    """The id of the session that this browser's cookie names for the study of that name; empty if it names none."""
    public_id = cookie.get("sessions", {}).get(name, "")
    assert isinstance(public_id, str)
    return public_id


def own_session(db: DatabaseSession, name: str) -> Session | None:
    """The session, with its study, that this browser's cookie names for the study of that name."""
    session = _session_of(db, own_public_id(name), name)
    if session is not None:
        speak(session.language)
        note_frame(session.study, session.participant.origin)
        g.preview = session.participant.origin == PREVIEW
    return session


def browsers_sessions(db: DatabaseSession, name: str) -> list[Session]:
    """Every session of the study that was begun in this browser, its own first.

    One is begun here also where the reply to the consent form, and the cookie in it, never came back.
    """
    offered = cookie.get("offered", {}).get(name, {}).get("session")
    known = [cookie.get("sessions", {}).get(name), *cookie.get("aside", []), offered]
    return [session for public_id in known if (session := _session_of(db, public_id, name)) is not None]


def _session_of(db: DatabaseSession, public_id: str | None, name: str) -> Session | None:
    session = find_session(db, public_id) if public_id else None
    return session if session is not None and session.study.name == name else None


def own_session_or_refuse(db: DatabaseSession, name: str) -> Session:
    session = own_session(db, name)
    if session is None:
        _refuse(db, name)
    return session


def own_public_id_or_refuse(name: str) -> str:
    public_id = own_public_id(name)
    if not public_id:
        with reading(engine()) as db:
            _refuse(db, name)
    return public_id


def _refuse(db: DatabaseSession, name: str) -> NoReturn:
    """The study is another browser's; or there is none."""
    study_or_404(db, name)
    abort(403)


def offered_session(name: str, origin: str, recruitment_id: str | None) -> str:
    """The id of the session that a consent form begins; the same in every tab, but new for each preview."""
    whose = [origin, recruitment_id]
    offered = cookie.get("offered", {})
    if origin == PREVIEW or offered.get(name, {}).get("whose") != whose:
        others = {study: one for study, one in offered.items() if study != name}
        kept = dict(list(others.items())[-PUT_ASIDE:])
        cookie["offered"] = {**kept, name: {"whose": whose, "session": new_session_id()}}
    found = cookie["offered"][name]["session"]
    assert isinstance(found, str)
    return found


def keeps_cookies() -> bool:
    """Whether the cookie that came with the consent form came back."""
    return "offered" in cookie


def remember(name: str, public_id: str) -> None:
    """Give the browser the session as its own; one that somebody else began in it is put aside for their return."""
    cookie.permanent = True
    own = cookie.get("sessions", {})
    if own.get(name, public_id) != public_id:
        others = [one for one in cookie.get("aside", []) if one != public_id]
        cookie["aside"] = [own[name], *others][:PUT_ASIDE]
    cookie["sessions"] = {**own, name: public_id}


def speak(language: str) -> None:
    """The language of this request from here on."""
    if g.get("language") != language:
        g.language = language
        refresh()


def _browsers_wish(languages: Collection[str]) -> str | None:
    """The first of the browser's languages that is among these; Austrian German is German."""
    wishes = (tag.split("-")[0].lower() for tag, quality in request.accept_languages if quality > 0)
    return next((language for language in wishes if language in languages), None)


def spoken() -> str:
    """The language of this request."""
    language = g.get("language")
    if language is None:
        language = _browsers_wish(LANGUAGES) or "en"
    assert isinstance(language, str)
    return language


def address_of(db: DatabaseSession, session: Session, design: StudyDesign) -> str:
    """The address of the page that comes next for a session."""
    step = next_step(db, session, design)
    if step == TRIALS:
        return url_for("trial_pages.survey", name=design.name)
    if step == DONE:
        return url_for("ending.done", name=design.name)
    return url_for("step_pages.show", name=design.name, step=step)


def message(title: str, text: str, **more: Any) -> str:
    """A page that says one thing."""
    return render_template("message.html", title=title, text=text, **more)


def wants_json() -> bool:
    """Whether a program reads the reply: the page of the trials, or a client of one's own."""
    if request.endpoint in ("trial_pages.next_trial", "trial_pages.answer"):
        return True
    return request.accept_mimetypes.best == "application/json"
