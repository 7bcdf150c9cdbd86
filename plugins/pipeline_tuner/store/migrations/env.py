"""Alembic's entry: runs the schema versions in the transaction that `pipeline_tuner.store.migrate` opened."""

from __future__ import annotations

from typing import Any

from alembic import context

from pipeline_tuner.store.schema import SCHEMA, metadata


def is_ours(name: str | None, kind: str, _parents: Any) -> bool:
    """Only our schema is compared and versioned."""
    return kind != "schema" or name == SCHEMA


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table_schema=SCHEMA,
    include_schemas=True,
    include_name=is_ours,
)
context.run_migrations()
