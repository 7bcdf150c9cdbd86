"""Operators as jobs, each in a task's context as a trial gives it: what they get, what is measured, how they fail."""

from __future__ import annotations

import datetime as dt
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import psycopg2
import pytest
import yaml
from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import DAG, BaseOperator
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.execution_time.context import set_current_context
from operator_study import BASH, PYTHON, SQL, choice, integer, operator_study
from tests.patience import PATIENCE_S

from pipeline_tuner.exceptions import ConfigurationError, InfrastructureError, MeasurementError, StudyError
from pipeline_tuner.operators.command import CommandOperator
from pipeline_tuner.operators.trials import trial_arguments
from pipeline_tuner.runners import TrialFailedError, TrialRun, runner_for
from pipeline_tuner.store import Store
from pipeline_tuner.study import Study, load_study
from pipeline_tuner.sweep import sweep_options
from pipeline_tuner.trial import TrialPlan

PLACE = f"{__name__}."


@pytest.fixture
def measure(tmp_path):
    """A function that runs a study's operator with a configuration, as its trial's task would."""
    number = iter(range(100))

    def run(study, configuration=None, timeout_s=300.0):
        known = Study.model_validate(study)
        folder = tmp_path / str(next(number))
        folder.mkdir()
        ti = SimpleNamespace(
            task_id="trial", dag_id="tune", run_id="r", map_index=0, try_number=1, xcom_push=lambda **_: None
        )
        context = {"ti": ti, "dag": DAG("tune", schedule=None), "params": {"table": "orders"}, "run_id": "r"}
        trial = TrialRun("any_task", "t1", known.space.checked(configuration or {}), folder)
        with set_current_context(context):
            return runner_for(known).run(trial, timeout_s)

    return run


def test_a_bash_task_gets_its_variables_and_is_timed_from_outside(measure):
    study = operator_study(
        BASH,
        {"bash_command": "echo {{ params.table }} of $BATCH at {{ tuner.configuration.level }}: rows 5"},
        {"batch": integer(1, 1000, 100, "env.BATCH"), "level": integer(1, 9, 3)},
        options={
            "metrics": {"rows": r"rows (\d+)", "batch": r"of (\d+)"},
            "checks": {"it is the table": "^orders of", "its own text": "BATCH"},
        },
    )
    found = measure(study, {"batch": 250})
    assert (found.metrics["rows"], found.metrics["batch"]) == (5, 250)
    assert 0 < found.metrics["duration_s"] < 120
    assert found.metrics["core_seconds"] > 0
    assert [(check.name, check.passed) for check in found.checks] == [
        ("it is the table", True),
        ("its own text", False),
    ]


def count(n, *, power=1):
    print(f"counted to {n}")
    return {"rows": n**power, "name": "x", "worse": -1}


def test_a_python_task_returns_its_figures(measure):
    study = operator_study(
        PYTHON,
        {"python_callable": f"{PLACE}count", "op_kwargs": {"n": 1}},
        {"n": integer(1, 9, 1, "op_kwargs.n"), "power": integer(1, 3, 1, "op_kwargs.power")},
        options={"metrics": {"printed": r"counted to (\d+)"}},
    )
    found = measure(study, {"n": 3, "power": 2})
    assert (found.metrics["rows"], found.metrics["printed"]) == (9, 3)
    assert "worse" not in found.metrics


@pytest.fixture
def warehouse(database, monkeypatch):
    """An empty table of orders to upsert into, behind the connection `warehouse`."""
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", database)
    with psycopg2.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE orders (id int PRIMARY KEY, seen int)")
    return database


