"""Benchmark of the migration's sweep on the flights: a whole grid against an adaptive sweep with at most half
of its trials.

    make bench JOB=flights

48 configurations of the migration (method, cores, partitions, batch size) on an eighth of the flights. Both sweeps are
planned and judged by the code that the DAG runs, one after the other; then the two picks run side by side in fresh
blocks. Leaves build/bench/flights.jsonl, the adaptive sweep's analysis in build/bench/flights/, and the grid's figures
as a table that the simulator can replay (copy it to benchmarks/tables/).
"""

from __future__ import annotations

import argparse
import csv
import math
import statistics
import time
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.migration import Bench, _bench
from benchmarks.record import Figures

from pipeline_tuner.analysis.intervals import log_interval
from pipeline_tuner.measurement import Measurement, Sample
from pipeline_tuner.recommend import recommend
from pipeline_tuner.recommendation import Recommendation
from pipeline_tuner.report.written import write_report
from pipeline_tuner.search.rounds import plan_confirmation, plan_round
from pipeline_tuner.space import Configuration
from pipeline_tuner.study import Study
from pipeline_tuner.sweep import SweepOptions, sweep_options
from pipeline_tuner.trial import TrialPlan, TrialResult

PART = 0.125
FOLDER = Path("build/bench/flights")
STUDY = {
    "study": "flights",
    "job": "migration",
    "workload": {"name": "an eighth of the flights"},
    "space": {
        "parameters": {
            "method": {"type": "categorical", "values": ["copy", "jdbc"], "default": "jdbc"},
            "cores": {"type": "integer", "values": [1, 2], "default": 2},
            "partitions": {"type": "integer", "values": [1, 2, 4, 8, 16, 32], "default": 8},
            "batch_size": {
                "type": "integer", "values": [100, 1000, 5000], "default": 1000, "when": "method == 'jdbc'",
            },
        }
    },
    "presets": {"jdbc_8": {}, "copy_8": {"method": "copy"}},
    "control": "jdbc_8",
    "goals": {"time": {"minimize": "duration_s", "unit": "s"}},
    "prefer": "cores * 100 + partitions",
}  # fmt: skip
GRID = {"strategy": "grid", "trials": 153, "blocks": 3, "rounds": 1, "confirm_blocks": 3}
ADAPTIVE = {"strategy": "adaptive", "trials": 72, "blocks": 3, "rounds": 5, "confirm_blocks": 3, "indifference": 0.1}
FINAL_BLOCKS = 8


class Machine:
    """Runs planned trials, and keeps all of them."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    def seconds(self, configuration: Configuration) -> float:
        """One run of the work."""
        full = {"parallelism": 2, "fetch_size": 5000, **configuration}
        return self.bench.job(full, PART)

    def run(self, plan: TrialPlan) -> TrialResult:
        """A planned trial with its measurement."""
        begun = datetime.now(UTC)
        taken = self.seconds(plan.configuration)
        print(f"{plan.trial_id} {plan.label}: {taken:.2f} s", flush=True)
        measurement = Measurement(
            contract=1, job="migration", trial_id=plan.trial_id, status="measured", started_at=begun,
            ended_at=datetime.now(UTC), samples=(Sample(duration_s=taken),), metrics={"duration_s": taken},
        )  # fmt: skip
        return TrialResult.of(plan, measurement)

    def sweep(self, study: Study, options: SweepOptions) -> tuple[list[TrialResult], Recommendation]:
        """A sweep from the first plan to its answer."""
        results: list[TrialResult] = []
        for number in range(1, options.budget.rounds + 1):
            results += [self.run(plan) for plan in plan_round(study, options, results, number)]
        results += [self.run(plan) for plan in plan_confirmation(study, options, results)]
        return results, recommend(study, options, results)[0]


def side_by_side(machine: Machine, first: Configuration, second: Configuration) -> list[float]:
    """Log of the first's time over the second's, by block, the order taking turns."""
    ratios = []
    for block in range(FINAL_BLOCKS):
        order = [first, second] if block % 2 else [second, first]
        taken = [machine.seconds(configuration) for configuration in order]
        mine, other = taken if block % 2 else reversed(taken)
        ratios.append(math.log(mine / other))
    return ratios


def write_table(results: list[TrialResult], path: Path) -> None:
    """Each configuration's time as the median ratio to the control of its block, times the control's median."""
    search = [r for r in results if r.plan.phase == "search"]
    base = {r.plan.block: r.metrics["duration_s"] for r in search if r.plan.is_control}
    found: dict[str, list[float]] = defaultdict(list)
    rows = {}
    for r in search:
        found[r.plan.label].append(r.metrics["duration_s"] / base[r.plan.block])
        rows[r.plan.label] = {"batch_size": 1000, **r.plan.configuration}
    usual = statistics.median(base.values())
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["method", "Cores", "Partitions", "Batch_size", "Seconds-"])
        for label, ratios in found.items():
            row = rows[label]
            writer.writerow([
                row["method"], row["cores"], row["partitions"], row["batch_size"],
                f"{usual * statistics.median(ratios):.4f}",
            ])  # fmt: skip


def main() -> None:
    """Measure both sweeps, compare their picks, leave figures, table and analysis."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    seed = parser.parse_args().seed
    study = Study.model_validate(STUDY)
    FOLDER.mkdir(parents=True, exist_ok=True)
    with _bench(1) as bench:
        machine = Machine(bench)
        for candidate in study.preset_candidates:
            machine.seconds(candidate.configuration)
        begun = time.monotonic()
        grid, grid_answer = machine.sweep(study, sweep_options(study, "grid", {**GRID, "seed": seed}))
        write_table(grid, FOLDER / "flights-eighth.csv")
        between = time.monotonic()
        options = sweep_options(study, "adaptive", {**ADAPTIVE, "seed": seed})
        found, answer = machine.sweep(study, options)
        ended = time.monotonic()
        ratios = side_by_side(machine, answer.configuration or {}, grid_answer.configuration or {})
    write_report(FOLDER, study, options, found, [answer])
    write_report(FOLDER / "grid", study, sweep_options(study, "grid", GRID), grid, [grid_answer])
    _report(Figures("flights"), (grid, grid_answer, between - begun), (found, answer, ended - between), ratios)


def _report(figures: Figures, grid: tuple, adaptive: tuple, ratios: list[float]) -> None:
    for name, (results, answer, seconds) in {"grid": grid, "adaptive": adaptive}.items():
        figures.add(f"{name}_trials", [len(results)], "trials")
        figures.add(f"{name}_seconds", [seconds], "s")
        print(f"{name}: {len(results)} trials in {seconds:.0f} s; {answer.status}, {answer.label}. {answer.reason}")
    figures.add("trials_vs_grid", [len(adaptive[0]) / len(grid[0])], "ratio")
    interval = log_interval(ratios, 0.95)
    figures.add("pick_vs_grid_pick", [math.exp(ratio) for ratio in ratios], "ratio")
    print(
        f"adaptive's pick takes {interval.value:.3f} ({interval.low:.3f} to {interval.high:.3f}) times as long as the "
        f"grid's, {interval.n} fresh blocks"
    )


if __name__ == "__main__":
    main()
