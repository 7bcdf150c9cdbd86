"""Parquet timestamps in nanoseconds, as pandas writes them: Spark has microseconds, so a finer value is refused.

Spark refuses such files, or gives the numbers as they are. The footers say which columns these are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.dedup.options import Source
from pipeline_jobs.dedup.reader_options import reader_options

NANOSECONDS = "TIMESTAMP(NANOS"
"""How Parquet names the type."""
EPOCH = "1970-01-01 00:00:00"
AS_LONG = "spark.sql.legacy.parquet.nanosAsLong"


def read_nanoseconds(spark: SparkSession, source: Source, files: Sequence[str]) -> DataFrame:
    """The records of files with nanoseconds, as microseconds; a run ends at the first value that isn't a whole one.

    Raises BadConfigurationError where the column is nested, or not the same in all files.
    """
    if source.schema:
        raise BadConfigurationError(
            f"source {source.path} has timestamps of nanoseconds, which go without source.schema only: leave it out"
        )
    columns = _columns(spark, files)
    spark.conf.set(AS_LONG, "true")
    options = {"mergeSchema": "true", **reader_options(source.format, source.options)}
    records = spark.read.options(**options).parquet(source.path)
    return records.select(*(_read(records, number, columns) for number in range(len(records.columns))))


def _read(records: DataFrame, number: int, columns: dict[str, bool]) -> Column:
    name = records.columns[number]
    quoted = "`" + name.replace("`", "``") + "`"
    if name not in columns:
        return F.col(quoted)
    message = f"the source has nanoseconds in column {name}, where Spark has microseconds: round them, or write a text"
    is_whole = F.col(quoted).isNull() | (F.col(quoted) % 1000 == 0)
    micros = F.when(is_whole, F.expr(f"{quoted} div 1000")).otherwise(F.raise_error(F.lit(message)).cast("bigint"))
    if columns[name]:
        return F.timestamp_micros(micros).alias(name)
    seconds = micros.cast("decimal(20,0)") * F.lit("0.000001").cast("decimal(7,6)")
    zero = F.lit(0)
    return (F.lit(EPOCH).cast("timestamp_ntz") + F.make_dt_interval(zero, zero, zero, seconds)).alias(name)


def _columns(spark: SparkSession, files: Sequence[str]) -> dict[str, bool]:
    """The columns of nanoseconds, and whether they are moments (and not local times)."""
    found: dict[str, bool] = {}
    for number, file in enumerate(files):
        here = _in_file(spark, file)
        if number and here != found:
            raise BadConfigurationError(
                f"the file {file} has nanoseconds in other columns than {files[0]}: give the files one type per column"
            )
        found = here
    return found


def parquet_schema(spark: SparkSession, file: str) -> Any:
    """The schema in a Parquet file's footer, as the JVM has it."""
    jvm: Any = spark._jvm
    configuration = spark._jsc.hadoopConfiguration()
    path = jvm.org.apache.hadoop.fs.Path(jvm.java.net.URI(file))
    reader = jvm.org.apache.parquet.hadoop.ParquetFileReader.open(
        jvm.org.apache.parquet.hadoop.util.HadoopInputFile.fromPath(path, configuration)
    )
    try:
        return reader.getFooter().getFileMetaData().getSchema()
    finally:
        reader.close()


def _in_file(spark: SparkSession, file: str) -> dict[str, bool]:
    fields = list(parquet_schema(spark, file).getFields())
    columns = {}
    for field in fields:
        if not field.isPrimitive():
            if NANOSECONDS in str(field.toString()):
                raise BadConfigurationError(
                    f"the file {file} has nanoseconds within column {field.getName()}: write microseconds there"
                )
            continue
        kind = field.getLogicalTypeAnnotation()
        if kind is not None and str(kind.toString()).startswith(NANOSECONDS):
            columns[str(field.getName())] = bool(kind.isAdjustedToUTC())
    return columns
