"""The streaming ETL's two studies as sweeps, and its production DAG, as `airflow dags test` runs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg2
import pytest
import yaml

from pipeline_tuner.dag_factory import production_dag, tuning_dag

CONFIGS = Path(__file__).parents[2] / "include" / "configs"


@pytest.fixture
def study(tmp_path: Path) -> Any:
    """A function that writes a smaller copy of one of the studies and returns its path."""

    def write(name: str, presets: list[str], **options: Any) -> str:
        document = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
        document["presets"] = {key: document["presets"][key] for key in presets}
        document["control"], document["fallback"] = presets[0], presets[0]
        document["workload"]["options"] |= options
        document["strategy"], document["strategies"] = "presets", {}
        document["budget"] |= {"blocks": 1, "confirm_blocks": 0, "rounds": 1, "min_work_s": 0}
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(document, sort_keys=False))
        return str(path)

    return write


def test_the_study_with_databases(
    run_dag: Any,
    results_of: Any,
    study: Any,
    database: str,
    mongodb: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_STREAMING_SOURCE", mongodb.uri("sweep"))
    monkeypatch.setenv("AIRFLOW_CONN_STREAMING_TARGET", database)
    path = study(
        "streaming_etl", ["two_workers", "several_sources", "keys_at_the_end"], documents=120, folder=str(tmp_path)
    )
    dag_run = run_dag(tuning_dag(path))
    found = results_of("streaming_etl")
    assert {(result.plan.label, result.status) for result in found} == {
        ("two_workers", "measured"), ("several_sources", "measured"), ("keys_at_the_end", "measured")
    }  # fmt: skip
    assert all(result.metrics["records"] == 120 for result in found)
    assert dag_run.state == "success"
    production = run_dag(production_dag(path, goal="throughput"))
    assert production.state == "success"
    with psycopg2.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM public.users")
        assert cursor.fetchone() == (120,)


def test_the_study_in_memory(run_dag: Any, results_of: Any, study: Any) -> None:
    dag_run = run_dag(tuning_dag(study("streaming_etl_memory", ["memory", "compact_columns", "heavy_small_batches"])))
    found = results_of("streaming_etl_memory")
    assert [result.reason for result in found if result.status != "measured"] == []
    rates = {result.plan.label: result.metrics["records_per_s"] for result in found}
    assert rates["compact_columns"] > rates["heavy_small_batches"]
    assert dag_run.state == "success"
