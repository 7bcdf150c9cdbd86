# ruff: noqa: F811 (fixtures are imported, and are parameters)
"""The hooks of `tuned` on a task by itself: what is put in, what is noted, and that whatever is wrong stops nothing."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.providers.standard.operators.python import PythonOperator
from task_instance import TaskInstance
from tuned_study import promoted, study  # noqa: F401

from pipeline_tuner import tuned
from pipeline_tuner.store import Store


@pytest.fixture(autouse=True)
def _nothing_is_waited_for(monkeypatch):
    """Databases that are away in this file don't come back."""
    for name in ("RESTART_S", "END_S"):
        monkeypatch.setattr(f"pipeline_tuner.operators.tuned_run.{name}", 0.0)


@pytest.fixture
def noted(results):
    """A function that returns the rows of production runs."""

    def read():
        with Store(results) as store, store.transaction() as connection:
            return connection.exec_driver_sql("SELECT * FROM pipeline_tuner.production_run ORDER BY try_number").all()

    return read


def load(level=0, options=None):
    return level, (options or {}).get("mode")


def load_task(keyword, level=2):
    kwargs = {"level": level, "options": {"mode": "good", "other": 1}}
    return PythonOperator(task_id="load", python_callable=load, op_kwargs=kwargs, **keyword)


def run_task(keyword, level=2, ti=None):
    """What a Python task of the keyword is called with."""
    ti = ti or TaskInstance()
    operator = load_task(keyword, level)
    context = {"ti": ti, "task": operator}
    operator._pre_execute_hook(context)
    seen = load(**operator.op_kwargs)
    operator._post_execute_hook(context, {"rows": 12, "name": "orders"})
    return seen


def test_a_promotion_under_any_label_is_followed(promoted, results):
    with Store(results) as store:
        store.promote(promoted, "size", "as written", {"level": 5}, actor="ada")
    assert run_task(tuned(promoted)) == (5, "good")


def test_without_a_recommendation_nothing_changes_but_that_runs_are_noted(study, noted):
    assert run_task(tuned(study)) == (2, "good")
    (row,) = noted()
    assert (row.source, row.label, row.configuration) == ("fallback", "as written", {"level": 2, "mode": "good"})
    assert "has recommended anything for size yet" in row.source_reason


def test_arguments_that_are_a_preset_have_its_name_and_texts_of_numbers_are_numbers(study, noted):
    run_task(tuned(study), level="9")
    assert (noted()[0].label, noted()[0].configuration["level"]) == ("small", 9)


def test_a_fallback_that_is_named_runs_where_nothing_is_recommended(study, noted):
    assert run_task(tuned(study, fallback="small")) == (9, "good")
    assert (noted()[0].source, noted()[0].label) == ("fallback", "small")


def test_a_fallback_that_is_named_runs_while_the_database_is_away_and_after_a_deferral(study, results):
    keyword, ti = tuned(study, fallback="small", results_conn_id="nowhere"), TaskInstance()
    for _ in range(2):
        operator = load_task(keyword)
        operator._pre_execute_hook({"ti": ti, "task": operator})
        assert load(**operator.op_kwargs) == (9, "good")


def test_it_works_without_a_study_file(studies, results, noted):
    assert run_task(tuned("orders", sets={"level": "op_kwargs.level"}, goal="cost")) == (2, "good")
    (row,) = noted()
    assert (row.study, row.goal, row.source, row.configuration) == ("orders", "cost", "given", {"level": 2})


