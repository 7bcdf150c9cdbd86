"""Generated tables by every way, under three servers' settings: what arrives is exact, or refused before any row."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.jobs.migration_case import Case, TasksHere
from tests.jobs.migration_oracle import (
    COPY,
    OWN_TYPES,
    ZONES,
    Generated,
    Place,
    base,
    cases,
    quoted,
    says_the_same,
)

from pipeline_jobs.migration import job
from pipeline_tuner.local.postgres import PostgresServer
from pipeline_tuner.measurement import Measurement

ODD = ("intervalstyle = sql_standard", "datestyle = 'SQL, DMY'", "bytea_output = escape", "extra_float_digits = -5")


@dataclass(frozen=True)
class World:
    """What the two databases and the job's process are set to."""

    zone: str
    source: tuple[str, ...] = ()
    target: tuple[str, ...] = ()
    encoding: str = "UTF8"
    """The source's; the target's is UTF8."""


WORLDS = (
    World("UTC"),
    World("America/St_Johns", source=("timezone = 'Asia/Kolkata'", *ODD), target=("timezone = 'America/New_York'",)),
    World(
        "Asia/Kolkata",
        source=("timezone = 'America/New_York'",),
        target=("timezone = 'Pacific/Apia'", "xmloption = document", *ODD),
        encoding="LATIN1",
    ),
)


@pytest.fixture
def tasks_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The job's tasks run in this process, without Spark."""

    @contextmanager
    def opened(*_: Any) -> Iterator[TasksHere]:
        yield TasksHere()

    monkeypatch.setattr(job, "_session", opened)
    monkeypatch.setattr(job, "record_stages", lambda *_: None)


@pytest.fixture
def process_zone() -> Iterator[Callable[[str], None]]:
    """Sets the zone of this process."""
    before = os.environ.get("TZ")

    def set_zone(name: str) -> None:
        os.environ["TZ"] = name
        time.tzset()

    yield set_zone
    os.environ.pop("TZ", None)
    os.environ |= {} if before is None else {"TZ": before}
    time.tzset()


def make_case(postgres: PostgresServer, new_database: Callable[..., str], world: World, folder: Path) -> Case:
    """A pair of databases with the world's settings and types of their own; `regclass`es find a table in each."""
    case = Case(new_database("source"), new_database("target"), folder)
    if world.encoding != "UTF8":
        name = case.source.rpartition("/")[2]
        postgres.drop_database(name)
        with postgres.cursor() as cursor:
            cursor.execute(
                f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{world.encoding}' "
                "LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C'"
            )
    case.sql("target", "CREATE TABLE first_here ()")  # the types' and tables' numbers differ
    case.both(OWN_TYPES, "CREATE TABLE landmark ()")
    for side, settings in (("source", world.source), ("target", world.target)):
        name = getattr(case, side).rpartition("/")[2]
        case.sql(side, *(f"ALTER DATABASE {name} SET {setting}" for setting in settings))
    return case


def differing(case: Case, world: World, ways: Sequence[dict[str, Any]], count: int, seed: int) -> list[str]:
    """What the job did otherwise than the oracle says, case by case."""

    def encodable(text: str) -> bool:
        try:
            return bool(text.encode(world.encoding)) or True
        except UnicodeEncodeError:
            return False

    wrong = []
    for generated in cases(count, seed, ways, encodable):
        case.sql("source", *generated.source)
        case.sql("target", *generated.target)
        case.trial_id = f"t{generated.number}"
        named = {} if generated.is_trial else {"run_id": f"r{generated.number}"}
        measurement = case.run(generated.configuration, generated.workload | named)
        reason = problem(case, generated, measurement)
        wrong += [f"{generated.summary}\n  {reason}"] if reason else []
    return wrong


def problem(case: Case, generated: Generated, measurement: Measurement) -> str:
    """What is wrong with what became of a case; '' for nothing."""
    if measurement.failure is not None:
        return refusal_problem(case, generated, measurement.failure.kind, measurement.failure.reason)
    if measurement.failed_checks:
        return f"failed checks {measurement.failed_checks}: {rows_problem(case, generated, 0)}"
    if generated.is_trial:
        return trial_problem(case, generated, measurement)
    found = rows_problem(case, generated, int(measurement.metrics["rejected_rows"]))
    return found or (repair_problem(case, generated) if generated.is_repaired else "")


def repair_problem(case: Case, generated: Generated) -> str:
    """A row that went and one whose values changed come back by `autocorrect`."""
    table = quoted(generated.target_table)
    (rows,) = case.sql("target", f"SELECT count(*) FROM {table}")[0]
    changed = next((p for p in generated.places if p.sql not in generated.source[0].partition("PRIMARY KEY")[2]), None)
    case.sql("target", f"DELETE FROM {table} WHERE ctid = (SELECT min(ctid) FROM {table})")
    if changed is not None:
        case.sql("target", f"UPDATE {table} SET {changed.sql} = NULL WHERE ctid = (SELECT max(ctid) FROM {table})")
    workload = generated.workload | {"run_id": f"r{generated.number}", "autocorrect": True}
    measurement = case.run(generated.configuration, workload)
    if measurement.failure is not None:
        return f"repair failed: {measurement.failure}" if rows else ""
    return f"after repair: {found}" if (found := rows_problem(case, generated, 0)) else ""


