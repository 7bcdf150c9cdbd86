"""The options and parameters of a migration: method, batch sizes, rate limits, tables; declared and checked."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline_jobs.contract import BadConfigurationError, TrialConfig
from pipeline_jobs.options import option, read_options
from pipeline_jobs.postgres import check_name
from pipeline_jobs.session import spark_names

METHODS = ("copy", "jdbc")


@dataclass(frozen=True)
class Settings:
    """One configuration of the migration. Rows and rates are counts; 0 means no limit, or the driver's default."""

    method: str = option(
        "`copy`: binary COPY from server to server in Spark's tasks; `jdbc`: Spark's JDBC reader and writer",
        default="copy",
        choices=METHODS,
    )
    cores: int = option(
        "tasks at once: threads of a local master (0 for all that the process may use), cores of a cluster (0 for all)",
        default=0,
        low=0,
    )
    master: str = option("any Spark master, instead of the connection's", default="")
    driver_memory: str = option("the JVM's heap, such as `2g`; Spark's own default without", default="")
    partitions: int = option("key ranges, one transaction each; 0 for four per core", default=0, low=0)
    parallelism: int = option(
        "ranges in flight at most, as far as there are cores (`copy`: tasks, `jdbc`: jobs); 0 for the cores",
        default=0,
        low=0,
    )
    batch_size: int = option(
        "rows of one INSERT batch (`jdbc`), and of one COPY where rejected rows are singled out",
        default=1000,
        unit="rows",
        low=0,
    )
    fetch_size: int = option(
        "rows of one fetch (`jdbc`); 0 for all of the range at once", default=1000, unit="rows", low=0
    )
    origin_rate_limit: int = option(
        "read from the source at most, over all ranges; 0 for no limit",
        default=0,
        unit="rows/s",
        low=0,
    )
    target_rate_limit: int = option(
        "written to the target at most, over all ranges; 0 for no limit", default=0, unit="rows/s", low=0
    )

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
    def has_rate_limit(self) -> bool:
        """Whether either side is held to a rate."""
        return bool(self.origin_rate_limit or self.target_rate_limit)


@dataclass(frozen=True)
class Workload:
    """The table to move, from `config.workload`."""

    table: str = option("the source table, view or partitioned table")
    target_table: str = option(
        "the target table, `table` by default; a missing one is made like the source's, with its key", default=""
    )
    schema: str = option("the source table's schema", default="public")
    target_schema: str = option("the target table's schema, `schema` by default", default="")
    key: tuple[str, ...] = option(
        "columns to cut ranges by; by default the primary key, else a unique key, else the table's blocks", default=()
    )
    run_id: str = option(
        "names a production run, which goes on where it stopped; without it the job is a trial", default=""
    )
    jdbc_options: Mapping[str, str] = option(
        "more options of Spark's JDBC reader and writer, and `reWriteBatchedInserts` and a few others of the driver",
        default={},
    )
    create_types: bool = option(
        "make the enums, composites, domains, ranges and extensions that a missing target table needs; without it, "
        "such a table is refused with the statements to run",
        default=False,
    )
    ledger_schema: str = option("the schema of the ledger's tables on the target", default="pipeline_migration")
    guardrail_bytes: int = option(
        "rows with a longer value are left out and recorded; 0 for no limit", default=0, unit="bytes", low=0
    )
    max_rejected: int = option("more rejected rows in one range fail the range", default=1000, unit="rows", low=0)
    differences: bool = option("list the rows that differ in ranges that don't validate", default=False)
    autocorrect: bool = option(
        "insert what is missing and update what differs in such ranges; never deletes", default=False
    )


IDLE = ("shuffle_partitions", "adaptive", "spark.sql.shuffle.", "spark.sql.adaptive.", "spark.shuffle.")
"""Settings of Spark's shuffles; those that end in a dot are all that begin so."""


def read_settings(config: TrialConfig) -> Settings:
    """The parameters out of a configuration; Spark's own settings are left. Raises BadConfigurationError."""
    for name in config.configuration:
        if any(name == idle or (idle.endswith(".") and name.startswith(idle)) for idle in IDLE):
            raise BadConfigurationError(f"configuration: {name} has no effect: a migration shuffles nothing")
    return read_options(Settings, config.configuration, "configuration:", beside=spark_names(config.configuration))


def read_workload(config: TrialConfig) -> Workload:
    """The table to move. Raises BadConfigurationError for what is unknown, missing or of the wrong type."""
    workload = read_options(Workload, config.workload, "workload.options:", beside=("name",))
    if not workload.table:
        raise BadConfigurationError("workload.options: table is missing")
    for name in ("table", "target_table", "schema", "target_schema", "ledger_schema"):
        check_name(f"workload.options: {name}", getattr(workload, name))
    if "%" in workload.ledger_schema:
        raise BadConfigurationError("workload.options: ledger_schema must have no % in its name")
    return workload
