"""Benchmark of the deduplication: every strategy on four shapes of data, beside other engines: `make bench
JOB=dedup`.

Shuffle bytes are the same in every run, so they settle which strategy moves least; times are medians over rounds in
which the ways run one after the other in random order, the hopeless ones in the first two rounds only. All Spark
strategies read the same Parquet files and end in nothing (`noop`); polars and DuckDB do as much on the same files;
PostgreSQL has the rows in a table already. DuckDB runs in every round: the job's own time is held against it. The CPU
is that of Spark's tasks in the JVM: a task's Python worker is not in it.
A line says when not to use Spark at all.

Options: --rows N (2,000,000), --rounds N (16), --shapes NAME..., --no-postgres.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import psycopg2
import pyarrow.parquet as pq
from benchmarks.record import Figures
from tests.temporary_postgres import temporary_postgres

from pipeline_jobs.contract import TrialConfig
from pipeline_jobs.dedup.job import EXTRA_SETTINGS
from pipeline_jobs.dedup.options import dedup_options
from pipeline_jobs.dedup.run_once import deduplicate
from pipeline_jobs.dedup.source_inspection import Inspection
from pipeline_jobs.dedup.trial_data import Data, prepare_data
from pipeline_jobs.event_log import summarise_event_log
from pipeline_jobs.session import close_session, open_session

SHAPES: dict[str, dict[str, Any]] = {
    "unique": {"duplicates": 1.0},
    "5x duplicated": {"duplicates": 5.0},
    "hot key": {"hot_fraction": 0.2},
    "wide rows": {"duplicates": 2.0, "row_bytes": 2000},
}
ROUNDS_OF_ALL, HOPELESS = 2, 1.3
"""After so many rounds, ways that take so many times as long as the fastest are left out."""
WIDE_PART = 0.15
"""Wide rows are ten times as large, so there are fewer."""

WAYS: dict[str, dict[str, Any]] = {
    "auto": {"strategy": "auto"},
    "columnar": {"strategy": "columnar"},
    "window": {"strategy": "window", "group_limit": False},
    "window, group limit": {"strategy": "window", "group_limit": True},
    "max_by": {"strategy": "max_by"},
    "salted": {"strategy": "salted"},
    "semi_join": {"strategy": "semi_join"},
    "baseline": {"strategy": "baseline", "window_partitions": 75},
}
DUCKDB = "DuckDB"
WARM_UP = ("window", "columnar")
"""Run once before the clock: one starts the JVM's code, one the Python worker."""
SPARK = {"master": "local[2]", "driver_memory": "3g", "shuffle_partitions": 8}
COLUMNS = "id, changed, version, status, amount, payload"
ORDER = "changed DESC NULLS LAST, version DESC NULLS LAST, status DESC, amount DESC, payload DESC"


@dataclass
class Table:
    """Figures of one shape: seconds and shuffle bytes by way."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    cpu_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    shuffled: dict[str, float] = field(default_factory=dict)
    chosen: str = ""
    probe_s: list[float] = field(default_factory=list)
    """Seconds that `auto` took to sample."""

    def median_s(self, way: str) -> float:
        """Median seconds of a way."""
        return statistics.median(self.seconds[way])

    def best_bytes(self) -> float:
        """The fewest bytes that any strategy shuffled."""
        return min(self.shuffled[way] for way in WAYS if way != "auto")

    @property
    def fastest(self) -> str:
        """The strategy of Spark with the best median time, among those that ran in every round."""
        every = [way for way in WAYS if way != "auto" and len(self.seconds[way]) == len(self.seconds["auto"])]
        return min(every, key=self.median_s)

    def best_s(self) -> float:
        """The median seconds of Spark's fastest strategy."""
        return self.median_s(self.fastest)

    def auto_against_best_s(self) -> list[float]:
        """In each round, auto's time over that of the strategy with the best median."""
        return [auto / other for auto, other in zip(self.seconds["auto"], self.seconds[self.fastest], strict=True)]

    def auto_against_best_bytes(self) -> float:
        """auto's bytes over the fewest; 1 where nothing at all was shuffled."""
        best = self.best_bytes()
        return self.shuffled["auto"] / best if best else 1.0 if not self.shuffled["auto"] else math.inf

    def auto_against_duckdb_s(self) -> list[float]:
        """In each round, auto's time over DuckDB's."""
        return [auto / other for auto, other in zip(self.seconds["auto"], self.seconds[DUCKDB], strict=True)]

    def hopeful(self) -> list[str]:
        """Auto, DuckDB, and the strategies that the rounds so far don't rule out as the fastest of Spark's."""
        limit = HOPELESS * min(self.median_s(way) for way in WAYS if way != "auto")
        return [*(way for way in WAYS if way == "auto" or self.median_s(way) <= limit), DUCKDB]


