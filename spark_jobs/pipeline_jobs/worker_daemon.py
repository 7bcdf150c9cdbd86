"""The daemon that forks Spark's Python workers, without the 0.35 s that a reused worker otherwise loses per task.

Spark puts its own zip archives on the workers' path and each task calls `importlib.invalidate_caches()`,
which reads those archives anew (Python 3.11). Where PySpark is installed as a plain package as well, nothing
needs the archives. Files added by `addPyFile` come later and are kept.
Named by the setting `spark.python.daemon.module`.
"""

from __future__ import annotations

import importlib.machinery
import sys
from pathlib import Path


def forget_spark_archives() -> None:
    """Take Spark's own archives off this process's import path, if PySpark can be had without them."""
    others = [entry for entry in sys.path if not _is_spark_archive(entry)]
    if len(others) < len(sys.path) and importlib.machinery.PathFinder.find_spec("pyspark", others):
        sys.path[:] = others
        for entry in [entry for entry in sys.path_importer_cache if _is_spark_archive(entry)]:
            del sys.path_importer_cache[entry]


def _is_spark_archive(entry: str) -> bool:
    name = Path(entry).name
    return name == "pyspark.zip" or (name.startswith("py4j-") and name.endswith(".zip"))


if __name__ == "__main__":
    forget_spark_archives()
    from pyspark.daemon import manager

    manager()
