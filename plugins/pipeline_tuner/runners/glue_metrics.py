"""What a Glue run was billed, and its metrics from CloudWatch."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from botocore.exceptions import BotoCoreError, ClientError

from pipeline_tuner.analysis.glue_prices import ExecutionClass, Prices

log = logging.getLogger(__name__)

NAMESPACE = "Glue"
AVERAGED = {
    "glue.driver.workerUtilization": "worker_utilization_fraction",
    "glue.ALL.memory.heap.used.percentage": "heap_used_percent",
    "glue.ALL.disk.used.percentage": "disk_used_percent",
}
HIGHEST = {
    "glue.driver.skewness.stage": "stage_skewness",
    "glue.driver.skewness.job": "job_skewness",
    "glue.ALL.memory.heap.used.percentage": "heap_used_max_percent",
    "glue.ALL.disk.used.percentage": "disk_used_max_percent",
}
ERROR_PREFIX = "glue.error."
PERIOD_S = 30
SLACK = timedelta(minutes=5)


def billed_metrics(
    state: Mapping[str, Any], size: Mapping[str, Any], prices: Prices, execution_class: ExecutionClass, glue: str
) -> dict[str, float]:
    """`dpu_seconds` and `cost` of a run, and `glue_execution_s`: Glue's own DPU seconds where it gives them."""
    execution_s = float(state.get("ExecutionTime") or 0)
    dpu = prices.worker(size["WorkerType"]).dpu * size["NumberOfWorkers"]
    dpu_seconds = float(state.get("DPUSeconds") or dpu * execution_s)
    return {
        "glue_execution_s": execution_s,
        "dpu_seconds": dpu_seconds,
        "cost": prices.cost(size["WorkerType"], dpu_seconds, execution_s, execution_class, glue),
    }


def cloudwatch_metrics(conn_id: str, run_id: str, state: Mapping[str, Any]) -> dict[str, float]:
    """Utilisation, memory, disk, skew and errors of a run, as far as CloudWatch has them by now.

    They come some minutes late, and never cost a trial: without them the measurement is complete.
    """
    client = AwsBaseHook(aws_conn_id=conn_id, client_type="cloudwatch").conn
    try:
        pages = client.get_paginator("list_metrics").paginate(
            Namespace=NAMESPACE, Dimensions=[{"Name": "JobRunId", "Value": run_id}]
        )
        metrics = [metric for page in pages for metric in page["Metrics"]]
        return {name: value for metric in metrics for name, value in _values(client, metric, state).items()}
    except (ClientError, BotoCoreError) as error:
        log.warning("No metrics from CloudWatch: %s", error)
        return {}


def _values(client: Any, metric: Mapping[str, Any], state: Mapping[str, Any]) -> dict[str, float]:
    name = metric["MetricName"]
    if name not in {*AVERAGED, *HIGHEST} and not name.startswith(ERROR_PREFIX):
        return {}
    points = client.get_metric_statistics(
        Namespace=NAMESPACE,
        MetricName=name,
        Dimensions=metric["Dimensions"],
        StartTime=state["StartedOn"] - SLACK,
        EndTime=(state.get("CompletedOn") or state["StartedOn"]) + SLACK,
        Period=PERIOD_S,
        Statistics=["Average", "Maximum", "Sum"],
    )["Datapoints"]
    if not points:
        return {}
    if name.startswith(ERROR_PREFIX):
        return {f"errors_{name.removeprefix(ERROR_PREFIX).lower()}": sum(point["Sum"] for point in points)}
    found = {HIGHEST[name]: max(point["Maximum"] for point in points)} if name in HIGHEST else {}
    if name in AVERAGED:
        found[AVERAGED[name]] = sum(point["Average"] for point in points) / len(points)
    return found
