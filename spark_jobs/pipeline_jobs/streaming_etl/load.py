"""One load: a source's ranges through pipelines into the tables, resumed from where an earlier run stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

import psycopg2
from psycopg2.extensions import connection as Connection

from pipeline_jobs.contract import BadConfigurationError, InfrastructureError
from pipeline_jobs.postgres import as_job_error, check_name, first_line
from pipeline_jobs.streaming_etl.changes import ChangeWorker
from pipeline_jobs.streaming_etl.connection_pool import Pool, connect
from pipeline_jobs.streaming_etl.engine import Manager, Pipeline, Report, Source
from pipeline_jobs.streaming_etl.mapping import Mapping
from pipeline_jobs.streaming_etl.one_run import hold
from pipeline_jobs.streaming_etl.progress import Accounts, Range, Totals
from pipeline_jobs.streaming_etl.retry import Backoff
from pipeline_jobs.streaming_etl.settings import Settings
from pipeline_jobs.streaming_etl.tables import add_foreign_keys, create_accounts, create_tables
from pipeline_jobs.streaming_etl.target import TableWorker, is_transient

T = TypeVar("T")


class Origin(Protocol):
    """Something that documents come from: a BSON file, a MongoDB collection, its change stream."""

    is_endless: bool
    """Whether more may always come, in an order that has to be kept: one pipeline with one worker."""

    @property
    def name(self) -> str:
        """What tells it from others; a load goes on only with the same."""
        ...

    def ranges(self, count: int) -> tuple[Range, ...]:
        """Up to `count` parts that pipelines load side by side."""
        ...

    def open(self, part: Range, position: str | None) -> Source:
        """The records of a part, those after `position` where one is given."""
        ...


@dataclass(frozen=True)
class Hooks:
    """SQL that runs exactly once in the life of a load, however often it is started: before and after all batches."""

    before: str = ""
    after: str = ""


@dataclass(frozen=True)
class Target:
    """Where the rows go and how."""

    uri: str = field(repr=False)
    mapping: Mapping
    schema: str = "public"
    foreign_keys: str = "during"
    """`during`: checked row by row as they come. `after`: made at the end, which checks all. `none`."""
    async_commit: bool = False
    """Commit without waiting for the disk: a crash of the server costs the last batches, which come again."""
    hooks: Hooks = Hooks()
    """Those of a full load; a change stream has none."""
    backoff: Backoff = field(default_factory=Backoff)

    def __post_init__(self) -> None:
        if set(self.schema) & set('%"'):
            raise BadConfigurationError(f"the target's schema {self.schema!r} has a % or a quote: take another")
        check_name("the target's schema", self.schema)

    def connect(self) -> Connection:
        """A connection. Raises psycopg2.OperationalError."""
        return connect(self.uri, async_commit=self.async_commit)


def load(
    origin: Origin,
    target: Target,
    settings: Settings,
    *,
    job: str = "load",
    cancel: threading.Event | None = None,
) -> tuple[Report, Totals]:
    """Load what is not loaded yet. Returns what this run did, and the ledger of all runs of the job.

    Raises InfrastructureError when source or target stay away, JobError where something has to be put right;
    called again, it goes on. `cancel` ends it early with everything that was read in the target.
    """
    cancel = cancel or threading.Event()
    if origin.is_endless:
        settings = replace(settings, worker_num=1, manager_worker_num=1, pool_size=0)
    with alone(target, job, cancel):
        parts = begin(origin, target, settings, job=job, cancel=cancel)
        report = load_parts(origin, target, settings, parts, job=job, cancel=cancel)
        ended = () if origin.is_endless or report.was_cancelled else parts
        return report, finish(target, ended, job=job, cancel=cancel)


def alone(target: Target, job: str, cancel: threading.Event) -> AbstractContextManager[Connection]:
    """No other run of the load within the block. Raises InfrastructureError where there is one, or no database."""
    return closing(_patiently(target, cancel, lambda: hold(target.connect(), target.schema, job, cancel)))


def load_parts(
    origin: Origin, target: Target, settings: Settings, parts: Sequence[Range], *, job: str, cancel: threading.Event
) -> Report:
    """Load some ranges of a load that has begun, each from where it stopped. Raises as `load` does."""
    worker_class = ChangeWorker if origin.is_endless else TableWorker
    pools: list[Pool] = []

    def pipeline(part: Range) -> Pipeline:
        with closing(target.connect()) as connection:
            resumed = Accounts(connection, target.schema, job).resume(part.number)
        pool = Pool(target.connect, settings.pool_size or settings.worker_num)
        pools.append(pool)

        def worker() -> TableWorker:
            return worker_class(
                target.mapping, pool, resumed.turn,
                backoff=target.backoff, stop=cancel, transform_concurrency=settings.transform_concurrency,
            )  # fmt: skip

        name = f"{job}-{part.number}"
        return Pipeline(
            name, origin.open(part, resumed.position), worker, settings, cancel, first_sequence=resumed.sequence
        )

    try:
        pipelines = _patiently(target, cancel, lambda: [pipeline(part) for part in parts])
        return Manager(settings, cancel).run(pipelines)
    finally:
        for pool in pools:
            pool.close()


def begin(
    origin: Origin, target: Target, settings: Settings, *, job: str, cancel: threading.Event
) -> tuple[Range, ...]:
    """Make the tables and put the ranges of a load on record. Returns those that are not loaded yet.

    `load` does this itself. Called for a change stream before a full load, it marks where following begins.
    """

    def plan() -> tuple[Range, ...]:
        with closing(target.connect()) as connection:
            create_accounts(connection, target.schema)
            accounts = Accounts(connection, target.schema, job)
            accounts.check_target(target.mapping)
            create_tables(connection, target.mapping, target.schema, foreign_keys=target.foreign_keys == "during")
            parts = accounts.begin(origin.name, origin.ranges(settings.manager_worker_num), target.mapping)
            if not origin.is_endless:
                accounts.run_once("before", target.hooks.before)
            return parts

    return tuple(part for part in _patiently(target, cancel, plan) if not part.is_done)


def finish(target: Target, ended: Sequence[Range], *, job: str, cancel: threading.Event) -> Totals:
    """Record which ranges are loaded to their end; after the last one foreign keys that were put off, and the hook.

    Returns the ledger's totals.
    """

    def end() -> Totals:
        with closing(target.connect()) as connection:
            accounts = Accounts(connection, target.schema, job)
            accounts.check_target(target.mapping)
            if ended and target.foreign_keys == "after":
                add_foreign_keys(connection, target.mapping, target.schema)
            for part in ended:
                accounts.finish(part.number)
            if accounts.is_complete:
                accounts.run_once("after", target.hooks.after)
            return accounts.totals()

    return _patiently(target, cancel, end)


def _patiently(target: Target, cancel: threading.Event, action: Callable[[], T]) -> T:
    try:
        return target.backoff.run(action, is_transient, cancel)
    except psycopg2.Error as error:
        if is_transient(error):
            raise InfrastructureError(f"the target database does not answer: {first_line(error)}") from error
        raise as_job_error(error.pgcode or "", f"the target database refuses: {first_line(error)}") from error
