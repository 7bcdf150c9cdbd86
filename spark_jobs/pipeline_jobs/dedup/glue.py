"""The job's entry on AWS Glue: its arguments, its two documents in S3, passwords from Secrets Manager."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipeline_jobs.contract import measure
from pipeline_jobs.dedup.job import run_on_glue


def in_glue(argv: Sequence[str]) -> bool:
    """Whether Glue started this process: it always passes the job's name."""
    return "--JOB_NAME" in argv or any(part.startswith("--JOB_NAME=") for part in argv)


def main_in_glue(argv: Sequence[str], *, client: Any = None) -> int:
    """Fetch the configuration, run, store the measurement. Returns the exit code, as `main` does.

    Arguments: `--config s3://...`, `--measurement s3://...`, and `--secret ID` of a Secrets Manager secret whose
    JSON maps the names of environment variables to connection URIs. `client(service)` makes a boto3 client.
    """
    if client is None:
        import boto3

        client = boto3.client
    arguments = glue_arguments(argv)
    if "secret" in arguments:
        secret = client("secretsmanager").get_secret_value(SecretId=arguments["secret"])["SecretString"]
        os.environ.update(json.loads(secret))
    s3 = client("s3")
    with tempfile.TemporaryDirectory() as folder:
        config, measurement = Path(folder) / "config.json", Path(folder) / "measurement.json"
        s3.download_file(*bucket_and_key(arguments["config"]), str(config))
        exit_code = measure("dedup", run_on_glue, config, measurement)
        if exit_code == 0:
            s3.upload_file(str(measurement), *bucket_and_key(arguments["measurement"]))
    return exit_code


def glue_arguments(argv: Sequence[str]) -> dict[str, str]:
    """`--name value` and `--name=value` pairs; Glue adds many of its own, which are ignored."""
    values: dict[str, str] = {}
    for part, following in zip(argv, [*argv[1:], ""], strict=True):
        if part.startswith("--"):
            name, equals, value = part[2:].partition("=")
            values[name] = value if equals else following
    return values


def bucket_and_key(uri: str) -> tuple[str, str]:
    """The parts of `s3://bucket/key`."""
    parts = urlsplit(uri)
    return parts.netloc, parts.path.lstrip("/")
