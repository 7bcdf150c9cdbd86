"""The metrics of a tuned task's run, seen from outside: processor time, its log, its event log, SQL statements."""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TextIO

from pipeline_tuner.advise.run_metrics import run_metrics
from pipeline_tuner.advise.run_of_task import Submitted, log_folder, run_between
from pipeline_tuner.exceptions import InfrastructureError, MeasurementError, StudyError
from pipeline_tuner.operator_job import Observations, Statement
from pipeline_tuner.program_output import plain_text
from pipeline_tuner.runners.captured_log import written_to
from pipeline_tuner.runners.glue_task import glue_run_metrics
from pipeline_tuner.runners.job_output import TEXT_BYTES
from pipeline_tuner.runners.metric_statements import number, value_of
from pipeline_tuner.runners.unchanged_program import compiled_pattern, metric_pattern

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Seen:
    """What was seen of a run that has ended."""

    metrics: Mapping[str, float]
    failed_check: str = ""
    """What says that the output is wrong; empty where nothing does."""


@dataclass
class Watch:
    """One run in this process while it goes on. `close` it whatever becomes of the run."""

    operator: object
    observations: Observations
    from_its_start: bool
    """Whether this process has the whole run: one that goes on after a deferral has lost its first part."""
    _used_s: float = field(default_factory=lambda: used_s())
    _open: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _log: TextIO | None = None

    @classmethod
    def begin(cls, operator: object, observations: Observations, *, from_its_start: bool) -> Watch:
        """Watch from now on. What the task logs and prints is written down where a pattern asks for it."""
        watch = cls(operator, observations, from_its_start)
        if any(isinstance(one, str) for one in (*observations.metrics.values(), *observations.checks.values())):
            # A file without a name: nothing is left of it where the process is killed.
            watch._log = watch._open.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8"))  # noqa: SIM115 - it is
            watch._open.enter_context(written_to(watch._log))
        return watch

    def close(self) -> None:
        """Stop listening."""
        self._open.close()

    def seen(self, started_at: datetime, result: object) -> Seen:
        """What there is to see now that the task has succeeded. What can't be seen is left out, with a warning."""
        text = self._text()
        metrics = self._processor_time() | engine_metrics(self.operator, result, started_at, datetime.now(UTC))
        metrics |= dict(_each(self.observations.metrics, text))
        return Seen(metrics, _failed(self.observations.checks, text))

    def _processor_time(self) -> dict[str, float]:
        return {"core_seconds": max(used_s() - self._used_s, 0.0)} if self.from_its_start else {}

    def _text(self) -> str:
        if self._log is None:
            return ""
        self._log.flush()
        with open(self._log.fileno(), "rb", closefd=False) as file:
            file.seek(max(file.seek(0, os.SEEK_END) - TEXT_BYTES, 0))
            return plain_text(file.read().decode(errors="replace"))


def used_s() -> float:
    """Processor seconds of this process and of the programs that it started and waited for."""
    parts = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(part.ru_utime + part.ru_stime for part in parts)


def engine_metrics(operator: object, result: object, started_at: datetime, ended_at: datetime) -> dict[str, float]:
    """What Spark or Glue says of the run that an operator made; `result` is what it returned."""
    return spark_run_metrics(operator, started_at, ended_at) | glue_run_metrics(operator, result)


def spark_run_metrics(operator: object, started_at: datetime, ended_at: datetime) -> dict[str, float]:
    """The metrics of the Spark application that an operator ran, where its `conf` writes an event log to a path.

    None, with a warning, where its log can't be told from others, or not be read.
    """
    conf = getattr(operator, "conf", None)
    folder = log_folder(conf) if isinstance(conf, Mapping) else None
    if not isinstance(conf, Mapping) or folder is None:
        return {}
    try:
        return run_metrics(run_between(folder, started_at, ended_at, _submitted(operator, conf)))
    except MeasurementError as error:
        log.warning("This run has no metrics of Spark's: %s", error)
        return {}


def _submitted(operator: object, conf: Mapping[str, object]) -> Submitted:
    arguments = getattr(operator, "application_args", None) or ()
    return Submitted(conf, str(getattr(operator, "application", "") or ""), tuple(map(str, arguments)))


def _each(wanted: Mapping[str, str | Statement], text: str) -> Iterator[tuple[str, float]]:
    for name, one in wanted.items():
        try:
            yield name, _metric(name, one, text)
        except (MeasurementError, StudyError, InfrastructureError) as error:
            log.warning("This run has no metric %s: %s", name, error)


def _metric(name: str, one: str | Statement, text: str) -> float:
    if isinstance(one, str):
        return metric_pattern(name, one).value_in(text)
    return number(name, value_of(f"metrics.{name}", one))


def _failed(checks: Mapping[str, str | Statement], text: str) -> str:
    """The first check that says the output is wrong. One that can't be asked says nothing."""
    for name, one in checks.items():
        try:
            if isinstance(one, str) and not compiled_pattern(f"checks.{name}", one).search(text):
                return f"{name}: {one!r} is not in its log"
            if isinstance(one, Statement) and not (found := value_of(f"checks.{name}", one)):
                return f"{name}: {one.sql} gave {found!r}"
        except (MeasurementError, StudyError, InfrastructureError) as error:
            log.warning("Check %s can't be made: %s", name, error)
    return ""
