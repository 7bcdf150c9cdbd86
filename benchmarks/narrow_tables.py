"""Made-up tables of many parameters in which a good configuration is rare, for the benchmark of the strategies.

Each is a sparse sample of a space far larger than itself, as measured tables of many parameters are: most rows differ
from every other one in several parameters, and most parameters hardly matter. A seeded generator makes them, so a
search can be chosen on half of them (`chosen_on`) and be judged on the other half.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from benchmarks.tables import Table

from pipeline_tuner.space import Configuration, Space, configuration_id

GOOD_SHARE = 0.002
SEEDS = range(1, 5)
NOISES = (0.03, 0.1, 0.3)
"""Coefficient of variation of one run; the tables take them in turn."""
INERT = 0.012
"""Standard deviation of what a parameter that doesn't matter does to the log of the figure, in units of the whole."""
MAX_SPREAD = 0.8
"""Standard deviation of the log of the figures at most."""
WORST = 3.0
"""The log of how many times slower than the best anything can be: the slowest configurations are much alike."""
LEVELS = {
    "switch": (False, True),
    "few": (1, 2, 4),
    "some": (1, 2, 4, 8, 16),
    "several": (1, 2, 3, 4, 6, 8, 12, 16),
}
MODES = ("insert", "copy", "bulk", "stream")


@dataclass(frozen=True)
class Narrow:
    """A table and how noisy one run on it is."""

    table: Table
    noise: float
    """Coefficient of variation."""


@dataclass(frozen=True)
class Sample:
    """Rows drawn from a space, with the place of each value in 0..1; an inactive parameter stands at its default."""

    space: Space
    rows: tuple[Configuration, ...]
    places: np.ndarray
    """Rows x parameters."""
    relevant: np.ndarray
    """The columns that matter, in random order."""


Surface = Callable[[Sample, np.random.Generator], np.ndarray]
"""The log of each row's seconds, in any unit: it is stretched until the good rows are as rare as wanted."""


