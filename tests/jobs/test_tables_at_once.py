"""Jobs that start at the same moment on an empty database: each finds the tables and types that it needs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from tests.jobs.streaming_etl_reference import users_mapping

from pipeline_jobs.dedup.bookmarks import Bookmarks
from pipeline_jobs.dedup.options import Rule, Source
from pipeline_jobs.migration.ledger import Ledger
from pipeline_jobs.migration.own_types import Kind, OwnType, provide
from pipeline_jobs.postgres import connect
from pipeline_jobs.streaming_etl.tables import create_accounts, create_tables

JOBS = 8
MOOD = OwnType(1, Kind.ENUM, "kinds", "mood", "", "", ("sad", "glad"), "", (), ())


def of_streaming_etl(uri: str) -> None:
    with closing(connect(uri, "test", autocommit=False)) as connection:
        create_accounts(connection, "loads")
        create_tables(connection, users_mapping(), "loads")


def of_dedup(uri: str) -> None:
    bookmarks = Bookmarks("nightly", "latest", Source("parquet", "x"), Rule(("id",), "at"))
    with closing(connect(uri, "test")) as connection, connection.cursor() as cursor:
        bookmarks.make_table(cursor)


def of_migration(uri: str) -> None:
    with closing(connect(uri, "test")) as connection:
        Ledger("books", "r").create_tables(connection)


def of_a_migrated_type(uri: str) -> None:
    with closing(connect(uri, "test")) as connection:
        provide(connection, [MOOD], create=True)


@pytest.mark.parametrize("make", [of_streaming_etl, of_dedup, of_migration, of_a_migrated_type])
def test_all_of_them_find_their_tables(new_database: Callable[..., str], make: Callable[[str], None]) -> None:
    for _ in range(3):
        uri, together = new_database(), threading.Barrier(JOBS)

        def started(uri: str = uri, together: threading.Barrier = together) -> None:
            together.wait()
            make(uri)

        with ThreadPoolExecutor(JOBS) as threads:
            for job in [threads.submit(started) for _ in range(JOBS)]:
                job.result()
