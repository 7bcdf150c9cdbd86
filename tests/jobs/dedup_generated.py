"""Generated cases of the deduplication, and what plain Python says of them: no Spark, no SQL.

A case is a table of odd but legal values, written as one of the formats in one of the ways people do, perhaps with
files that differ from each other, and perhaps with a value that has no exact place.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal
from enum import Enum
from typing import Any

import numpy as np
import pyarrow as pa

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
    datetime(2024, 3, 10, 2, 30, 0, 1),
    datetime(2024, 11, 3, 1, 30),
    datetime(1970, 1, 1),
    datetime(1969, 12, 31, 23, 59, 59, 999999),
    datetime(1, 1, 1),
    datetime(9999, 12, 31, 23, 59, 59, 999999),
    datetime(1582, 10, 10),
    datetime(1883, 11, 18, 12, 3, 58),
    datetime(1900, 1, 1),
    datetime(2038, 1, 19, 3, 14, 8),
    datetime(1986, 1, 1, 0, 7),
)


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
    return lambda r: Decimal(r.choice((0, 1, -1, most, -most, r.randrange(-most, most)))).scaleb(-scale, EXACT)


EXACT = Context(prec=60)
DOUBLES = (0.0, 0.1, 1e-300, 1e300, 5e-324, 1.7976931348623157e308, 0.30000000000000004, -0.0, 9007199254740992.0)
DOUBLES = (*DOUBLES, float("nan"), float("inf"), float("-inf"))
SINGLES = (0.0, 0.1, 16777216.0, 3.4028235e38, 1.1754944e-38, -2.5)
BAD_WHOLE = ("1.5", "1e3", "x", "1_000", "1,000")
BAD_DATES = ("20240101", "2024-13-01", "2024", "2024-01", "2024-1-1", "01/02/2024", "2024-01-01T10:00", "yesterday")
BAD_MOMENTS = ("10:00", "2024-01-01T10:00:00.0000001Z", "2024-02-30T10:00:00Z", "20240101", "2024", "1700000000000")

KINDS = (
    Kind(
        "STRING",
        "text",
        pa.string(),
        lambda r: r.choice(TEXTS),
        narrower=("varchar(3)", "char(3)", "name", '"char"', "varchar(400)"),
    ),
    Kind(
        "TINYINT",
        "smallint",
        pa.int8(),
        _whole(8),
        ("parquet", "csv", "json"),
        bad_texts=("128", "200", *BAD_WHOLE),
        bad_json=("200", "128", "1.0", '"1"'),
    ),
    Kind(
        "SMALLINT",
        "smallint",
        pa.int16(),
        _whole(16),
        narrower=("real", "text"),
        bad_texts=("32768", *BAD_WHOLE),
        bad_json=("32768", '"1"'),
    ),
    Kind(
        "INT",
        "integer",
        pa.int32(),
        _whole(32),
        narrower=("smallint", "bigint", "numeric(5,0)", "real", "text"),
        bad_texts=("2147483648", *BAD_WHOLE),
        bad_json=("2147483648", "1.0", "true"),
    ),
    Kind(
        "BIGINT",
        "bigint",
        pa.int64(),
        _whole(64),
        narrower=("integer", "numeric", "double precision", "text"),
        bad_texts=("9223372036854775808", *BAD_WHOLE),
        bad_json=("9223372036854775808", "1e3", '"5"'),
    ),
    Kind(
        "DECIMAL(10,2)",
        "numeric(10,2)",
        pa.decimal128(10, 2),
        _decimal(10, 2),
        narrower=("numeric(10,1)", "numeric(5,2)", "numeric", "numeric(12,3)", "money", "double precision"),
        bad_texts=("1.234", "123456789.1", "1,5"),
        bad_json=("1.234", "123456789.1", "1e-3"),
    ),
    Kind(
        "DECIMAL(38,18)",
        "numeric(38,18)",
        pa.decimal128(38, 18),
        _decimal(38, 18),
        narrower=("numeric(20,18)", "numeric"),
        bad_texts=("1.1234567890123456789",),
        bad_json=("1.1234567890123456789",),
    ),
    Kind(
        "DOUBLE",
        "double precision",
        pa.float64(),
        lambda r: r.choice(DOUBLES),
        is_key=False,
        narrower=("real", "numeric", "numeric(10,2)", "integer"),
        bad_texts=("9007199254740993", "1e400", "1,5", "0.12345678901234567890"),
        bad_json=("9007199254740993", "1e400", "0.12345678901234567890"),
    ),
    Kind(
        "FLOAT",
        "real",
        pa.float32(),
        lambda r: float(np.float32(r.choice(SINGLES))),
        is_key=False,
        narrower=("double precision", "numeric"),
        bad_texts=("16777217", "1e39"),
        bad_json=("16777217",),
    ),
    Kind(
        "BOOLEAN", "boolean", pa.bool_(), lambda r: r.random() < 0.5, bad_texts=("1", "yes"), bad_json=("1", '"true"')
    ),
    Kind(
        "DATE",
        "date",
        pa.date32(),
        lambda r: _moment(r).date(),
        narrower=("timestamp", "text", "timestamptz"),
        bad_texts=BAD_DATES,
        bad_json=("19000",),
    ),
    Kind(
        "TIMESTAMP",
        "timestamptz",
        pa.timestamp("us", "UTC"),
        _aware,
        narrower=("timestamp", "date", "timestamptz(3)", "text"),
        bad_texts=BAD_MOMENTS,
        bad_json=("1700000000",),
    ),
    Kind(
        "TIMESTAMP_NTZ",
        "timestamp",
        pa.timestamp("us"),
        _moment,
        narrower=("timestamptz", "timestamp(0)", "date"),
        bad_texts=(*BAD_MOMENTS, "2024-01-01T10:00:00Z"),
        bad_json=("1700000000",),
    ),
    Kind(
        "BINARY",
        "bytea",
        pa.binary(),
        lambda r: r.choice((b"", b"\x00\xff", b"abc", b"\\x41")),
        ("parquet", "json", "jdbc"),
        is_key=False,
        narrower=("text",),
        bad_json=('"A"', '"é"'),
    ),
    Kind(
        "ARRAY<BIGINT>",
        "jsonb",
        pa.list_(pa.int64()),
        lambda r: r.choice(([], [1, None], [2**63 - 1])),
        ("parquet", "json"),
        is_key=False,
        bad_json=("[1.5]", '["1"]', "{}"),
    ),
    Kind(
        "STRUCT<a: TIMESTAMP, b: STRING>",
        "jsonb",
        pa.struct({"a": pa.timestamp("us", "UTC"), "b": pa.string()}),
        lambda r: {"a": _aware(r), "b": r.choice((None, *TEXTS))},
        ("parquet", "json"),
        bad_json=('{"a": 1}', '{"A": null}', "[]"),
    ),
)
BY_NAME = {kind.name: kind for kind in KINDS}
TIMES = ("TIMESTAMP", "TIMESTAMP_NTZ", "DATE", "BIGINT", "INT")
ODD_NAMES = (
    *("event.name", "with blank", "tick`s", "_deleted", "_attempt", "größe", "select", "a-b", "_c1", "1st"),
    "n" * 63,
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
        if (self.format, self.change) == ("json", Change.CASE) or (self.is_marked and self.has_line_breaks):
            return Outcome.REFUSED
        if self.made or self.change is Change.TYPE or (self.format == "jdbc" and self.is_in_the_gap):
            return Outcome.EITHER
        return Outcome.EXACT

    @property
    def is_marked(self) -> bool:
        """Whether its files are CSV with a byte-order mark: they are read line by line."""
        return (self.format, self.encoding) == ("csv", "utf-8-sig")

    @property
    def has_line_breaks(self) -> bool:
        """Whether a text goes over several lines."""
        return any(isinstance(value, str) and "\n" in value for file in self.files for row in file for value in row)

    @property
    def is_in_the_gap(self) -> bool:
        """Whether a date is one of those that Java's old calendar hasn't."""
        days = (value for row in self.rows for value in row if isinstance(value, date))
        return any((1582, 10, 5) <= (day.year, day.month, day.day) < (1582, 10, 15) for day in days)

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
    if format == "json":
        return r.choice(("utf-8", "utf-8", "utf-8-sig"))
    return r.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16")) if format == "csv" else "utf-8"


def _files(
    r: random.Random, columns: Sequence[Column], key: Sequence[str], target: str
) -> tuple[tuple[tuple[Value, ...], ...], ...]:
    """Up to three files of records whose keys repeat. No two have the same `v`, but for repeated ones."""
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
    if fate < 0.55 and case.format != "jdbc" and len(case.files) > 1 and all(case.files):
        return _with_change(r, case)
    if fate < 0.7 and case.target == "postgresql":
        able = [column for column in case.columns if column.kind.narrower and column.name not in case.key]
        if able:
            chosen = r.choice(able)
            return replace(case, made={chosen.name: r.choice(chosen.kind.narrower)})
    return case


OVERLONG = (("ab ", "ab  ", "ab   ", "abc"), ("abcd", "ab"), ("x" * 100, "x"), ("a", "b  "))
"""Texts that are cut where a column is short, some of them by blanks alone: those of one case are of one sort."""


def with_other_target(case: Case) -> Case:
    """The case with a target whose column is of another type, most often; texts are too long for some of these."""
    r = random.Random(-case.seed)
    able = [column for column in case.columns if column.kind.narrower and column.name not in case.key]
    if case.made or not able or r.random() < 0.3:
        return case
    chosen = r.choice([column for column in able if column.kind.name == "STRING"] or able)
    number, files, texts = case.columns.index(chosen), case.files, r.choice(OVERLONG)
    if chosen.kind.name == "STRING":
        # By `v`: a record that is there twice stays the same.
        v = [column.name for column in case.columns].index("v")
        files = tuple(
            tuple((*row[:number], texts[row[v] % len(texts)], *row[number + 1 :]) for row in file) for file in files
        )
    return replace(case, made={chosen.name: r.choice(chosen.kind.narrower)}, files=files)


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
    if len(case.columns[-1].name) == 2:
        able.append(Change.CASE)
    if case.format == "parquet" and case.columns[-1].kind.name in ("INT", "BIGINT"):
        able += [Change.TYPE] * 3
    return replace(case, change=r.choice(able), encoding="utf-8")
