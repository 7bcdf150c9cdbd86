"""A source that is not PostgreSQL (`jdbc:...` URL): moved by JDBC, counts instead of checksums.

What such a source can't do here: a snapshot across ranges, checksums, rows singled out when one is refused.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from psycopg2.extensions import connection as Connection
from pyspark.sql import DataFrame, SparkSession

from pipeline_jobs.contract import BadConfigurationError, JobError, MeasurementWriter, TrialConfig
from pipeline_jobs.environment import environment
from pipeline_jobs.migration import jdbc_method
from pipeline_jobs.migration.copy_plan import RangeResult, RangeTask
from pipeline_jobs.migration.ledger import PENDING, Ledger
from pipeline_jobs.migration.metrics import record_ranges, record_sample
from pipeline_jobs.migration.options import Settings, Workload
from pipeline_jobs.migration.ranges import KeyRange
from pipeline_jobs.migration.rate_limit import Limits
from pipeline_jobs.migration.tables import Table, create_trial_table, existing_table, shortened
from pipeline_jobs.postgres import connect, identifier, one_row
from pipeline_jobs.resources import ResourceMonitor

CREDENTIALS = re.compile(r"(?i)(?<=[?;&])(user(name)?|password|pwd)=[^;&]*|(?<=//)[^/@]*@")
"""What may change in a URL of the same database."""
NUMBERS = ("tinyint", "smallint", "int", "bigint", "float", "double", "decimal")


@dataclass(frozen=True)
class GenericSource:
    """A table behind a JDBC driver."""

    spark: SparkSession
    options: dict[str, str]
    table: str
    key: str

    def predicate(self, item: KeyRange) -> str:
        """The range as SQL that any database reads: numbers only."""
        if item.nulls:
            return f"{self.key} IS NULL"
        parts = [f"{self.key} >= {item.low[0]}"] if item.low else []
        parts += [f"{self.key} < {item.high[0]}"] if item.high else []
        if not parts and self.key:
            parts = [f"{self.key} IS NOT NULL"]
        return " AND ".join(parts) or "1 = 1"

    def frame(self, query: str) -> DataFrame:
        """A query's rows."""
        return self.spark.read.format("jdbc").options(**self.options).option("dbtable", f"({query}) q").load()

    def count(self, ranges: Sequence[KeyRange]) -> int:
        """Rows of the ranges together."""
        condition = " OR ".join(f"({self.predicate(item)})" for item in ranges)
        return int(self.frame(f"SELECT COUNT(*) AS n FROM {self.table} WHERE {condition}").collect()[0][0])

    def ranges(self, count: int, fraction: float) -> list[KeyRange]:
        """Quantiles of a numeric key, as Spark estimates them from all keys; one range without a key."""
        if not self.key:
            return [KeyRange()]
        keys = self.frame(f"SELECT {self.key} AS k FROM {self.table}").toDF("k")
        if not keys.schema["k"].dataType.simpleString().startswith(NUMBERS):
            raise BadConfigurationError(f"the key {self.key} of {self.table} is not a number: choose one, or no key")
        parts = [fraction * i / count for i in range(1, count + (fraction < 1))]
        whole = keys.selectExpr("CAST(k AS double) AS k").approxQuantile("k", parts, 0.5 / count)
        bounds = list(dict.fromkeys(str(int(bound)) for bound in whole))
        low: list[str | None] = [None, *bounds]
        edges = low if fraction < 1 else [*low, None]
        ranges = [KeyRange((a,) if a else None, (b,) if b else None) for a, b in pairwise(edges)] or [KeyRange()]
        return [*ranges, KeyRange(nulls=True)] if fraction >= 1 else ranges


def run_generic(
    spark: SparkSession,
    config: TrialConfig,
    settings: Settings,
    workload: Workload,
    writer: MeasurementWriter,
) -> float:
    """A trial or a production run from a generic source. Returns when counting began (s since 1970).

    Raises BadConfigurationError for options that such a source doesn't offer, JobError when ranges fail.
    """
    if settings.method != "jdbc" or workload.guardrail_bytes or workload.autocorrect or workload.differences:
        raise BadConfigurationError("a jdbc: source offers method 'jdbc', no guardrail, no differences, no autocorrect")
    begun = time.monotonic()
    name = workload.run_id or f"trial {config.trial_id}"
    target_uri = config.uri("target")
    with closing(connect(target_uri, f"migration {name} driver")) as target:
        schema, table_name = workload.target_schema or workload.schema, workload.target_table or workload.table
        model = existing_table(target, schema, table_name, "target")
        options = {"url": config.uri("source"), "fetchsize": str(settings.fetch_size), **workload.jdbc_options}
        source = GenericSource(spark, options, workload.table, next(iter(workload.key), ""))
        ledger = Ledger(workload.ledger_schema, name)
        ledger.create_tables(target)
        with _table(target, model, ledger, workload) as table:
            ledger.lock(target)
            ledger.end_orphans(target)
            ledger.begin(target, _description(config.uri("source"), workload, target, table))
            if not ledger.ranges(target):
                ledger.add_ranges(target, source.ranges(settings.range_count, config.fraction))
            writer.startup_s += time.monotonic() - begun
            writer.environment = environment()
            counted_from = time.time()
            _measure(source, target, target_uri, table, ledger, settings, workload, writer)
            _judge(source, target, table, ledger, writer, is_trial=not workload.run_id)
    return counted_from


