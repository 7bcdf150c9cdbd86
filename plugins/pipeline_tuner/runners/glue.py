"""The runner for AWS Glue: starts a run of a Glue job, waits for it, fetches its measurement from S3.

Every trial is a run of its own with its own worker type and number: nothing is reattached to or reused, because a
measurement that was not made again is none (`durable=False`, in the words of Airflow's own Glue operator).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from airflow.providers.amazon.aws.hooks.glue import GlueJobHook
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import Field, ValidationError

from pipeline_tuner.analysis.glue_prices import DEFAULT_GLUE, ExecutionClass, Prices
from pipeline_tuner.analysis.glue_sizing import glue_arguments
from pipeline_tuner.exceptions import InfrastructureError, StudyError
from pipeline_tuner.measurement import Measurement
from pipeline_tuner.problems import problems_of
from pipeline_tuner.runners.aws_calls import BUSY_S, explained, patiently
from pipeline_tuner.runners.base import Runner, TrialFailedError, TrialRun
from pipeline_tuner.runners.glue_metrics import billed_metrics, cloudwatch_metrics
from pipeline_tuner.runners.job_code import Code
from pipeline_tuner.space import Frozen
from pipeline_tuner.study_check import GLUE_RUNS

log = logging.getLogger(__name__)

POLL_S = 5.0
ENDED = ("SUCCEEDED", "FAILED", "ERROR", "STOPPED", "TIMEOUT", "EXPIRED")
MEMORY_SIGNS = ("OutOfMemory", "out of memory", "exit code 137", "exit code 52", "OUT_OF_MEMORY", "memory limits")


class GlueOptions(Frozen):
    """The study's `runner.options` for Glue."""

    bucket: str
    """S3 bucket for the code, the two documents of each trial, and shuffle files if a trial sends them there."""
    prefix: str = "pipeline-tuner"
    job_name: str = "pipeline-tuner"
    """Glue job definitions are named after it, one for each version of the code."""
    role_arn: str | None = None
    role_name: str | None = None
    glue_version: str = DEFAULT_GLUE
    concurrent_runs: int = Field(default=GLUE_RUNS, ge=1)
    timeout_minutes: int = Field(default=60, ge=1)
    execution_class: ExecutionClass = "STANDARD"
    secret: str = ""
    """A Secrets Manager secret: JSON from the names of the connections' variables to their URIs."""
    python_modules: str = "psycopg2-binary,psutil,duckdb,pyarrow"
    arguments: dict[str, str] = {}
    """More job arguments, for every trial."""
    poll_s: float = Field(default=POLL_S, gt=0)
    deferrable: bool = False
    """Whether the trials of a sweep leave their waiting to the triggerer."""


