"""The pool of connections to the target, shared by the workers of a pipeline."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from psycopg2.extensions import parse_dsn


def connect(uri: str, *, async_commit: bool = False) -> Connection:
    """A connection for loading. Raises psycopg2.OperationalError where there is no database.

    Whatever the database's own is, a statement sees what was committed before it: what another load has brought, too.
    """
    # Of an option that is given twice the last one counts.
    options = (
        f"{parse_dsn(uri).get('options', '')} "
        f"-c synchronous_commit={'off' if async_commit else 'on'} -c TimeZone=UTC -c client_encoding=UTF8 "
        "-c default_transaction_isolation=read\\ committed"
    )
    return psycopg2.connect(
        uri, application_name="pipeline-tuner streaming-etl", connect_timeout=10, options=options,
        keepalives_idle=10, keepalives_interval=5, keepalives_count=3,
    )  # fmt: skip


def fetched_row(cursor: Cursor) -> tuple[Any, ...]:
    """The row of a statement that always gives one."""
    row = cursor.fetchone()
    if row is None:
        raise RuntimeError("the statement gave no row")
    return row


class Pool:
    """At most `size` connections; whoever wants another waits. A broken one is replaced on the next use."""

    def __init__(self, open_connection: Callable[[], Connection], size: int) -> None:
        self._open = open_connection
        self._free = threading.Semaphore(size)
        self._idle: list[Connection] = []
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection inside a transaction; rolled back where the block raises, closed where it is broken."""
        with self._free:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            connection = connection or self._open()
            try:
                yield connection
            except BaseException:
                self._discard(connection)
                raise
            with self._lock:
                self._idle.append(connection)

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _discard(self, connection: Connection) -> None:
        with contextlib.suppress(psycopg2.Error):
            connection.close()
