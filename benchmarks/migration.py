"""Benchmark of the migration beside its references, on the same rows in the same run: `make bench JOB=migration`.

References: as many `psql | psql` pipes of binary COPY as there are cores, pgcopydb with as many jobs where that is
installed (a line says so where it is not), and plain Spark JDBC at its defaults.
Rounds run all ways one after the other in random order; a ratio is taken within a round, so that a machine that
slows down slows both sides. Start-up is left out on all sides; indexes, transactions and durability are alike.
The job's own books (a transaction and two state changes a range) are part of its time.

JDBC takes ten times as long as COPY, so not every round runs all of it: the first one all presets, the third and
fifth only the two fastest. All of them stand in the table, with the rounds that they were run in.

Options: --rounds N (5), --copies N of the 336,776 flights (3), --only NAME... of the ways.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import psycopg2
from benchmarks.record import Figures
from tests.temporary_postgres import temporary_postgres

from pipeline_jobs.contract import MeasurementWriter, TrialConfig
from pipeline_jobs.migration.job import run
from pipeline_jobs.postgres import jdbc_connection
from pipeline_jobs.session import close_session, open_session
from pipeline_tuner.local import demo_data

CORES = len(os.sched_getaffinity(0))
TABLE = "flights_many"

COPIES = {
    "copy": {"method": "copy", "partitions": 4 * CORES, "parallelism": CORES},
    "copy, 16 tasks": {"method": "copy", "partitions": 16, "parallelism": 16},
}
PRESETS = {
    "jdbc defaults": {"method": "jdbc", "partitions": CORES, "batch_size": 1000, "fetch_size": 0},
    "jdbc conservative": {"method": "jdbc", "partitions": 12, "parallelism": 12, "batch_size": 50, "fetch_size": 2000},
    "jdbc balanced": {"method": "jdbc", "partitions": 18, "parallelism": 18, "batch_size": 75, "fetch_size": 3000},
    "jdbc aggressive": {"method": "jdbc", "partitions": 24, "parallelism": 24, "batch_size": 100, "fetch_size": 5000},
    "jdbc previous best": {"method": "jdbc", "partitions": 40, "parallelism": 40, "batch_size": 50, "fetch_size": 2000},
    "jdbc fine-tuned": {"method": "jdbc", "partitions": 20, "parallelism": 20, "batch_size": 100, "fetch_size": 5000},
    "jdbc few, large": {"method": "jdbc", "partitions": CORES, "batch_size": 1000, "fetch_size": 5000},
    "jdbc larger": {"method": "jdbc", "partitions": 8, "parallelism": 2, "batch_size": 5000, "fetch_size": 10000},
}
"""The documents' presets with this machine's cores and one driver memory, and three more for a fair rival."""

PLAIN = "plain Spark JDBC"
PGCOPYDB = "pgcopydb"
NOTHING = "bench_nothing"
"""An empty table on both sides: what a program takes to start."""
RIVALS = 2
"""So many JDBC presets, the fastest of the first round, are run in further ones."""

WARMUP_FRACTION = 0.05

Way = Callable[[float], float]
"""Moves a part of the rows (its argument), and returns the seconds that it took."""

Seconds = dict[str, dict[int, float]]
"""Of a way, by the number of the round."""


@dataclass(frozen=True)
class Bench:
    """Where the rows are."""

    source: str
    target: str
    rows: int

    def job(self, configuration: dict[str, object], fraction: float) -> float:
        """Seconds of one trial of the job, after its warm-up. Raises RuntimeError where its output is wrong."""
        full = {"cores": CORES, "driver_memory": "4g", **configuration}
        connections = {"source": "BENCH_SOURCE", "target": "BENCH_TARGET"}
        os.environ |= {"BENCH_SOURCE": self.source, "BENCH_TARGET": self.target}
        config = TrialConfig("migration", "bench", full, {"table": TABLE}, connections, fraction)
        writer = MeasurementWriter(config, "unused")
        run(config, writer)
        wrong = [check for check in writer.checks if not check["passed"]]
        if wrong:
            raise RuntimeError(f"wrong output: {wrong}")
        return writer.counted_samples[0].duration_s

    def pipes(self, fraction: float) -> float:
        """Seconds of the raw pipes, without the time that connecting takes."""
        self._empty_target()
        idle = min(
            _pipe_seconds([("COPY (SELECT WHERE false) TO STDOUT", "COPY bench_target FROM STDIN")] * CORES, self)
            for _ in range(3)
        )
        bounds = [int(self.rows * fraction) * i // CORES for i in range(CORES + 1)]
        commands = [
            (
                f"COPY (SELECT * FROM {TABLE} WHERE {low} < flight_id AND flight_id <= {high}) TO STDOUT BINARY",
                "COPY bench_target FROM STDIN (FORMAT binary)",
            )
            for low, high in pairwise(bounds)
        ]
        return _pipe_seconds(commands, self) - idle

    def pgcopydb(self, _fraction: float) -> float:
        """Seconds of `pgcopydb copy table-data`, without the time that it takes for an empty table; always all rows."""
        with psycopg2.connect(self.target) as connection, connection.cursor() as cursor:
            cursor.execute(f"TRUNCATE {TABLE}")
        idle = min(_pgcopydb_seconds(NOTHING, self) for _ in range(3))
        seconds = _pgcopydb_seconds(TABLE, self) - idle
        with psycopg2.connect(self.target) as connection, connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM {TABLE}")
            if cursor.fetchone() != (self.rows,):
                raise RuntimeError("pgcopydb did not copy all rows")
        return seconds

    def plain_spark(self, fraction: float) -> float:
        """Seconds of `read.jdbc` and `write.jdbc` with no options at all."""
        self._empty_target()
        spark = open_session("plain", {"master": f"local[{CORES}]", "driver_memory": "4g"})
        try:
            reader, writer = (
                jdbc_connection(self.source, {}),
                jdbc_connection(self.target, {"stringtype": "unspecified"}),
            )
            spark.read.format("jdbc").options(
                **reader, dbtable=f"(SELECT * FROM {TABLE} LIMIT 1000) warm"
            ).load().count()
            start = time.monotonic()
            part = f"(SELECT * FROM {TABLE} WHERE flight_id <= {int(self.rows * fraction)}) part"
            frame = spark.read.format("jdbc").options(**reader, dbtable=part if fraction < 1 else TABLE).load()
            frame.write.format("jdbc").mode("append").options(**writer, dbtable="bench_target").save()
            return time.monotonic() - start
        finally:
            close_session(spark)

    def _empty_target(self) -> None:
        with psycopg2.connect(self.target) as connection, connection.cursor() as cursor:
            cursor.execute("TRUNCATE bench_target")


def main() -> None:
    """Run the rounds, print the table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--copies", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[])
    arguments = parser.parse_args()
    with _bench(arguments.copies) as bench:
        ways: dict[str, Way] = {"raw pipe": bench.pipes, PLAIN: bench.plain_spark}
        if shutil.which("pgcopydb"):
            ways[PGCOPYDB] = bench.pgcopydb
        else:
            print("pgcopydb is not installed: left out (Debian's package pgcopydb)", flush=True)
        ways |= {name: partial(bench.job, configuration) for name, configuration in (COPIES | PRESETS).items()}
        ways = {name: way for name, way in ways.items() if not arguments.only or name in arguments.only}
        seconds = _rounds(ways, arguments.rounds)
    _report(seconds, bench.rows)


