# ruff: noqa: F811 (fixtures are imported, and are parameters)
"""SQL tasks on a real PostgreSQL: what a parameter sets really acts in the server, in trials and in a tuned task."""

from __future__ import annotations

import psycopg2
import pytest
import yaml
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from operator_study import SQL, choice, integer, operator_study
from task_instance import TaskInstance
from test_operator_runner import measure  # noqa: F401
from test_tuned_hooks import noted  # noqa: F401

from pipeline_tuner import tuned
from pipeline_tuner.store import Store

WAREHOUSE = """
CREATE TABLE orders AS SELECT id, id % 97 AS shop FROM generate_series(1, 200000) AS id;
ANALYZE orders;
CREATE TABLE seen (workers int, spilled boolean);
CREATE FUNCTION plan_of(query text) RETURNS TABLE (workers int, spilled boolean) LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
  workers := 0; spilled := false;
  FOR line IN EXECUTE 'EXPLAIN (ANALYZE) ' || query LOOP
    IF line ~ 'Workers Launched' THEN workers := substring(line FROM '\\d+')::int; END IF;
    spilled := spilled OR line ~ 'external';
  END LOOP;
  RETURN NEXT;
END $$;
"""
"""Says of a query how many workers PostgreSQL launched for it, and whether its sort went to disk."""

STATEMENTS = [
    "SELECT set_config('work_mem', %(work_mem)s, false),"
    " set_config('max_parallel_workers_per_gather', %(workers)s, false),"
    " set_config('parallel_setup_cost', '0', false), set_config('parallel_tuple_cost', '0', false),"
    " set_config('min_parallel_table_scan_size', '0', false)",
    "INSERT INTO seen SELECT * FROM plan_of('SELECT id FROM orders ORDER BY shop, id')",
]


@pytest.fixture
def warehouse(database, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", database)
    with psycopg2.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute(WAREHOUSE)
    return database


@pytest.fixture
def study(studies):
    asked = {"workers": "SELECT max(workers) FROM seen", "spilled": "SELECT count(*) FROM seen WHERE spilled"}
    found = operator_study(
        SQL,
        {"conn_id": "warehouse", "sql": STATEMENTS, "parameters": {"work_mem": "1MB", "workers": "0"}},
        {
            "work_mem": choice(["1MB", "256MB"], "parameters.work_mem"),
            "workers": integer(0, 4, 0, "parameters.workers"),
        },
        presets={"now": {}, "large": {"work_mem": "256MB"}},
        options={
            "before": [{"sql": "TRUNCATE seen", "conn_id": "warehouse"}],
            "metrics": {name: {"sql": sql, "conn_id": "warehouse"} for name, sql in asked.items()},
        },
    )
    (studies / "any_task.yaml").write_text(yaml.safe_dump(found), encoding="utf-8")
    return found


def test_memory_and_parallel_workers_of_a_trial_act_in_the_server(measure, warehouse, study):
    assert measure(study).metrics["spilled"] == 1
    assert measure(study, {"work_mem": "256MB"}).metrics["spilled"] == 0
    assert measure(study, {"workers": 2}).metrics["workers"] > 0
    assert measure(study, {"workers": 0}).metrics["workers"] == 0


def test_a_tuned_sql_task_runs_with_what_is_promoted_and_statements_say_what_came_of_it(
    warehouse, study, results, noted
):
    with Store(results) as store:
        store.promote("any_task", "time", "large", {"work_mem": "256MB", "workers": 0}, actor="ada")
    keyword = tuned(
        "any_task",
        metrics={"spilled": {"sql": "SELECT count(*) FROM seen WHERE spilled", "conn_id": "warehouse"}},
        checks={"it ran once": {"sql": "SELECT count(*) = 1 FROM seen", "conn_id": "warehouse"}},
    )
    load = SQLExecuteQueryOperator(
        task_id="load",
        conn_id="warehouse",
        sql=STATEMENTS,
        parameters={"work_mem": "1MB", "workers": "0"},
        **keyword,
    )
    context = {"ti": TaskInstance(), "task": load}
    load._pre_execute_hook(context)
    load._post_execute_hook(context, load.execute(context))
    (row,) = noted()
    assert (row.status, row.label, row.metrics["spilled"]) == ("measured", "large", 0)
