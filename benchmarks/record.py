"""What every benchmark leaves behind: a line of JSON a figure in build/bench/<job>.jsonl."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path("build/bench")


class Figures:
    """The figures of one benchmark's run; an earlier run's are replaced."""

    def __init__(self, job: str) -> None:
        FOLDER.mkdir(parents=True, exist_ok=True)
        self._job = job
        self._path = FOLDER / f"{job}.jsonl"
        self._path.write_text("", encoding="utf-8")

    def add(self, name: str, values: Sequence[float], unit: str) -> float:
        """Record the median of repeated values, with the lowest and the highest, and return it."""
        line = {
            "name": f"{self._job}.{name}",
            "value": statistics.median(values),
            "unit": unit,
            "low": min(values),
            "high": max(values),
            "n": len(values),
        }
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        return line["value"]
