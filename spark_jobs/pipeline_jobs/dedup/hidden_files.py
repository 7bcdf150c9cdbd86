"""Files that Spark passes over because of their names, and folders that are more than their files.

Spark reads nothing that begins with `_` or `.`, and says nothing: an export called `_late.csv` is lost. A folder that
belongs to Delta or Hudi has files of rows that were deleted long ago, which only its log knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

from pyspark.sql import SparkSession

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.dedup.options import Source
from pipeline_jobs.dedup.reader_options import reader_options

SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:/*")
HIDDEN = re.compile(r"[_.]")
TABLES = {"_delta_log": "Delta", ".hoodie": "Hudi"}
KEPT_BOOKS = re.compile(
    r"_(?:SUCCESS|metadata|common_metadata|temporary|spark_metadata|symlink_format_manifest)$|_(?:committed|started)_"
    r"|\.(?:DS_Store|Trash.*|_.*|.*-staging.*)$|.*\.crc$|.*\.tmp$|.*\._COPYING_$"
)
"""Names that programs leave beside data, and that have none."""
DATA = re.compile(
    r".*\.(?:csv|tsv|txt|json|jsonl|ndjson|parquet|pq|gz|bz2|zst|zstd|deflate|snappy|lz4)$", re.IGNORECASE
)


def check_hidden(spark: SparkSession, source: Source, read: Sequence[str]) -> None:
    """Raises BadConfigurationError for a file of data that Spark would not read, and for a table of Delta or Hudi.

    `read`: the files that Spark reads.
    """
    jvm: Any = spark._jvm
    path = jvm.org.apache.hadoop.fs.Path(source.path)
    files = path.getFileSystem(spark._jsc.hadoopConfiguration())
    wanted = reader_options(source.format, source.options).get("pathGlobFilter", "*")
    base = _depth(str(files.makeQualified(path).toString()))
    for entry in files.globStatus(path) or () if HIDDEN.match(str(path.getName())) else ():
        if not entry.isDirectory():
            _check_entry(files, entry, source.path, wanted)
    for depth in range(max(1, *(_depth(name) - base for name in read)) if read else 1):
        for entry in files.globStatus(jvm.org.apache.hadoop.fs.Path(path, "*/" * depth + "[_.]*")) or ():
            _check_entry(files, entry, source.path, wanted)


def _depth(name: str) -> int:
    return SCHEME.sub("/", name).count("/")


def _check_entry(files: Any, entry: Any, path: str, wanted: str) -> None:
    name = str(entry.getPath().getName())
    if name in TABLES:
        raise BadConfigurationError(
            f"source.path {path} is a table of {TABLES[name]}, whose files also hold rows that are no longer in it: "
            "write its rows to a folder of their own, and read that"
        )
    for lost in () if KEPT_BOOKS.match(name) else _data(files, entry):
        if fnmatchcase(lost.rpartition("/")[2], wanted):
            raise BadConfigurationError(
                f"the file {lost} would not be read, because Spark takes names that begin with _ or . for hidden ones: "
                "rename it, or set source.options.pathGlobFilter to the files that are meant"
            )


def _data(files: Any, entry: Any) -> Iterator[str]:
    """The files of data that a hidden name stands for: itself, or what is in the folder."""
    if not entry.isDirectory():
        found = [str(entry.getPath().toString())]
    else:
        inside = files.listFiles(entry.getPath(), True)
        found = []
        while inside.hasNext():
            found.append(str(inside.next().getPath().toString()))
    yield from (name for name in sorted(found) if DATA.match(name))
