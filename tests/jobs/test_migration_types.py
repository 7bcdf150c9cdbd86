"""Types that differ or are missing on the target: made when asked, exact, or refused in one line with a remedy."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.jobs.migration_case import Case, TasksHere, passed
from tests.jobs.migration_oracle import OWN_TYPES

from pipeline_jobs.migration import job
from pipeline_tuner.local.postgres import PostgresServer
from pipeline_tuner.measurement import Measurement


@pytest.fixture(scope="module")
def databases(postgres: PostgresServer) -> Iterator[tuple[str, str]]:
    """A source and a target of all tests here: making two for each would take longer than the tests."""
    names = [f"types_{side}_{uuid.uuid4().hex[:8]}" for side in ("source", "target")]
    source, target = map(postgres.create_database, names)
    yield source, target
    for name in names:
        postgres.drop_database(name)


@pytest.fixture
def case(databases: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Case]:
    """An empty source and an empty target, and a job whose tasks run in this process."""

    @contextmanager
    def opened(*_: Any) -> Iterator[TasksHere]:
        yield TasksHere()

    monkeypatch.setattr(job, "_session", opened)
    monkeypatch.setattr(job, "record_stages", lambda *_: None)
    yield Case(*databases, tmp_path)
    Case(*databases, tmp_path).both(
        "DROP EVENT TRIGGER IF EXISTS no",
        'DROP SCHEMA IF EXISTS public, tools, "Odd types", pipeline_migration CASCADE',
        "CREATE SCHEMA public",
        "GRANT USAGE ON SCHEMA public TO PUBLIC",
    )


def moved(case: Case, **workload: Any) -> Measurement:
    return case.run({"partitions": 2}, {"table": "t", "run_id": "r"} | workload)


def refused(measurement: Measurement, *words: str) -> str:
    """The reason of a refusal: one line that has these words."""
    assert measurement.failure is not None
    assert measurement.failure.kind == "bad_configuration", measurement.failure.reason
    assert "\n" not in measurement.failure.reason
    for word in words:
        assert word in measurement.failure.reason
    return measurement.failure.reason


EVERY_TYPE = (
    f"{OWN_TYPES}; CREATE SCHEMA tools; CREATE EXTENSION vector SCHEMA tools; "
    "CREATE TYPE \"Odd types\".mixed AS (v tools.vector(2), c codes, s spans, \"when\" timestamptz(3))",
    "CREATE TABLE t (id int PRIMARY KEY, m mood, ms mood[], p pair, d \"Odd types\".deep, c code, cs codes, s spans, "
    "many spans_multirange, v tools.vector(3), x \"Odd types\".mixed[])",
    "INSERT INTO t VALUES (1, 'glad', '{sad,\"\"}', '(1,a)', '(\"(1,a)\",{},glad)', 'abc', '{a,b}', '[1.5,2)', "
    "'{[1,2)}', '[1,2,3]', ARRAY[ROW('[1,2]', '{a}', '[1,2)', '2024-03-10 02:30:00.123-05')::\"Odd types\".mixed]), "
    "(2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
)  # fmt: skip


def test_types_that_the_target_lacks_are_made_when_asked(case: Case) -> None:
    case.sql("source", *EVERY_TYPE)
    assert passed(moved(case, create_types=True))
    assert case.same("t")
    labels = "SELECT enumlabel FROM pg_enum e JOIN pg_type t ON t.oid = enumtypid WHERE typname = 'mood' ORDER BY 1"
    assert case.sql("source", labels) == case.sql("target", labels)
    with pytest.raises(Exception, match="check constraint"):
        case.sql("target", "SELECT 'never'::code")


def test_types_that_the_target_lacks_are_listed_as_statements(case: Case) -> None:
    case.sql("source", *EVERY_TYPE)
    reason = refused(moved(case), '"public"."mood"', "set create_types, or run there: ")
    assert case.sql("target", "SELECT to_regclass('t'), to_regclass('pipeline_migration.run')") == [(None, None)]
    case.sql("target", reason.partition("run there: ")[2])
    assert passed(moved(case))
    assert case.same("t")


def test_types_are_made_all_or_none(case: Case) -> None:
    case.sql("source", *EVERY_TYPE)
    case.sql(
        "target",
        "CREATE FUNCTION no() RETURNS event_trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'no domains here'; END $$",
        "CREATE EVENT TRIGGER no ON ddl_command_start WHEN TAG IN ('CREATE DOMAIN') EXECUTE FUNCTION no()",
    )
    reason = refused(moved(case, create_types=True), "the target refuses to make its types (no domains here)")
    assert case.sql("target", "SELECT to_regtype('mood'), to_regtype('pair')") == [(None, None)]
    case.sql("target", "DROP EVENT TRIGGER no", reason.partition("have them made there: ")[2])
    assert passed(moved(case))


@pytest.mark.parametrize(
    ("source", "target", "value", "words"),
    [
        ("CREATE TYPE k AS (a numeric, b text)", "CREATE TYPE k AS (a numeric(5,1), b text)", "(1.25,x)",
         'is a numeric, b text on the source, a numeric(5,1), b text on the target'),
        ("CREATE DOMAIN k AS varchar(9)", "CREATE DOMAIN k AS varchar(3)", "abc   ", "character varying(9)"),
        ("CREATE DOMAIN k AS timestamptz", "CREATE DOMAIN k AS timestamp", "2024-01-01 00:00+05", "time zone"),
        ("CREATE TYPE k AS RANGE (subtype = numeric)", "CREATE TYPE k AS RANGE (subtype = int)", "[1,2)", "integer"),
        ("CREATE TYPE k AS ENUM ('a')", "CREATE DOMAIN k AS text", "a", "ENUM"),
    ],
)  # fmt: skip
def test_a_type_of_the_same_name_and_another_shape_is_refused(
    case: Case, source: str, target: str, value: str, words: str
) -> None:
    case.sql("source", source, "CREATE TABLE t (id int PRIMARY KEY, v k)", f"INSERT INTO t VALUES (1, '{value}')")
    case.sql("target", target, "CREATE TABLE t (id int PRIMARY KEY, v k)")
    refused(moved(case), 'the type "public"."k"', words, "make the target's like the source's")
    assert case.sql("target", "SELECT count(*) FROM t") == [(0,)]
    case.sql("target", "DROP TABLE t", "DROP TYPE k", source, "CREATE TABLE t (id int PRIMARY KEY, v k)")
    assert passed(moved(case))
    assert case.same("t")


def test_an_enum_that_lacks_labels_names_the_statements(case: Case) -> None:
    case.sql("source", "CREATE TYPE k AS ENUM ('a', E'it''s\\n', 'b')", "CREATE TABLE t (id int PRIMARY KEY, v k)")
    case.sql("source", "INSERT INTO t VALUES (1, 'a'), (2, E'it''s\\n')")
    case.sql("target", "CREATE TYPE k AS ENUM ('b', 'a')", "CREATE TABLE t (id int PRIMARY KEY, v k)")
    reason = refused(moved(case), "lacks labels, run there: ALTER TYPE")
    case.sql("target", *reason.partition("run there: ")[2].split("; "))
    assert passed(moved(case))
    assert case.same("t")


CHANGES = [
    ("numeric(12,4)", "numeric(12,2)", ("1.5", "1.2345"), "'1.2345'"),
    ("numeric", "double precision", ("0.1", "123456789012345678901"), "'123456789012345678901'"),
    ("double precision", "real", ("1.5", "0.1"), "'0.1'"),
    ("bigint", "integer", ("1", "9007199254740993"), "integer out of range"),
    ("integer", "real", ("1", "16777217"), "'16777217'"),
    ("text", "varchar(3)", ("abc", "abcd"), "'abcd'"),
    ("text", "varchar(3)", ("abc", "abc "), "'abc '"),
    ("text[]", "varchar(3)[]", ("{abc}", "{abcd}"), "'{abcd}'"),
    ("timestamp", "timestamp(0)", ("2024-01-01", "2024-01-01 00:00:00.5"), "00:00:00.5"),
    ("timestamp", "date", ("2024-01-01", "2024-01-01 00:00:00.5"), "00:00:00.5"),
    ("interval", "interval day to second(2)", ("1 mon", "0.125 s"), "00:00:00.125"),
    ("json", "jsonb", ("[1, 2]", '{"b": 1, "b": 2}'), '{"b": 1, "b": 2}'),
    ("inet", "cidr", ("1.2.3.0/24", "1.2.3.4/24"), "1.2.3.4/24"),
    ("oid", "integer", ("7", "4294967295"), "4294967295"),
    ("bit(3)", "bit(5)", (None, "101"), "'101'"),
    ("money", "numeric(20,1)", ("1.5", "1.25"), "$1.25"),
    ("text", "integer", ("1", "007"), "'007'"),
    ("text", "bytea", (None, "a"), "'a'"),
]


@pytest.mark.parametrize(("kind", "other", "values", "words"), CHANGES, ids=lambda each: str(each)[:20])
def test_a_column_that_would_change_values_is_refused_until_a_remedy_is_taken(
    case: Case, kind: str, other: str, values: tuple[str | None, str], words: str
) -> None:
    fits, changes = values
    case.sql("source", f"CREATE TABLE t (id int PRIMARY KEY, v {kind})")
    case.sql("target", f"CREATE TABLE t (id int PRIMARY KEY, v {other})")
    insert(case, 1, fits)
    assert passed(moved(case)), "a value that fits is moved"
    case.sql("target", "TRUNCATE t")
    insert(case, 2, changes)
    refused(moved(case, run_id="r2"), '"public"."t"."v" is ', words, "or move a view of the source's that converts it")
    assert case.sql("target", "SELECT count(*) FROM t") == [(0,)]
    case.sql("target", "DROP TABLE t", f"CREATE TABLE t (id int PRIMARY KEY, v {kind})")
    assert passed(moved(case, run_id="r3"))
    assert case.same("t")


def insert(case: Case, number: int, value: str | None) -> None:
    text = "NULL" if value is None else "'" + value.replace("'", "''") + "'"
    case.sql("source", f"INSERT INTO t VALUES ({number}, {text})")


@pytest.mark.parametrize(
    ("kind", "other"),
    [("timestamptz", "timestamp"), ("timestamp", "timestamptz"), ("date", "timestamptz"), ("timetz", "time"),
     ("timestamptz[]", "timestamp[]"), ("timestamptz(3)", "date")],
)  # fmt: skip
def test_a_zone_is_neither_lost_nor_made_up(case: Case, kind: str, other: str) -> None:
    case.sql("source", f"CREATE TABLE t (id int PRIMARY KEY, v {kind})")
    case.sql("target", f"CREATE TABLE t (id int PRIMARY KEY, v {other})")
    refused(moved(case), "one has a zone and the other none", "AT TIME ZONE says the zone")


@pytest.mark.parametrize(("kind", "other"), [("regclass", "oid"), ("oid", "regtype"), ("regclass[]", "bigint[]")])
def test_a_number_of_an_object_is_no_name_of_it(case: Case, kind: str, other: str) -> None:
    case.sql("source", f"CREATE TABLE t (id int PRIMARY KEY, v {kind})")
    case.sql("target", f"CREATE TABLE t (id int PRIMARY KEY, v {other})")
    refused(moved(case), "a number of an object means another one in another database")


def test_a_view_that_converts_is_moved(case: Case) -> None:
    case.sql("source", "CREATE TABLE t (id int PRIMARY KEY, v timestamptz, j json)",
             "INSERT INTO t VALUES (1, '2024-03-10 02:30:00-05', '{\"b\": 1,  \"a\": 2}')",
             "CREATE VIEW seen AS SELECT id, v AT TIME ZONE 'America/New_York' AS v, j::jsonb AS j FROM t")  # fmt: skip
    case.sql("target", "CREATE TABLE t (id int PRIMARY KEY, v timestamp, j jsonb)")
    assert passed(moved(case, table="seen", target_table="t"))
    assert case.sql("target", "SELECT v::text, j::text FROM t") == [("2024-03-10 03:30:00", '{"a": 2, "b": 1}')]


def test_values_that_the_target_makes_itself_are_refused(case: Case) -> None:
    case.sql("source", "CREATE TABLE t (id int PRIMARY KEY, twice int)", "INSERT INTO t VALUES (1, 7)")
    case.sql("target", "CREATE TABLE t (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED)")
    refused(moved(case), "makes ['twice'] itself")
    case.sql("target", "ALTER TABLE t ALTER twice DROP EXPRESSION")
    assert passed(moved(case))
    assert case.same("t")


def test_a_column_without_a_place_is_refused(case: Case) -> None:
    case.sql("source", 'CREATE TABLE t (id int PRIMARY KEY, v int, "V" int)', "INSERT INTO t VALUES (1, 2, 3)")
    case.sql("target", "CREATE TABLE t (id int PRIMARY KEY, v int)")
    refused(moved(case), "has no columns ['V'], which")
    assert case.sql("target", "SELECT count(*) FROM t") == [(0,)]
    case.sql("target", 'ALTER TABLE t ADD "V" int')
    assert passed(moved(case))


def test_values_that_both_make_in_other_ways_are_refused(case: Case) -> None:
    """The target's own expression gave other values, without a word."""
    table = "CREATE TABLE t (id int PRIMARY KEY, n int GENERATED ALWAYS AS (id * {}) STORED)"
    case.sql("source", table.format(2), "INSERT INTO t VALUES (1), (2)")
    case.sql("target", table.format(3))
    refused(moved(case), "makes ['n'] in another way than")
    assert case.sql("target", "SELECT count(*) FROM t") == [(0,)]
    case.sql("target", "ALTER TABLE t ALTER n DROP EXPRESSION")
    assert passed(moved(case))
    assert case.same("t")


