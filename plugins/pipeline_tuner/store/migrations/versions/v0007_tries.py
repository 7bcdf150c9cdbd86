"""Production runs of any task: which task and try it was, and runs that have not ended."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

SCHEMA = "pipeline_tuner"
TABLE = "production_run"
COLUMNS = (
    ("task_id", sa.Text(), "Airflow's task; empty for runs noted before there was this column"),
    ("map_index", sa.Integer(), "Map index of the task instance; -1 for a task that is not mapped"),
    ("try_number", sa.Integer(), "Airflow's try, from 1: a tuned task has a row for each"),
)
COMMENTS = (
    (
        "production_run_id",
        "DAG, run, task, map index: equal for every attempt",
        "DAG, run, task, map index; for a tuned task its try, too",
    ),
    (
        "source",
        "given, preset, recommended, promoted or fallback",
        "given, preset, recommended, promoted, fallback or explored",
    ),
    ("status", "measured or failed", "running, measured, failed or skipped"),
    ("ended_at", "When its result was written", "When its result was written; empty while there is none"),
)


def upgrade() -> None:
    """Apply."""
    for name, kind, comment in COLUMNS:
        op.add_column(TABLE, sa.Column(name, kind, comment=comment), schema=SCHEMA)
    op.alter_column(TABLE, "ended_at", nullable=True, schema=SCHEMA)
    for column, _, comment in COMMENTS:
        op.alter_column(TABLE, column, comment=comment, schema=SCHEMA)


def downgrade() -> None:
    """Take back. A run that has not ended is unknown to the older version."""
    op.execute(f"DELETE FROM {SCHEMA}.{TABLE} WHERE ended_at IS NULL")  # noqa: S608
    for column, comment, _ in COMMENTS:
        op.alter_column(TABLE, column, comment=comment, schema=SCHEMA)
    op.alter_column(TABLE, "ended_at", nullable=False, schema=SCHEMA)
    for name, _, _ in COLUMNS:
        op.drop_column(TABLE, name, schema=SCHEMA)