def sql_study(**options):
    return operator_study(
        SQL,
        {
            "conn_id": "warehouse",
            "split_statements": True,
            "sql": [
                "SELECT set_config('work_mem', %(work_mem)s, false)",
                "INSERT INTO orders SELECT id, %(batch)s FROM generate_series(1, %(batch)s) AS id"
                " ON CONFLICT (id) DO UPDATE SET seen = orders.seen + 1",
                "SELECT current_setting('work_mem')",
            ],
            "parameters": {"work_mem": "4MB", "batch": 10},
        },
        {
            "work_mem": choice(["4MB", "64MB"], "parameters.work_mem"),
            "batch": integer(1, 5000, 10, "parameters.batch"),
        },
        options={
            "before": [{"sql": "TRUNCATE orders", "conn_id": "warehouse"}],
            "metrics": {"rows": {"sql": "SELECT count(*) FROM orders", "conn_id": "warehouse"}},
            "checks": {"as asked": {"sql": "SELECT max(seen) = count(*) FROM orders", "conn_id": "warehouse"}},
            **options,
        },
    )


def test_an_sql_task_is_measured_and_checked_on_its_connection(measure, warehouse):
    for batch in (500, 20):  # the second would count 500 rows without what goes before
        found = measure(sql_study(), {"work_mem": "64MB", "batch": batch})
        assert found.metrics["rows"] == batch
        assert [check.passed for check in found.checks] == [True]


def test_a_statement_that_gives_no_number_or_fails_is_no_measurement(measure, warehouse):
    def asks(sql):
        return sql_study(metrics={"rows": {"sql": sql, "conn_id": "warehouse"}})

    with pytest.raises(MeasurementError, match=r"metrics\.rows: the statement gave None, no number"):
        measure(asks("SELECT max(id) FROM orders WHERE id < 0"))
    with pytest.raises(MeasurementError, match=r'metrics\.rows: .*relation "nowhere" does not exist'):
        measure(asks("SELECT count(*) FROM nowhere"))


def fails(how="error"):
    if how == "slow":
        time.sleep(3600)
    if how == "memory":
        raise MemoryError("cannot allocate")
    if how == "conn":
        from airflow.sdk import BaseHook

        BaseHook.get_connection("nowhere")
    raise ValueError("the source\nis away")


@pytest.mark.parametrize(
    ("how", "kind", "words"),
    [
        ("error", "error", "ValueError: the source is away"),
        ("memory", "out_of_memory", "out of memory"),
        ("slow", "timeout", "longer than the 0.5 s"),
    ],
)
def test_what_an_operator_fails_of_is_a_result(measure, how, kind, words):
    study = operator_study(
        PYTHON, {"python_callable": fails}, {"how": choice(["error", "memory", "slow", "conn"], "op_kwargs.how")}
    )
    with pytest.raises(TrialFailedError, match=words) as caught:
        measure(study, {"how": how}, timeout_s=0.5 if how == "slow" else 60)
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("python -c 'raise RuntimeError(\"no rows\")'", "RuntimeError: no rows"),
        ("echo begun; echo 'psql: error: no such table' >&2; exit 3", "psql: error: no such table"),
        ("echo begun; exit 3", "AirflowException: Bash command failed"),
    ],
)
def test_the_reason_of_a_failed_command_begins_with_its_cause(measure, script, words):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    arguments = {"bash_command": script, "env": {"PATH": path}, "append_env": True}
    study = operator_study(BASH, arguments, {"level": integer(1, 9, 3, "env.LEVEL")})
    with pytest.raises(TrialFailedError) as caught:
        measure(study)
    assert str(caught.value).startswith(words)
    assert "Bash command failed" in str(caught.value)


def test_a_missing_connection_is_no_evidence(measure):
    study = operator_study(PYTHON, {"python_callable": fails}, {"how": choice(["conn", "error"], "op_kwargs.how")})
    with pytest.raises(InfrastructureError, match="nowhere"):
        measure(study)


def test_a_bash_task_that_takes_too_long_is_ended(measure, monkeypatch):
    """The alarm comes when the program runs, however long its start takes."""
    study = operator_study(BASH, {"bash_command": "sleep 3600"}, {"a": integer(1, 2, 1, "env.A")})
    started = queue.SimpleQueue()
    ask = SubprocessHook.__setattr__

    def noted(hook, name, value):
        ask(hook, name, value)
        if name == "sub_process" and value is not None:
            started.put(value)

    monkeypatch.setattr(SubprocessHook, "__setattr__", noted)
    programs = []

    def alarm_when_it_runs():
        programs.append(started.get())
        os.kill(os.getpid(), signal.SIGALRM)

    clock = threading.Thread(target=alarm_when_it_runs)
    clock.start()
    with pytest.raises(TrialFailedError, match=r"longer than the 3600 s"):
        measure(study, timeout_s=3600)
    clock.join()
    assert programs[0].wait() != 0


