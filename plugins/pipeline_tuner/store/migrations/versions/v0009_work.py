"""Work that each trial measures at least: it may be chosen while a sweep runs."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

SCHEMA = "pipeline_tuner"


def upgrade() -> None:
    """Apply."""
    comment = "Work that it measures at least, s"
    column = sa.Column("min_work_s", sa.Float(), nullable=False, server_default="0", comment=comment)
    op.add_column("trial", column, schema=SCHEMA)


def downgrade() -> None:
    """Take back."""
    op.drop_column("trial", "min_work_s", schema=SCHEMA)