def _description(url: str, workload: Workload, target: Connection, table: Table) -> dict[str, object]:
    """What a resumed run must have in common with the one that it resumes; rows alone can't tell two tables apart."""
    (number,) = one_row(target, "SELECT %s::regclass::oid::bigint", (table.sql,))
    where = CREDENTIALS.sub("", url)
    return {
        "source table": workload.table,
        "target table": table.sql,
        "key": list(workload.key),
        "source (another address)": hashlib.sha256(where.encode()).hexdigest()[:16],
        "target (the table was made anew)": number if workload.run_id else 0,
    }


def _measure(
    source: GenericSource,
    target: Connection,
    target_uri: str,
    table: Table,
    ledger: Ledger,
    settings: Settings,
    workload: Workload,
    writer: MeasurementWriter,
) -> None:
    """Move what is pending; a trial starts over with an empty table for each repeat."""
    streams = min(settings.task_count, settings.core_count)
    plan = jdbc_method.JdbcPlan(
        reader=source.options,
        writer=jdbc_method.writer_options(target_uri, table, settings.batch_size, {}, ledger.application_name),
        ledger=ledger,
        select=f"SELECT * FROM {source.table} WHERE ",
        parallelism=settings.task_count,
        limits=Limits(settings.origin_rate_limit / streams, settings.target_rate_limit / streams),
        columns=tuple(column.name for column in table.columns if not column.generated),
    )
    results: list[RangeResult] = []
    for number, sample in enumerate(writer.samples()):
        if workload.run_id and sample.is_warmup:
            continue
        if not workload.run_id and number:
            _start_over(target, table, ledger)
        pending = ledger.ranges(target, PENDING)
        tasks = [RangeTask(item.number, source.predicate(item.range)) for item in pending]
        run = jdbc_method.JdbcRun(source.spark, plan, target)
        with ResourceMonitor() as monitor, jdbc_method.passing_trigger(target, table, ledger):
            results = sample.timed(partial(run.move, tasks))
        sample.metrics |= monitor.metrics()
        record_sample(sample, results, settings)
        failed = [result for result in results if result.state == "FAIL"]
        for result in failed:
            ledger.failed(target, result.number, "XX000", result.reason)
        if failed:
            raise JobError(f"{len(failed)} ranges failed, the first: {failed[0].reason}")
    record_ranges(writer, results)


def _judge(
    source: GenericSource,
    target: Connection,
    table: Table,
    ledger: Ledger,
    writer: MeasurementWriter,
    *,
    is_trial: bool,
) -> None:
    ranges = ledger.ranges(target)
    expected = source.count([item.range for item in ranges])
    (landed,) = one_row(target, f"SELECT count(*) FROM {table.sql}")
    detail = f"source {expected}, target {landed}; no checksum: the source offers none"
    writer.check("row count", expected == landed, detail)
    writer.workload = {"table": source.table, "rows": expected}
    if is_trial:
        ledger.forget(target)


def _start_over(target: Connection, table: Table, ledger: Ledger) -> None:
    ranges = [item.range for item in ledger.ranges(target)]
    with target.cursor() as cursor:
        cursor.execute(f"TRUNCATE {table.sql}")
    ledger.forget(target)
    ledger.begin(target, {})
    ledger.add_ranges(target, ranges)


@contextmanager
def _table(target: Connection, model: Table, ledger: Ledger, workload: Workload) -> Iterator[Table]:
    """The table to fill: the target's own, or a trial's that is gone afterwards."""
    if workload.run_id:
        yield model
        return
    name = f"{shortened(model.name, 40)}__trial_generic"
    drop = f"DROP TABLE IF EXISTS {identifier(model.schema)}.{identifier(name)}"
    ledger.forget(target)
    with target.cursor() as cursor:
        cursor.execute(drop)
        create_trial_table(target, model, name)
        try:
            yield existing_table(target, model.schema, name, "target")
        finally:
            cursor.execute(drop)
