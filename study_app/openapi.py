"""The JSON interface that the survey's pages use: the models of what is sent and replied in, an OpenAPI 3.1 description out.

A client of one's own, such as an app or another experiment library, finds here all that /next, /answer and the pictures
send and take. docs/api.md tells the story; the addresses and limits of this description are tested against the server.
"""

from functools import cache
from typing import Any, Literal

from flask import Blueprint
from pydantic import BaseModel, ConfigDict, Field, RootModel
from pydantic.json_schema import models_json_schema

from study_app.trial_pages import AnswerBody

bp = Blueprint("openapi", __name__)

MODELS = "#/components/schemas/{model}"
NAME = {
    "name": "name",
    "in": "path",
    "required": True,
    "description": "The study's name, as in its link.",
    "schema": {"type": "string", "minLength": 1, "pattern": "^[a-z0-9][a-z0-9_-]{0,63}$"},
}
PICTURE = [
    NAME,
    {
        "name": "session",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "minLength": 1, "pattern": "^[0-9a-f]{32}$"},
    },
    {
        "name": "trial_index",
        "in": "path",
        "required": True,
        "schema": {"type": "integer", "minimum": 0, "maximum": 1_000_000},
    },
    {
        "name": "place",
        "in": "path",
        "required": True,
        "schema": {"enum": ["left", "right", "first", "second", "picture"]},
    },
]


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TrialToShow(Closed):
    """All that a browser learns of a trial. Which picture is the real one is not among it."""

    trial_index: int = Field(ge=0)
    practice: bool
    exposure_ms: int | None = Field(description="How long to show the pictures; null: until the answer.")
    pictures: dict[Literal["left", "right", "first", "second", "picture"], str] = Field(
        description="Addresses by place: left and right, first and second, or one picture."
    )


class Progress(Closed):
    """Trials answered so far, of all, and how many of all are practice."""

    answered: int = Field(ge=0)
    total: int = Field(ge=1)
    practice: int = Field(ge=0)


class TrialNext(Closed):
    """The trial to show now. ``rest``: a new block begins with it. ``upcoming``: whose pictures may be fetched already."""

    done: Literal[False]
    progress: Progress
    rest: bool
    trial: TrialToShow
    upcoming: list[TrialToShow] = Field(max_length=1)


class NothingNext(Closed):
    """No trial is to be shown: all are answered, or another page comes first. Open /study/NAME/on."""

    done: Literal[True]


class WhatsNext(RootModel[TrialNext | NothingNext]):
    """The next trial, if there is one."""


class Feedback(Closed):
    """Whether a practice answer was right, and where the real picture was, or what the one picture is."""

    correct: bool
    real: Literal["left", "right", "first", "second", "real", "fake"]


class Stored(Closed):
    """The answer is in the database; sent once more, it gets the same reply, and the first one stands."""

    stored: Literal[True]
    trial_index: int = Field(ge=0)
    feedback: Feedback | None = Field(description="In practice trials of studies that give feedback; else null.")
    next: WhatsNext


class Problem(Closed):
    """What is wrong, in one sentence."""

    error: str


class Health(Closed):
    status: Literal["ok"]


class Ready(Closed):
    status: Literal["ready"]


class NotReady(Closed):
    status: Literal["not ready"]
    reason: str


@cache
def describe() -> dict[str, Any]:
    """The whole description, made from the models."""
    answered = {
        "400": _json(Problem, "The body is no answer, or the answer is none of this study's."),
        "409": _json(Problem, "Not the trial that is to be answered now. Ask /next which one is."),
        "413": _page("The body is longer than 64 KiB."),
    }
    paths = {
        "/study/{name}/next": {
            "get": _operation(
                "The trial to show now", [NAME], {"200": _json(WhatsNext, "The next trial, if any."), **_refusals()}
            )
        },
        "/study/{name}/answer": {
            "post": {
                **_operation(
                    "Store the answer to a trial",
                    [NAME],
                    {"200": _json(Stored, "Stored, and safe."), **answered, **_refusals()},
                ),
                "requestBody": {"required": True, "content": {"application/json": {"schema": _ref(AnswerBody)}}},
            }
        },
        "/study/{name}/picture/{session}/{trial_index}/{place}": {
            "get": _operation("A picture of a trial at hand", PICTURE, _pictures())
        },
        "/health": {"get": _operation("Whether the process answers", [], {"200": _json(Health, "It does.")}, by=None)},
        "/ready": {
            "get": _operation(
                "Whether it can serve the survey",
                [],
                {"200": _json(Ready, "It can."), "503": _json(NotReady, "It cannot, and why.")},
                by=None,
            )
        },
        "/metrics": {
            "get": _operation(
                "Counters in Prometheus' text format",
                [],
                {"200": _content("text/plain", "The counters."), "404": _page("You are not whom this is for.")},
                by="monitor",
            )
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "realism: trials, answers and pictures of a study", "version": "1"},
        "paths": paths,
        "components": {"schemas": _schemas(), "securitySchemes": _ways_in()},
    }


@bp.get("/openapi.json")
def description() -> dict[str, Any]:
    return describe()


def _schemas() -> dict[str, Any]:
    replies = (WhatsNext, Stored, Problem, Health, Ready, NotReady)
    _, made = models_json_schema(
        [(AnswerBody, "validation"), *((model, "validation") for model in replies)],
        ref_template=MODELS,
    )
    schemas: dict[str, Any] = made["$defs"]
    return schemas


def _ways_in() -> dict[str, Any]:
    return {
        "participant": {
            "type": "apiKey",
            "in": "cookie",
            "name": "realism",
            "description": "Given with the consent form; __Host-realism where the server is reached by https.",
        },
        "monitor": {
            "type": "http",
            "scheme": "bearer",
            "description": "REALISM_METRICS_TOKEN; not asked of the machine itself.",
        },
    }


def _operation(
    summary: str, parameters: list[dict[str, Any]], responses: dict[str, Any], by: str | None = "participant"
) -> dict[str, Any]:
    security: dict[str, Any] = {"security": [{by: []}]} if by else {}
    return {"summary": summary, "parameters": parameters, "responses": responses, **security}


def _refusals() -> dict[str, Any]:
    return {
        "403": _page("There is no session of this study in the cookie."),
        "404": _page("There is no such study."),
        "429": _json(Problem, "Too many requests; Retry-After says how many seconds to wait."),
        "503": _json(Problem, "The database cannot be reached; Retry-After says when to send the same again."),
    }


def _pictures() -> dict[str, Any]:
    png: dict[str, Any] = {"image/png": {}}
    return {
        "200": {"description": "The picture.", "content": png},
        "206": {"description": "The bytes of the range that was asked for.", "content": png},
        "302": {"description": "Where the object store has it, for a few minutes."},
        "403": _page("The picture is another session's."),
        "404": _page("The trial is not at hand, or there is no such picture."),
        "416": _page("The picture has no such range."),
        "429": _page("Too many requests; Retry-After says how many seconds to wait."),
        "503": _page("The store cannot be reached."),
    }


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": MODELS.format(model=model.__name__)}


def _json(model: type[BaseModel], what: str) -> dict[str, Any]:
    return {"description": what, "content": {"application/json": {"schema": _ref(model)}}}


def _page(what: str) -> dict[str, Any]:
    return _content("text/html", what)


def _content(media_type: str, what: str) -> dict[str, Any]:
    return {"description": what, "content": {media_type: {"schema": {"type": "string"}}}}
