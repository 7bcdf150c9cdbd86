"""Benchmark of the streaming ETL beside its references, on the same documents: `make bench JOB=streaming_etl`.

With the database, documents of a BSON file into the 15 tables with foreign keys, a transaction a batch:
- `limit`: COPY payloads made before, loaded by two processes, without upsert or books: what PostgreSQL can take;
- `ours`: the job's load over two connections, upsert and books on, four workers so that one batch is transformed
  while another loads; `ours again`: the same documents once more, so that every one replaces what is there;
- `execute_values`: what people write: decode with pymongo, rows as tuples, `execute_values` a table, one process.
In memory, both records by batch size, workers and pipelines, with making the records counted and not.

Rounds run all ways one after the other in random order; a ratio is taken within a round. Start-up, compilation
and making the file are left out on all sides.

Options: --rounds N (5), --documents N (10,000), --only tables | memory.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import bson
import psycopg2
import psycopg2.sql
from benchmarks.record import Figures
from psycopg2.extras import execute_values

from pipeline_jobs.streaming_etl.bson_file import BsonFile
from pipeline_jobs.streaming_etl.connection_pool import connect
from pipeline_jobs.streaming_etl.load import Target, load
from pipeline_jobs.streaming_etl.mapping import Mapping, Table, tables_below
from pipeline_jobs.streaming_etl.memory import MemoryWork
from pipeline_jobs.streaming_etl.settings import BatchSize, Settings
from pipeline_jobs.streaming_etl.tables import create_tables, empty_tables
from pipeline_jobs.streaming_etl.target import TableWorker
from pipeline_jobs.streaming_etl.transcoder import Transcoder
from pipeline_jobs.streaming_etl.workload import Options, make_users
from pipeline_tuner.local.postgres import PostgresServer

WRITERS = 2
BATCH = 1000
PART_OF_EXECUTE_VALUES = 4
"""The slow reference loads one in this many documents, at the same rate."""


@dataclass(frozen=True)
class Bench:
    """The documents and where they go."""

    uri: str
    mapping: Mapping
    file: Path
    documents: int
    payloads: Path

    def limit(self) -> float:
        """Documents a second of raw COPY by two processes."""
        self._empty()
        context = multiprocessing.get_context("spawn")
        barrier = context.Barrier(WRITERS + 1)
        processes = [
            context.Process(target=_copy_payloads, args=(self.uri, self.mapping, self.payloads, number, barrier))
            for number in range(WRITERS)
        ]
        for process in processes:
            process.start()
        barrier.wait()
        start = time.monotonic()
        barrier.wait()
        seconds = time.monotonic() - start
        for process in processes:
            process.join()
        self._check()
        return self.documents / seconds

    def ours(self) -> float:
        """Documents a second of the job's load into empty tables."""
        self._empty()
        return self._load("first")

    def ours_again(self) -> float:
        """Documents a second where all are there already; needs a load before."""
        self.ours()
        return self._load("again")

    def execute_values(self) -> float:
        """Documents a second of a plain loop."""
        self._empty()
        count = self.documents // PART_OF_EXECUTE_VALUES
        with closing(psycopg2.connect(self.uri)) as connection, self.file.open("rb") as file:
            start = time.monotonic()
            documents = islice(bson.decode_file_iter(file), count)
            while batch := list(islice(documents, BATCH)):
                rows: dict[str, list[tuple[Any, ...]]] = {table.name: [] for table in self.mapping.tables}
                for document in batch:
                    _add_rows(self.mapping, self.mapping.root, document, (document["_id"],), rows)
                with connection.cursor() as cursor:
                    for table in self.mapping.tables:
                        columns = ", ".join(self.mapping.column_names(table))
                        statement = f"INSERT INTO {table.name} ({columns}) VALUES %s ON CONFLICT DO NOTHING"
                        execute_values(cursor, statement, rows[table.name], page_size=BATCH)
                connection.commit()
            return count / (time.monotonic() - start)

    def _load(self, job: str) -> float:
        settings = Settings(batch_size=BATCH, worker_num=2 * WRITERS, pool_size=WRITERS, batch_bytes=64 * 1024 * 1024)
        start = time.monotonic()
        load(BsonFile(self.file), Target(self.uri, self.mapping), settings, job=job)
        seconds = time.monotonic() - start
        self._check()
        return self.documents / seconds

    def _check(self) -> None:
        with closing(psycopg2.connect(self.uri)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM users")
            if cursor.fetchone() != (self.documents,):
                raise RuntimeError("not every document arrived")

    def _empty(self) -> None:
        with closing(psycopg2.connect(self.uri)) as connection:
            create_tables(connection, self.mapping, "public")
            empty_tables(connection, self.mapping, "public")
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("CHECKPOINT")


def _copy_payloads(uri: str, mapping: Mapping, folder: Path, number: int, barrier: Barrier) -> None:
    """One process of the limit: its share of the batches, read into memory before the start."""
    batches = sorted(folder.glob("batch-*"))[number::WRITERS]
    loaded = [[(path.name, memoryview(path.read_bytes())) for path in sorted(batch.iterdir())] for batch in batches]
    connection = connect(uri)
    worker = TableWorker.__new__(TableWorker)
    barrier.wait()
    for batch in loaded:
        with connection.cursor() as cursor:
            for name, payload in batch:
                table = mapping.by_name[name.split("-", 1)[1]]
                identifier = psycopg2.sql.Identifier("public", table.name)
                worker._copy(cursor, identifier, mapping.column_names(table), payload)
        connection.commit()
    barrier.wait()
    connection.close()


def _write_payloads(file: Path, mapping: Mapping, folder: Path) -> None:
    transcoder = Transcoder(mapping)
    pieces = BsonFile(file).open(BsonFile(file).ranges(1)[0], None).pieces(BatchSize(Settings(batch_size=BATCH)))
    for number, piece in enumerate(pieces):
        batch = folder / f"batch-{number:05}"
        batch.mkdir()
        for order, (table, payload) in enumerate(
            zip(mapping.tables, transcoder.encode(piece.records).payloads, strict=True)
        ):
            (batch / f"{order:02}-{table.name}").write_bytes(payload)


def _add_rows(
    mapping: Mapping, table: Table, document: Any, key: tuple[Any, ...], rows: dict[str, list[tuple[Any, ...]]]
) -> None:
    values = tuple(_value(document, column.path) for column in table.columns)
    rows[table.name].append(values if table is mapping.root else key + values)
    for child in tables_below(mapping, table):
        below = _value(document, child.path)
        if child.ordinal is None:
            if below is not None:
                _add_rows(mapping, child, below, key, rows)
        else:
            for number, item in enumerate(below or (), 1):
                _add_rows(mapping, child, item, (*key, number), rows)


def _value(document: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        document = document.get(name) if document is not None else None
    return document


MEMORY = {
    f"{record}, batch {batch}, {workers} workers, {pipelines} pipelines{', made before' if made else ''}": (
        MemoryWork(record, "own", count // pipelines, made_before=made),
        Settings(batch_size=batch, worker_num=workers, manager_worker_num=pipelines),
    )
    for record, batches, count in (
        ("compact", (128, 1024, 4096, 16384), 2_000_000),
        ("heavy", (4, 16, 50, 100), 20_000),
    )
    for batch in batches
    for workers, pipelines in ((1, 1), (2, 1), (4, 1), (1, 2))
    for made in (False, True)
}


def in_memory(name: str) -> float:
    """Records a second of one in-memory run."""
    work, settings = MEMORY[name]
    gc.collect()
    start = time.monotonic()
    _, sums = work.run(settings, threading.Event())
    seconds = time.monotonic() - start
    expected = work.records * settings.manager_worker_num
    if sums.records != expected:
        raise RuntimeError(f"{sums.records} records arrived, not {expected}")
    if not work.made_before and sums.numbers != work.expected_numbers() * settings.manager_worker_num:
        raise RuntimeError("the records that arrived are not those that were to be made")
    return sums.records / seconds


def main() -> None:
    """Run the rounds, print the tables, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--only", choices=("tables", "memory"))
    arguments = parser.parse_args()
    figures = Figures("streaming_etl")
    if arguments.only != "memory":
        _tables(figures, arguments.rounds, arguments.documents)
    if arguments.only != "tables":
        _memory(figures, arguments.rounds)


def _tables(figures: Figures, rounds: int, documents: int) -> None:
    for bench in _bench(documents):
        ways: dict[str, Callable[[], float]] = {
            "limit": bench.limit,
            "ours": bench.ours,
            "ours again": bench.ours_again,
            "execute_values": bench.execute_values,
        }
        rates = _rounds(ways, rounds)
    print(f"\n{documents:,} documents of a BSON file into 15 tables, {WRITERS} writers, batches of {BATCH}")
    print(f"{'way':<16}{'documents/s':>12}{'lowest':>9}{'highest':>9}   to the limit")
    for name, values in rates.items():
        figures.add(f"{name.replace(' ', '_')}_documents_per_s", values, "documents/s")
        spread = _spread(_ratios(values, rates["limit"]))
        print(f"{name:<16}{statistics.median(values):>12,.0f}{min(values):>9,.0f}{max(values):>9,.0f}   {spread}")
    figures.add("tables_vs_copy_limit", _ratios(rates["ours"], rates["limit"]), "ratio")
    figures.add("tables_vs_execute_values", _ratios(rates["ours"], rates["execute_values"]), "ratio")
    print(f"ours to execute_values: {_spread(_ratios(rates['ours'], rates['execute_values']))}")


def _bench(documents: int) -> Iterator[Bench]:
    """A server, a file and payloads that are gone afterwards. The server is durable, as it is by default."""
    with tempfile.TemporaryDirectory(prefix="bench-etl-") as folder:
        os.chmod(folder, 0o755)
        server = PostgresServer(Path(folder) / "postgres", settings={"max_wal_size": "4GB"})
        try:
            server.start()
            options = Options(documents=documents, folder=str(Path(folder) / "work"))
            mapping = options.load_mapping()
            made = make_users(options, mapping)
            payloads = Path(folder) / "payloads"
            payloads.mkdir()
            _write_payloads(made.path, mapping, payloads)
            yield Bench(server.create_database("bench"), mapping, made.path, documents, payloads)
        finally:
            server.remove()


def _memory(figures: Figures, rounds: int) -> None:
    rates = _rounds({name: (lambda name=name: in_memory(name)) for name in MEMORY}, rounds)
    print(f"\nin memory, records/s: median of {rounds} rounds (lowest to highest)")
    for name, values in rates.items():
        print(f"{name:<60}{statistics.median(values):>14,.0f} ({min(values):,.0f} to {max(values):,.0f})")
    for record in ("compact", "heavy"):
        made_now = {n: v for n, v in rates.items() if n.startswith(record) and not n.endswith("made before")}
        best = max(made_now, key=lambda name: statistics.median(made_now[name]))
        figures.add(f"{record}_records_per_s", made_now[best], "records/s")
        print(f"best with making the records counted: {best}")


def _rounds(ways: dict[str, Callable[[], float]], count: int) -> dict[str, list[float]]:
    """Rates by way; a first round that isn't counted warms everything up."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(count + 1):
        for name in random.Random(number).sample(sorted(ways), len(ways)):
            rate = ways[name]()
            if number:
                rates[name].append(rate)
    return rates


def _ratios(values: list[float], reference: list[float]) -> list[float]:
    return [ours / theirs for ours, theirs in zip(values, reference, strict=True)]


def _spread(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


if __name__ == "__main__":
    main()
