"""Benchmark of drift, and its critical values: false alarms on quiet nights, and how soon a loss is found. By
simulation.

Each night is one figure of production and one of the control, with independent noise of 5%. Figures, by noise:
`drift.false_alarm_rate` (60 quiet nights), `drift.nights_to_detect` (median for a loss of 10%, by the nights known
before) and `drift.machine_called_job` (a slower machine that is reported as a slower job). Rates have their Wilson
interval. `python -m benchmarks.drift`; figures go to build/bench/drift.jsonl.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator

import numpy as np
from benchmarks.record import Figures

from pipeline_tuner.monitoring.drift import Change, changes

NOISE, LOSS, QUIET, PATIENCE = 0.05, 0.10, 60, 14
KNOWN_NIGHTS = (20, 30, 45, 60)

Noise = Callable[[np.random.Generator, int], np.ndarray]
NOISES: dict[str, Noise] = {
    "normal": lambda generator, n: generator.standard_normal(n),
    "heavy_tails": lambda generator, n: generator.standard_t(4, n) / math.sqrt(2),
}


def quiet_alarms(noise: Noise, histories: int) -> list[bool]:
    """For each quiet history, whether it raised an alarm."""
    generator = np.random.default_rng(1)
    return [bool(_changes(noise, generator, QUIET, 0)) for _ in range(histories)]


def waits(noise: Noise, known: int, histories: int, *, machine: bool) -> list[tuple[int, Change | None]]:
    """For each history with a loss after the known nights: the nights until it was told, and the change."""
    generator = np.random.default_rng(2)
    found = []
    for _ in range(histories):
        told = [c for c in _changes(noise, generator, known, PATIENCE, machine=machine) if c.noticed >= known]
        found.append((told[0].noticed - known + 1, told[0]) if told else (PATIENCE + 1, None))
    return found


def _changes(
    noise: Noise, generator: np.random.Generator, quiet: int, after: int, *, machine: bool = False
) -> tuple[Change, ...]:
    shift = np.r_[np.zeros(quiet), np.full(after, math.log1p(LOSS))]
    production = NOISE * noise(generator, quiet + after) + shift
    control = NOISE * noise(generator, quiet + after) + (shift if machine else 0.0)
    return changes(np.exp(production).tolist(), np.exp(control).tolist())


def take(figures: Figures, histories: int) -> Iterator[dict[str, object]]:
    """All figures, each with its interval."""
    for name, noise in NOISES.items():
        yield figures.rate("false_alarm_rate", quiet_alarms(noise, histories), table=name, noise=NOISE, nights=QUIET)
        for known in KNOWN_NIGHTS:
            nights = [wait for wait, _ in waits(noise, known, histories, machine=False)]
            low, median, high = (float(value) for value in np.percentile(nights, [25, 50, 75]))
            about = {"unit": "nights", "table": name, "noise": NOISE, "known": known}
            yield figures.put("nights_to_detect", median, low=low, high=high, n=histories, **about)
        told = [change for _, change in waits(noise, 30, histories, machine=True) if change]
        yield figures.rate("machine_called_job", [c.cause == "job" for c in told], table=name, noise=NOISE, known=30)


def main() -> None:
    """Simulate, print and leave the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--histories", type=int, default=1000)
    for line in take(Figures("drift"), parser.parse_args().histories):
        where = " ".join(f"{key}={line[key]}" for key in ("table", "known", "nights") if key in line)
        print(f"{line['name']:26} {where:24} {line['value']:.3f} ({line['low']:.3f} to {line['high']:.3f})", flush=True)


if __name__ == "__main__":
    main()
