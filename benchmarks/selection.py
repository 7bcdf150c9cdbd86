"""Benchmark of the selection: how often it is right, wrong or undecided, on made-up machines whose truth is known.

    PYTHONPATH=plugins:spark_jobs:. python -m benchmarks.selection --replications 500

Each replication measures K candidates block by block, as a sweep does, until the selection speaks or the budget of
five runs a candidate is spent. Blocks drift by 7%. A pick is *bad* when it is truly worse than the best by the
indifference zone or more. Figures go to build/bench/selection.jsonl; those of other cells stay.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
from benchmarks.record import Figures

from pipeline_tuner.analysis.block_fit import Observation
from pipeline_tuner.analysis.selection import Selection, confirmed_gain, select
from pipeline_tuner.recommendation import MIN_BLOCKS

Generator = np.random.Generator
ZONE = 0.05
DRIFT = 0.07
RUNS_A_CANDIDATE = 5
CONFIRM_BLOCKS = 5

TRUTHS: dict[str, Callable[[Generator, int], np.ndarray]] = {
    # Log times of the candidates; the best is somewhere, the first one is the control.
    "equal": lambda g, k: np.zeros(k),
    "one best, others 5% slower": lambda g, k: shuffled(g, np.r_[0.0, np.full(k - 1, math.log1p(ZONE))]),
    "one best, others 10% slower": lambda g, k: shuffled(g, np.r_[0.0, np.full(k - 1, math.log1p(0.10))]),
    "half best, half 5% slower": lambda g, k: shuffled(g, np.repeat([0.0, math.log1p(ZONE)], [k // 2, k - k // 2])),
    "spread 10%": lambda g, k: g.normal(0, 0.1, k),
    "spread 30%": lambda g, k: g.normal(0, 0.3, k),
}


def shuffled(generator: Generator, values: np.ndarray) -> np.ndarray:
    """The values in random order."""
    return generator.permutation(values)


def normal(generator: Generator, shape: tuple[int, int], cv: float) -> np.ndarray:
    """Log-normal noise."""
    return generator.normal(0, cv, shape)


def heavy(generator: Generator, shape: tuple[int, int], cv: float) -> np.ndarray:
    """Student's t with 3 degrees of freedom, scaled to the same standard deviation."""
    return generator.standard_t(3, shape) * cv / math.sqrt(3)


def stragglers(generator: Generator, shape: tuple[int, int], cv: float) -> np.ndarray:
    """One run in twenty takes 1.3 to 3 times as long."""
    slow = generator.random(shape) < 0.05
    return generator.normal(0, cv, shape) + slow * generator.uniform(math.log(1.3), math.log(3), shape)


def unequal(generator: Generator, shape: tuple[int, int], cv: float) -> np.ndarray:
    """Candidates from a third to three times as noisy as each other."""
    return (
        generator.normal(0, 1, shape) * cv * np.exp(generator.uniform(-math.log(3) / 2, math.log(3) / 2, (shape[0], 1)))
    )


TAILS = {"normal": normal, "heavy": heavy, "stragglers": stragglers, "unequal": unequal}


@dataclass(frozen=True)
class Outcome:
    """One replication."""

    selection: Selection
    runs: int
    candidates: int
    is_bad: bool
    is_covered: bool
    half_width: float


