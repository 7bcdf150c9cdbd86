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
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from tests.patience import PATIENCE_S

from pipeline_tuner.local.java import QUICKLY_COMPILED, spark_home
from pipeline_tuner.local.paths import Layout, one_at_a_time

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
        base = _archive_of_java(archive, Path(environment["JAVA_HOME"]))
        if not archive.exists():
            _make(archive, base, {**os.environ, **environment})
    if not archive.stat().st_size:
        return QUICKLY_COMPILED
    return _options(f"SharedArchiveFile={':'.join(map(str, [*base, archive]))}")


def _stamp(environment: Mapping[str, str]) -> str:
    """A JVM accepts an archive only with the same Java and the very same files."""
    java = Path(environment["JAVA_HOME"]).resolve() / "lib" / "modules"
    core = next((spark_home() / "jars").glob("spark-core*.jar")).resolve()
    seen = [version("pyspark"), *(f"{path} {path.stat().st_mtime_ns}" for path in (java, core))]
    return hashlib.sha256("\n".join(seen).encode()).hexdigest()[:12]


def _archive_of_java(beside: Path, java: Path) -> list[Path]:
    """An archive of Java's own classes, for a Java that came without: the other one stands on it."""
    if (java / "lib" / "server" / "classes.jsa").exists():
        return []
    archive = beside.with_name(beside.name.replace("spark", "java"))
    if not archive.exists():
        made = archive.with_suffix(".part")
        _runs([java / "bin" / "java", "-Xshare:dump", "-Xlog:disable", f"-XX:SharedArchiveFile={made}"], os.environ)
        if made.exists():
            made.rename(archive)
    return [archive] if archive.exists() else []


def _options(*settings: str) -> str:
    return " ".join([QUICKLY_COMPILED, "-Xlog:disable", *(f'"-XX:{setting}"' for setting in settings)])


def _make(archive: Path, base: Sequence[Path], environment: Mapping[str, str]) -> None:
    """An empty file stays where a JVM makes none, so that it is tried once."""
    made = archive.with_suffix(".part")
    options = _options(*(f"SharedArchiveFile={path}" for path in base), f"ArchiveClassesAtExit={made}")
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "application.py"
        program.write_text(APPLICATION, encoding="utf-8")
        command = [spark_home() / "bin" / "spark-submit", program, Path(folder) / "data"]
        if not _runs(command, {**environment, "SPARK_SUBMIT_OPTS": options, "PYSPARK_PYTHON": sys.executable}):
            made.unlink(missing_ok=True)
    made.touch()
    made.rename(archive)


def _runs(command: Sequence[str | Path], environment: Mapping[str, str]) -> bool:
    try:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=PATIENCE_S, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
