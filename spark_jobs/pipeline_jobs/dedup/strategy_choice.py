"""Which strategy a run takes: the declared one; for `auto` the columnar engine, or what a sample says."""

from __future__ import annotations

from dataclasses import replace

from pyspark.sql import DataFrame

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.dedup.auto_strategy import Choice
from pipeline_jobs.dedup.columnar_source import ColumnarPlan, NotColumnarError, columnar_plan
from pipeline_jobs.dedup.key_sample import choose_strategy
from pipeline_jobs.dedup.options import DedupOptions, Rule, Source, Tuning
from pipeline_jobs.session import is_local

COLUMNAR = "columnar"


def plan_for(records: DataFrame, source: Source, options: DedupOptions) -> ColumnarPlan | str:
    """What the columnar engine would do, or why it can't. `records` are in the source's names.

    Raises BadConfigurationError where it can't and the strategy is `columnar`.
    """
    is_auto = options.tuning.strategy == "auto"
    if not is_auto and options.tuning.strategy != COLUMNAR:
        return "another strategy is declared"
    if options.target.bookmark:
        return "it reads whole files, and a bookmark's run a part"
    if is_auto and not is_local(str(records.sparkSession.sparkContext.master)):
        return "the session is on a cluster, whose other cores would wait for one task"
    try:
        return columnar_plan(records, source, options.rule)
    except NotColumnarError as error:
        if not is_auto:
            raise BadConfigurationError(f"strategy columnar can't take this source: {error}; use auto") from None
        return str(error)


def choose(records: DataFrame, rule: Rule, source: Source, tuning: Tuning, plan: ColumnarPlan | str) -> Choice | None:
    """What `auto` takes for the records; None for a declared strategy."""
    if tuning.strategy != "auto":
        return None
    if isinstance(plan, str):
        choice = choose_strategy(records, rule, source)
        return replace(choice, reasons=(f"columnar is left out: {plan}.", *choice.reasons))
    if plan.is_one_task:
        return in_one_task(plan)
    return choose_strategy(records, rule, source, with_columnar=True)


def in_one_task(plan: ColumnarPlan) -> Choice:
    """The choice that needs no sample: nothing is shuffled, whatever the keys are."""
    files = sum(len(task) for task in plan.reduction.tasks)
    why = (
        f"One task can hold the {plan.size_bytes / 1e6:.0f} MB in {files} files: the columnar engine reduces them "
        "there, nothing is shuffled, and no sample was taken."
    )
    return Choice(COLUMNAR, group_limit=False, reasons=(why,))
