"""The file object between two COPY commands: a source's COPY as something to read from."""

from __future__ import annotations

import fcntl
import os
import threading
from contextlib import suppress

import psycopg2
from psycopg2.extensions import connection as Connection

PIPE_BYTES = 1 << 20
BLOCK_BYTES = 1 << 18


class Pump:
    """A COPY TO that fills a pipe from a thread. `reader` is the pipe's other end.

    Only `finish` tells that all rows came: the end of the pipe may also be a source that broke off.
    """

    def __init__(self, source: Connection, query: str) -> None:
        self._source = source
        self._query = query
        self._rows = 0
        self._error: BaseException | None = None

    def __enter__(self) -> Pump:
        read_end, write_end = os.pipe()
        with suppress(OSError):
            fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self.reader = open(read_end, "rb", buffering=BLOCK_BYTES)
        self._thread = threading.Thread(target=self._run, args=(write_end,), name="copy-source", daemon=True)
        self._thread.start()
        return self

    def _run(self, write_end: int) -> None:
        try:
            with open(write_end, "wb", buffering=BLOCK_BYTES) as pipe, self._source.cursor() as cursor:
                cursor.copy_expert(self._query, pipe)
                self._rows = cursor.rowcount
        except BaseException as error:
            self._error = error

    def finish(self) -> int:
        """The number of rows that the source sent. Raises what broke it."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._rows

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind is not None and self._thread.is_alive():
            with suppress(psycopg2.Error):
                self._source.cancel()
        self.reader.close()
        self._thread.join()
