"""Comments call a metric's value a value."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

SCHEMA = "pipeline_tuner"
NIGHT_VALUE = (
    "One configuration's figure for one goal in one night",
    "One configuration's value for one goal in one night",
)
COLUMNS = (
    ("sweep", "workload", "The workload's figures: rows, bytes, shape", "The workload's size: rows, bytes, shape"),
    ("night", "workload", "The workload's figures: rows, bytes, shape", "The workload's size: rows, bytes, shape"),
    ("trial", "metrics", "Figures by name; units end the names", "Values by metric; units end the names"),
    ("production_run", "metrics", "Figures by name; units end the names", "Values by metric; units end the names"),
    (
        "recommendation",
        "estimate",
        "The goal's figure, from the confirmation",
        "The goal's value, from the confirmation",
    ),
    ("alert", "details", "Its figures", "Its values"),
)
"""Table, column, the comment before and the comment from now on."""


def upgrade() -> None:
    """Apply."""
    op.create_table_comment("night_value", NIGHT_VALUE[1], schema=SCHEMA)
    for table, column, _, comment in COLUMNS:
        op.alter_column(table, column, comment=comment, schema=SCHEMA)


def downgrade() -> None:
    """Take back."""
    op.create_table_comment("night_value", NIGHT_VALUE[0], schema=SCHEMA)
    for table, column, comment, _ in COLUMNS:
        op.alter_column(table, column, comment=comment, schema=SCHEMA)
