"""The store: reads and writes on one engine, and the measuring lock that keeps trials from running beside each
other.
"""

from __future__ import annotations

import logging
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType

from sqlalchemy import Connection, Engine, text

from pipeline_tuner.exceptions import InfrastructureError
from pipeline_tuner.store.engine import as_engine, clear_errors
from pipeline_tuner.store.reads import Reads
from pipeline_tuner.store.writes import Writes

MEASURING_LOCK = 7_350_012
"""Key of the advisory lock: whoever holds it measures, everything else of ours waits."""

Key = tuple[int, int | None]
"""An advisory lock: one number, or a number and a place."""

log = logging.getLogger(__name__)


class Store(Writes, Reads):
    """The results database behind a URL (`postgresql://user:password@host:5432/database`) or an engine.

    Every method raises InfrastructureError where the database is unavailable: worth a retry, no evidence on a trial.
    Every write can be repeated: it replaces, never adds. Use it as a context manager to close its connections.
    """

    def __init__(self, url_or_engine: str | Engine, *, statement_timeout_s: float | None = None) -> None:
        self.engine = as_engine(url_or_engine, statement_timeout_s)

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that are kept."""
        self.engine.dispose()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One transaction, committed at the end."""
        with clear_errors(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def measuring(self, *, timeout_s: float = 7200, poll_s: float = 0.5) -> Iterator[None]:
        """Hold the right to measure: nothing else of ours runs a job meanwhile, across studies, DAGs and machines.

        The server frees the lock when this process dies. Raises InfrastructureError after `timeout_s` of waiting.
        """
        with self._holding([(MEASURING_LOCK, None)], timeout_s, poll_s):
            yield

    @contextmanager
    def measuring_beside(
        self, environment: str, places: int, *, timeout_s: float = 7200, poll_s: float = 0.5
    ) -> Iterator[None]:
        """Hold one of so many places of an environment whose runs share no machine: other environments go on.

        The server frees the lock when this process dies. Raises InfrastructureError after `timeout_s` of waiting.
        """
        name = zlib.crc32(environment.encode()) & 0x7FFFFFFF
        with self._holding([(name, place) for place in range(places)], timeout_s, poll_s):
            yield

    @contextmanager
    def _holding(self, keys: Sequence[Key], timeout_s: float, poll_s: float) -> Iterator[None]:
        """Hold one of the advisory locks."""
        with clear_errors():
            connection = self.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        try:
            self._wait_for_lock(connection, keys, time.monotonic() + timeout_s, poll_s)
            yield
        finally:
            # Invalidated, not returned to the pool: closing the session is what frees the lock for certain.
            connection.invalidate()
            connection.close()

    def _wait_for_lock(self, connection: Connection, keys: Sequence[Key], deadline: float, poll_s: float) -> None:
        is_told = False
        while not any(self._takes_lock(connection, key) for key in keys):
            if time.monotonic() > deadline:
                raise InfrastructureError("another trial kept measuring for too long: see which task holds the lock")
            if not is_told:
                log.info("Waiting: another trial is being measured")
                is_told = True
            # Polled rather than waited for in the server, so that a signal reaches this process at once.
            time.sleep(poll_s)

    def _takes_lock(self, connection: Connection, key: Key) -> bool:
        number, place = key
        arguments = ":number" if place is None else ":number, :place"
        values = {"number": number} if place is None else {"number": number, "place": place}
        with clear_errors():
            return bool(connection.scalar(text(f"SELECT pg_try_advisory_lock({arguments})"), values))
