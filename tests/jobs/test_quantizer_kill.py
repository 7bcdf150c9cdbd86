"""SIGKILL at random moments of a run of batches, with reruns: every window once, sums exact, no orphan left."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from pyspark.sql import SparkSession
from tests.jobs.test_quantizer_batch import (
    KEYS,
    Make,
    make,  # noqa: F401
    run_whole,
    same_table,
    some_points,
    spark,  # noqa: F401
    table_of,
)
from tests.patience import PATIENCE_S

from pipeline_jobs.quantizer import maintenance
from pipeline_jobs.quantizer.batch import run_batch

VICTIM = Path(__file__).with_name("quantizer_victim.py")


@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.soak)])
def test_killed_and_repeated_batches_neither_double_nor_drop(
    spark: SparkSession,  # noqa: F811
    make: Make,  # noqa: F811
    postgres,
    kills: int,
) -> None:
    batch = make(some_points(20))
    rng = random.Random(kills)
    borders = [batch.start_us, *sorted(rng.sample(range(batch.start_us, batch.end_us), 5)), batch.end_us]
    warehouse = spark.conf.get("spark.sql.catalog.lake.warehouse")
    assert warehouse
    command = [sys.executable, str(VICTIM), batch.source, batch.target, warehouse, ",".join(map(str, borders))]
    environment = {**os.environ, "CATALOG": postgres.uri("quantizer_lake")}
    for _ in range(kills):
        _run_and_kill(command, environment, rng)
    assert (
        subprocess.run(command, env=environment, capture_output=True, timeout=PATIENCE_S, check=False).returncode == 0
    )
    rows = table_of(spark, batch.target)
    assert not rows.duplicated(KEYS).any()
    same_table(rows, table_of(spark, run_whole(spark, batch, make)))
    assert run_batch(spark, replace(batch)).snapshot is None
    assert (_unreferenced(spark, batch.target) != set()) or kills < 20
    maintenance.remove_orphan_files(spark, batch.target, older_than_s=0)
    assert _unreferenced(spark, batch.target) == set()
    same_table(table_of(spark, batch.target), rows)


def _run_and_kill(command: list[str], environment: dict[str, str], rng: random.Random) -> None:
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    for _ in range(rng.randrange(3)):
        process.stdout.readline()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=rng.uniform(0, 1.5))
    family = [*psutil.Process(process.pid).children(recursive=True)] if process.poll() is None else []
    for pid in [process.pid, *(each.pid for each in family)]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()
    process.stdout.close()


def _unreferenced(spark: SparkSession, name: str) -> set[str]:  # noqa: F811
    described = spark.sql(f"DESCRIBE EXTENDED {name}").where("col_name = 'Location'").first()
    assert described is not None
    found = {str(path) for path in Path(urlsplit(described["data_type"]).path).rglob("*.parquet")}
    known = {urlsplit(row[0]).path for row in spark.sql(f"SELECT file_path FROM {name}.all_data_files").collect()}
    assert known <= found
    return found - known