def test_the_first_run_makes_the_tables(study, new_database, monkeypatch):
    uri = new_database("empty")
    monkeypatch.setenv("AIRFLOW_CONN_PIPELINE_TUNER_DEFAULT", uri)
    run_task(tuned(study))
    with Store(uri) as store, store.transaction() as connection:
        assert connection.exec_driver_sql("SELECT status FROM pipeline_tuner.production_run").scalars().all() == [
            "measured"
        ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"study": "none"}, "can't be read"),
        ({"goal": "speed"}, "has no goal 'speed'"),
        ({"sets": {"level": "op_kwargs.levle"}}, "load() takes no argument 'levle'"),
        ({"sets": {"level": "memory"}}, "PythonOperator has no argument 'memory'"),
        ({"sets": {"level": "pool"}}, "acted on before the task starts"),
        ({"sets": {"speed": "op_kwargs.level"}}, "no parameter of study compress"),
        ({"sets": {"level": "op_kwargs.level.deep"}}, "there is no mapping 'level' to put 'deep' into"),
        ({"fallback": "none", "results_conn_id": "nowhere"}, "there is no Airflow connection 'nowhere'"),
        ({"results_conn_id": "closed"}, "the results database can't be used"),
        ({"results_conn_id": "mysql"}, "must be PostgreSQL"),
    ],
)
def test_whatever_is_wrong_the_task_runs_as_written_with_one_warning(promoted, monkeypatch, caplog, arguments, words):
    monkeypatch.setenv("AIRFLOW_CONN_CLOSED", "postgresql://tuner:s3cr3t@127.0.0.1:9/none")
    monkeypatch.setenv("AIRFLOW_CONN_MYSQL", "mysql://127.0.0.1:9/none")
    assert run_task(tuned(**{"study": promoted, **arguments})) == (2, "good")
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [line for line in said if "arguments as written" in line] == said[:1]
    assert words in said[0]
    assert "s3cr3t" not in caplog.text


def test_a_results_database_that_does_not_answer_does_not_keep_the_task_waiting(promoted, results, monkeypatch):
    from pipeline_tuner.operators import tuned_run

    monkeypatch.setattr(tuned_run, "PATIENCE_S", 0.3)
    with Store(results) as store, store.transaction() as connection:
        connection.exec_driver_sql("LOCK TABLE pipeline_tuner.promotion, pipeline_tuner.production_run")
        assert run_task(tuned(promoted)) == (2, "good")


def test_a_task_that_goes_on_has_what_it_began_with_though_the_database_is_away(promoted, noted, results, monkeypatch):
    ti, keyword = TaskInstance(), tuned(promoted)
    began = load_task(keyword)
    began._pre_execute_hook({"ti": ti, "task": began})
    with Store(results) as store:
        store.promote(promoted, "size", "later", {"level": 3}, actor="ada")
    with monkeypatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_PIPELINE_TUNER_DEFAULT", "postgresql://tuner@127.0.0.1:9/none")
        goes_on = load_task(keyword)
        goes_on._pre_execute_hook({"ti": ti, "task": goes_on})
    assert goes_on.op_kwargs == began.op_kwargs
    assert load(**goes_on.op_kwargs) == (7, "wrong")
    goes_on._post_execute_hook({"ti": ti, "task": goes_on})
    assert [(row.label, row.status) for row in noted()] == [("mine", "measured")]


def test_a_retry_chooses_anew(promoted, noted, results):
    ti = TaskInstance()
    run_task(tuned(promoted), ti=ti)
    with Store(results) as store:
        store.promote(promoted, "size", "later", {"level": 3}, actor="ada")
    assert run_task(tuned(promoted), ti=TaskInstance(2, ti.kept)) == (3, "good")
    assert [(row.try_number, row.label) for row in noted()] == [(1, "mine"), (2, "later")]


@pytest.mark.parametrize("arguments", [{"study": "none"}, {"sets": {"level": "memory"}}])
def test_a_run_whose_study_is_wrong_is_noted_from_its_start(promoted, noted, arguments):
    operator = load_task(tuned(**{"study": promoted, **arguments}))
    operator._pre_execute_hook({"ti": TaskInstance(), "task": operator})
    assert [(row.status, row.label) for row in noted()] == [("running", "as written")]


def test_a_fault_of_the_plugin_stops_nothing(promoted, monkeypatch, caplog):
    from pipeline_tuner.operators import tuned_run

    monkeypatch.setattr(tuned_run, "production_choice", lambda *_: 1 / 0)
    assert run_task(tuned(promoted)) == (2, "good")
    assert "can't take part in this run: ZeroDivisionError" in caplog.text


