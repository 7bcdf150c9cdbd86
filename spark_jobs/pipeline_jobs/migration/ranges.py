"""Key ranges of about equal row counts, planned from what the source really holds; splitting one.

Boundaries are quantiles of the key, exact for tables up to EXACT_ROWS and of a block sample beyond, so that
skewed, sparse, composite and text keys split evenly. Tables without a usable key are cut by their blocks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from psycopg2.extensions import connection as Connection

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.migration.tables import Table
from pipeline_jobs.postgres import identifier, literal, one_row

EXACT_ROWS = 2_000_000
SAMPLE_ROWS = 100_000
"""A sample's quantile of 1/24 of the rows is off by some 5% for rows in random order, more for clustered ones."""

Bound = tuple[str, ...]
"""A key's value, column by column, as text; of a block range the row address `(block,1)`."""


@dataclass(frozen=True)
class Key:
    """What ranges are cut by: columns, or the rows' addresses (`ctid`) where there are none."""

    names: tuple[str, ...]
    types: tuple[str, ...]
    collate: tuple[str, ...]
    """`COLLATE ...` for the columns whose order depends on it and differs between the servers, else ''."""
    nullable: bool = False

    @property
    def is_address(self) -> bool:
        """Whether it is the row's address: of no meaning on the target."""
        return self.names == ("ctid",)

    @property
    def columns_sql(self) -> list[str]:
        """The columns as SQL, in their order of comparison."""
        names = ["ctid"] if self.is_address else [identifier(name) for name in self.names]
        return [f"{name} {collate}".strip() for name, collate in zip(names, self.collate, strict=True)]

    @property
    def value_sql(self) -> str:
        """The key of a row as SQL: a value, or a row of values."""
        columns = self.columns_sql
        return columns[0] if len(columns) == 1 else f"ROW({', '.join(columns)})"

    def bound_sql(self, bound: Bound) -> str:
        """A bound as SQL."""
        values = [f"{literal(text)}::{kind}" for text, kind in zip(bound, self.types, strict=True)]
        return values[0] if len(values) == 1 else f"ROW({', '.join(values)})"


ADDRESS = Key(("ctid",), ("tid",), ("",))


@dataclass(frozen=True)
class KeyRange:
    """Rows with low <= key < high; None is open. `nulls`: the rows whose key is NULL instead."""

    low: Bound | None = None
    high: Bound | None = None
    nulls: bool = False

    def predicate(self, key: Key | None) -> str:
        """The range as a SQL condition."""
        if key is None:
            return "true"
        if self.nulls:
            return f"{key.columns_sql[0]} IS NULL"
        parts = []
        if self.low is not None:
            parts.append(f"{key.value_sql} >= {key.bound_sql(self.low)}")
        if self.high is not None:
            parts.append(f"{key.value_sql} < {key.bound_sql(self.high)}")
        if not parts and key.nullable:
            parts.append(f"{key.columns_sql[0]} IS NOT NULL")
        return " AND ".join(parts) or "true"


def choose_key(table: Table, wanted: Sequence[str], collations_agree: bool, target: Table | None = None) -> Key | None:
    """The key to cut by: the wanted columns, a unique key, the addresses, or None where nothing serves.

    `target`: the table whose rows are to have the same order; a column with a collation of its own is compared as "C".

    Raises BadConfigurationError where a wanted column doesn't exist, or several may be NULL.
    """
    names = tuple(wanted) or next(iter(table.keys), ())
    if not names:
        return ADDRESS if table.kind in "rm" else None
    columns = [table.column(name) for name in names]
    nullable = any(not column.not_null for column in columns) and names not in table.keys
    if nullable and len(columns) > 1:
        raise BadConfigurationError(
            f"the key {list(names)} of {table.sql} may be NULL: use one column, or a NOT NULL key"
        )
    own = {column.name for side in (table, target) if side for column in side.columns if column.collation}
    collate = tuple(
        'COLLATE "C"' if column.is_collated and (not collations_agree or column.name in own) else ""
        for column in columns
    )
    return Key(names, tuple(column.type for column in columns), collate, nullable)


def plan_ranges(
    connection: Connection, table: Table, key: Key | None, count: int, fraction: float = 1.0
) -> list[KeyRange]:
    """About `count` ranges in order, fewer where there are fewer keys.

    They cover the first `fraction` of the rows in the key's order, the same ones whatever the `count`.
    """
    if key is None:
        return [KeyRange()]
    end = _end_of_part(connection, table, key, fraction) if fraction < 1 else None
    if key.is_address:
        bounds = _block_bounds(_block(end) if end else table.blocks, count)
    else:
        bounds = _key_bounds(connection, table, key, count, KeyRange(high=end).predicate(key))
    ranges = _between(None, bounds, end)
    return [*ranges, KeyRange(nulls=True)] if key.nullable and end is None else ranges


