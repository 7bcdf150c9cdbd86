"""The options of the deduplication: source, target, rule, tuning parameters; declared and checked, no Spark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any

from pipeline_jobs.contract import BadConfigurationError, TrialConfig
from pipeline_jobs.dedup.reader_options import reader_options
from pipeline_jobs.options import option, options_of, read_both, read_options
from pipeline_jobs.postgres import check_name
from pipeline_jobs.session import spark_names

FORMATS = ("parquet", "json", "csv", "jdbc", "iceberg")
STRATEGIES = ("auto", "columnar", "window", "max_by", "salted", "semi_join", "baseline")
TARGETS = ("postgresql", "parquet", "redshift", "none")
FOLDER = "workloads"
"""Where workloads are kept, below the data folder, where the option `folder` doesn't say."""


@dataclass(frozen=True)
class Source:
    """Where the records are. `path` is a file or folder, or the name of a JDBC or Iceberg table."""

    format: str = option("what the records are in", choices=FORMATS)
    path: str = option("a file or folder, or the name of a JDBC or Iceberg table")
    options: Mapping[str, Any] = option("options of Spark's reader, such as `header` for CSV", default={})
    schema: str = option(
        "a schema in SQL, such as `id BIGINT, changed TIMESTAMP`; JSON and CSV without one are read twice to find it",
        default="",
    )

    def __post_init__(self) -> None:
        reader_options(self.format, self.options)
        if self.format == "jdbc" and not self.path.lstrip().startswith("("):
            for name in self.path.replace('"', "").split("."):
                check_name("source.path", name)


class TimestampUnit(StrEnum):
    """What a whole-number timestamp counts."""

    UNKNOWN = "unknown"
    NUMBER = "number"
    SECONDS = "seconds"
    MILLISECONDS = "milliseconds"
    MICROSECONDS = "microseconds"
    NANOSECONDS = "nanoseconds"


@dataclass(frozen=True)
class Target:
    """Where the latest records go. `merge` keeps what a run doesn't touch, `replace` leaves this run's result only.

    `redshift` stages Parquet with the delete markers in `path`; RedshiftMergeOperator merges that.
    """

    kind: str = option("where the latest records go", default="none", choices=TARGETS)
    table: str = option("a `postgresql` target's table", default="")
    path: str = option("the folder of a `parquet` or `redshift` target", default="")
    mode: str = option(
        "`merge` keeps what a run doesn't touch, `replace` leaves this run's result only",
        default="merge",
        choices=("merge", "replace"),
    )
    bookmark: str = option("the job's name in the bookmark table; makes the run incremental", default="")
    look_back_s: float = option(
        "how far behind the bookmark to read again, for records that come late",
        default=0.0,
        unit="seconds, or units of a numeric timestamp",
        low=0,
    )
    timestamp_unit: str = option(
        "what a whole-number timestamp counts: a unit since 1970 bounds the bookmark by the clock, `number` by nothing",
        default=TimestampUnit.UNKNOWN.value,
        choices=tuple(unit.value for unit in TimestampUnit),
    )
    work_schema: str = option(
        "the schema of the staging table and the bookmarks; by default the first of the role's search path", default=""
    )
    scratch: bool = option("a trial's target: emptied before each repeat and removed at the end", default=False)

    def __post_init__(self) -> None:
        needed = {"postgresql": "table", "parquet": "path", "redshift": "path"}.get(self.kind)
        if needed and not getattr(self, needed):
            raise BadConfigurationError(f"workload option target.{needed} is missing: a {self.kind} target needs it")
        for name in (self.work_schema, *self.table.split(".", 1)):
            check_name("workload option target: a name", name)
        if self.bookmark and (self.kind != "postgresql" or self.mode != "merge"):
            raise BadConfigurationError("target.bookmark needs a postgresql target in mode 'merge'")

    @property
    def unit(self) -> TimestampUnit:
        """What a whole-number timestamp counts."""
        return TimestampUnit(self.timestamp_unit)


@dataclass(frozen=True)
class Rule:
    """The total order that decides: `timestamp`, then each tie-breaker, then the other columns' values.

    The larger value wins; NULL is smaller than anything, so a record without a timestamp is the oldest.
    """

    key: tuple[str, ...] = option("the columns that identify a record")
    timestamp: str = option("the column that says which record is later")
    tie_breakers: tuple[str, ...] = option(
        "columns that decide among equal timestamps, the first one first", default=()
    )
    deleted_when: str = option(
        "SQL over a record: where the latest record of a key matches, the key is deleted", default=""
    )
    null_keys: str = option(
        "records with a NULL in the key: drop them (counted), group them as SQL does, or fail",
        default="drop",
        choices=("drop", "group", "fail"),
    )
    null_timestamps: str = option(
        "records without a timestamp: they are the oldest, dropped (counted), or fail",
        default="oldest",
        choices=("oldest", "drop", "fail"),
    )

    def __post_init__(self) -> None:
        if not self.key or not self.timestamp:
            raise BadConfigurationError("workload options 'key' (a list of columns) and 'timestamp' are needed")
        repeated = {name for name in self.declared if (*self.key, *self.declared).count(name) > 1}
        if repeated:
            raise BadConfigurationError(f"column {', '.join(sorted(repeated))} is named twice in key and order")

    @property
    def declared(self) -> tuple[str, ...]:
        """The columns of the declared order, most significant first."""
        return (self.timestamp, *self.tie_breakers)


