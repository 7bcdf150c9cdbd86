"""The strategy `columnar` inside a task: the first records of its files, found from key and order alone.

Key and order are a small part of the bytes. DuckDB ranks them; then the files are read once more, batch by batch, and
what comes first in its key goes on as it is. Records that tie are decided by content here, as strategies.py does.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

BATCH_BYTES = 4 << 20
"""Sent to Spark at once: it keeps a batch outside of the heap, beside what waits to be sent."""
READ_ROWS = 65_536
"""Decoded at once."""
FOLD_ROWS = 200_000
"""So many records that tie are kept before they are decided, so that copies of a record don't fill the memory."""
ROW, TIED = "row", "tied"


class RefusedError(RuntimeError):
    """Records that the rule refuses, or a file that can't be read: the driver says it in this line."""


@dataclass(frozen=True)
class Part:
    """Row groups of a file."""

    path: str
    groups: tuple[int, ...]
    rows: int


@dataclass(frozen=True)
class Reduction:
    """What the tasks do. Columns are named as in the files."""

    tasks: tuple[tuple[Part, ...], ...]
    schema: pa.Schema
    """The columns as Spark takes them."""
    key: tuple[str, ...]
    declared: tuple[str, ...]
    """The declared order, the timestamp first."""
    null_keys: str
    null_timestamps: str
    refusals: tuple[str, str]
    """What is said of a record without key, and without timestamp."""
    flag: str
    """The column beside the others, by a name that none of them has: whether another content tied."""
    threads: int

    @property
    def sent(self) -> pa.Schema:
        """What a task sends: the columns, and the flag."""
        return self.schema.append(pa.field(self.flag, pa.bool_()))

    @property
    def content(self) -> tuple[str, ...]:
        """The columns that decide where the declared order doesn't."""
        return tuple(name for name in self.schema.names if name not in {*self.key, *self.declared})


@dataclass(frozen=True)
class Totals:
    """Records that a task saw."""

    rows: int
    dropped: int
    null_timestamps: int


def survivors(reduction: Reduction, number: int, tell: Callable[[Totals], None]) -> Iterator[pa.RecordBatch]:
    """The first records of each key among a task's, one for each key, and whether others of another content tied.

    Raises RefusedError for a record that the rule refuses.
    """
    parts = reduction.tasks[number]
    first, peers, totals = _first(reduction, parts)
    tell(totals)
    yield from _ahead(_chosen(reduction, parts, first, peers))


