"""The inspection of a source before it is read: whether it arrives exactly, else it is refused in one line.

It costs a pass over text files, and a query or a listing elsewhere; so it happens before the clock starts, and once for
each state of the files: a note beside the workloads says which state was found right.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from pipeline_jobs.contract import BadConfigurationError, TrialConfig, write_json
from pipeline_jobs.dedup.encodings import encoding_of
from pipeline_jobs.dedup.hidden_files import check_hidden
from pipeline_jobs.dedup.iceberg_files import check_times
from pipeline_jobs.dedup.jdbc_values import check_values
from pipeline_jobs.dedup.options import Source
from pipeline_jobs.dedup.readers import TEXT, listed_files, read_source, spark_options
from pipeline_jobs.dedup.text_scan import IN_BOTH, OUR_NULL, TextFormat, scanner

VERSION = 2
"""Changes when the checks do: what older ones found right is looked at again."""
OF_FILES = ("json", "csv", "parquet")
NOTE_DAYS = 30
"""Notes that are older are removed: their files have changed, or are looked at once more."""
UNSURE = (".snappy", ".lz4")
WHOLE_FILES = str(1 << 60)


@dataclass(frozen=True)
class Inspection:
    """What was found: nothing that would be changed or lost."""

    records: int | None = None
    """How many the source has, by our own count; None where they weren't counted."""
    took_s: float = 0.0
    is_from_note: bool = False
    """Whether an earlier trial had looked at the same files."""


def inspect_source(spark: SparkSession, source: Source, config: TrialConfig, notes: Path | None = None) -> Inspection:
    """Look at a source. `notes` is the folder that remembers what was found right; None remembers nothing.

    Raises BadConfigurationError naming file, column or value, and the remedy.
    """
    started = time.monotonic()
    if source.format == "jdbc":
        check_values(config.uri("source"), source.path)
    if source.format == "iceberg":
        check_times(spark, source.path)
    records, known = None, None
    if source.format in OF_FILES:
        records = read_source(spark, source, config)
        note = _note(records, source, notes)
        known = _remembered(note)
        found = known or Inspection(_inspect_files(spark, source, records))
        if note is not None and known is None:
            _remember(note, found)
        return Inspection(found.records, time.monotonic() - started, known is not None)
    return Inspection(None, time.monotonic() - started)


def _inspect_files(spark: SparkSession, source: Source, records: DataFrame) -> int | None:
    _check_listing(spark, source, records)
    if source.format in TEXT:
        _check_endings(records)
    if source.format == "parquet":
        _check_parquet(spark, source, records)
        return None
    return _scan(spark, source, text_format(source, records))


def _check_listing(spark: SparkSession, source: Source, records: DataFrame) -> None:
    """Refuse folders of which Spark reads a part: without partition names, it doesn't look into them."""
    read = set(records.inputFiles())
    check_hidden(spark, source, sorted(read))
    left = sorted(set(listed_files(spark, source)) - read)
    if left:
        raise BadConfigurationError(
            f"the file {left[0]} is below source.path and would not be read: set source.options.recursiveFileLookup "
            "true, or pathGlobFilter to the files that are meant"
        )


def _check_endings(records: DataFrame) -> None:
    """Refuse packed files of which Spark leaves out what is cut off, or framed otherwise, without a word."""
    for file in records.inputFiles():
        if file.endswith(UNSURE):
            raise BadConfigurationError(
                f"the file {file} is packed in a way of which Spark leaves out what it can't read: pack it as .gz, "
                ".bz2 or .zst"
            )


def _check_parquet(spark: SparkSession, source: Source, records: DataFrame) -> None:
    """Refuse a column that files and folders have, of which Spark takes the folders' value, and one that none has."""
    found = spark.read.options(**spark_options(source)).parquet(source.path) if source.schema else records
    in_files = {str(name).lower() for name in _relation(found).dataSchema().fieldNames()}
    twice = [name for name in partition_columns(found) if name.lower() in in_files]
    if twice:
        raise BadConfigurationError(IN_BOTH.format(twice[0]))
    if not source.schema:
        return
    wanted = spark.createDataFrame([], source.schema).columns
    present = {name.lower() for name in found.columns}
    missing = [name for name in wanted if name.lower() not in present]
    if missing:
        raise BadConfigurationError(
            f"source.schema has {', '.join(missing)}, which no file has: fix the name, or leave it out"
        )


