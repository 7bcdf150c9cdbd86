"""The checks of a dedup trial's output: held against DuckDB over the same files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline_jobs.contract import MeasurementWriter, TrialConfig, write_json
from pipeline_jobs.dedup.csv_copy import APPLICATION
from pipeline_jobs.dedup.options import DedupOptions, Rule
from pipeline_jobs.dedup.parquet_target import CURRENT
from pipeline_jobs.dedup.postgres_target import qualified
from pipeline_jobs.dedup.run_once import Outcome
from pipeline_jobs.dedup.trial_data import Data
from pipeline_jobs.postgres import connect, identifier

DUCKDB_MEMORY = "2GB"
Expression = Callable[[str], str]


@dataclass(frozen=True)
class Content:
    """What a set of records amounts to, whatever their order."""

    rows: int
    digest: int
    """Sum over the rows of 32 bits of an MD5 of all values."""


@dataclass(frozen=True)
class Expected:
    """What the rule makes of the files, by DuckDB."""

    unique: int
    deletes: int
    ties: int
    content: Content


def check_output(
    writer: MeasurementWriter, data: Data, options: DedupOptions, config: TrialConfig, outcomes: Sequence[Outcome]
) -> None:
    """Record the checks of a trial: the target's content, and the counts of each repeat."""
    if data.folder is None:
        return
    expected = expected_of(data.folder, options.rule)
    _check_counts(writer, expected, outcomes)
    if options.target.kind == "postgresql" and (options.target.scratch or options.target.mode == "replace"):
        found = postgres_content(config.uri("target"), options.target.table, _schema(data.folder))
    elif options.target.kind == "parquet":
        found = parquet_content(Path(options.target.path))
    else:
        return
    writer.check("content", found == expected.content, f"found {found}, expected {expected.content}")


def _check_counts(writer: MeasurementWriter, expected: Expected, outcomes: Sequence[Outcome]) -> None:
    wanted = (expected.unique, expected.deletes, expected.ties)
    for outcome in outcomes:
        if outcome.counts and outcome.started_from is None:
            counted = (outcome.counts.unique, outcome.counts.deletes, outcome.counts.ties)
            writer.check("unique, deletes, ties", counted == wanted, f"counted {counted}, expected {wanted}")


def expected_of(folder: Path, rule: Rule) -> Expected:
    """What the rule makes of a workload's files; computed once and kept beside them."""
    identity = hashlib.sha256(json.dumps(asdict(rule), sort_keys=True).encode()).hexdigest()[:12]
    kept = folder / f"expected-{identity}.json"
    if kept.exists():
        values = json.loads(kept.read_text(encoding="utf-8"))
        return Expected(**{**values, "content": Content(**values["content"])})
    expected = _compute(folder, rule)
    write_json(kept, asdict(expected))
    return expected


def _compute(folder: Path, rule: Rule) -> Expected:
    schema = _schema(folder)
    rest = [name for name in schema.names if name not in {*rule.key, *rule.declared}]
    key = ", ".join(map(identifier, rule.key))
    declared = ", ".join(f"{identifier(name)} DESC NULLS LAST" for name in rule.declared)
    content = ", ".join(f"{identifier(name)} DESC NULLS LAST" for name in rest)
    wheres = [f"{identifier(name)} IS NOT NULL" for name in rule.key if rule.null_keys == "drop"]
    if rule.null_timestamps == "drop":
        wheres.append(f"{identifier(rule.timestamp)} IS NOT NULL")
    ranked = (
        f"SELECT *, rank() OVER (PARTITION BY {key} ORDER BY {declared}) AS r, "
        f"row_number() OVER (PARTITION BY {key} ORDER BY {', '.join(filter(None, (declared, content)))}) AS n "
        f"FROM read_parquet('{folder}/records/*.parquet') WHERE {' AND '.join(wheres) or 'true'}"
    )
    deleted = f"coalesce({rule.deleted_when or 'false'}, false)"
    digest = row_digest(schema, DUCKDB)
    with duckdb.connect(config={"memory_limit": DUCKDB_MEMORY, "threads": 2}) as db:
        db.execute("SET TimeZone = 'UTC'")
        db.execute(f"CREATE TEMP TABLE top AS SELECT * FROM ({ranked}) WHERE r = 1")
        unique, deletes, rows, total = db.execute(
            f"SELECT count(*), count(*) FILTER ({deleted}), count(*) FILTER (NOT {deleted}), "
            f"coalesce(sum({digest}) FILTER (NOT {deleted}), 0)::BIGINT FROM top WHERE n = 1"
        ).fetchone()  # type: ignore[misc]
        ties = db.execute(
            f"SELECT count(*) FROM (SELECT 1 FROM top GROUP BY {key} HAVING min({digest}) <> max({digest}))"
        ).fetchone()[0]  # type: ignore[index]
    return Expected(unique, deletes, ties, Content(rows, total))


def parquet_content(path: Path) -> Content:
    """What a Parquet target holds."""
    folder = path / (path / CURRENT).read_text(encoding="ascii")
    schema = pq.read_schema(next(folder.glob("*.parquet")))
    with duckdb.connect() as db:
        digest = row_digest(schema, DUCKDB)
        query = f"SELECT count(*), coalesce(sum({digest}), 0)::BIGINT FROM read_parquet('{folder}/*.parquet')"
        return Content(*db.execute(query).fetchone())  # type: ignore[misc]


def postgres_content(uri: str, table: str, schema: pa.Schema) -> Content:
    """What a PostgreSQL target holds."""
    connection = connect(uri, APPLICATION)
    try:
        with connection.cursor() as cursor:
            digest = row_digest(schema, POSTGRES)
            cursor.execute(f"SELECT count(*), coalesce(sum({digest}), 0)::bigint FROM {qualified(table)}")
            return Content(*cursor.fetchone())  # type: ignore[misc]
    finally:
        connection.close()


@dataclass(frozen=True)
class Dialect:
    """How a database says what the digest needs."""

    microseconds: Expression
    number: Expression


DUCKDB = Dialect(lambda x: f"epoch_us({x})", lambda x: f"('0x' || substr(md5({x}), 1, 8))::BIGINT")
POSTGRES = Dialect(
    lambda x: f"(extract(epoch FROM {x}) * 1000000)::bigint",
    lambda x: f"('x' || substr(md5({x}), 1, 8))::bit(32)::bigint",
)


def row_digest(schema: pa.Schema, dialect: Dialect) -> str:
    """SQL for a number from all values of a row, the same in both databases."""
    parts = []
    for column in schema:
        name = identifier(column.name)
        value = dialect.microseconds(name) if pa.types.is_timestamp(column.type) else name
        parts.append(f"coalesce({value}::text, '~')")
    return dialect.number(" || '|' || ".join(parts))


def _schema(folder: Path) -> pa.Schema:
    return pq.read_schema(next((folder / "records").glob("*.parquet")))
