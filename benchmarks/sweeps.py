"""Benchmark of whole sweeps on tables: search, repeats, selection, confirmation and recommendation, against the
truth.

    PYTHONPATH=plugins:spark_jobs:. python -m benchmarks.sweeps --seeds 50 --noise 0.03 0.1 0.3

Each seed is one sweep of 80 trials in 8 rounds, planned and judged by the code that the DAG runs. Figures, by table
and noise, go to build/bench/selection.jsonl; those of other tables and noises stay:

- selection.bad_pick_rate: it spoke, and its pick is truly worse than the best measured candidate by 5% or more
- selection.abstention_rate: it did not speak
- selection.interval_coverage: the confirmed gain's interval holds the true gain
- selection.regret: how much worse the pick is than the table's best (median), whether it spoke or not
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

import numpy as np
from benchmarks.record import Figures
from benchmarks.search import Machine, run, study_of
from benchmarks.tables import Table, tables

from pipeline_tuner.exceptions import NoRecommendationError
from pipeline_tuner.recommend import recommend
from pipeline_tuner.search.adaptive import Adaptive
from pipeline_tuner.search.rounds import plan_confirmation, plan_round
from pipeline_tuner.space import configuration_id
from pipeline_tuner.study import Budget
from pipeline_tuner.sweep import SweepOptions
from pipeline_tuner.trial import TrialResult

BUDGET = Budget(trials=80, rounds=8, batch=7)


@dataclass(frozen=True)
class Verdict:
    """One sweep's answer held against the truth."""

    spoke: bool
    is_bad: bool
    is_covered: bool | None
    """None without a confirmed gain."""
    regret: float
    trials: int


def sweep(table: Table, noise: float, lost: float, tails: bool, seed: int) -> Verdict:
    """One sweep from the first plan to the recommendation."""
    machine = Machine(table, noise, lost, seed, tails)
    study = study_of(table)
    options = SweepOptions(
        sweep_id=f"seed-{seed}", strategy="adaptive", goals=("speed",), size="full", seed=seed, budget=BUDGET
    )
    results: list[TrialResult] = []
    for number in range(1, BUDGET.rounds + 1):
        results += _measured(machine, plan_round(study, options, results, number, strategy=Adaptive(rows=table.rows)))
    results += _measured(machine, plan_confirmation(study, options, results))
    try:
        (answer,) = recommend(study, options, results)
    except NoRecommendationError:
        return Verdict(False, False, None, math.inf, len(results))
    return _judged(machine, results, answer)


def _measured(machine: Machine, plans) -> list[TrialResult]:
    found, block = [], None
    for plan in plans:
        if plan.block != block:
            machine.new_block()
            block = plan.block
        found.append(run(machine, plan))
    return found


def _judged(machine: Machine, results: list[TrialResult], answer) -> Verdict:
    losses = {r.plan.label: machine.losses[machine.rows[configuration_id(r.plan.configuration)]] for r in results}
    seen = min(losses[r.plan.label] for r in results if r.status == "measured")
    pick = losses[answer.label] if answer.label else math.inf
    spoke = answer.status != "undecided"
    control = next(losses[r.plan.label] for r in results if r.plan.is_control)
    covered = answer.gain.low <= control / pick <= answer.gain.high if answer.gain and answer.gain.n > 1 else None
    return Verdict(spoke, spoke and pick >= 1.05 * seen, covered, pick / machine.losses.min() - 1, len(results))


def take(figures: Figures, table: Table, noise: float, lost: float, tails: bool, seeds: int) -> list[dict]:
    """Run the sweeps of a table, and record the rates over seeds."""
    verdicts = [sweep(table, noise, lost, tails, seed) for seed in range(seeds)]
    where = {"table": table.name, "noise": noise, "lost": lost, "tails": tails}
    rates = {
        "bad_pick_rate": [v.is_bad for v in verdicts],
        "abstention_rate": [not v.spoke for v in verdicts],
        "interval_coverage": [v.is_covered for v in verdicts if v.is_covered is not None],
    }
    found = [figures.rate(name, hits, **where) for name, hits in rates.items()]
    for name, values in {"regret": [v.regret for v in verdicts], "trials": [v.trials for v in verdicts]}.items():
        low, value, high = (float(x) for x in np.quantile(values, [0.25, 0.5, 0.75]))
        found.append(figures.put(name, value, low=low, high=high, n=seeds, **where))
    return found


def main() -> None:
    """Run the sweeps and record their figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--noise", type=float, nargs="+", default=[0.03, 0.1, 0.3])
    parser.add_argument("--lost", type=float, default=0.0)
    parser.add_argument("--tails", action="store_true")
    parser.add_argument("--tables", nargs="+", default=None)
    arguments = parser.parse_args()
    known, figures = tables(), Figures("selection", keep=True)
    for name in arguments.tables or known:
        for noise in arguments.noise:
            found = take(figures, known[name], noise, arguments.lost, arguments.tails, arguments.seeds)
            shown = "  ".join(f"{f['name'].split('.')[1]} {f['value']:.3f}" for f in found)
            print(f"{name:20} noise {noise:4.0%} {shown}", flush=True)


if __name__ == "__main__":
    main()
