"""The table of decisions, one row per goal, and the words `use X`, `keep X`, `undecided`; for terminal, page and
analysis.
"""

from __future__ import annotations

from pipeline_tuner.recommendation import DecisionStatus, Recommendation
from pipeline_tuner.wording import number, percent, ratio, regret_words

MAX_AS_GOOD = 4
DECISION_HEADER = ("goal", "do this", "than what you run now", "at most short of the best", "sure", "as good")


def decision_cells(answer: Recommendation) -> tuple[str, str, str, str, str, str]:
    """One goal's row, in the order of DECISION_HEADER."""
    return (
        answer.goal,
        action_words(answer),
        _gain_words(answer),
        regret_words(answer.regret_bound),
        percent(answer.confidence) if answer.status is not DecisionStatus.UNDECIDED else "",
        _as_good([label for label in answer.ties if label != answer.label]),
    )


def _as_good(labels: list[str]) -> str:
    """The first of them: a row is read at a glance, and the table of configurations has them all."""
    left = len(labels) - MAX_AS_GOOD
    return ", ".join(labels if left <= 1 else [*labels[:MAX_AS_GOOD], f"{left} more"])


def action_words(answer: Recommendation) -> str:
    """What to do: `use X`, `keep X`, or that nothing is decided, with the best guess."""
    action = what_to_do(answer.status, answer.label, answer.reference)
    is_guess = answer.status is DecisionStatus.UNDECIDED and answer.label is not None
    return f"{action} (best guess: {answer.label})" if is_guess else action


def what_to_do(status: DecisionStatus, label: str | None, reference: str | None) -> str:
    """`use X`, `keep X` or `undecided`."""
    if status is DecisionStatus.UNDECIDED or not label:
        return "undecided"
    return f"keep {label}" if status is DecisionStatus.KEEP or label == reference else f"use {label}"


def _gain_words(answer: Recommendation) -> str:
    if answer.label is not None and answer.label == answer.reference:
        return "it is what you run"
    if answer.status is DecisionStatus.UNDECIDED:
        return "not confirmed"
    if answer.reference_gain is None:
        return f"{answer.reference} can't serve this goal"
    gain = answer.reference_gain
    return f"{ratio(gain.value)} ({number(gain.low)} to {number(gain.high)})"