def test_an_end_that_can_not_be_noted_stops_nothing(promoted, monkeypatch, caplog):
    keyword = tuned(promoted)
    monkeypatch.setattr(
        TaskInstance,
        "xcom_push",
        lambda *_, **__: monkeypatch.setenv(
            "AIRFLOW_CONN_PIPELINE_TUNER_DEFAULT", "postgresql://tuner@127.0.0.1:9/none"
        ),
    )
    assert run_task(keyword) == (7, "wrong")
    assert "This run is not noted" in caplog.text or "is not noted" in caplog.text


def test_the_same_file_gives_the_same_dag_each_time_it_is_parsed(studies):
    from airflow.sdk import DAG
    from airflow.serialization.serialized_objects import DagSerialization

    def parsed():
        with DAG("nightly", schedule=None) as dag:
            PythonOperator(task_id="load", python_callable=load, **tuned("orders"))
            PythonOperator.partial(task_id="mapped", python_callable=load, **tuned("orders")).expand(op_kwargs=[{}])
        return DagSerialization.to_dict(dag)

    assert parsed() == parsed()


def test_run_if_and_hooks_of_ones_own_go_on_working(promoted, noted):
    from airflow.sdk import DAG, task

    called = []
    keyword = tuned(
        promoted, pre_execute=lambda _: called.append("before"), post_execute=lambda *_: called.append("after")
    )
    with DAG("nightly", schedule=None):

        @task.run_if(lambda _: True)
        @task(**keyword)
        def loads(level=3, options=None):
            return {"rows": 1}

        operator = loads(options={}).operator
    context = {"ti": TaskInstance(), "task": operator}
    operator._pre_execute_hook(context)
    assert operator.op_kwargs == {"level": 7, "options": {"mode": "wrong"}}
    operator._post_execute_hook(context, {"rows": 1})
    assert called == ["before", "after"]
    assert [row.status for row in noted()] == ["measured"]


def test_a_mapped_instance_is_put_right_and_noted(promoted, noted):
    from airflow.sdk import DAG

    with DAG("nightly", schedule=None):
        mapped = PythonOperator.partial(task_id="load", python_callable=load, **tuned(promoted)).expand(
            op_kwargs=[{"level": 2, "options": {}}, {"level": 3, "options": {}}]
        )
    operator, ti = mapped.unmap({"op_kwargs": {"level": 3, "options": {}}}), TaskInstance()
    ti.map_index = 1
    operator._pre_execute_hook({"ti": ti, "task": operator})
    assert load(**operator.op_kwargs) == (7, "wrong")
    operator._post_execute_hook({"ti": ti, "task": operator}, None)
    assert [(row.map_index, row.status) for row in noted()] == [(1, "measured")]


def test_the_documentations_dag_is_parsed_without_looking_at_any_study(monkeypatch):
    from airflow.serialization.serialized_objects import DagSerialization

    def refuse(*_):
        raise AssertionError("a parse must not read studies")

    monkeypatch.setattr("pipeline_tuner.settings.load_study", refuse)
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "docs" / "examples"))
    dag = importlib.import_module("nightly_tasks").dag
    assert list(dag.task_dict) == ["pack", "upsert", "words", "report"]
    assert DagSerialization.to_dict(dag)["dag"]["dag_id"] == "nightly_tasks"


@pytest.mark.parametrize(
    ("told", "is_asked"),
    [
        ({"next_method": None, "task_reschedule_count": 0}, False),
        ({"next_method": "go_on", "task_reschedule_count": 0}, True),
        ({"next_method": None, "task_reschedule_count": 1}, True),
    ],
)
def test_only_a_try_that_was_interrupted_is_asked_what_it_began_with(promoted, told, is_asked):
    """Airflow logs an XCom that is not there as an error, in red, in every run of every tuned task."""
    asked = []

    class Told(TaskInstance):
        _ti_context_from_server = SimpleNamespace(**told)

        def xcom_pull(self, task_ids, key, map_indexes):
            asked.append(key)

    assert run_task(tuned(promoted), ti=Told()) == (7, "wrong")
    assert bool(asked) == is_asked
