"""The runner of `kind: process`: a job as a process of this machine, its environment, its time-out, under
`guard.py`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline_tuner import settings
from pipeline_tuner.command import Command, variables
from pipeline_tuner.exceptions import ConfigurationError, InfrastructureError
from pipeline_tuner.measurement import Measurement
from pipeline_tuner.runners.base import Runner, TrialFailedError, TrialRun, kernel_kills, measurement_of
from pipeline_tuner.space import Scalar

GUARD = Path(__file__).with_name("guard.py")
POLL_S = 0.05
KILL_AFTER_S = 60.0
"""For a guard that ends its job on a busy machine; after that the guard itself is killed."""
DATA_VARIABLE = "PIPELINE_TUNER_DATA"
"""By it a job knows the data folder (pipeline_jobs/contract.py); its working folder says nothing of that."""
AIRFLOW_SECRETS = ("AIRFLOW__", "AIRFLOW_CONN_", "AIRFLOW_VAR_")
"""Variables that configure Airflow: none of a job's business."""


@dataclass(frozen=True)
class ProcessTimes:
    """What a command took, as its guard saw it: from its own start to its own end."""

    duration_s: float
    core_seconds: float
    """Processor time of it and of all processes that it started."""


class ProcessRunner(Runner):
    """Runs a command. In it `{config}` and `{measurement}` become file names, `{cores}` the parameter `cores`, ...

    All of them are in the environment, too: `TUNER_CONFIG`, `TUNER_CORES`. A parameter that is inactive has its value
    of `defaults`. The job's folder of modules goes first in PYTHONPATH, this Python's folder first in PATH.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        modules: Path,
        folder: Path | None = None,
        defaults: Mapping[str, Scalar] | None = None,
    ) -> None:
        self._command = Command(tuple(command))
        self._defaults = dict(defaults or {})
        self._modules = modules
        self._folder = folder
        self._guard: subprocess.Popen[bytes] | None = None
        self._kernel_kills: int | None = None

    def command(self, run: TrialRun) -> list[str]:
        """The command for one trial. Raises TrialFailedError where a value can't be put into it."""
        try:
            return self._command.filled(self._values(run))
        except ConfigurationError as error:
            raise TrialFailedError("bad_configuration", f"runner.command: {error}") from None

    def _values(self, run: TrialRun) -> dict[str, Scalar]:
        files = {"config": str(run.config_path), "measurement": str(run.measurement_path)}
        return {**self._defaults, **run.configuration, **files}

    def start(self, run: TrialRun) -> None:
        """Start the command under its guard, its output in a file: nothing that it prints ever waits for a reader."""
        self._run = run
        self._kernel_kills = kernel_kills()
        guard = [sys.executable, "-I", str(GUARD), "--lifeline", f"--times={self._times_path}"]
        own = variables(self._values(run)) if self._command.parts else {}
        with run.output.path.open("ab") as output:
            self._guard = subprocess.Popen(
                [*guard, "--", *self.command(run)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=job_environment({**own, **run.environment}, self._modules),
                cwd=self._folder,
                start_new_session=True,
            )

    @property
    def _times_path(self) -> Path:
        return self._run.folder / "times"

    @property
    def times(self) -> ProcessTimes:
        """What the command took. Raises InfrastructureError where its guard did not live to say it."""
        try:
            duration_s, core_seconds = map(float, self._times_path.read_text(encoding="ascii").split())
        except (OSError, ValueError):
            raise InfrastructureError("the job's guard was killed before it could say what the job took") from None
        return ProcessTimes(duration_s, core_seconds)

    def wait(self, timeout_s: float) -> int:
        """Wait for the command's end, copying to the log what it prints, within bounds."""
        if self._guard is None:
            raise RuntimeError("the job was not started")
        deadline = time.monotonic() + timeout_s
        while self._guard.poll() is None:
            if time.monotonic() > deadline:
                self._run.output.finish()
                raise TimeoutError
            time.sleep(POLL_S)
            self._while_waiting()
        self._run.output.finish()
        code = self._guard.returncode
        return 128 - code if code < 0 else code

    def _while_waiting(self) -> None:
        """What is done again and again until the command has ended."""
        self._run.output.follow()

    def collect(self, exit_code: int) -> Measurement:
        """The measurement that the job left."""
        return measurement_of(self._run, exit_code, kernel_kills_before=self._kernel_kills)

    def cancel(self) -> None:
        """Let go of the guard's lifeline: it ends every process of the job, then itself."""
        if self._guard is None:
            return
        if self._guard.stdin:
            with contextlib.suppress(OSError):
                self._guard.stdin.close()
        try:
            self._guard.wait(KILL_AFTER_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._guard.pid, signal.SIGKILL)
            self._guard.wait()


def job_environment(own: Mapping[str, str], modules: Path) -> dict[str, str]:
    """The variables that a job starts with: this process's without Airflow's settings and connections, and its own.

    They name the data folder too, wherever the job's process runs.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(AIRFLOW_SECRETS)}
    environment = {**inherited, **own}
    programs = str(Path(sys.executable).parent)
    environment["PATH"] = os.pathsep.join([programs, environment.get("PATH", os.defpath)])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(modules), environment.get("PYTHONPATH")]))
    environment["PYTHONUNBUFFERED"] = "1"
    environment.setdefault("PYSPARK_PYTHON", sys.executable)
    environment[DATA_VARIABLE] = str(settings.data_folder())
    return environment