def test_a_table_is_not_moved_into_itself_or_a_view(case: Case) -> None:
    case.sql("source", "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)")
    case.sql("target", "CREATE TABLE base (id int PRIMARY KEY)", "CREATE VIEW t AS SELECT * FROM base")
    refused(moved(case), 'the target "public"."t" is no table: name another target_table')
    target, case.target = case.target, case.source
    try:
        refused(moved(case), '"public"."t" is the source and the target: name another target_table')
        assert passed(moved(case, target_table="copy"))
        assert case.sql("source", "SELECT count(*) FROM copy") == [(2,)]
    finally:
        case.sql("source", "DROP SCHEMA pipeline_migration CASCADE")
        case.target = target


def test_rows_that_refer_to_rows_of_other_ranges_are_refused_and_the_remedy_works(case: Case) -> None:
    """Every row was rejected, each for a parent that had not come yet."""
    case.both("CREATE TABLE t (id int PRIMARY KEY, parent int REFERENCES t)")
    case.sql("source", "INSERT INTO t SELECT n, nullif(51 - n, n) FROM generate_series(1, 50) n")
    refused(moved(case), "refers to its own rows (t_parent_fkey)", "set partitions 1")
    assert case.sql("target", "SELECT count(*) FROM t") == [(0,)]
    assert passed(case.run({"partitions": 1}, {"table": "t", "run_id": "r"}))
    assert case.same("t")


