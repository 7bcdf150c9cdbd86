"""Compressed dumps and archives: the same rows as from the plain file, or refused before anything is written."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import bson
import numpy as np
import pytest
from tests.jobs.streaming_etl_reference import rows_in, rows_of, some_users, users_mapping
from tests.jobs.test_streaming_etl_load import query, raws_of

from pipeline_jobs.contract import BadConfigurationError, TrialConfig
from pipeline_jobs.streaming_etl.bson_file import BsonFile
from pipeline_jobs.streaming_etl.load import Target, load
from pipeline_jobs.streaming_etl.packed_dumps import CRC_TABLE, DamagedFileError, crc64
from pipeline_jobs.streaming_etl.settings import Settings
from pipeline_jobs.streaming_etl.workload import Options, origin_of

MAPPING = users_mapping()
END = b"\xff\xff\xff\xff"


def crc(raws: list[bytes]) -> int:
    value = int(crc64(np.frombuffer(b"".join(raws), np.uint8), np.uint64(0), CRC_TABLE))
    return value - 2**64 if value >= 2**63 else value


def block(name: str, raws: list[bytes], **more: Any) -> bytes:
    database, _, collection = name.partition(".")
    head = {"db": database, "collection": collection, "EOF": False, "CRC": bson.Int64(0), **more}
    return bson.encode(head) + b"".join(raws) + END


def archive(collections: dict[str, list[bytes]], *, block_size: int = 40) -> bytes:
    """An archive as mongodump writes it: a head, blocks of the collections by turns, an empty block at each end."""
    head = [
        bson.encode({"concurrent_collections": 4, "version": "0.1", "server_version": "7.0", "tool_version": "100"})
    ]
    head += [bson.encode({"db": n.partition(".")[0], "collection": n.partition(".")[2], "metadata": "{}", "size": 1,
                          "type": "collection"}) for n in collections]  # fmt: skip
    parts = [b"\x6d\xe2\x99\x81", *head, END]
    longest = max(map(len, collections.values()))
    for at in range(0, longest, block_size):
        parts += [block(n, raws[at : at + block_size]) for n, raws in collections.items() if raws[at : at + block_size]]
    parts += [block(n, [], EOF=True, CRC=bson.Int64(crc(raws))) for n, raws in collections.items()]
    return b"".join(parts)


OTHERS = [bson.encode({"_id": n, "x": "y" * n}) for n in range(200)]


def test_the_checksum_is_that_of_the_standard() -> None:
    """The check value of CRC-64/XZ in the catalogue of CRC algorithms."""
    assert crc([b"123456789"]) == 0x995DC9BBDF1939FA - 2**64
    assert (
        int(crc64(np.frombuffer(b"6789", np.uint8), np.uint64(crc([b"12345"]) % 2**64), CRC_TABLE))
        == 0x995DC9BBDF1939FA
    )


@pytest.mark.parametrize("form", ["gzip", "archive", "archive, gzip", "archive, empty"])
def test_a_packed_dump_gives_the_rows_of_the_plain_one(database: str, tmp_path: Path, form: str) -> None:
    documents = [] if "empty" in form else some_users(150)
    raws = raws_of(documents)
    content = archive({"shop.others": OTHERS, "shop.users": raws}) if "archive" in form else b"".join(raws)
    path = tmp_path / "dump"
    path.write_bytes(gzip.compress(content) if "gzip" in form else content)
    settings = Settings(batch_size=40, worker_num=2, manager_worker_num=3)
    _, totals = load(BsonFile(path, "users"), Target(database, MAPPING), settings)
    assert (totals.loaded, totals.rejected) == (len(documents), 0)
    assert rows_in(database, MAPPING) == rows_of(MAPPING, documents)
    assert load(BsonFile(path, "users"), Target(database, MAPPING), settings)[0].records == 0


USERS = raws_of(some_users(120))
WHOLE = archive({"shop.others": OTHERS, "shop.users": USERS})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gzip.compress(b"".join(USERS))[:-9], "is cut off or damaged"),
        (gzip.compress(b"".join(USERS))[:-8] + b"\0" * 8, "is cut off or damaged .*CRC"),
        (gzip.compress(WHOLE)[:-3000], "is cut off or damaged"),
        (WHOLE[:-400], "there is no whole document|ends before shop.users does"),
        (WHOLE[: len(WHOLE) // 2], "there is no whole document"),
        (WHOLE.replace(b"EOF\0\x01", b"EOF\0\0"), "ends before shop.users does"),
        (WHOLE.replace(b"@example", b"@exbmple", 1), "the checksum of shop.users is wrong"),
    ],
)
def test_a_packed_dump_that_is_not_whole_is_refused_before_anything_is_written(
    database: str, tmp_path: Path, content: bytes, said: str
) -> None:
    path = tmp_path / "dump"
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match=said):
        load(BsonFile(path, "users"), Target(database, MAPPING), Settings())
    assert query(database, "SELECT to_regclass('users'), to_regclass('etl_range')") == [(None, None)]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("people", "the collection 'people' is not in it; there are bar.users, shop.users"),
        ("users", "'users' is in it more than once: name the database, too; there are bar.users, shop.users"),
    ],
)
def test_the_collection_of_an_archive_is_named(tmp_path: Path, wanted: str, said: str) -> None:
    path = tmp_path / "dump"
    path.write_bytes(archive({"shop.users": USERS, "bar.users": OTHERS}))
    with pytest.raises(BadConfigurationError, match=said):
        BsonFile(path, wanted)
    assert len(BsonFile(path, "shop.users").ranges(1)) == 1


def test_a_document_that_begins_like_a_compressed_file_is_one(database: str, tmp_path: Path) -> None:
    [document] = some_users(1)
    document["filler"] = ""
    document["filler"] = "x" * (0x8B1F - len(bson.encode(document)))
    raw = bson.encode(document)
    assert raw.startswith(b"\x1f\x8b")
    (tmp_path / "users.bson").write_bytes(raw)
    load(BsonFile(tmp_path / "users.bson", "users"), Target(database, MAPPING), Settings())
    assert query(database, "SELECT count(*) FROM users") == [(1,)]


def test_a_collection_is_named_for_an_archive_only(tmp_path: Path) -> None:
    path = tmp_path / "users.bson"
    path.write_bytes(b"".join(USERS))
    options = {"path": str(path), "collection": "users"}
    config = TrialConfig("streaming_etl", "t", {}, options)
    with pytest.raises(BadConfigurationError, match=r"collection has no effect on .*which is no archive"):
        origin_of(Options.of(config), config, None, None)  # type: ignore[arg-type]
