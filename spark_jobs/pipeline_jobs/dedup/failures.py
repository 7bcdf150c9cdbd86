"""Spark's errors in words: what happened, and what to do; an out-of-memory is told apart."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException

from pipeline_jobs.contract import BadConfigurationError, InfrastructureError, JobError
from pipeline_jobs.spark_errors import in_one_line

MARKED = "has a first value that begins with a byte-order mark: write the file without it"

MEMORY_SIGNS = (
    "OutOfMemoryError",
    "Not enough memory to build and broadcast",
    "exit code 137",
    "exit code 52",
    "exited with code 52",
    "ExitCode 52",
    "UNABLE_TO_ACQUIRE_MEMORY",
    "Cannot broadcast the table that is larger",
)
"""52 is Spark's exit code of an executor out of memory, 137 the kernel's or a container's kill."""

MESSAGES = (
    (r"columnar_task\.RefusedError: (.*)", "{0}"),
    (r"CSV header does not conform to the schema\.\s+Header: \ufeff[\s\S]*?CSV file: (\S+)", "the file {0} " + MARKED),
    (
        r"(\[(?:CAST_INVALID_INPUT|DIVIDE_BY_ZERO|ARITHMETIC_OVERFLOW|CAST_OVERFLOW|INVALID_ARRAY_INDEX)\][^\n]*)",
        "deleted_when can't be computed for a record: {0}",
    ),
    (
        r"COLUMN_ARRAY_ELEMENT_TYPE_MISMATCH",
        "the source has a list of another number of dimensions than its column says: read from a view with the column "
        "as ::text",
    ),
    (
        r"Relative path in absolute URI: (\S+)",
        "a file of the source has a : in its name ({0}), which Hadoop takes for an address: rename it",
    ),
    (
        r"READ_ANCIENT_DATETIME",
        "the source has dates before 1582-10-15 or timestamps before 1900 in files that don't say by which calendar: "
        "set source.options.datetimeRebaseMode (int96RebaseMode for INT96) CORRECTED where they are as they read, "
        "LEGACY for files of Spark 2 and Hive",
    ),
    (
        r"CSV header does not conform to the schema\.\s+Header: (.*?)\s+Schema: (.*?)\s+Expected: .*?"
        r"\s+CSV file: (\S+)",
        "the file {2} has the columns {0}, source.schema has {1}: give the schema in the file's order",
    ),
    (
        r"(?:FAILED_READ_FILE|CANNOT_MERGE_SCHEMAS|Failed merging schema)[\s\S]*?"
        r"(?:Failed to merge|incompatible data types) (.*)",
        "the files of the source don't have one schema: {0}; write them with one type per column",
    ),
    (
        r"COLUMN_DATA_TYPE_MISMATCH\][\s\S]*?file (\S+?)\.\s[\s\S]*?column \[(.*?)\]\."
        r" Expected Spark type (.+?), actual Parquet type (\w+)",
        "the file {0} has {3} in column {1}, where {2} is expected: fix source.schema or the file",
    ),
    (
        r"reading file (\S+?)\.\s[\s\S]*?MALFORMED_RECORD_IN_PARSING[\s\S]*?record parsing: (.*?)\.?\n",
        "the file {0} has a record that can't be read; what could be is {1}: fix the record. JSON whose records take "
        "several lines needs source.options.multiLine true",
    ),
    (
        r"MALFORMED_RECORD_IN_PARSING[\s\S]*?Malformed records are detected in record parsing: (.*?)\.?\n",
        "the source has a record that can't be read: {0}; fix the record. JSON whose records take several lines needs "
        "source.options.multiLine true",
    ),
    (
        r"(?:CANNOT_READ_FILE_FOOTER|FAILED_READ_FILE[.\w]*)[\s\S]*?(?:file|File):? ?(\S+?)[.,]?\s",
        "the file {0} can't be read: it is damaged or of another format",
    ),
    (r"(\S+) is not a Parquet file", "the file {0} is damaged or not Parquet"),
    (r"USER_RAISED_EXCEPTION\] (.*)", "{0}"),
    (r"PostgreSQL refused the rows: (.*)", "PostgreSQL refused the rows: {0}"),
    (
        r"((?:AccessDenied|Access Denied|Forbidden|AccessControlException|Permission denied)[^\n]*)",
        "no permission to read the source or to write the target: {0}",
    ),
)
"""Patterns of Spark's texts, and ours."""


class OutOfMemoryError(JobError):
    """The configuration needs more memory than it has."""

    kind = "out_of_memory"


def explained(error: Exception, configuration: Mapping[str, Any]) -> Exception:
    """A JobError with one clear message for what Spark raised; anything that isn't Spark's as it is."""
    if isinstance(error, JobError):
        return error
    text = f"{error}\n{getattr(error, 'java_exception', None) or ''}\n"
    sign = next((sign for sign in MEMORY_SIGNS if sign in text), None)
    if sign:
        return OutOfMemoryError(f"out of memory at {_memory(configuration)} ({sign})")
    for pattern, message in MESSAGES:
        found = re.search(pattern, text)
        if found:
            return BadConfigurationError(message.format(*(part.strip() for part in found.groups())))
    if type(error).__name__ in ("Py4JNetworkError", "ConnectionRefusedError"):
        return InfrastructureError("the driver's JVM died: see the job's log")
    return JobError(in_one_line(error)) if isinstance(error, PySparkException | Py4JJavaError) else error


def _memory(configuration: Mapping[str, Any]) -> str:
    names = ("driver_memory", "executor_memory", "worker_type")
    given = [f"{name.replace('_', ' ')} {configuration[name]}" for name in names if name in configuration]
    return ", ".join(given) or "Spark's default memory"