def test_what_an_operator_defers_for_is_waited_for(measure):
    study = operator_study(f"{PLACE}Waits", {"batch": 1}, {"batch": integer(1, 9, 1, "batch")})
    found = measure(study, {"batch": 4})
    assert found.metrics["batch"] == 4
    assert found.metrics["duration_s"] >= 0.2


class Waits(BaseOperator):
    """An operator that defers before it returns what it was given."""

    def __init__(self, *, batch, **kwargs):
        super().__init__(**kwargs)
        self.batch = batch

    def execute(self, context):
        self.defer(trigger=TimeDeltaTrigger(dt.timedelta(seconds=0.2)), method_name="go_on", kwargs={"more": 0})

    def go_on(self, context, more, event=None):
        assert event is not None
        return {"batch": self.batch + more}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"operator": "airflow.nowhere.Operator"}, "can't be imported"),
        ({"operator": "pathlib.Path"}, "is no Airflow operator"),
        ({"operator": PYTHON, "arguments": {"python_callable": "load"}}, "arguments.python_callable: load can't be"),
        ({"arguments": {"bash_comand": "true"}}, "can't be made with them"),
        ({"arguments": {"bash_command": "true", "skip_on_exit_code": "{{ tuner.fraction }}"}}, "renders no templates"),
    ],
)
def test_an_operator_that_can_not_be_made_says_why(changes, words):
    study = operator_study(BASH, {"bash_command": "true"}, {"a": integer(1, 2, 1, "env.A")})
    study["runner"].update(changes)
    with pytest.raises(StudyError, match=words):
        runner_for(Study.model_validate(study)).operator_for({"a": 1})


def test_a_parameter_that_would_not_act_is_refused_before_anything_runs():
    study = operator_study(BASH, {"bash_command": "true"}, {"a": integer(1, 2, 1, "memory")})
    with pytest.raises(ConfigurationError, match="BashOperator has no argument 'memory'"):
        runner_for(Study.model_validate(study)).operator_for({"a": 1})


def test_the_check_before_a_sweep_names_what_is_missing():
    from pipeline_tuner.operators.preflight import check_environment

    with pytest.raises(InfrastructureError, match="no Airflow connection 'warehouse'"):
        check_environment(Study.model_validate(sql_study()))


EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


@pytest.fixture
def orders(database, monkeypatch):
    """The table of the documentation's examples, behind the connection `orders_db`, and their module."""
    monkeypatch.setenv("AIRFLOW_CONN_ORDERS_DB", database)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    with psycopg2.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE order_totals (bucket int PRIMARY KEY, orders bigint)")
    return database


@pytest.mark.parametrize(
    ("name", "configuration", "metric", "value"),
    [
        ("pack", {"level": 9}, "packed_bytes", None),
        ("upsert", {"work_mem": "64MB", "batch": 100}, "rows", 100),
        ("words", {"chunk": 5000}, "words", 80_000),
    ],
)
def test_the_documentations_studies_run_as_they_stand(measure, orders, name, configuration, metric, value):
    study = load_study(EXAMPLES / f"{name}.yaml")
    found = measure(study.model_dump(), configuration)
    assert found.metrics[metric] == value if value else found.metrics[metric] > 1000
    assert all(check.passed for check in found.checks)


def test_the_documentations_spark_study_makes_its_operator():
    study = load_study(EXAMPLES / "spark_report.yaml")
    operator = runner_for(study).operator_for(study.control_candidate.configuration)
    assert operator.durable is False


