"""The survey as a measuring instrument: the steps beside the trials, recruitment, outcomes, and what was measured

Revision: 0002.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SIDES = "('left', 'right', 'first', 'second', 'real', 'fake')"


def upgrade() -> None:
    with op.batch_alter_table("conditions") as table:
        table.add_column(sa.Column("role", sa.String(length=16), server_default="condition", nullable=False))
        table.create_check_constraint(op.f("ck_conditions_role"), "role IN ('condition', 'catch')")
    with op.batch_alter_table("participants") as table:
        table.add_column(sa.Column("recruitment_id", sa.String(length=200), nullable=True))
        table.add_column(sa.Column("recruitment", sa.JSON(), nullable=True))
        table.drop_constraint(op.f("ck_participants_origin"), type_="check")
        table.create_check_constraint(op.f("ck_participants_origin"), "origin IN ('human', 'simulated', 'preview')")
        table.create_unique_constraint(op.f("uq_participants_study_id_recruitment_id"), ["study_id", "recruitment_id"])
    op.create_table(
        "refusals",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("consent_sha256", sa.String(length=64), nullable=False),
        sa.Column("refused_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_refusals_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refusals")),
    )
    op.create_index(op.f("ix_refusals_study_id"), "refusals", ["study_id"])
    op.create_table(
        "invitations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("public_id", sa.String(length=32), nullable=False),
        sa.Column("label", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_invitations_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invitations")),
        sa.UniqueConstraint("public_id", name=op.f("uq_invitations_public_id")),
    )
    op.create_index(op.f("ix_invitations_study_id"), "invitations", ["study_id"])
    with op.batch_alter_table("sessions") as table:
        table.add_column(sa.Column("language", sa.String(length=8), server_default="en", nullable=False))
        table.add_column(sa.Column("outcome", sa.String(length=16), nullable=True))
        table.alter_column("completion_code", existing_type=sa.String(length=16), type_=sa.String(length=64))
        table.create_check_constraint(
            op.f("ck_sessions_outcome"), "outcome IN ('completed', 'screened_out', 'failed_checks', 'full')"
        )
    op.execute("UPDATE sessions SET outcome = 'completed' WHERE completed_at IS NOT NULL")
    op.create_table(
        "steps",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("session_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], name=op.f("fk_steps_session_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_steps")),
        sa.UniqueConstraint("session_id", "name", name=op.f("uq_steps_session_id_name")),
    )
    with op.batch_alter_table("trials") as table:
        table.add_column(sa.Column("block", sa.Integer(), server_default="0", nullable=False))
        table.add_column(sa.Column("repeat_of", sa.Integer(), nullable=True))
        table.drop_constraint(op.f("ck_trials_real_side"), type_="check")
        table.create_check_constraint(op.f("ck_trials_real_side"), f"real_side IN {SIDES}")
    with op.batch_alter_table("responses") as table:
        table.add_column(sa.Column("exposure_second_measured_ms", sa.Double(), nullable=True))
        table.add_column(sa.Column("frame_interval_ms", sa.Double(), nullable=True))
        table.add_column(sa.Column("picture_width_px", sa.Double(), nullable=True))
        table.add_column(sa.Column("focus_lost", sa.Boolean(), nullable=True))
        table.add_column(sa.Column("presentations", sa.Integer(), nullable=True))
        table.add_column(sa.Column("input_method", sa.String(length=16), nullable=True))
        table.drop_constraint(op.f("ck_responses_chosen_side"), type_="check")
        table.create_check_constraint(op.f("ck_responses_chosen_side"), f"chosen_side IN {SIDES}")


def downgrade() -> None:
    with op.batch_alter_table("responses") as table:
        table.drop_constraint(op.f("ck_responses_chosen_side"), type_="check")
        table.create_check_constraint(op.f("ck_responses_chosen_side"), "chosen_side IN ('left', 'right')")
        for column in (
            "input_method",
            "presentations",
            "focus_lost",
            "picture_width_px",
            "frame_interval_ms",
            "exposure_second_measured_ms",
        ):
            table.drop_column(column)
    with op.batch_alter_table("trials") as table:
        table.drop_constraint(op.f("ck_trials_real_side"), type_="check")
        table.create_check_constraint(op.f("ck_trials_real_side"), "real_side IN ('left', 'right')")
        table.drop_column("repeat_of")
        table.drop_column("block")
    op.drop_table("steps")
    with op.batch_alter_table("sessions") as table:
        table.drop_constraint(op.f("ck_sessions_outcome"), type_="check")
        table.alter_column("completion_code", existing_type=sa.String(length=64), type_=sa.String(length=16))
        table.drop_column("outcome")
        table.drop_column("language")
    op.drop_index(op.f("ix_invitations_study_id"), table_name="invitations")
    op.drop_table("invitations")
    op.drop_index(op.f("ix_refusals_study_id"), table_name="refusals")
    op.drop_table("refusals")
    with op.batch_alter_table("participants") as table:
        table.drop_constraint(op.f("uq_participants_study_id_recruitment_id"), type_="unique")
        table.drop_constraint(op.f("ck_participants_origin"), type_="check")
        table.create_check_constraint(op.f("ck_participants_origin"), "origin IN ('human', 'simulated')")
        table.drop_column("recruitment")
        table.drop_column("recruitment_id")
    with op.batch_alter_table("conditions") as table:
        table.drop_constraint(op.f("ck_conditions_role"), type_="check")
        table.drop_column("role")