def trial_problem(case: Case, generated: Generated, measurement: Measurement) -> str:
    """A trial compares by itself: it must have moved every row, and leaves nothing."""
    (rows,) = case.sql("source", f"SELECT count(*) FROM {quoted(generated.table)}")[0]
    moved = measurement.metrics["rows"] + measurement.metrics["rejected_rows"]
    left = case.sql("target", "SELECT relname FROM pg_class WHERE relname LIKE '%\\_\\_trial\\_%'")
    kept = case.sql("target", f"SELECT count(*) FROM {quoted(generated.target_table)}")[0][0]
    return "" if moved == rows and not left and not kept else f"{moved} of {rows} rows moved, left: {left}, {kept}"


def refusal_problem(case: Case, generated: Generated, kind: str, reason: str) -> str:
    if kind != "bad_configuration" or "\n" in reason:
        return f"not refused in one line, but {kind}: {reason}"
    if landed(case, generated):
        return f"refused after rows had been written: {reason}"
    if all(stays(case, generated, place) for place in generated.places) and not is_known_limit(generated, reason):
        return f"refused though every value fits: {reason}"
    return ""


def landed(case: Case, generated: Generated) -> int:
    """Rows on the target; a table that was not there must not be there now."""
    name = quoted(generated.target_table)
    ((there,),) = case.sql("target", f"SELECT to_regclass({literal(name)}) IS NOT NULL")
    if not generated.target:
        return int(there)
    return int(case.sql("target", f"SELECT count(*) FROM {name}")[0][0])


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def is_known_limit(generated: Generated, reason: str) -> bool:
    """What docs/migration.md says that a way can't do."""
    has_quote = any('"' in place.name for place in generated.places)
    return generated.configuration["method"] == "jdbc" and has_quote and "use method 'copy'" in reason


SESSION = (
    "SET datestyle = 'ISO, MDY'; SET intervalstyle = postgres; SET timezone = 'UTC'; SET extra_float_digits = 1; "
    "SET bytea_output = hex; SET client_encoding = 'UTF8'"
)


def stays(case: Case, generated: Generated, place: Place) -> bool:
    """Whether PostgreSQL's own cast keeps every value of a column."""
    if place.kind == place.target_kind:
        return True
    if (base(place.kind) in ZONES) != (base(place.target_kind) in ZONES) and place.target_kind != "text":
        return False
    if (place.kind, place.target_kind) == ("timestamp", "time"):
        return False  # there is no way back by which a value could be held against itself
    if place.kind.startswith("reg") and place.target_kind in ("oid", "bigint"):
        return False
    query = f"SELECT {place.sql}::text, {place.sql}::{place.target_kind}::text FROM {quoted(generated.table)}"
    try:
        rows = case.sql("source", SESSION, query)
    except Exception:
        return False
    return all(says_the_same(place, *row) for row in rows)


def rows_problem(case: Case, generated: Generated, rejected: int) -> str:
    """Each row of the source must be on the target, once, and no other."""
    listed = ", ".join(f"{place.sql}::text" for place in generated.places)
    source, target = (
        case.sql(side, SESSION, f"SELECT {listed} FROM {quoted(name)}")
        for side, name in (("source", generated.table), ("target", generated.target_table))
    )
    missing = []
    for row in source:
        match = next((other for other in target if is_same_row(generated, row, other)), None)
        if match is None:
            missing.append(row)
        else:
            target.remove(match)
    may_reject = any(
        place.target_kind in ("mood", "code") and place.kind != place.target_kind for place in generated.places
    )
    if len(missing) == rejected and not target and (may_reject or not rejected):
        return ""
    return f"missing {str(missing)[:300]}, instead {str(target)[:300]}, rejected {rejected}"


def is_same_row(generated: Generated, row: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return all(map(says_the_same, generated.places, row, other))


Databases = Callable[..., str]
worlds = pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.zone)


def numbers_of_tables(few: int, many: int, *, seed: int) -> pytest.MarkDecorator:
    """How many tables a test generates and from which seed: few in each run, many as a soak test."""
    soak = pytest.param(many, seed + 1, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])
    return pytest.mark.parametrize(("tables", "seed"), [(few, seed), soak])


@worlds
@numbers_of_tables(24, 200, seed=1)
def test_generated_tables_arrive_exactly_by_copy_or_are_refused(
    postgres: PostgresServer,
    new_database: Databases,
    tasks_here: None,
    process_zone: Callable[[str], None],
    tmp_path: Path,
    world: World,
    tables: int,
    seed: int,
) -> None:
    process_zone(world.zone)
    wrong = differing(make_case(postgres, new_database, world, tmp_path), world, COPY, tables, seed=seed)
    assert not wrong, "\n".join(wrong)
