"""Tables of configurations with their true values: measured ones from CSV files, and made-up kinds."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline_tuner.space import Configuration, Space, configuration_id

FOLDER = Path(__file__).parent / "tables"
FILES = ("stream-processor-E.csv",)
"""A new table is one more CSV in the folder and its name here."""


@dataclass(frozen=True)
class Table:
    """Configurations with their true figure; it plays the machine."""

    name: str
    space: Space
    rows: tuple[Configuration, ...]
    figures: np.ndarray
    """The true figure of each row, above 0; nan where the configuration fails by its own fault."""
    larger_is_better: bool

    @property
    def losses(self) -> np.ndarray:
        """Figures oriented so that smaller is better; infinite where the row fails."""
        oriented = 1 / self.figures if self.larger_is_better else self.figures
        return np.where(np.isfinite(oriented), oriented, math.inf)

    @property
    def good(self) -> np.ndarray:
        """The rows truly within 5% of the best."""
        return self.losses <= self.losses.min() * (1 / 0.95 if self.larger_is_better else 1.05)

    def index(self) -> dict[str, int]:
        """Row by the identity of its configuration."""
        return {configuration_id(row): i for i, row in enumerate(self.rows)}


def tables() -> dict[str, Table]:
    """All tables by name: the files, then the made-up kinds."""
    found = [read_table(FOLDER / name) for name in FILES] + [make() for make in KINDS]
    return {table.name: table for table in found}


def read_table(path: Path) -> Table:
    """A table from a CSV file as the folder's README describes it; repeated rows are averaged."""
    with path.open(encoding="utf-8", newline="") as file:
        header, *lines = [line for line in csv.reader(file) if line]
    goals = [i for i, name in enumerate(header) if name.strip()[-1] in "+-"]
    inputs = [i for i, name in enumerate(header) if i not in goals and not name.strip().endswith("X")]
    names = {i: header[i].strip() for i in inputs}
    values = {i: [_cell(line[i].strip(), is_number=names[i][0].isupper()) for line in lines] for i in inputs}
    figures: dict[tuple, list[float]] = {}
    for number, line in enumerate(lines):
        text = line[goals[0]].strip()
        figures.setdefault(tuple(values[i][number] for i in inputs), []).append(
            math.nan if text == "?" else float(text)
        )
    rows = tuple(dict(zip(names.values(), key, strict=True)) for key in figures)
    truth = np.array([np.mean(found) for found in figures.values()])
    truth[~(truth > 0)] = math.nan
    space = _space({names[i]: values[i] for i in inputs})
    return Table(path.stem, space, rows, truth, larger_is_better=header[goals[0]].strip().endswith("+"))


def _cell(text: str, *, is_number: bool) -> float | int | str:
    if not is_number:
        return text
    number = float(text)
    return int(number) if number == int(number) else number


