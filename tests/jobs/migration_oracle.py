"""Generated tables for the migration, and what must be on the target afterwards, told by psycopg2 and decimal alone."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np

OWN_TYPES = """
CREATE SCHEMA "Odd types";
CREATE TYPE mood AS ENUM ('sad', 'glad', 'it''s "odd", isn\\t it', '');
CREATE TYPE pair AS (x int, "y z" text);
CREATE TYPE "Odd types".deep AS (p pair, ps pair[], "M" mood);
CREATE DOMAIN code AS varchar(5) CHECK (value <> 'never');
CREATE DOMAIN codes AS code[];
CREATE TYPE spans AS RANGE (subtype = numeric)
"""

VALUES: dict[str, tuple[str, ...]] = {
    "boolean": ("true", "false"),
    "smallint": ("0", "-32768", "32767", "7"),
    "integer": ("0", "-2147483648", "2147483647", "16777217", "42"),
    "bigint": ("0", "-9223372036854775808", "9223372036854775807", "9007199254740993", "5"),
    "numeric": ("0", "NaN", "Infinity", "-Infinity", "1.50", "-0.000", "1e-300", "123456789012345678901234567890.5",
                "1e400", "0.1", "100"),
    "numeric(12,4)": ("0", "NaN", "99999999.9999", "-1.5", "2.0000"),
    "numeric(4,-2)": ("100", "-999900"),
    "numeric(3,5)": ("0.00999", "-0.00001"),
    "real": ("0", "-0", "NaN", "Infinity", "3.4028235e38", "1e-45", "0.1", "16777216", "1.5"),
    "double precision": ("0", "-0", "NaN", "-Infinity", "5e-324", "1.7976931348623157e308", "0.1",
                         "9007199254740993", "0.30000000000000004", "2.5"),
    "money": ("0", "-92233720368547758.08", "92233720368547758.07", "12.34"),
    "text": ("", " ", "a", "tab\tnewline\ncr\r", "\\N", "\\.", "back\\slash", "quote'\"", "é", "NULL", "0",
             "2020-01-02", "x" * 300, "  b  ", "%s %", "{a}", "\x01\x7f"),
    "varchar(7)": ("", "seven77", " ", "é\\", "abc", "a  "),
    "char(5)": ("", "a", "five5", "é", " b"),
    '"char"': ("", "a", "é"[:0], "\\377", "\\001"),
    "name": ("", "a name", "N" * 63),
    "bytea": ("\\x", "\\x00ff5c0a", "\\x27", "\\x" + "00" * 3000),
    "date": ("infinity", "-infinity", "4714-11-24 BC", "0044-03-15 BC", "5874897-12-31", "2024-02-29", "1582-10-10"),
    "time": ("00:00", "24:00", "23:59:59.999999", "12:34:56.5"),
    "time(0)": ("00:00", "24:00", "23:59:59"),
    "timetz": ("00:00+00", "24:00-15:59", "23:59:59.999999+15:59:59", "12:00-03:30"),
    "timestamp": ("infinity", "-infinity", "4714-11-24 00:00:00 BC", "294276-12-31 23:59:59.999999",
                  "1883-11-18 12:00:00.000001", "2024-03-10 02:30:00", "0044-03-15 12:00 BC", "2000-01-01 00:00:00"),
    "timestamptz": ("infinity", "-infinity", "4714-11-24 00:00:00+00 BC", "294276-12-31 23:59:59.999999+00",
                    "1883-11-18 12:00:00.000001+00", "2024-03-10 02:30:00-05", "1850-01-01 00:00:00+00",
                    "2024-11-03 01:30:00-04", "0044-03-15 12:00:00+00 BC"),
    "timestamptz(3)": ("2024-03-10 02:30:00.123-05", "infinity"),
    "interval": ("0", "1 mon -2 days 03:04:05.678901", "-1 day 02:03:04", "-1 year -2 mons", "178000000 years",
                 "1 year -3 days", "-00:00:00.000001", "infinity", "-infinity", "-1 mon 5 days -04:05:06"),
    "interval day to second(2)": ("-3 days 04:05:06.78", "1 day -00:00:01"),
    "interval year to month": ("-1 year 2 mons", "5 mons"),
    "uuid": ("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "00000000-0000-0000-0000-000000000000"),
    "inet": ("::1", "1.2.3.4/24", "0.0.0.0/0", "255.255.255.255", "fe80::1/64"),
    "cidr": ("10.0.0.0/8", "::/0", "1.2.3.4/32"),
    "macaddr": ("08:00:2b:01:02:03", "ff:ff:ff:ff:ff:ff"),
    "macaddr8": ("08:00:2b:01:02:03:04:05",),
    "json": ('{"b": 1,  "a":2, "b": 3}', "null", "[]", '"\\u00e9"', "1.50", '{"a": [1, {"b": null}]}', " {} "),
    "jsonb": ('{"b": [null, 1.50]}', "null", "{}", '"x\\ty"', "1e400", "[1,[2]]"),
    "jsonpath": ("$.a[*] ? (@ > 1)", "lax $"),
    "bit(3)": ("101", "000"),
    "bit": ("1", "0"),
    "varbit": ("", "1", "0" * 70),
    "varbit(5)": ("", "10101"),
    "point": ("(1.5,-2)", "(0,-0)", "(NaN,Infinity)"),
    "line": ("{1,2,3}",), "lseg": ("[(0,0),(1,1)]",), "box": ("(1,1),(0,0)",),
    "path": ("[(0,0),(1,2)]", "((0,0),(1,2))"),
    "polygon": ("((0,0),(1,2),(3,4))",), "circle": ("<(1,2),3.5>",),
    "int4range": ("[1,5)", "empty", "(,)", "[2147483646,)"),
    "numrange": ("[1.50,2]", "(,0.10)", "empty"),
    "tsrange": ("[2024-01-01 00:00,infinity]", "(,)"),
    "tstzrange": ("[2024-03-10 02:30:00-05,2024-11-03 01:30:00-04)", "[1850-01-01 00:00:00+00,)"),
    "daterange": ("[2024-02-28,2024-03-01)", "(,)"),
    "int8multirange": ("{}", "{[1,3),[5,9)}"),
    "tstzmultirange": ("{[2024-03-10 02:30:00-05,2024-11-03 01:30:00-04)}",),
    "tsvector": ("", "'a':1A 'b c':2", "'it''s'"),
    "tsquery": ("", "'a' & !'b' <-> 'c':*A"),
    "pg_lsn": ("0/0", "FFFFFFFF/FFFFFFFF"),
    "oid": ("0", "4294967295"),
    "xid8": ("0", "18446744073709551615"),
    "pg_snapshot": ("10:20:10,14,15",),
    "regtype": ("integer", "text[]", "pair"),
    "regclass": ("pg_class", "landmark"),
    "regnamespace": ("pg_catalog", '"Odd types"'),
    "regproc": ("now",),
    "int4[]": ("{}", "{1,NULL,3}", "{{1,2},{3,4}}", "[0:1]={5,6}"),
    "text[]": ("{}", '{"a,b","c\\"d",NULL,"","NULL","\\\\"," x ","{}"}', "{{é,b},{c,NULL}}"),
    "numeric(5,2)[]": ("{1.50,NaN,-0.01}", "{}"),
    "timestamptz[]": ('{"2024-03-10 02:30:00-05",infinity,NULL}',),
    "interval[]": ('{"-1 day 02:03:04","1 year -3 days"}', "{}"),
    "bytea[]": ('{"\\\\x00ff","\\\\x"}',),
    "money[]": ("{12.34,-1}",),
    "regclass[]": ("{pg_class,landmark}",),
    "jsonb[]": ('{"{\\"a\\": 1}",NULL}',),
    "int4range[]": ('{"[1,5)",empty}',),
    "mood": ("sad", "glad", "it's \"odd\", isn\\t it", ""),
    "mood[]": ('{glad,"it\'s \\"odd\\", isn\\\\t it",""}', "{}"),
    "pair": ("(1,a)", "(,)", '(-5,"a ""b"" \\\\ , ( )")', '(0,"")'),
    "pair[]": ('{"(1,\\"a,b\\")",NULL}', "{}"),
    '"Odd types".deep': ('("(1,a)","{""(2,b)""}",glad)', "(,,)", '("(,)",{},"")'),
    "code": ("abc", "", "a b"),
    "codes": ("{a,b}", "{}"),
    "spans": ("[1.50,2)", "empty"),
}  # fmt: skip
"""Values of every type, as text; NULL comes of itself."""

WIDER_OR_OTHER: dict[str, tuple[str, ...]] = {
    "boolean": ("text", "integer"),
    "smallint": ("integer", "bigint", "numeric", "real", "text", "boolean"),
    "integer": ("bigint", "smallint", "numeric(6,2)", "real", "double precision", "varchar(3)"),
    "bigint": ("integer", "numeric", "double precision", "real", "text"),
    "numeric": ("numeric(12,2)", "double precision", "integer", "text", "bigint", "real", "varchar(9)"),
    "numeric(12,4)": ("numeric(12,2)", "numeric(14,4)", "numeric", "integer", "double precision", "money"),
    "real": ("double precision", "numeric", "integer", "text"),
    "double precision": ("real", "numeric", "text", "bigint"),
    "money": ("numeric", "numeric(20,1)", "text"),
    "text": ("varchar(7)", "char(5)", "varchar", "integer", "name", "date", "json", "bytea", "mood", "code"),
    "varchar(7)": ("varchar(3)", "text", "char(5)", "varchar(10)"),
    "char(5)": ("char(3)", "char(8)", "text", "varchar(4)"),
    "date": ("timestamp", "timestamptz", "text"),
    "time": ("time(0)", "time(3)", "interval", "text", "timetz"),
    "timetz": ("time", "timetz(1)", "text"),
    "timestamp": ("timestamp(0)", "date", "timestamptz", "text", "time"),
    "timestamptz": ("timestamptz(3)", "timestamp", "date", "text"),
    "timestamptz(3)": ("timestamptz", "timestamptz(0)"),
    "interval": ("interval(0)", "interval day to second(2)", "text", "time", "interval year to month"),
    "json": ("jsonb", "text", "varchar(9)"),
    "jsonb": ("json", "text"),
    "inet": ("cidr", "text"),
    "cidr": ("inet",),
    "bit(3)": ("bit(5)", "varbit", "bit(2)", "integer"),
    "varbit": ("bit(5)", "varbit(5)", "text"),
    "uuid": ("text", "char(36)", "varchar(10)"),
    "int4[]": ("bigint[]", "text[]", "smallint[]", "text"),
    "text[]": ("varchar(3)[]", "text"),
    "numeric(5,2)[]": ("numeric(5,1)[]", "numeric[]"),
    "timestamptz[]": ("timestamptz(0)[]", "timestamp[]"),
    "mood": ("text", "varchar(4)"),
    "code": ("text", "varchar(2)", "mood"),
    "pair": ("text",),
    "oid": ("bigint", "integer"),
    "regclass": ("text", "oid"),
    "regtype": ("text", "bigint"),
}
ZONES = {"timestamptz", "timetz", "timestamptz[]"}

NAMES = (
    "c", "UPPER case", "select", "%s", "100%", "dot.ted", 'quo"te', "back`tick", "back\\slash", "sem;i", "new\nline",
    "it's", "{brace}", ":colon", "$1", "rows", "hash", "bucket", "k0", "n", "r", "t", "é" * 31, "x" * 63, "ctid2",
    "tab\t", "-- no", " lead", "oid", "value", "public", "a,b", "/*", "q", "Q",
)  # fmt: skip


@dataclass(frozen=True)
class Place:
    """A column on both sides."""

    name: str
    kind: str
    target_kind: str
    values: tuple[str | None, ...] = ()

    @property
    def sql(self) -> str:
        return quoted(self.name)


@dataclass(frozen=True)
class Generated:
    """One table to move: what is made before, what the job is told, and what is known of it."""

    number: int
    table: str
    target_table: str
    source: tuple[str, ...]
    target: tuple[str, ...]
    places: tuple[Place, ...]
    configuration: dict[str, Any] = field(default_factory=dict)
    workload: dict[str, Any] = field(default_factory=dict)
    is_trial: bool = False
    is_repaired: bool = False
    """Whether the target is spoilt after the move, for the next run to correct."""

    @property
    def summary(self) -> str:
        listed = ", ".join(f"{p.kind}->{p.target_kind}" if p.kind != p.target_kind else p.kind for p in self.places)
        return f"case {self.number} {self.configuration} {self.workload}: {listed}; {self.source[0]}; {self.target[:1]}"


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def literal(text: str | None) -> str:
    return "NULL" if text is None else "'" + text.replace("'", "''") + "'"


KEYS = (
    "integer", "bigint", "text", "numeric", "timestamptz", "uuid", "bytea", "date", "double precision", "char(5)",
    "mood", "code", "int4[]", "inet", "interval", "jsonb", "pair", "int4range", "time", "timetz", "varbit", "bit(3)",
    "money", '"char"', "name", "boolean", "real", "tsrange", "macaddr", "oid", "pg_lsn", "varchar(7)", "text[]",
)  # fmt: skip
COPY: tuple[dict[str, Any], ...] = (
    {"method": "copy"},
    {"method": "copy"},
    {"method": "copy", "origin_rate_limit": 10**9},
)
JDBC: tuple[dict[str, Any], ...] = (
    {"method": "jdbc"},
    {"method": "jdbc", "batch_size": 1, "fetch_size": 1},
    {"method": "jdbc", "batch_size": 3, "fetch_size": 0},
)


def cases(
    count: int, seed: int, ways: Sequence[dict[str, Any]], encodable: Callable[[str], bool] = lambda text: True
) -> Iterator[Generated]:
    """Tables of random columns, keys and kinds, moved in random ways."""
    rng = random.Random(seed)
    for number in range(count):
        yield _case(rng, number, ways, encodable)


def _case(
    rng: random.Random, number: int, ways: Sequence[dict[str, Any]], encodable: Callable[[str], bool]
) -> Generated:
    names = [name for name in rng.sample(NAMES, len(NAMES)) if encodable(name)]
    table = f"t{number} {rng.choice(names)}"[:40] if rng.random() < 0.5 else f"t{number}"
    while len(table.encode()) > 63:
        table = table[:-1]
    is_other = rng.random() < 0.35
    target = rng.choice(("missing", "same", "same", "reordered")) if not is_other else "other"
    rows = rng.choice((0, 1, 3, 12, 40))
    places = tuple(_place(rng, name, rows, is_other, encodable) for name in names[: rng.randint(1, 5)])
    key, key_places, workload = _key(rng, names[6:], rows, encodable)
    places = tuple(sorted((*key_places, *places), key=lambda _: rng.random()))
    kind = rng.choice(("plain", "plain", "plain", "unlogged", "partitioned", "inherited", "view", "materialized"))
    source = _source(kind, table, places, key, rows, is_keyed=bool(key_places))
    settings = dict(rng.choice(ways)) | {"partitions": rng.choice((1, 2, 3, 7)), "parallelism": rng.choice((1, 2))}
    own = "" if rng.random() < 0.5 else f"moved {number}"
    return Generated(
        number, table, own or table, source, _target(rng, target, own or table, places, key), places, settings,
        workload | {"table": table} | ({"target_table": own} if own else {}), rng.random() < 0.15,
        is_repaired="KEY" in key and not is_other and rows > 1 and kind in ("plain", "unlogged") and rng.random() < 0.5,
    )  # fmt: skip


def _place(
    rng: random.Random,
    name: str,
    rows: int,
    is_other: bool,
    encodable: Callable[[str], bool],
    kinds: Sequence[str] = (),
) -> Place:
    kind = rng.choice(kinds or (list(WIDER_OR_OTHER) if is_other else list(VALUES)))
    other = rng.choice(WIDER_OR_OTHER[kind]) if is_other and not kinds and rng.random() < 0.7 else kind
    known = [value for value in VALUES[kind] if encodable(value)]
    if other != kind:  # few values: else all such tables would have one that does not fit
        known = rng.sample(known, min(len(known), rng.choice((1, 1, 2, 20))))
    nulls = rng.choice((0.0, 0.1, 0.5))
    values = tuple(None if not kinds and rng.random() < nulls else rng.choice(known) for _ in range(rows))
    return Place(name, kind, other, values)


def _key(
    rng: random.Random, names: Sequence[str], rows: int, encodable: Callable[[str], bool]
) -> tuple[str, tuple[Place, ...], dict[str, Any]]:
    """What tells rows apart: a clause of the table, its columns, and the job's options."""
    way = rng.choice(("none", "id", "id", "odd", "odd", "two", "unique", "nullable"))
    if way == "none":
        return "", (), {}
    identity = Place(names[0], "integer", "integer", tuple(map(str, rng.sample(range(-50, 1000), rows))))
    if way == "id":
        return f"PRIMARY KEY ({identity.sql})", (identity,), {}
    odd = _place(rng, names[1], rows, False, encodable, KEYS)
    if way == "two":
        return f"PRIMARY KEY ({odd.sql}, {identity.sql})", (identity, odd), {}
    if way == "nullable":
        values = tuple(None if rng.random() < 0.3 else value for value in odd.values)
        return "", (Place(odd.name, odd.kind, odd.kind, values),), {"key": [odd.name]}
    distinct = list(dict.fromkeys(odd.values))
    values = tuple(distinct[:rows]) + (None,) * (rows - len(distinct))
    chosen = Place(odd.name, odd.kind, odd.kind, values)
    word = "PRIMARY KEY" if way == "odd" else "UNIQUE"
    return f"{word} ({chosen.sql})", (chosen,), {}


