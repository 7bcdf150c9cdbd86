"""Whole sweeps over an operator, and the task that then follows them: the way from a DAG that exists to a tuned one."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG
from operator_study import BASH, SPARK, choice, integer, operator_study

from pipeline_tuner import tuned
from pipeline_tuner.store import Store

pytestmark = pytest.mark.soak
LOAD = "sleep 0.$NAP; echo loaded $BATCH; true {{ run_id }}"


def stored(studies, study) -> str:
    (studies / "any_task.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    return study["study"]


def rows_of(results, table) -> list[Any]:
    with Store(results) as store, store.transaction() as connection:
        return list(connection.exec_driver_sql(f"SELECT * FROM pipeline_tuner.{table} ORDER BY started_at").all())


def test_a_sweep_measures_a_bash_task_and_the_task_in_production_follows_it(run_dag, studies, results):
    from pipeline_tuner.dag_factory import tuning_dag

    study = operator_study(
        BASH,
        {"bash_command": LOAD},
        {"nap": integer(0, 9, 8, "env.NAP"), "batch": integer(1, 900, 100, "env.BATCH")},
        presets={"now": {}, "quick": {"nap": 0, "batch": 500}, "wrong": {"batch": 7}},
        options={"metrics": {"rows": r"^loaded (\d+)"}, "checks": {"enough": r"^loaded \d\d\d"}},
        budget={"trials": 20, "blocks": 3, "rounds": 1, "confirm_blocks": 3, "trial_timeout_s": 600},
    )
    name = stored(studies, study)
    assert run_dag(tuning_dag(name)).state == "success"
    trials = rows_of(results, "trial")
    assert {(t.label, t.status, t.failure) for t in trials} == {
        ("now", "measured", None),
        ("quick", "measured", None),
        ("wrong", "failed", "check_failed"),
    }
    assert {t.metrics["rows"] for t in trials if t.label == "quick"} == {500}
    assert all(0.8 < t.metrics["duration_s"] < 300 for t in trials if t.label == "now")

    with DAG("nightly", schedule=None) as dag:
        BashOperator(task_id="load", bash_command=LOAD, env={"NAP": "8", "BATCH": "100"}, **tuned(name))
    assert run_dag(dag).state == "success"
    (row,) = rows_of(results, "production_run")
    assert (row.source, row.label) == ("recommended", "quick"), row.source_reason
    assert row.configuration == {"nap": 0, "batch": 500}
    assert 0 < row.metrics["duration_s"] < 300


SCRIPT = """
import sys
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
parts = spark.range(1000).repartition("id").rdd.getNumPartitions()
conf = spark.conf
memory = conf.get("spark.driver.memory").rstrip("m")
print("partitions", conf.get("spark.sql.shuffle.partitions"), "memory", memory, "MB")
spark.stop()
"""


def test_spark_submit_is_tuned_as_it_is(run_dag, studies, results, spark_env, tmp_path, monkeypatch):
    from pipeline_tuner.dag_factory import tuning_dag

    script = tmp_path / "load.py"
    script.write_text(SCRIPT, encoding="utf-8")
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_LOCAL", '{"conn_type": "spark", "host": "local[1]"}')
    study = operator_study(
        SPARK,
        {"application": str(script), "conn_id": "spark_local", "conf": {"spark.ui.enabled": "false"}},
        {
            "partitions": integer(1, 400, 7, "conf.spark.sql.shuffle.partitions"),
            "memory": choice(["600m", "700m"], "driver_memory"),
        },
        presets={"now": {}, "other": {"partitions": 3, "memory": "700m"}},
        options={"metrics": {"partitions": r"partitions (\d+) memory", "memory": r"memory (\d+) "}},
        budget={"trials": 2, "blocks": 1, "rounds": 1, "confirm_blocks": 0, "trial_timeout_s": 600},
    )
    assert run_dag(tuning_dag(stored(studies, study))).state in ("success", "failed")  # two runs decide nothing
    found = {t.label: t for t in rows_of(results, "trial")}
    assert {label: (t.status, t.reason) for label, t in found.items()} == {
        "now": ("measured", ""),
        "other": ("measured", ""),
    }
    assert (found["now"].metrics["partitions"], found["now"].metrics["memory"]) == (7, 600)
    assert (found["other"].metrics["partitions"], found["other"].metrics["memory"]) == (3, 700)
    # The JVM's time counts: spark-submit is a program that the task starts and waits for.
    assert found["now"].metrics["core_seconds"] > 1