def main(argv: list[str] | None = None) -> None:
    """Measure, print a table a shape, and write build/bench/dedup.jsonl."""
    options = _options(argv)
    tables = {}
    with tempfile.TemporaryDirectory(prefix="bench-dedup-") as name:
        for shape in options.shapes:
            data = _data(shape, options.rows, Path(name))
            tables[shape] = _measure(data, options.rounds, with_postgres=not options.no_postgres)
            _print(shape, tables[shape], data)
    _record(tables)


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=16)
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--no-postgres", action="store_true")
    return parser.parse_args(argv)


def _data(shape: str, rows: int, folder: Path) -> Data:
    wanted = round(rows * WIDE_PART) if shape == "wide rows" else rows
    workload = {"data": "generated", "generator": {**SHAPES[shape], "rows": wanted}, "folder": str(folder)}
    return prepare_data(TrialConfig("dedup", "bench", {}, {**workload, "target": {"kind": "none"}}))


def _measure(data: Data, rounds: int, *, with_postgres: bool) -> Table:
    table, marks = Table(), []
    order = random.Random(1)
    with tempfile.TemporaryDirectory() as log, _postgres(data, wanted=with_postgres) as others:
        spark = open_session("bench", SPARK, extra=EXTRA_SETTINGS, event_log_dir=log)
        ways: dict[str, Callable[[], Any]] = {way: lambda way=way: _spark(spark, data, way) for way in WAYS}
        ways |= {DUCKDB: lambda: _duckdb(data), "polars": lambda: _polars(data), **others}
        for way in WARM_UP:
            _spark(spark, data, way)
        for number in range(rounds):
            running = list(ways) if number < ROUNDS_OF_ALL else table.hopeful()
            for way in order.sample(running, len(running)):
                since = time.time()
                started = time.monotonic()
                outcome = ways[way]()
                table.seconds[way].append(time.monotonic() - started)
                marks.append((way, since, time.time()))
                if way == "auto":
                    limited = outcome.choice.strategy == "window" and outcome.choice.group_limit
                    table.probe_s.append(outcome.choice.took_s)
                    table.chosen = outcome.choice.strategy + (", group limit" if limited else "")
        close_session(spark)
        for way, since, until in marks:
            if way in WAYS:
                figures = summarise_event_log(log, since=since - 0.001, until=until)
                table.shuffled[way] = figures["shuffle_write_bytes"]
                table.cpu_s[way].append(figures["executor_cpu_s"])
    return table


def _spark(spark: Any, data: Data, way: str) -> Any:
    config = TrialConfig("dedup", "bench", WAYS[way], {**data.workload, "target": {"kind": "none"}})
    return deduplicate(spark, data.source, dedup_options(config), config, Inspection())


def _duckdb(data: Data) -> None:
    with duckdb.connect(config={"threads": 2}) as db:
        db.execute("SET TimeZone = 'UTC'")
        db.execute(
            f"CREATE TABLE latest AS SELECT {COLUMNS} FROM read_parquet('{data.source.path}/*.parquet') "
            f"WHERE id IS NOT NULL QUALIFY row_number() OVER (PARTITION BY id ORDER BY {ORDER}) = 1"
        )


def _polars(data: Data) -> None:
    order = COLUMNS.split(", ")[1:]
    records = pl.scan_parquet(f"{data.source.path}/*.parquet").filter(pl.col("id").is_not_null())
    records.sort(order, descending=True, nulls_last=True).unique("id", keep="first").collect()


