"""The migration's operator."""

from __future__ import annotations

from typing import ClassVar

from pipeline_tuner.operators.base import ResumableJobOperator


class MigrationOperator(ResumableJobOperator):
    """Migrate a table from PostgreSQL (or any JDBC source) to PostgreSQL. Parameters as in JobOperator.

    In production a run has the identity of its DAG run: an interrupted one goes on where it stopped.
    """

    job: ClassVar[str | None] = "migration"
