"""Decisions: what they are held against, how far they can be from the best, and one vocabulary of statuses."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

SCHEMA = "pipeline_tuner"
COLUMNS = (
    ("reference", sa.Text(), "Name of what production ran with, which the decision is held against"),
    ("reference_gain", sa.Float(), "Ratio to the reference, above 1 where better, from the confirmation"),
    ("reference_gain_low", sa.Float(), "Lower bound of its interval"),
    ("reference_gain_high", sa.Float(), "Upper bound of its interval"),
    ("regret_bound", sa.Float(), "The best finalist may be better by this fraction at most; empty: unknown"),
)
COMMENTS = (
    ("sweep", "status", "running, recommended, abstained or failed", "running, recommended, undecided or failed"),
    (
        "sweep",
        "reason",
        "Why the sweep failed or abstained, for people",
        "Why it failed or is undecided, for people",
    ),
    ("recommendation", "status", "winner, tied or abstained", "best, tied, better, keep or undecided"),
)


def upgrade() -> None:
    """Apply."""
    for name, kind, comment in COLUMNS:
        op.add_column("recommendation", sa.Column(name, kind, comment=comment), schema=SCHEMA)
    for table, column, _, comment in COMMENTS:
        op.alter_column(table, column, comment=comment, schema=SCHEMA)
    _rename({"winner": "best", "abstained": "undecided"})


def downgrade() -> None:
    """Take back. What the older version has no word for becomes an abstention."""
    _rename({"best": "winner", "undecided": "abstained", "better": "abstained", "keep": "abstained"})
    for table, column, comment, _ in COMMENTS:
        op.alter_column(table, column, comment=comment, schema=SCHEMA)
    for name, _, _ in COLUMNS:
        op.drop_column("recommendation", name, schema=SCHEMA)


def _rename(words: dict[str, str]) -> None:
    for old, new in words.items():
        for table in ("sweep", "recommendation"):
            statement = sa.text(f"UPDATE {SCHEMA}.{table} SET status = :new WHERE status = :old")  # noqa: S608
            op.execute(statement.bindparams(new=new, old=old))
