"""The options and parameters of the quantizer: read and checked; settings that can't work are refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline_jobs.contract import BadConfigurationError, TrialConfig, data_folder
from pipeline_jobs.heap import size_bytes
from pipeline_jobs.idle_settings import refuse_idle
from pipeline_jobs.options import option, read_both
from pipeline_jobs.quantizer.baseline import Shape
from pipeline_jobs.quantizer.batch_request import Batch
from pipeline_jobs.quantizer.catalogs import KINDS as CATALOGS
from pipeline_jobs.quantizer.engines import ENGINES
from pipeline_jobs.quantizer.generated_points import START_US, Generated
from pipeline_jobs.quantizer.rollup import check_resolutions
from pipeline_jobs.session import spark_names
from pipeline_jobs.unknown_names import refuse_unknown

POSITIVE = ("rows_per_task", "min_tasks", "target_file_bytes", "split_bytes")
"""Sizes that can't be 0."""
TABLE_NAME = re.compile(r"(?:\w+|`[^`.]+`)(?:\.(?:\w+|`[^`.]+`))+")
LONGEST_MS = 366 * 86_400_000
SHAPES = ("tasks", "baseline")
FILE_FORMATS = ("parquet", "avro", "orc")
STORAGE_LEVELS = ("MEMORY_AND_DISK", "MEMORY_ONLY", "DISK_ONLY")
DISTRIBUTIONS = ("none", "hash", "range")
KINDS = ("generated", "weather")
CODECS = ("zstd", "snappy", "gzip", "lz4", "uncompressed")
TABLE_PROPERTIES = {
    "delete_after_commit": "write.metadata.delete-after-commit.enabled",
    "previous_versions": "write.metadata.previous-versions-max",
    "format_version": "format-version",
    "target_file_bytes": "write.target-file-size-bytes",
    "compression": "write.parquet.compression-codec",
}
ONLY_TASKS = ("engine", "rows_per_task", "min_tasks", "chunk_ms", "chunk_above_ms")
ONLY_CACHED = {
    "spark.sql.inMemoryColumnarStorage.compressed": "true",
    "spark.sql.inMemoryColumnarStorage.batchSize": "10000",
}
"""Settings of cached columns, with Spark's defaults."""
ONLY_BASELINE = (*(each.name for each in fields(Shape) if each.name != "target_file_bytes"), "distribution")


@dataclass(frozen=True)
class Settings(Shape):
    """What a configuration says beside Spark's own settings (session.py): the baseline's steps, and all others."""

    shape: str = "tasks"
    """`tasks`: ours, tasks that own stretches of time; `baseline`: the job of the quantizer guide."""
    engine: str = "compiled"
    rows_per_task: int = 4_000_000
    min_tasks: int = 2
    chunk_ms: int = 0
    chunk_above_ms: int = 600_000
    compression: str = "zstd"
    delete_after_commit: bool = True
    previous_versions: int = 10
    format_version: int = 2
    broadcast_partials: bool = False
    distribution: str = "none"

    def batch(self, source: str, target: str, start_us: int, end_us: int, resolutions_ms: tuple[int, ...]) -> Batch:
        """A batch with these settings."""
        shared = {each.name: getattr(self, each.name) for each in fields(Batch) if hasattr(self, each.name)}
        return Batch(source, target, start_us, end_us, resolutions_ms, **shared)

    @property
    def table_properties(self) -> dict[str, str]:
        """The settings that are properties of the rollups' table. Only the baseline writes by Iceberg's own writer."""
        known = {name: str(getattr(self, key)).lower() for key, name in TABLE_PROPERTIES.items()}
        return known | ({"write.distribution-mode": self.distribution} if self.shape == "baseline" else {})


