"""Java options that make the JVMs of tests start quickly: most of them live for a minute.

Compiled code is made quickly and not well. Spark's classes come from an archive that the JVM maps, instead of being
read, checked and linked. Of the processor's time of a short Spark run that leaves 9 s of 28 s.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from pipeline_tuner.local.java import spark_home
from pipeline_tuner.local.layout import Layout, one_at_a_time

QUICKLY_COMPILED = "-XX:TieredStopAtLevel=1"
PATIENCE_S = 300.0
APPLICATION = """
import sys
from pyspark.sql import SparkSession, functions as F
spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
rows = spark.createDataFrame([(n, n % 7, str(n)) for n in range(100)], "a long, b long, c string")
rows.join(rows.groupBy("b").agg(F.max("a").alias("a")), "a", "left_semi").write.parquet(sys.argv[1])
print(spark.read.parquet(sys.argv[1]).orderBy("a").collect())
"""


def quick_options(layout: Layout, environment: Mapping[str, str]) -> str:
    """For JVMs that run Spark in this environment: its driver, its executors, a standalone cluster's.

    The archive is made where there is none for this Java and this Spark, which takes 20 s of a processor. A JVM that
    can't use it starts without it and says nothing. Where none can be made, there is none.
    """
    archive = layout.local / "test" / f"spark-classes-{_stamp(environment)}.jsa"
    with one_at_a_time(archive.with_name("spark-classes-lock")):
        if not archive.exists():
            _make(archive, {**os.environ, **environment})
    return _options("SharedArchiveFile", archive) if archive.stat().st_size else QUICKLY_COMPILED


def _stamp(environment: Mapping[str, str]) -> str:
    """A JVM accepts an archive only with the same Java and the very same files."""
    java = Path(environment["JAVA_HOME"]).resolve() / "lib" / "modules"
    core = next((spark_home() / "jars").glob("spark-core*.jar")).resolve()
    seen = [version("pyspark"), *(f"{path} {path.stat().st_mtime_ns}" for path in (java, core))]
    return hashlib.sha256("\n".join(seen).encode()).hexdigest()[:12]


def _options(name: str, archive: Path) -> str:
    return f'{QUICKLY_COMPILED} -Xlog:disable "-XX:{name}={archive}"'


def _make(archive: Path, environment: Mapping[str, str]) -> None:
    """An empty file stays where a JVM makes none, so that it is tried once."""
    made = archive.with_suffix(".part")
    options = {"SPARK_SUBMIT_OPTS": _options("ArchiveClassesAtExit", made), "PYSPARK_PYTHON": sys.executable}
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "application.py"
        program.write_text(APPLICATION, encoding="utf-8")
        command = [spark_home() / "bin" / "spark-submit", program, Path(folder) / "data"]
        if not _runs(command, {**environment, **options}):
            made.unlink(missing_ok=True)
    made.touch()
    made.rename(archive)


def _runs(command: list[Path], environment: Mapping[str, str]) -> bool:
    try:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=PATIENCE_S, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
