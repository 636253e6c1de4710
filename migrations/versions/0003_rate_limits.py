"""Rate limits that all servers count together

Revision: 0003.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rate_limits",
        sa.Column("minute", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key", sa.String(length=32), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("minute", "key", name=op.f("pk_rate_limits")),
        # What lives for a minute need not outlive a crash: PostgreSQL then writes it to no log, and waits for no disk.
        prefixes=["UNLOGGED"] if op.get_context().dialect.name == "postgresql" else [],
    )


def downgrade() -> None:
    op.drop_table("rate_limits")
