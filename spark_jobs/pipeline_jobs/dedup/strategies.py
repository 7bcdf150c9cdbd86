"""The strategies: ways to the latest record of each key, the same rows with different amounts shuffled.

What each moves between tasks, for N rows of w bytes, K keys, and P pairs of (map task, key):

    window     P rows with the group limit, else N: a task drops what its own rows already beat
    max_by     P rows, reduced by a sorted aggregation instead of a window
    salted     at most P rows twice: a key's rows are split over several tasks before they meet
    semi_join  P pairs (key, timestamp), then K rows: reads key and timestamp first, and the rest for winners only
    columnar   nothing with one task, else P rows: the tasks reduce their files before Spark has a row (columnar.py)
    baseline   N rows in no order, then nearly N again: `repartition(n)` ahead of the window (deduplication guide)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from operator import and_
from typing import Any

from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DataType, MapType, StructType, VariantType

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.dedup.options import Rule, Tuning
from pipeline_jobs.spark_errors import in_one_line

TIED, DELETED, RANK, WINNER = "_tied", "_deleted", "_rank", "_winner"
GROUP_LIMIT = "spark.sql.optimizer.windowGroupLimitThreshold"

Strategy = Callable[[DataFrame, Rule, Tuning], DataFrame]


def latest(records: DataFrame, rule: Rule, tuning: Tuning, *, unobserved: DataFrame | None = None) -> DataFrame:
    """The latest record of each key, with `_tied` (its order left more than one record) and `_deleted` beside it.

    `unobserved`: the same records without counters on them, for a strategy that reads them twice.
    """
    spark = records.sparkSession
    use_group_limit(spark, tuning.group_limit and tuning.strategy != "semi_join")
    if tuning.strategy == "semi_join":
        winners = semi_join(records, rule, records if unobserved is None else unobserved)
    else:
        winners = STRATEGIES[tuning.strategy](records, rule, tuning)
    return with_deleted(winners, records.columns, rule)


def with_deleted(winners: DataFrame, columns: Sequence[str], rule: Rule) -> DataFrame:
    """The columns, `_tied`, and `_deleted`: whether the record says that its key is deleted."""
    deleted = F.coalesce(F.expr(rule.deleted_when), F.lit(False)) if rule.deleted_when else F.lit(False)
    return winners.select(*columns, TIED, deleted.alias(DELETED))


def eligible(records: DataFrame, rule: Rule, named: Rule | None = None) -> DataFrame:
    """The records that take part: those with NULL in key or timestamp are kept, dropped or refused as declared.

    `named`: the rule in the names that messages use, where the columns have others.
    """
    named = named or rule
    no_key, no_timestamp = null_refusals(named)
    for problem, policy, said in (
        (any_null(rule.key), rule.null_keys, no_key),
        (F.col(rule.timestamp).isNull(), rule.null_timestamps, no_timestamp),
    ):
        if policy == "drop":
            records = records.where(~problem)
        elif policy == "fail":
            refused = F.raise_error(F.lit(said)).cast("boolean")
            records = records.where(F.when(problem, refused).otherwise(True))
    return records


def null_refusals(rule: Rule) -> tuple[str, str]:
    """What is said of a record without key, and of one without timestamp, where the rule refuses them."""
    no_key = f"a NULL in the key ({', '.join(rule.key)}); set null_keys"
    no_timestamp = f"no {rule.timestamp}; set null_timestamps"
    return (
        f"the source holds a record with {no_key} to allow it",
        f"the source holds a record with {no_timestamp} to allow it",
    )


def any_null(columns: tuple[str, ...]) -> Column:
    """Whether any of the columns is NULL."""
    return F.greatest(F.lit(False), *(F.col(name).isNull() for name in columns))


def window(records: DataFrame, rule: Rule, tuning: Tuning) -> DataFrame:
    """Rank by the declared order, keep the first, decide what remains by content."""
    return _decided(_first(records, rule.key, rule), rule)


def baseline(records: DataFrame, rule: Rule, tuning: Tuning) -> DataFrame:
    """The baseline: rows spread over `window_partitions` before the window, which shuffles them all once more."""
    return window(records.repartition(tuning.window_partitions), rule, tuning)


def salted(records: DataFrame, rule: Rule, tuning: Tuning) -> DataFrame:
    """Two phases: the latest of each part of a key, then the latest of the parts.

    The part follows from the row's order columns, so it doesn't depend on partitioning.
    """
    salt = F.pmod(F.xxhash64(*rule.declared), F.lit(tuning.salts))
    parts = _first(records.withColumn("_salt", salt), (*rule.key, "_salt"), rule).drop("_salt")
    return window(parts, rule, tuning)


def max_by(records: DataFrame, rule: Rule, tuning: Tuning) -> DataFrame:
    """One aggregation with the whole row as its value.

    A tie shows where the largest and the smallest content hash under the top order differ.
    """
    digest, declared = _digest(records), [F.col(name) for name in rule.declared]
    grouped = records.groupBy(*rule.key).agg(
        _winner(records, rule).alias(WINNER),
        F.max(F.struct(*declared, digest.alias("h"))).alias("_high"),
        F.max(F.struct(*declared, F.bitwise_not(digest).alias("h"))).alias("_low"),
    )
    tied = F.col("_high.h") != F.bitwise_not(F.col("_low.h"))
    return grouped.select(*rule.key, f"{WINNER}.*", tied.alias(TIED))


def semi_join(records: DataFrame, rule: Rule, unobserved: DataFrame) -> DataFrame:
    """Find each key's newest timestamp from two columns, broadcast it, and shuffle only the rows that have it."""
    newest = unobserved.groupBy(*rule.key).agg(F.max(rule.timestamp).alias("_newest"))
    newest = newest.withColumnsRenamed({name: f"_key_{name}" for name in rule.key})
    same = [F.col(name).eqNullSafe(F.col(f"_key_{name}")) for name in rule.key]
    same.append(F.col(rule.timestamp).eqNullSafe(F.col("_newest")))
    candidates = records.join(F.broadcast(newest), reduce(and_, same), "left_semi")
    return _decided(_first(candidates, rule.key, rule), rule)


