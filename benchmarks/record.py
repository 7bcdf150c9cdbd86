"""What every benchmark leaves behind: one line of JSON per measured value in build/bench/<job>.jsonl."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FOLDER = Path("build/bench")
MEASURED = ("value", "unit", "low", "high", "n")
"""What differs when the same figure is taken again; the rest of a line says what it is about."""


class Figures:
    """The figures of one benchmark's run.

    An earlier run's are replaced: all of them, or, where `keep` is set (simulators run table by table), those that are
    taken again.
    """

    def __init__(self, job: str, *, keep: bool = False, prefix: str | None = None) -> None:
        FOLDER.mkdir(parents=True, exist_ok=True)
        self._prefix = prefix or job
        self._path = FOLDER / f"{job}.jsonl"
        if not keep or not self._path.exists():
            self._path.write_text("", encoding="utf-8")

    def add(self, name: str, values: Sequence[float], unit: str, **about: Any) -> float:
        """Record the median of repeated values, with the lowest and the highest, and return it."""
        value = statistics.median(values)
        self.put(name, value, low=min(values), high=max(values), n=len(values), unit=unit, **about)
        return value

    def rate(self, name: str, hits: Sequence[bool], **about: Any) -> dict[str, Any]:
        """Record how often something happened, with its 95% interval (Wilson, 1927); returns the line."""
        low, high = wilson(sum(hits), len(hits))
        value = sum(hits) / len(hits) if hits else math.nan
        return self.put(name, value, low=low, high=high, n=len(hits), **about)

    def put(
        self, name: str, value: float, *, low: float, high: float, n: int, unit: str = "", **about: Any
    ) -> dict[str, Any]:
        """Record a figure with its interval; `about` says what it is of (table, noise). Returns the line."""
        line = {
            "name": f"{self._prefix}.{name}",
            "value": value,
            "unit": unit,
            "low": low,
            "high": high,
            "n": n,
            **about,
        }
        kept = [known for known in self._lines() if _about(known) != _about(line)]
        text = "".join(f"{json.dumps(known)}\n" for known in [*kept, line])
        self._path.write_text(text, encoding="utf-8")
        return line

    def _lines(self) -> list[dict[str, Any]]:
        return [json.loads(text) for text in self._path.read_text(encoding="utf-8").splitlines()]


def _about(line: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in line.items() if key not in MEASURED}


def wilson(hits: int, n: int) -> tuple[float, float]:
    """The 95% interval of a rate."""
    if not n:
        return 0.0, 1.0
    z, rate = 1.96, hits / n
    center, half = rate + z * z / (2 * n), z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    return max(0.0, (center - half) / (1 + z * z / n)), min(1.0, (center + half) / (1 + z * z / n))
