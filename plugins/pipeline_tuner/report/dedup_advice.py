"""For the dedup job: advice split into code and infrastructure, each with evidence and the expected effect."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline_tuner.analysis.glue_prices import Prices, parse_prices
from pipeline_tuner.analysis.glue_sizing import Need, Sizing, size
from pipeline_tuner.report.story import Story
from pipeline_tuner.trial import TrialResult

BYTES = "shuffle_write_bytes"


@dataclass(frozen=True)
class Measured:
    """A configuration's medians, and the details of its last trial."""

    label: str
    configuration: Mapping[str, Any]
    metrics: Mapping[str, float]
    details: Mapping[str, Any]

    @property
    def strategy(self) -> str:
        """The strategy that ran: what `auto` chose, too."""
        return str(self.details.get("strategy", self.configuration.get("strategy", "")))


def advice(results: Sequence[TrialResult], prices: Prices, *, pick: str | None, scale: float = 1.0) -> str:
    """Markdown: what to change in code, what in infrastructure, a size for Glue to paste.

    `pick` is the recommended label; `scale` the production's rows over the trials'. Empty without measurements.
    """
    measured = _measured(results)
    best = next((m for m in measured if m.label == pick), None) or min(measured, key=_bytes, default=None)
    if best is None:
        return ""
    need = Need.measured(best.metrics, scale)
    parts = [
        "### Code",
        *_bullets(part(best, measured) for part in CODE),
        "### Infrastructure",
        *_bullets(part(best, measured) for part in INFRASTRUCTURE),
        *_bullets(_memory_failures(results)),
        _paste(best, size(need, prices), prices, scale),
    ]
    return "\n\n".join(filter(None, parts))


def code_and_infrastructure(story: Story) -> str:
    """The section of the written analysis; empty for other jobs."""
    if story.study.job != "dedup":
        return ""
    from pipeline_tuner import settings

    prices = parse_prices(settings.prices_file().read_text(encoding="utf-8"))
    return advice(story.results, prices, pick=story.main.label if story.main.status == "winner" else None)


def _measured(results: Sequence[TrialResult]) -> list[Measured]:
    found: dict[str, list[TrialResult]] = {}
    for result in results:
        if result.status == "measured" and result.plan.fraction == 1.0 and BYTES in result.metrics:
            found.setdefault(result.plan.label, []).append(result)
    return [_median(label, trials) for label, trials in found.items()]


def _median(label: str, trials: list[TrialResult]) -> Measured:
    names = set.intersection(*(set(trial.metrics) for trial in trials))
    metrics = {name: statistics.median(trial.metrics[name] for trial in trials) for name in names}
    last = trials[-1].measurement
    return Measured(label, trials[-1].plan.configuration, metrics, last.details if last else {})


def _strategy(best: Measured, measured: Sequence[Measured]) -> str:
    seed = _of_strategy(measured, "seed")
    if seed is None or best.strategy == "seed":
        return ""
    reasons = (best.details.get("auto") or {}).get("reasons") or ()
    return (
        f"**Use `{best.strategy}`.** It shuffled {_mb(best)}; `repartition(n)` before a window shuffled "
        f"{_mb(seed)}: expect {_bytes(best) / _bytes(seed):.2f} of the bytes. {' '.join(reasons)}"
    ).rstrip()


def _no_repartition(best: Measured, measured: Sequence[Measured]) -> str:
    seed, window = _of_strategy(measured, "seed"), _of_strategy(measured, "window")
    if seed is None or window is None:
        return ""
    return (
        f"**Don't repartition before the window.** With it {_mb(seed)} were shuffled, without it {_mb(window)}: "
        "the rows travel twice, and arrive in an order that lets nothing be dropped early."
    )


def _counts(best: Measured, measured: Sequence[Measured]) -> str:
    counted = next((m for m in measured if m.configuration.get("counts") == "count"), None)
    observed = next((m for m in measured if m.configuration.get("counts") == "observe"), None)
    if counted is None or observed is None:
        return ""
    return (
        f"**Keep the counts, by `DataFrame.observe`.** Counting by jobs of their own took "
        f"{counted.metrics['tasks']:.0f} tasks in all (`{counted.label}`); observed in passing it adds no job "
        f"(`{observed.label}`: {observed.metrics['tasks']:.0f} tasks). Rows, duplicates, ties, deletes stay on record."
    )


def _partitions(best: Measured, measured: Sequence[Measured]) -> str:
    """Configurations that differ in shuffle partitions only: do bytes?"""
    for one in measured:
        for other in measured:
            few, many = (one.configuration.get(_P, 0), other.configuration.get(_P, 0))
            if few < many and _rest(one) == _rest(other):
                return (
                    f"**Don't cut shuffle partitions to shuffle less.** {few} partitions moved {_mb(one)}, "
                    f"{many} moved {_mb(other)}: fewer only give each task more."
                )
    return ""


def _tasks(best: Measured, measured: Sequence[Measured]) -> str:
    spill = best.metrics.get("spill_bytes", 0.0)
    skew = best.metrics.get("task_skew", 1.0)
    spilled = f"{spill / 1e6:.0f} MB were spilled" if spill else "nothing was spilled"
    return f"The slowest task of a stage took {skew:.1f} times the median one, and {spilled} (`{best.label}`)."


def _utilisation(best: Measured, measured: Sequence[Measured]) -> str:
    return (
        "**Low worker utilisation means too many workers**, not too few: the work is "
        f"{best.metrics['executor_cpu_s']:.1f} vCPU seconds however many share it."
    )


def _memory_failures(results: Sequence[TrialResult]) -> list[str]:
    failed = {r.plan.label: r.reason for r in results if r.failure == "out_of_memory"}
    return [f"`{label}` failed: {reason.splitlines()[0]}. Stay above that." for label, reason in failed.items()]


CODE: tuple[Callable[[Measured, Sequence[Measured]], str], ...] = (_strategy, _no_repartition, _partitions, _counts)
INFRASTRUCTURE: tuple[Callable[[Measured, Sequence[Measured]], str], ...] = (_utilisation, _tasks)
_P = "shuffle_partitions"


def _paste(best: Measured, sizing: Sizing, prices: Prices, scale: float) -> str:
    settings = {
        "WorkerType": sizing.worker_type,
        "NumberOfWorkers": sizing.workers,
        "DefaultArguments": sizing.arguments(best.configuration),
    }
    of_what = "this workload" if scale == 1 else f"{scale:g} times this workload"
    return "\n\n".join(
        (
            f"**A size for Glue (an estimate from this machine, for {of_what}):** "
            f"{sizing.workers} workers {sizing.worker_type}, about {sizing.duration_s:.0f} s, "
            f"{sizing.cost_per_hour:.2f} an hour and {sizing.cost_per_run:.3f} a run ({prices.source}).",
            *_bullets(sizing.reasons),
            "```json\n" + json.dumps(settings, indent=2) + "\n```",
        )
    )


def _of_strategy(measured: Sequence[Measured], strategy: str) -> Measured | None:
    return next((m for m in measured if m.strategy == strategy), None)


def _rest(measured: Measured) -> tuple[str, dict[str, Any]]:
    return measured.strategy, {k: v for k, v in measured.configuration.items() if k != _P}


def _bytes(measured: Measured) -> float:
    return measured.metrics[BYTES]


def _mb(measured: Measured) -> str:
    return f"{_bytes(measured) / 1e6:.1f} MB"


def _bullets(sentences: Any) -> list[str]:
    return ["\n".join(f"- {sentence}" for sentence in sentences if sentence)]
