"""The least that a survey could do, as a yardstick for load.py: one row read for a trial, one row inserted for an answer.

No participants, no design, no order, no pictures, no checks: gunicorn, Flask and SQLAlchemy's ORM over an indexed table.
BARE_DATABASE names the database, which ``main`` prepares.
"""

import os
import sys
from datetime import UTC, datetime
from typing import Any

from flask import Flask, abort, request
from sqlalchemy import Engine, UniqueConstraint, create_engine, event
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

TRIALS = 50


class Table(DeclarativeBase):
    pass


class Trial(Table):
    __tablename__ = "trials"

    id: Mapped[int] = mapped_column(primary_key=True)
    left: Mapped[str]
    right: Mapped[str]


class Response(Table):
    __tablename__ = "responses"
    __table_args__ = (UniqueConstraint("participant", "trial_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    participant: Mapped[str]
    trial_id: Mapped[int]
    chosen_side: Mapped[str]
    rt_ms: Mapped[int]
    answered_at: Mapped[datetime]


def open_bare(url: str) -> Engine:
    engine = create_engine(url, pool_size=8)
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def prepare(connection: Any, _record: Any) -> None:
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=30000"):
                connection.execute(f"PRAGMA {pragma}")

    return engine


def create() -> Flask:
    app = Flask(__name__)
    engine = open_bare(os.environ["BARE_DATABASE"])

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/trial/<int:trial_id>")
    def trial(trial_id: int) -> dict[str, Any]:
        with Session(engine) as db:
            found = db.get(Trial, trial_id) or abort(404)
            return {"trial_id": found.id, "left": found.left, "right": found.right}

    @app.post("/answer")
    def answer() -> dict[str, Any]:
        given = request.get_json()
        with Session(engine) as db:
            db.add(Response(answered_at=datetime.now(UTC).replace(tzinfo=None), **given))
            db.commit()
        return {"stored": True}

    return app


def main(url: str) -> None:
    engine = open_bare(url)
    Table.metadata.create_all(engine)
    with Session(engine) as db:
        db.add_all([Trial(left=f"{n}-left.png", right=f"{n}-right.png") for n in range(TRIALS)])
        db.commit()


if __name__ == "__main__":
    main(sys.argv[1])
