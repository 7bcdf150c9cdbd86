"""The method `copy`: one key range from server to server by COPY, in one transaction on the target.

The source's COPY TO fills a pipe from a thread, the target's COPY FROM empties it: no value becomes a Python
object. A row that the target refuses makes the range start over row by row, see rejects.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

import psycopg2
from psycopg2.extensions import connection as Connection

from pipeline_jobs.contract import InfrastructureError, JobError
from pipeline_jobs.migration.copy_plan import CopyPlan, RangeResult, RangeTask, range_query, skip_long_rows
from pipeline_jobs.migration.copy_stream import BLOCK_BYTES, Pump
from pipeline_jobs.migration.ledger import Counts
from pipeline_jobs.migration.rate_limit import Meter
from pipeline_jobs.migration.rejects import copy_singly
from pipeline_jobs.postgres import connect, first_line, is_row_error, literal

Move = Callable[[CopyPlan, RangeTask, Connection, Connection, Meter], Counts]

_connections: dict[tuple[str, str, str], Connection] = {}


def copy_ranges(plan: CopyPlan, tasks: Iterable[RangeTask]) -> Iterator[RangeResult]:
    """Copy ranges one after the other, each whatever became of the others."""
    for task in tasks:
        yield copy_range(plan, task)


def copy_range(plan: CopyPlan, task: RangeTask, *, singly: bool = False) -> RangeResult:
    """Copy a range exactly once. Never raises for what the servers say: the result and the ledger tell.

    `singly`: begin with the way that survives rejected rows.
    """
    result = RangeResult(task.number, started=time.time())
    try:
        _copy(plan, task, result, singly)
    except (psycopg2.Error, OSError, JobError) as error:
        result.state = "FAIL"
        result.sqlstate, result.reason = _sqlstate(error), first_line(error)
        _forget_connections()
        _record_failure(plan, result)
    result.ended = time.time()
    return result


def _copy(plan: CopyPlan, task: RangeTask, result: RangeResult, singly: bool) -> None:
    target = _connection("target", plan.target_uri, plan)
    attempt = plan.ledger.claim(target, task.number)
    if attempt is None:
        result.state = "PASS"
        return
    if not singly:
        try:
            _transact(plan, task, result, attempt, _stream)
            return
        except psycopg2.Error as error:
            if not is_row_error(error):
                raise
    _transact(plan, task, result, attempt, copy_singly)


def _transact(plan: CopyPlan, task: RangeTask, result: RangeResult, attempt: int, move: Move) -> None:
    """The rows and the state, in one transaction; the source is read in the run's snapshot."""
    source = _connection("source", plan.source_uri, plan)
    target = _connection("target", plan.target_uri, plan)
    meter = Meter(plan.limits)
    with source, target:
        with source.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            if plan.snapshot:
                cursor.execute(f"SET TRANSACTION SNAPSHOT {literal(plan.snapshot)}")
        if not plan.ledger.hold(target, task.number, attempt):
            raise InfrastructureError(f"range {task.number} was taken over by another job")
        result.counts = move(plan, task, source, target, meter)
        plan.ledger.passed(target, task.number, result.counts)
    result.state, result.bytes = "PASS", meter.bytes
    result.progress, result.waited_s = meter.progress, meter.waited_s


def _stream(plan: CopyPlan, task: RangeTask, source: Connection, target: Connection, meter: Meter) -> Counts:
    skipped = skip_long_rows(plan, task, source, target)
    form = "binary" if plan.binary else "text"
    query = f"COPY ({range_query(plan, task)}) TO STDOUT (FORMAT {form})"
    with Pump(source, query) as pump, target.cursor() as cursor:
        reader = meter.reader(pump.reader, counts_lines=not plan.binary)
        cursor.copy_expert(f"COPY {plan.into} FROM STDIN (FORMAT {form})", reader, size=BLOCK_BYTES)  # type: ignore[arg-type]  # only read() is used
        written = cursor.rowcount
        read = pump.finish()
    if read != written:
        raise JobError(f"range {task.number}: {read} rows were read but {written} written")
    return Counts(read + skipped, written, skipped)


def _connection(side: str, uri: str, plan: CopyPlan) -> Connection:
    """This worker's connection, kept for its next ranges. One database may be both sides: each has its own."""
    name = plan.ledger.application_name
    key = (side, uri, name)
    if key not in _connections or _connections[key].closed:
        _connections[key] = connect(uri, name, sees_whole_tables=True)
    return _connections[key]


def _forget_connections() -> None:
    for connection in _connections.values():
        connection.close()
    _connections.clear()


def _sqlstate(error: Exception) -> str:
    """The server's; '' for a connection that is gone; an internal error's for counts that don't agree."""
    own = "" if isinstance(error, psycopg2.Error | OSError | InfrastructureError) else "XX000"
    return getattr(error, "pgcode", None) or own


def _record_failure(plan: CopyPlan, result: RangeResult) -> None:
    with suppress(psycopg2.Error, InfrastructureError):
        target = _connection("target", plan.target_uri, plan)
        plan.ledger.failed(target, result.number, result.sqlstate, result.reason)