@dataclass(frozen=True)
class Workload:
    """What to roll up. `kind`: generated (seeded points) or weather (New York's airports in 2013)."""

    kind: str = option(
        "`generated`, seeded points, or `weather`, New York's airports in 2013", default="generated", choices=KINDS
    )
    generated: Generated = field(default_factory=Generated)
    resolutions_ms: tuple[int, ...] = option(
        "lengths of the windows, the shortest first", default=(60_000, 300_000, 3_600_000), unit="ms", low=1
    )
    batches: int = option(
        "the time is rolled up in so many batches, whose borders cut windows, so partials are written and read",
        default=2,
        low=1,
    )
    catalog: str = option("the Iceberg catalog's kind", default="jdbc", choices=CATALOGS)
    warehouse: str = option("where the tables are; a relative path starts at the data folder", default="warehouse")
    source: str = option(
        "production: the table to roll up (lake.db.table); without one the workload's own points are", default=""
    )
    target: str = option("production: the table to roll up into; a trial makes its own", default="")
    start: str = option(
        "production, first batch only: ISO time after which points are rolled up; the earliest point by default",
        default="",
    )
    until: str = option("production: ISO time up to which points are rolled up; now by default", default="")
    batch_ms: int = option(
        "production: the most time that one run rolls up, to catch up in steps; 0 is no limit",
        default=0,
        unit="ms",
        low=0,
    )
    lateness_ms: int = option(
        "production: rows that come later than this after their largest window's end are kept aside",
        default=3_600_000,
        unit="ms",
        low=0,
    )
    maintenance: str = option("production: a maintenance procedure on the target instead of a batch", default="")


def read_settings(config: TrialConfig) -> Settings:
    """The configuration's settings. Raises BadConfigurationError with the reason where they can't work here."""
    known = tuple(each.name for each in fields(Settings))
    refuse_unknown(config.configuration, (*known, *spark_names(config.configuration)), "parameter")
    settings = Settings(**{key: value for key, value in config.configuration.items() if key in known})
    for problem in _type_problems(settings):
        raise BadConfigurationError(problem)
    warehouse = str(config.workload.get("warehouse", ""))
    problems = (
        *_problems(settings),
        *_problems_of_shape(settings.shape, config.configuration),
        *_problems_of_cache(settings, config.configuration),
        *_spark_problems(config.configuration),
    )
    for problem in problems:
        raise BadConfigurationError(problem)
    refuse_idle(config.configuration, [warehouse])
    return settings


def _type_problems(settings: Settings) -> Iterator[str]:
    """Values of another type than the default's, and sizes below 0."""
    words = {"int": "a whole number", "bool": "true or false", "str": "text"}
    for each in fields(Settings):
        value, kind = getattr(settings, each.name), type(each.default).__name__
        if type(value).__name__ != kind:
            yield f"{each.name} is {value!r}, must be {words[kind]}"
        elif isinstance(value, int) and value < (low := int(each.name in POSITIVE)):
            yield f"{each.name} is {value}, must be {low} or more"


def _problems(settings: Settings) -> list[str]:
    checks: list[tuple[bool, str]] = [
        (settings.shape in SHAPES, f"shape is {settings.shape!r}, must be one of {', '.join(SHAPES)}"),
        (settings.engine in ENGINES, f"engine is {settings.engine!r}, must be one of {', '.join(ENGINES)}"),
        (
            settings.write_format in FILE_FORMATS,
            f"write-format is {settings.write_format!r}: Iceberg's option names the file format, one of "
            f"{', '.join(FILE_FORMATS)}; whether data or delete files are written is decided by the operation",
        ),
        (
            not settings.broadcast_partials,
            "broadcast_partials does nothing: broadcast() is a hint for joins, and a union has none. Leave it out",
        ),
        (
            settings.distribution in DISTRIBUTIONS,
            f"distribution is {settings.distribution!r}, must be one of {', '.join(DISTRIBUTIONS)}",
        ),
        (
            settings.compression in CODECS,
            f"compression is {settings.compression!r}, must be one of {', '.join(CODECS)}",
        ),
        (
            settings.storage_level in STORAGE_LEVELS,
            f"storage_level is {settings.storage_level!r}, must be one of {', '.join(STORAGE_LEVELS)}; a DataFrame is "
            "cached serialised, in columns, so there is no level ending in _SER",
        ),
        (settings.format_version in (2, 3), f"format_version is {settings.format_version}, must be 2 or 3"),
        (settings.chunk_ms == 0 or settings.chunk_ms >= 1000, f"chunk_ms is {settings.chunk_ms}: at least 1000, or 0"),
    ]
    return [text for holds, text in checks if not holds]


def _problems_of_shape(shape: str, configuration: Mapping[str, Any]) -> list[str]:
    """A step that the shape doesn't take can't be set."""
    foreign, other = (ONLY_BASELINE, "baseline") if shape == "tasks" else (ONLY_TASKS, "tasks")
    return [
        f"{name} has no effect on the shape {shape}, only on {other}: leave it out"
        for name in foreign
        if name in configuration and configuration[name] != getattr(Settings, name)
    ]


