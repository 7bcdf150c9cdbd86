"""The mover: the ledger's pending ranges through Spark's tasks, with retries in smaller pieces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from pipeline_jobs.contract import JobError
from pipeline_jobs.migration import jdbc_method
from pipeline_jobs.migration.copy_plan import CopyPlan, RangeResult, RangeTask
from pipeline_jobs.migration.copy_range import copy_range, copy_ranges
from pipeline_jobs.migration.endpoints import Endpoints
from pipeline_jobs.migration.ledger import PENDING, Ledger, PlannedRange
from pipeline_jobs.migration.options import Settings, Workload
from pipeline_jobs.migration.ranges import split_range
from pipeline_jobs.migration.rate_limit import Limits
from pipeline_jobs.migration.tables import has_portable_binary, select_list
from pipeline_jobs.postgres import as_job_error, first_line, identifier, identifiers, one_row

RETRIES = 2
PIECES = 4
"""A range that failed is tried again as this many."""

RETRIED = ("", "08", "40", "53300", "55P03", "57", "XX")
"""SQLSTATE classes (or codes) that may be gone at the next try; a full disk or a missing right won't."""


class Mover:
    """Moves ranges by one configuration's method. One for each session and pair of tables."""

    def __init__(self, spark: SparkSession, ends: Endpoints, settings: Settings, workload: Workload) -> None:
        self._spark = spark
        self._ends = ends
        self._settings = settings
        self._workload = workload

    def move_pending(self, ledger: Ledger) -> list[RangeResult]:
        """Move all that isn't on the target yet. Returns what became of each try.

        Raises JobError, or InfrastructureError, when ranges have failed for good.
        """
        results: list[RangeResult] = []
        with self._ready():
            for attempt in range(RETRIES + 1):
                pending = ledger.ranges(self._ends.target, PENDING)
                if attempt:
                    pending = self._split(ledger, pending)
                if not pending:
                    return results
                results += self._move(ledger, pending)
                _raise_if_hopeless(ledger.ranges(self._ends.target, PENDING), results)
        left = ledger.ranges(self._ends.target, PENDING)
        if left:
            raise _failure(left, results)
        return results

    def split_failed(self, ledger: Ledger) -> None:
        """Put smaller ranges in the place of those that an earlier job began and didn't finish."""
        self._split(ledger, ledger.ranges(self._ends.target, ("STARTED", "FAIL")))

    def copy_plan(self, ledger: Ledger) -> CopyPlan:
        """What tasks need to copy ranges."""
        ends, settings = self._ends, self._settings
        streams = min(settings.task_count, settings.core_count)
        return CopyPlan(
            source_uri=ends.source_uri,
            target_uri=ends.target_uri,
            ledger=ledger,
            select=f"SELECT {select_list(ends.columns, ends.source_table)} FROM {ends.source_table.sql} WHERE ",
            into=f"{ends.target_table.sql} ({identifiers([column.name for column in ends.columns])})",
            binary=has_portable_binary(ends.columns) and not settings.has_rate_limit,
            snapshot=ends.snapshot,
            limits=Limits(settings.origin_rate_limit / streams, settings.target_rate_limit / streams),
            guardrail=self._guardrail(),
            batch_size=settings.batch_size,
            max_rejected=self._workload.max_rejected,
        )

    def _move(self, ledger: Ledger, pending: Sequence[PlannedRange]) -> list[RangeResult]:
        tasks = [RangeTask(item.number, item.range.predicate(self._ends.key)) for item in pending]
        by_jdbc = self._settings.method == "jdbc"
        return self._by_jdbc(ledger, tasks) if by_jdbc else self._by_copy(ledger, tasks)

    def _by_copy(self, ledger: Ledger, tasks: Sequence[RangeTask]) -> list[RangeResult]:
        """A Spark job whose tasks stream their ranges."""
        slices = min(self._settings.task_count, len(tasks))
        ranges = self._spark.sparkContext.parallelize(tasks, slices)
        try:
            return ranges.mapPartitions(partial(copy_ranges, self.copy_plan(ledger))).collect()
        except Py4JJavaError as error:
            return [RangeResult(task.number, sqlstate="XX000", reason=first_line(error)) for task in tasks]

    def _by_jdbc(self, ledger: Ledger, tasks: Sequence[RangeTask]) -> list[RangeResult]:
        """Spark's JDBC source. What it can't do goes by COPY: ranges with rows to leave out, and refused ones."""
        plan = self.copy_plan(ledger)
        held = [task for task in tasks if self._has_long_rows(task)]
        run = jdbc_method.JdbcRun(self._spark, self._jdbc_plan(ledger), self._ends.target)
        results = run.move([task for task in tasks if task not in held])
        refused = {result.number for result in results if result.state == "FAIL"}
        moved = [result for result in results if result.number not in refused]
        moved += [copy_range(plan, task) for task in held]
        return moved + [copy_range(plan, task, singly=True) for task in tasks if task.number in refused]

    def _has_long_rows(self, task: RangeTask) -> bool:
        table, guardrail = self._ends.source_table.sql, self._guardrail()
        query = f"SELECT EXISTS (SELECT FROM {table} WHERE ({task.predicate}) AND ({guardrail}))"
        return bool(guardrail) and bool(one_row(self._ends.source, query)[0])

    def _jdbc_plan(self, ledger: Ledger) -> jdbc_method.JdbcPlan:
        ends, settings, own = self._ends, self._settings, self._workload.jdbc_options
        columns = jdbc_method.select_list(ends.columns, ends.source_table)
        streams = min(settings.task_count, settings.core_count)
        return jdbc_method.JdbcPlan(
            reader=jdbc_method.reader_options(ends.source_uri, settings.fetch_size, ends.snapshot, own),
            writer=jdbc_method.writer_options(
                ends.target_uri, ends.target_table, settings.batch_size, own, ledger.application_name
            ),
            ledger=ledger,
            select=f"SELECT {columns} FROM {ends.source_table.sql} WHERE ",
            parallelism=settings.task_count,
            limits=Limits(settings.origin_rate_limit / streams, settings.target_rate_limit / streams),
        )

    @contextmanager
    def _ready(self) -> Iterator[None]:
        with ExitStack() as stack:
            if self._settings.method == "jdbc":
                ledger = Ledger(self._workload.ledger_schema, "")
                stack.enter_context(jdbc_method.passing_trigger(self._ends.target, self._ends.target_table, ledger))
            yield

    def _split(self, ledger: Ledger, failed: Sequence[PlannedRange]) -> list[PlannedRange]:
        ends = self._ends
        for item in failed:
            pieces = split_range(ends.source, ends.source_table, ends.key, item.range, PIECES)
            if len(pieces) > 1:
                ledger.replace(ends.target, item, pieces)
        return ledger.ranges(ends.target, PENDING)

    def _guardrail(self) -> str:
        limit = self._workload.guardrail_bytes
        if not limit:
            return ""
        long = [column for column in self._ends.columns if column.is_long]
        sizes = [_size_sql(column.name, column.type) for column in long]
        return " OR ".join(f"coalesce({size} > {limit}, false)" for size in sizes) or "false"


def _size_sql(name: str, type_name: str) -> str:
    value = identifier(name)
    return f"octet_length({value})" if type_name in ("text", "bytea") else f"octet_length({value}::text)"


def _raise_if_hopeless(left: Sequence[PlannedRange], results: Sequence[RangeResult]) -> None:
    """Trying again doesn't help against a full disk, a missing right, or rows that all are refused."""
    hopeless = [item for item in left if item.state == "FAIL" and not (item.sqlstate or "").startswith(RETRIED[1:])]
    if any(item.sqlstate for item in hopeless):
        raise _failure(hopeless, results)


def _failure(left: Sequence[PlannedRange], results: Sequence[RangeResult]) -> JobError:
    reasons = [(item.sqlstate, item.error) for item in left if item.error]
    reasons += [(result.sqlstate, result.reason) for result in results if result.reason]
    sqlstate, reason = reasons[0] if reasons else ("XX000", "no reason recorded")
    return as_job_error(sqlstate or "", f"{len(left)} ranges failed, the first: {reason}")
