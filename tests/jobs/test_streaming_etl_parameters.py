"""Every parameter of the two studies does something that can be seen, or is refused where it would do nothing."""

from __future__ import annotations

import asyncio
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import bson
import psycopg2
import pytest
from aiohttp import web
from tests.jobs.planted_clock import PlantedClock
from tests.jobs.streaming_etl_reference import rows_in, rows_of, some_users, users_mapping, write_bson
from tests.patience import PATIENCE_S

from pipeline_jobs.contract import BadConfigurationError, TrialConfig
from pipeline_jobs.streaming_etl import connection_pool, memory, paced_source
from pipeline_jobs.streaming_etl.bson_file import BsonFile
from pipeline_jobs.streaming_etl.channel import Channel
from pipeline_jobs.streaming_etl.engine import Report
from pipeline_jobs.streaming_etl.load import Target, load
from pipeline_jobs.streaming_etl.memory import MemoryWork, Sums
from pipeline_jobs.streaming_etl.memory_records import KINDS, HeavyColumns
from pipeline_jobs.streaming_etl.memory_requests import answer_to
from pipeline_jobs.streaming_etl.paced_source import Pace, PacedOrigin
from pipeline_jobs.streaming_etl.records import Batch
from pipeline_jobs.streaming_etl.settings import BatchSize, Settings
from pipeline_jobs.streaming_etl.target import TableWorker
from pipeline_jobs.streaming_etl.trial_parameters import read_memory, read_tables
from pipeline_jobs.streaming_etl.workload import Options
from pipeline_tuner.study import Study, load_study

CONFIGS = Path(__file__).parents[2] / "include" / "configs"
MEMORY_STUDY, TABLES_STUDY = (load_study(CONFIGS / f"streaming_etl{name}.yaml") for name in ("_memory", ""))
MAPPING = users_mapping()
Values = dict[str, Any]


# In memory: what a run of some values leaves to be seen.


def in_memory(**values: Any) -> tuple[Report, Sums]:
    """One run of a configuration as the study completes it, on few records."""
    small = {"records": 3000} | values
    settings, work = read_memory(MEMORY_STUDY.space.checked(small))
    with work.prepared(settings, threading.Event()) as run_once:
        return run_once()


def sizes(report: Report) -> list[int]:
    return sorted({done.records for done in report.batches})


def largest(**values: Any) -> int:
    return max(sizes(in_memory(**values)[0]))


def threads(kind: str, **values: Any) -> int:
    return sum(kind in usage.name for usage in in_memory(**values)[0].usages)


def pauses_s(monkeypatch: pytest.MonkeyPatch, **values: Any) -> float:
    """How long the source paused between records, on a clock that nothing else moves."""
    clock = PlantedClock()
    with monkeypatch.context() as patch:
        clock.stands_in_for_time(patch, paced_source)
        in_memory(**values)
    return clock.slept_s


def of_waiting_source(monkeypatch: pytest.MonkeyPatch, run: Callable[[], Report]) -> list[int]:
    """The batches of a paced source that gives its first records and no more until a batch has left."""
    left = threading.Event()
    take, waits = Channel.take, Pace.waits

    def taken(mine: Channel, *limits: Any) -> Batch:
        batch = take(mine, *limits)
        left.set()
        return batch

    def waited(mine: Pace, count: int) -> Iterator[None]:
        if mine._given:
            left.wait()
        else:
            left.clear()  # what a run before this one left behind
        yield from waits(mine, count)

    with monkeypatch.context() as patch:
        patch.setattr(Channel, "take", taken)
        patch.setattr(Pace, "waits", waited)
        return sizes(run())


def hashed_rounds(monkeypatch: pytest.MonkeyPatch, **values: Any) -> int:
    """Rounds of hashing that the transform adds to each record."""
    rounds = []
    mix = memory.kernel.mix
    with monkeypatch.context() as patch:
        patch.setattr(memory.kernel, "mix", lambda hashes, each: (rounds.append(each), mix(hashes, each)))
        in_memory(**values)
    return min(rounds, default=0)


