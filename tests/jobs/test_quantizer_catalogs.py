"""The job on S3 and with other catalogs. AWS is moto's server, the REST catalog a double (rest_catalog.py).

Glue's catalog is among the long tests for its jar of 65 MB, S3 for its minute (moto answers each request by Python).
"""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer
from pyspark.sql import SparkSession
from tests.jobs.quantizer_oracle import assert_same, expected_rows
from tests.jobs.rest_catalog import TOKEN, serving
from tests.jobs.test_quantizer_batch import HOUR, START_US, add, some_points, table_of

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.quantizer import catalogs, generated_points, iceberg, maintenance
from pipeline_jobs.quantizer.batch import run_batch
from pipeline_jobs.quantizer.batch_request import Batch
from pipeline_jobs.session import close_session, open_session, stop_jvm
from pipeline_tuner.local import jars
from pipeline_tuner.local.paths import Layout

BUCKET = "quantizer-lake"
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "a secret of moto", "AWS_REGION": "us-east-1"}


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """moto's server with an empty bucket, in this process's environment and in that of JVMs started from here on."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {**KEYS, "AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": f"http://{host}:{port}"}.items():
        monkeypatch.setenv(name, value)
    urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/moto-api/reset", method="POST")).close()
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    stop_jvm()
    yield
    stop_jvm()
    server.stop()


@pytest.fixture
def use_jars(spark_env: dict[str, str], layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function that has sessions of this test load these groups of jars, downloaded where they are not there."""
    return lambda *groups: monkeypatch.setenv("PIPELINE_TUNER_JARS", ",".join(map(str, jars.fetch(layout, *groups))))


def roll_up_twice(settings: dict[str, str], folder: Path, uri: str | None = None) -> None:
    """Two batches with a partial between them, checked against the oracle; then maintenance."""
    spark = open_session("catalogs", {"driver_memory": "1g"}, extra=settings | {"spark.sql.shuffle.partitions": "2"})
    try:
        if uri:
            catalogs.use_password(spark, uri)
        _roll_up_twice(spark, folder)
        shown = [value for key, value in spark.sparkContext.getConf().getAll() if not key.endswith(".token")]
        assert not any(secret in value for value in shown for secret in (TOKEN, KEYS["AWS_SECRET_ACCESS_KEY"]))
    finally:
        catalogs.forget_password(spark)
        close_session(spark)


def _roll_up_twice(spark: SparkSession, folder: Path) -> None:
    points = some_points(40, 480)
    generated_points.create_source(spark, "lake.raw.points")
    add(spark, "lake.raw.points", points, folder)
    iceberg.create_rollups(spark, "lake.rolled.rows")
    batch = Batch("lake.raw.points", "lake.rolled.rows", START_US, START_US + 3 * HOUR)
    run_batch(spark, replace(batch, end_us=START_US + 100 * 60_000_000 + 5))
    run_batch(spark, batch)
    assert run_batch(spark, batch).snapshot is None
    assert_same(table_of(spark, batch.target), expected_rows(points.to_pandas(), batch.resolutions_ms))
    assert maintenance.rewrite_data_files(spark, batch.target)["rewritten_files"] > 0
    assert_same(table_of(spark, batch.target), expected_rows(points.to_pandas(), batch.resolutions_ms))


@pytest.mark.soak
def test_tables_on_s3_with_the_catalog_in_postgresql(
    aws: None, postgres, use_jars: Callable[..., None], tmp_path: Path
) -> None:
    use_jars("postgresql", "iceberg", "s3")
    uri = postgres.create_database("quantizer_s3")
    roll_up_twice(catalogs.catalog_settings("jdbc", f"s3a://{BUCKET}/lake", uri), tmp_path, uri)
    listed = boto3.client("s3").list_objects_v2(Bucket=BUCKET)["Contents"]
    assert {each["Key"].rpartition(".")[2] for each in listed} >= {"parquet", "json", "avro"}
    assert not [each["Key"] for each in listed if "/staging/" in each["Key"] and each["Size"]]


@pytest.mark.soak
def test_a_glue_catalog(aws: None, use_jars: Callable[..., None], tmp_path: Path) -> None:
    use_jars("iceberg", "glue_catalog")
    roll_up_twice(catalogs.catalog_settings("glue", f"s3://{BUCKET}/lake"), tmp_path)
    table = boto3.client("glue").get_table(DatabaseName="rolled", Name="rows")["Table"]
    assert table["Parameters"]["table_type"] == "ICEBERG"


def test_a_rest_catalog(spark_env: dict[str, str], tmp_path: Path) -> None:
    with serving(tmp_path) as address:
        uri = address.replace("http://", f"http://any:{TOKEN.replace(' ', '%20')}@")
        settings = catalogs.catalog_settings("rest", tmp_path.as_uri(), uri)
        assert settings["spark.sql.catalog.lake.uri"] == address
        roll_up_twice(settings, tmp_path)


@pytest.mark.parametrize(
    ("kind", "warehouse", "reason"),
    [("hive", "/tmp", "must be one of jdbc, hadoop, rest, glue"), ("glue", "file:///tmp", "is an s3:// prefix")],
)
def test_catalogs_that_cannot_be_are_refused(kind: str, warehouse: str, reason: str) -> None:
    with pytest.raises(BadConfigurationError, match=reason):
        catalogs.catalog_settings(kind, warehouse)


def test_s3_on_aws_itself_needs_no_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    settings = catalogs.catalog_settings("jdbc", "s3a://bucket/lake", "postgresql://user:secret@host/lake")
    assert not [key for key in settings if "fs.s3a" in key]
    assert "secret" not in str(settings)
    assert os.environ.get("AWS_ENDPOINT_URL") is None