def _definition(places: Sequence[Place], key: str, *, is_target: bool = False) -> str:
    named = key.startswith("UNIQUE")
    columns = [
        f"{p.sql} {p.target_kind if is_target else p.kind}{' NOT NULL' if named and p.sql in key else ''}"
        for p in places
    ]
    return ", ".join([*columns, *([key] if key else [])])


def _source(kind: str, table: str, places: Sequence[Place], key: str, rows: int, *, is_keyed: bool) -> tuple[str, ...]:
    """The statements that make the source's table and fill it; key values that repeat are left out."""
    name = quoted(table)
    base = quoted(table[:20] + " base") if kind in ("view", "materialized") else name
    tuples = ", ".join(f"({', '.join(literal(p.values[row]) for p in places)})" for row in range(rows))
    columns = ", ".join(p.sql for p in places)
    fill = f"INSERT INTO {base} ({columns}) VALUES {tuples} ON CONFLICT DO NOTHING" if rows else "SELECT 1"
    if "KEY" in key or "UNIQUE" in key:
        keyed = [p for p in places if p.sql in key]
        fit = [row for row in range(rows) if all(p.values[row] is not None for p in keyed)]
        tuples = ", ".join(f"({', '.join(literal(p.values[row]) for p in places)})" for row in fit)
        fill = f"INSERT INTO {base} ({columns}) VALUES {tuples} ON CONFLICT DO NOTHING" if fit else "SELECT 1"
    made = f"CREATE {'UNLOGGED ' if kind == 'unlogged' else ''}TABLE {base} ({_definition(places, key)})"
    if kind == "partitioned" and not key:
        part = f"CREATE TABLE {quoted(table[:20] + ' part')} PARTITION OF {base} DEFAULT"
        return f"{made} PARTITION BY LIST (({places[0].sql} IS NULL))", part, fill
    if kind == "inherited":
        child = quoted(table[:20] + " child")
        return made, f"CREATE TABLE {child} () INHERITS ({base})", fill, _inherit(base, child, key)
    if kind in ("view", "materialized"):
        word = "MATERIALIZED VIEW" if kind == "materialized" else "VIEW"
        return made, fill, f"CREATE {word} {name} AS SELECT * FROM {base}"
    return made, fill


