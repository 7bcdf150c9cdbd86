"""A production run: loads what is not loaded yet, then follows the change stream where that is asked for."""

from __future__ import annotations

import threading
import time
from contextlib import closing

from pipeline_jobs.contract import BadConfigurationError, MeasurementWriter, TrialConfig
from pipeline_jobs.resources import ResourceMonitor
from pipeline_jobs.streaming_etl.changes import ChangeStream
from pipeline_jobs.streaming_etl.engine import Report
from pipeline_jobs.streaming_etl.load import Origin, Target, begin, load
from pipeline_jobs.streaming_etl.metrics import run_metrics
from pipeline_jobs.streaming_etl.progress import CHANGES, Accounts, Totals
from pipeline_jobs.streaming_etl.retry import Backoff
from pipeline_jobs.streaming_etl.settings import Settings
from pipeline_jobs.streaming_etl.trial_parameters import TargetChoices
from pipeline_jobs.streaming_etl.workload import Options, described, make_users, origin_of, target_of


def run_production(
    config: TrialConfig,
    options: Options,
    settings: Settings,
    choices: TargetChoices,
    writer: MeasurementWriter,
    cancel: threading.Event,
) -> None:
    """Load for good under the name `run_id`; started again with the same name, it goes on. Raises JobError."""
    if config.repeats != 1 or config.warmups or config.min_work_s:
        raise BadConfigurationError("a run with a run_id happens once: set repeats to 1, warmups and min_work_s to 0")
    mapping = options.load_mapping()
    made = make_users(options, mapping) if options.documents else None
    origin = origin_of(options, config, made, cancel)
    target = target_of(options, config, mapping, choices, "public")
    writer.workload = dict(described(options, mapping, origin, made))
    changes = _changes(config, options, cancel) if options.follow_s >= 0 else None
    if changes is not None:
        begin(changes, target, settings, job=options.run_id + CHANGES, cancel=cancel)
    for sample in writer.samples():
        start = time.monotonic()
        with ResourceMonitor() as resources:
            report, totals = _load(origin, target, settings, options, cancel)
            if changes is not None and not cancel.is_set():
                followed, _ = load(changes, target, settings, job=options.run_id + CHANGES, cancel=cancel)
                report.add(followed)
        sample.duration_s = max(time.monotonic() - start, 1e-6)
        sample.metrics |= run_metrics(report, sample.duration_s, settings.manager_worker_num)
        sample.metrics |= resources.metrics()
    settled = totals.loaded + totals.rejected + totals.replaced
    writer.check("documents are accounted for", totals.documents == settled, str(totals))
    writer.check("the load ran to its end", not cancel.is_set(), "it was cancelled; start again to go on")
    writer.metrics |= {"errors": float(totals.rejected), "records_in_all_runs": float(totals.documents)}
    with closing(target.connect()) as connection:
        letters = Accounts(connection, target.schema, options.run_id).dead_letters()
    writer.details |= {"dead_letters": letters}


def _load(
    origin: Origin, target: Target, settings: Settings, options: Options, cancel: threading.Event
) -> tuple[Report, Totals]:
    """In this process, or on the Spark master that the options name."""
    if not options.spark_master:
        return load(origin, target, settings, job=options.run_id, cancel=cancel)
    # Imported here: only these runs need Spark and a JVM.
    from pipeline_jobs.session import close_session, open_session
    from pipeline_jobs.streaming_etl.spark_load import load_on_spark

    spark = open_session(f"streaming_etl {options.run_id}", {"master": options.spark_master})
    try:
        return load_on_spark(spark, origin, target, settings, job=options.run_id)
    finally:
        close_session(spark)


def _changes(config: TrialConfig, options: Options, cancel: threading.Event) -> ChangeStream:
    if options.source != "mongodb":
        raise BadConfigurationError("only a MongoDB source has changes to follow: set source to mongodb")
    collection = options.collection or options.load_mapping().collection
    return ChangeStream(config.uri("source"), collection, idle_s=options.follow_s, backoff=Backoff(), stop=cancel)
