"""The streaming ETL as an Airflow task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pipeline_tuner.operators.base import JobOperator
from pipeline_tuner.study import Study

if TYPE_CHECKING:
    from airflow.sdk import Context


class StreamingEtlOperator(JobOperator):
    """Load documents of a MongoDB collection, or of a BSON file, into PostgreSQL tables. Parameters as in JobOperator.

    In production a run has the identity of its DAG run: an interrupted one goes on where it stopped.
    """

    job: ClassVar[str | None] = "streaming_etl"

    def production_workload(self, study: Study, context: Context) -> dict[str, Any]:
        """The study's workload, under a name that a retry of the same DAG run has too."""
        ti = context["ti"]
        return {"run_id": f"{ti.dag_id}/{ti.run_id}/{ti.task_id}", **super().production_workload(study, context)}
