"""What Airflow's own pages say of a task: links to the page and the engine, and words for a failure."""

from __future__ import annotations

from types import SimpleNamespace

import night_watch
import pytest

from pipeline_tuner.exceptions import InfrastructureError
from pipeline_tuner.operators.failures import NothingMeasuredError, TaskRole, failure_words, report_failure, role_of
from pipeline_tuner.operators.links import EngineLink, PageLink

KEY = SimpleNamespace(dag_id="tune_compress", task_id="trial", map_index=3, run_id="manual__2026-01-01T00:00:00+00:00")


@pytest.fixture
def operator(compress):
    from pipeline_tuner.operators.command import CommandOperator

    return CommandOperator(task_id="trial", study=compress(), configuration={}, trial={"trial_id": "t"})


def test_a_trial_leads_to_its_page_and_production_to_its_study(operator, monkeypatch):
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example/data/")
    link = PageLink().get_link(operator, ti_key=KEY)
    place = "tune_compress/trial/3/manual__2026-01-01T00%3A00%3A00%2B00%3A00"
    assert link == f"https://airflow.example/data/pipeline-tuner/tasks/{place}"
    operator.trial = None
    assert PageLink().get_link(operator, ti_key=KEY).endswith("/pipeline-tuner/studies/compress")


def test_spark_leads_to_the_page_that_its_connection_names(operator, monkeypatch, tmp_path):
    from pipeline_tuner.runners.spark_submit import SparkSubmitRunner

    assert EngineLink().get_link(operator, ti_key=KEY) == ""
    extra = '{"conn_type": "spark", "host": "spark://m:7077", "extra": {"ui_url": "http://m:8080"}}'
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", extra)
    operator._runner = SparkSubmitRunner(tmp_path / "job.py", modules=tmp_path)
    assert EngineLink().get_link(operator, ti_key=KEY) == "http://m:8080"


def test_every_kind_of_task_says_what_to_do():
    from pipeline_tuner.dag_factory import production_dag, tuning_dag

    companions = tuning_dag("streaming_etl", companions=["streaming_etl_memory"])
    for dag in (tuning_dag("migration"), companions, production_dag("migration", goal="throughput")):
        for task in dag.tasks:
            assert (role_of(task) is TaskRole.TRIAL) == task.is_mapped
            if not task.is_mapped:
                assert "See its log" not in failure_words(task.task_id, role_of(task), None)
            callbacks = task.partial_kwargs["on_failure_callback"] if task.is_mapped else task.on_failure_callback
            assert report_failure in (callbacks if isinstance(callbacks, list | tuple) else [callbacks])


def test_a_failure_names_task_reason_and_remedy():
    words = failure_words("plan_2", TaskRole.PLAN, InfrastructureError("the results database went away: closed"))
    assert words.startswith("Task plan_2 failed: the results database went away: closed What to do: Bring")
    assert "start a new sweep" in failure_words("plan", TaskRole.PLAN, ValueError("the plan is empty"))


def test_a_sweep_that_measured_nothing_is_not_explained_by_its_failed_trials():
    words = failure_words("recommend", TaskRole.RECOMMEND, NothingMeasuredError("Nothing was measured: no table t"))
    assert "no table t" in words
    assert "failed trials" not in words
    assert "clear the first task that failed" in words


def test_a_failed_sweep_is_told_and_a_failed_trial_is_not(operator, compress):
    compress(nights={"notify": "night_watch.note_failure"})
    night_watch.told.clear()
    report_failure({"task": operator, "exception": ValueError("x")})
    assert night_watch.told == []
    operator.trial, operator.task_id = None, "run"
    report_failure({"task": operator, "exception": ValueError("the job is gone")})
    (message,) = night_watch.told
    assert "Task run failed: the job is gone What to do:" in message
