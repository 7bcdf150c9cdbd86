"""Sources of records: Parquet, JSON lines, CSV, a JDBC table, an Iceberg table."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from py4j.protocol import Py4JJavaError
from pyspark.errors import AnalysisException, ParseException
from pyspark.sql import Column, DataFrame, DataFrameReader, SparkSession
from pyspark.sql import functions as F

from pipeline_jobs.contract import BadConfigurationError, InfrastructureError, JobError, TrialConfig
from pipeline_jobs.dedup.jdbc_values import check_values
from pipeline_jobs.dedup.options import Source
from pipeline_jobs.migration.postgres import jdbc_connection

EXACT: Mapping[str, Mapping[str, str]] = {
    # RFC 4180: a quote is doubled, a value may hold line breaks; the header's names are held against the schema.
    # An empty text in quotes is a text; only what is not there at all is NULL.
    "csv": {"escape": '"', "multiline": "true", "enforceschema": "false", "nullvalue": "\x01"},
    # Columns that only some files have are NULL in the others.
    "parquet": {"mergeschema": "true"},
    # A timestamp without zone is no moment: the machine's zone must not move it.
    "jdbc": {"prefertimestampntz": "true"},
}
"""Options by format without which values would be changed or lost; those of the study replace them."""
MAX_SUSPECTS = 1000
SAMPLE_LINES = 100

COLUMNAR = ("parquet", "iceberg")
"""Formats of which a few columns can be read without the others."""


UNREACHED = re.compile(r"FATAL:|Connection to \S+ refused|UnknownHost|connection attempt failed")
"""What says that a database could not be reached, or would not let us in."""


def read_source(spark: SparkSession, source: Source, config: TrialConfig) -> DataFrame:
    """The records of a source, lazily. Raises BadConfigurationError where it can't be found or understood."""
    # A partition folder `007` is a code: its text is kept.
    spark.conf.set("spark.sql.sources.partitionColumnTypeInference.enabled", "false")
    reader = spark.read.options(**{**EXACT.get(source.format, {}), **_lower_keys(source.options)})
    try:
        if source.format in ("json", "csv"):
            check_encoding(spark, source)
        if source.format == "json":
            check_json(spark, source)
        if source.schema:
            reader = reader.schema(source.schema)
        records = _read(reader, source, config)
        records.schema  # noqa: B018  Spark resolves a source here, so that a missing one is reported here
    except (AnalysisException, ParseException) as error:
        raise BadConfigurationError(f"source {source.path}: {str(error).strip().splitlines()[0]}") from None
    except Py4JJavaError as error:
        if source.format != "jdbc":
            raise
        raise _refused(source, str(error.java_exception)) from None
    return records


def _lower_keys(options: Mapping[str, str]) -> dict[str, str]:
    """Spark's options under names in one case, so that one that is given replaces ours."""
    return {name.lower(): value for name, value in options.items()}


def check_encoding(spark: SparkSession, source: Source) -> None:
    """Refuse text that isn't UTF-8: Spark would put a replacement character for each byte that it can't read.

    Raises BadConfigurationError naming the file and the remedy. Nothing is looked at where the study gives an encoding.
    """
    if {"encoding", "charset"} & set(_lower_keys(source.options)):
        return
    lines = spark.read.text(source.path).select("value", F.input_file_name().alias("file"))
    broken = lines.where(~F.is_valid_utf8("value")).first()
    if broken is not None:
        raise BadConfigurationError(
            f"the file {broken.file} is not UTF-8: write it as UTF-8, or set source.options.encoding (ISO-8859-1, ...)"
        )


def check_json(spark: SparkSession, source: Source) -> None:
    """Refuse lines of several objects, of which Spark reads the first, and names in another case than the schema's.

    Raises BadConfigurationError naming the file. Whole-file JSON (`multiLine`) is not looked at.
    """
    if str(_lower_keys(source.options).get("multiline", "false")).lower() == "true":
        return
    lines = spark.read.text(source.path).select("value", F.input_file_name().alias("file"))
    suspects = lines.where(F.col("value").rlike(r"\}[\s,]*\{")).limit(MAX_SUSPECTS).collect()
    for suspect in suspects:
        if _has_more_than_one(suspect.value):
            raise BadConfigurationError(
                f"the file {suspect.file} has several JSON objects in a line, of which only the first would be read: "
                "write one object per line"
            )
    if source.schema:
        wanted = spark.createDataFrame([], source.schema).columns
        for row in lines.limit(SAMPLE_LINES).collect():
            _check_names(row.value, wanted, row.file)


def _has_more_than_one(line: str) -> bool:
    try:
        _, end = json.JSONDecoder().raw_decode(line.strip())
    except ValueError:
        return False
    return bool(line.strip()[end:].strip())


def _check_names(line: str, wanted: Sequence[str], file: str) -> None:
    try:
        found = json.loads(line)
    except ValueError:
        return
    names = set(found) if isinstance(found, dict) else set()
    other = {name.lower(): name for name in names}
    for column in wanted:
        if column not in names and column.lower() in other:
            raise BadConfigurationError(
                f"the file {file} has {other[column.lower()]} where source.schema has {column}: "
                "write the schema's names as the file has them"
            )


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
    """What a database said of a table or of us: the first is the configuration's fault, the second is not."""
    said = text.splitlines()[0].split("Exception: ", 1)[-1]
    kind = InfrastructureError if UNREACHED.search(text) else BadConfigurationError
    return kind(f"source {source.path}: {said}")


def _read(reader: DataFrameReader, source: Source, config: TrialConfig) -> DataFrame:
    if source.format == "jdbc":
        check_values(config.uri("source"), source.path)
        return reader.format("jdbc").options(dbtable=source.path, **jdbc_connection(config.uri("source"), {})).load()
    if source.format == "iceberg":
        return reader.table(source.path)
    if source.format in ("json", "csv"):
        reader = reader.option("mode", "FAILFAST")
    return reader.format(source.format).load(source.path)
