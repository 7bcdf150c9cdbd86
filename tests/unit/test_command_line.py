from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from tests.unit.planted import STUDY, planted_options, planted_study, planted_sweep

from pipeline_tuner.__main__ import main

PLUGINS = Path(__file__).parents[2] / "plugins"


@pytest.fixture
def study_file(tmp_path):
    path = tmp_path / "planted.yaml"
    path.write_text(STUDY)
    return path


@pytest.fixture
def sweep_file(tmp_path):
    study = planted_study()
    configurations = {c.label: c.configuration for c in study.preset_candidates}
    durations = {"balanced": 10.0, "wide": 12.0, "copy": 7.0}
    results = planted_sweep(durations, configurations, control="balanced", confirmed=("balanced", "copy"))
    trials = [
        {**asdict(r.plan), "status": r.status, "metrics": dict(r.metrics), "failure": None, "reason": ""}
        for r in results
    ]
    options = planted_options(study).model_dump(mode="json")
    sweep = {"study_definition": study.model_dump(mode="json"), "options": options, "workload": {"rows": 100_000}}
    document = {"sweep": sweep, "trials": trials}
    path = tmp_path / "sweep.json"
    path.write_text(json.dumps(document))
    return path


def test_validate_says_what_is_in_a_study(study_file, capsys):
    study_file.write_text(STUDY.replace("copy: {method: copy}", "copy: {method: copy}\n  again: {partitions: 8}"))
    assert main(["study", "validate", str(study_file)]) == 0
    said = capsys.readouterr().out
    assert "3 parameters, 4 presets, 3 goals and 0 claims" in said
    assert "balanced and again are the same configuration" in said


def test_validate_refuses_with_file_key_and_value(study_file, capsys):
    study_file.write_text(STUDY.replace("control: balanced", "control: fast"))
    assert main(["study", "validate", str(study_file)]) == 1
    error = capsys.readouterr().err
    assert "planted.yaml" in error
    assert "control" in error
    assert "'fast'" in error


def test_plan_shows_the_trials_and_what_may_follow(study_file, capsys):
    assert main(["study", "plan", str(study_file), "--strategy", "presets", "--trials", "30"]) == 0
    said = capsys.readouterr().out
    assert "method=copy" in said
    assert "the control" in said
    assert "further trials follow" in said


def test_plan_refuses_an_unknown_strategy(study_file, capsys):
    assert main(["study", "plan", str(study_file), "--strategy", "magic"]) == 1
    assert "magic" in capsys.readouterr().err


def test_report_from_a_file(sweep_file, tmp_path, capsys):
    assert main(["study", "report", str(sweep_file), "--folder", str(tmp_path / "out")]) == 0
    assert "throughput: use copy" in capsys.readouterr().out
    assert "| use copy |" in (tmp_path / "out" / "sweep-1" / "analysis.md").read_text()


@pytest.mark.parametrize("content", ["{", "[]", '{"sweep": {}, "trials": []}'])
def test_report_refuses_what_is_no_sweep(tmp_path, capsys, content):
    path = tmp_path / "other.json"
    path.write_text(content)
    assert main(["study", "report", str(path)]) == 1
    assert "is not a sweep's JSON" in capsys.readouterr().err


def test_report_needs_the_database_or_a_file(monkeypatch, capsys):
    monkeypatch.delenv("PIPELINE_TUNER_URL", raising=False)
    assert main(["study", "report", "night-1"]) == 1
    assert "PIPELINE_TUNER_URL" in capsys.readouterr().err


def test_it_runs_as_a_module_without_airflow(study_file):
    program = (
        "import runpy, sys; sys.argv = ['pipeline_tuner', 'study', 'validate', sys.argv[1]]\n"
        "try: runpy.run_module('pipeline_tuner', run_name='__main__')\n"
        "finally: print(sorted(n for n in ('airflow', 'pyspark', 'sqlalchemy', 'altair') if n in sys.modules))"
    )
    environment = {"PYTHONPATH": str(PLUGINS)}
    done = subprocess.run([sys.executable, "-c", program, study_file], env=environment, capture_output=True, text=True)
    assert done.returncode == 0
    assert "is a study" in done.stdout
    assert done.stdout.rstrip().endswith("[]")


def test_a_cluster_is_sized_and_a_layout_checked(capsys):
    assert main(["cluster", "--nodes", "15", "--cores", "24", "--memory", "256"]) == 0
    assert "--conf spark.executor.instances=90" in capsys.readouterr().out
    layout = ["--executors", "30", "--executor-cores", "10", "--executor-memory", "100"]
    assert main(["cluster", "--nodes", "15", "--cores", "24", "--memory", "256", *layout]) == 0
    assert "30 x 10 uses 300 of 360 cores" in capsys.readouterr().out
    assert main(["cluster", "--nodes", "15", "--cores", "24", "--memory", "256", "--executors", "30"]) == 1
    assert "give --executors, --executor-cores and --executor-memory" in capsys.readouterr().err
    assert main(["cluster", "--nodes", "0", "--cores", "24", "--memory", "256"]) == 1
    assert "at least one node" in capsys.readouterr().err
