"""Which values of PostgreSQL Spark's JDBC reader would change, told from the catalog and one query. No Spark here."""

from __future__ import annotations

import re

import pytest
from dedup_runs import query

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.dedup.jdbc_values import check_values

REFUSED = {
    "numeric": ("1.5", "numeric without precision", "x::numeric(20, 5)"),
    "numeric(50,2)": ("1.5", r"numeric\(50,2\), where Spark's numbers have 38 digits", "x::text"),
    "numeric(3,-2)": ("100", r"numeric\(3,-2\)", "x::text"),
    "numeric(3,5)": ("0.001", r"numeric\(3,5\)", "x::text"),
    "numeric(5,2)": ("'NaN'", "NaN in column x, which Spark's numeric can't hold", "nullif(x, 'NaN') AS x"),
    "numeric[]": ("'{1.5}'", r"type numeric\[\], whose elements", "x::text"),
    "timestamp[]": ("'{2024-01-01}'", r"timestamp without time zone\[\]", "x::text"),
    "date[]": ("'{2024-01-01}'", r"date\[\]", "x::text"),
    "timestamp": ("'infinity'", "infinity in column x", "nullif(x, 'infinity') AS x"),
    "timestamptz": ("'-infinity'", "-infinity in column x", "nullif(x, '-infinity') AS x"),
    "date": ("'0044-03-15 BC'", "BC in column x", "NULL::date AS x"),
    "timestamp(0)": ("'1582-10-10 00:00'", "1582-10-10 00:00:00 in column x", "x::text"),
    "time": ("'10:00'", "type time without time zone", "x::text"),
    "time with time zone": ("'10:00+01'", "type time with time zone", "x::text"),
    "bit(8)": ("'00000101'", r"type bit\(8\)|type bit,", "x::text"),
    "bit varying": ("'101'", "type bit varying", "x::text"),
    "bit(3)[]": ("'{101}'", r"type bit\[\]", "x::text"),
    "money[]": ("'{1.5}'", r"type money\[\]", "x::text"),
    "interval[]": ("'{1 mon}'", r"type interval\[\], whose elements", "x::text"),
    "integer[]": ("'[0:1]={1,2}'", r"has \[0:1\]=\{1,2\} in column x, which Spark's integer", "x::text"),
    "money": ("'1.5'", "type money", "x::text"),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("place", ["events", "(SELECT * FROM events) e"])
def test_what_spark_would_change_is_refused_and_the_remedy_works(database: str, kind: str, place: str) -> None:
    value, words, remedy = REFUSED[kind]
    query(database, f"CREATE TABLE events (id text, x {kind})")
    query(database, f"INSERT INTO events VALUES ('a', {value}), ('b', NULL)")
    with pytest.raises(BadConfigurationError, match=words) as refused:
        check_values(database, place)
    assert len(str(refused.value).splitlines()) == 1
    assert not re.search(r"x::text", str(refused.value)) or "x::" in remedy
    query(database, f"CREATE VIEW mended AS SELECT id, {remedy} FROM events")
    check_values(database, "mended")
    check_values(database, "(SELECT * FROM mended) m")


def test_what_arrives_as_it_is_is_taken(database: str) -> None:
    query(
        database,
        "CREATE DOMAIN code AS varchar(3); CREATE TABLE events (id uuid, a smallint, b bigint[], c numeric(10,2), "
        'd numeric(38,38), e text, f char(3), g jsonb, h timestamptz, i date, j code, k interval, "an ""odd" bool)',
    )
    check_values(database, "events")
    check_values(database, "public.events")
