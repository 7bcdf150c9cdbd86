"""Counts and order-independent checksums of each range, computed by the two servers."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psycopg2
from psycopg2.extensions import connection as Connection

from pipeline_jobs.migration.ranges import Bound, Key, KeyRange
from pipeline_jobs.migration.tables import Column, Table, has_portable_binary, value_sql
from pipeline_jobs.postgres import identifier

HASHES = (
    "hash_record_extended(ROW({columns}), 0)",
    "hashtextextended(ROW({columns})::text, 0)",
    "('x' || md5(convert_to(ROW({columns})::text, 'UTF8')))::bit(64)::bigint",
)
"""The first hashes the values, the second their text: for types without a hash function, or with one that depends on
the database (enums), and for servers that disagree on the first; the third for servers that encode text otherwise. A
sum of 64-bit hashes misses one in 2^64 changes."""

Sums = dict[int, tuple[int, int]]
"""Range (its index) to (rows, checksum)."""


@dataclass(frozen=True)
class Comparison:
    """Both sides of the ranges that were compared."""

    source: Sums
    target: Sums

    def differing(self, indexes: Sequence[int]) -> list[int]:
        """The ranges whose rows or checksums differ."""
        return [i for i in indexes if self.source.get(i, (0, 0)) != self.target.get(i, (0, 0))]

    @property
    def rows(self) -> tuple[int, int]:
        """All rows of the source and of the target."""
        return sum(n for n, _ in self.source.values()), sum(n for n, _ in self.target.values())


def choose_hash(source: Connection, target: Connection, table: Table, columns: Sequence[Column]) -> str:
    """The quickest hash of a row that both servers compute alike. `target` is in autocommit."""
    names = ", ".join(identifier(column.name) for column in columns)
    same_types = all(table.column(c.name).type == c.type for c in columns)
    same_servers = has_portable_binary(tuple(columns)) and _major(source) == _major(target)
    same_texts = _encoding(source) == _encoding(target)
    if same_types and same_servers and same_texts and _works(target, columns):
        return HASHES[0].format(columns=names)
    return HASHES[1 if same_texts else 2].format(columns=", ".join(value_sql(column, table) for column in columns))


def sums(connection: Connection, table: Table, key: Key | None, ranges: Sequence[KeyRange], hash_sql: str) -> Sums:
    """Rows and checksum of each of the contiguous ranges, by their index, in one pass.

    Without a key that means something here, all rows count as range 0.
    """
    bucket = "0" if key is None else _bucket(key, ranges)
    condition = "true" if key is None else _covered(key, ranges)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT bucket, count(*), sum(hash) FROM (SELECT {bucket} AS bucket, {hash_sql} AS hash "
            f"FROM {table.sql} WHERE {condition}) hashes GROUP BY bucket"
        )
        return {bucket: (rows, int(total)) for bucket, rows, total in cursor.fetchall()}


def compare(
    source: tuple[Connection, Table, Key | None],
    target: tuple[Connection, Table, Key | None],
    ranges: Sequence[KeyRange],
    hash_sql: str,
) -> Comparison:
    """Both sides at the same time. Where the target has no such key, both are compared as a whole."""
    if target[2] is None:
        source = source if source[2] is None or not any(item.nulls for item in ranges) else (*source[:2], None)
        ranges = [KeyRange(ranges[0].low, ranges[-1].high)] if source[2] else ranges
    with ThreadPoolExecutor(max_workers=1) as other:
        theirs = other.submit(sums, *target, ranges, hash_sql)
        ours = sums(*source, ranges, hash_sql)
        return Comparison(ours, theirs.result())


def _bucket(key: Key, ranges: Sequence[KeyRange]) -> str:
    """The index of a row's range, by a binary search on the server."""
    keyed = [item for item in ranges if not item.nulls]
    number = _searched(key, [item.low for item in keyed[1:] if item.low is not None])
    if not key.nullable:
        return number
    return f"CASE WHEN {key.columns_sql[0]} IS NULL THEN {len(keyed)} ELSE {number} END"


def _searched(key: Key, bounds: Sequence[Bound], first: int = 0) -> str:
    """How many of the bounds a key has reached, beyond `first`. width_bucket knows neither collations nor arrays."""
    if not bounds:
        return str(first)
    middle = len(bounds) // 2
    low, high = _searched(key, bounds[:middle], first), _searched(key, bounds[middle + 1 :], first + middle + 1)
    return f"CASE WHEN {key.value_sql} < {key.bound_sql(bounds[middle])} THEN {low} ELSE {high} END"


def _covered(key: Key, ranges: Sequence[KeyRange]) -> str:
    """The condition of the rows that the ranges cover together."""
    keyed = [item for item in ranges if not item.nulls]
    whole = KeyRange(keyed[0].low, keyed[-1].high)
    if whole.low is None and whole.high is None:
        return "true" if len(keyed) < len(ranges) else whole.predicate(key)
    return whole.predicate(key)


def _major(connection: Connection) -> int:
    return connection.server_version // 10000


def _encoding(connection: Connection) -> str | None:
    return connection.get_parameter_status("server_encoding")


def _works(target: Connection, columns: Sequence[Column]) -> bool:
    """Whether the server can hash such a row at all, found out without touching a table."""
    nulls = ", ".join(f"NULL::{column.type}" for column in columns)
    try:
        with target.cursor() as cursor:
            cursor.execute(f"SELECT {HASHES[0].format(columns=nulls)}")
        return True
    except psycopg2.Error:
        return False
