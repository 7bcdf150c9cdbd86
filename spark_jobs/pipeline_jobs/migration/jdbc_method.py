"""The method `jdbc`: Spark's JDBC reader and writer, a Spark job for each key range.

Spark's writer commits a range by itself and knows nothing of the ledger. So its connection carries the range's
number, and a trigger on the target marks the range PASS in the same transaction, before its first row.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from psycopg2.extensions import connection as Connection
from py4j.protocol import Py4JError
from pyspark.sql import DataFrame, Observation, SparkSession
from pyspark.sql import functions as F

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.migration.copy_plan import RangeResult, RangeTask
from pipeline_jobs.migration.ledger import Counts, Ledger
from pipeline_jobs.migration.rate_limit import NO_LIMITS, Limits, Meter
from pipeline_jobs.migration.tables import Column, Table, value_sql
from pipeline_jobs.migration.task_times import job_group, task_times
from pipeline_jobs.postgres import JDBC_SESSION, SESSION, WHOLE_TABLES, identifier, jdbc_connection, literal

NATIVE_TYPES = ("smallint", "integer", "bigint", "real", "double precision", "boolean", "text", "bytea")
"""Types that Spark carries exactly. The others travel as text: Spark would round, shift or refuse some values."""

TRIGGER = "pipeline_migration_passes"


@dataclass(frozen=True)
class JdbcPlan:
    """What all ranges of a run share."""

    reader: Mapping[str, str] = field(repr=False)
    writer: Mapping[str, str] = field(repr=False)
    ledger: Ledger
    select: str
    """`SELECT ... FROM ... WHERE ` of the source; a range's condition follows."""
    parallelism: int
    limits: Limits = NO_LIMITS
    columns: tuple[str, ...] = ()
    """The target's columns, which the source's are matched to whatever their case; () = they are the same."""


def reader_options(uri: str, fetch_size: int, snapshot: str, own: Mapping[str, str]) -> dict[str, str]:
    """Spark's options to read from PostgreSQL, in the run's snapshot."""
    statement = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
    if snapshot:
        statement += f"; SET TRANSACTION SNAPSHOT {literal(snapshot)}"
    statement += f"; {SESSION}; {WHOLE_TABLES}"
    parameters = {"ApplicationName": "migration"} | _driver_parameters(own)
    options = jdbc_connection(uri, parameters) | _spark_options(own)
    return options | {"fetchsize": str(fetch_size), "sessionInitStatement": statement}


def writer_options(uri: str, target: Table, batch_size: int, own: Mapping[str, str], name: str) -> dict[str, str]:
    """Spark's options to write to PostgreSQL, as application `name`.

    The driver joins a batch's INSERTs into one unless told otherwise.
    """
    parameters = {"reWriteBatchedInserts": "true", "stringtype": "unspecified", "ApplicationName": name}
    parameters |= _driver_parameters(own)
    options = jdbc_connection(uri, parameters) | _spark_options(own)
    return options | {"dbtable": target.sql, "batchsize": str(batch_size or 1)}


def select_list(columns: Sequence[Column], source: Table) -> str:
    """The source's columns as SQL, in the target's types and in forms that Spark carries exactly."""
    return ", ".join(
        f"{value_sql(c, source)}{'' if c.type in NATIVE_TYPES else '::text'} AS {identifier(c.name)}" for c in columns
    )


def refuse_what_spark_cannot_name(columns: Sequence[Column]) -> None:
    """Raise BadConfigurationError for columns whose names Spark can't quote."""
    quoted = [column.name for column in columns if '"' in column.name]
    if quoted:
        raise BadConfigurationError(f"Spark's JDBC source can't name the columns {quoted}: use method 'copy'")


def refuse_what_spark_cannot_fill(columns: Sequence[Column]) -> None:
    """Raise BadConfigurationError for columns that take values from COPY alone."""
    names = [column.name for column in columns if column.identity == "a"]
    if names:
        raise BadConfigurationError(
            f"{names} are GENERATED ALWAYS AS IDENTITY: Spark's JDBC writer can't fill them, use method 'copy'"
        )


@contextmanager
def passing_trigger(target: Connection, table: Table, ledger: Ledger) -> Iterator[None]:
    """The trigger that joins a range's rows and its state in one transaction, for as long as the job writes."""
    function = ledger.table(TRIGGER)
    with target.cursor() as cursor:
        cursor.execute(_FUNCTION.format(function=function, partition=ledger.table("partition")))
        cursor.execute(f"DROP TRIGGER IF EXISTS {TRIGGER} ON {table.sql}")
        cursor.execute(
            f"CREATE TRIGGER {TRIGGER} BEFORE INSERT ON {table.sql} FOR EACH STATEMENT "
            "WHEN (current_setting('pipeline_migration.attempt', true) <> "
            "coalesce(current_setting('pipeline_migration.passed', true), '')) "
            f"EXECUTE FUNCTION {function}()"
        )
    try:
        yield
    finally:
        with target.cursor() as cursor:
            cursor.execute(f"DROP TRIGGER IF EXISTS {TRIGGER} ON {table.sql}")


