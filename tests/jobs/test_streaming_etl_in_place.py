"""Documents that are there already, replaced in place: exact, nothing written twice, anew where owners see it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bson
import pytest
from tests.jobs.streaming_etl_generated import Generated, cases
from tests.jobs.streaming_etl_reference import rows_in, rows_of, some_users, users_mapping, write_bson
from tests.jobs.test_streaming_etl_generated import check_tables
from tests.jobs.test_streaming_etl_load import query

from pipeline_jobs.streaming_etl import in_place
from pipeline_jobs.streaming_etl.bson_file import BsonFile
from pipeline_jobs.streaming_etl.in_place import InPlace
from pipeline_jobs.streaming_etl.load import Target, load
from pipeline_jobs.streaming_etl.mapping import Mapping, parse_mapping
from pipeline_jobs.streaming_etl.progress import Totals
from pipeline_jobs.streaming_etl.retry import Backoff
from pipeline_jobs.streaming_etl.settings import Settings

MAPPING = users_mapping()


@pytest.fixture
def target(database: str) -> Target:
    return Target(database, MAPPING, backoff=Backoff(retries=30, first_s=0.02, longest_s=0.3))


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_place, "MIN_DOCUMENTS", 1)


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each batch from now on fits to be replaced in place."""
    found: list[bool] = []
    fits = InPlace.fits

    def look(mine: InPlace, *arguments: Any) -> bool:
        found.append(fits(mine, *arguments))
        return found[-1]

    monkeypatch.setattr(InPlace, "fits", look)
    return found


def put(target: Target, folder: Path, documents: list[Any], job: str, *, batch: int = 25, workers: int = 1) -> Totals:
    file = write_bson(folder / f"{job}.bson", [bson.encode(document) for document in documents])
    return load(BsonFile(file), target, Settings(batch_size=batch, worker_num=workers), job=job)[1]


def places(target: Target) -> dict[str, list[Any]]:
    """Where every row lies, and which transaction wrote it."""
    mapping, schema = target.mapping, target.schema
    return {
        table.name: sorted(query(target.uri, f"SELECT ctid::text, xmin::text FROM {schema}.{table.name}"))
        for table in mapping.tables
    }


def test_rows_vanish_change_and_come(target: Target, tmp_path: Path, ways: list[bool]) -> None:
    old, new = some_users(60), some_users(60, seed=9)
    put(target, tmp_path, old, "old")
    new[0]["messages"], new[1]["addresses"], new[2]["profile"], new[3]["posts"] = [], None, None, []
    new[4]["messages"][0]["attachments"] = []
    mixed = new[:40] + old[40:] + some_users(20, first_id=61)
    totals = put(target, tmp_path, mixed, "new", workers=3)
    assert rows_in(target.uri, MAPPING) == rows_of(MAPPING, mixed)
    assert (ways.count(True), ways.count(False)) == (2, 5)  # three batches were new, then two
    assert (totals.documents, totals.loaded) == (80, 80)
    assert totals.rows == sum(map(len, rows_of(MAPPING, mixed).values()))


def test_what_is_the_same_is_not_written_again(target: Target, tmp_path: Path, ways: list[bool]) -> None:
    documents = some_users(30)
    put(target, tmp_path, documents, "first")
    before = places(target)
    put(target, tmp_path, documents, "same")
    assert places(target) == before
    documents[7]["posts"][0]["likes"] += 1
    documents[8]["age"] = 55
    put(target, tmp_path, documents, "changed")
    moved = {name: len(set(rows) - set(before[name])) for name, rows in places(target).items()}
    assert {name: count for name, count in moved.items() if count} == {"posts": 1, "users": 1}
    assert ways == [False, False, True, True, True, True]
    assert rows_in(target.uri, MAPPING) == rows_of(MAPPING, documents)


