"""Generated cases of the deduplication, and what plain Python says of them: no Spark, no SQL.

A case is a table of odd but legal values, written as one of the formats in one of the ways people do, perhaps with files
that differ from each other, and perhaps with a value that has no exact place. What comes out is exact or refused.
"""

from __future__ import annotations

import base64
import codecs
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import psycopg2
import pyarrow as pa
import pyarrow.parquet as pq

ZONES = ("UTC", "America/New_York", "Asia/Kathmandu")
FORMATS = ("parquet", "csv", "json", "jdbc")
BOTH = ("parquet", "csv", "json", "jdbc")
Value = Any


class Outcome(Enum):
    """What may come of a case."""

    EXACT = "exact"
    REFUSED = "refused"
    EITHER = "exact or refused"


@dataclass(frozen=True)
class Kind:
    """A type: its values, and how each format and PostgreSQL have it."""

    name: str
    """Spark's, as in source.schema."""
    postgres: str
    arrow: pa.DataType
    values: Callable[[random.Random], Value]
    formats: tuple[str, ...] = BOTH
    is_key: bool = True
    narrower: tuple[str, ...] = ()
    """Types of PostgreSQL that don't hold every value, or hold it as it is: the case must be exact or refused."""
    bad_texts: tuple[str, ...] = ()
    """Texts, in CSV and within quotes in JSON, that are no value of the type."""
    bad_json: tuple[str, ...] = ()
    """The same as JSON."""


TEXTS = (
    "", " ", "a", "a ", " a", "A", "007", "7", "NULL", "null", "\\N", "é", "e\u0301", "😀", 'x"y', '""', "x,y", "x;y",
    "two\nlines", "\\", "a\\\"b", "{", "}{", "[1]", "#no", "0x1F", "\ufffd", "\u2028", "'", "`", "true", "nan", "\t",
    "x" * 300, "-", "2024-01-01",
)  # fmt: skip
MOMENTS = (
    datetime(2024, 3, 10, 2, 30, 0, 1), datetime(2024, 11, 3, 1, 30), datetime(1970, 1, 1), datetime(1969, 12, 31, 23, 59, 59, 999999),
    datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999), datetime(1582, 10, 10), datetime(1883, 11, 18, 12, 3, 58),
    datetime(1900, 1, 1), datetime(2038, 1, 19, 3, 14, 8), datetime(1986, 1, 1, 0, 7),
)  # fmt: skip


def _moment(r: random.Random) -> datetime:
    if r.random() < 0.5:
        return r.choice(MOMENTS)
    return datetime(2024, 1, 1) + timedelta(microseconds=r.randrange(366 * 86_400 * 10**6))


def _aware(r: random.Random) -> datetime:
    return _moment(r).replace(tzinfo=UTC)


def _whole(bits: int) -> Callable[[random.Random], int]:
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return lambda r: r.choice((low, high, 0, 1, -1, r.randrange(low, high + 1)))


def _decimal(precision: int, scale: int) -> Callable[[random.Random], Decimal]:
    most = 10**precision - 1
    return lambda r: Decimal(r.choice((0, 1, -1, most, -most, r.randrange(-most, most)))).scaleb(-scale, _WIDE)


_WIDE = __import__("decimal").Context(prec=60)
DOUBLES = (0.0, 0.1, 1e-300, 1e300, 5e-324, 1.7976931348623157e308, 0.30000000000000004, -1.5, 9007199254740992.0)
SINGLES = (0.0, 0.1, 16777216.0, 3.4028235e38, 1.1754944e-38, -2.5)
BAD_WHOLE = ("1.5", "1e3", "x", "1_000", "1,000")
BAD_DATES = ("20240101", "2024-13-01", "2024", "2024-01", "2024-1-1", "01/02/2024", "2024-01-01T10:00", "yesterday")
BAD_MOMENTS = ("10:00", "2024-01-01T10:00:00.0000001Z", "2024-02-30T10:00:00Z", "20240101", "2024", "1700000000000")

