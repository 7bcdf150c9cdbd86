"""The results store on a real PostgreSQL: versions, repeated writes, several writers, the measuring lock."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from compress_study import COMPRESS
from tests.patience import PATIENCE_S

from pipeline_tuner.exceptions import InfrastructureError
from pipeline_tuner.measurement import Measurement
from pipeline_tuner.recommendation import ConfigurationEvidence, DecisionStatus, Interval, Recommendation, StandingKind
from pipeline_tuner.store import Store, migrate
from pipeline_tuner.store.migrate import alembic_config
from pipeline_tuner.store.schema import SCHEMA, metadata
from pipeline_tuner.store.tables_page import describe_tables
from pipeline_tuner.study import parse_study
from pipeline_tuner.sweep import sweep_options
from pipeline_tuner.trial import TrialPlan, TrialResult

ROOT = Path(__file__).resolve().parents[2]
WITH_PLUGIN = {**os.environ, "PYTHONPATH": str(ROOT / "plugins")}
"""The environment of a second process that imports the plugin."""
STUDY = parse_study(yaml.safe_dump(COMPRESS))


@pytest.fixture
def store(database):
    migrate(database)
    with Store(database) as store:
        yield store


@pytest.fixture
def sweep(store):
    store.start_sweep(STUDY, sweep_options(STUDY, "s1"), dag_id="tune_compress", run_id="run")
    return "s1"


def plan(number, *, level=1, sweep_id="s1", round=1):
    return TrialPlan(f"{sweep_id}.{number}", sweep_id, "search", round, 1, number, f"level {level}", {"level": level})


def measured(trial, value=10.0):
    document = {
        "contract": 1, "job": "compress", "trial_id": trial.trial_id, "status": "measured",
        "started_at": datetime.now(UTC), "ended_at": datetime.now(UTC),
        "samples": [{"duration_s": 1.0}], "metrics": {"bytes": value},
    }  # fmt: skip
    return TrialResult.of(trial, Measurement.model_validate(document))


def recommendation(status="best", label="small", level=9):
    return Recommendation(
        goal="size",
        status=DecisionStatus(status),
        label=label,
        configuration={"level": level, "mode": "good"},
        estimate=Interval(5, 4, 6, 0.95, 5),
        gain=Interval(2, 1.5, 3, 0.95, 5),
        unit="bytes",
        confidence=0.95,
        ties=(label,),
        evidence={label: ConfigurationEvidence({"level": 1}, StandingKind.PICK, planned=5)},
    )


def schema_difference(store):
    with store.engine.connect() as connection:

        def ours(name, kind, _parents):
            return kind != "schema" or name == SCHEMA

        options = {"include_schemas": True, "include_name": ours, "version_table_schema": SCHEMA, "compare_type": True}
        return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)


def test_the_versions_build_the_tables_that_the_code_describes(store):
    assert schema_difference(store) == []


def test_the_schema_goes_down_to_nothing_and_up_again(store, sweep):
    with store.engine.begin() as connection:
        command.downgrade(alembic_config(connection), "base")
    with store.engine.connect() as connection:
        tables = connection.exec_driver_sql(
            f"SELECT table_name FROM information_schema.tables WHERE table_schema = '{SCHEMA}'"
        ).scalars()
        assert set(tables) <= {"alembic_version"}
    migrate(store.engine)
    migrate(store.engine)
    assert schema_difference(store) == []
    assert store.sweep("s1") is None


def test_studies_and_configurations_keep_their_order(store, sweep):
    staged = STUDY.model_copy(update={"stages": {"resources": ("mode",), "code": ("level",)}})
    store.start_sweep(staged, sweep_options(staged, "s2"), dag_id="tune_compress", run_id="other")
    assert list(store.sweep("s2").study_definition.stages) == ["resources", "code"]
    store.record_recommendations("s1", "compress", [recommendation()])
    (answer,) = store.recommendations("s1")
    assert list(answer.configuration) == ["level", "mode"]


def test_several_processes_migrate_at_once(database):
    program = "import sys; from pipeline_tuner.store import migrate; migrate(sys.argv[1])"
    processes = [subprocess.Popen([sys.executable, "-c", program, database], env=WITH_PLUGIN) for _ in range(4)]
    assert [process.wait(PATIENCE_S) for process in processes] == [0] * 4


def test_the_documentation_of_the_tables_is_up_to_date():
    assert (ROOT / "docs" / "tables.md").read_text(encoding="utf-8") == describe_tables()


def test_the_comments_reach_the_database(store):
    with store.engine.connect() as connection:
        comment = connection.exec_driver_sql(
            f"SELECT col_description('{SCHEMA}.trial'::regclass, attnum) FROM pg_attribute "
            f"WHERE attrelid = '{SCHEMA}.trial'::regclass AND attname = 'fraction'"
        ).scalar()
    assert comment == metadata.tables[f"{SCHEMA}.trial"].c.fraction.comment


def test_a_sweep_of_the_time_of_other_types_is_read(store, sweep):
    with store.engine.begin() as connection:
        connection.exec_driver_sql(
            f"UPDATE {SCHEMA}.sweep SET study_definition = "
            "replace(study_definition::text, '\"categorical\"', '\"choice\"')::json"
        )
        stored = connection.exec_driver_sql(f"SELECT study_definition::text FROM {SCHEMA}.sweep").scalar()
    assert "choice" in stored
    assert "categorical" not in stored
    assert store.sweep(sweep).study_definition == STUDY


def test_a_sweep_comes_back_as_it_was_started(store, sweep):
    found = store.sweep(sweep)
    assert found.study_definition == STUDY
    assert found.options == sweep_options(STUDY, "s1")
    assert (found.status, found.dag_id, found.run_id) == ("running", "tune_compress", "run")


def test_a_result_replaces_its_plan_and_a_retry_replaces_the_result(store, sweep):
    store.plan_trials(sweep, "compress", [plan(1), plan(2)], phase="search", round=1)
    assert [result.status for result in store.results(sweep)] == ["planned", "planned"]
    store.record_result(measured(plan(1), 10.0))
    store.record_result(measured(plan(1), 20.0))
    first, second = store.results(sweep)
    assert (first.status, first.metrics, second.status) == ("measured", {"bytes": 20.0}, "planned")
    assert first.measurement.samples[0].duration_s == 1.0


def test_planning_a_round_again_keeps_what_is_unchanged_and_drops_what_is_gone(store, sweep):
    store.plan_trials(sweep, "compress", [plan(1), plan(2), plan(3)], phase="search", round=1)
    for number in (1, 2, 3):
        store.record_result(measured(plan(number)))
    store.plan_trials(sweep, "compress", [plan(1), plan(2, level=5)], phase="search", round=1)
    first, second = store.results(sweep)
    assert (first.status, first.metrics) == ("measured", {"bytes": 10.0})
    assert (second.status, second.metrics, second.plan.configuration) == ("planned", {}, {"level": 5})


def test_an_empty_plan_takes_back_the_round_and_leaves_the_others(store, sweep):
    store.plan_trials(sweep, "compress", [plan(1)], phase="search", round=1)
    store.plan_trials(sweep, "compress", [plan(2, round=2)], phase="search", round=2)
    store.plan_trials(sweep, "compress", [], phase="search", round=2)
    assert [result.plan.trial_id for result in store.results(sweep)] == ["s1.1"]


def test_instances_take_trials_in_planned_order_and_a_retry_its_own(store, sweep):
    plans = [plan(number) for number in (1, 2, 3)]
    store.plan_trials(sweep, "compress", plans, phase="search", round=1)
    assert store.take_trial("s1.3", task_id="trial", map_index=2, try_number=1) == plans[0]
    assert store.take_trial("s1.1", task_id="trial", map_index=0, try_number=1) == plans[1]
    store.record_result(measured(plans[0]))
    assert store.take_trial("s1.3", task_id="trial", map_index=2, try_number=2) == plans[0]
    assert store.results(sweep)[0].status == "running"
    assert store.take_trial("s1.2", task_id="trial", map_index=1, try_number=1) == plans[2]


def test_instances_that_start_together_take_different_trials(store, sweep):
    plans = [plan(number) for number in range(1, 21)]
    store.plan_trials(sweep, "compress", plans, phase="search", round=1)
    taken = []

    def take(index):
        taken.append(store.take_trial("s1.1", task_id="trial", map_index=index, try_number=1).trial_id)

    threads = [threading.Thread(target=take, args=(index,)) for index in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(item.trial_id for item in plans)


def take(store, index, places):
    found = store.take_trial("s1.1", task_id="trial", map_index=index, try_number=1, places=places)
    return found.trial_id if found else None


def test_a_block_starts_together_and_never_more_than_there_are_places(store, sweep):
    plans = [replace(plan(number), block=1 + number // 4, position=number) for number in range(1, 7)]
    store.plan_trials(sweep, "compress", plans, phase="search", round=1)
    assert [take(store, index, 4) for index in range(3)] == ["s1.1", "s1.2", "s1.3"]
    assert take(store, 3, 4) is None, "the next block has three trials, and there is one place"
    store.record_result(measured(plans[0]))
    assert take(store, 3, 4) is None
    assert take(store, 0, 4) == "s1.1", "a retry has its own trial and its place"
    for one in plans[:3]:
        store.record_result(measured(one))
    assert [take(store, index, 4) for index in (3, 4, 5)] == ["s1.4", "s1.5", "s1.6"]


def test_a_block_that_is_larger_than_there_are_places_fills_them(store, sweep):
    plans = [replace(plan(number), position=number) for number in range(1, 5)]
    store.plan_trials(sweep, "compress", plans, phase="search", round=1)
    assert [take(store, index, 2) for index in range(3)] == ["s1.1", "s1.2", None]
    store.record_result(measured(plans[1]))
    assert take(store, 2, 2) == "s1.3"


def test_places_are_counted_by_environment_and_leave_the_machines_lock_alone(store):
    with (
        store.measuring(),
        store.measuring_beside("glue a", 2),
        store.measuring_beside("glue a", 2),
        store.measuring_beside("glue b", 1),
        pytest.raises(InfrastructureError, match="kept measuring for too long"),
        store.measuring_beside("glue a", 2, timeout_s=0),
    ):
        pass
    with store.measuring_beside("glue a", 2, timeout_s=0), store.measuring(timeout_s=0):
        pass


def test_what_left_no_result_is_lost_and_counted(store, sweep):
    store.plan_trials(sweep, "compress", [plan(1), plan(2), plan(3)], phase="search", round=1)
    store.take_trial("s1.2", task_id="trial", map_index=1, try_number=1)
    store.record_result(measured(plan(3)))
    assert store.fail_lost_trials(sweep) == 2
    store.end_sweep(sweep, "recommended")
    record = store.sweep(sweep)
    assert (record.planned, record.measured, record.failed) == (3, 1, 2)
    assert {result.failure for result in store.results(sweep)} == {"lost", None}


def test_recommendations_come_in_the_order_of_the_sweeps_goals(store):
    goals = {name: {"minimize": "bytes"} for name in ("size", "a_second_one", "the_third")}
    study = parse_study(yaml.safe_dump({**COMPRESS, "goals": goals}, sort_keys=False))
    store.start_sweep(study, sweep_options(study, "s3"), dag_id="tune_compress", run_id="run")
    store.record_recommendations("s3", "compress", [replace(recommendation(), goal=goal) for goal in sorted(goals)])
    assert [item.goal for item in store.recommendations("s3")] == ["size", "a_second_one", "the_third"]


def test_recommendations_are_replaced_and_the_newest_confident_one_holds(store, sweep):
    store.record_recommendations(sweep, "compress", [recommendation(label="old")])
    store.record_recommendations(sweep, "compress", [recommendation(label="small")], valid_days=1)
    assert [item.label for item in store.recommendations(sweep)] == ["small"]
    assert store.recommendations(sweep)[0] == recommendation()
    store.start_sweep(STUDY, sweep_options(STUDY, "s2"), dag_id="tune_compress", run_id="later")
    store.record_recommendations("s2", "compress", [recommendation("undecided", "guess", 3)])
    production = store.production("compress", "size")
    assert (production.source, production.label) == ("recommended", "small")
    assert not production.has_expired(datetime.now(UTC))
    assert production.has_expired(datetime.now(UTC) + timedelta(days=2))


def test_a_promotion_goes_before_and_a_roll_back_before_that(store, sweep):
    validity = {"ranges": {"rows": [100.0, 200.0]}}
    store.record_recommendations(sweep, "compress", [replace(recommendation(), validity=validity)])
    assert store.production("compress", "size").validity == validity
    store.promote("compress", "size", "fast", {"level": 1}, actor="ada", sweep_id=sweep)
    assert store.production("compress", "size").configuration == {"level": 1}
    assert store.production("compress", "size").validity == validity
    store.promote("compress", "size", "middle", {"level": 5}, actor="ada", action="roll_back", note="too large")
    assert (store.production("compress", "size").label, store.production("compress", "speed")) == ("middle", None)


def test_history_is_of_the_same_data_and_machine_only(store, sweep):
    for name, machine in (("s1", "m"), ("s2", "m"), ("s3", "other")):
        store.start_sweep(STUDY, sweep_options(STUDY, name), dag_id="tune_compress", run_id=name)
        store.plan_trials(name, "compress", [plan(1, sweep_id=name)], phase="search", round=1)
        store.record_result(measured(plan(1, sweep_id=name)))
        store.record_workload(name, {"rows": 1}, "w")
        store.record_environment(name, {"machine": machine}, machine)
    assert [result.plan.sweep_id for result in store.history_of(store.sweep("s2"))] == ["s1"]
    assert store.history_of(store.sweep("s3")) == ()


def test_history_comes_newest_first_and_other_data_by_themselves(store, sweep):
    """The order is the contract of `SweepSoFar.history`: the search keeps the first ones."""
    for name, data in (("s1", "w"), ("s2", "w"), ("s3", "w"), ("s4", "larger"), ("s5", "w")):
        store.start_sweep(STUDY, sweep_options(STUDY, name), dag_id="tune_compress", run_id=name)
        store.plan_trials(name, "compress", [plan(1, sweep_id=name)], phase="search", round=1)
        store.record_workload(name, {"rows": 1}, data)
        store.record_environment(name, {"machine": "m"}, "m")
    for name in ("s1", "s3", "s2", "s4"):
        store.record_result(measured(plan(1, sweep_id=name)))
    history = store.history_of(store.sweep("s5"))
    assert [r.plan.sweep_id for r in history] == ["s2", "s3", "s1"]
    assert [r.plan.sweep_id for r in store.history_of(store.sweep("s5"), limit=1)] == ["s2"]
    assert [r.plan.sweep_id for r in store.related_history_of(store.sweep("s5"))] == ["s4"]


def test_an_observation_of_a_retried_run_is_one_row(store):
    values = {
        "study": "compress", "goal": "size", "source": "fallback", "label": "fast", "configuration_id": "x",
        "configuration": {"level": 1}, "status": "failed", "dag_id": "run_compress", "run_id": "r",
        "started_at": datetime.now(UTC),
    }  # fmt: skip
    store.record_production_run("run_compress/r/run/0", values)
    store.record_production_run("run_compress/r/run/0", values | {"status": "measured"})
    with store.transaction() as connection:
        rows = connection.exec_driver_sql(f"SELECT status FROM {SCHEMA}.production_run").scalars().all()
    assert rows == ["measured"]


def test_only_one_measures_at_a_time(store, database):
    running, most = [0], [0]

    def measure():
        with Store(database) as own, own.measuring(poll_s=0.01):
            running[0] += 1
            most[0] = max(most[0], running[0])
            time.sleep(0.05)
            running[0] -= 1

    threads = [threading.Thread(target=measure) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]


def test_the_lock_of_a_killed_process_is_free_again(store, database):
    program = (
        "import sys, time; from pipeline_tuner.store import Store\n"
        "with Store(sys.argv[1]).measuring(): print('held', flush=True); time.sleep(3600)"
    )
    holder = subprocess.Popen([sys.executable, "-c", program, database], stdout=subprocess.PIPE, env=WITH_PLUGIN)
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(InfrastructureError, match="another trial"), store.measuring(timeout_s=0.2, poll_s=0.05):
        pass
    holder.kill()
    holder.wait()
    with store.measuring(timeout_s=PATIENCE_S, poll_s=0.05):
        pass


def test_a_database_that_is_away_is_an_infrastructure_error_without_its_password():
    with pytest.raises(InfrastructureError, match="can't be used") as caught:
        migrate("postgresql://tuner:s3cr3t@127.0.0.1:9/none")
    assert "s3cr3t" not in str(caught.value)
    with pytest.raises(InfrastructureError, match="must be PostgreSQL"):
        migrate("mysql://tuner:s3cr3t@127.0.0.1/none")


def test_the_command_line_migrates_the_database_that_the_variable_names(database, monkeypatch, capsys):
    from pipeline_tuner.store.__main__ import main

    monkeypatch.delenv("PIPELINE_TUNER_URL", raising=False)
    assert main(["migrate"]) == 1
    monkeypatch.setenv("PIPELINE_TUNER_URL", database)
    assert main(["migrate"]) == 0
    with Store(database) as store:
        assert schema_difference(store) == []
    capsys.readouterr()


def test_a_database_without_tables_says_what_makes_them(database):
    with Store(database) as store, pytest.raises(InfrastructureError, match="no tables yet: the first sweep"):
        store.sweep("any")


def test_a_database_of_the_names_before_keeps_its_rows(database):
    engine = Store(database).engine
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA pipeline_tuner")
        command.upgrade(alembic_config(connection), "0004")
        for statement in OLD_ROWS:
            connection.exec_driver_sql(statement)
    for _ in range(2):
        migrate(engine)
        with engine.begin() as connection:
            rows = [tuple(connection.exec_driver_sql(query).one()) for query in NEW_ROWS]
            assert rows == [
                ("alert",),
                (7.5, "copy"),
                ("better", "found", None),
                ("r1", "preset"),
                ("effects", "<svg/>"),
            ]
            command.downgrade(alembic_config(connection), "0004")
    engine.dispose()


NOW = "'2026-01-01T00:00:00Z'"
OLD_ROWS = (
    "INSERT INTO pipeline_tuner.sweep (sweep_id, study, job, dag_id, run_id, status, options, study_definition,"
    f" started_at) VALUES ('s1', 's', 'j', 'd', 'r', 'running', '{{}}', '{{}}', {NOW})",
    f"INSERT INTO pipeline_tuner.night (night_id, study, due_at, status) VALUES ('n1', 's', {NOW}, 'news')",
    "INSERT INTO pipeline_tuner.night_figure (night_id, goal, configuration_id, label, role, figure, trials)"
    " VALUES ('n1', 'g', 'c', 'copy', 'control', 7.5, 3)",
    "INSERT INTO pipeline_tuner.news (night_id, goal, kind, study, words, created_at)"
    f" VALUES ('n1', 'g', 'better', 's', 'found', {NOW})",
    "INSERT INTO pipeline_tuner.observation (observation_id, study, source, label, configuration_id, configuration,"
    " status, dag_id, run_id, started_at, ended_at)"
    f" VALUES ('r1', 's', 'preset', 'copy', 'c', '{{}}', 'measured', 'd', 'r', {NOW}, {NOW})",
    "INSERT INTO pipeline_tuner.picture (sweep_id, name, svg) VALUES ('s1', 'effects', '<svg/>')",
)
NEW_ROWS = (
    "SELECT status FROM pipeline_tuner.night",
    "SELECT value, label FROM pipeline_tuner.night_value",
    "SELECT kind, words, notified_at FROM pipeline_tuner.alert",
    "SELECT production_run_id, source FROM pipeline_tuner.production_run",
    "SELECT name, svg FROM pipeline_tuner.chart",
)


def test_a_tuned_tasks_tries_are_rows_and_a_try_without_an_end_is_lost_when_the_next_begins(store):
    values = {
        "study": "compress", "source": "given", "label": "as written", "configuration_id": "x", "configuration": {},
        "dag_id": "load", "run_id": "r", "task_id": "t", "map_index": -1, "started_at": datetime.now(UTC),
    }  # fmt: skip
    store.start_production_run("load/r/t/-1/1", values | {"try_number": 1})
    store.start_production_run("load/r/t/-1/1", values | {"try_number": 1})  # resumed
    store.start_production_run("load/q/t/-1/1", values | {"run_id": "q", "try_number": 1})  # another run goes on
    store.start_production_run("load/r/t/-1/2", values | {"try_number": 2})
    store.record_production_run("load/r/t/-1/2", values | {"try_number": 2, "status": "measured"})
    with store.transaction() as connection:
        query = f"SELECT run_id, try_number, status, failure, ended_at IS NULL FROM {SCHEMA}.production_run"
        rows = connection.exec_driver_sql(f"{query} ORDER BY run_id, try_number").all()
    assert [tuple(row) for row in rows] == [
        ("q", 1, "running", None, True),
        ("r", 1, "failed", "lost", False),
        ("r", 2, "measured", None, False),
    ]


def test_a_database_of_the_version_before_says_so_and_keeps_its_runs(database):
    engine = Store(database).engine
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA pipeline_tuner")
        command.upgrade(alembic_config(connection), "0006")
        connection.exec_driver_sql(
            "INSERT INTO pipeline_tuner.production_run (production_run_id, study, source, label, configuration_id,"
            " configuration, status, dag_id, run_id, started_at, ended_at)"
            f" VALUES ('r1', 's', 'preset', 'copy', 'c', '{{}}', 'measured', 'd', 'r', {NOW}, {NOW})"
        )
    values = {
        "study": "s", "source": "given", "label": "l", "configuration_id": "x", "configuration": {}, "dag_id": "d",
        "run_id": "r", "task_id": "t", "map_index": -1, "try_number": 1, "started_at": datetime.now(UTC),
    }  # fmt: skip
    store = Store(engine)
    with pytest.raises(InfrastructureError, match="tables of an older version"):
        store.start_production_run("d/r/t/-1/1", values)
    migrate(engine)
    store.start_production_run("d/r/t/-1/1", values)
    with engine.begin() as connection:
        query = "SELECT production_run_id, task_id, try_number FROM pipeline_tuner.production_run ORDER BY status"
        assert [tuple(row) for row in connection.exec_driver_sql(query)] == [("r1", None, None), ("d/r/t/-1/1", "t", 1)]
        command.downgrade(alembic_config(connection), "0006")
        assert connection.exec_driver_sql("SELECT production_run_id FROM pipeline_tuner.production_run").all() == [
            ("r1",)
        ]
    engine.dispose()
