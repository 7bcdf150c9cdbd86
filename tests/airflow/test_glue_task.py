"""Airflow's own Glue operator as a study's job and as a tuned task, against moto: real calls of Glue and S3."""

# ruff: noqa: F811 - fixtures are imported, and named again where a test asks for them

from __future__ import annotations

import boto3
import pytest
from airflow.providers.amazon.aws.hooks.glue import GlueJobHook
from airflow.providers.amazon.aws.operators.glue import GlueJobOperator
from botocore.exceptions import ClientError
from glue_stubs import BUCKET, aws  # noqa: F401
from operator_study import choice, integer, operator_study
from task_instance import TaskInstance
from test_operator_runner import measure  # noqa: F401
from test_tuned_hooks import noted  # noqa: F401

from pipeline_tuner import tuned
from pipeline_tuner.exceptions import InfrastructureError

GLUE = "airflow.providers.amazon.aws.operators.glue.GlueJobOperator"
ARGUMENTS = {
    "job_name": "orders",
    "aws_conn_id": "aws_test",
    "s3_bucket": BUCKET,
    "script_location": f"s3://{BUCKET}/orders.py",
    "iam_role_arn": "arn:aws:iam::123456789012:role/test",
    "create_job_kwargs": {"GlueVersion": "5.1", "WorkerType": "G.1X", "NumberOfWorkers": 2},
    "run_job_kwargs": {"WorkerType": "G.1X", "NumberOfWorkers": 2},
    "job_poll_interval": 0.01,
}


def study(**changes):
    found = operator_study(
        GLUE,
        ARGUMENTS,
        {
            "workers": integer(2, 20, 2, "run_job_kwargs.NumberOfWorkers"),
            "worker_type": choice(["G.1X", "G.2X"], "run_job_kwargs.WorkerType"),
        },
        presets={"now": {}, "large": {"workers": 10, "worker_type": "G.2X"}},
        goals={"cost": {"minimize": "cost", "unit": "USD"}},
    )
    found["runner"] |= changes
    return found


def runs():
    return boto3.client("glue").get_job_runs(JobName="orders")["JobRuns"]


def test_a_trial_is_a_run_of_its_own_size_and_says_what_it_cost(aws, measure):
    found = measure(study(concurrent=4), {"workers": 10, "worker_type": "G.2X"})
    (run,) = [run for run in runs() if run["NumberOfWorkers"] == 10]
    assert run["WorkerType"] == "G.2X"
    # moto says 123 s for every run.
    assert found.metrics["dpu_seconds"] == pytest.approx(20 * 123)
    assert found.metrics["cost"] == pytest.approx(20 * 123 / 3600 * 0.44)


def test_where_other_runs_hold_the_concurrency_a_trial_waits_outside_of_its_time(aws, measure, monkeypatch):
    started, asked = GlueJobHook.initialize_job, []

    def busy_once(self, *arguments):
        asked.append(1)
        if len(asked) == 1:
            error = {"Error": {"Code": "ConcurrentRunsExceededException", "Message": "Concurrent runs exceeded"}}
            raise ClientError(error, "StartJobRun")
        return started(self, *arguments)

    monkeypatch.setattr(GlueJobHook, "initialize_job", busy_once)
    assert measure(study()).status == "measured"
    assert len(asked) == 2


def test_no_room_to_the_end_says_nothing_of_the_configuration(aws, measure, monkeypatch):
    def busy(self, *arguments):
        error = {"Error": {"Code": "ResourceNumberLimitExceededException", "Message": "max DPU"}}
        raise ClientError(error, "StartJobRun")

    monkeypatch.setattr(GlueJobHook, "initialize_job", busy)
    with pytest.raises(InfrastructureError, match="ResourceNumberLimitExceeded"):
        measure(study(), timeout_s=0.5)


def test_a_glue_task_with_the_keyword_is_noted_with_its_cost(aws, results, noted):
    sets = {"workers": "run_job_kwargs.NumberOfWorkers"}
    orders = GlueJobOperator(task_id="orders", durable=False, **ARGUMENTS, **tuned("orders", sets=sets))
    context = {"ti": TaskInstance(), "task": orders}
    orders._pre_execute_hook(context)
    run_id = orders.execute({"ti": TaskInstance()})
    orders._post_execute_hook(context, run_id)
    (row,) = noted()
    assert (row.status, row.configuration) == ("measured", {"workers": 2})
    assert row.metrics["cost"] == pytest.approx(2 * 123 / 3600 * 0.44)


def test_a_run_that_glue_does_not_know_costs_its_metrics_alone(aws, results, noted, caplog):
    sets = {"workers": "run_job_kwargs.NumberOfWorkers"}
    orders = GlueJobOperator(task_id="orders", durable=False, **ARGUMENTS, **tuned("orders", sets=sets))
    context = {"ti": TaskInstance(), "task": orders}
    orders._pre_execute_hook(context)
    orders._post_execute_hook(context, "jr_none")
    assert [row.status for row in noted()] == ["measured"]
    assert "no metrics of Glue's" in caplog.text
