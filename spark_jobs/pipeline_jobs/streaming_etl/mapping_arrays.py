"""A mapping as flat arrays: the table that drives the compiled kernel."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.streaming_etl.mapping import ITEM, REST, TYPES, Column, Mapping, Table, tables_below

COLUMN, OBJECT, TABLE = 0, 1, 2
"""What a document's field leads to: a column, an embedded document of the same row, or a table below."""
MAX_DEPTH = 16
"""How deep paths inside one row, and tables below tables, may go."""


FIRST_COLUMN, LAST_COLUMN, NODE, IS_ARRAY, ITEM_COLUMN, FIELDS, FIRST_CHILD, LAST_CHILD, KEY_FIELDS = range(9)
"""What stands in a row of `Plan.tables`."""


class Plan(NamedTuple):
    """Whole numbers in few arrays: each array handed to a compiled function costs time."""

    names: np.ndarray
    """The names of all entries, one after the other, as UTF-8."""
    entries: np.ndarray
    """A row a wanted field: place and length of its name, what it leads to, which of these, and what to name where it
    is of the wrong kind: a column, or -1 - the number of a table."""
    nodes: np.ndarray
    """A row per level of names (a document's own, or an embedded one's): its range of entries."""
    columns: np.ndarray
    """A row per column: type, most characters (0: any number), whether it is required, precision (0: any), scale."""
    tables: np.ndarray
    """A row per table. ITEM_COLUMN takes the whole item of an array of plain values; -1: items are documents."""
    children: np.ndarray
    """Numbers of tables, those below one table side by side."""


class _Level:
    """One level of names while the plan is made."""

    def __init__(self) -> None:
        self.entries: dict[str, tuple[int, int | _Level]] = {}

    def put(self, path: tuple[str, ...], kind: int, ref: int) -> None:
        name, *rest = path
        if not rest:
            self._set(name, (kind, ref))
            return
        found = self.entries.setdefault(name, (OBJECT, _Level()))[1]
        if not isinstance(found, _Level):
            raise BadConfigurationError(f"the field {name!r} is mapped as a value and as a document")
        found.put(tuple(rest), kind, ref)

    def _set(self, name: str, entry: tuple[int, int]) -> None:
        if name in self.entries:
            raise BadConfigurationError(f"the field {name!r} is mapped twice: one column takes it, make others in SQL")
        self.entries[name] = entry


def _first_below(kind: int, ref: int | _Level) -> int:
    """The first column below a field, or -1 - the first table where there are only tables."""
    if isinstance(ref, _Level):
        below = [_first_below(*entry) for entry in ref.entries.values()]
        return next((one for one in below if one >= 0), below[0])
    return ref if kind == COLUMN else -1 - ref


class _Arrays:
    """Collects levels into entries."""

    def __init__(self) -> None:
        self.names = bytearray()
        self.entries: list[tuple[int, int, int, int, int]] = []
        self.nodes: list[tuple[int, int]] = []

    def add(self, level: _Level) -> int:
        """Append a level and those below it; returns its node number."""
        resolved = [
            (name, kind, self.add(ref) if isinstance(ref, _Level) else ref, _first_below(kind, ref))
            for name, (kind, ref) in level.entries.items()
        ]
        first = len(self.entries)
        for name, kind, ref, blame in resolved:
            encoded = name.encode()
            self.entries.append((len(self.names), len(encoded), kind, ref, blame))
            self.names += encoded
        self.nodes.append((first, len(self.entries)))
        return len(self.nodes) - 1


def make_plan(mapping: Mapping) -> Plan:
    """The plan of a mapping. Raises BadConfigurationError where a field is mapped twice or paths go too deep."""
    first_column = np.cumsum([0, *(len(table.columns) for table in mapping.tables)]).tolist()
    number = {table.name: index for index, table in enumerate(mapping.tables)}
    arrays = _Arrays()
    tables: list[tuple[int, ...]] = []
    children: list[int] = []
    for table, first in zip(mapping.tables, first_column, strict=False):
        try:
            _check_depth(mapping, table)
            node = arrays.add(_level(mapping, table, first, number))
        except BadConfigurationError as error:
            raise BadConfigurationError(f"mapping of {mapping.collection}: tables.{table.name}: {error}") from None
        item = next((first + n for n, column in enumerate(table.columns) if column.path == (ITEM,)), -1)
        below = [number[child.name] for child in tables_below(mapping, table)]
        fields = len(mapping.column_names(table))
        is_array = int(table.ordinal is not None)
        place = len(children)
        last, keys = first + len(table.columns), len(mapping.keys)
        tables.append((first, last, node, is_array, item, fields, place, place + len(below), keys))
        children += below
    columns = [(_type_number(c), c.max_length, int(c.required), c.precision, c.scale) for _, c in plan_columns(mapping)]
    return Plan(
        np.frombuffer(bytes(arrays.names) or b"\0", np.uint8).copy(),
        np.array(arrays.entries, np.int64).reshape(-1, 5),
        np.array(arrays.nodes, np.int64).reshape(-1, 2),
        np.array(columns, np.int64).reshape(-1, 5),
        np.array(tables, np.int64),
        np.array(children or [0], np.int64),
    )


def _type_number(column: Column) -> int:
    """The type as the kernel numbers it: those of the mapping, text of any scalar, and all the rest."""
    if column.path == (REST,):
        return len(TYPES) + 1
    return len(TYPES) if column.takes_scalars else TYPES.index(column.type)


def plan_columns(mapping: Mapping) -> list[tuple[Table, Column]]:
    """The columns in the plan's numbering."""
    return [(table, column) for table in mapping.tables for column in table.columns]


def _level(mapping: Mapping, table: Table, first_column: int, number: dict[str, int]) -> _Level:
    level = _Level()
    for offset, column in enumerate(table.columns):
        if column.path not in ((ITEM,), (REST,)):
            level.put(column.path, COLUMN, first_column + offset)
    for child in tables_below(mapping, table):
        level.put(child.path, TABLE, number[child.name])
    return level


def _check_depth(mapping: Mapping, table: Table) -> None:
    deepest = max(len(path) for path in (table.path, *(column.path for column in table.columns)))
    if max(deepest, len(mapping.ancestors(table))) + 1 >= MAX_DEPTH:
        raise BadConfigurationError(f"paths and tables may go {MAX_DEPTH - 2} levels deep")