class GlueRunner(Runner):
    """Runs a job's script on Glue. `options` are the study's `runner.options`; raises StudyError for wrong ones."""

    def __init__(
        self, script: Path, *, modules: Path, prices: Prices, conn_id: str | None, options: Mapping[str, Any]
    ) -> None:
        self._script, self._modules, self._prices = script, modules, prices
        self.conn_id = conn_id or "aws_default"
        try:
            self.options = GlueOptions.model_validate(dict(options))
        except ValidationError as error:
            found = problems_of(error, GlueOptions, dict(options))
            raise StudyError("\n".join(str(one.below("runner", "options")) for one in found)) from None
        self._run_id: str | None = None
        self._state: dict[str, Any] = {}

    @property
    def link(self) -> str:
        """The run in the console of AWS; empty before it started."""
        if "Id" not in self._state:
            return ""
        region = self._hook.conn_region_name or "us-east-1"
        place = f"#/job/{self._hook.job_name}/run/{self._state['Id']}"
        return f"https://{region}.console.aws.amazon.com/gluestudio/home?region={region}{place}"

    def start(self, run: TrialRun) -> None:
        """Upload what isn't there, and start the run. Raises InfrastructureError where AWS refuses."""
        self._run = run
        try:
            code = self._upload_code()
            self._s3.load_file(str(run.config_path), self._key(run, "config.json"), self.options.bucket, replace=True)
            self._hook = self._job_hook(code, run)
            started = self._patiently(
                self._hook.initialize_job,
                self._arguments(code, run),
                self._size(run),
                patience_s=BUSY_S + 60 * self.options.timeout_minutes,
            )
        except (ClientError, BotoCoreError) as error:
            raise InfrastructureError(explained(error)) from None
        self._run_id = started["JobRunId"]

    def wait(self, timeout_s: float) -> int:
        """0 where the run succeeded, 1 otherwise. Raises TimeoutError, InfrastructureError where AWS refuses."""
        deadline = monotonic() + timeout_s
        while True:
            try:
                self._state = self._patiently(self._job_run)
            except (ClientError, BotoCoreError) as error:
                raise InfrastructureError(explained(error)) from None
            if self._state["JobRunState"] in ENDED:
                return 0 if self._state["JobRunState"] == "SUCCEEDED" else 1
            if monotonic() > deadline:
                raise TimeoutError
            sleep(self.options.poll_s)

    def collect(self, exit_code: int) -> Measurement:
        """The job's measurement with what Glue, CloudWatch and the price file add to it."""
        if exit_code:
            raise self._failure()
        try:
            text = self._s3.read_key(self._key(self._run, "measurement.json"), self.options.bucket)
        except ClientError as error:
            raise TrialFailedError("invalid_measurement", f"the run left no measurement: {explained(error)}") from None
        self._run.measurement_path.write_text(text, encoding="utf-8")
        measurement = self._run.read_measurement()
        added = self._metrics()
        return measurement.model_copy(
            update={
                "metrics": {**measurement.metrics, **added},
                "environment": {**measurement.environment, "glue": self._described()},
            }
        )

    def cancel(self) -> None:
        """Stop the run, if there is one that has not ended. Where AWS refuses, the log says which run goes on."""
        if self._run_id and self._state.get("JobRunState") not in ENDED:
            run_id, self._run_id = self._run_id, None
            try:
                self._patiently(self._hook.conn.batch_stop_job_run, JobName=self._hook.job_name, JobRunIds=[run_id])
            except (ClientError, BotoCoreError) as error:
                log.error("Stop run %s of Glue job %s by hand: %s", run_id, self._hook.job_name, explained(error))

    @property
    def handle(self) -> dict[str, str]:
        """What another process needs to take the started run up again; no secret is in it."""
        return {
            "job_name": str(self._hook.job_name),
            "run_id": str(self._run_id),
            "not_before": self._run.not_before.isoformat(),
        }

    def take_up(self, run: TrialRun, handle: Mapping[str, str]) -> None:
        """Go on with a run that another process started: `wait`, `collect` and `cancel` are then of that run."""
        self._run = replace(run, not_before=datetime.fromisoformat(handle["not_before"]))
        self._hook = GlueJobHook(aws_conn_id=self.conn_id, job_name=handle["job_name"])
        self._run_id = handle["run_id"]

    @cached_property
    def _s3(self) -> S3Hook:
        return S3Hook(aws_conn_id=self.conn_id)

    def _job_hook(self, code: Code, run: TrialRun) -> GlueJobHook:
        size = self._size(run)
        return GlueJobHook(
            aws_conn_id=self.conn_id,
            job_name=f"{self.options.job_name}-{run.job}-{code.digest[:12]}",
            desc=f"Trials of {run.job} by Airflow Pipeline Tuner",
            script_location=self._uri(code.script_key),
            concurrent_run_limit=self.options.concurrent_runs,
            iam_role_arn=self.options.role_arn,
            iam_role_name=self.options.role_name,
            create_job_kwargs={
                "GlueVersion": self.options.glue_version,
                "WorkerType": size["WorkerType"],
                "NumberOfWorkers": size["NumberOfWorkers"],
            },
        )

    def _size(self, run: TrialRun) -> dict[str, Any]:
        """What `start_job_run` is told of this trial's size: the job's definition keeps its own."""
        worker_type = str(run.configuration.get("worker_type", "G.1X"))
        self._prices.worker(worker_type)
        return {
            "WorkerType": worker_type,
            "NumberOfWorkers": int(run.configuration.get("workers", 2)),
            "Timeout": self.options.timeout_minutes,
            "ExecutionClass": self.options.execution_class,
        }

    def _arguments(self, code: Code, run: TrialRun) -> dict[str, str]:
        arguments = {
            "--config": self._uri(self._key(run, "config.json")),
            "--measurement": self._uri(self._key(run, "measurement.json")),
            "--extra-py-files": self._uri(code.modules_key),
            "--additional-python-modules": self.options.python_modules,
            **glue_arguments(run.configuration, self.options.bucket),
            **self.options.arguments,
        }
        return arguments | ({"--secret": self.options.secret} if self.options.secret else {})

    def _upload_code(self) -> Code:
        """Script and modules, once for each content: a sweep's later trials find them there."""
        code = Code.of(self._script, self._modules, f"{self.options.prefix}/code")
        for key, content in ((code.modules_key, code.modules), (code.script_key, code.script)):
            if not self._s3.check_for_key(key, self.options.bucket):
                self._s3.load_bytes(content, key, self.options.bucket, replace=True)
        return code

    def _job_run(self) -> dict[str, Any]:
        found: dict[str, Any] = self._hook.conn.get_job_run(JobName=self._hook.job_name, RunId=self._run_id)["JobRun"]
        return found

    def _patiently(self, call: Any, *arguments: Any, patience_s: float = BUSY_S, **named: Any) -> Any:
        return patiently(call, *arguments, poll_s=self.options.poll_s, patience_s=patience_s, **named)

    def _failure(self) -> Exception:
        state, message = self._state["JobRunState"], str(self._state.get("ErrorMessage", "")).strip()
        size = self._size(self._run)
        where = f"on {size['NumberOfWorkers']} workers {size['WorkerType']}"
        if any(sign in message for sign in MEMORY_SIGNS):
            memory = self._prices.worker(size["WorkerType"]).memory_gb
            return TrialFailedError("out_of_memory", f"out of memory at {memory:g} GB per worker, {where}: {message}")
        if state == "TIMEOUT":
            return TrialFailedError("timeout", f"Glue ended the run after {self.options.timeout_minutes} min, {where}")
        if state in ("STOPPED", "EXPIRED"):
            return InfrastructureError(f"the Glue run was {state.lower()} by someone or something else: {message}")
        return TrialFailedError("error", f"the Glue run {state.lower()} {where}: {message or 'no message'}")

    def _metrics(self) -> dict[str, float]:
        options = self.options
        size = self._size(self._run)
        billed = billed_metrics(self._state, size, self._prices, options.execution_class, options.glue_version)
        return billed | cloudwatch_metrics(self.conn_id, str(self._state["Id"]), self._state)

    def _described(self) -> dict[str, Any]:
        size = self._size(self._run)
        return {
            "version": self.options.glue_version,
            **size,
            "run_id": self._state["Id"],
            "prices": self._prices.source(size["WorkerType"], self.options.execution_class, self.options.glue_version),
        }

    def _key(self, run: TrialRun, name: str) -> str:
        return f"{self.options.prefix}/trials/{run.trial_id}/{name}"

    def _uri(self, key: str) -> str:
        return f"s3://{self.options.bucket}/{key}"
