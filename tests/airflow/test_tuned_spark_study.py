"""Spark tasks that follow a study of `spark_submit` as `advise` writes it: each value with the study's own unit."""

from __future__ import annotations

import pytest
import yaml
from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG
from task_instance import TaskInstance

from pipeline_tuner import tuned
from pipeline_tuner.operators.tuned_run import XCOM_KEY
from pipeline_tuner.store import Store

ADVISORY = "spark.sql.adaptive.advisoryPartitionSizeInBytes"
NUMBER = {"type": "integer", "low": 1, "high": 64_000}
STUDY = {
    "study": "orders_daily",
    "job": "orders_daily",
    "description": "Orders of a day",
    "runner": {
        "kind": "spark_submit",
        "options": {
            "application": "docs/examples/report.py",
            "master": "local[{cores}]",
            "arguments": ["--day", "2024-01-01", "--batch={batch}"],
            "conf": {
                ADVISORY: "{advisory_mb}m",
                "spark.driver.memory": "{driver_memory_mb}m",
                "spark.sql.shuffle.partitions": "{partitions}",
                "spark.sql.adaptive.enabled": "{adaptive}",
                "spark.io.compression.codec": "lz4",
            },
        },
    },
    "workload": {"name": "orders"},
    "space": {
        "parameters": {
            "advisory_mb": {**NUMBER, "default": 64},
            "driver_memory_mb": {**NUMBER, "default": 1024},
            "partitions": {**NUMBER, "default": 200},
            "cores": {**NUMBER, "default": 2},
            "batch": {**NUMBER, "default": 100},
            "adaptive": {"type": "categorical", "values": [False, True], "default": True},
        }
    },
    "presets": {"present": {}, "small": {"advisory_mb": 8}},
    "control": "present",
    "goals": {"time": {"minimize": "duration_s", "unit": "s"}},
    "budget": {"trials": 12},
}
BEST = {
    "advisory_mb": 128,
    "driver_memory_mb": 1722,
    "partitions": 12,
    "cores": 3,
    "batch": 500,
    "adaptive": False,
}
WRITTEN = {
    "conf": {ADVISORY: "64m", "spark.sql.shuffle.partitions": "200", "spark.sql.adaptive.enabled": "true"},
    "driver_memory": "1g",
    "application_args": ["--day", "2026-11-28", "--batch=100"],
}


@pytest.fixture
def study(studies, results, monkeypatch):
    """A function that writes the study with other options, and promotes a configuration of it; returns its name."""
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", '{"conn_type": "spark", "host": "local[*]"}')

    def write(**options):
        runner = {**STUDY["runner"], "options": {**STUDY["runner"]["options"], **options}}
        (studies / "orders_daily.yaml").write_text(yaml.safe_dump({**STUDY, "runner": runner}), encoding="utf-8")
        with Store(results) as store:
            store.promote("orders_daily", "time", "best", BEST, actor="ada")
        return "orders_daily"

    return write


def begun(keyword, operator_class=SparkSubmitOperator, **arguments):
    """An operator as its run begins, and its task instance."""
    known = {"application": "job.py", **WRITTEN} if operator_class is SparkSubmitOperator else {}
    operator, ti = operator_class(task_id="load", **{**known, **arguments}, **keyword), TaskInstance()
    operator._pre_execute_hook({"ti": ti, "task": operator})
    return operator, ti.kept[XCOM_KEY]


def command_of(operator):
    """What spark-submit would be called with: its settings, options and arguments."""
    words = operator._get_hook()._build_spark_submit_command("job.py")
    conf = dict(words[place + 1].split("=", 1) for place, word in enumerate(words) if word == "--conf")
    options = {word: words[place + 1] for place, word in enumerate(words) if word in ("--master", "--driver-memory")}
    return conf, options, words[words.index("job.py") + 1 :]


def warnings_of(caplog):
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def test_every_value_has_the_studys_unit_and_place(study, caplog):
    operator, kept = begun(tuned(study()))
    conf, options, arguments = command_of(operator)
    assert conf == {
        ADVISORY: "128m",
        "spark.driver.memory": "1722m",
        "spark.sql.shuffle.partitions": "12",
        "spark.sql.adaptive.enabled": "false",
    }
    # The argument that the task's author gave goes before the setting in spark-submit.
    assert options == {"--master": "local[3]", "--driver-memory": "1722m"}
    assert arguments == ["--day", "2026-11-28", "--batch=500"]
    assert (kept["label"], kept["configuration"]) == ("best", BEST)
    assert warnings_of(caplog) == []


def test_a_setting_that_the_trials_had_otherwise_is_said(study, caplog):
    begun(tuned(study()), conf={**WRITTEN["conf"], "spark.io.compression.codec": "zstd"})
    assert warnings_of(caplog) == [
        "This task has spark.io.compression.codec=zstd; what it follows was measured with lz4"
    ]


