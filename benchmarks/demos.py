"""Benchmark of the demos, run again and again: how many goals end in something to do, and whether it is right.

    make bench JOB=demos ARGS="--runs 10 --jobs migration dedup streaming_etl quantizer"

Each run begins with an empty results database and is written to build/bench/demos_runs.jsonl when it has ended: a
series that was interrupted goes on where it ended. After a job's last run, every pick that was to replace something is
measured against what it was to replace in eight fresh blocks, by a study made for that. Figures go to
build/bench/demos.jsonl:

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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from benchmarks.record import FOLDER, Figures
from pydantic import TypeAdapter

from pipeline_tuner.analysis.evidence import Evidence, settled
from pipeline_tuner.analysis.selection import confirmed_gain
from pipeline_tuner.local.airflow import Airflow
from pipeline_tuner.local.demo import Demo
from pipeline_tuner.local.paths import Layout
from pipeline_tuner.local.services import Services, needs_of
from pipeline_tuner.recommendation import DecisionStatus, Interval, Recommendation
from pipeline_tuner.space import Configuration, configuration_id
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
class Answer:
    """What one run of a demo said for one goal of a study."""

    study: str
    goal: str
    status: DecisionStatus
    label: str | None
    pick: Configuration | None
    reference: Configuration | None
    """None where the reference can't serve the goal: there is no ratio."""

    @property
    def is_change(self) -> bool:
        """Whether it replaces the reference by something that can be measured against it."""
        return self.status.is_change and self.pick is not None and self.reference is not None


@dataclass(frozen=True)
class Run:
    """One run of a job's demo."""

    job: str
    minutes: float
    answers: tuple[Answer, ...]


class Runs:
    """All runs so far, in a file: an hour's work outlives an interruption."""

    def __init__(self) -> None:
        FOLDER.mkdir(parents=True, exist_ok=True)
        self._path = FOLDER / "demos_runs.jsonl"
        self._record = TypeAdapter(Run)

    def of(self, job: str) -> list[Run]:
        """A job's runs, oldest first."""
        lines = self._path.read_bytes().splitlines() if self._path.exists() else []
        return [run for run in map(self._record.validate_json, lines) if run.job == job]

    def add(self, run: Run) -> None:
        """Keep a run that has ended."""
        with self._path.open("ab") as file:
            file.write(self._record.dump_json(run) + b"\n")


def emptied(airflow: Airflow) -> None:
    """Nothing is known any more: the state of somebody who runs the demo first."""
    with airflow.services.postgres.cursor("tuner") as cursor:
        cursor.execute("SELECT to_regclass('pipeline_tuner.sweep') IS NOT NULL")
        if cursor.fetchone()[0]:
            names = "sweep, production_run, promotion, night, alert"
            tables = ", ".join(f"pipeline_tuner.{name.strip()}" for name in names.split(","))
            cursor.execute(f"TRUNCATE {tables} CASCADE")


def demo(airflow: Airflow, job: str) -> Run:
    """One run of a job's demo, from an empty results database."""
    airflow.services.start(needs_of(job))
    airflow.migrate()
    emptied(airflow)
    begin = time.monotonic()
    Demo(airflow, job).run()
    minutes = (time.monotonic() - begin) / 60
    with Store(airflow.services.postgres.uri("tuner")) as store, airflow.services.postgres.cursor("tuner") as cursor:
        cursor.execute("SELECT study, sweep_id FROM pipeline_tuner.sweep ORDER BY started_at")
        found = [(study, item) for study, sweep_id in cursor.fetchall() for item in store.recommendations(sweep_id)]
    return Run(job, minutes, tuple(answer_of(study, item) for study, item in found))


def answer_of(study: str, item: Recommendation) -> Answer:
    """What is kept of a recommendation."""
    has_ratio = item.reference_gain is not None and item.reference in item.evidence
    reference = item.evidence[item.reference].configuration if has_ratio else None
    return Answer(study, item.goal, item.status, item.label, item.configuration, reference)


def head_to_head(airflow: Airflow, name: str, changes: Sequence[Answer]) -> list[Interval | None]:
    """By change of a study, reference's value / pick's (above 1: the pick is better) in eight blocks that hold all."""
    layout = airflow.services.layout
    study = yaml.safe_load((layout.root / "include" / "configs" / f"{name}.yaml").read_text(encoding="utf-8"))
    distinct = {configuration_id(c): dict(c) for change in changes for c in (change.reference, change.pick)}
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


def _gains(airflow: Airflow, changes: Sequence[Answer], names: Mapping[str, str]) -> list[Interval | None]:
    with Store(airflow.services.postgres.uri("tuner")) as store, airflow.services.postgres.cursor("tuner") as cursor:
        cursor.execute("SELECT max(sweep_id) FROM pipeline_tuner.sweep WHERE study = 'head_to_head'")
        sweep = store.sweep(cursor.fetchone()[0])
        results = settled(store.results(sweep.sweep_id))
    found = []
    for change in changes:
        observations = Evidence(sweep.study_definition, sweep.options, change.goal, results).observations()
        pick, reference = names[configuration_id(change.pick)], names[configuration_id(change.reference)]
        found.append(confirmed_gain(observations, pick, reference))
    return found


def distinct_changes(runs: Sequence[Run]) -> list[Answer]:
    """The changes of several runs: the same one twice is measured once."""
    changes = [answer for run in runs for answer in run.answers if answer.is_change]
    by_what = {(c.study, c.goal, configuration_id(c.pick), configuration_id(c.reference)): c for c in changes}
    return list(by_what.values())


def main() -> None:
    """Run the demos and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10, help="of each job, those of an interrupted series included")
    parser.add_argument("--jobs", nargs="+", default=list(JOBS))
    arguments = parser.parse_args()
    figures, known = Figures("demos", keep=True), Runs()
    for job in arguments.jobs:
        # Its environment is made once, from the services that run by then.
        measure(Airflow(Services(Layout.default())), figures, known, job, arguments.runs)


def measure(airflow: Airflow, figures: Figures, known: Runs, job: str, wanted: int) -> None:
    """Take one job's figures."""
    for number in range(len(known.of(job)) + 1, wanted + 1):
        run = demo(airflow, job)
        known.add(run)
        said = ", ".join(f"{answer.goal} {answer.status} {answer.label}" for answer in run.answers)
        print(f"{job} {number}: {run.minutes:.1f} min; {said}", flush=True)
    runs = known.of(job)
    figures.rate("actionable_rate", [a.status.is_answer for run in runs for a in run.answers], job=job)
    figures.add("minutes", [run.minutes for run in runs], "min", job=job)
    worse = []
    for name in dict.fromkeys(answer.study for run in runs for answer in run.answers):
        if changes := [change for change in distinct_changes(runs) if change.study == name]:
            gains = head_to_head(airflow, name, changes)
            worse += [gain is not None and gain.high < 1.0 for gain in gains]
            print("\n".join(map(_held, changes, gains)), flush=True)
    if worse:
        figures.rate("worse_rate", worse, job=job)


def _held(change: Answer, gain: Interval | None) -> str:
    against = f"{gain.value:.2f}x ({gain.low:.2f} to {gain.high:.2f})" if gain else "no ratio"
    return f"{change.study} {change.goal}: {change.label} {against} of what it replaces"


if __name__ == "__main__":
    main()
