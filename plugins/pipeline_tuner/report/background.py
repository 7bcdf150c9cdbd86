"""The last part of the written analysis: what failed, what it cost, where it holds, how it was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline_tuner.analysis.evidence import FAILURE_WORDS, shortened
from pipeline_tuner.report.markdown import escaped, table
from pipeline_tuner.report.story import Story
from pipeline_tuner.wording import byte_words, counted, number, percent


def failures(story: Story) -> str:
    """Every failed trial in words; those that say nothing on the configuration are told apart."""
    failed = [result for result in story.results if result.status == "failed"]
    if not failed:
        return f"None: all {counted(len(story.results), 'trial')} were measured."
    rows = [
        (
            result.plan.label,
            f"{result.plan.phase}, block {result.plan.block}",
            FAILURE_WORDS.get(result.failure, "failed"),
            shortened(result.reason),
            "puts it out" if result.is_evidence else "says nothing on it",
        )
        for result in failed
    ]
    head = f"{len(failed)} of {counted(len(story.results), 'trial')} failed."
    return f"{head}\n\n{table(('configuration', 'where', 'what', 'reason', 'as evidence'), rows)}"


def payback(story: Story) -> str:
    """Payback."""
    return ""


def validity(story: Story) -> str:
    """Validity."""
    return ""


def environment(story: Story) -> str:
    """The machine, the versions and the workload."""
    rows = [(name, _shown(name, value)) for name, value in _flat(story.environment).items()]
    rows += [(f"workload {name}", _shown(name, value)) for name, value in _flat(story.workload).items()]
    return table(("", "value"), rows)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name} ") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def _shown(name: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return shortened(str(value), 120)
    if name.endswith("bytes"):
        return byte_words(value)
    return f"{value:,}" if isinstance(value, int) else number(value)


def method(story: Story) -> str:
    """How the trials were run and compared, and what the answer promises."""
    options, budget = story.options, story.options.budget
    phases = {phase: [r for r in story.results if r.plan.phase == phase] for phase in ("search", "confirm")}
    blocks = {phase: len({(r.plan.round, r.plan.block) for r in found}) for phase, found in phases.items()}
    lines = [
        f"Sweep {escaped(options.sweep_id)}: strategy {escaped(options.strategy)}, workload "
        f"{escaped(story.study.workload.name)} at size {escaped(options.size)}, seed {options.seed}.",
        f"{counted(len(phases['search']), 'trial')} in {counted(blocks['search'], 'block')} to search, "
        f"{counted(len(phases['confirm']), 'trial')} in {counted(blocks['confirm'], 'fresh block')} to confirm. "
        "Each block holds the control and runs in random order.",
        f"Each trial is one process with {counted(budget.warmups, 'warm-up')} and {counted(budget.repeats, 'counted run')}; "
        "start-up and tear-down are measured apart.",
        f"Differences under {percent(budget.indifference)} count as none. The chance that an answer is declared and is "
        f"worse than the best by that much or more is at most {percent(1 - budget.confidence)}, over all candidates "
        "and looks.",
        "The stated gain and value come from the confirmation alone, not from the runs that chose the winner.",
        "A trial whose output fails a check can't win; lost trials are counted and decide nothing.",
    ]
    return "\n".join(f"- {line}" for line in lines)
