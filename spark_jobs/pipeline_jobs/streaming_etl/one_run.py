"""One run of a load at a time: a second one would go on from positions that the first still moves.

A run holds its load by a connection, so that another one waits and is refused. A connection can be lost, and the
batches of a killed run may still be committing: a run also takes a turn at each range, and no batch of an earlier turn
commits after that.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from pipeline_jobs.contract import InfrastructureError
from pipeline_jobs.streaming_etl.tables import RANGES

PATIENCE_S = 60.0
"""A run whose machine is gone is noticed within half a minute, one whose process was killed at once."""
POLL_S = 0.2
STAYS = """
SELECT set_config(name, wanted.setting, false) FROM pg_settings JOIN (VALUES ('tcp_keepalives_idle', '10'),
    ('tcp_keepalives_interval', '5'), ('tcp_keepalives_count', '3'), ('idle_session_timeout', '0')
) AS wanted (name, setting) USING (name)
"""
"""A server believes for two hours in a client whose machine is gone; it may end one that is idle."""


def hold(connection: Connection, schema: str, job: str, cancel: threading.Event) -> Connection:
    """The connection, which from now on holds the load `job` of this schema until it is closed.

    Waits PATIENCE_S for another run that holds it, or until `cancel`. Raises InfrastructureError where that stays.
    """
    connection.autocommit = True
    deadline = time.monotonic() + PATIENCE_S
    try:
        with connection.cursor() as cursor:
            cursor.execute(STAYS)
            while not _is_mine(cursor, _name("load", schema, job)):
                if time.monotonic() > deadline or cancel.wait(POLL_S):
                    raise InfrastructureError(
                        f"another run of the load {job!r} is writing to the schema {schema}: "
                        "let it end, or give this one a run_id of its own"
                    )
    except BaseException:
        connection.close()
        raise
    return connection


@dataclass(frozen=True)
class Turn:
    """The right of one run to write a range's batches, until another run takes it."""

    schema: str
    job: str
    range: int
    number: int

    @classmethod
    def take(cls, cursor: Cursor, schema: str, job: str, number: int) -> Turn:
        """The next turn at a range. Batches of earlier ones have committed by now, or never will."""
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (_name("range", schema, job, number),))
        statement = sql.SQL("UPDATE {} SET turn = turn + 1 WHERE (job, number) = (%s, %s) RETURNING turn")
        cursor.execute(statement.format(sql.Identifier(schema, RANGES)), (job, number))
        row = cursor.fetchone()
        if row is None:
            raise InfrastructureError(f"the load {job!r} was reset while it ran: start it again")
        return cls(schema, job, number, row[0])

    def check(self, cursor: Cursor) -> None:
        """Before a batch's rows, in its transaction. Raises InfrastructureError where another run has a turn."""
        cursor.execute(
            sql.SQL(
                "SET CONSTRAINTS ALL IMMEDIATE; SELECT pg_advisory_xact_lock_shared(hashtextextended(%s, 0)); "
                "SELECT turn FROM {} WHERE (job, number) = (%s, %s)"
            ).format(sql.Identifier(self.schema, RANGES)),
            (_name("range", self.schema, self.job, self.range), self.job, self.range),
        )
        if cursor.fetchone() != (self.number,):
            raise InfrastructureError(
                f"another run of the load {self.job!r} has taken over: what this one loaded stays"
            )


def _is_mine(cursor: Cursor, name: str) -> bool:
    cursor.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (name,))
    return bool(cursor.fetchone() == (True,))


def _name(*parts: str | int) -> str:
    """The name of an advisory lock; no two lists of parts have the same."""
    return f"streaming_etl {parts!r}"
