"""What a sweep says of a study that can't be run: once, before its trials, and it doesn't stay running."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowFailException

from pipeline_tuner.exceptions import StudyError
from pipeline_tuner.operators.failures import NothingMeasuredError
from pipeline_tuner.operators.sweep import CheckOperator, PlanOperator, PrepareOperator, RecommendOperator, sweep_id_of
from pipeline_tuner.store import Store

RUN = SimpleNamespace(
    dag_id="tune_compress", run_id="before_trials", run_type="manual", run_after=datetime(2026, 3, 2, tzinfo=UTC)
)
TASK = SimpleNamespace(
    dag_id="tune_compress", run_id="before_trials", task_id="task", map_index=-1, xcom_pull=lambda **_which: None
)
CONTEXT = {"dag_run": RUN, "params": {}, "ti": TASK}


@pytest.fixture
def sweep_of(results):
    """The row of a study's sweep."""

    def find(study):
        with Store(results) as store:
            return store.sweep(sweep_id_of(study, CONTEXT))

    return find


def check(study):
    return CheckOperator(task_id="check", study=study).execute(CONTEXT)


def recommend(study):
    return RecommendOperator(task_id="recommend", study=study).execute(CONTEXT)


def test_a_place_to_fill_in_is_refused_by_the_check_and_named_by_the_last_task(compress, sweep_of):
    study = compress(workload={"name": "text", "options": {"table": "<fill in: the table>"}})
    words = "study compress: workload.options.table: is still to be filled in: the table"
    with pytest.raises(AirflowFailException, match=words):  # not tried again
        check(study)
    assert (sweep_of(study).status, sweep_of(study).reason) == ("failed", words)
    with pytest.raises(NothingMeasuredError, match=f"Nothing was measured: {words}"):
        recommend(study)


def test_an_application_that_is_not_there_is_named_by_the_check(compress, sweep_of, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", '{"conn_type": "spark", "host": "local[1]"}')
    options = {"application": "nowhere/job.py", "arguments": ["{level}", "{mode}"]}
    study = compress(runner={"kind": "spark_submit", "options": options}, goals={"time": {"minimize": "duration_s"}})
    with pytest.raises(Exception, match=r"runner\.options\.application: there is no \S+nowhere/job\.py"):
        check(study)
    assert sweep_of(study).status == "failed"


def test_a_runner_that_cannot_be_made_is_not_tried_again_and_ends_the_sweep(compress, sweep_of, monkeypatch):
    def no_runner(*_args, **_kwargs):
        raise StudyError("there is no program")

    monkeypatch.setattr("pipeline_tuner.operators.base.runner_for", no_runner)
    study = compress()
    check(study)
    with pytest.raises(AirflowFailException, match="there is no program"):
        PrepareOperator(task_id="prepare", study=study).execute(CONTEXT)
    assert sweep_of(study).status == "failed"
    assert "there is no program" in sweep_of(study).reason


def test_a_plan_that_is_refused_ends_the_sweep(compress, sweep_of, monkeypatch):
    def refused(*_args):
        raise AirflowFailException("the plan is impossible")

    monkeypatch.setattr(PlanOperator, "_plan", refused)
    study = compress()
    check(study)
    with pytest.raises(AirflowFailException, match="impossible"):
        PlanOperator(task_id="plan", study=study, round_number=1).execute(CONTEXT)
    assert (sweep_of(study).status, sweep_of(study).reason) == ("failed", "the plan is impossible")


def test_a_sweep_that_broke_without_a_word_does_not_stay_running(compress, sweep_of):
    study = compress()
    check(study)
    with pytest.raises(NothingMeasuredError, match="task prepare or plan ended before there was a trial"):
        recommend(study)
    assert sweep_of(study).status == "failed"
