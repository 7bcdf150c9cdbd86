"""Benchmark of decisions: how often one is wrong, and what following it costs, on made-up sweeps whose truth is
known.

    PYTHONPATH=plugins:spark_jobs:. python -m benchmarks.decisions --replications 500

Each replication searches K candidates as benchmarks/selection.py does, then measures the pick, the control and the
reference (what runs now: the control in every second replication, any candidate in the others) in five fresh blocks,
and decides. Regret is the fraction by which the best candidate is truly better than what the decision leaves running:
an undecided sweep leaves the reference. The rivals name a candidate from as many trials: the best of one run each, the
best mean of three, and Optuna's best trial; they promise nothing about what runs now.
Figures go to build/bench/selection.jsonl, as `decision.*`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from benchmarks.record import Figures
from benchmarks.selection import (
    CONFIRM_BLOCKS,
    DRIFT,
    RUNS_A_CANDIDATE,
    TAILS,
    TRUTHS,
    ZONE,
    Generator,
    cells_parser,
    next_members,
    run_of,
)

from pipeline_tuner.analysis.block_fit import Observation
from pipeline_tuner.analysis.decision import Decision
from pipeline_tuner.analysis.selection import select
from pipeline_tuner.recommendation import MIN_BLOCKS, DecisionStatus

OPTUNA_REPLICATIONS = 100


@dataclass(frozen=True)
class Machine:
    """True log times, noise by candidate and run, drift by block."""

    truth: np.ndarray
    noise: np.ndarray
    drift: np.ndarray

    @classmethod
    def of(cls, generator: Generator, truth: np.ndarray, tails: Callable, cv: float) -> Machine:
        """A machine for sweeps over these truths."""
        blocks = 4 * RUNS_A_CANDIDATE * len(truth)
        return cls(truth, tails(generator, (len(truth), blocks), cv), generator.normal(0, DRIFT, blocks))

    def run(self, label: str, block: int) -> Observation:
        """One run of a candidate."""
        return run_of(self.truth, self.noise, self.drift, label, block)

    def regret(self, label: str) -> float:
        """The fraction by which the best candidate is truly better."""
        return math.expm1(float(self.truth[int(label)] - self.truth.min()))


@dataclass(frozen=True)
class Outcome:
    """One replication."""

    status: DecisionStatus
    is_worse: bool
    is_bound_missed: bool
    is_covered: bool
    """Whether the stated gain over the reference holds the truth; true where none is stated."""
    regret: float
    bound: float
    trials: int


def replicate(generator: Generator, machine: Machine, reference: str) -> Outcome:
    """One sweep with its confirmation and decision."""
    found, block = _searched(machine)
    labels = [str(i) for i in range(len(machine.truth))]
    cap = RUNS_A_CANDIDATE * len(labels) // 3
    decision = Decision(found, (), labels, "0", reference, indifference=ZONE, cap=cap)
    members = {"0", reference, _pick(decision)}
    fresh = [machine.run(x, b) for b in range(block, block + CONFIRM_BLOCKS) for x in sorted(members)]
    decision = Decision(found, fresh, labels, "0", reference, indifference=ZONE, cap=cap)
    runs_now = decision.label if decision.status.is_answer else reference
    regret, bound = machine.regret(runs_now or reference), decision.regret_bound
    truth = machine.truth
    gain = decision.reference_gain
    true_gain = math.exp(truth[int(reference)] - truth[int(decision.pick or reference)])
    return Outcome(
        decision.status,
        bool(truth[int(runs_now or reference)] > truth[int(reference)] + 1e-9),
        decision.status.is_answer and bound is not None and regret > bound + 1e-9,
        gain is None or gain.low - 1e-9 <= true_gain <= gain.high + 1e-9,
        regret,
        math.nan if bound is None else bound,
        len(found) + len(fresh),
    )


def _pick(decision: Decision) -> str:
    selection = decision.selection
    return selection.interchangeable[0] if selection.interchangeable else selection.best or "0"


def _searched(machine: Machine) -> tuple[list[Observation], int]:
    """The search's observations, and the next block: until the selection speaks, or the budget is spent."""
    labels = [str(i) for i in range(len(machine.truth))]
    budget, members, block = RUNS_A_CANDIDATE * len(labels), labels, 0
    found: list[Observation] = []
    while len(found) + len(members) <= budget:
        found += [machine.run(label, block) for label in members]
        block += 1
        selection = select(found, control="0", indifference=ZONE, cap=budget // 3)
        if selection.status != "undecided" and block >= MIN_BLOCKS:
            break
        members = next_members(selection, labels, block, screen=False)
    return found, block


def best_of(machine: Machine, runs: int) -> float:
    """The regret of the candidate with the best mean of so many runs, one after another."""
    count = len(machine.truth)
    order = np.arange(runs * count).reshape(count, runs)
    times = machine.truth[:, None] + machine.noise[:, :runs] + machine.drift[order % len(machine.drift)]
    return machine.regret(str(int(np.exp(times).mean(axis=1).argmin())))


def optuna_best(machine: Machine, trials: int, seed: int) -> float:
    """The regret of Optuna's best trial among as many trials."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    done = [0] * len(machine.truth)

    def objective(trial: optuna.Trial) -> float:
        i = int(trial.suggest_categorical("candidate", [str(i) for i in range(len(machine.truth))]))
        done[i] += 1
        return math.exp(machine.truth[i] + machine.noise[i, done[i]] + machine.drift[trial.number % len(machine.drift)])

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    study.optimize(objective, n_trials=trials)
    return machine.regret(study.best_params["candidate"])


def take(figures: Figures, truth: str, tails: str, cv: float, count: int, replications: int) -> None:
    """Record and print the figures of one truth, tail, noise and number of candidates."""
    generator, outcomes = np.random.default_rng(2), []
    regrets: dict[str, list[float]] = {"best of one": [], "best of three": [], "Optuna": []}
    for number in range(replications):
        machine = Machine.of(generator, TRUTHS[truth](generator, count), TAILS[tails], cv)
        outcomes.append(replicate(generator, machine, "0" if number % 2 else str(generator.integers(count))))
        regrets["best of one"].append(best_of(machine, 1))
        regrets["best of three"].append(best_of(machine, 3))
        if number < OPTUNA_REPLICATIONS:
            regrets["Optuna"].append(optuna_best(machine, outcomes[-1].trials, number))
    about = {"table": truth, "noise": cv, "tails": tails, "candidates": count}
    record(figures, outcomes, regrets, about)


def record(
    figures: Figures, outcomes: Sequence[Outcome], regrets: dict[str, list[float]], about: dict[str, object]
) -> None:
    """Write and print one cell's figures."""
    rates = {
        "worse_than_reference_rate": [o.is_worse for o in outcomes],
        "regret_bound_miss_rate": [o.is_bound_missed for o in outcomes],
        "interval_coverage": [o.is_covered for o in outcomes],
        "actionable_rate": [o.status.is_answer for o in outcomes],
    }
    if about["table"] == "equal":
        rates["aa_better_rate"] = [o.status.is_change for o in outcomes]
    lines = [figures.rate(name, hits, **about) for name, hits in rates.items()]
    everyone = {"ours": [o.regret for o in outcomes], **regrets}
    for name, values in everyone.items():
        mean, half = float(np.mean(values)), 1.96 * float(np.std(values)) / math.sqrt(len(values))
        figures.put("mean_regret", mean, low=mean - half, high=mean + half, n=len(values), who=name, **about)
    shown = "  ".join(f"{line['name'].split('.')[1].split('_rate')[0]} {line['value']:.3f}" for line in lines)
    means = "  ".join(f"{name} {np.mean(values):.3f}" for name, values in everyone.items())
    bounds = [o.bound for o in outcomes if math.isfinite(o.bound)]
    bound = float(np.median(bounds)) if bounds else math.nan
    cell = f"{about['table']:27} {about['tails']:10} cv {about['noise']:4.2f} k {about['candidates']:2}"
    print(f"{cell} {shown}  bound {bound:.3f}  regret: {means}", flush=True)


def main() -> None:
    """Run the cells that were asked for, and record their figures."""
    arguments = cells_parser(__doc__).parse_args()
    figures = Figures("selection", keep=True, prefix="decision")
    for truth, tails, cv, count in product(arguments.truths, arguments.tails, arguments.cvs, arguments.counts):
        take(figures, truth, tails, cv, count, arguments.replications)


if __name__ == "__main__":
    main()
