"""From an application's log to its study, and through a sweep of it: all of it real, on local Spark."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline_tuner.__main__ import main
from pipeline_tuner.exceptions import StudyError
from pipeline_tuner.runners import TrialFailedError, TrialRun, runner_for
from pipeline_tuner.spark_application import METRICS
from pipeline_tuner.store import Store
from pipeline_tuner.study import load_study

APPLICATION = Path(__file__).with_name("advised_application.py")
CONNECTION = '{"conn_type": "spark", "host": "local[2]", "extra": {"deploy-mode": "client"}}'
SETTINGS = {
    "spark.eventLog.enabled": "true",
    "spark.eventLog.compress": "true",
    "spark.sql.shuffle.partitions": "64",
    "spark.sql.adaptive.enabled": "false",
    "spark.ui.enabled": "false",
    "spark.app.credential": "hunter2",
}


def submit(logs: Path, rows: int, data: Path) -> None:
    conf = {**SETTINGS, "spark.eventLog.dir": logs.as_uri()}
    options = [part for name, value in conf.items() for part in ("--conf", f"{name}={value}")]
    program = str(Path(sys.executable).parent / "spark-submit")
    command = [
        program,
        "--master",
        "local[2]",
        "--driver-memory",
        "900m",
        *options,
        str(APPLICATION),
        str(rows),
        str(data),
    ]
    done = subprocess.run([*command, "--credential", "hunter2"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(scope="module")
def logs(spark_env, tmp_path_factory):
    """The logs of two runs: a small one, and one with eight times the rows."""
    folder = tmp_path_factory.mktemp("advised")
    (folder / "logs").mkdir()
    submit(folder / "logs", 100_000, folder / "data")
    submit(folder / "logs", 800_000, folder / "data")
    return folder / "logs"


@pytest.fixture
def study_file(logs, tmp_path, monkeypatch, capsys):
    """The study that the command writes, as it stands."""
    monkeypatch.chdir(tmp_path)
    assert main(["advise", str(logs), "--study", "advised"]) == 0
    capsys.readouterr()
    return tmp_path / "advised.yaml"


@pytest.fixture
def filled(study_file):
    """The same with its one gap filled in."""
    text = study_file.read_text()
    study_file.write_text(text.replace("<fill in: argument 4, which looks like a secret>", "nothing"))
    return study_file


def trial(study, tmp_path, fraction=1.0, **changes):
    tmp_path.mkdir(exist_ok=True)
    configuration = study.space.checked(changes)
    return TrialRun(job=study.job, trial_id="t1", configuration=configuration, folder=tmp_path, fraction=fraction)


def test_the_study_says_what_the_log_says(study_file, capsys):
    study = load_study(study_file)
    options = study.runner.options
    assert options["application"] == str(APPLICATION)
    assert options["arguments"]["full"][0] == "800000"
    assert options["arguments"]["small"][0] == "100000"
    assert (study.workload.screening, study.workload.sizes["full"]) == ("small", 1.0)
    assert study.workload.sizes["small"] == pytest.approx(1 / 8, rel=0.1)
    assert study.control_candidate.configuration["shuffle_partitions"] == 64
    assert study.control_candidate.configuration["driver_memory_mb"] == 900
    assert study.control_candidate.configuration["cores"] == 2
    assert "hunter2" not in study_file.read_text()
    assert "spark.app.credential" in study_file.read_text()


def test_validate_names_what_is_to_be_filled_in(study_file, capsys):
    assert main(["study", "validate", str(study_file)]) == 1
    said = capsys.readouterr().err
    assert "runner.options.arguments.full, entry 4: is still to be filled in: argument 4, which looks like" in said


def test_it_is_not_written_over_and_is_of_one_job(study_file, logs, capsys):
    assert main(["advise", str(logs), "--study", "advised"]) == 1
    assert "exists: give another name" in capsys.readouterr().err
    assert main(["advise", str(logs), "--study", "No Name"]) == 1
    assert "small letters" in capsys.readouterr().err


def test_a_study_with_a_gap_does_not_run(study_file, airflow_env):
    with pytest.raises(StudyError, match="argument 4, which looks like a secret is still to be filled in"):
        runner_for(load_study(study_file))


def test_a_trial_takes_its_settings_and_leaves_sparks_figures(filled, airflow_env, spark_env, monkeypatch, tmp_path):
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", CONNECTION)
    study = load_study(filled)
    run = trial(study, tmp_path / "one", fraction=study.workload.sizes["small"], shuffle_partitions=5, cores=1)
    measurement = runner_for(study).run(run, 120)
    assert measurement.status == "measured", measurement.failure
    metrics = measurement.metrics
    assert max(stage["tasks"] for stage in measurement.details["stages"] if stage["shuffle_read_bytes"]) == 5
    assert metrics["output_rows"] == 100_000
    assert set(METRICS) | {"duration_s", "core_seconds"} == set(metrics)
    assert metrics["allocated_core_seconds"] <= metrics["application_s"] <= metrics["duration_s"]
    assert metrics["allocated_gb_seconds"] == pytest.approx(metrics["allocated_core_seconds"] * 0.9437, rel=0.01)


def test_an_application_that_fails_is_a_failed_trial(filled, airflow_env, spark_env, monkeypatch, tmp_path):
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", CONNECTION)
    filled.write_text(filled.read_text().replace('"800000"', '"many"'))
    study = load_study(filled)
    with pytest.raises(TrialFailedError, match="invalid literal for int"):
        runner_for(study).run(trial(study, tmp_path / "one"), 120)


@pytest.mark.soak
def test_its_sweep_runs_to_a_decision(filled, run_dag, results, spark_env, monkeypatch):
    from pipeline_tuner.dag_factory import tuning_dag
    from pipeline_tuner.store.page_reads import PageReads

    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", CONNECTION)
    options = {"strategy": "presets", "trials": 4, "blocks": 2, "rounds": 1, "confirm_blocks": 0, "size": "small"}
    assert run_dag(tuning_dag(str(filled)), options).state == "success"
    with Store(results) as store:
        sweep = PageReads(store).studies(["tune_advised"])[0]
        trials, decisions = store.results(sweep["sweep_id"]), store.recommendations(sweep["sweep_id"])
    assert {trial.status for trial in trials} == {"measured"}
    assert {decision.goal for decision in decisions} == {"time", "cost", "balanced"}
