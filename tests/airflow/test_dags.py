"""The DAGs of this repository and what the factory makes of a study."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from compress_study import COMPRESS

from pipeline_tuner import settings
from pipeline_tuner.study import load_study

ROOT = Path(__file__).resolve().parents[2]
STUDIES = sorted(p for p in (ROOT / "include" / "configs").glob("*.yaml") if p.name != "prices.yaml")


@pytest.fixture(scope="module")
def bag(airflow_env):
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(dag_folder=str(ROOT / "dags"))


def test_every_dag_file_is_found_and_parses(bag):
    assert bag.import_errors == {}
    files = {Path(dag.fileloc).name for dag in bag.dags.values()}
    assert files == {path.name for path in (ROOT / "dags").glob("*.py")}


def test_every_dag_says_what_it_is_for_and_whose_it_is(bag):
    for dag in bag.dags.values():
        assert dag.doc_md
        assert dag.description
        assert "pipeline-tuner" in dag.tags
        assert dag.owner != "airflow"
        assert not dag.catchup


def test_dag_files_are_thin():
    for path in (ROOT / "dags").glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 15, path.name


@pytest.mark.parametrize("path", [p for p in STUDIES if "job:" in p.read_text(encoding="utf-8")], ids=lambda p: p.stem)
def test_every_study_loads_and_has_its_dag(bag, path):
    study = load_study(path)
    assert f"tune_{study.study}" in bag.dags


@pytest.fixture
def dag(airflow_env, compress):
    from pipeline_tuner.dag_factory import tuning_dag

    return tuning_dag(compress(schedule="0 2 * * *", tags=["nightly"]))


def test_a_sweep_is_check_prepare_rounds_confirm_recommend(dag):
    order = [task.task_id for task in dag.topological_sort()]
    assert order == [
        "check", "prepare", "retention", "plan", "trial", "plan_2", "trial_2", "plan_confirm", "confirm", "recommend",
    ]  # fmt: skip
    assert dag.max_active_runs == 1


def test_a_companion_is_swept_after_the_study_itself(airflow_env, compress):
    from pipeline_tuner.dag_factory import tuning_dag

    dag = tuning_dag(compress(), companions=[compress(study="squeeze")])
    order = [task.task_id for task in dag.topological_sort()]
    assert order.index("recommend") < order.index("squeeze.check")
    assert order[-2:] == ["squeeze.recommend", "answered"]
    assert dag.get_task("squeeze.check").trigger_rule.value == "all_done"
    assert dag.params.dump()["also"] == ["squeeze"]


def test_trials_run_one_at_a_time_in_the_pool_of_one(dag):
    for task_id in ("trial", "trial_2", "confirm"):
        task = dag.get_task(task_id)
        assert task.partial_kwargs["pool"] == settings.POOL
        assert task.partial_kwargs["max_active_tis_per_dag"] == 1


def test_trials_that_share_no_machine_run_side_by_side_in_a_pool_of_their_own(airflow_env, compress):
    runner = {
        "kind": "operator",
        "operator": "airflow.providers.standard.operators.empty.EmptyOperator",
        "arguments": {"doc": "{{ tuner.configuration.level }} {{ tuner.configuration.mode }}"},
        "concurrent": 6,
    }
    from pipeline_tuner.dag_factory import tuning_dag

    found = tuning_dag(compress(study="beside", runner=runner))
    for task_id in ("trial", "confirm"):
        kwargs = found.get_task(task_id).partial_kwargs
        assert (kwargs["pool"], kwargs["max_active_tis_per_dag"]) == (settings.ISOLATED_POOL, 12)
    assert found.get_task("prepare").pool == settings.ISOLATED_POOL


def test_failed_trials_stop_no_later_task(dag):
    rules = {task_id: dag.get_task(task_id).trigger_rule.value for task_id in ("plan", "plan_2", "plan_confirm")}
    assert rules == {"plan": "all_success", "plan_2": "all_done", "plan_confirm": "all_done"}
    assert dag.get_task("recommend").trigger_rule.value == "all_done"


def test_the_form_has_a_valid_default_for_everything_that_a_sweep_reads(dag):
    from pipeline_tuner.sweep import sweep_options

    study = settings.load_named_study("compress")
    options = sweep_options(study, "s", dag.params.dump())
    assert options.budget == study.budget
    assert options.goals == ("size",)
    # Airflow opens the fields without a section and no other: those that say what is searched.
    sections = [param.schema.get("section") for param in map(dag.params.get_param, dag.params)]
    assert list(dict.fromkeys(sections)) == [None, "Budget", "Reproducibility"]


def test_the_same_study_gives_the_same_dag_each_time(airflow_env, compress):
    from airflow.serialization.serialized_objects import DagSerialization

    from pipeline_tuner.dag_factory import tuning_dag

    name = compress()
    assert DagSerialization.to_dict(tuning_dag(name)) == DagSerialization.to_dict(tuning_dag(name))


def test_a_wrong_study_is_an_import_error_that_names_file_key_and_value(airflow_env, studies, tmp_path):
    from airflow.dag_processing.dagbag import DagBag

    wrong = {**COMPRESS, "control": "slow"}
    (studies / "compress.yaml").write_text(yaml.safe_dump(wrong), encoding="utf-8")
    file = tmp_path / "dags" / "tune.py"
    file.parent.mkdir()
    file.write_text(
        "# Airflow\nfrom pipeline_tuner.dag_factory import tuning_dag\ndag = tuning_dag('compress')\n", encoding="utf-8"
    )
    (message,) = DagBag(dag_folder=str(file.parent)).import_errors.values()
    assert re.search(r"compress\.yaml:\d+: control: is 'slow', must be a preset: fast, small", message)


def test_the_pool_is_made_when_the_scheduler_starts(airflow_env):
    from airflow.jobs.job import Job
    from airflow.models.pool import Pool
    from airflow.utils.session import create_session

    from pipeline_tuner import airflow_pools

    with create_session() as session:
        session.query(Pool).filter(Pool.pool.in_([settings.POOL, settings.ISOLATED_POOL])).delete()
    for _ in range(2):
        airflow_pools.on_starting(Job(job_type="SchedulerJob"))
    with create_session() as session:
        made = Pool.get_pool(settings.POOL, session=session)
        assert (made.slots, made.include_deferred) == (1, True)
        assert Pool.get_pool(settings.ISOLATED_POOL, session=session).slots == 64
        made.slots = 2
    airflow_pools.on_starting(Job(job_type="SchedulerJob"))
    with create_session() as session:
        assert Pool.get_pool(settings.POOL, session=session).slots == 2


def test_importing_the_factory_brings_no_spark_and_no_statistics(airflow_env):
    import subprocess
    import sys

    program = (
        "import sys; import pipeline_tuner.dag_factory\n"
        "print([name for name in ('pyspark', 'scipy', 'altair', 'pandas') if name in sys.modules])"
    )
    import os

    environment = {**os.environ, "PYTHONPATH": str(ROOT / "plugins")}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
