"""Benchmark of a second sweep of the flights, on real databases of this machine.

    make bench JOB=second_sweep_flights

The first sweep starts with an empty results database, the second one knows the first. Good is a configuration whose
median over both sweeps is within a tenth of the best one's. Figures go to build/bench/search.jsonl:

- search.second_sweep_flights_trials_to_good: the trial that measured a good configuration first
- search.second_sweep_flights_trials_to_answer: the trials after which the leader is shown to be as near to the best as
  the first sweep showed it in the end (its regret bound over all its trials)
- search.second_sweep_flights_trials: all trials of the sweep
- search.second_sweep_flights_minutes_to_answer: the minutes of the trials up to the answer
"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.demos import emptied
from benchmarks.record import Figures

from pipeline_tuner.analysis.block_fit import BlockFit
from pipeline_tuner.analysis.evidence import Evidence, settled
from pipeline_tuner.analysis.interim_selection import search_selection
from pipeline_tuner.analysis.selection import regret_bound
from pipeline_tuner.local.airflow import Airflow
from pipeline_tuner.local.paths import Layout
from pipeline_tuner.local.services import Services, needs_of
from pipeline_tuner.recommendation import MIN_BLOCKS
from pipeline_tuner.space import configuration_id
from pipeline_tuner.store import Store
from pipeline_tuner.study import Study
from pipeline_tuner.sweep import SweepOptions
from pipeline_tuner.trial import TrialResult

GOOD = 1.1
METRIC, GOAL = "rows_per_s", "throughput"


@dataclass(frozen=True)
class Swept:
    """A sweep with its measured trials, in the order in which they ran."""

    study: Study
    options: SweepOptions
    trials: tuple[TrialResult, ...]


def swept(airflow: Airflow) -> Swept:
    """One more sweep of the study."""
    command = [sys.executable, "-m", "airflow", "dags", "test", "tune_migration", "-c", json.dumps({"size": "half"})]
    with Path(airflow.home, "second_sweep.log").open("w") as log:
        subprocess.run(command, env=airflow.process_environment(), stdout=log, stderr=log, check=True)
    with Store(airflow.services.postgres.uri("tuner")) as store, airflow.services.postgres.cursor("tuner") as cursor:
        cursor.execute("SELECT sweep_id FROM pipeline_tuner.sweep ORDER BY started_at DESC LIMIT 1")
        sweep = store.sweep(cursor.fetchone()[0])
        results = sorted(settled(store.results(sweep.sweep_id)), key=lambda r: (r.plan.round, r.plan.trial_id))
    return Swept(sweep.study_definition, sweep.options, tuple(r for r in results if r.measurement))


def bound_of(swept: Swept, count: int) -> float:
    """The regret bound of the leader after so many trials, among the finalists until then.

    Infinite until the leader was measured as often as a decision demands.
    """
    trials = swept.trials[:count]
    selection = search_selection(swept.study, swept.options, GOAL, trials)
    if selection.best is None or selection.standing(selection.best).n < MIN_BLOCKS:
        return math.inf
    found = Evidence(swept.study, swept.options, GOAL, trials).observations()
    return regret_bound(BlockFit.of(found), selection.best, [standing.label for standing in selection.standings])


def answered_at(swept: Swept, bound: float) -> int | None:
    """The trials after which the leader's regret bound is that small; None where it never was."""
    counts = range(1, len(swept.trials) + 1)
    return next((count for count in counts if bound_of(swept, count) <= bound), None)


def good_ones(trials: Sequence[TrialResult]) -> set[str]:
    """The identities of the configurations within GOOD of the best."""
    values: dict[str, list[float]] = {}
    for r in trials:
        values.setdefault(configuration_id(r.plan.configuration), []).append(r.metrics[METRIC])
    medians = {identity: statistics.median(found) for identity, found in values.items()}
    return {identity for identity, median in medians.items() if median * GOOD >= max(medians.values())}


def main() -> None:
    """Sweep twice and write the figures."""
    airflow, figures = Airflow(Services(Layout.default())), Figures("search", keep=True)
    airflow.services.start(needs_of("migration"))
    airflow.migrate()
    emptied(airflow)
    sweeps = {"first": swept(airflow), "second": swept(airflow)}
    report(figures, sweeps)


def report(figures: Figures, sweeps: Mapping[str, Swept]) -> None:
    """Write and print the figures."""
    good = good_ones([r for sweep in sweeps.values() for r in sweep.trials])
    bound = bound_of(sweeps["first"], len(sweeps["first"].trials))
    for name, sweep in sweeps.items():
        first = next(i for i, r in enumerate(sweep.trials, 1) if configuration_id(r.plan.configuration) in good)
        found: dict[str, float] = {"trials_to_good": first, "trials": len(sweep.trials)}
        answer = answered_at(sweep, bound)
        if answer is not None:
            found |= {"trials_to_answer": answer, "minutes_to_answer": minutes(sweep.trials[:answer])}
        for figure, value in found.items():
            unit = "min" if figure.startswith("minutes") else "trials"
            about = {"low": value, "high": value, "n": 1, "unit": unit, "sweep": name}
            figures.put(f"second_sweep_flights_{figure}", value, **about)
        print(f"{name} sweep, bound {bound:.0%}: {found}", flush=True)


def minutes(trials: Sequence[TrialResult]) -> float:
    """What the trials took together."""
    return (
        sum((r.measurement.ended_at - r.measurement.started_at).total_seconds() for r in trials if r.measurement) / 60
    )


if __name__ == "__main__":
    main()
