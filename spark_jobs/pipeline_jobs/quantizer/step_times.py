"""The times of a batch's steps, and their names on Spark's jobs in its UI and event log."""

from __future__ import annotations

import time

from pyspark.sql import SparkSession


class Steps:
    """Times the steps of a batch, one after the other.

    >>> steps = Steps(spark)
    >>> steps.begin("plan")
    >>> steps.begin("roll_up")      # ends the one before
    >>> steps.end()
    >>> steps.seconds
    {'plan': 0.1, 'roll_up': 2.3}
    """

    def __init__(self, spark: SparkSession) -> None:
        self.seconds: dict[str, float] = {}
        self._context = spark.sparkContext
        self._name: str | None = None
        self._since = 0.0

    def begin(self, name: str) -> None:
        """End the step that runs, if any, and begin this one."""
        self.end()
        self._name, self._since = name, time.monotonic()
        self._context.setJobDescription(name)

    def end(self) -> None:
        """End the step that runs, if any."""
        if self._name is not None:
            self.seconds[self._name] = self.seconds.get(self._name, 0.0) + time.monotonic() - self._since
            self._name = None
            self._context.setLocalProperty("spark.job.description", None)  # type: ignore[arg-type]  # None takes it back
