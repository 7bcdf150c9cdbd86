"""Trials on Glue, against moto: real calls of Glue, S3, CloudWatch; a named stub runs the script that moto doesn't."""

# ruff: noqa: F811 - a fixture is imported, and named again where a test asks for it

from __future__ import annotations

import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from glue_stubs import BUCKET, ScriptStub, aws  # noqa: F401

from pipeline_jobs.contract import MeasurementWriter, TrialConfig
from pipeline_jobs.dedup.glue import bucket_and_key, glue_arguments, in_glue
from pipeline_tuner.analysis.glue_prices import parse_prices
from pipeline_tuner.exceptions import InfrastructureError, StudyError
from pipeline_tuner.runners import TrialFailedError, TrialRun
from pipeline_tuner.runners import glue as glue_runner
from pipeline_tuner.runners.glue import GlueRunner

ROOT = Path(__file__).resolve().parents[2]
PRICES = parse_prices((ROOT / "include" / "configs" / "prices.yaml").read_text())
JOBS = ROOT / "spark_jobs"
OPTIONS = {"bucket": BUCKET, "role_arn": "arn:aws:iam::123456789012:role/test", "poll_s": 0.01}


def measured(config: TrialConfig, writer: MeasurementWriter) -> None:
    for sample in writer.samples():
        sample.timed(lambda: None)
        sample.duration_s = 1.0
        sample.metrics["rows"] = 10.0
    writer.details["target"] = os.environ.get("TARGET_OF_SECRET", "")


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline_jobs.dedup.glue.run_on_glue", measured)
    monkeypatch.setattr(glue_runner, "GlueJobHook", ScriptStub)


