"""Documents into the tables on a real PostgreSQL: whole, once, in one transaction a batch, and again after a stop."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import bson
import psycopg2
import pytest
from tests.jobs.streaming_etl_reference import damaged, rows_in, rows_of, some_users, users_mapping, write_bson

from pipeline_jobs.contract import BadConfigurationError, InfrastructureError
from pipeline_jobs.streaming_etl import target as target_module
from pipeline_jobs.streaming_etl.bson_file import BsonFile, DamagedFileError
from pipeline_jobs.streaming_etl.engine import Source
from pipeline_jobs.streaming_etl.load import Hooks, Target, load
from pipeline_jobs.streaming_etl.progress import Accounts
from pipeline_jobs.streaming_etl.records import Piece
from pipeline_jobs.streaming_etl.retry import Backoff
from pipeline_jobs.streaming_etl.settings import BatchSize, Settings
from pipeline_jobs.streaming_etl.tables import TargetError

MAPPING = users_mapping()


def raws_of(documents: list[dict[str, Any]]) -> list[bytes]:
    return [bson.encode(document) for document in documents]


def query(uri: str, text: str) -> list[tuple[Any, ...]]:
    connection = psycopg2.connect(uri)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(text)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


@pytest.fixture
def target(database: str) -> Target:
    return Target(database, MAPPING, backoff=Backoff(retries=3, first_s=0.05))


@pytest.mark.parametrize(
    "settings",
    [
        Settings(batch_size=100, worker_num=1),
        Settings(batch_size=37, worker_num=4, pool_size=2),
        Settings(batch_size=500, batch_bytes=50_000, worker_num=2, manager_worker_num=3),
        Settings(batch_size=10, worker_num=2, adaptive=True, target_records_per_s=1e9),
    ],
)
def test_every_document_arrives_whole_under_any_settings(target: Target, tmp_path: Path, settings: Settings) -> None:
    documents = some_users(400)
    file = write_bson(tmp_path / "users.bson", raws_of(documents))
    report, totals = load(BsonFile(file), target, settings)
    assert rows_in(target.uri, MAPPING) == rows_of(MAPPING, documents)
    assert (totals.documents, totals.loaded, totals.rejected, report.records) == (400, 400, 0, 400)
    assert totals.rows == sum(map(len, rows_of(MAPPING, documents).values()))


def test_a_second_load_replaces_and_what_vanished_from_an_array_vanishes(target: Target, tmp_path: Path) -> None:
    old, new = some_users(60), some_users(60, seed=9)
    new[0]["messages"], new[1]["addresses"], new[2]["profile"] = [], None, None
    mixed = new[:40] + some_users(20, first_id=61)
    load(BsonFile(write_bson(tmp_path / "old.bson", raws_of(old))), target, Settings(batch_size=25), job="old")
    load(BsonFile(write_bson(tmp_path / "new.bson", raws_of(mixed))), target, Settings(batch_size=25), job="new")
    assert rows_in(target.uri, MAPPING) == rows_of(MAPPING, mixed + old[40:])


def test_a_finished_load_started_again_does_nothing(target: Target, tmp_path: Path) -> None:
    file = write_bson(tmp_path / "users.bson", raws_of(some_users(50)))
    load(BsonFile(file), target, Settings(batch_size=20))
    report, totals = load(BsonFile(file), target, Settings(batch_size=20))
    assert (report.records, totals.documents) == (0, 50)


def test_hooks_run_once_in_the_life_of_a_load(target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    query(target.uri, "CREATE TABLE told (moment text, users bigint)")
    hooks = Hooks("INSERT INTO told SELECT 'before', count(*) FROM users",
                  "INSERT INTO told SELECT 'after', count(*) FROM users; ANALYZE users")  # fmt: skip
    hooked = replace(target, hooks=hooks)
    file = write_bson(tmp_path / "users.bson", raws_of(some_users(300)))
    with monkeypatch.context() as patch:
        patch.setattr(Accounts, "finish", _killed)
        with pytest.raises(KeyboardInterrupt):
            load(BsonFile(file), hooked, Settings(batch_size=20, manager_worker_num=3))
    assert query(target.uri, "SELECT * FROM told") == [("before", 0)]
    for _ in range(2):
        load(BsonFile(file), hooked, Settings(batch_size=20))
        assert query(target.uri, "SELECT * FROM told") == [("before", 0), ("after", 300)]


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_hook_that_fails_leaves_no_trace_and_names_its_option(target: Target, tmp_path: Path) -> None:
    file = write_bson(tmp_path / "users.bson", raws_of(some_users(30)))
    wrong = replace(target, hooks=Hooks(after="CREATE TABLE half (n integer); REFRESH MATERIALIZED VIEW nowhere"))
    with pytest.raises(TargetError, match=r"after_sql failed: .*nowhere.* does not exist"):
        load(BsonFile(file), wrong, Settings())
    assert query(target.uri, "SELECT to_regclass('half'), count(*) FROM etl_hook") == [(None, 0)]
    load(BsonFile(file), replace(target, hooks=Hooks(after="CREATE TABLE whole (n integer)")), Settings())
    assert query(target.uri, "SELECT to_regclass('whole') IS NULL") == [(False,)]


def test_tables_of_ones_own_keep_what_the_mapping_does_not_know(target: Target, tmp_path: Path) -> None:
    """Made before the load: other column order, further columns with defaults, keys and indexes of their own."""
    query(target.uri, "CREATE TABLE users (loaded_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz, "
          "created_at timestamptz NOT NULL, score double precision, is_active boolean, phone varchar(40), "
          "age smallint, last_name varchar(100), first_name varchar(100), email varchar(200), username varchar(60), "
          "user_id bigint PRIMARY KEY, note text DEFAULT 'none')")  # fmt: skip
    query(target.uri, "CREATE TABLE preferences (user_id bigint PRIMARY KEY REFERENCES users ON DELETE CASCADE, "
          "language varchar(20), timezone varchar(60), theme varchar(20), notify_email boolean, notify_push boolean, "
          "digest_hour smallint)")  # fmt: skip
    documents = some_users(40)
    for seed in (1, 2):
        documents = some_users(40, seed=seed)
        load(BsonFile(write_bson(tmp_path / f"{seed}.bson", raws_of(documents))), target, Settings(), job=f"{seed}")
    assert rows_in(target.uri, MAPPING) == rows_of(MAPPING, documents)
    assert query(target.uri, "SELECT count(*), count(loaded_at), min(note) FROM users") == [(40, 40, "none")]


def test_a_name_that_stands_for_another_source_is_refused(target: Target, tmp_path: Path) -> None:
    load(BsonFile(write_bson(tmp_path / "a.bson", raws_of(some_users(5)))), target, Settings())
    with pytest.raises(BadConfigurationError, match="give this load another name"):
        load(BsonFile(write_bson(tmp_path / "b.bson", raws_of(some_users(6)))), target, Settings())


def test_foreign_keys_hold_and_can_be_made_at_the_end(database: str, tmp_path: Path) -> None:
    file = write_bson(tmp_path / "users.bson", raws_of(some_users(30)))
    load(BsonFile(file), Target(database, MAPPING, schema="a"), Settings())
    load(BsonFile(file), Target(database, MAPPING, schema="b", foreign_keys="after"), Settings())
    load(BsonFile(file), Target(database, MAPPING, schema="c", foreign_keys="none"), Settings())
    count = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND connamespace = '{}'::regnamespace"
    assert [query(database, count.format(schema))[0][0] for schema in "abc"] == [14, 14, 0]


def test_damaged_documents_become_dead_letters_and_the_rest_lands(target: Target, tmp_path: Path) -> None:
    documents = some_users(1200)
    made = list(damaged(documents, 50, random.Random(3)))
    file = write_bson(tmp_path / "users.bson", [raw for raw, _ in made])
    _, totals = load(BsonFile(file), target, Settings(batch_size=100, worker_num=3))
    good = [document for document, (_, reason) in zip(documents, made, strict=True) if reason is None]
    assert rows_in(target.uri, MAPPING) == rows_of(MAPPING, good)
    assert (totals.documents, totals.loaded, totals.rejected) == (1200, 1176, 24)
    letters = query(target.uri, "SELECT place, reason, document FROM etl_dead_letter")
    found = {bytes(document): (place, reason) for place, reason, document in letters}
    offset = 0
    for raw, reason in made:
        if reason:
            assert found[raw] == (f"offset {offset}", reason)
        offset += len(raw)
    assert len(letters) == 24


def test_what_only_the_database_refuses_is_found_by_halves(target: Target, tmp_path: Path) -> None:
    documents = some_users(300)
    bad = {7: -1.0, 8: -2.0, 150: -3.0, 299: -4.0}
    load(BsonFile(write_bson(tmp_path / "none.bson", [])), target, Settings(), job="tables")
    query(target.uri, "ALTER TABLE users ADD CHECK (score >= 0)")
    for number, score in bad.items():
        documents[number]["score"] = score
    file = write_bson(tmp_path / "users.bson", raws_of(documents))
    _, totals = load(BsonFile(file), target, Settings(batch_size=100, worker_num=2))
    good = [document for number, document in enumerate(documents) if number not in bad]
    assert rows_in(target.uri, MAPPING) == rows_of(MAPPING, good)
    assert (totals.loaded, totals.rejected) == (296, 4)
    assert query(target.uri, "SELECT DISTINCT reason FROM etl_dead_letter") == [("refused_23514",)]


def test_one_key_twice_leaves_the_last_document(target: Target, tmp_path: Path) -> None:
    first, second = some_users(10), some_users(10, seed=4)
    file = write_bson(tmp_path / "users.bson", raws_of(first + second))
    _, totals = load(BsonFile(file), target, Settings(batch_size=6, worker_num=1))
    assert rows_in(target.uri, MAPPING) == rows_of(MAPPING, second)
    assert totals.documents == totals.loaded + totals.rejected + totals.replaced == 20


def test_a_file_that_is_cut_off_loads_its_whole_documents_and_then_fails(target: Target, tmp_path: Path) -> None:
    documents = some_users(40)
    raws = raws_of(documents)
    file = write_bson(tmp_path / "users.bson", [*raws[:30], raws[30][:-7]])
    with pytest.raises(DamagedFileError, match="cut off or damaged"):
        load(BsonFile(file), target, Settings(batch_size=10, worker_num=1))
    with pytest.raises(DamagedFileError):
        load(BsonFile(file), target, Settings(batch_size=10, worker_num=1))
    assert rows_in(target.uri, MAPPING) == rows_of(MAPPING, documents[:30])


@pytest.mark.parametrize(("content", "advice"), [
    (b'{"_id": 1, "username": "ann"}\n', "mongoimport"), (b'[{"_id": 1}]', "--jsonArray"),
])  # fmt: skip
def test_what_people_have_instead_of_a_bson_file_is_recognised(
    target: Target, tmp_path: Path, content: bytes, advice: str
) -> None:
    path = tmp_path / "users.bson"
    path.write_bytes(content)
    with pytest.raises(BadConfigurationError, match=f"users.bson is no BSON file: .*{advice}"):
        load(BsonFile(path), target, Settings())


def test_a_document_that_begins_like_json_is_one(target: Target, tmp_path: Path) -> None:
    [document] = some_users(1)
    document["filler"] = ""
    document["filler"] = "x" * (0x10000 + 0x227B - len(bson.encode(document)))
    raw = bson.encode(document)
    assert raw.startswith(b'{"')
    load(BsonFile(write_bson(tmp_path / "users.bson", [raw])), target, Settings())
    assert query(target.uri, "SELECT count(*) FROM users") == [(1,)]


def test_tables_that_do_not_fit_are_refused_by_name(target: Target, tmp_path: Path) -> None:
    query(target.uri, "CREATE TABLE users (user_id bigint PRIMARY KEY, username integer)")
    with pytest.raises(BadConfigurationError, match=r"public\.users.*username is integer, must be varchar"):
        load(BsonFile(write_bson(tmp_path / "users.bson", [])), target, Settings())


def test_a_target_that_stays_away_is_an_infrastructure_error(tmp_path: Path) -> None:
    away = Target("postgresql://nobody@127.0.0.1:9/nothing", MAPPING, backoff=Backoff(retries=2, first_s=0.01))
    with pytest.raises(InfrastructureError, match="does not answer"):
        load(BsonFile(write_bson(tmp_path / "users.bson", raws_of(some_users(3)))), away, Settings())


def test_a_target_without_rights_is_not_retried(target: Target, tmp_path: Path) -> None:
    load(BsonFile(write_bson(tmp_path / "none.bson", [])), target, Settings(), job="tables")
    query(target.uri, "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
          "$$ BEGIN RAISE 'permission denied' USING ERRCODE = '42501'; END $$")  # fmt: skip
    query(target.uri, "CREATE TRIGGER refuse BEFORE INSERT ON posts FOR EACH ROW EXECUTE FUNCTION refuse()")
    file = write_bson(tmp_path / "users.bson", raws_of(some_users(3)))
    with pytest.raises(TargetError, match="permission denied"):
        load(BsonFile(file), target, Settings())
    assert query(target.uri, "SELECT count(*) FROM users") == [(0,)]


def test_connections_that_are_cut_cost_nothing(target: Target, tmp_path: Path) -> None:
    documents = some_users(600)
    file = write_bson(tmp_path / "users.bson", raws_of(documents))
    stop = threading.Event()
    load(BsonFile(write_bson(tmp_path / "none.bson", [])), target, Settings(), job="tables")

    def cut() -> None:
        before = 0
        while not stop.wait(0.05):
            # A load that gets a batch through now and then ends, however slow the machine is.
            now = query(target.uri, "SELECT count(*) FROM etl_batch")[0][0]
            if now == before:
                continue
            before = now
            query(target.uri, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                  "WHERE application_name LIKE 'pipeline-tuner%' AND datname = current_database()")  # fmt: skip

    cutter = threading.Thread(target=cut)
    cutter.start()
    try:
        patient = Target(target.uri, MAPPING, backoff=Backoff(retries=50, first_s=0.05, longest_s=0.2))
        _, totals = load(BsonFile(file), patient, Settings(batch_size=20, worker_num=3))
    finally:
        stop.set()
        cutter.join()
    assert rows_in(target.uri, MAPPING) == rows_of(MAPPING, documents)
    assert totals.loaded == 600


def test_a_commit_whose_answer_got_lost_is_not_done_twice(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = some_users(60)
    commit, lost = target_module.TableWorker._commit, []

    def committed_but_lost(self: Any, batch: Any, *args: Any, **kwargs: Any) -> int:
        rows = commit(self, batch, *args, **kwargs)
        if batch.sequence == 1 and not lost:
            lost.append(batch)
            raise psycopg2.OperationalError("server closed the connection unexpectedly")
        return rows

    monkeypatch.setattr(target_module.TableWorker, "_commit", committed_but_lost)
    file = write_bson(tmp_path / "users.bson", raws_of(documents))
    report, totals = load(BsonFile(file), target, Settings(batch_size=20, worker_num=1))
    assert (lost != [], totals.loaded, report.rows) == (True, 60, totals.rows)


class CancelsAfter:
    """A source during whose reading the user cancels."""

    def __init__(self, count: int, source: Source, cancel: threading.Event) -> None:
        self.count, self.source, self.cancel = count, source, cancel

    def pieces(self, batch_size: BatchSize) -> Iterator[Piece | None]:
        for number, piece in enumerate(self.source.pieces(batch_size)):
            yield piece
            if number == self.count:
                self.cancel.set()


def test_cancel_drains_what_was_read_and_the_next_run_goes_on(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = some_users(1500)
    file = write_bson(tmp_path / "users.bson", raws_of(documents))
    cancel = threading.Event()
    origin = BsonFile(file)
    monkeypatch.setattr(origin, "open", lambda *args: CancelsAfter(3, BsonFile.open(origin, *args), cancel))
    report, totals = load(origin, target, Settings(batch_size=10, worker_num=2), cancel=cancel)
    assert report.was_cancelled
    assert totals.documents == 50
    assert rows_in(target.uri, MAPPING) == rows_of(MAPPING, documents[: totals.documents])
    report, totals = load(BsonFile(file), target, Settings(batch_size=100, worker_num=2))
    assert report.records == 1450
    assert totals.documents == 1500
    assert rows_in(target.uri, MAPPING) == rows_of(MAPPING, documents)


def test_a_batch_that_is_missing_between_others_comes_again_with_all_after_it(target: Target, tmp_path: Path) -> None:
    """As after a SIGKILL while batch 4 was slow and batches 5 to 9 had committed."""
    documents = some_users(100)
    file = write_bson(tmp_path / "users.bson", raws_of(documents))
    load(BsonFile(file), target, Settings(batch_size=10, worker_num=1))
    query(target.uri, "DELETE FROM etl_batch WHERE sequence = 4")
    query(target.uri, "UPDATE etl_range SET is_done = false")
    for table in reversed(MAPPING.tables):
        query(target.uri, f"DELETE FROM {table.name} WHERE user_id BETWEEN 41 AND 50")
    report, totals = load(BsonFile(file), target, Settings(batch_size=7, worker_num=2))
    assert rows_in(target.uri, MAPPING) == rows_of(MAPPING, documents)
    assert (report.records, totals.documents, totals.loaded) == (60, 100, 100)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DROP TABLE posts", "the table public.posts was dropped"),
        ("DROP TABLE users CASCADE", "the table public.users was dropped"),
        ("DROP TABLE messages CASCADE", "the table public.messages was dropped"),
        ("ALTER TABLE posts RENAME TO old; CREATE TABLE posts (LIKE old INCLUDING ALL)",
         "the table public.posts was replaced or restored"),
        ("TRUNCATE users CASCADE", "the table public.users was emptied"),
        ("TRUNCATE posts CASCADE", "the table public.posts was emptied"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_done", [True, False])
def test_positions_do_not_speak_of_another_table(
    target: Target, tmp_path: Path, statement: str, said: str, is_done: bool
) -> None:
    """A table dropped, restored or emptied was once left without the rows that the books called loaded."""
    documents = some_users(60)
    file = write_bson(tmp_path / "users.bson", raws_of(documents))
    load(BsonFile(file), target, Settings(batch_size=10, worker_num=1), job="it's nightly")
    if not is_done:
        query(target.uri, "UPDATE etl_range SET is_done = false; DELETE FROM etl_batch WHERE sequence > 3")
    query(target.uri, statement)
    tables = query(target.uri, "SELECT count(*) FROM pg_class WHERE relkind = 'r'")
    with pytest.raises(BadConfigurationError, match=said) as refused:
        load(BsonFile(file), target, Settings(batch_size=10), job="it's nightly")
    assert query(target.uri, "SELECT count(*) FROM pg_class WHERE relkind = 'r'") == tables, "nothing was made"
    remedy = str(refused.value).partition("run ")[2]
    query(target.uri, remedy)
    report, totals = load(BsonFile(file), target, Settings(batch_size=25, worker_num=1), job="it's nightly")
    assert (report.records, totals.documents, totals.loaded) == (60, 60, 60)
    assert rows_in(target.uri, MAPPING) == rows_of(MAPPING, documents)


def test_tables_that_were_packed_anew_or_lost_rows_by_hand_are_the_same(target: Target, tmp_path: Path) -> None:
    file = write_bson(tmp_path / "users.bson", raws_of(some_users(60)))
    load(BsonFile(file), target, Settings())
    for statement in (
        "DELETE FROM posts",
        *(f"CLUSTER {table.name} USING {table.name}_pkey" for table in MAPPING.tables[:3]),
    ):
        query(target.uri, statement)
        if "posts" not in statement:
            load(BsonFile(file), target, Settings())


def test_a_table_replaced_under_a_load_does_not_end_as_done(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_bson(tmp_path / "users.bson", raws_of(some_users(60)))
    commit = target_module.TableWorker._commit

    def replaced(self: Any, batch: Any, *args: Any, **kwargs: Any) -> int:
        rows = commit(self, batch, *args, **kwargs)
        if batch.sequence == 2:
            query(target.uri, "ALTER TABLE posts RENAME TO old; CREATE TABLE posts (LIKE old INCLUDING ALL)")
        return rows

    monkeypatch.setattr(target_module.TableWorker, "_commit", replaced)
    with pytest.raises(BadConfigurationError, match=r"public.posts was replaced"):
        load(BsonFile(file), target, Settings(batch_size=10, worker_num=1))
    assert query(target.uri, "SELECT bool_or(is_done) FROM etl_range") == [(False,)]


def test_a_mapping_that_changed_under_a_load_is_refused(target: Target, tmp_path: Path) -> None:
    file = write_bson(tmp_path / "users.bson", raws_of(some_users(20)))
    fewer = replace(MAPPING, tables=MAPPING.tables[:-1])
    load(BsonFile(file), replace(target, mapping=fewer), Settings())
    with pytest.raises(BadConfigurationError, match="the mapping is another one than when this load began"):
        load(BsonFile(file), target, Settings())
    load(BsonFile(file), target, Settings(), job="another")


def test_books_without_an_identity_adopt_the_tables_that_are_there(target: Target, tmp_path: Path) -> None:
    file = write_bson(tmp_path / "users.bson", raws_of(some_users(20)))
    load(BsonFile(file), target, Settings())
    query(target.uri, "ALTER TABLE etl_range DROP COLUMN target_oids, DROP COLUMN mapping")
    assert load(BsonFile(file), target, Settings())[0].records == 0
    query(target.uri, "DROP TABLE posts")
    with pytest.raises(BadConfigurationError, match=r"public.posts was dropped"):
        load(BsonFile(file), target, Settings())
