"""Plots of the written analysis, for the page."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "picture",
        sa.Column("sweep_id", sa.Text(), nullable=False, comment="Its sweep"),
        sa.Column(
            "name", sa.Text(), nullable=False, comment="Name of the plot as the analysis uses it; -dark ends a dark one"
        ),
        sa.Column("svg", sa.Text(), nullable=False, comment="The plot, SVG"),
        sa.ForeignKeyConstraint(
            ["sweep_id"],
            ["pipeline_tuner.sweep.sweep_id"],
            name=op.f("picture_sweep_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("sweep_id", "name", name=op.f("picture_pkey")),
        schema="pipeline_tuner",
        comment="Plots of the written analysis, for the page: the folder of the analysis may be on another machine",
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("picture", schema="pipeline_tuner")
