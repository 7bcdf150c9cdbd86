"""The deduplication's advice in the written analysis, split into code and infrastructure, with evidence and expected
effect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from pipeline_tuner import settings
from pipeline_tuner.analysis.glue_prices import DEFAULT_GLUE, Prices, load_prices
from pipeline_tuner.jobs.dedup.glue_advice import infrastructure
from pipeline_tuner.jobs.dedup.measured import Measured, bullets, measured_configurations
from pipeline_tuner.recommendation import DecisionStatus
from pipeline_tuner.report.data import ReportData, Section
from pipeline_tuner.trial import TrialResult

PARTITIONS, WRITERS = "shuffle_partitions", "write_partitions"
SAME_BYTES = 0.02
"""Volumes within this fraction are called the same."""


def code_and_infrastructure(data: ReportData) -> str:
    """The section of the written analysis."""
    return advice(
        data.results,
        load_prices(settings.prices_file()),
        pick=data.main.label if data.main.status is DecisionStatus.BEST else None,
        scale=1 / data.study.workload.sizes[data.options.size],
        glue=str(data.study.runner.options.get("glue_version", DEFAULT_GLUE)),
    )


SECTIONS = (Section("Code and infrastructure", code_and_infrastructure, after="Next configurations to try"),)


def advice(
    results: Sequence[TrialResult], prices: Prices, *, pick: str | None, scale: float = 1.0, glue: str = DEFAULT_GLUE
) -> str:
    """Markdown: what to change in code, what in infrastructure, a size for Glue to paste.

    `pick` is the recommended label; without one it is about the configuration that shuffles least. `scale` is the
    production's rows over the trials', `glue` the version that prices go by. Empty without measurements.
    """
    measured = measured_configurations(results)
    best = next((m for m in measured if m.label == pick), None) or min(measured, key=lambda m: m.bytes, default=None)
    if best is None:
        return ""
    code = bullets(part(best, measured) for part in CODE) or "Nothing that these trials can tell."
    return (
        f"### Code\n\n{code}\n\n### Infrastructure\n\n{infrastructure(best, results, prices, scale=scale, glue=glue)}"
    )


def _strategy(best: Measured, measured: Sequence[Measured]) -> str:
    baseline = _of_strategy(measured, "baseline")
    if baseline is None or best.strategy == "baseline":
        return ""
    reasons = (best.details.get("auto") or {}).get("reasons") or ()
    return (
        f"**Use `{best.strategy}`.** It shuffled {best.shuffled}; `repartition(n)` before a window shuffled "
        f"{baseline.shuffled}: expect {best.bytes / baseline.bytes:.2f} of the bytes. {' '.join(reasons)}"
    ).rstrip()


def _no_repartition(best: Measured, measured: Sequence[Measured]) -> str:
    baseline, window = _of_strategy(measured, "baseline"), _of_strategy(measured, "window")
    if baseline is None or window is None:
        return ""
    return (
        f"**Don't repartition before the window.** With it {baseline.shuffled} were shuffled, without it "
        f"{window.shuffled}: the rows travel twice, and arrive in an order that lets nothing be dropped early."
    )


def _partitions(best: Measured, measured: Sequence[Measured]) -> str:
    for few, many in _differing_in(PARTITIONS, measured):
        if many.bytes and abs(few.bytes / many.bytes - 1) <= SAME_BYTES:
            return (
                f"**Don't cut shuffle partitions to shuffle less.** {few.configuration[PARTITIONS]} partitions moved "
                f"{few.shuffled}, {many.configuration[PARTITIONS]} moved {many.shuffled}: fewer only give each task "
                f"more, and cost less where tasks are tiny ({_tasks(few)} against {_tasks(many)})."
            )
    return ""


def _writers(best: Measured, measured: Sequence[Measured]) -> str:
    for few, many in _differing_in(WRITERS, measured):
        if not few.configuration.get(WRITERS):
            return (
                f"**Repartition before the write only to save connections.** {many.configuration[WRITERS]} partitions "
                f"there moved {many.shuffled}, none moved {few.shuffled}: the result travels once more."
            )
    return ""


def _counts(best: Measured, measured: Sequence[Measured]) -> str:
    counted = next((m for m in measured if m.configuration.get("counts") == "count"), None)
    observed = next((m for m in measured if m.configuration.get("counts") == "observe"), None)
    if counted is None or observed is None:
        return ""
    return (
        f"**Keep the counts, by `DataFrame.observe`.** Counting by jobs of their own took {_tasks(counted)} in all "
        f"(`{counted.label}`); observed in passing it adds no job (`{observed.label}`: "
        f"{_tasks(observed)}). Rows, duplicates, ties and deletes stay on record."
    )


CODE: tuple[Callable[[Measured, Sequence[Measured]], str], ...] = (
    _strategy,
    _no_repartition,
    _partitions,
    _writers,
    _counts,
)
"""the Glue deduplication report's four changes of the code, and the strategy that it doesn't have."""


def _tasks(measured: Measured) -> str:
    return f"{measured.metrics['tasks']:.0f} tasks"


def _of_strategy(measured: Sequence[Measured], strategy: str) -> Measured | None:
    return next((m for m in measured if m.strategy == strategy), None)


def _differing_in(name: str, measured: Sequence[Measured]) -> Iterator[tuple[Measured, Measured]]:
    """Pairs of configurations of one strategy that differ in this number only, the smaller one first."""
    for one in measured:
        for other in measured:
            less = one.configuration.get(name, 0) < other.configuration.get(name, 0)
            if less and _rest(one, name) == _rest(other, name):
                yield one, other


def _rest(measured: Measured, name: str) -> tuple[str, list[tuple[str, object]]]:
    return measured.strategy, sorted((k, v) for k, v in measured.configuration.items() if k != name)