def test_spark_submit_is_given_the_configuration_and_its_log_is_read(measure, tmp_path, monkeypatch):
    program = tmp_path / "spark-submit"
    program.write_text('#!/bin/sh\necho "$@"\necho "INFO Stage: rows 1000"\n', encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", '{"conn_type": "spark", "host": "local[1]"}')
    study = load_study(EXAMPLES / "spark_report.yaml").model_dump()
    study["runner"]["options"] = {
        "metrics": {"rows": r"rows (\d+)$", "partitions": r"spark\.sql\.shuffle\.partitions=(\d+)"},
        "checks": {"memory": r"--driver-memory 600m "},
    }
    found = measure(study, {"partitions": 7, "memory": "600m"})
    assert (found.metrics["rows"], found.metrics["partitions"]) == (1000, 7)
    assert [check.passed for check in found.checks] == [True]


def test_a_trial_of_a_sweep_is_measured_and_stored(studies, results, monkeypatch):
    study = sleepy_study()
    (studies / "any_task.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    known = Study.model_validate(study)
    options = sweep_options(known, "s1")
    presets = {one.label: one for one in known.preset_candidates}
    plans = [
        TrialPlan(f"s1.{place}", "s1", "search", 1, 1, place, label, presets[label].configuration)
        for place, label in enumerate(["quick", "wrong"])
    ]
    with Store(results) as store:
        store.start_sweep(known, options, dag_id="tune_any_task", run_id="r")
        store.plan_trials("s1", "any_task", plans, phase="search", round=1)
    kinds = {plan.label: trial(plan) for plan in plans}
    with Store(results) as store:
        found = {one.plan.label: (one.status, one.failure, one.metrics.get("rows")) for one in store.results("s1")}
    assert found == {"quick": ("measured", None, 500.0), "wrong": ("failed", "check_failed", None)}
    assert kinds["quick"]["status"] == "measured"
    assert kinds["wrong"] is None


def sleepy_study():
    return operator_study(
        BASH,
        {"bash_command": "echo loaded $BATCH in {{ run_id }}", "append_env": True},
        {"batch": integer(1, 900, 100, "env.BATCH")},
        presets={"now": {}, "quick": {"batch": 500}, "wrong": {"batch": 7}},
        options={"metrics": {"rows": r"^loaded (\d+)"}, "checks": {"enough": r"^loaded \d\d\d in r$"}},
    )


def trial(plan):
    """What a trial's task returns; None where it fails."""
    operator = CommandOperator(task_id="trial", study="any_task", **trial_arguments(plan))
    ti = SimpleNamespace(
        task_id="trial", dag_id="tune", run_id="r", map_index=plan.position, try_number=1, xcom_push=lambda **_: None
    )
    context = {"ti": ti, "dag": DAG("tune", schedule=None), "params": {}, "run_id": "r", "task": operator}
    with set_current_context(context):
        try:
            return operator.execute(context)
        except AirflowFailException:
            return None


IN_A_WORKER = """
import logging, sys
from pathlib import Path
from airflow.sdk.log import configure_logging
configure_logging(json_output=True, output=open(sys.argv[1], "wb"), sending_to_supervisor=True)
from airflow.providers.standard.operators.bash import BashOperator
from pipeline_tuner.runners.captured_log import written_down
bash = BashOperator(task_id="load", bash_command="")
bash.log.info("said before, so that the logger is kept")
with written_down(Path(sys.argv[2])):
    bash.log.info("by the operator %s", 1)
    logging.getLogger("library").info("by a library %d", 2)
    print("printed 3")
    bash.subprocess_hook.run_command(["sh", "-c", "echo by a program 4"])
bash.log.info("said after")
"""


def test_what_is_said_in_a_worker_is_read_and_still_goes_to_its_log(airflow_env, tmp_path):
    log, said = tmp_path / "log", tmp_path / "said"
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parents[1] / "plugins")}
    subprocess.run(
        [sys.executable, "-c", IN_A_WORKER, str(log), str(said)], env=environment, check=True, timeout=PATIENCE_S
    )
    wanted = ["by the operator 1", "by a library 2", "printed 3", "by a program 4"]
    lines = said.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line in wanted] == wanted
    assert not any("said" in line or "Running command" in line for line in lines)
    assert "by the operator 1" in log.read_text(encoding="utf-8")
