"""Benchmark of the quantizer against its baseline, plain Spark, DuckDB and polars, over the same files: `make
bench JOB=quantizer`.

    python -m benchmarks.quantizer [--points 5000000] [--pairs 5] [--growth]

Each pair runs everything once, in random order; ratios are taken within a pair. Tables lie in a temporary Iceberg
warehouse (hadoop catalog); the session's start is apart. `--growth` times our job alone, by points, orgs and
resolutions. The figures go to build/bench/quantizer.jsonl.
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
from typing import Any

import polars as pl
from benchmarks.quantizer_duckdb import USABLE, DuckdbPeer
from benchmarks.record import Figures
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipeline_jobs.event_log import summarise_event_log
from pipeline_jobs.quantizer import baseline, catalogs, generated_points, iceberg
from pipeline_jobs.quantizer.batch import run_batch
from pipeline_jobs.quantizer.batch_request import Batch
from pipeline_jobs.quantizer.job import warm_up_workers
from pipeline_jobs.quantizer.settings import Workload
from pipeline_jobs.quantizer.workload_table import make_source
from pipeline_jobs.session import close_session, open_session
from pipeline_tuner.local import jars
from pipeline_tuner.local.paths import Layout

RESOLUTIONS_MS = (60_000, 300_000, 3_600_000)
LADDER_MS = (*RESOLUTIONS_MS, 10_800_000)
TARGET = "lake.bench.rollups"


class Bench:
    """The raw table and everything that rolls it up."""

    def __init__(
        self, spark: SparkSession, points: int, folder: Path, *, orgs: int = 50, resolutions: tuple[int, ...] = ()
    ) -> None:
        self.spark, self.folder = spark, folder
        generated = generated_points.Generated(points=points, orgs=orgs)
        self.source = f"lake.bench.raw_{points}_{orgs}"
        make_source(spark, self.source, Workload(generated=generated))
        self.end_us = generated.end_us - 20_000_000
        listed = spark.sql(f"SELECT file_path FROM {self.source}.files").collect()
        self.files = [row[0].removeprefix("file:").replace("//", "/") for row in listed]
        sizes = resolutions or RESOLUTIONS_MS
        self.duckdb = DuckdbPeer(self.files, self.end_us, folder, sizes)
        self.batch = Batch(self.source, TARGET, generated_points.START_US, self.end_us, resolutions_ms=sizes)

    def ours(self, engine: str = "compiled") -> dict[str, float]:
        """The whole job, partials and commit too."""
        self.spark.sql(f"DROP TABLE IF EXISTS {TARGET} PURGE")
        iceberg.create_rollups(self.spark, TARGET)
        begun = time.monotonic()
        result = run_batch(self.spark, Batch(**{**vars(self.batch), "engine": engine}))
        print("   ", {key: round(value, 2) for key, value in result.steps.items()}, result.files, "files")
        return {"duration_s": time.monotonic() - begun, "files": result.files, "bytes": result.bytes}

    def baseline(self, partitions: int) -> dict[str, float]:
        """The document's shape, with that many partitions."""
        for name in (TARGET, f"{TARGET}_partials"):
            self.spark.sql(f"DROP TABLE IF EXISTS {name} PURGE")
        baseline.create_tables(self.spark, self.batch)
        self.spark.conf.set("spark.sql.shuffle.partitions", str(partitions))
        begun = time.monotonic()
        shape = baseline.Shape(read_partitions=partitions, write_partitions=partitions)
        result = baseline.run_baseline(self.spark, self.batch, shape)
        print("   ", {key: round(value, 2) for key, value in result.steps.items()}, result.files, "files")
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


Span = tuple[str, float, float]
"""A run's name, and from when until when it ran (s since 1970)."""


def compete(bench: Bench, pairs: int, spans: list[Span], *, with_200: bool) -> dict[str, list[dict[str, float]]]:
    """The figures of every competitor, one of each a pair."""
    runs: dict[str, Callable[[], dict[str, float]]] = {
        "ours": bench.ours,
        "ours_duckdb_engine": lambda: bench.ours("duckdb"),
        "baseline": lambda: bench.baseline(8),
        "spark_window": bench.spark_window,
        "duckdb_same": bench.duckdb.same,
        "duckdb_plain": bench.duckdb.plain,
        "duckdb_cascade": bench.duckdb.cascade,
        "polars_plain": bench.polars,
    }
    if with_200:
        runs["baseline_200"] = lambda: bench.baseline(200)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in runs}
    bench.ours()
    for _ in range(pairs):
        order = list(runs)
        random.shuffle(order)
        for name in order:
            begun = time.time()
            found[name].append(runs[name]())
            spans.append((name, begun, time.time()))
            print(name, json.dumps({key: round(value, 2) for key, value in found[name][-1].items()}), flush=True)
    return found


