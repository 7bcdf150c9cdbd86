"""A Spark application that leaves an event log for each compression, and what Spark's own REST API said of each run.

Usage: python advise_application.py FOLDER COMPRESSION... (plain, rolling, zstd, lz4, snappy)
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from urllib.request import urlopen

from pyspark import TaskContext
from pyspark.sql import SparkSession
from pyspark.sql import functions as F


def main(folder: Path, compressions: list[str]) -> None:
    for compression in compressions:
        target = folder / compression
        target.mkdir()
        spark = _session(target, compression)
        _work(spark, folder / f"{compression}-data")
        spark.sparkContext._jsc.sc().listenerBus().waitUntilEmpty()
        _keep_answers(spark, folder / f"{compression}.json")
        spark.stop()


def _session(target: Path, compression: str) -> SparkSession:
    compressed = compression not in ("plain", "rolling")
    settings = {
        "spark.eventLog.enabled": True,
        "spark.eventLog.dir": target.as_uri(),
        "spark.eventLog.rolling.enabled": compression == "rolling",
        "spark.eventLog.rolling.maxFileSize": "10m",
        "spark.eventLog.compress": compressed,
        "spark.eventLog.compression.codec": compression if compressed else "zstd",
        "spark.ui.enabled": True,
        "spark.ui.port": 0,
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.shuffle.spill.numElementsForceSpillThreshold": 20000,
        "spark.my.password": "hunter2-in-a-setting",
        "spark.my.url": "jdbc:postgresql://somewhere/db?user=me&password=hunter2-in-a-url",
    }
    builder = SparkSession.builder.appName("advise test").master("local[2,3]")
    for name, value in settings.items():
        builder = builder.config(name, str(value).lower() if isinstance(value, bool) else value)
    return builder.getOrCreate()


def _work(spark: SparkSession, data: Path) -> None:
    """Files, a skewed shuffle that spills, a join, a task that fails once, a stage that is skipped, a failed job."""
    rows = spark.range(200_000).withColumn("key", F.when(F.col("id") % 10 < 7, 0).otherwise(F.col("id") % 1000))
    rows.repartition(12).write.parquet(str(data))
    stored = spark.read.parquet(str(data))
    stored.groupBy("key").agg(F.collect_list("id").alias("ids")).select(F.sum(F.size("ids"))).collect()
    spark.conf.set("spark.sql.adaptive.enabled", "false")
    stored.join(stored.withColumnRenamed("id", "other").where("key > 990"), "key").groupBy("key").count().collect()
    spark.conf.set("spark.sql.adaptive.enabled", "true")
    context = spark.sparkContext
    pairs = context.parallelize(range(60_000), 3).map(lambda n: (n % 500, n)).groupByKey(4)
    pairs.count()
    pairs.mapValues(len).collect()
    context.setJobDescription("a task that fails once")
    context.parallelize(range(4), 4).map(_fails_first).collect()
    try:
        context.parallelize(range(2), 2).map(lambda n: 1 // n).collect()
    except Exception as error:
        print("failed as it should:", type(error).__name__)


def _fails_first(number: int) -> int:
    task = TaskContext.get()
    if task is not None and task.partitionId() == 1 and task.attemptNumber() == 0:
        raise ValueError("the first attempt fails")
    return number


def _keep_answers(spark: SparkSession, path: Path) -> None:
    context = spark.sparkContext
    address = f"{context.uiWebUrl}/api/v1/applications/{context.applicationId}"
    answers = {part: json.load(urlopen(f"{address}/{part}")) for part in ("stages", "jobs", "allexecutors", "sql")}
    path.write_text(json.dumps(answers), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
