"""Nights under LocalExecutor: a real scheduler, several days of a daily schedule, and what goes wrong in them.

Two nights in which nothing goes wrong are in test_local_executor.py, where an Airflow runs anyway.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import pytest
from scheduled_nights import MODULES, Nights, write_nights
from tests.real_airflow import running_airflow

SETTINGS = {
    "PYTHONPATH": MODULES,
    "AIRFLOW__CORE__PARALLELISM": 8,
    # A dead scheduler's tasks are found in seconds rather than minutes.
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": 2,
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": 20,
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": 5,
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": 10,
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": 10,
}


@pytest.mark.soak
def test_four_studies_three_nights_a_killed_scheduler_and_a_slow_night(postgres, tmp_path):
    names = ["night_a", "night_b", "night_c", "night_d"]
    write_nights(tmp_path, names, 3, blocks=3)
    with running_airflow(tmp_path, postgres, **SETTINGS) as real:
        nights = Nights(real)
        real.until(lambda: len(nights.ended()) >= 4)
        (tmp_path / "night_b.slow").touch()
        real.until(lambda: any(trial["study"] == "night_b" for trial in nights.started()))
        real.kill("scheduler")
        killed_at = datetime.now(UTC)
        real.start("scheduler")
        real.until(lambda: sum(n["study"] == "night_b" for n in nights.ended()) >= 2)
        (tmp_path / "night_b.slow").unlink()
        real.until(lambda: len(nights.ended()) == 12)
        found = nights.assert_whole(names, 3)
        again = nights.rows("SELECT * FROM pipeline_tuner.trial WHERE try_number > 1")
        assert again, "no trial was cut off by the kill"
        (decided,) = nights.rows("SELECT * FROM pipeline_tuner.alerts")
        assert (decided["study"], decided["kind"]) == ("night_a", "better")
    assert (tmp_path / "told.txt").read_text(encoding="utf-8").count("night_a") == 1
    print(f"killed {killed_at:%T}, tried again: {[t['trial_id'] for t in again]}", file=sys.stderr)
    for night in found:
        took = (night["ended_at"] - night["started_at"]).total_seconds()
        print(f"{night['study']} {night['due_at']:%F %R} {night['status']} {took:.0f} s", file=sys.stderr)
