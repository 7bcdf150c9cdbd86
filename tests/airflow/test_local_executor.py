"""A real Airflow, LocalExecutor, driven through REST."""

from __future__ import annotations

import json
import signal
import urllib.error

import psutil
import pytest
import yaml
from compress_study import COMPRESS
from scheduled_nights import MODULES, Nights, write_nights
from tests.real_airflow import running_airflow

from pipeline_tuner.store import Store


@pytest.fixture(scope="module")
def airflow(postgres, tmp_path_factory):
    folder = tmp_path_factory.mktemp("airflow")
    write_studies(folder)
    write_nights(folder, ["night_a"], 2)
    with running_airflow(folder, postgres, PYTHONPATH=MODULES) as real:
        real.token = real.rest("/auth/token")["access_token"]
        yield real


def write_studies(folder):
    (folder / "studies").mkdir()
    (folder / "dags").mkdir()
    marker = {"name": "text", "options": {"marker": str(folder / "marker")}}
    hanging = {"fast": {"level": 1}, "small": {"level": 9, "mode": "hang_once"}}
    short = COMPRESS | {"budget": COMPRESS["budget"] | {"blocks": 1, "rounds": 1, "confirm_blocks": 0}}
    studies = [
        COMPRESS,
        {**short, "study": "cleared"},
        {**short, "study": "hanging", "workload": marker, "presets": hanging},
    ]
    lines = ["# Airflow", "from pipeline_tuner.dag_factory import tuning_dag"]
    for study in studies:
        name = study["study"]
        (folder / "studies" / f"{name}.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
        (folder / "dags" / f"{name}.py").write_text(
            "\n".join([*lines, f"dag = tuning_dag('{name}')"]), encoding="utf-8"
        )


def newest_results(real, study):
    with Store(real.results) as store:
        with store.transaction() as connection:
            query = "SELECT sweep_id FROM pipeline_tuner.sweep WHERE study = %(study)s ORDER BY started_at DESC LIMIT 1"
            sweep_id = connection.exec_driver_sql(query, {"study": study}).scalar()
        return sweep_id, store.results(sweep_id)


def test_a_sweep_triggered_through_rest_recommends(airflow):
    run_id = airflow.tune("compress", seed=5, rounds=1, confirm_blocks=1)
    assert airflow.finished("compress", run_id) == "success", airflow.logs()
    sweep_id, trials = newest_results(airflow, "compress")
    assert {trial.status for trial in trials} == {"measured"}
    xcom = airflow.rest(f"/api/v2/dags/tune_compress/dagRuns/{run_id}/taskInstances/recommend/xcomEntries/return_value")
    told = xcom["value"] if isinstance(xcom["value"], dict) else json.loads(xcom["value"])
    assert told["sweep_id"] == sweep_id
    assert told["goals"]["size"]["label"] == "small"
    with Store(airflow.results) as store:
        assert store.sweep(sweep_id).options.seed == 5
    labels = {i["rendered_map_index"] for i in airflow.instances("compress", run_id) if i["task_id"] == "trial"}
    assert labels == {f"block {block} · {name}" for block in (1, 2, 3) for name in ("fast (control)", "small")}
    assert airflow.rest("/api/v2/pools/pipeline_tuner")["slots"] == 1


def test_a_wrong_option_is_refused_with_the_schemas_words(airflow):
    airflow.until(lambda: airflow.knows("tune_compress"))
    with pytest.raises(urllib.error.HTTPError) as caught:
        airflow.tune("compress", trials=0)
    assert caught.value.code == 400
    assert "minimum" in caught.value.read().decode()


def test_a_cleared_trial_is_measured_again_and_counts_once(airflow):
    run_id = airflow.tune("cleared")
    assert airflow.finished("cleared", run_id) == "success"
    sweep_id, before = newest_results(airflow, "cleared")
    body = {
        "dry_run": False,
        "dag_run_id": run_id,
        "task_ids": [["trial", 1]],
        "only_failed": False,
        "include_downstream": False,
    }
    cleared = airflow.rest("/api/v2/dags/tune_cleared/clearTaskInstances", body)
    assert cleared["total_entries"] == 1
    airflow.until(lambda: [i for i in airflow.instances("cleared", run_id) if i["try_number"] == 2])
    assert airflow.finished("cleared", run_id) == "success"
    again_id, after = newest_results(airflow, "cleared")
    assert again_id == sweep_id
    assert [t.plan for t in after] == [t.plan for t in before]
    differ = [a for a, b in zip(before, after, strict=True) if a.measurement != b.measurement]
    assert len(differ) == 1


def test_a_killed_mapped_task_leaves_no_process_and_the_sweep_goes_on(airflow):
    run_id = airflow.tune("hanging")
    marker = airflow.folder / "marker"
    airflow.until(lambda: marker.exists() and marker.read_text(encoding="ascii"))
    job = psutil.Process(int(marker.read_text(encoding="ascii")))
    # The job's parent is its guard, and the guard's parent is the process of the Airflow task.
    task = job.parent().parent()
    task.send_signal(signal.SIGKILL)
    airflow.until(lambda: not job.is_running())
    assert airflow.finished("hanging", run_id) == "success", airflow.logs()
    _, trials = newest_results(airflow, "hanging")
    assert {trial.status for trial in trials} == {"measured"}
    assert len({trial.plan.trial_id for trial in trials}) == len(trials)


def test_two_nights_of_one_study(airflow):
    """They began with Airflow, beside the tests above, and need none of them."""
    nights = Nights(airflow)
    airflow.until(lambda: len(nights.ended()) == 2)
    found = nights.assert_whole(["night_a"], 2)
    assert {night["summary"] for night in found} == {"Nothing new."}
    assert not (airflow.folder / "told.txt").exists()
