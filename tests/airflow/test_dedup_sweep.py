"""The dedup study as a sweep on this machine and on Glue, and in production, as `airflow dags test` runs them."""

# ruff: noqa: F811 - a fixture is imported, and named again where a test asks for it

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import yaml
from glue_stubs import BUCKET, ScriptStub, aws  # noqa: F401

from pipeline_tuner.dag_factory import production_dag, tuning_dag
from pipeline_tuner.runners import glue as glue_runner
from pipeline_tuner.store import Store

CONFIGS = Path(__file__).parents[2] / "include" / "configs"
ROWS = 4000


@pytest.fixture
def study(tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch, spark_env: dict[str, str]) -> Any:
    """A function that writes a smaller copy of the study and returns its path."""
    monkeypatch.setenv("AIRFLOW_CONN_DEDUP_TARGET", database)
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", '{"conn_type": "spark", "host": "local[2]"}')
    monkeypatch.setenv("AIRFLOW__PIPELINE_TUNER__REPORTS_FOLDER", str(tmp_path / "reports"))

    def write(presets: dict[str, Any], **runner: Any) -> str:
        document = yaml.safe_load((CONFIGS / "dedup.yaml").read_text())
        document["presets"] = presets
        document["control"] = document["fallback"] = next(iter(presets))
        document["runner"] |= runner
        document["workload"] |= {"sizes": {"full": 1.0}, "default_size": "full"}
        document["workload"]["options"] |= {
            "generator": {"rows": ROWS, "duplicates": 5},
            "folder": str(tmp_path / "data"),
        }
        document["strategy"] = "presets"
        document["budget"] |= {"blocks": 1, "confirm_blocks": 0, "rounds": 1, "warmups": 0, "trial_timeout_s": 600}
        path = tmp_path / "dedup.yaml"
        path.write_text(yaml.safe_dump(document, sort_keys=False))
        return str(path)

    return write


def results_of(results: str) -> dict[str, Any]:
    with closing(psycopg2.connect(results)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT sweep_id FROM pipeline_tuner.trial")
        ((sweep_id,),) = cursor.fetchall()
    with Store(results) as store:
        return {result.plan.label: result for result in store.results(sweep_id)}


def test_the_study_on_this_machine(run_dag: Any, results: str, study: Any, database: str, tmp_path: Path) -> None:
    path = study({"seed": {"strategy": "seed", "window_partitions": 20}, "auto": {}})
    assert run_dag(tuning_dag(path)).state == "success"
    found = results_of(results)
    assert [result.reason for result in found.values() if result.status != "measured"] == []
    moved = {label: result.metrics["shuffle_write_bytes"] for label, result in found.items()}
    assert moved["auto"] < 0.5 * moved["seed"]
    assert all(check.passed for check in found["auto"].measurement.checks)
    (report,) = (tmp_path / "reports").rglob("analysis.md")
    assert "### Infrastructure" in report.read_text()
    assert run_dag(production_dag(path, goal="cost")).state == "success"
    with psycopg2.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*), count(DISTINCT id) FROM dedup_latest")
        rows, keys = cursor.fetchone() or (0, 0)
    assert rows == keys == found["auto"].metrics["unique"] - found["auto"].metrics["deletes"]


def test_the_same_study_on_glue(
    run_dag: Any,
    results: str,
    study: Any,
    database: str,
    aws: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """moto takes the calls; the stub runs the real job here, as Glue's workers would."""
    monkeypatch.setattr(glue_runner, "GlueJobHook", ScriptStub)
    monkeypatch.setitem(os.environ, "PIPELINE_TUNER_TARGET_URI", database)
    presets = {
        "small": {"strategy": "auto", "worker_type": "G.1X", "workers": 4},
        "large": {"strategy": "auto", "worker_type": "G.2X", "workers": 5},
    }
    options = {"bucket": BUCKET, "role_arn": "arn:aws:iam::123456789012:role/test", "poll_s": 0.01}
    path = study(presets, kind="glue", conn_id="aws_test", warm=False, options=options)
    assert run_dag(tuning_dag(path)).state == "success"
    found = results_of(results)
    assert [result.reason for result in found.values() if result.status != "measured"] == []
    # moto says 123 s for every run.
    assert found["small"].metrics["cost"] == pytest.approx(4 * 123 / 3600 * 0.44)
    assert found["large"].metrics["dpu_seconds"] == pytest.approx(10 * 123)
