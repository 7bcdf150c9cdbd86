"""Nights of a real Airflow: studies with several days of a daily schedule, and what their books must say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import yaml
from compress_study import COMPRESS
from tests.real_airflow import ROOT

from pipeline_tuner.store import Store, migrate

MODULES = f"{ROOT / 'plugins'}:{Path(__file__).parent}"
"""PYTHONPATH of an Airflow whose nights tell `night_watch`."""


def write_nights(folder, names, nights, **of_first):
    """Studies with a night a day since `nights` days ago, a quarter of an hour apart; the next is hours away."""
    for place in ("studies", "dags"):
        (folder / place).mkdir(exist_ok=True)
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
        sweeps = [sweep for sweep in self.rows("SELECT * FROM pipeline_tuner.sweep") if sweep["study"] in names]
        assert sorted(s["sweep_id"] for s in sweeps) == sorted(n["night_id"] for n in nights)
        ordered = "SELECT * FROM pipeline_tuner.trial ORDER BY (measurement->>'started_at')::timestamptz"
        trials = [trial for trial in self.rows(ordered) if trial["study"] in names]
        assert {t["status"] for t in trials} == {"measured"}
        assert len({(t["sweep_id"], t["phase"], t["block"], t["label"]) for t in trials}) == len(trials)
        assert len(trials) == sum(s["planned"] for s in sweeps)
        spans = [(t["measurement"]["started_at"], t["measurement"]["ended_at"]) for t in trials]
        assert all(before[1] <= after[0] for before, after in pairwise(spans)), "two trials measured at once"
        figures = self.rows("SELECT night_id, role, count(*) AS n FROM pipeline_tuner.night_value GROUP BY 1, 2")
        assert {f["n"] for f in figures if f["role"] != "challenger"} == {1}
        return nights
