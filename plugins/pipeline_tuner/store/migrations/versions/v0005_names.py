"""Tables and columns take the field's standard names; stored values follow."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

SCHEMA = "pipeline_tuner"
TABLES = {"observation": "production_run", "picture": "chart", "night_figure": "night_value", "news": "alert"}
COLUMNS = (
    ("production_run", "observation_id", "production_run_id"),
    ("night_value", "figure", "value"),
    ("alert", "told_at", "notified_at"),
)
COMMENTS = (
    ("night", "status", "running, quiet, news, failed or missed", "running, quiet, alert, failed or missed"),
    ("night_value", "value", "Median of the goal's figure", "Median of the goal's value"),
    (
        "production_run",
        "production_run_id",
        "DAG, run, task and map index: equal for every attempt",
        "DAG, run, task, map index: equal for every attempt",
    ),
)


def upgrade() -> None:
    """Apply."""
    for old, new in TABLES.items():
        _rename_table(old, new)
    for table, old, new in COLUMNS:
        op.alter_column(table, old, new_column_name=new, schema=SCHEMA)
    for table, column, _, comment in COMMENTS:
        op.alter_column(table, column, comment=comment, schema=SCHEMA)
    op.execute(f"UPDATE {SCHEMA}.night SET status = 'alert' WHERE status = 'news'")  # noqa: S608


def downgrade() -> None:
    """Take back."""
    for table, column, comment, _ in COMMENTS:
        op.alter_column(table, column, comment=comment, schema=SCHEMA)
    op.execute(f"UPDATE {SCHEMA}.night SET status = 'news' WHERE status = 'alert'")  # noqa: S608
    for table, old, new in COLUMNS:
        op.alter_column(table, new, new_column_name=old, schema=SCHEMA)
    for old, new in TABLES.items():
        _rename_table(new, old)


def _rename_table(old: str, new: str) -> None:
    """Rename a table with its constraints and indexes, which carry its name in front."""
    op.rename_table(old, new, schema=SCHEMA)
    constraints = (
        f"SELECT conname AS name FROM pg_constraint WHERE conrelid = '{SCHEMA}.{new}'::regclass AND contype <> 'n'"  # noqa: S608
    )
    indexes = f"SELECT indexname AS name FROM pg_indexes WHERE schemaname = '{SCHEMA}' AND tablename = '{new}'"  # noqa: S608
    for (name,) in op.get_bind().exec_driver_sql(constraints).all():
        if name.startswith(f"{old}_"):
            op.execute(f"ALTER TABLE {SCHEMA}.{new} RENAME CONSTRAINT {name} TO {new}{name.removeprefix(old)}")
    for (name,) in op.get_bind().exec_driver_sql(indexes).all():
        if name.startswith(f"{old}_"):
            op.execute(f"ALTER INDEX {SCHEMA}.{name} RENAME TO {new}{name.removeprefix(old)}")