def record(figures: Figures, found: dict[str, list[dict[str, float]]], size: str) -> None:
    """Times, files and bytes of every competitor, and our time as a ratio to each, pair by pair."""
    for name, runs in found.items():
        for figure, unit in (("duration_s", "s"), ("files", "files"), ("bytes", "B")):
            if figure in runs[0]:
                figures.add(f"{figure.removesuffix('_s')}_{name}{size}", [run[figure] for run in runs], unit)
        if name != "ours":
            ratio = figures.add(f"time_vs_{name}{size}", ratios(found, name), "ratio")
            low, high = min(ratios(found, name)), max(ratios(found, name))
            print(f"ours / {name}{size}: {ratio:.2f} ({low:.2f} to {high:.2f})", flush=True)


def ratios(found: dict[str, list[dict[str, float]]], name: str) -> list[float]:
    """Our time over another's, pair by pair."""
    return [own["duration_s"] / its["duration_s"] for own, its in zip(found["ours"], found[name], strict=True)]


def grow(spark: SparkSession, folder: Path, figures: Figures, repeats: int) -> None:
    """How our time grows with points, orgs and resolutions, each from the same middle."""
    cases: list[tuple[str, dict[str, Any]]] = [
        *((f"points_{points}", {"points": points}) for points in (1_000_000, 2_500_000, 5_000_000, 10_000_000)),
        *((f"orgs_{orgs}", {"points": 2_500_000, "orgs": orgs}) for orgs in (5, 50, 500)),
        *(
            (f"resolutions_{count}", {"points": 2_500_000, "resolutions": LADDER_MS[:count]})
            for count in range(1, len(LADDER_MS) + 1)
        ),
    ]
    for name, options in cases:
        bench = Bench(spark, options.pop("points"), folder, **options)
        runs = [bench.ours() for _ in range(repeats + 1)][1:]
        middle = figures.add(f"growth_{name}", [run["duration_s"] for run in runs], "s")
        print(f"{name}: {middle:.2f} s, {runs[0]['files']:.0f} files, {runs[0]['bytes'] / 1e6:.1f} MB", flush=True)


def record_shuffles(figures: Figures, log: Path, spans: list[Span], size: str) -> None:
    """What each competitor on Spark shuffled a run; it doesn't vary."""
    for name in ("ours", "baseline", "spark_window"):
        begun, ended = next((since, until) for each, since, until in spans if each == name)
        summary = summarise_event_log(log, since=begun, until=ended)
        figures.add(f"shuffle_bytes_{name}{size}", [summary["shuffle_write_bytes"]], "B")
        print(f"{name}: {summary['shuffle_write_bytes'] / 1e6:.1f} MB shuffled", flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, nargs="+", default=[5_000_000, 20_000_000])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--with-200", action="store_true", help="also the document's own 200 partitions")
    parser.add_argument("--growth", action="store_true", help="time our job alone, by points, orgs and resolutions")
    arguments = parser.parse_args()
    os.environ["PIPELINE_TUNER_JARS"] = ",".join(map(str, jars.fetch(Layout.default(), "postgresql", "iceberg")))
    folder = Path(tempfile.mkdtemp(prefix="quantizer-bench-"))
    log = folder / "events"
    log.mkdir()
    settings = catalogs.catalog_settings("hadoop", (folder / "warehouse").as_uri())
    spark = open_session("quantizer benchmark", {"driver_memory": "4g"}, extra=settings, event_log_dir=log)
    figures = Figures("quantizer")
    spans: dict[str, list[Span]] = {}
    try:
        warm_up_workers(spark)
        if arguments.growth:
            grow(spark, folder, figures, arguments.pairs)
        for points in () if arguments.growth else arguments.points:
            size = f"_{points // 1_000_000}m"
            spans[size] = []
            bench = Bench(spark, points, folder)
            found = compete(bench, arguments.pairs, spans[size], with_200=arguments.with_200)
            record(figures, found, size)
            if points == arguments.points[0]:
                figures.add("time_vs_baseline", ratios(found, "baseline"), "ratio")
                figures.add("time_vs_duckdb", ratios(found, "duckdb_same"), "ratio")
    finally:
        close_session(spark)
        for size, ran in spans.items():
            record_shuffles(figures, log, ran, size)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
