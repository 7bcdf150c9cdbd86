"""How Spark's tasks copy rows into PostgreSQL: Arrow batches as CSV lines, one transaction per task attempt."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import psycopg2

from pipeline_jobs.postgres import connect, identifiers

if TYPE_CHECKING:
    import pyarrow as pa

ATTEMPT = "_attempt"
"""The staging table's column that says which task attempt copied a row."""
COPY_BUFFER = 1 << 20
APPLICATION = "pipeline tuner dedup"


def copier(
    uri: str, staging: str, columns: Sequence[str]
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """A function for Spark's tasks: copies a partition into the staging table and commits at its end."""
    statement = f"COPY {staging} ({identifiers([*columns, ATTEMPT])}) FROM STDIN (FORMAT csv)"

    def copy(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow
        from pyspark import TaskContext

        attempt = TaskContext.get().taskAttemptId()  # type: ignore[union-attr]
        rows = _CsvRows(iter(batches), attempt)
        connection = connect(uri, APPLICATION, autocommit=False)
        try:
            with connection.cursor() as cursor:
                cursor.copy_expert(statement, rows, COPY_BUFFER)
            connection.commit()
        except psycopg2.Error as error:
            raise RuntimeError(f"PostgreSQL refused the rows: {str(error).strip()}") from None
        finally:
            connection.close()
        yield pyarrow.RecordBatch.from_pydict({"attempt": [attempt], "copied": [rows.count]})

    return copy


class _CsvRows(io.RawIOBase):
    """Record batches as a file of CSV lines, each ended by the attempt's number: as much as is asked for, no more."""

    def __init__(self, batches: Iterator[pa.RecordBatch], attempt: int) -> None:
        self._batches, self._attempt = batches, attempt
        self._rest = memoryview(b"")
        self.count = 0

    def read(self, size: int = -1) -> bytes:
        """The next bytes, at most `size`; empty at the end."""
        if not self._rest:
            self._rest = memoryview(self._next_block())
        taken, self._rest = self._rest[:size], self._rest[size:]
        return bytes(taken)

    def _next_block(self) -> bytes:
        import pyarrow
        from pyarrow import csv

        for batch in self._batches:
            if batch.num_rows:
                self.count += batch.num_rows
                numbered = batch.append_column(ATTEMPT, pyarrow.repeat(self._attempt, batch.num_rows))
                block = io.BytesIO()
                csv.write_csv(numbered, block, csv.WriteOptions(include_header=False, quoting_style="all_valid"))
                return block.getvalue()
        return b""
