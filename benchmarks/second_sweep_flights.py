"""What a second sweep of the flights saves on this machine: the study's own search, twice, on real databases.

    make bench JOB=second_sweep_flights

The first sweep starts with an empty results database, the second one knows the first. Good is a configuration whose
median over both sweeps is within a tenth of the best one's. Figures go to build/bench/search.jsonl:

- search.second_sweep_flights_trials_to_good: the trial that measured a good configuration first
- search.second_sweep_flights_trials: all trials of the sweep
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.demos import emptied
from benchmarks.record import Figures

from pipeline_tuner.local.airflow import Airflow
from pipeline_tuner.local.layout import Layout
from pipeline_tuner.local.services import Services, needs_of
from pipeline_tuner.space import configuration_id
from pipeline_tuner.store import Store
from pipeline_tuner.trial import TrialResult

GOOD = 1.1
METRIC = "rows_per_s"


def swept(airflow: Airflow) -> list[TrialResult]:
    """The measured trials of one more sweep of the study, in the order in which they ran."""
    command = [sys.executable, "-m", "airflow", "dags", "test", "tune_migration", "-c", json.dumps({"size": "half"})]
    with Path(airflow.home, "second_sweep.log").open("w") as log:
        subprocess.run(command, env=airflow.process_environment(), stdout=log, stderr=log, check=True)
    with Store(airflow.services.postgres.uri("tuner")) as store, airflow.services.postgres.cursor("tuner") as cursor:
        cursor.execute("SELECT sweep_id FROM pipeline_tuner.sweep ORDER BY started_at DESC LIMIT 1")
        results = store.results(cursor.fetchone()[0])
    measured = [r for r in results if r.measurement and METRIC in r.metrics]
    return sorted(measured, key=lambda r: r.plan.trial_id)


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
    good = good_ones([r for trials in sweeps.values() for r in trials])
    for name, trials in sweeps.items():
        first = next(i for i, r in enumerate(trials, 1) if configuration_id(r.plan.configuration) in good)
        for figure, value in (("trials_to_good", first), ("trials", len(trials))):
            about = {"low": value, "high": value, "n": 1, "unit": "trials", "sweep": name}
            figures.put(f"second_sweep_flights_{figure}", value, **about)
        print(f"{name} sweep: {len(trials)} trials, the first good one is number {first}", flush=True)


if __name__ == "__main__":
    main()
