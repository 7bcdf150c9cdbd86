"""The buttons on a task's page in Airflow: to its page here, and to Spark's or Glue's own page of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.configuration import conf
from airflow.sdk import BaseOperatorLink

from pipeline_tuner import settings

if TYPE_CHECKING:
    from airflow.sdk.types import TaskInstanceKey


class PageLink(BaseOperatorLink):
    """The trial's page; the study's for a production run."""

    name = settings.PAGE

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """The address, under Airflow's own where that is configured."""
        base = conf.get("api", "base_url", fallback="").rstrip("/") + settings.PAGE_PREFIX
        if not operator.trial:
            return f"{base}/studies/{quote(operator.load_study().study)}"
        place = (ti_key.dag_id, ti_key.task_id, str(ti_key.map_index), ti_key.run_id)
        return f"{base}/tasks/{'/'.join(quote(part, safe='') for part in place)}"


class EngineLink(BaseOperatorLink):
    """Spark's own page (`ui_url` in the extra of the Spark connection) or the run in Glue's console."""

    name = "Spark or Glue"

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """The address that the runner knew when the job ran; empty for plain programs."""
        return str(operator.engine_link)
