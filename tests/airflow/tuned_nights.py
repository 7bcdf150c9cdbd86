"""Nights of a tuned task in a real Airflow: a daily schedule that is caught up with, one run at a time."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from pathlib import Path
from typing import Any

import psutil
from operator_study import BASH, integer, operator_study
from tests.real_airflow import RealAirflow

from pipeline_tuner.exceptions import InfrastructureError
from pipeline_tuner.local.postgres import PostgresServer
from pipeline_tuner.store import Store

HEAD = """# Airflow
from datetime import UTC, datetime, timedelta

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

from pipeline_tuner import tuned

with DAG(
    {name!r},
    schedule="0 3 * * *",
    start_date=datetime.fromisoformat({first!r}),
    end_date=datetime.fromisoformat({last!r}),
    catchup=True,
    max_active_runs=1,
    is_paused_upon_creation={paused},
    default_args={{"retries": {retries}, "retry_delay": timedelta(seconds=1)}},
) as dag:
"""


def nightly_dag(name: str, nights: int, tasks: str, *, retries: int = 1, paused: bool = False) -> str:
    """The text of a DAG of so many nights that are past; `tasks` are the lines of its body."""
    last = datetime.now(UTC).replace(hour=4, minute=0, second=0, microsecond=0) - timedelta(days=1)
    first = last - timedelta(days=nights)
    body = "".join(f"    {line}\n" for line in tasks.strip().splitlines())
    return HEAD.format(name=name, first=first.isoformat(), last=last.isoformat(), retries=retries, paused=paused) + body


@dataclass
class Nights:
    """The nights of one DAG, as Airflow and the results database know them."""

    real: RealAirflow
    dag: str

    def states(self) -> dict[str, str]:
        """The state of each run by its id, in order; empty where the server does not answer at present."""
        try:
            found = self.real.rest(f"/api/v2/dags/{self.dag}/dagRuns?limit=100&order_by=run_after")
        except (OSError, HTTPException, ValueError):
            # What is killed in the middle of an answer leaves half of it.
            return {}
        return {run["dag_run_id"]: run["state"] for run in found["dag_runs"]}

    def unpaused(self) -> bool:
        """Switch the DAG on; whether there was one to switch."""
        with contextlib.suppress(OSError, HTTPException):
            self.real.rest(f"/api/v2/dags/{self.dag}", {"is_paused": False}, method="PATCH")
            return True
        return False

    def ended(self) -> int:
        """How many runs have ended."""
        return sum(state in ("success", "failed") for state in self.states().values())

    def rows(self, query: str) -> list[Any]:
        """Rows of the results database; none where it is away, or has no tables yet."""
        try:
            with Store(self.real.results) as store, store.transaction() as connection:
                return list(connection.exec_driver_sql(query).all())
        except InfrastructureError:
            return []

    def noted(self) -> list[Any]:
        """The runs that were noted, in their order."""
        table = "pipeline_tuner.production_run"
        return self.rows(f"SELECT * FROM {table} WHERE dag_id = '{self.dag}' ORDER BY started_at")


PAIR = operator_study(
    BASH,
    {"bash_command": "true {{ tuner.configuration.a }} {{ tuner.configuration.b }}"},
    {"a": integer(1, 3, 1, "env.A"), "b": integer(1, 3, 1, "env.B")},
    study="pair",
    job="pair",
    presets={"now": {}, "two": {"a": 2, "b": 2}, "three": {"a": 3, "b": 3}},
)
"""A study of two parameters that are always equal: half a configuration would be seen."""
PAIR["space"]["constraints"] = ["a == b"]

PAIR_TASK = """
work = BashOperator(
    task_id="work",
    bash_command='echo "began {{{{ run_id }}}} {{{{ ti.try_number }}}} $A $B" >> {said}; {work};'
    ' echo "ended {{{{ run_id }}}} {{{{ ti.try_number }}}} $A $B" >> {said}',
    env={{"A": "1", "B": "1"}},
    append_env=True,
    **tuned("pair", explore=0.5),
)
"""
QUICK_DETECTION = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": 2,
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": 20,
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": 5,
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": 10,
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": 10,
}
"""What a dead scheduler ran is found in seconds rather than minutes."""
TASK_PROCESS = re.compile(r"airflow worker -- [0-9a-f]{8}-[0-9a-f-]{27}")


@dataclass(frozen=True)
class Try:
    """One line that a task of PAIR_TASK wrote: with what a try began or ended."""

    event: str
    run_id: str
    number: int
    a: int
    b: int


def tries(said: Path) -> list[Try]:
    """What the tries said of themselves, in order."""
    lines = said.read_text(encoding="utf-8").splitlines() if said.exists() else []
    return [Try(event, run_id, *map(int, rest)) for event, run_id, *rest in (line.split() for line in lines)]


@dataclass
class Killer:
    """Kills what a night depends on, and starts again what Airflow's own supervisor would start again."""

    real: RealAirflow
    server: PostgresServer
    killed: list[str] = field(default_factory=list)

    def kill(self, kind: str) -> None:
        """Kill the running task's process, the scheduler with all that it started, or PostgreSQL."""
        if kind == "task":
            for process in self._tasks():
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        elif kind == "scheduler":
            self.real.kill("scheduler")
            self.real.start("scheduler")
        else:
            self.server.stop(now=True)
            self.server.start()
        self.killed.append(kind)

    def revive(self) -> None:
        """Start what has ended by itself: without its database, Airflow's programs give up."""
        for program, process in list(self.real.processes.items()):
            if process.poll() is not None:
                self.real.start(program)

    def _tasks(self) -> list[psutil.Process]:
        """The processes of tasks and of what they started, but for Airflow's own around them."""
        found = [p for p in psutil.Process().children(recursive=True) if TASK_PROCESS.search(_command(p))]
        below = [child for process in found for child in _children(process)]
        return [*found, *below]


def assert_whole(nights: Nights, said: Path, count: int) -> None:
    """No night is lost or doubled, every try is noted as it was, and none had half a configuration."""
    states, lines = nights.states(), tries(said)
    assert list(states.values()) == ["success"] * count
    assert {line.run_id for line in lines} == set(states)
    assert [line for line in lines if line.a != line.b] == []
    rows = {(row.run_id, row.try_number): row for row in nights.noted()}
    assert len(rows) == len(nights.noted())
    for line in lines:
        row = rows[line.run_id, line.number]
        assert {name: int(value) for name, value in row.configuration.items()} == {"a": line.a, "b": line.b}
    last = {run_id: max(number for of, number in rows if of == run_id) for run_id in states}
    assert {rows[key].status for key in last.items()} == {"measured"}
    assert {row.status for row in rows.values()} <= {"measured", "failed"}
    # What the kills cut off says nothing about a configuration.
    assert {row.failure for row in rows.values() if row.status == "failed"} <= {"lost", "error"}


def _command(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def _children(process: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return process.children(recursive=True)
    return []