STRATEGIES: dict[str, Strategy] = {"window": window, "max_by": max_by, "salted": salted, "baseline": baseline}


def use_group_limit(spark: SparkSession, wanted: bool) -> None:
    """Let Spark drop, before the shuffle, rows that can't be first in their group; or keep it from trying."""
    spark.conf.set(GROUP_LIMIT, "1000" if wanted else "-1")


def _first(records: DataFrame, key: tuple[str, ...], rule: Rule) -> DataFrame:
    """All rows that come first in their group by the declared order: one, or more where they tie."""
    order = [F.col(name).desc_nulls_last() for name in rule.declared]
    ranked = records.withColumn(RANK, F.rank().over(Window.partitionBy(*key).orderBy(*order)))
    return ranked.where(F.col(RANK) == 1).drop(RANK)


def _decided(candidates: DataFrame, rule: Rule) -> DataFrame:
    """One row per key among rows that tie. They lie side by side in one partition already: no shuffle, no sort."""
    digest = _digest(candidates)
    grouped = candidates.groupBy(*rule.key).agg(
        _winner(candidates, rule).alias(WINNER), (F.min(digest) != F.max(digest)).alias(TIED)
    )
    return grouped.select(*rule.key, f"{WINNER}.*", TIED)


def _winner(records: DataFrame, rule: Rule) -> Column:
    """The row that is largest by declared order, then by content, as a struct of the columns outside the key."""
    rest = [name for name in records.columns if name not in {*rule.key, *rule.declared}]
    value = F.struct(*rule.declared, *rest)
    if all(is_orderable(records.schema[name].dataType) for name in rest):
        return F.max(value)
    return F.max_by(value, F.struct(*rule.declared, *(_comparable(records, name) for name in rest)))


def _digest(records: DataFrame) -> Column:
    return F.xxhash64(*(_comparable(records, name) for name in records.columns))


def _comparable(records: DataFrame, name: str) -> Column:
    """A column as something that Spark can order and hash: maps and variants as JSON."""
    if is_orderable(records.schema[name].dataType):
        return F.col(name)
    return F.to_json(F.struct(name)).alias(name)


def is_orderable(kind: DataType) -> bool:
    """Whether Spark can compare two values of this type."""
    if isinstance(kind, ArrayType):
        return is_orderable(kind.elementType)
    if isinstance(kind, StructType):
        return all(is_orderable(part.dataType) for part in kind)
    return not isinstance(kind, MapType | VariantType)


def check_columns(records: DataFrame, rule: Rule) -> None:
    """Refuse, in one message, a source that the rule can't be applied to. Raises BadConfigurationError."""
    missing = [name for name in (*rule.key, *rule.declared) if name not in records.columns]
    if missing:
        raise BadConfigurationError(
            f"the source has no column {', '.join(missing)}; it has {', '.join(records.columns)}"
        )
    for name in (*rule.key, *rule.declared):
        if not is_orderable(records.schema[name].dataType):
            raise BadConfigurationError(f"column {name} is a {_type(records, name)}: it can't be part of key or order")
    if _type(records, rule.timestamp) not in ("timestamp", "timestamp_ntz", "date", "bigint", "int"):
        raise BadConfigurationError(
            f"column {rule.timestamp} is a {_type(records, rule.timestamp)}, the timestamp must be a timestamp, a date "
            "or a whole number; give the type in source.schema"
        )
    if rule.deleted_when:
        _check_condition(records, rule.deleted_when)


def _check_condition(records: DataFrame, condition: str) -> None:
    """Of one record alone, and the same whenever it is asked: no aggregate, window, subquery or random number."""
    try:
        chosen = records.select(F.expr(condition).alias("c"))
        kind = chosen.schema["c"].dataType.simpleString()
        records.where(F.coalesce(F.expr(condition).cast("boolean"), F.lit(False))).schema  # noqa: B018  analysed here
    except PySparkException as error:
        raise BadConfigurationError(f"deleted_when {condition!r}: {in_one_line(error)}") from None
    expression: Any = chosen._jdf.queryExecution().analyzed().expressions().head()
    if not expression.deterministic():
        raise BadConfigurationError(f"deleted_when {condition!r} is another each time that it is asked: use columns")
    if kind != "boolean":
        raise BadConfigurationError(f"deleted_when {condition!r} is a {kind}, must be true or false")


def _type(records: DataFrame, name: str) -> str:
    return records.schema[name].dataType.simpleString()
