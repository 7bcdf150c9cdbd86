"""`make demo`: starts what is needed, runs a DAG as `airflow dags test` does, shows its progress, prints its answers.

A run makes a sweep of the job's study, and of those that its DAG names as companions.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import psutil
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from pipeline_tuner.exceptions import InfrastructureError
from pipeline_tuner.local.airflow import Airflow
from pipeline_tuner.local.postgres import PostgresServer
from pipeline_tuner.local.services import needs_of
from pipeline_tuner.recommendation import Recommendation, proposed_trials
from pipeline_tuner.report.terminal import summary
from pipeline_tuner.store import Store
from pipeline_tuner.store.records import SweepRecord
from pipeline_tuner.trial import TrialResult

POLL_S = 1.0
OPTIONS: dict[str, Mapping[str, Any]] = {
    "migration": {"strategy": "presets", "size": "half", "trials": 36},
    "quantizer": {"strategy": "presets"},
}
"""By study: what the demo's sweep has other than its study says, so that nobody waits for more than four minutes, or
six for the quantizer.

The presets that people believe in are few enough to be repeated until they are told apart; the study's own search
tries new configurations too.
"""

QUERY = (
    "SELECT label, status, round((metrics->>'duration_s')::numeric, 2) AS duration_s "
    "FROM pipeline_tuner.trial WHERE sweep_id = '{sweep_id}' ORDER BY started_at"
)


@dataclass(frozen=True)
class Demo:
    """One job's sweep on the demo's data."""

    airflow: Airflow
    job: str
    console: Console = field(default_factory=lambda: Console(highlight=False, soft_wrap=True))

    def run(self) -> int:
        """Run it; returns the exit code: 0 where the sweep recommends something.

        Raises InfrastructureError naming the studies that there are, where there is none of this name.
        """
        studies = self.airflow.services.layout.studies
        if self.job not in studies:
            raise InfrastructureError(f"there is no study {self.job!r}: choose JOB={', '.join(studies)}")
        begin = time.monotonic()
        needs = needs_of(self.job)
        self._step("PostgreSQL, the data and Spark's jars", lambda: self.airflow.services.start(needs))
        self._step("Airflow's metadata and the results' tables", self.airflow.migrate)
        with Store(self._postgres.uri("tuner")) as store:
            sweep_ids, exit_code = self._sweeps(store)
            self.console.print(f"{_minutes(time.monotonic() - begin)} in all\n")
            codes = [self._answer(store, sweep_id) for sweep_id in sweep_ids] or [self._answer(store, None)]
            self.console.print("\nThe page:   make ui     The end:   make stop", markup=False)
            return max(codes) or exit_code

    @property
    def _postgres(self) -> PostgresServer:
        return self.airflow.services.postgres

    def _step(self, name: str, work: Callable[[], object]) -> None:
        begin = time.monotonic()
        with self.console.status(f"{name} ..."):
            work()
        self.console.print(f"{name}: {time.monotonic() - begin:.1f} s")

    def _sweeps(self, store: Store) -> tuple[list[str], int]:
        """Run the DAG and follow its rows; returns its sweeps, none where it never started, and the exit code."""
        begun = datetime.now(UTC)
        self.airflow.home.mkdir(parents=True, exist_ok=True)
        with self._log.open("w", encoding="utf-8") as log, self._running(log) as process, self._progress() as progress:
            follower = Follower(self.console, progress, self._find_sweeps)
            while process.poll() is None:
                follower.look(store, begun)
                time.sleep(POLL_S)
            follower.look(store, begun)
        return follower.sweep_ids, process.returncode

    def _answer(self, store: Store, sweep_id: str | None) -> int:
        record = store.sweep(sweep_id) if sweep_id else None
        if record is None or not (recommendations := store.recommendations(record.sweep_id)):
            reason = record.reason if record else self._log_end()
            self.console.print(f"The sweep recommends nothing: {reason}\nWhat happened: {self._log}", markup=False)
            return 1
        self.console.print(f"\n{record.study}", style="bold", markup=False)
        self.console.print(summary(recommendations, store.results(record.sweep_id)), markup=False)
        query = QUERY.format(sweep_id=record.sweep_id)
        self.console.print(
            f'\nThe written analysis: {record.analysis_path}\nThe rows:   eval "$(make -s env)" && psql -c "{query}"',
            markup=False,
        )
        if command := longer_sweep(record, recommendations):
            self.console.print(f'More trials, by that estimate:   eval "$(make -s env)" && {command}', markup=False)
        return 0

    @property
    def _log(self) -> Path:
        return self.airflow.home / "demo.log"

    def _log_end(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return lines[-1] if lines else ""

    @contextmanager
    def _running(self, log: IO[str]) -> Iterator[subprocess.Popen[bytes]]:
        """`airflow dags test` of the job's DAG; however the demo ends, nothing of it runs on."""
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        conf = ["-c", json.dumps(OPTIONS[self.job])] if self.job in OPTIONS else []
        command = [sys.executable, "-m", "airflow", "dags", "test", f"tune_{self.job}", *conf]
        environment = self.airflow.process_environment()
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            yield process
        finally:
            if process.poll() is None:
                # make and an impatient user signal more than once: the end is not to be ended.
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                _end(process.pid)
                process.wait()

    def _progress(self) -> Progress:
        columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]
        return Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal)

    def _find_sweeps(self, begun: datetime) -> list[str]:
        with self._postgres.cursor("tuner") as cursor:
            cursor.execute(
                "SELECT sweep_id FROM pipeline_tuner.sweep WHERE dag_id = %s AND started_at >= %s ORDER BY started_at",
                (f"tune_{self.job}", begun),
            )
            return [row[0] for row in cursor.fetchall()]


