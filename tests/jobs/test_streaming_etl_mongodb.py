"""From a MongoDB-compatible server over the wire: full load, its faults, and change streams with their replay."""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import bson
import pytest
from bson import ObjectId, json_util
from pymongo import MongoClient
from pymongo.errors import AutoReconnect
from tests.jobs.streaming_etl_reference import rows_in, rows_of, some_users, users_mapping
from tests.jobs.test_streaming_etl_load import query

from pipeline_jobs.contract import BadConfigurationError, InfrastructureError
from pipeline_jobs.streaming_etl.changes import ChangeStream
from pipeline_jobs.streaming_etl.load import Target, begin, load
from pipeline_jobs.streaming_etl.mapping import parse_mapping
from pipeline_jobs.streaming_etl.mongodb import Collection, CollectionRange
from pipeline_jobs.streaming_etl.retry import Backoff
from pipeline_jobs.streaming_etl.settings import Settings

MAPPING = users_mapping()
BACKOFF = Backoff(retries=3, first_s=0.05)


@dataclass
class Shop:
    """A database of one test on the MongoDB-compatible server."""

    uri: str
    users: Any

    def collection(self, backoff: Backoff = BACKOFF) -> Collection:
        return Collection(self.uri, "users", backoff=backoff, stop=threading.Event())

    def changes(self, idle_s: float | None = 1.0) -> ChangeStream:
        return ChangeStream(self.uri, "users", idle_s=idle_s, backoff=BACKOFF, stop=threading.Event())


@pytest.fixture
def shop(mongodb: Any) -> Iterator[Shop]:
    uri = mongodb.uri(f"shop_{uuid.uuid4().hex[:8]}")
    with MongoClient(uri, tz_aware=True) as client:
        yield Shop(uri, client.get_default_database()["users"])


@pytest.fixture
def target(database: str) -> Target:
    return Target(database, MAPPING, backoff=BACKOFF)


@pytest.mark.parametrize("pipelines", [1, 3])
def test_a_collection_is_loaded_whole(shop: Shop, target: Target, pipelines: int) -> None:
    documents = some_users(200)
    shop.users.insert_many(random.Random(1).sample(documents, 200))
    settings = Settings(batch_size=33, worker_num=2, manager_worker_num=pipelines)
    _, totals = load(shop.collection(), target, settings)
    assert rows_in(target.uri, MAPPING) == rows_of(MAPPING, documents)
    assert totals.documents == totals.loaded == shop.collection().count() == 200


def test_ids_of_several_types_are_all_read_and_a_stop_between_them_loses_none(shop: Shop, target: Target) -> None:
    mapping = parse_mapping({
        "collection": "users",
        "tables": {"things": {"key": {"column": "thing", "path": "_id", "type": "text"}, "columns": {"n": "integer"}}},
    })  # fmt: skip
    ids = ["a", "b", ObjectId(), ObjectId(), 1, 2.5]
    shop.users.insert_many([{"_id": key, "n": n} for n, key in enumerate(ids)])
    things = replace(target, mapping=mapping)
    for wanted in (1, 2, 3, 4, 5):
        cancel = threading.Event()
        collection = shop.collection()
        open_whole = collection.open

        def open_some(*args: Any, whole: Any = open_whole, cancel: threading.Event = cancel) -> Any:
            return OneAtATime(whole(*args), cancel)

        collection.open = open_some  # type: ignore[method-assign]
        load(collection, things, Settings(batch_size=1, worker_num=1), cancel=cancel)
        assert query(target.uri, "SELECT sum(documents) FROM etl_batch") == [(wanted,)]
    load(shop.collection(), things, Settings(batch_size=10))
    assert query(target.uri, "SELECT sum(documents) FROM etl_batch") == [(6,)]
    assert {row[0] for row in query(target.uri, "SELECT thing FROM things")} == {"a", "b", *map(str, ids[2:4])}
    assert query(target.uri, "SELECT reason, count(*) FROM etl_dead_letter GROUP BY 1") == [("wrong_type", 2)]


class OneAtATime:
    """Reads one piece and cancels."""

    def __init__(self, source: CollectionRange, cancel: threading.Event) -> None:
        self.source, self.cancel = source, cancel

    def pieces(self, batch_size: Any) -> Iterator[Any]:
        for piece in self.source.pieces(batch_size):
            self.cancel.set()
            yield piece


