"""The sources: Parquet, JSON lines, CSV, a JDBC table, an Iceberg table, as Spark reads them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import AnalysisException, ParseException, PySparkException
from pyspark.sql import Column, DataFrame, DataFrameReader, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StringType

from pipeline_jobs.contract import BadConfigurationError, InfrastructureError, JobError, TrialConfig
from pipeline_jobs.dedup.encodings import check_encoding, encoding_of
from pipeline_jobs.dedup.failures import MARKED, explained
from pipeline_jobs.dedup.nanoseconds import NANOSECONDS, read_nanoseconds
from pipeline_jobs.dedup.options import Source
from pipeline_jobs.dedup.reader_options import reader_options
from pipeline_jobs.postgres import jdbc_connection
from pipeline_jobs.spark_errors import in_one_line

LONGEST = str(2**31 - 1)
# A column of the name that Spark gives to records that can't be read is a column like others.
NO_CORRUPT_RECORDS = {"columnNameOfCorruptRecord": "\x01"}
EXACT: Mapping[str, Mapping[str, str]] = {
    # RFC 4180: a quote is doubled, a value may hold line breaks; the header's names are held against the schema.
    # An empty text in quotes is a text; only what is not there at all is NULL.
    "csv": {"escape": '"', "multiLine": "true", "enforceSchema": "false", "nullValue": "\x01", **NO_CORRUPT_RECORDS},
    # What is no JSON is refused, as by the check of the files; texts and numbers of any length are JSON.
    "json": {"allowSingleQuotes": "false", "maxStringLen": LONGEST, "maxNumLen": LONGEST, **NO_CORRUPT_RECORDS},
    # Columns that only some files have are NULL in the others.
    # Old dates are of one of two calendars where the file doesn't say who wrote it.
    "parquet": {"mergeSchema": "true", "datetimeRebaseMode": "EXCEPTION", "int96RebaseMode": "EXCEPTION"},
    # A timestamp without zone is no moment: the machine's zone must not move it.
    "jdbc": {"preferTimestampNTZ": "true"},
}
"""Options by format without which values would be changed or lost; those of the study replace them."""
SETTINGS = {
    # A partition folder `007` is a code: its text is kept.
    "spark.sql.sources.partitionColumnTypeInference.enabled": "false",
    "spark.sql.files.ignoreCorruptFiles": "false",
    "spark.sql.files.ignoreMissingFiles": "false",
    # Texts in windows-1252 and others that Spark 4 doesn't know by itself.
    "spark.sql.legacy.javaCharsets": "true",
    "spark.sql.legacy.parquet.nanosAsLong": "false",
}
"""Spark's settings without which a source would be read inexactly, or not at all."""

MARK = "\ufeff"
EXECUTOR_OPTIONS = "spark.executor.extraJavaOptions"
TEXT = ("json", "csv")
COLUMNAR = ("parquet", "iceberg")
"""Formats of which a few columns can be read without the others."""


UNREACHED = re.compile(r"FATAL:|Connection to \S+ refused|UnknownHost|connection attempt failed")
"""What says that a database could not be reached, or would not let us in."""


def read_source(spark: SparkSession, source: Source, config: TrialConfig) -> DataFrame:
    """The records of a source, lazily. Raises BadConfigurationError where it can't be found or understood.

    That they are exact is what source_inspection.py looks at.
    """
    for name, value in SETTINGS.items():
        spark.conf.set(name, value)
    if source.format == "jdbc":
        _use_utc(spark)
    if source.format in TEXT:
        check_encoding(spark, encoding_of(spark_options(source)))
    reader = spark.read.options(**({} if source.format == "iceberg" else spark_options(source)))
    try:
        if source.schema:
            reader = reader.schema(source.schema)
        records = _read(reader, source, config)
        records.schema  # noqa: B018  Spark resolves a source here, so that a missing one is reported here
    except PySparkException as error:
        if source.format == "parquet" and NANOSECONDS in str(error):
            return read_nanoseconds(spark, source, listed_files(spark, source))
        raise _unread(source, error) from None
    except Py4JJavaError as error:
        if source.format != "jdbc":
            raise _unread(source, error) from None
        raise _refused(source, str(error.java_exception)) from None
    return records


def _unread(source: Source, error: PySparkException | Py4JJavaError) -> Exception:
    """Why a source can't be had: in words of ours where there are some, else in Spark's."""
    said = explained(error, {})
    if type(said) is not JobError and not isinstance(error, AnalysisException | ParseException):
        return said
    return BadConfigurationError(f"source {source.path}: {in_one_line(error)}{_hint(source, str(error))}")


