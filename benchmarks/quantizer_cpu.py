"""Benchmark of the quantizer's tasks against DuckDB by processor time, one thread each, without Spark.

    python -m benchmarks.quantizer_cpu [--points 500000] [--pairs 5]

For a machine that others keep busy: CPU time hardly depends on them. Reading, rolling up and writing Parquet are in it;
Spark's planning, the merging step and Iceberg's commit are not (benchmarks/quantizer.py has the whole job).
The figures go to build/bench/quantizer_cpu.jsonl.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from benchmarks.quantizer_duckdb import DuckdbPeer
from benchmarks.record import Figures

from pipeline_jobs.quantizer import generated_points
from pipeline_jobs.quantizer.columns import PointColumn, PointColumns
from pipeline_jobs.quantizer.points_reader import SourceFile
from pipeline_jobs.quantizer.rollup import ROWS_SCHEMA, warm_up
from pipeline_jobs.quantizer.tasks import Output, RangeTask, Rules, roll_up_range

COLUMNS = PointColumns(
    PointColumn("org_id", "org_id", 1, "string"),
    PointColumn("metric_name", "metric_name", 2, "string"),
    PointColumn("wall_timestamp", "wall_timestamp", 3, "timestamptz"),
    PointColumn("value", "value", 4, "double"),
    ids_by_name=(("org_id", 1), ("metric_name", 2), ("wall_timestamp", 3), ("value", 4)),
)
RESOLUTIONS_MS = (60_000, 300_000, 3_600_000)


def write_points(folder: Path, generated: generated_points.Generated) -> list[str]:
    """The generated points as Parquet files, one an hour; their paths."""
    paths = []
    for number, (table, _) in enumerate(generated_points.generate(generated)):
        paths.append(str(folder / f"{number}.parquet"))
        pq.write_table(table, paths[-1], compression="zstd")
    return paths


def roll_up(files: list[str], end_us: int, folder: Path) -> None:
    """The job's own two tasks over all of the time."""
    output = Output(ROWS_SCHEMA, f"{folder}/data", f"{folder}/staging", "bench", 1)
    source = tuple(SourceFile(path) for path in files)
    middle = (generated_points.START_US + end_us) // 2
    for number, stretch in enumerate([(generated_points.START_US, middle), (middle, end_us)]):
        roll_up_range(RangeTask(number, stretch, source), COLUMNS, Rules(RESOLUTIONS_MS, "compiled"), output)


def cpu_s(work: Callable[[], object]) -> float:
    """The CPU time of this process that the work takes."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=500_000)
    parser.add_argument("--pairs", type=int, default=5)
    arguments = parser.parse_args()
    pa.set_cpu_count(1)
    generated = generated_points.Generated(points=arguments.points)
    folder = Path(tempfile.mkdtemp(prefix="quantizer-cpu-"))
    try:
        files = write_points(folder, generated)
        warm_up()
        roll_up(files, generated.end_us, folder)
        record(compete(files, generated.end_us, folder, arguments.pairs))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def compete(files: list[str], end_us: int, folder: Path, pairs: int) -> dict[str, list[float]]:
    """The CPU times (s) of all, one of each a pair."""
    peer = DuckdbPeer(files, end_us, folder, RESOLUTIONS_MS, threads=1)
    runs: dict[str, Callable[[], object]] = {
        "ours": lambda: roll_up(files, end_us, folder),
        "duckdb_same": peer.same,
        "duckdb_plain": peer.plain,
        "duckdb_cascade": peer.cascade,
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(pairs):
        for name, run in runs.items():
            times[name].append(cpu_s(run))
    return times


def record(times: dict[str, list[float]]) -> None:
    """Print and keep the times and our ratios, pair by pair."""
    figures = Figures("quantizer_cpu")
    for name, values in times.items():
        figures.add(f"cpu_{name}", values, "s")
        ratios = [own / other for own, other in zip(times["ours"], values, strict=True)]
        if name != "ours":
            middle = figures.add(f"cpu_vs_{name}", ratios, "ratio")
            print(f"ours / {name}: {middle:.2f} ({min(ratios):.2f} to {max(ratios):.2f})", flush=True)


if __name__ == "__main__":
    main()
