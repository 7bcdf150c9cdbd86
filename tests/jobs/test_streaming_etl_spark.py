"""The load as Spark tasks, and that Spark and the engine share their books."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.jobs.streaming_etl_reference import damaged, rows_in, rows_of, some_users, users_mapping, write_bson

from pipeline_jobs.streaming_etl.bson_file import BsonFile
from pipeline_jobs.streaming_etl.load import Target, load
from pipeline_jobs.streaming_etl.settings import Settings

MAPPING = users_mapping()


def test_spark_tasks_load_ranges_of_a_file(database: str, tmp_path: Path, spark_env: dict[str, str]) -> None:
    pytest.importorskip("pyspark")
    from pipeline_jobs.session import close_session, open_session
    from pipeline_jobs.streaming_etl.spark_load import load_on_spark

    documents = some_users(600)
    made = list(damaged(documents, 50, random.Random(8)))
    file = BsonFile(write_bson(tmp_path / "users.bson", [raw for raw, _ in made]))
    target = Target(database, MAPPING)
    settings = Settings(batch_size=50, worker_num=1, manager_worker_num=4)
    spark = open_session("test", {"master": "local[2]", "driver_memory": "1g"})
    try:
        report, totals = load_on_spark(spark, file, target, settings, job="spark")
        again, _ = load_on_spark(spark, file, target, settings, job="spark")
    finally:
        close_session(spark)
    good = [document for document, (_, reason) in zip(documents, made, strict=True) if reason is None]
    assert rows_in(database, MAPPING) == rows_of(MAPPING, good)
    assert (totals.documents, totals.loaded, totals.rejected) == (600, 588, 12)
    assert (report.records, again.records) == (600, 0)
    assert load(file, target, settings, job="spark")[0].records == 0
