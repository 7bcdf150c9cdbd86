"""The details of the written analysis, apart from the few pages that people read."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

SCHEMA = "pipeline_tuner"
COMMENT = "The written analysis's details, Markdown; empty for analyses that hold them"


def upgrade() -> None:
    """Apply."""
    op.add_column("sweep", sa.Column("analysis_details", sa.Text(), comment=COMMENT), schema=SCHEMA)


def downgrade() -> None:
    """Take back. The analyses of sweeps since then keep their first pages only."""
    op.drop_column("sweep", "analysis_details", schema=SCHEMA)
