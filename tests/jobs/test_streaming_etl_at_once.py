"""Two loads of the same documents at once: each document ends as the load that commits last has it, and none is lost.

One load is held just before it commits, the other is let in until it waits for a lock of the first.
"""

from __future__ import annotations

import copy
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import bson
import pytest
from tests.jobs.streaming_etl_reference import rows_in, rows_of, some_users, users_mapping, write_bson
from tests.jobs.test_streaming_etl_load import query

from pipeline_jobs.streaming_etl import in_place
from pipeline_jobs.streaming_etl.bson_file import BsonFile
from pipeline_jobs.streaming_etl.changes import Change, ChangesPiece, ChangeWorker
from pipeline_jobs.streaming_etl.connection_pool import Pool
from pipeline_jobs.streaming_etl.load import Target, load
from pipeline_jobs.streaming_etl.mapping import Mapping, parse_mapping
from pipeline_jobs.streaming_etl.one_run import Turn
from pipeline_jobs.streaming_etl.records import Batch, Slice
from pipeline_jobs.streaming_etl.retry import Backoff
from pipeline_jobs.streaming_etl.settings import Settings
from pipeline_jobs.streaming_etl.target import TableWorker

MAPPING = users_mapping()
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
PATIENT = Backoff(retries=1000, first_s=0.02, longest_s=0.2)
NO_RETRY = Backoff(retries=0)


def put(target: Target, folder: Path, documents: list[Any], job: str, *, batch: int = 1000, workers: int = 1) -> None:
    file = folder / f"{job}.bson"
    if not file.exists():
        write_bson(file, [bson.encode(document) for document in documents])
    load(BsonFile(file), target, Settings(batch_size=batch, worker_num=workers), job=job)


class Held:
    """Holds the first batch of job "left" in its transaction until `release`: the rows of its documents are written.

    So is its line in the ledger, where `has_account`.
    """

    def __init__(self, patch: pytest.MonkeyPatch, *, has_account: bool = False) -> None:
        self.is_there, self._go_on = threading.Event(), threading.Event()
        write_account = TableWorker._write_account

        def held(worker: TableWorker, *arguments: Any) -> None:
            if has_account:
                write_account(worker, *arguments)
            if worker._job == "left" and not self.is_there.is_set():
                self.is_there.set()
                self._go_on.wait()
            if not has_account:
                write_account(worker, *arguments)

        patch.setattr(TableWorker, "_write_account", held)

    def release(self) -> None:
        self._go_on.set()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    holder = Held(monkeypatch)
    yield holder
    holder.release()


def left_then_right(uri: str, held: Held, left: Any, right: Any) -> None:
    """Right begins when left has written all its rows; left commits when right waits for it, or has ended."""
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(left)
        until(held.is_there.is_set, first)
        second = threads.submit(right)
        until(lambda: query(uri, WAITING) != [(0,)], second)
        held.release()
        first.result()
        second.result()


def put_left_then_right(target: Target, folder: Path, held: Held, left: list[Any], right: list[Any]) -> None:
    """Both loads end well, with no dead letter."""
    left_then_right(
        target.uri, held, lambda: put(target, folder, left, "left"), lambda: put(target, folder, right, "right")
    )
    assert query(target.uri, "SELECT job, reason, detail FROM etl_dead_letter") == []


def until(condition: Any, work: Future[Any]) -> None:
    while not condition() and not work.done():
        time.sleep(0.02)


def two_versions(count: int) -> tuple[list[Any], list[Any]]:
    """The same documents twice with other values; in the second there are fewer items in arrays."""
    left, right = some_users(count, seed=3), some_users(count, seed=4)
    for document in right:
        document["posts"], document["messages"], document["addresses"] = document["posts"][:1], [], None
    random.Random(5).shuffle(right)
    return left, right


@pytest.mark.parametrize("are_there", [True, False], ids=["replaced", "new"])
@pytest.mark.parametrize(("count", "min_in_place"), [(1, 250), (20, 250), (20, 1)])
def test_the_load_that_commits_last_leaves_its_documents_whole(
    database: str, tmp_path: Path, held: Held, monkeypatch: pytest.MonkeyPatch,
    count: int, min_in_place: int, are_there: bool,
) -> None:  # fmt: skip
    monkeypatch.setattr(in_place, "MIN_DOCUMENTS", min_in_place)
    target = Target(database, MAPPING, backoff=NO_RETRY)
    left, right = two_versions(count)
    put(target, tmp_path, some_users(count, seed=2) if are_there else [], "before")
    put_left_then_right(target, tmp_path, held, left, right)
    assert rows_in(database, MAPPING) == rows_of(MAPPING, right)


