"""A second, slow and plain way from documents to rows, and ways to damage documents: what the tests compare with."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bson
import numpy as np
import psycopg2
from bson import Decimal128, ObjectId

import pipeline_jobs.streaming_etl
from pipeline_jobs.streaming_etl import generated_users
from pipeline_jobs.streaming_etl.mapping import ITEM, Column, Mapping, Table, load_mapping, tables_below

USERS = Path(pipeline_jobs.streaming_etl.__file__).parent / "users.yaml"

Rows = dict[str, list[tuple[Any, ...]]]


def users_mapping() -> Mapping:
    return load_mapping(USERS)


def rows_of(mapping: Mapping, documents: list[dict[str, Any]]) -> Rows:
    """The rows of every table, sorted, as PostgreSQL's driver would give them back."""
    rows: Rows = {table.name: [] for table in mapping.tables}
    for document in documents:
        key = tuple(plain(at(document, column.path), column) for column in mapping.keys)
        _add(mapping, mapping.root, document, key, rows)
    return {name: sorted(found, key=repr) for name, found in rows.items()}


def _add(mapping: Mapping, table: Table, document: Any, key: tuple[Any, ...], rows: Rows) -> None:
    values = tuple(plain(at(document, column.path), column) for column in table.columns)
    rows[table.name].append(values if table is mapping.root else key + values)
    for child in tables_below(mapping, table):
        found = at(document, child.path)
        if child.ordinal is None:
            if found is not None:
                _add(mapping, child, found, key, rows)
        else:
            for number, item in enumerate(found or [], 1):
                _add(mapping, child, item, (*key, number), rows)


def at(document: Any, path: tuple[str, ...]) -> Any:
    if path == (ITEM,):
        return document
    for name in path:
        document = document.get(name) if isinstance(document, dict) else None
    return document


def plain(value: Any, column: Column) -> Any:
    """A value as it comes back out of a column of this type."""
    if value is None:
        return None
    if isinstance(value, ObjectId):
        return value.binary if column.type == "bytea" else str(value)
    if column.type == "bytea":
        return bytes(value)
    if column.type == "date":
        return value.date()
    if column.type == "timestamptz" and value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    if column.type == "real":
        return float(np.float32(value))
    if column.type == "double precision":
        return float(value)
    if column.type in ("smallint", "integer", "bigint"):
        return int(value)
    return value


def rows_in(uri: str, mapping: Mapping, schema: str = "public") -> Rows:
    """What stands in the tables, sorted like `rows_of`."""
    found: Rows = {}
    connection = psycopg2.connect(uri, options="-c TimeZone=UTC")
    with connection, connection.cursor() as cursor:
        for table in mapping.tables:
            columns = ", ".join(mapping.column_names(table))
            cursor.execute(f"SELECT {columns} FROM {schema}.{table.name}")
            types = {column.name: column.type for column in table.columns}
            names = [types.get(name) for name in mapping.column_names(table)]
            found[table.name] = sorted((_read(row, names) for row in cursor.fetchall()), key=repr)
    connection.close()
    return found


def _read(row: tuple[Any, ...], types: list[str | None]) -> tuple[Any, ...]:
    return tuple(_read_value(value, kind) for value, kind in zip(row, types, strict=True))


def _read_value(value: Any, kind: str | None) -> Any:
    if isinstance(value, memoryview):
        return bytes(value)
    if kind == "real" and value is not None:
        return float(np.float32(value))
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    return value


def write_bson(path: Path, raws: list[bytes]) -> Path:
    path.write_bytes(b"".join(raws))
    return path


def some_users(count: int, *, seed: int = 1, first_id: int = 1) -> list[dict[str, Any]]:
    """Users as a reader of BSON sees them: dates with their zone."""
    options = bson.CodecOptions(tz_aware=True, tzinfo=UTC)
    found = generated_users.documents(count, seed=seed, first_id=first_id)
    return [bson.decode(bson.encode(document), options) for document in found]


Damage = Callable[[dict[str, Any]], bytes]


def _with(**values: Any) -> Damage:
    return lambda document: bson.encode({**document, **values})


def _without(name: str) -> Damage:
    return lambda document: bson.encode({key: value for key, value in document.items() if key != name})


def _deep(document: dict[str, Any]) -> bytes:
    nested: Any = "bottom"
    for _ in range(90):
        nested = {"level": nested}
    return bson.encode({**document, "username": nested})


def _invalid_utf8(document: dict[str, Any]) -> bytes:
    return bson.encode({**document, "first_name": "#!?#"}).replace(b"#!?#", b"ab\xed\xa0")


def _far_date(document: dict[str, Any]) -> bytes:
    raw = bson.encode({**document, "created_at": datetime(2001, 2, 3, tzinfo=UTC)})
    ms = struct.pack("<q", int(datetime(2001, 2, 3, tzinfo=UTC).timestamp() * 1000))
    return raw.replace(b"\x09created_at\0" + ms, b"\x09created_at\0" + struct.pack("<q", 2**62))


def _broken_inside(document: dict[str, Any]) -> bytes:
    """The length of the embedded profile says more than there is."""
    raw = bson.encode(document)
    place = raw.index(b"\x03profile\0") + len(b"\x03profile\0")
    return raw[:place] + struct.pack("<i", len(raw)) + raw[place + 4 :]


def _second_transaction_decimal(document: dict[str, Any]) -> bytes:
    return bson.encode(
        {**document, "transactions": [*document["transactions"], {"reference": "T", "amount_cents": Decimal128("1.5")}]}
    )


DAMAGES: dict[str, tuple[Damage, str]] = {
    "text for a number": (_with(age="old"), "wrong_type"),
    "a number for a document": (_with(addresses=[{"city": "Oslo"}, 5]), "wrong_type"),
    "90 levels deep": (_deep, "wrong_type"),
    "too long": (_with(username="x" * 61), "too_long"),
    "required is missing": (_without("email"), "missing"),
    "no key": (_without("_id"), "missing"),
    "invalid UTF-8": (_invalid_utf8, "invalid_utf8"),
    "NUL character": (_with(profile={"bio": "a\0b"}), "nul_character"),
    "Decimal128": (_second_transaction_decimal, "decimal128"),
    "date out of range": (_far_date, "out_of_range"),
    "number out of range": (_with(age=70_000), "out_of_range"),
    "broken inside": (_broken_inside, "malformed"),
}
"""Twelve kinds of document that don't fit the users mapping, with the reason expected."""


def damaged(documents: list[dict[str, Any]], every: int, rng: random.Random) -> Iterator[tuple[bytes, str | None]]:
    """Documents as BSON; one in `every` is damaged, the kinds taking turns, and comes with its expected reason."""
    kinds = list(DAMAGES.values())
    victims = {start + rng.randrange(every) for start in range(0, len(documents) - every + 1, every)}
    turn = 0
    for number, document in enumerate(documents):
        if number in victims:
            damage, reason = kinds[turn % len(kinds)]
            turn += 1
            yield damage(document), reason
        else:
            yield bson.encode(document), None