def numbers(**values: Any) -> int:
    return in_memory(**values)[1].numbers


def bytes_each(**values: Any) -> float:
    report, _ = in_memory(**values)
    return sum(done.bytes for done in report.batches) / report.records


def rooms_filled(monkeypatch: pytest.MonkeyPatch, **values: Any) -> int:
    filled = []
    fill = KINDS["compact"].fill
    with monkeypatch.context() as patch:
        patch.setattr(KINDS["compact"], "fill", lambda self, first: (filled.append(first), fill(self, first)))
        in_memory(**values)
    return len(filled)


class GatheringServer:
    """Answers only when `expected` requests wait for one: what no client with fewer in flight ever gets past.

    `most` is the largest number that waited at once.
    """

    def __init__(self, expected: int) -> None:
        self.most = self._waiting = 0
        self._all_there = asyncio.Barrier(expected)

    async def answer(self, request: web.Request) -> web.Response:
        self._waiting += 1
        self.most = max(self.most, self._waiting)
        await self._all_there.wait()
        self._waiting -= 1
        return web.Response(text=str(answer_to(int(request.match_info["number"]))))

    @contextmanager
    def running(self) -> Iterator[str]:
        """Its address, while it runs in a thread of its own."""
        with ThreadPoolExecutor(1) as thread:
            started: queue.SimpleQueue[tuple[int, Callable[[], None]]] = queue.SimpleQueue()
            done = thread.submit(asyncio.run, self._serve(started))
            port, end = started.get(timeout=PATIENCE_S)
            try:
                yield f"http://127.0.0.1:{port}"
            finally:
                end()
                done.result()

    async def _serve(self, started: queue.SimpleQueue[tuple[int, Callable[[], None]]]) -> None:
        app = web.Application()
        app.router.add_get("/{number}", self.answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        ended, loop = asyncio.Event(), asyncio.get_running_loop()
        started.put((runner.addresses[0][1], lambda: loop.call_soon_threadsafe(ended.set)))
        await ended.wait()
        await runner.cleanup()


def requests_in_flight(monkeypatch: pytest.MonkeyPatch, concurrency: int) -> int:
    """The most requests that a worker had in flight at once. A worker with fewer than `concurrency` never ends."""
    server = GatheringServer(concurrency)
    records = 20 * concurrency
    with monkeypatch.context() as patch:
        patch.setattr(memory, "_server", lambda transform: server.running())
        in_memory(
            transform="network", worker_num=1, records=records, batch_size=records, transform_concurrency=concurrency
        )
    return server.most


ADAPTIVE: Values = {"adaptive": True, "batch_size": 20, "min_batch_size": 10, "max_batch_size": 40, "worker_num": 1}


@pytest.fixture
def quick_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BatchSize, "WINDOW_S", 0.0)


