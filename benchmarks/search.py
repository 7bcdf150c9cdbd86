"""Benchmark of the strategies: trials until a configuration within 5% of the best is measured, against random,
Sobol, grid and Optuna.

    PYTHONPATH=plugins:spark_jobs:. python -m benchmarks.search --seeds 50 --noise 0.03 0.1
    PYTHONPATH=plugins:spark_jobs:. python -m benchmarks.search --seeds 30 --narrow held_back --methods ours optuna

Tables of configurations play the machine (benchmarks/tables.py): their figures are the truth, to which noise, block
drift, lost trials and the tables' own failures are added. Everybody works in batches of 8 and sees the same noise; in
ours, one of the 8 is the control. Ours is driven through `plan_round`, as a sweep is.
Figures go to build/bench/search.jsonl; those of other tables and noises stay.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from benchmarks.narrow_tables import narrow_tables
from benchmarks.record import Figures
from benchmarks.tables import Table, tables

from pipeline_tuner.search.adaptive import Adaptive
from pipeline_tuner.search.encoding import Encoding
from pipeline_tuner.search.rounds import plan_round
from pipeline_tuner.space import configuration_id
from pipeline_tuner.study import Budget, Study
from pipeline_tuner.sweep import SweepOptions
from pipeline_tuner.trial import TrialPlan, TrialResult

BATCH = 8
CAP = 200
DRIFT = 0.03


@dataclass
class Machine:
    """Measures rows of a table with noise; remembers at which trial the first good row was measured."""

    table: Table
    noise: float
    lost: float
    seed: int
    tails: bool = False
    measured: int = 0
    found_at: float = math.inf
    rows: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.generator = np.random.default_rng([self.seed, 77])
        self.good, self.losses, self.rows = self.table.good, self.table.losses, self.table.index()
        self.drift = 0.0

    def new_block(self) -> None:
        """The machine gets a little faster or slower."""
        self.drift = self.generator.normal(0, DRIFT)

    def measure(self, row: int) -> float | None:
        """The seconds of one run; nan where the row fails, None where the trial is lost."""
        self.measured += 1
        error = self.generator.standard_t(3) / math.sqrt(3) if self.tails else self.generator.normal()
        if self.generator.random() < self.lost:
            return None
        if self.good[row] and math.isinf(self.found_at):
            self.found_at = self.measured
        loss = self.losses[row]
        return math.nan if math.isinf(loss) else loss * math.exp(self.drift + self.noise * error)

    @property
    def is_done(self) -> bool:
        """Whether there is nothing left to find out."""
        return self.measured >= CAP or not math.isinf(self.found_at)


def ours(machine: Machine, seed: int) -> None:
    """The adaptive strategy, through the sweep's own rounds. Only rows of the table may be proposed."""
    table = machine.table
    study, options = study_of(table), options_of(seed)
    strategy = Adaptive(rows=table.rows, worth=0.0)
    results: list[TrialResult] = []
    for number in range(1, options.budget.rounds + 1):
        plans = plan_round(study, options, results, number, strategy=strategy)
        if machine.is_done or not plans:
            return
        machine.new_block()
        results += [run(machine, plan) for plan in plans]


def run(machine: Machine, plan: TrialPlan) -> TrialResult:
    """One planned trial on the machine."""
    value = machine.measure(machine.rows[configuration_id(plan.configuration)])
    if value is None:
        return TrialResult(plan, "failed", failure="lost")
    if math.isnan(value):
        return TrialResult(plan, "failed", failure="out_of_memory")
    return TrialResult(plan, "measured", metrics={"seconds": value, "per_s": 1 / value})


def study_of(table: Table) -> Study:
    """A study whose control is the row nearest the centre that works."""
    points = Encoding(table.space, {}).points(table.rows)
    away = np.where(np.isfinite(table.losses), ((points - 0.5) ** 2).sum(axis=1), np.inf)
    goal = {"maximize": "per_s"} if table.larger_is_better else {"minimize": "seconds"}
    return Study.model_validate({
        "study": "table", "job": "table", "workload": {"name": table.name}, "space": table.space,
        "presets": {"centre": table.rows[int(away.argmin())]}, "control": "centre", "goals": {"speed": goal},
    })  # fmt: skip


