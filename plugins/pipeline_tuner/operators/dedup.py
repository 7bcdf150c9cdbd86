"""The deduplication as an Airflow task: on this machine, on a Spark cluster, or on AWS Glue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pipeline_tuner.operators.base import JobOperator
from pipeline_tuner.study import Study

if TYPE_CHECKING:
    from airflow.sdk import Context


class GlueDedupOperator(JobOperator):
    """Keep the latest record of each key, on Spark or on Glue as `runner.kind` says. Parameters as in JobOperator.

    In production the target is kept and merged into, and with `target.bookmark` only new records are read.
    """

    job: ClassVar[str | None] = "dedup"

    def production_workload(self, study: Study, context: Context) -> dict[str, Any]:
        """The study's workload on a target that stays: a trial's is emptied before each repeat."""
        workload = super().production_workload(study, context)
        target = {**workload.get("target", {}), "scratch": False}
        if not (self.workload or {}).get("target"):
            target["table"] = f"{study.study}_latest"
        return {**workload, "target": target}
