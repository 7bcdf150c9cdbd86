"""Production runs: which configuration they use, why, and what they leave."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from tests.airflow.xcom import xcom

from pipeline_tuner.exceptions import ConfigurationError
from pipeline_tuner.recommendation import DecisionStatus, Recommendation
from pipeline_tuner.store import Store
from pipeline_tuner.sweep import sweep_options
from pipeline_tuner.web import rendering
from pipeline_tuner.web.in_production import in_production


@pytest.fixture
def produce(run_dag, compress, results):
    """A function that runs the production DAG and returns its run and its one production_run."""

    def run(**changes):
        from pipeline_tuner.dag_factory import production_dag

        dag_run = run_dag(production_dag(compress(**changes), goal="size"))
        with Store(results) as store, store.transaction() as connection:
            rows = connection.exec_driver_sql("SELECT * FROM pipeline_tuner.production_run ORDER BY started_at").all()
        return dag_run, rows[-1] if rows else None

    return run


@pytest.fixture
def recommended(results, compress):
    """A function that stores a recommendation for goal `size`."""

    def store_one(configuration, *, valid_days=None, status="best", validity=None):
        from pipeline_tuner import settings

        study = settings.load_named_study(compress())
        with Store(results) as store:
            store.start_sweep(study, sweep_options(study, "s1"), dag_id="tune_compress", run_id="r")
            item = Recommendation(
                "size", DecisionStatus(status), "small", configuration, confidence=0.95, validity=validity or {},
                reason="It is the smallest.",
            )  # fmt: skip
            store.record_recommendations("s1", "compress", [item], valid_days=valid_days)

    return store_one


def test_without_a_recommendation_the_fallback_runs_and_says_why(produce):
    dag_run, seen = produce()
    assert dag_run.state == "success"
    assert (seen.source, seen.label, seen.status) == ("fallback", "fast", "measured")
    assert "no sweep of study compress has recommended anything for size yet" in seen.source_reason
    assert seen.metrics["bytes"] > 0


def test_the_studys_own_fallback_goes_before_the_control(produce):
    assert produce(fallback="small")[1].label == "small"


def test_a_recommendation_is_followed(produce, recommended):
    recommended({"level": 7, "mode": "good"})
    _, seen = produce()
    assert (seen.source, seen.configuration) == ("recommended", {"level": 7, "mode": "good"})
    assert seen.source_reason.endswith(" UTC from sweep s1. It is the smallest.")


def test_log_xcom_and_page_say_the_same_why(produce, recommended, capfd):
    """Somebody who asks why production runs with something reads the decision, not only its date."""
    recommended({"level": 7, "mode": "good"})
    dag_run, seen = produce()
    why = seen.source_reason
    assert f"recommended: {why}" in "".join(capfd.readouterr())
    assert xcom(dag_run, "run")["reason"] == why
    for kept in (rendering.results_store, rendering.page_reads):
        kept.cache_clear()
    assert in_production("compress", ["size"])["compress", "size"].reason == why


def test_a_promotion_is_followed_without_an_edit_and_so_is_a_roll_back(produce, recommended, results):
    recommended({"level": 7, "mode": "good"})
    with Store(results) as store:
        store.promote("compress", "size", "mine", {"level": 3}, actor="ada", note="as on the old cluster")
    promoted = produce()[1]
    assert promoted.configuration == {"level": 3, "mode": "good"}
    assert promoted.source_reason.endswith(" UTC. Promoted by ada: as on the old cluster")
    with Store(results) as store:
        store.promote("compress", "size", "before", {"level": 2}, actor="ada", action="roll_back")
    assert produce()[1].configuration == {"level": 2, "mode": "good"}


@pytest.mark.parametrize(
    ("configuration", "status", "days", "why"),
    [
        ({"level": 7}, "best", 1e-9, "expired"),
        ({"level": 7}, "undecided", None, "has recommended anything"),
        ({"level": 99}, "best", None, "does not fit the study any more: level is 99"),
        ({"speed": 7}, "best", None, "speed: no such parameter"),
    ],
)
def test_what_is_not_valid_is_not_followed(produce, recommended, configuration, status, days, why):
    recommended(configuration, status=status, valid_days=days)
    _, seen = produce()
    assert (seen.source, seen.label) == ("fallback", "fast")
    assert why in seen.source_reason


MEASURED = {"ranges": {"rows": [1000, 2000]}, "machine": {}, "versions": {}, "measured_at": ""}


def test_a_recommendation_for_other_data_is_not_followed_and_a_promotion_is_with_a_word(produce, recommended, results):
    recommended({"level": 7, "mode": "good"}, validity=MEASURED)
    first = produce()[1]
    assert first.source == "recommended"  # nobody knows the data yet: this run tells
    later = produce()[1]
    assert (later.source, later.label) == ("fallback", "fast")
    assert "does not hold any more: rows is 20,000, measured from 1,000 to 2,000" in later.source_reason
    with Store(results) as store:
        store.promote("compress", "size", "mine", {"level": 3}, actor="ada", sweep_id="s1")
    promoted = produce()[1]
    assert (promoted.source, promoted.configuration["level"]) == ("promoted", 3)
    assert "although rows is 20,000" in promoted.source_reason


def test_the_results_database_being_away_stops_no_production_run(produce, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_PIPELINE_TUNER_DEFAULT", "postgresql://tuner:s3cr3t@127.0.0.1:9/none")
    dag_run, seen = produce()
    assert dag_run.state == "success"
    assert seen is None


def test_a_failed_run_is_noted_and_fails(produce):
    dag_run, seen = produce(presets={"fast": {"level": 1, "mode": "exit"}, "small": {"level": 9}})
    assert dag_run.state == "failed"
    assert (seen.status, seen.failure) == ("failed", "error")


def test_a_configuration_that_makes_no_sense_is_refused(results, compress):
    from pipeline_tuner import settings
    from pipeline_tuner.operators.configuration import choose_configuration

    study = settings.load_named_study(compress())
    for wanted, words in [
        ("best", "give a mapping of parameters, 'preset:NAME' or 'recommended:GOAL'"),
        ("preset:none", "there are fast, small"),
        ("recommended:speed", "there are size"),
        ({"level": 0}, "level is 0"),
    ]:
        with pytest.raises(ConfigurationError, match=words):
            choose_configuration(study, wanted, fallback=None, open_store=lambda: Store(results))
    chosen = choose_configuration(study, "preset:small", fallback=None, open_store=lambda: Store(results))
    assert (chosen.source, chosen.configuration["level"]) == ("preset", 9)


def test_an_operator_refuses_a_study_of_another_job(compress):
    from pipeline_tuner.exceptions import StudyError
    from pipeline_tuner.operators.migration import MigrationOperator

    operator = MigrationOperator(task_id="run", study=compress(), configuration={})
    with pytest.raises(StudyError, match="runs the job 'migration', study compress is of 'compress'"):
        operator.load_study()


def test_instances_of_a_mapped_task_go_on_with_their_own_work_only():
    """They had one name: the second found the tables of the first moved already."""
    from pipeline_tuner.operators.base import task_identity

    def name(map_index: int | None) -> str:
        return task_identity({"ti": SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=map_index)})

    assert name(None) == name(-1) == "d/r/t"
    assert [name(0), name(1)] == ["d/r/t/0", "d/r/t/1"]
