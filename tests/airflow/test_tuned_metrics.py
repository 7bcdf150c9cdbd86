# ruff: noqa: F811 (fixtures are imported, and are parameters)
"""What is seen of a tuned task's run from outside: its log, statements, processor time, Spark's event log."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
from airflow.providers.standard.operators.python import PythonOperator
from operator_study import PYTHON, integer
from task_instance import TaskInstance
from test_tuned_hooks import noted  # noqa: F401
from tuned_study import promoted, study  # noqa: F401

from pipeline_tuner import tuned
from pipeline_tuner.operators import tuned_run
from pipeline_tuner.store import Store, migrate

BURN = "sum(i * i for i in range(3_000_000))"


def load(level=0, options=None):
    print(f"loaded 1{level} rows")
    subprocess.run([sys.executable, "-I", "-c", BURN], check=True)


def load_task(keyword):
    kwargs = {"level": 2, "options": {"mode": "good"}}
    return PythonOperator(task_id="load", python_callable=load, op_kwargs=kwargs, **keyword)


def run_task(keyword):
    operator = load_task(keyword)
    context = {"ti": TaskInstance(), "task": operator}
    operator._pre_execute_hook(context)
    load(**operator.op_kwargs)
    operator._post_execute_hook(context, None)


def statement(sql):
    return {"sql": sql, "conn_id": "pipeline_tuner_default"}


def test_metrics_come_from_the_log_from_statements_and_from_programs_that_it_started(promoted, noted):
    metrics = {"rows": r"^loaded (\d+) rows", "pages": statement("SELECT 3 * 4"), "none": r"^skipped (\d+)"}
    run_task(tuned(promoted, metrics=metrics))
    (row,) = noted()
    assert row.status == "measured"
    assert (row.metrics["rows"], row.metrics["pages"]) == (17, 12)
    assert row.metrics["core_seconds"] > 0.05
    assert "none" not in row.metrics


@pytest.mark.parametrize(
    ("checks", "reason"),
    [
        ({"all of it": r"^loaded 99"}, "all of it: '^loaded 99' is not in its log"),
        ({"all of it": statement("SELECT 1 > 2")}, "all of it: SELECT 1 > 2 gave False"),
    ],
    ids=["log", "statement"],
)
def test_a_run_whose_output_is_wrong_is_noted_as_failed_and_its_task_goes_on(promoted, noted, checks, reason):
    run_task(tuned(promoted, checks=checks))
    (row,) = noted()
    assert (row.status, row.failure, row.reason, row.metrics) == ("failed", "check_failed", reason, {})


def test_a_check_that_can_not_be_asked_says_nothing(promoted, noted, caplog):
    run_task(tuned(promoted, checks={"all": {"sql": "SELECT 1", "conn_id": "nowhere"}, "rows": r"^loaded \d+"}))
    assert [row.status for row in noted()] == ["measured"]
    assert "Check all can't be made" in caplog.text


def test_a_pattern_that_is_none_costs_the_metrics_alone(promoted, noted, caplog):
    run_task(tuned(promoted, metrics={"rows": "loaded ("}))
    (row,) = noted()
    assert (row.status, row.label) == ("measured", "mine")
    assert "tuned.metrics.rows" in caplog.text


def test_the_studys_own_patterns_count_and_its_statements_do_not(compress, results, noted):
    options = {"metrics": {"rows": r"^loaded (\d+) rows", "pages": statement("SELECT 1")}}
    arguments = {"python_callable": "json.dumps", "op_kwargs": {"obj": 1}}
    runner = {"kind": "operator", "operator": PYTHON, "arguments": arguments, "options": options}
    name = compress(
        runner=runner, space={"parameters": {"level": integer(1, 9, 1, "op_kwargs.level")}}, presets={"fast": {}}
    )
    run_task(tuned(name))
    (row,) = noted()
    assert row.metrics["rows"] == 12
    assert "pages" not in row.metrics


def test_a_database_that_is_just_started_anew_is_waited_for(study, own_postgres, monkeypatch):
    uri = own_postgres.create_database("restarted")
    migrate(uri)
    monkeypatch.setenv("AIRFLOW_CONN_PIPELINE_TUNER_DEFAULT", uri)
    monkeypatch.setattr(tuned_run, "RESTART_S", 120.0)
    monkeypatch.setattr(tuned_run, "END_S", 120.0)
    with Store(uri) as store:
        store.promote(study, "size", "mine", {"level": 7, "mode": "wrong"}, actor="ada")
    operator = load_task(tuned(study))
    context = {"ti": TaskInstance(), "task": operator}
    for hook in (operator._pre_execute_hook, operator._post_execute_hook):
        own_postgres.stop(now=True)
        again = threading.Thread(target=own_postgres.start)
        again.start()
        hook(context)
        again.join()
    with Store(uri) as store, store.transaction() as connection:
        rows = connection.exec_driver_sql("SELECT label, status FROM pipeline_tuner.production_run").all()
    assert [tuple(row) for row in rows] == [("mine", "measured")]
