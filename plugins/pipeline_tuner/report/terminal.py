"""The summary of a sweep on a terminal, as demo and `airflow dags test` print it: decisions and table of trials."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline_tuner.analysis.evidence import described_failures, settled
from pipeline_tuner.recommendation import Interval, Recommendation
from pipeline_tuner.report.decisions import DECISION_HEADER, action_words, decision_cells
from pipeline_tuner.report.tables import Row, rows_of, text_table
from pipeline_tuner.trial import TrialResult
from pipeline_tuner.wording import counted, interval_words, percent

FEW = 5
"""Configurations outside the first goal that are still shown one by one."""


def summary(recommendations: Sequence[Recommendation], results: Sequence[TrialResult]) -> str:
    """The recommendations with their intervals, then the configurations with trials and gain, as lines of text."""
    whole = settled(results)
    parts = [decision_table(recommendations)] if recommendations else []
    parts += ["\n".join(_goal_lines(recommendation)) for recommendation in recommendations]
    if recommendations:
        parts.append(_table(recommendations[0], whole))
    return "\n\n".join([*parts, _counts(whole)])


def decision_table(answers: Sequence[Recommendation]) -> str:
    """One row per goal: what to do, the gain over what runs now, the regret bound, how sure, and what is as good."""
    return text_table(list(DECISION_HEADER), [list(decision_cells(answer)) for answer in answers])


def _goal_lines(answer: Recommendation) -> list[str]:
    lines = [f"{answer.goal}: {action_words(answer)}"]
    if answer.estimate:
        lines.append(
            f"  value   {interval_words(answer.estimate, answer.unit)}, {percent(answer.estimate.confidence)} interval"
        )
    if answer.configuration:
        lines.append(f"  with    {' '.join(f'{name}={value}' for name, value in answer.configuration.items())}")
    return [*lines, f"  because {answer.reason}"]


def _table(first: Recommendation, whole: Sequence[TrialResult]) -> str:
    """The configurations by the first goal; many that break its constraints are only counted: they are for others."""
    rows = rows_of(first, whole)
    kept = [row for row in rows if not row.breaks_constraint]
    hidden = len(rows) - len(kept)
    if hidden <= FEW:
        return text_table(_header(first.goal), [_cells(row) for row in rows])
    words = f"{hidden} more configurations break a constraint of {first.goal}: the written analysis has them."
    return f"{text_table(_header(first.goal), [_cells(row) for row in kept])}\n{words}"


def _header(goal: str) -> list[str]:
    return ["configuration", "trials", "failed", "blocks", f"{goal} vs control", "confirmed", ""]


def _cells(row: Row) -> list[str]:
    return [
        row.label,
        f"{row.evidence.measured}/{row.evidence.planned}",
        str(row.evidence.failed or ""),
        str(row.evidence.blocks or ""),
        _bounds(row.evidence.ratio),
        _bounds(row.evidence.confirmed),
        str(row.evidence.exclusion or row.evidence.standing),
    ]


def _bounds(interval: Interval | None) -> str:
    if interval is None:
        return ""
    return f"{interval.value:.2f}x ({interval.low:.2f} to {interval.high:.2f})"


def _counts(results: Sequence[TrialResult]) -> str:
    measured = sum(result.status == "measured" for result in results)
    failed = [result for result in results if result.status == "failed"]
    summary = f"{measured} of {counted(len(results), 'trial')} measured"
    return f"{summary}; {described_failures(failed, of=len(results))}" if failed else f"{summary}, none failed"
