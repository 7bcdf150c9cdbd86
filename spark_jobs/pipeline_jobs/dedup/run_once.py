"""One deduplication from source to target: read, inspect, choose a strategy, write, count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StringType

from pipeline_jobs.contract import BadConfigurationError, JobError, TrialConfig
from pipeline_jobs.dedup.auto_strategy import Choice
from pipeline_jobs.dedup.columnar import latest_by_columns
from pipeline_jobs.dedup.columnar_source import ColumnarPlan
from pipeline_jobs.dedup.columns import Names, check_names
from pipeline_jobs.dedup.counts import Counter, Counts
from pipeline_jobs.dedup.options import DedupOptions, Source
from pipeline_jobs.dedup.parquet_target import ParquetTarget
from pipeline_jobs.dedup.postgres_target import Merged, PostgresTarget, qualified
from pipeline_jobs.dedup.postgres_types import check_types
from pipeline_jobs.dedup.readers import read_source, since
from pipeline_jobs.dedup.source_identity import postgres_identity, source_identity
from pipeline_jobs.dedup.source_inspection import Inspection, inspect_source
from pipeline_jobs.dedup.strategies import TIED, check_columns, eligible, latest
from pipeline_jobs.dedup.strategy_choice import COLUMNAR, choose, plan_for
from pipeline_jobs.postgres import is_postgres


@dataclass(frozen=True)
class Outcome:
    """What one run did. `counts` is None where the configuration counts nothing."""

    counts: Counts | None
    choice: Choice | None
    merged: Merged | None
    folder: str | None
    """Where Parquet was written."""
    started_from: str | None
    """The bookmark that the run read from; None for everything."""
    read_bytes: int | None = None
    """The size of the files, where it wasn't Spark that read them; None where Spark knows."""

    @property
    def newest(self) -> str | None:
        """The bookmark that the run left; None without one."""
        return self.merged.newest if self.merged else None


def deduplicate(
    spark: SparkSession,
    source: Source,
    options: DedupOptions,
    config: TrialConfig,
    inspection: Inspection | None = None,
) -> Outcome:
    """Read, keep the latest of each key, write. Raises JobError; the target is then as before.

    `inspection`: what was found by who looked at the source already; it is looked at here otherwise.
    """
    expected = (inspection or inspect_source(spark, source, config)).records
    records = read_source(spark, source, config)
    check_columns(records, options.rule)
    check_names(records.columns, options.target.kind)
    names = Names.of(records.columns)
    plan = plan_for(records, source, options)
    if options.target.kind != "postgresql":
        return _run(spark, records, names, source, options, None, expected, plan)
    check_types(records.schema)
    _refuse_own_source(source, options, config)
    place = (config.uri("target"), options.target, options.rule, records.schema)
    identity = source_identity(spark, source, config) if options.target.bookmark else ""
    with PostgresTarget(*place, source=source, names=names, identity=identity) as target:
        return _run(spark, records, names, source, options, target, expected, plan)


def _refuse_own_source(source: Source, options: DedupOptions, config: TrialConfig) -> None:
    """A table merged into itself loses the rows that the rule leaves out: what it was made of is gone."""
    if source.format != "jdbc" or not is_postgres(config.uri("source")):
        return
    read = postgres_identity(config.uri("source"), source.path)
    if read == postgres_identity(config.uri("target"), qualified(options.target.table)) and read.startswith("["):
        raise BadConfigurationError(f"the source {source.path} is the target's own table: name another target.table")


def _run(
    spark: SparkSession,
    records: DataFrame,
    names: Names,
    source: Source,
    options: DedupOptions,
    target: PostgresTarget | None,
    expected: int | None,
    plan: ColumnarPlan | str,
) -> Outcome:
    schema = records.schema
    records, rule, tuning = names.records(records, options.rule), names.rule(options.rule), options.tuning
    started_from = target.bookmark() if target else None
    if started_from is not None:
        records = records.where(since(started_from, options.target.look_back_s, records, rule.timestamp))
    choice = choose(eligible(records, rule, options.rule), rule, source, tuning, plan)
    tuning = choice.applied(tuning) if choice else tuning
    counter = Counter(rule) if tuning.counts == "observe" or options.target.bookmark else None
    by_columns = plan if isinstance(plan, ColumnarPlan) and tuning.strategy == COLUMNAR else None
    if by_columns:
        seen = counter.in_tasks(spark.sparkContext) if counter else None
        found = latest_by_columns(spark, by_columns, schema, names, options.rule, seen)
    else:
        counted = counter.on_records(records) if counter else records
        taking_part = eligible(counted, rule, options.rule)
        found = latest(taking_part, rule, tuning, unobserved=eligible(records, rule, options.rule))
    if tuning.counts == "count":
        _count_by_own_jobs(records, found)
    written = counter.on_latest(found) if counter else found
    if tuning.write_partitions:
        written = written.repartition(tuning.write_partitions)

    def check() -> None:
        if counter and expected is not None and started_from is None:
            check_all_read(counter.counts().rows, expected)

    result = _write(spark, written.drop(TIED), names, options, target, check)
    return Outcome(
        counts=counter.counts() if counter else None,
        choice=choice,
        merged=result if isinstance(result, Merged) else None,
        folder=result if isinstance(result, str) else None,
        started_from=started_from,
        read_bytes=by_columns.size_bytes if by_columns else None,
    )


def _count_by_own_jobs(records: DataFrame, found: DataFrame) -> None:
    """Jobs of their own for counts that could be had in passing, as the deduplication guide has it."""
    records.count()
    found.count()


def _write(
    spark: SparkSession,
    rows: DataFrame,
    names: Names,
    options: DedupOptions,
    target: PostgresTarget | None,
    check: Callable[[], None],
) -> Merged | str | None:
    """Write the rows. `check` is called when they were read, and before anybody sees them."""
    if target:
        attempts = target.stage(rows)
        check()
        return target.merge(attempts)
    if options.target.kind in ("parquet", "redshift"):
        staged = options.target.kind == "redshift"
        folder = ParquetTarget(spark, options.target.path, keep_deleted=staged)
        folder.write(_without_padded_keys(rows, names, options) if staged else rows, names)
        check()
        folder.publish()
        return folder.folder
    rows.write.format("noop").mode("overwrite").save()
    return None


def check_all_read(read: int, expected: int) -> None:
    """Raises JobError where Spark read fewer records than there are; a task that ran twice may have counted more."""
    if read < expected:
        raise JobError(
            f"Spark read {read} of the {expected} records that the files have: nothing was written, and this job's way "
            "of reading them is at fault"
        )


def _without_padded_keys(rows: DataFrame, names: Names, options: DedupOptions) -> DataFrame:
    """The rows, failing at a text in the key that ends with a blank: to Redshift it equals the one without."""
    for name in options.rule.key:
        inner = names.inside(name)
        if isinstance(rows.schema[inner].dataType, StringType):
            message = f"the source has a text in the key's column {name} that ends with a blank, which Redshift ignores"
            refused = F.raise_error(F.lit(f"{message}: trim it in the source")).cast("boolean")
            rows = rows.where(F.when(F.col(inner).endswith(" "), refused).otherwise(True))
    return rows
