"""Every column type against an independent oracle: what arrives is exact, or the document is refused with a reason."""

from __future__ import annotations

import random
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import bson
import numpy as np
import psycopg2
import pytest
from bson import Binary, Decimal128, ObjectId
from tests.jobs.streaming_etl_oracle import OPTIONS, TYPES, Refused, expected, parsed, values
from tests.jobs.streaming_etl_reference import rows_in, rows_of, users_mapping, write_bson
from tests.jobs.test_streaming_etl_load import query

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.streaming_etl.bson_file import BsonFile
from pipeline_jobs.streaming_etl.load import Target, load
from pipeline_jobs.streaming_etl.mapping import Mapping, parse_mapping
from pipeline_jobs.streaming_etl.mapping_arrays import make_plan
from pipeline_jobs.streaming_etl.records import Documents
from pipeline_jobs.streaming_etl.settings import Settings
from pipeline_jobs.streaming_etl.transcoder import Transcoder

READ = {
    "date": "{} - date '1970-01-01'", "timestamptz": "(extract(epoch FROM {}) * 1000)::bigint", "uuid": "{}::text",
    "jsonb": "{}::text",
}  # fmt: skip
SPECS: dict[str, Any] = {
    "scalars": {"type": "text", "takes": "scalars"},
    "short scalars": {"type": "varchar(12)", "takes": "scalars"},
}
COLUMNS = {kind: f"c{number}" for number, kind in enumerate(TYPES)}
EVERY_TYPE = parse_mapping({
    "collection": "things",
    "tables": {"things": {
        "key": {"column": "id", "path": "_id", "type": "integer"},
        "columns": {
            name: {"path": name, **SPECS.get(kind, {"type": kind})} for kind, name in COLUMNS.items()
        },
    }},
})  # fmt: skip


def things(**columns: Any) -> Mapping:
    table = {"key": {"column": "id", "path": "_id", "type": "integer"}, "columns": columns}
    return parse_mapping({"collection": "things", "tables": {"things": table}})


def loaded(
    uri: str, folder: Path, mapping: Mapping, raws: Sequence[bytes], job: str = "load"
) -> dict[bytes, tuple[str, str]]:
    """Load documents; the reasons and details of those that were refused, by their bytes."""
    file = write_bson(folder / f"{job}.bson", list(raws))
    load(BsonFile(file), Target(uri, mapping), Settings(batch_size=2000, worker_num=1), job=job)
    letters = query(uri, "SELECT document, reason, detail FROM etl_dead_letter")
    return {bytes(document): (reason, detail) for document, reason, detail in letters}


def same(kind: str, found: Any, wanted: Any) -> bool:
    if kind == "jsonb":
        return bool(parsed(found) == wanted)
    if isinstance(found, memoryview):
        found = bytes(found)
    if kind == "real":
        found = float(np.float32(found))  # PostgreSQL shows the fewest digits that tell it from other reals
    if isinstance(found, float):
        return repr(found) == repr(wanted)
    if isinstance(found, Decimal) and found.is_nan():
        return bool(wanted.is_nan())
    if isinstance(found, Decimal) and kind == "numeric" and found.is_finite():
        # Trailing zeros of a Decimal128 say how exact it is: they stay.
        return found == wanted and found.as_tuple().exponent == min(0, wanted.as_tuple().exponent)
    return type(found) is type(wanted) and bool(found == wanted)


