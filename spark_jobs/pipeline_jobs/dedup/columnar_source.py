"""Whether the strategy `columnar` can read a source's files, and how they are shared out among tasks. No data are read.

It reads what Arrow and Spark give the same values for, and ranks what DuckDB and Spark order the same way. All else is
Spark's: a reason says what.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame
from pyspark.sql import types as T

from pipeline_jobs.dedup.columnar_task import Part, Reduction
from pipeline_jobs.dedup.options import Rule, Source
from pipeline_jobs.dedup.source_inspection import partition_columns
from pipeline_jobs.dedup.strategies import TIED, null_refusals
from pipeline_jobs.resources import memory_limit_bytes
from pipeline_jobs.session import is_local

ONE_TASK_BYTES = 1 << 30
"""Files of so many bytes are one task's: more than that and the cores of a larger machine would wait for one."""
ONE_TASK_MEMORY = 0.5
"""The part of the memory that one task may need, foreseen from the two sizes below."""
UNPACKED, BYTES_A_RECORD = 4, 64
"""What a byte of a file takes while it is read, and what ranking takes for each record."""
TASK_BYTES = 128 << 20
"""Bytes of a task's files where there are several tasks."""

PLAIN: dict[T.DataType, pa.DataType] = {
    T.BooleanType(): pa.bool_(),
    T.ByteType(): pa.int8(),
    T.ShortType(): pa.int16(),
    T.IntegerType(): pa.int32(),
    T.LongType(): pa.int64(),
    T.FloatType(): pa.float32(),
    T.DoubleType(): pa.float64(),
    T.StringType(): pa.string(),
    T.BinaryType(): pa.binary(),
    T.DateType(): pa.date32(),
    T.TimestampType(): pa.timestamp("us", "UTC"),
    T.TimestampNTZType(): pa.timestamp("us"),
}
"""Types that Spark and Arrow have the same values of, but for decimals, which have their digits in the type."""
ALIKE = {
    pa.large_string(): pa.string(),
    pa.large_binary(): pa.binary(),
}
"""Arrow's other layouts of the same values."""
CODECS = frozenset(("UNCOMPRESSED", "SNAPPY", "GZIP", "ZSTD"))
OLDEST_DAY, OLDEST_MICROSECOND = -141_427, -2_208_988_800_000_000
"""15 October 1582 and 1900, since 1970: before them Spark asks which calendar a file has."""


class NotColumnarError(Exception):
    """Why these records are Spark's to read."""


@dataclass(frozen=True)
class ColumnarPlan:
    """What the tasks do, and the bytes of the files that they read."""

    reduction: Reduction
    size_bytes: int

    @property
    def is_one_task(self) -> bool:
        """Whether nothing is left to bring together."""
        return len(self.reduction.tasks) == 1


@dataclass(frozen=True)
class _File:
    path: str
    size_bytes: int
    metadata: Any


def columnar_plan(
    records: DataFrame,
    source: Source,
    rule: Rule,
    *,
    one_task_bytes: int = ONE_TASK_BYTES,
    task_bytes: int = TASK_BYTES,
) -> ColumnarPlan:
    """How to reduce a source's records. `records` and `rule` are in the source's names.

    Raises NotColumnarError with the reason why it can't be done exactly.
    """
    if source.format != "parquet":
        raise NotColumnarError(f"it reads Parquet files, and the source is {source.format}")
    schema = _schema(records, rule)
    files = [_file(path, schema) for path in _paths(records)]
    size = sum(file.size_bytes for file in files)
    is_one = size <= one_task_bytes and _fits(size, sum(file.metadata.num_rows for file in files))
    reduction = Reduction(
        tasks=_tasks(files, size if is_one else task_bytes),
        schema=schema,
        key=rule.key,
        declared=rule.declared,
        null_keys=rule.null_keys,
        null_timestamps=rule.null_timestamps,
        refusals=null_refusals(rule),
        flag=_free_name(schema.names),
        threads=_cores(records) if is_one else 1,
    )
    return ColumnarPlan(reduction, size)


def _fits(size_bytes: int, rows: int) -> bool:
    return UNPACKED * size_bytes + BYTES_A_RECORD * rows <= ONE_TASK_MEMORY * memory_limit_bytes()


def _free_name(taken: Sequence[str]) -> str:
    """A name for the flag that no column has, in any case."""
    name, lower = TIED, {each.lower() for each in taken}
    while name in lower:
        name += "_"
    return name


def _cores(records: DataFrame) -> int:
    """What one task may use while no other one runs."""
    context = records.sparkSession.sparkContext
    if is_local(str(context.master)):
        return context.defaultParallelism
    return int(context.getConf().get("spark.executor.cores", "1") or 1)


