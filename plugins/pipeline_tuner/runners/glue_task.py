"""The metrics of the Glue run that Airflow's own Glue operator started in a tuned task."""

from __future__ import annotations

import logging
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from pipeline_tuner import settings
from pipeline_tuner.analysis.glue_prices import DEFAULT_GLUE, load_prices
from pipeline_tuner.exceptions import StudyError

log = logging.getLogger(__name__)

OPERATOR = "GlueJobOperator"


def glue_run_metrics(operator: object, result: object) -> dict[str, float]:
    """Duration, DPU seconds, cost and CloudWatch's metrics of a Glue task's run; `result` is what the task returned.

    None for any other task, and, with a warning, where AWS or the price file does not say them.
    """
    if not isinstance(result, str) or OPERATOR not in [kind.__name__ for kind in type(operator).__mro__]:
        return {}
    try:
        return _metrics(operator, result)
    except (ClientError, BotoCoreError, StudyError, KeyError) as error:
        log.warning("This run has no metrics of Glue's: %s: %s", type(error).__name__, error)
        return {}


def _metrics(operator: Any, run_id: str) -> dict[str, float]:
    # Imported here: AWS's client takes a second, which no other task should pay.
    from pipeline_tuner.runners.glue_metrics import billed_metrics, cloudwatch_metrics

    client = operator.hook.conn
    run = client.get_job_run(JobName=operator.job_name, RunId=run_id)["JobRun"]
    glue = client.get_job(JobName=operator.job_name)["Job"].get("GlueVersion", DEFAULT_GLUE)
    prices, execution_class = load_prices(settings.prices_file()), run.get("ExecutionClass", "STANDARD")
    return billed_metrics(run, run, prices, execution_class, glue) | cloudwatch_metrics(
        operator.aws_conn_id, run_id, run
    )