@dataclass(frozen=True)
class Tuning:
    """The parameters of a trial that are not Spark's own settings."""

    strategy: str = option("how the latest record is found", default="auto", choices=STRATEGIES)
    group_limit: bool = option(
        "each task drops what can't be the latest before the shuffle (Spark 3.5 and later)", default=True
    )
    window_partitions: int = option("partitions that `baseline` makes before its window", default=75, low=1)
    salts: int = option("parts that `salted` splits each key into for its first phase", default=16, low=1)
    write_partitions: int = option(
        "partitions, and so connections, that write; 0 leaves what the shuffle made", default=0, low=0
    )
    counts: str = option(
        "`observe` counts in passing, `count` runs jobs of its own as the deduplication guide's job did, `none` counts "
        "nothing",
        default="observe",
        choices=("observe", "count", "none"),
    )


@dataclass(frozen=True)
class Made:
    """A workload that the job makes itself."""

    data: str = option(
        "`generated` or `flights`, where there is no `source`; the workload's name by default", default=""
    )
    folder: str = option("where made data are kept; a relative path starts at the data folder", default=FOLDER)
    generator: Mapping[str, Any] = option("the generator's settings, such as `rows` and `duplicates`", default={})
    name: str = option("the workload's name", default="")


SKEW_JOIN = "spark.sql.adaptive.skewJoin."


@dataclass(frozen=True)
class DedupOptions:
    """A trial's workload and parameters, read and checked."""

    rule: Rule
    target: Target
    tuning: Tuning
    source: Source | None
    """None for the workloads that the job makes itself (`generated`, `flights`)."""


PARTS = ("source", "target")
"""Workload options that are options themselves."""
OF_GLUE = ("worker_type", "workers", "shuffle_to_s3", "auto_scaling")
"""Parameters that size a run on Glue, before the job starts; elsewhere they are refused."""


def dedup_options(config: TrialConfig) -> DedupOptions:
    """The options in a trial's configuration. Raises BadConfigurationError naming options and values."""
    workload, parameters = config.workload, config.configuration
    _refuse_skew_join(parameters)
    source, target = workload.get("source"), workload.get("target") or {}
    rule, _ = read_both(Rule, Made, workload, "workload option", beside=PARTS)
    goes_to = read_options(Target, _mapping("target", target), "workload option target:")
    if goes_to.kind == "redshift" and rule.null_keys == "group":
        raise BadConfigurationError(
            "null_keys 'group' and a redshift target don't go together: its merge finds no key with a NULL again"
        )
    tuning = read_options(Tuning, parameters, "parameter", beside=(*OF_GLUE, *spark_names(parameters)))
    if tuning.strategy == "columnar" and goes_to.bookmark:
        raise BadConfigurationError(
            "strategy columnar and target.bookmark don't go together: it reads whole files, a bookmark's run a part; "
            "use auto"
        )
    comes_from = read_options(Source, _mapping("source", source), "workload option source:") if source else None
    if comes_from is not None:
        _refuse_own_source(comes_from, goes_to)
    return DedupOptions(
        rule=rule,
        target=goes_to,
        tuning=tuning,
        source=comes_from,
    )


def _refuse_own_source(source: Source, target: Target) -> None:
    """What a run writes must not be what the next one reads."""
    if not target.path or source.format in ("jdbc", "iceberg"):
        return
    read, written = PurePosixPath(source.path), PurePosixPath(target.path)
    if read == written or read in written.parents or written in read.parents:
        raise BadConfigurationError(
            f"target.path {target.path} and source.path {source.path} lie in each other: name a folder of its own"
        )


def _refuse_skew_join(parameters: Mapping[str, Any]) -> None:
    """Only a join of two shuffled sides has skew to split; on is Spark's default, which claims nothing."""
    for name, value in parameters.items():
        if name.startswith(SKEW_JOIN) and not (name == f"{SKEW_JOIN}enabled" and value is True):
            raise BadConfigurationError(
                f"{name} has no effect: no strategy joins two shuffled sides (semi_join broadcasts one). Leave it out"
            )


def made_options(config: TrialConfig) -> Made:
    """What the job makes itself. Raises BadConfigurationError naming options and values."""
    rule = tuple(each.name for each in options_of(Rule))
    return read_options(Made, config.workload, "workload option", beside=(*PARTS, *rule))


def _mapping(name: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise BadConfigurationError(f"workload option {name} is {value!r}, must be a mapping: names with values")
    return value
