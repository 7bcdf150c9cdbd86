"""Row-level differences of ranges that don't validate, and their correction: it inserts and updates, never deletes.

Both sides send their keys with a hash of the row, in the key's order; the two are merged as they come.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice

from psycopg2.extensions import connection as Connection
from psycopg2.extras import execute_values

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.migration.checksums import choose_hash
from pipeline_jobs.migration.copy_stream import Pump
from pipeline_jobs.migration.endpoints import Endpoints
from pipeline_jobs.migration.ledger import Ledger, PlannedRange
from pipeline_jobs.migration.ranges import Key, KeyRange
from pipeline_jobs.migration.tables import Table, select_list
from pipeline_jobs.postgres import connect, identifier, identifiers

BATCH_ROWS = 1000

Keyed = tuple[tuple[str, ...], int]
"""A row's key as text, and the hash of its values."""


@dataclass(frozen=True)
class Difference:
    """A row that isn't the same on both sides. `kind`: MISSING or EXTRA on the target, or MISMATCH."""

    number: int
    kind: str
    key: tuple[str, ...]


def find_differences(ends: Endpoints, ranges: Sequence[PlannedRange]) -> Iterator[Difference]:
    """The rows of these ranges that differ. Raises BadConfigurationError for tables without a unique key."""
    key = unique_key(ends)
    hash_sql = choose_hash(ends.source, ends.target, ends.source_table, ends.columns)
    if ends.target_key is None:  # a range is other rows there: the whole is compared
        ranges = [replace(item, range=KeyRange()) for item in ranges[:1]]
    with closing(connect(ends.target_uri, "migration differences", autocommit=False, sees_whole_tables=True)) as target:
        for item in ranges:
            ours = _keyed_rows(ends.source, ends.source_table, key, item.range, hash_sql)
            theirs = _keyed_rows(target, ends.target_table, key, item.range, hash_sql)
            yield from (Difference(item.number, kind, value) for kind, value in _merge(ours, theirs))


def unique_key(ends: Endpoints) -> Key:
    """The key, if it tells rows apart."""
    key = ends.shared_key
    if key is None or set(key.names) not in [set(names) for names in ends.source_table.keys]:
        raise BadConfigurationError(
            f"{ends.source_table.sql} has no unique key on both sides: rows can't be told apart"
        )
    return key


def correct(ends: Endpoints, ledger: Ledger, found: Sequence[Difference]) -> int:
    """Bring missing and differing rows over, with their mark, in one transaction. Returns how many rows."""
    key = unique_key(ends)
    wanted = [item for item in found if item.kind != "EXTRA"]
    with (
        closing(connect(ends.target_uri, "migration correction", autocommit=False, sees_whole_tables=True)) as target,
        target,
    ):
        for batch in _batches(wanted):
            _bring_over(ends, key, target, [item.key for item in batch])
        record_differences(target, ledger, found, corrected=True)
    return len(wanted)


def record_differences(target: Connection, ledger: Ledger, found: Sequence[Difference], *, corrected: bool) -> None:
    """Keep what was found in the ledger. EXTRA rows are never corrected."""
    with target.cursor() as cursor:
        rows = [(ledger.run_id, d.number, d.kind, list(d.key), corrected and d.kind != "EXTRA") for d in found]
        insert = f"INSERT INTO {ledger.table('difference')} (run_id, number, kind, key, corrected) VALUES %s"
        execute_values(cursor, insert, rows)


def _bring_over(ends: Endpoints, key: Key, target: Connection, keys: Sequence[tuple[str, ...]]) -> None:
    """The rows of these keys, through a temporary table: update those that are there, insert the others."""
    names = [column.name for column in ends.columns]
    values = ", ".join(key.bound_sql(item) for item in keys)
    query = f"SELECT {select_list(ends.columns, ends.source_table)} FROM {ends.source_table.sql}"
    same = " AND ".join(f"t.{identifier(name)} = s.{identifier(name)}" for name in key.names)
    sets = ", ".join(f"{identifier(name)} = s.{identifier(name)}" for name in names if name not in key.names)
    with target.cursor() as cursor:
        cursor.execute(
            f"CREATE TEMPORARY TABLE correction ON COMMIT DROP AS "
            f"SELECT {identifiers(names)} FROM {ends.target_table.sql} WHERE false"
        )
        with Pump(ends.source, f"COPY ({query} WHERE {key.value_sql} IN ({values})) TO STDOUT") as pump:
            cursor.copy_expert("COPY correction FROM STDIN", pump.reader)
            pump.finish()
        if sets:
            cursor.execute(f"UPDATE {ends.target_table.sql} t SET {sets} FROM correction s WHERE {same}")
        cursor.execute(
            f"INSERT INTO {ends.target_table.sql} ({identifiers(names)}) OVERRIDING SYSTEM VALUE "
            f"SELECT {identifiers(names)} FROM correction s "
            f"WHERE NOT EXISTS (SELECT FROM {ends.target_table.sql} t WHERE {same})"
        )
        cursor.execute("DROP TABLE correction")


def _keyed_rows(connection: Connection, table: Table, key: Key, item: KeyRange, hash_sql: str) -> Iterator[Keyed]:
    """Key and hash of a range's rows, in an order that both servers share."""
    names = ", ".join(f"{identifier(name)}::text AS k{i}" for i, name in enumerate(key.names))
    order = ", ".join(f"convert_to(k{i}, 'UTF8')" for i in range(len(key.names)))
    with connection.cursor(name="keyed_rows", withhold=False) as cursor:
        cursor.itersize = 10_000
        cursor.execute(
            f"SELECT * FROM (SELECT {hash_sql} AS hash, {names} FROM {table.sql} "
            f"WHERE {item.predicate(key)}) keyed ORDER BY {order}"
        )
        for hash_value, *texts in cursor:
            yield tuple(texts), hash_value


def _merge(ours: Iterable[Keyed], theirs: Iterable[Keyed]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The differences of two sides in order. Texts compare by code point, as their UTF-8 does."""
    left, right = iter(ours), iter(theirs)
    mine, other = next(left, None), next(right, None)
    while mine is not None or other is not None:
        if other is None or (mine is not None and mine[0] < other[0]):
            assert mine is not None
            yield "MISSING", mine[0]
            mine = next(left, None)
        elif mine is None or other[0] < mine[0]:
            yield "EXTRA", other[0]
            other = next(right, None)
        else:
            if mine[1] != other[1]:
                yield "MISMATCH", mine[0]
            mine, other = next(left, None), next(right, None)


def _batches(items: Iterable[Difference]) -> Iterator[list[Difference]]:
    iterator = iter(items)
    while batch := list(islice(iterator, BATCH_ROWS)):
        yield batch
