"""Which columns of a raw table are the points: found by name once, then known by Iceberg's field ids; their types.

A name says what a user means today. Only the id says which column of an older file that is: a column that was renamed,
or dropped and added again, has another name, or the same name and other values, in the files from before.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.quantizer.rollup import POINT_COLUMNS

Value = str | int | float
TEXTS = ("string", "int", "long")
TYPES = {
    "org_id": TEXTS,
    "metric_name": TEXTS,
    "wall_timestamp": ("timestamptz",),
    "value": ("double", "float", "int", "long"),
}
"""Iceberg's types that a point's columns may have: those whose values arrive exactly."""
TIME_COLUMN = "wall_timestamp"
MAPPING_PROPERTY = "schema.name-mapping.default"


@dataclass(frozen=True)
class PointColumn:
    """One of POINT_COLUMNS as a raw table has it."""

    name: str
    own_name: str
    """Its name in the table's schema, which may differ in case."""
    field_id: int
    type: str
    default: Value | None = None
    """What it holds in rows of files from before the column (format version 3); times in us since 1970."""


@dataclass(frozen=True)
class PointColumns:
    """The columns of a raw table's points, and how files that have no field ids are to be read."""

    org_id: PointColumn
    metric_name: PointColumn
    wall_timestamp: PointColumn
    value: PointColumn
    ids_by_name: tuple[tuple[str, int], ...] | None = None
    """The table's name mapping at the top level; None where it has none."""

    @property
    def all(self) -> tuple[PointColumn, ...]:
        """In the order of POINT_COLUMNS."""
        return tuple(getattr(self, name) for name in POINT_COLUMNS)

    @property
    def ids(self) -> tuple[int, ...]:
        """The columns' identity."""
        return tuple(column.field_id for column in self.all)


@dataclass(frozen=True)
class Field:
    """A top-level column in Iceberg's JSON of a schema."""

    field_id: int
    name: str
    type: str
    default: Value | bool | None = None


def fields_of(schema: str) -> tuple[Field, ...]:
    """The top-level columns of a schema in Iceberg's JSON; a nested type is `struct`, `list` or `map`."""
    return tuple(
        Field(each["id"], each["name"], _type(each["type"]), each.get("initial-default"))
        for each in json.loads(schema)["fields"]
    )


def _type(kind: str | Mapping[str, object]) -> str:
    return kind if isinstance(kind, str) else str(kind["type"])


def find_columns(table: str, fields: Iterable[Field], mapping: str | None) -> PointColumns:
    """The columns of the points. `mapping`: the table's property `schema.name-mapping.default`.

    Raises BadConfigurationError for a column that is missing, ambiguous, or of a type whose values would change.
    """
    fields = tuple(fields)
    found = {name: _find(table, fields, name) for name in POINT_COLUMNS}
    return PointColumns(**found, ids_by_name=_names(table, mapping))


def _find(table: str, fields: tuple[Field, ...], name: str) -> PointColumn:
    chosen = [field for field in fields if field.name.lower() == name]
    if not chosen:
        there = ", ".join(field.name for field in fields)
        raise BadConfigurationError(
            f"{table} has no column {name}; it has {there}: rename one with ALTER TABLE {table} RENAME COLUMN"
        )
    if len(chosen) > 1:
        names = " and ".join(field.name for field in chosen)
        raise BadConfigurationError(f"{table} has the columns {names}: which is {name}? Rename the others")
    field = chosen[0]
    if field.type not in TYPES[name]:
        raise BadConfigurationError(_wrong_type(table, field, name))
    return PointColumn(name, field.name, field.field_id, field.type, _default(field))


def _wrong_type(table: str, field: Field, name: str) -> str:
    sql = {"timestamptz": "timestamp", "long": "bigint"}
    wanted = ", ".join(sql.get(each, each) for each in TYPES[name])
    why = {
        "timestamp": ": it has no zone, so it says no moment",
        "timestamptz_ns": ": windows are in us",
    }.get(field.type, "")
    return f"{table}.{field.name} is {field.type} in Iceberg's words{why}; {name} must be {wanted} in Spark's"


def _default(field: Field) -> Value | None:
    if field.type == "timestamptz" and isinstance(field.default, str):
        return (datetime.fromisoformat(field.default) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    return field.default


def _names(table: str, mapping: str | None) -> tuple[tuple[str, int], ...] | None:
    if mapping is None:
        return None
    try:
        listed = [each for each in json.loads(mapping) if "field-id" in each]
        return tuple((name, each["field-id"]) for each in listed for name in each["names"])
    except (ValueError, TypeError, KeyError):
        raise BadConfigurationError(
            f"the property {MAPPING_PROPERTY} of {table} is no name mapping, a list of field-id and names: set it right"
        ) from None
