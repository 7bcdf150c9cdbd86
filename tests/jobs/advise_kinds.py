"""A Spark application per kind of run, each with an event log of its own.

Usage: python advise_kinds.py FOLDER KIND... (a name of KINDS); the log of a kind lies in FOLDER/KIND.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

SKEWED = {
    "spark.sql.autoBroadcastJoinThreshold": "-1",
    "spark.sql.shuffle.partitions": "8",
    "spark.sql.adaptive.skewJoin.skewedPartitionThresholdInBytes": "100k",
    "spark.sql.adaptive.skewJoin.skewedPartitionFactor": "2",
    "spark.sql.adaptive.advisoryPartitionSizeInBytes": "50k",
}
SMALL_CLUSTER = "local-cluster[2,1,600]"
ALLOCATED = {
    "spark.dynamicAllocation.enabled": "true",
    "spark.dynamicAllocation.shuffleTracking.enabled": "true",
    "spark.dynamicAllocation.minExecutors": "0",
    "spark.dynamicAllocation.maxExecutors": "2",
    "spark.dynamicAllocation.executorIdleTimeout": "1s",
}
SETTINGS = {"skew": SKEWED, "dynamic": ALLOCATED}
MASTERS = {"lost": SMALL_CLUSTER, "dynamic": SMALL_CLUSTER}


def main(folder: Path, kinds: list[str]) -> None:
    for kind in kinds:
        (folder / kind).mkdir()
        spark = _session(folder / kind, kind)
        try:
            KINDS[kind](spark, folder)
        finally:
            spark.stop()


def _session(target: Path, kind: str) -> SparkSession:
    settings = {
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": target.as_uri(),
        "spark.eventLog.rolling.enabled": "false",
        "spark.eventLog.compress": "false",
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.executor.memory": "512m",
        **SETTINGS.get(kind, {}),
    }
    builder = SparkSession.builder.appName(f"{kind} run").master(MASTERS.get(kind, "local[2]"))
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def _skew(spark: SparkSession, folder: Path) -> None:
    """A join by a key that most rows share, which adaptive execution splits."""
    key = F.when(F.col("id") < 60_000, 1).otherwise(F.col("id") % 1000).alias("k")
    left = spark.range(0, 80_000, 1, 4).select(key, F.sha2(F.col("id").cast("string"), 256).alias("v"))
    right = spark.range(1000).select(F.col("id").alias("k"), F.lit("x").alias("w"))
    left.join(right, "k").groupBy("w").agg(F.max("v")).collect()


def _stream(spark: SparkSession, folder: Path) -> None:
    """A streaming query over five small batches."""
    source = str(folder / "stream-source")
    spark.range(100).repartition(5).write.json(source)
    read = spark.readStream.schema("id long").option("maxFilesPerTrigger", 1).json(source)
    counted = read.groupBy((F.col("id") % 3).alias("k")).count().writeStream.outputMode("complete")
    place = str(folder / "stream-checkpoint")
    query = counted.format("memory").queryName("counts").option("checkpointLocation", place)
    query.trigger(availableNow=True).start().awaitTermination()


def _failed(spark: SparkSession, folder: Path) -> None:
    """A job that fails in a function of the user's."""
    try:
        spark.range(10).select(F.udf(lambda number: 1 // (number - 5))("id")).collect()
    except Exception as error:
        print("failed as it should:", type(error).__name__)


def _lost(spark: SparkSession, folder: Path) -> None:
    """An executor that is killed while it works."""
    mark = str(folder / "lost-mark")
    spark.sparkContext.parallelize(range(8), 8).map(lambda number: _works_or_dies(number, mark)).sum()


def _works_or_dies(number: int, mark: str) -> int:
    if number == 0 and not os.path.exists(mark):
        Path(mark).touch()
        os.kill(_jvm(), signal.SIGKILL)
    return number


def _jvm() -> int:
    """The executor that this Python worker works for."""
    pid = os.getppid()
    while "java" not in Path(f"/proc/{pid}/comm").read_text():
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return pid


def _dynamic(spark: SparkSession, folder: Path) -> None:
    """Executors that come with the work, go without it, and come again."""
    context = spark.sparkContext
    context.parallelize(range(8), 8).map(lambda number: time.sleep(0.1)).count()
    while not context._jsc.sc().getExecutorIds().isEmpty():
        time.sleep(0.1)
    context.parallelize(range(8), 8).map(lambda number: (number % 3, number)).groupByKey(3).count()


def _nothing(spark: SparkSession, folder: Path) -> None:
    """No job at all."""


KINDS: dict[str, Callable[[SparkSession, Path], None]] = {
    "skew": _skew,
    "stream": _stream,
    "failed": _failed,
    "nothing": _nothing,
    "lost": _lost,
    "dynamic": _dynamic,
}

if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