KINDS = (
    Kind("STRING", "text", pa.string(), lambda r: r.choice(TEXTS), narrower=("varchar(3)", "char(3)", "name", '"char"', "varchar(400)")),
    Kind("TINYINT", "smallint", pa.int8(), _whole(8), ("parquet", "csv", "json"), bad_texts=("128", "200", *BAD_WHOLE), bad_json=("200", "128", "1.0", '"1"')),
    Kind("SMALLINT", "smallint", pa.int16(), _whole(16), narrower=("real", "text"), bad_texts=("32768", *BAD_WHOLE), bad_json=("32768", '"1"')),
    Kind("INT", "integer", pa.int32(), _whole(32), narrower=("smallint", "bigint", "numeric(5,0)", "real", "text"), bad_texts=("2147483648", *BAD_WHOLE), bad_json=("2147483648", "1.0", "true")),
    Kind("BIGINT", "bigint", pa.int64(), _whole(64), narrower=("integer", "numeric", "double precision", "text"), bad_texts=("9223372036854775808", *BAD_WHOLE), bad_json=("9223372036854775808", "1e3", '"5"')),
    Kind("DECIMAL(10,2)", "numeric(10,2)", pa.decimal128(10, 2), _decimal(10, 2), narrower=("numeric(10,1)", "numeric(5,2)", "numeric", "numeric(12,3)", "money", "double precision"), bad_texts=("1.234", "123456789.1", "1,5"), bad_json=("1.234", "123456789.1", "1e-3")),
    Kind("DECIMAL(38,18)", "numeric(38,18)", pa.decimal128(38, 18), _decimal(38, 18), narrower=("numeric(20,18)", "numeric"), bad_texts=("1.1234567890123456789",), bad_json=("1.1234567890123456789",)),
    Kind("DOUBLE", "double precision", pa.float64(), lambda r: r.choice(DOUBLES), is_key=False, narrower=("real", "numeric", "numeric(10,2)", "integer"), bad_texts=("9007199254740993", "1e400", "1,5", "0.12345678901234567890"), bad_json=("9007199254740993", "1e400", "0.12345678901234567890")),
    Kind("FLOAT", "real", pa.float32(), lambda r: float(np.float32(r.choice(SINGLES))), is_key=False, narrower=("double precision", "numeric"), bad_texts=("16777217", "1e39"), bad_json=("16777217",)),
    Kind("BOOLEAN", "boolean", pa.bool_(), lambda r: r.random() < 0.5, bad_texts=("1", "yes"), bad_json=("1", '"true"')),
    Kind("DATE", "date", pa.date32(), lambda r: _moment(r).date(), narrower=("timestamp", "text", "timestamptz"), bad_texts=BAD_DATES, bad_json=("19000",)),
    Kind("TIMESTAMP", "timestamptz", pa.timestamp("us", "UTC"), _aware, narrower=("timestamp", "date", "timestamptz(3)", "text"), bad_texts=BAD_MOMENTS, bad_json=("1700000000",)),
    Kind("TIMESTAMP_NTZ", "timestamp", pa.timestamp("us"), _moment, narrower=("timestamptz", "timestamp(0)", "date"), bad_texts=(*BAD_MOMENTS, "2024-01-01T10:00:00Z"), bad_json=("1700000000",)),
    Kind("BINARY", "bytea", pa.binary(), lambda r: r.choice((b"", b"\x00\xff", b"abc", b"\\x41")), ("parquet", "json", "jdbc"), is_key=False, narrower=("text",), bad_json=('"A"', '"é"')),
    Kind("ARRAY<BIGINT>", "jsonb", pa.list_(pa.int64()), lambda r: r.choice(([], [1, None], [2**63 - 1])), ("parquet", "json"), is_key=False, bad_json=("[1.5]", '["1"]', "{}")),
    Kind("STRUCT<a: TIMESTAMP, b: STRING>", "jsonb", pa.struct({"a": pa.timestamp("us", "UTC"), "b": pa.string()}), lambda r: {"a": _aware(r), "b": r.choice((None, *TEXTS))}, ("parquet", "json"), bad_json=('{"a": 1}', '{"A": null}', "[]")),
)  # fmt: skip
BY_NAME = {kind.name: kind for kind in KINDS}
TIMES = ("TIMESTAMP", "TIMESTAMP_NTZ", "DATE", "BIGINT", "INT")
ODD_NAMES = (
    "event.name",
    "with blank",
    "tick`s",
    "_deleted",
    "_attempt",
    "größe",
    "select",
    "n" * 63,
    "a-b",
    "_c1",
    "1st",
)


