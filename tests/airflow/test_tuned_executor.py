"""Tuned tasks in a real Airflow: its own processes run, fail, retry and lose them."""

from __future__ import annotations

import signal

import psutil
import pytest
import yaml
from operator_study import BASH, integer, operator_study
from tests.real_airflow import running_airflow
from tuned_nights import PAIR, PAIR_TASK, QUICK_DETECTION, Killer, Nights, assert_whole, nightly_dag, tries

from pipeline_tuner.store import Store

SWEEP = "from pipeline_tuner.dag_factory import tuning_dag\n\ndag = tuning_dag('{name}')\n"
NIGHTLY = """
from datetime import timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

from pipeline_tuner import tuned

COMMAND = "if [ ! -e {marker} ]; then echo $$ > {marker}; sleep 300; fi; echo loaded $BATCH"
with DAG("tune_nightly", schedule=None) as dag:
    load = BashOperator(
        task_id="load",
        bash_command="echo loaded $BATCH",
        env={{"BATCH": "100"}},
        **tuned("any_task"),
    )
    killed = BashOperator(
        task_id="killed",
        bash_command=COMMAND,
        env={{"BATCH": "100"}},
        append_env=True,
        retries=1,
        retry_delay=timedelta(seconds=1),
        **tuned("any_task"),
    )
    mapped = BashOperator.partial(task_id="mapped", env={{"BATCH": "100"}}, **tuned("any_task")).expand(
        bash_command=["echo one $BATCH", "echo two $BATCH"]
    )
    load >> killed >> mapped
"""

BESIDE = """
n=1
case "{{{{ tuner.trial_id }}}}" in *.prepare) ;; *)
  while ! mkdir {folder}/ticket-$n; do n=$((n + 1)); done
  until [ -d {folder}/ticket-$(((n + 2) / 3 * 3)) ]; do sleep 0.1; done
esac
echo "level {{{{ tuner.configuration.level }}}}"
echo cost 1
"""
"""Every third that comes lets itself and the two before it go."""


@pytest.fixture(scope="module")
def airflow(own_postgres, tmp_path_factory):
    folder = tmp_path_factory.mktemp("airflow")
    for name in ("studies", "dags"):
        (folder / name).mkdir()
    study = operator_study(
        BASH,
        {"bash_command": "sleep 0.$NAP; echo loaded $BATCH", "append_env": True},
        {"nap": integer(0, 9, 6, "env.NAP"), "batch": integer(1, 900, 100, "env.BATCH")},
        presets={"now": {}, "quick": {"nap": 0, "batch": 500}, "wrong": {"batch": 7}},
        options={"metrics": {"rows": r"^loaded (\d+)$"}, "checks": {"enough": r"^loaded \d\d\d$"}},
        budget={"trials": 20, "blocks": 3, "rounds": 1, "confirm_blocks": 3, "trial_timeout_s": 600},
    )
    (folder / "studies" / "any_task.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    beside = operator_study(
        BASH,
        {"bash_command": BESIDE.format(folder=folder)},
        {"level": integer(1, 9, 1)},
        study="beside",
        job="beside",
        presets={"now": {}, "two": {"level": 2}, "three": {"level": 3}},
        goals={"cost": {"minimize": "cost"}},
        options={"metrics": {"cost": r"^cost (\d+)"}},
        budget={"trials": 9, "blocks": 3, "rounds": 1, "confirm_blocks": 0, "trial_timeout_s": 600, "cost": 7},
    )
    beside["runner"]["concurrent"] = 3
    (folder / "studies" / "beside.yaml").write_text(yaml.safe_dump(beside), encoding="utf-8")
    for name in ("any_task", "beside"):
        sweep = SWEEP.format(name=name)
        (folder / "dags" / f"sweep_{name}.py").write_text(f"# Airflow\n{sweep}", encoding="utf-8")
    nightly = NIGHTLY.format(marker=folder / "marker")
    (folder / "dags" / "nightly.py").write_text(f"# Airflow\n{nightly}", encoding="utf-8")
    (folder / "studies" / "pair.yaml").write_text(yaml.safe_dump(PAIR), encoding="utf-8")
    # A first try never ends by itself before it may.
    work = f"[ {{{{ ti.try_number }}}} -gt 1 ] || until [ -e {folder / 'go'} ]; do sleep 0.2; done"
    tasks = PAIR_TASK.format(said=folder / "said.txt", work=work)
    pair = nightly_dag("nightly_pair", 3, tasks, retries=4, paused=True)
    (folder / "dags" / "pair.py").write_text(pair, encoding="utf-8")
    with running_airflow(folder, own_postgres, **QUICK_DETECTION, AIRFLOW__CORE__PARALLELISM=8) as real:
        real.token = real.rest("/auth/token")["access_token"]
        yield real


