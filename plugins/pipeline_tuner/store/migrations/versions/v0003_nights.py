"""The nights: their figures, what they confirmed, and which recommendations production may follow."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SCHEMA = "pipeline_tuner"
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Apply."""
    op.add_column(
        "recommendation",
        sa.Column(
            "is_followed",
            sa.Boolean(),
            nullable=False,
            server_default="true",
            comment="Whether production may follow it: a night's only where it confirmed a gain over production",
        ),
        schema=SCHEMA,
    )
    op.create_table(
        "night",
        sa.Column(
            "night_id", sa.Text(), nullable=False, comment="The night's sweep; study and time for a missed night"
        ),
        sa.Column("study", sa.Text(), nullable=False, comment="Name of the study"),
        sa.Column("due_at", TIME, nullable=False, comment="When the schedule wanted it to start"),
        sa.Column("status", sa.Text(), nullable=False, comment="running, quiet, news, failed or missed"),
        sa.Column("summary", sa.Text(), server_default="", nullable=False, comment="What happened, for people"),
        sa.Column(
            "environment",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="Machine and versions that it was measured on",
        ),
        sa.Column(
            "workload",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="The workload's figures: rows, bytes, shape",
        ),
        sa.Column(
            "measured", sa.Integer(), server_default="0", nullable=False, comment="Trials with a valid measurement"
        ),
        sa.Column(
            "failed", sa.Integer(), server_default="0", nullable=False, comment="Trials that failed or were lost"
        ),
        sa.Column("started_at", TIME, nullable=True, comment="When it started; empty for a missed night"),
        sa.Column("ended_at", TIME, nullable=True, comment="When it ended"),
        sa.PrimaryKeyConstraint("night_id", name=op.f("night_pkey")),
        schema=SCHEMA,
        comment="A scheduled sweep that watches over production, kept when its trials are removed",
    )
    op.create_index(op.f("night_study_due_at_idx"), "night", ["study", "due_at"], unique=False, schema=SCHEMA)
    op.create_table(
        "night_figure",
        sa.Column("night_id", sa.Text(), nullable=False, comment="Its night"),
        sa.Column("goal", sa.Text(), nullable=False, comment="Name of the goal"),
        sa.Column("configuration_id", sa.Text(), nullable=False, comment="Equal for equal configurations"),
        sa.Column("label", sa.Text(), nullable=False, comment="Name of the configuration in this night"),
        sa.Column(
            "role", sa.Text(), nullable=False, comment="champion (production ran with it), control or challenger"
        ),
        sa.Column("figure", sa.Float(), nullable=False, comment="Median of the goal's figure"),
        sa.Column("trials", sa.Integer(), nullable=False, comment="Trials behind it"),
        sa.ForeignKeyConstraint(
            ["night_id"], [f"{SCHEMA}.night.night_id"], name=op.f("night_figure_night_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("night_id", "goal", "configuration_id", name=op.f("night_figure_pkey")),
        schema=SCHEMA,
        comment="One configuration's figure for one goal in one night",
    )
    op.create_table(
        "news",
        sa.Column("night_id", sa.Text(), nullable=False, comment="Its night"),
        sa.Column("goal", sa.Text(), nullable=False, comment="Name of the goal; empty: the whole study"),
        sa.Column(
            "kind",
            sa.Text(),
            nullable=False,
            comment="promoted, rolled_back, withdrawn, better, worse, change (of level) or machine",
        ),
        sa.Column("study", sa.Text(), nullable=False, comment="Name of the study"),
        sa.Column("words", sa.Text(), nullable=False, comment="What happened, for people"),
        sa.Column(
            "details",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
            comment="Its figures",
        ),
        sa.Column("created_at", TIME, nullable=False, comment="When it was confirmed"),
        sa.Column("told_at", TIME, nullable=True, comment="When the study's notifier was called; empty: not yet"),
        sa.ForeignKeyConstraint(
            ["night_id"], [f"{SCHEMA}.night.night_id"], name=op.f("news_night_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("night_id", "goal", "kind", name=op.f("news_pkey")),
        schema=SCHEMA,
        comment="What nights confirmed, once each",
    )
    op.create_index(op.f("news_study_created_at_idx"), "news", ["study", "created_at"], unique=False, schema=SCHEMA)


def downgrade() -> None:
    """Take back."""
    for table in ("news", "night_figure", "night"):
        op.drop_table(table, schema=SCHEMA)
    op.drop_column("recommendation", "is_followed", schema=SCHEMA)