def narrow_tables(*, chosen_on: bool) -> Iterator[Narrow]:
    """A table of each kind for each seed; those of odd seeds to choose on, those of even ones held back."""
    for number, (name, surface) in enumerate(SURFACES.items()):
        for seed in SEEDS:
            if (seed % 2 == 1) == chosen_on:
                table = _table(f"{name}-{seed}", surface, np.random.default_rng([number, seed]))
                yield Narrow(table, NOISES[(number + (seed - 1) // 2) % len(NOISES)])


def _table(name: str, surface: Surface, generator: np.random.Generator) -> Table:
    sample = _sample(name, generator)
    logs = surface(sample, generator)
    inert = np.setdiff1d(np.arange(sample.places.shape[1]), sample.relevant)
    logs = logs / logs.std() + sample.places[:, inert] @ generator.normal(0, INERT, len(inert))
    logs += generator.normal(0, INERT, len(logs))
    above = np.sort(logs - logs.min())
    allowed = max(round(GOOD_SHARE * len(logs)), 2)
    between = (above[allowed - 1] + above[allowed]) / 2
    stretched = (logs - logs.min()) * min(math.log(1.05) / between, MAX_SPREAD)
    figures = 20 * np.exp(WORST * np.tanh(stretched / WORST))
    return Table(name, sample.space, sample.rows, figures, larger_is_better=False)


def _sample(name: str, generator: np.random.Generator) -> Sample:
    kinds = [*["some"] * 3, *["several"] * 2, "few", *["switch"] * 3, *generator.choice(list(LEVELS), 5)]
    kinds = generator.permutation(kinds[: int(generator.integers(9, 15))])
    parameters = {f"p{i:02}": _parameter(str(kind)) for i, kind in enumerate(kinds)}
    if name.startswith("conditional"):
        parameters = {"mode": _listed("categorical", MODES), **parameters}
        for number, mode in enumerate(MODES):
            parameters[f"p{number:02}"] = {**_parameter("some"), "when": f"mode == '{mode}'"}
    space = Space.model_validate({"parameters": parameters})
    rows = _drawn(space, int(generator.integers(1000, 4000)), generator)
    places = [[p.position(row.get(n, p.default)) for n, p in space.parameters.items()] for row in rows]
    wide = [i for i, p in enumerate(space.parameters.values()) if len(p.values) > 2 and p.when is None]
    narrow = [i for i, p in enumerate(space.parameters.values()) if len(p.values) == 2]
    relevant = [*generator.permutation(wide)[:4], *generator.permutation(narrow)[:2]]
    return Sample(space, rows, np.array(places), np.array(relevant))


def _parameter(kind: str) -> dict:
    return _listed("categorical" if kind == "switch" else "float", LEVELS[kind])


def _listed(kind: str, values: tuple) -> dict:
    return {"type": kind, "values": values, "default": values[len(values) // 2]}


def _drawn(space: Space, count: int, generator: np.random.Generator) -> tuple[Configuration, ...]:
    found: dict[str, Configuration] = {}
    levels = {name: parameter.levels() for name, parameter in space.parameters.items()}
    for _ in range(20 * count):
        row = space.complete({name: known[generator.integers(len(known))] for name, known in levels.items()})
        found.setdefault(configuration_id(row), row)
        if len(found) == count:
            break
    return tuple(found.values())


def peak(sample: Sample, generator: np.random.Generator) -> np.ndarray:
    """Four parameters and two switches must all fit; two of the parameters must fit one another."""
    a, b, c, d, *switches = sample.places[:, sample.relevant].T
    target = generator.choice([0.2, 0.8], 4)
    away = 2 * (a - b) ** 2 + (a - target[0]) ** 2 + (c - target[2]) ** 2 + (d - target[3]) ** 2
    return np.sqrt(away) + sum(0.15 * np.abs(s - generator.integers(2)) for s in switches)


def bottleneck(sample: Sample, generator: np.random.Generator) -> np.ndarray:
    """The slowest of four stages counts, and workers beyond need crowd each other out."""
    stages = sample.places[:, sample.relevant[:4]]
    speed = generator.uniform(0.6, 1.4, 4)
    slowest = (1 / (speed * (0.1 + stages))).max(axis=1)
    crowd = 1 + np.maximum(stages.sum(axis=1) - 2, 0) ** 2
    switched = sample.places[:, sample.relevant[4:]].sum(axis=1)
    return np.log(slowest * crowd) + 0.15 * switched


def hills(sample: Sample, generator: np.random.Generator) -> np.ndarray:
    """Several basins; the deepest is the narrowest."""
    places = sample.places[:, sample.relevant]
    depths, found = np.linspace(0.5, 1.0, 5), np.zeros(len(places))
    for depth in depths:
        centre = sample.places[generator.integers(len(places)), sample.relevant]
        width = 0.9 - 0.5 * depth
        found = np.minimum(found, -depth * np.exp(-((places - centre) ** 2).sum(axis=1) / (2 * width**2)))
    return found


def agreement(sample: Sample, generator: np.random.Generator) -> np.ndarray:
    """Steps: each of six conditions helps a little, three of them together more, and all of them a lot."""
    places, wanted = sample.places[:, sample.relevant], generator.integers(0, 2, 6)
    least = np.array([0.7, 0.7, 0.8, 0.8, 1.0, 1.0])
    holds = np.where(wanted, places >= least, places <= 1 - least)
    alone = holds @ np.array([0.35, 0.3, 0.25, 0.25, 0.15, 0.1])
    return -alone - 0.4 * holds[:, :3].all(axis=1) - 0.4 * holds.all(axis=1)


def conditional(sample: Sample, generator: np.random.Generator) -> np.ndarray:
    """Each mode has a parameter of its own; the best mode is a little worse than the others unless that fits."""
    mode, own = sample.places[:, 0], sample.places[:, 1:5]
    best = int(generator.integers(4))
    shared = sample.places[:, sample.relevant[:2]]
    target = generator.choice([0.1, 0.9], (4, 3))
    found = np.zeros(len(own))
    for number in range(4):
        here = np.isclose(mode, number / 3)
        away = 0.5 * np.abs(own[:, number] - target[number, 0])
        away += np.abs(shared - target[number, 1:]) @ np.array([0.5, 0.3])
        found = np.where(here, 1.6 * away - 0.35 if number == best else 0.6 * away, found)
    return found + 0.1 * sample.places[:, sample.relevant[4:]].sum(axis=1)


def rough(sample: Sample, generator: np.random.Generator) -> np.ndarray:
    """A trend of six parameters, two of which meet, and a third as much that is each row's own."""
    places = sample.places[:, sample.relevant]
    trend = np.abs(places - generator.uniform(0, 1, places.shape[1])) @ generator.uniform(0.2, 1, places.shape[1])
    trend += 0.8 * np.abs(places[:, 0] - places[:, 1])
    return trend + generator.normal(0, 0.33 * trend.std(), len(trend))


def layers(sample: Sample, generator: np.random.Generator) -> np.ndarray:
    """Three parameters make most of the difference; among what they leave, three others decide by a few percent."""
    places, wanted = sample.places[:, sample.relevant], generator.integers(0, 2, 6)
    places = np.abs(places - wanted)
    coarse = np.maximum(places[:, 0] - 0.3, 0) + np.maximum(places[:, 1] - 0.5, 0) + 0.4 * places[:, 4]
    fine = np.abs(places[:, 2] - places[:, 3]) + 0.5 * places[:, 2] + 0.3 * places[:, 5]
    return coarse + 0.08 * fine


def lucky(sample: Sample, generator: np.random.Generator) -> np.ndarray:
    """A trend, and half as much that is each row's own, with heavy tails: the best rows are lucky ones."""
    places = sample.places[:, sample.relevant]
    trend = np.abs(places - generator.uniform(0, 1, places.shape[1])) @ generator.uniform(0.2, 1, places.shape[1])
    return trend + 0.5 * trend.std() * generator.standard_t(4, len(trend))


def trap(sample: Sample, generator: np.random.Generator) -> np.ndarray:
    """Everything leads one way; the best lies elsewhere, where four parameters meet."""
    places = np.abs(sample.places[:, sample.relevant] - generator.integers(0, 2, 6))
    trend = places @ np.array([0.5, 0.4, 0.3, 0.3, 0.2, 0.1])
    away = ((places[:, :4] - generator.uniform(0.5, 0.9, 4)) ** 2).sum(axis=1)
    return trend - 1.6 * np.exp(-away / (2 * 0.3**2))


SURFACES: dict[str, Surface] = {
    "peak": peak, "bottleneck": bottleneck, "hills": hills, "agreement": agreement, "conditional": conditional,
    "rough": rough, "layers": layers, "lucky": lucky, "trap": trap,
}  # fmt: skip
