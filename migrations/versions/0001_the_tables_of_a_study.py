"""The tables of a study

Revision: 0001, the first.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "images",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_images")),
        sa.UniqueConstraint("sha256", name=op.f("uq_images_sha256")),
    )
    op.create_table(
        "studies",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("design", sa.JSON(), nullable=False),
        sa.Column("design_sha256", sa.String(length=64), nullable=False),
        sa.Column("plan_sha256", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_studies")),
        sa.UniqueConstraint("name", name=op.f("uq_studies_name")),
    )
    op.create_table(
        "conditions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("manifest", sa.Text(), nullable=False),
        sa.Column("manifest_sha256", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_conditions_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_conditions")),
        sa.UniqueConstraint("study_id", "name", name=op.f("uq_conditions_study_id_name")),
    )
    op.create_table(
        "participants",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("public_id", sa.String(length=32), nullable=False),
        sa.Column("origin", sa.String(length=16), nullable=False),
        sa.Column("consent_sha256", sa.String(length=64), nullable=False),
        sa.Column("consented_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("origin IN ('human', 'simulated')", name=op.f("ck_participants_origin")),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_participants_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_participants")),
        sa.UniqueConstraint("public_id", name=op.f("uq_participants_public_id")),
    )
    op.create_index(op.f("ix_participants_study_id"), "participants", ["study_id"])

    op.create_table(
        "pairs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("condition_id", sa.Integer(), nullable=False),
        sa.Column("pair", sa.String(length=64), nullable=False),
        sa.Column("photo_sha256", sa.String(length=64), nullable=False),
        sa.Column("real_image_id", sa.Integer(), nullable=False),
        sa.Column("fake_image_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["condition_id"], ["conditions.id"], name=op.f("fk_pairs_condition_id")),
        sa.ForeignKeyConstraint(["fake_image_id"], ["images.id"], name=op.f("fk_pairs_fake_image_id")),
        sa.ForeignKeyConstraint(["real_image_id"], ["images.id"], name=op.f("fk_pairs_real_image_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pairs")),
        sa.UniqueConstraint("condition_id", "pair", name=op.f("uq_pairs_condition_id_pair")),
    )
    op.create_table(
        "sessions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("participant_id", sa.Integer(), nullable=False),
        sa.Column("public_id", sa.String(length=32), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completion_code", sa.String(length=16), nullable=True),
        sa.ForeignKeyConstraint(["participant_id"], ["participants.id"], name=op.f("fk_sessions_participant_id")),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_sessions_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
        sa.UniqueConstraint("public_id", name=op.f("uq_sessions_public_id")),
    )
    op.create_index(op.f("ix_sessions_participant_id"), "sessions", ["participant_id"])
    op.create_index(op.f("ix_sessions_study_id"), "sessions", ["study_id"])

    op.create_table(
        "trials",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("session_id", sa.Integer(), nullable=False),
        sa.Column("trial_index", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("pair_id", sa.Integer(), nullable=False),
        sa.Column("real_side", sa.String(length=8), nullable=False),
        sa.Column("exposure_ms", sa.Integer(), nullable=True),
        sa.CheckConstraint("kind IN ('practice', 'main', 'catch', 'repeat')", name=op.f("ck_trials_kind")),
        sa.CheckConstraint("real_side IN ('left', 'right')", name=op.f("ck_trials_real_side")),
        sa.ForeignKeyConstraint(["pair_id"], ["pairs.id"], name=op.f("fk_trials_pair_id")),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], name=op.f("fk_trials_session_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trials")),
        sa.UniqueConstraint("session_id", "trial_index", name=op.f("uq_trials_session_id_trial_index")),
    )
    op.create_index(op.f("ix_trials_pair_id_kind"), "trials", ["pair_id", "kind"])

    op.create_table(
        "responses",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("chosen_side", sa.String(length=8), nullable=False),
        sa.Column("rt_ms", sa.Integer(), nullable=False),
        sa.Column("exposure_measured_ms", sa.Double(), nullable=True),
        sa.Column("late_frames", sa.Integer(), nullable=True),
        sa.Column("presented_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("chosen_side IN ('left', 'right')", name=op.f("ck_responses_chosen_side")),
        sa.ForeignKeyConstraint(["trial_id"], ["trials.id"], name=op.f("fk_responses_trial_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_responses")),
        sa.UniqueConstraint("trial_id", name=op.f("uq_responses_trial_id")),
    )


def downgrade() -> None:
    op.drop_table("responses")
    op.drop_index(op.f("ix_trials_pair_id_kind"), table_name="trials")

    op.drop_table("trials")
    op.drop_index(op.f("ix_sessions_study_id"), table_name="sessions")
    op.drop_index(op.f("ix_sessions_participant_id"), table_name="sessions")

    op.drop_table("sessions")
    op.drop_table("pairs")
    op.drop_index(op.f("ix_participants_study_id"), table_name="participants")

    op.drop_table("participants")
    op.drop_table("conditions")
    op.drop_table("studies")
    op.drop_table("images")