IN_MEMORY: dict[str, Callable[[pytest.MonkeyPatch], bool]] = {
    "record": lambda _: bytes_each(record="heavy", records=20) > 500 * bytes_each(record="compact"),
    "transform": lambda patch: (
        numbers(transform="network") > numbers(transform="own")
        and hashed_rounds(patch, transform="heavy") > 100 > hashed_rounds(patch, transform="own")
    ),
    "records": lambda _: in_memory(records=700)[0].records == 700 != in_memory(records=50)[0].records,
    "made_before": lambda patch: rooms_filled(patch, made_before=True) < rooms_filled(patch, batch_size=50) / 2,
    "pace_records_per_s": lambda patch: (
        pauses_s(patch, records=200, pace_records_per_s=100) == pytest.approx(2) and pauses_s(patch, records=200) == 0
    ),
    "batch_size": lambda _: (largest(batch_size=50), largest(batch_size=51)) == (50, 51),
    "batch_bytes": lambda _: largest(batch_bytes=65536, batch_size=2000) == 65536 // 77 < largest(batch_size=2000),
    "worker_num": lambda _: (threads("worker", worker_num=1), threads("worker", worker_num=3)) == (1, 3),
    "timeout_s": lambda patch: (
        of_waiting_source(patch, lambda: in_memory(timeout_s=0.1, records=150, pace_records_per_s=100)[0])[0]
        < 100
        < largest(timeout_s=60, records=150, pace_records_per_s=100)
    ),
    "manager_worker_num": lambda _: (
        (threads("extract", manager_worker_num=1), threads("extract", manager_worker_num=3)) == (1, 3)
    ),
    "transform_concurrency": lambda patch: (requests_in_flight(patch, 2), requests_in_flight(patch, 9)) == (2, 9),
    "adaptive": lambda _: largest(**ADAPTIVE, target_records_per_s=1e9) == 40 > largest(batch_size=20),
    "target_records_per_s": lambda _: (
        largest(**ADAPTIVE, target_records_per_s=1e9) == 40 > largest(**ADAPTIVE, target_records_per_s=1)
    ),
    "min_batch_size": lambda _: (
        [in_memory(**ADAPTIVE | {"min_batch_size": low}, target_records_per_s=1)[0].batch_sizes for low in (10, 15)]
        == [[10], [15]]
    ),
    "max_batch_size": lambda _: (
        [in_memory(**ADAPTIVE | {"max_batch_size": high}, target_records_per_s=1e9)[0].batch_sizes for high in (30, 60)]
        == [[30], [60]]
    ),
}


@pytest.mark.parametrize("name", MEMORY_STUDY.space.parameters)
def test_a_parameter_in_memory_does_something(name: str, monkeypatch: pytest.MonkeyPatch, quick_windows: None) -> None:
    assert name in IN_MEMORY, f"{name} is new in streaming_etl_memory.yaml: show here what it does"
    assert IN_MEMORY[name](monkeypatch)


@pytest.mark.parametrize("transform", memory.TRANSFORMS)
@pytest.mark.parametrize("record", KINDS)
@pytest.mark.parametrize("pace", [0, 2000])
def test_what_arrives_is_what_the_formula_says(record: str, transform: str, pace: float) -> None:
    """Paced heavy records come in pieces smaller than a batch, whose texts are joined."""
    values = {"record": record, "transform": transform, "records": 120, "batch_size": 50, "pace_records_per_s": pace}
    values |= {"timeout_s": 60}  # so that no delay of the machine closes a batch
    work = read_memory(MEMORY_STUDY.space.checked(values))[1]
    report, sums = in_memory(**values)
    assert (sums.records, sums.numbers) == (120, work.expected_numbers())
    assert sizes(report) == [20, 50]


def test_heavy_records_joined_from_pieces_are_those_made_at_once() -> None:
    whole, first, second, third = (HeavyColumns.room(count) for count in (9, 4, 3, 2))
    for room, number in ((whole, 95), (first, 95), (second, 99), (third, 102)):
        room.fill(number)
    joined = first.part(0, 4).joined([second.part(0, 3), third])
    a, b = whole.transformed(), joined.transformed()
    assert a.text[: a.sizes[-1, -1]].tobytes() == b.text[: b.sizes[-1, -1]].tobytes()
    assert (a.numbers == b.numbers).all()
    tail = first.part(2, 4).joined([second.part(1, 3)]).transformed()
    assert b"user@example.com.97" in tail.text[: tail.sizes[-1, -1]].tobytes()


@pytest.mark.parametrize("record", KINDS)
def test_the_light_transform_is_lighter(record: str) -> None:
    room = KINDS[record].room(20_000 if record == "compact" else 300)
    room.fill(0)

    def least_s(transform: Callable[[], object]) -> float:
        times = []
        for _ in range(9):
            start = time.thread_time()
            transform()
            times.append(time.thread_time() - start)
        return min(times)

    assert least_s(room.light) < 0.5 * least_s(room.transformed)
    assert room.light().text.size == 0 < room.transformed().text.size