def longer_sweep(record: SweepRecord, answers: Sequence[Recommendation]) -> str:
    """The command of a sweep with the trials that the answers ask for; empty where none asks, or for too many."""
    more = max((proposed_trials(answer.more_trials, record.options.budget.trials) for answer in answers), default=0)
    if not more:
        return ""
    conf = json.dumps({**OPTIONS.get(record.study, {}), "trials": record.planned + more})
    return f"airflow dags test tune_{record.study} -c '{conf}'"


@dataclass
class Follower:
    """Shows the rows of a run's sweeps as they come: a line a finished trial, and a bar with the sweep's time left."""

    console: Console
    progress: Progress
    find_sweeps: Callable[[datetime], list[str]]
    sweep_ids: list[str] = field(default_factory=list)
    shown: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.bar = self.progress.add_task("Airflow starts and checks", total=None)

    def look(self, store: Store, begun: datetime) -> None:
        """Show what is new."""
        before, self.sweep_ids = self.sweep_ids, self.find_sweeps(begun)
        # The last trials of a sweep may have ended in the second in which the next one began.
        for sweep_id in dict.fromkeys([*before[-1:], *self.sweep_ids[-1:]]):
            self._show(store.results(sweep_id))

    def _show(self, results: Sequence[TrialResult]) -> None:
        finished = [result for result in results if result.status in ("measured", "failed")]
        number = sum(result.plan.trial_id in self.shown for result in finished)
        for result in finished:
            if result.plan.trial_id not in self.shown:
                self.shown.add(result.plan.trial_id)
                number += 1
                self.console.print(_line(result, number, len(results)), markup=False)
        left = time_left_s(results)
        text = f"about {_minutes(left)} left" if left is not None else "preparing the workload"
        self.progress.update(self.bar, description=text, completed=len(finished), total=len(results) or None)


def time_left_s(results: Sequence[TrialResult]) -> float | None:
    """An estimate from the trials so far; None before the first has ended."""
    done = [result.measurement for result in results if result.measurement]
    if not done:
        return None
    span = max(one.ended_at for one in done) - min(one.started_at for one in done)
    waiting = sum(result.status in ("planned", "running") for result in results)
    return waiting * span.total_seconds() / len(done)


def _line(result: TrialResult, number: int, planned: int) -> str:
    plan = result.plan
    place = f"trial {number:>3} of {planned}  {plan.phase} block {plan.block}  {plan.label}"
    if result.status == "failed":
        return f"{place}  failed: {result.reason.splitlines()[0] if result.reason else result.failure}"
    rate = result.metrics.get("rows_per_s")
    return f"{place}  {result.metrics['duration_s']:.2f} s" + (f"  {rate:,.0f} rows/s" if rate else "")


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d} min"


def _end(pid: int) -> None:
    """End a process and all that it started."""
    process = psutil.Process(pid)
    family = [process, *process.children(recursive=True)]
    for member in family:
        member.terminate()
    _, alive = psutil.wait_procs(family, timeout=15)
    for member in alive:
        member.kill()
