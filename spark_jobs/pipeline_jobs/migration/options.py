"""What a migration is asked to do: the knobs that a sweep turns, and the table that it moves."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from pipeline_jobs.contract import BadConfigurationError, TrialConfig

METHODS = ("copy", "jdbc")


@dataclass(frozen=True)
class Settings:
    """One configuration of the migration. Rows and rates are counts; 0 means no limit, or the driver's default."""

    method: str = "copy"
    """`copy`: binary COPY from server to server in Spark's tasks. `jdbc`: Spark's JDBC reader and writer."""
    cores: int = 0
    """Threads of a local master; 0 = all that this process may use, unless `master` says otherwise."""
    master: str = ""
    driver_memory: str = ""
    partitions: int = 0
    """Key ranges, each read and written in one transaction; 0 = four a core."""
    parallelism: int = 0
    """Ranges in flight at most, as far as there are cores: tasks of `copy`, jobs of `jdbc`; 0 = the cores."""
    batch_size: int = 1000
    """Rows of one INSERT batch (`jdbc`); of one COPY when rejected rows are singled out."""
    fetch_size: int = 1000
    """Rows of one fetch from the source (`jdbc`)."""
    origin_rate_limit: int = 0
    """Rows/s read from the source at most, over all ranges."""
    target_rate_limit: int = 0
    """Rows/s written to the target at most, over all ranges."""

    @property
    def spark_master(self) -> str:
        """The master that Spark is started with."""
        return self.master or f"local[{self.core_count}]"

    @property
    def core_count(self) -> int:
        """Local threads; on a cluster, how many tasks are assumed to run at once."""
        return self.cores or len(os.sched_getaffinity(0))

    @property
    def range_count(self) -> int:
        """How many key ranges to plan."""
        return self.partitions or 4 * self.core_count

    @property
    def task_count(self) -> int:
        """How many ranges may be in flight."""
        return min(self.parallelism or self.core_count, self.range_count)

    @property
    def rate_limit(self) -> int:
        """Rows/s of the tighter limit; 0 = none. A range reads and writes in step: the tighter one holds for both."""
        return min(filter(None, (self.origin_rate_limit, self.target_rate_limit)), default=0)


@dataclass(frozen=True)
class Workload:
    """The table to move, from `config.workload`."""

    table: str
    target_table: str = ""
    schema: str = "public"
    target_schema: str = ""
    key: tuple[str, ...] = ()
    """Columns to cut ranges by; () = the primary key, or a unique index, or the table's blocks."""
    run_id: str = ""
    """Names a production run, which resumes; '' = a trial, into an empty target table of its own."""
    jdbc_options: Mapping[str, str] = field(default_factory=dict)
    """More options of Spark's JDBC reader and writer, and of the PostgreSQL driver (`reWriteBatchedInserts`)."""
    ledger_schema: str = "pipeline_migration"
    """Where the run, partition and rejected-row tables are kept on the target."""
    guardrail_bytes: int = 0
    """Rows with a longer value than this are left out and recorded; 0 = no limit."""
    max_rejected: int = 1000
    """More rejected rows than this in one range fail the range."""
    differences: bool = False
    """List the rows that differ in ranges that don't validate."""
    autocorrect: bool = False
    """Insert what is missing and update what differs in such ranges. Never deletes."""


def read_settings(config: TrialConfig) -> Settings:
    """The knobs out of a configuration; others' keys (`spark.*`) are left. Raises BadConfigurationError."""
    known = {f.name: f for f in fields(Settings)}
    values = {name: value for name, value in config.configuration.items() if name in known and value is not None}
    for name, value in values.items():
        is_count = known[name].type == "int"
        if is_count and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
            raise BadConfigurationError(f"configuration.{name} is {value!r}: give a whole number of 0 or more")
        if not is_count and not isinstance(value, str):
            raise BadConfigurationError(f"configuration.{name} is {value!r}: give a text")
    settings = Settings(**values)
    if settings.method not in METHODS:
        raise BadConfigurationError(f"configuration.method is {settings.method!r}: use one of {', '.join(METHODS)}")
    return settings


def read_workload(config: TrialConfig) -> Workload:
    """The table to move. Unknown options are refused, so that a typing error isn't silently ignored."""
    values = {name: value for name, value in config.workload.items() if name != "name"}
    unknown = set(values) - {f.name for f in fields(Workload)}
    if unknown or not values.get("table"):
        problem = f"unknown options {sorted(unknown)}" if unknown else "'table' is missing"
        raise BadConfigurationError(f"workload.options: {problem}; known: {[f.name for f in fields(Workload)]}")
    key = values.pop("key", None) or ()
    return Workload(**values, key=(key,) if isinstance(key, str) else tuple(key))