def differing(uri: str, folder: Path, drawn: Sequence[Any]) -> list[str]:
    """Every value in a column of every type, each in a document of its own."""
    cases = [(kind, value) for value in drawn for kind in TYPES]
    raws = [bson.encode({"_id": n, COLUMNS[kind]: value}) for n, (kind, value) in enumerate(cases)]
    letters = loaded(uri, folder, EVERY_TYPE, raws)
    listed = ", ".join(READ.get(kind, "{}").format(name) for kind, name in COLUMNS.items())
    rows = {row[0]: row[1:] for row in query(uri, f"SELECT id, {listed} FROM things")}
    wrong = []
    for n, (kind, value) in enumerate(cases):
        wanted = expected(kind, value)
        if isinstance(wanted, Refused):
            found: Any = letters.get(raws[n], ("loaded", rows.get(n)))
            is_right = found[0] == wanted.reason and f".{COLUMNS[kind]} (" in found[1]
        else:
            found = rows[n][TYPES.index(kind)] if n in rows else letters[raws[n]]
            is_right = (found is None and wanted is None) or (n in rows and same(kind, found, wanted))
        if not is_right:
            wrong.append(f"{kind}: {value!r} became {found!r}, not {wanted!r}")
    return wrong


def test_a_thousand_values_in_every_type_are_exact_or_refused(database: str, tmp_path: Path) -> None:
    assert differing(database, tmp_path, values(1000, random.Random(1))) == []


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(2, 12))
def test_a_hundred_thousand_values_in_every_type(database: str, tmp_path: Path, seed: int) -> None:
    assert differing(database, tmp_path, values(10_000, random.Random(seed))) == []


@pytest.mark.parametrize("seed", range(3))
def test_doubles_have_the_digits_that_python_gives_them(seed: int, database: str, tmp_path: Path) -> None:
    rng = random.Random(seed)
    doubles = [bson.decode(b"\x10\0\0\0\x01v\0" + rng.randbytes(8) + b"\0")["v"] for _ in range(3000)]
    mapping = things(v={"type": "text", "takes": "scalars"})
    loaded(database, tmp_path, mapping, [bson.encode({"_id": n, "v": v}) for n, v in enumerate(doubles)])
    found = [text for (text,) in query(database, "SELECT v FROM things ORDER BY id")]
    assert found == [expected("scalars", value) for value in doubles]


# All the rest.

REST = parse_mapping({
    "collection": "things",
    "tables": {
        "things": {
            "key": {"column": "id", "path": "_id", "type": "integer"},
            "columns": {
                "name": "text", "lat": {"path": "place.lat", "type": "double precision"},
                "deep": {"path": "place.of.it", "type": "text"}, "rest": {"path": "*", "type": "jsonb"},
            },
        },
        "lines": {"from": "lines", "ordinal": "line_no",
                  "columns": {"sku": "text", "others": {"path": "*", "type": "jsonb not null"}}},
    },
})  # fmt: skip


@pytest.mark.parametrize(
    ("document", "rest", "lines"),
    [
        ({"name": "n"}, {}, []),
        ({"name": "n", "more": [1, {"a": None}]}, {"more": [1, {"a": None}]}, []),
        ({"place": {"lat": 1.5}}, {}, []),
        ({"place": {"lat": 1.5, "of": {"it": "x"}}, "z": 1}, {"z": 1}, []),
        ({"place": {"of": {"it": "x", "b": 1}, "lat": 1.5}, "z": 1}, {"place": {"of": {"b": 1}}, "z": 1}, []),
        ({"a": 0, "place": {"lng": 2, "of": {}}}, {"a": 0, "place": {"lng": 2}}, []),
        ({"place": None, "b": {"place": {"lat": 1}}}, {"b": {"place": {"lat": 1}}}, []),
        ({"lines": [{"sku": "s"}, {"sku": "t", "n": 1, "x": {}}]}, {}, [{}, {"n": 1, "x": {}}]),
    ],
)
def test_all_the_rest_is_what_nothing_else_takes(
    database: str, tmp_path: Path, document: dict[str, Any], rest: Any, lines: list[Any]
) -> None:
    assert loaded(database, tmp_path, REST, [bson.encode({"_id": 1, **document})]) == {}
    assert query(database, "SELECT rest FROM things") == [(rest,)]
    assert [row[0] for row in query(database, "SELECT others FROM lines ORDER BY line_no")] == lines


