"""Nights under LocalExecutor: a real scheduler, several days of a daily schedule, and what goes wrong in them."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from compress_study import COMPRESS
from tests.real_airflow import ROOT, running_airflow

from pipeline_tuner.store import Store, migrate

SETTINGS = {
    "PYTHONPATH": f"{ROOT / 'plugins'}:{Path(__file__).parent}",
    "AIRFLOW__CORE__PARALLELISM": 8,
    # A dead scheduler's tasks are found in seconds rather than minutes.
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": 2,
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": 20,
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": 5,
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": 10,
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": 10,
}


def write_nights(folder, names, nights, **of_first):
    """Studies with a night a day since `nights` days ago, a quarter of an hour apart; the next is hours away."""
    (folder / "studies").mkdir()
    (folder / "dags").mkdir()
    first = datetime.now(UTC) - timedelta(hours=6)
    for number, name in enumerate(names):
        due = first + timedelta(minutes=15 * number)
        policy = {
            "challengers": 1,
            "blocks": 1,
            "confirm_blocks": 2,
            "latest_start_hours": 10_000,
            "notify": {"call": "night_watch.note", "arguments": {"path": str(folder / "told.txt")}},
        }
        study = {
            **COMPRESS,
            "study": name,
            "schedule": f"{due.minute} {due.hour} * * *",
            "workload": {"name": "text", "options": {"slow_while": str(folder / f"{name}.slow")}},
            "nights": policy | (of_first if number == 0 else {}),
        }
        (folder / "studies" / f"{name}.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
        start = f"{due - timedelta(days=nights - 1, minutes=1):datetime(%Y, %-m, %-d, %-H, %-M, tzinfo=UTC)}"
        program = [
            "# Airflow",
            "from datetime import UTC, datetime",
            "from pipeline_tuner.dag_factory import tuning_dag",
            f"dag = tuning_dag({name!r}, start_date={start}, catchup=True)",
        ]
        (folder / "dags" / f"{name}.py").write_text("\n".join(program), encoding="utf-8")


class Nights:
    """The nights of a real Airflow, read from the results database."""

    def __init__(self, real):
        self.real = real
        migrate(real.results)

    def rows(self, query):
        with Store(self.real.results) as store, store.transaction() as connection:
            return connection.exec_driver_sql(query).mappings().all()

    def ended(self):
        return self.rows("SELECT * FROM pipeline_tuner.night WHERE status IN ('quiet', 'alert') ORDER BY due_at")

    def started(self):
        return self.rows("SELECT * FROM pipeline_tuner.trial WHERE status = 'running'")

    def assert_whole(self, names, count):
        """Every study has each of its nights once, with every trial measured once and alone."""
        nights = self.rows("SELECT * FROM pipeline_tuner.night ORDER BY study, due_at")
        assert {n["status"] for n in nights} <= {"quiet", "alert"}, nights
        for name in names:
            days = [n["due_at"] for n in nights if n["study"] == name]
            assert len(days) == count
            assert {(b - a) for a, b in pairwise(days)} <= {timedelta(days=1)}
        sweeps = self.rows("SELECT * FROM pipeline_tuner.sweep")
        assert sorted(s["sweep_id"] for s in sweeps) == sorted(n["night_id"] for n in nights)
        trials = self.rows("SELECT * FROM pipeline_tuner.trial ORDER BY (measurement->>'started_at')::timestamptz")
        assert {t["status"] for t in trials} == {"measured"}
        assert len({(t["sweep_id"], t["phase"], t["block"], t["label"]) for t in trials}) == len(trials)
        assert len(trials) == sum(s["planned"] for s in sweeps)
        spans = [(t["measurement"]["started_at"], t["measurement"]["ended_at"]) for t in trials]
        assert all(before[1] <= after[0] for before, after in pairwise(spans)), "two trials measured at once"
        figures = self.rows("SELECT night_id, role, count(*) AS n FROM pipeline_tuner.night_value GROUP BY 1, 2")
        assert {f["n"] for f in figures if f["role"] != "challenger"} == {1}
        return nights


def test_two_nights_of_one_study(postgres, tmp_path):
    write_nights(tmp_path, ["night_a"], 2)
    with running_airflow(tmp_path, postgres, **SETTINGS) as real:
        nights = Nights(real)
        real.until(lambda: len(nights.ended()) == 2)
        found = nights.assert_whole(["night_a"], 2)
    assert {night["summary"] for night in found} == {"Nothing new."}
    assert not (tmp_path / "told.txt").exists()


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