def test_a_cursor_that_breaks_goes_on_where_it_was(shop: Shop, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = some_users(120)
    shop.users.insert_many(documents)
    read, breaks = CollectionRange._read, []

    def breaking(self: Any, *args: Any) -> Iterator[Any]:
        for number, piece in enumerate(read(self, *args)):
            if number == 2 and len(breaks) < 2:
                breaks.append(number)
                raise AutoReconnect("connection closed")
            yield piece

    monkeypatch.setattr(CollectionRange, "_read", breaking)
    load(shop.collection(), target, Settings(batch_size=20, worker_num=2))
    assert len(breaks) == 2
    assert rows_in(target.uri, MAPPING) == rows_of(MAPPING, documents)


def test_a_cursor_that_stays_broken_fails_the_load_and_the_next_run_goes_on(
    shop: Shop, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = some_users(100)
    shop.users.insert_many(documents)
    read = CollectionRange._read

    def broken(self: Any, *args: Any) -> Iterator[Any]:
        if self._after is None:
            yield next(iter(read(self, *args)))
        raise AutoReconnect("connection closed")

    with monkeypatch.context() as patch:
        patch.setattr(CollectionRange, "_read", broken)
        with pytest.raises(InfrastructureError, match=r"after .*20.*start again to go on"):
            load(shop.collection(Backoff(retries=2, first_s=0.01)), target, Settings(batch_size=20))
    assert rows_in(target.uri, MAPPING) == rows_of(MAPPING, documents[:20])
    report, _ = load(shop.collection(), target, Settings(batch_size=20))
    assert report.records == 80
    assert rows_in(target.uri, MAPPING) == rows_of(MAPPING, documents)


def test_a_source_that_is_away_or_names_no_database_is_said_so(target: Target) -> None:
    stop = threading.Event()
    with pytest.raises(BadConfigurationError, match="names no database"):
        Collection("mongodb://127.0.0.1:9", "users", backoff=BACKOFF, stop=stop)
    away = Collection(
        "mongodb://127.0.0.1:9/shop?serverSelectionTimeoutMS=200", "users", backoff=Backoff(1, 0.01), stop=stop
    )
    with pytest.raises(InfrastructureError, match="reading users failed after the start"):
        load(away, target, Settings())


def change_everything(shop: Shop, documents: list[dict[str, Any]], rng: random.Random) -> list[dict[str, Any]]:
    """Insert, update, replace and delete at random; returns the documents that are left."""
    left = {document["_id"]: document for document in documents}
    fresh = some_users(60, seed=77, first_id=rng.randrange(1000, 10**9))
    for _ in range(60):
        number, action = rng.choice(sorted(left)), rng.choice(("insert", "update", "replace", "delete"))
        new = fresh.pop()
        if action == "insert":
            left[new["_id"]] = new
            shop.users.insert_one(new)
        elif action == "update":
            left[number] = {**left[number], "age": rng.randint(1, 99), "posts": new["posts"]}
            shop.users.update_one({"_id": number}, {"$set": {key: left[number][key] for key in ("age", "posts")}})
        elif action == "replace":
            left[number] = {**new, "_id": number}
            shop.users.replace_one({"_id": number}, left[number])
        else:
            del left[number]
            shop.users.delete_one({"_id": number})
    return list(left.values())


def test_changes_are_followed_and_a_replay_changes_nothing(shop: Shop, target: Target) -> None:
    follow_and_replay(shop, target, replays=3)


@pytest.mark.soak
def test_a_replay_from_every_token_changes_nothing(shop: Shop, target: Target) -> None:
    follow_and_replay(shop, target, replays=1000)


def follow_and_replay(shop: Shop, target: Target, replays: int) -> None:
    documents = some_users(40)
    shop.users.insert_many(documents)
    begin(shop.changes(), target, Settings(), job="follow", cancel=threading.Event())
    documents = change_everything(shop, documents, random.Random(2))
    load(shop.collection(), target, Settings(batch_size=10), job="full")
    documents = change_everything(shop, documents, random.Random(3))
    settings = Settings(batch_size=7, timeout_s=0.2)
    report, totals = load(shop.changes(), target, settings, job="follow")
    expected = rows_of(MAPPING, documents)
    assert rows_in(target.uri, MAPPING) == expected
    assert 100 < totals.documents == report.records <= 120
    tokens = [
        row[0] for row in query(target.uri, "SELECT position FROM etl_batch WHERE job = 'follow' ORDER BY sequence")
    ]
    assert all("_data" in json_util.loads(token) for token in tokens)
    step = max(1, (len(tokens) - 1) // replays)
    for sequence in range(0, len(tokens) - 1, step):
        query(target.uri, f"DELETE FROM etl_batch WHERE job = 'follow' AND sequence >= {sequence}")
        rows_seen = watch_rows(target.uri)
        report, _ = load(shop.changes(), target, settings, job="follow")
        assert report.records > 0
        assert rows_in(target.uri, MAPPING) == expected
        assert rows_seen() == {len(expected["users"])}


def watch_rows(uri: str) -> Any:
    """The different numbers of users that a trigger sees at the end of statements from now on."""
    query(uri, "CREATE TABLE IF NOT EXISTS seen (users bigint)")
    query(uri, "TRUNCATE seen")
    query(uri, "CREATE OR REPLACE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS "
          "'BEGIN INSERT INTO seen SELECT count(*) FROM users; RETURN NULL; END'")  # fmt: skip
    query(
        uri,
        "CREATE OR REPLACE TRIGGER see AFTER INSERT OR UPDATE OR DELETE ON users "
        "FOR EACH STATEMENT EXECUTE FUNCTION see()",
    )
    return lambda: {row[0] for row in query(uri, "SELECT DISTINCT users FROM seen")}


def test_a_change_that_does_not_fit_becomes_a_dead_letter(shop: Shop, target: Target) -> None:
    documents = some_users(3)
    shop.users.insert_many(documents)
    begin(shop.changes(), target, Settings(), job="follow", cancel=threading.Event())
    load(shop.collection(), target, Settings(), job="full")
    shop.users.update_one({"_id": 2}, {"$set": {"age": "old"}})
    shop.users.update_one({"_id": 3}, {"$set": {"age": 5}})
    _, totals = load(shop.changes(), target, Settings(timeout_s=0.1), job="follow")
    documents[2]["age"] = 5
    assert rows_in(target.uri, MAPPING) == rows_of(MAPPING, documents)
    assert (totals.documents, totals.loaded, totals.rejected) == (2, 1, 1)
    [(place, document)] = query(target.uri, "SELECT place, document FROM etl_dead_letter")
    assert "_data" in place
    assert bson.decode(bytes(document))["age"] == "old"