def nested(levels: int) -> Any:
    found: Any = {}
    for _ in range(levels - 1):
        found = {"a": found}
    return found


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (bson.encode({"_id": 1, "v": nested(99)}), None),
        (bson.encode({"_id": 1, "v": nested(140)}), "too_deep"),
        (b"\x1c\0\0\0" b"\x10_id\0\x01\0\0\0" b"\x03v\0" b"\x0b\0\0\0\x0aa\0\x0aa\0\0" b"\0", "field_twice"),
        (bson.encode({"_id": 1, "v": {"a": "#!?#"}}).replace(b"#!?#", b"ab\xed\xa0"), "invalid_utf8"),
        (bson.encode({"_id": 1, "v": {"#!?#": 1}}).replace(b"#!?#", b"ab\xed\xa0"), "invalid_utf8"),
    ],
)  # fmt: skip
def test_what_jsonb_can_not_hold_is_refused(database: str, tmp_path: Path, raw: bytes, reason: str | None) -> None:
    letters = loaded(database, tmp_path, things(v="jsonb"), [raw])
    assert [found for found, _ in letters.values()] == ([reason] if reason else [])


def test_a_large_document_finds_room(database: str, tmp_path: Path) -> None:
    value = {"text": "\x01" * 300_000, "many": [{"": None}] * 20_000, "bytes": Binary(b"x" * 1_000_000, 0)}
    raws = [bson.encode({"_id": n, "v": value if n == 3 else {"n": n}}) for n in range(6)]
    assert loaded(database, tmp_path, things(v="jsonb"), raws) == {}
    ((found,),) = query(database, "SELECT v::text FROM things WHERE id = 3")
    assert parsed(found) == expected("jsonb", bson.decode(raws[3], OPTIONS)["v"])


# Composite keys.

SHOPS: dict[str, Any] = {
    "collection": "orders",
    "tables": {
        "orders": {
            "key": [
                {"column": "region", "path": "_id.region", "type": "varchar(10)"},
                {"column": "day", "path": "_id.day", "type": "date"},
                {"column": "shop", "path": "_id.shop", "type": "uuid"},
            ],
            "columns": {"total": "numeric(12,2)"},
        },
        "lines": {"from": "lines", "ordinal": "line_no", "columns": {"sku": "text"}},
        "tags": {"parent": "lines", "from": "tags", "ordinal": "tag_no",
                 "columns": {"tag": {"path": ".", "type": "text"}}},
    },
}  # fmt: skip


def order(number: int, total: str, lines: int) -> dict[str, Any]:
    shop = Binary(bytes([number % 3]) * 16, 4)
    return {
        "_id": {"region": f"r{number % 2}", "day": f"2024-01-{number % 28 + 1:02}", "shop": shop},
        "total": Decimal128(total),
        "lines": [{"sku": f"s{n}", "tags": ["a", "b"][: n + 1]} for n in range(lines)],
    }


def test_a_key_of_several_columns_replaces_its_own_rows_only(database: str, tmp_path: Path) -> None:
    mapping = parse_mapping(SHOPS)
    first = [order(n, "1.50", 2) for n in range(40)]
    second = [order(n, "2.25", 1) for n in range(20, 60)]
    for job, documents in (("first", first), ("second", second), ("third", [*second, order(59, "9", 0)])):
        assert loaded(database, tmp_path, mapping, [bson.encode(d) for d in documents], job) == {}
    found = query(database, "SELECT region, day::text, shop::text, total FROM orders ORDER BY 1, 2, 3")
    wanted = {str(d["_id"]): d for d in [*first, *second, order(59, "9", 0)]}.values()
    assert len(found) == len(wanted)
    assert sorted(str(row[3]) for row in found) == sorted(f"{d['total'].to_decimal():.2f}" for d in wanted)
    count = "SELECT count(*) FROM lines", "SELECT count(*) FROM tags"
    assert [query(database, text)[0][0] for text in count] == [
        sum(len(d["lines"]) for d in wanted), sum(len(line["tags"]) for d in wanted for line in d["lines"]),
    ]  # fmt: skip
    keys = query(database, "SELECT conname FROM pg_constraint WHERE contype = 'f' AND array_length(conkey, 1) >= 3")
    assert len(keys) == 2


