"""Benchmark of a second sweep of the same study: the trials it saves, and its answer against the first one's.

    PYTHONPATH=plugins:spark_jobs:. python -m benchmarks.second_sweep --seeds 20

Tables of configurations play the machine, as in benchmarks/search.py. A sweep runs as in Airflow, all rounds and the
confirmation; then a second one, with the first as its history (newest first), and one with a history of other data (the
same table with its gaps halved and its noise doubled). Counted are the trials until the first configuration truly
within 5% of the best is measured, and those of the whole sweep. Figures go to build/bench/search.jsonl.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from benchmarks.record import Figures
from benchmarks.search import Machine, run, study_of
from benchmarks.tables import Table, tables

from pipeline_tuner.search.adaptive import Adaptive
from pipeline_tuner.search.rounds import plan_confirmation, plan_round
from pipeline_tuner.study import Budget
from pipeline_tuner.sweep import SweepOptions
from pipeline_tuner.trial import TrialResult

TRIALS, ROUNDS, BATCH = 100, 8, 8


@dataclass(frozen=True)
class Swept:
    """One whole sweep."""

    results: tuple[TrialResult, ...]
    found_at: float
    """The trial at which a good configuration was measured first; infinite where none was."""


def sweep(
    table: Table, noise: float, seed: int, history: Sequence[TrialResult] = (), related: Sequence[TrialResult] = ()
) -> Swept:
    """All rounds and the confirmation."""
    budget = Budget().model_copy(update={"trials": TRIALS, "rounds": ROUNDS, "batch": BATCH})
    options = SweepOptions(
        sweep_id=f"sweep-{seed}", strategy="adaptive", goals=("speed",), size="full", seed=seed, budget=budget
    )
    machine, study = Machine(table, noise, 0.0, seed), study_of(table)
    results: list[TrialResult] = []
    for number in range(1, ROUNDS + 1):
        plans = plan_round(study, options, results, number, history, Adaptive(rows=table.rows), related)
        if not plans:
            break
        machine.new_block()
        results += [run(machine, plan) for plan in plans]
    machine.new_block()
    results += [run(machine, plan) for plan in plan_confirmation(study, options, results, history)]
    return Swept(tuple(results), machine.found_at)


def other_data(table: Table) -> Table:
    """The same order of configurations with smaller gaps: the workload of another size."""
    return replace(table, figures=np.sqrt(table.figures))


def compare(figures: Figures, table: Table, noise: float, seeds: int) -> None:
    """Take the figures of one table."""
    found: dict[str, list[Swept]] = {"first": [], "second": [], "other data": []}
    for seed in range(seeds):
        first = sweep(table, noise, seed)
        related = sweep(other_data(table), 2 * noise, 1000 + seed)
        found["first"].append(first)
        found["second"].append(sweep(table, noise, 2000 + seed, history=first.results[::-1]))
        found["other data"].append(sweep(table, noise, 3000 + seed, related=related.results[::-1]))
    for name, sweeps in found.items():
        reached = np.array([min(s.found_at, TRIALS) for s in sweeps])
        whole = np.array([len(s.results) for s in sweeps])
        never = np.mean([math.isinf(s.found_at) for s in sweeps])
        print(
            f"{table.name:20} noise {noise:.0%} {name:10} good after {np.median(reached):5.1f} trials "
            f"(never {never:.0%}), whole sweep {np.median(whole):5.1f}",
            flush=True,
        )
        about = {"table": table.name, "noise": noise, "sweep": name, "n": seeds, "unit": "trials"}
        for figure, values in (("second_sweep_trials_to_good", reached), ("second_sweep_trials", whole)):
            low, high = np.quantile(values, [0.25, 0.75])
            figures.put(figure, float(np.median(values)), low=float(low), high=float(high), **about)


def main() -> None:
    """Run the comparison and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--noise", type=float, nargs="+", default=[0.03, 0.1])
    parser.add_argument("--tables", nargs="+", default=None)
    arguments = parser.parse_args()
    known, figures = tables(), Figures("search", keep=True)
    for name in arguments.tables or known:
        for noise in arguments.noise:
            compare(figures, known[name], noise, arguments.seeds)


if __name__ == "__main__":
    main()