def options_of(seed: int) -> SweepOptions:
    """Rounds of one control and seven new configurations, without end."""
    budget = Budget().model_copy(update={"trials": 10 * CAP, "rounds": 4 * CAP // BATCH, "batch": BATCH - 1})
    return SweepOptions(
        sweep_id=f"seed-{seed}", strategy="adaptive", goals=("speed",), size="full", seed=seed, budget=budget
    )


def by_chance(machine: Machine, seed: int) -> None:
    """Rows in random order."""
    _in_order(machine, np.random.default_rng(seed).permutation(len(machine.table.rows)))


def grid(machine: Machine, seed: int) -> None:
    """Rows in the grid's order, from a random place on."""
    start = np.random.default_rng(seed).integers(len(machine.table.rows))
    _in_order(machine, np.roll(np.arange(len(machine.table.rows)), -start))


def sobol(machine: Machine, seed: int) -> None:
    """The rows nearest to the points of a scrambled Sobol sequence."""
    from scipy.stats import qmc

    points = Encoding(machine.table.space, {}).points(machine.table.rows)
    sequence = qmc.Sobol(points.shape[1], scramble=True, seed=seed).random(256)
    _in_order(machine, [int(((points - point) ** 2).sum(axis=1).argmin()) for point in sequence])


def _in_order(machine: Machine, rows: Iterator[int]) -> None:
    for row in rows:
        if machine.is_done:
            return
        machine.measure(int(row))


def optuna(machine: Machine, seed: int) -> None:
    """Optuna's default sampler: ask 8, measure, tell 8; levels by rank, failures told as failed."""
    import optuna as library

    library.logging.set_verbosity(library.logging.ERROR)
    table = machine.table
    points = Encoding(table.space, {}).points(table.rows)
    study = library.create_study(sampler=library.samplers.TPESampler(seed=seed))
    while not machine.is_done:
        machine.new_block()
        trials = [study.ask() for _ in range(BATCH)]
        for trial, row in [(trial, _suggested(trial, table, points, machine.rows)) for trial in trials]:
            value = machine.measure(row)
            if value is None or math.isnan(value):
                study.tell(trial, state=library.trial.TrialState.FAIL)
            else:
                study.tell(trial, value)


def _suggested(trial, table: Table, points: np.ndarray, rows: dict[str, int]) -> int:
    values: dict = {}
    for name, parameter in table.space.parameters.items():
        levels = parameter.levels()
        if not table.space.is_active(name, values):
            continue
        if parameter.is_ordered:
            values[name] = levels[trial.suggest_int(name, 0, len(levels) - 1)]
        else:
            values[name] = trial.suggest_categorical(name, levels)
    row = rows.get(configuration_id(values))
    if row is not None:
        return row
    point = Encoding(table.space, {}).points([values])[0]
    return int(((points - point) ** 2).sum(axis=1).argmin())


METHODS: dict[str, Callable[[Machine, int], None]] = {
    "ours": ours, "optuna": optuna, "random": by_chance, "sobol": sobol, "grid": grid,
}  # fmt: skip


def trials_needed(
    method: str, table: Table, noise: float, lost: float, tails: bool, seeds: int
) -> tuple[np.ndarray, float]:
    """By seed, the trials until a good row was measured (infinite beyond the cap); and the seconds that it took."""
    found, start = [], time.perf_counter()
    for seed in range(seeds):
        machine = Machine(table, noise, lost, seed, tails)
        METHODS[method](machine, seed)
        found.append(machine.found_at)
    return np.array(found), time.perf_counter() - start


def quantile(found: np.ndarray, share: float) -> float:
    """A quantile in which "never" stays infinite."""
    return float(np.sort(found)[min(math.ceil(share * len(found)) - 1, len(found) - 1)])


def shown(value: float) -> str:
    """Trials, or that the cap was reached."""
    return f">{CAP}" if math.isinf(value) else f"{value:.0f}"


def compare(
    figures: Figures, table: Table, noise: float, lost: float, tails: bool, methods: list[str], seeds: int
) -> dict[str, np.ndarray]:
    """Take the figures of one table and noise; returns the trials needed by method and seed."""
    found = {}
    for method in methods:
        found[method], seconds = trials_needed(method, table, noise, lost, tails, seeds)
        print(
            f"{table.name:20} noise {noise:4.0%} lost {lost:3.0%} {'tails' if tails else '':5} {method:7} "
            f"median {shown(quantile(found[method], 0.5)):>4} p90 {shown(quantile(found[method], 0.9)):>4} "
            f"never {np.isinf(found[method]).mean():4.0%}  {seconds / seeds:.2f} s a seed",
            flush=True,
        )
    where = {"table": table.name, "noise": noise, "lost": lost, "tails": tails, "batch": BATCH}
    for method, trials in found.items():
        median, p90 = (min(quantile(trials, share), CAP) for share in (0.5, 0.9))
        low = float(trials.min()) if np.isfinite(trials).any() else CAP
        figures.put(f"trials.{method}", median, low=low, high=p90, n=seeds, unit="trials", **where)
    if {"ours", "optuna"} <= set(found):
        _ratios(figures, found["ours"], found["optuna"], where)
    return found


def compare_narrow(figures: Figures, arguments: argparse.Namespace) -> None:
    """Take the figures of the narrow tables, each at its own noise, and how often each method never got there."""
    methods, seeds = arguments.methods, arguments.seeds
    found = [
        compare(figures, narrow.table, narrow.noise, arguments.lost, arguments.tails, methods, seeds)
        for narrow in narrow_tables(chosen_on=arguments.narrow == "chosen_on")
        if not arguments.tables or narrow.table.name.startswith(tuple(arguments.tables))
    ]
    for method in methods:
        never = [bool(math.isinf(trials)) for table in found for trials in table[method]]
        rate = figures.rate(f"never.{method}", never, tables=arguments.narrow)
        interval = f"[{rate['low']:.1%}, {rate['high']:.1%}]"
        print(f"{arguments.narrow}: {method} never {rate['value']:.1%} {interval}", flush=True)


def _ratios(figures: Figures, ours: np.ndarray, theirs: np.ndarray, where: dict) -> None:
    generator = np.random.default_rng(0)
    for name, share in (("median", 0.5), ("p90", 0.9)):
        draws = [
            _ratio(generator.choice(ours, len(ours)), generator.choice(theirs, len(theirs)), share) for _ in range(1000)
        ]
        low, high = np.quantile(draws, [0.025, 0.975])
        value = _ratio(ours, theirs, share)
        print(f"{'':20} search.trials_vs_optuna_{name} {value:.2f} [{low:.2f}, {high:.2f}]", flush=True)
        figures.put(f"trials_vs_optuna_{name}", value, low=low, high=high, n=len(ours), unit="ratio", **where)


def _ratio(ours: np.ndarray, theirs: np.ndarray, share: float) -> float:
    """Ratio of quantiles; a quantile beyond the cap counts as the cap."""
    return min(quantile(ours, share), CAP) / min(quantile(theirs, share), CAP)


def main() -> None:
    """Run the comparison and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--noise", type=float, nargs="+", default=[0.03, 0.1])
    parser.add_argument("--lost", type=float, default=0.0)
    parser.add_argument("--tails", action="store_true")
    parser.add_argument("--tables", nargs="+", default=None, help="names; of narrow tables, what they begin with")
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--narrow", choices=["chosen_on", "held_back"], help="narrow tables, each at its own noise")
    arguments = parser.parse_args()
    known, figures = tables(), Figures("search", keep=True)
    if arguments.narrow:
        compare_narrow(figures, arguments)
        return
    for name in arguments.tables or known:
        for noise in arguments.noise:
            compare(figures, known[name], noise, arguments.lost, arguments.tails, arguments.methods, arguments.seeds)


if __name__ == "__main__":
    main()