def replicate(generator: Generator, truth: np.ndarray, tails: Callable, cv: float, screen: bool) -> Outcome:
    """One sweep and its confirmation. `screen`: after one block only candidates within 40% of the leader go on."""
    count, budget = len(truth), RUNS_A_CANDIDATE * len(truth)
    noise = tails(generator, (count, 4 * budget), cv)
    drift = generator.normal(0, DRIFT, 4 * budget)
    found: list[Observation] = []
    labels = [str(i) for i in range(count)]
    members, block = labels, 0
    while True:
        found += [run_of(truth, noise, drift, label, block) for label in members]
        block += 1
        selection = select(found, control="0", indifference=ZONE, cap=budget // 3)
        if selection.status != "undecided" and block >= MIN_BLOCKS:
            break
        members = next_members(selection, labels, block, screen)
        if len(found) + len(members) > budget:
            break
    speaks = selection.status != "undecided"
    best = int(selection.best or 0)
    is_bad = speaks and truth[best] - truth.min() >= math.log1p(ZONE) - 1e-9
    fresh = [
        run_of(truth, noise, drift, label, b)
        for b in range(block, block + CONFIRM_BLOCKS)
        for label in {"0", str(best or 1)}
    ]
    gain = confirmed_gain(fresh, str(best or 1), "0")
    true_gain = math.exp(truth[0] - truth[best or 1])
    return Outcome(
        selection, len(found), count, is_bad, gain.low <= true_gain <= gain.high, math.log(gain.high / gain.low) / 2
    )


def next_members(selection: Selection, labels: list[str], block: int, screen: bool) -> list[str]:
    """What the next block holds: all until there are enough blocks, then what is still open."""
    if block >= MIN_BLOCKS:
        return list({"0", *selection.next_labels})
    if not screen:
        return labels
    return list({"0", *(s.label for s in selection.standings if s.worse_by <= 0.4)})


def run_of(truth: np.ndarray, noise: np.ndarray, drift: np.ndarray, label: str, block: int) -> Observation:
    """One run of a candidate."""
    i = int(label)
    return Observation(label, block, math.exp(truth[i] + drift[block] + noise[i, block]))


def simulate(truth: str, tails: str, cv: float, count: int, replications: int, screen: bool) -> list[Outcome]:
    """What becomes of so many made-up sweeps of one kind."""
    generator = np.random.default_rng(1)
    return [
        replicate(generator, TRUTHS[truth](generator, count), TAILS[tails], cv, screen) for _ in range(replications)
    ]


def take(figures: Figures, truth: str, tails: str, cv: float, count: int, replications: int, screen: bool) -> None:
    """Record and print the rates of one truth, tail, noise and number of candidates."""
    outcomes = simulate(truth, tails, cv, count, replications, screen)
    about = {"table": truth, "noise": cv, "tails": tails, "candidates": count, "screen": screen}
    wins = [o.selection.status == "best" for o in outcomes]
    rates = {
        "bad_pick_rate": [o.is_bad for o in outcomes],
        "abstention_rate": [o.selection.status == "undecided" for o in outcomes],
        "aa_winner_rate" if truth == "equal" else "winner_rate": wins,
        "interval_coverage": [o.is_covered for o in outcomes],
    }
    found = [figures.rate(name, hits, **about) for name, hits in rates.items()]
    spreads = {"runs": [o.runs / o.candidates for o in outcomes], "half_width": [o.half_width for o in outcomes]}
    for name, values in spreads.items():
        low, value, high = (float(x) for x in np.quantile(values, [0.25, 0.5, 0.75]))
        figures.put(
            name, float(np.mean(values)) if name == "runs" else value, low=low, high=high, n=replications, **about
        )
    shown = "  ".join(f"{line['name'].split('.')[1]} {line['value']:5.3f}" for line in found)
    runs = float(np.mean(spreads["runs"]))
    print(f"{truth:27} {tails:10} cv {cv:4.2f} k {count:2} {shown}  runs {runs:.2f}", flush=True)


def cells_parser(description: str | None) -> argparse.ArgumentParser:
    """The options that name cells of the simulation."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replications", type=int, default=500)
    parser.add_argument("--counts", type=int, nargs="+", default=[3, 10])
    parser.add_argument("--cvs", type=float, nargs="+", default=[0.03, 0.1, 0.3])
    parser.add_argument("--truths", nargs="+", choices=list(TRUTHS), default=list(TRUTHS))
    parser.add_argument("--tails", nargs="+", choices=list(TAILS), default=list(TAILS))
    return parser


def main() -> None:
    """Run the cells that were asked for, and record their figures."""
    parser = cells_parser(__doc__)
    parser.add_argument("--screen", action="store_true")
    arguments = parser.parse_args()
    figures = Figures("selection", keep=True)
    for truth, tails, cv, count in product(arguments.truths, arguments.tails, arguments.cvs, arguments.counts):
        take(figures, truth, tails, cv, count, arguments.replications, arguments.screen)


if __name__ == "__main__":
    main()