def _rounds(ways: dict[str, Way], count: int) -> Seconds:
    """A first round that isn't counted, on a small part, starts the JVM and compiles what is slow at first."""
    seconds: Seconds = {name: {} for name in ways}
    for number in range(count + 1):
        names = [name for name in sorted(ways) if number < 2 or _is_wanted(name, number, seconds)]
        for name in random.Random(number).sample(names, len(names)):
            taken = ways[name](1.0 if number else WARMUP_FRACTION)
            print(f"round {number} {name}: {taken:.2f} s", flush=True)
            if number:
                seconds[name][number] = taken
    return seconds


def _is_wanted(name: str, number: int, seconds: Seconds) -> bool:
    """Whether a later round runs the way: COPY always, JDBC every other time and where it has a chance."""
    presets = sorted((preset for preset in PRESETS if preset in seconds), key=lambda preset: seconds[preset][1])
    return name not in {PLAIN, *PRESETS} or (number % 2 == 1 and name in {PLAIN, *presets[:RIVALS]})


def _report(seconds: Seconds, rows: int) -> None:
    figures = Figures("migration")
    reference = seconds.get("raw pipe")
    print(f"\n{rows:,} rows, {CORES} cores; medians; ratio within the rounds that ran both (lowest to highest)")
    print(f"{'way':<20}{'rounds':>7}{'rows/s':>10}{'lowest':>10}{'highest':>10}   to the raw pipe")
    for name, values in sorted(seconds.items(), key=lambda item: _median(item[1])):
        rates = [rows / value for value in values.values()]
        figures.add(f"{re.sub('[ ,]+', '_', name)}.rows_per_s", rates, "rows/s")
        spread = f"{statistics.median(rates):>10,.0f}{min(rates):>10,.0f}{max(rates):>10,.0f}"
        print(f"{name:<20}{len(rates):>7}{spread}   {_ratio(reference, values) if reference else ''}")
    copy, presets = seconds.get("copy"), {name: seconds[name] for name in PRESETS if name in seconds}
    if copy and reference:
        figures.add("copy_vs_raw_pipe", _ratios(reference, copy), "ratio")
    rival = seconds.get(PGCOPYDB)
    if copy and rival:
        value = figures.add("copy_vs_pgcopydb", _ratios(rival, copy), "ratio")
        print(f"copy is {value:.2f} times as fast as pgcopydb")
    if copy and presets:
        best = min(presets, key=lambda name: (-len(presets[name]), _median(presets[name])))
        value = figures.add("copy_vs_best_jdbc", _ratios(presets[best], copy), "ratio")
        print(f"copy is {value:.2f} times as fast as the best jdbc ({best}) in {len(presets[best])} rounds")


