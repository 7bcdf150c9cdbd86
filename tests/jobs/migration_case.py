"""A source and a target on real servers, and the job run on them as the runner runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2
from tests.jobs.job_variables import set_variable

from pipeline_jobs import contract
from pipeline_jobs.migration.job import run
from pipeline_tuner.measurement import Measurement, read_measurement

ROOT = Path(__file__).resolve().parents[2]
CONNECTIONS = {"source": "CASE_SOURCE", "target": "CASE_TARGET"}


@dataclass
class Case:
    """One source and one target database."""

    source: str = field(repr=False)
    target: str = field(repr=False)
    folder: Path
    trial_id: str = "t1"

    def sql(self, side: str, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements; the rows of the last."""
        with (
            closing(psycopg2.connect(getattr(self, side), client_encoding="UTF8")) as connection,
            connection.cursor() as cursor,
        ):
            connection.autocommit = True
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def both(self, *statements: str) -> None:
        """Run statements on both sides."""
        self.sql("source", *statements)
        self.sql("target", *statements)

    def same(self, table: str) -> bool:
        """Whether both sides hold the same rows, value by value as text."""
        query = f'SELECT t::text FROM {table} t ORDER BY t::text COLLATE "C"'
        return self.sql("source", query) == self.sql("target", query)

    def write_config(self, configuration: dict[str, Any], workload: dict[str, Any], **more: Any) -> Path:
        """The trial's configuration file."""
        path = self.folder / "config.json"
        document = {
            "contract": 1,
            "job": "migration",
            "trial_id": self.trial_id,
            "configuration": {"cores": 2, "driver_memory": "1g"} | configuration,
            "workload": {"name": "case"} | workload,
            "connections": CONNECTIONS,
            "warmups": 0,
            "repeats": 1,
        }
        path.write_text(json.dumps(document | more))
        return path

    def run(self, configuration: dict[str, Any], workload: dict[str, Any], **more: Any) -> Measurement:
        """Run the job in this process, and read its measurement as the operator does."""
        for name, value in self.environment.items():
            set_variable(name, value)
        begun = datetime.now(UTC)
        path, measurement = self.write_config(configuration, workload, **more), self.folder / "measurement.json"
        measurement.unlink(missing_ok=True)
        assert contract.measure("migration", run, path, measurement) == 0
        return read_measurement(measurement, job="migration", trial_id=self.trial_id, not_before=begun)

    def start(self, configuration: dict[str, Any], workload: dict[str, Any]) -> subprocess.Popen[bytes]:
        """Start the job as a process of its own."""
        command = [sys.executable, str(ROOT / "spark_jobs/migration.py")]
        config = self.write_config(configuration, workload)
        return subprocess.Popen(
            [*command, "--config", str(config), "--measurement", str(self.folder / "measurement.json")],
            env={**os.environ, **self.environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    @property
    def environment(self) -> dict[str, str]:
        return {"CASE_SOURCE": self.source, "CASE_TARGET": self.target}


def passed(measurement: Measurement) -> bool:
    """Whether the trial was measured and its output is right."""
    assert measurement.failure is None, measurement.failure
    assert not measurement.failed_checks, measurement.failed_checks
    return measurement.status == "measured"


class TasksHere:
    """As much of a Spark session as `copy` needs, with its tasks in this process: for tests of what isn't Spark's."""

    def __init__(self) -> None:
        self.sparkContext = self
        self.slices = 0

    def parallelize(self, tasks: Sequence[Any], slices: int) -> TasksHere:
        self._tasks, self.slices = list(tasks), slices
        return self

    def mapPartitions(self, work: Callable[[Sequence[Any]], Iterable[Any]]) -> TasksHere:
        self._results = list(work(self._tasks))
        return self

    def collect(self) -> list[Any]:
        return self._results
