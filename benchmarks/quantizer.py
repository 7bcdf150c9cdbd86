"""The quantizer against the shape of document 004, plain Spark, DuckDB and polars, over the same files in one run.

    python benchmarks/quantizer.py [--points 5000000] [--pairs 5] [--peers-only]

Each pair runs everything once, in random order; ratios are taken within a pair. Tables lie in a temporary Iceberg
warehouse (hadoop catalog); the session's start is apart. The figures go to build/bench/quantizer.jsonl.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import polars as pl
from benchmarks.record import Figures
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipeline_jobs.quantizer import lake, seed_shape, workload
from pipeline_jobs.quantizer.batch import Batch, run_batch
from pipeline_jobs.quantizer.job import make_source
from pipeline_jobs.quantizer.rollup import warm_up
from pipeline_jobs.quantizer.settings import Workload
from pipeline_jobs.quantizer.sketch import BINS_PER_OCTAVE
from pipeline_jobs.session import close_session, open_session
from pipeline_tuner.local import jars
from pipeline_tuner.local.layout import Layout

RESOLUTIONS_MS = (60_000, 300_000, 3_600_000)
TARGET = "lake.bench.rollups"
PLAIN_SQL = """
    SELECT org_id, metric_name, {size} AS resolution_ms, CAST(ceil(us / {size}e3) AS BIGINT) * {size}000 AS window_end,
      count(*), sum(value), sum(value * value), min(value), max(value), arg_min(value, us), min(us),
      arg_max(value, us), max(us)
    FROM points GROUP BY ALL"""
SAME_SQL = """
    SELECT org_id, metric_name, {size} AS resolution_ms, CAST(ceil(us / {size}e3) AS BIGINT) * {size}000 AS window_end,
      count(*), sum(value), sum(value * value), min(value), max(value), arg_min(value, us), min(us),
      arg_max(value, us), max(us),
      sum(CASE WHEN ceil(us / {size}e3) = ceil(before_us / {size}e3)
          THEN CASE WHEN value >= before THEN value - before ELSE value END END),
      count(CASE WHEN value < before AND ceil(us / {size}e3) = ceil(before_us / {size}e3) THEN 1 END),
      histogram(bin)
    FROM ordered GROUP BY ALL"""
USABLE = "value IS NOT NULL AND abs(value) <= 1e150"


class Bench:
    """The raw table and everything that rolls it up."""

    def __init__(self, spark: SparkSession, points: int, folder: Path) -> None:
        self.spark, self.folder = spark, folder
        generated = workload.Generated(points=points)
        self.source = f"lake.bench.raw_{points}"
        make_source(spark, self.source, Workload(generated=generated), folder)
        self.end_us = generated.end_us - 20_000_000
        listed = spark.sql(f"SELECT file_path FROM {self.source}.files").collect()
        self.files = [row[0].removeprefix("file:").replace("//", "/") for row in listed]
        self.batch = Batch(self.source, TARGET, workload.START_US, self.end_us)

    def ours(self, engine: str = "compiled") -> dict[str, float]:
        """The whole job, partials and commit too."""
        self.spark.sql(f"DROP TABLE IF EXISTS {TARGET} PURGE")
        lake.create_rollups(self.spark, TARGET)
        begun = time.monotonic()
        result = run_batch(self.spark, Batch(**{**vars(self.batch), "engine": engine}))
        print("   ", {key: round(value, 2) for key, value in result.stages.items()}, result.files, "files")
        return {"duration_s": time.monotonic() - begun, "files": result.files, "bytes": result.bytes}

    def seed(self, partitions: int) -> dict[str, float]:
        """The document's shape, with that many partitions."""
        for name in (TARGET, f"{TARGET}_partials"):
            self.spark.sql(f"DROP TABLE IF EXISTS {name} PURGE")
        seed_shape.create_tables(self.spark, self.batch)
        self.spark.conf.set("spark.sql.shuffle.partitions", str(partitions))
        begun = time.monotonic()
        shape = seed_shape.Shape(read_partitions=partitions, write_partitions=partitions)
        result = seed_shape.run_seed_shape(self.spark, self.batch, shape)
        print("   ", {key: round(value, 2) for key, value in result.stages.items()}, result.files, "files")
        return {"duration_s": time.monotonic() - begun, "files": result.files, "bytes": result.bytes}

    def spark_window(self) -> dict[str, float]:
        """What one writes first: groupBy(window()) at each resolution, to Parquet."""
        self.spark.conf.set("spark.sql.shuffle.partitions", "4")
        points = self.spark.table(self.source).where(USABLE).where(F.unix_micros("wall_timestamp") <= self.end_us)
        levels = [_windowed(points, each) for each in RESOLUTIONS_MS]
        begun = time.monotonic()
        for level, size in zip(levels, RESOLUTIONS_MS, strict=True):
            level.write.mode("overwrite").parquet((self.folder / f"window_{size}").as_uri())
        return {"duration_s": time.monotonic() - begun}

    def duckdb(self, *, same: bool) -> dict[str, float]:
        """DuckDB to Parquet: our rows' content (plain sums), or plain aggregates alone."""
        begun = time.monotonic()
        with duckdb.connect(config={"threads": 2}) as connection:
            rows = (
                f"SELECT {'DISTINCT' if same else ''} org_id, metric_name, epoch_us(wall_timestamp) AS us, value "
                f"FROM read_parquet({self.files!r}) WHERE {USABLE} AND epoch_us(wall_timestamp) <= {self.end_us}"
            )
            connection.sql(f"CREATE TEMP {'TABLE' if same else 'VIEW'} points AS {rows}")
            if same:
                key = f"CAST(sign(value) * (40000 + ceil(ln(abs(value)) / ln(2) * {BINS_PER_OCTAVE})) AS INTEGER)"
                connection.sql(
                    "CREATE TEMP TABLE ordered AS SELECT *, lag(value) OVER w AS before, lag(us) OVER w AS before_us, "
                    f"CASE WHEN value = 0 THEN 0 ELSE {key} END AS bin FROM points "
                    "WINDOW w AS (PARTITION BY org_id, metric_name ORDER BY us, value)"
                )
            for size in RESOLUTIONS_MS:
                query = (SAME_SQL if same else PLAIN_SQL).format(size=size)
                path = self.folder / f"duckdb_{size}.parquet"
                connection.sql(f"COPY ({query}) TO '{path}' (FORMAT parquet, COMPRESSION zstd)")
        return {"duration_s": time.monotonic() - begun}

    def polars(self) -> dict[str, float]:
        """Polars to Parquet: plain aggregates."""
        begun = time.monotonic()
        us, value = pl.col("us"), pl.col("value")
        points = pl.scan_parquet(self.files).with_columns(us=pl.col("wall_timestamp").dt.epoch("us"))
        points = points.filter(value.abs() <= 1e150, us <= self.end_us)
        for size in RESOLUTIONS_MS:
            window = -((-us) // (size * 1000)) * (size * 1000)
            level = points.group_by("org_id", "metric_name", window_end=window).agg(
                count=pl.len(), sum=value.sum(), sum_sq=(value * value).sum(), min=value.min(), max=value.max(),
                first=value.sort_by("us").first(), first_us=us.min(), last=value.sort_by("us").last(), last_us=us.max(),
            )  # fmt: skip
            level.collect().write_parquet(self.folder / f"polars_{size}.parquet")
        return {"duration_s": time.monotonic() - begun}


def _windowed(points: DataFrame, size_ms: int) -> DataFrame:
    window = F.window("wall_timestamp", f"{size_ms} milliseconds")
    return points.groupBy("org_id", "metric_name", window).agg(
        F.count("value").alias("count"),
        F.sum("value").alias("sum"),
        F.sum(F.col("value") * F.col("value")).alias("sum_sq"),
        F.min("value").alias("min"),
        F.max("value").alias("max"),
        F.min_by("value", "wall_timestamp").alias("first"),
        F.max_by("value", "wall_timestamp").alias("last"),
    )


def compete(bench: Bench, pairs: int, *, with_200: bool) -> dict[str, list[float]]:
    """The times (s) of every competitor, one of each a pair."""
    runs: dict[str, Callable[[], dict[str, float]]] = {
        "ours": bench.ours,
        "ours_duckdb_engine": lambda: bench.ours("duckdb"),
        "seed_shape": lambda: bench.seed(8),
        "spark_window": bench.spark_window,
        "duckdb_same": lambda: bench.duckdb(same=True),
        "duckdb_plain": lambda: bench.duckdb(same=False),
        "polars_plain": bench.polars,
    }
    if with_200:
        runs["seed_shape_200"] = lambda: bench.seed(200)
    times: dict[str, list[float]] = {name: [] for name in runs}
    bench.ours()
    for _ in range(pairs):
        order = list(runs)
        random.shuffle(order)
        for name in order:
            result = runs[name]()
            times[name].append(result["duration_s"])
            print(name, json.dumps({key: round(value, 2) for key, value in result.items()}), flush=True)
    return times


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, nargs="+", default=[5_000_000, 20_000_000])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--with-200", action="store_true", help="also the document's own 200 partitions")
    arguments = parser.parse_args()
    os.environ["PIPELINE_TUNER_JARS"] = ",".join(map(str, jars.fetch(Layout.default(), "postgresql", "iceberg")))
    folder = Path(tempfile.mkdtemp(prefix="quantizer-bench-"))
    settings = lake.catalog_settings("hadoop", (folder / "warehouse").as_uri())
    spark = open_session("quantizer benchmark", {"driver_memory": "4g"}, extra=settings)
    figures = Figures("quantizer")
    try:
        warm_up()
        for points in arguments.points:
            size = f"_{points // 1_000_000}m"
            times = compete(Bench(spark, points, folder), arguments.pairs, with_200=arguments.with_200)
            for name, values in times.items():
                figures.add(f"duration_{name}{size}", values, "s")
                if name != "ours":
                    ratios = [own / other for own, other in zip(times["ours"], values, strict=True)]
                    ratio = figures.add(f"time_vs_{name}{size}", ratios, "ratio")
                    print(f"ours / {name} at {points:,} points: {ratio:.2f}", flush=True)
            if points == arguments.points[0]:
                for name, peer in (("time_vs_seed_shape", "seed_shape"), ("time_vs_duckdb", "duckdb_same")):
                    pairs = zip(times["ours"], times[peer], strict=True)
                    figures.add(name, [own / other for own, other in pairs], "ratio")
    finally:
        close_session(spark)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
