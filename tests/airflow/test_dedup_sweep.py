"""The dedup study as a sweep on this machine and on Glue, and in production, as `airflow dags test` runs them."""

# ruff: noqa: F811 - a fixture is imported, and named again where a test asks for it

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from dedup_study import results_of, study  # noqa: F401
from glue_stubs import BUCKET, ScriptStub, aws  # noqa: F401

from pipeline_tuner.dag_factory import production_dag, tuning_dag
from pipeline_tuner.runners import glue as glue_runner
from pipeline_tuner.runners.glue import GlueRunner
from pipeline_tuner.runners.glue_trigger import GlueRunTrigger


@pytest.mark.soak
def test_the_study_on_this_machine(run_dag: Any, results: str, study: Any, database: str, tmp_path: Path) -> None:
    # Among the long tests: the same study on Glue, below, runs the same job, sweep and production here too.
    path = study({"baseline": {"strategy": "baseline", "window_partitions": 20}, "auto": {}})
    assert run_dag(tuning_dag(path)).state == "success"
    found = results_of(results)
    assert [result.reason for result in found.values() if result.status != "measured"] == []
    moved = {label: result.metrics["shuffle_write_bytes"] for label, result in found.items()}
    assert moved["auto"] < 0.5 * moved["baseline"]
    assert all(check.passed for check in found["auto"].measurement.checks)
    (report,) = (tmp_path / "reports").rglob("analysis-details.md")
    assert "### Infrastructure" in report.read_text()
    assert run_dag(production_dag(path, goal="cost")).state == "success"
    with psycopg2.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*), count(DISTINCT id) FROM dedup_latest")
        rows, keys = cursor.fetchone() or (0, 0)
    assert rows == keys == found["auto"].metrics["unique"] - found["auto"].metrics["deletes"]


@pytest.mark.soak
def test_the_same_study_on_glue(
    run_dag: Any,
    results: str,
    study: Any,
    database: str,
    aws: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """moto takes the calls; stubs run the real job here, as Glue's workers would, and make one run fail.

    Trials and production leave their waiting to the triggerer.
    """
    monkeypatch.setattr(glue_runner, "GlueJobHook", ScriptStub)
    monkeypatch.setattr(GlueRunner, "_job_run", failing_on("G.8X"))
    monkeypatch.setitem(os.environ, "PIPELINE_TUNER_TARGET_URI", database)
    watched = list_of_triggers(monkeypatch)
    presets = {
        "small": {"strategy": "auto", "worker_type": "G.1X", "workers": 4},
        "large": {"strategy": "auto", "worker_type": "G.2X", "workers": 5},
        "doomed": {"strategy": "auto", "worker_type": "G.8X", "workers": 3},
    }
    options = {"bucket": BUCKET, "role_arn": "arn:aws:iam::123456789012:role/test", "poll_s": 0.01}
    path = study(presets, kind="glue", conn_id="aws_test", warm=False, options={**options, "deferrable": True})
    assert run_dag(tuning_dag(path)).state == "success"
    found = results_of(results)
    # moto says 123 s for every run.
    assert found["small"].metrics["cost"] == pytest.approx(4 * 123 / 3600 * 0.44)
    assert found["large"].metrics["dpu_seconds"] == pytest.approx(10 * 123)
    assert found["doomed"].failure == "out_of_memory"
    assert "out of memory at 128 GB per worker, on 3 workers G.8X" in found["doomed"].reason
    assert len(watched) == 3, "each trial was left to the triggerer"
    left = "SELECT relname FROM pg_class WHERE relname LIKE 'dedup_trial%' AND relkind = 'r'"
    with closing(psycopg2.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute(left)
        assert cursor.fetchall() == [], "each scratch table went with its trial"
        assert run_dag(production_dag(path, goal="cost", deferrable=True)).state == "success"
        cursor.execute("SELECT count(*) - count(DISTINCT id), count(*) FROM dedup_latest")
        twice, keys = cursor.fetchone() or (1, 0)
    assert (twice, keys > 0) == (0, True)
    assert len(watched) == 4


def failing_on(worker_type: str) -> Any:
    """moto has no failed run: a stub that says of a run of this size what Glue says of one without memory."""
    asked = GlueRunner._job_run

    def job_run(self: GlueRunner) -> dict[str, Any]:
        state = asked(self)
        if state["WorkerType"] != worker_type:
            return state
        return {**state, "JobRunState": "FAILED", "ErrorMessage": "Container killed for exceeding memory limits"}

    return job_run


def list_of_triggers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs that a trigger watched, as they come."""
    watched, asked = [], GlueRunTrigger._state

    def state(self: GlueRunTrigger) -> str:
        watched.append(self.run_id)
        return asked(self)

    monkeypatch.setattr(GlueRunTrigger, "_state", state)
    return watched
