"""The batch quantizer as an Airflow task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pipeline_tuner.operators.base import JobOperator
from pipeline_tuner.study import Study

if TYPE_CHECKING:
    from airflow.sdk import Context


class QuantizerOperator(JobOperator):
    """Roll raw datapoints of an Iceberg table up to windows in another. Parameters as in JobOperator.

    In production the workload names the tables: `{"source": "lake.metrics.raw", "target": "lake.metrics.rollups"}`,
    and optionally `until` (ISO time; by default the end of the DAG run's data interval, or now). A run
    rolls up from where the last one ended; repeating it changes nothing.
    """

    job: ClassVar[str | None] = "quantizer"

    def production_workload(self, study: Study, context: Context) -> dict[str, Any]:
        """The workload's options; production tables get the end of the run's data interval as `until`."""
        options = super().production_workload(study, context)
        if "target" in options and "until" not in options:
            end = context.get("data_interval_end") or context["ti"].start_date
            options["until"] = end.isoformat() if end is not None else None
        return options