def _inherit(base: str, child: str, key: str) -> str:
    """Rows of the child: without a key some that the parent has too."""
    if not key:
        return f"INSERT INTO {child} SELECT * FROM ONLY {base} LIMIT 5"
    gone = f"DELETE FROM ONLY {base} WHERE ctid IN (SELECT ctid FROM ONLY {base} LIMIT 5) RETURNING *"
    return f"WITH gone AS ({gone}) INSERT INTO {child} SELECT * FROM gone"


def _target(rng: random.Random, target: str, table: str, places: Sequence[Place], key: str) -> tuple[str, ...]:
    if target == "missing":
        return ()
    listed = list(places)
    if target == "reordered":
        rng.shuffle(listed)
    made = f"CREATE TABLE {quoted(table)} ({_definition(listed, key, is_target=True)})"
    if target == "reordered" and rng.random() < 0.5:
        return (
            made,
            f'ALTER TABLE {quoted(table)} ADD "more of it" int DEFAULT 5, ADD gone text',
            (f"ALTER TABLE {quoted(table)} DROP gone"),
        )
    return (made,)


# What a value of another type says.


def says_the_same(place: Place, source: str | None, target: str | None) -> bool:
    """Whether a target's value, as text, is the source's: nothing rounded, cut, padded, moved or guessed."""
    if source is None or target is None:
        return source is target
    if base(place.kind) in NUMBERS and base(place.target_kind) in NUMBERS:
        return _same_number(place, source, target)
    if place.kind == "boolean" and place.target_kind == "integer":
        return {"true": "1", "false": "0"}[source] == target
    if place.kind == "smallint" and place.target_kind == "boolean":
        return {"true": "1", "false": "0"}[target] == source
    if place.kind == "bit(3)" and place.target_kind == "integer":
        return int(source, 2) == int(target)
    if (place.kind, place.target_kind) == ("date", "timestamp"):
        return target == (source if "infinity" in source else source.replace(" BC", "") + " 00:00:00" + source[10:])
    if (place.kind, place.target_kind) == ("timestamp", "date"):
        return source.replace(" 00:00:00", "") == target
    if place.target_kind == "cidr" or place.kind == "cidr":
        return _net(source) == _net(target)
    if base(place.kind) == "char" or base(place.target_kind) == "char":
        return source.rstrip(" ") == target.rstrip(" ") and (base(place.kind) == "char" or source.rstrip(" ") == source)
    if place.kind.startswith("numeric") and place.target_kind.startswith("numeric"):
        return [_number(each, "numeric") for each in _items(source)] == [_number(e, "numeric") for e in _items(target)]
    return source == target


NUMBERS = {"smallint", "integer", "bigint", "numeric", "real", "double precision", "money", "oid"}


def base(kind: str) -> str:
    return kind if kind.endswith("[]") else kind.split("(")[0]


def _number(text: str, kind: str) -> Any:
    text = text.replace("$", "").replace(",", "")
    if kind in ("real", "double precision") and text == "-0":
        return "-0"
    value = Decimal(text)
    return "NaN" if value.is_nan() else value


def _same_number(place: Place, source: str, target: str) -> bool:
    kinds = {place.kind, place.target_kind}
    if kinds == {"real", "double precision"}:
        single, double = (source, target) if place.kind == "real" else (target, source)
        return repr(float(np.float32(single))) == repr(float(double))
    if place.target_kind == "real" and Decimal(float(np.float32(target))) == Decimal(source):
        return True  # PostgreSQL shows the fewest digits that tell it from other reals
    return bool(_number(source, place.kind) == _number(target, place.target_kind))


def _items(text: str) -> list[str]:
    return text.strip("{}").split(",") if text != "{}" else []


def _net(text: str) -> str:
    return text if "/" in text else text + ("/128" if ":" in text else "/32")
