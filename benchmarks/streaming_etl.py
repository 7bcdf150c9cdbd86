"""Benchmark of the streaming ETL beside its references, on the same documents: `make bench JOB=streaming_etl`.

With the database, documents of a BSON file into the 15 tables with foreign keys, a transaction a batch:
- `limit`: COPY payloads made before, loaded by two processes, without upsert or books: what PostgreSQL can take;
- `ours`: the job's load over two connections, upsert and books on, four workers so that one batch is transformed
  while another loads;
- the job's load where all documents are there already: `again, same` as they were; `again, edited`, each with another
  age and one item more; `again, others`, with other values in every row and other numbers of items; `others, anew` are
  these with all rows deleted and written anew, as where an owner has triggers;
- `replacing limit`: the best SQL for `again, others` that we know, from payloads made before by two processes;
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
import re
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import astuple, dataclass, replace
from functools import partial
from itertools import islice
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import bson
import numpy as np
import psycopg2
import psycopg2.sql
from benchmarks.record import Figures
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import execute_values

from pipeline_jobs.streaming_etl import in_place
from pipeline_jobs.streaming_etl.bson_file import BsonFile
from pipeline_jobs.streaming_etl.connection_pool import connect
from pipeline_jobs.streaming_etl.copying import copy_rows
from pipeline_jobs.streaming_etl.load import Target, load
from pipeline_jobs.streaming_etl.mapping import Mapping, Table, tables_below
from pipeline_jobs.streaming_etl.memory import MemoryWork
from pipeline_jobs.streaming_etl.settings import BatchSize, Settings
from pipeline_jobs.streaming_etl.tables import create_tables, empty_tables
from pipeline_jobs.streaming_etl.transcoder import HEADER, TRAILER, Encoded, Transcoder
from pipeline_jobs.streaming_etl.workload import Expected, Options, add_expected, found_sql, make_users
from pipeline_tuner.local.postgres import PostgresServer

WRITERS = 2
BATCH = 1000
PART_OF_EXECUTE_VALUES = 4
"""The slow reference loads one in this many documents, at the same rate."""


@dataclass(frozen=True)
class Source:
    """A file of documents, its COPY payloads by batch, and what it leaves in the tables."""

    path: Path
    payloads: Path
    expected: dict[str, Expected]


@dataclass(frozen=True)
class Bench:
    """The documents and where they go."""

    uri: str
    mapping: Mapping
    documents: int
    file: Source
    edited: Source
    others: Source

    def limit(self) -> float:
        """Documents a second of raw COPY by two processes."""
        self._empty()
        return self._write(_copy_batch, self.file)

    def replacing_limit(self) -> float:
        """Documents a second of the SQL that replaces rows, by two processes; needs a load before."""
        self.ours()
        return self._write(_replace_batch, self.others)

    def ours(self) -> float:
        """Documents a second of the job's load into empty tables."""
        self._empty()
        return self._load("first", self.file)

    def ours_again(self, source: Source) -> float:
        """Documents a second where all are there already; needs a load before."""
        self.ours()
        return self._load("again", source)

    def ours_anew(self) -> float:
        """The same with every row deleted and written anew."""
        self.ours()
        before, in_place.MIN_DOCUMENTS = in_place.MIN_DOCUMENTS, sys.maxsize
        try:
            return self._load("again", self.others)
        finally:
            in_place.MIN_DOCUMENTS = before

    def _write(self, write: WriteBatch, source: Source) -> float:
        context = multiprocessing.get_context("spawn")
        barrier = context.Barrier(WRITERS + 1)
        arguments = (write, self.uri, self.mapping, source.payloads)
        processes = [
            context.Process(target=_write_payloads, args=(*arguments, number, barrier)) for number in range(WRITERS)
        ]
        for process in processes:
            process.start()
        barrier.wait()
        start = time.monotonic()
        barrier.wait()
        seconds = time.monotonic() - start
        for process in processes:
            process.join()
        self._check(source)
        return self.documents / seconds

    def execute_values(self) -> float:
        """Documents a second of a plain loop."""
        self._empty()
        count = self.documents // PART_OF_EXECUTE_VALUES
        with closing(psycopg2.connect(self.uri)) as connection, self.file.path.open("rb") as file:
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

    def _load(self, job: str, source: Source) -> float:
        settings = Settings(batch_size=BATCH, worker_num=2 * WRITERS, pool_size=WRITERS, batch_bytes=64 * 1024 * 1024)
        start = time.monotonic()
        load(BsonFile(source.path), Target(self.uri, self.mapping), settings, job=job)
        seconds = time.monotonic() - start
        self._check(source)
        return self.documents / seconds

    def _check(self, source: Source) -> None:
        with closing(psycopg2.connect(self.uri)) as connection, connection.cursor() as cursor:
            for table in self.mapping.tables:
                cursor.execute(found_sql(self.mapping, table, "public"))
                found = cursor.fetchone()
                if found != astuple(source.expected[table.name]):
                    raise RuntimeError(f"{table.name} has {found}, must have {source.expected[table.name]}")

    def _empty(self) -> None:
        with closing(psycopg2.connect(self.uri)) as connection:
            create_tables(connection, self.mapping, "public")
            empty_tables(connection, self.mapping, "public")
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("CHECKPOINT")