def text_format(source: Source, records: DataFrame) -> TextFormat:
    """How a text source's files are to be read."""
    given = {name.lower(): value for name, value in spark_options(source).items()}
    folders = partition_columns(records)
    formats = {"dateformat": "date", "timestampformat": "timestamp", "timestampntzformat": "timestamp_ntz"}
    return TextFormat(
        columns=StructType([part for part in records.schema if part.name not in folders]),
        folders=frozenset(folders),
        is_declared=bool(source.schema),
        encoding=encoding_of(given),
        is_multi_line=_is_on(given, "multiline"),
        has_header=_is_on(given, "header"),
        separator=given.get("sep") or given.get("delimiter") or ",",
        quote=given.get("quote", '"'),
        escape=given.get("escape", '"'),
        comment=given.get("comment", ""),
        null=given.get("nullvalue", OUR_NULL),
        is_stripped=_is_on(given, "ignoreleadingwhitespace") or _is_on(given, "ignoretrailingwhitespace"),
        formatted=frozenset(kind for name, kind in formats.items() if given.get(name)),
    )


def _is_on(given: dict[str, str], name: str) -> bool:
    return given.get(name, "false").lower() == "true"


def partition_columns(records: DataFrame) -> list[str]:
    """The columns of records that the folders' names hold."""
    return list(_relation(records).partitionSchema().fieldNames())


def _relation(records: DataFrame) -> Any:
    """What Spark knows of the files that a frame reads."""
    return records._jdf.queryExecution().analyzed().collectLeaves().head().relation()


def _scan(spark: SparkSession, source: Source, how: TextFormat) -> int:
    """The number of records, by our own parser. Raises BadConfigurationError with the first problem."""
    function = scanner(how, source.format)
    with _whole_files(spark, source.format == "csv"):
        lines = _lines(spark, source, how)
        found = lines.mapInArrow(function, "records bigint, problem string").collect()
    problem = min((row.problem for row in found if row.problem), default=None)
    if problem is not None:
        raise BadConfigurationError(" ".join(problem.splitlines()))
    return sum(row.records for row in found)


def _lines(spark: SparkSession, source: Source, how: TextFormat) -> DataFrame:
    """The files' lines as bytes, in order; or each file as one, where lines mean nothing. Folders are no columns."""
    given = spark_options(source)
    reader = spark.read.option("recursiveFileLookup", "true")
    if "pathGlobFilter" in given:
        reader = reader.option("pathGlobFilter", given["pathGlobFilter"])
    if how.is_whole or (source.format == "json" and how.is_multi_line):
        return reader.format("binaryFile").load(source.path).select("content", F.col("path").alias("file"))
    if source.format == "csv":
        reader = reader.option("lineSep", "\n")
    elif "lineSep" in given:
        reader = reader.option("lineSep", given["lineSep"])
    lines = reader.text(source.path)
    return lines.select(F.col("value").cast("binary").alias("value"), F.input_file_name().alias("file"))


@contextmanager
def _whole_files(spark: SparkSession, wanted: bool) -> Iterator[None]:
    """A task for each file, where a record may go over several lines."""
    names = ("spark.sql.files.maxPartitionBytes", "spark.sql.files.openCostInBytes")
    before = {name: spark.conf.get(name) for name in names}
    try:
        for name in names if wanted else ():
            spark.conf.set(name, WHOLE_FILES)
        yield
    finally:
        for name, value in before.items():
            spark.conf.set(name, value or "")


def _note(records: DataFrame, source: Source, notes: Path | None) -> Path | None:
    """The file that would remember this state: names, sizes and times of the files, and how they are read."""
    if notes is None:
        return None
    state = [VERSION, asdict(source), records.schema.json(), _state_of_files(records)]
    identity = hashlib.sha256(json.dumps(state, sort_keys=True, default=str).encode()).hexdigest()[:16]
    return notes / f"inspected-{identity}.json"


def _state_of_files(records: DataFrame) -> list[str]:
    files = _relation(records).location().allFiles()
    return sorted(
        f"{(status := files.apply(number)).getPath()} {status.getLen()} {status.getModificationTime()}"
        for number in range(files.size())
    )


def _remembered(note: Path | None) -> Inspection | None:
    if note is None or not note.exists():
        return None
    return Inspection(json.loads(note.read_text(encoding="utf-8"))["records"])


def _remember(note: Path, found: Inspection) -> None:
    """Where nothing can be written, the next trial looks again."""
    with suppress(OSError):
        note.parent.mkdir(parents=True, exist_ok=True)
        for old in note.parent.glob("inspected-*.json"):
            if old.stat().st_mtime < time.time() - NOTE_DAYS * 86_400:
                old.unlink()
        write_json(note, {"records": found.records})
