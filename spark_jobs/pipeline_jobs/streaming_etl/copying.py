"""A payload of the transcoder's into a table, by binary COPY."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO, cast

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

BLOCK_BYTES = 256 * 1024


def copy_rows(cursor: Cursor, table: sql.Identifier, names: Sequence[str], payload: memoryview) -> None:
    """Write a payload's rows; `names` are the columns in its order."""
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(
        table, sql.SQL(", ").join(map(sql.Identifier, names))
    )
    stream = cast("IO[bytes]", PayloadStream(payload))  # of a file, COPY asks for `read` alone
    cursor.copy_expert(statement, stream, BLOCK_BYTES)


class PayloadStream:
    """A payload as the file that psycopg2's COPY reads."""

    def __init__(self, payload: memoryview) -> None:
        self._payload, self._at = payload, 0

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, at most `size`; all that are left where it is negative."""
        size = size if size >= 0 else len(self._payload)
        block = bytes(self._payload[self._at : self._at + size])
        self._at += len(block)
        return block
