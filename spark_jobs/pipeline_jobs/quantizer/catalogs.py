"""Iceberg catalogs (jdbc, hadoop, rest, glue): their Spark settings and secrets.

A secret is in no Spark setting that a log shows: PostgreSQL's password comes from a file in memory, S3's keys from the
environment, a REST catalog's token is a setting whose name Spark redacts.
"""

from __future__ import annotations

import os
from urllib.parse import unquote, urlsplit, urlunsplit

from pyspark.sql import SparkSession

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.quantizer.iceberg import java

CATALOG = "lake"
PREFIX = f"spark.sql.catalog.{CATALOG}"
EXTENSIONS = "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions"
KINDS = ("jdbc", "hadoop", "rest", "glue")
WITH_URI = ("jdbc", "rest")
PASSWORD_FILE = "org.postgresql.pgpassfile"
HADOOP_IO = "org.apache.iceberg.hadoop.HadoopFileIO"
S3_IO = "org.apache.iceberg.aws.s3.S3FileIO"


def catalog_settings(kind: str, warehouse: str, uri: str | None = None) -> dict[str, str]:
    """Spark's settings of the catalog `lake`. Raises BadConfigurationError for a kind or warehouse that can't be.

    `kind`: jdbc (a PostgreSQL database, `uri` postgresql://...), hadoop (folders only), rest (`uri` http..., a bearer
    token as its password), or glue. `warehouse`: a folder, an s3a:// prefix (Hadoop's client, the jars of hadoop-aws),
    or an s3:// prefix (Iceberg's client, the jar iceberg-aws-bundle).
    """
    if kind not in KINDS:
        raise BadConfigurationError(f"catalog is {kind!r}, must be one of {', '.join(KINDS)}")
    if kind == "glue" and not warehouse.startswith("s3://"):
        raise BadConfigurationError(f"the warehouse of a Glue catalog is an s3:// prefix, not {warehouse}")
    settings = {"spark.sql.extensions": EXTENSIONS, PREFIX: "org.apache.iceberg.spark.SparkCatalog"}
    settings |= {f"{PREFIX}.type": kind, f"{PREFIX}.warehouse": warehouse, f"{PREFIX}.cache-enabled": "false"}
    return settings | _files(warehouse) | _place(kind, uri or "")


def _place(kind: str, uri: str) -> dict[str, str]:
    parts = urlsplit(uri)
    if kind == "jdbc":
        database = f"jdbc:postgresql://{parts.hostname}:{parts.port or 5432}{parts.path}"
        user = unquote(parts.username or "")
        return {f"{PREFIX}.uri": database, f"{PREFIX}.jdbc.schema-version": "V1", f"{PREFIX}.jdbc.user": user}
    if kind == "rest":
        place = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        token = {f"{PREFIX}.token": unquote(parts.password)} if parts.password else {}
        return {f"{PREFIX}.uri": place, **token}
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    known = {"client.region": region, "glue.endpoint": endpoint} if kind == "glue" else {}
    return {f"{PREFIX}.{key}": value for key, value in known.items() if value}


def _files(warehouse: str) -> dict[str, str]:
    """How files are read and written; anything but AWS's own S3 by AWS_ENDPOINT_URL, with paths for buckets."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    if warehouse.startswith("s3://"):
        own = {"s3.endpoint": endpoint, "s3.path-style-access": "true"} if endpoint else {}
        return {f"{PREFIX}.{key}": value for key, value in {"io-impl": S3_IO, **own}.items()}
    settings = {f"{PREFIX}.io-impl": HADOOP_IO}
    if warehouse.startswith("s3a://") and endpoint:
        own = {"endpoint": endpoint, "path.style.access": "true"}
        own |= {"connection.ssl.enabled": str(endpoint.startswith("https")).lower()}
        own |= {"endpoint.region": os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"}
        settings |= {f"spark.hadoop.fs.s3a.{key}": value for key, value in own.items()}
    return settings


def use_password(spark: SparkSession, uri: str) -> None:
    """Let the JDBC driver find the catalog's password in a file in this process's memory: in no setting, on no disk.

    The file ends with the process, however that ends. The JVM, this process's child or parent, reads it by /proc.
    """
    parts = urlsplit(uri)
    fields = (parts.hostname, parts.port or 5432, parts.path.lstrip("/"), unquote(parts.username or ""))
    password = unquote(parts.password or "")
    line = ":".join(str(each).replace("\\", r"\\").replace(":", r"\:") for each in (*fields, password))
    memory = os.memfd_create("pgpass")
    os.write(memory, f"{line}\n".encode())
    java(spark).java.lang.System.setProperty(PASSWORD_FILE, f"/proc/{os.getpid()}/fd/{memory}")


def forget_password(spark: SparkSession) -> None:
    """Give up what `use_password` made."""
    path = java(spark).java.lang.System.clearProperty(PASSWORD_FILE)
    if path:
        os.close(int(path.rpartition("/")[2]))