@dataclass(frozen=True)
class Column:
    """A column of a case."""

    name: str
    kind: Kind


class Change(Enum):
    """How a later file differs."""

    NONE = "none"
    ORDER = "its columns in another order"
    MISSING = "a column less"
    CASE = "a name in another case"
    TYPE = "a whole number of another width"


class Fault(Enum):
    """What is wrong with one of the files, if anything."""

    NONE = "none"
    VALUE = "a value that has no exact place"
    TWO_OBJECTS = "two objects in a line"
    OTHER_BYTES = "bytes of another encoding"
    OPEN_QUOTE = "a quote that is not closed"
    MIXED_ENDS = "two kinds of line ends"
    TWICE = "a name twice"
    SHORT = "a record with a value less"


@dataclass(frozen=True)
class Case:
    """One case. `rows` of each file are in the order of `columns`."""

    seed: int
    format: str
    target: str
    zone: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    files: tuple[tuple[tuple[Value, ...], ...], ...]
    change: Change = Change.NONE
    fault: Fault = Fault.NONE
    made: dict[str, str] = field(default_factory=dict)
    """Types of columns that the target has already, where they aren't ours."""
    bad: tuple[str, str] = ("", "")
    """The column and the text of a value that has no exact place."""
    is_multi_line: bool = False
    encoding: str = "utf-8"

    def __str__(self) -> str:
        columns = ", ".join(f"{column.name[:12]} {column.kind.name}" for column in self.columns)
        return (
            f"case {self.seed}: {self.format} to {self.target} in {self.zone}, {columns}; key {self.key}; "
            f"change {self.change.value}; fault {self.fault.value} {self.bad}; made {self.made}; {self.encoding}"
        )

    @property
    def rows(self) -> list[tuple[Value, ...]]:
        """All records. A column that the last file lacks is NULL there."""
        rows = [list(row) for file in self.files[:-1] for row in file]
        for row in self.files[-1]:
            rows.append([None if number == self.lacking else value for number, value in enumerate(row)])
        return [tuple(row) for row in rows]

    @property
    def lacking(self) -> int | None:
        """The number of the column that the last file lacks."""
        return len(self.columns) - 1 if self.change is Change.MISSING else None

    @property
    def may_be(self) -> Outcome:
        """What may come of it."""
        if self.fault is not Fault.NONE or (self.format == "csv" and self.change in (Change.ORDER, Change.MISSING)):
            return Outcome.REFUSED
        if (self.format, self.change) == ("json", Change.CASE):
            return Outcome.REFUSED
        if self.made or self.change is Change.TYPE:
            return Outcome.EITHER
        return Outcome.EXACT

    @property
    def schema(self) -> str:
        """For source.schema."""
        return ", ".join(f"`{column.name.replace('`', '``')}` {column.kind.name}" for column in self.columns)

    def expected(self) -> list[tuple[Value, ...]]:
        """The latest record of each key: keys with a NULL dropped, the timestamp first, then `v`."""
        names = [column.name for column in self.columns]
        keys, at, v = [names.index(name) for name in self.key], names.index("at"), names.index("v")
        best: dict[str, tuple[Any, tuple[Value, ...]]] = {}
        for row in self.rows:
            key = [row[number] for number in keys]
            if any(part is None for part in key):
                continue
            order = ((row[at] is not None, row[at] or 0) if row[at] is not None else (False, 0), row[v])
            if repr(key) not in best or order > best[repr(key)][0]:
                best[repr(key)] = (order, row)
        return [row for _, row in best.values()]


def cases(start: int, count: int) -> Iterator[Case]:
    """Cases by their seeds: the same everywhere."""
    return (_case(seed) for seed in range(start, start + count))


def _case(seed: int) -> Case:
    r = random.Random(seed)
    format, target = FORMATS[seed % 4], "redshift" if r.random() < 0.2 else "postgresql"
    able = [kind for kind in KINDS if format in kind.formats and (target == "postgresql" or kind.postgres != "jsonb")]
    columns = _columns(r, able, target)
    key = tuple(column.name for column in columns if column.name.startswith("id"))
    files = _files(r, columns, key, target)
    case = Case(seed, format, target, ZONES[seed % 3], columns, key, files, encoding=_encoding(r, format))
    return _spoilt(r, replace(case, is_multi_line=format == "json" and r.random() < 0.3))