@pytest.mark.parametrize("option", ["table", "target_table", "schema", "target_schema", "ledger_schema"])
def test_a_name_that_postgresql_would_cut_is_refused(case: Case, option: str) -> None:
    """The rows went to the table of the first 63 bytes, whoever's it was."""
    refused(moved(case, **{option: "ü" * 32}), f"{option} is 'ü", "of 64 bytes")


def test_rows_that_a_policy_hides_are_not_left_out_silently(case: Case, postgres: PostgresServer) -> None:
    case.both("CREATE TABLE t (id int PRIMARY KEY)")
    role = case.source.rpartition("/")[2]
    case.sql("source", "INSERT INTO t SELECT generate_series(1, 10)", f"CREATE ROLE {role} LOGIN PASSWORD 'of a role'",
             f"GRANT SELECT ON t TO {role}", "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
             "CREATE POLICY half ON t USING (id < 6)")  # fmt: skip
    owner = case.source
    try:
        case.source = f"postgresql://{role}:of%20a%20role@127.0.0.1:{postgres.port}/{role}"
        measurement = moved(case)
        assert measurement.failure is not None
        assert 'affected by row-level security policy for table "t"' in measurement.failure.reason
        assert case.sql("target", "SELECT count(*) FROM t") == [(0,)]
    finally:
        case.source = owner
        case.sql("source", f"DROP OWNED BY {role}", f"DROP ROLE {role}")


