"""The streaming ETL's operator."""

from __future__ import annotations

from typing import ClassVar

from pipeline_tuner.operators.base import ResumableJobOperator


class StreamingEtlOperator(ResumableJobOperator):
    """Load documents of a MongoDB collection, or of a BSON file, into PostgreSQL tables. Parameters as in JobOperator.

    In production a run has the identity of its DAG run: an interrupted one goes on where it stopped.
    """

    job: ClassVar[str | None] = "streaming_etl"
