"""BSON to COPY: every type against a slow reference, damaged documents, and random bytes."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bson
import numpy as np
import psycopg2
import pytest
from bson import Binary, Decimal128, Int64, ObjectId
from tests.jobs.streaming_etl_reference import DAMAGES, rows_in, rows_of, some_users, users_mapping
from tests.patience import PATIENCE_S

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.streaming_etl.copying import PayloadStream
from pipeline_jobs.streaming_etl.mapping import load_mapping, parse_mapping
from pipeline_jobs.streaming_etl.mapping_arrays import make_plan
from pipeline_jobs.streaming_etl.records import Documents
from pipeline_jobs.streaming_etl.tables import create_tables
from pipeline_jobs.streaming_etl.transcoder import Transcoder
from pipeline_tuner.local.paths import Layout

TYPES = parse_mapping({
    "collection": "things",
    "tables": {
        "things": {
            "key": {"column": "thing_id", "path": "_id", "type": "text"},
            "columns": {
                "small": "smallint", "whole": "integer", "big": "bigint", "single": "real",
                "double_": {"path": "double", "type": "double precision"}, "flag": "boolean", "short": "varchar(5)",
                "long": "text", "day": "date", "moment": "timestamptz", "raw": "bytea", "words": "text[]",
                "deep": {"path": "a.b.c", "type": "text"}, "beside": {"path": "a.b.d", "type": "integer"},
            },
        },
        "tags": {"from": "tags", "ordinal": "tag_no", "columns": {"tag": {"path": ".", "type": "varchar(9) not null"}}},
        "boxes": {"from": "a.boxes", "ordinal": "box_no", "columns": {"name": "text"}},
        "lids": {"parent": "boxes", "from": "lid", "columns": {"colour": "text"}},
        "screws": {"parent": "lids", "from": "screws", "ordinal": "screw_no", "columns": {"size": "integer"}},
    },
})  # fmt: skip

FITTING: list[dict[str, Any]] = [
    {"_id": ObjectId()},
    {"_id": "plain", "small": 1, "whole": -5, "big": 7, "single": 1.5, "double": 2.25, "flag": True, "short": "abcde"},
    {"_id": "limits", "small": -32768, "whole": 2**31 - 1, "big": -(2**63), "double": float("inf")},
    {"_id": "other numbers", "small": 3.0, "whole": Int64(4), "big": 5.0, "single": 6, "double": Int64(2**53)},
    {"_id": "text", "short": "ÄÖÜß東", "long": "x" * 100_000 + "é\n\t\\🙂", "words": ["a", None, "ü", ""]},
    {"_id": "times", "day": datetime(1960, 2, 29, tzinfo=UTC), "moment": datetime(1, 1, 1, tzinfo=UTC)},
    {"_id": "later", "day": datetime(9999, 12, 31, tzinfo=UTC), "single": float("nan")},
    {"_id": "last", "moment": datetime(9999, 12, 31, 23, 59, 59, 999000, UTC)},
    {"_id": "bytes", "raw": b"\0\xff", "words": []},
    {"_id": "subtype", "raw": Binary(b"abc", 128)},
    {"_id": "nulls", "small": None, "a": None, "tags": None, "words": None},
    {"_id": "deep", "a": {"b": {"d": 1, "c": "see"}, "boxes": [{"name": "one"}, {}]}, "tags": ["x", "y"]},
    {"a": {"boxes": [{"lid": {"colour": "red", "screws": [{"size": 1}, {"size": 2}]}}, {"lid": None}]}, "_id": "order"},
    {"_id": "unknown", "extra": {"deep": [1, {"er": Decimal128("1")}]}, "small": 9, "regex": bson.Regex("a", "i")},
    {"_id": "unknown too", "code": bson.Code("f()", {"x": 1}), "min": bson.MinKey(), "small": 4},
    {"_id": "and these", "ts": bson.Timestamp(1, 2), "small": 5},
]  # fmt: skip


def copied(uri: str, mapping: Any, raws: list[bytes]) -> Transcoder:
    transcoder = Transcoder(mapping)
    encoded = transcoder.encode(Documents.of(raws))
    assert encoded.rejected == ()
    connection = psycopg2.connect(uri)
    create_tables(connection, mapping, "public")
    with connection, connection.cursor() as cursor:
        for table, payload in zip(mapping.tables, encoded.payloads, strict=True):
            names = ", ".join(mapping.column_names(table))
            cursor.copy_expert(f"COPY {table.name} ({names}) FROM STDIN (FORMAT binary)", PayloadStream(payload), 1000)
    connection.close()
    return transcoder


def test_every_type_arrives_as_it_was(database: str) -> None:
    copied(database, TYPES, [bson.encode(document) for document in FITTING])
    documents = [bson.decode(bson.encode(d), bson.CodecOptions(tz_aware=True, tzinfo=UTC)) for d in FITTING]
    assert str(rows_in(database, TYPES)) == str(rows_of(TYPES, documents))


def test_users_become_the_rows_of_15_tables(database: str) -> None:
    documents = some_users(300)
    copied(database, users_mapping(), [bson.encode(document) for document in documents])
    expected = rows_of(users_mapping(), documents)
    assert rows_in(database, users_mapping()) == expected
    per_user = sum(map(len, expected.values())) / 300
    assert 35 < per_user < 45
    assert len(expected) == 15


def test_sizes_are_those_of_the_described_users() -> None:
    sizes = [len(bson.encode(document)) for document in some_users(500)]
    assert min(sizes) > 2500
    assert max(sizes) < 12_000
    assert 4500 < np.mean(sizes) < 6500


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_document_that_does_not_fit_leaves_no_row_and_its_neighbours_do(kind: str) -> None:
    damage, reason = DAMAGES[kind]
    before, victim, after = some_users(3)
    transcoder = Transcoder(users_mapping())
    encoded = transcoder.encode(Documents.of([bson.encode(before), damage(victim), bson.encode(after)]))
    assert [(r.number, r.reason) for r in encoded.rejected] == [(1, reason)]
    assert encoded.keys == (1, 3)
    expected = rows_of(users_mapping(), [before, after])
    assert encoded.rows == tuple(len(expected[table.name]) for table in users_mapping().tables)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"_id": None}, "missing"),
        ({"_id": "a", "small": 1.5}, "out_of_range"),
        ({"_id": "a", "whole": 2**31}, "out_of_range"),
        ({"_id": "a", "big": 1e300}, "out_of_range"),
        ({"_id": "a", "single": 1e39}, "out_of_range"),
        ({"_id": "a", "flag": 1}, "wrong_type"),
        ({"_id": "a", "words": ["a", 1]}, "wrong_type"),
        ({"_id": "a", "words": ["a\0"]}, "nul_character"),
        ({"_id": "a", "short": "ÄÖÜß東京"}, "too_long"),
        ({"_id": "a", "tags": ["x", None]}, "missing"),
        ({"_id": "a", "tags": {"0": "x"}}, "wrong_type"),
        ({"_id": "a", "a": {"boxes": [{"lid": []}]}}, "wrong_type"),
        ({"_id": "a", "a": 5}, "wrong_type"),
        ({"_id": "a", "double": Decimal128("1")}, "decimal128"),
        ({"_id": "a", "double": Int64(2**53 + 1)}, "inexact"),
        ({"_id": "a", "single": 2**24 + 1}, "inexact"),
        ({"_id": "a", "day": datetime(1960, 2, 29, 23, 59, tzinfo=UTC)}, "inexact"),
        ({"_id": "a", "raw": Binary(b"abc", 2)}, None),
    ],
)
def test_reasons(document: dict[str, Any], reason: str | None) -> None:
    encoded = Transcoder(TYPES).encode(Documents.of([bson.encode(document)]))
    assert [r.reason for r in encoded.rejected] == ([reason] if reason else [])
    assert reason is None or set(encoded.rows) == {0}


def test_a_document_over_16_mb_is_too_large() -> None:
    raws = [bson.encode({"_id": "a", "long": "x" * 17_000_000}), bson.encode({"_id": "b", "long": "x" * 16_000_000})]
    encoded = Transcoder(TYPES).encode(Documents.of(raws))
    assert [(r.number, r.reason) for r in encoded.rejected] == [(0, "too_large")]
    assert encoded.keys == ("b",)


def test_the_last_of_documents_with_one_key_stands() -> None:
    raws = [bson.encode({"_id": key, "small": n}) for n, key in enumerate("abab")]
    encoded = Transcoder(TYPES).encode(Documents.of(raws))
    assert encoded.keys == ("a", "b")
    assert encoded.numbers.tolist() == [2, 3]


FUZZ = """
import random, sys
import bson, numpy as np
from pipeline_jobs.streaming_etl.records import Documents
from pipeline_jobs.streaming_etl.transcoder import Transcoder
from tests.jobs.streaming_etl_oracle import values
from tests.jobs.streaming_etl_reference import some_users, users_mapping
from tests.jobs.test_streaming_etl_types import COLUMNS, EVERY_TYPE, REST
rng, rejected = random.Random(5), 0
drawn = values(700, rng)
typed = [{"_id": n, **{name: rng.choice(drawn) for name in rng.sample(sorted(COLUMNS.values()), 3)}} for n in range(20)]
rest = [{"_id": n, "place": {"lat": 1.5, "of": {"it": "x"}, "v": rng.choice(drawn)}, "v": rng.choice(drawn),
         "lines": [{"sku": "s", "v": rng.choice(drawn)}]} for n in range(20)]