def test_a_load_begins_and_ends_beside_another_load_of_other_documents(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, users = Target(database, MAPPING, backoff=NO_RETRY), some_users(40)
    put(target, tmp_path, [], "before")
    held = Held(monkeypatch, has_account=True)
    with ThreadPoolExecutor(2) as threads:
        try:
            left = threads.submit(put, target, tmp_path, users[:20], "left")
            until(held.is_there.is_set, left)
            right = threads.submit(put, target, tmp_path, users[20:], "right")
            until(lambda: query(database, WAITING) != [(0,)], right)
            assert right.done(), query(database, "SELECT query FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        finally:
            held.release()
    for job in (left, right):
        job.result()
    assert rows_in(database, MAPPING) == rows_of(MAPPING, users)


def test_it_is_so_where_the_database_has_another_isolation(database: str, tmp_path: Path, held: Held) -> None:
    name = query(database, "SELECT current_database()")[0][0]
    query(database, f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'")
    target = Target(database, MAPPING, backoff=NO_RETRY)
    left, right = two_versions(3)
    put(target, tmp_path, [], "before")
    put_left_then_right(target, tmp_path, held, left, right)
    assert rows_in(database, MAPPING) == rows_of(MAPPING, right)


@pytest.mark.parametrize("are_there", [True, False], ids=["replaced", "new"])
@pytest.mark.parametrize("items", [[], ["c"], ["c", "d", "e"]])
def test_a_root_table_with_nothing_but_its_key_is_no_exception(
    database: str, tmp_path: Path, held: Held, items: list[str], are_there: bool
) -> None:
    mapping = parse_mapping({
        "collection": "c",
        "tables": {
            "t": {"key": {"column": "id", "path": "_id", "type": "bigint"}, "columns": {}},
            "items": {"parent": "t", "from": "items", "ordinal": "n", "columns": {"value": "text"}},
        },
    })  # fmt: skip
    target = Target(database, mapping, backoff=NO_RETRY)
    put(target, tmp_path, [{"_id": 1, "items": [{"value": "old"}]}] if are_there else [], "before")
    left, right = ([{"_id": 1, "items": [{"value": item} for item in each]}] for each in (["a", "b"], items))
    put_left_then_right(target, tmp_path, held, left, right)
    assert query(database, "SELECT id, n, value FROM items ORDER BY n") == [(1, n, v) for n, v in enumerate(items, 1)]


def test_a_document_that_is_deleted_while_another_load_writes_it_is_gone(
    database: str, tmp_path: Path, held: Held
) -> None:
    target = Target(database, MAPPING, backoff=NO_RETRY)
    left, _ = two_versions(5)
    put(target, tmp_path, some_users(5, seed=2), "before")
    left_then_right(
        database, held, lambda: put(target, tmp_path, left, "left"), lambda: delete(target, MAPPING, [2, 3])
    )
    assert rows_in(database, MAPPING) == rows_of(MAPPING, [user for user in left if user["_id"] not in (2, 3)])


@pytest.mark.parametrize("foreign_keys", ["during", "none"])
def test_a_document_that_a_load_brings_while_it_is_deleted_is_there_whole(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, foreign_keys: str
) -> None:
    """The load commits between the deletion of a child's rows and that of the root's."""
    target = Target(database, MAPPING, foreign_keys=foreign_keys, backoff=NO_RETRY)
    put(target, tmp_path, some_users(1), "before")
    brought = some_users(1, seed=3, first_id=2)
    delete_rows, first = TableWorker._delete, threading.Event()

    def delete_and_load(worker: TableWorker, cursor: Any, table: str, keys: Any) -> None:
        delete_rows(worker, cursor, table, keys)
        if worker._job == "changes" and not first.is_set():
            first.set()
            put(target, tmp_path, brought, "load")

    monkeypatch.setattr(TableWorker, "_delete", delete_and_load)
    delete(target, MAPPING, [1, 2])
    assert rows_in(database, MAPPING) == rows_of(MAPPING, brought)


def test_a_document_that_came_and_went_again_is_no_dead_letter(
    database: str, tmp_path: Path, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = Target(database, MAPPING, backoff=NO_RETRY)
    put(target, tmp_path, [], "before")
    left, right = two_versions(1)
    came_meanwhile = TableWorker._came_meanwhile

    def gone_again(worker: TableWorker, *arguments: Any) -> bool:
        delete(target, MAPPING, [1])
        return came_meanwhile(worker, *arguments)

    monkeypatch.setattr(TableWorker, "_came_meanwhile", gone_again)
    put_left_then_right(target, tmp_path, held, left, right)
    assert rows_in(database, MAPPING) == rows_of(MAPPING, right)


def delete(target: Target, mapping: Mapping, keys: list[int]) -> None:
    """As a change stream does."""
    piece = ChangesPiece([Change(key, None, f"token {key}", (9, key)) for key in keys])
    pool = Pool(target.connect, 1)
    with pool.connection() as connection, connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO etl_range (job, number, source) VALUES ('changes', 0, 'x') ON CONFLICT DO NOTHING")
        turn = Turn.take(cursor, "public", "changes", 0)
    worker = ChangeWorker(mapping, pool, turn, backoff=NO_RETRY, stop=threading.Event())
    batch = Batch(0, (Slice(piece, 0, len(keys)),))
    worker.load(batch, worker.transform(batch))
    worker.close()
    pool.close()


@pytest.mark.parametrize("are_there", [True, False], ids=["replaced", "new"])
@pytest.mark.parametrize("min_in_place", [250, 1])
def test_of_two_loads_in_any_order_each_document_has_the_rows_of_one(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, min_in_place: int, are_there: bool
) -> None:
    monkeypatch.setattr(in_place, "MIN_DOCUMENTS", min_in_place)
    left, right = two_versions(100)
    versions = {"left": left, "right": right}
    target = Target(database, MAPPING, backoff=PATIENT)
    put(target, tmp_path, some_users(100, seed=2) if are_there else [], "before")

    def one(name: str) -> None:
        shuffled = copy.copy(versions[name])
        random.Random(name).shuffle(shuffled)
        put(target, tmp_path, shuffled, name, batch=7, workers=2)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(one, ("left", "right")))
    assert query(database, "SELECT job, reason, detail FROM etl_dead_letter") == []
    found = rows_in(database, MAPPING)
    for number in range(1, 101):
        mine = {name: [row for row in rows if row[0] == number] for name, rows in found.items()}
        either = [rows_of(MAPPING, [user for user in users if user["_id"] == number]) for users in (left, right)]
        assert mine in either
