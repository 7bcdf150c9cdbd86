# ruff: noqa: F811 (fixtures are imported, and are parameters)
"""Tasks of any operator with the keyword `tuned`: what they run with, what is noted, and that nothing stops them."""

from __future__ import annotations

import datetime as dt
from functools import partial
from pathlib import Path

import psycopg2
import pytest
from airflow.sdk import DAG, task
from tuned_study import promoted, study  # noqa: F401

from pipeline_tuner import tuned
from pipeline_tuner.store import Store

SEEN: list = []


@pytest.fixture(autouse=True)
def _nothing_seen():
    SEEN.clear()


@pytest.fixture
def noted(production_runs):
    """A function that returns the rows of production runs."""
    return partial(production_runs, "map_index, try_number")


def load(level=0, options=None, fails=(), **context):
    SEEN.append((level, (options or {}).get("mode")))
    if context["ti"].try_number in fails:
        raise ValueError("the source is away")
    return {"rows": 12, "name": "orders"}


def one_task(keyword, **arguments):
    from airflow.providers.standard.operators.python import PythonOperator

    kwargs = {"level": 2, "options": {"mode": "good", "other": 1}, **arguments.pop("op_kwargs", {})}
    with DAG("nightly", schedule=None) as dag:
        PythonOperator(task_id="load", python_callable=load, op_kwargs=kwargs, **arguments, **keyword)
    return dag


def test_a_promoted_configuration_is_put_into_the_arguments_and_the_run_is_noted(run_dag, promoted, noted):
    assert run_dag(one_task(tuned(promoted))).state == "success"
    assert SEEN == [(7, "wrong")]
    (row,) = noted()
    assert (row.study, row.goal, row.source, row.label) == ("compress", "size", "promoted", "mine")
    assert (row.status, row.task_id, row.map_index, row.try_number) == ("measured", "load", -1, 1)
    assert row.configuration == {"level": 7, "mode": "wrong"}
    assert row.metrics["rows"] == 12
    assert row.metrics["duration_s"] > 0
    assert row.ended_at > row.started_at


def test_a_failed_try_and_its_retry_are_told_apart(run_dag, promoted, noted):
    dag = one_task(tuned(promoted), op_kwargs={"fails": (1,)}, retries=1, retry_delay=dt.timedelta(seconds=0.1))
    assert run_dag(dag).state == "success"
    assert [(r.try_number, r.status, r.failure, r.reason) for r in noted()] == [
        (1, "failed", "error", "ValueError: the source is away"),
        (2, "measured", None, ""),
    ]
    assert noted()[0].metrics == {}


def test_a_run_that_is_skipped_is_no_evidence(run_dag, promoted, noted):
    with DAG("nightly", schedule=None) as dag:

        @task(**tuned(promoted))
        def load(level=3, options=None):
            from airflow.sdk.exceptions import AirflowSkipException

            raise AirflowSkipException

        load(options={})
    run_dag(dag)
    assert [r.status for r in noted()] == ["skipped"]


def test_a_killed_process_leaves_a_start_and_never_half_a_configuration(run_dag, promoted, noted, monkeypatch):
    from pipeline_tuner.operators import tuned_run

    monkeypatch.setattr(tuned_run, "end_run", lambda *a, **k: None)
    dag = one_task(tuned(promoted), op_kwargs={"fails": (1,)}, retries=1, retry_delay=dt.timedelta(seconds=0.1))
    run_dag(dag)
    assert [(r.status, r.failure) for r in noted()] == [("failed", "lost"), ("running", None)]


def test_a_mapped_task_is_noted_for_each_instance(run_dag, promoted, noted):
    from airflow.providers.standard.operators.python import PythonOperator

    with DAG("nightly", schedule=None) as dag:
        PythonOperator.partial(task_id="load", python_callable=load, **tuned(promoted)).expand(
            op_kwargs=[{"level": 2, "options": {}}, {"level": 3, "options": {}}]
        )
    assert run_dag(dag).state == "success"
    assert SEEN == [(7, "wrong")] * 2
    assert [(r.map_index, r.status) for r in noted()] == [(0, "measured"), (1, "measured")]


def test_a_deferred_task_goes_on_with_what_it_began_with(run_dag, promoted, noted, results):
    from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
    from airflow.sdk import BaseOperator

    class Waits(BaseOperator):
        def __init__(self, *, batch, **kwargs):
            super().__init__(**kwargs)
            self.batch, self.mode = batch, None

        def execute(self, context):
            SEEN.append(self.batch)
            with Store(results) as store:
                store.promote("compress", "size", "later", {"level": 3}, actor="ada")
            self.defer(trigger=TimeDeltaTrigger(dt.timedelta(seconds=0.2)), method_name="go_on")

        def go_on(self, context, event=None):
            SEEN.append(self.batch)
            return {"rows": 5}

    with DAG("nightly", schedule=None) as dag:
        Waits(task_id="load", batch=2, **tuned(promoted, sets={"level": "batch", "mode": "mode"}))
    assert run_dag(dag).state == "success"
    assert SEEN == [7, 7]
    (row,) = noted()
    assert (row.label, row.status, row.metrics["rows"]) == ("mine", "measured", 5)
    assert row.metrics["duration_s"] >= 0.2


def test_the_documentations_dag_runs_as_it_stands(run_dag, results, noted, new_database, spark_env, monkeypatch):
    examples = Path(__file__).resolve().parents[2] / "docs" / "examples"
    monkeypatch.syspath_prepend(str(examples))
    uri = new_database("orders")
    monkeypatch.setenv("AIRFLOW_CONN_ORDERS_DB", uri)
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", '{"conn_type": "spark", "host": "local[1]"}')
    with psycopg2.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE order_totals (bucket int PRIMARY KEY, orders bigint)")
    with Store(results) as store:
        store.promote("pack", "time", "fast", {"level": 1}, actor="ada")
        store.promote("upsert", "time", "mine", {"work_mem": "64MB", "batch": 100}, actor="ada")
    import nightly_tasks

    assert run_dag(nightly_tasks.dag).state == "success"
    found = {row.task_id: row for row in noted()}
    assert {task: (row.study, row.label, row.status) for task, row in found.items()} == {
        "pack": ("pack", "fast", "measured"),
        "upsert": ("upsert", "mine", "measured"),
        "words": ("words", "today", "measured"),
        "report": ("report", "as written", "measured"),
    }
    assert found["words"].metrics["words"] == 80_000
    with psycopg2.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM order_totals")
        assert cursor.fetchone() == (100,)