def presets_in_memory() -> Iterator[tuple[str, Values]]:
    for name in ("streaming_report_batch_size", "streaming_report_optimal", "in_memory_report_equal_records"):
        for partial in MEMORY_STUDY.strategies[name]:
            yield str(partial), dict(MEMORY_STUDY.preset(str(partial)).configuration)


@pytest.mark.parametrize(("label", "values"), list(presets_in_memory()))
def test_batches_of_the_documents_experiments_are_as_large_as_they_say(label: str, values: Values) -> None:
    """A limit of 8 MiB once made batches of 128 and of 500 heavy records the same."""
    values["records"] = values["batch_size"] * 2
    assert sizes(in_memory(**values)[0]) == [values["batch_size"]], label


def test_the_server_of_the_network_transform_is_gone_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    served = []
    server = memory._server

    @contextmanager
    def noted(transform: str) -> Iterator[str]:
        with server(transform) as address:
            served.append(address)
            yield address

    monkeypatch.setattr(memory, "_server", noted)
    in_memory(transform="network", records=50)
    where = urlsplit(served[0])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((where.hostname, where.port))


# With databases.


@pytest.fixture
def target(database: str) -> Target:
    return Target(database, MAPPING)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_bson(tmp_path / "users.bson", [bson.encode(document) for document in some_users(240)])


class Watched:
    """What a load does on the target: the settings of its connections, how many there are."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, target: Target, file: Path) -> None:
        self.patch, self.target, self.file = monkeypatch, target, file
        self.opened: list[Any] = []
        self.copies = 0
        self.loads = 0

    def load(self, pace: float = 0.0, **values: Any) -> Report:
        """One load of a configuration as the study completes it, into a schema of its own."""
        settings, choices = read_tables(TABLES_STUDY.space.checked({"worker_num": 1, **values}))
        self.loads += 1
        target = Target(
            self.target.uri, MAPPING, schema=f"load_{self.loads}",
            foreign_keys=choices.foreign_keys, async_commit=choices.async_commit,
        )  # fmt: skip
        self.schema = target.schema
        origin = BsonFile(self.file)
        connect = psycopg2.connect

        def kept(*args: Any, **kwargs: Any) -> Any:
            self.opened.append(connect(*args, **kwargs))
            return self.opened[-1]

        self.opened = []
        with self.patch.context() as patch:
            patch.setattr(connection_pool.psycopg2, "connect", kept)
            report, _ = load(PacedOrigin(origin, pace) if pace else origin, target, settings)
        return report

    def sizes(self, **values: Any) -> list[int]:
        return sizes(self.load(**values))

    def commit(self, **values: Any) -> str:
        """How the last load's connections commit."""
        seen = []
        close = connection_pool.Pool.close

        def look(mine: connection_pool.Pool) -> None:
            with mine.connection() as connection, connection.cursor() as cursor:
                cursor.execute("SHOW synchronous_commit")
                seen.append(cursor.fetchone()[0])
            close(mine)

        with self.patch.context() as patch:
            patch.setattr(connection_pool.Pool, "close", look)
            self.load(**values)
        return str(seen[0])

    def pooled(self, **values: Any) -> int:
        """Connections that workers used, at most."""
        found = []
        close = connection_pool.Pool.close
        with self.patch.context() as patch:
            patch.setattr(connection_pool.Pool, "close", lambda mine: (found.append(len(mine._idle)), close(mine)))
            self.load(**values)
        return sum(found)

    def threads(self, kind: str, **values: Any) -> int:
        return sum(kind in usage.name for usage in self.load(**values).usages)

    def transcoding_threads(self, **values: Any) -> int:
        names = set()
        start = threading.Thread.start
        with self.patch.context() as patch:
            patch.setattr(threading.Thread, "start", lambda mine: (names.add(mine.name), start(mine))[1])
            self.load(**values)
        assert rows_in(self.target.uri, MAPPING, self.schema) == rows_of(MAPPING, some_users(240))
        return sum(name.startswith("transcode") for name in names)

    def checks_at_once(self, **values: Any) -> bool:
        """Whether foreign keys were there while rows came."""
        seen = []
        write = TableWorker._write_rows

        def look(mine: Any, cursor: Any, encoded: Any) -> None:
            cursor.execute("SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND connamespace = %s::regnamespace",
                           (self.schema,))  # fmt: skip
            seen.append(cursor.fetchone()[0])
            write(mine, cursor, encoded)

        with self.patch.context() as patch:
            patch.setattr(TableWorker, "_write_rows", look)
            self.load(**values)
        return min(seen) > 0


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch, target: Target, file: Path, quick_windows: None) -> Watched:
    return Watched(monkeypatch, target, file)


