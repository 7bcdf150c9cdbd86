"""Odd mapping files and odd bytes: what a mapping says twice, a document says twice, or nobody could mean."""

from __future__ import annotations

import struct
from contextlib import closing
from pathlib import Path

import bson
import pytest
from tests.jobs.test_streaming_etl_load import query
from tests.jobs.test_streaming_etl_types import loaded, things

from pipeline_jobs.contract import BadConfigurationError, JobError
from pipeline_jobs.streaming_etl.load import Target
from pipeline_jobs.streaming_etl.mapping import load_mapping, parse_mapping
from pipeline_jobs.streaming_etl.tables import create_tables

HEAD = "collection: shop\n"
KEY = "key: {column: id, path: _id, type: integer}"
ROOT = HEAD + "tables: {a: {" + KEY + ", columns: {v: text}}"
B = ", b: {from: bs, ordinal: n, columns: {w: text}}"


def with_column(column: str) -> str:
    return ROOT.replace("v: text", column) + "}"


REFUSED = {
    "a key twice": (HEAD + HEAD + "tables: {}", "line 1: the key 'collection' is there twice"),
    "a column twice": (with_column("v: text, v: bigint"), "line 2: the key 'v' is there twice"),
    "an unknown key": (ROOT + "}\ntabels: {}", r"tabels \(did you mean tables\?\)"),
    "an unknown key of a key": (ROOT.replace("path:", "paht:") + "}", r"has the key paht \(did you mean path"),
    "an unknown key of a table": (ROOT.replace("columns:", "colums:") + "}", r"colums \(did you mean columns\?\)"),
    "a list for a path": (with_column("v: {path: [b, c], type: text}"), r"the path \['b', 'c'\] is no text"),
    "a boolean for a path": (with_column("v: {path: on, type: text}"), "the path True is no text: put"),
    "a number for a path": (with_column("v: {path: 007, type: text}"), "the path 7 is no text: put"),
    "a number for a collection": (ROOT.replace("shop", "0010") + "}", "collection: is 8, no text: put it in quotes"),
    "not UTF-8": (b"collection: caf\xe9\n", "is not UTF-8: save it as UTF-8"),
    "a tab": (HEAD + "tables:\n\ta: {}\n", "found character"),
    "two documents": (ROOT + "}\n---\na: 1\n", "expected a single document"),
    "a tag of Python's": ("!!python/object/apply:os.getcwd []", "could not determine a constructor"),
    "a length that no varchar has": (with_column("v: varchar(10485761)"), "a length from 1 to 10485760"),
    "a system column": (with_column("ctid: text"), "'ctid' can't be a name here"),
    "a table of the accounts": (ROOT.replace("{a:", "{etl_batch:") + "}", "'etl_batch' can't be a name here"),
    "an ordinal like the key": (ROOT + B.replace("n,", "id,") + "}", "the column id is there twice"),
    "a column like the key": (ROOT + B.replace("w:", "id:") + "}", "the column id is there twice"),
    "a column like an ordinal above": (
        ROOT + B + ", c: {parent: b, from: cs, ordinal: m, columns: {n: text}}}",
        "the column n is there twice",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("content", "said"), REFUSED.values(), ids=REFUSED)
def test_a_mapping_that_nobody_could_mean_is_refused_in_one_line(
    tmp_path: Path, content: str | bytes, said: str
) -> None:
    path = tmp_path / "shop.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(BadConfigurationError, match=said) as refused:
        load_mapping(path)
    assert str(refused.value).startswith("shop.yaml: ")
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_anchors_merges_and_a_byte_order_mark_are_read(tmp_path: Path, mark: str) -> None:
    text = (
        HEAD + "tables: {a: {" + KEY + ", columns: &c {v: text}}, b: {from: b, columns: {<<: *c, v: bigint, w: text}}}"
    )
    (tmp_path / "shop.yaml").write_text(mark + text, encoding="utf-8")
    assert [(c.name, c.type) for c in load_mapping(tmp_path / "shop.yaml").tables[1].columns] == [
        ("v", "bigint"), ("w", "text"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("columns", "schema"),
    [({f"c{n}": "text" for n in range(1700)}, "public"), ({"v": "text"}, "pg_mine")],
    ids=["too many columns", "a system schema"],
)
def test_tables_that_no_server_makes_are_refused_and_nothing_is_there(
    database: str, columns: dict[str, str], schema: str
) -> None:
    target = Target(database, things(**columns), schema)
    with (
        closing(target.connect()) as connection,
        pytest.raises(BadConfigurationError, match="can't be made in") as refused,
    ):
        create_tables(connection, target.mapping, schema)
    assert len(str(refused.value).splitlines()) == 1
    assert query(database, "SELECT count(*) FROM pg_class WHERE relname LIKE 'etl%'") == [(0,)]


def test_a_schema_with_a_percent_sign_is_refused(database: str) -> None:
    """It ended in an IndexError: the driver takes it for a parameter."""
    with pytest.raises(BadConfigurationError, match="'s%s' has a % or a quote: take another"):
        Target(database, things(v="text"), "s%s")


def test_a_database_that_is_read_only_is_said_in_one_line(database: str, tmp_path: Path) -> None:
    query(database, f"ALTER DATABASE {database.rpartition('/')[2]} SET default_transaction_read_only = on")
    with pytest.raises(JobError, match="refuses: cannot execute CREATE TABLE in a read-only transaction") as refused:
        loaded(database, tmp_path, things(v="text"), [bson.encode({"_id": 1})])
    assert len(str(refused.value).splitlines()) == 1


def document(*elements: bytes) -> bytes:
    body = b"".join(elements) + b"\0"
    return struct.pack("<i", len(body) + 4) + body


def text(name: str, value: str) -> bytes:
    return b"\x02" + name.encode() + b"\0" + struct.pack("<i", len(value) + 1) + value.encode() + b"\0"


def whole(name: str, value: int) -> bytes:
    return b"\x10" + name.encode() + b"\0" + struct.pack("<i", value)


def inside(kind: int, name: str, *elements: bytes) -> bytes:
    return bytes([kind]) + name.encode() + b"\0" + document(*elements)


IDENTITY = whole("_id", 1)
ODD = {
    "a field twice": (document(IDENTITY, text("v", "a"), text("v", "b")), "field_twice", "shop.v (text)"),
    "a field twice, NULL first": (document(IDENTITY, b"\x0av\0", text("v", "b")), "field_twice", "shop.v (text)"),
    "a key twice": (document(IDENTITY, whole("_id", 2)), "field_twice", "shop.id (integer"),
    "a document in two parts": (
        document(IDENTITY, inside(3, "place", text("lat", "1")), inside(3, "place", text("lng", "2"))),
        "field_twice", "shop.lat (text)",
    ),
    "an array twice": (
        document(IDENTITY, inside(4, "lines", inside(3, "0")), inside(4, "lines")),
        "field_twice", "lines (rows from lines)",
    ),
    "a field twice in an item": (
        document(IDENTITY, inside(4, "lines", inside(3, "0", text("sku", "a"), text("sku", "a")))),
        "field_twice", "lines.sku (text)",
    ),
    "true as 2": (document(IDENTITY, b"\x08b\0\x02"), "malformed", "shop"),
    "true as 2, of no column": (document(IDENTITY, b"\x08other\0\xff"), "malformed", "shop"),
}  # fmt: skip
SHOP = {
    "collection": "shop",
    "tables": {
        "shop": {
            "key": {"column": "id", "path": "_id", "type": "integer"},
            "columns": {
                "v": "text", "b": "boolean", "lat": {"path": "place.lat", "type": "text"},
                "lng": {"path": "place.lng", "type": "text"},
            },
        },
        "lines": {"from": "lines", "ordinal": "n", "columns": {"sku": "text"}},
    },
}  # fmt: skip


@pytest.mark.parametrize(("raw", "reason", "detail"), ODD.values(), ids=ODD)
def test_a_document_that_says_a_thing_twice_is_a_dead_letter(
    database: str, tmp_path: Path, raw: bytes, reason: str, detail: str
) -> None:
    """The last value of two won without a word."""
    items = [{"sku": "a"}, {"sku": "b"}]
    fine = bson.encode({"_id": 2, "v": "x", "b": True, "place": {"lat": "1", "lng": "2"}, "lines": items})
    letters = loaded(database, tmp_path, parse_mapping(SHOP), [fine, raw, fine.replace(b"_id\0\x02", b"_id\0\x03")])
    assert list(letters) == [raw]
    assert letters[raw][0] == reason
    assert letters[raw][1].startswith(detail)
    assert query(database, "SELECT id, v, b, lat, lng FROM shop ORDER BY 1") == [
        (2, "x", True, "1", "2"), (3, "x", True, "1", "2"),
    ]  # fmt: skip
    assert query(database, "SELECT count(*) FROM lines") == [(4,)]
