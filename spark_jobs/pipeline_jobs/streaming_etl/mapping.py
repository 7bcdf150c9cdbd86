"""The mapping file: which parts of a document become which rows and columns of which tables; types, keys, checks of it.

A mapping is a YAML file (`users.yaml` here is one; docs/streaming-etl.md describes the format). The first
table gets a row per document. A table with `ordinal` gets a row per item of the array at `from`, and the item's
place in it (from 1) is part of its key; a table without gets one row where the embedded document exists.
Fields that no column names are left out.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from collections.abc import Mapping as MappingType
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.unknown_names import refuse_unknown

TYPES = (
    "smallint", "integer", "bigint", "real", "double precision", "boolean",
    "varchar", "text", "date", "timestamptz", "bytea", "text[]", "numeric", "uuid", "jsonb",
)  # fmt: skip
KEY_TYPES = ("smallint", "integer", "bigint", "varchar", "text", "date", "bytea", "uuid")
COLUMN_TEXT = re.compile(
    r"^(?P<type>[a-z ]+?(\[\])?)\s*(\((?P<size>\d+)(\s*,\s*(?P<scale>\d+))?\))?(?P<required>\s+not null)?$"
)
MAX_LENGTH = 10_485_760
"""Characters of PostgreSQL's longest varchar; text has no length."""
MAX_PRECISION = 1000
"""What PostgreSQL takes for numeric(p)."""
NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_$]{0,62}$")
ITEM = "."
"""The path of an array item that is a plain value."""
SYSTEM_COLUMNS = ("tableoid", "ctid", "xmin", "xmax", "cmin", "cmax")
BOOKS = ("etl_batch", "etl_dead_letter", "etl_range", "etl_version", "etl_hook")
"""The names of the tables that keep the accounts."""
REST = "*"
"""The path of all fields that no other column or table takes."""
SCALARS = "scalars"
"""What `takes` may say of a text column: any value that holds no others, as text."""


@dataclass(frozen=True)
class Column:
    """One column: where its value stands below the table's own document, and what it must be."""

    name: str
    path: tuple[str, ...]
    type: str
    max_length: int = 0
    """Characters of a varchar; 0 for no limit."""
    required: bool = False
    precision: int = 0
    """Digits of a numeric; 0 for any number of them."""
    scale: int = 0
    """Digits behind the point of a numeric with a precision."""
    takes_scalars: bool = False
    """Whether a text takes numbers, true and false, and dates as well."""
    is_key: bool = False

    @property
    def size(self) -> str:
        """What stands behind the type's name in DDL."""
        if self.precision:
            return f"({self.precision},{self.scale})"
        return f"({self.max_length})" if self.max_length else ""

    @property
    def sql(self) -> str:
        """The type as DDL says it."""
        return f"{self.type}{self.size}{' NOT NULL' if self.required else ''}"


@dataclass(frozen=True)
class Table:
    """One table: its place in the document and its columns, the root's key among the root's columns."""

    name: str
    columns: tuple[Column, ...]
    path: tuple[str, ...] = ()
    parent: str | None = None
    ordinal: str | None = None