def _schema(records: DataFrame, rule: Rule) -> pa.Schema:
    """The columns as Arrow has them. Raises NotColumnarError for a type that isn't the same for both."""
    folders = partition_columns(records)
    if folders:
        raise NotColumnarError(f"the column {folders[0]} is in the folders' names")
    fields = [pa.field(field.name, _arrow_type(field)) for field in records.schema]
    for field in fields:
        if field.name in (*rule.key, *rule.declared) and pa.types.is_floating(field.type):
            raise NotColumnarError(f"the column {field.name} of key or order is a {field.type}")
    return pa.schema(fields)


def _arrow_type(field: T.StructField) -> pa.DataType:
    kind = field.dataType
    if isinstance(kind, T.DecimalType):
        return pa.decimal128(kind.precision, kind.scale)
    if kind not in PLAIN:
        raise NotColumnarError(f"the column {field.name} is a {kind.simpleString()}")
    if field.metadata:
        raise NotColumnarError(f"the column {field.name} has properties of Spark's own")
    return PLAIN[kind]


def _paths(records: DataFrame) -> list[str]:
    """The files that Spark would read. Raises NotColumnarError for files that aren't on this file system."""
    paths = []
    for uri in sorted(records.inputFiles()):
        parts = urlsplit(uri)
        if parts.scheme not in ("", "file"):
            raise NotColumnarError(f"it reads files of this machine, and the source's are on {parts.scheme}:")
        paths.append(unquote(parts.path))
    if not paths:
        raise NotColumnarError("the source has no files")
    return paths


def _file(path: str, schema: pa.Schema) -> _File:
    """A file by its footer. Raises NotColumnarError where Spark would read other values than Arrow, or may."""
    try:
        with pq.ParquetFile(path) as file:
            found, metadata = file.schema_arrow, file.metadata
    except (OSError, pa.ArrowException):
        raise NotColumnarError(f"the footer of the file {Path(path).name} can't be read") from None
    if found.names != schema.names:
        raise NotColumnarError(f"the file {Path(path).name} has other columns than the source")
    for here, field in zip(found, schema, strict=True):
        if not _is_same(here.type, field.type):
            raise NotColumnarError(f"the file {Path(path).name} has {here.type} in column {field.name}")
    _check_chunks(path, metadata, schema)
    return _File(path, os.path.getsize(path), metadata)


def _is_same(here: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether Arrow reads what Spark would: a moment's zone is only for display."""
    if pa.types.is_timestamp(here) and pa.types.is_timestamp(wanted):
        return here.unit == wanted.unit and (here.tz is None) == (wanted.tz is None)
    return bool(ALIKE.get(here, here) == wanted)


def _check_chunks(path: str, metadata: Any, schema: pa.Schema) -> None:
    """Raises NotColumnarError for packing that wasn't tried, and for times that may be of another calendar."""
    oldest = {
        number: OLDEST_DAY if pa.types.is_date(field.type) else OLDEST_MICROSECOND
        for number, field in enumerate(schema)
        if pa.types.is_temporal(field.type)
    }
    for group in range(metadata.num_row_groups):
        for number in range(len(schema)):
            chunk = metadata.row_group(group).column(number)
            if chunk.compression not in CODECS:
                raise NotColumnarError(f"the file {Path(path).name} is packed by {chunk.compression}")
            if number in oldest and not _is_recent(chunk.statistics, oldest[number]):
                raise NotColumnarError(
                    f"the file {Path(path).name} doesn't say that the times in column {schema.names[number]} are of "
                    "today's calendar"
                )


def _is_recent(statistics: Any, oldest: int) -> bool:
    if statistics is None:
        return False
    return statistics.num_values == 0 or (statistics.has_min_max and int(statistics.min_raw) >= oldest)


def _tasks(files: Sequence[_File], most_bytes: int) -> tuple[tuple[Part, ...], ...]:
    """The files' row groups in their order, so many that a task's have about so many bytes."""
    tasks: list[tuple[Part, ...]] = []
    parts: list[Part] = []
    size = 0.0
    for part, part_bytes in _groups(files):
        if parts and size + part_bytes > most_bytes:
            tasks.append(_joined(parts))
            parts, size = [], 0.0
        parts.append(part)
        size += part_bytes
    return (*tasks, _joined(parts))


def _groups(files: Sequence[_File]) -> Iterator[tuple[Part, float]]:
    for file in files:
        for group in range(file.metadata.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            yield Part(file.path, (group,), rows), file.size_bytes * rows / max(1, file.metadata.num_rows)


def _joined(parts: Sequence[Part]) -> tuple[Part, ...]:
    """Neighbours of one file as one part."""
    joined: list[Part] = []
    for part in parts:
        if joined and joined[-1].path == part.path:
            before = joined.pop()
            part = Part(part.path, before.groups + part.groups, before.rows + part.rows)
        joined.append(part)
    return tuple(joined)