@pytest.mark.soak
def test_a_sweep_over_an_operator_then_tasks_that_follow_it_one_of_them_killed(airflow):
    sweep = airflow.tune("any_task")
    assert airflow.finished("any_task", sweep) == "success", airflow.logs()

    run_id = airflow.tune("nightly")
    marker = airflow.folder / "marker"
    airflow.until(lambda: marker.exists() and marker.read_text(encoding="ascii"))
    shell = psutil.Process(int(marker.read_text(encoding="ascii")))
    task = shell.parent()
    assert task is not None
    task.send_signal(signal.SIGKILL)
    for left in (*shell.children(), shell):
        left.kill()
    assert airflow.finished("nightly", run_id) == "success", airflow.logs()

    with Store(airflow.results) as store, store.transaction() as connection:
        trials = connection.exec_driver_sql("SELECT label, status, metrics FROM pipeline_tuner.trial").all()
        query = (
            "SELECT task_id, map_index, try_number, status, failure, label FROM pipeline_tuner.production_run"
            " ORDER BY started_at, map_index"
        )
        runs = connection.exec_driver_sql(query).all()
    # What the operator logs in a worker is read, too: it goes another way there than in a test's process.
    assert {(t.label, t.status) for t in trials} == {("now", "measured"), ("quick", "measured"), ("wrong", "failed")}
    assert {t.metrics["rows"] for t in trials if t.label == "quick"} == {500}
    assert sorted(tuple(run) for run in runs) == [
        ("killed", -1, 1, "failed", "lost", "quick"),
        ("killed", -1, 2, "measured", None, "quick"),
        ("load", -1, 1, "measured", None, "quick"),
        ("mapped", 0, 1, "measured", None, "quick"),
        ("mapped", 1, 1, "measured", None, "quick"),
    ]


@pytest.mark.soak
def test_the_trials_of_a_block_run_side_by_side_within_the_cap_of_cost(airflow):
    run_id = airflow.tune("beside")
    airflow.finished("beside", run_id)
    with Store(airflow.results) as store, store.transaction() as connection:
        query = (
            "SELECT block, label, status, measurement FROM pipeline_tuner.trial WHERE study = 'beside' ORDER BY block"
        )
        trials = connection.exec_driver_sql(query).all()
    # A trial ends only when three have begun: one after the other, the first would never end.
    assert {(trial.status, trial.measurement["metrics"]["cost"]) for trial in trials} == {("measured", 1)}
    by_block = {trial.block: [one for one in trials if one.block == trial.block] for trial in trials}
    assert [sorted(trial.label for trial in block) for block in by_block.values()] == [["now", "three", "two"]] * 2
    first, second = by_block.values()
    ended = max(trial.measurement["ended_at"] for trial in first)
    assert ended <= min(trial.measurement["started_at"] for trial in second), "two blocks ran at once"
    # The run before the trials cost 1, a third block would have come to 10.
    assert 1 + sum(trial.measurement["metrics"]["cost"] for trial in trials) == 7


def test_three_nights_with_a_kill_each_lose_and_double_none(airflow, own_postgres):
    nights, killer = Nights(airflow, "nightly_pair"), Killer(airflow, own_postgres)
    said = airflow.folder / "said.txt"
    airflow.until(lambda: nights.unpaused())
    for number, kind in enumerate(["task", "scheduler", "database"], start=1):
        airflow.until(lambda at=number: killer.revive() or len({line.run_id for line in tries(said)}) == at)
        killer.kill(kind)
    (airflow.folder / "go").touch()
    airflow.until(lambda: killer.revive() or nights.ended() == 3)
    assert_whole(nights, said, 3)