@dataclass(frozen=True)
class Mapping:
    """A collection and its tables, parents before children; the first is the root."""

    collection: str
    tables: tuple[Table, ...]
    keys: tuple[Column, ...]
    """The columns that every table's key begins with; the first ones of the root."""

    @property
    def root(self) -> Table:
        """The table with a row per document."""
        return self.tables[0]

    @cached_property
    def fingerprint(self) -> str:
        """What tells this mapping from another one, of other tables, columns, types or paths."""
        content = [
            [
                table.name,
                table.path,
                table.parent,
                table.ordinal,
                [[c.name, c.path, c.sql, c.takes_scalars] for c in table.columns],
            ]
            for table in self.tables
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    @cached_property
    def by_name(self) -> dict[str, Table]:
        """The tables by name."""
        return {table.name: table for table in self.tables}

    def ancestors(self, table: Table) -> tuple[Table, ...]:
        """The tables above, the root first."""
        if table.parent is None:
            return ()
        parent = self.by_name[table.parent]
        return (*self.ancestors(parent), parent)

    def key_columns(self, table: Table) -> tuple[str, ...]:
        """The primary key: the document's key, then the ordinals on the way down."""
        ordinals = (t.ordinal for t in (*self.ancestors(table), table))
        return (*(key.name for key in self.keys), *(name for name in ordinals if name))

    def column_names(self, table: Table) -> tuple[str, ...]:
        """All columns in the order in which rows are written."""
        own = tuple(column.name for column in table.columns)
        return own if table is self.root else self.key_columns(table) + own


def load_mapping(path: str | Path) -> Mapping:
    """The mapping in a YAML file. Raises BadConfigurationError naming the file, the table and what is wrong."""
    path = Path(path)
    try:
        return parse_mapping(yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeys))
    except OSError as error:
        raise BadConfigurationError(f"the mapping {path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadConfigurationError(f"{path.name}: is not UTF-8: save it as UTF-8") from None
    except (yaml.YAMLError, BadConfigurationError) as error:
        raise BadConfigurationError(f"{path.name}: {' '.join(str(error).split())}") from None


class _UniqueKeys(yaml.SafeLoader):
    """A key that is there twice is an error, and not the second one's value."""

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = next((key for number, key in enumerate(keys) if key in keys[:number]), None)
        if twice is not None:
            raise BadConfigurationError(f"line {node.start_mark.line + 1}: the key {twice!r} is there twice")
        return node


def parse_mapping(document: Any) -> Mapping:
    """A mapping from its YAML document. Raises BadConfigurationError naming the key, its value and what is right."""
    if not isinstance(document, dict) or not document.get("collection") or not document.get("tables"):
        raise BadConfigurationError("a mapping has the keys 'collection' and 'tables'")
    refuse_unknown(document, ("collection", "tables"), "the mapping has the key")
    if not isinstance(document["collection"], str):
        raise BadConfigurationError(f"collection: is {document['collection']!r}, no text: put it in quotes")
    tables: dict[str, Table] = {}
    for name, spec in _named("tables", document["tables"]).items():
        tables[name] = _table(name, _named(f"tables.{name}", spec or {}), tables)
    found = tuple(tables.values())
    return Mapping(document["collection"], found, found[0].columns[: len(_key_specs(document["tables"]))])


def _key_specs(tables: MappingType[str, Any]) -> list[Any]:
    """The root's key columns as they are written: one, or a list of them."""
    key = next(iter(tables.values()))["key"]
    return key if isinstance(key, list) else [key]


def _named(where: str, found: Any) -> MappingType[str, Any]:
    """Keys with values. Raises BadConfigurationError for anything else."""
    if not isinstance(found, dict):
        raise BadConfigurationError(f"{where}: is {found!r}, must be names with values, `name: ...`")
    for name in found:
        if not isinstance(name, str):
            raise BadConfigurationError(f"{where}: the name {name!r} is no text: put it in quotes")
    return found


def _table(name: str, spec: MappingType[str, Any], above: MappingType[str, Table]) -> Table:
    refuse_unknown(spec, ("key", "columns", "from", "parent", "ordinal"), f"tables.{name} has the key")
    listed = _named(f"tables.{name}.columns", spec.get("columns") or {})
    columns = tuple(_column(f"tables.{name}.{c}", c, text) for c, text in listed.items())
    table = _child(name, spec, above, columns) if above else _root(name, spec, columns)
    _check_rest(name, table)
    _check_names(table, above)
    return table


def _check_names(table: Table, above: MappingType[str, Table]) -> None:
    """Raises BadConfigurationError where a table's name or columns can't be, beside the keys from the tables above."""
    taken = [column.name for column in table.columns]
    if above:
        taken += _keys_of(table, above)
    for identifier in (table.name, *taken):
        if not NAME.match(identifier) or identifier in (SYSTEM_COLUMNS if identifier in taken else BOOKS):
            raise BadConfigurationError(f"tables.{table.name}: {identifier!r} can't be a name here: take another")
    twice = sorted({name for name in taken if taken.count(name) > 1})
    if twice:
        raise BadConfigurationError(f"tables.{table.name}: the column {', '.join(twice)} is there twice, keys included")


def _keys_of(table: Table, above: MappingType[str, Table]) -> list[str]:
    """The root's keys and the ordinals down to a table."""
    root = next(iter(above.values()))
    ordinals, at = [], table
    while at.parent is not None:
        ordinals += [at.ordinal] if at.ordinal else []
        at = above[at.parent]
    return [*(column.name for column in root.columns if column.is_key), *ordinals]


def _check_rest(name: str, table: Table) -> None:
    paths = [column.path for column in table.columns]
    if paths.count((REST,)) > 1 or ((REST,) in paths and (ITEM,) in paths):
        raise BadConfigurationError(f"tables.{name}: one column takes all the rest ('*'), and only of documents")


def _root(name: str, spec: MappingType[str, Any], columns: tuple[Column, ...]) -> Table:
    keys = spec.get("key")
    keys = keys if isinstance(keys, list) else [keys]
    if not keys or not all(isinstance(key, dict) and "column" in key for key in keys):
        raise BadConfigurationError(
            f"tables.{name}: the first table needs key: {{column: ..., path: _id, type: ...}}, or a list of these"
        )
    if "from" in spec or "ordinal" in spec or "parent" in spec:
        raise BadConfigurationError(
            f"tables.{name}: the first table is the document itself: no from, ordinal or parent"
        )
    found = tuple(_key_column(f"tables.{name}.key", key) for key in keys)
    return Table(name, (*found, *columns))


def _key_column(where: str, key: MappingType[str, Any]) -> Column:
    refuse_unknown(key, ("column", "path", "type", "takes"), f"{where} has the key")
    spec = {"path": key.get("path", "_id"), "type": f"{key.get('type')} not null"}
    if "takes" in key:
        spec["takes"] = key["takes"]
    column = _column(where, key["column"], spec)
    if column.type not in KEY_TYPES or column.path in ((ITEM,), (REST,)):
        raise BadConfigurationError(f"{where}: type must be one of {', '.join(KEY_TYPES)}, path that of a field")
    return replace(column, is_key=True)


def _child(
    name: str, spec: MappingType[str, Any], above: MappingType[str, Table], columns: tuple[Column, ...]
) -> Table:
    parent = spec.get("parent", next(iter(above)))
    if parent not in above:
        raise BadConfigurationError(f"tables.{name}: parent {parent!r} must be a table that stands before it")
    if "from" not in spec or "key" in spec:
        raise BadConfigurationError(
            f"tables.{name}: needs 'from', the path of its array or embedded document, and no key"
        )
    return Table(name, columns, _path(f"tables.{name}.from", spec["from"]), parent, spec.get("ordinal"))


def _column(where: str, name: str, spec: Any) -> Column:
    spec = spec if isinstance(spec, dict) else {"type": spec}
    found = COLUMN_TEXT.match(str(spec.get("type", "")).strip().lower())
    if set(spec) - {"path", "type", "takes"} or not found or found["type"] not in TYPES:
        raise BadConfigurationError(
            f"{where}: {spec.get('type')!r} must be one of {', '.join(TYPES)}, with '(n)' for varchar and '(p,s)' for "
            "numeric where that is wanted, followed by 'not null' where a document without it is wrong"
        )
    kind, path = found["type"], _path(where, spec.get("path", name))
    precision, scale = _numeric_size(where, kind, found["size"], found["scale"])
    if path == (REST,) and kind != "jsonb":
        raise BadConfigurationError(f"{where}: the path '*', all the rest, needs the type jsonb, not {kind}")
    takes = spec.get("takes")
    if takes is not None and (takes != SCALARS or kind not in ("text", "varchar")):
        raise BadConfigurationError(f"{where}: takes is {takes!r}, must be 'scalars', and the type text or varchar")
    length = int(found["size"]) if kind == "varchar" else 0
    return Column(name, path, kind, length, bool(found["required"]), precision, scale, takes is not None)


def _numeric_size(where: str, kind: str, size: str | None, scale: str | None) -> tuple[int, int]:
    """Precision and scale of a numeric. Raises BadConfigurationError for sizes that a type can't have."""
    if kind == "numeric":
        precision, digits = int(size or 0), int(scale or 0)
        if size is not None and not (1 <= precision <= MAX_PRECISION and digits <= precision):
            raise BadConfigurationError(
                f"{where}: numeric({size},{digits}) must have 1 to {MAX_PRECISION} digits, and no more of them behind "
                "the point than in all"
            )
        return precision, digits
    if scale is not None or bool(size) != (kind == "varchar") or not 1 <= int(size or 1) <= MAX_LENGTH:
        raise BadConfigurationError(
            f"{where}: varchar needs a length from 1 to {MAX_LENGTH}, varchar(100), numeric may have digits, "
            "numeric(12,2), and no other type has a size"
        )
    return 0, 0


def _path(where: str, text: Any) -> tuple[str, ...]:
    if not isinstance(text, str):
        raise BadConfigurationError(f"{where}: the path {text!r} is no text: put it in quotes")
    return (text,) if text in (ITEM, REST) else tuple(text.split("."))


def tables_below(mapping: Mapping, table: Table) -> Iterator[Table]:
    """The tables whose rows hang directly below a row of this one."""
    return (child for child in mapping.tables if child.parent == table.name)
