"""Counts of records (read, kept, without key), taken while they pass, so that no count costs a job of its own."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark import SparkContext
from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F

from pipeline_jobs.dedup.options import Rule
from pipeline_jobs.dedup.strategies import DELETED, TIED, any_null


@dataclass(frozen=True)
class Counts:
    """What went in and came out. `rows` = `unique` + `duplicates` + `dropped`."""

    rows: int
    unique: int
    """Keys, those whose latest record deletes them included."""
    dropped: int
    """Records left out for a NULL in the key, or without a timestamp, where the rule says so."""
    null_timestamps: int
    ties: int
    """Keys whose declared order left records of different content: decided by content."""
    deletes: int

    @property
    def duplicates(self) -> int:
        """Records that a later one of the same key replaced."""
        return self.rows - self.unique - self.dropped

    def metrics(self) -> dict[str, float]:
        """For a measurement."""
        counts = {**asdict(self), "duplicates": self.duplicates}
        return {name: float(value) for name, value in counts.items()}


class CountsInTasks:
    """Counts of the source's records that Spark's tasks send to the driver, once for each task that ends."""

    def __init__(self, context: SparkContext) -> None:
        self._rows, self._dropped, self._null_timestamps = (context.accumulator(0) for _ in range(3))

    def add(self, rows: int, dropped: int, null_timestamps: int) -> None:
        """Within a task."""
        self._rows.add(rows)
        self._dropped.add(dropped)
        self._null_timestamps.add(null_timestamps)

    def seen(self) -> dict[str, Any]:
        """What was counted so far, as an observation has it. In the driver."""
        return {
            "rows": self._rows.value,
            "dropped": self._dropped.value,
            "null_timestamps": self._null_timestamps.value,
        }


class Counter:
    """Watches the records on their way in and the latest on their way out.

    A task that runs twice is counted twice where an executor was lost in between; the rows written never are.
    """

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._records = Observation()
        self._in_tasks: CountsInTasks | None = None
        self._latest = Observation()

    def on_records(self, records: DataFrame) -> DataFrame:
        """Count all records of the source."""
        rule = self._rule
        no_key, no_time = any_null(rule.key), F.col(rule.timestamp).isNull()
        dropped = (no_key & F.lit(rule.null_keys == "drop")) | (no_time & F.lit(rule.null_timestamps == "drop"))
        return records.observe(
            self._records,
            F.count(F.lit(1)).alias("rows"),
            F.count_if(dropped).alias("dropped"),
            F.count_if(no_time).alias("null_timestamps"),
        )

    def on_latest(self, latest: DataFrame) -> DataFrame:
        """Count the keys, ties and deletes."""
        return latest.observe(
            self._latest,
            F.count(F.lit(1)).alias("unique"),
            F.count_if(TIED).alias("ties"),
            F.count_if(DELETED).alias("deletes"),
        )

    def in_tasks(self, context: SparkContext) -> CountsInTasks:
        """Count all records of the source where tasks read them past Spark."""
        self._in_tasks = CountsInTasks(context)
        return self._in_tasks

    def counts(self) -> Counts:
        """What was counted, after the one action of a run."""
        seen = self._in_tasks.seen() if self._in_tasks else _seen(self._records)
        seen |= _seen(self._latest)
        return Counts(**{name: int(seen.get(name) or 0) for name in Counts.__dataclass_fields__})


def _seen(observation: Observation) -> dict[str, Any]:
    """Nothing where Spark found a source empty before it ran, and left the counters out with it."""
    try:
        return observation.get
    except Py4JJavaError:
        return {}