KEYS = {
    "a collation of its own": ('k text COLLATE "POSIX" PRIMARY KEY', "k text PRIMARY KEY"),
    "a collation of the target's": ("k text PRIMARY KEY", 'k text COLLATE "POSIX" PRIMARY KEY'),
    "a made table": ('k text COLLATE "POSIX" PRIMARY KEY', ""),
    "other labels first": ("k label PRIMARY KEY", "k label PRIMARY KEY"),
    "another type": ("k varchar(9) PRIMARY KEY", "k text PRIMARY KEY"),
    "arrays": ("k text[] PRIMARY KEY", "k text[] PRIMARY KEY"),
}


@pytest.mark.parametrize("kind", KEYS)
def test_a_key_with_another_order_on_the_target_is_compared_all_the_same(case: Case, kind: str) -> None:
    source, target = KEYS[kind]
    values = (
        "'{b,B}'), ('{a}'), ('{\u00e4,z}'), ('{Z}'" if "arrays" in kind else "'b'), ('B'), ('a'), ('ä'), ('Z'), ('z'"
    )
    case.sql("source", "CREATE TYPE label AS ENUM ('a', 'b', 'B', 'ä', 'Z', 'z')", f"CREATE TABLE t ({source})")
    case.sql("source", f"INSERT INTO t VALUES ({values})")
    case.sql("target", "CREATE TYPE label AS ENUM ('z', 'B', 'a', 'ä', 'b', 'Z')")
    if target:
        case.sql("target", f"CREATE TABLE t ({target})")
    assert passed(case.run({"partitions": 6}, {"table": "t", "run_id": "r"}))
    assert case.same("t")


