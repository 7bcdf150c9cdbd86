"""The quantizer's operator, and the operator that maintains its tables."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk.exceptions import AirflowException

from pipeline_tuner.operators.base import JobOperator, task_identity
from pipeline_tuner.operators.job_run import JobRun
from pipeline_tuner.study import Study

if TYPE_CHECKING:
    from airflow.sdk import Context


class QuantizerOperator(JobOperator):
    """Roll raw datapoints of an Iceberg table up to windows in another. Parameters as in JobOperator.

    In production the workload names the tables: `{"source": "lake.metrics.raw", "target": "lake.metrics.rollups"}`,
    and optionally `until` (ISO time; by default the end of the DAG run's data interval, or now) and `batch_ms` (the
    most time that one run rolls up). A run goes on from where the last one ended; repeating it changes nothing.
    """

    job: ClassVar[str | None] = "quantizer"

    def production_workload(self, study: Study, context: Context) -> dict[str, Any]:
        """The workload's options; production tables get the end of the run's data interval as `until`."""
        options = super().production_workload(study, context)
        if "target" in options and "until" not in options:
            end = context.get("data_interval_end") or context["ti"].start_date
            options["until"] = end.isoformat() if end is not None else None
        return options


class QuantizerMaintenanceOperator(QuantizerOperator):
    """One task of maintenance on a table of the quantizer, its raw one included. It changes no row.

    :param procedure: `rewrite_data_files`, `rewrite_manifests`, `expire_snapshots` or `remove_orphan_files`.
    :param table: The table, as `lake.metrics.rollups`.
    """

    ui_color = "#eef5df"

    def __init__(self, *, procedure: str, table: str, **kwargs: Any) -> None:
        workload = {"target": table, "maintenance": procedure}
        super().__init__(configuration={}, workload=workload, **kwargs)
        self.procedure = procedure
        self.table = table

    def execute(self, context: Context) -> dict[str, Any]:
        """Returns what was done. No production run is recorded: it is no run of the job. Raises AirflowException."""
        study = self.load_study()
        run = JobRun(
            task_identity(context),
            study.control_candidate.configuration,
            self.production_workload(study, context),
            timeout_s=self.timeout_s or inf,
        )
        outcome = self.run_job(study, run)
        if outcome.status == "failed":
            raise AirflowException(f"{self.procedure} on {self.table} failed ({outcome.failure}): {outcome.reason}")
        return {"table": self.table, **outcome.metrics}
