"""Fixtures of the jobs' tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import bson
import pytest
from tests.jobs.job_variables import forget_variables
from tests.jobs.migration_case import Case
from tests.jobs.streaming_etl_reference import users_mapping

from pipeline_jobs.contract import MeasurementWriter
from pipeline_tuner.jobs import description_of
from pipeline_tuner.local.paths import Layout, one_at_a_time


@pytest.fixture(scope="module", autouse=True)
def compiled_once(request: pytest.FixtureRequest, layout: Layout) -> None:
    """Machine code that isn't kept yet is made by one process, and the others wait for it.

    It takes 15 s of a processor for the quantizer and 30 s for the streaming ETL, in each process that begins on it.
    """
    name = request.path.name
    if name.startswith(("test_quantizer", "test_streaming_etl")):
        with one_at_a_time(layout.local / "test" / "compiling"):
            _compile(name)


def _compile(name: str) -> None:
    if name.startswith("test_quantizer"):
        from pipeline_jobs.quantizer.rollup import warm_up

        warm_up()
    else:
        from pipeline_jobs.streaming_etl.records import Documents
        from pipeline_jobs.streaming_etl.transcoder import Transcoder

        Transcoder(users_mapping()).encode(Documents.of([bson.encode({})]))


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