def _columns(r: random.Random, able: Sequence[Kind], target: str) -> tuple[Column, ...]:
    keys = [kind for kind in able if kind.is_key]
    columns = [Column(f"id{number}", r.choice(keys)) for number in range(r.choice((1, 1, 2)))]
    times = [kind for kind in able if kind.name in TIMES]
    columns += [Column("at", r.choice(times)), Column("v", BY_NAME["INT"])]
    odd = [name for name in ODD_NAMES if target != "redshift" or name != "_deleted"]
    names = r.sample(odd, 4) if r.random() < 0.3 else ["c0", "c1", "Cc2", "c3"]
    columns += [Column(name, r.choice(able)) for name in names[: r.randrange(1, 5)]]
    return tuple(columns)


def _encoding(r: random.Random, format: str) -> str:
    return r.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16")) if format == "csv" else "utf-8"


def _files(
    r: random.Random, columns: Sequence[Column], key: Sequence[str], target: str
) -> tuple[tuple[tuple[Value, ...], ...], ...]:
    """Up to three files of records whose keys repeat. No two have the same `v`, but for some that are repeated whole."""
    count, keys = r.randrange(1, 14), [_key(r, columns, target) for _ in range(4)]
    rows = []
    for number in range(count):
        chosen = r.choice(keys)
        rows.append(tuple(
            chosen[place] if column.name in key else number if column.name == "v" else _value(r, column.kind)
            for place, column in enumerate(columns)
        ))  # fmt: skip
    rows += [row for row in rows if r.random() < 0.1]
    parts = r.randrange(1, 4)
    return tuple(tuple(rows[part::parts]) for part in range(parts))


def _key(r: random.Random, columns: Sequence[Column], target: str) -> list[Value]:
    values = [_value(r, column.kind) for column in columns]
    return [each.strip() if target == "redshift" and isinstance(each, str) else each for each in values]


def _value(r: random.Random, kind: Kind) -> Value:
    return None if r.random() < 0.12 else kind.values(r)


def _spoilt(r: random.Random, case: Case) -> Case:
    """A third of the cases have something that is not exact, another third files or a target that differ."""
    fate = r.random()
    if fate < 0.33 and case.files[-1]:
        return _with_fault(r, case)
    if fate < 0.5 and case.format != "jdbc" and len(case.files) > 1 and all(case.files):
        return _with_change(r, case)
    if fate < 0.67 and case.target == "postgresql":
        able = [column for column in case.columns if column.kind.narrower and column.name not in case.key]
        if able:
            chosen = r.choice(able)
            return replace(case, made={chosen.name: r.choice(chosen.kind.narrower)})
    return case


def _with_fault(r: random.Random, case: Case) -> Case:
    able = {
        "csv": (Fault.VALUE, Fault.VALUE, Fault.OTHER_BYTES, Fault.OPEN_QUOTE, Fault.MIXED_ENDS, Fault.SHORT),
        "json": (Fault.VALUE, Fault.VALUE, Fault.OTHER_BYTES, Fault.TWO_OBJECTS, Fault.TWICE),
    }.get(case.format, ())
    fault = r.choice(able) if able else Fault.NONE
    if case.encoding.startswith("utf-16") and fault is Fault.OTHER_BYTES:
        return case
    if fault is not Fault.VALUE:
        return replace(case, fault=fault)
    bad = [
        (column.name, text)
        for column in case.columns
        for text in (column.kind.bad_texts if case.format == "csv" else _bad_in_json(column.kind))
    ]
    return replace(case, fault=fault, bad=r.choice(bad)) if bad else case


def _bad_in_json(kind: Kind) -> list[str]:
    quoted = [json.dumps(text) for text in kind.bad_texts if kind.name in ("DATE", "TIMESTAMP", "TIMESTAMP_NTZ")]
    return [*kind.bad_json, *quoted]


def _with_change(r: random.Random, case: Case) -> Case:
    able = [Change.ORDER, Change.MISSING]
    if case.columns[-1].name == "c3" or case.format == "csv":
        able.append(Change.CASE)
    if case.format == "parquet" and case.columns[-1].kind.name in ("INT", "BIGINT"):
        able.append(Change.TYPE)
    return replace(case, change=r.choice(able), encoding="utf-8")