def _ahead(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same, the next one read while Spark takes this one."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        coming = pool.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = pool.submit(next, batches, None)
            yield batch


def _first(reduction: Reduction, parts: Sequence[Part]) -> tuple[np.ndarray, np.ndarray, Totals]:
    """Masks over a task's records: the only first one of its key, and one of several that tie; and what was seen."""
    table = _key_and_order(reduction, parts)
    taking_part, totals = _taking_part(reduction, table)
    with _engine(reduction.threads) as db:
        db.register("records", taking_part)
        found = db.sql(_first_sql(len(reduction.key), len(reduction.declared))).to_arrow_table()
    rows, is_alone = found[ROW].to_numpy(), found["peers"].to_numpy() == 1
    first, peers = np.zeros(totals.rows, bool), np.zeros(totals.rows, bool)
    first[rows[is_alone]] = True
    peers[rows[~is_alone]] = True
    return first, peers, totals


def _key_and_order(reduction: Reduction, parts: Sequence[Part]) -> pa.Table:
    """The columns k0, k1 ... of the key, o0, o1 ... of the declared order, and each record's number in the task."""
    names = [*reduction.key, *reduction.declared]
    tables = [pa.Table.from_batches([batch]) for batch in _batches(parts, reduction, names)]
    columns = {
        new: pa.chunked_array(
            [_sortable(chunk) for table in tables for chunk in table[name].chunks],
            type=_sortable(pa.array([], reduction.schema.field(name).type)).type,
        )
        for new, name in zip(_names(len(reduction.key), len(reduction.declared)), names, strict=True)
    }
    rows = sum(part.rows for part in parts)
    return pa.table({**columns, ROW: np.arange(rows, dtype=np.int64)})


def _names(keys: int, others: int) -> list[str]:
    return [*(f"k{number}" for number in range(keys)), *(f"o{number}" for number in range(others))]


def _sortable(column: pa.Array) -> pa.Array:
    """A column as something that DuckDB orders as Spark does, without rules of its own: texts by bytes, times as
    numbers.
    """
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return column.cast(pa.large_string()).cast(pa.large_binary())
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return column.cast(pa.large_binary())
    if pa.types.is_timestamp(kind):
        return column.cast(pa.int64())
    return column.cast(pa.int32()) if pa.types.is_date32(kind) else column


def _taking_part(reduction: Reduction, table: pa.Table) -> tuple[pa.Table, Totals]:
    """The records that the rule takes, and what was seen. Raises RefusedError."""
    no_key = np.zeros(table.num_rows, bool)
    for number in range(len(reduction.key)):
        no_key |= _is_null(table[f"k{number}"])
    no_time = _is_null(table["o0"])
    dropped = np.zeros(table.num_rows, bool)
    for problem, policy, said in zip(
        (no_key, no_time), (reduction.null_keys, reduction.null_timestamps), reduction.refusals, strict=True
    ):
        # A record that the first policy drops is none to the second one.
        if policy == "fail" and (problem & ~dropped).any():
            raise RefusedError(said)
        if policy == "drop":
            dropped |= problem
    totals = Totals(table.num_rows, int(dropped.sum()), int(no_time.sum()))
    return table.filter(pa.array(~dropped)) if dropped.any() else table, totals


def _is_null(column: pa.ChunkedArray) -> np.ndarray:
    return pc.is_null(column).to_numpy() if column.null_count else np.zeros(len(column), bool)


def _first_sql(keys: int, declared: int) -> str:
    key = ", ".join(f"k{number}" for number in range(keys))
    order = ", ".join(f"o{number} DESC NULLS LAST" for number in range(declared))
    return (
        f"SELECT {ROW}, peers FROM (SELECT {ROW}, rank() OVER w AS place, count(*) OVER w AS peers FROM records "
        f"WINDOW w AS (PARTITION BY {key} ORDER BY {order})) WHERE place = 1"
    )


@contextmanager
def _engine(threads: int) -> Iterator[Any]:
    """DuckDB, which puts what doesn't fit its memory into a folder of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="dedup-") as folder,
        duckdb.connect(config={"threads": threads, "temp_directory": folder}) as db,
    ):
        yield db


def _batches(parts: Sequence[Part], reduction: Reduction, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The records of the parts in their order. Raises RefusedError for a file that can't be read."""
    for part in parts:
        try:
            with pq.ParquetFile(part.path) as file:
                for batch in file.iter_batches(
                    READ_ROWS, row_groups=list(part.groups), columns=list(names), use_threads=reduction.threads > 1
                ):
                    yield batch.select(list(names))
        except (OSError, pa.ArrowException):
            raise RefusedError(f"the file {part.path} can't be read: it is damaged or of another format") from None


def _chosen(
    reduction: Reduction, parts: Sequence[Part], first: np.ndarray, peers: np.ndarray
) -> Iterator[pa.RecordBatch]:
    """The records of the masks, read whole, those that tie at the end."""
    ties, start = _Ties(reduction), 0
    for batch in _batches(parts, reduction, reduction.schema.names):
        here = slice(start, start + batch.num_rows)
        start += batch.num_rows
        if peers[here].any():
            ties.add(_flagged(batch.filter(pa.array(peers[here])), reduction))
        if first[here].any():
            rows = batch if first[here].all() else batch.filter(pa.array(first[here]))
            yield from _pieces(_flagged(rows, reduction))
    for batch in ties.decided().to_batches(READ_ROWS):
        yield from _pieces(batch)


def _flagged(batch: pa.RecordBatch, reduction: Reduction) -> pa.RecordBatch:
    """The records as Spark takes them, with a flag that says that nothing of another content tied so far."""
    columns = [column.cast(field.type) for column, field in zip(batch.columns, reduction.schema, strict=True)]
    return pa.RecordBatch.from_arrays([*columns, pa.repeat(False, batch.num_rows)], schema=reduction.sent)


def _pieces(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The records in pieces of the size that Spark takes at once."""
    step = max(1, batch.num_rows * BATCH_BYTES // max(batch.nbytes, 1))
    for start in range(0, batch.num_rows, step):
        yield batch.slice(start, step)


class _Ties:
    """Records that the declared order leaves side by side, decided by content: the largest one stays."""

    def __init__(self, reduction: Reduction) -> None:
        self._reduction = reduction
        self._decided = reduction.sent.empty_table()
        self._waiting: list[pa.RecordBatch] = []
        self._rows = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Take in flagged records; they are decided as soon as they are more than those that stayed so far."""
        self._waiting.append(batch)
        self._rows += batch.num_rows
        if self._rows > max(FOLD_ROWS, self._decided.num_rows):
            self.decided()

    def decided(self) -> pa.Table:
        """One record of each key, flagged where another content was there."""
        if self._waiting:
            waiting = pa.Table.from_batches(self._waiting)
            self._waiting, self._rows = [], 0
            self._decided = self._largest(pa.concat_tables([self._decided, waiting]))
        return self._decided

    def _largest(self, table: pa.Table) -> pa.Table:
        keys, content, flag = self._reduction.key, self._reduction.content, self._reduction.flag
        columns = {
            new: pa.chunked_array([_sortable(chunk) for chunk in table[name].chunks])
            for new, name in zip(_names(len(keys), len(content)), (*keys, *content), strict=True)
        }
        with _engine(self._reduction.threads) as db:
            db.register("records", pa.table({**columns, TIED: table[flag], ROW: np.arange(len(table))}))
            found = db.sql(_largest_sql(len(keys), len(content))).to_arrow_table()
        return table.take(found[ROW]).set_column(len(self._reduction.schema), flag, found[TIED])


def _largest_sql(keys: int, content: int) -> str:
    key = ", ".join(f"k{number}" for number in range(keys))
    order = ", ".join(f"o{number} DESC NULLS LAST" for number in range(content)) or "true"
    return (
        f"SELECT {ROW}, {TIED} FROM (SELECT {ROW}, number, bool_or({TIED} OR place > 1) OVER (PARTITION BY {key}) AS "
        f"{TIED} FROM (SELECT *, row_number() OVER w AS number, rank() OVER w AS place FROM records "
        f"WINDOW w AS (PARTITION BY {key} ORDER BY {order}))) WHERE number = 1"
    )