@pytest.fixture(scope="module", autouse=True)
def jobs(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The code to upload, as it is now: a digest must not change while somebody edits."""
    global JOBS
    JOBS = shutil.copytree(ROOT / "spark_jobs", tmp_path_factory.mktemp("jobs") / "spark_jobs")


def runner(kind: type[GlueRunner] = GlueRunner, **options: Any) -> GlueRunner:
    return kind(
        JOBS / "dedup.py",
        modules=JOBS,
        prices=PRICES,
        conn_id="aws_test",
        options={**OPTIONS, **options},
    )


def trial(folder: Path, name: str, **configuration: Any) -> TrialRun:
    (folder / name).mkdir()
    return TrialRun("dedup", name, configuration, folder / name, workload={"name": "flights"})


def test_trials_of_several_sizes(aws: str, script: None, tmp_path: Path) -> None:
    found = {}
    for name, worker_type, workers in (("a", "G.1X", 10), ("b", "G.2X", 5), ("c", "R.1X", 3)):
        run = trial(tmp_path, name, worker_type=worker_type, workers=workers, shuffle_to_s3=name == "c")
        found[name] = runner().run(run, 60).metrics
    job = boto3.client("glue").get_jobs()["Jobs"][0]
    runs = {r["Arguments"]["--config"].split("/")[-2]: r for r in _runs(job["Name"])}
    assert {n: (r["WorkerType"], r["NumberOfWorkers"]) for n, r in runs.items()} == {
        "a": ("G.1X", 10),
        "b": ("G.2X", 5),
        "c": ("R.1X", 3),
    }
    assert job["ExecutionProperty"]["MaxConcurrentRuns"] == 4
    assert "--write-shuffle-files-to-s3" not in runs["a"]["Arguments"]
    assert runs["c"]["Arguments"]["--conf"] == f"spark.shuffle.glue.s3ShuffleBucket=s3://{BUCKET}/shuffle/"
    # moto says 123 s for every run.
    assert found["a"]["dpu_seconds"] == found["b"]["dpu_seconds"] == 10 * 123
    assert found["a"]["cost"] == pytest.approx(10 * 123 / 3600 * 0.44)
    assert found["c"]["cost"] == pytest.approx(3 * 123 / 3600 * 0.52)
    keys = [item["Key"] for item in boto3.client("s3").list_objects_v2(Bucket=BUCKET)["Contents"]]
    assert len([key for key in keys if "/code/" in key]) == 2, "script and modules, once for all trials"


def _runs(job: str) -> list[dict[str, Any]]:
    return boto3.client("glue").get_job_runs(JobName=job)["JobRuns"]


def test_figures_of_cloudwatch(aws: str, script: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = ScriptStub.initialize_job

    def with_figures(self: Any, *arguments: Any) -> Any:
        run = started(self, *arguments)
        sent = [
            ("glue.driver.workerUtilization", 0.1),
            ("glue.ALL.memory.heap.used.percentage", 91.0),
            ("glue.driver.skewness.stage", 4.0),
            ("glue.error.OUT_OF_MEMORY_ERROR", 2.0),
            ("glue.driver.somethingElse", 1.0),
        ]
        dimensions = [{"Name": "JobName", "Value": self.job_name}, {"Name": "JobRunId", "Value": run["JobRunId"]}]
        boto3.client("cloudwatch").put_metric_data(
            Namespace="Glue",
            MetricData=[
                {"MetricName": name, "Value": value, "Dimensions": dimensions, "Timestamp": datetime.now(UTC)}
                for name, value in sent
            ],
        )
        return run

    monkeypatch.setattr(ScriptStub, "initialize_job", with_figures)
    metrics = runner().run(trial(tmp_path, "watched"), 60).metrics
    assert metrics["worker_utilization_fraction"] == pytest.approx(0.1)
    assert metrics["heap_used_max_percent"] == pytest.approx(91)
    assert metrics["stage_skewness"] == pytest.approx(4)
    assert metrics["errors_out_of_memory_error"] == pytest.approx(2)


class FailedRunStub(GlueRunner):
    """moto has no failed runs: this one says what Glue says of one."""

    state: dict[str, Any] = {}

    def _job_run(self) -> dict[str, Any]:
        return {**super()._job_run(), **self.state}


@pytest.mark.parametrize(
    ("state", "message", "kind", "reason"),
    [
        ("FAILED", "Container killed by YARN for exceeding memory limits", "out_of_memory", "16 GB per worker, on 2 w"),
        ("FAILED", "AnalysisException: no such table", "error", "no such table"),
        ("TIMEOUT", "", "timeout", "60 min"),
    ],
)
def test_a_failed_run_is_a_result(
    aws: str,
    script: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    message: str,
    kind: str,
    reason: str,
) -> None:
    monkeypatch.setattr(FailedRunStub, "state", {"JobRunState": state, "ErrorMessage": message})
    failing = FailedRunStub(
        ROOT / "spark_jobs" / "dedup.py",
        modules=ROOT / "spark_jobs",
        prices=PRICES,
        conn_id="aws_test",
        options=OPTIONS,
    )
    with pytest.raises(TrialFailedError, match=reason) as caught:
        failing.run(trial(tmp_path, "failing"), 60)
    assert caught.value.kind == kind


def test_throttling_is_waited_out(aws: str, script: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusals = ["ThrottlingException", "ConcurrentRunsExceededException"]
    started = ScriptStub.initialize_job

    def throttled(self: Any, *arguments: Any) -> Any:
        if refusals:
            raise ClientError({"Error": {"Code": refusals.pop(), "Message": "slow down"}}, "StartJobRun")
        return started(self, *arguments)

    monkeypatch.setattr(ScriptStub, "initialize_job", throttled)
    assert runner().run(trial(tmp_path, "patient"), 60).metrics["rows"] == 10
    assert not refusals


def test_no_permission_is_one_clear_message(
    aws: str, script: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: Any, *arguments: Any) -> Any:
        denied = {"Error": {"Code": "AccessDeniedException", "Message": "not authorized to perform: glue:StartJobRun"}}
        raise ClientError(denied, "StartJobRun")

    monkeypatch.setattr(ScriptStub, "initialize_job", refused)
    with pytest.raises(InfrastructureError, match="no AWS permission for StartJobRun"):
        runner().run(trial(tmp_path, "refused"), 60)
    with pytest.raises(InfrastructureError, match=r"AWS refused|no AWS permission"):
        runner(bucket="no-such-bucket").run(trial(tmp_path, "nowhere"), 60)


def test_a_cancelled_run_is_stopped(aws: str, script: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """moto answers 500 to BatchStopJobRun: the call is caught at the client."""
    stopped = []
    run = trial(tmp_path, "cancelled")
    run.write_config()
    one = runner(kind=FailedRunStub)
    monkeypatch.setattr(FailedRunStub, "state", {"JobRunState": "RUNNING"})
    one.start(run)
    monkeypatch.setattr(one._hook.conn, "batch_stop_job_run", lambda **named: stopped.append(named["JobRunIds"]))
    with pytest.raises(TimeoutError):
        one.wait(0.05)
    one.cancel()
    one.cancel()
    assert len(stopped) == 1


def test_a_secret_reaches_the_job_and_nothing_else(aws: str, script: None, tmp_path: Path) -> None:
    uri = "postgresql://user:hunter2@db/warehouse"
    boto3.client("secretsmanager").create_secret(Name="tuner", SecretString=json.dumps({"TARGET_OF_SECRET": uri}))
    try:
        measurement = runner(secret="tuner").run(trial(tmp_path, "secret"), 60)
    finally:
        os.environ.pop("TARGET_OF_SECRET", None)
    assert measurement.details["target"] == uri, "the stub shows what the job got"
    for run in _runs(boto3.client("glue").get_jobs()["Jobs"][0]["Name"]):
        assert "hunter2" not in json.dumps(run["Arguments"])


def test_wrong_options_name_themselves() -> None:
    with pytest.raises(StudyError, match=r"runner\.options\.bucket"):
        GlueRunner(ROOT, modules=ROOT, prices=PRICES, conn_id=None, options={})
    with pytest.raises(StudyError, match=r"worker type 'G\.3X' is not in the price file"):
        PRICES.worker("G.3X")


def test_arguments_of_glue() -> None:
    argv = [
        "dedup.py",
        "--JOB_NAME",
        "x",
        "--config=s3://b/c.json",
        "--measurement",
        "s3://b/m.json",
        "--enable-metrics",
    ]
    assert in_glue(argv)
    assert not in_glue(["dedup.py", "--config", "c"])
    arguments = glue_arguments(argv)
    assert bucket_and_key(arguments["config"]) == ("b", "c.json")
    assert arguments["measurement"] == "s3://b/m.json"
