"""The operator that removes old trials, by `keep_days` of the study; the removal itself: `store.py`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from pipeline_tuner import settings
from pipeline_tuner.monitoring.store import NightStore
from pipeline_tuner.operators.failures import TaskRole
from pipeline_tuner.operators.sweep import SweepOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class RetentionOperator(SweepOperator):
    """Remove the study's sweeps and production runs that are older than `nights.keep_days`."""

    role = TaskRole.RETENTION

    def execute(self, context: Context) -> dict[str, Any]:
        """Returns how many were removed; skips where the study keeps everything."""
        study = settings.load_named_study(self.study)
        days = study.nights.keep_days
        if days is None:
            raise AirflowSkipException("nights.keep_days is null: everything is kept")
        with self.open_store() as store:
            removed = NightStore(store).remove_old(study.study, days)
        self.log.info("Older than %d days and removed: %s", days, asdict(removed))
        return asdict(removed)
