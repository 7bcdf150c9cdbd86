"""The deferrable wait for a Glue run, in Airflow's triggerer.

The provider's own trigger makes a failed run an error of the task, before the operator could write the failure down:
a failed trial is a result here. It also needs an asynchronous AWS client that the provider doesn't install.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

from airflow.providers.amazon.aws.hooks.glue import GlueJobHook
from airflow.triggers.base import BaseTrigger, TriggerEvent
from botocore.exceptions import BotoCoreError, ClientError

from pipeline_tuner.runners.aws_calls import explained, patiently
from pipeline_tuner.runners.glue import ENDED


class GlueRunTrigger(BaseTrigger):
    """Fires with the run's `state` when it has ended, whatever its end; `DEADLINE` when that has come, `LOST` (and
    the `reason`) where AWS doesn't say any more how the run is.

    :param job_name: Glue's job.
    :param run_id: The run of it.
    :param conn_id: Airflow connection to AWS.
    :param poll_s: Seconds between two looks.
    :param deadline: When the run is stopped (ISO 8601); never where it is None.
    :param carried: What the operator needs again: handed back in the event, as `airflow dags test` drops all else.
    """

    def __init__(
        self,
        *,
        job_name: str,
        run_id: str,
        conn_id: str,
        poll_s: float,
        deadline: str | None,
        carried: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self.job_name = job_name
        self.run_id = run_id
        self.conn_id = conn_id
        self.poll_s = poll_s
        self.deadline = deadline
        self.carried = dict(carried)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """How the triggerer makes it anew."""
        names = ("job_name", "run_id", "conn_id", "poll_s", "deadline", "carried")
        return f"{type(self).__module__}.{type(self).__qualname__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until there is an end."""
        try:
            state = await self._end()
        except (ClientError, BotoCoreError) as error:
            yield TriggerEvent({"state": "LOST", "reason": explained(error), "carried": self.carried})
            return
        yield TriggerEvent({"state": state, "carried": self.carried})

    async def _end(self) -> str:
        while True:
            state = await asyncio.to_thread(self._state)
            if state in ENDED:
                return state
            if self._is_late:
                await self.on_kill()
                return "DEADLINE"
            await asyncio.sleep(self.poll_s)

    async def on_kill(self) -> None:
        """Stop the run: somebody marked or cleared the deferred task. A restart of the triggerer doesn't come here."""
        await asyncio.to_thread(self._stop)

    @property
    def _is_late(self) -> bool:
        return self.deadline is not None and datetime.now(UTC) > datetime.fromisoformat(self.deadline)

    def _state(self) -> str:
        client = GlueJobHook(aws_conn_id=self.conn_id, job_name=self.job_name).conn
        found = patiently(client.get_job_run, JobName=self.job_name, RunId=self.run_id, poll_s=self.poll_s)
        return str(found["JobRun"]["JobRunState"])

    def _stop(self) -> None:
        client = GlueJobHook(aws_conn_id=self.conn_id, job_name=self.job_name).conn
        patiently(client.batch_stop_job_run, JobName=self.job_name, JobRunIds=[self.run_id], poll_s=self.poll_s)
