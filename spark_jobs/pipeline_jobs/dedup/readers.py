"""Sources of records: Parquet, JSON lines, CSV, a JDBC table, an Iceberg table."""

from __future__ import annotations

import re

from py4j.protocol import Py4JJavaError
from pyspark.errors import AnalysisException, ParseException
from pyspark.sql import Column, DataFrame, DataFrameReader, SparkSession
from pyspark.sql import functions as F

from pipeline_jobs.contract import BadConfigurationError, InfrastructureError, JobError, TrialConfig
from pipeline_jobs.dedup.options import Source
from pipeline_jobs.migration.postgres import jdbc_connection

COLUMNAR = ("parquet", "iceberg")
"""Formats of which a few columns can be read without the others."""


UNREACHED = re.compile(r"FATAL:|Connection to \S+ refused|UnknownHost|connection attempt failed")
"""What says that a database could not be reached, or would not let us in."""


def read_source(spark: SparkSession, source: Source, config: TrialConfig) -> DataFrame:
    """The records of a source, lazily. Raises BadConfigurationError where it can't be found or understood."""
    reader = spark.read.options(**source.options)
    try:
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


def since(bookmark: str, look_back_s: float, records: DataFrame, timestamp: str) -> Column:
    """The condition for records at or after the bookmark less the look-back; those without a timestamp stay in."""
    kind = records.schema[timestamp].dataType.simpleString()
    reached = F.lit(bookmark).cast(kind)
    if kind.startswith("timestamp"):
        start = reached - F.make_dt_interval(secs=F.lit(look_back_s))
    elif kind == "date":
        start = F.date_sub(reached, int(-(-look_back_s // 86_400)))
    else:
        start = reached - F.lit(int(-(-look_back_s // 1)))
    return (F.col(timestamp) >= start) | F.col(timestamp).isNull()


def _refused(source: Source, text: str) -> JobError:
    """What a database said of a table or of us: the first is the configuration's fault, the second is not."""
    said = text.splitlines()[0].split("Exception: ", 1)[-1]
    kind = InfrastructureError if UNREACHED.search(text) else BadConfigurationError
    return kind(f"source {source.path}: {said}")


def _read(reader: DataFrameReader, source: Source, config: TrialConfig) -> DataFrame:
    if source.format == "jdbc":
        return reader.format("jdbc").options(dbtable=source.path, **jdbc_connection(config.uri("source"), {})).load()
    if source.format == "iceberg":
        return reader.table(source.path)
    if source.format in ("json", "csv"):
        reader = reader.option("mode", source.options.get("mode", "FAILFAST"))
    return reader.format(source.format).load(source.path)
