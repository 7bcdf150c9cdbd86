"""AWS for the Glue tests: moto's server, and a named stub for the workers that it has not."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from airflow.providers.amazon.aws.hooks.glue import GlueJobHook
from moto.server import ThreadedMotoServer
from tests.patience import PATIENCE_S

from pipeline_jobs.dedup.glue import main_in_glue

BUCKET = "tuner-test"


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    """moto's server; the value is its address."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    names = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    extra = {"endpoint_url": address, "region_name": "us-east-1"}
    connection = {"conn_type": "aws", "login": "test", "password": "test", "extra": extra}
    names |= {"AWS_ENDPOINT_URL": address, "AIRFLOW_CONN_AWS_TEST": json.dumps(connection)}
    environment = pytest.MonkeyPatch()
    for name, value in names.items():
        environment.setenv(name, value)
    # moto keeps its state in this process, beyond the life of a server.
    urllib.request.urlopen(
        urllib.request.Request(f"{address}/moto-api/reset", method="POST"), timeout=PATIENCE_S
    ).close()
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    yield address
    environment.undo()
    server.stop()


class ScriptStub(GlueJobHook):
    """Stands for Glue's workers, which moto has not: runs the job's entry point, with a job that only measures."""

    def initialize_job(self, script_arguments: Any = None, run_kwargs: Any = None) -> Any:
        started = super().initialize_job(script_arguments, run_kwargs)
        argv = [part for pair in script_arguments.items() for part in pair]
        assert main_in_glue([*argv, "--JOB_NAME", "x"], client=boto3.client) == 0
        return started
