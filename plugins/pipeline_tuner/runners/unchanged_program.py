"""The runner of a program that can't be changed: timed from outside, its metrics read from what it prints."""

from __future__ import annotations

import hashlib
import os
import re
import socket
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from pipeline_tuner.exceptions import StudyError
from pipeline_tuner.measurement import CONTRACT_VERSION, Measurement, validated
from pipeline_tuner.program_output import MetricPattern, plain_text
from pipeline_tuner.runners.base import TrialRun, measurement_of
from pipeline_tuner.runners.job_output import TEXT_BYTES
from pipeline_tuner.runners.process import ProcessRunner
from pipeline_tuner.space import Scalar


class ObservedRunner(ProcessRunner):
    """Runs a command once per trial and makes the measurement itself.

    `patterns` are regular expressions by metric; the last match's group 1 is the value, a plain number. `checks` are
    regular expressions by check: what the program prints must match, else its output counts as wrong. Both look at
    lines without a terminal's colours, and a carriage return ends a line. `duration_s` is the
    whole process's time, start-up included; `core_seconds` the processor time of it and of what it started.
    Raises StudyError for a pattern that is none, or has no group: `study validate` says so before.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        patterns: Mapping[str, str],
        modules: Path,
        checks: Mapping[str, str] | None = None,
        folder: Path | None = None,
        defaults: Mapping[str, Scalar] | None = None,
    ) -> None:
        super().__init__(command, modules=modules, folder=folder, defaults=defaults)
        self._patterns = [metric_pattern(name, pattern) for name, pattern in patterns.items()]
        self._checks = {name: compiled_pattern(f"checks.{name}", pattern) for name, pattern in (checks or {}).items()}

    def start(self, run: TrialRun) -> None:
        """Start the command."""
        self._started_at = datetime.now(UTC)
        super().start(run)

    def collect(self, exit_code: int) -> Measurement:
        """What was observed; a command that did not exit with 0 failed."""
        if exit_code != 0:
            return measurement_of(self._run, exit_code, kernel_kills_before=self._kernel_kills)
        text = plain_text(self._run.output.text())
        printed = {pattern.metric: pattern.value_in(text) for pattern in self._patterns}
        times = self.times
        metrics = {"duration_s": times.duration_s, "core_seconds": times.core_seconds, **printed}
        document = {
            "contract": CONTRACT_VERSION,
            "job": self._run.job,
            "trial_id": self._run.trial_id,
            "status": "measured",
            "started_at": self._started_at,
            "ended_at": datetime.now(UTC),
            "samples": [{"duration_s": times.duration_s}],
            "metrics": metrics,
            "checks": self._checked(text),
            "environment": machine(),
        }
        return validated(document)

    def _checked(self, text: str) -> list[dict[str, Any]]:
        whole = "what the program printed"
        where = f"the last {TEXT_BYTES >> 20} MB of {whole}" if self._run.output.is_cut else whole
        return [
            {
                "name": name,
                "passed": bool(pattern.search(text)),
                "detail": f"looked for {pattern.pattern!r} in {where}",
            }
            for name, pattern in self._checks.items()
        ]


def metric_pattern(name: str, pattern: str) -> MetricPattern:
    """The pattern of a study's metric. Raises StudyError where it is none, or has not one group."""
    compiled = compiled_pattern(f"metrics.{name}", pattern)
    if compiled.groups != 1:
        raise StudyError(f"runner.options.metrics.{name}: {pattern!r} must have one group (...) around the number")
    return MetricPattern(name, compiled)


def compiled_pattern(key: str, pattern: str) -> re.Pattern[str]:
    """A regular expression of `runner.options`. Raises StudyError where it is none."""
    try:
        return re.compile(pattern, re.MULTILINE)
    except re.error as error:
        raise StudyError(f"runner.options.{key}: {pattern!r} is no regular expression: {error}") from None


def machine() -> dict[str, Any]:
    """What a recommendation for the program is valid for, as far as it can be told from outside."""
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "memory_bytes": psutil.virtual_memory().total,
        "host": hashlib.sha256(socket.gethostname().encode()).hexdigest()[:12],
    }