@pytest.mark.parametrize(("kind", "key"), [
    ("uuid", Binary(b"0123456789abcdef", 4)), ("date", "2024-02-29"), ("bytea", ObjectId()), ("text", ObjectId()),
    ("bigint", 5), ("varchar(30)", "x"),
])  # fmt: skip
def test_a_key_of_each_type_finds_its_row_again(database: str, tmp_path: Path, kind: str, key: Any) -> None:
    table = {"key": {"column": "id", "path": "_id", "type": kind}, "columns": {"n": "integer"}}
    mapping = parse_mapping({"collection": "things", "tables": {"things": table}})
    for n in (1, 2):
        assert loaded(database, tmp_path, mapping, [bson.encode({"_id": key, "n": n})], f"{n}") == {}
    assert query(database, "SELECT n FROM things") == [(2,)]


# What is named where a document does not fit.


@pytest.mark.parametrize(
    ("document", "detail"),
    [
        ({"place": [1]}, "things.lat (double precision)"),
        ({"place": {"of": 5}}, "things.deep (text)"),
        ({"lines": {"0": {}}}, "lines (rows from lines)"),
        ({"lines": [{}, 5]}, "lines (rows from lines)"),
        ({"lines": [{"sku": 5}]}, "lines.sku (text)"),
        ({"name": 5}, "things.name (text)"),
    ],
)
def test_the_detail_names_what_does_not_fit(
    database: str, tmp_path: Path, document: dict[str, Any], detail: str
) -> None:
    """An array where an object belongs once named the key."""
    letters = loaded(database, tmp_path, REST, [bson.encode({"_id": 1, **document})])
    assert list(letters.values()) == [("wrong_type", detail)]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("numeric(2,3)", "no more of them behind"),
        ("numeric(0)", "must have 1 to 1000 digits"),
        ("numeric(1001)", "must have 1 to 1000 digits"),
        ("varchar(0)", "varchar needs a length from 1"),
        ("jsonb(3)", "no other type has a size"),
        ("varchar(3,2)", "no other type has a size"),
        ({"path": "*", "type": "text"}, r"'\*', all the rest, needs the type jsonb"),
        ({"type": "integer", "takes": "scalars"}, "takes is 'scalars', must be 'scalars', and the type text"),
        ({"type": "text", "takes": "all"}, "takes is 'all', must be 'scalars'"),
    ],
)
def test_types_that_can_not_be_are_refused(column: Any, message: str) -> None:
    with pytest.raises(BadConfigurationError, match=message):
        things(v=column)


@pytest.mark.parametrize(
    ("declared", "there", "fits"),
    [
        ("numeric", "numeric(10,2)", False),
        ("numeric(10,2)", "numeric", True),
        ("numeric(10,2)", "numeric(10,2)", True),
        ("numeric(10,2)", "numeric(10,1)", False),
        ("timestamptz", "timestamptz(0)", False),
        ("timestamptz", "timestamptz(3)", True),
        ("text[]", "varchar(5)[]", False),
        ("jsonb", "json", False),
        ("varchar(10)", "varchar(20)", True),
        ("varchar(10)", "varchar", True),
        ("varchar(10)", "varchar(9)", False),
        ("varchar(10)", "char(10)", False),
        ("numeric(10,2)", "numeric(12,2)", False),
        ("numeric(10,2)", "money", False),
        ("text", "varchar(20)", False),
        ("text", "mood", False),
        ("integer", "count", False),
        ("integer", "oid", False),
        ("double precision", "real", False),
        ("timestamptz", "timestamp", False),
        ("uuid", "text", False),
    ],
)
def test_a_table_that_would_round_is_refused(
    database: str, tmp_path: Path, declared: str, there: str, fits: bool
) -> None:
    query(database, "CREATE TYPE mood AS ENUM ('glad'); CREATE DOMAIN count AS integer CHECK (value > 0)")
    query(database, f"CREATE TABLE things (id integer PRIMARY KEY, v {there})")
    if fits:
        loaded(database, tmp_path, things(v=declared), [bson.encode({"_id": 1})])
    else:
        with pytest.raises(BadConfigurationError, match=r"v is .*, must be"):
            loaded(database, tmp_path, things(v=declared), [bson.encode({"_id": 1})])


