"""A nightly Spark job gets one keyword: within thirty nights under LocalExecutor its cheaper setting is found."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path

import psycopg2
import pytest
import yaml
from operator_study import SPARK, integer, operator_study
from tests.real_airflow import running_airflow
from tuned_nights import Nights, nightly_dag

from pipeline_tuner.store import Store

NIGHTS = 30
JOB = Path(__file__).with_name("nightly_flights.py")
TASKS = """
load = SparkSubmitOperator(
    task_id="load",
    conn_id="spark_local",
    application={job!r},
    application_args=["{{{{ ds }}}}", "2"],
    jars={jars!r},
    driver_memory="1g",
    conf={{
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": {logs!r},
        "spark.ui.enabled": "false",
        "spark.log.level": "WARN",
    }},
    **tuned("flights_load", explore=0.5),
)
noted = BashOperator(
    task_id="noted",
    bash_command="echo packed $LEVEL",
    env={{"LEVEL": "3"}},
    append_env=True,
    **tuned("noted_only", sets={{"level": "env.LEVEL"}}),
)
"""
COLUMNS = "year, month, day, dep_time, carrier, flight, tailnum, origin, dest, distance"
ROWS = "SELECT count(*), sum(hashtext(concat_ws(',', {columns}))) FROM {table} {where}"


def study():
    return operator_study(
        SPARK,
        {"application": str(JOB), "conn_id": "spark_local", "application_args": ["2013-01-01", "2"]},
        {"batch": {**integer(1, 5000, 2, "application_args.1"), "tried": [1, 2, 1000]}},
        study="flights_load",
        job="flights_load",
        presets={"now": {}, "large": {"batch": 1000}, "single": {"batch": 1}},
        # Processor time, which a machine that is busy with other things changes little.
        goals={"cost": {"minimize": "executor_cpu_s / rows", "unit": "s"}},
        options={"metrics": {"rows": r"loaded (\d+) rows"}},
    )


@pytest.fixture
def nights(postgres, flights, new_database, spark_env, tmp_path):
    """Thirty nights of a DAG that has got the keyword, in a running Airflow."""
    for name in ("studies", "dags", "logs"):
        (tmp_path / name).mkdir()
    (tmp_path / "studies" / "flights_load.yaml").write_text(yaml.safe_dump(study(), sort_keys=False), encoding="utf-8")
    jars = spark_env["PIPELINE_TUNER_JARS"].split(",")
    tasks = TASKS.format(
        job=str(JOB),
        jars=",".join(jar for jar in jars if "iceberg" not in jar),
        logs=(tmp_path / "logs").as_uri(),
    )
    dag = nightly_dag("nightly", NIGHTS, tasks, paused=True)
    (tmp_path / "dags" / "nightly.py").write_text(dag, encoding="utf-8")
    target = new_database("target")
    variables = {
        "FLIGHTS_SOURCE": flights,
        "FLIGHTS_TARGET": target,
        "AIRFLOW_CONN_SPARK_LOCAL": '{"conn_type": "spark", "host": "local[2]", "extra": {"deploy-mode": "client"}}',
    }
    with running_airflow(tmp_path, postgres, **variables) as real:
        real.token = real.rest("/auth/token")["access_token"]
        nights = Nights(real, "nightly")
        # Not before the API server answers: a task that can't reach it fails before it begins.
        real.until(nights.unpaused)
        yield nights, target


@pytest.mark.soak
def test_thirty_nights_of_a_spark_job_promote_what_is_truly_cheaper(nights, flights):
    nights, target = nights
    nights.real.until(lambda: nights.ended() == NIGHTS, patience_s=3500)
    rows = nights.noted()
    loads = [row for row in rows if row.task_id == "load"]
    print(*map(told, loads), sep="\n", file=sys.stderr)

    assert set(nights.states().values()) == {"success"}
    last = {(row.run_id, row.task_id): row for row in sorted(rows, key=lambda row: row.try_number)}
    assert {(row.status, row.reason) for row in last.values()} == {("measured", "")}
    assert len(last) == 2 * NIGHTS
    # A try that failed is one of a challenger that was ended for being slow, or was lost to this busy machine.
    failed = [row for row in rows if row.status != "measured"]
    assert {row.failure for row in failed} <= {"timeout", "lost"}
    assert {row.source for row in failed if row.failure == "timeout"} <= {"explored"}
    with Store(nights.real.results) as store:
        promoted = store.production("flights_load", "cost")
    assert promoted is not None, "nothing was promoted"
    assert (promoted.label, promoted.configuration) == ("large", {"batch": 1000})
    assert 1 - per_row(loads, 1000) / per_row(loads, 2) >= 0.15
    assert sum(row.configuration["batch"] == 1 for row in loads) <= 2
    ordinary = [row.metrics["duration_s"] for row in loads if row.metrics and row.source != "explored"]
    tried = [row.metrics["duration_s"] for row in loads if row.metrics and row.source == "explored"]
    assert max(tried) <= max(2 * max(ordinary), max(ordinary) + 60)
    assert len({row.metrics["rows"] for row in loads if row.metrics}) > 5, "the workload did not change"
    for run_id in nights.states():
        assert copied(target, run_id) == sent(flights, run_id)

    others = [row for row in rows if row.task_id == "noted"]
    assert {(row.source, row.label, row.configuration["level"]) for row in others} == {("given", "as written", "3")}
    page = nights.real.page("/pipeline-tuner/studies/flights_load")
    assert "exploration of nightly.load" in page
    assert "Saved so far" in page


def told(row):
    """One night in a line."""
    metrics = row.metrics
    used = " ".join(f"{name}={metrics.get(name, 0):.2f}" for name in ("executor_cpu_s", "task_s", "duration_s"))
    cost = metrics["executor_cpu_s"] / metrics["rows"] * 1e6 if metrics else float("nan")
    figures = f"{metrics.get('rows', 0):7.0f} rows {cost:6.1f} us/row {used}"
    return f"{row.run_id} {row.label:10} {row.source:9} {figures} {row.source_reason}"


def per_row(loads, batch):
    """The cost of a row, over all runs of a setting."""
    own = [row.metrics for row in loads if row.metrics and row.configuration["batch"] == batch]
    return sum(each["executor_cpu_s"] for each in own) / sum(each["rows"] for each in own)


def copied(target, run_id):
    day = run_id.partition("__")[2][:10].replace("-", "_")
    return counted(target, ROWS.format(columns=COLUMNS, table=f"night_{day}", where=""))


def sent(flights, run_id):
    number = date.fromisoformat(run_id.partition("__")[2][:10]).toordinal()
    first = 1 + number % 7
    months = f"WHERE month BETWEEN {first} AND {first + 2 + number % 3}"
    return counted(flights, ROWS.format(columns=COLUMNS, table="flights", where=months))


def counted(uri, query):
    with psycopg2.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone()
