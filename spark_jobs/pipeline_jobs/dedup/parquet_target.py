"""The Parquet target: each run writes a folder of its own, then one small file says which folder holds.

A reader follows `CURRENT`. A killed run leaves `CURRENT` as it was; the next run removes what is not current. Beside
the folder lies a file `columns-FOLDER.json` that lists its columns in their order: Redshift reads by position.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from pipeline_jobs.dedup.columns import Names
from pipeline_jobs.dedup.strategies import DELETED

AS_IT_IS = {
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
}
"""Spark's settings without which others would read other moments: INT96 ends in the year 2262 for many programs."""
CURRENT = "CURRENT"
COLUMNS = "columns-"


class ParquetTarget:
    """A folder on any file system that Spark can write."""

    def __init__(self, spark: SparkSession, path: str, *, keep_deleted: bool = False) -> None:
        self._keep_deleted = keep_deleted
        jvm: Any = spark._jvm
        self._jvm = jvm
        self._root = self._jvm.org.apache.hadoop.fs.Path(path)
        self._files = self._root.getFileSystem(spark._jsc.hadoopConfiguration())
        self._run = f"run-{uuid.uuid4().hex[:12]}"
        self._columns = f"{COLUMNS}{self._run}.json"

    @property
    def folder(self) -> str:
        """Where this run writes."""
        return str(self._child(self._run).toString())

    def write(self, latest: DataFrame, names: Names) -> None:
        """Write this run's records, without the deleted keys unless asked; nobody sees them before `publish`."""
        for name, value in AS_IT_IS.items():
            latest.sparkSession.conf.set(name, value)
        kept = latest if self._keep_deleted else latest.where(f"NOT {DELETED}")
        rows = names.written(kept, *([DELETED] if self._keep_deleted else []))
        rows.write.parquet(self.folder)
        self._create(self._columns, json.dumps({"columns": rows.columns}))

    def publish(self) -> None:
        """Make this run's folder the current one, and remove the others."""
        self._create(CURRENT, self._run)
        for status in self._files.listStatus(self._root):
            name = str(status.getPath().getName())
            is_ours = status.isDirectory() or name.startswith(COLUMNS)
            if is_ours and name not in (self._run, self._columns):
                self._files.delete(status.getPath(), True)

    def _create(self, name: str, text: str) -> None:
        stream = self._files.create(self._child(name), True)
        stream.write(bytearray(text, "utf-8"))
        stream.close()

    def remove(self) -> None:
        """Remove a trial's target."""
        self._files.delete(self._root, True)

    def _child(self, name: str) -> Any:
        return self._jvm.org.apache.hadoop.fs.Path(self._root, name)
