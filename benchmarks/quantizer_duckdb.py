"""The quantizer's work done by DuckDB, for its benchmark: points rolled up by SQL to Parquet, in three ways."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from pipeline_jobs.quantizer.sketch import BINS_PER_OCTAVE

PLAIN_SQL = """
    SELECT org_id, metric_name, {size} AS resolution_ms, CAST(ceil(us / {size}e3) AS BIGINT) * {size}000 AS window_end,
      count(*), sum(value), sum(value * value), min(value), max(value), arg_min(value, us), min(us),
      arg_max(value, us), max(us)
    FROM points GROUP BY ALL"""
PLAIN_COLUMNS = (
    "(org_id, metric_name, resolution_ms, window_end, count, sum, sum_sq, low, high, first, first_us, last, last_us)"
)
CASCADE_SQL = """
    SELECT org_id, metric_name, {size} AS resolution_ms,
      CAST(ceil(window_end / {size}e3) AS BIGINT) * {size}000 AS larger_end,
      sum(count), sum(sum), sum(sum_sq), min(low), max(high), arg_min(first, first_us), min(first_us),
      arg_max(last, last_us), max(last_us)
    FROM finest GROUP BY ALL"""
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
BIN = f"CAST(sign(value) * (40000 + ceil(ln(abs(value)) / ln(2) * {BINS_PER_OCTAVE})) AS INTEGER)"
ORDERED_SQL = f"""
    CREATE TEMP TABLE ordered AS
    SELECT *, CASE WHEN value = 0 THEN 0 ELSE {BIN} END AS bin FROM (
      SELECT *, lag(value) OVER w AS before, lag(us) OVER w AS before_us FROM points
      WINDOW w AS (PARTITION BY org_id, metric_name ORDER BY us, value))
    WHERE before_us IS NULL OR us != before_us OR value != before"""
"""Repeated points are neighbours here, so leaving them out costs a comparison and no DISTINCT."""


@dataclass(frozen=True)
class DuckdbPeer:
    """DuckDB over Parquet files of raw points up to `end_us`, for windows of `sizes` (ms)."""

    files: Sequence[str]
    end_us: int
    folder: Path
    sizes: Sequence[int]
    threads: int = 2

    def same(self) -> dict[str, float]:
        """DuckDB to Parquet, rows of the same content as ours (but for plain sums): what the issue's ratio is about."""
        with self._connected() as (connection, run):
            connection.sql(ORDERED_SQL)
            for size in self.sizes:
                self._copy(connection, SAME_SQL.format(size=size), size)
        return run

    def plain(self) -> dict[str, float]:
        """DuckDB to Parquet, plain aggregates alone, each resolution from the points."""
        with self._connected() as (connection, run):
            for size in self.sizes:
                self._copy(connection, PLAIN_SQL.format(size=size), size)
        return run

    def cascade(self) -> dict[str, float]:
        """DuckDB to Parquet, plain aggregates alone, the larger resolutions from the smallest."""
        with self._connected() as (connection, run):
            finest, *coarser = self.sizes
            named = f"SELECT * FROM ({PLAIN_SQL.format(size=finest)}) AS named{PLAIN_COLUMNS}"
            connection.sql(f"CREATE TEMP TABLE finest AS {named}")
            self._copy(connection, "FROM finest", finest)
            for size in coarser:
                self._copy(connection, CASCADE_SQL.format(size=size), size)
        return run

    @contextmanager
    def _connected(self) -> Iterator[tuple[duckdb.DuckDBPyConnection, dict[str, float]]]:
        """A connection with the view `points`, and the figures of what is done with it."""
        run: dict[str, float] = {}
        begun = time.monotonic()
        with duckdb.connect(config={"threads": self.threads, "preserve_insertion_order": False}) as connection:
            connection.sql(
                "CREATE TEMP VIEW points AS SELECT org_id, metric_name, epoch_us(wall_timestamp) AS us, value "
                f"FROM read_parquet({self.files!r}) WHERE {USABLE} AND epoch_us(wall_timestamp) <= {self.end_us}"
            )
            yield connection, run
        run["duration_s"] = time.monotonic() - begun

    def _copy(self, connection: duckdb.DuckDBPyConnection, query: str, size: int) -> None:
        path = self.folder / f"duckdb_{size}.parquet"
        connection.sql(f"COPY ({query}) TO '{path}' (FORMAT parquet, COMPRESSION zstd)")
