"""A stand-in for Airflow's task instance: what the hooks of `tuned` need of one."""

from __future__ import annotations


class TaskInstance:
    """An identity and XComs. A later try of the same task is given what the earlier one kept."""

    dag_id, run_id, task_id, map_index = "nightly", "r", "load", -1

    def __init__(self, try_number=1, kept=None):
        self.try_number, self.kept = try_number, kept if kept is not None else {}

    def xcom_push(self, key, value):
        self.kept[key] = value

    def xcom_pull(self, task_ids, key, map_indexes):
        return self.kept.get(key)
