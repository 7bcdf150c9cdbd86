"""Fixtures of the jobs' tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.jobs.job_variables import forget_variables
from tests.jobs.migration_case import Case


@pytest.fixture(autouse=True)
def job_variables(unchanged_process: None) -> Iterator[None]:
    """Take back the variables that the test set by `set_variable`."""
    yield
    forget_variables()


@pytest.fixture
def case(new_database: Callable[..., str], tmp_path: Path, spark_env: dict[str, str]) -> Iterator[Case]:
    """An empty source and an empty target database for the migration job."""
    return Case(new_database("source"), new_database("target"), tmp_path)
