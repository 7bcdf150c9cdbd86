"""The identity of a source table: what tells it from another one of the same name, for bookmarks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

from psycopg2 import Error
from psycopg2.extensions import cursor as Cursor
from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from pipeline_jobs.contract import TrialConfig
from pipeline_jobs.dedup.csv_copy import APPLICATION
from pipeline_jobs.dedup.options import Source
from pipeline_jobs.postgres import address, connect, identifier, is_postgres

OF_RELATION = """
SELECT coalesce(pg_partition_root(c.oid), c.oid)::bigint,
       CASE WHEN relkind = 'r' AND NOT relispartition THEN relfilenode::bigint ELSE 0 END
FROM pg_class c WHERE c.oid = to_regclass(%s)
"""
"""A partitioned table gets and loses partitions, and a materialized view a new file with each refresh: they stay
themselves."""
OF_DATABASE = (
    "SELECT oid::bigint, (SELECT system_identifier FROM pg_control_system()) FROM pg_database WHERE datname = "
)
OF_VIEW = "SELECT md5(pg_get_viewdef(c.oid)) FROM pg_class c WHERE c.oid = to_regclass(%s) AND relkind IN ('v', 'm')"


def source_identity(spark: SparkSession, source: Source, config: TrialConfig) -> str:
    """The tables that a source reads, by what no other table has; empty for files, which their path names."""
    if source.format == "jdbc":
        return postgres_identity(config.uri("source"), source.path)
    return _iceberg_identity(spark, source.path) if source.format == "iceberg" else ""


def postgres_identity(uri: str, table: str) -> str:
    """Server, database and tables behind a table, a view or a query in parentheses.

    A table that was dropped and made anew, restored, truncated or rewritten is another one: then all is read again.
    """
    if not is_postgres(uri):
        return address(uri)
    try:
        with closing(connect(uri, APPLICATION)) as connection, connection.cursor() as cursor:
            return json.dumps([_database(cursor), _view(cursor, table), *_tables(cursor, table)])
    except Error:
        # What the table itself refuses is said by the reader, in one place for all kinds of databases.
        return address(uri)


def _database(cursor: Cursor) -> list[int]:
    cursor.execute(f"{OF_DATABASE} current_database()")
    return list(cursor.fetchone() or ())


def _view(cursor: Cursor, table: str) -> str | None:
    if table.lstrip().startswith("("):
        return None
    cursor.execute(OF_VIEW, (table,))
    row = cursor.fetchone()
    return row[0] if row else None


def _tables(cursor: Cursor, table: str) -> list[list[int]]:
    cursor.execute(f"EXPLAIN (VERBOSE, FORMAT JSON) SELECT * FROM {table}")
    plan = cursor.fetchone()[0]  # type: ignore[index]
    found = []
    for name in set(_relations(plan)):
        cursor.execute(OF_RELATION, (name,))
        found.append(list(cursor.fetchone() or ()))
    return sorted(each for number, each in enumerate(found) if each not in found[:number])


def _relations(plan: Any) -> Iterator[str]:
    """The tables that a plan reads, as SQL names them."""
    for node in plan if isinstance(plan, list) else plan.values():
        if isinstance(node, list | dict):
            yield from _relations(node)
    if isinstance(plan, Mapping) and "Relation Name" in plan:
        yield f"{identifier(plan['Schema'])}.{identifier(plan['Relation Name'])}"


def _iceberg_identity(spark: SparkSession, name: str) -> str:
    """The table's UUID. A metadata table, or a name that Iceberg can't load, has none."""
    jvm: Any = spark._jvm
    try:
        table = jvm.org.apache.iceberg.spark.Spark3Util.loadIcebergTable(spark._jsparkSession, name)
        return str(table.uuid().toString())
    except Py4JJavaError:
        return ""
