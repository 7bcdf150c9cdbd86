"""Files that were added to an Iceberg table as they were: Iceberg takes all their times for microseconds.

`add_files` looks at no type: milliseconds become days of January 1970, without a word. Files that Iceberg wrote
itself have microseconds; a table with others has a name mapping, as these lack Iceberg's field ids.
"""

from __future__ import annotations

from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.dedup.nanoseconds import parquet_schema

NAME_MAPPING = "schema.name-mapping.default"
OTHER_UNITS = ("TIMESTAMP(MILLIS", "TIMESTAMP(NANOS")


def check_times(spark: SparkSession, table: str) -> None:
    """Raises BadConfigurationError for an added Parquet file with times in milliseconds or nanoseconds."""
    jvm: Any = spark._jvm
    try:
        loaded = jvm.org.apache.iceberg.spark.Spark3Util.loadIcebergTable(spark._jsparkSession, table)
    except Py4JJavaError:
        return  # A metadata table, or a name that the reader refuses.
    if loaded.properties().get(NAME_MAPPING) is None:
        return
    files = spark.table(f"{table}.all_data_files").where("file_format = 'PARQUET'")
    for (file,) in files.select("file_path").distinct().collect():
        schema = str(parquet_schema(spark, file).toString())
        if any(unit in schema for unit in OTHER_UNITS):
            raise BadConfigurationError(
                f"the file {file} was added to {table} with times that are not in microseconds, which Iceberg would "
                "take for such: write it anew with microseconds, and add that"
            )