def test_what_is_written_is_read_in_the_studys_unit(study, results):
    name = study()
    with Store(results) as store, store.transaction() as connection:
        connection.exec_driver_sql("DELETE FROM pipeline_tuner.promotion")
    operator, kept = begun(tuned(name), conn_id="spark_default")
    assert kept["configuration"].keys() == BEST.keys()
    assert (kept["configuration"]["driver_memory_mb"], kept["configuration"]["advisory_mb"]) == (1024, 64)
    assert command_of(operator)[1]["--driver-memory"] == "1g"


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        ({"advisory_mb": f"conf.{ADVISORY}"}, "leave advisory_mb out of 'sets'"),
        ({"advisory_mb": f"conf.{ADVISORY}={{advisory_mb}}"}, "leave advisory_mb out of 'sets'"),
        ({"driver_memory_mb": "driver_memory"}, 'or write {"driver_memory_mb": "driver_memory={driver_memory_mb}m"}'),
        ({"batch": "application_args.2"}, "leave batch out of 'sets'"),
        ({"cores": "conf.spark.master"}, "leave cores out of 'sets'"),
        ({"cores": "conf.spark.master=local[{cores}]"}, "takes its master from the connection"),
        ({"partitions": "executor_cores={cores}"}, "must have {partitions} in it"),
    ],
)
def test_sets_that_would_lose_the_unit_or_not_act_are_refused(study, caplog, sets, words):
    operator, kept = begun(tuned(study(), sets=sets))
    assert operator.conf == WRITTEN["conf"]
    assert command_of(operator)[1] == {"--master": "local[*]", "--driver-memory": "1g"}
    assert kept["label"] != "best"
    (said,) = warnings_of(caplog)
    assert words in said


def test_what_a_refusal_says_to_write_works(study, caplog):
    operator, _ = begun(tuned(study(), sets={"driver_memory_mb": "driver_memory={driver_memory_mb}m"}))
    conf, options, _ = command_of(operator)
    assert (options["--driver-memory"], conf[ADVISORY], "spark.driver.memory" in conf) == ("1722m", "128m", False)
    assert warnings_of(caplog) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"application_args": ["2026-11-28"]}, 'give sets={"batch": "application_args.N"}'),
        ({"application_args": ["--month", "2026-11", "--batch=100"]}, "application_args.N"),
        ({"application_args": ["--day", "2026-11-28", "--batch=all"]}, "application_args.N"),
        ({"conn_id": "cluster"}, "this task's connection has spark://host:7077"),
        ({"conn_id": "odd"}, "the task's Spark connection can't be used"),
    ],
)
def test_a_task_that_differs_from_the_studys_program_runs_as_written(study, monkeypatch, caplog, arguments, words):
    monkeypatch.setenv("AIRFLOW_CONN_CLUSTER", '{"conn_type": "spark", "host": "spark://host:7077"}')
    odd = '{"conn_type": "spark", "host": "local", "extra": {"spark-binary": "unknown"}}'
    monkeypatch.setenv("AIRFLOW_CONN_ODD", odd)
    operator, _ = begun(tuned(study()), **arguments)
    assert operator.conf == WRITTEN["conf"]
    (said,) = warnings_of(caplog)
    assert "arguments as written" in said
    assert words in said


def test_an_operator_that_is_no_spark_submit_is_told_what_to_paste(study, caplog):
    operator, _ = begun(tuned(study()), BashOperator, bash_command="run-job", env={"BATCH": "1"})
    assert operator.env == {"BATCH": "1"}
    (said,) = warnings_of(caplog)
    assert 'give tuned("orders_daily", sets={"adaptive": "ARGUMENT", "advisory_mb": "ARGUMENT={advisory_mb}m", ' in said
    assert '"batch": "env.BATCH", "cores": "ARGUMENT"' in said


def test_a_missing_study_is_told_once_with_the_nearest_name(study, caplog):
    study()
    _, kept = begun(tuned("orders_dayly", sets={"memory": "driver_memory"}))
    (said,) = warnings_of(caplog)
    assert "did you mean 'orders_daily'?" in said
    assert kept["configuration"] == {"memory": "1g"}
    caplog.clear()
    begun(tuned("orders_dayly"))
    (said,) = warnings_of(caplog)
    assert "did you mean 'orders_daily'?" in said


def test_a_run_that_stays_as_written_says_so(study, results, caplog):
    caplog.set_level("INFO")
    name = study()
    with Store(results) as store, store.transaction() as connection:
        connection.exec_driver_sql("DELETE FROM pipeline_tuner.promotion")
    begun(tuned(name))
    assert [one.getMessage() for one in caplog.records if "as written" in one.getMessage()] == [
        "Running with the arguments as written: no sweep of study orders_daily has recommended anything for time yet"
    ]


PROGRAM = f"""
import sys
from pathlib import Path
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
settings = [spark.conf.get(name) for name in ("{ADVISORY}", "spark.driver.memory")]
found = [spark.sparkContext.master, *settings, *sys.argv[1:]]
Path(__file__).with_name("seen").write_text(" ".join(found))
spark.stop()
"""


@pytest.mark.soak
def test_spark_itself_has_what_the_study_recommends(study, run_dag, spark_env, results, production_runs, tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    keyword = tuned(study())
    with Store(results) as store:
        store.promote("orders_daily", "time", "small", {**BEST, "driver_memory_mb": 600}, actor="ada")
    with DAG("nightly", schedule=None) as dag:
        arguments = {**WRITTEN, "application_args": ["--day", "x", "--batch=1"]}
        SparkSubmitOperator(task_id="load", application=str(tmp_path / "program.py"), **arguments, **keyword)
    assert run_dag(dag).state == "success"
    (row,) = production_runs("try_number")
    assert (row.status, row.label) == ("measured", "small")
    assert (tmp_path / "seen").read_text(encoding="utf-8") == "local[3] 128m 600m --day x --batch=500"