kinds = [(users_mapping(), some_users(20)), (EVERY_TYPE, typed), (REST, rest)]
kinds = [(Transcoder(mapping), [bson.encode(d) for d in documents]) for mapping, documents in kinds]
for turn in range(3 * int(sys.argv[1])):
    transcoder, raws = kinds[turn % 3]
    damaged = []
    for raw in raws:
        raw = bytearray(raw)
        for _ in range(rng.randint(1, 4)):
            raw[rng.randrange(4, len(raw))] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
        damaged.append(bytes(raw))
    encoded = transcoder.encode(Documents.of(damaged))
    rejected += len(encoded.rejected)
    assert len(encoded.rejected) + len(encoded.numbers) >= 18, encoded.rejected
print(rejected)
"""


def test_random_bytes_are_rows_or_dead_letters() -> None:
    """In a process of its own, which an access far outside an array would end."""
    assert fuzzed(os.environ | {"PYTHONPATH": "plugins:spark_jobs:."}) > 500


@pytest.mark.soak
def test_random_bytes_never_reach_outside_the_document(layout: Layout) -> None:
    """With numba's own bounds checks on, which turn an access outside an array into an error.

    Compiled for this test, which takes 20 s of a processor: what is kept beside the kernel has no such checks.
    """
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_OPT": "0", "PYTHONPATH": "plugins:spark_jobs:."}
    sources = sorted((layout.root / "spark_jobs" / "pipeline_jobs" / "streaming_etl").rglob("*.py"))
    version = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    environment["NUMBA_CACHE_DIR"] = str(layout.local / "test" / f"bounds-checked-{version}")
    assert fuzzed(environment) > 500


def fuzzed(environment: dict[str, str]) -> int:
    """How many damaged documents became dead letters, in a process with this environment."""
    command = [sys.executable, "-c", FUZZ, "100"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    return int(run.stdout)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"columns": {"a": "varchar"}}, "varchar needs a length"),
        ({"columns": {"a": "money"}}, "must be one of smallint"),
        ({"columns": {"a b": "text"}}, "can't be a name"),
        ({"from": "x"}, "no from, ordinal or parent"),
        ({"key": {"column": "id", "type": "numeric"}}, "type must be one of"),
        ({"colums": {}}, "has the key colums"),
        ({"columns": ["a"]}, r"tables.t.columns: is \['a'\], must be names with values"),
        ({"columns": {True: "text"}}, "the name True is no text: put it in quotes"),
        ({"columns": {"a": {"path": "x", "type": "text"}, "b": {"path": "x", "type": "text"}}},
         "mapping of c: tables.t: the field 'x' is mapped twice"),
        ({"columns": {"a": {"path": ".".join("abcdefghijklmnop"), "type": "text"}}}, "14 levels deep"),
    ],
)  # fmt: skip
def test_a_bad_mapping_says_what_is_wrong(change: dict[str, Any], message: str) -> None:
    table = {"key": {"column": "id", "type": "bigint"}, "columns": {}} | change
    with pytest.raises(BadConfigurationError, match=message):
        make_plan(parse_mapping({"collection": "c", "tables": {"t": table}}))


def test_a_bad_mapping_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "orders.yaml"
    path.write_text("collection: orders\ntables: [orders]\n")
    with pytest.raises(BadConfigurationError, match=r"^orders.yaml: tables: is \['orders'\], must be names"):
        load_mapping(path)
    with pytest.raises(BadConfigurationError, match=r"the mapping .*nowhere.yaml can't be read: No such file"):
        load_mapping(tmp_path / "nowhere.yaml")


def test_the_mapping_of_the_documentation_is_a_mapping(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "streaming-etl.md").read_text()
    path = tmp_path / "orders.yaml"
    path.write_text(text.split("```yaml\n", 1)[1].split("```", 1)[0])
    mapping = load_mapping(path)
    make_plan(mapping)
    assert [table.name for table in mapping.tables] == ["orders", "lines", "discounts", "notes", "delivery"]


def nested(levels: int) -> bytes:
    """A document in a document, `levels` deep; pymongo's own encoder gives up at a hundred."""
    head = np.zeros((levels, 7), np.uint8)
    head[:, :4] = (5 + 8 * np.arange(levels, 0, -1)).astype("<i4").view(np.uint8).reshape(-1, 4)
    head[:, 4:6] = 3, ord("a")
    return head.tobytes() + bytes([5, 0, 0, 0, 0]) + b"\0" * levels


@pytest.mark.parametrize(("name", "reasons"), [("username", ["wrong_type"]), ("elsewhere", [])])
def test_sixteen_megabytes_two_million_levels_deep(name: str, reasons: list[str]) -> None:
    assert bson.decode(nested(3)) == {"a": {"a": {"a": {}}}}
    fields = bson.encode({key: value for key, value in some_users(1)[0].items() if key != name})[4:-1]
    raw = fields + b"\x03" + name.encode() + b"\0" + nested(2_000_000) + b"\0"
    documents = Documents.of([(len(raw) + 4).to_bytes(4, "little") + raw])
    found = Transcoder(users_mapping()).encode(documents)
    assert [rejected.reason for rejected in found.rejected] == reasons
    assert found.rows[0] == 1 - len(reasons)


def test_room_is_found_for_a_table_that_needs_more_than_the_others(database: str) -> None:
    rng = random.Random(1)
    documents = [{"_id": f"k{n}", "tags": ["x" * rng.randrange(9)] * rng.randrange(5_000)} for n in range(8)]
    copied(database, TYPES, [bson.encode(document) for document in documents])
    assert rows_in(database, TYPES) == rows_of(TYPES, documents)
