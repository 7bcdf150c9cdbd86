"""The trigger that waits for Glue, against moto; moto ends each run at once, so a named stub says how it goes on."""

# ruff: noqa: F811 - a fixture is imported, and named again where a test asks for it

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from airflow.providers.amazon.aws.hooks.glue import GlueJobHook
from airflow.sdk.module_loading import import_string
from botocore.exceptions import ClientError
from glue_stubs import aws  # noqa: F401

from pipeline_tuner.runners.glue_trigger import GlueRunTrigger


@pytest.fixture
def trigger(aws: str) -> GlueRunTrigger:
    glue = boto3.client("glue")
    command = {"Name": "glueetl", "ScriptLocation": "s3://bucket/script.py"}
    role = "arn:aws:iam::123456789012:role/test"
    name = f"job-{datetime.now(UTC):%H%M%S%f}"
    glue.create_job(Name=name, Role=role, Command=command)
    run_id = glue.start_job_run(JobName=name)["JobRunId"]
    return GlueRunTrigger(
        job_name=name, run_id=run_id, conn_id="aws_test", poll_s=0.01, deadline=None, carried={"plan": {"trial": 1}}
    )


class RunningClientStub:
    """A client whose run goes through the states of a list, and that notes which runs it was told to stop."""

    def __init__(self, *states: str) -> None:
        self.states = list(states)
        self.stopped: list[str] = []
        self.refusals = ["ThrottlingException"]

    def get_job_run(self, **named: Any) -> dict[str, Any]:
        if self.refusals:
            raise ClientError({"Error": {"Code": self.refusals.pop()}}, "GetJobRun")
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return {"JobRun": {"JobRunState": state}}

    def batch_stop_job_run(self, *, JobName: str, JobRunIds: list[str]) -> None:
        self.stopped += JobRunIds


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> RunningClientStub:
    stub = RunningClientStub("STARTING", "RUNNING", "FAILED")
    monkeypatch.setattr(GlueJobHook, "conn", stub)
    return stub


def event_of(trigger: GlueRunTrigger) -> dict[str, Any]:
    async def first() -> Any:
        return await anext(trigger.run())

    return asyncio.run(asyncio.wait_for(first(), 120)).payload


def test_it_fires_when_the_run_has_ended(trigger: GlueRunTrigger) -> None:
    assert event_of(trigger) == {"state": "SUCCEEDED", "carried": {"plan": {"trial": 1}}}


def test_a_failed_run_fires_too_and_throttling_is_waited_out(
    trigger: GlueRunTrigger, client: RunningClientStub
) -> None:
    assert event_of(trigger)["state"] == "FAILED"
    assert client.refusals == []
    assert client.stopped == []


def test_at_its_deadline_the_run_is_stopped(trigger: GlueRunTrigger, client: RunningClientStub) -> None:
    client.states = ["RUNNING"]
    trigger.deadline = (datetime.now(UTC) + timedelta(seconds=0.2)).isoformat()
    assert event_of(trigger)["state"] == "DEADLINE"
    assert client.stopped == [trigger.run_id]


def test_a_run_that_aws_says_nothing_of_any_more_is_lost(trigger: GlueRunTrigger, client: RunningClientStub) -> None:
    client.refusals = ["AccessDeniedException"]
    event = event_of(trigger)
    assert event["state"] == "LOST"
    assert "no AWS permission for GetJobRun" in event["reason"]


def test_a_killed_task_stops_its_run(trigger: GlueRunTrigger, client: RunningClientStub) -> None:
    """What the triggerer calls where somebody marks or clears the deferred task."""
    asyncio.run(trigger.on_kill())
    assert client.stopped == [trigger.run_id]


def test_the_triggerer_can_make_it_anew(trigger: GlueRunTrigger) -> None:
    path, arguments = trigger.serialize()
    again = import_string(path)(**arguments)
    assert again.serialize() == (path, arguments)