def write(case: Case, folder: Path) -> None:
    """The case's files."""
    writer = {"parquet": _write_parquet, "csv": _write_csv, "json": _write_json}[case.format]
    for number, rows in enumerate(case.files):
        writer(case, rows, folder / f"part-{number}.{case.format}", number == len(case.files) - 1)


def _layout(case: Case, is_last: bool) -> list[tuple[int, str]]:
    """Numbers and names of a file's columns, in its order."""
    layout = [(number, column.name) for number, column in enumerate(case.columns)]
    if not is_last:
        return layout
    if case.change is Change.ORDER:
        return layout[::-1]
    if case.change is Change.MISSING:
        return layout[:-1]
    return [*layout[:-1], (layout[-1][0], layout[-1][1].swapcase())] if case.change is Change.CASE else layout


def _write_parquet(case: Case, rows: Sequence[tuple[Value, ...]], path: Path, is_last: bool) -> None:
    arrays, names = [], []
    for number, name in _layout(case, is_last):
        kind, values = case.columns[number].kind.arrow, [row[number] for row in rows]
        if is_last and case.change is Change.TYPE and number == len(case.columns) - 1:
            kind = pa.int64() if kind == pa.int32() else pa.int32()
            values = [None if value is None else max(-(2**31), min(2**31 - 1, value)) for value in values]
        arrays.append(pa.array(values, kind))
        names.append(name)
    pq.write_table(pa.table(arrays, names), path)


def _write_csv(case: Case, rows: Sequence[tuple[Value, ...]], path: Path, is_last: bool) -> None:
    r = random.Random(f"{case.seed} {path.name}")
    end = r.choice(("\n", "\r\n"))
    layout = _layout(case, is_last)
    lines = [",".join(_quoted(r, name) for _, name in layout)]
    for count, row in enumerate(rows):
        cells = [_cell(r, row[number]) for number, _ in layout]
        if is_last and count == len(rows) - 1:
            cells = _spoil_cells(case, cells, layout)
        lines.append(",".join(cells))
    text = end.join(lines) + (end if r.random() < 0.7 else "")
    if is_last and case.fault is Fault.MIXED_ENDS:
        text = "\n".join(lines) + "\r\n" + lines[-1] + "\n"
    content = text.encode(case.encoding)
    path.write_bytes(content + b"\xe9\xff" if is_last and case.fault is Fault.OTHER_BYTES else content)


def _spoil_cells(case: Case, cells: list[str], layout: Sequence[tuple[int, str]]) -> list[str]:
    if case.fault is Fault.SHORT:
        return cells[:-1]
    if case.fault is Fault.OPEN_QUOTE:
        return [*cells[:-1], '"open']
    names = [name for _, name in layout]
    if case.fault is Fault.VALUE:
        cells[names.index(case.bad[0])] = '"' + case.bad[1] + '"' if "," in case.bad[1] else case.bad[1]
    return cells


def _quoted(r: random.Random, text: str) -> str:
    must = any(sign in text for sign in '",\n\r') or text == ""
    return '"' + text.replace('"', '""') + '"' if must or r.random() < 0.2 else text


def _cell(r: random.Random, value: Value) -> str:
    return "" if value is None else _quoted(r, _text(r, value)) if isinstance(value, str) else _text(r, value)


