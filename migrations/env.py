"""Alembic's entry: migrates the database of ``realism db upgrade``, or of REALISM_DATABASE_URL for developers."""

import os
from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import Connection

from study_app.db import open_engine
from study_app.tables import Table, UTCDateTime


def _run() -> None:
    connection = context.config.attributes.get("connection")
    if connection is None:
        engine = open_engine(os.environ.get("REALISM_DATABASE_URL", "sqlite:///instance/realism.sqlite"))
        with engine.execution_options(writes=True).connect() as connection:
            _migrate(connection)
            connection.commit()
    else:
        _migrate(connection)


def _render(kind: str, item: Any, _autogen: AutogenContext) -> str | Literal[False]:
    # A revision stands for good, so it names no type of ours that may change.
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UTCDateTime) else False


def _migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Table.metadata,
        render_as_batch=True,
        render_item=_render,
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


_run()
