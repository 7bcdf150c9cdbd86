"""Column types: which PostgreSQL type keeps every value of which Spark type, and what COPY reads."""

from __future__ import annotations

import re

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    DataType,
    DateType,
    DecimalType,
    MapType,
    StructType,
    TimestampNTZType,
    TimestampType,
    VariantType,
)

from pipeline_jobs.contract import BadConfigurationError

TYPES = {
    "boolean": "boolean",
    "tinyint": "smallint",
    "smallint": "smallint",
    "int": "integer",
    "bigint": "bigint",
    "float": "real",
    "double": "double precision",
    "string": 'text COLLATE "C"',
    "binary": "bytea",
    "date": "date",
    "timestamp": "timestamptz",
    "timestamp_ntz": "timestamp",
}
"""Spark's types in PostgreSQL; text compares by bytes, as Spark's does."""
NESTED = (StructType, ArrayType, MapType, VariantType)
"""What is kept as jsonb."""
NO_JSON_KEYS = (*NESTED, BinaryType, DateType, TimestampType, TimestampNTZType)
"""Types of a map's keys that Spark writes into JSON as it keeps them in memory."""

JSON_OPTIONS = {
    "timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX",
    "timestampNTZFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSS",
    "ignoreNullFields": "false",
}
"""Every microsecond and every NULL of a nested value: two keys must not become one."""

WIDER: dict[str, tuple[str, ...]] = {
    "smallint": ("integer", "bigint", "numeric", "real", "double precision"),
    "integer": ("bigint", "numeric", "double precision"),
    "bigint": ("numeric",),
    "real": ("double precision",),
    "jsonb": ("json", "text", "character varying"),
}
"""Types that hold every value of another; jsonb as text is not compared, so that its order is none."""
FULL_NAMES = {"timestamptz": "timestamp with time zone", "timestamp": "timestamp without time zone"}
VARYING = re.compile(r"character varying(?:\((\d+)\))?")


def postgres_type(kind: DataType) -> str:
    """The PostgreSQL type for a column of Spark's type. Raises BadConfigurationError where there is none."""
    if isinstance(kind, DecimalType):
        return f"numeric({kind.precision},{kind.scale})"
    if isinstance(kind, NESTED):
        return "jsonb"
    found = TYPES.get(kind.simpleString())
    if found is None:
        raise BadConfigurationError(f"the type {kind.simpleString()} has no exact counterpart in PostgreSQL")
    return found


def check_types(schema: StructType) -> None:
    """Raises BadConfigurationError naming the first column that can't be written as it is."""
    for part in schema:
        if not isinstance(part.dataType, (*NESTED, DecimalType)) and part.dataType.simpleString() not in TYPES:
            raise BadConfigurationError(
                f"the source has column {part.name} of type {part.dataType.simpleString()}, which has no exact "
                "counterpart in PostgreSQL: write it as a text, or as a number"
            )
        bad = _map_key_that_json_changes(part.dataType)
        if bad is not None:
            raise BadConfigurationError(
                f"the source has column {part.name} with a map whose keys are of type {bad.simpleString()}, which JSON "
                "would not keep: write its keys as texts"
            )


def _map_key_that_json_changes(kind: DataType) -> DataType | None:
    if isinstance(kind, MapType):
        return kind.keyType if isinstance(kind.keyType, NO_JSON_KEYS) else _map_key_that_json_changes(kind.valueType)
    if isinstance(kind, ArrayType):
        return _map_key_that_json_changes(kind.elementType)
    if isinstance(kind, StructType):
        return next(filter(None, (_map_key_that_json_changes(part.dataType) for part in kind)), None)
    return None


def holds(theirs: str, ours: str) -> bool:
    """Whether a target's column keeps every value of ours as it is; `length_limit` says what else must hold.

    Everything else is refused: PostgreSQL rounds, cuts or moves without a word when it assigns.
    """
    ours = FULL_NAMES.get(ours, ours)
    if theirs == ours or theirs.split("(")[0] in WIDER.get(ours, ()):
        return "(" not in theirs or theirs == ours
    if ours == "text":
        return VARYING.fullmatch(theirs) is not None
    if theirs.startswith("numeric(") and ours.startswith("numeric("):
        (p, s), (q, r) = (tuple(map(int, kind[8:-1].split(","))) for kind in (theirs, ours))
        return p - s >= q - r and s >= r
    return theirs == "numeric" and ours.startswith("numeric")


def length_limit(theirs: str) -> int | None:
    """The characters that a column of this type has room for, where it has a limit.

    PostgreSQL refuses a longer text, but not one that only blanks make longer: these it cuts off.
    """
    found = VARYING.fullmatch(theirs)
    return int(found[1]) if found and found[1] else None


def as_copied(rows: DataFrame, name: str) -> Column:
    """A column in the form that COPY reads."""
    kind = rows.schema[name].dataType
    if kind.simpleString() == "binary":
        return F.concat(F.lit("\\x"), F.lower(F.hex(name))).alias(name)
    if isinstance(kind, NESTED):
        return F.to_json(name, JSON_OPTIONS).alias(name)
    return F.col(name)
