"""The latest records as Parquet: each run writes a folder of its own, then one small file says which folder holds.

A reader follows `CURRENT`. A killed run leaves `CURRENT` as it was; the next run removes what is not current.
"""

from __future__ import annotations

import uuid
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from pipeline_jobs.dedup.strategies import DELETED

CURRENT = "CURRENT"


class ParquetTarget:
    """A folder on any file system that Spark can write."""

    def __init__(self, spark: SparkSession, path: str, *, keep_deleted: bool = False) -> None:
        self._keep_deleted = keep_deleted
        jvm: Any = spark._jvm
        self._jvm = jvm
        self._root = self._jvm.org.apache.hadoop.fs.Path(path)
        self._files = self._root.getFileSystem(spark._jsc.hadoopConfiguration())
        self._run = f"run-{uuid.uuid4().hex[:12]}"

    @property
    def folder(self) -> str:
        """Where this run writes."""
        return str(self._child(self._run).toString())

    def write(self, latest: DataFrame) -> None:
        """Write this run's records, without the deleted keys unless asked; nobody sees them before `publish`."""
        rows = latest if self._keep_deleted else latest.where(f"NOT {DELETED}").drop(DELETED)
        rows.write.parquet(self.folder)

    def publish(self) -> None:
        """Make this run's folder the current one, and remove the others."""
        stream = self._files.create(self._child(CURRENT), True)
        stream.write(bytearray(self._run, "ascii"))
        stream.close()
        for status in self._files.listStatus(self._root):
            if status.isDirectory() and status.getPath().getName() != self._run:
                self._files.delete(status.getPath(), True)

    def remove(self) -> None:
        """Remove a trial's target."""
        self._files.delete(self._root, True)

    def _child(self, name: str) -> Any:
        return self._jvm.org.apache.hadoop.fs.Path(self._root, name)
