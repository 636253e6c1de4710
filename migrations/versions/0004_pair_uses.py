"""How often each pair was shown, added up

Revision: 0004. Nothing is added up yet: the next participant to begin does it, once for each session.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "pair_uses",
        sa.Column("pair_id", sa.Integer(), nullable=False),
        sa.Column("origin", sa.String(length=16), nullable=False),
        sa.Column("uses", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["pair_id"], ["pairs.id"], name=op.f("fk_pair_uses_pair_id")),
        sa.PrimaryKeyConstraint("pair_id", "origin", name=op.f("pk_pair_uses")),
    )
    with op.batch_alter_table("sessions") as sessions:
        sessions.add_column(sa.Column("counted", sa.Boolean(), server_default=sa.false(), nullable=False))
        sessions.drop_index(op.f("ix_sessions_study_id"))
        sessions.create_index(
            op.f("ix_sessions_study_id_outcome_counted_started_at"), ["study_id", "outcome", "counted", "started_at"]
        )


def downgrade() -> None:
    with op.batch_alter_table("sessions") as sessions:
        sessions.drop_index(op.f("ix_sessions_study_id_outcome_counted_started_at"))
        sessions.create_index(op.f("ix_sessions_study_id"), ["study_id"])
        sessions.drop_column("counted")
    op.drop_table("pair_uses")