def _problems_of_cache(settings: Settings, configuration: Mapping[str, Any]) -> list[str]:
    is_cached = settings.shape == "baseline" and settings.cache_input
    return [
        f"{name} has no effect without cached input: leave it out, or set shape to baseline and cache_input to true"
        for name, default in ONLY_CACHED.items()
        if not is_cached and str(configuration.get(name, default)).lower() != default
    ]


def _spark_problems(configuration: Mapping[str, Any]) -> list[str]:
    """Settings that Spark takes without a word and that don't do what they seem to."""
    return [text for key in REFUSED if key in configuration for text in [REFUSED[key](str(configuration[key]))] if text]


def _index_cache(value: str) -> str | None:
    size = int(value) if value.isdigit() else size_bytes(value)  # a bare number is in bytes, unlike that of a heap
    if size >= 1 << 20:
        return None
    return f"spark.shuffle.service.index.cache.size is {value}, which is a size in bytes: 100m is the default"


def _unknown_name(name: str) -> Callable[[str], str | None]:
    return lambda value: f"{name} is no setting of Spark 4: a table's write option, give it as a parameter of the job"


REFUSED: dict[str, Callable[[str], str | None]] = {
    "spark.shuffle.service.index.cache.size": _index_cache,
    "spark.write-format": _unknown_name("spark.write-format"),
}
"""Settings of Spark that are accepted without a word and don't do what they seem to."""


def read_workload(config: TrialConfig) -> Workload:
    """The workload's options. Raises BadConfigurationError for one that is not known."""
    work, generated = read_both(Workload, Generated, config.workload, "workload option", beside=("name",))
    warehouse = work.warehouse
    if "://" not in warehouse:
        warehouse = (data_folder() / warehouse).resolve().as_uri()
    if work.source and not work.target:
        raise BadConfigurationError("production needs a 'target' for its 'source', both tables like lake.db.table")
    if work.source and work.source == work.target:
        raise BadConfigurationError(
            f"{work.source} is both the source and the target: rollups go to a table of their own"
        )
    _check_resolutions(work.resolutions_ms)
    start, until = (moment_us(name, getattr(work, name)) for name in ("start", "until"))
    if start is not None and until is not None and until <= start:
        raise BadConfigurationError(f"until is {work.until}, must be later than start, which is {work.start}")
    if work.maintenance and not work.target:
        raise BadConfigurationError("maintenance needs a 'target', a table like lake.db.table")
    return replace(work, generated=generated, warehouse=warehouse)


def _check_resolutions(resolutions_ms: Sequence[int]) -> None:
    try:
        check_resolutions(resolutions_ms)
    except ValueError as error:
        raise BadConfigurationError(f"resolutions_ms is {list(resolutions_ms)}: {error}") from None
    if resolutions_ms[-1] > LONGEST_MS:
        raise BadConfigurationError(f"resolutions_ms is {list(resolutions_ms)}: a window has a year at most")


def check_name(table: str) -> None:
    """Raises BadConfigurationError for a target that can't be made by its name."""
    if not TABLE_NAME.fullmatch(table):
        raise BadConfigurationError(
            f"target is {table!r}, must be names with points between, such as lake.db.rollups; other signs than "
            "letters, digits and _ go in backticks"
        )


def moment_us(name: str, text: str) -> int | None:
    """A time of the workload in us since 1970; None where none is given. Raises BadConfigurationError."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadConfigurationError(f"{name} is {text!r}, must be a time such as 2026-01-31T10:00:00+01:00") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def sized(workload: Workload, fraction: float) -> Workload:
    """A part of the workload: so many fewer series over all of the time, as another customer would be smaller."""
    if workload.kind == "weather" or fraction == 1.0:
        return workload
    generated = replace(workload.generated, points=max(1, round(workload.generated.points * fraction)))
    return replace(workload, generated=generated)


def borders_us(workload: Workload, fraction: float = 1.0) -> list[int]:
    """The times at which batches end, the start first: all but the first cut windows of every resolution.

    `fraction`: the part of the time that is rolled up.
    """
    if workload.kind == "weather":
        start, length = 1_356_998_400_000_000, 365 * 86_400_000_000
    else:
        start, length = START_US, workload.generated.end_us - START_US
    length = int(length * fraction)
    finest_us = workload.resolutions_ms[0] * 1000
    ends = [start + length * number // workload.batches for number in range(1, workload.batches + 1)]
    return [start, *(end // finest_us * finest_us - finest_us // 3 for end in ends)]
