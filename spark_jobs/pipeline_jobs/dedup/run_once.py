"""One deduplication from source to target."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession

from pipeline_jobs.contract import TrialConfig
from pipeline_jobs.dedup.choice import Choice
from pipeline_jobs.dedup.counts import Counter, Counts
from pipeline_jobs.dedup.options import DedupOptions, Source
from pipeline_jobs.dedup.parquet_target import ParquetTarget
from pipeline_jobs.dedup.postgres_target import Merged, PostgresTarget
from pipeline_jobs.dedup.readers import read_source, since
from pipeline_jobs.dedup.sample import choose_strategy
from pipeline_jobs.dedup.strategies import TIED, check_columns, eligible, latest


@dataclass(frozen=True)
class Outcome:
    """What one run did. `counts` is None where the configuration counts nothing."""

    counts: Counts | None
    choice: Choice | None
    merged: Merged | None
    folder: str | None
    """Where Parquet was written."""
    newest: str | None
    started_from: str | None
    """The bookmark that the run read from; None for everything."""


def deduplicate(spark: SparkSession, source: Source, options: DedupOptions, config: TrialConfig) -> Outcome:
    """Read, keep the latest of each key, write. Raises JobError; the target is then as before."""
    records = read_source(spark, source, config)
    check_columns(records, options.rule)
    if options.target.kind != "postgresql":
        return _run(spark, records, source, options, None)
    with PostgresTarget(config.uri("target"), options.target, options.rule, records.schema) as target:
        return _run(spark, records, source, options, target)


def _run(
    spark: SparkSession, records: DataFrame, source: Source, options: DedupOptions, target: PostgresTarget | None
) -> Outcome:
    rule, tuning = options.rule, options.tuning
    started_from = target.bookmark() if target and options.target.bookmark else None
    if started_from is not None:
        records = records.where(since(started_from, options.target.look_back_s, records, rule.timestamp))
    choice = None
    if tuning.strategy == "auto":
        choice = choose_strategy(eligible(records, rule), rule, source)
        tuning = choice.applied(tuning)
    counter = Counter(rule) if tuning.counts == "observe" or options.target.bookmark else None
    seen = counter.on_records(records) if counter else records
    found = latest(eligible(seen, rule), rule, tuning, unobserved=eligible(records, rule))
    if tuning.counts == "count":
        _count_as_the_seed_did(records, found)
    written = counter.on_latest(found) if counter else found
    if tuning.write_partitions:
        written = written.repartition(tuning.write_partitions)
    result = _write(spark, written.drop(TIED), options, target, counter)
    return Outcome(
        counts=counter.counts() if counter else None,
        choice=choice,
        merged=result if isinstance(result, Merged) else None,
        folder=result if isinstance(result, str) else None,
        newest=counter.newest if counter else None,
        started_from=started_from,
    )


def _count_as_the_seed_did(records: DataFrame, found: DataFrame) -> None:
    """Jobs of their own for figures that could be had in passing: the seed's way, to see what it costs."""
    records.count()
    found.count()


def _write(
    spark: SparkSession, rows: DataFrame, options: DedupOptions, target: PostgresTarget | None, counter: Counter | None
) -> Merged | str | None:
    if target:
        attempts = target.stage(rows)
        return target.merge(attempts, counter.newest if counter else None)
    if options.target.kind in ("parquet", "redshift"):
        folder = ParquetTarget(spark, options.target.path, keep_deleted=options.target.kind == "redshift")
        folder.write(rows)
        folder.publish()
        return folder.folder
    rows.write.format("noop").mode("overwrite").save()
    return None