WriteBatch = Callable[[Cursor, Mapping, Sequence[memoryview]], None]
"""Writes a batch's payloads, one per table."""


def _copy_batch(cursor: Cursor, mapping: Mapping, payloads: Sequence[memoryview]) -> None:
    for table, payload in zip(mapping.tables, payloads, strict=True):
        copy_rows(cursor, psycopg2.sql.Identifier("public", table.name), mapping.column_names(table), payload)


def _replace_batch(cursor: Cursor, mapping: Mapping, payloads: Sequence[memoryview]) -> None:
    rows = tuple(int(len(payload) > len(HEADER) + len(TRAILER)) for payload in payloads)
    in_place.InPlace(mapping, "public").replace(cursor, Encoded(tuple(payloads), rows, (), (), np.empty(0)))


def _write_payloads(write: WriteBatch, uri: str, mapping: Mapping, folder: Path, number: int, barrier: Barrier) -> None:
    """One process of a limit: its share of the batches, read into memory before the start."""
    batches = sorted(folder.iterdir())[number::WRITERS]
    loaded = [[memoryview(path.read_bytes()) for path in sorted(batch.iterdir())] for batch in batches]
    connection = connect(uri)
    barrier.wait()
    for batch in loaded:
        with connection.cursor() as cursor:
            write(cursor, mapping, batch)
        connection.commit()
    barrier.wait()
    connection.close()


def _make_payloads(file: Path, mapping: Mapping, folder: Path) -> Path:
    transcoder = Transcoder(mapping)
    pieces = BsonFile(file).open(BsonFile(file).ranges(1)[0], None).pieces(BatchSize(Settings(batch_size=BATCH)))
    for number, piece in enumerate(pieces):
        batch = folder / f"batch-{number:05}"
        batch.mkdir(parents=True)
        for order, payload in enumerate(transcoder.encode(piece.records).payloads):
            (batch / f"table-{order:02}").write_bytes(payload)
    return folder


def _edited(made: Path, mapping: Mapping, path: Path) -> Source:
    """The documents of a file, each with another age and one item more."""
    rows = {table.name: [0, 0, 0] for table in mapping.tables}
    with made.open("rb") as old, path.open("wb") as new:
        for document in bson.decode_file_iter(old):
            document["age"] = 18 + (document["age"] + 1) % 73
            document["activity_log"].append({"action": "edit", "at": document["created_at"]})
            new.write(bson.encode(document))
            add_expected(mapping, mapping.root, document, document["_id"], rows)
    return Source(path, path, {name: Expected(*values) for name, values in rows.items()})


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
            "again, same": partial(bench.ours_again, bench.file),
            "again, edited": partial(bench.ours_again, bench.edited),
            "again, others": partial(bench.ours_again, bench.others),
            "others, anew": bench.ours_anew,
            "replacing limit": bench.replacing_limit,
            "execute_values": bench.execute_values,
        }
        rates = _rounds(ways, rounds)
    print(f"\n{documents:,} documents of a BSON file into 15 tables, {WRITERS} writers, batches of {BATCH}")
    print(f"{'way':<16}{'documents/s':>12}{'lowest':>9}{'highest':>9}   to the limit")
    for name, values in rates.items():
        figures.add(f"{re.sub('[ ,]+', '_', name)}_documents_per_s", values, "documents/s")
        spread = _spread(_ratios(values, rates["limit"]))
        print(f"{name:<16}{statistics.median(values):>12,.0f}{min(values):>9,.0f}{max(values):>9,.0f}   {spread}")
    figures.add("tables_vs_copy_limit", _ratios(rates["ours"], rates["limit"]), "ratio")
    for name in ("same", "edited", "others"):
        figures.add(f"again_{name}_vs_copy_limit", _ratios(rates[f"again, {name}"], rates["limit"]), "ratio")
    limit = _ratios(rates["again, others"], rates["replacing limit"])
    figures.add("again_others_vs_replacing_limit", limit, "ratio")
    print(f"again, others to the replacing limit: {_spread(limit)}")
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
            file, others = (_made(replace(options, seed=seed), mapping, Path(folder)) for seed in (1, 2))
            edited = _edited(file.path, mapping, Path(folder) / "edited.bson")
            yield Bench(server.create_database("bench"), mapping, documents, file, edited, others)
        finally:
            server.remove()


def _made(options: Options, mapping: Mapping, folder: Path) -> Source:
    made = make_users(options, mapping)
    payloads = _make_payloads(made.path, mapping, folder / f"payloads-{options.seed}")
    return Source(made.path, payloads, made.expected)


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
