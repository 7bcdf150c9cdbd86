"""The selection while a sweep still searches: which candidates are finalists, and the part of the budget that search
may use. No I/O.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pipeline_tuner.analysis.evidence import Evidence, settled
from pipeline_tuner.analysis.selection import Selection, select
from pipeline_tuner.recommendation import MIN_BLOCKS
from pipeline_tuner.study import Study
from pipeline_tuner.sweep import SweepOptions
from pipeline_tuner.trial import TrialResult

MAX_BLOCKS = 30


def search_trials(options: SweepOptions, trials: int | None = None, reserved: int = 0, spent: int = 0) -> int:
    """The part of so many trials (the budget's) that searching may use.

    Kept back is the confirmation of one pick against the control, or `reserved` trials for more; half of all at most,
    but what a decision takes at least: looks that nothing confirms are wasted. Before the first is `spent`, a list has
    its look at each configuration.
    """
    trials = options.budget.trials if trials is None else trials
    confirm = options.budget.confirm_blocks
    looks = spent or (2 if options.strategy == "adaptive" else trials)
    least = min(2 * min(MIN_BLOCKS, confirm), trials - looks)
    return trials - min(max(2 * confirm, reserved), max(trials // 2, least))


def block_cap(options: SweepOptions) -> int:
    """The most blocks that a candidate can be measured in: known before the first result, as selection demands."""
    return max(MIN_BLOCKS, options.budget.blocks, min(MAX_BLOCKS, search_trials(options) // 3))


def finalists(options: SweepOptions, labels: Sequence[str], results: Sequence[TrialResult]) -> list[str]:
    """Of these labels, those that the selection is about.

    An adaptive search looks at many configurations once, as a model of the space, and repeats a few: these and the
    control are its finalists. Of a fixed list everybody is in the final.
    """
    again = repeated(results) if options.strategy == "adaptive" else set()
    return [label for label in labels if label in again] if again else list(labels)


def repeated(results: Sequence[TrialResult]) -> set[str]:
    """The labels that were planned again after there was evidence on them; the control only where others were too.

    Trials on a part of the workload don't count.
    """
    last: dict[str, int] = {}
    results = [r for r in results if r.plan.fraction == 1.0]
    for r in results:
        if r.plan.phase == "search":
            last[r.plan.label] = max(last.get(r.plan.label, 0), r.plan.block)
    found = {r.plan.label for r in results if r.is_evidence and r.plan.block < last.get(r.plan.label, 0)}
    controls = {r.plan.label for r in results if r.plan.is_control}
    return found | controls if found - controls else set()


def search_selection(
    study: Study,
    options: SweepOptions,
    goal: str,
    results: Sequence[TrialResult],
    among: Collection[str] = (),
) -> Selection:
    """The selection of one goal among those that may still win, from the search phase of a sweep.

    Other than a recommendation, it keeps who may turn out to hold a constraint: out is only who breaks it most times.
    `among` are the labels to choose from, the `finalists` by default.
    """
    evidence = Evidence(study, options, goal, settled(results))
    able = [label for label, first in evidence.namesakes.items() if label == first and _may_win(evidence, label)]
    return select(
        evidence.observations("search"),
        control=evidence.control,
        candidates=[x for x in able if x in among] if among else finalists(options, able, results),
        indifference=options.budget.indifference,
        confidence=options.budget.confidence,
        cap=block_cap(options),
    )


def _may_win(evidence: Evidence, label: str) -> bool:
    trials = evidence.trials(label)
    if any(r.status == "failed" and r.is_evidence for r in trials):
        return False
    if not any(r.plan.trial_id in evidence.scores.by_trial for r in trials):
        return False
    return all(2 * check.kept >= check.trials for check in evidence.constraints(label))