@pytest.mark.parametrize(("kind", "old", "new"), [
    ("numeric", bson.Decimal128("1.0"), bson.Decimal128("1.00")), ("jsonb", {"a": 1}, {"a": 1.0}),
    ("double precision", 0.0, -0.0), ("text", "é", "e\u0301"), ("text[]", ["a"], [None]), ("text", None, ""),
])  # fmt: skip
def test_values_that_are_equal_but_not_the_same_are_written(
    database: str, tmp_path: Path, kind: str, old: Any, new: Any
) -> None:
    key = {"column": "id", "path": "_id", "type": "bigint"}
    mapping = parse_mapping({"collection": "c", "tables": {"t": {"key": key, "columns": {"value": kind}}}})
    target = Target(database, mapping)
    put(target, tmp_path, [{"_id": 1, "value": old}], "old")
    put(target, tmp_path, [{"_id": 1, "value": new}], "anew")
    put(Target(database, mapping, "other"), tmp_path, [{"_id": 1, "value": new}], "first")
    shown = "SELECT value::text FROM {}.t"
    assert query(database, shown.format("public")) == query(database, shown.format("other"))


@pytest.mark.parametrize("case", tuple(cases(12, seed=77)), ids=lambda case: f"{case.number}")
def test_generated_rows_that_were_spoilt_are_repaired(
    database: str, tmp_path: Path, ways: list[bool], case: Generated
) -> None:
    """Every kind of key, column and table: some rows are deleted, values of others lost, and the load comes again."""
    mapping = parse_mapping(case.mapping)
    target = Target(database, mapping, f"case_{case.number}")
    path = case.write(tmp_path / "things")
    load(BsonFile(path, "things"), target, case.settings, job="first")
    before = places(target)
    load(BsonFile(path, "things"), target, case.settings, job="same")
    assert places(target) == before
    for table in mapping.tables:
        spoil(target, mapping, table.name)
    load(BsonFile(path, "things"), target, case.settings, job="again")
    check_tables(database, target.schema, case)


def spoil(target: Target, mapping: Mapping, name: str) -> None:
    table, where = mapping.by_name[name], f"{target.schema}.{name}"
    optional = [column.name for column in table.columns if not column.required and not column.is_key]
    if optional:
        lost = ", ".join(f"{column} = NULL" for column in optional)
        query(target.uri, f"UPDATE {where} AS t SET {lost} WHERE hashtext(t::text) % 3 = 1")
    if table.parent and not any(other.parent == name for other in mapping.tables):
        query(target.uri, f"DELETE FROM {where} AS t WHERE hashtext(t::text) % 3 = 0")


FUNCTION = "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; "
OWNERS = {
    "a trigger": FUNCTION + "CREATE TRIGGER x BEFORE INSERT ON posts FOR EACH ROW EXECUTE FUNCTION f()",
    "a trigger of statements": FUNCTION + "CREATE TRIGGER x AFTER DELETE ON users EXECUTE FUNCTION f()",
    "a column": "ALTER TABLE messages ADD at timestamptz DEFAULT now()",
    "a check": "ALTER TABLE users ADD CHECK (age > 0)",
    "a unique index": "CREATE UNIQUE INDEX x ON users (email)",
    "an index that excludes": "ALTER TABLE posts ADD EXCLUDE USING btree (user_id WITH =, post_no WITH =)",
    "a policy": "ALTER TABLE groups ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON groups USING (true)",
    "a rule": "CREATE RULE r AS ON DELETE TO posts DO ALSO NOTHING",
    "a table that inherits": "CREATE TABLE more () INHERITS (posts)",
    "a reference to rows": "CREATE TABLE r (user_id bigint, n integer, FOREIGN KEY (user_id, n) REFERENCES messages)",
    "a reference of values": "CREATE TABLE g (id bigint PRIMARY KEY); INSERT INTO g SELECT generate_series(1, 10000); "
    "ALTER TABLE groups ADD FOREIGN KEY (group_id) REFERENCES g",
    "a table without its key": "ALTER TABLE posts DROP CONSTRAINT posts_pkey",
    "a publication of new rows": "CREATE PUBLICATION p FOR ALL TABLES WITH (publish = 'insert')",
}


