"""The reader for stretches whose files only Iceberg's reader for Spark knows: their rows, shuffled to the tasks.

Slower than tasks that read their files themselves (points_reader.py), and the same to the last bit.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import LongType, StructField, StructType

from pipeline_jobs.quantizer.columns import PointColumns
from pipeline_jobs.quantizer.coverage import Coverage, united
from pipeline_jobs.quantizer.points_reader import canonical
from pipeline_jobs.quantizer.rollup import POINT_COLUMNS, TIME
from pipeline_jobs.quantizer.source_table import SourceTable, points_at
from pipeline_jobs.quantizer.tasks import NeedsSpark, RangeResult, RangeTask, attempt, settled

LOG = logging.getLogger(__name__)
RollUp = Callable[[RangeTask, pa.Table], RangeResult]


def roll_up_by_spark(
    spark: SparkSession, source: SourceTable, left: Sequence[NeedsSpark], work: RollUp
) -> list[RangeResult]:
    """What `work` makes of each task's rows, in Spark tasks of their own; nothing for a task without rows.

    Raises JobError where a task refuses its rows.
    """
    LOG.warning("%d stretches go through Spark's reader, which is slower: %s", len(left), left[0].reason)
    tasks = [each.task for each in left]
    rows = points_at(spark, source).where(inside("wall_timestamp", united(task.stretch for task in tasks)))
    schema = StructType([*rows.schema.fields, StructField("task", LongType())])
    numbered = rows.mapInArrow(_numbering(tasks), schema)
    done = numbered.groupBy("task").applyInArrow(_working(tasks, source.columns, work), "outcome binary")
    return settled(pickle.loads(row["outcome"]) for row in done.collect())


def inside(column: str, stretches: Coverage) -> F.Column:
    """Whether a row's time lies in any of the stretches."""
    time_us = F.unix_micros(F.col(column))
    condition = F.lit(False)
    for after, until in stretches:
        condition |= (time_us > after) & (time_us <= until)
    return condition


def _numbering(tasks: Sequence[RangeTask]) -> Callable[[Iterable[pa.RecordBatch]], Iterable[pa.RecordBatch]]:
    """Gives each row the place of its task: stretches of tasks never overlap."""
    order = sorted(range(len(tasks)), key=lambda place: tasks[place].stretch)
    ends = np.array([tasks[place].stretch[1] for place in order])

    def number(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
        for batch in batches:
            times = batch.column("wall_timestamp").cast(TIME).cast(pa.int64()).to_numpy()
            places = np.array(order)[np.searchsorted(ends, times, side="left")]
            yield batch.append_column("task", pa.array(places, pa.int64()))

    return number


def _working(tasks: Sequence[RangeTask], columns: PointColumns, work: RollUp) -> Callable[[pa.Table], pa.Table]:
    def roll_up(rows: pa.Table) -> RangeResult:
        task = tasks[pc.min(rows["task"]).as_py()]
        return work(task, canonical([rows[name] for name in POINT_COLUMNS], columns))

    def pickled(rows: pa.Table) -> pa.Table:
        return pa.table({"outcome": pa.array([pickle.dumps(attempt(roll_up, rows))], pa.binary())})

    return pickled
