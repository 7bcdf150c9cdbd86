"""A program that can't be changed: timed from outside, its figures read from what it prints."""

from __future__ import annotations

import re
import resource
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pipeline_tuner.exceptions import MeasurementError, StudyError
from pipeline_tuner.measurement import CONTRACT_VERSION, Measurement, validated
from pipeline_tuner.runners.base import TrialRun, measurement_of
from pipeline_tuner.runners.process import ProcessRunner


class ObservedRunner(ProcessRunner):
    """Runs a command once a trial and makes the measurement itself.

    `patterns` are regular expressions by metric; the last match's group 1 is the figure. `duration_s` is the
    whole process's time, start-up included; `core_seconds` the processor time of it and the children it waited for.
    Raises StudyError for a pattern that is none, or has no group.
    """

    def __init__(
        self, command: Sequence[str], *, patterns: Mapping[str, str], modules: Path, folder: Path | None = None
    ) -> None:
        super().__init__(command, modules=modules, folder=folder)
        self._patterns = {name: _compiled(name, pattern) for name, pattern in patterns.items()}

    def start(self, run: TrialRun) -> None:
        """Start the command and the clock."""
        self._started_at = datetime.now(UTC)
        self._began, self._cpu = time.monotonic(), _children_cpu_s()
        super().start(run)

    def wait(self, timeout_s: float) -> int:
        """Wait for the command's end and stop the clock."""
        code = super().wait(timeout_s)
        self._duration_s = time.monotonic() - self._began
        return code

    def collect(self, exit_code: int) -> Measurement:
        """What was observed; a command that did not exit with 0 failed."""
        if exit_code != 0:
            return measurement_of(self._run, exit_code, kernel_kills_before=self._kernel_kills)
        metrics = {"duration_s": self._duration_s, "core_seconds": _children_cpu_s() - self._cpu, **self._printed()}
        document = {
            "contract": CONTRACT_VERSION,
            "job": self._run.job,
            "trial_id": self._run.trial_id,
            "status": "measured",
            "started_at": self._started_at,
            "ended_at": datetime.now(UTC),
            "samples": [{"duration_s": self._duration_s}],
            "metrics": metrics,
        }
        return validated(document)

    def _printed(self) -> dict[str, float]:
        text = self._run.output.text()
        found = {name: pattern.findall(text) for name, pattern in self._patterns.items()}
        missing = [name for name, matches in found.items() if not matches]
        if missing:
            raise MeasurementError(f"the program printed nothing that the pattern of {', '.join(missing)} matches")
        try:
            return {name: float(matches[-1].replace(",", "")) for name, matches in found.items()}
        except ValueError as error:
            raise MeasurementError(f"what the program printed is no number: {error}") from None


def _compiled(name: str, pattern: str) -> re.Pattern[str]:
    try:
        compiled = re.compile(pattern, re.MULTILINE)
    except re.error as error:
        raise StudyError(f"runner.options.metrics.{name}: {pattern!r} is no regular expression: {error}") from None
    if compiled.groups != 1:
        raise StudyError(f"runner.options.metrics.{name}: {pattern!r} must have one group (...) around the number")
    return compiled


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
