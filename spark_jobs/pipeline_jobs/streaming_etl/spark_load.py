"""The load as Spark tasks, one per range of the source, for more than one machine."""

from __future__ import annotations

import threading
from dataclasses import replace

from pyspark.sql import SparkSession

from pipeline_jobs.streaming_etl.engine import Report
from pipeline_jobs.streaming_etl.load import Origin, Target, alone, begin, finish, load_parts
from pipeline_jobs.streaming_etl.progress import Range, Totals
from pipeline_jobs.streaming_etl.settings import Settings


def load_on_spark(
    spark: SparkSession, origin: Origin, target: Target, settings: Settings, *, job: str
) -> tuple[Report, Totals]:
    """Load what is not loaded yet with `manager_worker_num` tasks. Raises as `load` does; a task may be run again.

    A file must be at the same path on every executor. The ledger is that of `load`: either may go on where the
    other stopped.
    """
    cancel = threading.Event()
    one = replace(settings, manager_worker_num=1)

    def task(part: Range) -> Report:
        return load_parts(origin, target, one, [part], job=job, cancel=threading.Event())

    report = Report()
    with alone(target, job, cancel):
        parts = begin(origin, target, settings, job=job, cancel=cancel)
        if parts:
            for done in spark.sparkContext.parallelize(parts, len(parts)).map(task).collect():
                report.add(done)
        return report, finish(target, parts, job=job, cancel=cancel)