def test_a_table_that_others_inherit_from_has_no_key_to_make(case: Case) -> None:
    case.sql("source", "CREATE TABLE t (k int PRIMARY KEY, v text)", "CREATE TABLE more () INHERITS (t)")
    case.sql("source", "INSERT INTO t VALUES (1, 'a'), (2, 'b')", "INSERT INTO more VALUES (1, 'c')")
    measurement = moved(case)
    assert passed(measurement)
    assert measurement.metrics["rejected_rows"] == 0
    assert case.same("t")


def test_a_trial_of_a_table_with_a_long_name_of_wide_characters(case: Case) -> None:
    name = "é" * 31
    case.both(f"CREATE TABLE {name} (k int PRIMARY KEY)")
    case.sql("source", f"INSERT INTO {name} SELECT generate_series(1, 10)")
    assert passed(case.run({"partitions": 2}, {"table": name}))
    assert case.sql("target", "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE 'é%'") == [(name,)]


def test_a_ledger_schema_that_can_not_be_named_is_refused(case: Case) -> None:
    refused(moved(case, ledger_schema="100%"), "ledger_schema must have no %")


@pytest.mark.parametrize(
    ("made", "workload", "words"),
    [
        ("CREATE TABLE t ()", {}, "has no columns: there is nothing to move"),
        ("CREATE TABLE t (v int)", {"target_schema": "nowhere"}, 'schema "nowhere" does not exist'),
        ("CREATE TABLE t (v json)", {"key": "v"}, "could not identify an ordering operator for type json"),
        ("CREATE TABLE t (v int)", {"key": "w"}, "has no column 'w'"),
        ("CREATE TABLE other (v int)", {}, "the source has no table public.t"),
    ],
)
def test_what_can_not_be_moved_is_refused_in_one_line(
    case: Case, made: str, workload: dict[str, Any], words: str
) -> None:
    case.sql("source", made)
    refused(moved(case, **workload), words)
    case.sql("source", "DROP TABLE IF EXISTS t", "CREATE TABLE t (v int)", "INSERT INTO t VALUES (1)")
    case.sql("target", "DROP TABLE IF EXISTS t")
    assert passed(moved(case)), "the same run_id, once it can be done"


def test_identity_columns_count_on_from_what_has_landed(case: Case) -> None:
    case.sql("source", "CREATE TABLE t (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, v text)")
    case.sql("source", "INSERT INTO t (v) SELECT n::text FROM generate_series(1, 40) n")
    assert passed(moved(case))
    assert case.sql("target", "INSERT INTO t (v) VALUES ('next') RETURNING id") == [(41,)]
    case.sql("target", "SELECT setval(pg_get_serial_sequence('t', 'id'), 1000)", "DELETE FROM t WHERE id = 41")
    assert passed(moved(case, run_id="r"))
    assert case.sql("target", "INSERT INTO t (v) VALUES ('next') RETURNING id") == [(1001,)]


def test_an_empty_table_with_an_identity_column_is_moved(case: Case) -> None:
    case.sql("source", "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY)")
    assert passed(moved(case))
    assert case.sql("target", "INSERT INTO t DEFAULT VALUES RETURNING id") == [(1,)]


def test_rows_are_corrected_by_a_key_that_has_another_order_on_the_target(case: Case) -> None:
    case.sql("source", "CREATE TYPE label AS ENUM ('a', 'b', 'c', 'd')", "CREATE TABLE t (k label PRIMARY KEY, v int)")
    case.sql("source", "INSERT INTO t VALUES ('a', 1), ('b', 2), ('c', 3), ('d', 4)")
    case.sql("target", "CREATE TYPE label AS ENUM ('d', 'a', 'c', 'b')", "CREATE TABLE t (k label PRIMARY KEY, v int)")
    assert passed(moved(case))
    case.sql("target", "DELETE FROM t WHERE k = 'b'", "UPDATE t SET v = 0 WHERE k = 'd'")
    corrected = moved(case, autocorrect=True)
    assert passed(corrected)
    assert corrected.metrics["corrected_rows"] == 2
    assert case.same("t")