def _hint(source: Source, words: str) -> str:
    """What is behind a message: Hadoop takes a name with a colon for an address, and some signs for patterns."""
    if "Relative path in absolute URI" in words:
        return "; a file's name has a colon, which Hadoop takes for an address: rename it"
    signs = "".join(sorted(set(source.path) & set("[]{}*?")))
    return f"; {signs} in a path is a pattern: name the folder, and the files in pathGlobFilter" if signs else ""


def _use_utc(spark: SparkSession) -> None:
    """Let this JVM live in UTC: JDBC's times go through its zone, where an hour of spring is missing."""
    jvm: Any = spark._jvm
    jvm.java.util.TimeZone.setDefault(jvm.java.util.TimeZone.getTimeZone("UTC"))


def with_utc_executors(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with executors that live in UTC, for the same reason."""
    given = str(configuration.get(EXECUTOR_OPTIONS, ""))
    return {**configuration, EXECUTOR_OPTIONS: f"{given} -Duser.timezone=UTC".strip()}


def spark_options(source: Source) -> dict[str, str]:
    """The reader's options: those without which values would change, and the study's in their place."""
    return {**EXACT.get(source.format, {}), **reader_options(source.format, source.options)}


def listed_files(spark: SparkSession, source: Source) -> list[str]:
    """All files below a path but hidden ones, as Spark names them; `pathGlobFilter` holds."""
    reader = spark.read.format("binaryFile").option("recursiveFileLookup", "true")
    wanted = reader_options(source.format, source.options).get("pathGlobFilter")
    return list((reader.option("pathGlobFilter", wanted) if wanted else reader).load(source.path).inputFiles())


def since(bookmark: str, look_back_s: float, records: DataFrame, timestamp: str) -> Column:
    """The condition for records at or after the bookmark less the look-back; those without a timestamp stay in."""
    kind = records.schema[timestamp].dataType.simpleString()
    if kind.startswith("timestamp"):
        start = F.lit(bookmark).cast(kind) - F.make_dt_interval(secs=F.lit(look_back_s))
    elif kind == "date":
        start = F.date_sub(F.lit(bookmark).cast(kind), int(-(-look_back_s // 86_400)))
    else:
        start = F.lit(int(bookmark) - int(-(-look_back_s // 1)))
    return (F.col(timestamp) >= start) | F.col(timestamp).isNull()


def _refused(source: Source, text: str) -> JobError:
    """A database's message: on a table it is the configuration's fault, on the connection it is not."""
    message = text.splitlines()[0].split("Exception: ", 1)[-1]
    kind = InfrastructureError if UNREACHED.search(text) else BadConfigurationError
    return kind(f"source {source.path}: {message}")


def _read(reader: DataFrameReader, source: Source, config: TrialConfig) -> DataFrame:
    if source.format == "jdbc":
        # Rows that a policy hides from the role are an error and not left out.
        place = jdbc_connection(config.uri("source"), {"options": "-c row_security=off"})
        return reader.format("jdbc").options(dbtable=source.path, **place).load()
    if source.format == "iceberg":
        return reader.options(**_past(source)).table(source.path)
    if source.format in TEXT:
        reader = reader.option("mode", "FAILFAST")
    records = reader.format(source.format).load(source.path)
    return _without_mark(records) if source.format == "csv" else records


def _past(source: Source) -> dict[str, str]:
    """The options of an Iceberg table by the names that Spark has for them since Iceberg has none of its own."""
    given = spark_options(source)
    moment = given.pop("as-of-timestamp", None)
    versions = [given.pop(name) for name in ("snapshot-id", "tag") if name in given]
    if len(versions) + (moment is not None) + ("branch" in given) > 1:
        raise BadConfigurationError(
            "source.options: snapshot-id, as-of-timestamp, branch and tag exclude each other: give one"
        )
    if moment is not None:
        at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=int(moment))
        return {**given, "timestampAsOf": at.isoformat(sep=" ")}
    return given | ({"versionAsOf": versions[0]} if versions else {})


def _without_mark(records: DataFrame) -> DataFrame:
    """The records, failing at a text that a byte-order mark got into: Spark's reader of whole files takes it along."""
    first = records.schema[0] if len(records.schema) else None
    if first is None or not isinstance(first.dataType, StringType):
        return records
    column = F.col("`" + first.name.replace("`", "``") + "`")
    refused = F.raise_error(F.lit(f"a CSV file of the source {MARKED}")).cast("string")
    others = [F.col("`" + name.replace("`", "``") + "`") for name in records.columns[1:]]
    return records.select(F.when(column.startswith(MARK), refused).otherwise(column).alias(first.name), *others)
