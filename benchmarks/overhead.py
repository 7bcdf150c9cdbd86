"""Benchmark of a sweep's overhead: the time around its trials' work, and where it goes.

    make bench JOB=overhead ARGS="--job migration --trials 18"

Sweeps presets of a shipped study as `airflow dags test` does, and holds each trial's task, from its start to the start
of the next, against the seconds of work in it. Figures go to build/bench/overhead.jsonl, medians over the trials:

- sweep.overhead_s_per_trial: all but the measured work
- sweep.overhead_part_s, by `part`: `startup` and `teardown` (the session), `checks` (warm-up, emptying the target
  between repeats, the comparison at the end), `runner` (the kept process, lock and rows), `task` (Airflow's task around
  it) and `between` (until the next task starts)

The first trial of each phase is left out: it starts the kept process.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.record import Figures

from pipeline_tuner.local.airflow import Airflow
from pipeline_tuner.local.paths import Layout
from pipeline_tuner.local.services import Services, needs_of
from pipeline_tuner.measurement import Measurement

TRIALS = """
SELECT task_id, map_index, started_at, ended_at, measurement FROM pipeline_tuner.trial
WHERE sweep_id = (SELECT sweep_id FROM pipeline_tuner.sweep ORDER BY started_at DESC LIMIT 1) AND status = 'measured'
"""
TASKS = """
SELECT task_id, map_index, start_date, end_date FROM task_instance
WHERE run_id = (SELECT run_id FROM dag_run WHERE dag_id = %s ORDER BY start_date DESC LIMIT 1) AND map_index >= 0
ORDER BY start_date
"""


@dataclass(frozen=True)
class Overhead:
    """Seconds of one trial that are no work."""

    startup: float
    teardown: float
    checks: float
    runner: float
    task: float
    between: float

    @property
    def whole(self) -> float:
        """All of them."""
        return float(sum(astuple(self)))


@dataclass(frozen=True)
class Task:
    """A mapped task of Airflow's."""

    task_id: str
    map_index: int
    start: datetime
    end: datetime


def overhead_of(task: Task, following: Task, row: Sequence[Any]) -> Overhead:
    """What went where: the task's span holds the trial's, which holds the measurement's, which holds the work."""
    begun, ended, measurement = row
    work_s = sum(sample.duration_s for sample in measurement.samples)
    measured_s = (measurement.ended_at - measurement.started_at).total_seconds()
    trial_s, task_s = (ended - begun).total_seconds(), (task.end - task.start).total_seconds()
    return Overhead(
        startup=measurement.startup_s,
        teardown=measurement.teardown_s,
        checks=measured_s - work_s - measurement.startup_s - measurement.teardown_s,
        runner=trial_s - measured_s,
        task=task_s - trial_s,
        between=(following.start - task.end).total_seconds(),
    )


def swept(airflow: Airflow, job: str, trials: int) -> list[Overhead]:
    """One sweep's overheads, trial by trial."""
    airflow.services.start(needs_of(job))
    airflow.migrate()
    conf = json.dumps({"strategy": "presets", "trials": trials, "confirm_blocks": 0})
    command = [sys.executable, "-m", "airflow", "dags", "test", f"tune_{job}", "-c", conf]
    with Path(airflow.home, "overhead.log").open("w") as log:
        subprocess.run(command, env=airflow.process_environment(), stdout=log, stderr=log, check=True)
    with airflow.services.postgres.cursor("tuner") as cursor:
        cursor.execute(TRIALS)
        rows = {(r[0], r[1]): (r[2], r[3], Measurement.model_validate(r[4])) for r in cursor.fetchall()}
    with airflow.services.postgres.cursor("airflow") as cursor:
        cursor.execute(TASKS, (f"tune_{job}",))
        tasks = [Task(*row) for row in cursor.fetchall()]
    return [
        overhead_of(task, following, rows[task.task_id, task.map_index])
        for before, task, following in zip(tasks, tasks[1:], tasks[2:], strict=False)
        if before.task_id == task.task_id == following.task_id and (task.task_id, task.map_index) in rows
    ]


def main() -> None:
    """Run the sweeps and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--job", default="migration")
    parser.add_argument("--trials", type=int, default=18)
    arguments = parser.parse_args()
    found = swept(Airflow(Services(Layout.default())), arguments.job, arguments.trials)
    if not found:
        parser.error(f"{arguments.trials} trials are too few: three of one phase are needed, one after the other")
    figures = Figures("overhead", keep=True, prefix="sweep")
    whole = figures.add("overhead_s_per_trial", [each.whole for each in found], "s", job=arguments.job)
    print(f"overhead of a trial: {whole:.2f} s, median of {len(found)}")
    for part in fields(Overhead):
        values = [getattr(each, part.name) for each in found]
        middle = figures.add("overhead_part_s", values, "s", job=arguments.job, part=part.name)
        print(f"{part.name}: {middle:.2f} s")


if __name__ == "__main__":
    main()
