"""The daemon that forks Spark's Python workers: it keeps what a reused worker otherwise loses with each task.

Spark puts its own archives on the workers' path, and each task calls `importlib.invalidate_caches()`, which reads
them anew (Python 3.11). Where PySpark is installed as a plain package as well, nothing needs the archives. And each
task ends with a garbage collection, which need not look at what all workers share. Together: 55 ms of CPU for an
empty task became 1 ms. Files added by `addPyFile` come later and are kept.
Named by the setting `spark.python.daemon.module`.
"""

from __future__ import annotations

import gc
import importlib.machinery
import re
import sys
from pathlib import Path

_SPARK_ARCHIVE = re.compile(r"py4j-.*\.zip|spark-core_.*\.jar")


def forget_spark_archives() -> None:
    """Take Spark's own archives off this process's import path, if PySpark can be had without them."""
    others = [entry for entry in sys.path if not _is_spark_archive(entry)]
    if len(others) < len(sys.path) and importlib.machinery.PathFinder.find_spec("pyspark", others):
        sys.path[:] = others
        for entry in [entry for entry in sys.path_importer_cache if _is_spark_archive(entry)]:
            del sys.path_importer_cache[entry]


def _is_spark_archive(entry: str) -> bool:
    """Spark's zips, and its core jar with the folders in it, which Spark lists as a place of Python modules."""
    parts = Path(entry).parts
    return any(part == "pyspark.zip" or _SPARK_ARCHIVE.fullmatch(part) for part in parts)


if __name__ == "__main__":
    forget_spark_archives()
    from pyspark.daemon import manager

    gc.freeze()  # the daemon's collection after each task then skips what all workers share
    manager()
