"""Benchmark of the demos, run again and again: how many goals end in something to do, and whether it is right.

    make bench JOB=demos ARGS="--runs 10 --jobs migration dedup streaming_etl quantizer"

Each run begins with an empty results database. After a job's run, every pick that is to replace something is measured
against what it replaces in eight fresh blocks, by a study made for that. Figures go to build/bench/demos.jsonl:

- demos.actionable_rate: goals that end in `best`, `tied`, `better` or `keep`
- demos.worse_rate: picks that the head-to-head shows to be worse than what they replace
- demos.minutes: a demo's wall time
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from benchmarks.record import Figures

from pipeline_tuner.analysis.evidence import Evidence, settled
from pipeline_tuner.analysis.selection import confirmed_gain
from pipeline_tuner.local.airflow import Airflow
from pipeline_tuner.local.demo import Demo
from pipeline_tuner.local.paths import Layout
from pipeline_tuner.local.services import Services, needs_of
from pipeline_tuner.recommendation import Interval, Recommendation
from pipeline_tuner.space import configuration_id
from pipeline_tuner.store import Store

JOBS = ("migration", "dedup", "streaming_etl", "quantizer")
BLOCKS = 8
OF_THE_SEARCH = ("strategies", "stages", "claims", "schedule", "nights", "prefer")
"""What a study has beside the job, its space and its goals."""
DAG = """# Airflow looks for this word before it reads a file.
from pathlib import Path

from pipeline_tuner.dag_factory import tuning_dag

dag = tuning_dag(str(Path(__file__).parent / "head_to_head.yaml"))
"""


@dataclass(frozen=True)
class Change:
    """A pick that is to replace the reference, for one goal of a study."""

    study: str
    goal: str
    pick: dict[str, object]
    reference: dict[str, object]


def emptied(airflow: Airflow) -> None:
    """Nothing is known any more: the state of somebody who runs the demo first."""
    with airflow.services.postgres.cursor("tuner") as cursor:
        cursor.execute("SELECT to_regclass('pipeline_tuner.sweep') IS NOT NULL")
        if cursor.fetchone()[0]:
            names = "sweep, production_run, promotion, night, alert"
            tables = ", ".join(f"pipeline_tuner.{name.strip()}" for name in names.split(","))
            cursor.execute(f"TRUNCATE {tables} CASCADE")


def demo(airflow: Airflow, job: str) -> tuple[list[tuple[str, Recommendation]], float]:
    """One run of a job's demo: all its answers with their studies, and its minutes."""
    begin = time.monotonic()
    Demo(airflow, job).run()
    minutes = (time.monotonic() - begin) / 60
    with Store(airflow.services.postgres.uri("tuner")) as store, airflow.services.postgres.cursor("tuner") as cursor:
        cursor.execute("SELECT study, sweep_id FROM pipeline_tuner.sweep ORDER BY started_at")
        answers = [(study, item) for study, sweep_id in cursor.fetchall() for item in store.recommendations(sweep_id)]
    return answers, minutes


def changes_of(answers: Sequence[tuple[str, Recommendation]]) -> list[Change]:
    """The answers that change production, but for those whose reference can't serve the goal: there is no ratio."""
    return [
        Change(study, item.goal, dict(item.configuration or {}), dict(item.evidence[item.reference].configuration))
        for study, item in answers
        if item.status.is_change and item.reference_gain is not None and item.reference in item.evidence
    ]


def head_to_head(airflow: Airflow, name: str, changes: Sequence[Change]) -> dict[str, Interval | None]:
    """By goal of a study, reference's value / pick's (above 1: the pick is better) in eight blocks that hold all."""
    layout = airflow.services.layout
    study = yaml.safe_load((layout.root / "include" / "configs" / f"{name}.yaml").read_text(encoding="utf-8"))
    distinct = {configuration_id(c): c for change in changes for c in (change.reference, change.pick)}
    names = {identity: f"c{number}" for number, identity in enumerate(distinct)}
    presets = {names[identity]: configuration for identity, configuration in distinct.items()}
    kept = {key: value for key, value in study.items() if key not in OF_THE_SEARCH}
    trials = BLOCKS * (len(presets) + 1)
    budget = kept["budget"] | {"trials": trials, "rounds": 1, "blocks": BLOCKS, "confirm_blocks": 0, "minutes": None}
    changed = {"study": "head_to_head", "presets": presets, "control": "c0", "fallback": "c0", "budget": budget}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "head_to_head.yaml").write_text(yaml.safe_dump({**kept, **changed, "strategy": "presets"}))
        Path(folder, "head_to_head.py").write_text(DAG)
        environment = airflow.process_environment() | {"AIRFLOW__CORE__DAGS_FOLDER": folder}
        conf = json.dumps({"size": "half"} if "half" in study["workload"].get("sizes", {}) else {})
        command = [sys.executable, "-m", "airflow", "dags", "test", "tune_head_to_head", "-c", conf]
        with Path(airflow.home, "head_to_head.log").open("w") as log:
            subprocess.run(command, env=environment, stdout=log, stderr=log, check=True)
    return _gains(airflow, changes, names)


def _gains(airflow: Airflow, changes: Sequence[Change], names: dict[str, str]) -> dict[str, Interval | None]:
    with Store(airflow.services.postgres.uri("tuner")) as store, airflow.services.postgres.cursor("tuner") as cursor:
        cursor.execute("SELECT max(sweep_id) FROM pipeline_tuner.sweep WHERE study = 'head_to_head'")
        sweep = store.sweep(cursor.fetchone()[0])
        results = settled(store.results(sweep.sweep_id))
    found = {}
    for change in changes:
        evidence = Evidence(sweep.study_definition, sweep.options, change.goal, results)
        pick, reference = names[configuration_id(change.pick)], names[configuration_id(change.reference)]
        found[change.goal] = confirmed_gain(evidence.observations(), pick, reference)
    return found


def main() -> None:
    """Run the demos and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--jobs", nargs="+", default=list(JOBS))
    arguments = parser.parse_args()
    figures = Figures("demos", keep=True)
    for job in arguments.jobs:
        # Its environment is made once, from the services that run by then.
        measure(Airflow(Services(Layout.default())), figures, job, arguments.runs)


def measure(airflow: Airflow, figures: Figures, job: str, runs: int) -> None:
    """Take one job's figures."""
    actionable: list[bool] = []
    worse: list[bool] = []
    minutes: list[float] = []
    for number in range(1, runs + 1):
        airflow.services.start(needs_of(job))
        airflow.migrate()
        emptied(airflow)
        answers, took = demo(airflow, job)
        minutes.append(took)
        actionable += [item.status.is_answer for _, item in answers]
        changes = changes_of(answers)
        gains = {}
        for name in dict.fromkeys(change.study for change in changes):
            gains |= head_to_head(airflow, name, [change for change in changes if change.study == name])
        worse += [gain is not None and gain.high < 1.0 for gain in gains.values()]
        said = ", ".join(f"{item.goal} {item.status} {item.label}" for _, item in answers)
        held = ", ".join(f"{goal} {gain.value:.2f}x ({gain.low:.2f})" for goal, gain in gains.items() if gain)
        print(f"{job} {number}: {took:.1f} min; {said}; head to head: {held or 'no change'}", flush=True)
    figures.rate("actionable_rate", actionable, job=job)
    figures.rate("worse_rate", worse, job=job)
    figures.add("minutes", minutes, "min")


if __name__ == "__main__":
    main()