@pytest.mark.parametrize("owner", OWNERS)
def test_what_an_owner_has_beside_the_tables_gets_rows_anew(
    target: Target, tmp_path: Path, ways: list[bool], owner: str
) -> None:
    put(target, tmp_path, some_users(20), "first")
    query(target.uri, OWNERS[owner])
    documents = some_users(20, seed=2)
    put(target, tmp_path, documents, "second")
    assert ways == [False, False]
    assert rows_in(target.uri, MAPPING) == rows_of(MAPPING, documents)


def test_foreign_keys_that_come_at_the_end_get_rows_anew(target: Target, tmp_path: Path, ways: list[bool]) -> None:
    late = Target(target.uri, MAPPING, foreign_keys="none")
    put(late, tmp_path, some_users(20), "first")
    put(late, tmp_path, some_users(20, seed=2), "second")
    assert ways == [False, False]
    assert rows_in(target.uri, MAPPING) == rows_of(MAPPING, some_users(20, seed=2))


def test_a_trigger_that_comes_between_two_batches_sees_the_second(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(target, tmp_path, some_users(40), "first")
    fits, asked = InPlace.fits, []

    def then_a_trigger(mine: InPlace, *arguments: Any) -> bool:
        if asked:
            query(target.uri, OWNERS["a trigger"])
        asked.append(fits(mine, *arguments))
        return asked[-1]

    monkeypatch.setattr(InPlace, "fits", then_a_trigger)
    put(target, tmp_path, some_users(40, seed=2), "second", batch=20)
    assert asked == [True, False]
    assert rows_in(target.uri, MAPPING) == rows_of(MAPPING, some_users(40, seed=2))


def test_a_role_that_may_not_update_items_writes_them_anew(target: Target, tmp_path: Path, ways: list[bool]) -> None:
    put(target, tmp_path, some_users(20), "first")
    role = f"writer_of_{target.uri.rpartition('/')[2]}"
    query(target.uri, f"CREATE ROLE {role} LOGIN PASSWORD 'w'; GRANT CREATE, USAGE ON SCHEMA public TO {role}; "
          f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}; "
          f"GRANT CREATE, TEMPORARY ON DATABASE {target.uri.rpartition('/')[2]} TO {role}; "
          f"ALTER TABLE etl_range OWNER TO {role}; ALTER TABLE etl_batch OWNER TO {role}; "
          f"REVOKE UPDATE ON posts FROM {role}")  # fmt: skip
    try:
        scheme, _, rest = target.uri.partition("://")
        theirs = f"{scheme}://{role}:w@{rest.partition('@')[2]}"
        put(Target(theirs, MAPPING), tmp_path, some_users(20, seed=2), "second")
        assert ways == [False, False]
        assert rows_in(target.uri, MAPPING) == rows_of(MAPPING, some_users(20, seed=2))
    finally:
        query(target.uri, f"REASSIGN OWNED BY {role} TO CURRENT_USER; DROP OWNED BY {role}; DROP ROLE {role}")


def test_a_document_that_the_database_refuses_keeps_its_rows_from_before(target: Target, tmp_path: Path) -> None:
    old, new = some_users(40), some_users(40, seed=5)
    put(target, tmp_path, old, "first")
    query(target.uri, "ALTER TABLE users ALTER phone SET NOT NULL")
    for number in (3, 17, 18):
        new[number]["phone"] = None
    totals = put(target, tmp_path, new, "second", batch=40)
    assert (totals.loaded, totals.rejected) == (37, 3)
    assert query(target.uri, "SELECT DISTINCT reason FROM etl_dead_letter") == [("refused_23502",)]
    assert rows_in(target.uri, MAPPING) == rows_of(MAPPING, [old[n] if n in (3, 17, 18) else new[n] for n in range(40)])