WITH_TABLES: dict[str, Callable[[Watched], bool]] = {
    "batch_size": lambda w: (w.sizes(batch_size=20), w.sizes(batch_size=120)) == ([20], [120]),
    "batch_bytes": lambda w: max(w.sizes(batch_bytes=65536)) < 30 < max(w.sizes(batch_bytes=1_000_000)),
    "worker_num": lambda w: (w.threads("worker", worker_num=1), w.threads("worker", worker_num=3)) == (1, 3),
    "timeout_s": lambda w: (
        of_waiting_source(w.patch, lambda: w.load(pace=600, timeout_s=0.1))[0]
        < 120
        < max(w.sizes(pace=600, timeout_s=60))
    ),
    "manager_worker_num": lambda w: (
        (w.threads("extract", manager_worker_num=1), w.threads("extract", manager_worker_num=3)) == (1, 3)
    ),
    "pool_size": lambda w: (
        w.pooled(worker_num=4, pool_size=1, batch_size=10) == 1 < w.pooled(worker_num=4, batch_size=10)
    ),
    "transform_concurrency": lambda w: (
        w.transcoding_threads(transform_concurrency=1) == 0 < w.transcoding_threads(transform_concurrency=3) <= 3
    ),
    "async_commit": lambda w: (w.commit(async_commit=True), w.commit(async_commit=False)) == ("off", "on"),
    "foreign_keys": lambda w: w.checks_at_once(foreign_keys="during") and not w.checks_at_once(foreign_keys="after"),
    "adaptive": lambda w: (
        max(w.sizes(batch_size=20, adaptive=True, target_records_per_s=1_000_000)) > 20 == max(w.sizes(batch_size=20))
    ),
    "target_records_per_s": lambda w: (
        max(w.sizes(batch_size=20, adaptive=True, target_records_per_s=1_000_000))
        > 20
        == max(w.sizes(batch_size=20, adaptive=True, target_records_per_s=1))
    ),
    "min_batch_size": lambda w: (
        [
            w.load(batch_size=20, adaptive=True, target_records_per_s=1, min_batch_size=low).batch_sizes
            for low in (10, 15)
        ]
        == [[10], [15]]
    ),
    "max_batch_size": lambda w: (
        [
            w.load(batch_size=20, adaptive=True, target_records_per_s=1_000_000, max_batch_size=high).batch_sizes
            for high in (22, 25)
        ]
        == [[22], [25]]
    ),
}


@pytest.mark.parametrize("name", TABLES_STUDY.space.parameters)
def test_a_parameter_with_databases_does_something(name: str, watched: Watched) -> None:
    assert name in WITH_TABLES, f"{name} is new in streaming_etl.yaml: show here what it does"
    assert WITH_TABLES[name](watched)


def test_a_paced_source_of_a_trial_takes_the_time_that_the_pace_says(file: Path, target: Target) -> None:
    start = time.monotonic()
    report, totals = load(PacedOrigin(BsonFile(file), 300), target, Settings(batch_size=50, timeout_s=0.1))
    assert time.monotonic() - start >= 240 / 300
    assert (report.records, totals.loaded) == (240, 240)
    assert rows_in(target.uri, MAPPING) == rows_of(MAPPING, some_users(240))