def _space(columns: dict[str, list]) -> Space:
    parameters = {}
    for name, values in columns.items():
        levels = sorted(set(values))
        kind = "categorical" if isinstance(levels[0], str) else "float"
        parameters[name] = {"type": kind, "values": levels, "default": levels[len(levels) // 2]}
    return Space.model_validate({"parameters": parameters})


def _made(name: str, space: dict, figure: Callable[[dict], float], constraints: tuple[str, ...] = ()) -> Table:
    """A full factorial of the space with seconds from a function (nan where it fails)."""
    checked = Space.model_validate({"parameters": space, "constraints": constraints})
    rows = tuple(checked.grid())
    defaults = {key: value["default"] for key, value in space.items()}
    figures = np.array([figure({**defaults, **row}) for row in rows])
    return Table(name, checked, rows, figures, larger_is_better=False)


def _levels(*values: float, default: float | None = None) -> dict:
    return {"type": "float", "values": values, "default": values[len(values) // 2] if default is None else default}


def _choice(*values: str) -> dict:
    return {"type": "categorical", "values": values, "default": values[0]}


def _switch(*, default: bool) -> dict:
    return {"type": "categorical", "values": [False, True], "default": default}


def interactions() -> Table:
    """Partitions want to fit cores, batches want to fit memory; the best is off every axis through the centre."""
    space = {
        "cores": _levels(1, 2, 4, 8, 16),
        "partitions": _levels(1, 2, 4, 8, 16, 32, 64, 128),
        "batch": _levels(10, 30, 100, 300, 1000, 3000, 10000),
        "memory": _levels(1, 2, 4, 8),
        "fetch": _levels(100, 1000, 10000),
    }

    def seconds(c: dict) -> float:
        waves = math.ceil(c["partitions"] / c["cores"]) * c["cores"] / c["partitions"]
        work = 100 * waves / c["cores"] ** 0.7 + 0.15 * c["partitions"] + 1.5 * c["cores"]
        pressure = c["cores"] * c["batch"] / (c["memory"] * 4000)
        return work * (1 + 3 / math.sqrt(c["batch"])) * (1 + pressure**1.5) + 4 * abs(
            math.log10(c["fetch"] / c["batch"])
        )

    return _made("interactions", space, seconds)


def cliffs() -> Table:
    """A cache that stops fitting, a broadcast threshold, a spill: steps of 40 to 150%."""
    space = {
        "broadcast_mb": _levels(1, 5, 10, 20, 50, 100, 200),
        "shuffle_partitions": _levels(10, 25, 50, 100, 200, 400, 800),
        "memory_gb": _levels(1, 2, 3, 4, 6, 8),
        "compress": _choice("none", "lz4", "zstd"),
        "batch": _levels(100, 500, 1000, 5000, 10000),
    }

    def seconds(c: dict) -> float:
        join = 30 if c["broadcast_mb"] < 20 else 12
        crowded = 2.5 if c["broadcast_mb"] * 12 > c["memory_gb"] * 1000 * 0.3 else 1.0
        spill = 1.6 if 20000 / c["shuffle_partitions"] > c["memory_gb"] * 60 else 1.0
        shuffle = {"none": 25, "lz4": 16, "zstd": 18}[c["compress"]] * spill + 0.04 * c["shuffle_partitions"]
        return join * crowded + shuffle + 10 / math.log10(c["batch"]) + 0.8 * c["memory_gb"]

    return _made("cliffs", space, seconds)


def failing() -> Table:
    """The fast corner lies next to a region where memory runs out, and some combinations are invalid."""
    space = {
        "executors": _levels(1, 2, 4, 6, 8, 12),
        "cores": _levels(1, 2, 4, 5, 8),
        "memory": _levels(1, 2, 4, 8, 16),
        "partitions": _levels(8, 16, 32, 64, 128, 256),
        "codec": _choice("snappy", "gzip", "zstd", "none"),
    }

    def seconds(c: dict) -> float:
        slots = c["executors"] * c["cores"]
        need = 220 / c["partitions"] * c["cores"] * (1.4 if c["codec"] == "none" else 1.0)
        if need > c["memory"] * 6 or c["executors"] * c["memory"] > 100 or slots > 64:
            return math.nan
        codec = {"snappy": 1.0, "gzip": 1.35, "zstd": 1.08, "none": 1.15}[c["codec"]]
        return (160 / slots**0.8 + 0.03 * c["partitions"] + 0.9 * c["executors"]) * codec + 0.2 * c["memory"]

    return _made("failing", space, seconds)


def plateaus() -> Table:
    """Most settings do nothing; only where three agree does it get fast, in steps."""
    space = {f"p{i}": _levels(1, 2, 3, 4) for i in range(6)}

    def seconds(c: dict) -> float:
        steps = (c["p0"] >= 3) + (c["p1"] <= 2) + (c["p0"] >= 3 and c["p1"] <= 2 and c["p2"] in (2, 3)) * 2
        return 60 - 8 * steps + 2 * (c["p3"] == 4) - 3 * (c["p4"] == 1 and c["p5"] >= 3)

    return _made("plateaus", space, seconds)


def conditional() -> Table:
    """Each method has parameters of its own, and the best method is not the default."""
    space = {
        "method": _choice("insert", "copy", "bulk"),
        "rows": {**_levels(1, 10, 100, 1000), "when": "method == 'insert'"},
        "buffer_kb": {**_levels(4, 16, 64, 256, 1024), "when": "method == 'copy'"},
        "binary": {**_switch(default=False), "when": "method == 'copy'"},
        "chunk": {**_levels(1, 2, 4, 8, 16), "when": "method == 'bulk'"},
        "workers": _levels(1, 2, 3, 4, 6, 8),
        "commit": _levels(100, 1000, 10000, 100000),
        "index": _choice("before", "after", "none"),
    }

    def seconds(c: dict) -> float:
        own = {
            "insert": 80 / c["rows"] ** 0.2,
            "copy": 22 + 2.5 * abs(math.log2(c["buffer_kb"] / 256)) - 5 * c["binary"],
            "bulk": 25 + 1.5 * abs(c["chunk"] - 8) ** 0.5,
        }[c["method"]]
        index = {"before": 1.5, "after": 1.1, "none": 1.0}[c["index"]]
        best = 4 if c["method"] == "copy" else 6
        return own * index * (1 + 0.05 * abs(c["workers"] - best)) + 1.2 * abs(math.log10(c["commit"] / 10000))

    return _made("conditional", space, seconds)


def many() -> Table:
    """Twelve parameters, of which four matter, two of them together: a random part of a space of millions."""
    generator = np.random.default_rng(12)
    space = {f"p{i:02}": _levels(*range(1, 2 + generator.integers(2, 6))) for i in range(12)}
    checked = Space.model_validate({"parameters": space})
    rows: dict[str, Configuration] = {}
    while len(rows) < 3000:
        row = {name: generator.choice(value["values"]).item() for name, value in space.items()}
        rows.setdefault(configuration_id(row), row)
    places = np.array(
        [[checked.parameters[name].position(value) for name, value in row.items()] for row in rows.values()]
    )
    figures = 20 * np.exp(
        0.9 * np.abs(places[:, 1] - places[:, 4]) + 0.7 * (places[:, 7] - 0.6) ** 2 + 0.5 * places[:, 9]
        + places[:, [0, 2, 3]] @ [0.05, -0.04, 0.03]
    )  # fmt: skip
    return Table("many", checked, tuple(rows.values()), figures, larger_is_better=False)


def rough() -> Table:
    """A smooth trend under as much roughness from configuration to configuration: little to learn."""
    generator = np.random.default_rng(7)
    space = {"a": _levels(*range(1, 9)), "b": _levels(*range(1, 9)), "c": _levels(*range(1, 6)), "d": _choice(*"uvwx")}
    own = {name: {level: generator.normal(0, 0.15) for level in value["values"]} for name, value in space.items()}

    def seconds(c: dict) -> float:
        trend = 0.08 * abs(c["a"] - 6) + 0.05 * abs(c["b"] - 2) + 0.02 * abs(c["a"] - c["b"])
        return 30 * math.exp(trend + sum(own[name][c[name]] for name in "cd") + generator.normal(0, 0.05))

    return _made("rough", space, seconds)


def options() -> Table:
    """A program's on/off options: most do next to nothing, a few matter, some only together, one pair is harmful."""
    generator = np.random.default_rng(21)
    names = ("cache", "compress", "encrypt", "index", "sync", "vacuum", "verify", "log", "trace", "defer")
    space: dict[str, dict] = {name: _switch(default=False) for name in names}
    space["level"] = _choice("low", "mid", "high")
    small = dict(zip(names, generator.normal(0, 0.012, len(names)), strict=True))

    def seconds(c: dict) -> float:
        effect = sum(small[name] * c[name] for name in names)
        effect += 0.55 * c["encrypt"] - 0.25 * c["cache"] + 0.3 * c["log"] - 0.12 * c["defer"]
        effect += {"low": 0.18, "mid": 0.0, "high": 0.1}[c["level"]]
        effect += 0.45 * (c["cache"] and c["sync"]) - 0.3 * (c["index"] and c["defer"]) + 0.25 * c["index"]
        effect -= 0.2 * (c["compress"] and c["level"] == "high")
        return 20 * math.exp(effect)

    return _made("options", space, seconds)


def spread() -> Table:
    """Figures over two orders of magnitude, most of it from how the parameters meet: a long tail of bad ones."""
    generator = np.random.default_rng(5)
    space = {
        "spouts": _levels(1, 3, 9, 27),
        "splitters": _levels(1, 2, 3, 6, 12),
        "counters": _levels(1, 3, 6, 9, 12, 18),
        "buffer": _levels(1000, 10000, 100000, 1000000),
        "ack": _switch(default=True),
        "heap": _choice("small", "large"),
    }

    def seconds(c: dict) -> float:
        rate = min(c["spouts"] * 9.0, c["splitters"] * 7.0, c["counters"] * 3.1) ** 0.9
        load = (c["spouts"] + c["splitters"] + c["counters"]) / (14 if c["heap"] == "large" else 9)
        crowd = 1 + max(load - 1, 0) ** 2 * 2
        wait = 1 + 0.35 * abs(math.log10(c["buffer"] / (30000 if c["ack"] else 300000)))
        return 900 / rate * crowd * wait * (1.15 if c["ack"] else 1.0) * math.exp(generator.normal(0, 0.03))

    return _made("spread", space, seconds)


def ties() -> Table:
    """Few distinct figures: many configurations are exactly equal, and one good region is small."""
    space = {
        "mode": _choice("sync", "async", "batch", "bulk", "none"),
        "threads": _levels(1, 2, 4, 8, 16, 32),
        "page": _levels(1, 4, 16, 64, 256),
        "direct": _switch(default=False),
        "group": _switch(default=False),
        "prefetch": _levels(0, 1, 2, 3),
    }

    def seconds(c: dict) -> float:
        width = min(c["threads"], {"sync": 1, "async": 8, "batch": 4, "bulk": 4, "none": 2}[c["mode"]])
        base = 24 - 5 * math.log2(width) / 3 * 2 - 3 * (c["page"] >= 64) - 2 * (c["group"] and c["mode"] == "batch")
        base -= 4 * (c["mode"] == "bulk" and c["page"] >= 16 and c["direct"]) - 2 * (c["threads"] > 8)
        return float(round(base - (c["prefetch"] == 2 and not c["direct"])))

    return _made("ties", space, seconds)


KINDS: tuple[Callable[[], Table], ...] = (
    interactions, cliffs, failing, plateaus, conditional, many, rough, options, spread, ties,
)  # fmt: skip
"""The last three were made after the search was, to see how it does on what it was not made for."""
