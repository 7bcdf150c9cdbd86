"""A Spark application that leaves its event log in every compression, and what Spark's own REST API said of the run.

The application runs once and logs to `plain`. Spark's own writer of logs writes the others from the same events, as
its history server would read them: a run for each would take five times as long and tell nothing more.

Usage: python advise_application.py FOLDER COMPRESSION... (plain, rolling, zstd, lz4, snappy)
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from pyspark import TaskContext
from pyspark.sql import SparkSession
from pyspark.sql import functions as F


def main(folder: Path, compressions: list[str]) -> None:
    for compression in compressions:
        (folder / compression).mkdir()
    spark = _session(folder / "plain")
    conf = spark.sparkContext._jsc.sc().conf()
    _work(spark, folder / "data")
    spark.sparkContext._jsc.sc().listenerBus().waitUntilEmpty()
    _keep_answers(spark, folder / "answers.json")
    spark.stop()
    for compression in compressions:
        if compression != "plain":
            _write_again(spark._jvm, conf.clone(), folder, compression)


def _session(target: Path) -> SparkSession:
    settings = {
        "spark.eventLog.enabled": True,
        "spark.eventLog.dir": target.as_uri(),
        "spark.eventLog.rolling.enabled": False,
        "spark.eventLog.compress": False,
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


def _write_again(jvm: Any, conf: Any, folder: Path, compression: str) -> None:
    """The events of the plain log through the listener that writes a running application's log."""
    scheduler = jvm.org.apache.spark.scheduler
    conf.set("spark.eventLog.rolling.enabled", str(compression == "rolling").lower())
    conf.set("spark.eventLog.rolling.maxFileSize", "10m")
    if compression != "rolling":
        conf.set("spark.eventLog.compress", "true").set("spark.eventLog.compression.codec", compression)
    (plain,) = (folder / "plain").iterdir()
    target = jvm.java.net.URI((folder / compression).as_uri())
    writer = scheduler.EventLoggingListener(plain.name, jvm.scala.Option.empty(), target, conf)
    bus = scheduler.ReplayListenerBus()
    bus.addListener(writer)
    writer.start()
    events = jvm.java.io.FileInputStream(str(plain))
    bus.replay(events, plain.name, False, scheduler.ReplayListenerBus.SELECT_ALL_FILTER())
    events.close()
    writer.stop()


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
