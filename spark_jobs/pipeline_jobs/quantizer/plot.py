"""A picture of one series: its raw points, and the rollups of each resolution over them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

COLOURS = ("#7f8c8d", "#2a78b5", "#c1552d", "#2f8f5b")


def plot_series(spark: SparkSession, source: str, target: str, path: Path, *, org: str, metric: str) -> Path:
    """Draw raw points, and mean with lowest and highest of each window, to an SVG or PNG file. Returns its path."""
    is_series = (F.col("org_id") == org) & (F.col("metric_name") == metric)
    points = spark.table(source).where(is_series).select("wall_timestamp", "value").toPandas()
    rows = spark.table(target).where(is_series & F.col("complete"))
    windows = rows.select("resolution_ms", "window_end", "count", "sum", "min", "max").toPandas()
    figure = draw(points, windows, f"{metric} of {org}")
    figure.savefig(path)
    return path


def draw(points: pd.DataFrame, windows: pd.DataFrame, title: str) -> Figure:
    """The figure for points (wall_timestamp, value) and rows of windows."""
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(points["wall_timestamp"], points["value"], ".", color=COLOURS[0], ms=2, alpha=0.5, label="raw points")
    for colour, (resolution_ms, level) in zip(COLOURS[1:], windows.groupby("resolution_ms"), strict=False):
        level = level.sort_values("window_end")
        mean = level["sum"] / level["count"]
        label = f"mean of {pd.Timedelta(milliseconds=int(resolution_ms))}".replace("0 days ", "")
        axes.step(level["window_end"], mean, where="pre", color=colour, label=label)
        axes.fill_between(level["window_end"], level["min"], level["max"], step="pre", color=colour, alpha=0.12)
    axes.set(title=title, xlabel="time (UTC); a window ends at its label", ylabel="value; shaded: lowest to highest")
    axes.legend(loc="best", fontsize="small")
    return figure
