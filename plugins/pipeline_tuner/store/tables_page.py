"""How docs/tables.md is generated from the schema's comments."""

from __future__ import annotations

from sqlalchemy import Column, Table
from sqlalchemy.dialects import postgresql

from pipeline_tuner.store.schema import metadata

INTRODUCTION = """# Tables of the results database

Schema `pipeline_tuner` of the database behind the Airflow connection `pipeline_tuner_default`. The same text is in the
database as comments (`\\d+ pipeline_tuner.trial`). A sweep's first task brings the schema to its newest version;
`PIPELINE_TUNER_URL=postgresql://... python -m pipeline_tuner.store migrate` does it by hand. This page is made by
`python -m pipeline_tuner.store tables > docs/tables.md`.

What the last sweeps recommend:

```sql
SELECT study, goal, status, label, configuration, estimate, unit, gain, gain_low, gain_high, created_at
FROM pipeline_tuner.recommendation ORDER BY created_at DESC, goal LIMIT 20;
```

The trials of the newest sweep, as they were run:

```sql
SELECT phase, block, label, status, reason, round((metrics->>'rows_per_s')::numeric) AS rows_per_s
FROM pipeline_tuner.trial
WHERE sweep_id = (SELECT sweep_id FROM pipeline_tuner.sweep ORDER BY started_at DESC LIMIT 1)
ORDER BY started_at;
```
"""


def describe_tables() -> str:
    """Every table with its columns, types and meaning."""
    return "\n".join([INTRODUCTION, *(_describe(table) for table in metadata.sorted_tables)])


def _describe(table: Table) -> str:
    rows = "\n".join(_row(column) for column in table.columns)
    return f"## {table.name}\n\n{table.comment}.\n\n| column | type | meaning |\n|---|---|---|\n{rows}\n"


def _row(column: Column[object]) -> str:
    kind = column.type.compile(dialect=postgresql.dialect()).lower()
    key = ", key" if column.primary_key else ""
    return f"| `{column.name}` | {kind}{key} | {column.comment} |"