def _text(r: random.Random, value: Value) -> str:
    """A scalar as CSV, and within quotes as JSON, has it."""
    if isinstance(value, bool):
        return r.choice((str(value).lower(), str(value)))
    if isinstance(value, datetime):
        return _moment_text(r, value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return f"{value:f}"
    return repr(float(np.float32(value))) if isinstance(value, np.floating) else str(value)


def _moment_text(r: random.Random, value: datetime) -> str:
    sign = r.choice("T ")
    if value.tzinfo is None:
        return value.isoformat(sep=sign)
    hours = r.choice((0, 2, -5)) if datetime(2, 1, 1) < value.replace(tzinfo=None) < datetime(9999, 1, 1) else 0
    text = value.astimezone(timezone(timedelta(hours=hours))).isoformat(sep=sign)
    return text.replace("+00:00", r.choice(("Z", "+00:00", "")))


def _write_json(case: Case, rows: Sequence[tuple[Value, ...]], path: Path, is_last: bool) -> None:
    r = random.Random(f"{case.seed} {path.name}")
    records = []
    for count, row in enumerate(rows):
        spoilt = is_last and count == len(rows) - 1
        parts = [
            (name, case.bad[1] if spoilt and case.bad[0] == name else _as_json(r, row[number]))
            for number, name in _layout(case, is_last)
        ]
        parts = [part for part in parts if part[1] != "null" or r.random() < 0.5]
        if (
            is_last
            and case.change is Change.CASE
            and not any(name == case.columns[-1].name.swapcase() for name, _ in parts)
        ):
            parts.append((case.columns[-1].name.swapcase(), "null"))
        r.shuffle(parts)
        if spoilt and case.fault is Fault.TWICE:
            parts += [("v", "1"), ("v", "2")]
        records.append("{" + ", ".join(f"{json.dumps(name)}: {value}" for name, value in parts) + "}")
    path.write_bytes(_joined(case, records, is_last))


def _joined(case: Case, records: list[str], is_last: bool) -> bytes:
    spoilt = is_last and case.fault is Fault.TWO_OBJECTS
    if case.is_multi_line:
        text = "[\n" + ",\n".join(records) + "\n]" + ("\n{}" if spoilt else "")
    else:
        text = "\n".join(records) + (" {}" if spoilt else "\n")
    content = text.encode()
    if is_last and case.fault is Fault.OTHER_BYTES:
        content = content.replace(b"{", b'{"\xe9": 1, ', 1)
    return content


def _as_json(r: random.Random, value: Value) -> str:
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)}: {_as_json(r, each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_as_json(r, each) for each in value) + "]"
    if isinstance(value, bytes):
        return json.dumps(base64.b64encode(value).decode())
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=r.random() < 0.5)
    return json.dumps(_text(r, value)) if isinstance(value, date) else _text(r, value)


def into_table(case: Case, uri: str, table: str) -> None:
    """The case's rows in a PostgreSQL table, to be read by JDBC."""
    columns = ", ".join(f"{_name(column.name)} {column.kind.postgres}" for column in case.columns)
    with psycopg2.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute("SET timezone = 'UTC'")
        cursor.execute(f"CREATE TABLE {table} ({columns})")
        marks = ", ".join(["%s"] * len(case.columns))
        cursor.executemany(f"INSERT INTO {table} VALUES ({marks})", case.rows)


def make_target(case: Case, uri: str, table: str) -> None:
    """A target that is there already, with columns of other types and in another order."""
    columns = [f"{_name(column.name)} {case.made.get(column.name, column.kind.postgres)}" for column in case.columns]
    random.Random(case.seed).shuffle(columns)
    key = ", ".join(map(_name, case.key))
    with psycopg2.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {table} ({', '.join(columns)}, UNIQUE NULLS NOT DISTINCT ({key}))")


def found(case: Case, uri: str, table: str) -> list[str]:
    """What the target has, in a form that can be compared."""
    names = ", ".join(_name(column.name) for column in case.columns)
    with psycopg2.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute("SET timezone = 'UTC'")
        cursor.execute("SELECT to_regclass(%s) IS NULL", (table,))
        if cursor.fetchone() == (True,):
            return []
        cursor.execute(f"SELECT {names} FROM {table}")
        return sorted(comparable(row) for row in cursor.fetchall())


def comparable(row: Sequence[Value]) -> str:
    """A row as text: equal where every value is."""
    return repr([_plain(value) for value in row])


def _plain(value: Value) -> Value:
    if isinstance(value, memoryview | bytes):
        return bytes(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat() if value.tzinfo else value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bool):
        return value
    if isinstance(value, Decimal | int):
        return f"{Decimal(value).normalize(_WIDE):f}"
    if isinstance(value, float):
        return f"{Decimal(repr(float(np.float32(value))) if np.float32(value) == value else repr(value)).normalize(_WIDE):f}"
    if isinstance(value, dict):
        return {name: _nested(each) for name, each in sorted(value.items())}
    return [_nested(each) for each in value] if isinstance(value, list) else value


def _nested(value: Value) -> Value:
    """A nested value, which PostgreSQL has as JSON: its moments are texts there."""
    if isinstance(value, str) and value.endswith(("Z", "+00:00")) and len(value) > 19:
        return datetime.fromisoformat(value.replace("Z", "+00:00")).isoformat()
    return _plain(value)


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


assert codecs.lookup("utf-8-sig")
