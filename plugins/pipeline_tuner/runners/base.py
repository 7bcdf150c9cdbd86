"""The base of every runner (`Runner`): what all do, and what an exit code, a signal or an out-of-memory kill means."""

from __future__ import annotations

import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pipeline_tuner.exceptions import InfrastructureError, PipelineTunerError
from pipeline_tuner.failure_cause import with_cause
from pipeline_tuner.measurement import CONTRACT_VERSION, FailureKind, Measurement, read_measurement
from pipeline_tuner.program_output import memory_sign
from pipeline_tuner.runners.job_output import JobOutput
from pipeline_tuner.space import Configuration

log = logging.getLogger(__name__)


class TrialFailedError(PipelineTunerError):
    """The job gave no usable measurement; `kind` says why, the message says it in words."""

    def __init__(self, kind: FailureKind, reason: str) -> None:
        super().__init__(reason)
        self.kind: FailureKind = kind


class DocumentFolder:
    """A folder with the two documents of the contract, under the same names wherever a run is handed to."""

    folder: Path

    @property
    def config_path(self) -> Path:
        """The configuration file that the job reads."""
        return self.folder / "config.json"

    @property
    def measurement_path(self) -> Path:
        """The measurement file that the job leaves."""
        return self.folder / "measurement.json"


@dataclass(frozen=True)
class TrialRun(DocumentFolder):
    """One run of a job, in a folder of its own. Secrets are only in `environment`."""

    job: str
    trial_id: str
    configuration: Configuration
    folder: Path
    workload: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variables for the job: the connections' URIs among them."""
    connections: Mapping[str, str] = field(default_factory=dict)
    """Role (`source`) to the name of the variable in `environment` that holds its URI."""
    fraction: float = 1.0
    warmups: int = 1
    repeats: int = 1
    min_work_s: float = 0.0
    not_before: datetime = field(default_factory=lambda: datetime.now(UTC))

    @cached_property
    def output(self) -> JobOutput:
        """What the job prints, without secrets."""
        return JobOutput(self.folder / "job.log", secrets=secrets_in(self.environment))

    def write_config(self) -> None:
        """Write the configuration file (docs/contract.md)."""
        document = {
            "contract": CONTRACT_VERSION,
            "job": self.job,
            "trial_id": self.trial_id,
            "configuration": dict(self.configuration),
            "workload": dict(self.workload),
            "connections": dict(self.connections),
            "fraction": self.fraction,
            "warmups": self.warmups,
            "repeats": self.repeats,
        }
        if self.min_work_s:  # a job that was written before there was this key need not know it
            document["min_work_s"] = self.min_work_s
        self.config_path.write_text(json.dumps(document, indent=1), encoding="utf-8")

    def read_measurement(self) -> Measurement:
        """The validated measurement. Raises MeasurementError."""
        return read_measurement(self.measurement_path, job=self.job, trial_id=self.trial_id, not_before=self.not_before)


class Runner(ABC):
    """Runs one trial: `start`, `wait`, `collect`; `cancel` at any time, also from a signal handler and twice."""

    @abstractmethod
    def start(self, run: TrialRun) -> None:
        """Start the job. Raises InfrastructureError where it can't be started at all."""

    @abstractmethod
    def wait(self, timeout_s: float) -> int:
        """The job's exit code, 128 + N for one that died of signal N. Raises TimeoutError after `timeout_s`."""

    @abstractmethod
    def collect(self, exit_code: int) -> Measurement:
        """The measurement. Raises TrialFailedError, MeasurementError, or InfrastructureError (worth a retry)."""

    @abstractmethod
    def cancel(self) -> None:
        """Leave no process of the job behind, on this machine or elsewhere."""

    @property
    def link(self) -> str:
        """The engine's own page on the run, for people; empty where there is none."""
        return ""

    def end_of_sweep(self) -> None:  # noqa: B027 - most runners keep nothing between trials
        """End what was kept between the trials of a sweep."""

    def run(self, run: TrialRun, timeout_s: float) -> Measurement:
        """The measurement of one trial, from start to end."""
        run.write_config()
        try:
            self.start(run)
            exit_code = self.wait(timeout_s)
            return self.collect(exit_code)
        except TimeoutError:
            raise TrialFailedError("timeout", f"it ran longer than the {timeout_s:g} s that a trial may take") from None
        finally:
            self.cancel()


SIGKILLED = 137
UNEXPLAINED = ("infrastructure", "error")
"""Kinds of failures that may be the consequence of another one."""
MEMORY_SETTINGS = ("driver_memory", "executor_memory", "spark.executor.memoryOverhead", "worker_type", "memory")
"""Parameters that say how much memory a trial had."""


def measurement_of(run: TrialRun, exit_code: int, *, kernel_kills_before: int | None) -> Measurement:
    """What a job that ended on this machine amounts to: its measurement, or the reason why there is none."""
    measurement = run.read_measurement() if exit_code == 0 else None
    if measurement is not None and (measurement.failure is None or measurement.failure.kind not in UNEXPLAINED):
        return measurement
    # A job whose JVM went away saw no more than that, or that its context was shut down; the JVM's words say why.
    text = run.output.text()
    sign = memory_sign(text)
    if sign is not None:
        raise TrialFailedError("out_of_memory", f"{out_of_memory(run.configuration)} ({sign})")
    if measurement is not None:
        return measurement
    if exit_code != SIGKILLED:
        words = with_cause(f"the job ended with exit code {exit_code}", text)
        raise TrialFailedError("error", f"{words}\n\nIts last lines:\n{run.output.tail()}")
    if kernel_kills_before is None or (kernel_kills() or 0) > kernel_kills_before:
        raise TrialFailedError("out_of_memory", f"{out_of_memory(run.configuration)}: the kernel killed the job")
    raise InfrastructureError("something killed the job (SIGKILL) that was not the kernel's lack of memory")


def out_of_memory(configuration: Configuration) -> str:
    """What happened, with how much memory the configuration gave: `out of memory at driver memory 512m`."""
    given = [f"{name.replace('_', ' ')} {configuration[name]}" for name in MEMORY_SETTINGS if name in configuration]
    return f"out of memory at {', '.join(given)}" if given else "out of memory"


def kernel_kills() -> int | None:
    """How many processes the kernel has killed for lack of memory, here and in this container; None where unknown."""
    counts = [
        int(line.split()[1])
        for path in (Path("/proc/vmstat"), Path("/sys/fs/cgroup/memory.events"))
        if path.exists()
        for line in path.read_text(encoding="ascii").splitlines()
        if line.startswith("oom_kill ")
    ]
    return sum(counts) if counts else None


def secrets_in(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The passwords in a job's variables, as written and decoded, longest first."""
    passwords = {urlsplit(value).password for value in environment.values() if "://" in value}
    found = {text for password in passwords if password for text in (password, unquote(password))}
    return tuple(sorted(found, key=len, reverse=True))
