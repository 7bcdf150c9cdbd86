"""The record of one run of a job under an operator: what it runs with, its time limit, its folder and its outcome."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipeline_tuner import settings
from pipeline_tuner.exceptions import ConfigurationError, InfrastructureError, MeasurementError, StudyError
from pipeline_tuner.measurement import Measurement, Outcome
from pipeline_tuner.runners import TrialFailedError
from pipeline_tuner.space import Configuration


@dataclass(frozen=True)
class JobRun:
    """A trial of a sweep and a run in production alike. Times in seconds."""

    run_id: str
    configuration: Configuration
    workload: Mapping[str, Any]
    sweep_id: str | None = None
    """The sweep whose warm process it may use."""
    fraction: float = 1.0
    warmups: int = 0
    repeats: int = 1
    min_work_s: float = 0.0
    timeout_s: float = inf
    kept: Mapping[str, Any] = field(default_factory=dict)
    """What an operator that defers needs again when it goes on; JSON-ready."""


@contextmanager
def run_folder() -> Iterator[Path]:
    """A folder for one run's files, gone afterwards."""
    with TemporaryDirectory(prefix="trial-", dir=settings.work_folder(), ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def outcome_of(measure: Callable[[], Measurement]) -> Outcome:
    """What a measurement, or the failure to get one, amounts to."""
    try:
        return Outcome.of(measure())
    except TrialFailedError as error:
        return Outcome("failed", error.kind, str(error))
    except MeasurementError as error:
        return Outcome("failed", "invalid_measurement", str(error))
    except ConfigurationError as error:
        return Outcome("failed", "bad_configuration", str(error))
    except StudyError as error:
        return Outcome("failed", "error", str(error))
    except InfrastructureError as error:
        return Outcome("failed", "infrastructure", str(error))