def _median(values: Mapping[int, float]) -> float:
    return statistics.median(values.values())


def _ratios(reference: Mapping[int, float], values: Mapping[int, float]) -> list[float]:
    return [reference[number] / values[number] for number in sorted(reference.keys() & values.keys())]


def _ratio(reference: Mapping[int, float], values: Mapping[int, float]) -> str:
    ratios = _ratios(reference, values)
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def _pipe_seconds(commands: list[tuple[str, str]], bench: Bench) -> float:
    """Seconds of `psql -c SEND | psql -c RECEIVE`, all at once."""
    start = time.monotonic()
    processes = []
    for send, receive in commands:
        sender = _psql(bench.source, send, stdout=subprocess.PIPE)
        assert sender.stdout is not None
        processes += [sender, _psql(bench.target, receive, stdin=sender.stdout, stdout=subprocess.DEVNULL)]
        sender.stdout.close()
    if any(process.wait() for process in processes):
        raise RuntimeError("a pipe failed")
    return time.monotonic() - start


def _pgcopydb_seconds(table: str, bench: Bench) -> float:
    """Seconds of a process that copies one table, in parts at once where its version can."""
    with tempfile.TemporaryDirectory(prefix="bench-pgcopydb-") as folder:
        filters = Path(folder) / "filters.ini"
        filters.write_text(f"[include-only-table]\npublic.{table}\n", encoding="ascii")
        command = ["pgcopydb", "copy", "table-data", "--dir", f"{folder}/work", "--filters", str(filters)]
        command += ["--table-jobs", str(CORES), "--not-consistent", *_pgcopydb_split()]
        environment = os.environ | {"PGCOPYDB_SOURCE_PGURI": bench.source, "PGCOPYDB_TARGET_PGURI": bench.target}
        start = time.monotonic()
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        seconds = time.monotonic() - start
    if done.returncode:
        raise RuntimeError(f"pgcopydb failed: {done.stderr.strip()[-500:]}")
    return seconds


def _pgcopydb_split() -> list[str]:
    """What makes it copy parts of a table at once; version 0.10 copies each table whole."""
    shown = subprocess.run(["pgcopydb", "copy", "table-data", "--help"], capture_output=True, text=True, check=False)
    option = "--split-tables-larger-than"
    return [option, "10MB"] if option in shown.stdout + shown.stderr else []


def _psql(uri: str, command: str, **streams: object) -> subprocess.Popen[bytes]:
    """psql itself rather than Debian's wrapper of it, which takes a while to start; the password by environment."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/psql"))
    program = str(found[-1]) if found else shutil.which("psql")
    if program is None:
        raise SystemExit("the reference needs psql on PATH: install postgresql-client")
    password = psycopg2.extensions.parse_dsn(uri)["password"]
    bare = uri.replace(f":{password}@", "@")
    environment = os.environ | {"PGPASSWORD": password}
    return subprocess.Popen(
        [program, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", bare, "-c", command], env=environment, **streams
    )  # type: ignore[call-overload]


@contextmanager
def _bench(copies: int) -> Iterator[Bench]:
    """A server of its own, with the flights several times over."""
    with temporary_postgres() as server:
        demo_data.load(server, "bench_source")
        source, target = server.uri("bench_source"), server.create_database("bench_target")
        rows = _fill(source, target, copies)
        yield Bench(source, target, rows)


def _fill(source: str, target: str, copies: int) -> int:
    with psycopg2.connect(source) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {TABLE} (LIKE flights)")
        cursor.execute(f"ALTER TABLE {TABLE} ADD PRIMARY KEY (flight_id)")
        columns = [name for (name,) in _columns(cursor) if name != "flight_id"]
        listed = ", ".join(columns)
        cursor.execute(
            f"INSERT INTO {TABLE} (flight_id, {listed}) SELECT row_number() OVER (ORDER BY n, flight_id), {listed} "
            f"FROM flights CROSS JOIN generate_series(1, {copies}) n"
        )
        rows = cursor.rowcount
        cursor.execute(f"CREATE TABLE {NOTHING} (LIKE {TABLE} INCLUDING INDEXES)")
        definition = ", ".join(f"{name} {kind}" for name, kind in _columns(cursor, types=True))
    with psycopg2.connect(target) as connection, connection.cursor() as cursor:
        for table in ("bench_target", TABLE, NOTHING):
            cursor.execute(f"CREATE TABLE {table} ({definition}, PRIMARY KEY (flight_id))")
    _vacuum(source)
    return rows


def _columns(cursor: psycopg2.extensions.cursor, *, types: bool = False) -> list[tuple[str, ...]]:
    wanted = "attname, format_type(atttypid, atttypmod)" if types else "attname"
    cursor.execute(
        f"SELECT {wanted} FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum", (TABLE,)
    )
    return cursor.fetchall()


def _vacuum(uri: str) -> None:
    connection = psycopg2.connect(uri)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"VACUUM ANALYZE {TABLE}")
    connection.close()


if __name__ == "__main__":
    main()