# What is refused, in one line that names key, value and what is allowed.


@pytest.mark.parametrize(("study", "read"), [(MEMORY_STUDY, read_memory), (TABLES_STUDY, read_tables)])
def test_numbers_out_of_range_and_of_another_type_are_refused(study: Study, read: Callable[[Values], Any]) -> None:
    for name, parameter in study.space.parameters.items():
        adaptive = {"adaptive": True} if "adaptive" in str(parameter.when) else {}
        network = {"transform": "network"} if "network" in str(parameter.when) else {}
        for value in ("5", -1, 1e30, None, [1], float("nan")):
            with pytest.raises(BadConfigurationError, match=f"{name} is .*must be") as caught:
                read({**adaptive, **network, name: value})
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("read", "values", "reason"),
    [
        (read_tables, {"record": "heavy"}, "parameter record"),
        (read_tables, {"records": 5}, "parameter records"),
        (read_tables, {"made_before": True}, "parameter made_before"),
        (read_tables, {"worker_num": 2, "pool_size": 3}, r"pool_size is 3, must be from 0 to worker_num \(2\)"),
        (read_tables, {"target_records_per_s": 5}, "target_records_per_s has no effect without adaptive"),
        (read_tables, {"adaptive": False, "min_batch_size": 5}, "min_batch_size has no effect without adaptive"),
        (read_tables, {"adaptive": True, "target_records_per_s": 5, "batch_size": 5}, "batch_size is 5, must be from"),
        (read_tables, {"foreign_keys": "never"}, "foreign_keys is 'never', must be one of during, after"),
        (read_memory, {"pool_size": 1}, "parameter pool_size"),
        (read_memory, {"async_commit": True}, "parameter async_commit"),
        (read_memory, {"foreign_keys": "after"}, "parameter foreign_keys"),
        (read_memory, {"transform_concurrency": 5}, "transform_concurrency has no effect on the transform 'own'"),
        (read_memory, {"batch_sise": 5}, r"batch_sise \(did you mean batch_size\?\)"),
    ],
)
def test_what_has_no_effect_is_refused(read: Callable[[Values], Any], values: Values, reason: str) -> None:
    with pytest.raises(BadConfigurationError, match=reason):
        read(values)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"documents": "5"}, "documents is '5', must be a whole number from 0"),
        ({"documents": -1}, "documents is -1, must be"),
        ({"seed": 1.5}, "seed is 1.5, must be a whole number"),
        ({"follow_s": "soon"}, "follow_s is 'soon', must be a number"),
        ({"follow_s": -0.5}, "follow_s is -0.5, must be 0 or more, or -1"),
        ({"source": "mysql"}, "source is 'mysql', must be one of bson, mongodb"),
        ({"path": 5}, "path is 5, must be text"),
        ({"before_sql": ["a"]}, r"before_sql is \['a'\], must be text"),
        ({"kind": "memory", "documents": 5}, "documents has no effect in memory"),
        ({"source": "mongodb", "path": "x.bson"}, "path has no effect with source 'mongodb'"),
        ({"documents": 5, "path": "x.bson"}, "give one of them"),
        ({"sources": "bson"}, r"sources \(did you mean source\?\)"),
    ],
)
def test_options_that_can_not_work_are_refused(options: Values, reason: str) -> None:
    with pytest.raises(BadConfigurationError, match=rf"workload\.options.*{reason}"):
        Options.of(TrialConfig("streaming_etl", "t", {}, options))


def test_the_defaults_of_the_job_are_its_studys() -> None:
    assert read_tables(TABLES_STUDY.space.checked({}))[0] == Settings()
    assert read_memory(MEMORY_STUDY.space.checked({}))[1] == MemoryWork()
