"""One run of a load at a time: a second one would go on from positions that the first still moves."""

from __future__ import annotations

import threading
import time

from psycopg2.extensions import connection as Connection

from pipeline_jobs.contract import InfrastructureError

PATIENCE_S = 60.0
"""A run whose machine is gone is noticed within half a minute, one whose process was killed at once."""
POLL_S = 0.2
NOTICE = "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3"
"""Otherwise a server believes for two hours in a client whose machine is gone."""


def hold(connection: Connection, schema: str, job: str, cancel: threading.Event) -> Connection:
    """The connection, which from now on holds the load `job` of this schema until it is closed.

    Waits PATIENCE_S for another run that holds it, or until `cancel`. Raises InfrastructureError where that stays.
    """
    connection.autocommit = True
    deadline = time.monotonic() + PATIENCE_S
    try:
        while not _is_mine(connection, f"streaming_etl load {schema} {job}"):
            if time.monotonic() > deadline or cancel.wait(POLL_S):
                raise InfrastructureError(
                    f"another run of the load {job!r} is writing to the schema {schema}: "
                    "let it end, or give this one a run_id of its own"
                )
    except BaseException:
        connection.close()
        raise
    return connection


def _is_mine(connection: Connection, name: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(NOTICE)
        cursor.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (name,))
        return bool(cursor.fetchone() == (True,))
