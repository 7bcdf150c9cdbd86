"""The DAG that maintains the quantizer's rollups: a task per procedure of Iceberg."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import DAG, chain

from pipeline_tuner import settings
from pipeline_tuner.dag_factory import RETRIES, START
from pipeline_tuner.operators.quantizer import QuantizerMaintenanceOperator


def maintenance_dag(study: str, *, table: str, tasks: Sequence[str], dag_id: str, schedule: Any = None) -> DAG:
    """A DAG of maintenance on an Iceberg table, each procedure a task of its own, one after the other.

    :param study: Name of a quantizer's study, or the path of its file: it says how the job runs and where tables lie.
    :param table: The table, as `lake.metrics.rollups`.
    :param tasks: Names of procedures (docs/quantizer.md), in order.
    :param dag_id: Name of the DAG.
    :param schedule: Airflow schedule; none by default.
    """
    known = settings.load_named_study(study)
    with DAG(
        dag_id,
        description=f"Maintenance of the Iceberg table {table}",
        doc_md=f"### Maintenance of `{table}`\n\n{', '.join(tasks)}: none changes a row. Not while a batch runs.",
        schedule=schedule,
        start_date=START,
        catchup=False,
        max_active_runs=1,
        default_args={"owner": known.owner, **RETRIES},
        tags=["pipeline-tuner", "maintenance", known.job, *known.tags],
    ) as dag:
        chain(*(QuantizerMaintenanceOperator(task_id=task, study=study, procedure=task, table=table) for task in tasks))
    return dag
