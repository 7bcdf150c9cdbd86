"""Fixtures of the jobs' tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.jobs.job_variables import forget_variables
from tests.jobs.migration_case import Case

from pipeline_jobs.contract import MeasurementWriter
from pipeline_tuner.jobs import description_of


@pytest.fixture(autouse=True)
def job_variables(unchanged_process: None) -> Iterator[None]:
    """Take back the variables that the test set by `set_variable`."""
    yield
    forget_variables()


@pytest.fixture
def case(new_database: Callable[..., str], tmp_path: Path, spark_env: dict[str, str]) -> Iterator[Case]:
    """An empty source and an empty target database for the migration job."""
    return Case(new_database("source"), new_database("target"), tmp_path)


@pytest.fixture(autouse=True)
def described_metrics(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever a job of ours measures here is in its description: `study validate` refuses every other name."""
    unknown: list[str] = []
    write = MeasurementWriter.write

    def checked(writer: MeasurementWriter) -> None:
        write(writer)
        described = description_of(writer.config.job)
        # Maintenance of a table is no run of its job, and no goal is about it.
        if described is not None and not writer.config.workload.get("maintenance"):
            given = {name for sample in writer.counted_samples for name in sample.metrics} | set(writer.metrics)
            facts = {name for name, value in writer.workload.items() if isinstance(value, int | float)}
            known = {*described.metrics, *described.workload, *writer.config.workload, "seed", "fraction"}
            unknown.extend(f"{writer.config.job}: {name}" for name in sorted((given | facts) - known))

    monkeypatch.setattr(MeasurementWriter, "write", checked)
    yield
    assert not unknown, f"not in pipeline_tuner/jobs: {', '.join(dict.fromkeys(unknown))}"
