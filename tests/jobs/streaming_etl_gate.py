"""A gate in the target that a load can't pass before the test opens it: no kill of the load comes too late."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
from tests.jobs.streaming_etl_reference import users_mapping, write_bson

from pipeline_jobs.streaming_etl.bson_file import BsonFile
from pipeline_jobs.streaming_etl.load import Target, load
from pipeline_jobs.streaming_etl.settings import Settings

LOCK = 618
TRIGGER = f"""
CREATE TABLE gate (most bigint);
INSERT INTO gate VALUES (0);
CREATE FUNCTION wait_at_the_gate() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF (SELECT coalesce(sum(documents), 0) FROM etl_batch) >= (SELECT most FROM gate) THEN
    PERFORM pg_advisory_xact_lock_shared({LOCK});
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER gate BEFORE INSERT ON etl_batch FOR EACH ROW EXECUTE FUNCTION wait_at_the_gate();
"""
RUNNING = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE %s AND datname = current_database()"


class Gate:
    """Lets a load commit batches until the target has so many documents; the next ones wait."""

    def __init__(self, connection: psycopg2.extensions.connection) -> None:
        self._connection = connection

    def close_at(self, documents: int) -> None:
        """Hold back what would come after so many documents."""
        with self._connection.cursor() as cursor:
            cursor.execute("UPDATE gate SET most = %s", (documents,))
            cursor.execute("SELECT pg_advisory_lock(%s)", (LOCK,))

    def open(self) -> None:
        """Let everything pass."""
        with self._connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock_all()")

    def until_nobody_is_connected(self) -> None:
        """Wait until the server has noticed that a killed load is gone."""
        with self._connection.cursor() as cursor:
            cursor.execute(RUNNING, ("pipeline-tuner streaming-etl%",))
            while cursor.fetchone() != (0,):
                time.sleep(0.02)
                cursor.execute(RUNNING, ("pipeline-tuner streaming-etl%",))


@contextmanager
def gate(uri: str, folder: Path) -> Iterator[Gate]:
    """A gate, open at first, in a database that gets the tables of the users."""
    nothing = write_bson(folder / "nothing.bson", [])
    load(BsonFile(nothing), Target(uri, users_mapping()), Settings(), job="tables")
    with closing(psycopg2.connect(uri)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(TRIGGER)
        yield Gate(connection)