class JdbcRun:
    """Moves ranges through Spark's JDBC source, several at a time."""

    def __init__(self, spark: SparkSession, plan: JdbcPlan, target: Connection) -> None:
        self._spark = spark
        self._plan = plan
        self._target = target
        self._ledger_lock = threading.Lock()

    def move(self, tasks: Sequence[RangeTask]) -> list[RangeResult]:
        """Move the ranges. One that fails has state FAIL, whatever the reason: `copy_range` can tell more."""
        with ThreadPoolExecutor(max_workers=self._plan.parallelism, thread_name_prefix="jdbc-range") as threads:
            return list(threads.map(self._move_range, tasks))

    def _move_range(self, task: RangeTask) -> RangeResult:
        result = RangeResult(task.number, started=time.time())
        with self._ledger_lock:
            attempt = self._plan.ledger.claim(self._target, task.number)
        if attempt is None:
            result.state = "PASS"
        else:
            self._write(task, attempt, result)
        result.ended = result.ended or time.time()
        return result

    def _write(self, task: RangeTask, attempt: int, result: RangeResult) -> None:
        observed = Observation()
        frame = self._frame(task).observe(observed, F.count(F.lit(1)).alias("rows"))
        name = f"{self._plan.ledger.run_id}|{task.number}|{attempt}"
        writer = _with_attempt(self._plan.writer, name)
        try:
            with job_group(self._spark, name):
                frame.write.format("jdbc").mode("append").options(**writer).save()
            rows = observed.get["rows"]
        except Py4JError as error:
            # After its commit Spark looks at the target once more, and fails at a type that it doesn't know.
            if not self._has_passed(task, attempt):
                result.reason = _reason(error)
                return
            rows = self._count(task)
        self._time(result, name)
        result.state, result.counts = "PASS", Counts(rows, rows)
        with self._ledger_lock:
            self._plan.ledger.passed(self._target, task.number, result.counts)

    def _has_passed(self, task: RangeTask, attempt: int) -> bool:
        with self._ledger_lock:
            return self._plan.ledger.has_passed(self._target, task.number, attempt)

    def _count(self, task: RangeTask) -> int:
        """The range's rows, in the run's snapshot."""
        query = f"(SELECT count(*) AS n FROM ({self._plan.select}({task.predicate})) source_range) counted"
        row = self._spark.read.format("jdbc").options(**self._plan.reader).option("dbtable", query).load().head()
        return int(row[0]) if row else 0

    def _time(self, result: RangeResult, name: str) -> None:
        """The range took as long as its task ran: a thread that waits for a core does no work."""
        times = task_times(self._spark, name)
        if times:
            result.started = min(each.launched for each in times)
            result.ended = max(each.finished for each in times)

    def _frame(self, task: RangeTask) -> DataFrame:
        query = f"({self._plan.select}({task.predicate})) AS source_range"
        frame = self._spark.read.format("jdbc").options(**self._plan.reader).option("dbtable", query).load()
        frame = _renamed(frame, self._plan.columns) if self._plan.columns else frame
        return slowed(frame, self._plan.limits) if self._plan.limits.is_any else frame


def slowed(frame: DataFrame, limits: Limits) -> DataFrame:
    """The frame, let through at no more than the limits in each of its partitions."""

    def let_through(batches: Any) -> Any:
        meter = Meter(limits)
        for batch in batches:
            step = max(1, int(limits.tighter / 10))
            for start in range(0, batch.num_rows, step):
                piece = batch.slice(start, step)
                meter.add(piece.nbytes, piece.num_rows, piece.num_rows)
                yield piece

    return frame.mapInArrow(let_through, frame.schema)


def _renamed(frame: DataFrame, columns: Sequence[str]) -> DataFrame:
    """The frame in the target's columns. Raises BadConfigurationError for one that the target lacks."""
    targets = {name.lower(): name for name in columns}
    homeless = [name for name in frame.columns if name.lower() not in targets]
    if homeless:
        raise BadConfigurationError(f"the target has no columns {homeless}")
    return frame.toDF(*[targets[name.lower()] for name in frame.columns])


def _with_attempt(writer: Mapping[str, str], attempt: str) -> dict[str, str]:
    """The writer's options with the range in its session, for the trigger to see."""
    name = attempt.replace("\\", "\\\\").replace(" ", "\\ ")
    setting = quote(f"{JDBC_SESSION} -c pipeline_migration.attempt={name}")
    return {**writer, "url": f"{writer['url']}&options={setting}"}


def _driver_parameters(own: Mapping[str, str]) -> dict[str, str]:
    """Those of the user's options that are the PostgreSQL driver's: Spark's are all lower case or known by name."""
    return {name: str(value) for name, value in own.items() if name in DRIVER_PARAMETERS}


def _spark_options(own: Mapping[str, str]) -> dict[str, str]:
    return {name: str(value) for name, value in own.items() if name not in DRIVER_PARAMETERS}


DRIVER_PARAMETERS = ("reWriteBatchedInserts", "prepareThreshold", "binaryTransfer", "tcpKeepAlive", "socketTimeout")


def _reason(error: Py4JError) -> str:
    """The line that says what went wrong, out of a Java stack trace."""
    text = str(getattr(error, "java_exception", None) or error)
    lines = [line.strip() for line in text.splitlines()]
    return next((line for line in lines if "ERROR:" in line or line.startswith("Caused by")), lines[0])[:1000]


_FUNCTION = """
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  token text := current_setting('pipeline_migration.attempt', true);
  parts text[] := regexp_match(token, '^(.*)\\|(\\d+)\\|(\\d+)$');
BEGIN
  UPDATE {partition} SET state = 'PASS', ended_at = clock_timestamp()
  WHERE run_id = parts[1] AND number = parts[2]::integer AND attempt = parts[3]::integer AND state = 'STARTED';
  IF NOT FOUND THEN
    RAISE EXCEPTION 'range % has been taken over or has passed', token;
  END IF;
  PERFORM set_config('pipeline_migration.passed', token, true);
  RETURN NULL;
END $$"""
