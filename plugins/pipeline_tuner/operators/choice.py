"""Which operator runs which job. A new job adds its module here; any other runs under CommandOperator."""

from __future__ import annotations

from pipeline_tuner.operators.base import JobOperator
from pipeline_tuner.operators.command import CommandOperator
from pipeline_tuner.operators.dedup import GlueDedupOperator
from pipeline_tuner.operators.migration import MigrationOperator
from pipeline_tuner.operators.quantizer import QuantizerOperator
from pipeline_tuner.operators.streaming_etl import StreamingEtlOperator

OPERATORS: dict[str, type[JobOperator]] = {
    "dedup": GlueDedupOperator,
    "migration": MigrationOperator,
    "quantizer": QuantizerOperator,
    "streaming_etl": StreamingEtlOperator,
}


def operator_for(job: str) -> type[JobOperator]:
    """The operator class of a job."""
    return OPERATORS.get(job, CommandOperator)