@contextmanager
def _postgres(data: Data, *, wanted: bool) -> Iterator[dict[str, Callable[[], Any]]]:
    """PostgreSQL with the rows in a table, as a way to measure."""
    if not wanted:
        yield {}
        return
    with temporary_postgres(settings={"fsync": "off", "full_page_writes": "off", "work_mem": "256MB"}) as server:
        uri = server.create_database("bench")
        _load(uri, data)
        yield {"PostgreSQL": lambda: _distinct_on(uri)}


def _load(uri: str, data: Data) -> None:
    import pyarrow.csv as csv

    with psycopg2.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE UNLOGGED TABLE records (id bigint, changed timestamptz, version int, status text, amount bigint, "
            "payload text)"
        )
        for file in sorted(Path(data.source.path).glob("*.parquet")):
            with tempfile.TemporaryFile() as lines:
                csv.write_csv(pq.read_table(file), lines, csv.WriteOptions(include_header=False))
                lines.seek(0)
                cursor.copy_expert("COPY records FROM STDIN (FORMAT csv)", lines)
    connection.close()


def _distinct_on(uri: str) -> None:
    with psycopg2.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute("SET TimeZone = 'UTC'; DROP TABLE IF EXISTS latest")
        cursor.execute(
            f"CREATE UNLOGGED TABLE latest AS SELECT DISTINCT ON (id) {COLUMNS} FROM records WHERE id IS NOT NULL "
            f"ORDER BY id, {ORDER}"
        )
    connection.close()


def _print(shape: str, table: Table, data: Data) -> None:
    size = data.fingerprint["bytes"] / 1e6
    print(f"\n{shape}: {data.rows:,} rows, {size:.0f} MB of Parquet; auto took {table.chosen}")
    ratios = sorted(table.auto_against_best_s())
    print(
        f"auto / {table.fastest} by time: {statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f}) in "
        f"{len(ratios)} rounds; sampling took {statistics.median(table.probe_s):.2f} s"
    )
    against = sorted(table.auto_against_duckdb_s())
    print(f"auto / DuckDB by time: {statistics.median(against):.3f} ({against[0]:.3f} to {against[-1]:.3f})")
    print(f"{'way':<22}{'shuffle MB':>11}{'of baseline':>12}{'s':>8}{'lowest':>8}{'highest':>8}{'runs':>6}{'CPU s':>8}")
    for way in table.seconds:
        moved = table.shuffled.get(way)
        parts = f"{moved / 1e6:>11.1f}{moved / table.shuffled['baseline']:>12.2f}" if moved is not None else " " * 23
        cpu = f"{statistics.median(table.cpu_s[way]):>8.1f}" if way in table.cpu_s else ""
        low, high = min(table.seconds[way]), max(table.seconds[way])
        print(f"{way:<22}{parts}{table.median_s(way):>8.2f}{low:>8.2f}{high:>8.2f}{len(table.seconds[way]):>6}{cpu}")
    single = min((way for way in table.seconds if way not in WAYS), key=table.median_s, default=None)
    if single and table.median_s(single) < table.best_s():
        share = table.median_s(single) / table.best_s()
        print(f"On one machine {single} needs {share:.2f} of Spark's best time: use it there.")


def _record(tables: dict[str, Table]) -> None:
    figures = Figures("dedup")
    for shape, name in (("unique", "unique"), ("5x duplicated", "5x")):
        if shape in tables:
            shuffled = tables[shape].shuffled
            figures.add(f"shuffle_vs_baseline_{name}", [shuffled["auto"] / shuffled["baseline"]], "ratio of bytes")
    if tables:
        worst = max(table.auto_against_best_bytes() for table in tables.values())
        slowest = max(tables.values(), key=lambda table: statistics.median(table.auto_against_best_s()))
        figures.add("auto_vs_best", [worst], "ratio of bytes, worst shape")
        figures.add("auto_vs_best_time", slowest.auto_against_best_s(), "ratio of times, worst shape")
        farthest = max(tables.values(), key=lambda table: statistics.median(table.auto_against_duckdb_s()))
        figures.add("time_vs_duckdb", farthest.auto_against_duckdb_s(), "ratio of times, worst shape")


if __name__ == "__main__":
    main()