UNCASED = "CREATE COLLATION uncased (provider = icu, locale = 'und-u-ks-level2', deterministic = false); "
THINGS = "CREATE TABLE things "
LOST = {
    "no key": (THINGS + "(id text, v text)", r"\(id\) must be its primary key"),
    "another key": (THINGS + "(id text, v text PRIMARY KEY)", r"\(id\) must be its primary key"),
    "a key with more columns": (THINGS + "(id text, v text, PRIMARY KEY (id, v))", r"\(id\) must be its primary key"),
    "a key of some rows": (
        THINGS + "(id text, v text); CREATE UNIQUE INDEX ON things (id) WHERE v > ''",
        "primary key",
    ),
    "a key checked later": (THINGS + "(id text PRIMARY KEY DEFERRABLE, v text)", "primary key"),
    "a key of other texts": (UNCASED + THINGS + "(id text COLLATE uncased PRIMARY KEY, v text)", "id has a collation"),
    "generated": (THINGS + "(id text PRIMARY KEY, v text GENERATED ALWAYS AS ('x') STORED)", "v is GENERATED"),
    "a view": ("CREATE VIEW things AS SELECT '' AS id, '' AS v", r"public\.things is there but is no table"),
    "missing": (THINGS + "(id text PRIMARY KEY)", "v is missing, must be text"),
}


@pytest.mark.parametrize(("made", "message"), LOST.values(), ids=LOST)
def test_a_table_that_would_lose_or_mix_documents_is_refused_before_the_first(
    database: str, tmp_path: Path, made: str, message: str
) -> None:
    try:
        query(database, made)
    except psycopg2.errors.FeatureNotSupported:
        pytest.skip("this PostgreSQL was built without ICU, so it has no such collation")
    table = {"key": {"column": "id", "path": "_id", "type": "text"}, "columns": {"v": "text"}}
    mapping = parse_mapping({"collection": "things", "tables": {"things": table}})
    with pytest.raises(BadConfigurationError, match=message) as refused:
        loaded(database, tmp_path, mapping, [bson.encode({"_id": "a", "v": "x"})])
    assert "\n" not in str(refused.value)
    assert query(database, "SELECT count(*) FROM etl_range") == [(0,)]


def test_a_unique_index_of_ones_own_is_key_enough(database: str, tmp_path: Path) -> None:
    query(database, THINGS + "(v text, id text NOT NULL); CREATE UNIQUE INDEX ON things (id) INCLUDE (v)")
    mapping = parse_mapping({"collection": "things", "tables": {"things": {
        "key": {"column": "id", "path": "_id", "type": "text"}, "columns": {"v": "text"}}}})  # fmt: skip
    for value in ("x", "y"):
        assert loaded(database, tmp_path, mapping, [bson.encode({"_id": "a", "v": value})], value) == {}
    assert query(database, "SELECT id, v FROM things") == [("a", "y")]


def test_users_are_as_before(database: str, tmp_path: Path) -> None:
    mapping = users_mapping()
    make_plan(mapping)
    assert [key.name for key in mapping.keys] == ["user_id"]
    assert Transcoder(mapping).encode(Documents.of([])).keys == ()
    assert rows_of(mapping, []) == {table.name: [] for table in mapping.tables}
    load(BsonFile(write_bson(tmp_path / "none.bson", [])), Target(database, mapping), Settings())
    assert rows_in(database, mapping) == rows_of(mapping, [])
