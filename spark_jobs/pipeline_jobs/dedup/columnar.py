"""The strategy `columnar`: a columnar engine reduces the files inside Spark's tasks, before anything is shuffled.

Spark keeps what it is good at: it shares out the tasks, repeats those that fail, and commits. With one task nothing is
shuffled at all; with several, the first record of each task and key goes through one shuffle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import BooleanType, StructField, StructType

from pipeline_jobs.dedup.columnar_source import ColumnarPlan
from pipeline_jobs.dedup.columnar_task import Reduction, Totals, survivors
from pipeline_jobs.dedup.columns import Names
from pipeline_jobs.dedup.counts import CountsInTasks
from pipeline_jobs.dedup.options import Rule, Tuning
from pipeline_jobs.dedup.strategies import TIED, use_group_limit, window, with_deleted

if TYPE_CHECKING:
    import pyarrow as pa

IN_TASK = "_in_task"
"""Whether a record of another content tied within the task."""


def latest_by_columns(
    spark: SparkSession, plan: ColumnarPlan, schema: StructType, names: Names, rule: Rule, seen: CountsInTasks | None
) -> DataFrame:
    """The latest record of each key, as `strategies.latest` has them. `schema` and `rule` are in the source's names."""
    sent = StructType([*schema, StructField(plan.reduction.flag, BooleanType())])
    count = len(plan.reduction.tasks)
    numbers = spark.range(0, count, 1, count)
    found = numbers.mapInArrow(_reducer(plan.reduction, seen), sent)
    return _brought_together(names.records(found, rule, beside=(IN_TASK,)), names.rule(rule), plan)


def _reducer(
    reduction: Reduction, seen: CountsInTasks | None
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """A function for Spark's tasks, each of which gets its number."""

    def tell(totals: Totals) -> None:
        if seen:
            seen.add(totals.rows, totals.dropped, totals.null_timestamps)

    def reduce(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number in batch.column(0).to_pylist():
                yield from survivors(reduction, number, tell)

    return reduce


def _brought_together(found: DataFrame, rule: Rule, plan: ColumnarPlan) -> DataFrame:
    """One record for each key. The flag is a column like others to the window, so that it stays with its record.

    Where records of equal content have different flags, the window takes them for a tie; and so they are: another
    content tied with one of them.
    """
    columns = [name for name in found.columns if name != IN_TASK]
    if plan.is_one_task:
        winners = found.withColumnRenamed(IN_TASK, TIED)
    else:
        use_group_limit(found.sparkSession, wanted=False)
        winners = window(found, rule, Tuning()).withColumn(TIED, F.col(TIED) | F.col(IN_TASK))
    return with_deleted(winners, columns, rule)