def split_range(connection: Connection, table: Table, key: Key | None, item: KeyRange, pieces: int) -> list[KeyRange]:
    """The range in smaller pieces, or as it is where it can't be split."""
    if key is None or item.nulls:
        return [item]
    if key.is_address:
        low = _block(item.low) if item.low else 0
        high = _block(item.high) if item.high else max(table.blocks, low + 1)
        inner = sorted({low + (high - low) * i // pieces for i in range(1, pieces)} - {low})
        return _between(item.low, [_address(block) for block in inner], item.high)
    bounds = _quantiles(connection, table, key, pieces, item.predicate(key))
    return _between(item.low, [bound for bound in bounds if bound != item.low], item.high)


def _between(low: Bound | None, bounds: Sequence[Bound], high: Bound | None) -> list[KeyRange]:
    edges = [low, *bounds, high]
    return [KeyRange(*pair) for pair in pairwise(edges)]


def _end_of_part(connection: Connection, table: Table, key: Key, fraction: float) -> Bound | None:
    """The key that the first `fraction` of the rows ends before; None where that would be none or all of them."""
    if key.is_address:
        block = math.ceil(table.blocks * fraction)
        return _address(block) if 0 < block < table.blocks else None
    condition = KeyRange().predicate(key)
    ends: list[Bound | None]
    if _is_sampled(table):
        keys = _ordered_keys(connection, _sample(table), key, condition, step=1)
        ends = [keys[0], keys[int(len(keys) * fraction)]] if keys else []
    else:
        (rows,) = one_row(connection, f"SELECT count(*) FROM {table.sql} WHERE {condition}")
        ends = [_key_at(connection, table, key, condition, place) for place in (0, max(1, round(rows * fraction)))]
    return ends[1] if ends and ends[1] != ends[0] else None


def _block_bounds(blocks: int, count: int) -> list[Bound]:
    return [_address(block) for block in sorted({blocks * i // count for i in range(1, count)} - {0})]


def _address(block: int) -> Bound:
    return (f"({block},0)",)


def _block(bound: Bound) -> int:
    return int(bound[0].strip("()").split(",")[0])


def _key_bounds(connection: Connection, table: Table, key: Key, count: int, condition: str) -> list[Bound]:
    if not _is_sampled(table):
        return _quantiles(connection, table, key, count, condition)
    keys = _ordered_keys(connection, _sample(table), key, condition, step=1)
    return _distinct([keys[len(keys) * i // count] for i in range(1, count)] if keys else [])


def _is_sampled(table: Table) -> bool:
    return table.estimated_rows >= EXACT_ROWS and table.kind in "rmp"


def _sample(table: Table) -> str:
    percent = 100 * SAMPLE_ROWS / table.estimated_rows
    return f"{table.sql} TABLESAMPLE SYSTEM ({percent:.6f}) REPEATABLE (0)"


def _quantiles(connection: Connection, table: Table, key: Key, count: int, condition: str) -> list[Bound]:
    (rows,) = one_row(connection, f"SELECT count(*) FROM {table.sql} WHERE {condition}")
    step = max(1, math.ceil(rows / count))
    return _distinct(_ordered_keys(connection, table.sql, key, condition, step)[1:])


def _key_at(connection: Connection, table: Table, key: Key, condition: str, place: int) -> Bound | None:
    """The key of the row at this place in order, counted from 0."""
    columns = [f"r.{column}" for column in key.columns_sql]
    texts = ", ".join(f"k{i}::text" for i in range(len(columns)))
    keys = ", ".join(f"{column} AS k{i}" for i, column in enumerate(columns))
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {texts} FROM (SELECT {keys} FROM {table.sql} r WHERE {condition} "
            f"ORDER BY {', '.join(columns)} OFFSET {place} LIMIT 1) key"
        )
        row = cursor.fetchone()
    return tuple(row) if row else None


def _ordered_keys(connection: Connection, relation: str, key: Key, condition: str, step: int) -> list[Bound]:
    """The key of each `step`-th row in order, beginning with the first."""
    order = ", ".join(key.columns_sql)
    texts = ", ".join(f"k{i}::text" for i in range(len(key.names)))
    inner = ", ".join(f"{column} AS k{i}" for i, column in enumerate(key.columns_sql))
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {texts} FROM (SELECT {inner}, row_number() OVER (ORDER BY {order}) AS n "
            f"FROM {relation} WHERE {condition}) keys WHERE n % {step} = 1 % {step} ORDER BY n"
        )
        return [tuple(row) for row in cursor.fetchall()]


def _distinct(bounds: Sequence[Bound]) -> list[Bound]:
    return list(dict.fromkeys(bounds))
