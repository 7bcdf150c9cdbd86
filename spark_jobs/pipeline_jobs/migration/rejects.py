"""Rejected rows: a range copied row by row where the target refuses some; bad ones kept with their reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import BytesIO
from itertools import islice
from typing import BinaryIO

import psycopg2
from psycopg2.extensions import connection as Connection

from pipeline_jobs.contract import JobError
from pipeline_jobs.migration.copy_plan import CopyPlan, RangeTask, range_query, skip_long_rows
from pipeline_jobs.migration.copy_stream import Pump
from pipeline_jobs.migration.ledger import Counts
from pipeline_jobs.migration.rate_limit import Meter
from pipeline_jobs.postgres import first_line, is_row_error

Rejected = tuple[str, str, str]
"""The row as a line of text COPY, the SQLSTATE, the reason."""


class TooManyRejectedError(JobError):
    """The rows are not at fault one by one: the tables don't fit."""


def copy_singly(plan: CopyPlan, task: RangeTask, source: Connection, target: Connection, meter: Meter) -> Counts:
    """Copy a range in batches, halving a refused batch down to the rows that cause it. Within the open transaction."""
    skipped = skip_long_rows(plan, task, source, target)
    written = rejected = 0
    with Pump(source, f"COPY ({range_query(plan, task)}) TO STDOUT") as pump:
        for batch in _batches(pump.reader, max(plan.batch_size, 100)):
            refused = list(_load(target, plan.into, batch))
            rejected += len(refused)
            written += len(batch) - len(refused)
            if rejected > plan.max_rejected:
                raise TooManyRejectedError(f"more than {plan.max_rejected} rows rejected, the last: {refused[-1][2]}")
            if refused:
                plan.ledger.reject(target, task.number, refused)
            meter.add(sum(map(len, batch)), len(batch), len(batch) - len(refused))
        read = pump.finish()
    if read != written + rejected:
        raise JobError(f"range {task.number}: {read} rows were read, {written} written and {rejected} rejected")
    return Counts(read + skipped, written, skipped, rejected)


def _batches(lines: BinaryIO, size: int) -> Iterator[list[bytes]]:
    while batch := list(islice(lines, size)):
        yield batch


def _load(target: Connection, into: str, lines: Sequence[bytes]) -> Iterator[Rejected]:
    """Write the lines that can be written; yield the others."""
    with target.cursor() as cursor:
        cursor.execute("SAVEPOINT batch")
        try:
            cursor.copy_expert(f"COPY {into} FROM STDIN", BytesIO(b"".join(lines)))
            cursor.execute("RELEASE SAVEPOINT batch")
            return
        except psycopg2.Error as error:
            if not is_row_error(error):
                raise
            cursor.execute("ROLLBACK TO SAVEPOINT batch; RELEASE SAVEPOINT batch")
            if len(lines) == 1:
                text = lines[0].decode("utf-8", "replace").rstrip("\n")
                yield text, error.pgcode or "", first_line(error)
                return
    middle = len(lines) // 2
    yield from _load(target, into, lines[:middle])
    yield from _load(target, into, lines[middle:])
