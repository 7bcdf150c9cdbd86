"""Studies, configurations and recommendations keep the order of their names, which jsonb sorts by length."""

from alembic import op
from sqlalchemy import JSON
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SCHEMA = "pipeline_tuner"
COLUMNS = (
    ("sweep", "study_definition"),
    ("trial", "configuration"),
    ("recommendation", "configuration"),
    ("recommendation", "document"),
    ("promotion", "configuration"),
    ("observation", "configuration"),
)


def upgrade() -> None:
    """Apply."""
    _alter(JSON(), "json")


def downgrade() -> None:
    """Take back."""
    _alter(JSONB(), "jsonb")


def _alter(kind: JSON, name: str) -> None:
    for table, column in COLUMNS:
        op.alter_column(table, column, type_=kind, postgresql_using=f"{column}::{name}", schema=SCHEMA)
