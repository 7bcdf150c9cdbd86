"""The parameter `engine`: what computes the smallest windows inside a task (compiled, duckdb, polars).

All engines give the same states. `compiled` sorts and walks the points once; `duckdb` and `polars` group them with
their own operators. Larger windows are merged from the smallest by the same code for all.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pyarrow as pa

from pipeline_jobs.quantizer.kernel import States, bin_numbers
from pipeline_jobs.quantizer.rollup import Points, finest_states
from pipeline_jobs.quantizer.sql_windows import (
    QUANTITIES,
    check_range,
    group_sql,
    limb_names,
    rounder,
    states_of_groups,
)

THREADS = int(os.environ.get("PIPELINE_TUNER_ENGINE_THREADS", "1"))
"""Threads of an engine inside one Spark task: Spark runs one task per core already."""


def _compiled(points: Points, resolution_us: int, drop_repeats: bool) -> tuple[States, int]:
    return finest_states(points, resolution_us, drop_repeats=drop_repeats)


def _duckdb(points: Points, resolution_us: int, drop_repeats: bool) -> tuple[States, int]:
    import duckdb

    check_range(points.values, "duckdb")
    query = group_sql("input", "series", resolution_us, collect="list", drop_repeats=drop_repeats)
    with duckdb.connect(config={"threads": THREADS}) as connection:
        connection.register("input", _as_table(points))
        grouped = connection.sql(f"{query} ORDER BY series, window_end").to_arrow_table()
    return _states(grouped, len(points.codes))


def _polars(points: Points, resolution_us: int, drop_repeats: bool) -> tuple[States, int]:
    import polars as pl

    check_range(points.values, "polars")
    keys = ["series", "window_end"]
    value = pl.col("value")
    frame = pl.LazyFrame(_as_table(points))
    frame = frame.unique(["series", "time_us", "value"]) if drop_repeats else frame
    frame = frame.with_columns(window_end=-((-pl.col("time_us")) // resolution_us) * resolution_us)
    frame = frame.sort("series", "time_us", "value").with_columns(before=value.shift(1).over(keys))
    is_reset = value < pl.col("before")
    frame = frame.with_columns(v=value, q=value * value, r=pl.when(is_reset).then("before").otherwise(0.0))
    for quantity, grids in QUANTITIES.items():
        for name, grid in zip(limb_names(quantity), grids, strict=True):
            frame = frame.with_columns(((pl.col(quantity) + rounder(grid)) - rounder(grid)).alias(name))
            frame = frame.with_columns(pl.col(quantity) - pl.col(name))
    grouped = frame.group_by(keys, maintain_order=True).agg(
        *[pl.col(name).sum() for quantity in QUANTITIES for name in limb_names(quantity)],
        points=pl.len(),
        low=value.min(),
        high=value.max(),
        first=value.first(),
        first_ts=pl.col("time_us").first(),
        last=value.last(),
        last_ts=pl.col("time_us").last(),
        resets=is_reset.sum(),
        bins=pl.col("bin"),
    )
    return _states(grouped.collect().to_arrow(), len(points.codes))


def _as_table(points: Points) -> pa.Table:
    values = points.values + 0.0
    return pa.table({"series": points.codes, "time_us": points.times, "value": values, "bin": bin_numbers(values)})


def _states(grouped: pa.Table, rows: int) -> tuple[States, int]:
    grouped = grouped.combine_chunks()
    lists = grouped["bins"].combine_chunks()
    lists = lists.chunk(0) if isinstance(lists, pa.ChunkedArray) else lists
    columns = {name: grouped[name].to_numpy() for name in grouped.column_names if name != "bins"}
    states = states_of_groups(columns, lists.offsets.to_numpy(), lists.values.to_numpy())
    return states, rows - int(states.points.sum())


ENGINES: dict[str, Callable[[Points, int, bool], tuple[States, int]]] = {
    "compiled": _compiled,
    "duckdb": _duckdb,
    "polars": _polars,
}


def finest_by(engine: str, points: Points, resolution_us: int, drop_repeats: bool) -> tuple[States, int]:
    """The states of the smallest windows, in order of series and time, and the repeated points left out."""
    return ENGINES[engine](points, resolution_us, drop_repeats)
