"""The raw table of a workload: generated where it is not there, found again by its name."""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
from pyspark.sql import SparkSession

from pipeline_jobs.contract import data_folder
from pipeline_jobs.quantizer import generated_points
from pipeline_jobs.quantizer.settings import Workload
from pipeline_jobs.session import require_shared


def source_name(work: Workload) -> str:
    """The table that holds the workload's raw points."""
    return f"lake.quantizer_raw.{work.kind}_{fingerprint(work)}"


def fingerprint(work: Workload) -> str:
    """A short identity of the raw points."""
    known = asdict(work.generated) if work.kind == "generated" else {"kind": work.kind}
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:12]


def make_source(spark: SparkSession, name: str, work: Workload) -> None:
    """The raw table of a workload, complete: made where it is not there, made anew where it was left half done.

    Raises BadConfigurationError where executors don't see the data folder, through which points reach them.
    """
    if spark.catalog.tableExists(name):
        properties = {row["key"]: row["value"] for row in spark.sql(f"SHOW TBLPROPERTIES {name}").collect()}
        if properties.get("quantizer.complete") == "true":
            return
        spark.sql(f"DROP TABLE {name} PURGE")
    shared = data_folder()
    shared.mkdir(parents=True, exist_ok=True)
    require_shared(spark, shared)
    weather = work.kind == "weather"
    generated_points.create_source(spark, name, partition="months" if weather else "hours")
    with tempfile.TemporaryDirectory(prefix=".points-", dir=shared) as folder:
        if weather:
            generated_points.append(spark, name, generated_points.weather(), Path(folder))
        else:
            _generate(spark, name, work, Path(folder))
    spark.sql(f"ALTER TABLE {name} SET TBLPROPERTIES ('quantizer.complete'='true')")


POINTS_A_COMMIT = 5_000_000


def _generate(spark: SparkSession, name: str, work: Workload, folder: Path) -> None:
    waiting: list[pa.Table] = []
    for table, is_late in generated_points.generate(work.generated):
        if is_late or sum(map(len, waiting)) > POINTS_A_COMMIT:
            generated_points.append(spark, name, pa.concat_tables(waiting), folder)
            waiting = []
        waiting.append(table)
    generated_points.append(spark, name, pa.concat_tables(waiting), folder)
